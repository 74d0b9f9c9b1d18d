//! A request that a budget has room for only if its answer is short gets a bound on it, where the client set none: rather a
//! short answer than none.

use bytes::Bytes;

use crate::call::Call;
use crate::pipeline::quote::Extent;
use crate::pipeline::route::Route;
use crate::schema::{self, Operation, RequestHead};

/// Tokens that such an answer may have at most.
const ANSWER_MOST: u64 = 4_096;
/// Fewer are of no use.
const ANSWER_LEAST: u64 = 256;
/// Fields that bound an answer, or might; whoever names one has thought of it.
const BOUNDS: [&[u8]; 4] =
    [b"\"max_tokens\"", b"\"max_completion_tokens\"", b"\"max_output_tokens\"", b"\"generationConfig\""];

/// Returns the longest answer that costs no more than `room` nano-dollars with any candidate of `route` that may be asked;
/// `None` where that is too short, or the answer is bounded as it is.
pub fn longest_answer(call: &Call, route: &Route, left_out: &[usize], room: u64) -> Option<u64> {
    let head = &call.head;
    if head.max_output_tokens.is_some() || head.operation.embeds() || head.choices == 0 {
        return None;
    }
    let candidates = route.prices.iter().zip(&route.facts).enumerate();
    let asked = candidates.filter(|(index, _)| !left_out.contains(index));
    let longest = asked.map(|(_, (price, facts))| Extent::of(head, facts).longest(price, room));
    let longest = longest.min().flatten()? / head.choices;
    (longest >= ANSWER_LEAST).then_some(longest.min(ANSWER_MOST))
}

/// Returns `call` with that bound on its answer; `None` where its dialect or its body has no place for one.
pub fn bounded(call: &Call, tokens: u64) -> Option<Call> {
    let (head, body) = with_bound(&call.head, &call.body, tokens)?;
    Some(Call { head, body, ..call.clone() })
}

fn with_bound(head: &RequestHead, body: &Bytes, tokens: u64) -> Option<(RequestHead, Bytes)> {
    let field = match head.operation {
        // Where a model of OpenAI wants the newer name, that is made of it on the way.
        Operation::ChatCompletions | Operation::Completions => format!("\"max_tokens\":{tokens},"),
        Operation::Responses => format!("\"max_output_tokens\":{tokens},"),
        Operation::GenerateContent => format!("\"generationConfig\":{{\"maxOutputTokens\":{tokens}}},"),
        Operation::Messages | Operation::Embeddings | Operation::EmbedContent | Operation::BatchEmbedContents => {
            return None;
        }
    };
    let named = |field: &[u8]| body.windows(field.len()).any(|window| window == field);
    if BOUNDS.iter().any(|field| named(field)) {
        return None;
    }
    let (before, after) = body.split_at_checked(head.insert_at)?;
    let body = Bytes::from([before, field.as_bytes(), after].concat());
    let read = schema::read(head.operation, &body).ok()?;
    // What did not stand in the body, or was told by somebody trusted.
    let (model, stream, user) = (head.model.clone(), head.stream, head.user.clone());
    Some((RequestHead { model, stream, user, ..read }, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(operation: Operation, body: &'static str) -> Option<(RequestHead, Bytes)> {
        let body = Bytes::from_static(body.as_bytes());
        with_bound(&schema::read(operation, &body).unwrap(), &body, 300)
    }

    #[test]
    fn every_dialect_without_a_bound_gets_one_that_is_understood_and_nothing_else_changes() {
        let cases = [
            (Operation::ChatCompletions, r#"{ "model":"m","messages":[{"role":"user","content":"x"}],"seed":7}"#),
            (Operation::Completions, r#"{"model":"m","prompt":"x"}"#),
            (Operation::Responses, r#"{"model":"m","input":"x","metadata":{"a":"b"}}"#),
            (Operation::GenerateContent, r#"{"contents":[{"parts":[{"text":"x"}]}]}"#),
        ];
        for (operation, body) in cases {
            let (head, sent) = tried(operation, body).expect(body);

            assert_eq!(head.max_output_tokens, Some(300), "{operation:?}");
            let (mut sent, asked): (serde_json::Value, serde_json::Value) =
                (serde_json::from_slice(&sent).unwrap(), serde_json::from_str(body).unwrap());
            let fields = sent.as_object_mut().unwrap();
            fields.retain(|name, _| asked.get(name).is_some());
            assert_eq!(sent, asked);
        }
    }

    #[test]
    fn who_has_thought_of_a_bound_gets_no_other() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":null}"#;
        let message = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#;

        assert!(tried(Operation::ChatCompletions, body).is_none());
        assert!(tried(Operation::Messages, message).is_none());
    }
}
