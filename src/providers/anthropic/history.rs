//! Thinking in the history of a conversation that has moved between vendors.

use serde_json::Value;

use super::signature;
use crate::schema::chat::{ChatRequest, Content, Dialect, Thinking};

/// Removes what only another vendor than `target` could read: thinking without or with another's proof, and signatures of
/// calls. Messages that held nothing else go, too.
pub fn strip_thinking(request: &mut ChatRequest, target: Dialect) {
    let is_own = |thinking: &Thinking| thinking.vendor == Some(target);
    request.messages.retain_mut(|message| {
        let was_empty = message.parts.is_empty();
        message.parts.retain(|part| !matches!(&part.content, Content::Thinking(thinking) if !is_own(thinking)));
        for part in &mut message.parts {
            if let Content::ToolCall(call) = &mut part.content {
                call.signature.take_if(|_| target != Dialect::Gemini);
            }
        }
        was_empty || !message.parts.is_empty()
    });
}

/// Returns a Messages body without what the gateway put into the history for other vendors (thinking without a signature or
/// with another's, search citations without Anthropic's index), or `None` if there is nothing of that, as nearly always.
pub fn own_history(body: &[u8]) -> Option<Vec<u8>> {
    let has = |needle: &[u8]| memchr::memmem::find(body, needle).is_some();
    // The same word names a parameter; only as a block's type it matters.
    let thinks = has(b"\"type\":\"thinking\"") || has(b"\"type\": \"thinking\"");
    if !thinks && !has(b"bursar:") && !has(b"\"encrypted_index\"") {
        return None;
    }
    let mut request: Value = serde_json::from_slice(body).ok()?;
    let mut changed = false;
    let messages = request.get_mut("messages")?.as_array_mut()?;
    for message in messages.iter_mut().filter(|message| message["role"] == "assistant") {
        let Some(blocks) = message["content"].as_array_mut() else { continue };
        let before = blocks.len();
        blocks.retain(is_own);
        changed |= blocks.len() < before;
        for citations in blocks.iter_mut().filter_map(|block| block.get_mut("citations")?.as_array_mut()) {
            let before = citations.len();
            citations.retain(|citation| citation["encrypted_index"] != "");
            changed |= citations.len() < before;
        }
    }
    messages.retain(|message| message["content"].as_array().is_none_or(|blocks| !blocks.is_empty()));
    changed.then(|| serde_json::to_vec(&request).ok()).flatten()
}

fn is_own(block: &Value) -> bool {
    match block["type"].as_str() {
        Some("thinking") => {
            block["signature"].as_str().is_some_and(|proof| !proof.is_empty() && !signature::is_foreign(proof))
        }
        Some("redacted_thinking") => block["data"].as_str().is_some_and(|data| !signature::is_foreign(data)),
        _ => true,
    }
}
