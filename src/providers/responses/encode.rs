//! A request for an upstream that speaks Responses.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::history::Items;
use super::{tools, write};
use crate::providers::dialect::{Target, WireRequest};
use crate::providers::losses::{Losses, refusal};
use crate::schema::IntakeError;
use crate::schema::chat::{ChatRequest, Dialect, Effort, Format, ToolChoice};

/// The fewest tokens that OpenAI lets a response be bound to.
const OUTPUT_MIN: u64 = 16;
/// Fields of a Responses client that are written here anyway, or make no sense in a call that keeps nothing.
const WRITTEN: [&str; 6] = ["instructions", "reasoning", "include", "store", "stream_options", "context_management"];
/// Fields of chat completions that Responses has by the same name.
const SHARED: [&str; 4] = ["safety_identifier", "prompt_cache_options", "prompt_cache_retention", "moderation"];
/// Fields of chat completions that say nothing to a call that keeps nothing and is always told its usage.
const IDLE: [&str; 3] = ["store", "stream_options", "stream"];

/// Writes `request` for `target`.
pub(super) fn encode(request: &ChatRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
    let mut losses = Losses::new("OpenAI Responses", target);
    if request.choices.is_some_and(|choices| choices > 1) {
        return Err(refusal("n", "cannot be more than 1 with this model; send several requests"));
    }
    let mut body = Map::new();
    extra(request, &mut body, &mut losses)?;
    let mut set = |name: &str, value: Value| _ = body.insert(name.to_owned(), value);
    set("model", json!(target.model));
    set("store", json!(false));
    set("stream", json!(request.stream));
    let items = Items::of(request, target, &mut losses)?;
    if let Some(instructions) = items.instructions {
        set("instructions", json!(instructions));
    }
    set("input", items.input.into());
    if let Some(value) = max_tokens(request, &mut losses)? {
        set("max_output_tokens", json!(value));
    }
    for (name, value) in sampling(request, target, &mut losses)? {
        set(name, json!(value));
    }
    let include = include(request, target);
    if !include.is_empty() {
        set("include", json!(include));
    }
    if let Some(value) = reasoning(request, target, &mut losses)? {
        set("reasoning", value);
    }
    if let Some(value) = text(request) {
        set("text", value);
    }
    if request.logprobs == Some(true) {
        set("top_logprobs", json!(request.top_logprobs.unwrap_or(0)));
    }
    let plain = [
        ("parallel_tool_calls", request.parallel_tool_calls.map(Value::from)),
        ("service_tier", request.service_tier.clone().map(Value::from)),
        ("prompt_cache_key", request.prompt_cache_key.clone().map(Value::from)),
        ("metadata", request.metadata.clone().map(Value::from)),
    ];
    plain.into_iter().for_each(|(name, value)| _ = value.map(|value| set(name, value)));
    user(request, &mut body);
    tools(request, target, &mut body, &mut losses)?;
    unknown_here(request, &mut losses)?;
    let body = Value::Object(body).to_string().into();
    Ok(WireRequest { path: "/responses".into(), headers: Vec::new(), body, warnings: losses.into_warnings() })
}

fn max_tokens(request: &ChatRequest, losses: &mut Losses) -> Result<Option<u64>, IntakeError> {
    let Some(wanted) = request.max_tokens else { return Ok(None) };
    if wanted < OUTPUT_MIN {
        losses.note("max_tokens", "was raised to 16, the least this model takes")?;
    }
    Ok(Some(wanted.max(OUTPUT_MIN)))
}

fn sampling(
    request: &ChatRequest,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Vec<(&'static str, f64)>, IntakeError> {
    let mut kept = Vec::new();
    for (name, value) in [("temperature", request.temperature), ("top_p", request.top_p)] {
        match value {
            Some(_) if target.model_facts.sampling == Some(false) => {
                losses.note(name, "is not taken by this model and was left out")?;
            }
            Some(value) => kept.push((name, value)),
            None => {}
        }
    }
    Ok(kept)
}

fn include(request: &ChatRequest, target: &Target<'_>) -> Vec<Cow<'static, str>> {
    let mut include = Vec::new();
    if target.model_facts.reasoning != Some(false) {
        include.push(Cow::Borrowed("reasoning.encrypted_content"));
    }
    if request.logprobs == Some(true) {
        include.push(Cow::Borrowed("message.output_text.logprobs"));
    }
    let own = own_extra(request).and_then(|extra| extra.get("include")).and_then(Value::as_array);
    for name in own.into_iter().flatten().filter_map(Value::as_str) {
        if !include.iter().any(|known| known == name) {
            include.push(Cow::Owned(name.to_owned()));
        }
    }
    include
}

fn reasoning(request: &ChatRequest, target: &Target<'_>, losses: &mut Losses) -> Result<Option<Value>, IntakeError> {
    let Some(wish) = &request.reasoning else { return Ok(None) };
    if target.model_facts.reasoning == Some(false) {
        if wish.effort.is_some_and(|effort| effort != Effort::None) || wish.budget.is_some_and(|budget| budget > 0) {
            losses.note("reasoning", "is not done by this model and was left out")?;
        }
        return Ok(None);
    }
    let mut reasoning = match own_extra(request).and_then(|extra| extra.get("reasoning")) {
        Some(Value::Object(own)) => own.clone(),
        _ => Map::new(),
    };
    if let Some(wanted) = wish.effort.or_else(|| wish.budget.map(effort_of_budget)) {
        let effort = nearest(wanted, &target.model_facts.efforts);
        if effort != wanted {
            losses.note(
                "reasoning.effort",
                &format!("was changed to {}, the nearest this model takes", effort.as_str()),
            )?;
        }
        reasoning.insert("effort".into(), json!(effort.as_str()));
    }
    if wish.show == Some(true) && !reasoning.contains_key("generate_summary") {
        reasoning.entry("summary").or_insert_with(|| json!("auto"));
    }
    Ok((!reasoning.is_empty()).then_some(reasoning.into()))
}

/// Returns the effort that a budget of thinking tokens comes nearest to.
fn effort_of_budget(budget: u64) -> Effort {
    match budget {
        0 => Effort::None,
        1..=2_048 => Effort::Low,
        2_049..=12_288 => Effort::Medium,
        _ => Effort::High,
    }
}

/// Returns of `efforts`, which are in rising order, the one nearest to `wanted`; of two as near, the higher.
fn nearest(wanted: Effort, efforts: &[Effort]) -> Effort {
    let distance = |effort: Effort| (effort as i8 - wanted as i8).abs();
    efforts.iter().rev().copied().min_by_key(|effort| distance(*effort)).unwrap_or(wanted)
}

fn text(request: &ChatRequest) -> Option<Value> {
    let format = request.format.as_ref().filter(|format| **format != Format::Text);
    let mut text = Map::new();
    if format.is_some() {
        text.insert("format".into(), write::format(format));
    }
    if let Some(verbosity) = &request.verbosity {
        text.insert("verbosity".into(), json!(verbosity));
    }
    (!text.is_empty()).then_some(text.into())
}

fn user(request: &ChatRequest, body: &mut Map<String, Value>) {
    let Some(user) = &request.user else { return };
    if !body.contains_key("safety_identifier") {
        body.insert("user".into(), json!(user));
    }
}

fn tools(
    request: &ChatRequest,
    target: &Target<'_>,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), IntakeError> {
    if request.tools.is_empty() {
        return Ok(());
    }
    if target.model_facts.tools == Some(false) {
        return Err(refusal("tools", "cannot be used with this model; choose another or leave them out"));
    }
    // Who says nothing of strictness gets it from Responses, where other dialects mean none.
    let strict = own_extra(request).is_none().then_some(false);
    let mut written = Vec::new();
    for tool in &request.tools {
        match tool {
            crate::schema::chat::Tool::Native { dialect: Dialect::Responses, value } => written.push(value.clone()),
            tool => match tools::tool_value(tool, strict) {
                Some(value) => written.push(value),
                None => losses.note("tools", "names a tool of another provider, which was left out")?,
            },
        }
    }
    let is_any = !written.is_empty();
    body.insert("tools".into(), written.into());
    let Some(choice) = request.tool_choice.as_ref().filter(|_| is_any) else { return Ok(()) };
    let forced = matches!(choice, ToolChoice::Required | ToolChoice::Named(_));
    if forced && target.model_facts.forced_tools == Some(false) {
        return losses.note("tool_choice", "cannot force a tool with this model and was left out");
    }
    body.insert("tool_choice".into(), tools::choice_value(choice, request));
    Ok(())
}

/// Notes what Responses has no word for.
fn unknown_here(request: &ChatRequest, losses: &mut Losses) -> Result<(), IntakeError> {
    let present = [
        ("stop", !request.stop.is_empty()),
        ("seed", request.seed.is_some()),
        ("top_k", request.top_k.is_some()),
        ("presence_penalty", request.presence_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("frequency_penalty", request.frequency_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("logit_bias", request.logit_bias.is_some()),
    ];
    for (name, _) in present.into_iter().filter(|(_, present)| *present) {
        losses.note(name, "is not known to this upstream and was left out")?;
    }
    Ok(())
}

/// Returns the fields that only a Responses client has.
pub(super) fn own_extra(request: &ChatRequest) -> Option<&Map<String, Value>> {
    request.extra.as_ref().filter(|extra| extra.dialect == Dialect::Responses).map(|extra| &extra.fields)
}

/// Writes the fields that only the client's dialect knows, as far as this one has them.
fn extra(request: &ChatRequest, body: &mut Map<String, Value>, losses: &mut Losses) -> Result<(), IntakeError> {
    let Some(extra) = &request.extra else { return Ok(()) };
    for (name, value) in &extra.fields {
        let kept = match extra.dialect {
            Dialect::Responses if WRITTEN.contains(&name.as_str()) => continue,
            Dialect::Responses => true,
            Dialect::OpenAi if IDLE.contains(&name.as_str()) => continue,
            Dialect::OpenAi => SHARED.contains(&name.as_str()),
            _ => false,
        };
        if kept {
            body.insert(name.clone(), value.clone());
        } else {
            losses.note(name, "is not known to this upstream and was left out")?;
        }
    }
    Ok(())
}
