//! Walks over the strings of a JSON text without building it, so that what is not changed keeps its bytes.

use std::borrow::Cow;

/// Deepest nesting that is walked; what a JSON reader with the usual bound of 128 accepts is within it.
const DEEPEST: usize = 130;

/// One step from the outermost value down to a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'t> {
    Key(Cow<'t, str>),
    Index(usize),
}

impl Step<'_> {
    /// The name, if it is one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key),
            Self::Index(_) => None,
        }
    }
}

/// What kind of leaf was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The name of a member; the path ends with it.
    Key,
    Text,
    Number,
}

/// A leaf of a JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf<'t> {
    pub path: Vec<Step<'t>>,
    pub kind: Kind,
    /// Where its literal begins and ends, quotes included, in bytes.
    pub start: usize,
    pub end: usize,
}

impl Leaf<'_> {
    /// The names on the way, from the outermost.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.path.iter().filter_map(Step::key)
    }

    /// The innermost name, such as `content` for `messages[0].content[1]`.
    pub fn key(&self) -> &str {
        self.keys().next_back().unwrap_or_default()
    }
}

/// The text is no JSON, or is nested deeper than 130 levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Every leaf of `text` in its order.
pub fn leaves(text: &str) -> Result<Vec<Leaf<'_>>, Malformed> {
    let mut walk = Walk { text, path: Vec::new(), leaves: Vec::new() };
    let end = walk.value(walk.blank(0))?;
    if walk.blank(end) == text.len() { Ok(walk.leaves) } else { Err(Malformed) }
}

/// The characters that a string literal stands for. Half a surrogate pair becomes U+FFFD.
pub fn decoded(literal: &str) -> Cow<'_, str> {
    let inside = literal.get(1..literal.len().max(2) - 1).unwrap_or_default();
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    match serde_json::from_str::<String>(literal) {
        Ok(text) => Cow::Owned(text),
        Err(_) => Cow::Owned(lossily(inside)),
    }
}

/// `text` as a string literal.
pub fn encoded(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `text` with each piece replaced, which lie in order and apart.
pub fn spliced(text: &str, patches: &[(usize, usize, String)]) -> String {
    let longer: usize = patches.iter().map(|(.., new)| new.len()).sum();
    let mut out = String::with_capacity(text.len() + longer);
    let mut from = 0;
    for (start, end, new) in patches {
        out.push_str(&text[from..*start]);
        out.push_str(new);
        from = *end;
    }
    out.push_str(&text[from..]);
    out
}

fn lossily(inside: &str) -> String {
    let mut units: Vec<u16> = Vec::with_capacity(inside.len());
    let mut rest = inside.chars();
    while let Some(character) = rest.next() {
        let meant = match character {
            '\\' => match rest.next().unwrap_or('\\') {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'u' => {
                    let digits: String = rest.by_ref().take(4).collect();
                    units.push(u16::from_str_radix(&digits, 16).unwrap_or(0xfffd));
                    continue;
                }
                other => other,
            },
            other => other,
        };
        units.extend_from_slice(meant.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16_lossy(&units)
}

struct Walk<'t> {
    text: &'t str,
    path: Vec<Step<'t>>,
    leaves: Vec<Leaf<'t>>,
}

impl<'t> Walk<'t> {
    fn at(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn blank(&self, mut at: usize) -> usize {
        while matches!(self.at(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            at += 1;
        }
        at
    }

    fn leaf(&mut self, kind: Kind, start: usize, end: usize) {
        self.leaves.push(Leaf { path: self.path.clone(), kind, start, end });
    }

    fn value(&mut self, at: usize) -> Result<usize, Malformed> {
        if self.path.len() > DEEPEST {
            return Err(Malformed);
        }
        match self.at(at).ok_or(Malformed)? {
            b'{' => self.members(at + 1),
            b'[' => self.items(at + 1),
            b'"' => {
                let end = self.string(at)?;
                self.leaf(Kind::Text, at, end);
                Ok(end)
            }
            b'-' | b'0'..=b'9' => {
                let mut end = at + 1;
                while matches!(self.at(end), Some(b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
                    end += 1;
                }
                self.leaf(Kind::Number, at, end);
                Ok(end)
            }
            _ => {
                let word = ["true", "false", "null"].into_iter().find(|word| self.text[at..].starts_with(word));
                word.map(|word| at + word.len()).ok_or(Malformed)
            }
        }
    }

    fn members(&mut self, at: usize) -> Result<usize, Malformed> {
        let mut at = self.blank(at);
        if self.at(at) == Some(b'}') {
            return Ok(at + 1);
        }
        loop {
            let end = self.string(at)?;
            self.path.push(Step::Key(decoded(&self.text[at..end])));
            self.leaf(Kind::Key, at, end);
            at = self.blank(end);
            if self.at(at) != Some(b':') {
                return Err(Malformed);
            }
            at = self.value(self.blank(at + 1))?;
            self.path.pop();
            at = self.blank(at);
            match self.at(at) {
                Some(b',') => at = self.blank(at + 1),
                Some(b'}') => return Ok(at + 1),
                _ => return Err(Malformed),
            }
        }
    }

    fn items(&mut self, at: usize) -> Result<usize, Malformed> {
        let mut at = self.blank(at);
        if self.at(at) == Some(b']') {
            return Ok(at + 1);
        }
        for index in 0.. {
            self.path.push(Step::Index(index));
            at = self.value(at)?;
            self.path.pop();
            at = self.blank(at);
            match self.at(at) {
                Some(b',') => at = self.blank(at + 1),
                Some(b']') => return Ok(at + 1),
                _ => break,
            }
        }
        Err(Malformed)
    }

    /// The end of the string literal that begins at `at`.
    fn string(&self, at: usize) -> Result<usize, Malformed> {
        if self.at(at) != Some(b'"') {
            return Err(Malformed);
        }
        let bytes = self.text.as_bytes();
        let mut from = at + 1;
        loop {
            let next = from + memchr::memchr2(b'"', b'\\', bytes.get(from..).ok_or(Malformed)?).ok_or(Malformed)?;
            if bytes[next] == b'"' {
                return Ok(next + 1);
            }
            from = next + 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn leaves_come_in_order_with_their_paths() {
        let text = r#" {"a": [1, {"b\u0063": "x\"y"}], "d": null, "e": "" } "#;
        let leaves = leaves(text).expect("is JSON");
        let told: Vec<_> = leaves.iter().map(|leaf| (leaf.key().to_owned(), &text[leaf.start..leaf.end])).collect();
        assert_eq!(
            told,
            [
                ("a".to_owned(), "\"a\""),
                ("a".to_owned(), "1"),
                ("bc".to_owned(), r#""b\u0063""#),
                ("bc".to_owned(), r#""x\"y""#),
                ("d".to_owned(), "\"d\""),
                ("e".to_owned(), "\"e\""),
                ("e".to_owned(), "\"\""),
            ]
        );
        assert_eq!(leaves[3].path, [Step::Key("a".into()), Step::Index(1), Step::Key("bc".into())]);
    }

    #[test]
    fn what_is_no_json_is_told() {
        for text in ["", "{", "[1", "{\"a\"}", "{\"a\":1,}", "[1] x", "\"a", "\"a\\", "nul", &"[".repeat(1000)] {
            assert_eq!(leaves(text), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn halves_of_pairs_do_not_hide_what_follows() {
        assert_eq!(decoded(r#""a\u0040b""#), "a@b");
        assert_eq!(decoded(r#""\ud800 a\u0040b""#), "\u{fffd} a@b");
    }

    proptest! {
        #[test]
        fn any_text_survives(text in "\\PC{0,40}", rest in ".{0,40}") {
            let literal = encoded(&text);
            prop_assert_eq!(decoded(&literal), text.as_str());
            let _ = leaves(&rest);
            let read = serde_json::from_str::<serde_json::Value>(&rest);
            if read.is_ok() {
                prop_assert!(leaves(&rest).is_ok());
            }
        }
    }
}
