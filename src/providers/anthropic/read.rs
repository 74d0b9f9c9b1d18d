//! A client's Messages request read into the gateway's own; both API versions, which differ only in what they forbid.

use serde_json::{Map, Value};

use super::fields::{Fields, fault, wrong_type};
use super::read_blocks::{Names, cache_mark, content, text_blocks};
use super::signature::plain_assistant;
use crate::schema::IntakeError;
use crate::schema::chat::{
    CacheMark, ChatRequest, Content, Dialect, Effort, Extra, Format, Function, Message, Part, Reasoning, Role, Tool,
    ToolChoice,
};

/// Reads a request; `max_tokens` may be missing, as in a request to count tokens.
pub(super) fn read(body: &[u8]) -> Result<ChatRequest, IntakeError> {
    let value = serde_json::from_slice(body).map_err(|error| IntakeError {
        message: format!("the body is not valid JSON: {error}"),
        param: None,
        code: Some("invalid_json"),
    })?;
    let mut fields = Fields::of(value, String::new())?;
    if !matches!(fields.take("thread"), None | Some(Value::Null)) {
        // By this code Anthropic's own clients know that they have to send everything.
        let what = "is not kept here; leave it out and send the whole conversation in `messages`";
        return Err(fault("thread_unsupported_request", "thread", what));
    }
    let mut request = ChatRequest { include_usage: true, ..ChatRequest::default() };
    request.model = Some(fields.required("model")?);
    request.max_tokens = fields.count("max_tokens")?;
    request.temperature = fields.number("temperature")?;
    request.top_p = fields.number("top_p")?;
    request.top_k = fields.count("top_k")?;
    request.stream = fields.boolean("stream")?.unwrap_or(false);
    request.stop = strings(&mut fields, "stop_sequences")?;
    request.messages = messages(&mut fields)?;
    if let Some(mark) = cache_mark(&mut fields)? {
        mark_last(&mut request.messages, mark);
    }
    request.tools = tools(&mut fields)?;
    tool_choice(&mut fields, &mut request)?;
    let mut extra = Map::new();
    output(&mut fields, &mut request, &mut extra)?;
    service(&mut fields, &mut request)?;
    if let Some(mut metadata) = fields.object("metadata")? {
        request.user = metadata.string("user_id")?;
        let rest = metadata.rest();
        request.metadata = (!rest.is_empty()).then_some(rest);
    }
    // The gateway's own wishes; no upstream's business.
    fields.take("bursar");
    extra.extend(fields.rest().into_iter().filter(|(_, value)| !value.is_null()));
    request.extra = (!extra.is_empty()).then_some(Extra { dialect: Dialect::Anthropic, fields: extra });
    Ok(request)
}

fn strings(fields: &mut Fields, key: &str) -> Result<Vec<String>, IntakeError> {
    let path = fields.at(key);
    let text = |(index, value): (usize, Value)| match value {
        Value::String(text) => Ok(text),
        _ => Err(wrong_type(&format!("{path}[{index}]"), "a string")),
    };
    fields.list(key)?.into_iter().enumerate().map(text).collect()
}

fn messages(fields: &mut Fields) -> Result<Vec<Message>, IntakeError> {
    let mut messages = Vec::new();
    if let Some(system) = fields.take("system") {
        let parts = text_blocks(system, "system")?;
        if !parts.is_empty() {
            messages.push(Message::new(Role::System, parts));
        }
    }
    let list = fields.list("messages")?;
    if list.is_empty() {
        return Err(fault("missing_required_parameter", "messages", "is missing or empty; send at least one message"));
    }
    let mut names = Names::default();
    for (index, value) in list.into_iter().enumerate() {
        let mut message = Fields::of(value, format!("messages[{index}]"))?;
        let role = message.required("role")?;
        let path = message.at("content");
        let blocks = message.take("content").unwrap_or_else(|| Value::String(String::new()));
        match role.as_str() {
            "user" => push_user(&mut messages, content(blocks, &path, &mut names)?),
            "assistant" => {
                let parts = plain_assistant(content(blocks, &path, &mut names)?);
                messages.push(Message::new(Role::Assistant, parts));
            }
            "system" => messages.push(Message::new(Role::System, text_blocks(blocks, &path)?)),
            _ => {
                let what = "must be \"user\", \"assistant\" or \"system\"";
                return Err(fault("invalid_value", &message.at("role"), what));
            }
        }
    }
    Ok(messages)
}

/// Adds a user turn: the results of tools as a message of their own, in front of what the user says.
fn push_user(messages: &mut Vec<Message>, parts: Vec<Part>) {
    let (results, said): (Vec<Part>, Vec<Part>) =
        parts.into_iter().partition(|part| matches!(part.content, Content::ToolResult(_)));
    let only_results = said.is_empty() && !results.is_empty();
    if !results.is_empty() {
        messages.push(Message::new(Role::Tool, results));
    }
    if !only_results {
        messages.push(Message::new(Role::User, said));
    }
}

fn mark_last(messages: &mut [Message], mark: CacheMark) {
    let can_be_marked = |part: &&mut Part| !matches!(part.content, Content::Thinking(_));
    let last = messages.iter_mut().rev().flat_map(|message| message.parts.iter_mut().rev()).find(can_be_marked);
    if let Some(part) = last {
        part.cache.get_or_insert(mark);
    }
}

fn tools(fields: &mut Fields) -> Result<Vec<Tool>, IntakeError> {
    let path = fields.at("tools");
    let tool = |(index, value): (usize, Value)| {
        let kind = value.get("type").filter(|kind| !kind.is_null());
        if kind.is_some_and(|kind| kind != "custom") {
            return Ok(Tool::Native { dialect: Dialect::Anthropic, value });
        }
        let mut fields = Fields::of(value, format!("{path}[{index}]"))?;
        Ok(Tool::Function(Function {
            name: fields.required("name")?,
            description: fields.string("description")?,
            parameters: fields.object("input_schema")?.map(|schema| Value::Object(schema.rest())),
            strict: fields.boolean("strict")?,
            cache: cache_mark(&mut fields)?,
        }))
    };
    fields.list("tools")?.into_iter().enumerate().map(tool).collect()
}

fn tool_choice(fields: &mut Fields, request: &mut ChatRequest) -> Result<(), IntakeError> {
    let Some(mut choice) = fields.object("tool_choice")? else { return Ok(()) };
    request.tool_choice = Some(match choice.required("type")?.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(choice.required("name")?),
        _ => {
            let what = "must be \"auto\", \"any\", \"tool\" or \"none\"";
            return Err(fault("invalid_value", &choice.at("type"), what));
        }
    });
    request.parallel_tool_calls = choice.boolean("disable_parallel_tool_use")?.map(|disabled| !disabled);
    Ok(())
}

/// Reads how the answer shall look and how much is to be thought about it.
fn output(fields: &mut Fields, request: &mut ChatRequest, extra: &mut Map<String, Value>) -> Result<(), IntakeError> {
    let mut reasoning = None;
    // The name that `output_config.format` had while it was in beta.
    let early = fields.object("output_format")?;
    if let Some(mut config) = fields.object("output_config")? {
        if let Some(word) = config.string("effort")? {
            let effort = Effort::from_word(&word);
            let unknown = || {
                let what = "must be \"low\", \"medium\", \"high\", \"xhigh\" or \"max\"";
                fault("invalid_value", "output_config.effort", what)
            };
            reasoning = Some(Reasoning { effort: Some(effort.ok_or_else(unknown)?), ..Reasoning::default() });
        }
        request.format = config.object("format")?.map(format).transpose()?.flatten();
        let rest = config.rest();
        if !rest.is_empty() {
            extra.insert("output_config".into(), Value::Object(rest));
        }
    }
    if request.format.is_none() {
        request.format = early.map(format).transpose()?.flatten();
    }
    if let Some(thinking) = fields.object("thinking")? {
        reasoning = Some(self::reasoning(thinking, reasoning.unwrap_or_default())?);
    }
    request.reasoning = reasoning;
    Ok(())
}

fn format(mut fields: Fields) -> Result<Option<Format>, IntakeError> {
    if fields.required("type")? != "json_schema" {
        return Err(fault("invalid_value", &fields.at("type"), "must be \"json_schema\""));
    }
    let missing = fault("missing_required_parameter", &fields.at("schema"), "is missing; send a JSON Schema");
    let schema = fields.object("schema")?.ok_or(missing)?.rest();
    // Anthropic gives formats no name, and others want one.
    let (name, schema) = ("response".to_owned(), Value::Object(schema));
    Ok(Some(Format::JsonSchema { name, description: None, schema, strict: Some(true) }))
}

fn reasoning(mut thinking: Fields, so_far: Reasoning) -> Result<Reasoning, IntakeError> {
    let show = match thinking.string("display")?.as_deref() {
        Some("summarized") => Some(true),
        Some("omitted") => Some(false),
        _ => None,
    };
    match thinking.required("type")?.as_str() {
        // Thinking between tools is the least that some models can be asked for.
        "disabled" | "between_tools" => Ok(Reasoning { effort: Some(Effort::None), budget: None, show }),
        "enabled" => Ok(Reasoning { budget: thinking.count("budget_tokens")?, show, ..so_far }),
        "adaptive" => Ok(Reasoning { show, ..so_far }),
        _ => {
            let what = "must be \"adaptive\", \"enabled\", \"disabled\" or \"between_tools\"";
            Err(fault("invalid_value", &thinking.at("type"), what))
        }
    }
}

fn service(fields: &mut Fields, request: &mut ChatRequest) -> Result<(), IntakeError> {
    let tier = fields.string("service_tier")?;
    let fast = fields.string("speed")?.is_some_and(|speed| speed == "fast");
    request.service_tier = match tier.as_deref() {
        _ if fast => Some("priority".into()),
        Some("standard_only") => Some("default".into()),
        _ => tier,
    };
    Ok(())
}
