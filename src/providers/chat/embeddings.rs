//! Embeddings as OpenAI's clients ask for them, and as upstreams of the dialect are asked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Compatible;
use super::fields::{Fields, Path};
use crate::providers::dialect::{EmbeddingsDialect, Nonsense, Target, WireRequest, object};
use crate::providers::losses::Losses;
use crate::providers::openai::chunk_facts;
use crate::schema::IntakeError;
use crate::schema::embeddings::{EmbeddingInput, EmbeddingReply, EmbeddingRequest};

/// Reads a client's request for embeddings.
pub fn read_embeddings(body: &[u8]) -> Result<EmbeddingRequest, IntakeError> {
    let path = Path::ROOT;
    let value = serde_json::from_slice(body)
        .map_err(|error| path.refuse("invalid_json", &format!("is not valid JSON: {error}")))?;
    let mut fields = Fields::of(value, &path)?;
    let input = path.field("input");
    let inputs = match fields.take("input").ok_or_else(|| input.missing())? {
        Value::String(text) => vec![EmbeddingInput::Text(text)],
        Value::Array(list) if list.is_empty() => {
            return Err(input.refuse("empty_array", "is empty; give at least one text"));
        }
        Value::Array(list) if list.iter().all(Value::is_u64) => vec![tokens(list, &input)?],
        Value::Array(list) => {
            let one = |(index, value): (usize, Value)| match value {
                Value::String(text) => Ok(EmbeddingInput::Text(text)),
                Value::Array(list) => tokens(list, &input.index(index)),
                _ => Err(input.index(index).wrong("a string or an array of tokens")),
            };
            list.into_iter().enumerate().map(one).collect::<Result<_, _>>()?
        }
        _ => return Err(input.wrong("a string, or an array of strings or of tokens")),
    };
    let base64 = match fields.text("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(path.field("encoding_format").refuse("invalid_value", "must be float or base64")),
    };
    Ok(EmbeddingRequest {
        model: fields.text("model")?,
        inputs,
        dimensions: fields.count("dimensions")?,
        base64,
        user: fields.text("user")?,
        ..EmbeddingRequest::default()
    })
}

fn tokens(list: Vec<Value>, path: &Path<'_>) -> Result<EmbeddingInput, IntakeError> {
    let tokens: Option<Vec<u64>> = list.iter().map(Value::as_u64).collect();
    tokens.map(EmbeddingInput::Tokens).ok_or_else(|| path.wrong("a string or an array of tokens"))
}

/// Writes the reply to a client's request: numbers, or base64 of little-endian f32 where it wants that.
pub fn write_embeddings(reply: &EmbeddingReply, request: &EmbeddingRequest) -> Bytes {
    let entry = |(index, vector): (usize, &Vec<f32>)| {
        let bytes = || vector.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
        let embedding =
            if request.base64 { Written::Base64(STANDARD.encode(bytes())) } else { Written::Numbers(vector.clone()) };
        Entry { object: "embedding", index, embedding }
    };
    let usage = reply.usage.unwrap_or_default();
    let written = List {
        object: "list",
        data: reply.vectors.iter().enumerate().map(entry).collect(),
        model: if reply.model.is_empty() { request.model.as_deref().unwrap_or_default() } else { &reply.model },
        usage: Figures { prompt_tokens: usage.prompt, total_tokens: usage.total },
    };
    serde_json::to_vec(&written).expect("texts and numbers always serialise").into()
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Entry>,
    model: &'a str,
    usage: Figures,
}

#[derive(Serialize)]
struct Entry {
    object: &'static str,
    index: usize,
    embedding: Written,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Written {
    Numbers(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Figures {
    prompt_tokens: u64,
    total_tokens: u64,
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(default)]
    model: Option<String>,
    #[serde(borrow)]
    data: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(default)]
    index: Option<usize>,
    #[serde(borrow)]
    embedding: &'a RawValue,
}

impl EmbeddingsDialect for Compatible {
    fn encode(&self, request: &EmbeddingRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
        let row = self.row;
        let mut losses = Losses::new(row.name, target);
        for (sent, param) in [(&request.task, "taskType"), (&request.title, "title")] {
            losses.drop_if(sent.is_some(), param)?;
        }
        let mut inputs = Vec::with_capacity(request.inputs.len());
        for input in &request.inputs {
            inputs.push(match input {
                EmbeddingInput::Text(text) => Value::from(text.as_str()),
                EmbeddingInput::Tokens(tokens) if row.openai_models => Value::from(tokens.clone()),
                EmbeddingInput::Tokens(_) => {
                    return Err(losses.impossible("input", "its tokens are others; send text"));
                }
            });
        }
        let mut body = Map::new();
        body.insert("model".into(), target.model.into());
        body.insert("input".into(), inputs.into());
        if row.openai_models {
            body.insert("encoding_format".into(), "float".into());
        }
        if let Some(dimensions) = request.dimensions {
            body.insert(if row.knows.is_some() { "output_dimension" } else { "dimensions" }.into(), dimensions.into());
        }
        if let Some(user) = &request.user {
            if row.knows.is_some() || row.drops.contains(&"user") {
                losses.drop("user")?;
            } else {
                body.insert("user".into(), user.as_str().into());
            }
        }
        let body = Bytes::from(Value::Object(body).to_string());
        Ok(WireRequest { path: "/embeddings".into(), headers: Vec::new(), body, warnings: losses.into_warnings() })
    }

    fn decode(&self, body: &[u8], request: &EmbeddingRequest) -> Result<EmbeddingReply, Nonsense> {
        let mut reply: Reply<'_> = serde_json::from_slice(body).map_err(|_| match object(body) {
            Ok(_) => Nonsense::of("it has no embeddings"),
            Err(nonsense) => nonsense,
        })?;
        if reply.data.len() != request.inputs.len() {
            let (sent, came) = (request.inputs.len(), reply.data.len());
            return Err(Nonsense::of(format!("it has {came} embeddings for {sent} inputs")));
        }
        if reply.data.iter().all(|item| item.index.is_some()) {
            reply.data.sort_by_key(|item| item.index);
        }
        let vectors = reply.data.iter().map(|item| vector(item.embedding.get())).collect::<Result<_, _>>()?;
        let usage = chunk_facts(body).ok().and_then(|facts| facts.usage);
        Ok(EmbeddingReply { model: reply.model.unwrap_or_default(), vectors, usage })
    }
}

/// Reads a vector: numbers, or base64 of little-endian f32.
fn vector(raw: &str) -> Result<Vec<f32>, Nonsense> {
    if raw.starts_with('[') {
        return serde_json::from_str(raw).map_err(|_| Nonsense::of("an embedding has something else than numbers"));
    }
    let bytes = serde_json::from_str::<String>(raw).ok().and_then(|text| STANDARD.decode(text).ok());
    let bytes = bytes.filter(|bytes| bytes.len() % 4 == 0);
    let bytes = bytes.ok_or_else(|| Nonsense::of("an embedding is neither numbers nor base64"))?;
    let numbers = bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    Ok(numbers.collect())
}
