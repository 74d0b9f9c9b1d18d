//! Chat requests as Gemini's `generateContent` bodies.

use serde_json::{Map, Value, json};

use super::contents::{Generation, conversation};
use super::models::Family;
use crate::providers::custom::{GRAMMAR_IN_WORDS, as_function, has_grammar};
use crate::providers::dialect::{Target, WireRequest};
use crate::providers::losses::{Losses, refusal};
use crate::schema::IntakeError;
use crate::schema::chat::{ChatRequest, Dialect, Format, Function, Tool, ToolChoice};

/// Stop sequences Gemini takes.
const STOP_MAX: usize = 5;

/// Writes `request` for `target`; `vertex` says which of Google's two services it goes to.
pub(super) fn encode(request: &ChatRequest, target: &Target<'_>, vertex: bool) -> Result<WireRequest, IntakeError> {
    let mut losses = Losses::new("Gemini", target);
    let family = Family::of(target.model);
    let generation = if family.since(3, 0) { Generation::Three } else { Generation::Older };
    let mut body = own_fields(request, &mut losses)?;
    let conversation = conversation(request, target, generation, &mut losses)?;
    body.insert("contents".into(), conversation.contents.into());
    if let Some(system) = conversation.system {
        body.insert("systemInstruction".into(), system);
    }
    let tools = tools(request, target, &mut losses)?;
    if !tools.is_empty() {
        tool_config(request, &family, &mut body);
        body.insert("tools".into(), tools.into());
    }
    let mut config = match body.remove("generationConfig") {
        Some(Value::Object(config)) => config,
        _ => Map::new(),
    };
    sampling(request, target, &mut config, &mut losses)?;
    format(request, target, &family, &mut config, &mut losses)?;
    thinking(request, target, &family, &mut config, &mut losses)?;
    if !config.is_empty() {
        body.insert("generationConfig".into(), config.into());
    }
    service_tier(request, vertex, &mut body, &mut losses)?;
    unknown_to_gemini(request, &mut losses)?;
    let method = if request.stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
    Ok(WireRequest {
        path: format!("{}:{method}", model_path(target.model)),
        headers: Vec::new(),
        body: Value::Object(body).to_string().into(),
        warnings: losses.into_warnings(),
    })
}

/// Returns the path of a model: `/models/{model}`, or that of a tuned model or endpoint which names its own collection.
pub(super) fn model_path(model: &str) -> String {
    let model = model.trim_start_matches('/');
    let model = model.strip_prefix("models/").unwrap_or(model);
    let mut path = if model.starts_with("tunedModels/") { "/".to_owned() } else { "/models/".to_owned() };
    for byte in model.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'@' | b'/' => path.push(byte.into()),
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
    path
}

fn own_fields(request: &ChatRequest, losses: &mut Losses) -> Result<Map<String, Value>, IntakeError> {
    match &request.extra {
        Some(extra) if extra.dialect == Dialect::Gemini => Ok(extra.fields.clone()),
        Some(extra) => {
            for name in extra.lost_abroad() {
                losses.leave_out(name, "Gemini does not know it")?;
            }
            Ok(Map::new())
        }
        None => Ok(Map::new()),
    }
}

fn tools(request: &ChatRequest, target: &Target<'_>, losses: &mut Losses) -> Result<Vec<Value>, IntakeError> {
    let (mut declarations, mut tools) = (Vec::new(), Vec::new());
    for tool in &request.tools {
        if has_grammar(tool) {
            losses.note("tools", GRAMMAR_IN_WORDS)?;
        }
        match tool {
            Tool::Native { dialect: Dialect::Gemini, value } => tools.push(value.clone()),
            _ => match as_function(tool) {
                Some(function) => declarations.push(declaration(&function)),
                None => losses.leave_out("tools", "a tool is run by another vendor only")?,
            },
        }
    }
    if !declarations.is_empty() {
        if target.model_facts.tools == Some(false) {
            return Err(refusal("tools", "cannot be used with this model; choose one that calls functions"));
        }
        tools.insert(0, json!({ "functionDeclarations": declarations }));
    }
    Ok(tools)
}

fn declaration(function: &Function) -> Value {
    let mut declaration = json!({ "name": function.name });
    if let Some(description) = function.description.as_ref().filter(|text| !text.is_empty()) {
        declaration["description"] = description.as_str().into();
    }
    let takes_any = |schema: &Value| {
        let properties = schema.get("properties").and_then(Value::as_object);
        let only_properties = ["anyOf", "oneOf", "allOf", "$ref"].iter().all(|key| schema.get(*key).is_none());
        !(only_properties && properties.is_none_or(Map::is_empty))
    };
    // Gemini refuses an object without properties: a function without arguments has no schema at all.
    if let Some(schema) = function.parameters.as_ref().filter(|schema| takes_any(schema)) {
        declaration["parametersJsonSchema"] = schema.clone();
    }
    declaration
}

fn tool_config(request: &ChatRequest, family: &Family, body: &mut Map<String, Value>) {
    let strict = request.functions().any(|function| function.strict == Some(true)) && family.since(2, 5);
    let auto = if strict { Some("VALIDATED") } else { None };
    let (mode, names): (Option<&str>, &[String]) = match &request.tool_choice {
        None => (auto, &[]),
        Some(ToolChoice::Auto) => (auto.or(Some("AUTO")), &[]),
        Some(ToolChoice::None) => (Some("NONE"), &[]),
        Some(ToolChoice::Required) => (Some("ANY"), &[]),
        Some(ToolChoice::Named(name)) => (Some("ANY"), std::slice::from_ref(name)),
        Some(ToolChoice::Allowed { names, required: true }) => (Some("ANY"), names),
        // AUTO takes no names, VALIDATED does.
        Some(ToolChoice::Allowed { names, required: false }) => (Some("VALIDATED"), names),
    };
    let Some(mode) = mode.filter(|_| has_functions(request)) else { return };
    let mut calling = json!({ "mode": mode });
    if !names.is_empty() {
        calling["allowedFunctionNames"] = names.into();
    }
    let config = body.entry("toolConfig").or_insert_with(|| json!({}));
    if let Some(config) = config.as_object_mut() {
        config.insert("functionCallingConfig".into(), calling);
    }
}

fn has_functions(request: &ChatRequest) -> bool {
    request.tools.iter().any(|tool| as_function(tool).is_some())
}

fn sampling(
    request: &ChatRequest,
    target: &Target<'_>,
    config: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), IntakeError> {
    let mut chosen = vec![
        ("temperature", request.temperature.map(Value::from)),
        ("topP", request.top_p.map(Value::from)),
        ("topK", request.top_k.map(Value::from)),
    ];
    if target.model_facts.sampling == Some(false) && chosen.iter().any(|(_, value)| value.is_some()) {
        losses.leave_out("temperature, top_p, top_k", "this model takes none of them")?;
        chosen.clear();
    }
    let mut stop: Vec<&str> = request.stop.iter().map(String::as_str).filter(|stop| !stop.is_empty()).collect();
    if stop.len() > STOP_MAX {
        losses.leave_out("stop", "Gemini takes 5 stop sequences; the others do not stop it")?;
        stop.truncate(STOP_MAX);
    }
    let logprobs = request.logprobs == Some(true);
    chosen.extend([
        ("maxOutputTokens", request.max_tokens.map(Value::from)),
        ("candidateCount", request.choices.filter(|choices| *choices > 1).map(Value::from)),
        ("seed", request.seed.map(Value::from)),
        ("presencePenalty", request.presence_penalty.map(Value::from)),
        ("frequencyPenalty", request.frequency_penalty.map(Value::from)),
        ("stopSequences", (!stop.is_empty()).then(|| stop.into())),
        ("responseLogprobs", logprobs.then_some(Value::Bool(true))),
        ("logprobs", request.top_logprobs.filter(|_| logprobs).map(Value::from)),
    ]);
    let given = chosen.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    config.extend(given);
    Ok(())
}

fn format(
    request: &ChatRequest,
    target: &Target<'_>,
    family: &Family,
    config: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), IntakeError> {
    let schema = match &request.format {
        None | Some(Format::Text) => return Ok(()),
        Some(Format::JsonObject) => None,
        Some(Format::JsonSchema { schema, .. }) => Some(schema),
    };
    if has_functions(request) && !family.since(3, 0) {
        return losses.leave_out("response_format", "before Gemini 3 it cannot be used together with tools");
    }
    config.insert("responseMimeType".into(), "application/json".into());
    if let Some(schema) = schema {
        if target.model_facts.json_schema == Some(false) {
            return losses.leave_out("response_format.json_schema", "this model writes JSON, but follows no schema");
        }
        config.insert("responseJsonSchema".into(), schema.clone());
    }
    Ok(())
}

fn thinking(
    request: &ChatRequest,
    target: &Target<'_>,
    family: &Family,
    config: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), IntakeError> {
    let own = config.remove("thinkingConfig");
    let told = match &request.reasoning {
        Some(wanted) => family.thinking(wanted, target.model_facts, losses)?,
        None => None,
    };
    // What a Gemini client said that only budgets can say (-1: as the model likes) goes only to a model with budgets.
    let own = own.filter(|_| family.since(2, 5) && !family.since(3, 0));
    let mut fields = match own {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    if let Some(Value::Object(told)) = told {
        fields.extend(told);
    }
    if !fields.is_empty() {
        config.insert("thinkingConfig".into(), fields.into());
    }
    Ok(())
}

fn service_tier(
    request: &ChatRequest,
    vertex: bool,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), IntakeError> {
    let tier = match request.service_tier.as_deref() {
        None | Some("auto") => return Ok(()),
        Some("default" | "standard") if vertex => return Ok(()),
        Some("default" | "standard") => "standard",
        Some(tier @ ("flex" | "priority")) if !vertex => tier,
        Some(_) => return losses.leave_out("service_tier", "this service does not offer it"),
    };
    body.insert("serviceTier".into(), tier.into());
    Ok(())
}

/// Warns of what has no counterpart.
fn unknown_to_gemini(request: &ChatRequest, losses: &mut Losses) -> Result<(), IntakeError> {
    let calls_one = request.parallel_tool_calls == Some(false) && !request.tools.is_empty();
    for (given, param) in [
        (calls_one, "parallel_tool_calls"),
        (request.logit_bias.is_some(), "logit_bias"),
        (request.verbosity.is_some(), "verbosity"),
        (request.user.is_some(), "user"),
        (request.metadata.is_some(), "metadata"),
        (request.prompt_cache_key.is_some(), "prompt_cache_key"),
    ] {
        if given {
            losses.leave_out(param, "Gemini has no counterpart")?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
