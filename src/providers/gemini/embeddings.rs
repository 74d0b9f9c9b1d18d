//! Embeddings at Google: `:batchEmbedContents` of the Developer API, `:predict` of Vertex AI.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::encode::model_path;
use super::wire::UsageMetadata;
use crate::providers::dialect::{EmbeddingsDialect, Nonsense, Target, WireRequest, object};
use crate::providers::losses::{Losses, refusal};
use crate::providers::usage::RawUsage;
use crate::schema::chat::Dialect;
use crate::schema::embeddings::{EmbeddingInput, EmbeddingReply, EmbeddingRequest};
use crate::schema::{IntakeError, Operation};

/// The Developer API.
pub(super) struct Developer;

/// Vertex AI.
pub(super) struct Vertex;

impl EmbeddingsDialect for Developer {
    fn passes(&self, operation: Operation) -> bool {
        operation.dialect() == Dialect::Gemini
    }

    fn encode(&self, request: &EmbeddingRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
        let path = model_path(target.model);
        let model = path.trim_start_matches('/');
        let one = |text: &str| {
            let mut one = json!({ "model": model, "content": { "parts": [{ "text": text }] } });
            let task = request.task.as_deref().map(Value::from);
            let title = request.title.as_deref().map(Value::from);
            let dimensions = request.dimensions.map(Value::from);
            for (name, value) in [("taskType", task), ("title", title), ("outputDimensionality", dimensions)] {
                if let Some(value) = value {
                    one[name] = value;
                }
            }
            one
        };
        let requests: Vec<Value> = texts(request)?.into_iter().map(one).collect();
        wire(format!("{path}:batchEmbedContents"), &json!({ "requests": requests }), request, target)
    }

    fn decode(&self, body: &[u8], request: &EmbeddingRequest) -> Result<EmbeddingReply, Nonsense> {
        let reply = object(body)?;
        let listed = reply.get("embeddings").and_then(Value::as_array).map(Vec::as_slice);
        let one = reply.get("embedding").map(std::slice::from_ref);
        let vectors = listed.or(one).unwrap_or_default().iter().map(|item| numbers(item.get("values")));
        let vectors = counted(vectors.collect::<Result<_, _>>()?, request)?;
        let usage = reply.get("usageMetadata").and_then(|usage| UsageMetadata::deserialize(usage).ok());
        let usage = usage.and_then(|usage| usage.usage(0));
        Ok(EmbeddingReply { model: String::new(), vectors, usage })
    }
}

impl EmbeddingsDialect for Vertex {
    fn encode(&self, request: &EmbeddingRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
        let one = |text: &str| {
            let mut one = json!({ "content": text });
            for (name, value) in [("task_type", &request.task), ("title", &request.title)] {
                if let Some(value) = value {
                    one[name] = value.as_str().into();
                }
            }
            one
        };
        let instances: Vec<Value> = texts(request)?.into_iter().map(one).collect();
        let mut body = json!({ "instances": instances });
        if let Some(dimensions) = request.dimensions {
            body["parameters"] = json!({ "outputDimensionality": dimensions });
        }
        wire(format!("{}:predict", model_path(target.model)), &body, request, target)
    }

    fn decode(&self, body: &[u8], request: &EmbeddingRequest) -> Result<EmbeddingReply, Nonsense> {
        let reply: Map<String, Value> = object(body)?;
        let predictions = reply.get("predictions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let (mut vectors, mut tokens) = (Vec::with_capacity(predictions.len()), None);
        for prediction in predictions {
            let embedding = prediction.get("embeddings").unwrap_or(&Value::Null);
            vectors.push(numbers(embedding.get("values"))?);
            if let Some(count) = embedding.pointer("/statistics/token_count").and_then(Value::as_f64) {
                tokens = Some(tokens.unwrap_or(0) + count as i128);
            }
        }
        let usage = RawUsage { prompt: tokens, ..RawUsage::default() }.normalise();
        Ok(EmbeddingReply { model: String::new(), vectors: counted(vectors, request)?, usage })
    }
}

fn texts(request: &EmbeddingRequest) -> Result<Vec<&str>, IntakeError> {
    fn text(input: &EmbeddingInput) -> Result<&str, IntakeError> {
        match input {
            EmbeddingInput::Text(text) => Ok(text),
            EmbeddingInput::Tokens(_) => {
                Err(refusal("input", "must be text for Gemini, which cannot read tokens of other vendors"))
            }
        }
    }
    request.inputs.iter().map(text).collect()
}

fn wire(
    path: String,
    body: &Value,
    request: &EmbeddingRequest,
    target: &Target<'_>,
) -> Result<WireRequest, IntakeError> {
    let mut losses = Losses::new("Gemini", target);
    if request.user.is_some() {
        losses.leave_out("user", "Gemini has no counterpart")?;
    }
    Ok(WireRequest { path, headers: Vec::new(), body: body.to_string().into(), warnings: losses.into_warnings() })
}

fn numbers(values: Option<&Value>) -> Result<Vec<f32>, Nonsense> {
    let values = values.and_then(Value::as_array).ok_or_else(|| Nonsense::of("a vector is missing"))?;
    let number = |value: &Value| value.as_f64().map(|number| number as f32);
    values.iter().map(number).collect::<Option<_>>().ok_or_else(|| Nonsense::of("a vector holds something but numbers"))
}

fn counted(vectors: Vec<Vec<f32>>, request: &EmbeddingRequest) -> Result<Vec<Vec<f32>>, Nonsense> {
    if vectors.len() == request.inputs.len() {
        return Ok(vectors);
    }
    Err(Nonsense::of(format!("it has {} vectors for {} inputs", vectors.len(), request.inputs.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::dialect::ModelFacts;

    fn request() -> EmbeddingRequest {
        let inputs = vec![EmbeddingInput::Text("a".into()), EmbeddingInput::Text("b".into())];
        let (task, title) = (Some("CLUSTERING".into()), Some("T".into()));
        EmbeddingRequest { inputs, dimensions: Some(2), task, title, ..EmbeddingRequest::default() }
    }

    fn encoded(dialect: &dyn EmbeddingsDialect) -> (String, Value) {
        let target = Target { model: "m", model_facts: &ModelFacts::default(), strict: true };
        let wire = dialect.encode(&request(), &target).unwrap();
        (wire.path, serde_json::from_slice(&wire.body).unwrap())
    }

    #[test]
    fn the_developer_api_is_asked_in_a_batch() {
        let (path, body) = encoded(&Developer);

        assert_eq!(path, "/models/m:batchEmbedContents");
        let first = json!({"model": "models/m", "content": {"parts": [{"text": "a"}]}, "outputDimensionality": 2,
            "taskType": "CLUSTERING", "title": "T"});
        assert_eq!(body["requests"][0], first);
        let reply = Developer.decode(br#"{"embeddings":[{"values":[1,2]},{"values":[0.5,3]}]}"#, &request()).unwrap();
        assert_eq!(reply.vectors, [[1.0, 2.0], [0.5, 3.0]]);
    }

    #[test]
    fn vertex_counts_its_tokens_per_text() {
        let (path, body) = encoded(&Vertex);

        assert_eq!(path, "/models/m:predict");
        let one = |text| json!({"content": text, "task_type": "CLUSTERING", "title": "T"});
        let expected = json!({"instances": [one("a"), one("b")], "parameters": {"outputDimensionality": 2}});
        assert_eq!(body, expected);
        let one = r#"{"embeddings":{"values":[1.0],"statistics":{"token_count":3.0,"truncated":false}}}"#;
        let reply = Vertex.decode(format!(r#"{{"predictions":[{one},{one}]}}"#).as_bytes(), &request()).unwrap();
        assert_eq!((reply.vectors.len(), reply.usage.unwrap().prompt), (2, 6));
    }

    #[test]
    fn a_vector_too_few_is_nonsense() {
        assert!(Developer.decode(br#"{"embeddings":[{"values":[1]}]}"#, &request()).is_err());
        assert!(Vertex.decode(b"{}", &request()).is_err());
    }
}
