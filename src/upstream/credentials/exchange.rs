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
    /// A form, where there is one.
    pub form: Option<Secret>,
}

impl Ask {
    pub fn get(url: String) -> Self {
        Self { method: Method::GET, url, headers: vec![], form: None }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, Secret::new(value.into())));
        self
    }

    /// Returns the posting of a form with these fields.
    pub fn form(url: String, fields: &[(&str, &str)]) -> Self {
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        Self { method: Method::POST, url, headers: vec![], form: Some(Secret::new(fields.join("&"))) }
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
        let sent = match &self.form {
            None => request.send(),
            Some(form) => request.content_type("application/x-www-form-urlencoded").send_body(form.expose().to_owned()),
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

    /// Returns who is asked, for messages: queries may hold secrets.
    fn host(&self) -> &str {
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
    let Ok(refusal) = serde_json::from_slice::<Refusal>(body) else { return String::new() };
    let error = refusal.error.as_ref().and_then(serde_json::Value::as_str).map(str::to_owned);
    let words: Vec<String> = [error, refusal.error_description, refusal.message].into_iter().flatten().collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded() {
        let ask = Ask::form("https://x/token?a=1".into(), &[("scope", "https://y/.default"), ("s", "a+b &é~")]);

        let form = ask.form.as_ref().map(Secret::expose);
        assert_eq!(form, Some("scope=https%3A%2F%2Fy%2F.default&s=a%2Bb%20%26%C3%A9~"));
        assert_eq!(ask.host(), "x");
    }

    #[test]
    fn an_issuers_reason_is_passed_on_within_bounds() {
        assert_eq!(
            reason(br#"{"error":"invalid_client","error_description":"AADSTS7000215: wrong"}"#),
            ": invalid_client: AADSTS7000215: wrong"
        );
        assert_eq!(reason(br#"{"message":"no role"}"#), ": no role");
        assert_eq!(reason(b"<html>"), "");
        assert!(reason(format!("{{\"message\":\"{}\"}}", "x ".repeat(900)).as_bytes()).len() < 400);
    }
}
