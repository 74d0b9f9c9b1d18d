//! Whether budgets have room for the next call: for a fallback that costs more, for the model and the key that are about to be
//! called.

use std::time::Duration;

use bursar_actors::budget::Denied;
use bursar_actors::limits::Holder;
use bursar_actors::{ErrorClass, Lease, Outcome, Tried};

use super::Attempts;
use crate::pipeline::leg::Leg;
use crate::pipeline::quote::quote;
use crate::pipeline::route::Route;

/// How long a key whose budget is spent rests before it is asked again: an operator may raise it.
const SPENT_KEY_RESTS: Duration = Duration::from_secs(60);

impl Attempts<'_> {
    /// Holds what the leg may cost, if that is more than what was asked for.
    pub(super) fn affords(&mut self, leg: &Leg<'_>) -> bool {
        if leg.fallback.is_none() || !self.books.spending().counts() {
            return true;
        }
        let left_out: Vec<usize> = leg.left_out.iter().map(|(candidate, _)| *candidate).collect();
        let requoted = self.books.spending().requote(quote(&self.call.head, leg.route, &left_out));
        requoted.map_err(|denied| self.denied = Some(denied.exceeded)).is_ok()
    }

    /// Holds the same of the model and the key that are about to be called.
    pub(super) fn join(&mut self, route: &Route, lease: &Lease) -> Result<(), Denied> {
        let (to, model) = (&route.destinations[lease.candidate], &route.candidates[lease.candidate].model);
        self.books.spending().join(&to.provider, model.as_str(), lease.key_id.as_str())
    }

    /// A budget of what would serve is spent: a key rests for a while, a model is not asked for this request.
    pub(super) fn rest(&mut self, leg: &mut Leg<'_>, lease: Lease, denied: Denied) {
        let (candidate, exceeded) = (lease.candidate, denied.exceeded);
        if matches!(exceeded.holder, Holder::ProviderKey(..)) {
            let class = ErrorClass::QuotaExhausted;
            leg.tried.push(Tried { candidate, key: lease.key_id.clone(), class });
            lease.report(Outcome::Failed { class, retry_after: Some(SPENT_KEY_RESTS) });
            self.note_rejected(leg.route, candidate, "the budget of its key is spent");
        } else {
            leg.left_out.push((candidate, "the budget of its model is spent"));
            lease.report(Outcome::Cancelled);
            self.note_rejected(leg.route, candidate, "the budget of its model is spent");
        }
        self.denied = Some(exceeded);
    }
}
