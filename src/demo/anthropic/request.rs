//! A Messages request, checked: its parameters here, its turns and blocks in the modules beside.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;

use super::super::cache::Part;
use super::super::models::OUTPUT_TOKENS;
use super::super::reply::Refusal;
use super::super::shape::{self, Fault, FaultKind, Names};
use super::super::speech::Format;
use super::super::tools::{Callable, Tool};
use super::turns::Turns;
use super::{NO_THREAD, Version, blocks, prompt, shapes, wrong};

/// Longest name of a tool.
const MAX_NAME: usize = 128;
/// Least budget of thoughts.
const MIN_BUDGET: u64 = 1024;
/// Most cache marks of a request.
const MAX_MARKS: usize = 4;
/// What the names of the tools begin with that Anthropic defines; the demo provider never calls them.
const ITS_OWN_TOOLS: [&str; 10] = [
    "bash_",
    "text_editor_",
    "web_search_",
    "web_fetch_",
    "code_execution_",
    "memory_",
    "tool_search_tool_",
    "browser_",
    "computer_",
    "mcp_toolset",
];

pub(super) struct Messages<'a> {
    pub(super) model: &'a str,
    pub(super) limit: usize,
    pub(super) stop: Vec<&'a str>,
    pub(super) streams: bool,
    pub(super) tools: Callable<'a>,
    pub(super) format: Format<'a>,
    pub(super) thinking: Thinking,
    pub(super) turns: Turns<'a>,
    pub(super) parts: Vec<Part>,
    /// The messages as JSON: what the answer depends on.
    pub(super) content: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinking {
    Off,
    Adaptive,
    Enabled,
    BetweenTools,
}

/// Returns the body without what only the demo provider or a beta understands; refuses what is unknown or missing.
pub(super) fn shaped(body: &Value, counts: bool, beta: bool, version: Version) -> Result<Value, Refusal> {
    let mut known = body.clone();
    if let Some(fields) = known.as_object_mut() {
        fields.remove("demo");
        if beta && fields.get("thread").is_some_and(|thread| !thread.is_null()) {
            let message = "thread: is not supported for this request";
            return Err(Refusal { code: Some(NO_THREAD), ..wrong(message) });
        }
        fields.retain(|name, _| !(beta && shapes::BETA.contains(&name.as_str())));
        let sampling = ["temperature", "top_p", "top_k"].into_iter().find(|name| fields.contains_key(*name));
        if let Some(name) = sampling.filter(|_| version == Version::Of2026) {
            return Err(wrong(format!("{name}: Extra inputs are not permitted")));
        }
    }
    let shape = if counts { &shapes::COUNT_TOKENS } else { &shapes::MESSAGES };
    shape::read(&known, shape, Names::Exact).map_err(|fault| worded(&fault, ""))
}

/// Words a fault as Anthropic does: the path, then what is wrong there.
fn worded(fault: &Fault, below: &str) -> Refusal {
    let at = |name: &str| {
        let steps = [below].into_iter().chain(fault.path.iter().map(String::as_str)).chain([name]);
        steps.filter(|step| !step.is_empty()).collect::<Vec<_>>().join(".")
    };
    wrong(match &fault.kind {
        FaultKind::Unknown(name) => format!("{}: Extra inputs are not permitted", at(name)),
        FaultKind::Missing(name) => format!("{}: Field required", at(name)),
        FaultKind::Wrong(wanted) => format!("{}: Input should be {wanted}", at("")),
        FaultKind::Word(found, known) => format!("{}: `{found}` is none of {}", at(""), known.join(", ")),
    })
}

impl<'a> Messages<'a> {
    /// Reads a body that [`shaped`] returned.
    pub(super) fn read(body: &'a Value, version: Version, seed: u64) -> Result<Self, Refusal> {
        check_sampling(body)?;
        let limit = limit(body)?;
        let thinking = thinking(body, limit)?;
        let turns = Turns::read(&body["messages"], version, seed)?;
        if thinking == Thinking::Enabled {
            turns.check_thoughts_lead()?;
        }
        blocks::check_system(&body["system"])?;
        let parts = prompt::parts(body);
        let marks = parts.iter().filter(|part| part.marked).count();
        if marks > MAX_MARKS {
            return Err(wrong(format!("at most {MAX_MARKS} blocks may have `cache_control`; found {marks}")));
        }
        Ok(Self {
            model: body["model"].as_str().unwrap_or_default(),
            limit: limit.unwrap_or(usize::MAX),
            stop: stop(body)?,
            streams: body["stream"] == true,
            tools: tools(body, thinking)?,
            format: format(body)?,
            thinking,
            turns,
            parts,
            content: body["messages"].to_string(),
        })
    }

    pub(super) fn prompt_tokens(&self) -> usize {
        self.parts.iter().map(|part| part.tokens).sum()
    }
}

fn check_sampling(body: &Value) -> Result<(), Refusal> {
    for name in ["temperature", "top_p"] {
        if body[name].as_f64().is_some_and(|number| !(0.0..=1.0).contains(&number)) {
            return Err(wrong(format!("{name}: Input should lie between 0 and 1")));
        }
    }
    Ok(())
}

/// Reads `max_tokens`, which the counting of tokens does not have; 0 only fills the cache.
fn limit(body: &Value) -> Result<Option<usize>, Refusal> {
    let Some(limit) = body.get("max_tokens") else { return Ok(None) };
    match limit.as_u64().and_then(|limit| usize::try_from(limit).ok()) {
        Some(limit) if limit <= OUTPUT_TOKENS => Ok(Some(limit)),
        Some(limit) => Err(wrong(format!("max_tokens: {limit} > {OUTPUT_TOKENS}, the most that the model writes"))),
        None => Err(wrong("max_tokens: Input should be 0 or greater")),
    }
}

fn thinking(body: &Value, limit: Option<usize>) -> Result<Thinking, Refusal> {
    let thinking = &body["thinking"];
    match thinking["type"].as_str() {
        Some("adaptive") => Ok(Thinking::Adaptive),
        Some("between_tools") => Ok(Thinking::BetweenTools),
        Some("enabled") => {
            let budget = thinking["budget_tokens"].as_u64().unwrap_or_default();
            if budget < MIN_BUDGET {
                return Err(wrong(format!("thinking.budget_tokens: Input should be {MIN_BUDGET} or greater")));
            }
            if limit.is_some_and(|limit| budget >= limit as u64) {
                return Err(wrong("`max_tokens` must be greater than `thinking.budget_tokens`"));
            }
            if body["temperature"].as_f64().is_some_and(|temperature| temperature != 1.0) {
                return Err(wrong("`temperature` may only be 1 when thinking is enabled"));
            }
            Ok(Thinking::Enabled)
        }
        _ => Ok(Thinking::Off),
    }
}

fn stop(body: &Value) -> Result<Vec<&str>, Refusal> {
    let stop: Vec<&str> = body["stop_sequences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if stop.iter().any(|sequence| sequence.trim().is_empty()) {
        return Err(wrong("stop_sequences: each stop sequence must contain non-whitespace"));
    }
    Ok(stop)
}

fn tools(body: &Value, thinking: Thinking) -> Result<Callable<'_>, Refusal> {
    let mut tools: Vec<Tool<'_>> = Vec::new();
    let mut names = BTreeSet::new();
    let listed = body["tools"].as_array().map_or(&[][..], Vec::as_slice);
    for (index, tool) in listed.iter().enumerate() {
        let its_own = tool["type"].as_str().is_some_and(|kind| ITS_OWN_TOOLS.iter().any(|own| kind.starts_with(own)));
        if !its_own {
            tools.push(client_tool(tool, index)?);
        }
        let name = tool["name"].as_str().unwrap_or_default();
        if !name.is_empty() && !names.insert(name) {
            return Err(wrong(format!("tools: Tool names must be unique; `{name}` stands twice")));
        }
    }
    let choice = &body["tool_choice"];
    let parallel = choice["disable_parallel_tool_use"] != true;
    let kind = choice["type"].as_str().unwrap_or("auto");
    if listed.is_empty() && !choice.is_null() {
        return Err(wrong("tool_choice: may only be given together with `tools`"));
    }
    if thinking == Thinking::Enabled && matches!(kind, "any" | "tool") {
        return Err(wrong("tool_choice: thinking may not be enabled when it forces a tool"));
    }
    match kind {
        "none" => tools.clear(),
        "tool" => {
            let name = choice["name"].as_str().unwrap_or_default();
            if !names.contains(name) {
                return Err(wrong(format!("tool_choice: tool `{name}` is not in `tools`")));
            }
            tools.retain(|tool| tool.name == name);
        }
        _ => {}
    }
    Ok(Callable { tools, parallel })
}

fn client_tool(tool: &Value, index: usize) -> Result<Tool<'_>, Refusal> {
    let at = format!("tools.{index}");
    shape::read(tool, &shapes::TOOL, Names::Exact).map_err(|fault| worded(&fault, &at))?;
    let name = tool["name"].as_str().unwrap_or_default();
    if name.is_empty() || name.len() > MAX_NAME || !blocks::is_plain(name) {
        return Err(wrong(format!("{at}.name: `{name}` is not 1 to {MAX_NAME} letters, digits, `_` or `-`")));
    }
    let schema = &tool["input_schema"];
    if schema["type"] != "object" {
        return Err(wrong(format!("{at}.input_schema.type: Field required, and it should be `object`")));
    }
    if tool["strict"] == true {
        check_schema(schema, &format!("{at}.input_schema"))?;
    }
    Ok(Tool { name, custom: false, parameters: Some(Cow::Borrowed(schema)) })
}

fn format(body: &Value) -> Result<Format<'_>, Refusal> {
    match body.pointer("/output_config/format/schema") {
        None => Ok(Format::Text),
        Some(schema) => check_schema(schema, "output_config.format.schema").map(|()| Format::Schema(schema)),
    }
}

/// Refuses a schema that cannot be enforced: objects that stay open, and bounds on numbers, texts and arrays.
fn check_schema(schema: &Value, at: &str) -> Result<(), Refusal> {
    const BOUNDS: [&str; 9] = [
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "maxItems",
        "uniqueItems",
    ];
    let Some(fields) = schema.as_object() else { return Ok(()) };
    let is_object = fields.get("type").is_some_and(|kind| kind == "object") || fields.contains_key("properties");
    if is_object && fields.get("additionalProperties") != Some(&Value::Bool(false)) {
        return Err(wrong(format!("{at}: for `object`, `additionalProperties` must be set to false")));
    }
    if let Some(bound) = BOUNDS.iter().find(|bound| fields.contains_key(**bound)) {
        return Err(wrong(format!("{at}: `{bound}` is not supported")));
    }
    for (name, below) in fields {
        let at = format!("{at}.{name}");
        match below {
            Value::Object(named) if matches!(name.as_str(), "properties" | "$defs" | "definitions") => {
                named.iter().try_for_each(|(name, schema)| check_schema(schema, &format!("{at}.{name}")))?;
            }
            Value::Array(schemas) if matches!(name.as_str(), "anyOf" | "allOf" | "oneOf") => {
                schemas.iter().try_for_each(|schema| check_schema(schema, &at))?;
            }
            Value::Object(_) if name == "items" => check_schema(below, &at)?,
            _ => {}
        }
    }
    Ok(())
}
