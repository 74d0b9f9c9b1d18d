//! A chat request as the body of `Converse` and `ConverseStream`.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::messages::Conversation;
use super::model::{Family, Thinking};
use crate::providers::custom::{GRAMMAR_IN_WORDS, as_function, has_grammar};
use crate::providers::dialect::{Target, WireRequest};
use crate::providers::losses::{Losses, one_choice, refusal};
use crate::schema::IntakeError;
use crate::schema::chat::{CacheMark, ChatRequest, Dialect, Format, Tool, ToolChoice};

/// Pairs that `requestMetadata` holds, and characters of each.
const METADATA_MAX: usize = 16;
const METADATA_LEN_MAX: usize = 256;

pub(super) fn encode(request: &ChatRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
    one_choice(request)?;
    let family = Family::of(target.model);
    let mut losses = Losses::new("Bedrock", target);
    let mut conversation = Conversation::read(request, family, target.model_facts.vision, &mut losses)?;
    if conversation.is_prefilled() && target.model_facts.prefill == Some(false) {
        let what = "ends with an assistant's message, which this model does not continue; end with a user's";
        return Err(refusal("messages", what));
    }
    let thinking = Thinking::of(request, target, &mut losses)?;
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| {
        if value.as_object().is_none_or(|object| !object.is_empty()) && !value.is_null() {
            body.insert(key.into(), value);
        }
    };
    put("toolConfig", tool_config(request, target, thinking.budgeted, &mut conversation, &mut losses)?);
    put("outputConfig", output_config(request, target, &mut conversation, &mut losses)?);
    put("inferenceConfig", inference_config(request, target, &thinking, &mut losses)?);
    put("serviceTier", service_tier(request, &mut losses)?);
    put("requestMetadata", metadata(request, &mut losses)?);
    if family.is_claude() && !request.stop.is_empty() {
        // Where Claude says at which stop sequence it ended, whole and streamed.
        put("additionalModelResponseFieldPaths", json!(["/stop_sequence", "/delta/stop_sequence"]));
    }
    let mut fields = thinking.fields;
    match (request.top_k, family) {
        (Some(top_k), Family::Nova) => _ = fields.insert("inferenceConfig".into(), json!({"topK": top_k})),
        (Some(top_k), _) => _ = fields.insert("top_k".into(), top_k.into()),
        (None, _) => {}
    }
    put("additionalModelRequestFields", Value::Object(fields));
    put("messages", conversation.messages());
    if !conversation.system.is_empty() {
        put("system", Value::Array(conversation.system));
    }
    left_out(request, &mut losses)?;
    for (name, value) in losses.own_extra(request.extra.as_ref(), Dialect::Bedrock)?.iter().flat_map(|e| &e.fields) {
        body.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(WireRequest {
        path: super::path(target.model, if request.stream { "converse-stream" } else { "converse" }),
        headers: Vec::new(),
        body: Bytes::from(Value::Object(body).to_string()),
        warnings: losses.into_warnings(),
    })
}

/// What Converse has no place for.
fn left_out(request: &ChatRequest, losses: &mut Losses) -> Result<(), IntakeError> {
    let sent = [
        (request.seed.is_some(), "seed"),
        (request.presence_penalty.is_some_and(|penalty| penalty != 0.0), "presence_penalty"),
        (request.frequency_penalty.is_some_and(|penalty| penalty != 0.0), "frequency_penalty"),
        (request.logprobs == Some(true), "logprobs"),
        (request.top_logprobs.is_some_and(|top| top > 0), "top_logprobs"),
        (request.logit_bias.is_some(), "logit_bias"),
        (request.verbosity.is_some(), "verbosity"),
        (request.user.is_some(), "user"),
        (request.prompt_cache_key.is_some(), "prompt_cache_key"),
        (request.parallel_tool_calls == Some(false), "parallel_tool_calls"),
    ];
    sent.into_iter().try_for_each(|(sent, name)| losses.drop_if(sent, name))
}

fn inference_config(
    request: &ChatRequest,
    target: &Target<'_>,
    thinking: &Thinking,
    losses: &mut Losses,
) -> Result<Value, IntakeError> {
    let mut config = Map::new();
    if let Some(most) = request.max_tokens.or(thinking.max_tokens) {
        config.insert("maxTokens".into(), most.into());
    }
    let mut temperature = request.temperature;
    if temperature.is_some() && (thinking.budgeted || target.model_facts.sampling == Some(false)) {
        losses.drop("temperature")?;
        temperature = None;
    }
    if let Some(temperature) = temperature {
        config.insert("temperature".into(), losses.within("temperature", temperature, 0.0, 1.0)?.into());
    }
    if let Some(top_p) = request.top_p {
        // Claude 4 and later refuse both at once.
        let both = temperature.is_some() && Family::of(target.model).is_claude();
        if both || target.model_facts.sampling == Some(false) {
            losses.drop("top_p")?;
        } else {
            config.insert("topP".into(), losses.within("top_p", top_p, 0.0, 1.0)?.into());
        }
    }
    if !request.stop.is_empty() {
        config.insert("stopSequences".into(), json!(request.stop));
    }
    Ok(Value::Object(config))
}

fn output_config(
    request: &ChatRequest,
    target: &Target<'_>,
    conversation: &mut Conversation,
    losses: &mut Losses,
) -> Result<Value, IntakeError> {
    const IN_WORDS: &str = "is asked for in words, because this model cannot be held to it";
    match &request.format {
        None | Some(Format::Text) => Ok(Value::Null),
        Some(Format::JsonObject) => {
            losses.note("response_format", IN_WORDS)?;
            conversation.instruct("Answer with one JSON object and nothing else.".into());
            Ok(Value::Null)
        }
        Some(Format::JsonSchema { schema, .. }) if target.model_facts.json_schema == Some(false) => {
            losses.note("response_format", IN_WORDS)?;
            let sentence =
                format!("Answer with one JSON value that is valid by this JSON Schema, and nothing else: {schema}");
            conversation.instruct(sentence);
            Ok(Value::Null)
        }
        Some(Format::JsonSchema { name, description, schema, .. }) => {
            let mut json_schema = json!({"schema": schema.to_string(), "name": name});
            if let Some(description) = description.as_deref().filter(|text| !text.is_empty()) {
                json_schema["description"] = description.into();
            }
            Ok(json!({"textFormat": {"type": "json_schema", "structure": {"jsonSchema": json_schema}}}))
        }
    }
}

fn service_tier(request: &ChatRequest, losses: &mut Losses) -> Result<Value, IntakeError> {
    Ok(match request.service_tier.as_deref() {
        None | Some("auto") => Value::Null,
        Some(tier @ ("default" | "flex" | "priority" | "reserved")) => json!({"type": tier}),
        Some("fast") => json!({"type": "priority"}),
        Some(_) => {
            losses.drop("service_tier")?;
            Value::Null
        }
    })
}

fn metadata(request: &ChatRequest, losses: &mut Losses) -> Result<Value, IntakeError> {
    let Some(metadata) = &request.metadata else { return Ok(Value::Null) };
    let fits = |text: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || " :_@$#=/+,-.".contains(c);
        text.len() <= METADATA_LEN_MAX && text.chars().all(known)
    };
    let all_fit = metadata.iter().all(|(key, value)| fits(key) && value.as_str().is_some_and(fits));
    if metadata.len() > METADATA_MAX || !all_fit {
        losses.drop("metadata")?;
        return Ok(Value::Null);
    }
    Ok(Value::Object(metadata.clone()))
}

fn tool_config(
    request: &ChatRequest,
    target: &Target<'_>,
    thinks_by_budget: bool,
    conversation: &mut Conversation,
    losses: &mut Losses,
) -> Result<Value, IntakeError> {
    let mut tools = Vec::new();
    for tool in &request.tools {
        if !is_allowed(tool, request.tool_choice.as_ref()) {
            continue;
        }
        match tool {
            Tool::Native { dialect: Dialect::Bedrock, value } => tools.push(value.clone()),
            _ => {
                let Some(function) = as_function(tool) else {
                    losses.drop("tools that another provider runs")?;
                    continue;
                };
                if has_grammar(tool) {
                    losses.note("tools", GRAMMAR_IN_WORDS)?;
                }
                let mut spec = Map::from_iter([("name".into(), function.name.clone().into())]);
                // An empty description is a 400.
                if let Some(description) = function.description.as_deref().filter(|text| !text.trim().is_empty()) {
                    spec.insert("description".into(), description.into());
                }
                let none = || json!({"type": "object", "properties": {}});
                spec.insert("inputSchema".into(), json!({"json": function.parameters.clone().unwrap_or_else(none)}));
                if function.strict == Some(true) && target.model_facts.json_schema != Some(false) {
                    spec.insert("strict".into(), true.into());
                }
                tools.push(json!({"toolSpec": spec}));
                if let Some(mark) = function.cache.filter(|_| Family::of(target.model).caches()) {
                    let mut point = json!({"type": "default"});
                    if mark == CacheMark::Long {
                        point["ttl"] = "1h".into();
                    }
                    tools.push(json!({"cachePoint": point}));
                }
            }
        }
    }
    let forbidden = request.tool_choice == Some(ToolChoice::None);
    if forbidden && !conversation.has_tools {
        return Ok(Value::Null);
    }
    if forbidden {
        losses
            .note("tool_choice", "is asked for in words, because Bedrock cannot forbid tools that were used before")?;
    }
    if tools.is_empty() && conversation.has_tools {
        // Converse refuses a history with calls where no tool is defined, so those that were called are.
        let none = || "none".to_owned();
        let names = if conversation.called.is_empty() { vec![none()] } else { conversation.called.clone() };
        let spec = |name| json!({"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}});
        tools.extend(names.into_iter().map(spec));
        conversation.instruct("Answer without calling any tool.".into());
    } else if forbidden {
        conversation.instruct("Answer without calling any tool.".into());
    }
    if tools.is_empty() {
        return Ok(Value::Null);
    }
    let mut config = json!({"tools": tools});
    if let Some(choice) = tool_choice(request, target, thinks_by_budget, losses)? {
        config["toolChoice"] = choice;
    }
    Ok(config)
}

fn is_allowed(tool: &Tool, choice: Option<&ToolChoice>) -> bool {
    let Some(ToolChoice::Allowed { names, .. }) = choice else { return true };
    match tool {
        Tool::Function(function) => names.contains(&function.name),
        Tool::Custom { name, .. } => names.contains(name),
        Tool::Native { .. } => true,
    }
}

fn tool_choice(
    request: &ChatRequest,
    target: &Target<'_>,
    thinks_by_budget: bool,
    losses: &mut Losses,
) -> Result<Option<Value>, IntakeError> {
    let choice = match &request.tool_choice {
        Some(ToolChoice::Required | ToolChoice::Allowed { required: true, .. }) => json!({"any": {}}),
        Some(ToolChoice::Named(name)) => json!({"tool": {"name": name}}),
        // Some models refuse the parameter, and `auto` is what they do without it.
        None | Some(ToolChoice::None | ToolChoice::Auto | ToolChoice::Allowed { required: false, .. }) => {
            return Ok(None);
        }
    };
    if thinks_by_budget || target.model_facts.forced_tools == Some(false) {
        losses.note("tool_choice", "became `auto`, because this model cannot be made to call a tool")?;
        return Ok(None);
    }
    Ok(Some(choice))
}
