//! Keys, tokens and passwords: by the beginnings that their issuers give them, or by the name before them.

use super::cues::{self, Cue};
use super::{Scan, checks, is_word};
use crate::privacy::Entity;

/// Longest key or token that is looked at.
const TOKEN_MAX: usize = 4_096;
/// Longest private key.
const PEM_MAX: usize = 16_384;

/// Beginnings of keys, as their issuers document them, and how many characters at least follow.
const ISSUED: &[(&str, usize)] = &[
    ("sk-", 20),
    ("sk_live_", 16),
    ("sk_test_", 16),
    ("rk_live_", 16),
    ("pk_live_", 16),
    ("AKIA", 16),
    ("ASIA", 16),
    ("AGPA", 16),
    ("AROA", 16),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghu_", 30),
    ("ghs_", 30),
    ("ghr_", 30),
    ("github_pat_", 22),
    ("glpat-", 20),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("xoxa-", 20),
    ("xoxr-", 20),
    ("xoxs-", 20),
    ("xapp-", 20),
    ("AIza", 35),
    ("ya29.", 20),
    ("hf_", 30),
    ("npm_", 30),
    ("pypi-", 40),
    ("SG.", 40),
    ("shpat_", 30),
    ("dop_v1_", 60),
    ("EAACEd", 20),
    ("key-", 32),
    ("sq0atp-", 20),
    ("sq0csp-", 40),
    ("r8_", 30),
    ("gsk_", 40),
    ("xai-", 40),
    ("pplx-", 40),
    ("whsec_", 24),
    ("lin_api_", 30),
    ("dapi", 32),
    ("figd_", 30),
    ("ntn_", 40),
    ("secret_", 40),
    ("rubygems_", 40),
    ("ATATT3", 60),
    ("vercel_", 20),
    ("nvapi-", 40),
    ("sbp_", 40),
    ("tfp_", 40),
    ("hvs.", 24),
    ("co-", 40),
    ("bsr_", 16),
    ("glsa_", 30),
    ("phc_", 30),
    ("dckr_pat_", 20),
    ("dp.pt.", 40),
    ("AGE-SECRET-KEY-1", 50),
    ("sntrys_", 40),
    ("pul-", 40),
    ("NRAK-", 24),
    ("amzn.mws.", 30),
    ("LTAI", 17),
];

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)
}

impl Scan<'_> {
    fn token_end(&self, at: usize, part: impl Fn(u8) -> bool) -> usize {
        let mut end = at;
        while end < at + TOKEN_MAX && part(self.at(end)) {
            end += 1;
        }
        while end > at && self.back(end) == b'.' {
            end -= 1;
        }
        end
    }

    /// The key or token whose beginning is `cue`.
    pub(super) fn prefixed(&mut self, cue: Cue) {
        let start = cue.start;
        if is_word(self.back(start)) || matches!(self.back(start), b'_' | b'-') {
            return;
        }
        let written = &self.text[start..cue.end];
        if written == "eyJ" {
            let end = self.token_end(start, is_token);
            let parts: Vec<&str> = self.text[start..end].split('.').collect();
            if matches!(parts.as_slice(), [head, body, _] if head.len() >= 10 && body.len() >= 4) {
                self.found(start, end, Entity::Jwt, 99);
            }
            return;
        }
        let Some((_, least)) = ISSUED.iter().find(|(known, _)| *known == written) else { return };
        let end = self.token_end(cue.end, is_token);
        let body = &self.bytes[cue.end..end];
        let mixed = body.iter().any(u8::is_ascii_digit) || *least <= 17;
        if body.len() >= *least && mixed && checks::entropy(body) > 2.5 {
            self.found(start, end, Entity::ApiKey, 97);
        }
    }

    /// A private key, up to the line that ends it or the end of the text.
    pub(super) fn pem(&mut self, start: usize) {
        let mut most = (start + PEM_MAX).min(self.text.len());
        while !self.text.is_char_boundary(most) {
            most -= 1;
        }
        let text = &self.text[start..most];
        let Some(head) = text[11..].find("-----").filter(|head| *head < 60) else { return };
        if !text[..11 + head].contains("PRIVATE KEY") {
            return;
        }
        let behind = 16 + head;
        let end = text[behind..].find("-----END").map(|at| behind + at);
        let end = end.and_then(|at| text[at + 8..].find("-----").map(|dashes| at + 8 + dashes + 5));
        self.found(start, start + end.unwrap_or(text.len()), Entity::PrivateKey, 100);
    }

    /// The value of `name: value`, `name=value` or `"name": "value"`, whose name holds the word of `cue`.
    pub(super) fn pair(&mut self, cue: Cue) {
        let mut at = cue.end;
        while at < cue.end + 24 && (self.at(at).is_ascii_alphanumeric() || matches!(self.at(at), b'_' | b'-')) {
            at += 1;
        }
        let named = at == cue.end || cue.kind == cues::SECRET;
        at += usize::from(matches!(self.at(at), b'"' | b'\''));
        let bearer = cue.kind == cues::SECRET && self.text[cue.start..cue.end].eq_ignore_ascii_case("bearer");
        while self.at(at) == b' ' && at < cue.end + 32 {
            at += 1;
        }
        if !bearer {
            if !named || !matches!(self.at(at), b':' | b'=') || matches!(self.at(at + 1), b':' | b'=') {
                return;
            }
            at += 1;
            while self.at(at) == b' ' {
                at += 1;
            }
        }
        let quote = self.at(at);
        let quoted = matches!(quote, b'"' | b'\'' | b'`');
        at += usize::from(quoted);
        let ends = |byte: u8| {
            if quoted {
                byte == quote || byte < b' '
            } else {
                byte <= b' ' || matches!(byte, b'"' | b'\'' | b'`' | b',' | b';' | b')' | b'<' | b'>' | b'&')
            }
        };
        let mut end = at;
        while end < at + 256 && end < self.bytes.len() && !ends(self.at(end)) {
            end += 1;
        }
        while end > at && matches!(self.back(end), b'.' | b':') {
            end -= 1;
        }
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let value = &self.text[at..end];
        if is_no_value(value) {
            return;
        }
        let bytes = value.as_bytes();
        let digit = bytes.iter().any(u8::is_ascii_digit);
        let symbol = bytes.iter().any(|byte| byte.is_ascii_punctuation() && !b"._-/".contains(byte));
        match cue.kind {
            cues::PASSWORD if value.len() >= 4 && (digit || symbol || quoted && value.len() >= 8) => {
                self.found(at, end, Entity::Password, 80);
            }
            cues::USERNAME
                if (3..=64).contains(&value.len()) && (digit || value.contains(['.', '_', '-'])) && !symbol =>
            {
                self.found(at, end, Entity::Username, 70);
            }
            cues::SECRET if value.len() >= 16 && digit && checks::entropy(bytes) >= 3.5 => {
                self.found(at, end, Entity::ApiKey, 85);
            }
            _ => {}
        }
    }
}

/// Whether it only stands where a value would: a variable, a type, a call, an example's blank.
fn is_no_value(value: &str) -> bool {
    const WORDS: &[&str] =
        &["none", "null", "true", "false", "string", "str", "undefined", "password", "secret", "changeme", "required"];
    value.is_empty()
        || value.starts_with(['<', '$', '{', '[', '(', '*', '%', '&', '/'])
        || value.starts_with("PII_")
        || value.contains(['(', '{', '[', '|'])
        || value.contains("::")
        || value.contains("***")
        || value.contains("...")
        || WORDS.iter().any(|word| word.eq_ignore_ascii_case(value))
        || value.contains('.')
            && value.split('.').all(|part| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
}
