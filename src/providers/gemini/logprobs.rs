//! Log probabilities between OpenAI's shape and Gemini's.

use serde_json::{Value, json};

/// Returns OpenAI's `logprobs` of a `logprobsResult`.
pub(super) fn to_openai(result: &Value) -> Option<Value> {
    let entry = |candidate: &Value| {
        let token = candidate.get("token").and_then(Value::as_str).unwrap_or_default();
        let logprob = candidate.get("logProbability").and_then(Value::as_f64).unwrap_or(0.0);
        json!({ "token": token, "logprob": logprob, "bytes": token.as_bytes() })
    };
    let chosen = result.get("chosenCandidates")?.as_array()?;
    let content = chosen.iter().enumerate().map(|(position, candidate)| {
        let top = result.get("topCandidates").and_then(|top| top.get(position)?.get("candidates")?.as_array());
        let mut one = entry(candidate);
        one["top_logprobs"] = top.into_iter().flatten().map(entry).collect();
        one
    });
    Some(json!({ "content": content.collect::<Vec<_>>(), "refusal": null }))
}

/// Returns the `logprobsResult` of OpenAI's `logprobs`.
pub(super) fn from_openai(logprobs: &Value) -> Option<Value> {
    let entry = |one: &Value| json!({ "token": one["token"], "logProbability": one["logprob"] });
    let content = logprobs.get("content")?.as_array()?;
    let top = |one: &Value| {
        let top = one.get("top_logprobs").and_then(Value::as_array);
        json!({ "candidates": top.into_iter().flatten().map(entry).collect::<Vec<_>>() })
    };
    let (chosen, tops): (Vec<Value>, Vec<Value>) = content.iter().map(|one| (entry(one), top(one))).unzip();
    Some(json!({ "chosenCandidates": chosen, "topCandidates": tops }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_back_as_they_went() {
        let gemini = json!({
            "chosenCandidates": [{"token": "a", "logProbability": -0.5}],
            "topCandidates": [{"candidates": [{"token": "b", "logProbability": -1.5}]}],
        });

        let openai = to_openai(&gemini).unwrap();

        assert_eq!(openai["content"][0]["top_logprobs"][0]["logprob"], json!(-1.5));
        assert_eq!(from_openai(&openai), Some(gemini));
    }
}
