//! Calls to who is no provider and gets no key: a witness of the books is posted a text, an issuer of tokens asked for its keys.

use std::sync::Arc;
use std::time::Duration;

use awc::http::Uri;

use bytes::Bytes;

use super::credentials::exchange::Ask;
use super::dial::DialSettings;
use super::{Upstream, dial};

/// Longest time for one text, its answer included.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONTENT_TYPE: &str = "text/plain; charset=utf-8";

impl Upstream {
    /// Gets the JSON at `url`, up to 64 KiB of it. Redirects are not followed. Fails after ten seconds; the reason is in words.
    pub async fn get_json(&self, settings: &Arc<DialSettings>, url: &str) -> Result<Bytes, String> {
        Ask::get(url.to_owned()).by(&self.client(settings)).await
    }

    /// Posts `text` as `text/plain`; taken if the answer has a status from 200 to 299. Redirects are not followed. Fails
    /// after ten seconds; the reason is in words and quotes nothing of the answer.
    pub async fn post_text(&self, settings: &Arc<DialSettings>, url: &str, text: String) -> Result<(), String> {
        let uri = Uri::try_from(url).map_err(|_| "the address is no URL".to_owned())?;
        let request = self.client(settings).post(&uri).no_decompress().content_type(CONTENT_TYPE);
        let agent = ("user-agent", concat!("bursar/", env!("CARGO_PKG_VERSION")));
        let sent = tokio::time::timeout(TIMEOUT, request.insert_header(agent).send_body(text)).await;
        let sent = sent.map_err(|_| format!("no answer within {TIMEOUT:?}"))?;
        let status = sent.map_err(|error| dial::of_send_error(&error, &uri).message)?.status();
        if status.is_success() { Ok(()) } else { Err(format!("the answer had status {}", status.as_u16())) }
    }
}
