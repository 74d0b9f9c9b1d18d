//! Writes a request for an upstream of the chat dialect, as its row has it.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::models::{self, ThinkingModel};
use super::table::{EffortStyle, Row, by_model};
use super::{encode_messages, encode_tools};
use crate::providers::dialect::{Target, WireRequest};
use crate::providers::losses::Losses;
use crate::schema::IntakeError;
use crate::schema::chat::{ChatRequest, Content, Dialect, Effort, Reasoning};

/// A request under way.
pub(super) struct Encoding<'a> {
    pub(super) request: &'a ChatRequest,
    pub(super) target: &'a Target<'a>,
    pub(super) row: &'static Row,
    pub(super) losses: Losses,
    pub(super) body: Map<String, Value>,
}

/// Writes `request` for `target`.
pub(super) fn request(
    request: &ChatRequest,
    target: &Target<'_>,
    row: &'static Row,
) -> Result<WireRequest, IntakeError> {
    let losses = Losses::new(row.name, target);
    let mut encoding = Encoding { request, target, row, losses, body: Map::new() };
    encoding.refuse_impossible()?;
    encoding.body.insert("model".into(), target.model.into());
    encode_messages::put(&mut encoding)?;
    encode_tools::put(&mut encoding)?;
    encoding.sampling()?;
    encoding.effort()?;
    encoding.plain()?;
    encoding.stream();
    encoding.extra()?;
    let body = Bytes::from(Value::Object(encoding.body).to_string());
    Ok(WireRequest {
        path: "/chat/completions".into(),
        headers: Vec::new(),
        body,
        warnings: encoding.losses.into_warnings(),
    })
}

impl Encoding<'_> {
    fn refuse_impossible(&self) -> Result<(), IntakeError> {
        let (request, facts) = (self.request, self.target.model_facts);
        if request.choices.is_some_and(|choices| choices > 1) && !self.row.choices {
            return Err(self.losses.impossible("n", "it gives one choice; ask once for each"));
        }
        if facts.tools == Some(false) && !request.tools.is_empty() {
            return Err(self.losses.impossible("tools", "this model calls none; choose another model"));
        }
        let mut contents = request.messages.iter().flat_map(|message| &message.parts).map(|part| &part.content);
        if facts.vision == Some(false) && contents.any(|content| matches!(content, Content::Image { .. })) {
            return Err(self.losses.impossible("messages", "this model sees no images; choose another model"));
        }
        Ok(())
    }

    /// Sets a parameter under the upstream's own name, or drops it.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) -> Result<(), IntakeError> {
        let own = self.row.renames.iter().find(|(from, _)| *from == name).map_or(name, |(_, to)| to);
        let unknown = self.row.knows.is_some_and(|known| !known.contains(&own));
        if unknown || self.row.drops.contains(&name) {
            return self.losses.drop(name);
        }
        self.body.insert(own.to_owned(), value.into());
        Ok(())
    }

    fn set_some(&mut self, name: &str, value: Option<impl Into<Value>>) -> Result<(), IntakeError> {
        value.map_or(Ok(()), |value| self.set(name, value))
    }

    fn thinking_model(&self) -> Option<ThinkingModel> {
        if self.row.openai_models { models::openai(self.target.model).flatten() } else { None }
    }

    /// Returns the effort that the client wants, told in words or in tokens.
    pub(super) fn wanted_effort(&self) -> Option<Effort> {
        let reasoning = self.request.reasoning.as_ref()?;
        reasoning.effort.or_else(|| reasoning.budget.map(models::effort_of_budget))
    }

    /// Returns whether sampling parameters are rejected: by this model, or because it is going to think.
    fn rejects_sampling(&self) -> bool {
        let facts = self.target.model_facts;
        if !self.row.openai_models {
            return facts.sampling == Some(false);
        }
        models::rejects_sampling(self.target.model, facts, self.wanted_effort())
    }

    fn sampling(&mut self) -> Result<(), IntakeError> {
        let request = self.request;
        let most = self.target.model_facts.max_output.zip(request.max_tokens).map(|(most, wanted)| most.min(wanted));
        if let Some(max_tokens) = most.or(request.max_tokens) {
            self.body.insert(self.row.max_tokens.into(), max_tokens.into());
        }
        let temperature = request.temperature.map(|wanted| match self.row.temperature_max {
            Some(most) if wanted > most => most,
            _ => wanted,
        });
        if temperature != request.temperature {
            let (most, provider) = (temperature.unwrap_or_default(), self.row.name);
            self.losses.note("temperature", &format!("was lowered to {most}, the most {provider} takes"))?;
        }
        let (logprobs, top_logprobs) = self.logprobs();
        let sampled = [
            ("temperature", temperature.map(Value::from)),
            ("top_p", request.top_p.map(Value::from)),
            ("presence_penalty", request.presence_penalty.map(Value::from)),
            ("frequency_penalty", request.frequency_penalty.map(Value::from)),
            ("logit_bias", request.logit_bias.clone()),
            ("logprobs", logprobs),
            ("top_logprobs", top_logprobs),
        ];
        let rejected = self.rejects_sampling();
        for (name, value) in sampled.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            if rejected {
                let model = self.target.model;
                self.losses.leave_out(name, &format!("{model} does not take it while it thinks"))?;
            } else {
                self.set(name, value)?;
            }
        }
        self.set_some("top_k", request.top_k)?;
        self.set_some("seed", request.seed)?;
        if !request.stop.is_empty() {
            if self.thinking_model().is_some_and(|model| model.no_stop) {
                self.losses.drop("stop")?;
            } else {
                self.set("stop", request.stop.clone())?;
            }
        }
        if request.choices.is_some_and(|choices| choices > 1) {
            self.set_some("n", request.choices)?;
        }
        Ok(())
    }

    fn logprobs(&self) -> (Option<Value>, Option<Value>) {
        let (wanted, top) = (self.request.logprobs, self.request.top_logprobs);
        if !self.row.logprobs_count {
            return (wanted.map(Value::from), top.map(Value::from));
        }
        let count = if wanted == Some(true) { top.unwrap_or(0).max(1) } else { 0 };
        ((count > 0).then(|| count.into()), None)
    }

    fn effort(&mut self) -> Result<(), IntakeError> {
        let Some(reasoning) = &self.request.reasoning else { return Ok(()) };
        let style = by_model(self.row.effort, self.target.model).unwrap_or(EffortStyle::Unknown);
        let wanted = self.wanted_effort();
        match style {
            EffortStyle::Object => {
                let object = reasoning_object(reasoning);
                return self.set("reasoning", object);
            }
            EffortStyle::Switch => {
                let Some(wanted) = wanted else { return Ok(()) };
                let kind = if wanted == Effort::None { "disabled" } else { "enabled" };
                return self.set("thinking", json!({ "type": kind }));
            }
            EffortStyle::SwitchAndWords(_) if wanted == Some(Effort::None) => {
                return self.set("thinking", json!({ "type": "disabled" }));
            }
            EffortStyle::ObjectAndWords(_) if wanted == Some(Effort::None) => {
                return self.set("reasoning", json!({ "enabled": false }));
            }
            _ => {}
        }
        let Some(wanted) = wanted else { return Ok(()) };
        let words = match style {
            EffortStyle::Words(words) | EffortStyle::SwitchAndWords(words) | EffortStyle::ObjectAndWords(words) => {
                words
            }
            _ => return self.losses.drop("reasoning_effort"),
        };
        self.effort_word(wanted, words)
    }

    /// Sets `reasoning_effort` to the nearest word that provider and model know.
    fn effort_word(&mut self, wanted: Effort, words: &[(Effort, &'static str)]) -> Result<(), IntakeError> {
        let facts = &self.target.model_facts.efforts;
        let of_openai = if self.row.openai_models { models::openai(self.target.model) } else { None };
        let by_name: Option<Vec<Effort>> = of_openai.map(|model| model.map_or(&[][..], |model| model.efforts).to_vec());
        let known = if facts.is_empty() { by_name } else { Some(facts.clone()) };
        let found = match (known, words) {
            (Some(known), _) => models::nearest(wanted, known.into_iter()).map(|effort| (effort, effort.as_str())),
            (None, []) => Some((wanted, wanted.as_str())),
            (None, words) => {
                let nearest = models::nearest(wanted, words.iter().map(|(effort, _)| *effort));
                words.iter().find(|(effort, _)| Some(*effort) == nearest).copied()
            }
        };
        let Some((effort, word)) = found else { return self.losses.drop("reasoning_effort") };
        if effort != wanted && word == effort.as_str() {
            let what = format!("was sent as {word}, the nearest that this model takes");
            self.losses.note("reasoning_effort", &what)?;
        }
        self.set("reasoning_effort", word)
    }

    fn plain(&mut self) -> Result<(), IntakeError> {
        let request = self.request;
        self.set_some("verbosity", request.verbosity.as_deref())?;
        self.set_some("service_tier", request.service_tier.as_deref())?;
        self.set_some("user", request.user.as_deref())?;
        self.set_some("metadata", request.metadata.clone())?;
        self.set_some("prompt_cache_key", request.prompt_cache_key.as_deref())
    }

    fn stream(&mut self) {
        if self.request.stream {
            self.body.insert("stream".into(), true.into());
            if self.row.stream_options {
                self.body.insert("stream_options".into(), json!({ "include_usage": true }));
            }
        }
        for (name, value) in self.row.adds {
            let value = serde_json::from_str(value).expect("a test reads every value of the table");
            self.body.insert((*name).to_owned(), value);
        }
    }

    /// Adds what only this dialect knows; the client's own fields never overrule what was set.
    fn extra(&mut self) -> Result<(), IntakeError> {
        let Some(extra) = &self.request.extra else { return Ok(()) };
        if extra.dialect != Dialect::OpenAi {
            return extra.lost_abroad().try_for_each(|name| self.losses.drop(name));
        }
        for (name, value) in &extra.fields {
            if name == "stream_options" {
                if let (Some(Value::Object(into)), Value::Object(more)) = (self.body.get_mut("stream_options"), value) {
                    more.iter().for_each(|(key, value)| _ = into.entry(key.clone()).or_insert_with(|| value.clone()));
                }
            } else if !self.body.contains_key(name) {
                self.set(name, value.clone())?;
            }
        }
        Ok(())
    }
}

/// Writes OpenRouter's `reasoning`; effort and budget exclude each other there, and the budget is the more exact.
fn reasoning_object(reasoning: &Reasoning) -> Value {
    let mut object = Map::new();
    match (reasoning.effort, reasoning.budget) {
        (Some(Effort::None), _) | (_, Some(0)) => _ = object.insert("enabled".into(), false.into()),
        (_, Some(budget)) => _ = object.insert("max_tokens".into(), budget.into()),
        (Some(Effort::Max), None) => _ = object.insert("effort".into(), "xhigh".into()),
        (Some(effort), None) => _ = object.insert("effort".into(), effort.as_str().into()),
        (None, None) => _ = object.insert("enabled".into(), true.into()),
    }
    if reasoning.show == Some(false) {
        object.insert("exclude".into(), true.into());
    }
    Value::Object(object)
}
