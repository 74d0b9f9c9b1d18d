//! Reads a request body once and says what the gateway must know of it: model, stream, needs, limits, and where in
//! the bytes the few things stand that may have to change.
//!
//! A body that two programs could read differently (a field given twice, half a surrogate pair) is refused, so that
//! what was inspected is what is forwarded. No message echoes a value: it might be part of a prompt.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::chat::Dialect;
use super::fields::{Kinds, known};
use super::messages::{MessageFacts, Messages, Text};
use super::names::{BodyNames, NameField};
use super::needs::{self, Needs};
use super::scan::{self, DEPTH_MAX, ScanFault};
use super::storing::Storing;

/// What the client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    ChatCompletions,
    Completions,
    Embeddings,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Messages,
    /// Gemini's generateContent; model and stream stand in its path.
    GenerateContent,
    /// Gemini's embedContent, for one text; the model stands in its path.
    EmbedContent,
    /// Gemini's batchEmbedContents, for several.
    BatchEmbedContents,
}

impl Operation {
    /// Returns the dialect that a client speaks with it.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings => Dialect::OpenAi,
            Self::Responses => Dialect::Responses,
            Self::Messages => Dialect::Anthropic,
            Self::GenerateContent | Self::EmbedContent | Self::BatchEmbedContents => Dialect::Gemini,
        }
    }

    /// Returns whether it asks for vectors.
    pub fn embeds(self) -> bool {
        matches!(self, Self::Embeddings | Self::EmbedContent | Self::BatchEmbedContents)
    }

    /// Returns whether a client names the model in the path, and not in the body.
    pub fn has_model_in_path(self) -> bool {
        self.dialect() == Dialect::Gemini
    }

    /// Returns whether a stream of it has to be asked for its usage.
    fn asks_usage(self) -> bool {
        matches!(self, Self::ChatCompletions | Self::Completions)
    }
}

/// One change to the body: these bytes give way to this text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub range: Range<usize>,
    pub text: &'static str,
}

/// What a request says, with places in its body; outlives no borrow, needs no second parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    pub operation: Operation,
    /// `None` where the client named no model.
    pub model: Option<String>,
    /// The model's value in the body, quotes included.
    pub model_span: Option<Range<usize>>,
    pub stream: bool,
    /// The client asked for a usage chunk at the end of its stream.
    pub include_usage: bool,
    /// The change that asks the upstream for a usage chunk; `None` where the client already does, or does not stream.
    pub ask_usage: Option<Edit>,
    /// `stream_options` with its comma, to be cut for an upstream that does not know it.
    pub stream_options_cut: Option<Range<usize>>,
    /// The gateway's own field `bursar`, its value.
    pub own_span: Option<Range<usize>>,
    /// The same with key and comma, to be cut before sending.
    pub own_cut: Option<Range<usize>>,
    /// What the model must be able to do to serve the request.
    pub needs: Needs,
    /// The most tokens one choice may have, where the client set a bound.
    pub max_output_tokens: Option<u64>,
    /// Choices asked for; at least 1.
    pub choices: u64,
    /// Who the body says it is sent for.
    pub names: BodyNames,
    /// The end user, once it is decided whose word counts.
    pub user: Option<String>,
    /// What a Responses request says of being stored.
    pub storing: Storing,
    /// Input tokens, estimated on the high side: a quarter of the ASCII bytes of the whole body (JSON included), half
    /// of the others, and 1,600 for an image in place of its bytes.
    pub tokens_in_estimate: u64,
    /// Just behind the opening brace, where a field can be put in front of the others.
    pub insert_at: usize,
}

/// Why a body was refused, in words the client can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct IntakeError {
    pub message: String,
    pub param: Option<String>,
    pub code: Option<&'static str>,
}

/// Choices one request may ask for, as at OpenAI.
const CHOICES_MAX: u64 = 128;
/// Bytes a model's name may have.
const MODEL_LEN_MAX: usize = 256;
/// Tokens an image costs at most with the providers in use, whatever its bytes.
const IMAGE_TOKENS: u64 = 1_600;

/// Returns `model` if a model may be called so. Some names become parts of an upstream's path, so none may climb in it.
pub fn model_name(model: String) -> Result<String, IntakeError> {
    let problem = if model.is_empty() {
        "is empty; name a model or leave the field out for the default"
    } else if model.len() > MODEL_LEN_MAX {
        "is longer than 256 bytes; name a model of this gateway"
    } else if model.chars().any(char::is_control) {
        "has a control character; name a model of this gateway"
    } else if model.split('/').any(|segment| matches!(segment, "." | "..")) {
        "has a segment that climbs in paths; name a model of this gateway"
    } else {
        return Ok(model);
    };
    Err(fault("invalid_value", Some("model".into()), format!("`model` {problem}")))
}

/// Reads the head of a request from its body.
pub fn read(operation: Operation, body: &[u8]) -> Result<RequestHead, IntakeError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(fault("invalid_json", None, "the request body is empty; send a JSON object"));
    }
    let text = std::str::from_utf8(body).map_err(|error| {
        fault("invalid_json", None, format!("the body is not UTF-8 at byte {}; send UTF-8 JSON", error.valid_up_to()))
    })?;
    scan::check(body).map_err(|found| match found {
        ScanFault::TooDeep => {
            fault("invalid_json", None, format!("the body nests deeper than {DEPTH_MAX} levels; flatten it"))
        }
        ScanFault::LoneSurrogate(at) => fault(
            "invalid_json",
            None,
            format!("the body has half a surrogate pair (`\\uD8…`) at byte {at}; send whole characters"),
        ),
    })?;
    let mut reader = Reader::new(operation, text);
    let mut parser = serde_json::Deserializer::from_str(text);
    let parsed = parser.deserialize_map(Top { reader: &mut reader }).and_then(|()| parser.end());
    match parsed {
        Ok(()) => reader.finish(),
        Err(error) => Err(reader.explain(&error)),
    }
}

pub(super) fn fault(code: &'static str, param: Option<String>, message: impl Into<String>) -> IntakeError {
    IntakeError { message: message.into(), param, code: Some(code) }
}

struct Reader<'b> {
    text: &'b str,
    head: RequestHead,
    keys: Vec<Cow<'b, str>>,
    fault: Option<IntakeError>,
    messages: MessageFacts,
    has_input: bool,
    max_tokens: Option<u64>,
    stream_options: Option<&'b RawValue>,
}

impl<'b> Reader<'b> {
    fn new(operation: Operation, text: &'b str) -> Self {
        let head = RequestHead {
            operation,
            model: None,
            model_span: None,
            stream: false,
            include_usage: false,
            ask_usage: None,
            stream_options_cut: None,
            own_span: None,
            own_cut: None,
            needs: Needs::NONE,
            max_output_tokens: None,
            choices: 1,
            names: BodyNames::default(),
            user: None,
            storing: Storing::default(),
            tokens_in_estimate: 0,
            insert_at: text.find('{').map_or(0, |at| at + 1),
        };
        Self {
            text,
            head,
            keys: Vec::with_capacity(16),
            fault: None,
            messages: MessageFacts::default(),
            has_input: false,
            max_tokens: None,
            stream_options: None,
        }
    }

    /// Returns where a value, borrowed from the body, stands in it.
    fn span(&self, raw: &RawValue) -> Range<usize> {
        let start = raw.get().as_ptr() as usize - self.text.as_ptr() as usize;
        start..start + raw.get().len()
    }

    /// Remembers the reason and stops the parser.
    fn refuse<E: de::Error>(&mut self, error: IntakeError) -> E {
        self.fault = Some(error);
        E::custom("refused")
    }

    fn explain(mut self, error: &serde_json::Error) -> IntakeError {
        if let Some(fault) = self.fault.or(self.messages.fault.take()) {
            return fault;
        }
        if error.classify() != serde_json::error::Category::Data {
            // serde_json's texts for broken syntax are fixed and quote nothing of the body.
            return fault("invalid_json", None, format!("the body is not valid JSON: {error}"));
        }
        self.messages.explain()
    }

    /// Reads one known field other than `messages`.
    fn field(&mut self, name: &'static str, kinds: Kinds, raw: &'b RawValue) -> Result<(), IntakeError> {
        let found = Kinds::of(raw.get());
        if !kinds.allows(found) {
            let message = format!("`{name}` must be {}, not {}", kinds.words(), found.found());
            return Err(fault("invalid_type", Some(name.into()), message));
        }
        if found.is_null() && name != "stream_options" {
            return Ok(());
        }
        match name {
            "model" => self.model(raw)?,
            "stream" => self.head.stream = raw.get() == "true",
            "stream_options" => self.stream_options = Some(raw),
            "bursar" => {
                self.head.own_span = Some(self.span(raw));
                self.head.own_cut = Some(member(self.text, self.span(raw)));
            }
            "n" => self.head.choices = choices(raw.get())?,
            "user" => self.head.names.set(NameField::User, string(raw.get(), name)?),
            "safety_identifier" => self.head.names.set(NameField::SafetyIdentifier, string(raw.get(), name)?),
            "metadata" => self.head.names.metadata(raw.get()),
            // A negative bound means "no bound" to some servers; what is no bound here is theirs to judge.
            "max_completion_tokens" | "max_output_tokens" => self.head.max_output_tokens = raw.get().parse().ok(),
            "max_tokens" => self.max_tokens = raw.get().parse().ok(),
            "response_format" => self.response_format(raw)?,
            "generationConfig" => {
                let (needs, most) = needs::of_generation(raw.get());
                self.head.needs = self.head.needs.with(needs);
                self.head.max_output_tokens = most;
            }
            // The last holds all of them, where tokens are counted.
            "prompt" | "input" | "content" | "contents" | "requests" | "generateContentRequest" => {
                if found == Kinds::of("[") && is_empty(raw.get()) {
                    return Err(fault(
                        "empty_array",
                        Some(name.into()),
                        format!("`{name}` is empty; give at least one"),
                    ));
                }
                self.has_input = true;
                self.media(name, raw.get());
            }
            "store" | "previous_response_id" | "conversation" | "background" => {
                self.head.storing.field(name, raw.get())?;
            }
            _ => self.head.needs = self.head.needs.with(needs::of_field(name, raw.get())),
        }
        Ok(())
    }

    /// Looks for media where they do not stand in messages.
    fn media(&mut self, name: &str, raw: &str) {
        match (name, self.head.operation) {
            ("input", Operation::Responses) => self.messages.media = needs::of_input(raw),
            ("contents", _) => self.messages.media = needs::of_contents(raw),
            _ => {}
        }
    }

    fn model(&mut self, raw: &RawValue) -> Result<(), IntakeError> {
        self.head.model = Some(model_name(string(raw.get(), "model")?)?);
        self.head.model_span = Some(self.span(raw));
        Ok(())
    }

    fn response_format(&mut self, raw: &RawValue) -> Result<(), IntakeError> {
        let Ok(Tagged { kind: Some(kind) }) = serde_json::from_str::<Tagged<'_>>(raw.get()) else {
            let message = "`response_format` must have a string `type`: text, json_object or json_schema";
            return Err(fault("invalid_value", Some("response_format.type".into()), message));
        };
        if kind == "json_schema" {
            self.head.needs = self.head.needs.with(Needs::JSON_SCHEMA);
        }
        Ok(())
    }

    /// Settles what depends on several fields.
    fn finish(mut self) -> Result<RequestHead, IntakeError> {
        self.refuse_duplicates()?;
        if !self.has_input {
            let name = match self.head.operation {
                Operation::ChatCompletions | Operation::Messages => "messages",
                Operation::Completions => "prompt",
                Operation::Embeddings | Operation::Responses => "input",
                Operation::GenerateContent => "contents",
                Operation::EmbedContent => "content",
                Operation::BatchEmbedContents => "requests",
            };
            let message = format!("`{name}` is missing; the request needs it");
            return Err(fault("missing_required_parameter", Some(name.into()), message));
        }
        self.settle_stream_options()?;
        self.head.max_output_tokens = self.head.max_output_tokens.or(self.max_tokens);
        let seen = &self.messages.media;
        self.head.needs = self.head.needs.with(seen.needs);
        let bytes = self.text.len().saturating_sub(seen.image_bytes);
        let wide = self.text.bytes().filter(|byte| !byte.is_ascii()).count();
        let narrow = bytes.saturating_sub(wide);
        self.head.tokens_in_estimate = (narrow / 4 + wide / 2 + 1) as u64 + seen.images * IMAGE_TOKENS;
        Ok(self.head)
    }

    fn refuse_duplicates(&mut self) -> Result<(), IntakeError> {
        self.keys.sort_unstable();
        let twice = self.keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone());
        let Some(key) = twice else { return Ok(()) };
        // An unknown key may be anything, so only a known one is named.
        let name = known(self.head.operation, &key).map(|(name, _)| name);
        let message = format!("`{}` is given twice; send each field once", name.unwrap_or("a field"));
        Err(fault("duplicate_parameter", name.map(str::to_owned), message))
    }

    fn settle_stream_options(&mut self) -> Result<(), IntakeError> {
        let insert = |at: usize, text| Some(Edit { range: at..at, text });
        if !self.head.operation.asks_usage() {
            self.head.include_usage = true;
            return Ok(());
        }
        let Some(raw) = self.stream_options else {
            if self.head.stream {
                let text = r#""stream_options":{"include_usage":true},"#;
                self.head.ask_usage = insert(self.head.insert_at, text);
            }
            return Ok(());
        };
        let span = self.span(raw);
        self.head.stream_options_cut = Some(member(self.text, span.clone()));
        if raw.get() == "null" {
            if self.head.stream {
                self.head.ask_usage = Some(Edit { range: span, text: r#"{"include_usage":true}"# });
            }
            return Ok(());
        }
        if !self.head.stream {
            let message = "`stream_options` is allowed only with `stream: true`; leave it out or stream";
            return Err(fault("invalid_value", Some("stream_options".into()), message));
        }
        let options: StreamOptions<'_> = serde_json::from_str(raw.get()).map_err(|_| {
            let message = "`stream_options.include_usage` must be given once, as true, false or null";
            fault("invalid_type", Some("stream_options.include_usage".into()), message)
        })?;
        let inside = span.start + 1;
        self.head.ask_usage = match options.include_usage.map(RawValue::get) {
            Some("true") => {
                self.head.include_usage = true;
                None
            }
            Some(value @ ("false" | "null")) => {
                let start = value.as_ptr() as usize - self.text.as_ptr() as usize;
                Some(Edit { range: start..start + value.len(), text: "true" })
            }
            Some(_) => {
                let message = "`stream_options.include_usage` must be true, false or null";
                return Err(fault("invalid_type", Some("stream_options.include_usage".into()), message));
            }
            None if is_empty(raw.get()) => insert(inside, r#""include_usage":true"#),
            None => insert(inside, r#""include_usage":true,"#),
        };
        Ok(())
    }
}

#[derive(Deserialize)]
struct StreamOptions<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    include_usage: Option<&'a RawValue>,
}

/// Keeps an explicit null apart from a missing field: its bytes are needed.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct Tagged<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Cow<'a, str>>,
}

/// Returns whether an array or object, valid JSON, has nothing in it.
fn is_empty(raw: &str) -> bool {
    raw[1..].trim_start().len() == 1
}

fn string(raw: &str, name: &str) -> Result<String, IntakeError> {
    serde_json::from_str(raw)
        .map_err(|_| fault("invalid_type", Some(name.into()), format!("`{name}` must be a string")))
}

fn choices(raw: &str) -> Result<u64, IntakeError> {
    match raw.parse() {
        Ok(n @ 1..=CHOICES_MAX) => Ok(n),
        _ => Err(fault("invalid_value", Some("n".into()), format!("`n` must be between 1 and {CHOICES_MAX}"))),
    }
}

/// Returns the range of a whole member given its value's: with the comma before it, or after it if it comes first.
fn member(text: &str, value: Range<usize>) -> Range<usize> {
    let before = |at: usize| text[..at].trim_end();
    let key_end = before(before(value.start).len() - 1).len() - 1;
    // A known key holds no quote, escaped or not, so the next one back opens it.
    let key = text[..key_end].rfind('"').unwrap_or(key_end);
    let lead = before(key);
    if lead.ends_with(',') {
        return lead.len() - 1..value.end;
    }
    let rest = text[value.end..].trim_start();
    let end = if rest.starts_with(',') { text.len() - rest.len() + 1 } else { value.end };
    key..end
}

/// The body's object.
struct Top<'r, 'b> {
    reader: &'r mut Reader<'b>,
}

impl<'de> Visitor<'de> for Top<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reader = self.reader;
        while let Some(key) = map.next_key_seed(Text)? {
            match known(reader.head.operation, &key) {
                Some(("messages", _)) => {
                    map.next_value_seed(Messages { facts: &mut reader.messages })?;
                    reader.has_input = true;
                }
                Some((name, kinds)) => {
                    let raw = map.next_value::<&'de RawValue>()?;
                    reader.field(name, kinds, raw).map_err(|error| reader.refuse(error))?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            reader.keys.push(key);
        }
        Ok(())
    }
}
