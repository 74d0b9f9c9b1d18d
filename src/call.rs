//! One request in flight: who asks, for what, since when and until when.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix_http::header::{HeaderName, HeaderValue};
use bursar_actors::TeamId;
use bursar_actors::access::{Identity, Scope};
use bytes::Bytes;
use rand::RngExt;
use rand::rngs::SmallRng;

use crate::schema::RequestHead;

/// Longest request id accepted from a client, in bytes.
const ID_MAX: usize = 64;
/// Longest session kept, in bytes.
const SESSION_MAX: usize = 128;

thread_local! {
    // One generator per worker: identifiers cost no system call per request.
    static GENERATOR: RefCell<SmallRng> = RefCell::new(rand::make_rng());
}

/// The name of one request, in headers, logs and records: a ULID, or what the client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Returns a new ULID of the current time.
    pub fn generate() -> Self {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let chance = GENERATOR.with_borrow_mut(|generator| generator.random::<u128>());
        let mut text = [0; ulid::ULID_LEN];
        Self(Arc::from(&*ulid::Ulid::from_parts(now_ms, chance).array_to_str(&mut text)))
    }

    /// Returns the client's own id if it is harmless in a header and a log line: letters, digits, `-`, `_`, `.`.
    pub fn from_client(text: &str) -> Option<Self> {
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (!text.is_empty() && text.len() <= ID_MAX && text.bytes().all(harmless)).then(|| Self(Arc::from(text)))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The conversation that a request belongs to, as the client calls it. It stands in the books as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session(Arc<str>);

impl Session {
    /// Returns the client's session if it is an id and no text: letters, digits, `-_.:/+=~`, 128 at most.
    ///
    /// It is not cut, because two sessions must not become one.
    pub fn from_client(text: &str) -> Option<Self> {
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=~".contains(&byte);
        (!text.is_empty() && text.len() <= SESSION_MAX && text.bytes().all(harmless)).then(|| Self(Arc::from(text)))
    }

    /// Returns the session as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the seconds since 1970 by the wall clock: for dates that people read, never for a decision.
pub fn unix_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// Returns the microseconds since 1970 by the wall clock: for the dates of records, never for a decision.
pub fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// Who asks: whom a client key stands for, or nobody in particular on a loopback gateway without keys, who may do anything.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    identity: Option<Arc<Identity>>,
    user: Option<Arc<str>>,
}

impl Caller {
    /// Returns the caller that `identity` stands for.
    pub fn of(identity: Arc<Identity>) -> Self {
        Self { identity: Some(identity), user: None }
    }

    /// Returns the caller with the name of the end user, where somebody trusted has told it.
    pub fn named(self, user: Option<Arc<str>>) -> Self {
        Self { user, ..self }
    }

    /// Returns the end user's name, where it is known for sure: it goes before what the request says.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns whom the caller's key stands for; `None` where no key was asked for.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// Returns the id of the client key; never the key.
    pub fn key_id(&self) -> Option<&Arc<str>> {
        self.identity.as_ref().map(|identity| &identity.key)
    }

    /// Returns its team.
    pub fn team(&self) -> Option<&TeamId> {
        self.identity.as_ref().map(|identity| &identity.team)
    }

    /// Returns what it may use; `None` means everything.
    pub fn scope(&self) -> Option<&Scope> {
        self.identity.as_ref().map(|identity| &identity.scope)
    }

    /// Returns whether the caller may ask for `model` by that name.
    pub fn may_use(&self, model: &str) -> bool {
        self.scope().is_none_or(|scope| scope.models.allow(model))
    }

    /// Returns the team's name for metrics, `none` without one.
    pub fn team_label(&self) -> &str {
        self.team().map_or("none", TeamId::as_str)
    }
}

/// What the client's headers may narrow.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// `x-bursar-timeout`: less than the gateway's own deadline.
    pub timeout: Option<Duration>,
    /// `x-bursar-first-token-timeout`.
    pub first_token_timeout: Option<Duration>,
    /// `x-bursar-retries`: at most this many further attempts.
    pub retries: Option<u32>,
    /// `x-bursar-fallback: off`.
    pub no_fallback: bool,
    /// `x-bursar-strict: true`: a refusal rather than an answer to less than was asked.
    pub strict: bool,
}

/// One request in flight.
#[derive(Debug, Clone)]
pub struct Call {
    pub id: RequestId,
    pub caller: Caller,
    pub head: RequestHead,
    /// As received; what goes upstream is patched from it.
    pub body: Bytes,
    pub wishes: Wishes,
    /// Headers that an upstream of the client's own dialect gets as they came.
    pub forwarded: Vec<(HeaderName, HeaderValue)>,
    /// Network of the client, for the books: its address without the part that tells one machine from another.
    pub network: Option<String>,
    /// What the client says that the request belongs to, for the books.
    pub session: Option<Session>,
    /// Classes of data that the client says it is of, by a header that the operator believes.
    pub classes: Vec<Arc<str>>,
    /// The class of data for whose sake only self-hosted providers may serve it.
    pub confined: Option<Arc<str>>,
    /// When the request line came in.
    pub received: Instant,
    /// When the body was complete.
    pub read: Instant,
    /// The same by the calendar, in seconds since 1970, for answers that bear no date of their own.
    pub received_unix_s: i64,
    /// When the answer must be complete.
    pub deadline: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_an_id_and_never_text() {
        let longest = "s".repeat(SESSION_MAX);
        for id in ["7f3c-a", "org/1:chat_2.b", "QUJD+/8=", longest.as_str()] {
            assert_eq!(Session::from_client(id).as_ref().map(Session::as_str), Some(id));
        }
        for text in ["", "of ann", "ann@example.com", "a\"b", "a\n", "é", &"s".repeat(SESSION_MAX + 1)] {
            assert_eq!(Session::from_client(text), None, "{text}");
        }
    }
}
