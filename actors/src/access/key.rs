//! What a client key looks like: `sk-bursar-`, twelve letters that may be shown, `-`, and a secret of 256 bits with a
//! checksum, so that a key cut short by copying is told from a wrong one, and scanners for leaked secrets know it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// How every key begins that is made here.
pub const PREFIX: &str = "sk-bursar-";
/// Letters of the public part: 60 bits, so that two keys hardly ever share it.
const PUBLIC_LENGTH: usize = 12;
/// Bytes of the secret.
const SECRET_LENGTH: usize = 32;
/// Bytes of the checksum.
const CHECK_LENGTH: usize = 4;
/// Letters of the public part: nothing that looks like something else.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A key just made. It is shown once, by whoever takes it out.
pub struct NewKey {
    /// The part that may be shown.
    pub public: String,
    value: Zeroizing<String>,
}

impl NewKey {
    /// Returns a new key, made of the system's randomness.
    pub fn generate() -> Self {
        Self::of(&mut || rand::random::<u8>())
    }

    fn of(chance: &mut dyn FnMut() -> u8) -> Self {
        let letter = |byte: u8| char::from(LETTERS[usize::from(byte) % LETTERS.len()]);
        let public: String = (0..PUBLIC_LENGTH).map(|_| letter(chance())).collect();
        let mut bytes = Zeroizing::new([0; SECRET_LENGTH + CHECK_LENGTH]);
        bytes[..SECRET_LENGTH].fill_with(chance);
        let check = checksum(&public, &bytes[..SECRET_LENGTH]);
        bytes[SECRET_LENGTH..].copy_from_slice(&check);
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
        let value = Zeroizing::new(format!("{PREFIX}{public}-{}", secret.as_str()));
        Self { public, value }
    }

    /// Returns the key itself, to hash it and to show it once.
    pub fn expose(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}-…", self.public)
    }
}

/// Returns whether `text` has the form of a key made here and its checksum fits. It says nothing of whether it is good.
pub fn well_formed(text: &str) -> bool {
    let Some((public, secret)) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_at_checked(PUBLIC_LENGTH)) else {
        return false;
    };
    let bytes = secret.strip_prefix('-').and_then(|secret| URL_SAFE_NO_PAD.decode(secret).ok()).map(Zeroizing::new);
    bytes.is_some_and(|bytes| {
        bytes.len() == SECRET_LENGTH + CHECK_LENGTH
            && bytes[SECRET_LENGTH..] == checksum(public, &bytes[..SECRET_LENGTH])
    })
}

fn checksum(public: &str, secret: &[u8]) -> [u8; CHECK_LENGTH] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(public.as_bytes());
    hasher.update(secret);
    hasher.finalize().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_form_and_any_letter_changed_spoils_it() {
        let key = NewKey::generate();
        let text = key.expose();

        assert!(well_formed(text), "{text}");
        assert_eq!(text.len(), PREFIX.len() + PUBLIC_LENGTH + 1 + 48);
        assert!(text.starts_with(&format!("{PREFIX}{}-", key.public)));
        assert!(!well_formed(&text[..text.len() - 1]));
        for at in PREFIX.len()..text.len() {
            let other = if &text[at..=at] == "a" { "b" } else { "a" };
            let spoilt = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert!(!well_formed(&spoilt), "{at}");
        }
    }

    #[test]
    fn two_keys_differ_and_neither_shows_itself() {
        let (one, other) = (NewKey::generate(), NewKey::generate());

        assert_ne!(one.expose(), other.expose());
        assert_ne!(one.public, other.public);
        assert_eq!(format!("{one:?}"), format!("{PREFIX}{}-…", one.public));
    }

    #[test]
    fn no_text_is_taken_for_a_key_or_panics() {
        for text in ["", PREFIX, "sk-bursar-ééééééé", "sk-bursar-aaaaaaaaaaaa", "sk-bursar-aaaaaaaaaaaa-!"] {
            assert!(!well_formed(text), "{text}");
        }
    }
}
