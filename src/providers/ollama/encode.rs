//! A chat request as `/api/chat` takes it.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::messages::Messages;
use crate::providers::custom::{GRAMMAR_IN_WORDS, as_function, has_grammar};
use crate::providers::dialect::{Target, WireRequest};
use crate::providers::losses::{Losses, is_offered, one_choice};
use crate::schema::IntakeError;
use crate::schema::chat::{ChatRequest, Dialect, Effort, Format, Function, Tool, ToolChoice};

pub(super) fn encode(request: &ChatRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
    one_choice(request)?;
    let mut losses = Losses::new("Ollama", target);
    let vision = target.model_facts.vision;
    let messages = Messages { request, vision, losses: &mut losses }.write()?;
    let mut body = Map::new();
    body.insert("model".into(), target.model.into());
    body.insert("messages".into(), messages.into());
    // Both are true where they are missing, and `truncate` shortens a prompt without a word.
    body.insert("stream".into(), request.stream.into());
    body.insert("truncate".into(), false.into());
    match &request.format {
        None | Some(Format::Text) => {}
        Some(Format::JsonObject) => _ = body.insert("format".into(), "json".into()),
        Some(Format::JsonSchema { schema, .. }) => _ = body.insert("format".into(), schema.clone()),
    }
    let tools = tools(request, &mut losses)?;
    if !tools.is_empty() {
        body.insert("tools".into(), tools.into());
    }
    if let Some(think) = think(request, target, &mut losses)? {
        body.insert("think".into(), think);
    }
    if request.logprobs == Some(true) {
        body.insert("logprobs".into(), true.into());
        body.extend(request.top_logprobs.map(|top| ("top_logprobs".to_owned(), top.into())));
    }
    let mut options = options(request);
    left_out(request, &mut losses)?;
    for (name, value) in losses.own_extra(request.extra.as_ref(), Dialect::Ollama)?.iter().flat_map(|e| &e.fields) {
        match value {
            Value::Object(more) if name == "options" => {
                more.iter().for_each(|(name, value)| _ = options.entry(name.clone()).or_insert_with(|| value.clone()));
            }
            _ if name == "truncate" => _ = body.insert(name.clone(), value.clone()),
            _ => _ = body.entry(name.clone()).or_insert_with(|| value.clone()),
        }
    }
    if !options.is_empty() {
        body.insert("options".into(), options.into());
    }
    Ok(WireRequest {
        path: "/api/chat".into(),
        headers: Vec::new(),
        body: Bytes::from(Value::Object(body).to_string()),
        warnings: losses.into_warnings(),
    })
}

fn options(request: &ChatRequest) -> Map<String, Value> {
    let sent = [
        ("num_predict", request.max_tokens.map(Value::from)),
        ("temperature", request.temperature.map(Value::from)),
        ("top_p", request.top_p.map(Value::from)),
        ("top_k", request.top_k.map(Value::from)),
        ("seed", request.seed.map(Value::from)),
        ("presence_penalty", request.presence_penalty.map(Value::from)),
        ("frequency_penalty", request.frequency_penalty.map(Value::from)),
        ("stop", (!request.stop.is_empty()).then(|| json!(request.stop))),
    ];
    sent.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn left_out(request: &ChatRequest, losses: &mut Losses) -> Result<(), IntakeError> {
    let sent = [
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

/// Returns the tools on offer. Ollama lets the model choose: none are offered where none may be used, only the named one
/// where that must be.
fn tools(request: &ChatRequest, losses: &mut Losses) -> Result<Vec<Value>, IntakeError> {
    let mut tools = Vec::new();
    let choice = request.tool_choice.as_ref();
    if choice == Some(&ToolChoice::None) {
        return Ok(tools);
    }
    for tool in &request.tools {
        match (tool, as_function(tool)) {
            (Tool::Native { dialect: Dialect::Ollama, value }, _) => tools.push(value.clone()),
            (_, None) => losses.drop("tools that another provider runs")?,
            (_, Some(function)) if is_offered(&function.name, choice) => {
                if has_grammar(tool) {
                    losses.note("tools", GRAMMAR_IN_WORDS)?;
                }
                tools.push(write(&function));
            }
            (_, Some(_)) => {}
        }
    }
    let forced = matches!(
        choice,
        Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. })
    );
    if forced {
        losses.note("tool_choice", "became `auto`, because Ollama cannot make a model call a tool")?;
    }
    Ok(tools)
}

fn write(function: &Function) -> Value {
    let none = || json!({"type": "object", "properties": {}});
    let parameters = function.parameters.clone().unwrap_or_else(none);
    let description = function.description.as_deref().unwrap_or_default();
    json!({"type": "function",
        "function": {"name": function.name, "description": description, "parameters": parameters}})
}

fn think(request: &ChatRequest, target: &Target<'_>, losses: &mut Losses) -> Result<Option<Value>, IntakeError> {
    let Some(reasoning) = &request.reasoning else { return Ok(None) };
    let effort = match (reasoning.effort, reasoning.budget) {
        (Some(effort), _) => effort,
        (None, Some(0)) => Effort::None,
        (None, Some(_)) => Effort::Medium,
        (None, None) => return Ok(None),
    };
    if effort != Effort::None && target.model_facts.reasoning == Some(false) {
        losses.drop("reasoning_effort")?;
        return Ok(None);
    }
    // Only gpt-oss knows degrees, and it cannot be told not to think at all.
    let degrees = target.model.contains("gpt-oss");
    Ok(Some(match effort {
        Effort::None if degrees => {
            losses.note("reasoning_effort", "was set to `low`, because this model cannot do without")?;
            "low".into()
        }
        Effort::None => false.into(),
        _ if !degrees => true.into(),
        Effort::Minimal | Effort::Low => "low".into(),
        Effort::Medium => "medium".into(),
        Effort::High | Effort::XHigh | Effort::Max => "high".into(),
    }))
}
