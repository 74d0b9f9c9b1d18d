//! Permission for one upstream call, with the key to make it with.
//!
//! A lease reports exactly once how its call ended: by [`Lease::report`], or by its `Drop` as cancelled when the client
//! hung up or the worker panicked. Until then the call counts as in flight.

use std::sync::Arc;
use std::time::Duration;

use crate::board::EndpointBoard;
use crate::endpoint::breaker::Pass;
use crate::endpoint::keyring::Picked;
use crate::ids::{EndpointId, KeyId, ModelName, Secret};
use crate::outcome::{LearnedLimits, Outcome, ReplyForm};

/// What the endpoint needs to know again when the report comes.
#[derive(Debug, Clone)]
pub(crate) struct Receipt {
    pub endpoint: EndpointId,
    /// Which incarnation of the endpoint's actor granted it; calls in flight are counted per incarnation. No two actors
    /// have the same, not even one that was removed and its successor of the same name.
    pub incarnation: u64,
    pub picked: Picked,
    pub pass: Pass,
    pub model: ModelName,
    pub form: ReplyForm,
}

/// Permission for one upstream call.
pub struct Lease {
    /// The key's name, for records and headers.
    pub key_id: KeyId,
    /// The key; `None` where the upstream asks for none.
    pub secret: Option<Secret>,
    /// Index of the candidate that was chosen.
    pub candidate: usize,
    /// This request has failed at this very endpoint before: wait a backoff first.
    pub again: bool,
    receipt: Receipt,
    board: Arc<EndpointBoard>,
    outcome: Outcome,
    whole_after: Option<Duration>,
    limits: LearnedLimits,
}

impl Lease {
    pub(crate) fn new(key_id: KeyId, secret: Option<Secret>, receipt: Receipt, board: Arc<EndpointBoard>) -> Self {
        board.count_granted();
        Self {
            key_id,
            secret,
            candidate: 0,
            again: false,
            receipt,
            board,
            outcome: Outcome::Cancelled,
            whole_after: None,
            limits: LearnedLimits::default(),
        }
    }

    /// Returns the endpoint that granted it.
    pub fn endpoint(&self) -> &EndpointId {
        &self.receipt.endpoint
    }

    /// Tells the endpoint how long the first token of a stream took, before its end; of a whole reply, with the report.
    pub fn first_token(&mut self, after: Duration) {
        if self.receipt.form == ReplyForm::Whole {
            self.whole_after = Some(after);
        } else {
            self.board.tell(&self.receipt.endpoint, Told::FirstToken { receipt: self.receipt.clone(), after });
        }
    }

    /// Takes in what the provider's headers said is left; told with the report.
    pub fn learn(&mut self, limits: LearnedLimits) {
        self.limits = limits;
    }

    /// Reports how the call ended.
    pub fn report(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let report = Report {
            receipt: self.receipt.clone(),
            outcome: std::mem::replace(&mut self.outcome, Outcome::Cancelled),
            whole_after: self.whole_after,
            limits: self.limits,
        };
        self.board.tell(&self.receipt.endpoint, Told::Report(report));
        // Counted last: who sees the counts agree finds every report delivered.
        self.board.count_reported();
    }
}

/// What a lease tells its endpoint, by way of the board: a message of its own would wake a thread per call.
pub(crate) enum Told {
    /// The first token of a stream came.
    FirstToken { receipt: Receipt, after: Duration },
    /// The call ended. Once per lease.
    Report(Report),
}

/// How a leased call ended.
pub(crate) struct Report {
    pub receipt: Receipt,
    pub outcome: Outcome,
    pub whole_after: Option<Duration>,
    pub limits: LearnedLimits,
}
