//! `audit.content = "redacted"`: what is kept of a request and its answer once everything that a policy finds is masked.

use std::sync::Arc;

use crate::privacy::events::Events;
use crate::privacy::{Placeholders, Policy, Redactor, Screening};
use crate::providers::sse::{SseItem, SseReader};

/// Characters that a stream's text is looked ahead by; nobody waits for it here.
const WINDOW: usize = 1_024;

/// Returns `body`, a request or a whole answer, with everything masked; nothing where it is no JSON, or was cut.
pub fn masked_body(policy: &Policy, body: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    let masked = Redactor::new(policy, [0; 32]).request(text).ok()?;
    Some(masked.map_or_else(|| body.to_vec(), String::into_bytes))
}

/// Returns `reply`, an answer as it came before values were put back, with everything masked.
pub fn masked_reply(policy: &Arc<Policy>, reply: &[u8]) -> Option<Vec<u8>> {
    if reply.trim_ascii_start().starts_with(b"{") {
        return masked_body(policy, reply);
    }
    let mut screening = Screening::new(Some(policy.clone()), Placeholders::new(), WINDOW, [0; 32]);
    let (mut reader, mut events, mut out) = (SseReader::with_names(), Events::default(), Vec::new());
    let mut put = |event: String, new: Option<String>| {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(new.unwrap_or(event).as_bytes());
        out.extend_from_slice(b"\n\n");
    };
    reader.feed(reply.to_vec().into());
    while let Some(item) = reader.next_event() {
        let Ok(SseItem::Event(event)) = item else { continue };
        let data = String::from_utf8_lossy(event.data()).into_owned();
        events.push(&mut screening, data.clone(), &data, &mut put);
    }
    events.finish(&mut screening, &mut put);
    Some(out)
}
