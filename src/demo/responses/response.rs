//! The response object: its output items, its usage, and what it repeats of the request.

use serde_json::{Value, json};

use super::super::dialect::Arrival;
use super::super::dice::Dice;
use super::super::openai::now;
use super::super::reply::Reply;
use super::super::signature;
use super::super::speech::{self, Answer, End, Question};
use super::request::Request;
use super::{DIALECT, events};

/// Tokens from which on the cache serves, and in steps of how many.
const MIN_CACHED: usize = 1024;
const CACHE_STEP: usize = 128;

/// Makes the answer to a request that was found good, and counts it in the cache.
pub(super) fn answer(request: &Request<'_>, mut arrival: Arrival<'_>) -> Reply {
    let seed = arrival.options.seed;
    let question = Question {
        model: request.model,
        user: &request.items.user_text(),
        brought: request.items.brought(),
        results: request.items.results(),
        user_spoke_last: request.items.user_spoke_last(),
        tools: &request.tools,
        format: request.format,
        stop: &[],
        limit: request.limit,
        thinks: request.thinks,
    };
    let answer = speech::answer(&question, &mut Dice::new(seed, request.items.content().as_bytes()));
    let read = arrival.cache.pass(&format!("responses {}", request.model), &request.parts).read;
    let cached = if read < MIN_CACHED { 0 } else { read / CACHE_STEP * CACHE_STEP };
    let mut ids = arrival.pace.dice.clone();
    let response = Response {
        head: head(request, arrival.body, &format!("resp_{}", ids.letters(32))),
        output: output(request, &answer, seed, &mut ids),
        usage: usage(request.prompt_tokens(), cached, &answer),
        answer,
    };
    if request.streams {
        return DIALECT.stream(events::stream(&response, arrival.pace));
    }
    let mut reply = Reply::json(200, &response.whole());
    reply.wait = arrival.pace.whole(response.answer.tokens());
    reply
}

pub(super) struct Response {
    /// What it repeats of the request, and its id.
    head: Value,
    pub(super) output: Vec<Value>,
    usage: Value,
    pub(super) answer: Answer,
}

impl Response {
    /// Returns the response before anything is said.
    pub(super) fn begun(&self) -> Value {
        self.head.clone()
    }

    /// Returns the status, and the reason why it is not complete.
    pub(super) fn status(&self) -> (&'static str, Option<&'static str>) {
        match self.answer.end {
            End::Length => ("incomplete", Some("max_output_tokens")),
            End::Blocked => ("incomplete", Some("content_filter")),
            End::Done | End::Stop(_) | End::Calls | End::Refused => ("completed", None),
        }
    }

    pub(super) fn whole(&self) -> Value {
        let mut whole = self.head.clone();
        let (status, reason) = self.status();
        whole["status"] = json!(status);
        whole["incomplete_details"] = json!(reason.map(|reason| json!({"reason": reason})));
        whole["output"] = json!(self.output);
        whole["usage"] = self.usage.clone();
        if status == "completed" {
            whole["completed_at"] = json!(now());
        }
        whole
    }
}

fn head(request: &Request<'_>, body: &Value, id: &str) -> Value {
    let or = |name: &str, default: Value| body.get(name).filter(|value| !value.is_null()).cloned().unwrap_or(default);
    json!({
        "id": id,
        "object": "response",
        "created_at": now(),
        "status": "in_progress",
        "background": false,
        "error": null,
        "incomplete_details": null,
        "instructions": or("instructions", Value::Null),
        "max_output_tokens": or("max_output_tokens", Value::Null),
        "model": request.model,
        "output": [],
        "parallel_tool_calls": or("parallel_tool_calls", json!(true)),
        "previous_response_id": null,
        "reasoning": or("reasoning", json!({"effort": null, "summary": null})),
        "service_tier": "default",
        "store": or("store", json!(true)),
        "temperature": or("temperature", json!(1.0)),
        "text": or("text", json!({"format": {"type": "text"}})),
        "tool_choice": or("tool_choice", json!("auto")),
        "tools": or("tools", json!([])),
        "top_p": or("top_p", json!(1.0)),
        "truncation": or("truncation", json!("disabled")),
        "usage": null,
        "metadata": or("metadata", json!({})),
    })
}

/// Returns the usage: `input_tokens` has the cached ones in it, `output_tokens` those of the reasoning.
fn usage(prompt: usize, cached: usize, answer: &Answer) -> Value {
    json!({
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": answer.tokens(),
        "output_tokens_details": {"reasoning_tokens": answer.thought_tokens()},
        "total_tokens": prompt + answer.tokens(),
    })
}

fn output(request: &Request<'_>, answer: &Answer, seed: u64, ids: &mut Dice) -> Vec<Value> {
    let mut output = Vec::new();
    let Answer { thoughts, text, calls, end, .. } = answer;
    if !thoughts.is_empty() {
        let summary = if request.summarises { json!([{"type": "summary_text", "text": thoughts}]) } else { json!([]) };
        output.push(json!({
            "id": format!("rs_{}", ids.letters(32)),
            "type": "reasoning",
            "summary": summary,
            "encrypted_content": signature::seal(seed, thoughts),
        }));
    }
    let status = if *end == End::Length { "incomplete" } else { "completed" };
    let content = match end {
        End::Refused => Some(json!({"type": "refusal", "refusal": text})),
        _ if text.is_empty() => None,
        _ => Some(json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})),
    };
    output.extend(content.map(|content| {
        let id = format!("msg_{}", ids.letters(32));
        json!({"id": id, "type": "message", "status": status, "content": [content], "role": "assistant"})
    }));
    for call in calls {
        let call_id = format!("call_{}", call.id);
        let (name, arguments) = (&call.name, &call.arguments);
        output.push(match call.custom {
            true => json!({"id": format!("ctc_{}", ids.letters(32)), "type": "custom_tool_call", "status": "completed",
                "call_id": call_id, "name": name, "input": arguments}),
            false => json!({"id": format!("fc_{}", ids.letters(32)), "type": "function_call", "status": "completed",
                "arguments": arguments, "call_id": call_id, "name": name}),
        });
    }
    output
}
