//! The desk at which the books are read: every question of a reviewer and every order of an operator, whoever brings it.
//!
//! What is asked is itself written down, durably, before anything is shown or done: who, when, what, why. If it cannot be
//! written down, nothing is shown. What an order came to is written down behind it. HTTP and the command line both come
//! here, the latter also without a gateway.

mod acts;
mod export;
mod query;
mod reads;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bursar_actors::audit::beside::Beside;
use bursar_actors::audit::journal::Refused;
use bursar_actors::audit::log::LogError;
use bursar_actors::audit::record::{NOTE_MAX, Phase, Record};
use bursar_actors::vault::VaultError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Books;
pub use query::moment;

/// Longest reason that is taken, in bytes.
const REASON_MAX: usize = 500;

/// What is asked of the books.
#[derive(Debug, Clone)]
pub enum Ask {
    /// How they are.
    Status,
    /// A page of records, the latest first.
    Search(Pairs),
    /// One record with the proof that it is in the log.
    Show(u64),
    /// What is kept beside one record, opened.
    Body(u64),
    /// The proof that a record is in the log of `size` records; of the last checkpoint without one.
    Inclusion { index: u64, size: Option<u64> },
    /// The proof that the log of `size` records begins with that of `old`.
    Consistency { old: u64, size: Option<u64> },
    /// To sign the state of the log now.
    Checkpoint,
    /// To make the index again.
    Rebuild,
    /// To write part of the log to a folder, for a reviewer elsewhere.
    Export(ExportOrder),
    /// To copy the whole data directory to a folder. What lies beside the books is copied by whoever holds it.
    Backup { folder: PathBuf, beside: Vec<Beside> },
    /// To destroy what is kept of a user's prompts and answers.
    Erase(Subject),
    /// To keep a user's content from being erased.
    Hold(Subject),
    /// To end that.
    Release(Subject),
    /// Whose content is under a legal hold.
    Holds,
}

/// Filters as they stand in a query: `team=clinic`, `from=2026-11-01`.
pub type Pairs = Vec<(String, String)>;

/// An order for an export.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExportOrder {
    /// The folder to make, an absolute path.
    pub folder: PathBuf,
    /// Which records; all without one.
    pub filter: Pairs,
    /// First record of the range; found by the filter's times without one.
    pub start: Option<u64>,
    /// The record behind its last.
    pub end: Option<u64>,
    /// `jsonl` (always made), `csv`, `ocsf`, `parquet`; all but Parquet without any.
    pub formats: Vec<String>,
    /// Whether sealed prompts and answers go along.
    pub bodies: bool,
    /// Who wants it, if not whoever asks.
    pub by: Option<String>,
    /// What for.
    pub why: Option<String>,
}

/// A user of a team, by the name that requests give.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Subject {
    /// Empty for requests without a team.
    pub team: String,
    pub user: String,
    /// Why: a case, a request for erasure. Required but for a release.
    pub reason: String,
}

impl Subject {
    /// Returns why, if it can be recorded for good: it must not hold the name that the records leave out.
    fn reason(&self) -> Result<&str, DeskError> {
        let text = reason(&self.reason)?;
        if names(text, &self.user) {
            return Err(DeskError::Invalid(
                "`reason` names the user, and records are kept for good; give the number of a case instead".into(),
            ));
        }
        Ok(text)
    }
}

/// Returns whether `name` stands in `text` as a word of its own, whatever the case of its letters.
fn names(text: &str, name: &str) -> bool {
    let (text, name) = (text.to_lowercase(), name.trim().to_lowercase());
    if name.is_empty() {
        return false;
    }
    let joins = |one: Option<char>, other: Option<char>| {
        let is_letter = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
        is_letter(one) && is_letter(other)
    };
    text.match_indices(&name).any(|(at, found)| {
        let (before, behind) = (text[..at].chars().next_back(), text[at + found.len()..].chars().next());
        !joins(before, name.chars().next()) && !joins(name.chars().next_back(), behind)
    })
}

/// What the desk answers.
#[derive(Debug)]
pub enum Reply {
    Json(Value),
    /// What was kept, and of what: `request` or `reply`.
    Content {
        part: &'static str,
        bytes: Vec<u8>,
    },
}

/// Why there is no answer, in words for a person.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// It could not be written down, so nothing was shown or done.
    #[error("{0}")]
    NotRecorded(#[from] Refused),
    /// It was asked wrongly.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing.
    #[error("{0}")]
    Missing(String),
    /// It was, and was erased or retired.
    #[error("{0}")]
    Gone(String),
    /// A legal hold forbids it.
    #[error("{0}")]
    Held(String),
    /// The books cannot be read or written.
    #[error("{0}")]
    Failed(String),
}

impl From<LogError> for DeskError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Retired { .. } => Self::Gone(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<VaultError> for DeskError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Erased | VaultError::Dropped { .. } => Self::Gone(error.to_string()),
            VaultError::Held { .. } => Self::Held(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<actix::MailboxError> for DeskError {
    fn from(_: actix::MailboxError) -> Self {
        Self::Failed("the actor of the books does not answer; the gateway is stopping, or its log says why".into())
    }
}

/// How far the export or copy that runs now has come.
#[derive(Default)]
pub struct Work {
    done: AtomicU64,
    total: AtomicU64,
    /// One at a time: each reads the whole disk.
    turn: tokio::sync::Mutex<()>,
}

impl Work {
    fn set(&self, done: u64, total: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    /// Returns how many records are done and how many there are; none while nothing runs.
    pub fn progress(&self) -> Option<(u64, u64)> {
        let total = self.total.load(Ordering::Relaxed);
        (total > 0).then(|| (self.done.load(Ordering::Relaxed), total))
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// As records call it: `socket`, `admin`, `offline`, or a user's id.
    pub id: &'a str,
    /// The one team whose records exist for it; none means all.
    pub team: Option<&'a str>,
}

/// Answers what is asked, and writes down that it was asked.
pub async fn answer(books: &Arc<Books>, asker: Asker<'_>, ask: Ask) -> Result<Reply, DeskError> {
    let desk = Desk { books, actor: asker.id, team: asker.team };
    let answer = match ask {
        Ask::Status => desk.status().await,
        Ask::Search(pairs) => desk.search(&pairs).await,
        Ask::Show(index) => desk.show(index).await,
        Ask::Body(index) => return desk.body(index).await,
        Ask::Inclusion { index, size } => desk.inclusion(index, size).await,
        Ask::Consistency { old, size } => desk.consistency(old, size).await,
        Ask::Checkpoint => desk.checkpoint().await,
        Ask::Rebuild => desk.rebuild().await,
        Ask::Export(order) => desk.export(order).await,
        Ask::Backup { folder, beside } => desk.backup(folder, beside).await,
        Ask::Erase(subject) => desk.erase(subject).await,
        Ask::Hold(subject) => desk.hold(subject).await,
        Ask::Release(subject) => desk.release(subject).await,
        Ask::Holds => desk.holds().await,
    };
    answer.map(Reply::Json)
}

/// The books, and who stands before them.
struct Desk<'a> {
    books: &'a Arc<Books>,
    actor: &'a str,
    team: Option<&'a str>,
}

impl Desk<'_> {
    fn record<'r>(&'r self, phase: Phase, action: &'r str, note: String) -> Record<'r> {
        let note = (!note.is_empty()).then(|| note.into());
        Record { note, ..self.books.by_hand(phase, self.actor, action) }
    }

    /// Writes down what is asked; nothing may be shown or done before. What is too long to be written down whole is refused:
    /// the part that is cut off would be the part that nobody is to see.
    async fn asked(&self, phase: Phase, action: &str, note: String) -> Result<(), DeskError> {
        if note.len() > NOTE_MAX {
            return Err(DeskError::Invalid(format!(
                "what is asked takes {} bytes to write down, and a record keeps {NOTE_MAX}: ask with fewer or shorter filters",
                note.len()
            )));
        }
        self.books.note(self.record(phase, action, note)).await?;
        Ok(())
    }

    /// Writes down what an order came to. It has happened, so nobody is refused for it.
    fn came_to<T>(&self, done: &Result<T, DeskError>, record: Record<'_>) {
        let (outcome, error) = match done {
            Ok(_) => ("done", None),
            Err(DeskError::Held(_)) => ("failed", Some("legal_hold")),
            Err(_) => ("failed", Some("not_done")),
        };
        let note = done.as_ref().err().map(|why| why.to_string().into()).or(record.note);
        let (outcome, error) = (Some(outcome.into()), error.map(Into::into));
        self.books.tell(Record { outcome, error, note, ..record });
    }
}

/// Does `work` where it may wait for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DeskError> + Send + 'static,
) -> Result<T, DeskError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(DeskError::Failed("it panicked; the log says more".into())))
}

fn reason(text: &str) -> Result<&str, DeskError> {
    let text = text.trim();
    match text.len() {
        0 => Err(DeskError::Invalid("`reason` is empty; say why: it is what the record is for".into())),
        length if length > REASON_MAX => {
            Err(DeskError::Invalid(format!("the reason has {length} bytes, at most {REASON_MAX} are kept")))
        }
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_names_the_user_is_refused() {
        let reason = |user: &str, reason: &str| {
            let subject = Subject { user: user.into(), reason: reason.into(), ..Subject::default() };
            subject.reason().map(str::to_owned).map_err(|why| why.to_string())
        };

        for (user, why) in [
            ("ann", "Ann asked to be forgotten"),
            ("ann", "asked by ANN's lawyer"),
            ("Ann@Example.com", "mail of ann@example.com."),
            ("ÄNNE", "änne"),
            ("\u{7530}\u{4e2d}", "\u{7530}\u{4e2d}\u{3055}\u{3093}"),
        ] {
            assert!(reason(user, why).is_err_and(|why| why.contains("names the user")), "{user}: {why}");
        }
        for (user, why) in [("ann", "cannot be kept, case 12"), ("12", "case 124"), ("", "case 12")] {
            assert_eq!(reason(user, why).as_deref(), Ok(why), "{user}");
        }
    }

    #[test]
    fn a_retired_record_is_gone_and_not_unknown() {
        let answer = DeskError::from(LogError::Retired { index: 7, first: 100 });

        assert!(matches!(&answer, DeskError::Gone(why) if why.contains("begin with 100")), "{answer}");
    }
}
