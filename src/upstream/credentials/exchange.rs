//! One question to an issuer of credentials and its answer.

use std::fmt::Write;
use std::time::Duration;

use awc::http::header::{HeaderName, HeaderValue};
use awc::http::{Method, Uri};
use bursar_actors::Secret;
use bytes::Bytes;
use serde::Deserialize;

use crate::upstream::dial;
use crate::upstream::judge;

/// Longest time for one question, its answer included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 * 1024;
/// Most characters of an issuer's reason that are passed on.
const REASON_MAX: usize = 300;

/// A question.
#[derive(Clone, PartialEq, Eq)]
pub struct Ask {
    pub method: Method,
    pub url: String,
    pub headers: Vec<(&'static str, Secret)>,
    /// What is posted, where something is.
    pub body: Option<Body>,
}

/// What is posted.
#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    pub content_type: &'static str,
    pub text: Secret,
}

impl Ask {
    pub fn get(url: String) -> Self {
        Self { method: Method::GET, url, headers: vec![], body: None }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, Secret::new(value.into())));
        self
    }

    /// Returns the posting of a form with these fields.
    pub fn form(url: String, fields: &[(&str, &str)]) -> Self {
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        Self::post(url, "application/x-www-form-urlencoded", fields.join("&"))
    }

    /// Returns the posting of this JSON.
    pub fn json(url: String, value: &serde_json::Value) -> Self {
        Self::post(url, "application/json", value.to_string())
    }

    fn post(url: String, content_type: &'static str, text: String) -> Self {
        let body = Some(Body { content_type, text: Secret::new(text) });
        Self { method: Method::POST, url, headers: vec![], body }
    }

    /// Asks, and returns the body of an answer with status 200. The reason of a failure holds nothing secret.
    pub async fn by(&self, client: &awc::Client) -> Result<Bytes, String> {
        let at = self.host();
        let uri = Uri::try_from(&self.url).map_err(|_| format!("{at} is no URL"))?;
        let mut request = client.request(self.method.clone(), &uri).no_decompress();
        let headers = request.headers_mut();
        headers.insert(HeaderName::from_static("accept"), HeaderValue::from_static("application/json"));
        for (name, value) in &self.headers {
            let mut value = HeaderValue::from_str(value.expose().trim())
                .map_err(|_| format!("what {name} is to hold for {at} has characters that no header may carry"))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        let sent = match &self.body {
            None => request.send(),
            Some(body) => request.content_type(body.content_type).send_body(body.text.expose().to_owned()),
        };
        let exchange = async {
            let mut response = sent.await.map_err(|error| dial::of_send_error(&error, &uri).message)?;
            let body =
                response.body().limit(ANSWER_MAX).await.map_err(|_| format!("{at} gave no answer to be read"))?;
            Ok::<_, String>((response.status().as_u16(), body))
        };
        let exchange = tokio::time::timeout(TIMEOUT, exchange).await;
        let (status, body) = exchange.map_err(|_| format!("{at} did not answer within {TIMEOUT:?}"))??;
        if status == 200 { Ok(body) } else { Err(format!("{at} answered {status}{}", reason(&body))) }
    }

    /// Returns who is asked, with the port where one is named. For messages, too: queries may hold secrets.
    pub fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        rest.split(['/', '?']).next().unwrap_or_default()
    }
}

/// An error as OAuth (RFC 6749, 5.2) and AWS word it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: Option<serde_json::Value>,
    error_description: Option<String>,
    message: Option<String>,
}

fn reason(body: &[u8]) -> String {
    let words = match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => {
            // Google's own services have an object here.
            let inner = |name: &str| refusal.error.as_ref().and_then(|error| error.get(name)?.as_str());
            let error = refusal.error.as_ref().and_then(|error| error.as_str());
            let error = error.or_else(|| inner("status")).map(str::to_owned);
            let message = refusal.message.or_else(|| inner("message").map(str::to_owned));
            [error, refusal.error_description, message]
        }
        Err(_) => [element(body, "Code"), element(body, "Message"), None],
    };
    let words: Vec<String> = words.into_iter().flatten().collect();
    let words = judge::scrubbed(&words.join(": "));
    if words.is_empty() { words } else { format!(": {}", words.chars().take(REASON_MAX).collect::<String>()) }
}

/// Returns `text` as it stands in a form or a query: all but letters, digits and `-._~` as `%XX`.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => _ = write!(encoded, "%{byte:02X}"),
        }
    }
    encoded
}

/// Reads an answer that is JSON. The reason of a failure quotes nothing of it.
pub fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|_| "what was answered is no credential".to_owned())
}

/// Returns the text of the first element called `name` in an answer of XML, whatever else there is.
pub fn element(body: &[u8], name: &str) -> Option<String> {
    let mut rest = std::str::from_utf8(body).ok()?;
    while let Some((_, tag)) = rest.split_once('<') {
        let (tag, behind) = tag.split_once('>')?;
        rest = behind;
        let full = tag.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
        let local = full.rsplit(':').next().unwrap_or_default();
        if local == name && !full.starts_with('/') {
            let text = behind.split('<').next().unwrap_or_default().trim();
            // `&amp;` last, or it would make others of what is none.
            let plain = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
            return Some(plain.iter().fold(text.to_owned(), |text, (coded, plain)| text.replace(coded, plain)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded() {
        let ask = Ask::form("https://x/token?a=1".into(), &[("scope", "https://y/.default"), ("s", "a+b &é~")]);

        let form = ask.body.as_ref().map(|body| body.text.expose());
        assert_eq!(form, Some("scope=https%3A%2F%2Fy%2F.default&s=a%2Bb%20%26%C3%A9~"));
        assert_eq!(ask.host(), "x");
    }

    #[test]
    fn an_element_is_found_in_whatever_xml() {
        let body = b"<?xml version='1.0'?>\n<a xmlns:s='x'><!-- <Key> --><s:Key at='1'>\n k&amp;lt;&lt; </s:Key><Key>2</Key></a>";

        assert_eq!(element(body, "Key").as_deref(), Some("k&lt;<"));
        for none in [b"<a".as_slice(), b"", b"</Key>", b"<Keys>x</Keys>", b"\xff<Key>x"] {
            assert_eq!(element(none, "Key"), None);
        }
    }

    #[test]
    fn an_issuers_reason_is_passed_on_within_bounds() {
        assert_eq!(
            reason(br#"{"error":"invalid_client","error_description":"AADSTS7000215: wrong"}"#),
            ": invalid_client: AADSTS7000215: wrong"
        );
        assert_eq!(reason(br#"{"message":"no role"}"#), ": no role");
        assert_eq!(
            reason(br#"{"error":{"code":403,"message":"Permission denied","status":"PERMISSION_DENIED"}}"#),
            ": PERMISSION_DENIED: Permission denied"
        );
        assert_eq!(
            reason(b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error>"),
            ": AccessDenied: no"
        );
        assert_eq!(reason(b"<html>"), "");
        assert!(reason(format!("{{\"message\":\"{}\"}}", "x ".repeat(900)).as_bytes()).len() < 400);
    }
}
