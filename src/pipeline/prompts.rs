//! `[[prompts]]`: words of the operator for the model, put where each dialect has what the system says.
//!
//! They are the same in every turn and stand at the same place, so caches of providers keep hitting. What a client already
//! says is not said twice.

use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::config::privacy::{Prompt, PromptPlace};
use crate::schema::Operation;

/// Returns the body of `call` with `prompts`; `None` where there are none, or the dialect has no place for them.
pub fn with<'p>(call: &Call, prompts: impl Iterator<Item = &'p Prompt>) -> Option<String> {
    let mut prompts = prompts.peekable();
    prompts.peek()?;
    let mut body: Map<String, Value> = serde_json::from_slice(&call.body).ok()?;
    let (before, after): (Vec<&Prompt>, Vec<&Prompt>) =
        prompts.partition(|prompt| prompt.place == PromptPlace::SystemPrepend);
    let mut changed = false;
    // Of several that go before, the first one written stands first.
    for prompt in before.into_iter().rev().chain(after) {
        changed |= put(call.head.operation, &mut body, prompt);
    }
    changed.then(|| Value::Object(body).to_string())
}

fn put(operation: Operation, body: &mut Map<String, Value>, prompt: &Prompt) -> bool {
    let text = prompt.text.as_str();
    let first = prompt.place == PromptPlace::SystemPrepend;
    match operation {
        Operation::ChatCompletions => {
            let Some(Value::Array(messages)) = body.get_mut("messages") else { return false };
            let system = |message: &Value| matches!(message["role"].as_str(), Some("system" | "developer"));
            let leading = messages.iter().take_while(|message| system(message)).count();
            if messages[..leading].iter().any(|message| says(&message["content"], text)) {
                return false;
            }
            messages.insert(if first { 0 } else { leading }, json!({"role": "system", "content": text}));
        }
        Operation::Responses => return put_text(body, "instructions", text, first),
        Operation::Messages => match body.get_mut("system") {
            Some(Value::Array(blocks)) => return put_block(blocks, json!({"type": "text", "text": text}), text, first),
            _ => return put_text(body, "system", text, first),
        },
        Operation::GenerateContent => {
            let name = if body.contains_key("system_instruction") { "system_instruction" } else { "systemInstruction" };
            let system = body.entry(name).or_insert_with(|| json!({"parts": []}));
            let Some(Value::Array(parts)) = system.get_mut("parts") else { return false };
            return put_block(parts, json!({"text": text}), text, first);
        }
        // What is completed or embedded has no system that speaks.
        Operation::Completions | Operation::Embeddings | Operation::EmbedContent | Operation::BatchEmbedContents => {
            return false;
        }
    }
    true
}

fn put_text(body: &mut Map<String, Value>, name: &str, text: &str, first: bool) -> bool {
    let said = body.get(name).cloned().unwrap_or(Value::Null);
    if says(&said, text) {
        return false;
    }
    let both = match said.as_str().filter(|said| !said.is_empty()) {
        Some(said) if first => format!("{text}\n\n{said}"),
        Some(said) => format!("{said}\n\n{text}"),
        None if said.is_null() || said.is_string() => text.to_owned(),
        None => return false,
    };
    body.insert(name.to_owned(), both.into());
    true
}

fn put_block(blocks: &mut Vec<Value>, block: Value, text: &str, first: bool) -> bool {
    if blocks.iter().any(|block| says(&block["text"], text)) {
        return false;
    }
    // Behind the mark up to which a provider caches nothing of a client's may change, and ours never does.
    let at = if first { 0 } else { blocks.len() };
    blocks.insert(at, block);
    true
}

fn says(said: &Value, text: &str) -> bool {
    match said {
        Value::String(said) => said.contains(text),
        Value::Array(parts) => parts.iter().any(|part| part["text"].as_str().is_some_and(|said| said.contains(text))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::privacy::Audience;

    fn told(operation: Operation, body: Value, places: &[(&str, PromptPlace)]) -> Value {
        let Value::Object(mut body) = body else { panic!("an object") };
        for (text, place) in places {
            put(
                operation,
                &mut body,
                &Prompt { name: "p".into(), audience: Audience::default(), place: *place, text: (*text).into() },
            );
        }
        body.into()
    }

    #[test]
    fn every_dialect_has_its_place_and_nothing_is_said_twice() {
        use PromptPlace::{SystemAppend as Append, SystemPrepend as Prepend};
        let both = [("A", Prepend), ("Z", Append), ("A", Prepend)];
        let user = json!({"role": "user", "content": "x"});
        let system = |text: &str| json!({"role": "system", "content": text});
        for (operation, body, expected) in [
            (
                Operation::ChatCompletions,
                json!({"messages": [user]}),
                json!({"messages": [system("A"), system("Z"), user]}),
            ),
            (
                Operation::ChatCompletions,
                json!({"messages": [system("s"), user]}),
                json!({"messages": [system("A"), system("s"), system("Z"), user]}),
            ),
            (Operation::Responses, json!({"input": "x"}), json!({"input": "x", "instructions": "A\n\nZ"})),
            (Operation::Messages, json!({"system": "s"}), json!({"system": "A\n\ns\n\nZ"})),
            (
                Operation::Messages,
                json!({"system": [{"type": "text", "text": "s"}]}),
                json!({"system": [{"type": "text", "text": "A"}, {"type": "text", "text": "s"}, {"type": "text", "text": "Z"}]}),
            ),
            (
                Operation::GenerateContent,
                json!({"contents": []}),
                json!({"contents": [], "systemInstruction": {"parts": [{"text": "A"}, {"text": "Z"}]}}),
            ),
            (Operation::Embeddings, json!({"input": "x"}), json!({"input": "x"})),
        ] {
            assert_eq!(told(operation, body, &both), expected);
        }
    }
}
