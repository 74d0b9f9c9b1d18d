//! The tools of a Messages request and which of them the model may use.

use serde_json::{Value, json};

use super::encode::Encoding;
use super::encode_messages::mark;
use super::models::Style;
use super::schema::{fitted, object_schema};
use crate::providers::custom::{GRAMMAR_IN_WORDS, as_function, has_grammar};
use crate::providers::losses::refusal;
use crate::schema::IntakeError;
use crate::schema::chat::{Dialect, Function, Tool, ToolChoice};

/// Bytes a tool's name may have.
const NAME_MAX: usize = 128;

/// Writes `tools` and `tool_choice`.
pub(super) fn tools(encoding: &mut Encoding<'_>) -> Result<(), IntakeError> {
    let request = encoding.request;
    let allowed = match &request.tool_choice {
        Some(ToolChoice::Allowed { names, .. }) => Some(names),
        _ => None,
    };
    let mut written = Vec::with_capacity(request.tools.len());
    for (index, tool) in request.tools.iter().enumerate() {
        let name = match tool {
            Tool::Function(function) => Some(&function.name),
            Tool::Custom { name, .. } => Some(name),
            Tool::Native { .. } => None,
        };
        if let Some(name) = name {
            check_name(name, index)?;
        }
        let left_out = |allowed: &Vec<String>| name.is_some_and(|name| !allowed.contains(name));
        if !allowed.is_some_and(left_out) {
            written.extend(self::tool(encoding, tool, index)?);
        }
    }
    if written.is_empty() {
        return Ok(());
    }
    encoding.put("tools", written);
    choice(encoding)
}

fn check_name(name: &str, index: usize) -> Result<(), IntakeError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(plain) {
        let what = "is no name this provider takes; use up to 128 letters, digits, `_` and `-`";
        return Err(refusal(&format!("tools[{index}].name"), what));
    }
    Ok(())
}

fn tool(encoding: &mut Encoding<'_>, tool: &Tool, index: usize) -> Result<Option<Value>, IntakeError> {
    match tool {
        Tool::Native { dialect: Dialect::Anthropic, value } => Ok(Some(value.clone())),
        _ => match as_function(tool) {
            Some(function) => {
                if has_grammar(tool) {
                    encoding.losses.note("tools", GRAMMAR_IN_WORDS)?;
                }
                Ok(Some(self::function(encoding, &function)?))
            }
            None => {
                let what = "is not sent: another provider would have to run it";
                encoding.losses.note(&format!("tools[{index}]"), what)?;
                Ok(None)
            }
        },
    }
}

fn function(encoding: &mut Encoding<'_>, function: &Function) -> Result<Value, IntakeError> {
    let mut schema = object_schema(function.parameters.as_ref());
    let mut strict = function.strict == Some(true);
    if strict && !encoding.model.json_schema {
        encoding.losses.note("tools", "has a strict function, whose schema the model does not enforce")?;
        strict = false;
    }
    if strict {
        schema = fitted(schema);
    }
    let mut tool = json!({ "name": function.name, "input_schema": schema });
    if let Some(description) = &function.description {
        tool["description"] = description.as_str().into();
    }
    if strict {
        tool["strict"] = true.into();
    }
    mark(&mut tool, function.cache);
    Ok(tool)
}

fn choice(encoding: &mut Encoding<'_>) -> Result<(), IntakeError> {
    let request = encoding.request;
    let (mut choice, demand) = match &request.tool_choice {
        None => (None, None),
        Some(ToolChoice::None) => (Some(json!({ "type": "none" })), None),
        Some(ToolChoice::Auto | ToolChoice::Allowed { required: false, .. }) => (Some(json!({ "type": "auto" })), None),
        Some(ToolChoice::Required | ToolChoice::Allowed { required: true, .. }) => (
            Some(json!({ "type": "any" })),
            Some("You must call one of your tools now; do not answer in words alone.".to_owned()),
        ),
        Some(ToolChoice::Named(name)) => {
            let demand = format!("You must call the tool `{name}` now; do not answer in words alone.");
            (Some(json!({ "type": "tool", "name": name })), Some(demand))
        }
    };
    let budgeted = encoding.model.style == Style::Budget && encoding.thinks;
    if let Some(demand) = demand.filter(|_| budgeted || !encoding.model.forced_tools) {
        let why = if budgeted { "while it thinks" } else { "by parameter" };
        encoding
            .losses
            .note("tool_choice", &format!("is only asked for in words: the model cannot be forced {why}"))?;
        encoding.instructions.push(demand);
        choice = Some(json!({ "type": "auto" }));
    }
    if request.parallel_tool_calls == Some(false) {
        let choice = choice.get_or_insert_with(|| json!({ "type": "auto" }));
        if choice["type"] != "none" {
            choice["disable_parallel_tool_use"] = true.into();
        }
    }
    if let Some(choice) = choice {
        encoding.put("tool_choice", choice);
    }
    Ok(())
}
