//! `POST /v1/embeddings`: strings or token numbers in, unit vectors out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::reply::{Refusal, Reply};
use super::super::{embedding, text};
use super::{Asking, parameters};

const DEFAULT_DIMENSIONS: usize = 256;
const MAX_DIMENSIONS: u64 = 4096;
/// Most inputs of one request, as at OpenAI.
const MAX_INPUTS: usize = 2048;

enum Input<'a> {
    Text(&'a str),
    Tokens(Vec<u64>),
}

pub(super) fn answer(asking: &Asking<'_>, body: &Value) -> Result<Reply, Refusal> {
    let inputs = inputs(body)?;
    let dimensions = parameters::whole(body, "dimensions", 1..=MAX_DIMENSIONS)?.unwrap_or(DEFAULT_DIMENSIONS);
    let base64 = match parameters::text(body, "encoding_format")? {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            let message = format!("`encoding_format` must be `float` or `base64`, not `{other}`");
            return Err(Refusal::invalid("encoding_format", "invalid_value", message));
        }
    };
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let vector = vector(asking.options.seed, input, dimensions);
            let embedding = if base64 { encoded(&vector) } else { json!(vector) };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let tokens: usize = inputs.iter().map(Input::tokens).sum();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    let mut reply = Reply::json(200, &json!({"object": "list", "data": data, "model": asking.model, "usage": usage}));
    reply.wait = asking.pace.first_token;
    Ok(reply)
}

impl Input<'_> {
    fn tokens(&self) -> usize {
        match self {
            Self::Text(text) => text::count(text),
            Self::Tokens(tokens) => tokens.len(),
        }
    }
}

fn vector(seed: u64, input: &Input<'_>, dimensions: usize) -> Vec<f32> {
    match input {
        Input::Text(text) => embedding::of_text(seed, text, dimensions),
        Input::Tokens(tokens) => embedding::of_tokens(seed, tokens, dimensions),
    }
}

/// Returns the vector as base64 of its little-endian 32-bit floats.
fn encoded(vector: &[f32]) -> Value {
    let bytes: Vec<u8> = vector.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    Value::String(STANDARD.encode(bytes))
}

fn inputs(body: &Value) -> Result<Vec<Input<'_>>, Refusal> {
    let wrong = || {
        let message = "`input` must be a string, an array of strings, or arrays of token numbers, none of them empty";
        Refusal::invalid("input", "invalid_type", message)
    };
    let inputs = match parameters::present(body, "input") {
        None => return Err(Refusal::invalid("input", "missing_required_parameter", "`input` is missing")),
        Some(Value::String(text)) => vec![Input::Text(text)],
        Some(Value::Array(list)) if list.first().is_some_and(Value::is_u64) => {
            vec![Input::Tokens(list.iter().map(Value::as_u64).collect::<Option<_>>().ok_or_else(wrong)?)]
        }
        Some(Value::Array(list)) => list.iter().map(one_of_many).collect::<Option<_>>().ok_or_else(wrong)?,
        Some(_) => return Err(wrong()),
    };
    let empty = |input: &Input<'_>| matches!(input, Input::Text("")) || input.tokens() == 0;
    if inputs.is_empty() || inputs.iter().any(empty) {
        return Err(wrong());
    }
    if inputs.len() > MAX_INPUTS {
        let message = format!("`input` takes at most {MAX_INPUTS} texts, not {}", inputs.len());
        return Err(Refusal::invalid("input", "array_above_max_length", message));
    }
    Ok(inputs)
}

fn one_of_many(value: &Value) -> Option<Input<'_>> {
    match value {
        Value::String(text) => Some(Input::Text(text)),
        Value::Array(tokens) => tokens.iter().map(Value::as_u64).collect::<Option<_>>().map(Input::Tokens),
        _ => None,
    }
}
