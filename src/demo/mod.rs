//! The built-in demo provider: an HTTP/1.1 server on a loopback port inside the process.
//!
//! A newcomer talks to it while no real key is set, and every end-to-end test runs against it. Its answers depend on
//! the seed and the request alone (only `created` is the clock's), and it can be scripted down to single bytes: see
//! [`Rule`] and [`Behaviour`]. A request may bring its own script in a top-level field `demo`, for example
//! `{"model": "demo-small", "messages": [...], "demo": {"status": 503}}`.
//!
//! It speaks four dialects, each with the original's shapes, order of events, arithmetic of tokens and strictness:
//!
//! | dialect            | paths                                                                                  |
//! |--------------------|----------------------------------------------------------------------------------------|
//! | OpenAI             | `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`, `/v1/models`              |
//! | OpenAI's Responses | `/v1/responses`                                                                        |
//! | Anthropic          | `/v1/messages`, `/v1/messages/count_tokens`, `/v1/models` with `anthropic-version`     |
//! | Gemini             | `/v1beta/models`, `…/models/{model}:generateContent`, `:streamGenerateContent`,        |
//! |                    | `:countTokens`, `:embedContent`, `:batchEmbedContents`; also under `/v1` and Vertex's  |
//! |                    | `/publishers/google`                                                                   |
//!
//! What is said is decided in one place (`speech`): calls where tools are given, JSON where a schema is, thoughts where
//! asked, and for the words `demo:refuse`, `demo:block` and `demo:redact` in the user's message a refusal, a filtered
//! answer and redacted thoughts. Thoughts are signed, and a signature that comes back wrong is refused. The prompt cache
//! is the one thing remembered between requests; it changes figures only.
//!
//! | model        | behaviour                                                     |
//! |--------------|---------------------------------------------------------------|
//! | `demo-small` | a short answer                                                |
//! | `demo-large` | a longer answer                                               |
//! | `demo-slow`  | the configured waits, several times over                      |
//! | `demo-flaky` | fails now and then: 500, 503, 429 or a cut answer             |
//! | `demo-embed` | embeddings                                                    |
//! | `demo-gemini-3` | in Gemini's dialect only: `demo-small` that demands thought signatures back |
//!
//! It listens on a real socket and never calls the gateway's own code, so that what the tests see is the wire.

mod answer;
mod anthropic;
mod cache;
mod dialect;
mod dice;
mod embedding;
mod gemini;
mod models;
mod openai;
mod pattern;
mod record;
mod reply;
mod request;
mod responses;
mod schema_value;
mod script;
mod server;
mod shape;
mod signature;
mod speech;
mod text;
mod tools;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::config::DemoSettings;

pub use record::{Ending, Exchange};
pub use script::{Behaviour, Raw, Rule, When};

use record::Record;

/// How the demo provider behaves where no script says otherwise.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    pub seed: u64,
    /// From the request's last byte to the first token.
    pub first_token: Duration,
    pub per_token: Duration,
    /// Share by which the two waits vary, 0 to 1.
    pub jitter: f64,
    /// Share of requests to fail, 0 to 1.
    pub error_rate: f64,
    /// Whether a model name the provider does not know is served like `demo-small` instead of refused.
    pub any_model: bool,
    /// The keys accepted, wherever the dialect puts them; empty means that any key, or none, will do.
    pub keys: Vec<String>,
    pub listen: SocketAddr,
    /// How many of the last exchanges [`Demo::exchanges`] remembers.
    pub remembered: usize,
}

impl Default for DemoOptions {
    /// What tests want: no waits, no failures, a free port, all exchanges kept.
    fn default() -> Self {
        Self {
            seed: 1,
            first_token: Duration::ZERO,
            per_token: Duration::ZERO,
            jitter: 0.0,
            error_rate: 0.0,
            any_model: false,
            keys: Vec::new(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            remembered: usize::MAX,
        }
    }
}

impl From<&DemoSettings> for DemoOptions {
    /// What a running gateway wants: the operator's waits, and no prompt kept in memory.
    fn from(settings: &DemoSettings) -> Self {
        Self {
            seed: settings.seed,
            first_token: settings.first_token,
            per_token: settings.per_token,
            jitter: settings.jitter,
            error_rate: settings.error_rate,
            remembered: 0,
            ..Self::default()
        }
    }
}

/// A running demo provider; dropping it closes every connection and ends its thread.
#[derive(Debug)]
pub struct Demo {
    address: SocketAddr,
    record: Arc<Record>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Demo {
    /// Binds the port and serves on a thread of its own; the port accepts connections once this returns.
    ///
    /// # Errors
    /// When the address is taken, or the system grants no thread or no event loop.
    pub fn start(options: DemoOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let record = Arc::new(Record::new(options.remembered));
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&record);
        let thread = std::thread::Builder::new().name("demo".to_owned()).spawn(move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, server::run(listener, options, shared, stopped));
        })?;
        Ok(Self { address, record, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns where the provider listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the base URL of the OpenAI dialect, `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Replaces the script; the counts of `skip` and `times` begin anew.
    pub fn script(&self, rules: Vec<Rule>) {
        self.record.set_script(rules);
    }

    /// Returns what has arrived, oldest first; of the last [`DemoOptions::remembered`] requests.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.record.exchanges()
    }

    /// Returns once the predicate holds for the exchanges; it is asked anew after every change.
    ///
    /// The predicate runs under the record's lock: it must not call [`Demo::exchanges`] or [`Demo::script`].
    pub async fn wait_for(&self, predicate: impl Fn(&[Exchange]) -> bool) {
        let mut changes = self.record.changes();
        while !self.record.with_exchanges(&predicate) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Returns once exactly `count` connections are open.
    pub async fn wait_for_open_connections(&self, count: usize) {
        self.wait_for(|_| self.open_connections() == count).await;
    }

    /// Returns how many connections are open now.
    pub fn open_connections(&self) -> usize {
        self.record.open_connections()
    }

    /// Returns how many connections were ever accepted.
    pub fn connections_accepted(&self) -> usize {
        self.record.connections_accepted()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A thread that has already ended needs no word.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic in there has already been printed; a second one in a destructor would abort.
            let _ = thread.join();
        }
    }
}
