//! An event of a stream, whose text may be another when it goes on.

use bytes::Bytes;

use crate::providers::sse::SseEvent;

/// An event as it came.
pub(super) struct Event {
    name: Option<Vec<u8>>,
    raw: Bytes,
}

impl Event {
    pub(super) fn of(event: &SseEvent) -> Self {
        Self { name: event.name().map(<[u8]>::to_vec), raw: event.raw().clone() }
    }

    /// Returns it with other data, if it changed.
    pub(super) fn with(self, data: Option<String>) -> Bytes {
        let Some(data) = data else { return self.raw };
        let mut event = Vec::with_capacity(data.len() + 32);
        if let Some(name) = self.name {
            event.extend_from_slice(b"event: ");
            event.extend_from_slice(&name);
            event.push(b'\n');
        }
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(data.as_bytes());
        event.extend_from_slice(b"\n\n");
        event.into()
    }
}
