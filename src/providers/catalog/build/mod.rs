//! Makes the catalog's file out of two public collections of prices. The same input gives the same bytes.

mod figure;
mod genai;
mod litellm;
mod report;

use std::collections::BTreeMap;

use serde_json::json;

use self::report::differences;
pub use self::report::{Report, Skip};
use super::entry::{Entry, Line};

/// A file and what happened on the way.
#[derive(Debug)]
pub struct Built {
    pub text: String,
    pub report: Report,
}

/// Names of models without regard to case, as the file is sorted.
type Entries = BTreeMap<String, Entry>;

/// Makes the catalog of `day` (`YYYY-MM-DD`), which chooses among prices that change with time. `litellm` and `genai` are
/// the texts of the two files. Where both know a price, LiteLLM's holds: it names tiers and brackets one by one.
pub fn build(litellm: &str, genai: &str, day: &str) -> Result<Built, String> {
    let mut report = Report::default();
    let read = litellm::read(litellm, &mut report)?;
    let others = genai::read(genai, day, &read, &mut report)?;
    let mut entries = read.entries;
    for (key, other) in others {
        match entries.get_mut(&key) {
            None => {
                entries.insert(key, other);
            }
            Some(entry) => {
                entry.context = entry.context.max(other.context);
                if entry.price.is_none() && other.price.is_some() {
                    entry.price = other.price;
                    entry.source = other.source;
                }
            }
        }
    }
    let told = |entry: &Entry| {
        let limits = entry.context.is_some() || entry.max_output.is_some();
        entry.price.is_some() || limits || !entry.can.is_empty()
    };
    entries.retain(|_, entry| told(entry) || report.skip(Skip::NothingKnown, &entry.name));
    report.count(&entries);
    let mut text = header(day);
    for entry in entries.values() {
        let line = serde_json::to_string(&Line::from(entry)).map_err(|error| error.to_string())?;
        text.push_str(&line);
        text.push('\n');
    }
    Ok(Built { text, report })
}

fn header(day: &str) -> String {
    let header = json!({
        "about": "models: prices, limits, abilities; made by `bursar catalog build`, not by hand",
        "as_of": day,
        "format": 1,
        "licences": {
            "LiteLLM model_prices_and_context_window": "MIT, Copyright (c) 2023 Berri AI",
            "genai-prices": "MIT, Copyright (c) Pydantic Services Inc. 2025 to present",
        },
        "units": {
            "prices": "nano-dollars per million tokens, by tier, or tier>tokens for longer prompts",
            "request, search": "nano-dollars each; search with little, medium, much context",
        },
    });
    format!("{header}\n")
}

/// Puts `entry` in unless a better one has its name: one with a price, else the first.
fn put(entries: &mut Entries, entry: Entry, report: &mut Report) {
    let key = entry.name.to_ascii_lowercase();
    match entries.get(&key) {
        Some(there) if there.price.is_some() || entry.price.is_none() => {
            if there.price.is_some() && entry.price.is_some() && there.price != entry.price {
                report.skip(Skip::SecondPrice, &entry.name);
            }
        }
        _ => {
            entries.insert(key, entry);
        }
    }
}
