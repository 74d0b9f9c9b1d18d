//! The texts of a streamed answer, event by event: what belongs together is screened as one text, although every dialect
//! cuts it into pieces of its own.
//!
//! No event is made up or lost: one whose text is not certain yet waits, with all behind it, until it is. So numbers of
//! events stay as the upstream gave them.

use std::collections::{HashMap, VecDeque};

use super::json::{self, Kind, Leaf, Step};
use super::redact::is_wire;
use super::screen::{Screen, Screening};

/// An event, with its texts as they may go out.
struct Queued<E> {
    event: E,
    data: String,
    slots: Vec<Slot>,
    /// How many of its slots may still change.
    open: usize,
}

/// A string literal of an event, and what stands in its place.
struct Slot {
    start: usize,
    end: usize,
    text: String,
}

/// One text over many events.
#[derive(Default)]
struct Lane {
    screen: Screen,
    pushed: usize,
    /// The slots its text goes into: which event, which slot, and how much of the text has come with it and before.
    slots: VecDeque<(usize, usize, usize)>,
}

/// What a leaf of an event is.
enum Role {
    /// The next piece of the text of that name.
    Piece(String),
    /// A text of its own.
    Whole,
}

/// The events of one answer; `E` is whatever the caller needs to send one.
pub struct Events<E> {
    lanes: HashMap<String, Lane>,
    queue: VecDeque<Queued<E>>,
    /// How many events have left the queue.
    gone: usize,
}

impl<E> Default for Events<E> {
    fn default() -> Self {
        Self { lanes: HashMap::new(), queue: VecDeque::new(), gone: 0 }
    }
}

impl<E> Events<E> {
    /// Takes an event with its JSON text, and gives to `ready` what may go out: the event, and its text where it changed.
    pub fn push(&mut self, screening: &mut Screening, event: E, data: &str, ready: impl FnMut(E, Option<String>)) {
        let leaves = json::leaves(data).unwrap_or_default();
        let shape = Shape::of(data, &leaves);
        let ended = shape.ended();
        let number = self.gone + self.queue.len();
        let mut queued = Queued { event, data: data.to_owned(), slots: Vec::new(), open: 0 };
        let mut pieces = Vec::new();
        for leaf in leaves.iter().filter(|leaf| leaf.kind == Kind::Text && !is_wire(&leaf.path)) {
            let text = json::decoded(&data[leaf.start..leaf.end]);
            let mut slot = Slot { start: leaf.start, end: leaf.end, text: String::new() };
            match shape.role(leaf) {
                Role::Whole => slot.text = screening.text(&text),
                Role::Piece(lane) => {
                    queued.open += 1;
                    pieces.push((lane, queued.slots.len(), text.into_owned()));
                }
            }
            queued.slots.push(slot);
        }
        // What ends without a further piece ends before this event.
        if let Some(ended) = &ended {
            self.end(screening, |lane| ended.covers(lane) && !pieces.iter().any(|(piece, ..)| piece == lane));
        }
        self.queue.push_back(queued);
        for (name, slot, text) in pieces {
            let lane = self.lanes.entry(name).or_default();
            lane.pushed += text.len();
            lane.slots.push_back((number, slot, lane.pushed));
            let mut out = String::new();
            lane.screen.push(screening, &text, &mut out);
            lane.settle(&mut self.queue, self.gone, &out, false);
        }
        if let Some(ended) = &ended {
            self.end(screening, |lane| ended.covers(lane));
        }
        self.release(ready);
    }

    /// The answer is over: everything goes out.
    pub fn finish(&mut self, screening: &mut Screening, ready: impl FnMut(E, Option<String>)) {
        self.end(screening, |_| true);
        self.release(ready);
    }

    fn end(&mut self, screening: &mut Screening, which: impl Fn(&str) -> bool) {
        let (queue, gone) = (&mut self.queue, self.gone);
        self.lanes.retain(|name, lane| {
            if !which(name) {
                return true;
            }
            let mut out = String::new();
            lane.screen.finish(screening, &mut out);
            lane.settle(queue, gone, &out, true);
            false
        });
    }

    fn release(&mut self, mut ready: impl FnMut(E, Option<String>)) {
        while self.queue.front().is_some_and(|queued| queued.open == 0) {
            let Some(queued) = self.queue.pop_front() else { return };
            self.gone += 1;
            let Queued { event, data, slots, .. } = queued;
            let patches: Vec<_> = slots
                .into_iter()
                .filter(|slot| json::decoded(&data[slot.start..slot.end]) != slot.text)
                .map(|slot| (slot.start, slot.end, json::encoded(&slot.text)))
                .collect();
            ready(event, (!patches.is_empty()).then(|| json::spliced(&data, &patches)));
        }
    }
}

impl Lane {
    /// Writes what became certain into the oldest open slot, and closes those whose text has been decided.
    fn settle<E>(&mut self, queue: &mut VecDeque<Queued<E>>, gone: usize, out: &str, all: bool) {
        let decided = self.pushed - self.screen.held().min(self.pushed);
        let mut out = out;
        while let Some((event, slot, until)) = self.slots.front().copied() {
            let Some(queued) = queue.get_mut(event - gone) else { break };
            queued.slots[slot].text.push_str(out);
            out = "";
            if !all && until > decided {
                break;
            }
            queued.open -= 1;
            self.slots.pop_front();
        }
    }
}

/// Which texts end with an event.
enum Ended {
    All,
    /// Those whose names begin so.
    Under(String),
}

impl Ended {
    fn covers(&self, lane: &str) -> bool {
        match self {
            Self::All => true,
            Self::Under(prefix) => lane.starts_with(prefix),
        }
    }
}

/// What kind of event it is, by its own words: every dialect is told by the members that only it has.
pub(super) struct Shape<'d, 'l> {
    data: &'d str,
    leaves: &'l [Leaf<'d>],
    /// `type`, where the dialect names its events.
    pub(super) kind: String,
}

impl<'d, 'l> Shape<'d, 'l> {
    pub(super) fn of(data: &'d str, leaves: &'l [Leaf<'d>]) -> Self {
        let kind = leaves
            .iter()
            .find(|leaf| leaf.kind == Kind::Text && matches!(&*leaf.path, [Step::Key(key)] if key == "type"));
        let kind = kind.map(|leaf| json::decoded(&data[leaf.start..leaf.end]).into_owned()).unwrap_or_default();
        Self { data, leaves, kind }
    }

    /// Returns the name of the text that the leaf is the next piece of; `None` where it is a text of its own.
    pub(super) fn piece(&self, leaf: &Leaf<'_>) -> Option<String> {
        match self.role(leaf) {
            Role::Piece(name) => Some(name),
            Role::Whole => None,
        }
    }

    fn role(&self, leaf: &Leaf<'_>) -> Role {
        let keys: Vec<&str> = leaf.keys().collect();
        match keys.as_slice() {
            // Chat completions, and completions of text.
            ["choices", "delta", ..] | ["choices", "text"] => Role::Piece(self.named(&leaf.path)),
            // Messages.
            ["delta", _] if self.kind == "content_block_delta" => {
                Role::Piece(format!("{}/{}", self.number("index"), leaf.key()))
            }
            // Responses.
            ["delta"] if self.kind.ends_with(".delta") => Role::Piece(self.item()),
            // Gemini.
            ["candidates", "content", "parts", "text"] => {
                Role::Piece(format!("{}/text", self.element(&leaf.path[..2])))
            }
            _ => Role::Whole,
        }
    }

    fn ended(&self) -> Option<Ended> {
        if self.kind == "content_block_stop" {
            return Some(Ended::Under(format!("{}/", self.number("index"))));
        }
        if self.kind == "message_stop"
            || matches!(&*self.kind, "response.completed" | "response.incomplete" | "response.failed")
        {
            return Some(Ended::All);
        }
        if self.kind.ends_with(".done") {
            return Some(Ended::Under(self.item()));
        }
        let finish = self.leaves.iter().find(|leaf| {
            leaf.kind == Kind::Text
                && matches!(
                    leaf.keys().collect::<Vec<_>>().as_slice(),
                    ["choices", "finish_reason"] | ["candidates", "finishReason"]
                )
        })?;
        Some(Ended::Under(format!("{}/", self.element(&finish.path[..2]))))
    }

    /// A text of Responses: its kind, its item and its part.
    fn item(&self) -> String {
        let kind = self.kind.trim_end_matches(".delta").trim_end_matches(".done");
        let [output, content, summary] =
            ["output_index", "content_index", "summary_index"].map(|name| self.number(name));
        format!("{kind}/{output}/{content}/{summary}/")
    }

    /// The number of that name at the top of the event.
    fn number(&self, name: &str) -> &'d str {
        let found = self
            .leaves
            .iter()
            .find(|leaf| leaf.kind == Kind::Number && matches!(&*leaf.path, [Step::Key(key)] if key == name));
        found.map_or("", |leaf| &self.data[leaf.start..leaf.end])
    }

    /// The name of a path in which elements are called by their `index`, where they have one: a piece of the third call
    /// stands first in its event.
    fn named(&self, path: &[Step<'_>]) -> String {
        let mut name = String::new();
        for (at, step) in path.iter().enumerate() {
            match step {
                Step::Key(key) if at > 0 => name.push_str(key),
                Step::Key(_) => continue,
                Step::Index(_) => name.push_str(&self.element(&path[..=at])),
            }
            name.push('/');
        }
        name
    }

    fn element(&self, path: &[Step<'_>]) -> String {
        let own = self.leaves.iter().find(|leaf| {
            leaf.kind == Kind::Number
                && leaf.path.len() == path.len() + 1
                && leaf.path.starts_with(path)
                && leaf.key() == "index"
        });
        match (own, path.last()) {
            (Some(leaf), _) => self.data[leaf.start..leaf.end].to_owned(),
            (None, Some(Step::Index(index))) => index.to_string(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::{Entity, Placeholders};

    fn screening() -> Screening {
        let mut values = Placeholders::new();
        values.stand_in(Entity::Email, "ann@example.com");
        values.stand_in(Entity::Person, "Ann \"A\" Lee");
        Screening::new(None, values, 64, [0; 32])
    }

    /// What goes out, and after how many events.
    fn sent(events: &[&str]) -> Vec<(usize, String)> {
        let (mut screening, mut out) = (screening(), Vec::new());
        let mut queue = Events::default();
        for (number, data) in events.iter().enumerate() {
            queue.push(&mut screening, *data, data, |event: &str, new| {
                out.push((number + 1, new.unwrap_or_else(|| event.to_owned())));
            });
        }
        queue.finish(&mut screening, |event, new| out.push((events.len(), new.unwrap_or_else(|| event.to_owned()))));
        out
    }

    fn texts(events: &[&str]) -> Vec<String> {
        sent(events).into_iter().map(|(_, event)| event).collect()
    }

    #[test]
    fn a_placeholder_over_three_events_of_a_chat_comes_back_in_the_first() {
        let out = sent(&[
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"Mail PI"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"I_EMAIL"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"_1 now"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        ]);
        assert_eq!(
            out,
            [
                (
                    3,
                    r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"Mail ann@example.com now"}}]}"#
                        .into()
                ),
                (3, r#"{"choices":[{"index":0,"delta":{"content":""}}]}"#.into()),
                (3, r#"{"choices":[{"index":0,"delta":{"content":""}}]}"#.into()),
                (4, r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#.into()),
            ]
        );
    }

    #[test]
    fn calls_are_told_apart_by_their_index_and_their_arguments_stay_json() {
        let call = |index: u32, piece: &str| {
            let piece = json::encoded(piece);
            format!(
                r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":{index},"function":{{"arguments":{piece}}}}}]}}}}]}}"#
            )
        };
        let events =
            [call(0, "{\"a\":\"PII_PER"), call(1, "{\"b\":\"PII_EM"), call(0, "SON_1\"}"), call(1, "AIL_1\"}")];
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let mut arguments = [String::new(), String::new()];
        for event in texts(&events) {
            let event: serde_json::Value = serde_json::from_str(&event).expect("JSON");
            let call = &event["choices"][0]["delta"]["tool_calls"][0];
            let index = call["index"].as_u64().expect("index") as usize;
            arguments[index].push_str(call["function"]["arguments"].as_str().expect("text"));
        }
        let read = arguments.map(|text| serde_json::from_str::<serde_json::Value>(&text).expect("still JSON"));
        assert_eq!(read[0]["a"], "Ann \"A\" Lee");
        assert_eq!(read[1]["b"], "ann@example.com");
    }

    #[test]
    fn a_block_of_messages_ends_before_its_stop() {
        let out = texts(&[
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"to PII_EMAIL_1"}}"#,
            r#"{"type":"content_block_stop","index":1}"#,
        ]);
        assert_eq!(
            out,
            [
                r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"to ann@example.com"}}"#,
                r#"{"type":"content_block_stop","index":1}"#,
            ]
        );
    }

    #[test]
    fn what_responses_repeats_whole_says_the_same() {
        let out = texts(&[
            r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"PII_EMAIL","sequence_number":4}"#,
            r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"_1","sequence_number":5}"#,
            r#"{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"PII_EMAIL_1","sequence_number":6}"#,
        ]);
        assert!(out[0].contains(r#""delta":"ann@example.com""#), "{out:?}");
        assert!(out[1].contains(r#""delta":"""#) && out[2].contains(r#""text":"ann@example.com""#), "{out:?}");
    }

    #[test]
    fn gemini_and_completions_are_restored_and_nothing_waits_without_need() {
        let out = sent(&[
            r#"{"candidates":[{"content":{"parts":[{"text":"Hello "}],"role":"model"}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"PII_EMAIL_1"}]},"finishReason":"STOP"}]}"#,
            r#"{"choices":[{"text":"pii_email_1","index":0,"finish_reason":"stop"}]}"#,
        ]);
        assert_eq!(out[0].0, 1);
        assert!(out[1].0 == 2 && out[1].1.contains("ann@example.com"), "{out:?}");
        assert!(out[2].0 == 3 && out[2].1.contains("ann@example.com"), "{out:?}");
    }
}
