//! What the demo provider has seen: exchanges, connections, and how far the script has come.
//!
//! Shared between the server's thread and the tests. No lock is held longer than it takes to read or write a line.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;

use super::dialect;
use super::script::{Asked, Behaviour, Rule, Script};

/// One request that arrived, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// Counts from 0 over the life of the provider.
    pub number: usize,
    /// The connection it came on; counts from 0.
    pub connection: usize,
    pub method: String,
    /// As sent, with the query.
    pub path: String,
    /// Names in lower case, in the order of arrival.
    pub headers: Vec<(String, String)>,
    /// From `x-api-key`, `x-goog-api-key`, the bearer of `authorization`, or `key` of the query.
    pub key: Option<String>,
    /// The body as JSON; `null` when it is none.
    pub body: Value,
    /// The body as it arrived, chunk framing removed.
    pub raw_body: Bytes,
    /// The status answered, or about to be when the client hung up first; none while in progress, and none when the
    /// script sent no HTTP.
    pub status: Option<u16>,
    pub ending: Ending,
}

impl Exchange {
    /// Returns the first header of that name; `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the model asked for: in the path at Gemini, else in the body.
    pub fn model(&self) -> Option<&str> {
        dialect::model(self.path.split('?').next().unwrap_or_default(), &self.body)
    }
}

/// How an exchange ended, as the provider saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    InProgress,
    /// The whole answer went out.
    Complete,
    /// The client hung up first, so long after its request was read. Closing only its sending half counts too.
    PeerClosed {
        after: Duration,
    },
    /// The script had the provider break off.
    Cut,
}

/// The shared state of one provider.
#[derive(Debug)]
pub(super) struct Record {
    book: Mutex<Book>,
    remembered: usize,
    open: AtomicUsize,
    accepted: AtomicUsize,
    requests: AtomicUsize,
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Book {
    exchanges: VecDeque<Exchange>,
    script: Script,
}

impl Record {
    pub(super) fn new(remembered: usize) -> Self {
        Self {
            book: Mutex::default(),
            remembered,
            open: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            changes: watch::Sender::new(()),
        }
    }

    /// A poisoned lock is taken all the same: a test's failed predicate must not take the provider down.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_replace(());
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(super) fn set_script(&self, rules: Vec<Rule>) {
        self.book().script = Script::new(rules);
    }

    /// Returns what the script says of a request, and counts it.
    pub(super) fn behaviour(&self, asked: &Asked<'_>, seed: u64) -> Option<Behaviour> {
        self.book().script.for_request(asked, seed)
    }

    /// Returns what the script says of a connection just accepted, and counts it.
    pub(super) fn behaviour_at_accept(&self, seed: u64) -> Option<Behaviour> {
        self.book().script.for_connection(seed)
    }

    pub(super) fn exchanges(&self) -> Vec<Exchange> {
        self.book().exchanges.iter().cloned().collect()
    }

    pub(super) fn with_exchanges(&self, predicate: impl Fn(&[Exchange]) -> bool) -> bool {
        predicate(self.book().exchanges.make_contiguous())
    }

    pub(super) fn next_request(&self) -> usize {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether [`Record::begin`] keeps anything, so that the caller may spare itself the copies.
    pub(super) fn remembers(&self) -> bool {
        self.remembered > 0
    }

    pub(super) fn begin(&self, exchange: Exchange) {
        let mut book = self.book();
        if book.exchanges.len() >= self.remembered {
            book.exchanges.pop_front();
        }
        book.exchanges.push_back(exchange);
        drop(book);
        self.changed();
    }

    /// Notes how the exchange of that number ended; one no longer remembered is passed over.
    pub(super) fn end(&self, number: usize, status: Option<u16>, ending: Ending) {
        if !self.remembers() {
            return;
        }
        let mut book = self.book();
        if let Some(exchange) = book.exchanges.iter_mut().rev().find(|exchange| exchange.number == number) {
            exchange.status = status;
            exchange.ending = ending;
        }
        drop(book);
        self.changed();
    }

    /// Counts a connection until the guard is dropped.
    pub(super) fn connect(self: &std::sync::Arc<Self>) -> Connected {
        let number = self.accepted.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_add(1, Ordering::SeqCst);
        self.changed();
        Connected { number, record: std::sync::Arc::clone(self) }
    }

    pub(super) fn open_connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    pub(super) fn connections_accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// An open connection, counted as such while this lives.
pub(super) struct Connected {
    pub(super) number: usize,
    record: std::sync::Arc<Record>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.record.open.fetch_sub(1, Ordering::SeqCst);
        self.record.changed();
    }
}
