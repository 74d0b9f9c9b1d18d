//! Gemini's whole replies: read like a stream of one event, so that both mean the same.

use super::reader::Reader;
use super::wire::responses;
use crate::providers::dialect::Nonsense;
use crate::schema::chat::{Accumulator, ChatReply};

/// Reads a whole reply, or the array that a stream without `alt=sse` is.
pub(super) fn decode(body: &[u8]) -> Result<ChatReply, Nonsense> {
    let (mut reader, mut chunks) = (Reader::default(), Vec::new());
    for response in responses(body)? {
        reader.take(response, &mut chunks)?;
    }
    if !reader.has_candidates() {
        return Err(Nonsense::of("it has neither candidates nor a reason why the prompt was blocked"));
    }
    reader.close(&mut chunks);
    let mut whole = Accumulator::default();
    chunks.iter().for_each(|chunk| whole.push(chunk));
    Ok(whole.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::chat::{Content, Finish};

    #[test]
    fn an_array_of_events_is_one_reply() {
        let body = br#"[{"responseId":"r","candidates":[{"content":{"parts":[{"text":"5 "}]}}]},
            {"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"totalTokenCount":3}}]"#;

        let reply = decode(body).unwrap();

        assert_eq!(reply.choices[0].parts[0].content, Content::Text("5 x".into()));
        assert_eq!(reply.choices[0].finish, Some(Finish::Stop { sequence: None }));
        assert_eq!(reply.usage.unwrap().prompt, 3);
    }

    #[test]
    fn an_empty_candidate_is_an_empty_answer() {
        let reply = decode(br#"{"candidates":[{"content":{"role":"model"},"finishReason":"STOP"}]}"#).unwrap();

        assert!(reply.choices[0].parts.is_empty());
    }

    #[test]
    fn what_is_no_reply_is_nonsense() {
        for body in ["", "<html>", "{}", "7", r#"{"usageMetadata":{}}"#, r#"{"candidates":7}"#] {
            assert!(decode(body.as_bytes()).is_err(), "{body}");
        }
    }
}
