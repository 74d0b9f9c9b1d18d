//! What exports and reviewers ask the `AuditLog` beside records: its size and root, hashes of its tree, and where a time
//! lies in it.

use std::ops::Range;

use actix::{Context, Handler, Message};

use super::log::{AuditLog, LogError};
use super::merkle::{Hash, Hashes};

/// Asks for the number of records that are durable, and the root over them.
#[derive(Message)]
#[rtype(result = "Result<(u64, Hash), LogError>")]
pub struct Head;

impl Handler<Head> for AuditLog {
    type Result = Result<(u64, Hash), LogError>;

    fn handle(&mut self, _: Head, _: &mut Context<Self>) -> Self::Result {
        self.with_index(|follower| Ok((follower.index().size(), follower.index().root())))
    }
}

/// Asks for the hash of a complete subtree; `None` where there is none.
#[derive(Message)]
#[rtype(result = "Option<Hash>")]
pub struct Subtree {
    /// It covers `2^level` records.
    pub level: u32,
    /// The first of them is `index × 2^level`.
    pub index: u64,
}

impl Handler<Subtree> for AuditLog {
    type Result = Option<Hash>;

    fn handle(&mut self, ask: Subtree, _: &mut Context<Self>) -> Self::Result {
        self.with_index(|follower| Ok(follower.index().subtree(ask.level, ask.index))).ok().flatten()
    }
}

/// Asks for the shortest range that the index knows of to hold every record of a span of time; it may hold others, too.
/// `None` where there is no such record.
#[derive(Message)]
#[rtype(result = "Result<Option<Range<u64>>, LogError>")]
pub struct Covering {
    /// From this moment on, in microseconds since 1970.
    pub from_us: Option<u64>,
    /// Before this moment.
    pub to_us: Option<u64>,
}

impl Handler<Covering> for AuditLog {
    type Result = Result<Option<Range<u64>>, LogError>;

    fn handle(&mut self, ask: Covering, _: &mut Context<Self>) -> Self::Result {
        self.with_index(|follower| Ok(follower.index().covering(ask.from_us, ask.to_us)))
    }
}
