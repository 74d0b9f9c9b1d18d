//! What is known of models without asking anybody: prices, limits, abilities. A shipped file and what the operator added.
//!
//! The file is sorted, so a model is found by halving it, and only the line that was found is read: nothing is built at
//! the start, and of the program's pages only those are touched that a search looks at.

pub mod build;
mod entry;
mod names;
mod price;

use std::cmp::Ordering;
use std::collections::BTreeMap;

pub use entry::{Entry, Mode, Source};
pub use names::{is_regional, vendor, vendor_of_url};
pub use price::Price;

use self::entry::Line;
use crate::config::catalog::Override;
use crate::config::{Config, Provider, ProviderKind};

/// The shipped file: a line about the file, then one line for each model, sorted by name without regard to case.
const SHIPPED: &str = include_str!("../../../config/catalog.jsonl");

/// How each line of a model begins.
const BEGINNING: &str = "{\"model\":\"";

/// The shipped catalog, with what the operator knows better.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// Lines, each with its end.
    lines: &'static str,
    /// By `provider/model`, in the operator's words.
    overrides: BTreeMap<String, Override>,
}

impl Catalog {
    /// Returns the catalog as it is shipped. Costs nothing.
    pub fn builtin() -> Self {
        Self { lines: SHIPPED.split_once('\n').map_or("", |(_, lines)| lines), overrides: BTreeMap::new() }
    }

    /// Returns the catalog with what `config` says about models.
    pub fn with_overrides(mut self, config: &Config) -> Self {
        self.overrides.clone_from(&config.catalog);
        self
    }

    /// Returns what is known of `model` at `provider`, an id of the configuration. What the operator said goes first; the
    /// rest comes from the provider that answers at its address, or, for want of a known one, from none.
    pub fn of(&self, provider: &Provider, model: &str) -> Option<Entry> {
        let shipped = vendor_of(provider).and_then(|vendor| self.find(vendor, model));
        let name = format!("{}/{model}", provider.id);
        match self.overrides.get(&name) {
            Some(better) => Some(shipped.unwrap_or(Entry { name, ..Entry::default() }).overridden(better)),
            None => shipped,
        }
    }

    /// Returns what the shipped catalog knows of `model` at the provider called `provider` (`openai`, `bedrock`, …).
    ///
    /// The same name goes first, without regard to case. Another name is taken only if it differs by a date, a version, or
    /// the form that this provider also writes (`models/…`, an ARN, a group of regions). A name without a date means the
    /// dated ones if all of them cost the same.
    pub fn find(&self, provider: &str, model: &str) -> Option<Entry> {
        let vendor = vendor(provider);
        let candidates = names::candidates(&vendor, model);
        let found = candidates.iter().find_map(|name| self.line(name)).and_then(read);
        found.or_else(|| candidates.iter().find_map(|name| self.dated(name)))
    }

    /// Returns every entry of the shipped catalog, in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.lines.lines().filter_map(read)
    }

    /// Returns the names that the operator said something about, as `provider/model`.
    pub fn overridden(&self) -> impl Iterator<Item = &str> {
        self.overrides.keys().map(String::as_str)
    }

    /// Returns a BLAKE3 hash of all that is in force here, prices first of all. Reads the whole file.
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.lines.as_bytes());
        for (name, better) in &self.overrides {
            let entry = Entry { name: name.clone(), ..Entry::default() }.overridden(better);
            let line = serde_json::to_string(&Line::from(&entry)).unwrap_or_default();
            let rest = (better.request_price, better.search_price);
            hasher.update(format!("{line}{rest:?}\n").as_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// Returns the line of `name`.
    fn line(&self, name: &str) -> Option<&'static str> {
        let line = self.lines[self.lower_bound(name)..].lines().next()?;
        (compare(name_of(line), name) == Ordering::Equal).then_some(line)
    }

    /// Returns the latest of the entries called `name` with a date or version behind it, if all of them cost the same.
    fn dated(&self, name: &str) -> Option<Entry> {
        let rest_of = |line: &str| {
            let rest = name_of(line).get(name.len()..).map(str::to_ascii_lowercase);
            let begins = name_of(line).get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
            rest.filter(|_| begins)
        };
        let following = self.lines[self.lower_bound(name)..].lines();
        let versions = following
            .map_while(|line| Some((line, rest_of(line)?)))
            .filter(|(_, rest)| !rest.is_empty() && names::is_version(rest));
        let mut entries = versions.filter_map(|(line, _)| read(line));
        let first = entries.next()?;
        entries.try_fold(first, |last, next| (next.price == last.price).then_some(next))
    }

    /// Returns where the first line stands whose name is not before `name`.
    fn lower_bound(&self, name: &str) -> usize {
        let (mut low, mut high) = (0, self.lines.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let start = self.lines.as_bytes()[low..middle].iter().rposition(|byte| *byte == b'\n');
            let start = start.map_or(low, |at| low + at + 1);
            let line = self.lines[start..].lines().next().unwrap_or_default();
            if compare(name_of(line), name) == Ordering::Less {
                low = (start + line.len() + 1).min(high);
            } else {
                high = start;
            }
        }
        low
    }
}

/// Returns whose models a configured provider has, in the catalog's words.
pub fn vendor_of(provider: &Provider) -> Option<&'static str> {
    if provider.self_hosted || provider.kind == ProviderKind::Demo {
        return None;
    }
    let mut vendors = provider.endpoints.iter().map(|endpoint| vendor_of_url(&endpoint.base_url));
    let first = vendors.next()??;
    vendors.all(|vendor| vendor == Some(first)).then_some(first)
}

fn name_of(line: &str) -> &str {
    line.strip_prefix(BEGINNING).and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

/// The order of the file.
fn compare(one: &str, other: &str) -> Ordering {
    let lower = |byte: u8| byte.to_ascii_lowercase();
    one.bytes().map(lower).cmp(other.bytes().map(lower))
}

fn read(line: &str) -> Option<Entry> {
    serde_json::from_str::<Line>(line).ok().and_then(|line| Entry::try_from(line).ok())
}
