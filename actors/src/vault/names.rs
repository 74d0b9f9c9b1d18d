//! Names and hashes that only the holder of the keyring can make: pseudonyms, subjects, fingerprints of content.
//!
//! All are keyed with secrets derived from the root secret in the keyring, not from the master key, so that they stay
//! the same when the master key is changed.

use blake3::Hasher;

use super::cipher::Key;
use super::slot::{TEAM_LEN, Tag};

/// Bytes of a pseudonym; written as twice as many hexadecimal digits.
const PSEUDONYM_LEN: usize = 10;

/// The keys derived from the root secret.
pub struct Names {
    subjects: Key,
    teams: Key,
    pseudonyms: Key,
    content: Key,
    /// Wraps the keys of content without a known subject.
    pub single: Key,
}

impl Names {
    /// Derives them.
    pub fn new(root: &Key) -> Self {
        Self {
            subjects: root.derive("bursar 2026-11 vault: names subjects in the keyring"),
            teams: root.derive("bursar 2026-11 vault: names teams in the keyring"),
            pseudonyms: root.derive("bursar 2026-11 vault: pseudonyms of users"),
            content: root.derive("bursar 2026-11 vault: fingerprints of content"),
            single: root.derive("bursar 2026-11 vault: wraps keys of single bodies"),
        }
    }

    /// Returns what stands for the user in the keyring.
    pub fn tag(&self, team: &str, user: &str) -> Tag {
        digest(&self.subjects, team, user)
    }

    /// Returns what stands for the team in the keyring.
    pub fn team_tag(&self, team: &str) -> [u8; TEAM_LEN] {
        digest(&self.teams, team, "")
    }

    /// Returns `u_` and 20 hexadecimal digits.
    pub fn pseudonym(&self, team: &str, user: &str) -> String {
        format!("u_{}", hex(&digest::<PSEUDONYM_LEN>(&self.pseudonyms, team, user)))
    }

    /// Returns the key of fingerprints of content of no known user.
    pub fn content(&self) -> &Key {
        &self.content
    }

    /// Returns that of content of the subject whose key this is.
    pub fn content_of(subject: &Key) -> Key {
        subject.derive("bursar 2026-11 vault: fingerprints of a subject's content")
    }
}

/// Returns the fingerprint of content that is there as a whole: much cheaper than piece by piece.
pub fn fingerprint(key: &Key, content: &[u8]) -> String {
    hex(key.hash(content).as_bytes())
}

/// Makes the fingerprint of content that arrives piece by piece.
pub struct ContentHasher(Hasher);

impl ContentHasher {
    pub(super) fn new(key: &Key) -> Self {
        Self(key.hasher())
    }

    /// Takes the next piece; how content is cut makes no difference.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Returns the fingerprint, as 64 hexadecimal digits.
    pub fn finish(self) -> String {
        hex(self.0.finalize().as_bytes())
    }
}

impl std::fmt::Debug for ContentHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContentHasher(…)")
    }
}

fn digest<const N: usize>(key: &Key, team: &str, user: &str) -> [u8; N] {
    let mut hasher = key.hasher();
    // With its length before it, a team cannot borrow the first letters of a user.
    hasher.update(&(team.len() as u64).to_le_bytes()).update(team.as_bytes()).update(user.as_bytes());
    let mut digest = [0; N];
    hasher.finalize_xof().fill(&mut digest);
    digest
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}
