//! `POST /v1/chat/completions`, whole and streamed.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::dice::Dice;
use super::super::models::EMBED;
use super::super::reply::{Pace, Piece, Refusal, Reply, json_event};
use super::super::speech::{self, Answer, End, Format, Question};
use super::super::text;
use super::super::tools::Call;
use super::chat_request::ChatRequest;
use super::{Asking, check_context, now, usage};

const FINGERPRINT: &str = "fp_demo";

/// One of the answers to a request.
struct Choice(Answer);

pub(super) fn answer(mut asking: Asking<'_>, body: &Value) -> Result<Reply, Refusal> {
    let request = ChatRequest::read(body)?;
    check_context(asking.model, request.prompt_tokens)?;
    if asking.model == EMBED {
        let message = format!("`{EMBED}` makes embeddings; it cannot chat");
        return Err(Refusal::invalid("model", "unsupported_value", message));
    }
    // The messages alone, so that a streamed answer says the same as a whole one.
    let content = body["messages"].to_string();
    let choices: Vec<Choice> = (0..request.choices)
        .map(|index| {
            let mut dice = Dice::new(asking.options.seed, format!("{index} {content}").as_bytes());
            choose(asking.model, &request, &mut dice)
        })
        .collect();
    let id = format!("chatcmpl-{}", asking.pace.dice.clone().letters(24));
    let completion_tokens = choices.iter().map(Choice::tokens).sum();
    let reasoning_tokens = choices.iter().map(|choice| choice.0.thought_tokens()).sum();
    let usage = usage(request.prompt_tokens, completion_tokens, reasoning_tokens);
    let head = Head { id: &id, created: now(), model: asking.model };
    if request.streaming.on {
        return Ok(Reply::events(stream(
            &head,
            &choices,
            request.streaming.include_usage.then_some(usage),
            asking.pace,
        )));
    }
    let mut reply = Reply::json(200, &Completion::new(&head, &choices, usage));
    reply.wait = asking.pace.whole(choices.iter().map(Choice::tokens).max().unwrap_or(0));
    Ok(reply)
}

fn choose(model: &str, request: &ChatRequest<'_>, dice: &mut Dice) -> Choice {
    let in_words = (request.format == Format::JsonObject).then(|| request.schema_in_words()).flatten();
    Choice(speech::answer(
        &Question {
            model,
            user: &request.user_text(),
            brought: request.brought(),
            results: request.tool_results(),
            user_spoke_last: request.user_spoke_last(),
            tools: &request.tools,
            format: in_words.as_ref().map_or(request.format, Format::Schema),
            stop: &request.stop,
            limit: request.limit,
            thinks: request.thinks,
        },
        dice,
    ))
}

impl Choice {
    fn tokens(&self) -> usize {
        self.0.tokens()
    }

    fn finish_reason(&self) -> &'static str {
        match self.0.end {
            End::Done | End::Stop(_) | End::Refused => "stop",
            End::Length => "length",
            End::Calls => "tool_calls",
            End::Blocked => "content_filter",
        }
    }

    fn message(&self) -> Value {
        let Answer { thoughts, text, calls, end, .. } = &self.0;
        let mut message = json!({"role": "assistant", "content": null, "refusal": null});
        match end {
            End::Refused => message["refusal"] = json!(text),
            End::Calls => message["tool_calls"] = calls.iter().map(whole_call).collect(),
            End::Done | End::Stop(_) | End::Length | End::Blocked => message["content"] = json!(text),
        }
        if calls.is_empty() {
            message["annotations"] = json!([]);
        }
        // OpenAI keeps its thoughts to itself; this is how the providers that speak its dialect show theirs.
        if !thoughts.is_empty() {
            message["reasoning_content"] = json!(thoughts);
        }
        message
    }

    /// Returns the deltas of a stream after the one with the role.
    fn deltas(&self) -> Vec<Value> {
        let thoughts = text::tokens(&self.0.thoughts).map(|token| json!({"reasoning_content": token}));
        let name = if self.0.end == End::Refused { "refusal" } else { "content" };
        let mut deltas: Vec<Value> =
            thoughts.chain(text::tokens(&self.0.text).map(|token| json!({name: token}))).collect();
        for (index, call) in self.0.calls.iter().enumerate() {
            deltas.push(json!({"tool_calls": [first_of_call(index, call)]}));
            deltas.extend(
                text::tokens(&call.arguments).map(|part| json!({"tool_calls": [more_of_call(index, call, part)]})),
            );
        }
        deltas
    }
}

fn whole_call(call: &Call) -> Value {
    let Call { id, name, arguments, custom } = call;
    let id = format!("call_{id}");
    match custom {
        true => json!({"id": id, "type": "custom", "custom": {"name": name, "input": arguments}}),
        false => json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}),
    }
}

fn first_of_call(index: usize, call: &Call) -> Value {
    let mut first = whole_call(&Call { arguments: String::new(), ..call.clone() });
    first["index"] = json!(index);
    first
}

fn more_of_call(index: usize, call: &Call, part: &str) -> Value {
    match call.custom {
        true => json!({"index": index, "custom": {"input": part}}),
        false => json!({"index": index, "function": {"arguments": part}}),
    }
}

struct Head<'a> {
    id: &'a str,
    created: u64,
    model: &'a str,
}

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Value>,
    usage: Value,
    service_tier: &'static str,
    system_fingerprint: &'static str,
}

impl<'a> Completion<'a> {
    fn new(head: &Head<'a>, choices: &[Choice], usage: Value) -> Self {
        let choices = choices.iter().enumerate().map(|(index, choice)| {
            json!({
                "index": index,
                "message": choice.message(),
                "logprobs": null,
                "finish_reason": choice.finish_reason(),
            })
        });
        Self {
            id: head.id,
            object: "chat.completion",
            created: head.created,
            model: head.model,
            choices: choices.collect(),
            usage,
            service_tier: "default",
            system_fingerprint: FINGERPRINT,
        }
    }
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    service_tier: &'static str,
    system_fingerprint: &'static str,
    choices: &'a [Delta],
    /// Absent unless the client asked for the usage; then null until the last chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<&'a Value>,
}

#[derive(Serialize)]
struct Delta {
    index: usize,
    delta: Value,
    logprobs: Option<Value>,
    finish_reason: Option<&'static str>,
}

/// Returns the events before `[DONE]`: the roles, the choices' deltas in turn, the finish reasons, the usage.
fn stream(head: &Head<'_>, choices: &[Choice], usage: Option<Value>, mut pace: Pace) -> Vec<Piece> {
    let unknown_yet = usage.as_ref().map(|_| &Value::Null);
    let chunk = |choices: &[Delta], usage: Option<&Value>| -> Bytes {
        json_event(&Chunk {
            id: head.id,
            object: "chat.completion.chunk",
            created: head.created,
            model: head.model,
            service_tier: "default",
            system_fingerprint: FINGERPRINT,
            choices,
            usage,
        })
    };
    let delta = |index: usize, delta: Value, finish_reason: Option<&'static str>| {
        chunk(&[Delta { index, delta, logprobs: None, finish_reason }], unknown_yet)
    };
    let at_once = |bytes: Bytes| Piece { wait: std::time::Duration::ZERO, bytes };

    let role = json!({"role": "assistant", "content": "", "refusal": null});
    let mut pieces = vec![pace.piece(delta(0, role.clone(), None))];
    pieces.extend((1..choices.len()).map(|index| at_once(delta(index, role.clone(), None))));
    let deltas: Vec<Vec<Value>> = choices.iter().map(Choice::deltas).collect();
    for round in 0..deltas.iter().map(Vec::len).max().unwrap_or(0) {
        // The role came with the first token's wait; each later round waits once for all choices.
        let mut wait = if round == 0 { std::time::Duration::ZERO } else { pace.next() };
        for (index, deltas) in deltas.iter().enumerate() {
            if let Some(next) = deltas.get(round) {
                pieces.push(Piece { wait: std::mem::take(&mut wait), bytes: delta(index, next.clone(), None) });
            }
        }
    }
    for (index, choice) in choices.iter().enumerate() {
        pieces.push(at_once(delta(index, json!({}), Some(choice.finish_reason()))));
    }
    pieces.extend(usage.map(|usage| at_once(chunk(&[], Some(&usage)))));
    pieces
}
