//! `:embedContent` and `:batchEmbedContents`: texts in, unit vectors out.

use serde_json::{Value, json};

use super::super::dialect::Arrival;
use super::super::embedding;
use super::super::models::EMBED;
use super::super::reply::{Refusal, Reply};
use super::request::shaped;
use super::{shapes, wrong};

const DEFAULT_DIMENSIONS: u64 = 256;
const MAX_DIMENSIONS: u64 = 4096;
/// Most requests of one batch.
const MAX_BATCH: usize = 100;

/// Answers `:embedContent`.
pub(super) fn one(arrival: &Arrival<'_>, model: &str, body: &Value) -> Result<Reply, Refusal> {
    let body = shaped(body, &shapes::EMBED)?;
    let embedding = embed(arrival, model, &body, "")?;
    Ok(sent(arrival, &json!({"embedding": embedding})))
}

/// Answers `:batchEmbedContents`.
pub(super) fn batch(arrival: &Arrival<'_>, model: &str, body: &Value) -> Result<Reply, Refusal> {
    let body = shaped(body, &shapes::EMBED_BATCH)?;
    let requests = body["requests"].as_array().map_or(&[][..], Vec::as_slice);
    if requests.is_empty() || requests.len() > MAX_BATCH {
        return Err(wrong(format!("* BatchEmbedContentsRequest.requests: 1 to {MAX_BATCH} are allowed in one batch")));
    }
    let mut embeddings = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        let at = format!("requests[{index}].");
        // Alone, a request may leave the model to the path; in a batch it may not.
        if request["model"] != format!("models/{model}") {
            return Err(wrong(format!(
                "* BatchEmbedContentsRequest.{at}model: it must be models/{model}, as in the path"
            )));
        }
        embeddings.push(embed(arrival, model, request, &at)?);
    }
    Ok(sent(arrival, &json!({"embeddings": embeddings})))
}

fn sent(arrival: &Arrival<'_>, body: &Value) -> Reply {
    let mut reply = Reply::json(200, body);
    reply.wait = arrival.pace.first_token;
    reply
}

fn embed(arrival: &Arrival<'_>, model: &str, request: &Value, at: &str) -> Result<Value, Refusal> {
    if model != EMBED && !arrival.options.any_model {
        return Err(Refusal::plain(404, format!("models/{model} is not supported for embedContent")));
    }
    let texts: Vec<&str> =
        request["content"]["parts"].as_array().into_iter().flatten().filter_map(|part| part["text"].as_str()).collect();
    let text = texts.join("\n");
    if text.is_empty() {
        return Err(wrong(format!("* EmbedContentRequest.{at}content: it has no text")));
    }
    let dimensions = request["outputDimensionality"].as_i64().unwrap_or(DEFAULT_DIMENSIONS as i64);
    let dimensions = u64::try_from(dimensions).ok().filter(|wanted| (1..=MAX_DIMENSIONS).contains(wanted));
    let dimensions = dimensions.ok_or_else(|| wrong(format!("outputDimensionality must be 1 to {MAX_DIMENSIONS}")))?;
    Ok(json!({"values": embedding::of_text(arrival.options.seed, &text, dimensions as usize)}))
}
