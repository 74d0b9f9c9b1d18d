//! The texts of a request, an answer or an event, where somebody else is to look at them.

use super::events::Shape;
use super::json::{self, Kind, Leaf, Malformed, Step};
use super::redact::{MEDIA, is_medium, is_wire};

/// A text, and where its literal stands in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Its place as a JSON pointer (RFC 6901), or the name of the text that it is a piece of.
    pub at: String,
    /// Whether the next event may go on with it.
    pub is_piece: bool,
    pub start: usize,
    pub end: usize,
    pub text: String,
}

/// Names of members by which an answer tells of itself: nobody said them.
const TOLD: &[&str] = &[
    "created_by",
    "finishReason",
    "modelVersion",
    "native_finish_reason",
    "obfuscation",
    "responseId",
    "stop_reason",
    "stop_sequence",
    "system_fingerprint",
];

/// Names of members that hold what a model says, in events that are not pieces.
const SAID: &[&str] = &["arguments", "content", "input", "refusal", "text", "thinking", "transcript"];

/// Events that repeat what the client asked.
const REPEATING: &[&str] = &["response.created", "response.in_progress", "response.queued"];

/// Returns every text of `body`, a request or a whole answer of any dialect, in its order.
pub fn of_body(body: &str) -> Result<Vec<Text>, Malformed> {
    let said = |leaf: &Leaf<'_>| leaf.kind == Kind::Text && !is_wire(&leaf.path) && !TOLD.contains(&leaf.key());
    let leaves = json::leaves(body)?;
    let texts = leaves.iter().filter(|leaf| said(leaf)).map(|leaf| whole(body, leaf));
    Ok(texts.filter(|text| !text.text.trim().is_empty()).collect())
}

/// Returns every text of an event: pieces of longer ones, and some of their own.
pub fn of_event(data: &str) -> Vec<Text> {
    let leaves = json::leaves(data).unwrap_or_default();
    let shape = Shape::of(data, &leaves);
    let repeating = REPEATING.contains(&shape.kind.as_str());
    let said = leaves.iter().filter(|leaf| leaf.kind == Kind::Text && !is_wire(&leaf.path));
    let text = |leaf: &Leaf<'_>| match shape.piece(leaf) {
        Some(at) => Some(Text { at, is_piece: true, ..whole(data, leaf) }),
        None => (!repeating && SAID.contains(&leaf.key())).then(|| whole(data, leaf)),
    };
    said.filter_map(text).filter(|text| !text.text.is_empty()).collect()
}

/// Returns `body` with those texts in new words that have some; `None` if none has.
pub fn replaced<'t>(body: &str, texts: impl Iterator<Item = (&'t Text, Option<&'t str>)>) -> Option<String> {
    let new = texts.filter_map(|(text, new)| Some((text.start, text.end, json::encoded(new?))));
    let patches: Vec<_> = new.collect();
    (!patches.is_empty()).then(|| json::spliced(body, &patches))
}

fn whole(body: &str, leaf: &Leaf<'_>) -> Text {
    let text = json::decoded(&body[leaf.start..leaf.end]).into_owned();
    // Bytes in Base64 and addresses of files are nothing to read.
    let text = if MEDIA.contains(&leaf.key()) && is_medium(&text) { String::new() } else { text };
    Text { at: pointer(&leaf.path), is_piece: false, start: leaf.start, end: leaf.end, text }
}

fn pointer(path: &[Step<'_>]) -> String {
    let step = |step: &Step<'_>| match step {
        Step::Key(key) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Step::Index(at) => format!("/{at}"),
    };
    path.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(texts: &[Text]) -> Vec<(&str, &str)> {
        texts.iter().map(|text| (text.at.as_str(), text.text.as_str())).collect()
    }

    #[test]
    fn what_is_said_is_told_with_its_place_and_can_be_said_otherwise() {
        let body = json!({"model": "m", "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi \u{e9}"}, {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "{\"a/b\":1}"},
        ]})
        .to_string();
        let texts = of_body(&body).expect("JSON");
        assert_eq!(told(&texts), [("/messages/0/content/0/text", "hi \u{e9}"), ("/messages/1/content", "{\"a/b\":1}")]);

        let new = [None, Some("\"gone\"")];
        let new = replaced(&body, texts.iter().zip(new)).expect("changed");
        assert_eq!(told(&of_body(&new).expect("JSON"))[1].1, "\"gone\"");
        assert_eq!(replaced(&body, texts.iter().map(|text| (text, None))), None);
    }

    #[test]
    fn pieces_of_one_text_have_one_name_and_what_a_request_said_is_not_told_again() {
        let piece =
            |text: &str| json!({"choices": [{"index": 0, "delta": {"content": text}}], "system_fingerprint": "f"});
        let (one, two) = (of_event(&piece("a").to_string()), of_event(&piece("b").to_string()));
        assert!(one.len() == 1 && one[0].is_piece && one[0].at == two[0].at && two[0].text == "b", "{one:?}");

        let done = json!({"type": "response.output_text.done", "item_id": "i", "text": "ab"}).to_string();
        assert_eq!(told(&of_event(&done)), [("/text", "ab")]);
        let created = json!({"type": "response.created", "response": {"instructions": "x", "output": [{"text": "y"}]}});
        assert_eq!(of_event(&created.to_string()), []);
        assert_eq!(of_event("[DONE]"), []);
    }
}
