//! Thought as the chat dialect's extensions carry it: LiteLLM's `thinking_blocks` (Anthropic's own blocks) and
//! OpenRouter's `reasoning_details` (any vendor's, told apart by `format`).

use serde_json::{Map, Value, json};

use crate::schema::chat::{Dialect, Thinking};

/// The vendors by the words that OpenRouter has for their formats; the last is ours alone.
const FORMATS: &[(&str, Dialect)] = &[
    ("anthropic-claude-v1", Dialect::Anthropic),
    ("openai-responses-v1", Dialect::Responses),
    ("google-gemini-v1", Dialect::Gemini),
    ("bedrock-converse-v1", Dialect::Bedrock),
];

/// Returns the vendor whose proof an entry of `reasoning_details` holds.
pub(super) fn vendor(format: &str) -> Option<Dialect> {
    FORMATS.iter().find(|(word, _)| *word == format).map(|(_, dialect)| *dialect)
}

/// Reads one block of `thinking_blocks`.
pub(super) fn from_block(block: &Value) -> Option<Thinking> {
    let text = |name: &str| block.get(name).and_then(Value::as_str).map(str::to_owned);
    let filled = |name: &str| text(name).filter(|text| !text.is_empty());
    let thinking = match block.get("type").and_then(Value::as_str) {
        Some("redacted_thinking") => Thinking { encrypted: filled("data"), ..Thinking::default() },
        _ => Thinking {
            text: text("thinking").unwrap_or_default(),
            signature: filled("signature"),
            ..Thinking::default()
        },
    };
    let proven = thinking.signature.is_some() || thinking.encrypted.is_some();
    let vendor = proven.then_some(Dialect::Anthropic);
    (proven || !thinking.text.is_empty()).then_some(Thinking { vendor, ..thinking })
}

/// Reads one entry of `reasoning_details`.
pub(super) fn from_detail(detail: &Value) -> Option<Thinking> {
    let text = |name: &str| detail.get(name).and_then(Value::as_str).map(str::to_owned);
    let filled = |name: &str| text(name).filter(|text| !text.is_empty());
    let thinking = Thinking {
        text: text("text").or_else(|| text("summary")).unwrap_or_default(),
        signature: filled("signature"),
        encrypted: filled("data"),
        vendor: None,
        id: filled("id"),
    };
    let proven = thinking.signature.is_some() || thinking.encrypted.is_some();
    let vendor = text("format").and_then(|format| vendor(&format));
    (proven || !thinking.text.is_empty()).then_some(Thinking { vendor, ..thinking })
}

/// Reads a message's thought from all the fields it can stand in, the richest first: the poorer ones repeat its text.
pub(super) fn of_message(
    blocks: Option<Vec<Value>>,
    details: Option<Vec<Value>>,
    text: Option<String>,
) -> Vec<Thinking> {
    let mut found: Vec<Thinking> = blocks.iter().flatten().filter_map(from_block).collect();
    let has_blocks = !found.is_empty();
    let foreign = |thinking: &Thinking| !matches!(thinking.vendor, None | Some(Dialect::Anthropic));
    let details = details.iter().flatten().filter_map(from_detail);
    found.extend(details.filter(|thinking| !has_blocks || foreign(thinking)));
    join(&mut found);
    if found.iter().all(|thinking| thinking.text.is_empty()) {
        let text = text.filter(|text| !text.is_empty());
        match (text, found.iter_mut().find(|thinking| thinking.encrypted.is_none())) {
            (Some(text), Some(signed)) => signed.text = text,
            (Some(text), None) => found.insert(0, Thinking { text, ..Thinking::default() }),
            (None, _) => {}
        }
    }
    found
}

/// Joins a text, and the proof that follows it as an entry of its own, to one thought.
fn join(thoughts: &mut Vec<Thinking>) {
    thoughts.dedup_by(|later, earlier| {
        let open = earlier.signature.is_none() && earlier.encrypted.is_none() && earlier.id == later.id;
        let proof = later.text.is_empty() && later.vendor == earlier.vendor;
        // Anthropic's encrypted blocks stand alone.
        let alone = later.vendor == Some(Dialect::Anthropic) && later.encrypted.is_some();
        let joined = open && proof && !alone;
        if joined {
            earlier.signature = later.signature.take();
            earlier.encrypted = later.encrypted.take();
        }
        joined
    });
}

/// Writes a thought as Anthropic's block, if it is one that Anthropic would take back.
pub(super) fn block(thinking: &Thinking) -> Option<Value> {
    if thinking.vendor != Some(Dialect::Anthropic) {
        return None;
    }
    match (&thinking.signature, &thinking.encrypted) {
        (_, Some(data)) => Some(json!({ "type": "redacted_thinking", "data": data })),
        (Some(signature), None) => {
            Some(json!({ "type": "thinking", "thinking": thinking.text, "signature": signature }))
        }
        (None, None) => None,
    }
}

/// Writes a thought as entries of `reasoning_details`, numbered from `index`.
pub(super) fn entries(thinking: &Thinking, index: usize) -> Vec<Value> {
    let format = FORMATS.iter().find(|(_, dialect)| Some(*dialect) == thinking.vendor).map(|(word, _)| *word);
    let entry = |kind: &str, name: &str, value: &str| {
        let mut entry = Map::new();
        entry.insert("type".into(), kind.into());
        entry.insert(name.into(), value.into());
        entry.insert("format".into(), format.map_or(Value::Null, Value::from));
        entry.insert("index".into(), index.into());
        if let Some(id) = &thinking.id {
            entry.insert("id".into(), id.as_str().into());
        }
        entry
    };
    let mut entries = Vec::new();
    let summary = thinking.vendor == Some(Dialect::Responses) && thinking.signature.is_none();
    if summary && !thinking.text.is_empty() {
        entries.push(Value::Object(entry("reasoning.summary", "summary", &thinking.text)));
    } else if thinking.signature.is_some() || !thinking.text.is_empty() {
        let mut entry = entry("reasoning.text", "text", &thinking.text);
        if let Some(signature) = &thinking.signature {
            entry.insert("signature".into(), signature.as_str().into());
        }
        entries.push(Value::Object(entry));
    }
    if let Some(data) = &thinking.encrypted {
        entries.push(Value::Object(entry("reasoning.encrypted", "data", data)));
    }
    entries
}

/// Returns whether a thought is a vendor's that only `reasoning_details` has room for.
pub(super) fn needs_entries(thinking: &Thinking) -> bool {
    let proven = thinking.signature.is_some() || thinking.encrypted.is_some();
    proven && thinking.vendor != Some(Dialect::Anthropic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thought_comes_back_from_what_was_written_of_it() {
        let thought = |text: &str, signature: Option<&str>, encrypted: Option<&str>, vendor| Thinking {
            text: text.into(),
            signature: signature.map(str::to_owned),
            encrypted: encrypted.map(str::to_owned),
            vendor: Some(vendor),
            id: (vendor == Dialect::Responses).then(|| "rs_1".to_owned()),
        };
        let anthropic = [
            thought("because", Some("sig"), None, Dialect::Anthropic),
            thought("", None, Some("xyz"), Dialect::Anthropic),
        ];
        let others = [
            thought("", Some("sig"), None, Dialect::Gemini),
            thought("in short", None, Some("xyz"), Dialect::Responses),
        ];

        let blocks: Vec<Value> = anthropic.iter().filter_map(block).collect();
        let details: Vec<Value> = others.iter().flat_map(|thinking| entries(thinking, 0)).collect();

        assert_eq!(of_message(Some(blocks), None, Some("because".into())), anthropic);
        assert_eq!(of_message(None, Some(details), None), others);
    }

    #[test]
    fn plain_text_is_a_thought_without_a_vendor() {
        let plain = Thinking { text: "hm".into(), ..Thinking::default() };

        assert_eq!(of_message(None, None, Some("hm".into())), [plain]);
        assert_eq!(of_message(None, None, Some(String::new())), []);
    }
}
