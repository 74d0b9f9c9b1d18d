//! The model as bytes: how the trainer writes it and the recogniser reads it.
//!
//! First the known words, sorted by key: their count, then for each the distance from the key before and its flags. Then
//! the 25 points of labels that follow each other. Then the rows of weights that are not all nothing: their count, then
//! for each the distance from the row before and five weights. Counts and distances are varints.

use super::lexicon::Lexicon;
use super::tagger::{LABELS, NEVER, Points, Weights};

fn put(mut number: u32, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// The bytes of a model. Both `entries` and `rows` must be sorted and without doubles.
pub fn write(entries: &[(u32, u8)], follow: &[Points; LABELS], rows: &[(u32, [i8; LABELS])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(entries.len() as u32, &mut bytes);
    let mut last = 0;
    for (key, flags) in entries {
        put(key - last, &mut bytes);
        bytes.push(*flags);
        last = *key;
    }
    for point in follow.iter().flatten() {
        let point = if *point <= NEVER { i16::MIN } else { (*point).clamp(-30_000, 30_000) as i16 };
        bytes.extend(point.to_le_bytes());
    }
    put(rows.len() as u32, &mut bytes);
    let mut last = 0;
    for (row, weights) in rows {
        put(row - last, &mut bytes);
        bytes.extend(weights.map(|weight| weight as u8));
        last = *row;
    }
    bytes
}

struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u32> {
        let mut number = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            number |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

/// The model in `bytes`, if they are those of one.
pub fn read(bytes: &[u8]) -> Option<(Lexicon, Weights)> {
    let mut reader = Reader(bytes);
    let count = reader.number()?;
    let mut entries = Vec::with_capacity(count.min(1 << 20) as usize);
    let mut key = 0_u32;
    for _ in 0..count {
        key = key.checked_add(reader.number()?)?;
        entries.push((key, reader.byte()?));
    }
    let mut weights = Weights::empty();
    for point in weights.follow.iter_mut().flatten() {
        let stored = i16::from_le_bytes([reader.byte()?, reader.byte()?]);
        *point = if stored == i16::MIN { NEVER } else { i32::from(stored) };
    }
    let mut row = 0_usize;
    for _ in 0..reader.number()? {
        row = row.checked_add(reader.number()? as usize)?;
        let mut five = [0; LABELS];
        for weight in &mut five {
            *weight = reader.byte()? as i8;
        }
        weights.set(row, five);
    }
    Some((Lexicon::new(&entries), weights))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let mut follow = [[7; LABELS]; LABELS];
        follow[0][2] = NEVER;
        let bytes = write(&[(5, 1), (70_000, 16)], &follow, &[(3, [1, -2, 3, -4, 5]), (900, [0; LABELS])]);
        let (lexicon, weights) = read(&bytes).expect("it was written here");
        assert_eq!((lexicon.flags(5), lexicon.flags(70_000), lexicon.flags(90_000)), (1, 16, 0));
        assert_eq!(weights.follow, follow);
        assert!((0..bytes.len()).all(|end| read(&bytes[..end]).is_none()));
    }
}
