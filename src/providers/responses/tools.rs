//! Tools and the choice among them: flat here, nested in the gateway's own request.

use serde_json::{Map, Value, json};

use super::fields::{Fields, error, unsupported};
use crate::schema::IntakeError;
use crate::schema::chat::{ChatRequest, Function, Tool, ToolChoice};

/// Reads the tool at `tools[at]`.
pub(super) fn tool(value: Value, at: usize) -> Result<Tool, IntakeError> {
    let path = format!("tools[{at}]");
    let mut fields = Fields::of(value, path.clone())?;
    match fields.text("type")?.as_deref() {
        Some("function") => {
            // As in chat requests; some clients send it here, too.
            let mut fields = fields.object("function")?.unwrap_or(fields);
            Ok(Tool::Function(Function {
                name: fields.needed_text("name")?,
                description: fields.text("description")?,
                parameters: fields.object("parameters")?.map(|schema| schema.rest().into()),
                strict: fields.flag("strict")?,
                cache: None,
            }))
        }
        Some("custom") => Ok(Tool::Custom {
            name: fields.needed_text("name")?,
            description: fields.text("description")?,
            format: fields.take("format").map(nested),
        }),
        Some(_) => {
            let what = "only function and custom tools are; tools that OpenAI runs itself need one of its models";
            Err(unsupported(&format!("{path}.type"), what))
        }
        None => Err(fields.wrong("type", "must be `function` or `custom`")),
    }
}

/// Reads `tool_choice`.
pub(super) fn choice(value: Value) -> Result<ToolChoice, IntakeError> {
    const AT: &str = "tool_choice";
    let words = || {
        let message =
            "`tool_choice` must be none, auto, required, or an object that names a function or custom tool".into();
        error("invalid_value", AT, message)
    };
    if let Some(word) = value.as_str() {
        return plain_choice(word).ok_or_else(words);
    }
    let mut fields = Fields::of(value, AT)?;
    match fields.text("type")?.as_deref() {
        Some("function" | "custom") => {
            let mut fields = fields.object("function")?.unwrap_or(fields);
            Ok(ToolChoice::Named(fields.needed_text("name")?))
        }
        Some("allowed_tools") => {
            let required = fields.text("mode")?.as_deref() == Some("required");
            let mut names = Vec::new();
            for (at, tool) in fields.list("tools")?.unwrap_or_default().into_iter().enumerate() {
                let mut tool = Fields::of(tool, format!("tool_choice.tools[{at}]"))?;
                names.push(tool.needed_text("name")?);
            }
            Ok(ToolChoice::Allowed { names, required })
        }
        Some(word) if plain_choice(word).is_some() => plain_choice(word).ok_or_else(words),
        Some(_) => {
            Err(unsupported(AT, "it names a tool that OpenAI runs itself; name a function, or send auto or required"))
        }
        None => Err(words()),
    }
}

fn plain_choice(word: &str) -> Option<ToolChoice> {
    match word {
        "none" => Some(ToolChoice::None),
        "auto" => Some(ToolChoice::Auto),
        "required" => Some(ToolChoice::Required),
        _ => None,
    }
}

/// Returns a tool as it is written in this dialect; `strict` is for functions that do not say.
pub(super) fn tool_value(tool: &Tool, strict: Option<bool>) -> Option<Value> {
    match tool {
        Tool::Function(function) => {
            let mut value = json!({
                "type": "function",
                "name": function.name,
                "parameters": function.parameters,
                "strict": function.strict.or(strict),
            });
            if let Some(description) = &function.description {
                value["description"] = json!(description);
            }
            Some(value)
        }
        Tool::Custom { name, description, format } => {
            let mut value = json!({ "type": "custom", "name": name });
            if let Some(description) = description {
                value["description"] = json!(description);
            }
            if let Some(format) = format {
                value["format"] = flat(format);
            }
            Some(value)
        }
        Tool::Native { .. } => None,
    }
}

/// Returns the choice as it is written in this dialect.
pub(super) fn choice_value(choice: &ToolChoice, request: &ChatRequest) -> Value {
    let named = |name: &str| {
        let is_custom = |tool: &Tool| matches!(tool, Tool::Custom { name: custom, .. } if custom == name);
        let kind = if request.tools.iter().any(is_custom) { "custom" } else { "function" };
        json!({ "type": kind, "name": name })
    };
    match choice {
        ToolChoice::None => json!("none"),
        ToolChoice::Auto => json!("auto"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Named(name) => named(name),
        ToolChoice::Allowed { names, required } => {
            let tools: Vec<Value> = names.iter().map(|name| named(name)).collect();
            json!({ "type": "allowed_tools", "mode": if *required { "required" } else { "auto" }, "tools": tools })
        }
    }
}

/// A grammar stands beside `type` here, and in an object of its own in chat requests.
fn nested(format: Value) -> Value {
    match format {
        Value::Object(mut fields) if fields.get("type").is_some_and(|kind| kind == "grammar") => {
            match fields.remove("grammar") {
                Some(grammar) => json!({ "type": "grammar", "grammar": grammar }),
                None => {
                    fields.remove("type");
                    json!({ "type": "grammar", "grammar": fields })
                }
            }
        }
        other => other,
    }
}

fn flat(format: &Value) -> Value {
    match format.get("grammar") {
        Some(Value::Object(grammar)) => {
            let mut fields = Map::from_iter([("type".to_owned(), json!("grammar"))]);
            fields.extend(grammar.clone());
            fields.into()
        }
        _ => format.clone(),
    }
}
