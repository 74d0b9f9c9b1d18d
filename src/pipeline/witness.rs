//! Tells the witnesses of the books each new checkpoint, each in its own time: one that is slow or gone holds up nobody.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bursar_actors::audit::checkpoint::Note;
use bursar_actors::audit::log::LogView;
use bursar_actors::audit::merkle::Hash;
use futures_util::future::join_all;
use tokio::net::UnixDatagram;
use tokio::sync::{Mutex, oneshot};
use tracing::{info, warn};

use crate::books::witness::{append, syslog_line};
use crate::call::unix_us;
use crate::config::audit::Witness;
use crate::config::dial::Dial;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;
use crate::upstream::dial::DialSettings;

/// How often a new checkpoint is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After a failure the next try waits twice as long as the last, from a second to this.
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// Longest time for telling one witness.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Where the system's log listens: Linux, macOS.
const SYSLOGS: [&str; 2] = ["/dev/log", "/var/run/syslog"];

/// All witnesses.
#[derive(Default)]
pub struct Witnesses {
    tellers: Vec<Teller>,
}

/// How it stands with one witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub witness: String,
    /// Size of the log at the last checkpoint that it was told.
    pub told: Option<u64>,
    /// Why it could not be told the last one, while that is so.
    pub fault: Option<Arc<String>>,
}

struct Teller {
    witness: Witness,
    name: String,
    dial: Arc<DialSettings>,
    metrics: Arc<Metrics>,
    /// What it was told last; held while it is told.
    told: Mutex<Option<Hash>>,
    told_size: AtomicU64,
    fault: ArcSwapOption<String>,
    /// Whether a thread still writes to its file, which may hang on a disk that is far away.
    writes: Arc<AtomicBool>,
}

impl Witnesses {
    /// Returns those that are configured.
    pub fn new(witnesses: &[Witness], metrics: &Arc<Metrics>) -> Self {
        let teller = |witness: &Witness| {
            let name = witness.label();
            metrics.knows_witness(&name);
            Teller {
                witness: witness.clone(),
                // A witness is often a neighbour, and no key goes there.
                dial: DialSettings::of(CONNECT_TIMEOUT, &Dial { allow_private: true, ..Dial::default() }),
                metrics: metrics.clone(),
                told: Mutex::default(),
                told_size: AtomicU64::default(),
                fault: ArcSwapOption::empty(),
                writes: Arc::default(),
                name,
            }
        };
        Self { tellers: witnesses.iter().map(teller).collect() }
    }

    /// Tells each witness the newest checkpoint in `view` whenever there is another, for as long as it is polled.
    pub async fn run(self: Arc<Self>, view: Arc<LogView>, upstream: Upstream) {
        join_all(self.tellers.iter().map(|teller| teller.run(&view, &upstream))).await;
    }

    /// Tells each the newest checkpoint if it does not know it yet: once, for the end of the process.
    pub async fn tell_last(&self, view: &LogView, upstream: &Upstream) {
        join_all(self.tellers.iter().map(|teller| teller.tell_newest(view, upstream))).await;
    }

    /// Returns how it stands with each.
    pub fn standings(&self) -> Vec<Standing> {
        let standing = |teller: &Teller| Standing {
            witness: teller.name.clone(),
            told: Some(teller.told_size.load(Ordering::Relaxed)).filter(|size| *size > 0),
            fault: teller.fault.load_full(),
        };
        self.tellers.iter().map(standing).collect()
    }
}

impl Teller {
    async fn run(&self, view: &LogView, upstream: &Upstream) {
        let mut wait = LOOK_EVERY;
        loop {
            wait = if self.tell_newest(view, upstream).await { LOOK_EVERY } else { (wait * 2).min(BACKOFF_MAX) };
            tokio::time::sleep(wait).await;
        }
    }

    /// Returns whether it knows the newest checkpoint now.
    async fn tell_newest(&self, view: &LogView, upstream: &Upstream) -> bool {
        let mut told = self.told.lock().await;
        let Some(note) = view.checkpoint.load_full().filter(|note| *told != Some(note.hash())) else { return true };
        let done = tokio::time::timeout(TIMEOUT, self.tell(&note, upstream)).await;
        let size = note.checkpoint().size;
        match done.unwrap_or_else(|_| Err(format!("not done within {TIMEOUT:?}"))) {
            Ok(()) => {
                *told = Some(note.hash());
                self.told_size.store(size, Ordering::Relaxed);
                if self.fault.swap(None).is_some() {
                    info!(witness = %self.name, size, "the witness {} knows the newest checkpoint again", self.name);
                }
                true
            }
            Err(why) => {
                self.metrics.witness_failed(&self.name);
                // Once per outage.
                if self.fault.swap(Some(Arc::new(why.clone()))).is_none() {
                    warn!(witness = %self.name, size, "the witness {} cannot be told of a checkpoint: {why}", self.name);
                }
                false
            }
        }
    }

    async fn tell(&self, note: &Arc<Note>, upstream: &Upstream) -> Result<(), String> {
        match &self.witness {
            Witness::File(path) => self.write(path.clone(), note.clone()).await,
            Witness::Syslog => send(&syslog_line(note, unix_us(), std::process::id())).await.map_err(|e| e.to_string()),
            Witness::Url(url) => upstream.post_text(&self.dial, url, note.text().to_owned()).await,
        }
    }

    /// Appends on a thread of its own, which nobody waits for at the end of the process.
    async fn write(&self, path: PathBuf, note: Arc<Note>) -> Result<(), String> {
        if self.writes.swap(true, Ordering::AcqRel) {
            return Err("the disk has not taken the last checkpoint yet".into());
        }
        let (done, doing) = oneshot::channel();
        let writes = self.writes.clone();
        let work = move || {
            let written = append(&path, &note);
            writes.store(false, Ordering::Release);
            // Whoever waited may have given up.
            let _ = done.send(written);
        };
        if let Err(error) = std::thread::Builder::new().name("witness".into()).spawn(work) {
            self.writes.store(false, Ordering::Release);
            return Err(error.to_string());
        }
        doing.await.map_err(|_| "the thread that writes it died".to_owned())?.map_err(|error| error.to_string())
    }
}

/// Hands a line to the system's log.
async fn send(line: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    let mut failed = None;
    for path in SYSLOGS {
        match socket.send_to(line.as_bytes(), path).await {
            Ok(_) => return Ok(()),
            // The reason of the first is the one that counts.
            Err(error) => _ = failed.get_or_insert(error),
        }
    }
    failed.map_or(Ok(()), Err)
}
