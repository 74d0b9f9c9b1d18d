//! What an answer goes through on its way to the client: what it must not say is replaced, what was taken out of the
//! question comes back.

use std::sync::Arc;

use super::Entity;
use super::json::{self, Kind};
use super::placeholder::{Placeholders, Restorer};
use super::policy::{Action, Hit, Policy, Voice};
use super::redact::{Report, code, is_wire, mask};

/// How far to the left a finding's context is looked for, in bytes; it is out already, and only kept to be read.
const LEFT: usize = 80;
/// How much text is gathered before what is out is forgotten, in bytes.
const FORGET: usize = 4_096;

/// The rules for one answer, what was taken out of its question, and what was found in it.
pub struct Screening {
    policy: Option<Arc<Policy>>,
    values: Placeholders,
    secret: [u8; 32],
    /// Most characters held back.
    window: usize,
    report: Report,
    /// The answer as it came, up to so many bytes, where somebody wants to keep it.
    came: (usize, Vec<u8>),
    hits: Vec<Hit>,
}

impl Screening {
    /// Puts `values` back, and screens what the model itself says by `policy`, looking `window` characters ahead.
    pub fn new(policy: Option<Arc<Policy>>, values: Placeholders, window: usize, secret: [u8; 32]) -> Self {
        Self {
            policy,
            values,
            secret,
            window: window.max(1),
            report: Report::default(),
            came: (0, Vec::new()),
            hits: Vec::new(),
        }
    }

    /// Puts `values` back, and does nothing else.
    pub fn of(values: Placeholders) -> Self {
        Self::new(None, values, 1, [0; 32])
    }

    /// Keeps up to `most` bytes of the answer as it came.
    pub fn keep(&mut self, most: usize) {
        self.came.0 = most;
    }

    /// Notes bytes of the answer before anything is put back.
    pub fn came(&mut self, bytes: &[u8]) {
        let room = self.came.0.saturating_sub(self.came.1.len()).min(bytes.len());
        self.came.1.extend_from_slice(&bytes[..room]);
    }

    /// What was kept of the answer as it came.
    pub fn take_came(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.came.1)
    }

    /// Whether an answer may pass as it is.
    pub fn is_idle(&self) -> bool {
        self.policy.is_none() && self.values.is_empty() && self.came.0 == 0
    }

    /// Notes what somebody else found in the answer.
    pub fn found(&mut self, report: &Report) {
        self.report.add(report);
    }

    /// What was found in the answer up to now.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Returns a whole text as the client gets it, the same as it would come in pieces.
    pub fn text(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut screen = Screen::default();
        screen.push(self, text, &mut out);
        screen.finish(self, &mut out);
        out
    }

    /// Returns a whole answer of any dialect as the client gets it; `None` if nothing changes, or it is no JSON.
    pub fn answer(&mut self, body: &str) -> Option<String> {
        let mut patches = Vec::new();
        for leaf in json::leaves(body).ok()? {
            if leaf.kind == Kind::Number {
                continue;
            }
            let literal = &body[leaf.start..leaf.end];
            let text = json::decoded(literal);
            // Names of members and of the wire are nobody's, but a name may stand for one that was taken out.
            let new = if leaf.kind == Kind::Key || is_wire(&leaf.path) {
                self.values.restore(&text)
            } else {
                self.text(&text)
            };
            if new != text {
                patches.push((leaf.start, leaf.end, json::encoded(&new)));
            }
        }
        (!patches.is_empty()).then(|| json::spliced(body, &patches))
    }

    /// What is found first in `text` and ends behind `from`.
    fn first(&mut self, text: &str, from: usize) -> Option<Hit> {
        let policy = self.policy.as_ref()?;
        policy.find(text, Voice::Other, &mut self.hits);
        self.hits.iter().find(|hit| hit.end > from).copied()
    }
}

/// One text on its way out, however it is cut: every split gives the same result.
///
/// Each word is decided with the words before it and at most the window behind it, so no more than that is held back.
/// What is longer than the window, as private keys are, is decided by its beginning and swallowed to its end.
#[derive(Default)]
pub struct Screen {
    /// What is out and still read as context, then what is held.
    raw: String,
    /// Where what is held begins.
    at: usize,
    restorer: Restorer,
    swallowing: Option<Entity>,
}

impl Screen {
    /// Takes the next piece and appends to `out` what is certain.
    pub fn push(&mut self, screening: &mut Screening, piece: &str, out: &mut String) {
        if screening.policy.is_none() {
            return self.restorer.push(&screening.values, piece, out);
        }
        self.raw.push_str(piece);
        self.decide(screening, false, out);
        if self.at > FORGET {
            let from = floor(&self.raw, self.at - LEFT);
            self.raw.drain(..from);
            self.at -= from;
        }
    }

    /// The text has ended: appends what was held.
    pub fn finish(&mut self, screening: &mut Screening, out: &mut String) {
        if screening.policy.is_some() {
            self.decide(screening, true, out);
        }
        self.restorer.finish(&screening.values, out);
        *self = Self::default();
    }

    /// How many bytes of what came are not decided yet.
    pub fn held(&self) -> usize {
        self.raw.len() - self.at + self.restorer.held()
    }

    fn decide(&mut self, screening: &mut Screening, ended: bool, out: &mut String) {
        while self.at < self.raw.len() && screening.report.blocked.is_none() {
            if let Some(entity) = self.swallowing
                && !self.swallow(entity)
            {
                return;
            }
            let ahead = self.raw[self.at..].char_indices().nth(screening.window).map(|(at, _)| self.at + at);
            let (end, is_last) = match ahead {
                Some(end) => (end, false),
                None if ended => (self.raw.len(), true),
                None => return,
            };
            let begin = floor(&self.raw, self.at.saturating_sub(LEFT));
            let word_end = self.word_end(end);
            let found = screening.first(&self.raw[begin..end], self.at - begin).map(|hit| {
                let (start, end) = ((begin + hit.start).max(self.at), begin + hit.end);
                Hit { start, end, ..hit }
            });
            match found.filter(|hit| hit.start < word_end) {
                // It may go on beyond what can be seen from here: see more of it first.
                Some(hit) if hit.start > self.at && hit.end == end && !is_last => {
                    self.pass(&screening.values, hit.start, out);
                }
                Some(hit) => {
                    self.pass(&screening.values, hit.start, out);
                    self.replace(screening, &hit, out);
                    self.swallowing = (hit.end == end && !is_last && hit.action != Action::Flag).then_some(hit.entity);
                }
                None => self.pass(&screening.values, word_end, out),
            }
        }
    }

    /// Where the word, or the blank, that begins what is held ends.
    fn word_end(&self, end: usize) -> usize {
        let held = &self.raw[self.at..end];
        let blank = held.starts_with(char::is_whitespace);
        held.find(|character: char| character.is_whitespace() != blank).map_or(end, |at| self.at + at)
    }

    fn pass(&mut self, values: &Placeholders, until: usize, out: &mut String) {
        self.restorer.push(values, &self.raw[self.at..until], out);
        self.at = until;
    }

    fn replace(&mut self, screening: &mut Screening, hit: &Hit, out: &mut String) {
        if let Some(policy) = &screening.policy {
            screening.report.count(policy.rule(hit), hit.entity, hit.action);
        }
        let new = match hit.action {
            Action::Allow | Action::Flag => return self.pass(&screening.values, hit.end, out),
            // Nothing of a refused answer goes out from here on.
            Action::Block => String::new(),
            // The client never had it, so there is nothing to give back.
            Action::Mask | Action::Tokenize => mask(hit.entity),
            Action::Hash => code(&screening.secret, hit.entity, &self.raw[self.at..hit.end]),
        };
        self.restorer.finish(&screening.values, out);
        out.push_str(&new);
        self.at = hit.end;
    }

    /// Skips the rest of something longer than the window; returns whether its end has come.
    fn swallow(&mut self, entity: Entity) -> bool {
        let held = &self.raw[self.at..];
        let end = match entity {
            // Up to the end of the line that ends the key, however many lines it has.
            Entity::PrivateKey => match held.find("-----END") {
                Some(at) => held[at + 8..].find("-----").map(|dashes| at + 8 + dashes + 5),
                None => None,
            },
            _ => held
                .find(|character: char| character.is_whitespace() || matches!(character, '"' | '\'' | ',' | ')' | '<')),
        };
        match end {
            Some(end) => {
                self.at += end;
                self.swallowing = None;
                true
            }
            None => {
                // Of a key's last line its beginning may have come.
                let keep = if entity == Entity::PrivateKey { 96 } else { 0 };
                self.at = floor(&self.raw, (self.raw.len() - keep.min(held.len())).max(self.at));
                false
            }
        }
    }
}

/// The last place between characters that is not behind `at`.
pub(super) fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::{EntitySet, Layer, Scanner};
    use proptest::prelude::*;

    fn screening() -> Screening {
        let mut values = Placeholders::new();
        values.stand_in(Entity::Email, "ann@example.com");
        let policy = Policy::default().with(Layer::new("pii", Scanner::new(EntitySet::all()), Action::Mask));
        Screening::new(Some(Arc::new(policy)), values, 64, [0; 32])
    }

    #[test]
    fn a_whole_answer_is_restored_in_every_string() {
        let mut values = Placeholders::new();
        values.stand_in(Entity::Email, "a\"b@example.com");
        let mut screening = Screening::new(None, values, 64, [0; 32]);
        let body = r#"{"id":"x","choices":[{"message":{"content":"to PII_EMAIL_1","tool_calls":[{"function":{"arguments":"{\"to\":\"PII_EMAIL_1\"}"}}]}}]}"#;
        let out: serde_json::Value = serde_json::from_str(&screening.answer(body).expect("changed")).expect("JSON");
        let message = &out["choices"][0]["message"];
        assert_eq!(message["content"], "to a\"b@example.com");
        let arguments = message["tool_calls"][0]["function"]["arguments"].as_str().expect("text");
        let arguments: serde_json::Value = serde_json::from_str(arguments).expect("still JSON");
        assert_eq!(arguments["to"], "a\"b@example.com");
        assert_eq!(screening.answer(r#"{"a":"nothing to do"}"#), None);
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same(
            words in proptest::collection::vec(
                prop_oneof![
                    Just("PII_EMAIL_1".to_owned()), Just("bob@example.org".to_owned()), Just("4111 1111 1111 1111".to_owned()),
                    Just(" ".to_owned()), Just("call 555-123-4567".to_owned()), Just("\n".to_owned()), Just("192.0.2.7".to_owned()),
                    "[ a-z0-9@.é-]{0,12}", "[a-z0-9]{60,90}",
                ], 0..14),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..9),
        ) {
            let text = words.join(" ");
            let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            let mut cuts: Vec<usize> = cuts.iter().filter(|_| !ends.is_empty()).map(|cut| ends[cut.index(ends.len())]).collect();
            cuts.sort_unstable();
            let (mut screening, mut screen, mut out) = (screening(), Screen::default(), String::new());
            let mut from = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                screen.push(&mut screening, &text[from..cut], &mut out);
                prop_assert!(screen.raw[screen.at..].chars().count() <= 64);
                from = cut;
            }
            screen.finish(&mut screening, &mut out);
            prop_assert_eq!(out, tests::screening().text(&text));
        }
    }
}
