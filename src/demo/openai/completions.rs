//! `POST /v1/completions`, the legacy endpoint, whole and streamed.

use serde_json::{Value, json};

use super::super::dice::Dice;
use super::super::reply::{Piece, Refusal, Reply, json_event};
use super::super::speech::{End, limited};
use super::super::{answer, text};
use super::{Asking, check_context, now, parameters, usage};

/// Most answers of one request, all prompts together.
const MAX_CHOICES: usize = 128;

struct Choice {
    text: String,
    finish_reason: &'static str,
}

pub(super) fn answer(mut asking: Asking<'_>, body: &Value) -> Result<Reply, Refusal> {
    parameters::check_sampling(body)?;
    let prompts = prompts(body)?;
    let limit = parameters::whole(body, "max_tokens", 1..=u64::MAX)?.unwrap_or(usize::MAX);
    let stop = parameters::stop(body)?;
    let each = parameters::whole(body, "n", 1..=MAX_CHOICES as u64)?.unwrap_or(1);
    let streaming = parameters::streaming(body)?;
    let echo = parameters::flag(body, "echo")?.unwrap_or(false);
    if prompts.len() * each > MAX_CHOICES {
        let message = format!("prompts times `n` must be at most {MAX_CHOICES}");
        return Err(Refusal::invalid("n", "integer_above_max_value", message));
    }
    let prompt_tokens: usize = prompts.iter().map(Prompt::tokens).sum();
    check_context(asking.model, prompt_tokens)?;

    let mut completion_tokens = 0;
    let mut longest = 0;
    let mut choices = Vec::new();
    for (prompt, nth) in prompts.iter().flat_map(|prompt| (0..each).map(move |nth| (prompt, nth))) {
        let shown = prompt.text();
        let mut dice = Dice::new(asking.options.seed, format!("{nth} {shown}").as_bytes());
        let (text, end) = limited(&answer::to_prompt(shown, &mut dice), &stop, limit);
        let finish_reason = if end == End::Length { "length" } else { "stop" };
        let tokens = text::count(&text);
        completion_tokens += tokens;
        longest = longest.max(tokens);
        let text = if echo { format!("{shown}{text}") } else { text };
        choices.push(Choice { text, finish_reason });
    }
    let usage = usage(prompt_tokens, completion_tokens, 0);
    let id = format!("cmpl-{}", asking.pace.dice.clone().letters(24));
    let head = json!({"id": id, "object": "text_completion", "created": now(), "model": asking.model});
    if streaming.on {
        return Ok(Reply::events(stream(&head, &choices, streaming.include_usage.then_some(usage), asking)));
    }
    let mut whole = head;
    whole["choices"] = choices
        .iter()
        .enumerate()
        .map(|(index, choice)| shape(index, &choice.text, Some(choice.finish_reason)))
        .collect();
    whole["usage"] = usage;
    let mut reply = Reply::json(200, &whole);
    reply.wait = asking.pace.whole(longest);
    Ok(reply)
}

fn shape(index: usize, text: &str, finish_reason: Option<&str>) -> Value {
    json!({"text": text, "index": index, "logprobs": null, "finish_reason": finish_reason})
}

fn stream(head: &Value, choices: &[Choice], usage: Option<Value>, mut asking: Asking<'_>) -> Vec<Piece> {
    let chunk = |choices: Value, usage: Option<&Value>| {
        let mut chunk = head.clone();
        chunk["choices"] = choices;
        if let Some(usage) = usage {
            chunk["usage"] = usage.clone();
        }
        json_event(&chunk)
    };
    let unknown_yet = usage.as_ref().map(|_| &Value::Null);
    let mut pieces = Vec::new();
    for (index, choice) in choices.iter().enumerate() {
        for token in text::tokens(&choice.text) {
            pieces.push(asking.pace.piece(chunk(json!([shape(index, token, None)]), unknown_yet)));
        }
        let last = chunk(json!([shape(index, "", Some(choice.finish_reason))]), unknown_yet);
        pieces.push(Piece { wait: std::time::Duration::ZERO, bytes: last });
    }
    if let Some(usage) = &usage {
        pieces.push(Piece { wait: std::time::Duration::ZERO, bytes: chunk(json!([]), Some(usage)) });
    }
    pieces
}

enum Prompt<'a> {
    Text(&'a str),
    /// Token numbers, which mean nothing here; only their count does.
    Tokens(usize),
}

impl Prompt<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Tokens(_) => "",
        }
    }

    fn tokens(&self) -> usize {
        match self {
            Self::Text(text) => text::count(text),
            Self::Tokens(count) => *count,
        }
    }
}

fn prompts(body: &Value) -> Result<Vec<Prompt<'_>>, Refusal> {
    let wrong = || {
        let message = "`prompt` must be a string, an array of strings, or arrays of token numbers";
        Refusal::invalid("prompt", "invalid_type", message)
    };
    match parameters::present(body, "prompt") {
        None => Err(Refusal::invalid("prompt", "missing_required_parameter", "`prompt` is missing")),
        Some(Value::String(text)) => Ok(vec![Prompt::Text(text)]),
        Some(Value::Array(list)) if list.is_empty() => Err(wrong()),
        Some(Value::Array(list)) if list.iter().all(Value::is_u64) => Ok(vec![Prompt::Tokens(list.len())]),
        Some(Value::Array(list)) => list
            .iter()
            .map(|prompt| match prompt {
                Value::String(text) => Some(Prompt::Text(text)),
                Value::Array(tokens) if tokens.iter().all(Value::is_u64) => Some(Prompt::Tokens(tokens.len())),
                _ => None,
            })
            .collect::<Option<_>>()
            .ok_or_else(wrong),
        Some(_) => Err(wrong()),
    }
}
