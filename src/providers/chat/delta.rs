//! The shape of a streamed chunk and of a whole reply, read without taking offence: a value of the wrong kind is a missing
//! one, because a provider's oddity must not cost the client its answer.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::providers::dialect::Nonsense;
use crate::providers::openai::lenient_value;

/// A chunk, or a whole reply.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct ChunkIn<'a> {
    #[serde(borrow)]
    pub(super) id: Loose<'a>,
    #[serde(borrow)]
    pub(super) object: Loose<'a>,
    #[serde(borrow)]
    pub(super) created: Loose<'a>,
    #[serde(borrow)]
    pub(super) model: Loose<'a>,
    #[serde(borrow)]
    pub(super) service_tier: Loose<'a>,
    #[serde(borrow)]
    pub(super) system_fingerprint: Loose<'a>,
    #[serde(borrow)]
    pub(super) choices: Option<Vec<ChoiceIn<'a>>>,
    #[serde(borrow)]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) x_groq: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
    /// Perplexity's sources.
    #[serde(borrow)]
    pub(super) citations: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) search_results: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct ChoiceIn<'a> {
    #[serde(borrow)]
    pub(super) index: Loose<'a>,
    #[serde(borrow)]
    pub(super) delta: Option<MessageIn<'a>>,
    #[serde(borrow)]
    pub(super) message: Option<MessageIn<'a>>,
    #[serde(borrow)]
    pub(super) finish_reason: Loose<'a>,
    #[serde(borrow)]
    pub(super) logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct MessageIn<'a> {
    #[serde(borrow)]
    pub(super) content: Loose<'a>,
    #[serde(borrow)]
    pub(super) refusal: Loose<'a>,
    #[serde(borrow)]
    pub(super) reasoning_content: Loose<'a>,
    #[serde(borrow)]
    pub(super) reasoning: Loose<'a>,
    #[serde(borrow)]
    pub(super) reasoning_details: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) thinking_blocks: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) tool_calls: Option<Vec<ToolIn<'a>>>,
    #[serde(borrow)]
    pub(super) function_call: Option<FunctionIn<'a>>,
    #[serde(borrow)]
    pub(super) annotations: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) audio: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct ToolIn<'a> {
    #[serde(borrow)]
    pub(super) index: Loose<'a>,
    #[serde(borrow)]
    pub(super) id: Loose<'a>,
    #[serde(borrow)]
    pub(super) function: Option<FunctionIn<'a>>,
    #[serde(borrow)]
    pub(super) custom: Option<FunctionIn<'a>>,
    #[serde(borrow)]
    pub(super) extra_content: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct FunctionIn<'a> {
    #[serde(borrow)]
    pub(super) name: Loose<'a>,
    #[serde(borrow)]
    pub(super) arguments: Loose<'a>,
    #[serde(borrow)]
    pub(super) input: Loose<'a>,
}

/// Reads a chunk and hands it to `take`, with its text; one that strict reading refuses is put right first.
pub(super) fn read<T>(
    data: &[u8],
    take: impl FnOnce(ChunkIn<'_>, &[u8]) -> Result<T, Nonsense>,
) -> Result<T, Nonsense> {
    // An array would pass for the fields in order.
    if data.trim_ascii_start().first() == Some(&b'{')
        && let Ok(chunk) = serde_json::from_slice(data)
    {
        return take(chunk, data);
    }
    let Some(mut value) = lenient_value(data).filter(Value::is_object) else {
        return Err(crate::providers::dialect::object(data).err().unwrap_or_else(|| Nonsense::of("it is not JSON")));
    };
    tame(&mut value);
    let text = value.to_string();
    let chunk = serde_json::from_str(&text).map_err(|_| Nonsense::of("it is no chat completion"))?;
    take(chunk, text.as_bytes())
}

/// Takes away whatever stands in the place of an object or an array and is none.
fn tame(chunk: &mut Value) {
    only_objects(chunk, "choices");
    for choice in list(chunk, "choices") {
        for message in ["delta", "message"] {
            only_object(choice, message);
            let Some(message) = choice.get_mut(message).filter(|message| message.is_object()) else { continue };
            only_object(message, "function_call");
            only_objects(message, "tool_calls");
            for tool in list(message, "tool_calls") {
                only_object(tool, "function");
                only_object(tool, "custom");
            }
        }
    }
}

fn list<'v>(value: &'v mut Value, name: &str) -> impl Iterator<Item = &'v mut Value> {
    value.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

fn only_object(value: &mut Value, name: &str) {
    if let Some(fields) =
        value.as_object_mut().filter(|fields| fields.get(name).is_some_and(|inner| !inner.is_object()))
    {
        fields.remove(name);
    }
}

fn only_objects(value: &mut Value, name: &str) {
    let Some(fields) = value.as_object_mut() else { return };
    match fields.get_mut(name) {
        Some(Value::Array(list)) => list.retain(Value::is_object),
        Some(_) => _ = fields.remove(name),
        None => {}
    }
}

/// A value that should be a text or a number and may be anything.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Loose<'a> {
    /// Missing, null, true or false.
    #[default]
    None,
    Text(Cow<'a, str>),
    Number(f64),
    Json(Value),
}

impl<'a> Loose<'a> {
    /// Returns the text, unless there is none or it is empty.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Returns the text, or nothing.
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text.into_owned(),
            Self::Number(number) => number.to_string(),
            Self::None | Self::Json(_) => String::new(),
        }
    }

    /// Returns the text, or what else there is as its JSON.
    pub(super) fn into_json_text(self) -> String {
        match self {
            Self::Json(value) => value.to_string(),
            other => other.into_text(),
        }
    }

    /// Returns the whole number, also one written as a text.
    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number as i64),
            Self::Text(text) => text.parse().ok(),
            Self::None | Self::Json(_) => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Loose::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Loose::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Loose::Number(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Loose::Number(number as f64))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Loose::Number(number as f64))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Loose::None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Loose::None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(seq)).map(Loose::Json)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Value::deserialize(MapAccessDeserializer::new(map)).map(Loose::Json)
    }
}
