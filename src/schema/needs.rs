//! What a request needs of the model that serves it, as bits: one AND tells whether a model is known to lack some of it.
//!
//! Needs only prefer one model to another, so what cannot be read here counts as no need: whoever serves the request is
//! the judge of that.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// A set of needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs(u8);

impl Needs {
    pub const NONE: Self = Self(0);
    pub const TOOLS: Self = Self(1);
    pub const VISION: Self = Self(2);
    pub const AUDIO: Self = Self(4);
    pub const VIDEO: Self = Self(8);
    pub const DOCUMENTS: Self = Self(16);
    pub const JSON_SCHEMA: Self = Self(32);
    /// Thinking that was asked for, beyond the least that there is.
    pub const REASONING: Self = Self(64);

    /// Returns both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether some of `other` is among these.
    pub const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn only_if(self, so: bool) -> Self {
        if so { self } else { Self::NONE }
    }
}

/// Pictures, sound and documents of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Media {
    pub(super) needs: Needs,
    pub(super) images: u64,
    /// Bytes of the images, which say nothing about tokens.
    pub(super) image_bytes: usize,
}

/// Returns what a part of a message is, by its `type`.
pub(super) fn of_part(kind: &str) -> Needs {
    match kind {
        "image_url" | "input_image" | "image" => Needs::VISION,
        "input_audio" => Needs::AUDIO,
        "video_url" | "input_video" => Needs::VIDEO,
        "file" | "input_file" | "document" => Needs::DOCUMENTS,
        _ => Needs::NONE,
    }
}

/// Returns what the known field `name` with this valid JSON asks for.
pub(super) fn of_field(name: &str, raw: &str) -> Needs {
    match name {
        "tools" | "functions" => Needs::TOOLS.only_if(raw[1..].trim_start().len() > 1),
        "reasoning_effort" => Needs::REASONING.only_if(read::<Cow<'_, str>>(raw).is_some_and(|effort| thinks(&effort))),
        "reasoning" => Needs::REASONING.only_if(read::<Reasoning<'_>>(raw).is_some_and(|reasoning| reasoning.is_on())),
        "thinking" => Needs::REASONING.only_if(
            read::<Tagged<'_>>(raw)
                .is_some_and(|thinking| matches!(thinking.kind.as_deref(), Some("enabled" | "adaptive"))),
        ),
        "text" | "output_config" => read::<Formatted<'_>>(raw).and_then(|text| text.format).map_or(Needs::NONE, schema),
        "output_format" => read(raw).map_or(Needs::NONE, schema),
        _ => Needs::NONE,
    }
}

fn read<'r, T: Deserialize<'r>>(raw: &'r str) -> Option<T> {
    serde_json::from_str(raw).ok()
}

fn thinks(effort: &str) -> bool {
    !matches!(effort, "none" | "minimal" | "MINIMAL")
}

fn schema(format: Tagged<'_>) -> Needs {
    Needs::JSON_SCHEMA.only_if(format.kind.as_deref() == Some("json_schema"))
}

#[derive(Deserialize)]
struct Tagged<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Formatted<'a> {
    #[serde(borrow, default)]
    format: Option<Tagged<'a>>,
}

/// `reasoning` of Responses and OpenRouter.
#[derive(Deserialize)]
struct Reasoning<'a> {
    #[serde(borrow, default)]
    effort: Option<Cow<'a, str>>,
    #[serde(default)]
    enabled: Option<bool>,
    #[serde(default)]
    max_tokens: Option<u64>,
}

impl Reasoning<'_> {
    fn is_on(&self) -> bool {
        let bounded = self.max_tokens.is_some_and(|most| most > 0);
        self.effort.as_deref().map_or(self.enabled == Some(true) || bounded, thinks)
    }
}

/// What Gemini's `generationConfig` says: needs, and the most tokens that an answer may have.
pub(super) fn of_generation(raw: &str) -> (Needs, Option<u64>) {
    let Some(config) = read::<Generation<'_>>(raw) else { return (Needs::NONE, None) };
    let schema = config.schema.is_some() || config.json_schema.is_some();
    let thinks = config.thinking.is_some_and(|thinking| match (thinking.level, thinking.budget) {
        (Some(level), _) => thinks(&level),
        (None, budget) => budget.is_some_and(|budget| budget != 0),
    });
    (Needs::JSON_SCHEMA.only_if(schema).with(Needs::REASONING.only_if(thinks)), config.most)
}

#[derive(Deserialize)]
struct Generation<'a> {
    #[serde(rename = "maxOutputTokens", alias = "max_output_tokens", default)]
    most: Option<u64>,
    #[serde(rename = "responseSchema", alias = "response_schema", default)]
    schema: Option<IgnoredAny>,
    #[serde(rename = "responseJsonSchema", alias = "response_json_schema", default)]
    json_schema: Option<IgnoredAny>,
    #[serde(borrow, rename = "thinkingConfig", alias = "thinking_config", default)]
    thinking: Option<Thinking<'a>>,
}

#[derive(Deserialize)]
struct Thinking<'a> {
    #[serde(rename = "thinkingBudget", alias = "thinking_budget", default)]
    budget: Option<i64>,
    #[serde(borrow, rename = "thinkingLevel", alias = "thinking_level", default)]
    level: Option<Cow<'a, str>>,
}

/// Returns the media of a Responses `input`. They are found by their words, because a search for bytes costs next to
/// nothing and few requests have any: `"input_image"` with both quotes bare is a whole string, never a piece of a text.
pub(super) fn of_input(raw: &str) -> Media {
    let raw = raw.as_bytes();
    let images = memmem::find_iter(raw, b"\"input_image\"").count() as u64;
    let documents = memmem::find(raw, b"\"input_file\"").is_some();
    let image_bytes = if images == 0 { 0 } else { strings(raw, b"\"data:image/").map(|data| data.len()).sum() };
    let needs = Needs::VISION.only_if(images > 0).with(Needs::DOCUMENTS.only_if(documents));
    Media { needs, images, image_bytes }
}

/// Returns the media of Gemini's `contents`, found likewise.
pub(super) fn of_contents(raw: &str) -> Media {
    let raw = raw.as_bytes();
    let marks: [&[u8]; 4] = [b"\"inlineData\"", b"\"inline_data\"", b"\"fileData\"", b"\"file_data\""];
    if !marks.iter().any(|mark| memmem::find(raw, mark).is_some()) {
        return Media::default();
    }
    let images = memmem::find_iter(raw, b"\"image/").count() as u64;
    let image_bytes = if images == 0 { 0 } else { strings(raw, b"\"data\"").map(|data| data.len()).sum() };
    let has = |word: &[u8], need: Needs| need.only_if(memmem::find(raw, word).is_some());
    let needs = Needs::VISION
        .only_if(images > 0)
        .with(has(b"\"audio/", Needs::AUDIO))
        .with(has(b"\"video/", Needs::VIDEO))
        .with(has(b"\"application/pdf\"", Needs::DOCUMENTS));
    Media { needs, images, image_bytes }
}

/// Returns the rest of the string that each `mark` begins, or the string behind it where the mark is a key.
fn strings<'r>(raw: &'r [u8], mark: &'r [u8]) -> impl Iterator<Item = &'r [u8]> {
    memmem::find_iter(raw, mark).filter_map(move |at| {
        let rest = &raw[at + mark.len()..];
        let value = match rest.trim_ascii_start().strip_prefix(b":") {
            Some(value) if mark.ends_with(b"\"") => value.trim_ascii_start().strip_prefix(b"\"")?,
            _ => rest,
        };
        Some(&value[..memchr::memchr(b'"', value)?])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_tells_whether_anything_is_lacking() {
        let wanted = Needs::TOOLS.with(Needs::VISION);

        assert!(wanted.has_any(Needs::VISION.with(Needs::AUDIO)));
        assert!(!wanted.has_any(Needs::AUDIO.with(Needs::REASONING)));
        assert!(!Needs::NONE.has_any(wanted));
    }

    #[test]
    fn each_need_has_a_bit_of_its_own() {
        use Needs as N;
        let all = [N::TOOLS, N::VISION, N::AUDIO, N::VIDEO, N::DOCUMENTS, N::JSON_SCHEMA, N::REASONING];

        for (index, need) in all.iter().enumerate() {
            assert!(all.iter().enumerate().all(|(other, bits)| bits.has_any(*need) == (other == index)));
        }
    }

    #[test]
    fn thinking_is_needed_only_where_more_than_the_least_is_asked_for() {
        let asked = |name, raw| of_field(name, raw) == Needs::REASONING;

        assert!(asked("reasoning_effort", r#""high""#) && !asked("reasoning_effort", r#""none""#));
        assert!(asked("reasoning", r#"{"effort":"low"}"#) && !asked("reasoning", r#"{"effort":"minimal"}"#));
        assert!(asked("reasoning", r#"{"max_tokens":9}"#) && !asked("reasoning", r#"{"summary":"auto"}"#));
        assert!(asked("thinking", r#"{"type":"adaptive"}"#) && !asked("thinking", r#"{"type":"disabled"}"#));
        assert!(!asked("reasoning_effort", "7") && !asked("thinking", "{}"));
    }

    #[test]
    fn a_schema_is_seen_in_every_dialect() {
        let format = r#"{"type":"json_schema","schema":{}}"#;
        let config =
            r#"{"maxOutputTokens":7,"responseSchema":{"type":"OBJECT"},"thinkingConfig":{"thinkingBudget":0}}"#;

        assert_eq!(of_field("text", &format!(r#"{{"format":{format}}}"#)), Needs::JSON_SCHEMA);
        assert_eq!(of_field("output_config", &format!(r#"{{"format":{format}}}"#)), Needs::JSON_SCHEMA);
        assert_eq!(of_field("output_format", format), Needs::JSON_SCHEMA);
        assert_eq!(of_field("text", r#"{"format":{"type":"text"}}"#), Needs::NONE);
        assert_eq!(of_generation(config), (Needs::JSON_SCHEMA, Some(7)));
    }

    #[test]
    fn media_are_found_by_their_words_and_texts_about_them_are_none() {
        let input = r#"[{"type":"input_image","image_url":"data:image/png;base64,AAAA"},{"type":"input_file"}]"#;
        let contents = r#"[{"parts":[{"inlineData":{"mimeType":"image/png","data": "AAAA"}}]}]"#;
        let talk = r#"[{"parts":[{"text":"what is \"inlineData\" with \"image/png\" and an \"input_image\"?"}]}]"#;

        let expected = Media { needs: Needs::VISION.with(Needs::DOCUMENTS), images: 1, image_bytes: 15 };
        assert_eq!(of_input(input), expected);
        assert_eq!(of_contents(contents), Media { needs: Needs::VISION, images: 1, image_bytes: 4 });
        assert_eq!((of_input(talk), of_contents(talk)), (Media::default(), Media::default()));
    }
}
