//! Embeddings by `InvokeModel`, in the words of the two vendors that have them: Amazon Titan and Cohere.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::providers::dialect::{EmbeddingsDialect, Nonsense, Target, WireRequest, object};
use crate::providers::embedding::{drop_purpose, input_type, texts, vectors};
use crate::providers::losses::{Losses, refusal};
use crate::providers::usage::RawUsage;
use crate::schema::IntakeError;
use crate::schema::embeddings::{EmbeddingReply, EmbeddingRequest};

/// Asks models whose id names Titan or Cohere.
#[derive(Debug)]
pub(super) struct Invoke;

impl EmbeddingsDialect for Invoke {
    fn encode(&self, request: &EmbeddingRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
        let texts = texts(request)?;
        let mut losses = Losses::new("Bedrock", target);
        let mut body = Map::new();
        let takes_dimensions = if target.model.contains("titan-embed") {
            let [text] = texts.as_slice() else {
                let what = "holds several texts, and this model takes one per request; send one string";
                return Err(refusal("input", what));
            };
            body.insert("inputText".into(), (*text).into());
            drop_purpose(request, &mut losses)?;
            ("dimensions", target.model.contains("v2"))
        } else if target.model.contains("cohere.embed") {
            body.insert("texts".into(), json!(texts));
            body.insert("input_type".into(), input_type(request, &mut losses)?.into());
            body.insert("embedding_types".into(), json!(["float"]));
            ("output_dimension", target.model.contains("v4"))
        } else {
            let what =
                "is none whose embeddings on Bedrock are known; name one of `amazon.titan-embed` or `cohere.embed`";
            return Err(refusal("model", what));
        };
        match (request.dimensions, takes_dimensions) {
            (Some(dimensions), (name, true)) => _ = body.insert(name.into(), dimensions.into()),
            (sent, _) => losses.drop_if(sent.is_some(), "dimensions")?,
        }
        losses.drop_if(request.user.is_some(), "user")?;
        Ok(WireRequest {
            path: super::path(target.model, "invoke"),
            headers: Vec::new(),
            body: Bytes::from(Value::Object(body).to_string()),
            warnings: losses.into_warnings(),
        })
    }

    fn decode(&self, body: &[u8], request: &EmbeddingRequest) -> Result<EmbeddingReply, Nonsense> {
        let reply = object(body)?;
        let one = reply.get("embedding").map(|vector| Value::Array(vec![vector.clone()]));
        let found = one.as_ref().or_else(|| reply.get("embeddings"));
        // Cohere's are a list, or an object of lists by type.
        let found = found.map(|found| found.get("float").unwrap_or(found));
        let vectors = vectors(found, request.inputs.len())?;
        let prompt = reply.get("inputTextTokenCount").and_then(Value::as_i64).map(i128::from);
        let usage = RawUsage { prompt, ..RawUsage::default() }.normalise();
        Ok(EmbeddingReply { model: String::new(), vectors, usage })
    }
}
