//! `:embedContent` and `:batchEmbedContents` as Gemini's clients ask them: read, answered, and passed to Google itself.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::encode::model_path;
use super::fields::{Fields, as_object, count, join, list, object, take, text};
use super::wire::{UsageMetadata, is_error};
use crate::providers::dialect::{Nonsense, Whole, object as reply_object};
use crate::schema::IntakeError;
use crate::schema::embeddings::{EmbeddingInput, EmbeddingReply, EmbeddingRequest};

/// Reads the body of `:embedContent`.
pub fn read_embedding(body: &[u8]) -> Result<EmbeddingRequest, IntakeError> {
    read_one(super::read::parse(body)?, "")
}

/// Reads the body of `:batchEmbedContents`. What its requests say of their vectors must be the same in all of them, because
/// elsewhere it is said once.
pub fn read_embeddings(body: &[u8]) -> Result<EmbeddingRequest, IntakeError> {
    let mut fields = super::read::parse(body)?;
    let mut all: Option<EmbeddingRequest> = None;
    for (index, one) in list(&mut fields, "", "requests")?.into_iter().enumerate() {
        let path = format!("requests[{index}]");
        let mut one = read_one(as_object(one, &path)?, &path)?;
        let Some(all) = &mut all else {
            all = Some(one);
            continue;
        };
        let differing = [
            ("taskType", one.task == all.task),
            ("title", one.title == all.title),
            ("outputDimensionality", one.dimensions == all.dimensions),
        ];
        if let Some((name, _)) = differing.into_iter().find(|(_, same)| !same) {
            let path = join(&path, name);
            let message = format!("`{path}` differs from that of `requests[0]`, which only Google's own models can do");
            return Err(refused(&path, format!("{message}; send the texts in requests of their own")));
        }
        all.inputs.append(&mut one.inputs);
    }
    all.ok_or_else(|| refused("requests", "`requests` is empty; give at least one"))
}

fn read_one(mut fields: Fields, path: &str) -> Result<EmbeddingRequest, IntakeError> {
    // Where newer clients say what older ones say beside the content.
    if let Some(config) = object(&mut fields, path, "embedContentConfig")? {
        fields.extend(config);
    }
    let at = join(path, "content");
    let content =
        take(&mut fields, "content").ok_or_else(|| refused(&at, format!("`{at}` is missing; give a text")))?;
    let mut content = as_object(content, &at)?;
    let mut texts = Vec::new();
    for (index, part) in list(&mut content, &at, "parts")?.into_iter().enumerate() {
        let path = format!("{at}.parts[{index}]");
        let said = text(&mut as_object(part, &path)?, &path, "text")?;
        let message = || format!("`{path}` is no text, and only Google's own models embed anything else; send text");
        texts.push(said.ok_or_else(|| refused(&path, message()))?);
    }
    if texts.iter().all(String::is_empty) {
        return Err(refused(&at, format!("`{at}` has no text; give at least one part with `text`")));
    }
    Ok(EmbeddingRequest {
        inputs: vec![EmbeddingInput::Text(texts.join("\n"))],
        dimensions: count(&mut fields, path, "outputDimensionality")?,
        task: text(&mut fields, path, "taskType")?,
        title: text(&mut fields, path, "title")?,
        ..EmbeddingRequest::default()
    })
}

/// Returns the client's own body for a model of Google's: each request in it names the model once more.
pub fn own_embeddings(body: &Bytes, model: &str) -> Bytes {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(body) else { return body.clone() };
    let path = model_path(model);
    let model = Value::from(path.trim_start_matches('/'));
    fields.remove("bursar");
    match fields.get_mut("requests").and_then(Value::as_array_mut) {
        Some(requests) => {
            for request in requests.iter_mut().filter_map(Value::as_object_mut) {
                request.insert("model".into(), model.clone());
            }
        }
        None => _ = fields.insert("model".into(), model),
    }
    Value::Object(fields).to_string().into()
}

/// Reads a reply that passes as it came; it may be an error, whatever its status said.
pub fn whole_embeddings(body: &[u8]) -> Result<Whole, Nonsense> {
    if is_error(body) {
        return Ok(Whole::error());
    }
    let reply = reply_object(body)?;
    if !reply.contains_key("embedding") && !reply.contains_key("embeddings") {
        return Err(Nonsense::of("it has no embeddings"));
    }
    let usage = reply.get("usageMetadata").and_then(|usage| UsageMetadata::deserialize(usage).ok());
    Ok(Whole { usage: usage.and_then(|usage| usage.usage(0)), ..Whole::default() })
}

/// Writes the reply to `:embedContent`.
pub fn write_embedding(reply: &EmbeddingReply) -> Bytes {
    let vector = reply.vectors.first().map_or(&[][..], Vec::as_slice);
    written(&One { embedding: Values { values: vector }, usage_metadata: figures(reply) })
}

/// Writes the reply to `:batchEmbedContents`.
pub fn write_embeddings(reply: &EmbeddingReply) -> Bytes {
    let embeddings = reply.vectors.iter().map(|values| Values { values }).collect();
    written(&Several { embeddings, usage_metadata: figures(reply) })
}

fn written(reply: &impl Serialize) -> Bytes {
    serde_json::to_vec(reply).expect("numbers always serialise").into()
}

fn figures(reply: &EmbeddingReply) -> Option<Figures> {
    reply.usage.map(|usage| Figures { prompt_token_count: usage.prompt, total_token_count: usage.total })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One<'a> {
    embedding: Values<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_metadata: Option<Figures>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Several<'a> {
    embeddings: Vec<Values<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_metadata: Option<Figures>,
}

#[derive(Serialize)]
struct Values<'a> {
    values: &'a [f32],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    prompt_token_count: u64,
    total_token_count: u64,
}

/// Returns the refusal of `param`, in a sentence of its own.
fn refused(param: &str, message: impl Into<String>) -> IntakeError {
    IntakeError { message: message.into(), param: Some(param.to_owned()), code: Some("unsupported_value") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(text: &str) -> Value {
        json!({ "model": "models/m", "content": { "parts": [{ "text": text }] }, "output_dimensionality": 2,
            "taskType": "RETRIEVAL_QUERY", "title": "T" })
    }

    fn refusal(body: &Value) -> Option<String> {
        read_embeddings(body.to_string().as_bytes()).unwrap_err().param
    }

    #[test]
    fn one_text_and_several_are_read_in_either_spelling() {
        let one = read_embedding(asked("a").to_string().as_bytes()).unwrap();
        let several = json!({ "requests": [asked("a"), asked("b")] }).to_string();
        let several = read_embeddings(several.as_bytes()).unwrap();

        assert_eq!((one.dimensions, one.task.as_deref()), (Some(2), Some("RETRIEVAL_QUERY")));
        assert_eq!(one.title.as_deref(), Some("T"));
        assert_eq!(several.inputs, ["a", "b"].map(|text| EmbeddingInput::Text(text.into())));
    }

    #[test]
    fn what_only_google_can_embed_is_refused_by_its_place() {
        let mut other = asked("b");
        other["taskType"] = "CLUSTERING".into();
        let image = json!({ "content": { "parts": [{ "inlineData": { "mimeType": "image/png", "data": "" } }] } });

        assert_eq!(refusal(&json!({ "requests": [asked("a"), other] })).as_deref(), Some("requests[1].taskType"));
        assert_eq!(refusal(&json!({ "requests": [image] })).as_deref(), Some("requests[0].content.parts[0]"));
        assert_eq!(
            refusal(&json!({ "requests": [{ "content": { "parts": [] } }] })).as_deref(),
            Some("requests[0].content")
        );
        assert_eq!(refusal(&json!({ "requests": [{}] })).as_deref(), Some("requests[0].content"));
    }

    #[test]
    fn google_itself_gets_all_of_it_under_its_own_name_of_the_model() {
        let mut image = asked("a");
        image["content"]["parts"][0] = json!({ "inlineData": { "mimeType": "image/png", "data": "" } });
        let body = Bytes::from(json!({ "requests": [image], "bursar": {} }).to_string());

        let sent: Value = serde_json::from_slice(&own_embeddings(&body, "up")).unwrap();

        image["model"] = "models/up".into();
        assert_eq!(sent, json!({ "requests": [image] }));
    }

    #[test]
    fn vectors_come_in_googles_shape() {
        let usage = whole_embeddings(br#"{"embedding":{"values":[1]},"usageMetadata":{"promptTokenCount":3}}"#);
        let usage = usage.unwrap().usage;
        let reply = EmbeddingReply { model: String::new(), vectors: vec![vec![0.1], vec![2.0]], usage };

        assert_eq!(
            &write_embeddings(&reply)[..],
            br#"{"embeddings":[{"values":[0.1]},{"values":[2.0]}],"usageMetadata":{"promptTokenCount":3,"totalTokenCount":3}}"#
        );
        let reply = EmbeddingReply { usage: None, ..reply };
        assert_eq!(&write_embedding(&reply)[..], br#"{"embedding":{"values":[0.1]}}"#);
        assert_eq!(whole_embeddings(br#"{"error":{"code":400}}"#), Ok(Whole::error()));
        assert!(whole_embeddings(br#"{"candidates":[]}"#).is_err());
    }
}
