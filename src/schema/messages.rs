//! The messages of a chat request, as far as intake reads them: each is an object with a role, and parts that are
//! images, audio or files say what the model must be able to read.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::IntakeError;
use super::intake::fault;
use super::needs::{Media, Needs, of_part};

/// What the messages hold.
#[derive(Debug, Default)]
pub(super) struct MessageFacts {
    pub(super) media: Media,
    pub(super) fault: Option<IntakeError>,
    inside: bool,
    count: usize,
}

impl MessageFacts {
    /// Returns what a value of the wrong kind means at the place where the parser stopped.
    pub(super) fn explain(&self) -> IntakeError {
        if !self.inside {
            return fault("invalid_type", None, "the body must be a JSON object");
        }
        if self.count == 0 {
            return fault("invalid_type", Some("messages".into()), "`messages` must be an array of objects");
        }
        let path = format!("messages[{}]", self.count - 1);
        let message = format!("`{path}` must be an object with `role` and `content`");
        fault("invalid_type", Some(path), message)
    }

    fn refuse<E: Error>(&mut self, code: &'static str, field: &str, message: &str) -> E {
        let path = if self.count == 0 { field.to_owned() } else { format!("messages[{}].{field}", self.count - 1) };
        self.fault = Some(fault(code, Some(path.clone()), format!("`{path}` {message}")));
        E::custom("refused")
    }

    fn content<E: Error>(&mut self, raw: &RawValue) -> Result<(), E> {
        match raw.get().as_bytes()[0] {
            b'"' | b'n' => Ok(()),
            b'[' => {
                let mut parser = serde_json::Deserializer::from_str(raw.get());
                let read = parser.deserialize_seq(Parts { facts: self, inside: Inside::Message });
                let wrong = "must be a string or an array of objects, each with one string `type`";
                read.map_err(|_| self.refuse("invalid_type", "content", wrong))
            }
            _ => Err(self.refuse("invalid_type", "content", "must be a string, an array of parts, or null")),
        }
    }
}

/// The array of messages.
pub(super) struct Messages<'f> {
    pub(super) facts: &'f mut MessageFacts,
}

impl<'de> DeserializeSeed<'de> for Messages<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.facts.inside = true;
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Messages<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        // The place is set ahead of the element, so that a wrong kind is told with its index.
        loop {
            if seq.next_element_seed(Message { facts: &mut *self.facts })?.is_none() {
                break;
            }
        }
        if self.facts.count == 0 {
            return Err(self.facts.refuse("empty_array", "messages", "is empty; send at least one message"));
        }
        self.facts.inside = false;
        Ok(())
    }
}

/// One message.
struct Message<'f> {
    facts: &'f mut MessageFacts,
}

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.facts.count += 1;
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let facts = self.facts;
        let (mut role, mut content) = (false, false);
        while let Some(key) = map.next_key_seed(Text)? {
            let twice = match &*key {
                "role" => {
                    let raw = map.next_value::<&'de RawValue>()?;
                    if !raw.get().starts_with('"') {
                        return Err(facts.refuse("invalid_type", "role", "must be a string"));
                    }
                    std::mem::replace(&mut role, true)
                }
                "content" => {
                    facts.content(map.next_value::<&'de RawValue>()?)?;
                    std::mem::replace(&mut content, true)
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    false
                }
            };
            if twice {
                return Err(facts.refuse("duplicate_parameter", &key, "is given twice; send each field once"));
            }
        }
        if !role {
            return Err(facts.refuse("missing_required_parameter", "role", "is missing; each message needs a role"));
        }
        Ok(())
    }
}

/// Where parts stand.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Message,
    /// What a tool gave back. Nothing is looked for further down, so that nothing is read more than twice.
    ToolResult,
}

/// The parts of one message's content, or of a tool's result in it.
struct Parts<'f> {
    facts: &'f mut MessageFacts,
    inside: Inside,
}

impl<'de> Visitor<'de> for Parts<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of parts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Part { facts: &mut *self.facts, inside: self.inside })?.is_some() {}
        Ok(())
    }
}

/// One part.
struct Part<'f> {
    facts: &'f mut MessageFacts,
    inside: Inside,
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut kind = None;
        let mut bytes = 0;
        let mut content = None;
        while let Some(key) = map.next_key_seed(Text)? {
            if key != "type" {
                let raw = map.next_value::<&'de RawValue>()?;
                bytes += raw.get().len();
                if key == "content" && raw.get().starts_with('[') {
                    content = Some(raw);
                }
            } else if kind.replace(map.next_value_seed(Text)?).is_some() {
                return Err(A::Error::duplicate_field("type"));
            }
        }
        let Some(kind) = kind else { return Err(A::Error::missing_field("type")) };
        let needs = of_part(&kind);
        let media = &mut self.facts.media;
        media.needs = media.needs.with(needs);
        if needs == Needs::VISION {
            media.images += 1;
            media.image_bytes += bytes;
        }
        // What a tool gave back may be a picture. What is no list of parts there is the upstream's business.
        if let (Some(content), "tool_result", Inside::Message) = (content, &*kind, self.inside) {
            let parts = Parts { facts: self.facts, inside: Inside::ToolResult };
            let _ = serde_json::Deserializer::from_str(content.get()).deserialize_seq(parts);
        }
        Ok(())
    }
}

/// A string, borrowed unless it has escapes.
pub(crate) struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
