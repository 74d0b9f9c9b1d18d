//! Permission for one upstream call, with the key to make it with.
//!
//! A lease reports exactly once how its call ended: by [`Lease::report`], or by its `Drop` as cancelled when the client
//! hung up or the worker panicked. Until then the call counts as in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::board::EndpointBoard;
use crate::endpoint::Refusal;
use crate::endpoint::breaker::Pass;
use crate::endpoint::keyring::Picked;
use crate::ids::{EndpointId, KeyId, ModelName, Secret};
use crate::outcome::{KeyEffect, LearnedLimits, Outcome, ReplyForm};

/// Changes whenever what an endpoint has granted ahead is void: a failure, steering, a renewal, its death.
#[derive(Debug, Clone, Default)]
pub(crate) struct Epoch(Arc<AtomicU64>);

impl Epoch {
    /// Voids every lease granted ahead so far.
    pub fn end(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns the number of the epoch.
    pub fn number(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

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
    pub granted_at: Instant,
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
    /// Candidates that were asked or considered before this one, and why they do not serve; none of a lease granted ahead.
    pub passed_over: Vec<(usize, Refusal)>,
    receipt: Receipt,
    board: Arc<EndpointBoard>,
    epoch: Epoch,
    granted_in: u64,
    /// Its call may begin; until then it was only granted ahead.
    taken: bool,
    outcome: Outcome,
    whole_after: Option<Duration>,
    limits: LearnedLimits,
}

impl Lease {
    /// Returns a lease granted ahead, whose call has not begun, by who has read everything up to that epoch.
    pub(crate) fn ahead(
        key_id: KeyId,
        secret: Option<Secret>,
        receipt: Receipt,
        (epoch, granted_in): (Epoch, u64),
        board: Arc<EndpointBoard>,
    ) -> Self {
        Self {
            key_id,
            secret,
            candidate: 0,
            again: false,
            passed_over: Vec::new(),
            receipt,
            board,
            granted_in,
            epoch,
            taken: false,
            outcome: Outcome::Cancelled,
            whole_after: None,
            limits: LearnedLimits::default(),
        }
    }

    /// Returns the lease for a call that begins at once and which the endpoint has counted already.
    pub(crate) fn begun(mut self) -> Self {
        self.board.count_granted();
        self.taken = true;
        self
    }

    /// Returns the lease for a call of about `tokens` that begins now.
    pub(crate) fn taken(self, tokens: u64) -> Self {
        self.board.tell(&self.receipt.endpoint, Told::Taken { receipt: self.receipt.clone(), tokens });
        self.begun()
    }

    /// Returns whether something has happened at its endpoint since it was granted.
    pub(crate) fn is_void(&self) -> bool {
        self.epoch.number() != self.granted_in
    }

    /// Returns the key that was picked.
    pub(crate) fn picked(&self) -> Picked {
        self.receipt.picked
    }

    /// Returns when it was granted.
    pub(crate) fn granted_at(&self) -> Instant {
        self.receipt.granted_at
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
        if !self.taken {
            self.board.tell(&self.receipt.endpoint, Told::Returned { receipt: self.receipt.clone() });
            return;
        }
        let report = Report {
            receipt: self.receipt.clone(),
            outcome: std::mem::replace(&mut self.outcome, Outcome::Cancelled),
            whole_after: self.whole_after,
            limits: self.limits,
        };
        let failed = matches!(&report.outcome, Outcome::Failed { class, .. }
            if class.trips_breaker() || class.key_effect() != KeyEffect::None);
        self.board.tell(&self.receipt.endpoint, Told::Report(report));
        if failed {
            // After the telling: what is granted from now on is granted by who has read it.
            self.epoch.end();
        }
        // Counted last: who sees the counts agree finds every report delivered.
        self.board.count_reported();
    }
}

/// What a lease tells its endpoint, by way of the board: a message of its own would wake a thread per call.
pub(crate) enum Told {
    /// The call of a lease granted ahead begins.
    Taken { receipt: Receipt, tokens: u64 },
    /// A lease granted ahead was not needed.
    Returned { receipt: Receipt },
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
