//! What a call costs: whole numbers from the prices to the sum, rounded once, and `None` where a price is not known.

use std::collections::BTreeSet;

use bursar_actors::Usage;

use crate::config::catalog::{Rates, Tariff, Tier};

/// One nano-dollar, in the unit of tokens times [`Rates`].
const NANO_DOLLAR: u128 = 1_000_000;

/// The usual price, in thousandths of itself.
const USUAL: u64 = 1000;

/// The prices of one model. Pure data; see [`Price::cost`] for what they mean.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Price {
    pub tariff: Tariff,
    /// Nano-dollars for each call besides the tokens.
    pub request: Option<u64>,
    /// Nano-dollars for each search that the provider makes, with little, medium and much context.
    pub search: Option<[u64; 3]>,
    /// What a token costs where the provider keeps the call in a region, in thousandths of its usual price; `None` where that
    /// makes no difference.
    pub regional: Option<u64>,
}

/// A kind of token, as a field of [`Rates`].
type Kind = fn(&Rates) -> Option<u64>;

impl Price {
    /// Returns whether there is a standard price for what is read.
    pub fn is_known(&self) -> bool {
        self.tariff.get(&(Tier::Standard, 0)).is_some_and(|rates| rates.input.is_some())
    }

    /// Returns what a call cost in nano-dollars: the sum of its parts, rounded up once to a whole nano-dollar, so that
    /// nothing paid becomes nothing. `None` where a price that is needed is not known.
    ///
    /// The size of the whole prompt, cached parts included, chooses the bracket, and that holds for every token. A kind of
    /// token without a price of its own is charged as what it is part of. Batch and flex without a price are charged as
    /// standard, which is never too little; the dearer tiers are unpriced then. What a tier leaves open of long prompts is
    /// charged at the dearer of its own usual price and the standard price for long ones. Written images have a price nowhere
    /// and are unpriced. Requests and searches cost the same in every region.
    pub fn cost(&self, usage: &Usage) -> Option<u64> {
        if !self.is_known() {
            return None;
        }
        let thousandths = u128::from(self.regional.filter(|_| usage.regional).unwrap_or(USUAL));
        let tokens = self.parts(usage)?.into_iter().fold(0, u128::saturating_add).saturating_mul(thousandths);
        let others = self.others(usage)?.saturating_mul(NANO_DOLLAR * u128::from(USUAL));
        let sum = tokens.saturating_add(others);
        Some(u64::try_from(sum.div_ceil(NANO_DOLLAR * u128::from(USUAL))).unwrap_or(u64::MAX))
    }

    /// Returns what is paid besides the tokens, in nano-dollars.
    fn others(&self, usage: &Usage) -> Option<u128> {
        let each = match usage.searches {
            0 => 0,
            _ => self.search?[usage.search_size as usize],
        };
        Some(u128::from(self.request.unwrap_or(0)) + u128::from(usage.searches) * u128::from(each))
    }

    /// Returns the exact parts of what the tokens cost, in millionths of a nano-dollar.
    fn parts(&self, usage: &Usage) -> Option<[u128; 10]> {
        let kinds: [(u64, &[Kind]); 8] = [
            (usage.cached, &[|r| r.cached, |r| r.input]),
            (usage.cache_write_long, &[|r| r.cache_write_long, |r| r.cache_write, |r| r.input]),
            (usage.cache_write.saturating_sub(usage.cache_write_long), &[|r| r.cache_write, |r| r.input]),
            (usage.audio_prompt, &[|r| r.audio_input, |r| r.input]),
            (usage.image_prompt, &[|r| r.image_input, |r| r.input]),
            (usage.reasoning, &[|r| r.reasoning, |r| r.output]),
            (usage.audio_completion, &[|r| r.audio_output, |r| r.output]),
            (usage.image_completion, &[]),
        ];
        let special = |range: std::ops::Range<usize>| kinds[range].iter().map(|(tokens, _)| tokens).sum::<u64>();
        let rest_in = usage.prompt.saturating_sub(special(0..5));
        let rest_out = usage.completion.saturating_sub(special(5..8));
        let rests: [(u64, &[Kind]); 2] = [(rest_in, &[|r| r.input]), (rest_out, &[|r| r.output])];
        let mut parts = [0; 10];
        for (part, (tokens, kinds)) in parts.iter_mut().zip(kinds.into_iter().chain(rests)) {
            if tokens > 0 {
                *part = u128::from(tokens) * u128::from(self.rate(usage.tier, usage.prompt, kinds)?);
            }
        }
        Some(parts)
    }

    /// Returns the price of the first of `kinds` that has one, for a prompt of that size.
    fn rate(&self, tier: Tier, prompt: u64, kinds: &[Kind]) -> Option<u64> {
        kinds.iter().find_map(|kind| self.rate_of(tier, prompt, *kind))
    }

    fn rate_of(&self, tier: Tier, prompt: u64, kind: Kind) -> Option<u64> {
        let usual = |tier| self.tariff.get(&(tier, 0)).and_then(kind);
        let long = |tier| {
            let brackets = self.tariff.range((tier, 1)..(tier, prompt.max(1)));
            brackets.rev().find_map(|(_, rates)| kind(rates))
        };
        let standard = || long(Tier::Standard).or_else(|| usual(Tier::Standard));
        if tier == Tier::Standard {
            return standard();
        }
        let own = long(tier).or_else(|| Some(usual(tier)?.max(long(Tier::Standard).unwrap_or(0))));
        if tier.is_discount() { own.or_else(standard) } else { own }
    }

    /// Returns the sizes of prompts above which other prices hold, in rising order.
    pub fn brackets(&self) -> BTreeSet<u64> {
        self.tariff.keys().map(|(_, above)| *above).filter(|above| *above > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use bursar_actors::SearchSize;
    use proptest::prelude::*;

    use super::*;

    fn price(rates: &[(Tier, u64, Rates)]) -> Price {
        Price {
            tariff: rates.iter().map(|(tier, above, rates)| ((*tier, *above), *rates)).collect(),
            ..Price::default()
        }
    }

    fn simple(input: u64, output: u64) -> Rates {
        Rates { input: Some(input), output: Some(output), ..Rates::default() }
    }

    fn used(prompt: u64, completion: u64) -> Usage {
        Usage { prompt, completion, total: prompt + completion, ..Usage::default() }
    }

    fn by(tier: Tier, usage: Usage) -> Usage {
        Usage { tier, ..usage }
    }

    #[test]
    fn the_sum_is_rounded_up_once() {
        let price = price(&[(Tier::Standard, 0, simple(1, 1))]);

        assert_eq!(price.cost(&used(0, 0)), Some(0));
        assert_eq!(price.cost(&used(1, 1)), Some(1));
        assert_eq!(price.cost(&used(600_000, 400_000)), Some(1));
        assert_eq!(price.cost(&used(600_000, 400_001)), Some(2));
    }

    #[test]
    fn a_prompt_above_the_bound_changes_the_price_of_everything() {
        let price = price(&[
            (Tier::Standard, 0, simple(1_000_000, 2_000_000)),
            (Tier::Standard, 200_000, simple(3_000_000, 4_000_000)),
        ]);

        assert_eq!(price.cost(&used(200_000, 1)), Some(200_002));
        assert_eq!(price.cost(&used(200_001, 1)), Some(600_007));
    }

    #[test]
    fn a_cheaper_tier_without_a_price_is_standard_and_a_dearer_one_unpriced() {
        let price = price(&[(Tier::Standard, 0, simple(1_000_000, 2_000_000))]);

        assert_eq!(price.cost(&by(Tier::Flex, used(1, 1))), Some(3));
        assert_eq!(price.cost(&by(Tier::Priority, used(1, 1))), None);
    }

    #[test]
    fn a_tier_that_is_silent_on_long_prompts_is_never_cheaper_than_the_standard_for_them() {
        let price = price(&[
            (Tier::Standard, 0, simple(10_000_000, 10_000_000)),
            (Tier::Standard, 100, simple(30_000_000, 30_000_000)),
            (Tier::Flex, 0, simple(5_000_000, 5_000_000)),
            (Tier::Priority, 0, simple(40_000_000, 40_000_000)),
        ]);

        assert_eq!(price.cost(&by(Tier::Flex, used(100, 0))), Some(500));
        assert_eq!(price.cost(&by(Tier::Flex, used(101, 0))), Some(3030));
        assert_eq!(price.cost(&by(Tier::Priority, used(101, 0))), Some(4040));
    }

    #[test]
    fn every_kind_of_token_has_its_own_price() {
        let rates = Rates {
            input: Some(1_000_000),
            output: Some(10_000_000),
            cached: Some(2_000_000),
            cache_write: Some(3_000_000),
            cache_write_long: Some(4_000_000),
            reasoning: Some(20_000_000),
            audio_input: Some(5_000_000),
            audio_output: Some(30_000_000),
            image_input: Some(6_000_000),
        };
        let price = Price { request: Some(1), search: Some([1, 2, 4]), ..price(&[(Tier::Standard, 0, rates)]) };
        let usage = Usage {
            prompt: 100_000,
            completion: 100,
            total: 100_100,
            cached: 10_000,
            cache_write: 3000,
            cache_write_long: 1000,
            reasoning: 10,
            audio_prompt: 100,
            image_prompt: 200,
            audio_completion: 1,
            searches: 2,
            search_size: SearchSize::High,
            ..Usage::default()
        };

        let text = 100_000 - 10_000 - 3000 - 100 - 200;
        let reads = text + 10_000 * 2 + 2000 * 3 + 1000 * 4 + 100 * 5 + 200 * 6;
        let writes = 89 * 10 + 10 * 20 + 30;
        assert_eq!(price.cost(&usage), Some(reads + writes + 1 + 2 * 4));
    }

    #[test]
    fn what_has_no_price_is_unpriced_and_not_free() {
        assert_eq!(Price::default().cost(&used(1, 1)), None);
        assert_eq!(Price::default().cost(&used(0, 0)), None);
        let embeds = price(&[(Tier::Standard, 0, Rates { input: Some(5), ..Rates::default() })]);
        assert_eq!(embeds.cost(&used(1, 0)), Some(1));
        assert_eq!(embeds.cost(&used(1, 1)), None);
        let search = Usage { searches: 1, ..used(1, 0) };
        assert_eq!(embeds.cost(&search), None);
    }

    #[test]
    fn a_region_makes_tokens_dearer_and_nothing_else() {
        let usual = Price { request: Some(100), ..price(&[(Tier::Standard, 0, simple(1_000_000, 2_000_000))]) };
        let dearer = Price { regional: Some(1100), ..usual.clone() };
        let regional = Usage { regional: true, ..used(10, 1) };

        assert_eq!((usual.cost(&regional), dearer.cost(&used(10, 1))), (Some(112), Some(112)));
        assert_eq!(dearer.cost(&regional), Some(114), "13.2 and 100, rounded up");
    }

    #[test]
    fn absurd_figures_do_not_overflow() {
        let price = price(&[(Tier::Standard, 0, simple(u64::MAX, u64::MAX))]);

        assert_eq!(price.cost(&used(u64::MAX / 2, u64::MAX / 2)), Some(u64::MAX));
    }

    prop_compose! {
        /// Prices as they are sold: long prompts are not cheaper.
        fn any_price()(rates in proptest::array::uniform7(0_u64..1_000_000_000_000), more in 0_u64..1_000_000_000, bound in 1_u64..100_000)
            -> Price {
            let rates = Rates {
                input: Some(rates[0]), output: Some(rates[1]), cached: Some(rates[2]), cache_write: Some(rates[3]),
                cache_write_long: Some(rates[4]), reasoning: Some(rates[5]), audio_input: Some(rates[6]),
                ..Rates::default()
            };
            let add = |rate: Option<u64>| rate.map(|rate| rate + more);
            let long = Rates {
                input: add(rates.input), output: add(rates.output), cached: add(rates.cached),
                cache_write: add(rates.cache_write), cache_write_long: add(rates.cache_write_long),
                reasoning: add(rates.reasoning), audio_input: add(rates.audio_input), ..Rates::default()
            };
            price(&[(Tier::Standard, 0, rates), (Tier::Standard, bound, long), (Tier::Flex, 0, rates)])
        }
    }

    prop_compose! {
        fn any_usage()(text in 0_u64..100_000, cached in 0_u64..100_000, write in 0_u64..50_000, long in 0_u64..50_000,
                       plain in 0_u64..50_000, reasoning in 0_u64..50_000) -> Usage {
            let (prompt, completion) = (text + cached + write + long, plain + reasoning);
            Usage {
                prompt, completion, total: prompt + completion, cached, cache_write: write + long,
                cache_write_long: long, reasoning, ..Usage::default()
            }
        }
    }

    proptest! {
        #[test]
        fn more_tokens_never_cost_less(price in any_price(), usage in any_usage(), more in 0_u64..100_000) {
            for tier in [Tier::Standard, Tier::Flex] {
                let usage = by(tier, usage);
                let cost = price.cost(&usage);
                let longer = Usage { prompt: usage.prompt + more, ..usage };
                let wordier = Usage { completion: usage.completion + more, ..usage };

                prop_assert!(cost <= price.cost(&longer));
                prop_assert!(cost <= price.cost(&wordier));
            }
        }

        #[test]
        fn the_cost_is_the_sum_of_what_its_parts_cost(price in any_price(), usage in any_usage()) {
            let price = Price { tariff: price.tariff.into_iter().filter(|((_, above), _)| *above == 0).collect(), ..price };
            let cost = |usage: Usage| price.cost(&usage).unwrap_or(u64::MAX);
            let short = usage.cache_write - usage.cache_write_long;
            let (cached, long) = (usage.cached, usage.cache_write_long);
            let none = Usage::default();
            let parts = [
                Usage { prompt: usage.prompt - cached - usage.cache_write, ..none },
                Usage { prompt: cached, cached, ..none },
                Usage { prompt: short, cache_write: short, ..none },
                Usage { prompt: long, cache_write: long, cache_write_long: long, ..none },
                Usage { completion: usage.completion - usage.reasoning, ..none },
                Usage { completion: usage.reasoning, reasoning: usage.reasoning, ..none },
            ];

            let sum: u64 = parts.into_iter().map(cost).sum();

            prop_assert!(cost(usage) <= sum && sum < cost(usage) + 6);
        }
    }
}
