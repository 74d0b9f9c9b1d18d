//! A chat request as Cohere's v2 takes it.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::messages::messages;
use crate::providers::custom::{GRAMMAR_IN_WORDS, as_function, has_grammar};
use crate::providers::dialect::{Target, WireRequest};
use crate::providers::losses::{Losses, is_offered, one_choice};
use crate::schema::IntakeError;
use crate::schema::chat::{ChatRequest, Dialect, Effort, Format, Function, Tool, ToolChoice};

pub(super) fn encode(request: &ChatRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
    one_choice(request)?;
    let mut losses = Losses::new("Cohere", target);
    let messages = messages(request, target.model_facts.vision, &mut losses)?;
    let mut body = Map::new();
    body.insert("model".into(), target.model.into());
    body.insert("messages".into(), messages.into());
    body.insert("stream".into(), request.stream.into());
    sampling(request, target, &mut body, &mut losses)?;
    tools(request, target, &mut body, &mut losses)?;
    match &request.format {
        None | Some(Format::Text) => {}
        Some(Format::JsonSchema { schema, .. }) if target.model_facts.json_schema != Some(false) => {
            body.insert("response_format".into(), json!({"type": "json_object", "json_schema": schema}));
        }
        Some(format) => {
            if matches!(format, Format::JsonSchema { .. }) {
                losses.note("response_format", "became `json_object`, because this model takes no schema")?;
            }
            body.insert("response_format".into(), json!({"type": "json_object"}));
        }
    }
    if let Some(thinking) = thinking(request, target, &mut losses)? {
        body.insert("thinking".into(), thinking);
    }
    left_out(request, &mut losses)?;
    for (name, value) in losses.own_extra(request.extra.as_ref(), Dialect::Cohere)?.iter().flat_map(|e| &e.fields) {
        body.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(WireRequest {
        path: "/v2/chat".into(),
        headers: Vec::new(),
        body: Bytes::from(Value::Object(body).to_string()),
        warnings: losses.into_warnings(),
    })
}

fn sampling(
    request: &ChatRequest,
    target: &Target<'_>,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), IntakeError> {
    let numbers = [
        (request.temperature, "temperature", "temperature"),
        (request.top_p, "top_p", "p"),
        (request.presence_penalty, "presence_penalty", "presence_penalty"),
        (request.frequency_penalty, "frequency_penalty", "frequency_penalty"),
    ];
    for (sent, name, theirs) in numbers {
        match sent {
            Some(_) if target.model_facts.sampling == Some(false) => losses.drop(name)?,
            Some(value) => _ = body.insert(theirs.into(), losses.within(name, value, 0.0, 1.0)?.into()),
            None => {}
        }
    }
    let whole = [("max_tokens", request.max_tokens.map(Value::from)), ("k", request.top_k.map(Value::from))];
    let rest =
        [("seed", request.seed.map(Value::from)), ("logprobs", request.logprobs.filter(|on| *on).map(Value::from))];
    for (name, value) in whole.into_iter().chain(rest) {
        body.extend(value.map(|value| (name.to_owned(), value)));
    }
    if !request.stop.is_empty() {
        body.insert("stop_sequences".into(), json!(request.stop));
    }
    Ok(())
}

fn left_out(request: &ChatRequest, losses: &mut Losses) -> Result<(), IntakeError> {
    let sent = [
        (request.top_logprobs.is_some_and(|top| top > 0), "top_logprobs"),
        (request.logit_bias.is_some(), "logit_bias"),
        (request.verbosity.is_some(), "verbosity"),
        (request.service_tier.as_deref().is_some_and(|tier| !matches!(tier, "auto" | "default")), "service_tier"),
        (request.user.is_some(), "user"),
        (request.metadata.is_some(), "metadata"),
        (request.prompt_cache_key.is_some(), "prompt_cache_key"),
        (request.parallel_tool_calls == Some(false), "parallel_tool_calls"),
    ];
    sent.into_iter().try_for_each(|(sent, name)| losses.drop_if(sent, name))
}

fn tools(
    request: &ChatRequest,
    target: &Target<'_>,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), IntakeError> {
    let mut tools = Vec::new();
    for tool in &request.tools {
        match (tool, as_function(tool)) {
            (Tool::Native { dialect: Dialect::Cohere, value }, _) => tools.push(value.clone()),
            (_, None) => losses.drop("tools that another provider runs")?,
            (_, Some(function)) if is_offered(&function.name, request.tool_choice.as_ref()) => {
                if has_grammar(tool) {
                    losses.note("tools", GRAMMAR_IN_WORDS)?;
                }
                tools.push(write(&function));
            }
            (_, Some(_)) => {}
        }
    }
    if tools.is_empty() {
        return Ok(());
    }
    let strict = request.functions().filter(|function| function.strict == Some(true)).count();
    if strict > 0 && strict == request.functions().count() {
        body.insert("strict_tools".into(), true.into());
    } else if strict > 0 {
        losses.note("tools.strict", "was left out, because Cohere holds all tools to it or none")?;
    }
    let choice = match &request.tool_choice {
        Some(ToolChoice::None) => Some("NONE"),
        Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. }) => {
            Some("REQUIRED")
        }
        None | Some(ToolChoice::Auto | ToolChoice::Allowed { required: false, .. }) => None,
    };
    if choice == Some("REQUIRED") && target.model_facts.forced_tools == Some(false) {
        losses.note("tool_choice", "became `auto`, because this model cannot be made to call a tool")?;
    } else if let Some(choice) = choice {
        body.insert("tool_choice".into(), choice.into());
    }
    body.insert("tools".into(), tools.into());
    Ok(())
}

fn write(function: &Function) -> Value {
    let none = || json!({"type": "object", "properties": {}});
    let parameters = function.parameters.clone().unwrap_or_else(none);
    let mut written = json!({"name": function.name, "parameters": parameters});
    if let Some(description) = &function.description {
        written["description"] = description.as_str().into();
    }
    json!({"type": "function", "function": written})
}

fn thinking(request: &ChatRequest, target: &Target<'_>, losses: &mut Losses) -> Result<Option<Value>, IntakeError> {
    let Some(reasoning) = &request.reasoning else { return Ok(None) };
    let wanted = match (reasoning.effort, reasoning.budget) {
        (Some(Effort::None), _) | (None, Some(0)) => Some(false),
        (None, None) => reasoning.show.filter(|show| *show),
        _ => Some(true),
    };
    if wanted == Some(true) && target.model_facts.reasoning == Some(false) {
        losses.drop("reasoning_effort")?;
        return Ok(None);
    }
    Ok(match wanted {
        None => None,
        Some(false) => Some(json!({"type": "disabled"})),
        Some(true) => {
            Some(match reasoning.budget.filter(|budget| *budget > 0).or_else(|| budget_of(reasoning.effort)) {
                Some(budget) => json!({"type": "enabled", "token_budget": budget}),
                None => json!({"type": "enabled"}),
            })
        }
    })
}

/// Cohere counts tokens where others know degrees; from `high` on the model thinks as long as it likes.
fn budget_of(effort: Option<Effort>) -> Option<u64> {
    match effort? {
        Effort::Minimal => Some(512),
        Effort::Low => Some(1_024),
        Effort::Medium => Some(8_192),
        Effort::None | Effort::High | Effort::XHigh | Effort::Max => None,
    }
}
