//! Ollama's embeddings.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::providers::dialect::{EmbeddingsDialect, Nonsense, Target, WireRequest, object};
use crate::providers::embedding::{drop_purpose, texts, vectors};
use crate::providers::losses::Losses;
use crate::providers::usage::RawUsage;
use crate::schema::IntakeError;
use crate::schema::embeddings::{EmbeddingReply, EmbeddingRequest};

/// Asks `/api/embed`.
#[derive(Debug)]
pub(super) struct Embed;

impl EmbeddingsDialect for Embed {
    fn encode(&self, request: &EmbeddingRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
        let mut losses = Losses::new("Ollama", target);
        losses.drop_if(request.user.is_some(), "user")?;
        drop_purpose(request, &mut losses)?;
        let mut body = Map::new();
        body.insert("model".into(), target.model.into());
        body.insert("input".into(), json!(texts(request)?));
        // It would shorten a text without a word.
        body.insert("truncate".into(), false.into());
        body.extend(request.dimensions.map(|dimensions| ("dimensions".to_owned(), dimensions.into())));
        Ok(WireRequest {
            path: "/api/embed".into(),
            headers: Vec::new(),
            body: Bytes::from(Value::Object(body).to_string()),
            warnings: losses.into_warnings(),
        })
    }

    fn decode(&self, body: &[u8], request: &EmbeddingRequest) -> Result<EmbeddingReply, Nonsense> {
        let reply = object(body)?;
        let vectors = vectors(reply.get("embeddings"), request.inputs.len())?;
        let prompt = reply.get("prompt_eval_count").and_then(Value::as_i64).map(i128::from);
        let usage = RawUsage { prompt, ..RawUsage::default() }.normalise();
        let model = reply.get("model").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(EmbeddingReply { model, vectors, usage })
    }
}
