//! Replaces in texts and requests what a policy says must not leave.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::json::{self, Kind, Leaf, Malformed, Step};
use super::placeholder::{Placeholders, goes_on, lookalikes};
use super::policy::{Action, Hit, Policy, Voice};
use super::{Entity, EntitySet};

/// What was found in one request, in numbers: no value is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many of each kind met which action, by the rule that asked for it.
    pub counts: BTreeMap<(Arc<str>, Entity, Action), u32>,
    /// The first rule that refuses, and the kind that it found.
    pub blocked: Option<(Arc<str>, Entity)>,
    /// Images, sounds and files, which nobody looked into.
    pub unscanned: u32,
}

impl Report {
    /// How many things were found.
    pub fn found(&self) -> u32 {
        self.counts.values().sum()
    }

    /// Adds what was found elsewhere; who refuses it says so there.
    pub fn add(&mut self, other: &Self) {
        for (found, count) in &other.counts {
            *self.counts.entry(found.clone()).or_default() += count;
        }
        self.unscanned += other.unscanned;
    }

    /// Notes that `rule` found one `entity`.
    pub fn count(&mut self, rule: &Arc<str>, entity: Entity, action: Action) {
        *self.counts.entry((rule.clone(), entity, action)).or_default() += 1;
        if action == Action::Block && self.blocked.is_none() {
            self.blocked = Some((rule.clone(), entity));
        }
    }

    /// Whether any of `entities` was found.
    pub fn has(&self, entities: EntitySet) -> bool {
        self.counts.keys().any(|(_, entity, _)| entities.contains(*entity))
    }
}

/// Applies a policy to the texts of one request.
pub struct Redactor<'p> {
    policy: &'p Policy,
    /// Keys the codes of [`Action::Hash`].
    secret: [u8; 32],
    values: Placeholders,
    report: Report,
    /// Who says what is looked into.
    voice: Voice,
    hits: Vec<Hit>,
}

/// Names of members whose strings belong to the wire, not to what is said: they are not looked into.
const WIRE: &[&str] = &[
    "$ref",
    "call_id",
    "cache_control",
    "detail",
    "effort",
    "encoding_format",
    "encrypted_content",
    "file_id",
    "finish_reason",
    "format",
    "id",
    "item_id",
    "media_type",
    "mimeType",
    "mime_type",
    "modalities",
    "model",
    "object",
    "parallel_tool_calls",
    "pattern",
    "previous_response_id",
    "propertyOrdering",
    "property_ordering",
    "required",
    "response_id",
    "role",
    "service_tier",
    "signature",
    "status",
    "taskType",
    "task_type",
    "thoughtSignature",
    "thought_signature",
    "tool_call_id",
    "tool_use_id",
    "truncation",
    "type",
    "verbosity",
];

/// Names of members that hold what another program reads, where every string and every name may be personal.
const FREE: &[&str] =
    &["args", "arguments", "functionResponse", "function_response", "input", "metadata", "response", "output"];

/// Names of members that point at what is not text, or hold it.
pub(super) const MEDIA: &[&str] =
    &["audio_url", "data", "fileUri", "file_data", "file_uri", "file_url", "image_url", "uri", "url", "video_url"];

/// How often JSON inside a string inside JSON is looked into.
const NESTED: usize = 4;

/// Longest run of digits that JSON numbers of a request have without being somebody's.
const SHORT_NUMBER: usize = 6;

impl<'p> Redactor<'p> {
    /// For one request; `secret` keys the codes of [`Action::Hash`].
    pub fn new(policy: &'p Policy, secret: [u8; 32]) -> Self {
        let (values, report) = (Placeholders::new(), Report::default());
        Self { policy, secret, values, report, voice: Voice::Other, hits: Vec::new() }
    }

    /// Replaces values by codes under `key` instead of counting them.
    #[must_use]
    pub fn keyed(mut self, key: [u8; 32]) -> Self {
        self.values = Placeholders::keyed(key);
        self
    }

    /// What was replaced, to put it back into the answer, and what was found.
    pub fn finish(self) -> (Placeholders, Report) {
        (self.values, self.report)
    }

    /// Returns `text` with everything replaced; `None` if nothing was.
    pub fn text(&mut self, text: &str) -> Option<String> {
        self.after_hint("", text)
    }

    /// Returns `body`, a request of any dialect, with everything replaced; `None` if nothing was.
    ///
    /// What is no member of the wire is text, so a member that is new tomorrow is looked into, too. The conversation comes
    /// last, so that what grows with it does not change the numbers of what stands before it.
    pub fn request(&mut self, body: &str) -> Result<Option<String>, Malformed> {
        self.document(body, false, 0)
    }

    fn document(&mut self, body: &str, free: bool, depth: usize) -> Result<Option<String>, Malformed> {
        let mut leaves = json::leaves(body)?;
        leaves.sort_by_key(|leaf| leaf.path.first().and_then(Step::key).is_some_and(is_conversation));
        let mut patches = Vec::new();
        let systems = if depth == 0 && self.policy.judges() { systems(body, &leaves) } else { vec![] };
        for leaf in &leaves {
            if depth == 0 {
                self.voice = if is_system(&leaf.path, &systems) { Voice::System } else { Voice::Other };
            }
            if let Some(new) = self.leaf(body, leaf, free || is_free(&leaf.path), depth) {
                patches.push((leaf.start, leaf.end, json::encoded(&new)));
            }
        }
        patches.sort_unstable_by_key(|(start, ..)| *start);
        Ok((!patches.is_empty()).then(|| json::spliced(body, &patches)))
    }

    fn leaf(&mut self, body: &str, leaf: &Leaf<'_>, free: bool, depth: usize) -> Option<String> {
        let literal = &body[leaf.start..leaf.end];
        match leaf.kind {
            Kind::Key if free => self.after_hint("", &json::decoded(literal)),
            Kind::Number if free && literal.len() > SHORT_NUMBER => self.after_hint(leaf.key(), literal),
            Kind::Key | Kind::Number => None,
            Kind::Text if free => self.string(leaf.key(), &json::decoded(literal), depth),
            Kind::Text => {
                let text = json::decoded(literal);
                let key = leaf.key();
                if is_wire(&leaf.path) {
                    return None;
                }
                if MEDIA.contains(&key) && is_medium(&text) {
                    self.report.unscanned += 1;
                    return None;
                }
                self.string("", &text, depth)
            }
        }
    }

    /// A string that may hold JSON itself, as arguments and results of tools do; escapes in it hide nothing.
    fn string(&mut self, hint: &str, text: &str, depth: usize) -> Option<String> {
        if depth < NESTED && matches!(text.trim_start().as_bytes().first(), Some(b'{' | b'[' | b'"')) {
            // Where the outer escapes are gone, a document remains, or it is only text that begins like one.
            if let Ok(replaced) = self.document(text, true, depth + 1) {
                return replaced;
            }
        }
        self.after_hint(hint, text)
    }

    /// Replaces in `text`, whose neighbour is `hint`: the name of a member says what its value is.
    fn after_hint(&mut self, hint: &str, text: &str) -> Option<String> {
        let mut hits = std::mem::take(&mut self.hits);
        if hint.is_empty() {
            self.policy.find(text, self.voice, &mut hits);
        } else {
            let lead = hint.len() + 2;
            self.policy.find(&format!("{hint}: {text}"), self.voice, &mut hits);
            hits.retain(|hit| hit.end > lead);
            for hit in &mut hits {
                hit.start = hit.start.saturating_sub(lead);
                hit.end -= lead;
            }
        }
        let replaced = self.replace(text, &hits);
        self.hits = hits;
        replaced
    }

    fn replace(&mut self, text: &str, hits: &[Hit]) -> Option<String> {
        let looks = if self.policy.tokenizes() { lookalikes(text) } else { vec![] };
        let mut patches: Vec<(usize, usize, String)> = Vec::new();
        for (start, end) in &looks {
            patches.push((*start, *end, self.values.stand_in_for_lookalike(&text[*start..*end])));
        }
        for hit in hits {
            if looks.iter().any(|look| look.0 < hit.end && hit.start < look.1) {
                continue;
            }
            self.report.count(self.policy.rule(hit), hit.entity, hit.action);
            let value = &text[hit.start..hit.end];
            let new = match hit.action {
                Action::Allow | Action::Flag | Action::Block => continue,
                Action::Mask => mask(hit.entity),
                Action::Tokenize => self.values.stand_in(hit.entity, value),
                Action::Hash => code(&self.secret, hit.entity, value),
            };
            patches.push((hit.start, hit.end, new));
        }
        patches.sort_unstable_by_key(|(start, ..)| *start);
        if self.policy.tokenizes() {
            apart(text, &mut patches);
        }
        (!patches.is_empty()).then(|| json::spliced(text, &patches))
    }
}

/// Puts a blank where the number of a placeholder would run into another one.
fn apart(text: &str, patches: &mut [(usize, usize, String)]) {
    for (_, end, new) in patches {
        if goes_on(&text[*end..]) {
            new.push(' ');
        }
    }
}

/// The code of a value: the same for the same value under the same key, and nothing else.
pub fn code(secret: &[u8; 32], entity: Entity, value: &str) -> String {
    let code = blake3::keyed_hash(secret, value.as_bytes()).to_hex();
    format!("{}_{}", entity.tag(), &code[..12])
}

/// What stands for a value that nobody gets back.
pub fn mask(entity: Entity) -> String {
    format!("[{}]", entity.tag())
}

fn is_conversation(key: &str) -> bool {
    matches!(key, "messages" | "input" | "contents" | "prompt")
}

/// The messages that the application says as the system: their numbers.
fn systems(body: &str, leaves: &[Leaf<'_>]) -> Vec<usize> {
    let system = |leaf: &&Leaf<'_>| matches!(&*json::decoded(&body[leaf.start..leaf.end]), "system" | "developer");
    let role = |leaf: &Leaf<'_>| match leaf.path.as_slice() {
        [Step::Key(top), Step::Index(at), Step::Key(role)] if is_conversation(top) && role == "role" => Some(*at),
        _ => None,
    };
    leaves.iter().filter(system).filter_map(role).collect()
}

/// Whether the application says it, as the system or of its tools.
fn is_system(path: &[Step<'_>], systems: &[usize]) -> bool {
    match path {
        [Step::Key(top), Step::Index(at), ..] if is_conversation(top) => systems.contains(at),
        [Step::Key(top), ..] => !is_conversation(top),
        _ => false,
    }
}

/// Whether the leaf lies in what another program reads: a member named so that holds an object, not the texts of a prompt.
fn is_free(path: &[Step<'_>]) -> bool {
    path.windows(2).any(|pair| match (&pair[0], &pair[1]) {
        (Step::Key(outer), Step::Key(_)) => FREE.contains(&&**outer),
        _ => false,
    }) || path.last().and_then(Step::key) == Some("arguments")
}

/// Whether the leaf is a word of the wire, such as a role or an id.
pub(super) fn is_wire(path: &[Step<'_>]) -> bool {
    let mut keys = path.iter().filter_map(Step::key);
    let innermost = keys.next_back().unwrap_or_default();
    // The name of a participant is somebody's; the name of a tool is not.
    let participant = innermost == "name" && matches!(path, [Step::Key(top), Step::Index(_), _] if top == "messages");
    (innermost == "name" && !participant) || WIRE.contains(&innermost)
}

/// Whether it is an address or bytes in base64, not text that stands where those may stand.
pub(super) fn is_medium(text: &str) -> bool {
    let base64 =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_' | b'\n' | b'\r');
    text.starts_with("data:")
        || (text.contains("://") && !text.contains(char::is_whitespace))
        || (text.len() >= 64 && text.bytes().all(base64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::{Judge, Layer, Scanner, Screening};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn policy(action: Action) -> Policy {
        let entities: EntitySet = [Entity::Email, Entity::CreditCard, Entity::Ssn].into_iter().collect();
        Policy::default().with(Layer::new("pii", Scanner::new(entities), action))
    }

    fn redacted(body: &Value) -> (String, Placeholders, Report) {
        let policy = policy(Action::Tokenize);
        let mut redactor = Redactor::new(&policy, [0; 32]);
        let text = body.to_string();
        let new = redactor.request(&text).expect("JSON").unwrap_or(text);
        let (values, report) = redactor.finish();
        (new, values, report)
    }

    #[test]
    fn every_member_that_is_not_of_the_wire_is_looked_into() {
        let mail = "ann@example.com";
        let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"to\":\"ann\\u0040example.com\"}"}});
        let bodies = [
            json!({"model": "m", "messages": [{"role": "user", "content": mail}]}),
            json!({"messages": [{"role": "user", "name": mail, "content": "x"}]}),
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": mail}]}]}),
            json!({"messages": [{"role": "assistant", "tool_calls": [call]}]}),
            json!({"messages": [{"role": "tool", "tool_call_id": "c", "content": "{\"a\":[\"ann\\u0040example.com\"]}"}]}),
            json!({"messages": [], "tools": [{"function": {"name": "f", "description": mail}}]}),
            json!({"messages": [], "metadata": {"who": mail}}),
            json!({"messages": [], "metadata": {mail: "x"}}),
            json!({"input": mail}),
            json!({"input": [{"type": "function_call_output", "call_id": "c", "output": mail}]}),
            json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": mail}]}], "instructions": mail}),
            json!({"system": mail, "messages": []}),
            json!({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": mail}]}]}),
            json!({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"id": mail}}]}]}),
            json!({"messages": [{"content": [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": mail}}]}]}),
            json!({"contents": [{"parts": [{"text": mail}]}], "systemInstruction": {"parts": [{"text": mail}]}}),
            json!({"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {"type": mail}}}]}]}),
            json!({"contents": [{"parts": [{"functionCall": {"name": "f", "args": {"q": mail}}}]}]}),
            json!({"prompt": mail, "suffix": mail}),
            json!({"input": ["x", mail]}),
            json!({"messages": [], "a_member_of_next_year": {"deep": [mail]}}),
        ];
        for body in bodies {
            let (new, values, report) = redacted(&body);
            let clear = new.contains("ann@") || new.contains("u0040");
            assert!(!clear && new.contains("PII_EMAIL_1") && report.found() > 0, "{new}");
            let restored: Value =
                serde_json::from_str(&Screening::of(values).answer(&new).expect("changed")).expect("JSON");
            let plain = restored.to_string().replace("\\\\u0040", "@");
            assert_eq!(plain, body.to_string().replace("\\\\u0040", "@"));
        }
    }

    #[test]
    fn words_of_the_wire_and_media_stay_as_they_are() {
        let body = json!({
            "model": "a@b.example.com",
            "messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "https://x.example/ann@example.com.png"}},
                {"type": "input_audio", "input_audio": {"data": "QUJD".repeat(40), "format": "wav"}},
            ]}],
        });
        let (new, _, report) = redacted(&body);
        assert_eq!(new, body.to_string());
        assert_eq!((report.found(), report.unscanned), (0, 2));
    }

    #[test]
    fn a_resent_history_gets_the_same_placeholders() {
        let turn = |texts: &[&str]| {
            let messages: Vec<Value> = texts.iter().map(|text| json!({"role": "user", "content": text})).collect();
            redacted(&json!({"messages": messages, "user": "z@example.com"})).0
        };
        let first = turn(&["a@example.com and b@example.com"]);
        let second = turn(&["a@example.com and b@example.com", "c@example.com, a@example.com"]);
        assert!(first.contains("PII_EMAIL_2 and PII_EMAIL_3") && first.contains(r#""user":"PII_EMAIL_1""#), "{first}");
        assert!(
            second.contains("PII_EMAIL_2 and PII_EMAIL_3") && second.contains("PII_EMAIL_4, PII_EMAIL_2"),
            "{second}"
        );
    }

    #[test]
    fn the_number_of_a_placeholder_runs_into_no_other_one() {
        let policy = Policy::default().with(Layer::new(
            "pii",
            Scanner::new([Entity::PrivateKey, Entity::Email].into_iter().collect()),
            Action::Tokenize,
        ));
        let key = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----";
        for text in [
            format!("a{key}"),
            format!("{key}9"),
            format!("{key}{key}x"),
            format!("１{key}"),
            format!("{key}`\u{200b}1"),
        ] {
            let mut redactor = Redactor::new(&policy, [0; 32]);
            let new = redactor.text(&text).expect("found");
            let back = Screening::of(redactor.finish().0).text(&new);
            assert_eq!(back.replace(' ', ""), text.replace(' ', ""), "{new}");
        }
    }

    #[test]
    fn keyed_codes_are_the_same_whatever_stands_before_and_nobody_elses() {
        let policy = policy(Action::Tokenize);
        let replaced = |key: u8, text: &str| {
            let mut redactor = Redactor::new(&policy, [0; 32]).keyed([key; 32]);
            let new = redactor.text(text).expect("found");
            (new.clone(), Screening::of(redactor.finish().0).text(&new))
        };
        let (long, back) = replaced(1, "a@example.com, b@example.com");
        let (cut, _) = replaced(1, "b@example.com");
        assert!(back == "a@example.com, b@example.com" && long.ends_with(&cut) && cut.len() == "PII_EMAIL_".len() + 8);
        assert_ne!(replaced(2, "b@example.com").0, cut);
    }

    #[test]
    fn what_looks_like_a_placeholder_comes_back_as_it_was() {
        let body = json!({"messages": [{"role": "user", "content": "PII_EMAIL_1 is not a@example.com"}]});
        let (new, values, _) = redacted(&body);
        assert!(new.contains("PII_TEXT_1 is not PII_EMAIL_1"), "{new}");
        assert_eq!(values.restore("PII_TEXT_1 is not PII_EMAIL_1"), "PII_EMAIL_1 is not a@example.com");
    }

    #[test]
    fn the_applications_own_instructions_are_told_from_what_others_say() {
        let foreign =
            "Bitte antworten Sie immer auf Deutsch, auch wenn die Frage in einer anderen Sprache gestellt ist.";
        let judge = Judge::new(None, &["en".to_owned()]);
        let policy = Policy::default().with(Layer::judging("english", judge, Action::Flag));
        let found = |body: Value| {
            let mut redactor = Redactor::new(&policy, [0; 32]);
            redactor.request(&body.to_string()).expect("JSON");
            redactor.finish().1.found()
        };
        let said = |role: &str| json!({"role": role, "content": foreign});
        assert_eq!(
            found(json!({"messages": [said("system"), said("developer")], "tools": [{"description": foreign}]})),
            0
        );
        assert_eq!(found(json!({"system": foreign, "instructions": foreign, "systemInstruction": [foreign]})), 0);
        assert_eq!(found(json!({"messages": [said("system"), said("user"), said("tool"), said("assistant")]})), 3);
        assert_eq!(
            found(json!({"input": foreign, "contents": [{"parts": [{"text": foreign}]}], "prompt": foreign})),
            3
        );
    }

    #[test]
    fn numbers_in_arguments_and_members_that_name_a_value_are_found() {
        let body = json!({"messages": [{"content": [{"type": "tool_use", "input": {"card": 4111111111111111_u64}}]}]});
        assert!(redacted(&body).0.contains("PII_CARD_1"));
        let body = json!({"messages": [], "metadata": {"ssn": "123456789"}, "seed": 4111111111111111_u64});
        let (new, ..) = redacted(&body);
        assert!(new.contains("PII_SSN_1") && new.contains("4111111111111111"), "{new}");
    }

    #[test]
    fn each_action_does_what_it_says() {
        let text = "mail a@example.com";
        for (action, expected) in [
            (Action::Mask, Some("mail [EMAIL]")),
            (Action::Tokenize, Some("mail PII_EMAIL_1")),
            (Action::Flag, None),
            (Action::Block, None),
            (Action::Allow, None),
        ] {
            let policy = policy(action);
            let mut redactor = Redactor::new(&policy, [0; 32]);
            assert_eq!(redactor.text(text).as_deref(), expected);
            let (_, report) = redactor.finish();
            assert_eq!(report.found(), u32::from(action != Action::Allow));
            assert_eq!(report.blocked.is_some(), action == Action::Block);
        }
        let policy = policy(Action::Hash);
        let [one, same, other] = [[1; 32], [1; 32], [2; 32]].map(|secret| Redactor::new(&policy, secret).text(text));
        assert!(
            one == same && one != other && one.is_some_and(|text| text.starts_with("mail EMAIL_") && text.len() == 23)
        );
    }

    proptest! {
        #[test]
        fn any_request_stays_json_and_comes_back(text in ".{0,30}", key in "[a-z]{1,6}", mail in "[a-z]{1,8}@[a-z]{1,8}\\.com") {
            let body = json!({"messages": [{"role": "user", "content": format!("{text} {mail}")}], &key: {"x": text}});
            let (new, values, _) = redacted(&body);
            prop_assert!(serde_json::from_str::<Value>(&new).is_ok());
            let back = Screening::of(values).answer(&new).unwrap_or(new);
            prop_assert_eq!(serde_json::from_str::<Value>(&back).expect("JSON"), body);
        }
    }
}
