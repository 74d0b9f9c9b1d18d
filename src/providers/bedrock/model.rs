//! What differs between the models that Bedrock hosts: how they are told to think, and what they know of caching.

use serde_json::{Map, Value, json};

use crate::providers::dialect::Target;
use crate::providers::losses::Losses;
use crate::schema::IntakeError;
use crate::schema::chat::{ChatRequest, Effort};

/// Least tokens that Claude may be told to think.
const BUDGET_MIN: u64 = 1024;
/// Tokens left for the answer where the client names no bound, beside those for thinking.
const ANSWER: u64 = 4096;

/// Whose model it is, as far as that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Claude(Claude),
    Nova,
    GptOss,
    /// Any other, or one whose name does not say, such as an application inference profile.
    Other,
}

/// How a Claude thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claude {
    /// Never.
    Plain,
    /// When told how many tokens.
    Budgeted,
    /// As much as it likes, within an effort.
    Adaptive,
    /// As `Adaptive`, and at least between its calls of tools.
    BetweenTools,
    /// As `Adaptive`, and cannot be told not to.
    Always,
}

impl Family {
    /// Returns the family of a model id, inference profile or ARN.
    pub(super) fn of(model: &str) -> Self {
        match () {
            () if model.contains("claude") => Self::Claude(Claude::of(model)),
            () if model.contains("amazon.nova") => Self::Nova,
            () if model.contains("gpt-oss") => Self::GptOss,
            () => Self::Other,
        }
    }

    /// Whether it takes `cachePoint`; others answer 400.
    pub(super) fn caches(self) -> bool {
        matches!(self, Self::Claude(_) | Self::Nova)
    }

    pub(super) fn is_claude(self) -> bool {
        matches!(self, Self::Claude(_))
    }
}

impl Claude {
    fn of(model: &str) -> Self {
        const BUDGETED: &[&str] =
            &["3-7", "opus-4-1", "opus-4-2025", "sonnet-4-2025", "haiku-4-5", "sonnet-4-5", "opus-4-5"];
        let is = |names: &[&str]| names.iter().any(|name| model.contains(name));
        match () {
            () if is(BUDGETED) => Self::Budgeted,
            () if is(&["claude-v2", "claude-instant", "claude-3-"]) => Self::Plain,
            () if is(&["sonnet-5-5"]) => Self::BetweenTools,
            () if is(&["opus-5-5", "fable", "mythos"]) => Self::Always,
            () => Self::Adaptive,
        }
    }
}

/// What becomes of the wish to think.
#[derive(Debug, Default)]
pub(super) struct Thinking {
    /// For `additionalModelRequestFields`.
    pub(super) fields: Map<String, Value>,
    /// Thinking by budget allows neither temperature nor a forced tool.
    pub(super) budgeted: bool,
    /// Where the client named no bound on tokens, but one is needed.
    pub(super) max_tokens: Option<u64>,
}

impl Thinking {
    pub(super) fn of(request: &ChatRequest, target: &Target<'_>, losses: &mut Losses) -> Result<Self, IntakeError> {
        let Some(reasoning) = &request.reasoning else { return Ok(Self::default()) };
        let effort = reasoning.effort.or_else(|| reasoning.budget.map(effort_of_budget));
        let shown = reasoning.show != Some(false);
        let fields = match (Family::of(target.model), effort) {
            (Family::Claude(Claude::Budgeted), Some(effort)) => {
                return Self::budgeted(request, effort, reasoning.budget, losses);
            }
            (_, None) if reasoning.show != Some(true) => Value::Null,
            (Family::Claude(Claude::Adaptive), Some(Effort::None)) => json!({"thinking": {"type": "disabled"}}),
            (Family::Claude(Claude::BetweenTools), Some(Effort::None)) => {
                json!({"thinking": {"type": "between_tools"}})
            }
            (Family::Claude(Claude::Always), Some(Effort::None)) => {
                losses.note("reasoning_effort", "was set to `low`, because this model cannot do without")?;
                adaptive(Some(Effort::Low), shown)
            }
            (Family::Claude(Claude::Adaptive | Claude::BetweenTools | Claude::Always), effort) => {
                adaptive(effort.map(|effort| allowed(effort, target)), shown)
            }
            (Family::Nova, Some(Effort::None)) => json!({"reasoningConfig": {"type": "disabled"}}),
            (Family::Nova, Some(effort)) => {
                json!({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": three_steps(effort)}})
            }
            (Family::GptOss, Some(effort)) => json!({"reasoning_effort": three_steps(effort)}),
            (Family::Other | Family::Claude(Claude::Plain), Some(Effort::None)) | (_, None) => Value::Null,
            (Family::Other | Family::Claude(_), Some(_)) => {
                losses.drop("reasoning_effort")?;
                Value::Null
            }
        };
        let fields = if let Value::Object(fields) = fields { fields } else { Map::new() };
        Ok(Self { fields, ..Self::default() })
    }

    fn budgeted(
        request: &ChatRequest,
        effort: Effort,
        budget: Option<u64>,
        losses: &mut Losses,
    ) -> Result<Self, IntakeError> {
        if effort == Effort::None {
            return Ok(Self::default());
        }
        let wanted = budget.unwrap_or_else(|| budget_of(effort)).max(BUDGET_MIN);
        let room = request.max_tokens.map_or(u64::MAX, |most| most.saturating_sub(1));
        if room < BUDGET_MIN {
            let what = format!("was left out, because thinking needs a bound above {BUDGET_MIN} tokens");
            losses.note("reasoning_effort", &what)?;
            return Ok(Self::default());
        }
        let budget = wanted.min(room);
        let max_tokens = request.max_tokens.is_none().then_some(budget.saturating_add(ANSWER));
        let fields = Map::from_iter([("thinking".into(), json!({"type": "enabled", "budget_tokens": budget}))]);
        Ok(Self { fields, budgeted: true, max_tokens })
    }
}

fn adaptive(effort: Option<Effort>, shown: bool) -> Value {
    let mut fields = json!({"thinking": {"type": "adaptive"}});
    if shown {
        fields["thinking"]["display"] = "summarized".into();
    }
    if let Some(effort) = effort {
        fields["output_config"] = json!({"effort": effort.as_str()});
    }
    fields
}

/// Returns the highest effort that the model takes, not above the one wanted; else its lowest.
fn allowed(wanted: Effort, target: &Target<'_>) -> Effort {
    let wanted = wanted.max(Effort::Low);
    let taken = &target.model_facts.efforts;
    let below = taken.iter().copied().filter(|effort| *effort <= wanted && *effort > Effort::None).max();
    below.or_else(|| taken.iter().copied().find(|effort| *effort > Effort::None)).unwrap_or(wanted)
}

fn three_steps(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High | Effort::XHigh | Effort::Max => "high",
    }
}

/// Tokens to think with, by effort.
fn budget_of(effort: Effort) -> u64 {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => 1024,
        Effort::Medium => 2048,
        Effort::High => 4096,
        Effort::XHigh => 8192,
        Effort::Max => 16_384,
    }
}

fn effort_of_budget(budget: u64) -> Effort {
    match budget {
        0 => Effort::None,
        1..=1024 => Effort::Low,
        1025..=2048 => Effort::Medium,
        2049..=8192 => Effort::High,
        _ => Effort::Max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::dialect::ModelFacts;
    use crate::schema::chat::Reasoning;

    fn fields(model: &str, reasoning: Reasoning, max_tokens: Option<u64>) -> (Value, usize) {
        let model_facts = &ModelFacts::default();
        let target = Target { model, model_facts, strict: false };
        let request = ChatRequest { reasoning: Some(reasoning), max_tokens, ..ChatRequest::default() };
        let mut losses = Losses::new("Bedrock", &target);
        let thinking = Thinking::of(&request, &target, &mut losses).unwrap();
        (Value::Object(thinking.fields), losses.into_warnings().len())
    }

    fn effort(effort: Effort) -> Reasoning {
        Reasoning { effort: Some(effort), ..Reasoning::default() }
    }

    #[test]
    fn each_family_is_told_in_its_own_words() {
        let budget = |budget| Reasoning { budget: Some(budget), ..Reasoning::default() };
        let enabled = |budget: u64| json!({"thinking": {"type": "enabled", "budget_tokens": budget}});
        let adaptive = |effort| json!({"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": effort}});
        let nova = |effort| json!({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}});
        let cases = [
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", effort(Effort::High), None, enabled(4096), 0),
            ("anthropic.claude-3-7-sonnet-20250219-v1:0", budget(3000), Some(2000), enabled(1999), 0),
            ("anthropic.claude-haiku-4-5-20251001-v1:0", effort(Effort::Low), Some(500), json!({}), 1),
            ("anthropic.claude-3-haiku-20240307-v1:0", effort(Effort::Low), None, json!({}), 1),
            ("anthropic.claude-3-haiku-20240307-v1:0", effort(Effort::None), None, json!({}), 0),
            ("global.anthropic.claude-opus-5", effort(Effort::Medium), None, adaptive("medium"), 0),
            ("global.anthropic.claude-opus-5", effort(Effort::Minimal), None, adaptive("low"), 0),
            ("global.anthropic.claude-opus-5", budget(4000), None, adaptive("high"), 0),
            ("anthropic.claude-opus-5", effort(Effort::None), None, json!({"thinking": {"type": "disabled"}}), 0),
            (
                "anthropic.claude-sonnet-5-5",
                effort(Effort::None),
                None,
                json!({"thinking": {"type": "between_tools"}}),
                0,
            ),
            ("anthropic.claude-opus-5-5", effort(Effort::None), None, adaptive("low"), 1),
            ("us.amazon.nova-2-lite-v1:0", effort(Effort::XHigh), None, nova("high"), 0),
            ("openai.gpt-oss-120b-1:0", effort(Effort::Medium), None, json!({"reasoning_effort": "medium"}), 0),
            ("meta.llama4-maverick-17b-instruct-v1:0", effort(Effort::High), None, json!({}), 1),
        ];
        for (model, reasoning, max_tokens, expected, warnings) in cases {
            assert_eq!(fields(model, reasoning.clone(), max_tokens), (expected, warnings), "{model} {reasoning:?}");
        }
    }

    #[test]
    fn an_effort_the_model_does_not_take_becomes_the_next_lower() {
        let model_facts = &ModelFacts { efforts: vec![Effort::Low, Effort::High], ..ModelFacts::default() };
        let target = Target { model: "claude", model_facts, strict: false };

        assert_eq!(allowed(Effort::Max, &target), Effort::High);
        assert_eq!(allowed(Effort::Medium, &target), Effort::Low);
        assert_eq!(allowed(Effort::Minimal, &target), Effort::Low);
    }
}
