//! Calls to who is no provider and gets no key: a witness of the books is posted a text, a webhook a message, an issuer of tokens
//! asked for its keys.

use std::sync::Arc;
use std::time::Duration;

use awc::http::Uri;

use bytes::Bytes;

use super::credentials::exchange::Ask;
use super::dial::DialSettings;
use super::{Upstream, dial};

/// Longest time for one text or message, its answer included.
const TIMEOUT: Duration = Duration::from_secs(10);
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

impl Upstream {
    /// Gets the JSON at `url`, up to 64 KiB of it. Redirects are not followed. Fails after ten seconds; the reason is in words.
    pub async fn get_json(&self, settings: &Arc<DialSettings>, url: &str) -> Result<Bytes, String> {
        Ask::get(url.to_owned()).by(&self.client(settings)).await
    }

    /// Posts `text` as `text/plain`; taken if the answer has a status from 200 to 299. Redirects are not followed. Fails
    /// after ten seconds; the reason is in words and quotes nothing of the answer.
    pub async fn post_text(&self, settings: &Arc<DialSettings>, url: &str, text: String) -> Result<(), String> {
        self.post(settings, url, TEXT, &[], text).await
    }

    /// Posts `body`, which is JSON, with these headers, as [`post_text`](Self::post_text) does a text.
    pub async fn post_json(
        &self,
        settings: &Arc<DialSettings>,
        url: &str,
        headers: &[(&'static str, String)],
        body: String,
    ) -> Result<(), String> {
        self.post(settings, url, JSON, headers, body).await
    }

    async fn post(
        &self,
        settings: &Arc<DialSettings>,
        url: &str,
        content_type: &str,
        headers: &[(&'static str, String)],
        body: String,
    ) -> Result<(), String> {
        let uri = Uri::try_from(url).map_err(|_| "the address is no URL".to_owned())?;
        let mut request = self.client(settings).post(&uri).no_decompress().content_type(content_type);
        for (name, value) in headers {
            request = request.insert_header((*name, value.as_str()));
        }
        let agent = ("user-agent", concat!("bursar/", env!("CARGO_PKG_VERSION")));
        let sent = tokio::time::timeout(TIMEOUT, request.insert_header(agent).send_body(body)).await;
        let sent = sent.map_err(|_| format!("no answer within {TIMEOUT:?}"))?;
        let status = sent.map_err(|error| dial::of_send_error(&error, &uri).message)?.status();
        if status.is_success() { Ok(()) } else { Err(format!("the answer had status {}", status.as_u16())) }
    }
}
