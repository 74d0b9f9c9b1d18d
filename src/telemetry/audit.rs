//! The figures of the books, as they stand when the metrics are read.

use std::time::Duration;

use super::metrics::{counter, gauge};

/// How the journal may fare.
const STATES: [&str; 4] = ["open", "full", "failed", "closed"];

/// How the books fare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFigures {
    /// One of `open`, `full`, `failed`, `closed`.
    pub state: &'static str,
    /// Records that are durable.
    pub records: u64,
    /// Of these, how many cannot be searched yet.
    pub lag: u64,
    /// Requests that were admitted and have not ended, by the records that can be searched.
    pub open: u64,
    /// Requests of which the process before this one did not write the end.
    pub abandoned: u64,
    /// Requests turned away while nothing could be written, of which no record speaks yet.
    pub unwritten: u64,
    /// Keys that were not made, so that content has no hash or is not kept, because a team has too many users.
    pub unkeyed: u64,
    /// Since the last checkpoint, by the calendar; `None` before the first.
    pub checkpoint_age: Option<Duration>,
    /// How often the index was made again since the start.
    pub rebuilds: u64,
    /// The index or the checkpoints cannot be written.
    pub fault: bool,
}

impl AuditFigures {
    /// Writes them in Prometheus' text format.
    pub fn render(&self, text: &mut String) {
        let one = |value: u64| [(String::new(), value as f64)];
        let states = STATES.map(|state| (format!("state=\"{state}\""), f64::from(u8::from(self.state == state))));
        let age = self.checkpoint_age.map(|age| (String::new(), age.as_secs_f64()));
        counter(text, "bursar_audit_records_total", "Records of the books that are durable", one(self.records));
        gauge(text, "bursar_audit_lag_records", "Durable records that cannot be searched yet", one(self.lag));
        gauge(text, "bursar_audit_open_requests", "Requests in the books without their end", one(self.open));
        counter(
            text,
            "bursar_audit_abandoned_total",
            "Requests whose end is unknown, because the process before this one ended in their midst",
            one(self.abandoned),
        );
        gauge(
            text,
            "bursar_audit_unwritten_requests",
            "Requests turned away while the journal took nothing, not yet recorded",
            one(self.unwritten),
        );
        counter(
            text,
            "bursar_audit_unkeyed_total",
            "Prompts and answers without hash, or not kept, since their team has more users than audit.users_max",
            one(self.unkeyed),
        );
        gauge(text, "bursar_audit_state", "1 for the state the journal is in", states);
        gauge(
            text,
            "bursar_audit_fault",
            "1 while the index or the checkpoints cannot be written",
            one(self.fault.into()),
        );
        gauge(text, "bursar_audit_checkpoint_age_seconds", "Since the last signed state of the log", age);
        counter(text, "bursar_audit_rebuilds_total", "Times the index was made again", one(self.rebuilds));
    }
}
