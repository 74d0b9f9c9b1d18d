//! OpenAI's legacy completions as a client's dialect: the prompt becomes one user message, the answer a `text_completion`.
//!
//! Upstreams that have the endpoint get such requests as they stand and never come here.

use bytes::Bytes;
use serde_json::{Value, json};

use super::fields::{Fields, Path};
use super::read::{sampling, stream};
use super::write::{known_tier, model, usage};
use crate::providers::dialect::{ClientDialect, StreamWriter};
use crate::schema::IntakeError;
use crate::schema::chat::{
    ChatReply, ChatRequest, Choice, Chunk, Content, Dialect, Extra, Finish, Message, Part, Role,
};

/// A client of the legacy endpoint.
#[derive(Debug, Clone, Copy, Default)]
pub struct Completions;

impl ClientDialect for Completions {
    fn read(&self, body: &[u8]) -> Result<ChatRequest, IntakeError> {
        let path = Path::ROOT;
        let value = serde_json::from_slice(body)
            .map_err(|error| path.refuse("invalid_json", &format!("is not valid JSON: {error}")))?;
        let mut fields = Fields::of(value, &path)?;
        let mut request = ChatRequest { model: fields.text("model")?, ..ChatRequest::default() };
        let prompt = Part::new(Content::Text(prompt(&mut fields)?));
        request.messages = vec![Message::new(Role::User, vec![prompt])];
        sampling(&mut fields, &mut request)?;
        refuse_the_impossible(&mut fields, &request)?;
        if request.logprobs.take().is_some() {
            request.lost.push("`logprobs` was left out: no chat model tells them in the form of completions".into());
        }
        request.top_logprobs = None;
        request.user = fields.text("user")?;
        stream(&mut fields, &mut request)?;
        // The gateway's own field.
        fields.take("bursar");
        let rest = fields.rest();
        request.extra = (!rest.is_empty()).then_some(Extra { dialect: Dialect::OpenAi, fields: rest });
        Ok(request)
    }

    fn write(&self, reply: &ChatReply, request: &ChatRequest) -> Bytes {
        let mut body = head(&reply.id, reply.created, &reply.model, request);
        body["choices"] = reply.choices.iter().map(written).collect();
        if let Some(figures) = &reply.usage {
            body["usage"] = usage(figures);
        }
        tail(&mut body, reply.service_tier.as_deref(), reply.system_fingerprint.as_deref());
        body.to_string().into()
    }

    fn writer(&self, request: &ChatRequest) -> Box<dyn StreamWriter> {
        let ChatRequest { model, include_usage, .. } = request;
        // Only these few are needed; the prompt may be megabytes.
        let request = ChatRequest { model: model.clone(), include_usage: *include_usage, ..ChatRequest::default() };
        Box::new(Writer { request, head: Value::Null })
    }
}

/// Takes the one prompt that becomes a message.
fn prompt(fields: &mut Fields<'_>) -> Result<String, IntakeError> {
    const TOKENS: &str = "holds tokens, which only an upstream with the legacy endpoint can read; send text";
    let path = fields.path.field("prompt");
    match fields.take("prompt").ok_or_else(|| path.missing())? {
        Value::String(text) => Ok(text),
        Value::Array(list) if list.iter().any(|item| item.is_number() || item.is_array()) => {
            Err(path.refuse("unsupported_value", TOKENS))
        }
        Value::Array(mut list) => match (list.pop(), list.len()) {
            (Some(Value::String(text)), 0) => Ok(text),
            (Some(Value::String(_)), _) => {
                let problem = "holds several prompts, and this upstream takes one; send a request for each";
                Err(path.refuse("unsupported_value", problem))
            }
            _ => Err(path.wrong("a string, or an array of one string")),
        },
        _ => Err(path.wrong("a string, or an array of one string")),
    }
}

/// Refuses what a chat cannot do. Several choices are left to the upstream, which may have them.
fn refuse_the_impossible(fields: &mut Fields<'_>, request: &ChatRequest) -> Result<(), IntakeError> {
    let refuse = |name: &str, problem: &str| Err(Path::ROOT.field(name).refuse("unsupported_parameter", problem));
    if fields.flag("echo")? == Some(true) {
        return refuse("echo", "asks for the prompt in the answer, which this upstream cannot give; leave it out");
    }
    if fields.text("suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
        return refuse("suffix", "asks for text in between, which this upstream cannot write; leave it out");
    }
    let best_of = fields.count("best_of")?.unwrap_or(1);
    if best_of > request.choices.unwrap_or(1).max(1) {
        return refuse("best_of", "is more than `n`, and this upstream cannot rank its answers; leave it out");
    }
    Ok(())
}

fn head(id: &str, created: i64, name: &str, request: &ChatRequest) -> Value {
    // An answer that got its name here got that of a chat.
    let id = id.strip_prefix("chat").filter(|id| id.starts_with("cmpl-")).unwrap_or(id);
    json!({ "id": id, "object": "text_completion", "created": created, "model": model(name, request) })
}

fn tail(body: &mut Value, tier: Option<&str>, fingerprint: Option<&str>) {
    if let Some(tier) = known_tier(tier) {
        body["service_tier"] = tier.into();
    }
    if let Some(fingerprint) = fingerprint {
        body["system_fingerprint"] = fingerprint.into();
    }
}

/// Writes a choice: its text, without the thought before it.
fn written(choice: &Choice) -> Value {
    let text = choice.parts.iter().filter_map(|part| match &part.content {
        Content::Text(text) | Content::Refusal(text) => Some(text.as_str()),
        _ => None,
    });
    let finish = choice.finish.as_ref().map_or("stop", finish_word);
    piece(choice.index, &text.collect::<String>(), Some(finish))
}

fn piece(index: u32, text: &str, finish: Option<&str>) -> Value {
    json!({ "text": text, "index": index, "logprobs": null, "finish_reason": finish })
}

/// Returns the word for why a choice ended; of calls nobody has heard here.
fn finish_word(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop { .. } | Finish::ToolCalls => "stop",
        Finish::Length => "length",
        Finish::ContentFilter => "content_filter",
    }
}

/// The state of one stream.
#[derive(Debug)]
struct Writer {
    request: ChatRequest,
    /// What every chunk has besides its choices.
    head: Value,
}

impl Writer {
    fn event(&self, choices: Value, usage: Value, out: &mut Vec<u8>) {
        let mut chunk = self.head.clone();
        chunk["choices"] = choices;
        if self.request.include_usage {
            chunk["usage"] = usage;
        }
        out.extend_from_slice(format!("data: {chunk}\n\n").as_bytes());
    }
}

impl StreamWriter for Writer {
    fn chunk(&mut self, chunk: &Chunk, out: &mut Vec<u8>) {
        match chunk {
            Chunk::Start { id, created, model, service_tier, system_fingerprint } => {
                self.head = head(id, *created, model, &self.request);
                tail(&mut self.head, service_tier.as_deref(), system_fingerprint.as_deref());
            }
            Chunk::Text { choice, text } | Chunk::Refusal { choice, text } => {
                self.event(json!([piece(*choice, text, None)]), Value::Null, out);
            }
            Chunk::Finish { choice, finish } => {
                self.event(json!([piece(*choice, "", Some(finish_word(finish)))]), Value::Null, out);
            }
            Chunk::Usage(figures) if self.request.include_usage => self.event(json!([]), usage(figures), out),
            _ => {}
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &Value) -> Result<ChatRequest, IntakeError> {
        let mut body = json!({ "model": "m", "prompt": "Once" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Completions.read(body.to_string().as_bytes())
    }

    #[test]
    fn a_prompt_becomes_one_message_of_the_user() {
        for prompt in [json!("Once"), json!(["Once"])] {
            let request =
                read(&json!({ "prompt": prompt, "max_tokens": 9, "n": 2, "best_of": 2, "stop": "." })).unwrap();

            assert_eq!(request.messages, [Message::new(Role::User, vec![Part::new(Content::Text("Once".into()))])]);
            assert_eq!((request.max_tokens, request.choices, request.stop.len()), (Some(9), Some(2), 1));
            assert!(request.lost.is_empty() && request.extra.is_none());
        }
    }

    #[test]
    fn what_a_chat_cannot_do_is_refused_by_its_name() {
        for (name, value) in [
            ("prompt", json!(["a", "b"])),
            ("prompt", json!([1, 2])),
            ("prompt", json!([[1, 2]])),
            ("prompt", json!([])),
            ("echo", json!(true)),
            ("suffix", json!("end")),
            ("best_of", json!(2)),
        ] {
            let refused = read(&json!({ name: value })).unwrap_err();

            assert_eq!(refused.param.as_deref(), Some(name), "{refused}");
        }
        assert!(read(&json!({ "echo": false, "suffix": "", "best_of": 1 })).is_ok());
    }

    #[test]
    fn log_probabilities_are_left_out_in_so_many_words() {
        let request = read(&json!({ "logprobs": 3 })).unwrap();

        assert_eq!((request.logprobs, request.top_logprobs), (None, None));
        assert!(request.lost[0].starts_with("`logprobs` "), "{:?}", request.lost);
    }
}
