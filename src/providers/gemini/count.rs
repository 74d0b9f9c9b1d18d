//! `:countTokens`: Google's own count of what a request would send.

use serde_json::{Map, Value, json};

use super::Gemini;
use super::encode::{encode, model_path};
use crate::providers::dialect::{CountingDialect, Nonsense, Target, WireRequest, object};
use crate::schema::IntakeError;
use crate::schema::chat::ChatRequest;

/// What of a request Vertex counts; the Developer API takes a request as it is.
const COUNTED_BY_VERTEX: [&str; 4] = ["contents", "systemInstruction", "tools", "generationConfig"];

impl CountingDialect for Gemini {
    fn question(&self, request: &ChatRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
        let wire = encode(request, target, self.vertex)?;
        let mut body: Map<String, Value> = serde_json::from_slice(&wire.body).expect("the encoder writes an object");
        let path = model_path(target.model);
        let body = if self.vertex {
            body.retain(|name, _| COUNTED_BY_VERTEX.contains(&name.as_str()));
            Value::Object(body)
        } else {
            body.insert("model".into(), path.trim_start_matches('/').into());
            json!({ "generateContentRequest": body })
        };
        Ok(WireRequest { path: format!("{path}:countTokens"), body: body.to_string().into(), ..wire })
    }

    fn answer(&self, body: &[u8]) -> Result<u64, Nonsense> {
        let count = object(body)?.get("totalTokens").and_then(Value::as_u64);
        count.ok_or_else(|| Nonsense::of("it has no `totalTokens`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::dialect::{ClientDialect, ModelFacts};

    fn sent(vertex: bool) -> (String, Value) {
        let gemini = Gemini { vertex };
        let body = json!({ "contents": [{ "role": "user", "parts": [{ "text": "Hi" }] }], "safetySettings": [] });
        let request = gemini.read(body.to_string().as_bytes()).unwrap();
        let target = Target { model: "m", model_facts: &ModelFacts::default(), strict: false };
        let wire = gemini.question(&request, &target).unwrap();
        (wire.path, serde_json::from_slice(&wire.body).unwrap())
    }

    #[test]
    fn each_of_googles_services_is_asked_in_its_own_way() {
        let ((path, developer), (_, vertex)) = (sent(false), sent(true));

        assert_eq!(path, "/models/m:countTokens");
        assert_eq!(developer["generateContentRequest"]["model"], "models/m");
        assert_eq!(developer["generateContentRequest"]["contents"], vertex["contents"]);
        assert_eq!(vertex.as_object().unwrap().len(), 1, "{vertex}");
        assert_eq!(Gemini { vertex: true }.answer(br#"{"totalTokens":7}"#), Ok(7));
    }
}
