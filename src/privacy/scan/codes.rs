//! Codes of letters and digits: of accounts, vehicles, patients, people, wallets.

use super::cues;
use super::{Scan, checks, is_word};
use crate::privacy::Entity;

/// Longest code that is looked at; what is longer is a key or a picture.
const CODE_MAX: usize = 42;

impl Scan<'_> {
    /// Whatever code begins at `at`, which is a digit or an upper-case letter at the beginning of a word.
    pub(super) fn code(&mut self, at: usize) {
        let mut end = at;
        let (mut digits, mut upper) = (0, 0);
        while end <= at + CODE_MAX && self.at(end).is_ascii_alphanumeric() {
            digits += usize::from(self.at(end).is_ascii_digit());
            upper += usize::from(self.at(end).is_ascii_uppercase());
            end += 1;
        }
        if end > at + CODE_MAX || self.at(end) >= 0x80 {
            return;
        }
        let token = &self.bytes[at..end];
        if digits == 0 {
            return;
        }
        if upper >= 2 && token[..2].iter().all(u8::is_ascii_uppercase) && self.iban(at) {
            return;
        }
        let length = end - at;
        let sure = if length == 17 && checks::vin(token) {
            Some((Entity::Vin, 92))
        } else if length == 11 && checks::mbi(token) {
            Some((Entity::Mbi, if self.near(at, end, cues::PLAN) { 95 } else { 80 }))
        } else if length == 9 && checks::dea(token) {
            Some((Entity::Dea, if self.near(at, end, cues::DEA) { 95 } else { 70 }))
        } else if upper > 0 && checks::national_code(token) {
            Some((Entity::NationalId, 92))
        } else if token.starts_with(b"0x") && length == 42 && token[2..].iter().all(u8::is_ascii_hexdigit) {
            Some((Entity::Crypto, 95))
        } else if (26..=35).contains(&length)
            && matches!(token[0], b'1' | b'3')
            && upper > 2
            && self.near(at, end, cues::CRYPTO)
        {
            Some((Entity::Crypto, 80))
        } else {
            None
        };
        if let Some((entity, confidence)) = sure {
            return self.found(at, end, entity, confidence);
        }
        self.postcode(at, end);
        self.cued_code(at, end, digits);
    }

    /// A code that only a word before it tells from any other.
    fn cued_code(&mut self, at: usize, end: usize, digits: usize) {
        let length = end - at;
        if digits < 4 || !(5..=20).contains(&length) {
            return;
        }
        let before = |kinds| cues::before(&self.cues, self.bytes, at, kinds, 3);
        let entity = if before(cues::PASSPORT) && length <= 10 {
            Entity::Passport
        } else if before(cues::LICENCE) {
            Entity::DriverLicence
        } else if before(cues::MRN) {
            Entity::Mrn
        } else if before(cues::PLAN) {
            Entity::HealthPlan
        } else {
            return;
        };
        self.found(at, end, entity, 78);
    }

    /// An account's international number, with or without blanks.
    fn iban(&mut self, at: usize) -> bool {
        let mut compact = Vec::with_capacity(34);
        let mut ends = Vec::with_capacity(34);
        let mut end = at;
        while compact.len() < 34 {
            match self.at(end) {
                byte if byte.is_ascii_digit() || byte.is_ascii_uppercase() => {
                    compact.push(byte);
                    ends.push(end + 1);
                }
                b' ' | b'-' if self.at(end + 1).is_ascii_digit() || self.at(end + 1).is_ascii_uppercase() => {}
                _ => break,
            }
            end += 1;
        }
        let Some(length) = checks::iban(&compact) else { return false };
        let end = ends[length - 1];
        if is_word(self.at(end)) {
            return false;
        }
        self.found(at, end, Entity::Iban, 99);
        true
    }

    /// A postcode of the United Kingdom (BS 7666) or of Canada, whose outer part ends at `end`.
    fn postcode(&mut self, at: usize, end: usize) {
        let outer = &self.bytes[at..end];
        if self.at(end) != b' ' || !(2..=4).contains(&outer.len()) || is_word(self.at(end + 4)) {
            return;
        }
        let Some(inner) = self.bytes.get(end + 1..end + 4) else { return };
        let (upper, digit) = (u8::is_ascii_uppercase, u8::is_ascii_digit);
        let british = digit(&inner[0])
            && inner[1..].iter().all(upper)
            && upper(&outer[0])
            && outer[1..].iter().any(digit)
            && outer.iter().all(|byte| upper(byte) || digit(byte));
        let canadian = matches!(outer, [a, b, c] if upper(a) && digit(b) && upper(c))
            && digit(&inner[0])
            && upper(&inner[1])
            && digit(&inner[2]);
        if british || canadian {
            self.found(at, end + 4, Entity::Postcode, 80);
        }
    }

    /// Codes that begin with a small letter: addresses of wallets.
    pub(super) fn lower_codes(&mut self) {
        if !self.wants(Entity::Crypto) {
            return;
        }
        let starts: Vec<usize> = memchr::memmem::find_iter(self.bytes, b"bc1").collect();
        for start in starts {
            let mut end = start;
            while end < start + 90 && self.at(end).is_ascii_alphanumeric() {
                end += 1;
            }
            if !is_word(self.back(start)) && checks::bech32(&self.bytes[start..end]) {
                self.found(start, end, Entity::Crypto, 99);
            }
        }
    }
}
