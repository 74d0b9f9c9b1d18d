//! What a request may cost before anybody knows what it uses: in all likelihood, and at worst.

use bursar_actors::Usage;
use bursar_actors::budget::Quote;

use super::pricing::ModelPrice;
use super::route::Route;
use crate::providers::dialect::ModelFacts;
use crate::schema::RequestHead;

/// Tokens that are taken for the answer of a client that sets no bound. Most answers are shorter; the longer ones are
/// counted when they have come.
pub const ANSWER_USUAL: u64 = 1_024;
/// The longest answer of a model of which nobody knows how much it can write.
const ANSWER_UNKNOWN: u64 = 16_384;

/// The tokens that a request can have at worst with one model.
pub struct Extent {
    prompt: u64,
    pub answer: u64,
}

impl Extent {
    /// Returns those of the request that `head` is of.
    pub fn of(head: &RequestHead, facts: &ModelFacts) -> Self {
        let prompt = head.tokens_in_estimate.min(facts.context.unwrap_or(u64::MAX));
        if head.operation.embeds() {
            return Self { prompt, answer: 0 };
        }
        let longest = facts.max_output.or(facts.context);
        let answer = match head.max_output_tokens {
            Some(bound) => bound.min(longest.unwrap_or(u64::MAX)),
            None => longest.unwrap_or(ANSWER_UNKNOWN),
        };
        Self { prompt, answer: answer.saturating_mul(head.choices) }
    }

    /// Returns it with so many tokens more in the prompt.
    pub fn with(&self, tokens: u64) -> Self {
        Self { prompt: self.prompt.saturating_add(tokens), answer: self.answer }
    }

    /// Returns what it costs with an answer of that length, in nano-dollars, at the usual tier.
    pub fn cost(&self, price: &ModelPrice, answer: u64) -> Option<u64> {
        let total = self.prompt.saturating_add(answer);
        let (prompt, completion, regional) = (self.prompt, answer, price.regional);
        price.counted()?.cost(&Usage { prompt, completion, total, regional, ..Usage::default() })
    }

    /// Returns the longest answer that costs no more than `most`; `None` where even none does.
    pub fn longest(&self, price: &ModelPrice, most: u64) -> Option<u64> {
        let fits = |answer: u64| self.cost(price, answer).is_some_and(|cost| cost <= most);
        if !fits(0) {
            return None;
        }
        let (mut fitting, mut beyond) = (0, self.answer);
        while beyond - fitting > 1 {
            let middle = fitting + (beyond - fitting) / 2;
            if fits(middle) { fitting = middle } else { beyond = middle }
        }
        Some(fitting)
    }
}

/// Returns what the request costs with the dearest candidate of `route` that may be asked. A model without a price counts as
/// nothing; whoever may not ask those has them in `left_out`.
pub fn quote(head: &RequestHead, route: &Route, left_out: &[usize]) -> Quote {
    let candidates = route.prices.iter().zip(&route.facts).enumerate();
    let asked = candidates.filter(|(index, _)| !left_out.contains(index));
    let usual = ANSWER_USUAL.saturating_mul(head.choices);
    let each = asked.filter_map(|(_, (price, facts))| {
        let extent = Extent::of(head, facts);
        let expected = extent.cost(price, extent.answer.min(usual))?;
        Some(Quote { expected, worst: extent.cost(price, extent.answer)? })
    });
    each.fold(Quote::default(), |dearest, quote| Quote {
        expected: dearest.expected.max(quote.expected),
        worst: dearest.worst.max(quote.worst),
    })
}
