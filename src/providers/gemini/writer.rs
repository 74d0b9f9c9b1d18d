//! Streamed replies in Gemini's shape: events without names and without an end mark.

use bursar_actors::Usage;
use serde_json::{Value, json};

use super::logprobs;
use super::write::{Thoughts, finish_reason, function_call, grounding, usage_metadata};
use crate::providers::dialect::StreamWriter;
use crate::schema::chat::{ChatRequest, Chunk, Dialect, Finish, ToolCall};

/// The state of one stream.
#[derive(Debug)]
pub(super) struct Writer {
    thoughts: Thoughts,
    /// Model and id, as every event ends with them.
    tail: String,
    /// Calls whose arguments are being gathered: Gemini's clients get them whole.
    calls: Vec<(u32, u32, ToolCall)>,
    /// What ended, for the last event.
    finished: Vec<(u32, Finish)>,
    usage: Option<Usage>,
}

impl Writer {
    /// Begins a reply to `request`.
    pub(super) fn new(request: &ChatRequest) -> Self {
        let thoughts = Thoughts::wanted(request);
        let (tail, calls, finished) = Default::default();
        Self { thoughts, tail, calls, finished, usage: None }
    }

    /// Writes one event: `fields` is the inside of its object, without braces.
    fn event(&mut self, fields: std::fmt::Arguments<'_>, out: &mut Vec<u8>) {
        use std::io::Write as _;
        // Writing to memory cannot fail.
        let _ = write!(out, "data: {{{fields}{}}}\r\n\r\n", self.tail);
    }

    fn part(&mut self, choice: u32, part: &Value, out: &mut Vec<u8>) {
        let content =
            format_args!(r#""candidates":[{{"content":{{"parts":[{part}],"role":"model"}},"index":{choice}}}]"#);
        self.event(content, out);
    }

    fn text(&mut self, choice: u32, text: &str, out: &mut Vec<u8>) {
        self.part(choice, &json!({ "text": text }), out);
    }

    /// Writes a candidate that has something beside an empty text.
    fn aside(&mut self, choice: u32, name: &str, value: &Value, out: &mut Vec<u8>) {
        let candidate =
            json!({ "content": { "parts": [{ "text": "" }], "role": "model" }, "index": choice, name: value });
        self.event(format_args!(r#""candidates":[{candidate}]"#), out);
    }

    /// Writes the calls of `choice`, now that they are complete.
    fn flush(&mut self, choice: u32, out: &mut Vec<u8>) {
        let (ready, others) = std::mem::take(&mut self.calls).into_iter().partition(|(of, ..)| *of == choice);
        self.calls = others;
        let ready: Vec<(u32, u32, ToolCall)> = ready;
        for (_, _, call) in &ready {
            self.part(choice, &function_call(call), out);
        }
    }
}

impl StreamWriter for Writer {
    fn chunk(&mut self, chunk: &Chunk, out: &mut Vec<u8>) {
        match chunk {
            Chunk::Start { id, model, .. } => {
                self.tail = format!(r#","modelVersion":{}"#, json!(model));
                if !id.is_empty() {
                    self.tail.push_str(&format!(r#","responseId":{}"#, json!(id)));
                }
            }
            Chunk::Text { choice, text } | Chunk::Refusal { choice, text } => self.text(*choice, text, out),
            Chunk::Thinking { choice, text } if self.thoughts == Thoughts::Shown => {
                self.part(*choice, &json!({ "text": text, "thought": true }), out);
            }
            Chunk::ThinkingEnd { choice, signature: Some(signature), vendor: Some(Dialect::Gemini), .. } => {
                self.part(*choice, &json!({ "text": "", "thoughtSignature": signature }), out);
            }
            Chunk::Thinking { .. } | Chunk::ThinkingEnd { .. } => {}
            Chunk::ToolCall { choice, tool, id, name, custom, signature } => {
                let (id, name, signature) = (id.clone(), name.clone(), signature.clone());
                let call = ToolCall { id, name, arguments: String::new(), custom: *custom, signature };
                self.calls.push((*choice, *tool, call));
            }
            Chunk::ToolArguments { choice, tool, fragment } => {
                let gathered = self.calls.iter_mut().find(|(of, number, _)| (of, number) == (choice, tool));
                if let Some((_, _, call)) = gathered {
                    call.arguments.push_str(fragment);
                }
            }
            Chunk::Citation { choice, citation } => {
                self.aside(*choice, "groundingMetadata", &grounding(std::slice::from_ref(citation)), out);
            }
            Chunk::Logprobs { choice, value } => {
                if let Some(result) = logprobs::from_openai(value) {
                    self.aside(*choice, "logprobsResult", &result, out);
                }
            }
            Chunk::Native { choice, dialect: Dialect::Gemini, value } => self.part(*choice, value, out),
            Chunk::Native { .. } => {}
            Chunk::Finish { choice, finish } => {
                self.flush(*choice, out);
                self.finished.push((*choice, finish.clone()));
            }
            Chunk::Usage(usage) => self.usage = Some(*usage),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        let candidate = |(choice, finish): &(u32, Finish)| {
            json!({
                "content": { "parts": [{ "text": "" }], "role": "model" },
                "finishReason": finish_reason(finish),
                "index": choice,
            })
        };
        let candidates = Value::Array(self.finished.iter().map(candidate).collect());
        match self.usage.as_ref().map(usage_metadata) {
            Some(usage) => self.event(format_args!(r#""candidates":{candidates},"usageMetadata":{usage}"#), out),
            None => self.event(format_args!(r#""candidates":{candidates}"#), out),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::providers::dialect::UpstreamDialect;
    use crate::providers::framing::{Framer, Framing};
    use crate::providers::gemini::Gemini;
    use crate::schema::chat::{Accumulator, Citation, Reasoning};

    fn chunks() -> Vec<Chunk> {
        let call = |tool: u32, id: &str, signature: Option<&str>| Chunk::ToolCall {
            choice: 0,
            tool,
            id: id.into(),
            name: "f".into(),
            custom: false,
            signature: signature.map(str::to_owned),
        };
        let arguments = |tool: u32, fragment: &str| Chunk::ToolArguments { choice: 0, tool, fragment: fragment.into() };
        let (service_tier, system_fingerprint) = (None, None);
        let vendor = Some(Dialect::Gemini);
        let citation = Citation { url: "https://a.b".into(), title: "t".into(), start: None, end: None };
        vec![
            Chunk::Start { id: "r".into(), created: 0, model: "m".into(), service_tier, system_fingerprint },
            Chunk::Thinking { choice: 0, text: "hm".into() },
            Chunk::ThinkingEnd { choice: 0, signature: Some("s".into()), encrypted: None, vendor, id: None },
            Chunk::Text { choice: 0, text: "a \"b\"\n".into() },
            Chunk::Citation { choice: 0, citation },
            call(0, "x", Some("t")),
            arguments(0, "{\"a\":"),
            call(1, "y", None),
            arguments(1, "{}"),
            arguments(0, "\"é\"}"),
            Chunk::Finish { choice: 0, finish: Finish::ToolCalls },
            Chunk::Usage(Usage { prompt: 3, completion: 4, total: 7, reasoning: 1, ..Usage::default() }),
        ]
    }

    fn written() -> Vec<u8> {
        let reasoning = Some(Reasoning { show: Some(true), ..Reasoning::default() });
        let mut writer = Writer::new(&ChatRequest { reasoning, ..ChatRequest::default() });
        let mut out = Vec::new();
        chunks().iter().for_each(|chunk| writer.chunk(chunk, &mut out));
        writer.finish(&mut out);
        out
    }

    fn whole(chunks: &[Chunk]) -> crate::schema::chat::ChatReply {
        let mut accumulator = Accumulator::default();
        chunks.iter().for_each(|chunk| accumulator.push(chunk));
        accumulator.finish()
    }

    #[test]
    fn events_are_read_as_what_was_written() {
        let mut framer = Framer::new(Framing::Sse);
        framer.feed(Bytes::from(written()));
        let (mut reader, mut read) = (Gemini { vertex: false }.reader(), Vec::new());

        while let Some(framed) = framer.next_frame() {
            let framed = framed.unwrap();
            assert_eq!(framed.frame().event, None);
            reader.frame(&framed.frame(), &mut read).unwrap();
        }

        assert!(reader.is_complete());
        assert_eq!(whole(&read), whole(&chunks()));
    }

    #[test]
    fn only_the_last_event_says_how_it_ended_and_what_it_used() {
        let text = String::from_utf8(written()).unwrap();

        let events: Vec<&str> = text.split_terminator("\r\n\r\n").collect();
        let ends = |event: &&str| event.contains("finishReason") || event.contains("usageMetadata");
        assert!(ends(events.last().unwrap()));
        assert_eq!(events.iter().filter(|event| ends(event)).count(), 1);
        assert!(!text.contains("[DONE]"));
    }
}
