//! Sends one call to one upstream and hands back its answer; the only place that knows awc.
//!
//! What awc does silently is made loud here: a body that ends early, an answer without length, an old connection that
//! the upstream had just closed. Redirects are never followed, so a provider's key stays with its host.

mod dial;
pub mod judge;
mod pieces;

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use awc::error::{ConnectError, SendRequestError};
use awc::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use awc::http::{StatusCode, Uri};
use bursar_actors::{EndpointId, ErrorClass, LearnedLimits, Secret};
use bytes::Bytes;
use futures_util::Stream;

pub use crate::error::Failure;
use crate::providers::limits;
use crate::schema::Operation;
use dial::Dialer;
pub use pieces::Pieces;

/// Most bytes of an error body that are read; the rest only costs the connection.
const ERROR_BODY_MAX: usize = 64 * 1024;
/// Most bytes and time spent on the tail of an answer to keep its connection.
const DRAIN_MAX: usize = 64 * 1024;
const DRAIN_FOR: Duration = Duration::from_secs(1);

/// Where calls to one endpoint go and how.
#[derive(Debug, Clone)]
pub struct Destination {
    pub endpoint: EndpointId,
    pub provider: String,
    pub chat_completions: Uri,
    pub completions: Uri,
    pub embeddings: Uri,
    /// Sent with every call; the key comes on top.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub timeouts: Timeouts,
}

/// How long each phase of a call may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// DNS and TCP.
    pub connect: Duration,
    /// From the request to the first meaningful event of a stream.
    pub first_token: Duration,
    /// From the request to the head of a reply that is not streamed.
    pub reply: Duration,
    /// Silence within a body.
    pub idle: Duration,
}

impl Destination {
    /// Returns the destination at `base_url`; `None` where it or a header is no URL or header.
    pub fn of(
        endpoint: EndpointId,
        provider: &str,
        base_url: &str,
        headers: &[(String, String)],
        timeouts: Timeouts,
    ) -> Option<Self> {
        let uri = |path: &str| Uri::try_from(format!("{base_url}{path}")).ok();
        let own = [
            ("content-type", "application/json"),
            ("accept-encoding", "identity"),
            ("user-agent", concat!("bursar/", env!("CARGO_PKG_VERSION"))),
        ];
        let configured = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let header = |(name, value): (&str, &str)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
        };
        Some(Self {
            endpoint,
            provider: provider.into(),
            chat_completions: uri("/chat/completions")?,
            completions: uri("/completions")?,
            embeddings: uri("/embeddings")?,
            headers: own.into_iter().chain(configured).map(header).collect::<Option<_>>()?,
            timeouts,
        })
    }

    fn uri(&self, operation: Operation) -> &Uri {
        match operation {
            Operation::ChatCompletions => &self.chat_completions,
            Operation::Completions => &self.completions,
            Operation::Embeddings => &self.embeddings,
        }
    }
}

/// One worker's way to all upstreams. Not `Send`: each worker has its own connections.
#[derive(Default)]
pub struct Upstream {
    dialers: RefCell<HashMap<Duration, Dialer>>,
}

/// A 2xx answer whose body is still to be read.
pub struct Reply {
    response: awc::ClientResponse,
    /// Bytes announced by Content-Length, for noticing a cut.
    length: Option<u64>,
    read: u64,
    /// The body has ended or failed. awc panics when it is asked once more.
    over: bool,
    pub limits: LearnedLimits,
}

impl Upstream {
    fn dialer(&self, connect_timeout: Duration) -> Dialer {
        self.dialers.borrow_mut().entry(connect_timeout).or_insert_with(|| Dialer::new(connect_timeout)).clone()
    }

    /// Sends `body` and returns the answer if its status is 2xx, else what the refusal means.
    ///
    /// Gives up at `head_by`, counted from now on the caller's clock. A failure other than a refusal is classed as
    /// [`ErrorClass::ConnectFailed`] before the request was out and [`ErrorClass::StreamBroken`] after.
    pub async fn send(
        &self,
        destination: &Destination,
        operation: Operation,
        secret: Option<&Secret>,
        body: Bytes,
        head_by: Instant,
    ) -> Result<Reply, Failure> {
        let dialer = self.dialer(destination.timeouts.connect);
        let response = tokio::time::timeout_at(head_by.into(), async {
            let opened = dialer.opened.get();
            let sent = post(&dialer, destination, operation, secret, body.clone())?.await;
            match sent {
                // No new connection was made: the upstream closed an idle one as the request was on its way.
                Err(SendRequestError::Connect(ConnectError::Disconnected)) if dialer.opened.get() == opened => {
                    post(&dialer, destination, operation, secret, body)?.await.map_err(of_send_error)
                }
                sent => sent.map_err(of_send_error),
            }
        })
        .await
        .map_err(|_| Failure::plain(ErrorClass::FirstByteTimeout, "no first byte from the upstream in time"))??;
        judge_head(response).await
    }
}

fn post(
    dialer: &Dialer,
    destination: &Destination,
    operation: Operation,
    secret: Option<&Secret>,
    body: Bytes,
) -> Result<awc::SendClientRequest, Failure> {
    let mut request = dialer.client.post(destination.uri(operation)).no_decompress();
    let headers = request.headers_mut();
    for (name, value) in &destination.headers {
        headers.insert(name.clone(), value.clone());
    }
    if let Some(secret) = secret {
        let bearer = HeaderValue::from_str(&format!("Bearer {}", secret.expose()));
        let mut bearer = bearer.map_err(|_| {
            Failure::plain(ErrorClass::AuthInvalid, "the provider key holds characters that no header may carry")
        })?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    Ok(request.send_body(body))
}

fn of_send_error(error: SendRequestError) -> Failure {
    let class = match &error {
        SendRequestError::Connect(ConnectError::Disconnected)
        | SendRequestError::Send(_)
        | SendRequestError::Response(_) => ErrorClass::StreamBroken,
        _ => ErrorClass::ConnectFailed,
    };
    // The error's text names hosts and causes, never headers or bodies.
    Failure::plain(class, format!("upstream call failed: {error}"))
}

async fn judge_head(response: awc::ClientResponse) -> Result<Reply, Failure> {
    let status = response.status();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let length = header("content-length").and_then(|text| text.parse().ok());
    let framed = length.is_some() || header("transfer-encoding").is_some();
    let limits = limits::learn(&header, SystemTime::now());
    let mut reply = Reply { response, length, read: 0, over: false, limits };
    if status.is_success() {
        if !framed && status != StatusCode::NO_CONTENT {
            // awc reads a body that ends with its connection as an empty one.
            let why = "the upstream's answer has neither content-length nor chunked framing";
            return Err(Failure::plain(ErrorClass::ServerError, why));
        }
        return Ok(reply);
    }
    let body = tokio::time::timeout(DRAIN_FOR, reply.read_whole(ERROR_BODY_MAX)).await;
    let body = body.ok().and_then(Result::ok).unwrap_or_default();
    let header = |name: &str| reply.response.headers().get(name).and_then(|value| value.to_str().ok());
    let mut failure = judge::judge_status(status.as_u16(), &header, &body, SystemTime::now());
    failure.limits = reply.limits;
    Err(failure)
}

impl Reply {
    /// Reads the body to its end, at most `max` bytes.
    pub async fn read_whole(&mut self, max: usize) -> Result<Bytes, Failure> {
        let mut pieces = Pieces::default();
        while let Some(piece) = std::future::poll_fn(|context| self.poll_piece(context)).await {
            let piece = piece?;
            if pieces.len() + piece.len() > max {
                let why = format!("the upstream's answer exceeds {max} bytes");
                return Err(Failure::plain(ErrorClass::ServerError, why));
            }
            pieces.push(piece);
        }
        Ok(pieces.take())
    }

    /// Returns the next piece of the body, `None` at its end. An end before the announced length is a failure.
    pub fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let piece = std::task::ready!(Pin::new(&mut self.response).poll_next(context));
        let broken = match piece {
            Some(Ok(piece)) => {
                self.read += piece.len() as u64;
                return Poll::Ready(Some(Ok(piece)));
            }
            Some(Err(error)) => Some(format!("the upstream's answer broke off: {error}")),
            None => self.length.filter(|length| self.read < *length).map(|length| {
                let read = self.read;
                format!("the upstream's answer ended after {read} of {length} bytes")
            }),
        };
        self.over = true;
        Poll::Ready(broken.map(|why| Err(Failure::plain(ErrorClass::StreamBroken, why))))
    }

    /// Reads what is left in the background, within bounds, so that the connection can serve the next call.
    pub fn drain(mut self) {
        if self.over {
            return;
        }
        actix_rt::spawn(async move {
            let _ = tokio::time::timeout(DRAIN_FOR, self.read_whole(DRAIN_MAX)).await;
        });
    }
}
