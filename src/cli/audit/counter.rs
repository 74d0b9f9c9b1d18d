//! Where the commands about the books are answered: by the running gateway over its socket, or, where none runs, by this
//! process, which then holds the data directory for as long as it takes and writes down the same as the gateway would.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use bursar_actors::audit::beside;
use bursar_actors::audit::journal::RealDisk;
use bursar_actors::audit::log::index_path;
use bursar_actors::store::AuditStore;
use serde_json::Value;

use super::super::control::{self, TIMEOUT, Unanswered};
use super::super::data::Data;
use crate::books::desk::{self, Ask, Asker, DeskError, Reply};
use crate::books::{Books, Keys, Opened};
use crate::config::load::{Sources, load};

/// How often a person is told how far it is.
const TOLD_EVERY: Duration = Duration::from_millis(500);
/// How often a log is told.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Exit code when the books are not those that were signed; as `serve` has it.
const EXIT_TAMPERED: u8 = 78;

/// Why there is no answer: words, and the exit code.
pub struct Failure {
    pub why: String,
    pub code: ExitCode,
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self { why, code: ExitCode::FAILURE }
    }
}

impl Failure {
    /// Says why on standard error and returns the exit code.
    pub fn told(self) -> ExitCode {
        super::super::complain(self.why);
        self.code
    }
}

/// Returns what the books answer to `ask`.
pub fn ask(sources: &Sources, ask: Ask) -> Result<Reply, Failure> {
    match over_socket(sources, &ask) {
        Err(Unanswered::NoGateway(_)) => alone(sources, ask),
        Err(Unanswered::Broken(why)) => Err(why.into()),
        Ok(reply) => reply,
    }
}

/// Returns the answer where it is JSON.
pub fn json(sources: &Sources, question: Ask) -> Result<Value, Failure> {
    match ask(sources, question)? {
        Reply::Json(answer) => Ok(answer),
        Reply::Content { .. } => Err("the answer is no JSON".to_owned().into()),
    }
}

fn over_socket(sources: &Sources, ask: &Ask) -> Result<Result<Reply, Failure>, Unanswered> {
    let (method, path, body) = wire(ask);
    let path = format!("/admin/api/audit/{path}");
    let call = (method, path.as_str(), body.as_slice());
    let (status, answer) = if is_long(ask) {
        let progress = || {
            let status = control::get(sources, "/admin/api/audit/status").ok()?;
            Some((status["working"]["done"].as_u64()?, status["working"]["total"].as_u64()?))
        };
        told_meanwhile(progress, || control::exchange(sources, call, None))?
    } else {
        control::exchange(sources, call, Some(TIMEOUT))?
    };
    if status == 200
        && let Ask::Body(_) = ask
    {
        return Ok(Ok(Reply::Content { part: "", bytes: answer }));
    }
    let parsed: Result<Value, _> = serde_json::from_slice(&answer);
    let parsed = parsed.map_err(|error| Unanswered::Broken(format!("the gateway's answer is no JSON: {error}")))?;
    if status == 200 {
        return Ok(Ok(Reply::Json(parsed)));
    }
    let faults: Vec<&str> = parsed["faults"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let why = match (faults.is_empty(), parsed["error"]["message"].as_str()) {
        (false, _) => faults.join("\n"),
        (true, Some(message)) => message.to_owned(),
        (true, None) => format!("the gateway answered {status}"),
    };
    Ok(Err(why.into()))
}

fn is_long(ask: &Ask) -> bool {
    matches!(ask, Ask::Export(_) | Ask::Backup { .. } | Ask::Rebuild | Ask::Erase(_))
}

/// Returns method, path below `/admin/api/audit/` and body of `ask`.
fn wire(ask: &Ask) -> (&'static str, String, Vec<u8>) {
    let get = |path: String| ("GET", path, Vec::new());
    let post = |path: &str, body: Vec<u8>| ("POST", path.to_owned(), body);
    let sized = |size: &Option<u64>| size.map(|size| format!("&size={size}")).unwrap_or_default();
    match ask {
        Ask::Status => get("status".into()),
        Ask::Search(pairs) => {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
            get(format!("records?{}", pairs.join("&")))
        }
        Ask::Show(index) => get(format!("records/{index}")),
        Ask::Body(index) => get(format!("records/{index}/body")),
        Ask::Inclusion { index, size } => get(format!("proof/inclusion?index={index}{}", sized(size))),
        Ask::Consistency { old, size } => get(format!("proof/consistency?old={old}{}", sized(size))),
        Ask::Checkpoint => post("checkpoint", Vec::new()),
        Ask::Rebuild => post("rebuild", Vec::new()),
        Ask::Export(order) => post("export", bytes_of(order)),
        Ask::Backup { folder, .. } => post("backup", bytes_of(&serde_json::json!({ "folder": folder }))),
        Ask::Erase(subject) => post("erase", bytes_of(subject)),
        Ask::Hold(subject) => post("holds", bytes_of(subject)),
        Ask::Release(subject) => ("DELETE", "holds".into(), bytes_of(subject)),
        Ask::Holds => get("holds".into()),
    }
}

fn bytes_of(order: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(order).expect("an order has no map with other keys than strings")
}

/// Returns `text` as it may stand in a query (RFC 3986, 2.3).
fn escaped(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Answers without a gateway.
fn alone(sources: &Sources, mut ask: Ask) -> Result<Reply, Failure> {
    let config = load(sources).map_err(|faults| format!("these settings cannot be used\n{faults}"))?;
    let path = &config.storage.path;
    if !path.join("journal").is_dir() {
        return Err(format!(
            "there are no books in {}, and no gateway runs there; name it with --data",
            path.display()
        )
        .into());
    }
    let _held = Data::hold(path)?;
    if let Ask::Backup { beside, .. } = &mut ask {
        *beside = beside::at_rest(path)?;
    }
    if matches!(ask, Ask::Rebuild) {
        // Opening makes it again, and tells how far it is.
        let index = index_path(path);
        AuditStore::discard(&index).map_err(|error| format!("cannot remove the index {}: {error}", index.display()))?;
    }
    let mut teller = Teller::default();
    let mut told = |done: u64, total: u64| teller.tell("reading the books", done, total);
    let opened = Keys::of(&config).and_then(|keys| {
        Opened::open_on(Arc::new(RealDisk), Some("by hand, while no gateway runs"), &config, keys, &mut told)
    });
    let opened = opened.map_err(|error| {
        let code = if error.is_tampering() { ExitCode::from(EXIT_TAMPERED) } else { ExitCode::FAILURE };
        Failure { why: error.to_string(), code }
    })?;
    drop(teller);
    let known: OnceLock<Weak<Books>> = OnceLock::new();
    let progress = || known.get().and_then(Weak::upgrade).and_then(|books| books.progress());
    let answer = told_meanwhile(progress, || {
        actix::System::new().block_on(async {
            let books = opened.start();
            let _ = known.set(Arc::downgrade(&books));
            let answer = desk::answer(&books, Asker { id: "offline", team: None }, ask).await;
            books.close().await;
            answer
        })
    });
    answer.map_err(|error: DeskError| error.to_string().into())
}

/// Does `work` and tells meanwhile on standard error how far it is.
fn told_meanwhile<T>(progress: impl Fn() -> Option<(u64, u64)> + Sync, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let (finished, running) = mpsc::channel::<()>();
        let progress = &progress;
        scope.spawn(move || {
            let mut teller = Teller::default();
            while running.recv_timeout(TOLD_EVERY) == Err(RecvTimeoutError::Timeout) {
                if let Some((done, total)) = progress() {
                    teller.tell("exporting", done, total);
                }
            }
        });
        let done = work();
        drop(finished);
        done
    })
}

/// Says on standard error how far something is: on a terminal in one line, elsewhere a line now and then.
pub struct Teller {
    is_terminal: bool,
    told: Option<Instant>,
}

impl Default for Teller {
    fn default() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), told: None }
    }
}

impl Teller {
    pub fn tell(&mut self, what: &str, done: u64, total: u64) {
        let every = if self.is_terminal { TOLD_EVERY } else { LINE_EVERY };
        let begun = *self.told.get_or_insert_with(Instant::now);
        if begun.elapsed() < every {
            return;
        }
        self.told = Some(Instant::now());
        let percent = (done * 100).checked_div(total).unwrap_or(100);
        let (start, end) = if self.is_terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        let _ = write!(io::stderr(), "{start}{what}: {done} of {total} ({percent} %){end}");
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if self.is_terminal && self.told.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
