//! What the tagger looks at around a token. The trainer and the recogniser both call it, so they cannot differ.

use super::lexicon::{FAMILY, GIVEN};
use super::token::{CODE, GAP, HYPHEN, LINE_START, SENTENCE_START, Shape, TITLED, Token};

/// How many features a token has.
pub const COUNT: usize = 33;
/// How many rows of weights there are; a feature is the number of its row.
pub const ROWS: usize = 1 << 17;

/// A few numbers as one.
const fn join(first: u32, second: u32) -> u32 {
    (first.rotate_left(11) ^ second).wrapping_mul(0x9e37_79b1)
}

/// The row of the feature of kind `slot` with `value`.
const fn row(slot: u32, value: u32) -> u32 {
    let sum = (value ^ slot.wrapping_mul(0x27d4_eb2f)).wrapping_mul(0x85eb_ca6b);
    (sum ^ sum >> 15) & (ROWS as u32 - 1)
}

/// What stands before the first and after the last token.
const NOTHING: Token = Token {
    start: 0,
    end: 0,
    id: 3,
    key: 3,
    prefix: 0,
    suffix: [0; 3],
    line: 0,
    shape: Shape::BlankLine,
    flags: 0,
    place: GAP,
    length: 0,
};

/// How a token looks and what the lexicon knows of it.
const fn class(token: &Token) -> u32 {
    let shape = if matches!(token.shape, Shape::Mark) { token.id << 5 } else { token.shape as u32 };
    shape << 9 | (token.flags as u32) << 1 | (token.place & HYPHEN != 0) as u32
}

/// How a token looks.
const fn look(token: &Token) -> u32 {
    if matches!(token.shape, Shape::Mark) { token.id << 5 } else { token.shape as u32 }
}

/// The part of `look` and the lexicon that tells names from the rest.
const fn name_class(token: &Token) -> u32 {
    let known =
        (token.flags & GIVEN != 0) as u32 | ((token.flags & FAMILY != 0) as u32) << 1 | (token.flags as u32 & 0xf0);
    look(token) << 8 | known
}

/// Fills `rows` with the features of the token at `at`.
pub fn features(tokens: &[Token], at: usize, rows: &mut [u32; COUNT]) {
    let near = |offset: isize| at.checked_add_signed(offset).and_then(|at| tokens.get(at)).unwrap_or(&NOTHING);
    let (here, left, right) = (near(0), near(-1), near(1));
    let (left2, right2, left3, right3) = (near(-2), near(2), near(-3), near(3));
    let (look0, class0, names0) = (look(here), class(here), name_class(here));
    let (names_left, names_right) = (name_class(left), name_class(right));
    let begins = u32::from(here.place & (SENTENCE_START | LINE_START | TITLED));
    let glue_left = if here.place & GAP == 0 { left.id } else { 0 };
    let glue_right = if right.place & GAP == 0 { right.id } else { 0 };
    let both = join(names0, names_left);
    let values = [
        here.id,
        join(left.id, look0),
        join(right.id, look0),
        join(left2.id, look0),
        join(right2.id, look0),
        join(join(left.id, left2.id), look0),
        join(join(right.id, right2.id), look0),
        class0,
        join(class0, class(left)),
        join(class0, class(right)),
        join(both, names_right),
        join(both, name_class(left2)),
        join(join(names0, names_right), name_class(right2)),
        join(left.id, names0),
        join(right.id, names0),
        join(here.suffix[0], look0),
        join(here.suffix[1], look0),
        join(here.suffix[2], look0),
        join(here.prefix, look0),
        join(begins, class0),
        join(u32::from(here.place & (CODE | TITLED)), class0),
        join(join(glue_left, glue_right), look0),
        join(join(here.line, look0), u32::from(here.place & CODE)),
        join(join(u32::from(here.length), begins), names0),
        join(join(left.id, here.id), 7),
        join(join(here.id, right.id), 7),
        join(join(left2.id, left.id), join(left3.id, look0)),
        join(join(look(left2), look(left)), join(look0, look(right))),
        join(join(look(left), look0), join(look(right), look(right2))),
        join(join(look(right3), look(right2)), join(look(right), look0)),
        join(here.suffix[1], join(names_left, names0)),
        join(join(names0, begins), join(right.id, 5)),
        join(join(left.id, right.id), names0),
    ];
    for ((row_at, value), slot) in rows.iter_mut().zip(values).zip(1..) {
        *row_at = row(slot, value);
    }
}
