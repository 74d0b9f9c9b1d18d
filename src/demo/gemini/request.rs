//! A generateContent request, checked: its parameters here, its turns in the module beside.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;

use super::super::reply::Refusal;
use super::super::shape::{self, Fault, FaultKind, Names, Shape};
use super::super::speech::Format;
use super::super::tools::{Callable, Tool};
use super::turns::Turns;
use super::{signs, wrong};

/// Longest name of a function.
const MAX_NAME: usize = 64;
const MAX_STOPS: usize = 5;
const MAX_CANDIDATES: u64 = 8;

pub(super) struct Generate<'a> {
    pub(super) turns: Turns<'a>,
    pub(super) limit: usize,
    pub(super) stop: Vec<&'a str>,
    pub(super) candidates: u64,
    pub(super) tools: Callable<'a>,
    pub(super) output: Output<'a>,
    /// Whether the model thinks, and whether it shows its thoughts.
    pub(super) thinks: bool,
    pub(super) shows_thoughts: bool,
}

/// What form the answer takes.
pub(super) enum Output<'a> {
    Text,
    JsonObject,
    Schema(Cow<'a, Value>),
}

impl Output<'_> {
    pub(super) fn format(&self) -> Format<'_> {
        match self {
            Self::Text => Format::Text,
            Self::JsonObject => Format::JsonObject,
            Self::Schema(schema) => Format::Schema(schema),
        }
    }
}

/// Returns a body with the names of the tables; refuses what is unknown or missing.
pub(super) fn shaped(body: &Value, shape: &Shape) -> Result<Value, Refusal> {
    shape::read(body, shape, Names::CamelOrSnake).map_err(|fault| worded(&fault))
}

fn worded(fault: &Fault) -> Refusal {
    let mut at = String::new();
    for step in &fault.path {
        match step.parse::<usize>() {
            Ok(index) => at.push_str(&format!("[{index}]")),
            Err(_) if at.is_empty() => at.push_str(step),
            Err(_) => at.push_str(&format!(".{step}")),
        }
    }
    let message = match &fault.kind {
        FaultKind::Unknown(name) if at.is_empty() => {
            format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field.")
        }
        FaultKind::Unknown(name) => {
            format!("Invalid JSON payload received. Unknown name \"{name}\" at '{at}': Cannot find field.")
        }
        FaultKind::Missing(name) => format!("* {at}{}{name}: is required", if at.is_empty() { "" } else { "." }),
        FaultKind::Wrong(wanted) => format!("Invalid value at '{at}': it must be {wanted}"),
        FaultKind::Word(found, known) => format!("Invalid value at '{at}': `{found}` is none of {}", known.join(", ")),
    };
    Refusal { param: Some(at), ..wrong(message) }
}

impl<'a> Generate<'a> {
    /// Reads a body that [`shaped`] returned.
    pub(super) fn read(body: &'a Value, model: &str, seed: u64) -> Result<Self, Refusal> {
        let config = &body["generationConfig"];
        let turns = Turns::read(body, signs(model), seed)?;
        if let Some(name) = body["cachedContent"].as_str() {
            return Err(Refusal::plain(
                403,
                format!("CachedContent `{name}` is not found; the demo provider keeps none"),
            ));
        }
        let stop: Vec<&str> =
            config["stopSequences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if stop.len() > MAX_STOPS {
            return Err(wrong(format!("stopSequences: at most {MAX_STOPS} are allowed, not {}", stop.len())));
        }
        if config["temperature"].as_f64().is_some_and(|number| !(0.0..=2.0).contains(&number)) {
            return Err(wrong("temperature must lie between 0.0 and 2.0"));
        }
        let candidates = config["candidateCount"].as_i64().unwrap_or(1);
        let candidates = u64::try_from(candidates).ok().filter(|count| (1..=MAX_CANDIDATES).contains(count));
        let thinking = &config["thinkingConfig"];
        if !thinking["thinkingBudget"].is_null() && !thinking["thinkingLevel"].is_null() {
            return Err(wrong("You can only set only one of thinking budget and thinking level"));
        }
        Ok(Self {
            turns,
            limit: limit(config)?,
            stop,
            candidates: candidates.ok_or_else(|| wrong(format!("candidateCount must be 1 to {MAX_CANDIDATES}")))?,
            tools: tools(body)?,
            output: output(config)?,
            thinks: signs(model) || (thinking.is_object() && thinking["thinkingBudget"] != 0),
            shows_thoughts: thinking["includeThoughts"] == true,
        })
    }
}

fn limit(config: &Value) -> Result<usize, Refusal> {
    let Some(limit) = config.get("maxOutputTokens") else { return Ok(usize::MAX) };
    let limit = limit.as_u64().and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    limit.ok_or_else(|| wrong("max_output_tokens must be positive"))
}

fn output(config: &Value) -> Result<Output<'_>, Refusal> {
    let is_json = config["responseMimeType"] == "application/json";
    let (schema, json_schema) = (config.get("responseSchema"), config.get("responseJsonSchema"));
    match (schema, json_schema) {
        (Some(_), Some(_)) => Err(wrong("only one of responseSchema and responseJsonSchema may be set")),
        (None, None) if is_json => Ok(Output::JsonObject),
        (None, None) => Ok(Output::Text),
        _ if !is_json => Err(wrong("a response schema needs the response mime type `application/json`")),
        (Some(schema), None) => Ok(Output::Schema(Cow::Owned(in_lower_case(schema)))),
        (None, Some(schema)) => Ok(Output::Schema(Cow::Borrowed(schema))),
    }
}

/// Returns an OpenAPI schema with its types named as JSON Schema names them.
fn in_lower_case(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match value {
                Value::String(kind) if name == "type" => (name.clone(), Value::String(kind.to_ascii_lowercase())),
                other => (name.clone(), in_lower_case(other)),
            })
            .collect(),
        Value::Array(items) => items.iter().map(in_lower_case).collect(),
        other => other.clone(),
    }
}

fn tools(body: &Value) -> Result<Callable<'_>, Refusal> {
    let mut tools = Vec::new();
    let mut names = BTreeSet::new();
    for (index, tool) in body["tools"].as_array().into_iter().flatten().enumerate() {
        for (place, declared) in tool["functionDeclarations"].as_array().into_iter().flatten().enumerate() {
            let at = format!("tools[{index}].function_declarations[{place}]");
            let declared = declaration(declared, &at)?;
            if !names.insert(declared.name) {
                return Err(wrong(format!("{at}.name: Duplicate function declaration found: {}", declared.name)));
            }
            tools.push(declared);
        }
    }
    let config = &body["toolConfig"]["functionCallingConfig"];
    let mode = config["mode"].as_str().unwrap_or("AUTO");
    let allowed: Vec<&str> =
        config["allowedFunctionNames"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if names.is_empty() && matches!(mode, "ANY" | "VALIDATED") {
        return Err(wrong("Function calling config is set without function_declarations."));
    }
    if !allowed.is_empty() && !matches!(mode, "ANY" | "VALIDATED") {
        return Err(wrong("allowed_function_names may be set only when the function calling mode is ANY or VALIDATED"));
    }
    if let Some(name) = allowed.iter().find(|name| !names.contains(*name)) {
        return Err(wrong(format!("allowed_function_names has `{name}`, which no function_declarations declare")));
    }
    match mode {
        "NONE" => tools.clear(),
        _ if !allowed.is_empty() => tools.retain(|tool| allowed.contains(&tool.name)),
        _ => {}
    }
    Ok(Callable { tools, parallel: true })
}

fn declaration<'a>(declared: &'a Value, at: &str) -> Result<Tool<'a>, Refusal> {
    let name = declared["name"].as_str().unwrap_or_default();
    let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-');
    if !starts || name.len() > MAX_NAME || !name.bytes().all(plain) {
        return Err(wrong(format!(
            "{at}.name: Invalid function name `{name}`; it must start with a letter or `_` and have at most {MAX_NAME} \
            letters, digits, `_`, `.`, `:` or `-`"
        )));
    }
    let parameters = match (declared.get("parameters"), declared.get("parametersJsonSchema")) {
        (Some(_), Some(_)) => {
            return Err(wrong(format!("{at}: only one of parameters and parameters_json_schema may be set")));
        }
        (Some(schema), None) => {
            let schema = in_lower_case(schema);
            let empty = schema["properties"].as_object().is_none_or(serde_json::Map::is_empty);
            if schema["type"] == "object" && empty {
                return Err(wrong(format!("{at}.parameters.properties: should be non-empty for OBJECT type")));
            }
            Some(Cow::Owned(schema))
        }
        (None, Some(schema)) => Some(Cow::Borrowed(schema)),
        (None, None) => None,
    };
    Ok(Tool { name, custom: false, parameters })
}
