//! A reply as the client gets it: the response object, whole or as it stands within a stream's events.

use bursar_actors::Usage;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::item::{Ids, annotation, items, last_status, last_text, logprobs};
use super::tools;
use crate::schema::chat::{ChatReply, ChatRequest, Choice, Effort, Finish, Format};

/// Fields of the request that come back as they are, or null.
const ECHOED: [&str; 4] = ["instructions", "max_tool_calls", "safety_identifier", "prompt_cache_retention"];

/// Writes a whole reply. A response has one answer, so of several only the first is written.
pub(super) fn write(reply: &ChatReply, request: &ChatRequest) -> Bytes {
    let ids = Ids::of(&reply.id, &format!("{} {}", reply.model, reply.created));
    let choice = reply.choices.iter().min_by_key(|choice| choice.index);
    let finish = choice.and_then(|choice| choice.finish.as_ref());
    let mut response = Response::begin(request);
    response.head(&ids.reply(), reply.created, &reply.model, reply.service_tier.as_deref());
    response.end(finish, choice.map(|choice| output(choice, &ids)).unwrap_or_default(), reply.usage);
    response.value().to_string().into()
}

fn output(choice: &Choice, ids: &Ids) -> Vec<Value> {
    let mut items = items(&choice.parts, ids);
    if let Some((annotations, entries)) = last_text(&mut items) {
        annotations.extend(choice.citations.iter().map(annotation));
        entries.extend(choice.logprobs.iter().flat_map(logprobs));
    }
    let last = items.len().saturating_sub(1);
    let status = |at: usize| if at == last { last_status(choice.finish.as_ref()) } else { "completed" };
    items.iter().enumerate().map(|(at, item)| item.value(status(at))).collect()
}

/// A response object under way.
#[derive(Debug, Default)]
pub(super) struct Response {
    fields: Map<String, Value>,
}

impl Response {
    /// Begins with what comes back of the request, with OpenAI's defaults.
    pub(super) fn begin(request: &ChatRequest) -> Self {
        let extra = request.extra.as_ref().map(|extra| &extra.fields);
        let echo = |name: &str| extra.and_then(|extra| extra.get(name)).cloned();
        let tools: Vec<Value> = request.tools.iter().filter_map(|tool| tools::tool_value(tool, None)).collect();
        let choice = request.tool_choice.as_ref().map(|choice| tools::choice_value(choice, request));
        let reasoning = request.reasoning.as_ref();
        let mut thought =
            json!({ "effort": reasoning.and_then(|wish| wish.effort).map(Effort::as_str), "summary": null });
        if let (Some(Value::Object(wishes)), Some(thought)) = (echo("reasoning"), thought.as_object_mut()) {
            thought.extend(wishes);
        }
        let Value::Object(mut fields) = json!({
            "object": "response",
            "status": "in_progress",
            "background": false,
            "completed_at": null,
            "error": null,
            "incomplete_details": null,
            "max_output_tokens": request.max_tokens,
            "output": [],
            "parallel_tool_calls": request.parallel_tool_calls.unwrap_or(true),
            "previous_response_id": null,
            "prompt_cache_key": request.prompt_cache_key,
            "reasoning": thought,
            "service_tier": request.service_tier.as_deref().unwrap_or("auto"),
            // Whatever was asked for: nothing is kept.
            "store": false,
            "temperature": request.temperature.unwrap_or(1.0),
            "text": { "format": format(request.format.as_ref()), "verbosity": request.verbosity.as_deref().unwrap_or("medium") },
            "tool_choice": choice.unwrap_or_else(|| json!("auto")),
            "tools": tools,
            "top_logprobs": request.top_logprobs.unwrap_or(0),
            "top_p": request.top_p.unwrap_or(1.0),
            "truncation": echo("truncation").unwrap_or_else(|| json!("disabled")),
            "metadata": request.metadata.clone().unwrap_or_default(),
        }) else {
            return Self::default();
        };
        for name in ECHOED {
            fields.insert(name.into(), echo(name).unwrap_or_default());
        }
        // Without a user of its own, the request has the safety identifier there.
        if let Some(user) = request.user.as_deref().filter(|user| fields["safety_identifier"] != *user) {
            fields.insert("user".into(), json!(user));
        }
        Self { fields }
    }

    /// Says which reply it is.
    pub(super) fn head(&mut self, id: &str, created: i64, model: &str, service_tier: Option<&str>) {
        self.set("id", json!(id));
        self.set("created_at", json!(created));
        self.set("model", json!(model));
        if let Some(tier) = service_tier {
            self.set("service_tier", json!(tier));
        }
    }

    /// Says how it ended. Usage is always there, because some clients cannot do without.
    pub(super) fn end(&mut self, finish: Option<&Finish>, output: Vec<Value>, usage: Option<Usage>) {
        let reason = match finish {
            Some(Finish::Length) => Some("max_output_tokens"),
            Some(Finish::ContentFilter) => Some("content_filter"),
            _ => None,
        };
        self.set("status", json!(if reason.is_some() { "incomplete" } else { "completed" }));
        if let Some(reason) = reason {
            self.set("incomplete_details", json!({ "reason": reason }));
        }
        self.set("output", output.into());
        self.set("usage", usage_value(usage.unwrap_or_default()));
    }

    /// Says that it failed.
    pub(super) fn fail(&mut self, error: Value, output: Vec<Value>) {
        self.set("status", json!("failed"));
        self.set("error", error);
        self.set("output", output.into());
    }

    /// Returns it as it is so far.
    pub(super) fn snapshot(&self) -> Value {
        self.fields.clone().into()
    }

    pub(super) fn value(self) -> Value {
        self.fields.into()
    }

    /// Takes one that another wrote.
    pub(super) fn of(fields: Map<String, Value>) -> Self {
        Self { fields }
    }

    fn set(&mut self, name: &str, value: Value) {
        self.fields.insert(name.to_owned(), value);
    }
}

/// Returns the form of the answer as it is written in this dialect.
pub(super) fn format(format: Option<&Format>) -> Value {
    match format {
        None | Some(Format::Text) => json!({ "type": "text" }),
        Some(Format::JsonObject) => json!({ "type": "json_object" }),
        Some(Format::JsonSchema { name, description, schema, strict }) => {
            let mut format = json!({ "type": "json_schema", "name": name, "schema": schema, "strict": strict });
            if let Some(description) = description {
                format["description"] = json!(description);
            }
            format
        }
    }
}

fn usage_value(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.prompt,
        "input_tokens_details": { "cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write },
        "output_tokens": usage.completion,
        "output_tokens_details": { "reasoning_tokens": usage.reasoning },
        "total_tokens": usage.total,
    })
}
