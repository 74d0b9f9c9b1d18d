//! Tools: which of them the demo provider calls, and with which arguments.

use serde_json::{Map, Value};

use super::super::dice::Dice;
use super::super::reply::Refusal;
use super::super::{schema_value, text};
use super::parameters::{self, present};

/// Longest name of a tool.
const MAX_NAME: usize = 64;

/// The tools of a request that may be called now, and whether more than one may.
pub(super) struct Tools<'a> {
    callable: Vec<Tool<'a>>,
    parallel: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Tool<'a> {
    name: &'a str,
    /// Whether it takes free text instead of arguments.
    custom: bool,
    parameters: Option<&'a Value>,
}

/// A call the demo provider makes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    /// The arguments as JSON, or the input of a custom tool.
    pub(super) arguments: String,
    pub(super) custom: bool,
}

/// Returns how many tokens of the prompt the tools take.
pub(super) fn tokens(body: &Value) -> usize {
    present(body, "tools").map_or(0, |tools| text::count(&tools.to_string()))
}

impl<'a> Tools<'a> {
    pub(super) fn read(body: &'a Value) -> Result<Self, Refusal> {
        let listed = parameters::list(body, "tools")?.unwrap_or_default();
        let tools: Vec<Tool<'a>> =
            listed.iter().enumerate().map(|(index, tool)| Tool::read(tool, index)).collect::<Result<_, _>>()?;
        let parallel = parameters::flag(body, "parallel_tool_calls")?.unwrap_or(true);
        let Some(choice) = present(body, "tool_choice") else { return Ok(Self { callable: tools, parallel }) };
        if tools.is_empty() && choice != "none" {
            let message = "`tool_choice` is allowed only together with `tools`";
            return Err(Refusal::invalid("tool_choice", "invalid_value", message));
        }
        Ok(Self { callable: chosen(choice, tools)?, parallel })
    }

    /// Returns the calls that fit the user's words: the tools named in full, or else the one that fits best.
    pub(super) fn calls(&self, user_text: &str, dice: &mut Dice) -> Vec<Call> {
        let named: Vec<&Tool<'_>> = self.callable.iter().filter(|tool| user_text.contains(tool.name)).collect();
        let called = match self.callable.iter().reduce(|best, tool| tool.better(best, user_text)) {
            None => return Vec::new(),
            Some(_) if self.parallel && named.len() > 1 => named,
            Some(best) => vec![best],
        };
        called.into_iter().map(|tool| tool.call(user_text, dice)).collect()
    }
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

impl<'a> Tool<'a> {
    fn read(tool: &'a Value, index: usize) -> Result<Self, Refusal> {
        let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default();
        if !matches!(kind, "function" | "custom") {
            let message = format!("tools[{index}].type must be `function` or `custom`, not `{kind}`");
            return Err(Refusal::invalid(&format!("tools[{index}].type"), "invalid_value", message));
        }
        let described = tool.get(kind).unwrap_or(&Value::Null);
        let name = described.get("name").and_then(Value::as_str).unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
            let param = format!("tools[{index}].{kind}.name");
            let message = format!("{param} must be 1 to {MAX_NAME} letters, digits, `_` or `-`, not `{name}`");
            return Err(Refusal::invalid(&param, "invalid_value", message));
        }
        let parameters = present(described, "parameters");
        if let Some(parameters) = parameters.filter(|parameters| !parameters.is_object()) {
            let param = format!("tools[{index}].function.parameters");
            let message = format!("{param} must be a JSON schema, not {parameters}");
            return Err(Refusal::invalid(&param, "invalid_function_parameters", message));
        }
        Ok(Self { name, custom: kind == "custom", parameters })
    }

    /// Returns this tool if more words of its name stand in the text than of the other's.
    fn better<'t>(&'t self, other: &'t Self, user_text: &str) -> &'t Self {
        if self.words_in(user_text) > other.words_in(user_text) { self } else { other }
    }

    fn words_in(&self, user_text: &str) -> usize {
        let text = user_text.to_lowercase();
        self.name.split(['_', '-']).filter(|word| word.len() > 2 && text.contains(&word.to_lowercase())).count()
    }

    fn call(&self, user_text: &str, dice: &mut Dice) -> Call {
        let arguments = match self.parameters {
            _ if self.custom => text::excerpt(user_text, 200),
            None => "{}".to_owned(),
            Some(parameters) => match schema_value::satisfying(parameters, user_text, dice) {
                arguments @ Value::Object(_) => arguments.to_string(),
                // A schema such as `{}` allows anything; arguments are an object all the same.
                _ => Value::Object(Map::new()).to_string(),
            },
        };
        Call { id: format!("call_{}", dice.letters(24)), name: self.name.to_owned(), arguments, custom: self.custom }
    }
}
