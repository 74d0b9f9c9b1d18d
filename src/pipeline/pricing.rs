//! What a request cost: the prices of the model that served, by what it used, or by an estimate where nobody says.

use std::sync::Arc;

use bursar_actors::Usage;

use crate::config::budgets;
use crate::config::catalog::{Tariff, Tier};
use crate::providers::catalog::Price;

/// Bytes of text that a token is taken for, of whatever language.
const BYTES_PER_TOKEN: u64 = 4;

/// What the model of one candidate costs, looked up when the routes are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPrice {
    /// `None` is unpriced, never free.
    pub price: Option<Price>,
    /// What the settings have counted of a model without a price.
    pub guess: Option<Price>,
    /// The endpoint's address keeps its calls in a region.
    pub regional: bool,
    /// The state of the catalog that says so: its hash, 32 hexadecimal digits.
    pub snapshot: Arc<str>,
}

/// What a request cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priced {
    /// Nano-dollars, rounded up.
    pub nano: u64,
    /// The upstream did not say what was used, or not all of it, or said what cannot be; or the price is a guess.
    pub estimated: bool,
    /// Why the price is a guess, where it is one.
    pub guessed: Option<Unpriced>,
}

impl Priced {
    /// Returns what both cost together; nothing where nothing is known of one.
    pub fn sum(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (one, other) = (one?, other?);
        let (nano, estimated) = (one.nano.saturating_add(other.nano), one.estimated || other.estimated);
        Some(Self { nano, estimated, guessed: one.guessed.or(other.guessed) })
    }
}

/// Why nobody knows what a request cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpriced {
    /// The catalog has no price for the model.
    Model,
    /// It has one, but none for the tier that served, a kind of token, or searches.
    Part,
}

impl Unpriced {
    /// Returns the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Part => "part",
        }
    }
}

/// What is known of how much an answer used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    /// As the upstream told it, so far.
    pub told: Option<Usage>,
    /// The answer came to its end.
    pub complete: bool,
    /// Tokens of the request by its length.
    pub prompt_estimate: u64,
    /// Bytes of text and calls that the model wrote.
    pub output_bytes: u64,
}

impl Evidence {
    /// Returns what was used, and whether any of it is an estimate. Only what the upstream left unsaid is estimated.
    pub fn usage(&self) -> (Usage, bool) {
        let written = self.output_bytes.div_ceil(BYTES_PER_TOKEN);
        let Some(told) = self.told else {
            let (prompt, completion) = (self.prompt_estimate, written);
            return (Usage { prompt, completion, total: prompt + completion, ..Usage::default() }, true);
        };
        // Anthropic tells at the beginning what it read and a few tokens of output, and at the end what it wrote; of a stream
        // that broke off between, the figure stands for almost nothing of what had come.
        let preliminary = !self.complete && told.completion.saturating_mul(2) < written;
        let completion = if preliminary { written } else { told.completion };
        let prompt = if told.prompt == 0 && !self.complete { self.prompt_estimate } else { told.prompt };
        let estimated = told.suspect || (prompt, completion) != (told.prompt, told.completion);
        (Usage { prompt, completion, total: prompt + completion, ..told }, estimated)
    }
}

impl ModelPrice {
    /// Returns the price by which requests are counted before they are made.
    pub fn counted(&self) -> Option<&Price> {
        self.price.as_ref().or(self.guess.as_ref())
    }

    /// Returns what `evidence` comes to. Where the price lacks a part that was used, the rest is counted as usual tokens.
    pub fn of(&self, evidence: &Evidence) -> Result<Priced, Unpriced> {
        let (usage, estimated) = evidence.usage();
        let usage = Usage { regional: usage.regional || self.regional, ..usage };
        if let Some(nano) = self.price.as_ref().and_then(|price| price.cost(&usage)) {
            return Ok(Priced { nano, estimated, guessed: None });
        }
        let why = if self.price.is_some() { Unpriced::Part } else { Unpriced::Model };
        let Usage { prompt, completion, total, regional, .. } = usage;
        let plain = Usage { prompt, completion, total, regional, ..Usage::default() };
        let nano = self.counted().and_then(|price| price.cost(&plain)).ok_or(why)?;
        Ok(Priced { nano, estimated: true, guessed: Some(why) })
    }
}

/// Returns the price that the settings have counted of models without one.
pub fn guess(policy: &budgets::Unpriced) -> Option<Price> {
    let budgets::Unpriced::Estimate(rates) = policy else { return None };
    Some(Price { tariff: Tariff::from([((Tier::Standard, 0), *rates)]), ..Price::default() })
}

#[cfg(test)]
mod worked_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::catalog::Rates;

    /// A nano-dollar for each token read, two for each written.
    fn model() -> ModelPrice {
        let rates = Rates { input: Some(1_000_000), output: Some(2_000_000), ..Rates::default() };
        let price = Price { tariff: Tariff::from([((Tier::Standard, 0), rates)]), ..Price::default() };
        ModelPrice { price: Some(price), guess: None, regional: false, snapshot: "".into() }
    }

    fn told(prompt: u64, completion: u64) -> Option<Usage> {
        Some(Usage { prompt, completion, total: prompt + completion, ..Usage::default() })
    }

    fn priced(evidence: Evidence) -> (u64, bool) {
        let priced = model().of(&evidence).unwrap();
        (priced.nano, priced.estimated)
    }

    #[test]
    fn what_the_upstream_says_is_believed() {
        let complete = Evidence { told: told(10, 5), complete: true, prompt_estimate: 99, output_bytes: 999 };

        assert_eq!(priced(complete), (20, false));
        assert_eq!(priced(Evidence { complete: false, output_bytes: 40, ..complete }), (20, false));
    }

    #[test]
    fn what_it_does_not_say_is_estimated_and_marked() {
        let silent = Evidence { told: None, complete: true, prompt_estimate: 10, output_bytes: 41 };

        assert_eq!(priced(silent), (10 + 2 * 11, true));
    }

    #[test]
    fn a_stream_that_broke_off_costs_what_it_read_by_its_word_and_what_it_wrote_by_its_length() {
        let broken = Evidence { told: told(10, 1), complete: false, prompt_estimate: 99, output_bytes: 400 };

        assert_eq!(priced(broken), (10 + 2 * 100, true));
    }

    #[test]
    fn impossible_figures_are_marked_and_missing_prices_named() {
        let evidence = Evidence { told: told(10, 5), complete: true, ..Evidence::default() };
        let suspect = Usage { suspect: true, ..evidence.told.unwrap() };
        let other = Usage { tier: Tier::Other, ..evidence.told.unwrap() };
        let nobody = ModelPrice { price: None, ..model() };

        assert_eq!(priced(Evidence { told: Some(suspect), ..evidence }), (20, true));
        let part = model().of(&Evidence { told: Some(other), ..evidence });
        assert_eq!(part, Ok(Priced { nano: 20, estimated: true, guessed: Some(Unpriced::Part) }));
        assert_eq!(nobody.of(&evidence), Err(Unpriced::Model));
        let guess = ModelPrice { guess: model().price, ..nobody };
        assert_eq!(guess.of(&evidence), Ok(Priced { nano: 20, estimated: true, guessed: Some(Unpriced::Model) }));
    }
}
