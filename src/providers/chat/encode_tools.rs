//! Writes the tools of a request for an upstream of the chat dialect, and the form of the answer.

use serde_json::{Map, Value, json};

use super::encode::Encoding;
use super::table::{CacheStyle, EffortStyle, Forced, by_model};
use crate::providers::custom::{as_function, has_grammar};
use crate::schema::IntakeError;
use crate::schema::chat::{CacheMark, Dialect, Effort, Format, Function, Tool, ToolChoice};

/// Sets `tools`, `tool_choice`, `parallel_tool_calls` and `response_format`.
pub(super) fn put(encoding: &mut Encoding<'_>) -> Result<(), IntakeError> {
    let request = encoding.request;
    let mut tools = Vec::with_capacity(request.tools.len());
    for tool in &request.tools {
        if is_allowed(encoding, tool) {
            tools.extend(tool_value(encoding, tool)?);
        }
    }
    let any = !tools.is_empty();
    if any {
        encoding.set("tools", tools)?;
    }
    // A choice without tools is refused by most.
    if let Some(choice) = request.tool_choice.as_ref().filter(|_| any && encoding.body.contains_key("tools")) {
        let value = tool_choice(encoding, choice)?;
        encoding.set("tool_choice", value)?;
    }
    if let Some(parallel) = request.parallel_tool_calls.filter(|_| any) {
        if encoding.row.tools.parallel {
            encoding.set("parallel_tool_calls", parallel)?;
        } else if !parallel {
            encoding.losses.drop("parallel_tool_calls")?;
        }
    }
    response_format(encoding)
}

/// Returns whether the client lets a tool be used; an upstream that cannot be told so does not see it.
fn is_allowed(encoding: &Encoding<'_>, tool: &Tool) -> bool {
    let Some(ToolChoice::Allowed { names, .. }) = &encoding.request.tool_choice else { return true };
    match tool {
        _ if encoding.row.tools.allowed => true,
        Tool::Function(Function { name, .. }) | Tool::Custom { name, .. } => names.contains(name),
        Tool::Native { .. } => true,
    }
}

fn tool_value(encoding: &mut Encoding<'_>, tool: &Tool) -> Result<Option<Value>, IntakeError> {
    match tool {
        Tool::Custom { name, description, format } if encoding.row.tools.custom => {
            let mut custom = Map::from_iter([("name".to_owned(), name.as_str().into())]);
            put_some(&mut custom, "description", description.as_deref());
            put_some(&mut custom, "format", format.clone());
            Ok(Some(json!({ "type": "custom", "custom": custom })))
        }
        Tool::Native { dialect: Dialect::OpenAi, value } => Ok(Some(value.clone())),
        _ => match as_function(tool) {
            Some(function) => {
                if has_grammar(tool) {
                    let provider = encoding.row.name;
                    let what = format!("has a custom tool whose grammar was sent in words: {provider} follows none");
                    encoding.losses.note("tools", &what)?;
                }
                function_value(encoding, &function).map(Some)
            }
            None => {
                let provider = encoding.row.name;
                let what = format!("held one that was left out: {provider} does not run it");
                encoding.losses.note("tools", &what).map(|()| None)
            }
        },
    }
}

/// Returns the type of the tool of that name, as it was sent.
fn kind(encoding: &Encoding<'_>, name: &str) -> &'static str {
    let custom = |tool: &Tool| matches!(tool, Tool::Custom { name: custom, .. } if custom == name);
    if encoding.row.tools.custom && encoding.request.tools.iter().any(custom) { "custom" } else { "function" }
}

fn function_value(encoding: &mut Encoding<'_>, function: &Function) -> Result<Value, IntakeError> {
    let mut inner = Map::from_iter([("name".to_owned(), function.name.as_str().into())]);
    put_some(&mut inner, "description", function.description.as_deref());
    let parameters = function.parameters.clone();
    // OpenAI alone reads a missing schema as "no arguments".
    let parameters =
        parameters.or_else(|| (!encoding.row.openai_models).then(|| json!({ "type": "object", "properties": {} })));
    put_some(&mut inner, "parameters", parameters);
    if encoding.row.tools.strict {
        put_some(&mut inner, "strict", function.strict);
    } else if function.strict == Some(true) {
        encoding.losses.drop("tools[].function.strict")?;
    }
    let mut value = json!({ "type": "function", "function": inner });
    if let Some(mark) = function.cache.filter(|_| encoding.row.messages.cache == CacheStyle::CacheControl) {
        value["cache_control"] = match mark {
            CacheMark::Default => json!({ "type": "ephemeral" }),
            CacheMark::Long => json!({ "type": "ephemeral", "ttl": "1h" }),
        };
    }
    Ok(value)
}

fn tool_choice(encoding: &mut Encoding<'_>, choice: &ToolChoice) -> Result<Value, IntakeError> {
    let forced =
        if encoding.target.model_facts.forced_tools == Some(false) { Forced::No } else { encoding.row.tools.forced };
    let thinks = match by_model(encoding.row.effort, encoding.target.model) {
        Some(EffortStyle::SwitchAndWords(_)) => encoding.wanted_effort() != Some(Effort::None),
        _ => false,
    };
    let (required, named) = match forced {
        Forced::Yes | Forced::Any => (true, true),
        Forced::UnlessThinking => (!thinks, !thinks),
        Forced::NamedOnly => (false, true),
        Forced::No => (false, false),
    };
    let word = if forced == Forced::Any { "any" } else { "required" };
    let value = match choice {
        ToolChoice::None => "none".into(),
        ToolChoice::Auto => "auto".into(),
        ToolChoice::Required if required => word.into(),
        ToolChoice::Named(name) if named => {
            let kind = kind(encoding, name);
            json!({ "type": kind, kind: { "name": name } })
        }
        ToolChoice::Allowed { names, required } if encoding.row.tools.allowed => {
            let tool = |name: &String| {
                let kind = kind(encoding, name);
                json!({ "type": kind, kind: { "name": name } })
            };
            let mode = if *required { "required" } else { "auto" };
            let tools: Vec<Value> = names.iter().map(tool).collect();
            json!({ "type": "allowed_tools", "allowed_tools": { "mode": mode, "tools": tools } })
        }
        ToolChoice::Allowed { required: wanted, .. } if required || !wanted => {
            if *wanted {
                word.into()
            } else {
                "auto".into()
            }
        }
        ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { .. } => {
            let provider = encoding.row.name;
            let what = format!("was sent as auto: {provider} cannot be made to use a tool");
            encoding.losses.note("tool_choice", &what)?;
            "auto".into()
        }
    };
    Ok(value)
}

fn response_format(encoding: &mut Encoding<'_>) -> Result<(), IntakeError> {
    let value = match &encoding.request.format {
        None => return Ok(()),
        Some(Format::Text) => json!({ "type": "text" }),
        Some(Format::JsonObject) => json!({ "type": "json_object" }),
        Some(Format::JsonSchema { .. }) if !encoding.knows_schema() => {
            let provider = encoding.row.name;
            let what = format!("was sent as json_object and the schema in words: {provider} enforces none");
            encoding.losses.note("response_format", &what)?;
            json!({ "type": "json_object" })
        }
        Some(Format::JsonSchema { name, description, schema, strict }) => {
            let mut inner = Map::from_iter([("name".to_owned(), Value::from(name.as_str()))]);
            put_some(&mut inner, "description", description.as_deref());
            inner.insert("schema".into(), schema.clone());
            put_some(&mut inner, "strict", *strict);
            json!({ "type": "json_schema", "json_schema": inner })
        }
    };
    encoding.set("response_format", value)
}

fn put_some(into: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        into.insert(name.to_owned(), value.into());
    }
}

impl Encoding<'_> {
    /// Returns whether the answer can be held to a schema.
    pub(super) fn knows_schema(&self) -> bool {
        self.target.model_facts.json_schema.unwrap_or(self.row.json_schema)
    }

    /// Returns a call's id as the upstream takes it: always the same for the same id.
    pub(super) fn tool_id(&self, id: &str) -> String {
        let fits = id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !self.row.tools.nine_character_ids || fits {
            return id.to_owned();
        }
        const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let hash = blake3::hash(id.as_bytes());
        hash.as_bytes()[..9].iter().map(|byte| char::from(DIGITS[usize::from(byte % 62)])).collect()
    }
}
