//! Sends one call to one upstream and hands back its answer; the only place that knows awc.
//!
//! What awc does silently is made loud here: a body that ends early, an answer without length, an old connection that
//! the upstream had just closed. Redirects are never followed, so a provider's key stays with its host.

mod authority;
pub mod credentials;
pub mod dial;
pub mod format;
pub mod judge;
mod listing;
mod pieces;
mod posting;

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use awc::http::header::{HeaderName, HeaderValue};
use awc::http::{StatusCode, Uri};
use bursar_actors::{EndpointId, ErrorClass, LearnedLimits, Secret};
use bytes::Bytes;
use futures_util::Stream;

pub use crate::error::Failure;
use crate::providers::dialect::WireRequest;
use crate::providers::limits;
use crate::schema::Operation;
use authority::Proof;
use credentials::Credentials;
use dial::{DialSettings, Resolver};
use format::Format;
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
    /// See [`home`].
    pub home: u64,
    pub provider: String,
    /// Where it is, by the operator's word.
    pub region: Option<String>,
    /// Whether it runs on machines of the operator's own.
    pub self_hosted: bool,
    pub base_url: String,
    pub format: Format,
    /// Ready for the calls that come most often.
    chat_completions: Uri,
    pub models: Uri,
    /// Sent with every call; the key comes on top.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub timeouts: Timeouts,
    pub dial: Arc<DialSettings>,
}

/// How long each phase of a call may take once it has a connection.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From the request to the first meaningful event of a stream.
    pub first_token: Duration,
    /// From the request to the head of a reply that is not streamed.
    pub reply: Duration,
    /// Silence within a body.
    pub idle: Duration,
}

/// Returns the number by which leases tell one base URL from another, so that a reload that moves an endpoint to another
/// host never sends the new host's key to the old one.
pub fn home(base_url: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    base_url.hash(&mut hasher);
    hasher.finish()
}

impl Destination {
    /// Returns the destination at `base_url`; `None` where it or a header is no URL or header.
    pub fn of(
        endpoint: EndpointId,
        provider: &str,
        base_url: &str,
        format: Format,
        headers: &[(String, String)],
        timeouts: Timeouts,
        dial: Arc<DialSettings>,
    ) -> Option<Self> {
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
            home: home(base_url),
            provider: provider.into(),
            region: None,
            self_hosted: false,
            chat_completions: format.uri(base_url, "/chat/completions", "")?,
            models: format.uri(base_url, format.models_path(), "")?,
            base_url: base_url.into(),
            format,
            headers: own.into_iter().chain(configured).map(header).collect::<Option<_>>()?,
            timeouts,
            dial,
        })
    }

    /// Returns a call whose body is the client's own, but for the model's name.
    pub fn passing(&self, operation: Operation, model: &str, stream: bool, body: Bytes) -> Option<Outgoing> {
        let uri = if operation == Operation::ChatCompletions && !self.format.is_dated() {
            self.chat_completions.clone()
        } else {
            self.format.uri(&self.base_url, &self.format.path(operation, model, stream), model)?
        };
        Some(Outgoing { uri, headers: Vec::new(), body })
    }

    /// Returns a call that was written for this upstream.
    pub fn written(&self, wire: WireRequest, model: &str) -> Option<Outgoing> {
        let header = |(name, value): (&'static str, String)| {
            Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?))
        };
        let headers = wire.headers.into_iter().map(header).collect::<Option<_>>()?;
        Some(Outgoing { uri: self.format.uri(&self.base_url, &wire.path, model)?, headers, body: wire.body })
    }
}

/// One call as it goes out, but for the key.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub uri: Uri,
    /// Besides those of the destination.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
}

/// One worker's way to all upstreams. Not `Send`: each worker has its own connections.
pub struct Upstream {
    resolver: Arc<Resolver>,
    /// By the id of the settings, which are let go when no route uses them any more.
    clients: RefCell<HashMap<u64, (Weak<DialSettings>, awc::Client)>>,
    /// What placeholders stand for.
    credentials: Arc<Credentials>,
}

impl Default for Upstream {
    /// Asks the system's resolver for names.
    fn default() -> Self {
        Self::new(Resolver::system())
    }
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
    /// What it took to open the connection; zero on one that was open.
    pub connect: Duration,
}

impl Upstream {
    /// Returns a way that asks `resolver` for names.
    pub fn new(resolver: Arc<Resolver>) -> Self {
        Self { resolver, clients: RefCell::default(), credentials: Arc::default() }
    }

    /// Exchanges the placeholders of keys for what is in `credentials`.
    pub fn with_credentials(self, credentials: Arc<Credentials>) -> Self {
        Self { credentials, ..self }
    }

    fn client(&self, settings: &Arc<DialSettings>) -> awc::Client {
        let mut clients = self.clients.borrow_mut();
        if let Some((_, client)) = clients.get(&settings.id) {
            return client.clone();
        }
        // Settings are new after a reload; what it replaced goes with its idle connections.
        clients.retain(|_, (settings, _)| settings.strong_count() > 0);
        let client = dial::client(settings.clone(), self.resolver.clone());
        clients.insert(settings.id, (Arc::downgrade(settings), client.clone()));
        client
    }

    /// Makes the call and returns the answer if its status is 2xx, else what the refusal means.
    ///
    /// Gives up at `head_by`, counted from now on the caller's clock. A failure other than a refusal is classed as
    /// [`ErrorClass::ConnectFailed`] before the request was out and [`ErrorClass::StreamBroken`] after. Where `secret`
    /// stands for a minted credential, a call that is refused for it goes out once more with the next.
    pub async fn send(
        &self,
        destination: &Destination,
        outgoing: Outgoing,
        secret: Option<&Secret>,
        head_by: Instant,
    ) -> Result<Reply, Failure> {
        let call = |proof: Option<Proof>| {
            let outgoing = outgoing.clone();
            async move { self.send_once(destination, outgoing, proof, head_by).await }
        };
        self.authorized(secret, head_by, call).await
    }

    async fn send_once(
        &self,
        destination: &Destination,
        outgoing: Outgoing,
        proof: Option<Proof>,
        head_by: Instant,
    ) -> Result<Reply, Failure> {
        let client = self.client(&destination.dial);
        let (response, connect) = tokio::time::timeout_at(head_by.into(), async {
            let sent = post(&client, destination, &outgoing, proof.as_ref())?;
            let (sent, connect) = match dial::noting_connections(sent).await {
                // The upstream closed an idle connection as the request was on its way.
                (Err(error), None) if dial::may_be_stale(&error) => {
                    dial::noting_connections(post(&client, destination, &outgoing, proof.as_ref())?).await
                }
                noted => noted,
            };
            let response = sent.map_err(|error| dial::of_send_error(&error, &outgoing.uri))?;
            Ok::<_, Failure>((response, connect.unwrap_or_default()))
        })
        .await
        .map_err(|_| Failure::plain(ErrorClass::FirstByteTimeout, "no first byte from the upstream in time"))??;
        Ok(Reply { connect, ..judge_head(response).await? })
    }
}

fn post(
    client: &awc::Client,
    destination: &Destination,
    outgoing: &Outgoing,
    proof: Option<&Proof>,
) -> Result<awc::SendClientRequest, Failure> {
    let mut request = client.post(&outgoing.uri).no_decompress();
    let headers = request.headers_mut();
    for (name, value) in destination.headers.iter().chain(&outgoing.headers) {
        headers.insert(name.clone(), value.clone());
    }
    if let Some(proof) = proof {
        proof.show(headers, &destination.format.auth, "POST", &outgoing.uri, &outgoing.body)?;
    }
    Ok(request.send_body(outgoing.body.clone()))
}

async fn judge_head(response: awc::ClientResponse) -> Result<Reply, Failure> {
    let status = response.status();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let length = header("content-length").and_then(|text| text.parse().ok());
    let framed = length.is_some() || header("transfer-encoding").is_some();
    let coded = header("content-encoding").filter(|coding| !coding.eq_ignore_ascii_case("identity"));
    let coded = coded.map(|_| {
        let why = "the upstream compressed its answer although it was asked not to";
        Failure::plain(ErrorClass::ServerError, why)
    });
    let limits = limits::learn(&header, SystemTime::now());
    let mut reply = Reply { response, length, read: 0, over: false, limits, connect: Duration::ZERO };
    if status.is_success() {
        // Nothing is unpacked here: a kilobyte could become a gigabyte.
        if let Some(failure) = coded {
            return Err(failure);
        }
        if !framed && status != StatusCode::NO_CONTENT {
            // awc reads a body that ends with its connection as an empty one.
            let why = "the upstream's answer has neither content-length nor chunked framing";
            return Err(Failure::plain(ErrorClass::ServerError, why));
        }
        return Ok(reply);
    }
    let body = reply.read_some(ERROR_BODY_MAX, DRAIN_FOR).await;
    let body = if coded.is_some() { Bytes::new() } else { body };
    let header = |name: &str| reply.response.headers().get(name).and_then(|value| value.to_str().ok());
    let mut failure = judge::judge_status(status.as_u16(), &header, &body, SystemTime::now());
    failure.limits = reply.limits;
    Err(failure)
}

impl Reply {
    /// Reads what comes of the body within `time`, and not much more than `max` bytes.
    async fn read_some(&mut self, max: usize, time: Duration) -> Bytes {
        let until = tokio::time::Instant::now() + time;
        let mut pieces = Pieces::default();
        while pieces.len() < max {
            let next = std::future::poll_fn(|context| self.poll_piece(context));
            let Ok(Some(Ok(piece))) = tokio::time::timeout_at(until, next).await else { break };
            pieces.push(piece);
        }
        pieces.take()
    }

    /// Reads the body to its end, at most `max` bytes; a silence of `idle` fails it, and so does `room`, which is asked
    /// whether there is room for so many bytes in all.
    pub async fn read_whole(
        &mut self,
        max: usize,
        idle: Duration,
        mut room: impl FnMut(usize) -> Result<(), Failure>,
    ) -> Result<Bytes, Failure> {
        let mut pieces = Pieces::default();
        if let Some(length) =
            self.length.and_then(|length| usize::try_from(length).ok()).filter(|length| *length <= max)
        {
            room(length)?;
        }
        loop {
            let next = std::future::poll_fn(|context| self.poll_piece(context));
            let silent = |_| Failure::plain(ErrorClass::StreamBroken, "the upstream's answer stopped half-way");
            let Some(piece) = tokio::time::timeout(idle, next).await.map_err(silent)? else { break };
            let piece = piece?;
            if pieces.len() + piece.len() > max {
                let why = format!("the upstream's answer exceeds {max} bytes");
                return Err(Failure::plain(ErrorClass::ServerError, why));
            }
            room(pieces.len() + piece.len())?;
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
            Some(Err(error)) => Some(dial::of_body_error(&error)),
            None => self.length.filter(|length| self.read < *length).map(|length| {
                let why = format!("the upstream's answer ended after {} of {length} bytes", self.read);
                Failure::plain(ErrorClass::StreamBroken, why)
            }),
        };
        self.over = true;
        Poll::Ready(broken.map(Err))
    }

    /// Reads what is left in the background, within bounds, so that the connection can serve the next call.
    pub fn drain(mut self) {
        if self.over {
            return;
        }
        actix_rt::spawn(async move {
            let _ = self.read_some(DRAIN_MAX, DRAIN_FOR).await;
        });
    }
}
