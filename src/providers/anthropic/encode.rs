//! The gateway's own request written as a Messages request.

use serde_json::{Map, Value, json};

use super::models::{Model, Off, Style, model};
use super::schema::fitted;
use super::{VERSION, VERSION_WITH_SAMPLING, encode_messages, encode_tools};
use crate::providers::dialect::{Target, WireRequest};
use crate::providers::losses::{Losses, refusal};
use crate::schema::IntakeError;
use crate::schema::chat::{ChatRequest, Dialect, Effort, Format, Reasoning};

/// Tokens asked for where the client names no limit and does not stream: more would risk minutes of silence.
const WHOLE_MAX: u64 = 16_000;
/// The least budget that thinking may have.
const BUDGET_MIN: u64 = 1_024;
/// Tokens kept for the answer beside the thinking, where the client names no limit.
const ANSWER_MIN: u64 = 4_096;
/// Blocks that may be marked for the cache.
const MARKS_MAX: usize = 4;

/// One request on its way out.
pub(super) struct Encoding<'a> {
    pub(super) request: &'a ChatRequest,
    pub(super) target: &'a Target<'a>,
    pub(super) model: Model,
    pub(super) losses: Losses,
    /// Sentences for the model, where the API has no parameter.
    pub(super) instructions: Vec<String>,
    /// Thinking has been switched on, or is on by itself.
    pub(super) thinks: bool,
    pub(super) body: Map<String, Value>,
}

/// Writes `request` for `target`.
pub(super) fn encode(request: &ChatRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
    let mut encoding = Encoding {
        request,
        target,
        model: model(target.model, target.model_facts),
        losses: Losses::new("Anthropic", target),
        instructions: Vec::new(),
        thinks: false,
        body: Map::new(),
    };
    encoding.refuse_the_impossible()?;
    encoding.put("model", target.model);
    encoding.limits()?;
    encoding.reasoning()?;
    encoding.format()?;
    let sampled = encoding.sampling()?;
    encoding.service()?;
    encoding.drop_the_unknown()?;
    encode_tools::tools(&mut encoding)?;
    encode_messages::messages(&mut encoding)?;
    encoding.extra()?;
    encoding.trim_marks();
    let version = if sampled { VERSION_WITH_SAMPLING } else { VERSION };
    let body = serde_json::to_vec(&encoding.body).expect("an object of JSON values can be written");
    Ok(WireRequest {
        path: "/v1/messages".into(),
        headers: vec![("anthropic-version", version.to_owned())],
        body: body.into(),
        warnings: encoding.losses.into_warnings(),
    })
}

impl Encoding<'_> {
    pub(super) fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.body.insert(key.to_owned(), value.into());
    }

    fn refuse_the_impossible(&self) -> Result<(), IntakeError> {
        if self.request.choices.is_some_and(|choices| choices > 1) {
            return Err(refusal("n", "is more than 1, and this provider gives one answer per request; send n = 1"));
        }
        let own = self.request.extra.as_ref().filter(|extra| extra.dialect != Dialect::Anthropic);
        let modalities = own.and_then(|extra| extra.fields.get("modalities")?.as_array());
        if modalities.is_some_and(|kinds| kinds.iter().any(|kind| kind == "audio")) {
            return Err(refusal("modalities", "asks for audio, which this provider cannot make; ask for text"));
        }
        Ok(())
    }

    fn limits(&mut self) -> Result<(), IntakeError> {
        let most = self.model.max_output;
        let wanted = self.request.max_tokens;
        if wanted.is_some_and(|wanted| wanted > most) {
            self.losses.tell("max_tokens", &format!("was lowered to the model's {most}"));
        }
        let by_default = if self.request.stream { most } else { most.min(WHOLE_MAX) };
        self.put("max_tokens", wanted.map_or(by_default, |wanted| wanted.min(most)));
        if self.request.stream {
            self.put("stream", true);
        }
        let stop: Vec<&str> = self.request.stop.iter().map(String::as_str).filter(|s| !s.trim().is_empty()).collect();
        if stop.len() < self.request.stop.len() {
            self.losses.note("stop", "was sent without the sequences that are only white space")?;
        }
        if !stop.is_empty() {
            self.put("stop_sequences", stop);
        }
        Ok(())
    }

    fn reasoning(&mut self) -> Result<(), IntakeError> {
        let Some(wanted) = self.request.reasoning.clone() else { return Ok(()) };
        let off = wanted.effort == Some(Effort::None) || (wanted.effort.is_none() && wanted.budget == Some(0));
        match self.model.style {
            _ if off => self.no_thinking(),
            Style::Never if wanted.effort.is_some() || wanted.budget.is_some() => {
                self.losses.note("reasoning_effort", "is not sent: the model does not think")
            }
            Style::Never => Ok(()),
            Style::Adaptive(_) => self.adaptive(&wanted),
            Style::Budget => self.budget(&wanted),
        }
    }

    fn no_thinking(&mut self) -> Result<(), IntakeError> {
        match self.model.style {
            Style::Adaptive(Off::Disabled) => self.put("thinking", json!({ "type": "disabled" })),
            Style::Adaptive(Off::BetweenTools) => self.put("thinking", json!({ "type": "between_tools" })),
            Style::Adaptive(Off::Never) => {
                self.put("output_config", json!({ "effort": "low" }));
                self.losses.note("reasoning_effort", "was sent as low: the model cannot be kept from thinking")?;
            }
            Style::Budget | Style::Never => {}
        }
        Ok(())
    }

    fn adaptive(&mut self, wanted: &Reasoning) -> Result<(), IntakeError> {
        let effort = wanted.effort.or(wanted.budget.map(effort_of));
        if effort.is_none() && wanted.show.is_none() {
            return Ok(());
        }
        let display = if wanted.show == Some(false) { "omitted" } else { "summarized" };
        self.put("thinking", json!({ "type": "adaptive", "display": display }));
        self.thinks = true;
        if let Some(effort) = effort {
            let taken = self.model.effort(effort, self.target.model_facts);
            if taken != effort && effort != Effort::Minimal {
                self.losses.note("reasoning_effort", &format!("was sent as {}", taken.as_str()))?;
            }
            self.put("output_config", json!({ "effort": taken.as_str() }));
        }
        Ok(())
    }

    fn budget(&mut self, wanted: &Reasoning) -> Result<(), IntakeError> {
        let by_effort = wanted.effort.map(|effort| match effort {
            Effort::None | Effort::Minimal | Effort::Low => BUDGET_MIN,
            Effort::Medium => 2_048,
            Effort::High => 4_096,
            Effort::XHigh => 8_192,
            Effort::Max => 16_384,
        });
        let Some(budget) = wanted.budget.or(by_effort) else { return Ok(()) };
        if encode_messages::continues_without_thinking(self.request) {
            self.losses
                .tell("reasoning_effort", "is not sent: the tool calls so far came without thinking to go on from");
            return Ok(());
        }
        if self.request.max_tokens.is_none() {
            // What the default leaves beside the thinking would be no answer.
            let with_answer = budget.saturating_add(ANSWER_MIN).min(self.model.max_output);
            let now = self.body.get("max_tokens").and_then(Value::as_u64).unwrap_or_default();
            self.put("max_tokens", now.max(with_answer));
        }
        let room = self.body.get("max_tokens").and_then(Value::as_u64).unwrap_or_default().saturating_sub(1);
        if room < BUDGET_MIN {
            return self.losses.note("reasoning_effort", "is not sent: max_tokens leaves no room for thinking");
        }
        let mut thinking = json!({ "type": "enabled", "budget_tokens": budget.max(BUDGET_MIN).min(room) });
        if wanted.show == Some(false) {
            thinking["display"] = "omitted".into();
        }
        self.put("thinking", thinking);
        self.thinks = true;
        Ok(())
    }

    fn format(&mut self) -> Result<(), IntakeError> {
        match &self.request.format {
            None | Some(Format::Text) => {}
            Some(Format::JsonObject) => {
                let instruction = "Answer with a single JSON object and nothing else: no introduction, no code fence.";
                self.instructions.push(instruction.to_owned());
                self.losses.note("response_format", "json_object is only asked for in words")?;
            }
            Some(Format::JsonSchema { schema, .. }) if self.model.json_schema => {
                let format = json!({ "type": "json_schema", "schema": fitted(schema.clone()) });
                match self.body.get_mut("output_config") {
                    Some(config) => config["format"] = format,
                    None => self.put("output_config", json!({ "format": format })),
                }
            }
            Some(Format::JsonSchema { schema, .. }) => {
                self.instructions.push(format!(
                    "Answer with a single JSON value and nothing else (no introduction, no code fence), valid by this \
                     JSON Schema: {schema}"
                ));
                self.losses
                    .note("response_format", "json_schema is only asked for in words: the model enforces none")?;
            }
        }
        Ok(())
    }

    /// Writes what of the sampling the model takes; returns whether there was any.
    fn sampling(&mut self) -> Result<bool, IntakeError> {
        let ChatRequest { temperature, top_p, top_k, .. } = self.request;
        let says = temperature.is_some() || top_p.is_some() || top_k.is_some();
        if !says {
            return Ok(false);
        }
        if !self.model.sampling || self.thinks {
            let why = if self.model.sampling { "while it thinks" } else { "at all" };
            let lost = [
                ("temperature", temperature.is_some_and(|value| value != 1.0)),
                ("top_p", top_p.is_some_and(|value| value != 1.0)),
                ("top_k", top_k.is_some()),
            ];
            for (param, _) in lost.into_iter().filter(|(_, lost)| *lost) {
                self.losses.note(param, &format!("is not sent: the model does not take it {why}"))?;
            }
            return Ok(false);
        }
        if let Some(value) = *temperature {
            if !(0.0..=1.0).contains(&value) {
                self.losses.note("temperature", "was brought into the range from 0 to 1")?;
            }
            self.put("temperature", value.clamp(0.0, 1.0));
        }
        if let Some(value) = *top_p {
            if temperature.is_none() || self.model.both_samplings {
                self.put("top_p", value);
            } else if value != 1.0 {
                self.losses.note("top_p", "is not sent: the model takes either temperature or top_p")?;
            }
        }
        if let Some(value) = *top_k {
            self.put("top_k", value);
        }
        Ok(["temperature", "top_p", "top_k"].iter().any(|key| self.body.contains_key(*key)))
    }

    fn service(&mut self) -> Result<(), IntakeError> {
        if let Some(user) = &self.request.user {
            self.put("metadata", json!({ "user_id": user }));
        }
        match self.request.service_tier.as_deref() {
            None => {}
            Some("auto") => self.put("service_tier", "auto"),
            Some("default" | "standard") => self.put("service_tier", "standard_only"),
            Some(_) => self.losses.note("service_tier", "is not sent: this provider has no such tier")?,
        }
        Ok(())
    }

    fn drop_the_unknown(&mut self) -> Result<(), IntakeError> {
        let request = self.request;
        let is_set = |penalty: Option<f64>| penalty.is_some_and(|penalty| penalty != 0.0);
        let given = [
            ("presence_penalty", is_set(request.presence_penalty)),
            ("frequency_penalty", is_set(request.frequency_penalty)),
            ("seed", request.seed.is_some()),
            (
                "logit_bias",
                request.logit_bias.as_ref().is_some_and(|bias| bias.as_object().is_none_or(|b| !b.is_empty())),
            ),
            ("logprobs", request.logprobs == Some(true)),
            ("top_logprobs", request.top_logprobs.is_some_and(|count| count > 0)),
            ("verbosity", request.verbosity.is_some()),
        ];
        for (param, _) in given.into_iter().filter(|(_, given)| *given) {
            self.losses.note(param, "is not sent: this provider has no such parameter")?;
        }
        if request.metadata.as_ref().is_some_and(|metadata| !metadata.is_empty()) {
            self.losses.note("metadata", "is not sent: this provider keeps none")?;
        }
        Ok(())
    }

    /// Gives Anthropic's own fields back, and tells which of others' are lost.
    fn extra(&mut self) -> Result<(), IntakeError> {
        let Some(extra) = &self.request.extra else { return Ok(()) };
        for (key, value) in &extra.fields {
            if extra.dialect != Dialect::Anthropic {
                if !extra.lost_abroad().any(|lost| lost == key) {
                    continue;
                }
                // A field's name comes from the client, and a warning goes into a header.
                let plain = key.len() <= 64 && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                let name = if plain { key.as_str() } else { "a field" };
                self.losses.note(name, "is not sent: this provider does not know it")?;
                continue;
            }
            match (self.body.get_mut(key), value) {
                (Some(Value::Object(ours)), Value::Object(theirs)) => {
                    for (key, value) in theirs {
                        ours.entry(key.clone()).or_insert_with(|| value.clone());
                    }
                }
                (Some(_), _) => {}
                (None, value) => self.put(key, value.clone()),
            }
        }
        Ok(())
    }

    /// Leaves the last four marks for the cache; the prefix they end holds what earlier ones would.
    fn trim_marks(&mut self) {
        let count = |blocks: &Value| {
            blocks
                .as_array()
                .map_or(0, |blocks| blocks.iter().filter(|block| block.get("cache_control").is_some()).count())
        };
        let turns = self.body.get("messages").and_then(Value::as_array);
        let in_turns: usize = turns.into_iter().flatten().map(|turn| count(&turn["content"])).sum();
        let in_head: usize = ["tools", "system"].iter().filter_map(|key| self.body.get(*key)).map(count).sum();
        let mut surplus = (in_turns + in_head).saturating_sub(MARKS_MAX);
        let mut trim = |blocks: &mut Value| {
            for block in blocks.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
                if surplus > 0 && block.remove("cache_control").is_some() {
                    surplus -= 1;
                }
            }
        };
        for key in ["tools", "system"] {
            self.body.get_mut(key).into_iter().for_each(&mut trim);
        }
        let turns = self.body.get_mut("messages").and_then(Value::as_array_mut);
        turns.into_iter().flatten().for_each(|turn| trim(&mut turn["content"]));
    }
}

/// Returns the effort that a budget for thinking amounts to.
fn effort_of(budget: u64) -> Effort {
    match budget {
        0..2_048 => Effort::Low,
        2_048..8_192 => Effort::Medium,
        8_192..16_384 => Effort::High,
        _ => Effort::XHigh,
    }
}
