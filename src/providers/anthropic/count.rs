//! `/v1/messages/count_tokens`: Anthropic's own count of what a request would send.

use serde_json::{Map, Value};

use super::Anthropic;
use crate::providers::dialect::{CountingDialect, Nonsense, Target, WireRequest, object};
use crate::schema::IntakeError;
use crate::schema::chat::ChatRequest;

/// What of a request the question may hold; Anthropic refuses the rest.
const COUNTED: [&str; 9] = [
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "cache_control",
    "mcp_servers",
];

impl CountingDialect for Anthropic {
    fn question(&self, request: &ChatRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
        let wire = super::encode::encode(request, target)?;
        let mut body: Map<String, Value> = serde_json::from_slice(&wire.body).expect("the encoder writes an object");
        body.retain(|name, _| COUNTED.contains(&name.as_str()));
        Ok(WireRequest {
            path: "/v1/messages/count_tokens".into(),
            body: Value::Object(body).to_string().into(),
            ..wire
        })
    }

    fn answer(&self, body: &[u8]) -> Result<u64, Nonsense> {
        let count = object(body)?.get("input_tokens").and_then(Value::as_u64);
        count.ok_or_else(|| Nonsense::of("it has no `input_tokens`"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::providers::dialect::{ClientDialect, ModelFacts};

    #[test]
    fn the_question_holds_what_counts_and_nothing_else() {
        let body = json!({ "model": "m", "max_tokens": 9, "stream": true, "system": "Be kind.",
            "messages": [{ "role": "user", "content": "Hi" }], "metadata": { "user_id": "u" } });
        let request = Anthropic.read(body.to_string().as_bytes()).unwrap();
        let target = Target { model: "up", model_facts: &ModelFacts::default(), strict: false };

        let wire = Anthropic.question(&request, &target).unwrap();

        let sent: Value = serde_json::from_slice(&wire.body).unwrap();
        let names: BTreeSet<&str> = sent.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!((wire.path.as_str(), &sent["model"]), ("/v1/messages/count_tokens", &json!("up")));
        assert_eq!(names, BTreeSet::from(["messages", "model", "system"]));
        assert_eq!(Anthropic.answer(br#"{"input_tokens":7}"#), Ok(7));
        assert!(Anthropic.answer(b"{}").is_err());
    }
}
