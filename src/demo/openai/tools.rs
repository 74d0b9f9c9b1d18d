//! The tools of a chat request, checked.

use std::borrow::Cow;

use serde_json::Value;

use super::super::reply::Refusal;
use super::super::text;
use super::super::tools::{Callable, Tool};
use super::parameters::{self, present};

/// Longest name of a tool.
const MAX_NAME: usize = 64;

/// Returns how many tokens of the prompt the tools take.
pub(super) fn tokens(body: &Value) -> usize {
    present(body, "tools").map_or(0, |tools| text::count(&tools.to_string()))
}

/// Reads `tools`, `tool_choice` and `parallel_tool_calls`.
pub(super) fn read(body: &Value) -> Result<Callable<'_>, Refusal> {
    let listed = parameters::list(body, "tools")?.unwrap_or_default();
    let tools: Vec<Tool<'_>> =
        listed.iter().enumerate().map(|(index, tool)| read_one(tool, index)).collect::<Result<_, _>>()?;
    let parallel = parameters::flag(body, "parallel_tool_calls")?.unwrap_or(true);
    let Some(choice) = present(body, "tool_choice") else { return Ok(Callable { tools, parallel }) };
    if tools.is_empty() && choice != "none" {
        let message = "`tool_choice` is allowed only together with `tools`";
        return Err(Refusal::invalid("tool_choice", "invalid_value", message));
    }
    Ok(Callable { tools: chosen(choice, tools)?, parallel })
}

/// Keeps the tools that `tool_choice` allows to be called.
fn chosen<'a>(choice: &'a Value, mut tools: Vec<Tool<'a>>) -> Result<Vec<Tool<'a>>, Refusal> {
    let wrong = |message: String| Refusal::invalid("tool_choice", "invalid_value", message);
    let name = |of: &'a Value| {
        let kind = of.get("type")?.as_str()?;
        of.get(kind)?.get("name")?.as_str()
    };
    match choice.as_str().or_else(|| choice.get("type")?.as_str()) {
        Some("auto" | "required") => Ok(tools),
        Some("none") => Ok(Vec::new()),
        Some("function" | "custom") => {
            let wanted = name(choice).ok_or_else(|| wrong("`tool_choice` names no function".to_owned()))?;
            tools.retain(|tool| tool.name == wanted);
            tools.truncate(1);
            if tools.is_empty() {
                Err(wrong(format!("`tool_choice` names `{wanted}`, which is not in `tools`")))
            } else {
                Ok(tools)
            }
        }
        Some("allowed_tools") => {
            let allowed = choice.pointer("/allowed_tools/tools").and_then(Value::as_array);
            let allowed: Vec<&str> = allowed.into_iter().flatten().filter_map(name).collect();
            tools.retain(|tool| allowed.contains(&tool.name));
            Ok(tools)
        }
        _ => Err(wrong("`tool_choice` must be `none`, `auto`, `required` or name a tool".to_owned())),
    }
}

fn read_one(tool: &Value, index: usize) -> Result<Tool<'_>, Refusal> {
    let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default();
    if !matches!(kind, "function" | "custom") {
        let message = format!("tools[{index}].type must be `function` or `custom`, not `{kind}`");
        return Err(Refusal::invalid(&format!("tools[{index}].type"), "invalid_value", message));
    }
    described(tool.get(kind).unwrap_or(&Value::Null), kind, &format!("tools[{index}].{kind}"))
}

/// Reads the description of a tool of that kind, `function` or `custom`, which stands at `at`.
pub(in crate::demo) fn described<'a>(described: &'a Value, kind: &str, at: &str) -> Result<Tool<'a>, Refusal> {
    let name = described.get("name").and_then(Value::as_str).unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
        let param = format!("{at}.name");
        let message = format!("{param} must be 1 to {MAX_NAME} letters, digits, `_` or `-`, not `{name}`");
        return Err(Refusal::invalid(&param, "invalid_value", message));
    }
    let parameters = present(described, "parameters");
    if let Some(parameters) = parameters.filter(|parameters| !parameters.is_object()) {
        let param = format!("{at}.parameters");
        let message = format!("{param} must be a JSON schema, not {parameters}");
        return Err(Refusal::invalid(&param, "invalid_function_parameters", message));
    }
    Ok(Tool { name, custom: kind == "custom", parameters: parameters.map(Cow::Borrowed) })
}
