//! The handshake of an HTTP proxy: CONNECT (RFC 9110, 9.3.6), after which the stream is the upstream's.

use actix_rt::net::TcpStream;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use super::in_words;
use crate::config::dial::Login;

/// Longest head of the proxy's answer.
const HEAD_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;

/// Opens a tunnel to `authority` (`host:port`) through the proxy at the other end of `stream`; else says what the proxy
/// did, as the words after its name.
pub async fn tunnel(stream: &mut TcpStream, authority: &str, login: Option<&Login>) -> Result<(), String> {
    let request = request(authority, login);
    stream.write_all(request.as_bytes()).await.map_err(|error| format!("broke off: {}", in_words(&error)))?;
    let head = read_head(stream).await?;
    match status(&head) {
        Some(200..=299) => Ok(()),
        Some(status @ (300..=599)) => Err(format!("refused the tunnel: {status}")),
        _ => Err("does not answer like an HTTP proxy".into()),
    }
}

fn request(authority: &str, login: Option<&Login>) -> Zeroizing<String> {
    let mut request = Zeroizing::new(format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n"));
    if let Some(login) = login {
        let pair = Zeroizing::new(format!("{}:{}", login.user.expose(), login.password.expose()));
        let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        request.push_str("proxy-authorization: Basic ");
        request.push_str(&encoded);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request
}

/// Reads up to the empty line and not a byte further: what follows is the upstream's.
async fn read_head(stream: &mut TcpStream) -> Result<Vec<u8>, String> {
    let mut head = Vec::new();
    let mut piece = [0; 512];
    loop {
        let count = stream.read(&mut piece).await.map_err(|error| format!("broke off: {}", in_words(&error)))?;
        if count == 0 {
            return Err("closed the connection before it opened the tunnel".into());
        }
        head.extend_from_slice(&piece[..count]);
        if let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n") {
            // An upstream of HTTP or TLS waits for us to begin, so these bytes would be the proxy's own.
            return if end + 4 == head.len() {
                Ok(head)
            } else {
                Err(refusal_or(&head, "sent bytes before the tunnel's"))
            };
        }
        if head.len() >= HEAD_MAX {
            return Err("answers with a head of more than 8 KiB".into());
        }
    }
}

/// A refusal usually comes with a page, which then stands behind its head.
fn refusal_or(head: &[u8], why: &str) -> String {
    match status(head) {
        Some(status @ (300..=599)) => format!("refused the tunnel: {status}"),
        _ => why.to_owned(),
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(head).ok()?;
    response.code
}

#[cfg(test)]
mod tests {
    use bursar_actors::Secret;

    use super::*;

    #[test]
    fn the_login_stands_in_the_request_as_basic() {
        let login = Login { user: Secret::new("user".into()), password: Secret::new("pass".into()) };

        let request = request("api.example.com:443", Some(&login));

        assert_eq!(
            request.as_str(),
            "CONNECT api.example.com:443 HTTP/1.1\r\nhost: api.example.com:443\r\nproxy-authorization: Basic \
             dXNlcjpwYXNz\r\n\r\n"
        );
    }
}
