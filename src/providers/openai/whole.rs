//! A reply that came in one piece: what it says, and its repair.

use bytes::Bytes;
use serde_json::Value;

use super::facts::{Arguments, Finish, Malformed, chunk_facts, malformed};
use super::{lenient, slow};
use crate::schema::Operation;
use bursar_actors::Usage;

/// What a whole reply says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WholeFacts {
    pub usage: Option<Usage>,
    /// The body is an error, whatever the status said.
    pub error_in_200: bool,
    /// A client could stumble over it: pass it through [`repair_whole`].
    pub needs_repair: bool,
    /// Why the first choice ended.
    pub finish: Option<Finish>,
    pub has_tool_calls: bool,
}

/// Reads a whole reply in one pass.
pub fn whole_facts(operation: Operation, body: &[u8]) -> Result<WholeFacts, Malformed> {
    let facts = chunk_facts(body)?;
    let error_in_200 = facts.error || facts.finish == Some(Finish::Error);
    let answered = match operation {
        Operation::Embeddings => facts.has_data,
        _ => facts.choices > 0,
    };
    if !error_in_200 && !answered {
        let is_object = body.trim_ascii_start().first() == Some(&b'{');
        return Err(if is_object { Malformed::NoChoices } else { malformed(body) });
    }
    let broken_tool = facts.tools().iter().any(|tool| {
        let empty = !tool.custom && matches!(tool.arguments, Arguments::Empty | Arguments::Missing);
        empty || tool.arguments == Arguments::Odd || tool.id.is_none() || !tool.typed
    });
    let wrong_finish = facts.has_tool_calls && matches!(facts.finish, None | Some(Finish::Stop));
    let blank = body.first() != Some(&b'{');
    Ok(WholeFacts {
        usage: facts.usage,
        error_in_200,
        needs_repair: !error_in_200 && (facts.odd || broken_tool || wrong_finish || blank),
        finish: facts.first_finish,
        has_tool_calls: facts.has_tool_calls,
    })
}

/// Returns the reply as clients expect it: arguments as JSON text and never empty, content as text, a known finish
/// reason, no blanks in front. A body that is no JSON comes back as it is, without the blanks.
pub fn repair_whole(body: &Bytes) -> Bytes {
    let trimmed = body.slice_ref(body.trim_ascii());
    let Some(mut reply) = lenient::value(&trimmed) else { return trimmed };
    let seed = reply.get("id").map(Value::to_string).unwrap_or_default();
    let mut changed = slow::only_objects(reply.get_mut("choices"));
    let choices = reply.get_mut("choices").and_then(Value::as_array_mut);
    for (position, choice) in choices.into_iter().flatten().enumerate() {
        changed |= slow::whole_choice(choice, position, &seed);
    }
    if changed { reply.to_string().into() } else { trimmed }
}
