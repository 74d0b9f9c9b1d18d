//! What Gemini's replies say about themselves where they pass as they came: usage, output, end, error.

use bursar_actors::Usage;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::wire::{Ending, PromptFeedback, UsageMetadata, ending, responses, searches};
use crate::providers::dialect::{Nonsense, Whole, object};
use crate::schema::chat::Finish;

/// What one event says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// All of it up to now, never a difference.
    pub usage: Option<Usage>,
    /// Bytes of text and calls in it, as JSON.
    pub output_bytes: usize,
    /// It carries output: from then on no other upstream can take over.
    pub is_output: bool,
    /// The last candidate in it that ended, or the prompt that was blocked.
    pub finish: Option<Finish>,
    /// The event is the provider's error: judge it.
    pub is_error: bool,
    /// The model's own output was unusable: another try may do, where nothing was sent on yet. What the provider calls it.
    pub malformed: Option<String>,
}

/// Reads the events of a stream that passes as it came.
#[derive(Debug, Default)]
pub struct PassReader {
    usage: Option<Usage>,
    finished: bool,
    called: bool,
    first: First,
    searches: u64,
}

/// The first candidate: whether it called a tool, and why it ended.
#[derive(Debug, Default)]
struct First {
    called: bool,
    finish: Option<&'static str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow, default)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(default)]
    prompt_feedback: Option<PromptFeedback>,
    #[serde(default)]
    usage_metadata: Option<UsageMetadata>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(borrow, default)]
    content: Option<Content<'a>>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    grounding_metadata: Option<Value>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    parts: Option<Vec<&'a RawValue>>,
}

/// A part, as far as it must be known whether it says anything.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    function_call: Option<&'a RawValue>,
}

impl PassReader {
    /// Reads the next event's data.
    pub fn event(&mut self, data: &[u8]) -> Result<Facts, Nonsense> {
        let data = data.trim_ascii();
        if data.is_empty() || data == b"[DONE]" {
            return Ok(Facts { usage: self.usage, ..Facts::default() });
        }
        if data.first() == Some(&b'[') && super::wire::is_error(data) {
            return Ok(Facts { usage: self.usage, is_error: true, ..Facts::default() });
        }
        let event: Event<'_> = serde_json::from_slice(data).map_err(|_| unreadable(data))?;
        let mut facts = Facts { is_error: event.error.is_some(), ..Facts::default() };
        for (position, candidate) in event.candidates.into_iter().flatten().enumerate() {
            self.searches = self.searches.max(searches(candidate.grounding_metadata.as_ref()));
            let mut called = false;
            for raw in candidate.content.and_then(|content| content.parts).into_iter().flatten() {
                called |= part(raw, &mut facts);
            }
            self.called |= called;
            let reason = candidate.finish_reason.unwrap_or_default();
            if is_first(candidate.index, position) {
                self.first.take(called, &reason);
            }
            match ending(&reason) {
                Ending::Open => {}
                Ending::Malformed => facts.malformed = Some(reason),
                Ending::Finished(Finish::Stop { .. }) if self.called => facts.finish = Some(Finish::ToolCalls),
                Ending::Finished(finish) => facts.finish = Some(finish),
            }
        }
        let blocked = event.prompt_feedback.and_then(|feedback| feedback.block_reason);
        if blocked.is_some_and(|reason| !reason.is_empty() && reason != "BLOCK_REASON_UNSPECIFIED") {
            facts.finish.get_or_insert(Finish::ContentFilter);
            self.first.block();
        }
        self.finished |= facts.finish.is_some() || facts.malformed.is_some();
        facts.is_output |= facts.finish.is_some();
        self.usage = event.usage_metadata.and_then(|usage| usage.usage(self.searches)).or(self.usage);
        facts.usage = self.usage;
        Ok(facts)
    }

    /// The body is over; returns whether everything had been said.
    pub fn is_complete(&self) -> bool {
        self.finished
    }

    /// Returns why the first candidate ended, once it has.
    pub fn finish(&self) -> Option<&'static str> {
        self.first.finish
    }
}

impl First {
    /// Takes what is next said of the candidate; behind its end that counts no more.
    fn take(&mut self, called: bool, reason: &str) {
        self.called |= called;
        let Ending::Finished(finish) = ending(reason) else { return };
        let finish = if self.called && matches!(finish, Finish::Stop { .. }) { Finish::ToolCalls } else { finish };
        self.finish.get_or_insert(finish.as_str());
    }

    /// The prompt was blocked, so no candidate comes.
    fn block(&mut self) {
        self.finish.get_or_insert(Finish::ContentFilter.as_str());
    }
}

/// Returns whether a candidate is the first, by its index, or its place where it has none.
fn is_first(index: Option<u32>, position: usize) -> bool {
    index.map_or(position == 0, |index| index == 0)
}

/// Notes what a part says, and returns whether it is a call.
fn part(raw: &RawValue, facts: &mut Facts) -> bool {
    match serde_json::from_str::<Part<'_>>(raw.get()) {
        Ok(Part { function_call: Some(call), .. }) => {
            facts.is_output = true;
            facts.output_bytes += call.get().len();
            return true;
        }
        Ok(Part { text: Some(text), .. }) => {
            facts.is_output |= text.get() != "\"\"";
            facts.output_bytes += text.get().len().saturating_sub(2);
        }
        Ok(_) => facts.is_output = true,
        Err(_) => {}
    }
    false
}

/// Reads a whole reply that passes as it came; it may be an error, whatever its status said.
pub fn whole(body: &[u8]) -> Result<Whole, Nonsense> {
    if super::wire::is_error(body) {
        return Ok(Whole::error());
    }
    let (mut usage, mut answered, mut searched) = (None, false, 0);
    let mut first = First::default();
    for response in responses(body)? {
        for (position, candidate) in response.candidates.iter().flatten().enumerate() {
            answered = true;
            searched = searched.max(searches(candidate.grounding_metadata.as_ref()));
            let reason = candidate.finish_reason.as_deref().unwrap_or_default();
            if ending(reason) == Ending::Malformed {
                return Err(super::wire::malformed(reason));
            }
            if is_first(candidate.index, position) {
                let mut parts = candidate.content.iter().flat_map(|content| &content.parts).flatten();
                first.take(parts.any(|raw| part(raw, &mut Facts::default())), reason);
            }
        }
        if response.prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some()) {
            answered = true;
            first.block();
        }
        usage = response.usage_metadata.and_then(|metadata| metadata.usage(searched)).or(usage);
    }
    if answered {
        Ok(Whole { usage, finish: first.finish, error: false })
    } else {
        Err(Nonsense::of("it has no candidates"))
    }
}

fn unreadable(data: &[u8]) -> Nonsense {
    let told = object(data).err().unwrap_or_else(|| Nonsense::of("a field has an unexpected type"));
    Nonsense::of(format!("an event of the stream cannot be read: {told}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_followed_event_by_event() {
        let mut reader = PassReader::default();
        let mut read = |data: &str| reader.event(data.as_bytes()).unwrap();

        let first =
            read(r#"{"candidates":[{"content":{"parts":[{"text":""}]}}],"usageMetadata":{"promptTokenCount":3}}"#);
        let second = read(r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]}}]}"#);
        let last = read(
            r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2}}"#,
        );

        assert!(!first.is_output && second.is_output);
        assert_eq!(second.usage.unwrap().prompt, 3);
        assert_eq!((last.finish, reader.finish()), (Some(Finish::ToolCalls), Some("tool_calls")));
        assert_eq!(last.usage.unwrap().completion, 2);
        assert!(reader.is_complete());
    }

    #[test]
    fn of_several_candidates_the_first_says_how_the_answer_ended() {
        let events = [
            r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}},{"index":1,"content":{"parts":[{"functionCall":{}}]}}]}"#,
            r#"{"candidates":[{"index":1,"finishReason":"STOP"}]}"#,
            r#"{"candidates":[{"index":0,"finishReason":"MAX_TOKENS"}]}"#,
            r#"{"candidates":[{"index":0,"finishReason":"STOP"}]}"#,
        ];
        let mut reader = PassReader::default();

        let told = events.map(|event| reader.event(event.as_bytes()).map(|_| reader.finish()).unwrap());

        assert_eq!(told, [None, None, Some("length"), Some("length")]);
        let whole = whole(format!("[{}]", events.join(",")).as_bytes()).unwrap();
        assert_eq!(whole.finish, Some("length"));
    }

    #[test]
    fn errors_and_unusable_output_are_told() {
        for data in [r#"{"error":{"code":503}}"#, r#"[{"error":{"code":503}}]"#] {
            assert!(PassReader::default().event(data.as_bytes()).unwrap().is_error);
        }
        let facts = PassReader::default().event(br#"{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#);
        assert_eq!(facts.unwrap().malformed.as_deref(), Some("MALFORMED_FUNCTION_CALL"));
        assert!(PassReader::default().event(b"{").is_err());
    }

    #[test]
    fn a_whole_reply_tells_usage_and_error() {
        let reply = br#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3}}"#;

        let told = whole(reply).unwrap();
        assert_eq!((told.usage.unwrap().prompt, told.finish), (3, Some("stop")));
        assert_eq!(whole(br#"[{"error":{}}]"#), Ok(Whole::error()));
        let blocked = Whole { finish: Some("content_filter"), ..Whole::default() };
        assert_eq!(whole(br#"{"promptFeedback":{"blockReason":"OTHER"}}"#), Ok(blocked));
        assert!(whole(b"{}").is_err());
        assert!(whole(br#"{"candidates":[{"finishReason":"MALFORMED_RESPONSE"}]}"#).is_err());
    }
}
