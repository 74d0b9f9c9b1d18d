//! Dates finer than a year, and years where a sentence says that something was in them.
//!
//! A year alone is no identifier (45 CFR 164.514(b)(2)(i)(C)), but the set that recognisers are measured by counts it, so it
//! is told with the least confidence that counts by default: `min_confidence = 0.65` leaves it out.

use super::{Scan, checks, is_word};
use crate::privacy::Entity;

impl Scan<'_> {
    fn digits(&self, at: usize, most: usize) -> (u32, usize) {
        let mut end = at;
        while end < at + most && self.at(end).is_ascii_digit() {
            end += 1;
        }
        let digits: Vec<u8> = self.bytes[at.min(self.bytes.len())..end].iter().map(|byte| byte - b'0').collect();
        (checks::number(&digits), end)
    }

    /// The date in digits that begins at `at`; says where it ends.
    pub(super) fn date(&mut self, at: usize) -> Option<usize> {
        if !self.wants(Entity::Date) || matches!(self.back(at), b'.' | b'/' | b'-') {
            return None;
        }
        let (first, end) = self.digits(at, 5);
        let separator = self.at(end);
        if end - at == 4 && !matches!(separator, b'-' | b'/' | b'.') {
            return self.year(at, first, end);
        }
        if !matches!(separator, b'-' | b'/' | b'.') {
            return None;
        }
        let (second, middle) = self.digits(end + 1, 3);
        if self.at(middle) != separator || !(1..=2).contains(&(middle - end - 1)) {
            return if end - at == 4 { self.year(at, first, end) } else { None };
        }
        let (third, last) = self.digits(middle + 1, 5);
        let valid = match (end - at, last - middle - 1) {
            (4, 1 | 2) => (1800..2200).contains(&first) && checks::is_date(second, third),
            (1 | 2, 4) => {
                (1800..2200).contains(&third) && (checks::is_date(second, first) || checks::is_date(first, second))
            }
            (1 | 2, 2) => separator == b'/' && (checks::is_date(second, first) || checks::is_date(first, second)),
            _ => false,
        };
        if !valid
            || (is_word(self.at(last)) && self.at(last) != b'T')
            || (self.at(last) == separator && self.at(last + 1).is_ascii_digit())
        {
            return None;
        }
        let end = self.time(last).unwrap_or(last);
        self.found(at, end, Entity::Date, 85);
        Some(end)
    }

    /// Where a time behind a date ends: `T10:00:00.5Z`, ` 11:34:35`, ` 9:05 PM`.
    fn time(&self, at: usize) -> Option<usize> {
        if !matches!(self.at(at), b'T' | b' ') {
            return None;
        }
        let (hour, mut end) = self.digits(at + 1, 2);
        if end == at + 1 || hour > 24 || self.at(end) != b':' {
            return None;
        }
        for _ in 0..2 {
            if self.at(end) == b':' && self.at(end + 1).is_ascii_digit() {
                end = self.digits(end + 1, 2).1;
            }
        }
        if self.at(end) == b'.' && self.at(end + 1).is_ascii_digit() {
            end = self.digits(end + 1, 9).1;
        }
        let rest = self.text.get(end..(end + 3).min(self.text.len())).unwrap_or_default();
        if self.at(end) == b'Z' {
            end += 1;
        } else if ["AM", "PM"].iter().any(|half| rest.trim_start().eq_ignore_ascii_case(half)) {
            end += rest.len();
        } else if matches!(self.at(end), b'+' | b'-') && self.at(end + 1).is_ascii_digit() {
            let (_, hours) = self.digits(end + 1, 2);
            end = if self.at(hours) == b':' { self.digits(hours + 1, 2).1 } else { self.digits(hours, 2).1 };
        }
        Some(end)
    }

    fn year(&mut self, at: usize, year: u32, end: usize) -> Option<usize> {
        const BEFORE: &[&str] =
            &["in", "since", "during", "until", "year", "circa", "around", "from", "after", "before", "of", "by"];
        if !(1900..2100).contains(&year) || is_word(self.at(end)) || self.back(at) != b' ' {
            return None;
        }
        let before = self.text.get(at.saturating_sub(12)..at - 1)?;
        let word = before.rsplit(|character: char| !character.is_ascii_alphabetic()).next()?;
        if !BEFORE.iter().any(|known| known.eq_ignore_ascii_case(word)) {
            return None;
        }
        self.found(at, end, Entity::Date, 60);
        Some(end)
    }

    /// The date around the name of a month: a day before or behind it, or a year.
    pub(super) fn month(&mut self, name: usize, name_end: usize) {
        let mut start = name;
        let mut day = false;
        // Before it: "3 ", "3rd of ", "12. ", "1 de ".
        let head = self
            .text
            .get(name.saturating_sub(9)..name)
            .or_else(|| self.text.get(name.saturating_sub(8)..name))
            .unwrap_or_default();
        let trimmed = head.trim_end();
        let trimmed =
            ["of", "de", "."].iter().find_map(|link| trimmed.strip_suffix(link)).unwrap_or(trimmed).trim_end();
        let trimmed = ["st", "nd", "rd", "th", "."].iter().find_map(|end| trimmed.strip_suffix(end)).unwrap_or(trimmed);
        let digits = trimmed.bytes().rev().take_while(u8::is_ascii_digit).count();
        if (1..=2).contains(&digits) && trimmed.len() < head.len() {
            let from = name - head.len() + trimmed.len() - digits;
            if (1..=31).contains(&self.digits(from, 2).0) && !is_word(self.back(from)) {
                (start, day) = (from, true);
            }
        }
        // Behind it: " 3, 2021", " 3rd", " 2021", ". 3".
        let mut end = name_end;
        let mut year = false;
        let mut at = name_end + usize::from(self.at(name_end) == b'.');
        if self.at(at) == b' ' && self.at(at + 1).is_ascii_digit() {
            let (number, after) = self.digits(at + 1, 5);
            if !day && after - at <= 3 && (1..=31).contains(&number) {
                let suffix =
                    self.text.get(after..after + 2).is_some_and(|text| ["st", "nd", "rd", "th"].contains(&text));
                end = after + 2 * usize::from(suffix);
                day = !is_word(self.at(end));
                at = end + usize::from(self.at(end) == b',');
            }
            let (number, after) = if self.at(at) == b' ' { self.digits(at + 1, 5) } else { (0, 0) };
            if (1800..2200).contains(&number) && after == at + 5 && !is_word(self.at(after)) {
                (end, year) = (after, true);
            }
        } else if day && self.at(at) == b',' && self.at(at + 1) == b' ' {
            let (number, after) = self.digits(at + 2, 5);
            if (1800..2200).contains(&number) && after == at + 6 {
                (end, year) = (after, true);
            }
        }
        if day || year {
            let end = self.time(end).unwrap_or(end);
            self.found(start, end, Entity::Date, 85);
        }
    }
}
