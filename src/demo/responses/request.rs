//! A Responses request, checked: its parameters here, its input items in the module beside.

use serde_json::Value;

use super::super::cache::Part;
use super::super::openai::parameters::{self, present};
use super::super::openai::tools::described;
use super::super::reply::Refusal;
use super::super::speech::Format;
use super::super::text;
use super::super::tools::{Callable, Tool};
use super::items::Items;

/// Least number of tokens that an answer may be limited to.
const MIN_LIMIT: u64 = 16;
const FIELDS: [&str; 34] = [
    "model",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "temperature",
    "top_p",
    "top_logprobs",
    "truncation",
    "store",
    "previous_response_id",
    "conversation",
    "include",
    "metadata",
    "service_tier",
    "safety_identifier",
    "user",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "stream",
    "stream_options",
    "background",
    "context_management",
    "image",
    "moderation",
    "access_programs",
    "demo",
];
/// The tools that OpenAI runs, which the demo provider never calls, and those it has no text for.
const HOSTED: [&str; 19] = [
    "web_search",
    "web_search_2025_08_26",
    "web_search_preview",
    "web_search_preview_2025_03_11",
    "file_search",
    "computer",
    "computer_use_preview",
    "mcp",
    "code_interpreter",
    "programmatic_tool_calling",
    "image_generation",
    "local_shell",
    "shell",
    "apply_patch",
    "namespace",
    "tool_search",
    "web_fetch",
    "memory",
    "configuration",
];
const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

pub(super) struct Request<'a> {
    pub(super) model: &'a str,
    pub(super) items: Items<'a>,
    pub(super) limit: usize,
    pub(super) streams: bool,
    pub(super) tools: Callable<'a>,
    pub(super) format: Format<'a>,
    pub(super) thinks: bool,
    pub(super) summarises: bool,
    pub(super) parts: Vec<Part>,
}

impl<'a> Request<'a> {
    pub(super) fn read(body: &'a Value, model: &'a str, seed: u64) -> Result<Self, Refusal> {
        let names = body.as_object().into_iter().flat_map(|fields| fields.keys());
        if let Some(name) = names.into_iter().find(|name| !FIELDS.contains(&name.as_str())) {
            let message = format!("Unknown parameter: '{name}'.");
            return Err(Refusal::invalid(name, "unknown_parameter", message));
        }
        check_stateless(body)?;
        parameters::check_decimal(body, "temperature", 0.0..=2.0)?;
        parameters::check_decimal(body, "top_p", 0.0..=1.0)?;
        parameters::text(body, "instructions")?;
        let items = Items::read(body, seed)?;
        let reasoning = present(body, "reasoning").unwrap_or(&Value::Null);
        let effort = parameters::text(reasoning, "effort")?;
        if let Some(effort) = effort.filter(|effort| !EFFORTS.contains(effort)) {
            let message = format!("`reasoning.effort` must be one of {}, not `{effort}`", EFFORTS.join(", "));
            return Err(Refusal::invalid("reasoning.effort", "invalid_value", message));
        }
        Ok(Self {
            model,
            limit: parameters::whole(body, "max_output_tokens", MIN_LIMIT..=u64::MAX)?.unwrap_or(usize::MAX),
            streams: parameters::flag(body, "stream")?.unwrap_or(false),
            tools: tools(body)?,
            format: format(body)?,
            thinks: effort.is_some_and(|effort| effort != "none"),
            summarises: present(reasoning, "summary").is_some(),
            parts: prompt(body, &items),
            items,
        })
    }

    pub(super) fn prompt_tokens(&self) -> usize {
        self.parts.iter().map(|part| part.tokens).sum()
    }
}

/// Returns the parts of a prompt, each of which the cache may end with: OpenAI needs no marks.
fn prompt(body: &Value, items: &Items<'_>) -> Vec<Part> {
    let part = |content: String, tokens: usize| Part { content, tokens, marked: true };
    let mut parts = Vec::new();
    for field in ["tools", "instructions"] {
        if let Some(value) = present(body, field) {
            let content = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            parts.push(part(format!("{field} {content}"), text::count(&content)));
        }
    }
    parts.extend(items.parts());
    parts
}

fn check_stateless(body: &Value) -> Result<(), Refusal> {
    if let Some(id) = present(body, "previous_response_id") {
        let message = format!("previous response {id} is not found; the demo provider keeps none");
        return Err(Refusal::invalid("previous_response_id", "previous_response_not_found", message));
    }
    let kept = ["conversation", "prompt"].into_iter().find(|name| present(body, name).is_some());
    let kept = kept.or_else(|| (body["background"] == true).then_some("background"));
    match kept {
        None => Ok(()),
        Some(name) => {
            let message = format!("`{name}` is not supported by the demo provider, which keeps nothing");
            Err(Refusal::invalid(name, "unsupported_parameter", message))
        }
    }
}

fn tools(body: &Value) -> Result<Callable<'_>, Refusal> {
    let listed = parameters::list(body, "tools")?.unwrap_or_default();
    let mut tools = Vec::new();
    for (index, tool) in listed.iter().enumerate() {
        let at = format!("tools[{index}]");
        match tool["type"].as_str().unwrap_or_default() {
            kind @ ("function" | "custom") => {
                if tool.get("name").is_none_or(Value::is_null) {
                    let param = format!("{at}.name");
                    let message = format!("Missing required parameter: '{param}'.");
                    return Err(Refusal::invalid(&param, "missing_required_parameter", message));
                }
                if tool["strict"] == true {
                    check_strict(&tool["parameters"], &format!("{at}.parameters"))?;
                }
                tools.push(described(tool, kind, &at)?);
            }
            kind if HOSTED.contains(&kind) => {}
            kind => {
                let param = format!("{at}.type");
                let message = format!("{param} is `{kind}`; known: function, custom, {}", HOSTED.join(", "));
                return Err(Refusal::invalid(&param, "invalid_value", message));
            }
        }
    }
    let parallel = parameters::flag(body, "parallel_tool_calls")?.unwrap_or(true);
    let tools = match present(body, "tool_choice") {
        Some(choice) => chosen(choice, tools, listed.is_empty())?,
        None => tools,
    };
    Ok(Callable { tools, parallel })
}

/// Keeps the tools that `tool_choice` allows to be called.
fn chosen<'a>(choice: &'a Value, mut tools: Vec<Tool<'a>>, none_listed: bool) -> Result<Vec<Tool<'a>>, Refusal> {
    let wrong = |message: String| Refusal::invalid("tool_choice", "invalid_value", message);
    let kind = choice.as_str().or_else(|| choice["type"].as_str()).unwrap_or_default();
    if none_listed && !matches!(kind, "none" | "auto") {
        return Err(wrong("Tool choice other than `none` and `auto` needs `tools`".to_owned()));
    }
    match kind {
        "auto" | "required" => {}
        "none" => tools.clear(),
        "function" | "custom" => {
            let Some(name) = choice["name"].as_str() else {
                let param = "tool_choice.name";
                return Err(Refusal::invalid(param, "missing_required_parameter", format!("`{param}` is missing")));
            };
            tools.retain(|tool| tool.name == name);
            if tools.is_empty() {
                return Err(wrong(format!("Tool choice '{name}' not found in 'tools' parameter.")));
            }
        }
        "allowed_tools" => {
            let allowed: Vec<&str> =
                choice["tools"].as_array().into_iter().flatten().filter_map(|tool| tool["name"].as_str()).collect();
            tools.retain(|tool| allowed.contains(&tool.name));
        }
        kind if HOSTED.contains(&kind) => tools.clear(),
        other => return Err(wrong(format!("`tool_choice` is `{other}`, which is neither a mode nor a tool"))),
    }
    Ok(tools)
}

fn format(body: &Value) -> Result<Format<'_>, Refusal> {
    let Some(format) = present(body, "text").and_then(|text| present(text, "format")) else { return Ok(Format::Text) };
    match format["type"].as_str().unwrap_or_default() {
        "text" => Ok(Format::Text),
        "json_object" => Ok(Format::JsonObject),
        "json_schema" => {
            for name in ["name", "schema"] {
                if present(format, name).is_none() {
                    let param = format!("text.format.{name}");
                    let message = format!("Missing required parameter: '{param}'.");
                    return Err(Refusal::invalid(&param, "missing_required_parameter", message));
                }
            }
            if format["strict"] == true {
                check_strict(&format["schema"], "text.format.schema")?;
            }
            Ok(Format::Schema(&format["schema"]))
        }
        other => {
            let message = format!("`text.format.type` must be `text`, `json_object` or `json_schema`, not `{other}`");
            Err(Refusal::invalid("text.format.type", "invalid_value", message))
        }
    }
}

/// Refuses a strict schema whose objects are open or leave a property out of `required`.
fn check_strict(schema: &Value, at: &str) -> Result<(), Refusal> {
    let Some(properties) = schema["properties"].as_object() else { return Ok(()) };
    let wrong = |message: String| Refusal::invalid(at, "invalid_function_parameters", message);
    if schema["additionalProperties"] != false {
        return Err(wrong(format!("Invalid schema: {at}.additionalProperties must be false where `strict` is true")));
    }
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if let Some(name) = properties.keys().find(|name| !required.contains(&name.as_str())) {
        return Err(wrong(format!("Invalid schema: {at}.required must name every property; `{name}` is missing")));
    }
    properties.iter().try_for_each(|(name, schema)| check_strict(schema, &format!("{at}.properties.{name}")))
}
