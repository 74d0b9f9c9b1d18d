//! Reads the tools of a client's chat request, which of them must be used, and the form of the answer.

use serde_json::{Value, json};

use super::fields::{Fields, Path};
use super::read_messages::cache_mark;
use crate::schema::IntakeError;
use crate::schema::chat::{ChatRequest, Dialect, Format, Function, Tool, ToolChoice};

/// Reads `tools` and `tool_choice`, and the deprecated `functions` and `function_call`.
pub(super) fn tools(fields: &mut Fields<'_>, request: &mut ChatRequest) -> Result<(), IntakeError> {
    let path = fields.path.field("tools");
    for (index, value) in fields.list("tools")?.into_iter().flatten().enumerate() {
        request.tools.push(tool(value, &path.index(index))?);
    }
    if let Some(choice) = fields.take("tool_choice") {
        request.tool_choice = Some(tool_choice(choice, &fields.path.field("tool_choice"))?);
    }
    request.parallel_tool_calls = fields.flag("parallel_tool_calls")?;
    let path = fields.path.field("functions");
    for (index, value) in fields.list("functions")?.into_iter().flatten().enumerate() {
        let path = path.index(index);
        request.tools.push(Tool::Function(function(Fields::of(value, &path)?)?));
        request.legacy_functions = true;
    }
    if let Some(choice) = fields.take("function_call") {
        request.tool_choice = Some(function_call(choice, &fields.path.field("function_call"))?);
    }
    if request.legacy_functions {
        // A legacy reply has room for one call.
        request.parallel_tool_calls = Some(false);
    }
    Ok(())
}

fn tool(value: Value, path: &Path<'_>) -> Result<Tool, IntakeError> {
    let mut fields = Fields::of(value, path)?;
    let kind = match fields.peek("type") {
        None => "function".to_owned(),
        Some(Value::String(kind)) => kind.clone(),
        Some(_) => return Err(path.field("type").wrong("a string")),
    };
    match kind.as_str() {
        "function" => {
            let mark = cache_mark(&mut fields);
            let path = path.field("function");
            let inner = fields.take("function").ok_or_else(|| path.missing())?;
            let mut function = function(Fields::of(inner, &path)?)?;
            function.cache = function.cache.or(mark);
            Ok(Tool::Function(function))
        }
        "custom" => {
            let path = path.field("custom");
            let inner = fields.take("custom").ok_or_else(|| path.missing())?;
            let mut inner = Fields::of(inner, &path)?;
            let name = inner.required_text("name")?;
            Ok(Tool::Custom { name, description: inner.text("description")?, format: inner.take("format") })
        }
        _ => Ok(Tool::Native { dialect: Dialect::OpenAi, value: Value::Object(fields.rest()) }),
    }
}

fn function(mut fields: Fields<'_>) -> Result<Function, IntakeError> {
    Ok(Function {
        name: fields.required_text("name")?,
        description: fields.text("description")?,
        parameters: fields.object("parameters")?.map(Value::Object),
        strict: fields.flag("strict")?,
        cache: cache_mark(&mut fields),
    })
}

fn tool_choice(value: Value, path: &Path<'_>) -> Result<ToolChoice, IntakeError> {
    let words = "must be none, auto, required, or an object that names a tool";
    if let Value::String(word) = &value {
        return match word.as_str() {
            "none" => Ok(ToolChoice::None),
            "auto" => Ok(ToolChoice::Auto),
            "required" | "any" => Ok(ToolChoice::Required),
            _ => Err(path.refuse("invalid_value", words)),
        };
    }
    let mut fields = Fields::of(value, path)?;
    let kind = fields.text("type")?.unwrap_or_else(|| "function".to_owned());
    match kind.as_str() {
        "function" | "custom" => {
            let path = path.field(&kind);
            // Responses' flat form is met in chat requests, too.
            let flat = fields.text("name")?;
            match (fields.take(&kind), flat) {
                (Some(inner), _) => Ok(ToolChoice::Named(Fields::of(inner, &path)?.required_text("name")?)),
                (None, Some(name)) => Ok(ToolChoice::Named(name)),
                (None, None) => Err(path.missing()),
            }
        }
        "allowed_tools" => {
            let path = path.field("allowed_tools");
            let inner = fields.take("allowed_tools").ok_or_else(|| path.missing())?;
            let mut inner = Fields::of(inner, &path)?;
            let required = inner.text("mode")?.as_deref() == Some("required");
            let names = inner.list("tools")?.unwrap_or_default();
            let name = |tool: &Value| {
                let body = tool.get("function").or_else(|| tool.get("custom")).unwrap_or(tool);
                body.get("name")?.as_str().map(str::to_owned)
            };
            Ok(ToolChoice::Allowed { names: names.iter().filter_map(name).collect(), required })
        }
        "none" => Ok(ToolChoice::None),
        "auto" => Ok(ToolChoice::Auto),
        "required" | "any" => Ok(ToolChoice::Required),
        _ => Err(path.field("type").refuse("invalid_value", "must be function, custom or allowed_tools")),
    }
}

fn function_call(value: Value, path: &Path<'_>) -> Result<ToolChoice, IntakeError> {
    match value {
        Value::String(word) if word == "none" => Ok(ToolChoice::None),
        Value::String(word) if word == "auto" => Ok(ToolChoice::Auto),
        Value::Object(_) => Ok(ToolChoice::Named(Fields::of(value, path)?.required_text("name")?)),
        _ => Err(path.refuse("invalid_value", "must be none, auto, or an object with the function's `name`")),
    }
}

/// Reads `response_format`. One of a kind that is not OpenAI's, such as a grammar, is left over.
pub(super) fn format(fields: &mut Fields<'_>) -> Result<Option<Format>, IntakeError> {
    let Some(value) = fields.take("response_format") else { return Ok(None) };
    let path = fields.path.field("response_format");
    let kind = value.get("type").and_then(Value::as_str).ok_or_else(|| {
        path.field("type").refuse("invalid_value", "must be one of text, json_object and json_schema")
    })?;
    match kind {
        "text" => Ok(Some(Format::Text)),
        "json_object" => Ok(Some(Format::JsonObject)),
        "json_schema" => {
            let mut outer = Fields::of(value, &path)?;
            let path = path.field("json_schema");
            let inner = outer.take("json_schema").ok_or_else(|| path.missing())?;
            let mut inner = Fields::of(inner, &path)?;
            Ok(Some(Format::JsonSchema {
                name: inner.text("name")?.unwrap_or_else(|| "answer".to_owned()),
                description: inner.text("description")?,
                schema: inner.object("schema")?.map_or_else(|| json!({}), Value::Object),
                strict: inner.flag("strict")?,
            }))
        }
        _ => {
            fields.put("response_format", value);
            Ok(None)
        }
    }
}
