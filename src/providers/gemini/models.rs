//! What the families of Gemini models differ in: how thinking is asked for, and since when something is understood.

use serde_json::{Value, json};

use crate::providers::dialect::ModelFacts;
use crate::providers::losses::Losses;
use crate::schema::IntakeError;
use crate::schema::chat::{Effort, Reasoning};

const FULL: &[Effort] = &[Effort::Minimal, Effort::Low, Effort::Medium, Effort::High];
const LOW_TO_HIGH: &[Effort] = &[Effort::Low, Effort::Medium, Effort::High];
const LOW_OR_HIGH: &[Effort] = &[Effort::Low, Effort::High];
const MINIMAL_OR_HIGH: &[Effort] = &[Effort::Minimal, Effort::High];

/// Models whose levels are not the full scale; the first prefix that fits counts.
const LEVELS: &[(&str, &[Effort])] = &[
    ("gemini-3.1-flash-lite-image", MINIMAL_OR_HIGH),
    ("gemini-3-pro", LOW_OR_HIGH),
    ("gemini-3.1-pro", LOW_TO_HIGH),
    ("gemini-3.7-flash", LOW_TO_HIGH),
    ("gemini-3.8-flash", LOW_TO_HIGH),
    ("gemini-4-argon", LOW_TO_HIGH),
    ("gemini-4-carbon", LOW_TO_HIGH),
];

/// How a model is told to think.
#[derive(Debug, PartialEq, Eq)]
enum Thinks {
    Never,
    /// In tokens.
    Budget {
        min: u64,
        max: u64,
        can_stop: bool,
    },
    Levels(Vec<Effort>),
}

/// A model's family, as far as its name tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Family {
    name: String,
    /// As in `(2, 5)`; `None` for names without, such as `gemini-flash-latest`, which are taken for the newest.
    version: Option<(u32, u32)>,
}

impl Family {
    /// Reads it from the model's name, with or without a path in front.
    pub(super) fn of(model: &str) -> Self {
        let name = model.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let version = name.strip_prefix("gemini-").and_then(|rest| {
            let digits = rest.split('-').next().unwrap_or_default();
            let (major, minor) = digits.split_once('.').unwrap_or((digits, "0"));
            Some((major.parse().ok()?, minor.parse().ok()?))
        });
        let version = version.or_else(|| name.starts_with("gemini-robotics-er-1").then_some((2, 5)));
        Self { name, version }
    }

    /// Returns whether the model is of this version or newer; names without a version are, others' models are not.
    pub(super) fn since(&self, major: u32, minor: u32) -> bool {
        self.name.starts_with("gemini") && self.version.is_none_or(|version| version >= (major, minor))
    }

    fn thinks(&self, facts: &ModelFacts) -> Thinks {
        let listed = LEVELS.iter().find(|(prefix, _)| self.name.starts_with(prefix));
        let mute = ["-tts", "native-audio", "embedding"].iter().any(|word| self.name.contains(word));
        let image = self.name.contains("-image") && !listed.is_some_and(|(prefix, _)| prefix.contains("image"));
        // A model by a name of somebody's own thinks if the operator says so.
        let known = self.since(2, 5) || facts.reasoning == Some(true);
        if facts.reasoning == Some(false) || mute || image || !known {
            return Thinks::Never;
        }
        if !self.since(3, 0) {
            let (min, max, can_stop) = match &self.name {
                name if name.contains("pro") => (128, 32_768, false),
                name if name.contains("lite") => (512, 24_576, true),
                _ => (1, 24_576, true),
            };
            return Thinks::Budget { min, max, can_stop };
        }
        let known: Vec<Effort> = facts.efforts.iter().copied().filter(|effort| level(*effort).is_some()).collect();
        Thinks::Levels(if known.is_empty() { listed.map_or(FULL, |(_, levels)| levels).to_vec() } else { known })
    }

    /// Returns the `thinkingConfig` for what the client wants, never with both a level and a budget.
    pub(super) fn thinking(
        &self,
        wanted: &Reasoning,
        facts: &ModelFacts,
        losses: &mut Losses,
    ) -> Result<Option<Value>, IntakeError> {
        let stop = wanted.effort == Some(Effort::None) || (wanted.effort.is_none() && wanted.budget == Some(0));
        let mut config = match self.thinks(facts) {
            Thinks::Never => {
                if !stop && (wanted.effort.is_some() || wanted.budget.is_some()) {
                    losses.leave_out("reasoning", "this model does not think")?;
                }
                return Ok(None);
            }
            Thinks::Budget { min, max, can_stop } => {
                if stop && !can_stop {
                    losses.leave_out("reasoning", "this model cannot stop thinking; it thinks as little as it can")?;
                }
                let asked = if stop { Some(0) } else { wanted.budget.or(wanted.effort.map(budget)) };
                match asked {
                    None => json!({}),
                    Some(0) if can_stop => json!({ "thinkingBudget": 0 }),
                    Some(tokens) => json!({ "thinkingBudget": tokens.clamp(min, max) }),
                }
            }
            Thinks::Levels(levels) => {
                if stop {
                    losses.leave_out("reasoning", "this model cannot stop thinking; it thinks as little as it can")?;
                }
                let asked = if stop { Some(Effort::Minimal) } else { wanted.effort.or(wanted.budget.map(effort)) };
                let fit = |asked| levels.iter().find(|level| **level >= asked).or(levels.last()).copied();
                match asked.and_then(fit).and_then(level) {
                    Some(word) => json!({ "thinkingLevel": word }),
                    None => json!({}),
                }
            }
        };
        if wanted.show == Some(true) {
            config["includeThoughts"] = true.into();
        }
        Ok(config.as_object().is_some_and(|fields| !fields.is_empty()).then_some(config))
    }
}

/// Returns Gemini's word for an effort.
pub(super) fn level(effort: Effort) -> Option<&'static str> {
    match effort {
        Effort::None | Effort::Max => None,
        Effort::Minimal => Some("MINIMAL"),
        Effort::Low => Some("LOW"),
        Effort::Medium => Some("MEDIUM"),
        Effort::High => Some("HIGH"),
        Effort::XHigh => Some("XHIGH"),
    }
}

/// Returns the tokens an effort is worth where tokens are counted.
fn budget(effort: Effort) -> u64 {
    match effort {
        Effort::None => 0,
        Effort::Minimal => 512,
        Effort::Low => 1_024,
        Effort::Medium => 8_192,
        Effort::High => 24_576,
        Effort::XHigh | Effort::Max => 32_768,
    }
}

/// Returns the effort that tokens are worth where efforts are told.
fn effort(budget: u64) -> Effort {
    match budget {
        0..=512 => Effort::Minimal,
        513..=2_048 => Effort::Low,
        2_049..=8_192 => Effort::Medium,
        _ => Effort::High,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::dialect::Target;

    fn config(model: &str, wanted: &Reasoning) -> (Option<Value>, usize) {
        let target = Target { model, model_facts: &ModelFacts::default(), strict: false };
        let mut losses = Losses::new("Gemini", &target);
        let config = Family::of(model).thinking(wanted, target.model_facts, &mut losses).unwrap();
        (config, losses.into_warnings().len())
    }

    #[test]
    fn each_family_is_told_in_its_own_words() {
        use Effort::{High, Low, Max, Medium, Minimal, None as Off, XHigh};
        let level = |word: &str| Some(json!({ "thinkingLevel": word }));
        let budget = |tokens: u64| Some(json!({ "thinkingBudget": tokens }));
        for (model, effort, expected, warnings) in [
            ("gemini-3-pro-preview", Medium, level("HIGH"), 0),
            ("gemini-3-pro-preview", Minimal, level("LOW"), 0),
            ("gemini-3-flash-preview", Minimal, level("MINIMAL"), 0),
            ("gemini-3-flash-preview", Off, level("MINIMAL"), 1),
            ("models/gemini-3.8-flash", Off, level("LOW"), 1),
            ("gemini-4-argon", XHigh, level("HIGH"), 0),
            ("gemini-5-new", Max, level("HIGH"), 0),
            ("gemini-flash-latest", Low, level("LOW"), 0),
            ("gemini-3.1-flash-lite-image", Low, level("HIGH"), 0),
            ("gemini-2.5-flash", Off, budget(0), 0),
            ("gemini-2.5-flash", Low, budget(1_024), 0),
            ("gemini-2.5-pro", Off, budget(128), 1),
            ("gemini-2.5-pro", Max, budget(32_768), 0),
            ("gemini-2.5-flash-lite", High, budget(24_576), 0),
            ("gemini-2.0-flash", High, None, 1),
            ("gemini-2.0-flash", Off, None, 0),
            ("gemini-3-pro-image-preview", High, None, 1),
            ("gemma-3-27b-it", Low, None, 1),
        ] {
            let wanted = Reasoning { effort: Some(effort), ..Reasoning::default() };

            assert_eq!(config(model, &wanted), (expected, warnings), "{model} {effort:?}");
        }
    }

    #[test]
    fn a_budget_becomes_a_level_where_levels_are_told() {
        let wanted = Reasoning { budget: Some(2_000), show: Some(true), effort: None };

        let expected = json!({ "thinkingLevel": "LOW", "includeThoughts": true });
        assert_eq!(config("gemini-3-flash", &wanted).0, Some(expected));
        let expected = json!({ "thinkingBudget": 2_000, "includeThoughts": true });
        assert_eq!(config("gemini-2.5-flash", &wanted).0, Some(expected));
    }
}
