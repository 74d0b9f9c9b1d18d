//! What OpenAI's own models reject, by the beginning of their names.

use crate::providers::dialect::ModelFacts;
use crate::schema::chat::Effort;
use crate::schema::chat::Effort::{High, Low, Max, Medium, Minimal, None as Off, XHigh};

/// What a model that thinks takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ThinkingModel {
    /// In rising order; empty where it takes no word for it.
    pub(super) efforts: &'static [Effort],
    /// It thinks unless told not to.
    pub(super) by_default: bool,
    /// Stop sequences are rejected.
    pub(super) no_stop: bool,
}

const fn thinks(efforts: &'static [Effort]) -> Option<ThinkingModel> {
    Some(ThinkingModel { efforts, by_default: true, no_stop: false })
}

const fn may_think(efforts: &'static [Effort]) -> Option<ThinkingModel> {
    Some(ThinkingModel { efforts, by_default: false, no_stop: false })
}

const fn o_series(no_stop: bool) -> Option<ThinkingModel> {
    Some(ThinkingModel { efforts: &[Low, Medium, High], by_default: true, no_stop })
}

/// By the beginning of the name; the first that fits counts, so that the longer ones stand first. `None`: does not think.
const MODELS: &[(&str, Option<ThinkingModel>)] = &[
    ("gpt-6-astra", thinks(&[Low, Medium, High, XHigh, Max])),
    ("gpt-6.1-sol", thinks(&[Low, Medium, High, XHigh, Max])),
    ("gpt-6", thinks(&[Off, Low, Medium, High, XHigh, Max])),
    ("gpt-5.6", thinks(&[Off, Low, Medium, High, XHigh, Max])),
    ("gpt-5-chat", None),
    ("gpt-5-pro", thinks(&[High])),
    ("gpt-5.2-pro", thinks(&[Medium, High, XHigh])),
    ("gpt-5.4-pro", thinks(&[Medium, High, XHigh])),
    ("gpt-5.5-pro", thinks(&[Medium, High, XHigh])),
    ("gpt-5.1-chat", thinks(&[Medium])),
    ("gpt-5.2-chat", thinks(&[Medium])),
    ("gpt-5.3-chat", thinks(&[Medium])),
    ("gpt-5.4-chat", thinks(&[Medium])),
    ("gpt-5.5-chat", thinks(&[Medium])),
    ("gpt-5.5", thinks(&[Off, Low, Medium, High, XHigh])),
    ("gpt-5.1", may_think(&[Off, Low, Medium, High])),
    ("gpt-5.", may_think(&[Off, Low, Medium, High, XHigh])),
    ("gpt-5", thinks(&[Minimal, Low, Medium, High])),
    ("o1-mini", thinks(&[])),
    ("o1-preview", thinks(&[])),
    ("o1", o_series(false)),
    ("o3", o_series(true)),
    ("o4", o_series(true)),
    ("gpt-", None),
    ("chatgpt-", None),
];

/// Returns what the model takes: `None` for a name that is none of OpenAI's, `Some(None)` for one that does not think.
pub(super) fn openai(model: &str) -> Option<Option<ThinkingModel>> {
    // Others put the maker in front, as in `openai/gpt-5`, and fine-tuned models begin with `ft:`.
    let name = model.rsplit('/').next().unwrap_or(model);
    let name = name.strip_prefix("ft:").unwrap_or(name).to_ascii_lowercase();
    if name.starts_with("gpt-oss") {
        return None;
    }
    MODELS.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, found)| *found)
}

/// Returns whether `model` is known to be one of OpenAI's that think.
pub(in crate::providers) fn is_known_to_think(model: &str, facts: &ModelFacts) -> bool {
    match openai(model) {
        Some(found) => found.is_some(),
        None => facts.reasoning == Some(true),
    }
}

/// Returns whether one of OpenAI's models is known to reject sampling parameters: always, or because it is going to think.
pub(in crate::providers) fn rejects_sampling(model: &str, facts: &ModelFacts, wanted: Option<Effort>) -> bool {
    if let Some(sampling) = facts.sampling {
        return !sampling;
    }
    let Some(model) = openai(model).flatten() else { return false };
    match wanted {
        Some(Effort::None) => !model.efforts.contains(&Effort::None),
        Some(_) => true,
        None => model.by_default,
    }
}

/// Returns the effort among `known` that is nearest to `wanted`, the lower of two; thinking is not switched off by it.
pub(super) fn nearest(wanted: Effort, known: impl Iterator<Item = Effort>) -> Option<Effort> {
    let fits = |effort: &Effort| wanted == Off || *effort != Off;
    known.filter(fits).min_by_key(|effort| ((*effort as i32 - wanted as i32).abs(), *effort))
}

/// Returns the effort that a budget of thinking tokens amounts to, as Google's surface for OpenAI's clients counts.
pub(super) fn effort_of_budget(tokens: u64) -> Effort {
    match tokens {
        0 => Off,
        1..=1_024 => Low,
        1_025..=8_192 => Medium,
        _ => High,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_known_by_the_beginning_of_their_names() {
        let efforts = |model| openai(model).flatten().map(|model| model.efforts);

        assert_eq!(efforts("gpt-5-mini-2025-08-07"), Some(&[Minimal, Low, Medium, High][..]));
        assert_eq!(efforts("openai/o3-mini"), Some(&[Low, Medium, High][..]));
        assert_eq!(efforts("gpt-5-pro"), Some(&[High][..]));
        assert_eq!(efforts("gpt-6-luna").map(<[_]>::len), Some(6));
        assert_eq!(openai("gpt-4o"), Some(None));
        assert_eq!(openai("gpt-5-chat-latest"), Some(None));
        assert_eq!(openai("my-deployment"), None);
        assert_eq!(openai("gpt-oss-120b"), None);
    }

    #[test]
    fn an_effort_snaps_to_the_nearest_and_never_to_none() {
        let snapped = |wanted, known: &[Effort]| nearest(wanted, known.iter().copied());

        assert_eq!(snapped(XHigh, &[Low, Medium, High]), Some(High));
        assert_eq!(snapped(Minimal, &[Off, Low]), Some(Low));
        assert_eq!(snapped(Off, &[Minimal, Low]), Some(Minimal));
        assert_eq!(snapped(Medium, &[Low, High]), Some(Low));
        assert_eq!(snapped(Low, &[]), None);
    }
}
