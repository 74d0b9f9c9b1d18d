//! Placeholders: what stands for a value while its text is away, and how it is found again in an answer.
//!
//! A placeholder is `PII_<TAG>_<n>`, where n counts the values of that kind by first appearance. Clients resend the whole
//! conversation with every turn, so the same value keeps the same number, and prompt caches keep hitting. It is derived
//! from nothing: a code made from the value could be guessed and would link people across conversations (45 CFR
//! 164.514(c)).

use std::collections::{BTreeMap, HashMap};

use super::Entity;

/// Most characters a placeholder may have on its way back, decoration inside it counted; what is longer is left alone.
pub const LONGEST: usize = 64;

/// The tag of text that looked like a placeholder before anything was replaced; it is put back as it was.
const LOOKALIKE: &str = "TEXT";

/// Keyed numbers have eight digits, so that none is taken for a counted one.
const KEYED: std::ops::Range<u32> = 10_000_000..100_000_000;

/// The values of one request and the placeholders that stand for them.
///
/// It holds what must not leave, so it has no `Debug` and is dropped with its request.
#[derive(Default)]
pub struct Placeholders {
    /// Derives the numbers; they are counted without it.
    key: Option<[u8; 32]>,
    by_value: HashMap<(&'static str, Box<str>), u32>,
    /// By tag and number.
    values: HashMap<&'static str, BTreeMap<u32, Box<str>>>,
}

impl Placeholders {
    /// No values yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// No values yet; their numbers will be codes under `key` and not counted, so that the same value has the same number in
    /// every request under that key, whatever stands before it.
    pub fn keyed(key: [u8; 32]) -> Self {
        Self { key: Some(key), ..Self::default() }
    }

    /// Whether nothing was replaced, so that nothing can come back.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many values are held.
    pub fn len(&self) -> usize {
        self.by_value.len()
    }

    /// The placeholder of `value`, the same for the same value.
    pub fn stand_in(&mut self, entity: Entity, value: &str) -> String {
        self.numbered(entity.tag(), value)
    }

    /// The placeholder of a text that looks like one itself.
    pub fn stand_in_for_lookalike(&mut self, text: &str) -> String {
        self.numbered(LOOKALIKE, text)
    }

    fn numbered(&mut self, tag: &'static str, value: &str) -> String {
        let key = (tag, Box::from(value));
        let number = match self.by_value.get(&key) {
            Some(number) => *number,
            None => {
                let values = self.values.entry(tag).or_default();
                let number = match &self.key {
                    Some(secret) => free(values, secret, tag, value),
                    None => u32::try_from(values.len() + 1).unwrap_or(u32::MAX),
                };
                values.insert(number, key.1.clone());
                self.by_value.insert(key, number);
                number
            }
        };
        format!("PII_{tag}_{number}")
    }

    /// The value that a placeholder stands for; `tag` may be written in any case.
    fn value(&self, tag: &str, number: u32) -> Option<&str> {
        let mut upper = [0; LONGEST];
        let upper = upper.get_mut(..tag.len())?;
        upper.copy_from_slice(tag.as_bytes());
        upper.make_ascii_uppercase();
        let upper = std::str::from_utf8(upper).ok()?;
        self.values.get(upper)?.get(&number).map(|value| &**value)
    }

    /// Puts the values back into `text`.
    pub fn restore(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut restorer = Restorer::default();
        restorer.push(self, text, &mut out);
        restorer.finish(self, &mut out);
        out
    }
}

/// The number of a value under a key; the next that is free, where two come to the same.
fn free(taken: &BTreeMap<u32, Box<str>>, secret: &[u8; 32], tag: &str, value: &str) -> u32 {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(tag.as_bytes()).update(&[0]).update(value.as_bytes());
    let code = u64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().expect("eight bytes"));
    let first = KEYED.start + (code % u64::from(KEYED.end - KEYED.start)) as u32;
    (first..KEYED.end).chain(KEYED).find(|number| !taken.contains_key(number)).unwrap_or(first)
}

/// Puts values back into a text that arrives in pieces; every way to cut the text gives the same result.
///
/// In a text that begins like a JSON object or array, values are written as inside a JSON string: arguments of tools and
/// structured answers stay JSON.
///
/// Holds back what may become a placeholder, never more than [`LONGEST`] characters.
#[derive(Default)]
pub struct Restorer {
    /// Whether the text begins like JSON; unknown while only blanks have come.
    json: Option<bool>,
    held: String,
}

impl Restorer {
    /// Takes the next piece and appends to `out` what is certain.
    pub fn push(&mut self, values: &Placeholders, piece: &str, out: &mut String) {
        if self.json.is_none() {
            self.json = piece.trim_start().chars().next().map(|first| matches!(first, '{' | '['));
        }
        if self.held.is_empty() {
            let taken = self.take(values, piece, false, out);
            self.held.push_str(&piece[taken..]);
        } else {
            let mut text = std::mem::take(&mut self.held);
            text.push_str(piece);
            let taken = self.take(values, &text, false, out);
            text.drain(..taken);
            self.held = text;
        }
    }

    /// The text has ended: appends what was held. The restorer stands at the beginning of a text again.
    pub fn finish(&mut self, values: &Placeholders, out: &mut String) {
        let text = std::mem::take(&mut self.held);
        self.take(values, &text, true, out);
        *self = Self::default();
    }

    /// How many bytes are held back.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Writes what is certain of `text` and says how many bytes of it that were.
    fn take(&mut self, values: &Placeholders, text: &str, ended: bool, out: &mut String) -> usize {
        let mut written = 0;
        let mut from = 0;
        while let Some(at) = memchr::memchr2(b'P', b'p', &text.as_bytes()[from..]).map(|at| from + at) {
            from = at + 1;
            match read(&text[at..], ended) {
                Reading::No => {}
                Reading::Open => {
                    out.push_str(&text[written..at]);
                    return at;
                }
                Reading::Placeholder { length, tag, number } => {
                    if let Some(value) = values.value(&tag, number) {
                        out.push_str(&text[written..at]);
                        match self.json {
                            Some(true) => out.push_str(&inside_json(value)),
                            _ => out.push_str(value),
                        }
                        written = at + length;
                    }
                    from = at + length;
                }
            }
        }
        out.push_str(&text[written..]);
        text.len()
    }
}

/// `value` as it stands between the quotes of a JSON string.
fn inside_json(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// What stands at the beginning of a text.
enum Reading {
    No,
    /// It may become a placeholder with more text.
    Open,
    Placeholder {
        length: usize,
        tag: String,
        number: u32,
    },
}

/// What models and pages put inside a word without meaning it: zero-width characters and soft hyphens.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ad}')
}

/// Decoration of Markdown: emphasis, code, and the backslash that escapes an underscore.
fn is_markup(character: char) -> bool {
    matches!(character, '*' | '`' | '\\')
}

/// Reads a placeholder at the beginning of `text`, however it is decorated.
fn read(text: &str, ended: bool) -> Reading {
    let mut tag = String::new();
    let mut number: Option<u32> = None;
    let mut end = 0;
    let mut after_markup = false;
    // What has been read: "PII", the tag, the number, each with an underscore between.
    let mut part = 0;
    let mut letters = 0;
    for (count, (at, character)) in text.char_indices().enumerate() {
        if count >= LONGEST {
            // Nothing but decoration goes on behind it.
            return number.map_or(Reading::No, |number| Reading::Placeholder { length: end, tag, number });
        }
        if is_invisible(character) {
            continue;
        }
        if is_markup(character) {
            after_markup = true;
            continue;
        }
        match (part, character) {
            (0, _) if letters < 3 => {
                if !character.eq_ignore_ascii_case(&['P', 'I', 'I'][letters]) {
                    return Reading::No;
                }
                letters += 1;
            }
            (0, '_') | (1, '_') if part == 0 || !tag.is_empty() => part += 1,
            (1, letter) if letter.is_ascii_alphabetic() => tag.push(letter),
            (2, digit) if digit.is_ascii_digit() => {
                // `1*2` may be the number 12 or a 1 in bold before a 2: nobody can know, so it stays.
                if number.is_some() && after_markup {
                    return Reading::No;
                }
                let value = number.unwrap_or(0).checked_mul(10).zip(digit.to_digit(10));
                let Some(value) = value.and_then(|(tens, digit)| tens.checked_add(digit)) else {
                    return Reading::No;
                };
                if number == Some(0) {
                    return Reading::No;
                }
                number = Some(value);
                end = at + 1;
            }
            (2, _) => {
                return match number {
                    Some(number) => Reading::Placeholder { length: end, tag, number },
                    None => Reading::No,
                };
            }
            _ => return Reading::No,
        }
        after_markup = false;
    }
    match number {
        Some(number) if ended => Reading::Placeholder { length: end, tag, number },
        _ if ended => Reading::No,
        _ => Reading::Open,
    }
}

/// Whether `text`, behind a placeholder, would be taken for more of its number.
pub fn goes_on(text: &str) -> bool {
    let next = text.chars().find(|next| !is_invisible(*next) && !is_markup(*next));
    next.is_some_and(|next| next.is_ascii_digit())
}

/// Where `text` holds something that would be read as a placeholder: begin and end in bytes, in order.
pub fn lookalikes(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = memchr::memchr2(b'P', b'p', &text.as_bytes()[from..]).map(|at| from + at) {
        from = at + 1;
        if let Reading::Placeholder { length, .. } = read(&text[at..], true) {
            found.push((at, at + length));
            from = at + length;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> Placeholders {
        let mut values = Placeholders::new();
        for n in 1..=12 {
            values.stand_in(Entity::Email, &format!("user{n}@example.com"));
        }
        values.stand_in(Entity::Person, "Grace \"Amazing\" Hopper");
        values
    }

    #[test]
    fn the_same_value_keeps_its_placeholder() {
        let mut values = Placeholders::new();
        assert_eq!(values.stand_in(Entity::Email, "a@b.com"), "PII_EMAIL_1");
        assert_eq!(values.stand_in(Entity::Phone, "555-010-0199"), "PII_PHONE_1");
        assert_eq!(values.stand_in(Entity::Email, "c@d.com"), "PII_EMAIL_2");
        assert_eq!(values.stand_in(Entity::Email, "a@b.com"), "PII_EMAIL_1");
    }

    #[test]
    fn decoration_without_end_hides_no_placeholder() {
        let (text, back) = (format!("PII_EMAIL_1{}", "*".repeat(90)), format!("user1@example.com{}", "*".repeat(90)));
        assert_eq!(values().restore(&text), back);
        let (mut restorer, mut out) = (Restorer::default(), String::new());
        text.chars().for_each(|letter| restorer.push(&values(), &letter.to_string(), &mut out));
        restorer.finish(&values(), &mut out);
        assert_eq!(out, back);
    }

    #[test]
    fn whole_numbers_only() {
        let values = values();
        assert_eq!(values.restore("PII_EMAIL_1, PII_EMAIL_12."), "user1@example.com, user12@example.com.");
        for left in
            ["PII_EMAIL_13", "PII_EMAIL_123", "PII_EMAIL_", "PII_EMAIL", "PI_EMAIL_1", "PII_EMAIL_01", "PII_IBAN_1"]
        {
            assert_eq!(values.restore(left), left);
        }
    }

    #[test]
    fn letters_before_it_hide_no_placeholder() {
        let values = values();
        // The `n` of a line feed, as arguments of tools have it.
        let arguments = r#"{"text":"Dear\nPII_EMAIL_1,\tPII_EMAIL_2"}"#;
        assert_eq!(values.restore(arguments), r#"{"text":"Dear\nuser1@example.com,\tuser2@example.com"}"#);
        assert_eq!(values.restore("toPII_EMAIL_1PII_EMAIL_2"), "touser1@example.comuser2@example.com");
    }

    #[test]
    fn decorated_placeholders_come_back() {
        let values = values();
        let one = "user1@example.com";
        for (text, restored) in [
            ("pii_email_1", one.to_owned()),
            ("Pii_Email_1!", format!("{one}!")),
            (r"PII\_EMAIL\_1", one.to_owned()),
            ("P\u{200b}II_EMAIL_1", one.to_owned()),
            ("PII_EM\u{ad}AIL_1", one.to_owned()),
            ("**PII_EMAIL_1**", format!("**{one}**")),
            ("PII_*EMAIL*_1", one.to_owned()),
            ("`PII_EMAIL_1`", format!("`{one}`")),
            ("PII_EMAIL_1\u{200b}2", "user12@example.com".to_owned()),
            ("_PII_EMAIL_1_", format!("_{one}_")),
            ("PII_EMAIL_1s", format!("{one}s")),
        ] {
            assert_eq!(values.restore(text), restored, "{text}");
        }
        assert_eq!(values.restore("PII_EMAIL_1*2"), "PII_EMAIL_1*2");
    }

    #[test]
    fn arguments_stay_json() {
        let values = values();
        let mut restorer = Restorer::default();
        let mut out = String::new();
        restorer.push(&values, r#"{"name":"PII_PERSON_1"}"#, &mut out);
        restorer.finish(&values, &mut out);
        let read: serde_json::Value = serde_json::from_str(&out).expect("still JSON");
        assert_eq!(read["name"], "Grace \"Amazing\" Hopper");
    }

    #[test]
    fn what_looks_like_one_is_found() {
        assert_eq!(lookalikes("a PII_EMAIL_1 and pii\\_x\\_22."), [(2, 13), (18, 28)]);
        assert_eq!(lookalikes("PII_EMAIL_ PII__1 happiness"), []);
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same(
            words in proptest::collection::vec(
                prop_oneof![
                    Just("PII_EMAIL_1".to_owned()), Just("pii\\_email\\_12".to_owned()), Just("PII_EMAIL_99".to_owned()),
                    Just("PII_".to_owned()), Just("1".to_owned()), Just("*".to_owned()), Just("\u{200b}".to_owned()),
                    "[ a-zP_é]{0,9}",
                ], 0..12),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..9),
        ) {
            let text = words.concat();
            let values = values();
            let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            let mut cuts: Vec<usize> = cuts.iter().filter(|_| !ends.is_empty()).map(|cut| ends[cut.index(ends.len())]).collect();
            cuts.sort_unstable();
            let mut restorer = Restorer::default();
            let mut out = String::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                restorer.push(&values, &text[from..cut], &mut out);
                prop_assert!(restorer.held.chars().count() <= LONGEST);
                from = cut;
            }
            restorer.finish(&values, &mut out);
            prop_assert_eq!(out, values.restore(&text));
        }
    }
}
