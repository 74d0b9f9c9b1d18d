//! Addresses of people and machines on the net.

use core::net::Ipv6Addr;

use super::cues::Cue;
use super::{Scan, is_word};
use crate::privacy::Entity;

/// Longest local part of an e-mail address (RFC 5321, 4.5.3.1.1) and longest domain.
const LOCAL_MAX: usize = 64;
const DOMAIN_MAX: usize = 253;
/// Longest address of a page that is looked at.
const URL_MAX: usize = 2_048;

impl Scan<'_> {
    /// The e-mail address around the `@` at `at`.
    pub(super) fn email(&mut self, at: usize) {
        let local = |byte: u8| is_word(byte) || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
        let lowest = at.saturating_sub(LOCAL_MAX);
        let mut start = at;
        while start > lowest && local(self.back(start)) {
            start -= 1;
        }
        while start < at && !(is_word(self.at(start)) || self.at(start) == b'_') {
            start += 1;
        }
        while !self.text.is_char_boundary(start) {
            start += 1;
        }
        if start == at || self.back(at) == b'.' {
            return;
        }
        if let Some(end) = self.domain_end(at + 1) {
            self.found(start, end, Entity::Email, 95);
        }
    }

    /// Where the domain name that begins at `at` ends: labels, the last of them letters.
    fn domain_end(&self, at: usize) -> Option<usize> {
        let mut end = at;
        let mut label = at;
        let mut last = None;
        while end < at + DOMAIN_MAX {
            let byte = self.at(end);
            if byte.is_ascii_alphanumeric() || byte == b'-' {
                end += 1;
                continue;
            }
            if end == label {
                break;
            }
            let letters = self.bytes[label..end].iter().all(u8::is_ascii_alphabetic);
            if label > at && letters && end - label >= 2 && self.back(end) != b'-' {
                last = Some(end);
            }
            if byte != b'.' {
                break;
            }
            end += 1;
            label = end;
        }
        last
    }

    /// The address whose `://` stands at `at`.
    pub(super) fn url_scheme(&mut self, at: usize) {
        let mut start = at;
        while start > at.saturating_sub(16)
            && (self.back(start).is_ascii_alphanumeric() || b"+.-".contains(&self.back(start)))
        {
            start -= 1;
        }
        while start < at && !self.at(start).is_ascii_alphabetic() {
            start += 1;
        }
        if at - start >= 2 && is_word(self.at(at + 3)) {
            self.url(start, at + 3);
        }
    }

    pub(super) fn www(&mut self, start: usize) {
        if self.domain_end(start + 4).is_some() && self.back(start) != b'/' {
            self.url(start, start + 4);
        }
    }

    /// A domain's last label that only the web has, with a path behind it, or at least with nothing like a call.
    pub(super) fn domain(&mut self, cue: Cue) {
        if self.back(cue.end) != b'/' {
            return;
        }
        let mut start = cue.start;
        while start > cue.start.saturating_sub(DOMAIN_MAX)
            && (self.back(start).is_ascii_alphanumeric() || b".-".contains(&self.back(start)))
        {
            start -= 1;
        }
        let before = self.back(start);
        if start < cue.start && !matches!(before, b'@' | b'/' | b'_' | b'$') && is_word(self.at(cue.end)) {
            self.url(start, cue.end);
        }
    }

    fn url(&mut self, start: usize, from: usize) {
        let mut end = from;
        while end < from + URL_MAX
            && !matches!(self.at(end), 0..=b' ' | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'|' | b'\\' | b'^')
        {
            end += 1;
        }
        while end > from
            && matches!(self.back(end), b'.' | b',' | b';' | b':' | b'!' | b'?' | b')' | b']' | b'\'' | b'*')
        {
            end -= 1;
        }
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        self.found(start, end, Entity::Url, 95);
    }

    /// Hexadecimal groups around the colon or dash at `at`: an address of a network card, or of version 6 of IP.
    pub(super) fn hexes(&mut self, at: usize) {
        let separator = self.at(at);
        let part = |byte: u8| byte.is_ascii_hexdigit() || byte == separator;
        // Only the first separator of a run looks at it.
        let mut start = at;
        while start > at.saturating_sub(5) && self.back(start).is_ascii_hexdigit() {
            start -= 1;
        }
        if is_word(self.back(start)) || self.back(start) == separator || (start == at && self.at(at + 1) != separator) {
            return;
        }
        let mut end = at;
        while end < start + 46 && (part(self.at(end)) || (separator == b':' && end > at && self.at(end) == b'.')) {
            end += 1;
        }
        while end > start && matches!(self.back(end), b'.' | b':') && !self.text[start..end].ends_with("::") {
            end -= 1;
        }
        if is_word(self.at(end)) || !self.text.is_char_boundary(start) {
            return;
        }
        let text = &self.text[start..end];
        let groups: Vec<&str> = text.split(char::from(separator)).collect();
        if groups.len() == 6 && groups.iter().all(|group| group.len() == 2) {
            return self.found(start, end, Entity::Mac, 90);
        }
        let digits = text.bytes().any(|byte| byte.is_ascii_digit());
        if separator == b':' && groups.len() >= 4 && digits && text.parse::<Ipv6Addr>().is_ok() {
            self.found(start, end, Entity::Ip, 95);
        }
    }

    /// Four numbers with dots between; says where they end.
    pub(super) fn ipv4(&mut self, start: usize) -> Option<usize> {
        let mut at = start;
        for group in 0..4 {
            let from = at;
            while at < from + 3 && self.at(at).is_ascii_digit() {
                at += 1;
            }
            let number: u32 = self.text.get(from..at)?.parse().ok()?;
            if number > 255 || (at - from > 1 && self.at(from) == b'0') {
                return None;
            }
            if group < 3 {
                if self.at(at) != b'.' {
                    return None;
                }
                at += 1;
            }
        }
        let goes_on = is_word(self.at(at)) || (self.at(at) == b'.' && self.at(at + 1).is_ascii_digit());
        let version = matches!(self.back(start), b'.' | b'v' | b'V' | b'-' | b'_')
            || self
                .text
                .get(start.saturating_sub(8)..start)
                .is_some_and(|before| before.eq_ignore_ascii_case("version "));
        let nobodys = matches!(&self.text[start..at], "0.0.0.0" | "127.0.0.1");
        (!goes_on && !version && !nobodys).then_some(at)
    }
}
