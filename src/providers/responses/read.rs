//! A client's request, read into the gateway's own.

use serde_json::{Map, Value};

use super::fields::{Fields, error, invalid, missing, unsupported};
use super::items::History;
use super::tools;
use crate::schema::IntakeError;
use crate::schema::chat::{ChatRequest, Dialect, Effort, Extra, Format, Message, Part, Reasoning, Role};

/// What needs replies kept or prompts stored, which the vendor alone does; and what to do instead.
const KEPT_ELSEWHERE: [(&str, &str); 4] = [
    ("previous_response_id", "the reply is not kept here; send the whole conversation in `input`"),
    ("conversation", "no conversation is kept between requests; send all of it in `input`"),
    ("background", "no reply is kept to be fetched later; leave it out or send false"),
    ("prompt", "stored prompts are known to their vendor alone; send the text in `instructions` or `input`"),
];

/// Reads a request.
pub(super) fn read(body: &[u8]) -> Result<ChatRequest, IntakeError> {
    let parsed = serde_json::from_slice::<Value>(body).map_err(|_| not_an_object())?;
    let mut fields = Fields::of(parsed, "").map_err(|_| not_an_object())?;
    for (name, instead) in KEPT_ELSEWHERE {
        if fields.get(name).is_some_and(|value| *value != Value::Bool(false)) {
            return Err(unsupported(name, instead));
        }
        fields.take(name);
    }
    let mut extra = Map::new();
    let mut request = ChatRequest { messages: messages(&mut fields, &mut extra)?, ..settings(&mut fields)? };
    let tools = fields.list("tools")?.unwrap_or_default();
    request.tools = tools.into_iter().enumerate().map(|(at, tool)| tools::tool(tool, at)).collect::<Result<_, _>>()?;
    request.tool_choice = fields.take("tool_choice").map(tools::choice).transpose()?;
    text(&mut fields, &mut request)?;
    reasoning(&mut fields, &mut request, &mut extra)?;
    logprobs(&fields, &mut request);
    if let Some(identifier) = fields.text("safety_identifier")? {
        request.user.get_or_insert_with(|| identifier.clone());
        extra.insert("safety_identifier".into(), identifier.into());
    }
    let mut unknown = fields.rest();
    unknown.retain(|_, value| !value.is_null());
    extra.append(&mut unknown);
    request.extra = Some(Extra { dialect: Dialect::Responses, fields: extra });
    Ok(request)
}

fn not_an_object() -> IntakeError {
    let message = "the body must be a JSON object".into();
    IntakeError { message, param: None, code: Some("invalid_json") }
}

fn settings(fields: &mut Fields) -> Result<ChatRequest, IntakeError> {
    Ok(ChatRequest {
        model: fields.text("model")?,
        parallel_tool_calls: fields.flag("parallel_tool_calls")?,
        max_tokens: fields.count("max_output_tokens")?,
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        top_logprobs: fields.count("top_logprobs")?,
        service_tier: fields.text("service_tier")?,
        user: fields.text("user")?,
        metadata: fields.object("metadata")?.map(Fields::rest),
        prompt_cache_key: fields.text("prompt_cache_key")?,
        stream: fields.flag("stream")?.unwrap_or(false),
        include_usage: true,
        ..ChatRequest::default()
    })
}

/// Reads `instructions` and `input`. The former stays among the extra fields too, so that the reply can tell it apart.
fn messages(fields: &mut Fields, extra: &mut Map<String, Value>) -> Result<Vec<Message>, IntakeError> {
    let mut history = History::default();
    if let Some(instructions) = fields.text("instructions")? {
        history.messages.push(Message::new(Role::System, vec![Part::text(instructions.clone())]));
        extra.insert("instructions".into(), instructions.into());
    }
    match fields.take("input") {
        None => return Err(missing("input")),
        Some(Value::String(text)) => history.messages.push(Message::new(Role::User, vec![Part::text(text)])),
        Some(Value::Array(items)) => {
            for (at, item) in items.into_iter().enumerate() {
                history.item(item, format!("input[{at}]"))?;
            }
        }
        Some(_) => return Err(invalid("input", "must be a string or a list of items")),
    }
    Ok(history.messages)
}

fn text(fields: &mut Fields, request: &mut ChatRequest) -> Result<(), IntakeError> {
    let Some(mut text) = fields.object("text")? else { return Ok(()) };
    request.verbosity = text.text("verbosity")?;
    let Some(mut format) = text.object("format")? else { return Ok(()) };
    request.format = match format.text("type")?.as_deref() {
        None | Some("text") => Some(Format::Text),
        Some("json_object") => Some(Format::JsonObject),
        Some("json_schema") => Some(Format::JsonSchema {
            name: format.needed_text("name")?,
            description: format.text("description")?,
            strict: format.flag("strict")?,
            schema: format.object("schema")?.ok_or_else(|| missing("text.format.schema"))?.rest().into(),
        }),
        Some(_) => {
            let message = "`text.format.type` must be text, json_object or json_schema".into();
            return Err(error("invalid_value", "text.format.type", message));
        }
    };
    Ok(())
}

/// Reads `reasoning`; what only OpenAI knows of it (how long the summary is to be, the mode) stays among the extra fields.
fn reasoning(
    fields: &mut Fields,
    request: &mut ChatRequest,
    extra: &mut Map<String, Value>,
) -> Result<(), IntakeError> {
    let Some(mut reasoning) = fields.object("reasoning")? else { return Ok(()) };
    let effort = reasoning.text("effort")?.map(|word| {
        Effort::from_word(&word).ok_or_else(|| {
            let message = "`reasoning.effort` must be none, minimal, low, medium, high, xhigh or max".into();
            error("invalid_value", "reasoning.effort", message)
        })
    });
    let summary = reasoning.get("summary").or_else(|| reasoning.get("generate_summary"));
    request.reasoning = Some(Reasoning { effort: effort.transpose()?, budget: None, show: summary.map(|_| true) });
    let rest = reasoning.rest();
    if !rest.is_empty() {
        extra.insert("reasoning".into(), rest.into());
    }
    Ok(())
}

fn logprobs(fields: &Fields, request: &mut ChatRequest) {
    let included = fields.get("include").and_then(Value::as_array).into_iter().flatten();
    let asked = included.filter_map(Value::as_str).any(|name| name == "message.output_text.logprobs");
    if asked || request.top_logprobs.is_some_and(|top| top > 0) {
        request.logprobs = Some(true);
    }
}
