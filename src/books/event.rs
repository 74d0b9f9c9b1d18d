//! Lines for what is no request: things done by hand, changed settings, strangers at the door.

use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use bursar_actors::audit::journal::Durability;
use bursar_actors::audit::record::{Phase, Record};

use super::Books;
use crate::call::{Caller, RequestId};

/// Most kinds of failed authentication that are told apart between two records.
const KINDS_MAX: usize = 64;
/// Most letters kept of a path; those of the API are shorter, but for long names of models.
const PATH_MAX: usize = 80;
/// How long a failed authentication may wait to be written down.
const FLUSH_EVERY: Duration = Duration::from_secs(60);

/// Failed authentications by code and network, counted, so that strangers cannot drive the disk.
#[derive(Default)]
pub struct Strangers(Mutex<BTreeMap<(&'static str, String), u64>>);

impl Strangers {
    /// Counts one. Beyond a few dozen networks the rest count together.
    pub fn count(&self, code: &'static str, network: Option<&str>) {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (code, network.unwrap_or_default().to_owned());
        if tally.len() >= KINDS_MAX && !tally.contains_key(&key) {
            key.1 = "others".to_owned();
        }
        *tally.entry(key).or_default() += 1;
    }

    fn take(&self) -> BTreeMap<(&'static str, String), u64> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Books {
    /// Writes down the failed authentications since the last time, one record for each kind.
    pub fn flush_strangers(&self) {
        // What cannot be written now is counted on.
        if self.journal.admits(Durability::Lazy).is_err() {
            return;
        }
        self.flush_unwritten();
        for ((code, network), count) in self.strangers.take() {
            self.tell(Record {
                phase: Some(Phase::Auth),
                action: "authenticate".into(),
                outcome: Some("failed".into()),
                error: Some(code.into()),
                network: (!network.is_empty()).then(|| network.into()),
                count: Some(count),
                ..Record::default()
            });
        }
    }

    /// Writes down a request that a known caller sent to `path` and that was not understood. As long as the journal takes no
    /// more, such requests are only counted.
    pub fn turned_away(&self, caller: &Caller, network: Option<&str>, id: &RequestId, path: &str, code: &'static str) {
        if self.journal.admits(Durability::Lazy).is_err() {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.tell(Record {
            phase: Some(Phase::Refused),
            request: Some(id.as_str().into()),
            actor: caller.key_id().map(|id| (**id).into()),
            team: caller.team().map(|team| team.as_str().into()),
            network: network.map(Into::into),
            action: path.chars().filter(|letter| !letter.is_control()).take(PATH_MAX).collect::<String>().into(),
            outcome: Some("failed".into()),
            error: Some(code.into()),
            ..Record::default()
        });
    }

    /// Writes down how many requests were turned away while the journal took no records of them.
    fn flush_unwritten(&self) {
        let count = self.unwritten.swap(0, Ordering::Relaxed);
        if count > 0 {
            self.tell(Record {
                phase: Some(Phase::Refused),
                action: "refuse".into(),
                outcome: Some("failed".into()),
                error: Some("audit_unavailable".into()),
                count: Some(count),
                ..Record::default()
            });
        }
    }

    /// Writes the failed authentications down once a minute, as long as the books are open.
    pub async fn keep_flushing(books: Weak<Self>) {
        loop {
            tokio::time::sleep(FLUSH_EVERY).await;
            let Some(books) = books.upgrade() else { return };
            books.flush_strangers();
        }
    }

    /// Returns the beginning of a record about something that `actor` did by hand.
    pub fn by_hand<'a>(&self, phase: Phase, actor: &'a str, action: &'a str) -> Record<'a> {
        Record {
            phase: Some(phase),
            actor: Some(actor.into()),
            action: action.into(),
            config: self.config_hash(),
            ..Record::default()
        }
    }
}
