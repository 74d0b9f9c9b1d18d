//! Reads a client's chat request. What only this dialect knows is left in `extra`.

use serde_json::{Map, Value};

use super::fields::{Fields, Path};
use super::{read_messages, read_tools};
use crate::schema::IntakeError;
use crate::schema::chat::{ChatRequest, Dialect, Effort, Extra, Reasoning};

/// Reads a request.
pub(super) fn request(body: &[u8]) -> Result<ChatRequest, IntakeError> {
    let path = Path::ROOT;
    let value = serde_json::from_slice(body)
        .map_err(|error| path.refuse("invalid_json", &format!("is not valid JSON: {error}")))?;
    let mut fields = Fields::of(value, &path)?;
    let mut request = ChatRequest { model: fields.text("model")?, ..ChatRequest::default() };
    let messages = fields.list("messages")?.ok_or_else(|| path.field("messages").missing())?;
    request.messages = read_messages::messages(messages, &path.field("messages"))?;
    sampling(&mut fields, &mut request)?;
    read_tools::tools(&mut fields, &mut request)?;
    request.format = read_tools::format(&mut fields)?;
    request.reasoning = reasoning(&mut fields)?;
    request.verbosity = fields.text("verbosity")?;
    request.service_tier = fields.text("service_tier")?;
    request.metadata = fields.object("metadata")?;
    request.prompt_cache_key = fields.text("prompt_cache_key")?;
    request.user = fields.text("user")?;
    if request.user.is_none() {
        request.user = fields.text("safety_identifier")?;
    }
    stream(&mut fields, &mut request)?;
    // The gateway's own field.
    fields.take("bursar");
    let rest = fields.rest();
    request.extra = (!rest.is_empty()).then_some(Extra { dialect: Dialect::OpenAi, fields: rest });
    Ok(request)
}

pub(super) fn sampling(fields: &mut Fields<'_>, request: &mut ChatRequest) -> Result<(), IntakeError> {
    let max_tokens = fields.count("max_tokens")?;
    request.max_tokens = fields.count("max_completion_tokens")?.or(max_tokens);
    request.temperature = fields.number("temperature")?;
    request.top_p = fields.number("top_p")?;
    request.top_k = fields.count("top_k")?;
    request.presence_penalty = fields.number("presence_penalty")?;
    request.frequency_penalty = fields.number("frequency_penalty")?;
    request.seed = fields.integer("seed")?;
    request.choices = fields.count("n")?;
    request.top_logprobs = fields.count("top_logprobs")?;
    // Together's clients give a count where OpenAI's give a flag.
    if let Some(count) = fields.peek("logprobs").and_then(Value::as_u64) {
        fields.take("logprobs");
        request.logprobs = Some(true);
        request.top_logprobs = request.top_logprobs.or(Some(count));
    } else {
        request.logprobs = fields.flag("logprobs")?;
    }
    request.logit_bias = fields.object("logit_bias")?.map(Value::Object);
    request.stop = match fields.take("stop") {
        None => Vec::new(),
        Some(Value::String(stop)) => vec![stop],
        Some(Value::Array(list)) => list
            .into_iter()
            .enumerate()
            .map(|(index, stop)| match stop {
                Value::String(stop) => Ok(stop),
                _ => Err(fields.path.field("stop").index(index).wrong("a string")),
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(fields.path.field("stop").wrong("a string or an array of strings")),
    };
    Ok(())
}

/// Reads what OpenAI (`reasoning_effort`), OpenRouter (`reasoning`) and LiteLLM (`thinking`) have for it.
fn reasoning(fields: &mut Fields<'_>) -> Result<Option<Reasoning>, IntakeError> {
    let mut found: Option<Reasoning> = None;
    if let Some(Value::Object(_)) = fields.peek("thinking") {
        let path = fields.path.field("thinking");
        let mut thinking = Fields::of(fields.take("thinking").unwrap_or_default(), &path)?;
        let budget = thinking.count("budget_tokens")?;
        let effort = (thinking.text("type")?.as_deref() == Some("disabled")).then_some(Effort::None);
        found = Some(Reasoning { effort, budget, show: None });
    }
    if let Some(Value::Object(_)) = fields.peek("reasoning") {
        let path = fields.path.field("reasoning");
        let mut inner = Fields::of(fields.take("reasoning").unwrap_or_default(), &path)?;
        let into = found.get_or_insert_default();
        into.effort = inner.text("effort")?.and_then(|word| Effort::from_word(&word)).or(into.effort);
        into.budget = inner.count("max_tokens")?.or(into.budget);
        into.show = inner.flag("exclude")?.map(|exclude| !exclude);
        if inner.flag("enabled")? == Some(false) {
            into.effort = Some(Effort::None);
        }
    }
    if let Some(word) = fields.text("reasoning_effort")? {
        match Effort::from_word(&word) {
            Some(effort) => found.get_or_insert_default().effort = Some(effort),
            // A word of one provider's own, such as Groq's `default`.
            None => fields.put("reasoning_effort", Value::String(word)),
        }
    }
    Ok(found)
}

pub(super) fn stream(fields: &mut Fields<'_>, request: &mut ChatRequest) -> Result<(), IntakeError> {
    request.stream = fields.flag("stream")?.unwrap_or(false);
    let Some(options) = fields.object("stream_options")? else { return Ok(()) };
    let path = fields.path.field("stream_options");
    let mut options = Fields::of(Value::Object(options), &path)?;
    request.include_usage = request.stream && options.flag("include_usage")?.unwrap_or(false);
    let rest: Map<_, _> = options.rest();
    if !rest.is_empty() {
        fields.put("stream_options", Value::Object(rest));
    }
    Ok(())
}
