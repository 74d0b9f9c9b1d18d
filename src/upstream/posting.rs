//! Calls to who is no provider and gets no key: a witness of the books is posted a text, a webhook a message, an issuer of tokens
//! asked for its keys.

use std::sync::Arc;
use std::time::Duration;

use awc::ClientResponse;
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

    /// Posts `body`, which is JSON, with these headers, and returns the answer if its status is from 200 to 299 and it is no
    /// longer than `most` bytes. Redirects are not followed. Fails after `patience`; the reason is in words and quotes
    /// nothing of the answer.
    pub async fn ask_json(
        &self,
        settings: &Arc<DialSettings>,
        url: &str,
        headers: &[(&'static str, String)],
        body: String,
        (patience, most): (Duration, usize),
    ) -> Result<Bytes, String> {
        let asked = async {
            let mut answer = self.posted(settings, url, JSON, headers, body).await?;
            answer.body().limit(most).await.map_err(|_| format!("the answer broke off, or is longer than {most} bytes"))
        };
        tokio::time::timeout(patience, asked).await.map_err(|_| late(patience))?
    }

    async fn post(
        &self,
        settings: &Arc<DialSettings>,
        url: &str,
        content_type: &str,
        headers: &[(&'static str, String)],
        body: String,
    ) -> Result<(), String> {
        let posted = self.posted(settings, url, content_type, headers, body);
        tokio::time::timeout(TIMEOUT, posted).await.map_err(|_| late(TIMEOUT))?.map(|_| ())
    }

    async fn posted(
        &self,
        settings: &Arc<DialSettings>,
        url: &str,
        content_type: &str,
        headers: &[(&'static str, String)],
        body: String,
    ) -> Result<ClientResponse, String> {
        let uri = Uri::try_from(url).map_err(|_| "the address is no URL".to_owned())?;
        let mut request = self.client(settings).post(&uri).no_decompress().content_type(content_type);
        for (name, value) in headers {
            request = request.insert_header((*name, value.as_str()));
        }
        let agent = ("user-agent", concat!("bursar/", env!("CARGO_PKG_VERSION")));
        let sent = request.insert_header(agent).send_body(body).await;
        let answer = sent.map_err(|error| dial::of_send_error(&error, &uri).message)?;
        let status = answer.status();
        if status.is_success() { Ok(answer) } else { Err(format!("the answer had status {}", status.as_u16())) }
    }
}

fn late(patience: Duration) -> String {
    format!("no answer within {patience:?}")
}
