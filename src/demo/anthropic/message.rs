//! The answer to a Messages request, whole and streamed.

use serde_json::{Value, json};

use super::super::cache::Figures;
use super::super::dialect::Arrival;
use super::super::dice::Dice;
use super::super::reply::{Pace, Piece, Reply};
use super::super::speech::{self, Answer, End, Question};
use super::super::{signature, text};
use super::request::{Messages, Thinking};
use super::{DIALECT, blocks};

/// Makes the answer to a request that was found good, and counts it in the cache.
pub(super) fn answer(request: &Messages<'_>, mut arrival: Arrival<'_>) -> Reply {
    let results = request.turns.results();
    let thinks = match request.thinking {
        Thinking::Off => false,
        Thinking::Adaptive | Thinking::Enabled => true,
        Thinking::BetweenTools => !results.is_empty(),
    };
    let question = Question {
        model: request.model,
        user: &request.turns.user_text(),
        brought: request.turns.brought(),
        user_spoke_last: request.turns.user_spoke_last() && results.is_empty(),
        results,
        tools: &request.tools,
        format: request.format,
        stop: &request.stop,
        limit: request.limit,
        thinks,
    };
    let seed = arrival.options.seed;
    let answer = speech::answer(&question, &mut Dice::new(seed, request.content.as_bytes()));
    let cached = arrival.cache.pass(&format!("anthropic {}", request.model), &request.parts);
    let omits = arrival.body.pointer("/thinking/display").is_some_and(|display| display == "omitted");
    let message = Message {
        id: format!("msg_01{}", arrival.pace.dice.clone().letters(22)),
        model: request.model,
        content: content(&answer, seed, omits),
        usage: usage(request, cached, longest_lived(arrival.body), &answer),
        answer,
    };
    if request.streams {
        return DIALECT.stream(message.stream(arrival.pace));
    }
    let mut reply = Reply::json(200, &message.whole());
    reply.wait = arrival.pace.whole(message.answer.tokens());
    reply
}

struct Message<'a> {
    id: String,
    model: &'a str,
    content: Vec<Value>,
    usage: Value,
    answer: Answer,
}

/// Returns the content blocks; a refusal has none.
fn content(answer: &Answer, seed: u64, omits: bool) -> Vec<Value> {
    let mut content = Vec::new();
    let Answer { thoughts, redacted, text, calls, end } = answer;
    if *redacted && !thoughts.is_empty() {
        content.push(json!({"type": "redacted_thinking", "data": signature::seal(seed, thoughts)}));
    } else if omits && !thoughts.is_empty() {
        content.push(json!({"type": "thinking", "thinking": "", "signature": signature::seal(seed, thoughts)}));
    } else if !thoughts.is_empty() {
        let signature = blocks::signed(seed, thoughts);
        content.push(json!({"type": "thinking", "thinking": thoughts, "signature": signature}));
    }
    if !text.is_empty() && *end != End::Refused {
        content.push(json!({"type": "text", "text": text}));
    }
    content.extend(calls.iter().map(|call| {
        json!({"type": "tool_use", "id": format!("toolu_01{}", &call.id), "name": call.name, "input": call.input()})
    }));
    content
}

/// Whether a cache mark of the request asks for an hour.
fn longest_lived(body: &Value) -> bool {
    match body {
        Value::Object(fields) => fields.iter().any(|(name, value)| match name.as_str() {
            "cache_control" => value["ttl"] == "1h",
            _ => longest_lived(value),
        }),
        Value::Array(items) => items.iter().any(longest_lived),
        _ => false,
    }
}

/// Returns the usage: `input_tokens` leaves out what was read from the cache or written to it.
fn usage(request: &Messages<'_>, cached: Figures, for_an_hour: bool, answer: &Answer) -> Value {
    let Figures { read, written } = cached;
    let (five_minutes, hour) = if for_an_hour { (0, written) } else { (written, 0) };
    json!({
        "input_tokens": request.prompt_tokens() - read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": five_minutes, "ephemeral_1h_input_tokens": hour},
        "output_tokens": answer.tokens(),
        "output_tokens_details": {"thinking_tokens": answer.thought_tokens()},
        "service_tier": "standard",
    })
}

impl Message<'_> {
    fn stop_reason(&self) -> &'static str {
        match self.answer.end {
            End::Done => "end_turn",
            End::Length => "max_tokens",
            End::Stop(_) => "stop_sequence",
            End::Calls => "tool_use",
            End::Refused | End::Blocked => "refusal",
        }
    }

    fn ending(&self) -> Value {
        let sequence = if let End::Stop(sequence) = &self.answer.end { Some(sequence) } else { None };
        let mut ending = json!({"stop_reason": self.stop_reason(), "stop_sequence": sequence});
        if self.answer.end == End::Refused {
            ending["stop_details"] =
                json!({"type": "refusal", "category": "general_harms", "explanation": self.answer.text});
        }
        ending
    }

    fn head(&self) -> Value {
        json!({"id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": self.usage})
    }

    fn whole(&self) -> Value {
        let mut whole = self.head();
        whole["content"] = json!(self.content);
        if let Value::Object(ending) = self.ending() {
            ending.into_iter().for_each(|(name, value)| whole[name] = value);
        }
        whole
    }

    /// Returns the events: the message, its blocks one after another, its end; with a ping early on.
    fn stream(&self, mut pace: Pace) -> Vec<Piece> {
        let at_once = |event: Value| Pace::at_once(DIALECT.json_event(&event));
        let mut head = self.head();
        head["usage"]["output_tokens"] = json!(1);
        let mut pieces = vec![pace.piece(DIALECT.json_event(&json!({"type": "message_start", "message": head})))];
        for (index, block) in self.content.iter().enumerate() {
            pieces
                .push(at_once(json!({"type": "content_block_start", "index": index, "content_block": opened(block)})));
            if index == 0 {
                pieces.push(at_once(json!({"type": "ping"})));
            }
            for (nth, delta) in deltas(block).into_iter().enumerate() {
                let event = json!({"type": "content_block_delta", "index": index, "delta": delta});
                // The first token's wait was the head's.
                let first = index == 0 && nth == 0;
                pieces.push(if first { at_once(event) } else { pace.piece(DIALECT.json_event(&event)) });
            }
            pieces.push(at_once(json!({"type": "content_block_stop", "index": index})));
        }
        let mut usage = self.usage.clone();
        if let Some(fields) = usage.as_object_mut() {
            fields.retain(|name, _| name != "cache_creation" && name != "service_tier");
        }
        pieces.push(at_once(json!({"type": "message_delta", "delta": self.ending(), "usage": usage})));
        pieces.push(at_once(json!({"type": "message_stop"})));
        pieces
    }
}

/// Returns a block as it stands before its deltas.
fn opened(block: &Value) -> Value {
    let mut opened = block.clone();
    match block["type"].as_str() {
        Some("text") => opened["text"] = json!(""),
        Some("thinking") => {
            opened["thinking"] = json!("");
            opened["signature"] = json!("");
        }
        Some("tool_use") => opened["input"] = json!({}),
        _ => {}
    }
    opened
}

fn deltas(block: &Value) -> Vec<Value> {
    let tokens = |name: &str, kind: &str| -> Vec<Value> {
        text::tokens(block[name].as_str().unwrap_or_default()).map(|token| json!({"type": kind, name: token})).collect()
    };
    match block["type"].as_str() {
        Some("text") => tokens("text", "text_delta"),
        Some("thinking") => {
            let mut deltas = tokens("thinking", "thinking_delta");
            deltas.push(json!({"type": "signature_delta", "signature": block["signature"]}));
            deltas
        }
        Some("tool_use") => {
            let part = |part: &str| json!({"type": "input_json_delta", "partial_json": part});
            // A call without arguments has no more than the empty fragment that every call begins with.
            let input = block["input"].as_object().filter(|input| !input.is_empty());
            let json = input.map(|_| block["input"].to_string()).unwrap_or_default();
            std::iter::once(part("")).chain(text::tokens(&json).map(part)).collect()
        }
        _ => Vec::new(),
    }
}
