//! AWS Signature Version 4: the headers that prove who sends a request, for every service but S3.
//!
//! Pure: the clock comes in. The hash and its keyed form are those of `ring`, which TLS brings along.

use std::fmt::Write;
use std::time::SystemTime;

use ring::{digest, hmac};
use zeroize::Zeroizing;

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct SigningInput<'a> {
    /// In capitals.
    pub method: &'a str,
    /// As in the `host` header.
    pub host: &'a str,
    /// As sent, percent-encoded; the signature encodes it once more. Without `.`, `..` and empty segments.
    pub path: &'a str,
    /// As sent, without the question mark; may be empty.
    pub query: &'a str,
    /// Further headers to sign, besides `host`, `x-amz-date` and the session token; lower-case names.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
    /// As in `eu-central-1`.
    pub region: &'a str,
    /// As in `bedrock`.
    pub service: &'a str,
}

/// Who signs.
#[derive(Clone)]
pub struct AwsCredentials {
    pub access_key_id: String,
    pub secret_access_key: Zeroizing<String>,
    /// Of temporary credentials.
    pub session_token: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsCredentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Returns the headers to add: `x-amz-date`, `x-amz-security-token` where there is one, and `authorization`.
///
/// AWS takes the signature for about five minutes around `now`.
pub fn sign(input: &SigningInput<'_>, credentials: &AwsCredentials, now: SystemTime) -> Vec<(&'static str, String)> {
    let time = timestamp(now);
    let mut headers = vec![("x-amz-date", time.clone())];
    if let Some(token) = &credentials.session_token {
        headers.push(("x-amz-security-token", token.to_string()));
    }
    let (signed, request) = canonical_request(input, &headers);
    let scope = format!("{}/{}/{}/aws4_request", &time[..8], input.region, input.service);
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(request.as_bytes()));

    let secret = Zeroizing::new(format!("AWS4{}", *credentials.secret_access_key));
    let mut key = mac(secret.as_bytes(), &time[..8]);
    for part in [input.region, input.service, "aws4_request"] {
        key = mac(key.as_ref(), part);
    }
    let signature = hex(mac(key.as_ref(), &to_sign).as_ref());
    let id = &credentials.access_key_id;
    let value = format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}");
    headers.push(("authorization", value));
    headers
}

/// Returns the names of the signed headers and the request in the form that is hashed.
fn canonical_request(input: &SigningInput<'_>, own: &[(&'static str, String)]) -> (String, String) {
    let mut headers = vec![("host", input.host)];
    headers.extend(own.iter().map(|(name, value)| (*name, value.as_str())));
    headers.extend(input.headers);
    headers.sort_by_key(|(name, _)| *name);
    let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    let signed = names.join(";");
    let mut request = format!("{}\n{}\n{}\n", input.method, encode(input.path, b"/"), query(input.query));
    for (name, value) in headers {
        let words: Vec<_> = value.split_ascii_whitespace().collect();
        _ = writeln!(request, "{name}:{}", words.join(" "));
    }
    _ = write!(request, "\n{signed}\n{}", sha256(input.body));
    (signed, request)
}

fn query(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<_> = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    pairs.sort_unstable();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// Percent-encodes everything but letters, digits, `-`, `_`, `.`, `~` and `kept`.
pub(super) fn encode(text: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte if kept.contains(&byte) => out.push(char::from(byte)),
            byte => _ = write!(out, "%{byte:02X}"),
        }
    }
    out
}

/// As in `20150830T123600Z`.
fn timestamp(now: SystemTime) -> String {
    let mut time = humantime::format_rfc3339_seconds(now).to_string();
    time.retain(|c| !matches!(c, '-' | ':'));
    time
}

fn mac(key: &[u8], message: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes())
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The time and key of AWS's published vectors: 2015-08-30T12:36:00Z.
    const THEN: Duration = Duration::from_secs(1_440_938_160);

    fn credentials() -> AwsCredentials {
        let secret_access_key = Zeroizing::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned());
        AwsCredentials { access_key_id: "AKIDEXAMPLE".into(), secret_access_key, session_token: None }
    }

    fn vanilla() -> SigningInput<'static> {
        SigningInput {
            method: "GET",
            host: "example.amazonaws.com",
            path: "/",
            query: "",
            headers: &[],
            body: b"",
            region: "us-east-1",
            service: "service",
        }
    }

    fn authorization(input: &SigningInput<'_>) -> String {
        let headers = sign(input, &credentials(), SystemTime::UNIX_EPOCH + THEN);
        headers.into_iter().find(|(name, _)| *name == "authorization").unwrap().1
    }

    #[test]
    fn the_documented_example_is_signed_as_documented() {
        let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let (host, query, service) = ("iam.amazonaws.com", "Action=ListUsers&Version=2010-05-08", "iam");
        let input = SigningInput { host, query, service, headers: &headers, ..vanilla() };

        let value = authorization(&input);

        let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
            SignedHeaders=content-type;host;x-amz-date, \
            Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        assert_eq!(value, expected);
    }

    #[test]
    fn the_published_vectors_hold() {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let vectors = [
            ("get-vanilla", vanilla(), "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            (
                "post-vanilla",
                SigningInput { method: "POST", ..vanilla() },
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "get-vanilla-query-order-key-case",
                SigningInput { query: "Param2=value2&Param1=value1", ..vanilla() },
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "get-utf8",
                SigningInput { path: "/\u{1234}", ..vanilla() },
                "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
            ),
            (
                "post-x-www-form-urlencoded",
                SigningInput { method: "POST", headers: &form, body: b"Param1=value1", ..vanilla() },
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ];
        for (name, input, signature) in vectors {
            assert!(authorization(&input).ends_with(signature), "{name}: {}", authorization(&input));
        }
    }

    #[test]
    fn a_path_that_is_encoded_already_is_encoded_once_more() {
        let input = SigningInput { path: "/model/anthropic.claude-v2%3A1/converse", ..vanilla() };

        let (_, request) = canonical_request(&input, &[]);

        assert_eq!(request.lines().nth(1), Some("/model/anthropic.claude-v2%253A1/converse"));
    }

    #[test]
    fn a_session_token_is_sent_and_signed_and_no_secret_shows() {
        let mut temporary = credentials();
        temporary.session_token = Some(Zeroizing::new("a token".into()));

        let headers = sign(&vanilla(), &temporary, SystemTime::UNIX_EPOCH + THEN);

        assert_eq!(headers[0], ("x-amz-date", "20150830T123600Z".into()));
        assert_eq!(headers[1], ("x-amz-security-token", "a token".into()));
        assert!(headers[2].1.contains("SignedHeaders=host;x-amz-date;x-amz-security-token,"));
        assert_eq!(format!("{temporary:?}"), "AwsCredentials { access_key_id: \"AKIDEXAMPLE\", .. }");
    }
}
