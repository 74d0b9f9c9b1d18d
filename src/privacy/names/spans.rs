//! From labels of tokens to findings in the text.

use super::lexicon::{FAMILY, GIVEN, STREET, WORD};
use super::tagger::{ADDRESS, IN_ADDRESS, IN_PERSON, LABELS, OUTSIDE, PERSON, Points};
use super::token::{CODE, GAP, SENTENCE_START, Shape, Token};
use crate::privacy::{Entity, Finding};

/// Points by which a finding must be ahead of none to be as good as 73 of 100.
const SCALE: f32 = 400.0;
/// Bits of names that are not among the rarest.
const COMMON: u8 = 0b1010;
/// How sure a name is by its title alone.
const TITLED: u8 = 80;
/// Less sure findings than this are left out.
const LEAST: u8 = 50;

/// A row of tokens that are one thing.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: usize,
    to: usize,
    entity: Entity,
}

/// What is known of the piece of text that is being read.
pub struct Piece<'t> {
    pub text: &'t str,
    /// Where the piece begins in the whole text.
    pub base: usize,
    pub tokens: &'t [Token],
    pub points: &'t [Points],
    pub labels: &'t [u8],
    pub follow: &'t [Points; LABELS],
}

impl Piece<'_> {
    /// Appends what the labels say. Parts of full names are put into `known`, and found again wherever they stand alone.
    pub fn findings(&self, known: &mut Vec<u32>, findings: &mut Vec<Finding>) {
        let first = findings.len();
        let mut at = 0;
        while at < self.labels.len() {
            let entity = match self.labels[at] {
                PERSON | IN_PERSON => Entity::Person,
                ADDRESS | IN_ADDRESS => Entity::Address,
                _ => {
                    at += 1;
                    continue;
                }
            };
            let to = self.end_of(at, entity);
            if let Some(span) = self.trimmed(Span { from: at, to, entity }) {
                let sure = self.sure(span);
                if sure >= LEAST && self.plausible(span, sure) {
                    self.learn(span, sure, known);
                    findings.push(self.finding(span, sure));
                }
            }
            at = to;
        }
        self.titled(findings);
        self.again(known, findings);
        findings[first..].sort_unstable_by_key(|finding| finding.start);
    }

    /// Where the thing that begins at `from` ends. Pieces of an address with nothing but commas and line ends between
    /// them are one.
    fn end_of(&self, from: usize, entity: Entity) -> usize {
        let inside = if entity == Entity::Person { IN_PERSON } else { IN_ADDRESS };
        let mut to = from + 1;
        loop {
            while self.labels.get(to) == Some(&inside) {
                to += 1;
            }
            if entity == Entity::Person {
                return to;
            }
            let between = self.tokens[to..].iter().take(2).take_while(|token| self.joins(token)).count();
            match self.labels.get(to + between) {
                Some(&ADDRESS) => to += between + 1,
                _ => return to,
            }
        }
    }

    fn joins(&self, token: &Token) -> bool {
        token.shape == Shape::Newline || self.text.as_bytes().get(token.start as usize) == Some(&b',')
    }

    /// The span without marks at its ends, if anything is left.
    fn trimmed(&self, mut span: Span) -> Option<Span> {
        let empty = |token: &Token| matches!(token.shape, Shape::Mark | Shape::Newline | Shape::BlankLine);
        while span.from < span.to && empty(&self.tokens[span.from]) {
            span.from += 1;
        }
        while span.from < span.to && empty(&self.tokens[span.to - 1]) {
            span.to -= 1;
        }
        (span.from < span.to).then_some(span)
    }

    /// How sure the labels of a span are, by their points ahead of none.
    fn sure(&self, span: Span) -> u8 {
        let mut ahead = 0;
        let mut before = span.from.checked_sub(1).map_or(OUTSIDE, |at| self.labels[at]);
        for at in span.from..span.to {
            let label = self.labels[at];
            ahead += self.points[at][label as usize] - self.points[at][OUTSIDE as usize];
            ahead += self.follow[before as usize][label as usize] - self.follow[OUTSIDE as usize][OUTSIDE as usize];
            before = label;
        }
        let chance = 100.0 / (1.0 + (-(ahead as f32) / SCALE).exp());
        chance.clamp(1.0, 99.0) as u8
    }

    /// Whether a span can be what it is taken for, going by the characters around it.
    fn plausible(&self, span: Span, sure: u8) -> bool {
        let tokens = &self.tokens[span.from..span.to];
        if span.entity == Entity::Address {
            return self.plausible_address(tokens, sure);
        }
        let code = tokens[0].place & CODE != 0;
        // A word in small letters is a name only if a list has it as nothing else, one in capitals only if a list has it.
        let named = |token: &Token| match token.shape {
            Shape::Lower => !code && token.flags & COMMON != 0 && token.flags & WORD == 0,
            Shape::Upper if tokens.len() == 1 => token.flags & (GIVEN | FAMILY) != 0,
            shape => shape.is_word() && token.end - token.start > 1,
        };
        if !tokens.iter().any(named) {
            return false;
        }
        let plain = tokens.len() == 1 && tokens[0].flags & WORD != 0 && tokens[0].place & SENTENCE_START != 0;
        if plain && sure < 80 {
            return false;
        }
        let bytes = self.text.as_bytes();
        let (start, end) = (tokens[0].start as usize, tokens[tokens.len() - 1].end as usize);
        let left = start.checked_sub(1).map_or(b' ', |at| bytes[at]);
        let (right, after) = (bytes.get(end).copied().unwrap_or(b' '), bytes.get(end + 1).copied().unwrap_or(b' '));
        let glued = matches!(left, b'@' | b'/' | b'_' | b'\\' | b'#' | b'$' | b'.' | b'=' | b'+' | b'&' | b'%')
            && tokens[0].place & GAP == 0
            || matches!(right, b'@' | b'_' | b'(' | b'\\' | b'=' | b'[' | b'<')
            || matches!(right, b'.' | b':' | b'/') && (after.is_ascii_alphanumeric() || after == b':' || after == b'/');
        let mixed = tokens.iter().any(|token| token.shape == Shape::Mixed);
        let named = tokens.iter().filter(|token| token.flags & (GIVEN | FAMILY) != 0).count();
        !(glued || mixed || code && (tokens.len() < 2 || named < 1 || sure < 90))
    }

    fn plausible_address(&self, tokens: &[Token], sure: u8) -> bool {
        let number = tokens.iter().any(|token| token.shape.is_number() && token.shape != Shape::Both);
        let street = tokens.iter().any(|token| token.flags & STREET != 0 && token.shape != Shape::Lower);
        let word = tokens.iter().any(|token| match token.shape {
            Shape::Capital | Shape::Upper => true,
            Shape::Lower => token.flags & STREET != 0 || token.flags == 0 && token.end - token.start > 3,
            shape => shape == Shape::Uncased,
        });
        let left = (tokens[0].start as usize).checked_sub(1).map_or(b' ', |at| self.text.as_bytes()[at]);
        let glued =
            tokens[0].place & GAP == 0 && matches!(left, b'/' | b'%' | b'_' | b'=' | b'.' | b'&' | b'\'' | b'-' | b'[');
        let code = tokens[0].place & CODE != 0;
        !glued
            && word
            && (number || street && tokens.len() > 1)
            && !(code && (!number || tokens.len() < 3 || sure < 95))
    }

    /// Keeps the parts of a sure full name.
    fn learn(&self, span: Span, sure: u8, known: &mut Vec<u32>) {
        let tokens = &self.tokens[span.from..span.to];
        let words = || tokens.iter().filter(|token| token.shape == Shape::Capital);
        let given = tokens.iter().any(|token| token.flags & (GIVEN | FAMILY) != 0);
        let list = tokens.iter().any(|token| self.text.as_bytes()[token.start as usize] == b',');
        let code = tokens[0].place & CODE != 0;
        if span.entity != Entity::Person
            || sure < 75
            || !given
            || list
            || code
            || words().count() < 2
            || known.len() > 255
        {
            return;
        }
        for token in words().filter(|token| token.flags & WORD == 0 && token.end - token.start > 2) {
            if !known.contains(&token.key) {
                known.push(token.key);
            }
        }
    }

    /// Appends what stands after `Mr.` and its like and has no label.
    fn titled(&self, findings: &mut Vec<Finding>) {
        let name = |at: usize| {
            let token = &self.tokens[at];
            token.shape == Shape::Capital && self.labels[at] == OUTSIDE && !self.is_title(token)
        };
        for (at, token) in self.tokens.iter().enumerate() {
            if !self.is_title(token) || token.place & CODE != 0 {
                continue;
            }
            let dot = self.tokens.get(at + 1).is_some_and(|token| self.text.as_bytes()[token.start as usize] == b'.');
            let from = at + 1 + usize::from(dot);
            let words = (from..self.tokens.len()).take(3).take_while(|at| name(*at)).count();
            let span = Span { from, to: from + words, entity: Entity::Person };
            if words > 0 && self.tokens[from].place & GAP != 0 && self.plausible(span, TITLED) {
                findings.push(self.finding(span, TITLED));
            }
        }
    }

    /// Appends parts of known names that have no label.
    fn again(&self, known: &[u32], findings: &mut Vec<Finding>) {
        if known.is_empty() {
            return;
        }
        for (at, token) in self.tokens.iter().enumerate() {
            if token.shape != Shape::Capital
                || self.labels[at] != OUTSIDE
                || self.after_title(at)
                || !known.contains(&token.key)
            {
                continue;
            }
            // A company or a street may be called after the same name.
            let company = |offset: isize| {
                at.checked_add_signed(offset)
                    .and_then(|at| self.tokens.get(at))
                    .is_some_and(|token| matches!(token.shape, Shape::Capital | Shape::Upper | Shape::Mixed))
            };
            let span = Span { from: at, to: at + 1, entity: Entity::Person };
            if !company(1) && !company(-1) && self.plausible(span, LEAST) {
                findings.push(self.finding(span, 70));
            }
        }
    }

    fn is_title(&self, token: &Token) -> bool {
        let word = &self.text[token.start as usize..token.end as usize];
        token.shape == Shape::Capital && matches!(word, "Mr" | "Mrs" | "Ms" | "Herr" | "Frau")
    }

    /// Whether [`Self::titled`] may have the token already: a title stands up to four tokens before it.
    fn after_title(&self, at: usize) -> bool {
        self.tokens[at.saturating_sub(4)..at].iter().any(|token| self.is_title(token))
    }

    fn finding(&self, span: Span, confidence: u8) -> Finding {
        Finding {
            start: self.base as u32 + self.tokens[span.from].start,
            end: self.base as u32 + self.tokens[span.to - 1].end,
            entity: span.entity,
            confidence,
        }
    }
}
