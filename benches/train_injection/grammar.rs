//! Sentences with choices in them, and the texts that are made of them.

use std::collections::BTreeMap;

/// Splitmix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
pub struct Rng(pub u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`, which is above 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// The lists and the sentences.
pub struct Grammar {
    lists: BTreeMap<String, Vec<String>>,
    attempts: Vec<String>,
    plain: Vec<String>,
}

impl Grammar {
    /// Reads what the head of `sentences.txt` describes.
    pub fn read(text: &str) -> Self {
        let (mut lists, mut attempts, mut plain) = (BTreeMap::new(), vec![], vec![]);
        for line in text.lines() {
            match line.split_at_checked(2) {
                Some(("= ", list)) => {
                    let (name, words) = list.split_once(": ").expect("a list has a name");
                    lists.insert(name.to_owned(), words.split('|').map(|word| word.trim().to_owned()).collect());
                }
                Some(("+ ", sentence)) => attempts.push(sentence.to_owned()),
                Some(("- ", sentence)) => plain.push(sentence.to_owned()),
                _ => {}
            }
        }
        Self { lists, attempts, plain }
    }

    /// Returns it without every fifth sentence of each kind, and with those alone.
    pub fn split(self) -> (Self, Self) {
        let part = |list: &[String], held_out: bool| {
            let fifth = list.iter().enumerate().filter(|(at, _)| (at % 5 == 4) == held_out);
            fifth.map(|(_, sentence)| sentence.clone()).collect()
        };
        let of = |held_out| Self {
            lists: self.lists.clone(),
            attempts: part(&self.attempts, held_out),
            plain: part(&self.plain, held_out),
        };
        (of(false), of(true))
    }

    /// Returns a text with an attempt in it, or none, among up to `around` plain sentences.
    pub fn text(&self, attempt: bool, around: usize, rng: &mut Rng) -> String {
        // Most stand alone or nearly; some plain ones are long.
        let long = if !attempt && rng.below(6) == 0 { 6 } else { 1 };
        let count = rng.below(around * long + 1) * rng.below(2);
        let mut sentences: Vec<String> = (0..count + usize::from(!attempt)).map(|_| self.one(false, rng)).collect();
        if attempt {
            sentences.insert(rng.below(count + 1), self.one(true, rng));
        }
        sentences.join(if rng.below(4) == 0 { "\n" } else { " " })
    }

    fn one(&self, attempt: bool, rng: &mut Rng) -> String {
        if !attempt && rng.below(6) == 0 {
            return noise(rng);
        }
        let from = if attempt { &self.attempts } else { &self.plain };
        let mut text = self.spoken(&from[rng.below(from.len())], rng);
        match rng.below(8) {
            0 => text = text.to_lowercase(),
            1 if attempt => text = text.to_uppercase(),
            _ => {}
        }
        if text.ends_with(['.', '?', '!']) { text } else { text + "." }
    }

    /// Returns `sentence` with each choice made.
    fn spoken(&self, sentence: &str, rng: &mut Rng) -> String {
        let mut out = String::new();
        let mut rest = sentence;
        while let Some(at) = rest.find(['{', '@']) {
            out += &rest[..at];
            if rest.as_bytes()[at] == b'@' {
                let end = rest[at + 1..].find(|letter: char| !letter.is_ascii_alphanumeric());
                let end = end.map_or(rest.len(), |end| at + 1 + end);
                match self.lists.get(&rest[at + 1..end]) {
                    Some(list) => out += &self.spoken(&list[rng.below(list.len())], rng),
                    None => out += &rest[at..end],
                }
                rest = &rest[end..];
                continue;
            }
            let end = closing(&rest[at..]).map_or(rest.len(), |end| at + end);
            let choices = choices(rest.get(at + 1..end).unwrap_or_default());
            out += &self.spoken(choices[rng.below(choices.len())], rng);
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        out + rest
    }
}

/// Words that nobody has seen, and signs as code has them.
fn noise(rng: &mut Rng) -> String {
    const SIGNS: [&str; 16] = ["=", "==", "::", "->", "(", ")", "{", "}", "[", "]", ";", "//", "#", "<", "/>", "\""];
    const PARTS: [&str; 24] = [
        "ba", "con", "de", "fi", "get", "is", "ka", "let", "mo", "ne", "put", "re", "se", "to", "un", "va", "we", "x",
        "ing", "er", "ed", "ly", "al", "en",
    ];
    let words = (0..4 + rng.below(40)).map(|_| match rng.below(5) {
        0 => SIGNS[rng.below(SIGNS.len())].to_owned(),
        1 => rng.below(10_000).to_string(),
        _ => (0..1 + rng.below(4)).map(|_| PARTS[rng.below(PARTS.len())]).collect(),
    });
    words.collect::<Vec<_>>().join(if rng.below(3) == 0 { "_" } else { " " })
}

/// Where the brace that `text` begins with is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The pieces between the bars that stand in no inner brace.
fn choices(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut pieces) = (0, 0, vec![]);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b'|' if depth == 0 => {
                pieces.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[from..]);
    pieces
}
