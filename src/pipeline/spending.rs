//! What one request holds of the budgets above it, on its way from the admission to its bill.

use std::time::Duration;

use bursar_actors::budget::{Denied, Exceeded, Hold, Quote, Tightest};
use bursar_actors::limits::Holder;

use super::quote::ANSWER_USUAL;
use crate::call::unix_s;

/// Bytes of text that a token is taken for; see `pricing`.
const BYTES_PER_TOKEN: u64 = 4;

/// What a request holds, and what near limits was done about it.
#[derive(Debug, Default)]
pub struct Spending {
    /// None where nobody has a budget.
    hold: Option<Hold>,
    quote: Quote,
    /// When that was taken, by the wall clock in microseconds.
    began_us: u64,
    /// Bytes of output that what is held may not be enough for.
    enough_for: u64,
    /// What was asked for, where something cheaper serves.
    pub downgraded_from: Option<String>,
    /// The budget that is the nearest to its limit.
    pub tightest: Option<Tightest>,
    /// Time spent waiting for room.
    pub waited: Duration,
    /// That the answer was bounded, in words for the client.
    pub bounded: Option<String>,
}

impl Spending {
    /// Notes what the request holds, and what that was made out from.
    pub fn holds(&mut self, hold: Hold, quote: Quote, choices: u64, began_us: u64) {
        self.began_us = began_us;
        self.enough_for = if hold.amount_nano() >= quote.worst {
            u64::MAX
        } else {
            ANSWER_USUAL.saturating_mul(choices).saturating_mul(BYTES_PER_TOKEN)
        };
        (self.hold, self.quote) = (Some(hold), quote);
    }

    /// Returns whether the request counts against budgets.
    pub fn counts(&self) -> bool {
        self.hold.is_some()
    }

    /// Returns since when something is held, in microseconds by the wall clock, and how many nano-dollars.
    pub fn held(&self) -> Option<(u64, u64)> {
        self.hold.as_ref().map(|hold| (self.began_us, hold.amount_nano()))
    }

    /// Holds what another route may cost, if that is more.
    pub fn requote(&mut self, quote: Quote) -> Result<(), Denied> {
        let Some(hold) = &mut self.hold else { return Ok(()) };
        let worst = hold.amount_nano() >= self.quote.worst;
        let amount = if worst { quote.worst } else { quote.expected };
        if amount > hold.amount_nano() {
            hold.change(amount, unix_s())?;
        }
        self.quote =
            Quote { expected: self.quote.expected.max(quote.expected), worst: self.quote.worst.max(quote.worst) };
        Ok(())
    }

    /// Holds the same of the model that is called and the provider's key.
    pub fn join(&mut self, provider: &str, model: &str, key: &str) -> Result<(), Denied> {
        let Some(hold) = &mut self.hold else { return Ok(()) };
        let holders =
            [Holder::Model(format!("{provider}/{model}").into()), Holder::ProviderKey(provider.into(), key.into())];
        hold.join(&holders, unix_s())
    }

    /// Returns whether an answer of that many bytes may cost more than is held.
    pub fn is_outgrown(&self, output_bytes: u64) -> bool {
        output_bytes >= self.enough_for && self.hold.is_some()
    }

    /// Holds enough for an answer that has come to `output_bytes` and `cost`, and for as much again, or what there is room for.
    pub fn extend(&mut self, output_bytes: u64, cost: u64) -> Result<(), Box<Exceeded>> {
        let Some(hold) = &mut self.hold else { return Ok(()) };
        let mut denied = None;
        for part in [1, 8, 64] {
            let ample = cost.saturating_add(cost / part);
            if ample > hold.amount_nano() {
                denied = hold.change(ample, unix_s()).err();
            }
            if denied.is_none() {
                self.enough_for = output_bytes.saturating_add((output_bytes / part).max(1));
                return Ok(());
            }
        }
        denied.map_or(Ok(()), |denied| Err(denied.exceeded))
    }

    /// Puts `cost` in the place of what is held, and returns how much of it no budget had room for. To be called before the
    /// record of the end is written.
    pub fn settle(&mut self, cost: u64) -> u64 {
        self.hold.take().map_or(0, |hold| hold.settle(cost, unix_s()))
    }

    /// Gives back what is held: nothing was spent, and no record will say so.
    pub fn release(&mut self) {
        self.hold = None;
    }
}
