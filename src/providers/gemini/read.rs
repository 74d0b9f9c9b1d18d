//! A client's `generateContent` body as a chat request: its parameters and tools. The conversation is `read_contents`.

use serde_json::{Value, json};

use super::fields::{
    Fields, as_object, camel, count, flag, integer, join, list, number, object, take, text, texts, wrong_type,
};
use super::read_contents::messages;
use super::schema::to_json_schema;
use crate::schema::IntakeError;
use crate::schema::chat::{ChatRequest, Dialect, Effort, Extra, Format, Function, Reasoning, Tool, ToolChoice};

/// Reads a body. Neither the model nor whether to stream stands in it: both are in the path.
pub(super) fn read(body: &[u8]) -> Result<ChatRequest, IntakeError> {
    request(parse(body)?)
}

/// Reads the body of `:countTokens`: the conversation alone, or a whole request under `generateContentRequest`.
pub(super) fn read_count(body: &[u8]) -> Result<ChatRequest, IntakeError> {
    let mut fields = parse(body)?;
    let whole = object(&mut fields, "", "generateContentRequest")?;
    request(whole.unwrap_or(fields))
}

pub(super) fn parse(body: &[u8]) -> Result<Fields, IntakeError> {
    let value: Value = serde_json::from_slice(body).map_err(|error| IntakeError {
        message: format!("the body is not valid JSON: line {} column {}", error.line(), error.column()),
        param: None,
        code: Some("invalid_json"),
    })?;
    as_object(value, "body")
}

fn request(mut fields: Fields) -> Result<ChatRequest, IntakeError> {
    let mut request = ChatRequest { include_usage: true, ..ChatRequest::default() };
    request.messages = messages(&mut fields)?;
    for (index, tool) in list(&mut fields, "", "tools")?.into_iter().enumerate() {
        tools(tool, &format!("tools[{index}]"), &mut request.tools)?;
    }
    let mut extra = Fields::new();
    if let Some(mut config) = object(&mut fields, "", "toolConfig")? {
        tool_config(&mut config, &mut request)?;
        keep(&mut extra, "toolConfig", config);
    }
    if let Some(mut config) = object(&mut fields, "", "generationConfig")? {
        generation(&mut config, &mut request)?;
        keep(&mut extra, "generationConfig", config);
    }
    request.service_tier = text(&mut fields, "", "serviceTier")?.map(|tier| match tier.to_ascii_lowercase().as_str() {
        "standard" => "default".to_owned(),
        "unspecified" | "service_tier_unspecified" => "auto".to_owned(),
        tier => tier.to_owned(),
    });
    // Some clients repeat the model here; the path decides.
    take(&mut fields, "model");
    extra.extend(fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (camel(&name), value)));
    request.extra = (!extra.is_empty()).then_some(Extra { dialect: Dialect::Gemini, fields: extra });
    Ok(request)
}

/// Keeps what is left of an object, with names that the encoder knows.
fn keep(extra: &mut Fields, name: &str, left: Fields) {
    let left: Fields =
        left.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (camel(&name), value)).collect();
    if !left.is_empty() {
        extra.insert(name.to_owned(), left.into());
    }
}

fn tools(tool: Value, path: &str, out: &mut Vec<Tool>) -> Result<(), IntakeError> {
    let mut fields = as_object(tool, path)?;
    let at = join(path, "functionDeclarations");
    for (index, declaration) in list(&mut fields, path, "functionDeclarations")?.into_iter().enumerate() {
        let path = format!("{at}[{index}]");
        let mut declaration = as_object(declaration, &path)?;
        let name = text(&mut declaration, &path, "name")?.filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| IntakeError {
            message: format!("`{path}.name` is missing; give the function a name"),
            param: Some(join(&path, "name")),
            code: Some("missing_required_parameter"),
        })?;
        let description = text(&mut declaration, &path, "description")?;
        let schema = take(&mut declaration, "parametersJsonSchema");
        let parameters = schema.or_else(|| take(&mut declaration, "parameters").map(to_json_schema));
        out.push(Tool::Function(Function { name, description, parameters, ..Function::default() }));
    }
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
        out.push(Tool::Native { dialect: Dialect::Gemini, value: json!({ camel(&name): value }) });
    }
    Ok(())
}

fn tool_config(config: &mut Fields, request: &mut ChatRequest) -> Result<(), IntakeError> {
    let path = "toolConfig.functionCallingConfig";
    let Some(mut calling) = object(config, "toolConfig", "functionCallingConfig")? else { return Ok(()) };
    let names = texts(&mut calling, path, "allowedFunctionNames")?;
    let mode = text(&mut calling, path, "mode")?.unwrap_or_default().to_ascii_uppercase();
    request.tool_choice = Some(match (mode.as_str(), names.len()) {
        ("" | "MODE_UNSPECIFIED" | "AUTO", _) => ToolChoice::Auto,
        ("NONE", _) => ToolChoice::None,
        ("ANY", 0) => ToolChoice::Required,
        ("ANY", 1) => ToolChoice::Named(names.into_iter().next().unwrap_or_default()),
        ("ANY", _) => ToolChoice::Allowed { names, required: true },
        // That calls are held to their schemas has no word elsewhere: `strict` would refuse most of the schemas.
        ("VALIDATED", 0) => ToolChoice::Auto,
        ("VALIDATED", _) => ToolChoice::Allowed { names, required: false },
        _ => return Err(wrong_type(&join(path, "mode"), "one of AUTO, ANY, NONE, VALIDATED")),
    });
    Ok(())
}

fn generation(config: &mut Fields, request: &mut ChatRequest) -> Result<(), IntakeError> {
    let path = "generationConfig";
    request.temperature = number(config, path, "temperature")?;
    request.top_p = number(config, path, "topP")?;
    request.top_k = count(config, path, "topK")?;
    request.choices = count(config, path, "candidateCount")?;
    request.max_tokens = count(config, path, "maxOutputTokens")?;
    request.stop = texts(config, path, "stopSequences")?;
    request.seed = integer(config, path, "seed")?;
    request.presence_penalty = number(config, path, "presencePenalty")?;
    request.frequency_penalty = number(config, path, "frequencyPenalty")?;
    request.logprobs = flag(config, path, "responseLogprobs")?;
    request.top_logprobs = count(config, path, "logprobs")?;
    format(config, request)?;
    if let Some(thinking) = object(config, path, "thinkingConfig")? {
        let left = reasoning(thinking, request)?;
        if !left.is_empty() {
            config.insert("thinkingConfig".into(), left.into());
        }
    }
    Ok(())
}

fn format(config: &mut Fields, request: &mut ChatRequest) -> Result<(), IntakeError> {
    let media_type = text(config, "generationConfig", "responseMimeType")?;
    let schema = take(config, "responseJsonSchema").or_else(|| take(config, "_responseJsonSchema"));
    let schema = schema.or_else(|| take(config, "responseSchema").map(to_json_schema));
    request.format = match (media_type.as_deref(), schema) {
        (Some("application/json") | None, Some(schema)) => {
            Some(Format::JsonSchema { name: "response".into(), description: None, schema, strict: None })
        }
        (Some("application/json"), None) => Some(Format::JsonObject),
        (None | Some("text/plain"), _) => None,
        (Some(own), schema) => {
            config.insert("responseMimeType".into(), own.into());
            config.extend(schema.map(|schema| ("responseJsonSchema".to_owned(), schema)));
            None
        }
    };
    Ok(())
}

/// Reads how much to think; returns what only Gemini knows.
fn reasoning(mut thinking: Fields, request: &mut ChatRequest) -> Result<Fields, IntakeError> {
    let path = "generationConfig.thinkingConfig";
    let mut wanted = Reasoning { show: flag(&mut thinking, path, "includeThoughts")?, ..Reasoning::default() };
    let mut left = Fields::new();
    match integer(&mut thinking, path, "thinkingBudget")? {
        // As much as the model likes, which only Gemini knows how to say.
        Some(budget) if budget < 0 => _ = left.insert("thinkingBudget".into(), budget.into()),
        Some(0) => wanted.effort = Some(Effort::None),
        Some(budget) => wanted.budget = u64::try_from(budget).ok(),
        None => {}
    }
    if let Some(level) = text(&mut thinking, path, "thinkingLevel")? {
        let level = level.to_ascii_lowercase();
        wanted.effort = Effort::from_word(&level).or(wanted.effort);
        if wanted.effort.is_none() && !level.contains("unspecified") {
            return Err(wrong_type(&join(path, "thinkingLevel"), "one of MINIMAL, LOW, MEDIUM, HIGH, XHIGH"));
        }
    }
    left.extend(thinking.into_iter().map(|(name, value)| (camel(&name), value)));
    request.reasoning = (wanted != Reasoning::default()).then_some(wanted);
    Ok(left)
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
