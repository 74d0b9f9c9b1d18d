//! What a build of the catalog left out, and where its sources disagree.

use std::collections::BTreeMap;
use std::fmt;

use super::{Entries, Entry};
use crate::config::catalog::Tier;
use crate::config::settings::dollars;

/// Why something of a source is not in the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// Not of a provider that can be served, or of one that serves no model by this name.
    OtherProvider,
    OtherMode,
    NoModel,
    Commitment,
    BadName,
    /// The entry stays, without a price.
    ZeroPrice,
    OtherUnit,
    HalfPrice,
    HiddenBrackets,
    TimeOfDay,
    SecondPrice,
    NothingKnown,
}

impl Skip {
    fn words(self) -> &'static str {
        match self {
            Self::OtherProvider => "left out, of a provider that is not served",
            Self::OtherMode => "left out, neither chat nor embedding",
            Self::NoModel => "left out, a class of prices or a tool and no model",
            Self::Commitment => "left out, a price for reserved capacity",
            Self::BadName => "left out, a name that does not fit into a line",
            Self::ZeroPrice => "unpriced, 0 in the source, which does not mean free",
            Self::OtherUnit => "unpriced, as it is not paid by tokens",
            Self::HalfPrice => "unpriced, as only one of input and output has a price",
            Self::HiddenBrackets => "unpriced, as the source does not show its prices of long prompts",
            Self::TimeOfDay => "unpriced, as the price depends on the time of day",
            Self::SecondPrice => "left out, the same name again with other prices; the first was kept",
            Self::NothingKnown => "left out, nothing known but the name",
        }
    }
}

/// What happened while a catalog was built.
#[derive(Debug, Default)]
pub struct Report {
    /// Entries by the provider's word.
    pub entries: BTreeMap<String, usize>,
    pub unpriced: usize,
    pub skipped: BTreeMap<Skip, Vec<String>>,
    /// Models whose prices differ between the sources by more than a thousandth.
    pub disagree: Vec<String>,
    /// Models whose prices were compared.
    pub compared: usize,
    /// Figures that were a float's print (`1.3200000000000002e-07`), rounded to twelve digits.
    pub rounded: usize,
}

/// Names shown for each reason.
const SHOWN: usize = 8;

impl Report {
    /// Notes that `name` was left out; returns `false`.
    pub(super) fn skip(&mut self, why: Skip, name: &str) -> bool {
        self.skipped.entry(why).or_default().push(name.to_owned());
        false
    }

    pub(super) fn count(&mut self, entries: &Entries) {
        for entry in entries.values() {
            let vendor = entry.name.split('/').next().unwrap_or_default();
            *self.entries.entry(vendor.to_owned()).or_default() += 1;
            self.unpriced += usize::from(entry.price.is_none());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: usize = self.entries.values().sum();
        let each: Vec<String> = self.entries.iter().map(|(vendor, count)| format!("{vendor} {count}")).collect();
        writeln!(f, "{all} models ({} unpriced): {}", self.unpriced, each.join(", "))?;
        for (why, names) in &self.skipped {
            let more = names.len().saturating_sub(SHOWN);
            let shown = names[..names.len() - more].join(", ");
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            writeln!(f, "{}: {} ({shown}{more})", why.words(), names.len())?;
        }
        if self.rounded > 0 {
            writeln!(f, "{} figures were printed floats and were rounded to twelve digits", self.rounded)?;
        }
        let (compared, differ) = (self.compared, self.disagree.len());
        writeln!(f, "{compared} models have a price in both sources; {differ} differ, LiteLLM's was taken:")?;
        self.disagree.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// Returns how the standard prices of two entries differ, if by more than a thousandth.
pub(super) fn differences(one: &Entry, other: &Entry) -> Option<String> {
    let at = (Tier::Standard, 0);
    let (mine, theirs) = (one.price.as_ref()?.tariff.get(&at)?, other.price.as_ref()?.tariff.get(&at)?);
    let differ = |pair: &(u64, u64)| u128::from(pair.0.abs_diff(pair.1)) * 1000 > u128::from(pair.0.max(pair.1));
    let pairs = mine.named().into_iter().zip(theirs.named());
    let words: Vec<String> = pairs
        .filter_map(|((kind, mine), (_, theirs))| Some((kind, (mine?, theirs?))))
        .filter(|(_, pair)| differ(pair))
        .map(|(kind, (mine, theirs))| format!("{kind} {} against {}", dollars(mine), dollars(theirs)))
        .collect();
    (!words.is_empty()).then(|| format!("{}: {}", one.name, words.join(", ")))
}
