//! A text that matches a regular expression, for the `pattern` of a schema.
//!
//! Knows literals, classes, groups, alternatives (the first is taken), repetition and anchors; gives up on anything
//! else, such as look-around and back references.

use std::iter::Peekable;
use std::ops::RangeInclusive;
use std::str::Chars;

/// Most groups inside each other.
const MAX_DEPTH: usize = 20;
const MAX_CHARS: usize = 10_000;
/// Most repetition counts tried one by one before the least length itself.
const MAX_TRIES: usize = 64;
/// What a class that excludes characters, or a dot, is drawn from.
const COMMON: &str = "ab1-_ .XYZ";

/// Returns a text that matches, its length in characters within the bounds where repetition allows; none if the
/// pattern uses what is not known here.
pub(super) fn matching(pattern: &str, length: RangeInclusive<usize>) -> Option<String> {
    let longer = (*length.start()).min(MAX_CHARS);
    // From as few repetitions as the pattern reads natural with, then as few as it allows, then ever more.
    [1, 0].into_iter().chain(2..=longer.min(MAX_TRIES)).chain([longer]).find_map(|wished| {
        let mut reader = Reader { rest: pattern.chars().peekable(), wished, made: 0 };
        let made = reader.alternatives(0)?;
        (reader.rest.next().is_none() && length.contains(&made.chars().count())).then_some(made)
    })
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    /// Repetitions wished for where the pattern leaves a choice.
    wished: usize,
    made: usize,
}

impl Reader<'_> {
    /// Reads up to the end of the pattern or of the group; returns what the first alternative makes.
    fn alternatives(&mut self, depth: usize) -> Option<String> {
        if depth > MAX_DEPTH {
            return None;
        }
        let first = self.sequence(depth)?;
        while self.rest.next_if_eq(&'|').is_some() {
            self.sequence(depth)?;
        }
        Some(first)
    }

    fn sequence(&mut self, depth: usize) -> Option<String> {
        let mut made = String::new();
        while let Some(next) = self.rest.next_if(|next| !matches!(next, '|' | ')')) {
            let piece = match next {
                '^' | '$' => continue,
                '(' => self.group(depth)?,
                '[' => self.class()?.to_string(),
                '\\' => self.escaped()?.to_string(),
                '.' => "a".to_owned(),
                '*' | '+' | '?' | '{' => return None,
                literal => literal.to_string(),
            };
            let times = self.repetitions()?;
            self.made += piece.len() * times;
            if self.made > 4 * MAX_CHARS {
                return None;
            }
            made.push_str(&piece.repeat(times));
        }
        Some(made)
    }

    fn group(&mut self, depth: usize) -> Option<String> {
        if self.rest.next_if_eq(&'?').is_some() {
            self.rest.next_if_eq(&':')?;
        }
        let made = self.alternatives(depth + 1)?;
        self.rest.next_if_eq(&')')?;
        Some(made)
    }

    /// Reads an escape; returns a character it stands for.
    fn escaped(&mut self) -> Option<char> {
        Some(match self.rest.next()? {
            'd' => '1',
            'w' => 'a',
            's' => ' ',
            'D' | 'S' => 'a',
            'W' => '-',
            'n' => '\n',
            't' => '\t',
            other if other.is_ascii_alphanumeric() => return None,
            literal => literal,
        })
    }

    /// Reads a class; returns its first character, or one that is not excluded.
    fn class(&mut self) -> Option<char> {
        let excluding = self.rest.next_if_eq(&'^').is_some();
        let mut ranges: Vec<(char, char)> = Vec::new();
        loop {
            let low = match self.rest.next()? {
                ']' if !ranges.is_empty() => break,
                '\\' => match *self.rest.peek()? {
                    'd' => self.shorthand(&mut ranges, &[('0', '9')])?,
                    'w' => self.shorthand(&mut ranges, &[('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')])?,
                    's' => self.shorthand(&mut ranges, &[(' ', ' '), ('\t', '\r')])?,
                    'D' | 'W' | 'S' => return None,
                    _ => self.escaped()?,
                },
                literal => literal,
            };
            let mut ahead = self.rest.clone();
            if ahead.next() == Some('-') && ahead.next().is_some_and(|high| high != ']') {
                self.rest.next();
                let high = match self.rest.next()? {
                    '\\' => self.escaped()?,
                    literal => literal,
                };
                ranges.push((low, high));
            } else {
                ranges.push((low, low));
            }
        }
        let inside = |character: char| ranges.iter().any(|(low, high)| (*low..=*high).contains(&character));
        if excluding {
            COMMON.chars().find(|character| !inside(*character))
        } else {
            ranges.first().map(|range| range.0)
        }
    }

    /// Notes the ranges of an escape such as `\d` inside a class; returns a character of them.
    fn shorthand(&mut self, ranges: &mut Vec<(char, char)>, of: &[(char, char)]) -> Option<char> {
        self.rest.next();
        ranges.extend(of);
        Some(of.first()?.0)
    }

    fn repetitions(&mut self) -> Option<usize> {
        let (least, most) = match self.rest.next_if(|next| matches!(next, '*' | '+' | '?' | '{')) {
            None => return Some(1),
            Some('*') => (0, usize::MAX),
            Some('+') => (1, usize::MAX),
            Some('?') => (0, 1),
            Some(_) => self.counts()?,
        };
        self.rest.next_if_eq(&'?'); // A lazy repetition matches the same texts.
        (least <= most && least <= MAX_CHARS).then(|| self.wished.clamp(least, most))
    }

    /// Reads `m}`, `m,}` or `m,n}`.
    fn counts(&mut self) -> Option<(usize, usize)> {
        let inner: String = std::iter::from_fn(|| self.rest.next_if(|next| *next != '}')).collect();
        self.rest.next()?;
        match inner.split_once(',') {
            None => inner.parse().ok().map(|count| (count, count)),
            Some((least, "")) => Some((least.parse().ok()?, usize::MAX)),
            Some((least, most)) => Some((least.parse().ok()?, most.parse().ok()?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_patterns_get_a_text_that_matches() {
        for (pattern, wanted) in [
            ("^[A-Z]{3}-\\d{4}$", "AAA-1111"),
            ("^(?:red|green) \\w+$", "red a"),
            ("^#?([a-f0-9]{6})$", "#aaaaaa"),
            ("[^a-z\\s]x*?", "1x"),
            ("^\\+?[0-9 ()-]{7,}$", "+0000000"),
        ] {
            assert_eq!(matching(pattern, 0..=100).as_deref(), Some(wanted), "{pattern}");
        }
    }

    #[test]
    fn repetition_reaches_the_least_length_and_keeps_the_most() {
        assert_eq!(matching("^a*b*$", 4..=9).as_deref(), Some("aabb"));
        assert_eq!(matching("^a*$", 0..=0).as_deref(), Some(""));
    }

    #[test]
    fn what_is_not_known_or_broken_is_given_up() {
        for pattern in ["(?=a)b", "\\bword", "(a", "a)", "[a", "a{", "a{2", "*", "\\", "a{9999999999}"] {
            assert_eq!(matching(pattern, 0..=100), None, "{pattern}");
        }
    }
}
