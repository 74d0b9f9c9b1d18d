//! Cohere's v2 embeddings.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::providers::dialect::{EmbeddingsDialect, Nonsense, Target, WireRequest, object};
use crate::providers::embedding::{input_type, texts, vectors};
use crate::providers::losses::Losses;
use crate::providers::usage::RawUsage;
use crate::schema::IntakeError;
use crate::schema::embeddings::{EmbeddingReply, EmbeddingRequest};

/// Asks `/v2/embed`.
#[derive(Debug)]
pub(super) struct Embed;

impl EmbeddingsDialect for Embed {
    fn encode(&self, request: &EmbeddingRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
        let mut losses = Losses::new("Cohere", target);
        losses.drop_if(request.user.is_some(), "user")?;
        let mut body = Map::new();
        body.insert("model".into(), target.model.into());
        body.insert("texts".into(), json!(texts(request)?));
        body.insert("input_type".into(), input_type(request, &mut losses)?.into());
        body.insert("embedding_types".into(), json!(["float"]));
        body.extend(request.dimensions.map(|dimensions| ("output_dimension".to_owned(), dimensions.into())));
        Ok(WireRequest {
            path: "/v2/embed".into(),
            headers: Vec::new(),
            body: Bytes::from(Value::Object(body).to_string()),
            warnings: losses.into_warnings(),
        })
    }

    fn decode(&self, body: &[u8], request: &EmbeddingRequest) -> Result<EmbeddingReply, Nonsense> {
        let reply = object(body)?;
        let found = reply.get("embeddings").map(|found| found.get("float").unwrap_or(found));
        let vectors = vectors(found, request.inputs.len())?;
        let billed = reply.get("meta").and_then(|meta| meta.pointer("/billed_units/input_tokens"));
        let prompt = billed.and_then(Value::as_f64).map(|tokens| tokens as i128);
        let usage = RawUsage { prompt, ..RawUsage::default() }.normalise();
        Ok(EmbeddingReply { model: String::new(), vectors, usage })
    }
}
