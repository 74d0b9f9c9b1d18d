//! Passwords, as argon2id keeps them: 19 MiB and two passes, the least that OWASP's Password Storage Cheat Sheet names.
//!
//! Both functions take tens of milliseconds of a whole core: never on a thread that serves requests.

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};

/// Fewest letters of a password.
pub const PASSWORD_MIN: usize = 12;
/// Most bytes of a password.
pub const PASSWORD_MAX: usize = 1_024;
/// In KiB.
const MEMORY: u32 = 19_456;
const PASSES: u32 = 2;

/// A password that cannot be read any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Password {
    memory: u32,
    passes: u32,
    salt: [u8; 16],
    hash: [u8; 32],
}

impl Password {
    /// Returns what is kept of `text`. The text of an error is for a person.
    pub fn new(text: &str) -> Result<Self, String> {
        let letters = text.chars().count();
        if letters < PASSWORD_MIN || text.len() > PASSWORD_MAX {
            return Err(format!(
                "the password has {letters} letters; it needs at least {PASSWORD_MIN} and at most {PASSWORD_MAX} bytes"
            ));
        }
        let salt: [u8; 16] = rand::random();
        let hash = derive(text, &salt, MEMORY, PASSES).map_err(|error| error.to_string())?;
        Ok(Self { memory: MEMORY, passes: PASSES, salt, hash })
    }

    /// Returns whether it was `text`. Without a `kept` password it takes as long and is never so, lest the time tells which
    /// users there are.
    pub fn verify(kept: Option<&Self>, text: &str) -> bool {
        let nobody = Self { memory: MEMORY, passes: PASSES, salt: [0; 16], hash: [0; 32] };
        let password = kept.unwrap_or(&nobody);
        let derived = derive(text, &password.salt, password.memory, password.passes);
        // `blake3::Hash` compares in constant time.
        let is_it = derived.is_ok_and(|hash| blake3::Hash::from_bytes(hash) == blake3::Hash::from_bytes(password.hash));
        is_it && kept.is_some()
    }
}

fn derive(text: &str, salt: &[u8], memory: u32, passes: u32) -> Result<[u8; 32], argon2::Error> {
    let mut hash = [0; 32];
    let params = Params::new(memory, passes, 1, Some(hash.len()))?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(text.as_bytes(), salt, &mut hash)?;
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_again_and_nothing_else_is() {
        let kept = Password::new("correct horse battery").unwrap();

        assert!(Password::verify(Some(&kept), "correct horse battery"));
        assert!(!Password::verify(Some(&kept), "correct horse batterz"));
        assert!(!Password::verify(None, "correct horse battery"));
        assert_ne!(kept, Password::new("correct horse battery").unwrap(), "each has a salt of its own");
        let stored = serde_json::to_string(&kept).unwrap();
        assert!(!stored.contains("horse") && serde_json::from_str::<Password>(&stored).unwrap() == kept);
    }

    #[test]
    fn a_short_password_is_refused() {
        assert!(Password::new("elevenchars").unwrap_err().contains("at least 12"));
        assert!(Password::new(&"x".repeat(1_025)).is_err());
    }
}
