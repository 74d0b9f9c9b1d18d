//! Replies on their way from a Responses upstream to a Responses client: read for what the gateway must know, never
//! changed.

use std::borrow::Cow;

use bursar_actors::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::decode;
use super::error::Progress;
use crate::providers::dialect::{Nonsense, Whole, object};
use crate::providers::framing::Frame;
use crate::schema::chat::Finish;

/// What one event says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub usage: Option<Usage>,
    /// Bytes of text and arguments in it, as JSON.
    pub output_bytes: usize,
    /// It is output: from then on no other upstream can take over.
    pub is_output: bool,
    pub finish: Option<Finish>,
    /// It reports the upstream's error: [`super::error_body`] reads it.
    pub error: bool,
    /// It is the last.
    pub done: bool,
}

/// Reads a stream's events.
#[derive(Debug, Default)]
pub struct PassReader {
    progress: Progress,
    done: bool,
}

/// The fields that are looked at; the others are skipped without being built.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    sequence_number: Option<u64>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl PassReader {
    /// Takes the next event.
    pub fn frame(&mut self, frame: &Frame<'_>) -> Result<Facts, Nonsense> {
        if frame.data.trim_ascii() == b"[DONE]" {
            self.done = true;
            return Ok(Facts { done: true, ..Facts::default() });
        }
        let head: Head<'_> = serde_json::from_slice(frame.data)
            .map_err(|_| Nonsense::of("an event of its stream is not a JSON object"))?;
        let name = || String::from_utf8_lossy(frame.event.unwrap_or_default());
        let kind = head.kind.unwrap_or_else(name);
        self.progress.sequence_number = head.sequence_number.unwrap_or(self.progress.sequence_number) + 1;
        let response = || head.response.and_then(|raw| serde_json::from_str::<Map<String, Value>>(raw.get()).ok());
        let mut facts = Facts::default();
        match &*kind {
            "error" | "response.failed" => facts.error = true,
            _ if head.error.is_some_and(|error| error.get() != "null") => facts.error = true,
            "response.created" | "response.queued" | "response.in_progress" => {
                if self.progress.response.is_none() {
                    self.progress.response = response();
                }
            }
            "response.completed" | "response.incomplete" => {
                let response = response().unwrap_or_default();
                facts.usage = decode::usage(&response);
                facts.finish = Some(finish(&response));
                (facts.is_output, facts.done, self.done) = (true, true, true);
            }
            other => {
                facts.is_output = other.starts_with("response.");
                facts.output_bytes = head.delta.map_or(0, |delta| delta.get().len().saturating_sub(2));
            }
        }
        Ok(facts)
    }

    /// The body is over; returns whether everything had been said.
    pub fn is_complete(&self) -> bool {
        self.done
    }

    /// Returns how far the stream has come, for [`super::error_events`].
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}

/// Returns why a response ended that did.
fn finish(response: &Map<String, Value>) -> Finish {
    let mut output = response.get("output").and_then(Value::as_array).into_iter().flatten();
    let is_call = |item: &Value| matches!(item["type"].as_str(), Some("function_call" | "custom_tool_call"));
    decode::finish(response, output.any(is_call))
}

/// Reads a whole reply; it may be an error in spite of its status.
pub fn whole(body: &[u8]) -> Result<Whole, Nonsense> {
    let response = object(body)?;
    let error = is_failure(&response);
    if !error && !response.get("output").is_some_and(Value::is_array) {
        return Err(Nonsense::of("it has no output"));
    }
    let finish = (!error).then(|| finish(&response).as_str());
    Ok(Whole { usage: decode::usage(&response), finish, error })
}

/// Returns whether a response object is an error, or one that failed.
pub(super) fn is_failure(response: &Map<String, Value>) -> bool {
    let has_error = response.get("error").is_some_and(|error| !error.is_null());
    has_error || response.get("status").is_some_and(|status| status == "failed")
}
