//! Numbers: of telephones, cards, accounts and people. Digits in groups are read once, and then held against what has such
//! groups.

use super::cues::{self, Kind};
use super::{Scan, checks, is_word};
use crate::privacy::Entity;

/// Most digits, and most groups of them, that belong together.
const DIGITS_MAX: usize = 20;
const GROUPS_MAX: usize = 10;

/// Digits in groups with one separator between.
#[derive(Default)]
struct Groups {
    digits: Vec<u8>,
    lengths: Vec<usize>,
    separators: Vec<u8>,
    /// Where each group ends.
    ends: Vec<usize>,
}

impl Groups {
    fn first(&self, count: usize) -> (&[u8], usize) {
        let digits: usize = self.lengths[..count].iter().sum();
        (&self.digits[..digits], self.ends[count - 1])
    }
}

impl Scan<'_> {
    /// Whatever number begins at `at`; says up to where it was read as one.
    pub(super) fn number(&mut self, at: usize) -> usize {
        match self.at(at) {
            b'+' | b'(' => return self.dialled(at).unwrap_or(at),
            _ if matches!(self.back(at), b'+' | b'(' | b'$' | b'#' | b'_')
                && self.back(at) != b'#'
                && self.back(at) != b'(' =>
            {
                return at;
            }
            _ => {}
        }
        // Within something longer, such as an identifier in hexadecimal groups.
        let inner = matches!(self.back(at), b'-' | b'.') && at >= 2 && is_word(self.at(at - 2));
        if let Some(end) = self.ipv4(at) {
            self.found(at, end, Entity::Ip, 95);
            return end;
        }
        if let Some(end) = self.date(at) {
            return end;
        }
        self.age(at);
        let groups = self.groups(at);
        if groups.lengths.is_empty() {
            return at;
        }
        let count = groups.lengths.len();
        let (_, end) = groups.first(count);
        if is_word(self.at(end)) && self.at(end) != b'x' && count == 1 {
            return at;
        }
        let read = if inner { None } else { self.strict(at, &groups).or_else(|| self.phone(at, &groups)) };
        read.or_else(|| self.by_context(at, &groups)).unwrap_or(at)
    }

    fn groups(&self, start: usize) -> Groups {
        let mut groups = Groups::default();
        let mut at = start;
        loop {
            let from = at;
            while self.at(at).is_ascii_digit() && groups.digits.len() < DIGITS_MAX {
                groups.digits.push(self.at(at) - b'0');
                at += 1;
            }
            if at == from || self.at(at).is_ascii_digit() {
                // A run that is longer than anything is nothing.
                groups.digits.truncate(groups.digits.len() - (at - from));
                if groups.lengths.is_empty() || at == from {
                    groups.separators.truncate(groups.lengths.len().saturating_sub(1));
                    return groups;
                }
                groups.separators.truncate(groups.lengths.len().saturating_sub(1));
                return groups;
            }
            groups.lengths.push(at - from);
            groups.ends.push(at);
            let separator = self.at(at);
            let more = matches!(separator, b' ' | b'-' | b'.') && self.at(at + 1).is_ascii_digit();
            if !more || groups.lengths.len() == GROUPS_MAX {
                return groups;
            }
            groups.separators.push(separator);
            at += 1;
        }
    }

    /// What has a check, or a form that nothing else has.
    fn strict(&mut self, at: usize, groups: &Groups) -> Option<usize> {
        for count in (1..=groups.lengths.len()).rev() {
            let (digits, end) = groups.first(count);
            let separators = &groups.separators[..count - 1];
            let same = separators.windows(2).all(|pair| pair[0] == pair[1]);
            if is_word(self.at(end)) {
                continue;
            }
            if same
                && checks::card(digits)
                && groups.lengths[..count].iter().all(|length| count == 1 || (2..=7).contains(length))
            {
                // Bare digits of the less common lengths are as often the number of something else.
                let sure = digits.len() >= 13 || self.near(at, end, cues::CARD) || count > 1;
                self.found(at, end, Entity::CreditCard, if sure { 98 } else { 80 });
                return self.wants(Entity::CreditCard).then_some(end);
            }
            if groups.lengths[..count] == [3, 2, 4] && same && separators != b"." {
                let entity = if checks::ssn(digits) { Entity::Ssn } else { Entity::Itin };
                if checks::ssn(digits) || checks::itin(digits) {
                    self.found(at, end, entity, 90);
                    return Some(end);
                }
            }
            // Issuers outside the schemes, and prefixes of theirs that are newer than our table.
            if same && (12..=19).contains(&digits.len()) && checks::luhn(digits) && self.near(at, end, cues::CARD) {
                self.found(at, end, Entity::CreditCard, 88);
                return self.wants(Entity::CreditCard).then_some(end);
            }
            if checks::national_groups(digits, &groups.lengths[..count], separators) {
                self.found(at, end, Entity::NationalId, 92);
                return Some(end);
            }
        }
        None
    }

    /// What only a word beside it tells from any other number.
    fn by_context(&mut self, at: usize, groups: &Groups) -> Option<usize> {
        for count in (1..=groups.lengths.len()).rev() {
            let (digits, end) = groups.first(count);
            if is_word(self.at(end)) {
                continue;
            }
            let length = digits.len();
            let near = |kinds: Kind| self.near(at, end, kinds);
            let entity = if length == 9 && near(cues::SSN) && (checks::ssn(digits) || checks::itin(digits)) {
                if checks::ssn(digits) { Entity::Ssn } else { Entity::Itin }
            } else if length == 9 && near(cues::ROUTING) && checks::aba(digits) {
                Entity::RoutingNumber
            } else if length == 10 && near(cues::NPI) && checks::npi(digits) {
                Entity::Npi
            } else if length == 15 && near(cues::IMEI) && checks::luhn(digits) {
                Entity::Imei
            } else if (8..=14).contains(&length) && near(cues::NATIONAL) {
                Entity::NationalId
            } else if count == 1
                && (7..=11).contains(&length)
                && near(cues::PHONE)
                && !near(cues::ACCOUNT | cues::MRN | cues::PLAN | cues::OTHER)
            {
                Entity::Phone
            } else if (6..=17).contains(&length) && near(cues::ACCOUNT) {
                Entity::BankAccount
            } else {
                continue;
            };
            self.found(at, end, entity, 75);
            return Some(end);
        }
        self.postcode_of_digits(at, groups);
        None
    }

    /// Numbers that are grouped as telephones' are.
    fn phone(&mut self, at: usize, groups: &Groups) -> Option<usize> {
        if !self.wants(Entity::Phone) {
            return None;
        }
        for count in (2..=groups.lengths.len()).rev() {
            let (digits, end) = groups.first(count);
            let (lengths, separators) = (&groups.lengths[..count], &groups.separators[..count - 1]);
            let same = separators.windows(2).all(|pair| pair[0] == pair[1]);
            let extended = self.extension(end);
            if extended == end && is_word(self.at(end)) {
                continue;
            }
            let american = match lengths {
                [3, 3, 4] => same && digits[0] > 1,
                [1, 3, 3, 4] => same && digits[0] == 1 && digits[1] > 1,
                _ => false,
            };
            let national =
                digits[0] == 0 && (9..=11).contains(&digits.len()) && lengths.iter().all(|length| *length >= 2) && same;
            let abroad = digits.starts_with(&[0, 0]) && (11..=17).contains(&digits.len());
            let cued = (7..=12).contains(&digits.len())
                && lengths.iter().all(|length| (2..=4).contains(length) || *length == 5 || *length == 6)
                && self.near(at, extended, cues::PHONE)
                && !is_date_like(lengths, digits);
            if american || national || abroad || cued {
                self.found(at, extended, Entity::Phone, if cued && !american && !national { 75 } else { 85 });
                return Some(extended);
            }
        }
        None
    }

    /// A number that begins with a plus, or with an area in parentheses; says where it ends.
    fn dialled(&mut self, start: usize) -> Option<usize> {
        let plus = self.at(start) == b'+';
        let first = self.at(start + 1);
        if !first.is_ascii_digit() || is_word(self.back(start)) || (plus && first == b'0') {
            return None;
        }
        let (mut at, mut end, mut digits, mut gap, mut groups) = (start + 1, start, 0, 0, 1);
        while digits < 15 && at < start + 32 {
            match self.at(at) {
                byte if byte.is_ascii_digit() => {
                    (digits, end) = (digits + 1, at + 1);
                    groups += usize::from(gap > 0);
                    gap = 0;
                }
                b' ' | b'-' | b'.' | b'(' | b')' | b'/' if gap < 2 => gap += 1,
                _ => break,
            }
            at += 1;
        }
        if !plus {
            let close = self.bytes[start..end].iter().position(|byte| *byte == b')')?;
            if !(3..=5).contains(&close) || !(8..=11).contains(&digits) || groups < 2 {
                return None;
            }
        }
        let extended = self.extension(end);
        if (plus && digits < 8) || (extended == end && is_word(self.at(end))) {
            return None;
        }
        self.found(start, extended, Entity::Phone, 85);
        Some(extended)
    }

    /// Where an extension behind `end` ends: `x123`, ` ext. 123`.
    fn extension(&self, end: usize) -> usize {
        let rest = self.text.get(end..(end + 6).min(self.text.len())).unwrap_or_default();
        let lead = ["x", " x", " ext. ", " ext ", "ext"].into_iter().find(|lead| rest.starts_with(lead));
        let Some(lead) = lead else { return end };
        let from = end + lead.len();
        let mut at = from;
        while at < from + 6 && self.at(at).is_ascii_digit() {
            at += 1;
        }
        if (2..=5).contains(&(at - from)) && !is_word(self.at(at)) { at } else { end }
    }

    /// A US postcode: behind the two letters of a state, in its long form, or behind its name.
    fn postcode_of_digits(&mut self, at: usize, groups: &Groups) {
        let long = groups.lengths.starts_with(&[5, 4]) && groups.separators.first() == Some(&b'-');
        if groups.lengths.first() != Some(&5) {
            return;
        }
        let end = groups.ends[usize::from(long)];
        let before = self.text.get(at.saturating_sub(4)..at).unwrap_or_default().as_bytes();
        let state = matches!(before, [lead, a, b, b' '] if !is_word(*lead) && STATES.contains(&[*a, *b].as_slice()));
        if !is_word(self.at(end)) && (long || state || self.near(at, end, cues::POSTCODE)) {
            self.found(at, end, Entity::Postcode, if long || state { 80 } else { 70 });
        }
    }

    /// An age above 89 (45 CFR 164.514(b)(2)(i)(C)).
    fn age(&mut self, at: usize) {
        let mut end = at;
        while end < at + 4 && self.at(end).is_ascii_digit() {
            end += 1;
        }
        let age = self.text.get(at..end).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
        if !self.wants(Entity::Age) || !(90..=130).contains(&age) {
            return;
        }
        let behind = cues::after(&self.cues, self.bytes, end, cues::AGE, 0);
        let ahead = cues::before(&self.cues, self.bytes, at, cues::AGE, 1);
        if behind || ahead {
            self.found(at, end, Entity::Age, 75);
        }
    }
}

fn is_date_like(lengths: &[usize], digits: &[u8]) -> bool {
    match lengths {
        [4, 2, 2] => checks::is_date(checks::number(&digits[4..6]), checks::number(&digits[6..])),
        [2, 2, 4] => checks::is_date(checks::number(&digits[2..4]), checks::number(&digits[..2])),
        _ => false,
    }
}

/// States and territories as the US Postal Service writes them (Publication 28, Appendix B).
const STATES: &[&[u8]] = &[
    b"AL", b"AK", b"AZ", b"AR", b"CA", b"CO", b"CT", b"DE", b"FL", b"GA", b"HI", b"ID", b"IL", b"IN", b"IA", b"KS",
    b"KY", b"LA", b"ME", b"MD", b"MA", b"MI", b"MN", b"MS", b"MO", b"MT", b"NE", b"NV", b"NH", b"NJ", b"NM", b"NY",
    b"NC", b"ND", b"OH", b"OK", b"OR", b"PA", b"RI", b"SC", b"SD", b"TN", b"TX", b"UT", b"VT", b"VA", b"WA", b"WV",
    b"WI", b"WY", b"DC", b"PR", b"VI", b"GU", b"AS", b"MP", b"AA", b"AE", b"AP",
];
