//! What a stream's preamble said of the reply: its id, date and model. Another upstream that takes over goes by the same, so
//! that a client never meets two names for one reply.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::schema::chat::Chunk;

/// The reply's name as the client knows it; empty or 0 where the preamble did not tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Announced {
    id: String,
    created: i64,
    model: String,
}

const IDS: [&str; 2] = ["id", "responseId"];
const DATES: [&str; 2] = ["created", "created_at"];
const MODELS: [&str; 2] = ["model", "modelVersion"];

impl Announced {
    /// Reads the events of a preamble, in whatever dialect the client speaks.
    pub fn read(preamble: &[u8]) -> Self {
        let events = preamble.split(|byte| *byte == b'\n').filter_map(data);
        let mut all = events.filter_map(|mut event| {
            let reply = reply(&mut event)?;
            let text = |names: [&str; 2]| names.iter().find_map(|name| reply.get(*name)?.as_str()).map(str::to_owned);
            let created = DATES.iter().find_map(|name| reply.get(*name)?.as_i64()).unwrap_or_default();
            Some(Self { id: text(IDS)?, created, model: text(MODELS).unwrap_or_default() })
        });
        all.next().unwrap_or_default()
    }

    /// Gives the start of a stream this name.
    pub fn name(&self, chunk: &mut Chunk) {
        let Chunk::Start { id, created, model, .. } = chunk else { return };
        if !self.id.is_empty() {
            id.clone_from(&self.id);
        }
        if self.created != 0 {
            *created = self.created;
        }
        if !self.model.is_empty() {
            model.clone_from(&self.model);
        }
    }

    /// Returns events that pass as they came, with this name where they name the reply.
    pub fn rename(&self, events: &Bytes) -> Bytes {
        let names = |needle: &[u8]| memchr::memmem::find(events, needle).is_some();
        // In Responses and Messages most events do not.
        if self.id.is_empty() || !(names(b"\"id\"") || names(b"\"responseId\"")) {
            return events.clone();
        }
        let mut out = Vec::with_capacity(events.len() + 64);
        for line in events.split_inclusive(|byte| *byte == b'\n') {
            match data(line).and_then(|event| self.renamed(event)) {
                Some(event) => {
                    out.extend_from_slice(format!("data: {event}").as_bytes());
                    out.extend_from_slice(if line.ends_with(b"\r\n") { b"\r\n" } else { b"\n" });
                }
                None => out.extend_from_slice(line),
            }
        }
        out.into()
    }

    /// Returns the event with this name; `None` where it names no reply.
    fn renamed(&self, mut event: Value) -> Option<Value> {
        let reply = reply(&mut event)?;
        let mut put = |names: [&str; 2], value: Value| {
            names.iter().for_each(|name| _ = reply.get_mut(*name).map(|old| *old = value.clone()));
        };
        put(IDS, self.id.as_str().into());
        if self.created != 0 {
            put(DATES, self.created.into());
        }
        if !self.model.is_empty() {
            put(MODELS, self.model.as_str().into());
        }
        Some(event)
    }
}

/// Returns the JSON on a line of data.
fn data(line: &[u8]) -> Option<Value> {
    serde_json::from_slice(line.strip_prefix(b"data:")?).ok()
}

/// Returns the object that names the reply: the event itself in chats and at Google, a member of it elsewhere.
fn reply(event: &mut Value) -> Option<&mut Map<String, Value>> {
    let has_id = |value: &Value| IDS.iter().any(|name| value.get(*name).is_some_and(Value::is_string));
    let inner = ["response", "message"].into_iter().find(|name| event.get(*name).is_some_and(has_id));
    match inner {
        Some(name) => event.get_mut(name)?.as_object_mut(),
        None if has_id(event) => event.as_object_mut(),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialects_preamble_tells_the_name_of_the_reply() {
        let chat = "data: {\"id\":\"a\",\"created\":7,\"model\":\"m\",\"choices\":[]}\n\n";
        let responses = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"a\",\"created_at\":7,\"model\":\"m\"}}\n\n";
        let messages = ": hi\n\nevent: message_start\r\ndata: {\"message\":{\"id\":\"a\",\"model\":\"m\"}}\r\n\r\n";
        let gemini = "data: {\"responseId\":\"a\",\"modelVersion\":\"m\"}\n\n";

        for (preamble, created) in [(chat, 7), (responses, 7), (messages, 0), (gemini, 0)] {
            let expected = Announced { id: "a".into(), created, model: "m".into() };
            assert_eq!(Announced::read(preamble.as_bytes()), expected, "{preamble}");
        }
        assert_eq!(Announced::read(b": ping\n\ndata: [DONE]\n\n"), Announced::default());
    }

    #[test]
    fn only_what_names_the_reply_is_changed() {
        let announced = Announced { id: "a".into(), created: 7, model: "m".into() };
        let item = "event: x\ndata: {\"type\":\"x\",\"item\":{\"id\":\"fc_1\"}}\n\n";
        let end = "data: {\"type\":\"y\",\"response\":{\"id\":\"b\",\"created_at\":9,\"model\":\"n\",\"output\":[]}}\n\ndata: [DONE]\n\n";

        let renamed = |text: &str| String::from_utf8(announced.rename(&Bytes::from(text.to_owned())).to_vec()).unwrap();

        assert_eq!(renamed(item), item);
        let expected = "data: {\"response\":{\"created_at\":7,\"id\":\"a\",\"model\":\"m\",\"output\":[]},\"type\":\"y\"}\n\ndata: [DONE]\n\n";
        let sorted = |text: &str| text.split("\n\n").map(|event| data(event.as_bytes())).collect::<Vec<_>>();
        assert_eq!(sorted(&renamed(end)), sorted(expected));
        assert!(renamed(end).ends_with("\n\ndata: [DONE]\n\n"));
    }
}
