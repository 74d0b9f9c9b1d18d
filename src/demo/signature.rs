//! Signatures of what a model thought: opaque to the client, and checked when they come back.
//!
//! They prove nothing to an attacker; they show whether a gateway carried them back unchanged and to the right place.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::dice::Dice;

const BYTES: usize = 48;

/// Returns the signature of a content, base64 that only the same seed and content give again.
pub(super) fn sign(seed: u64, content: &str) -> String {
    let mut dice = Dice::new(seed, format!("signature {content}").as_bytes());
    let bytes: Vec<u8> = (0..BYTES / 8).flat_map(|_| dice.next().to_le_bytes()).collect();
    STANDARD.encode(bytes)
}

/// Seals a content into a text that [`is_sealed`] knows again without being told the content.
pub(super) fn seal(seed: u64, content: &str) -> String {
    let name = sign(seed, content);
    format!("{name}{}", sign(seed, &name))
}

/// Whether the text came out of [`seal`] with the same seed.
pub(super) fn is_sealed(seed: u64, sealed: &str) -> bool {
    let half = sealed.len() / 2;
    sealed.is_char_boundary(half) && half > 0 && sign(seed, &sealed[..half]) == sealed[half..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_content_and_one_seed() {
        assert_eq!(sign(1, "a"), sign(1, "a"));
        assert_ne!(sign(1, "a"), sign(1, "b"));
        assert_ne!(sign(1, "a"), sign(2, "a"));
    }

    #[test]
    fn a_seal_is_known_again_and_a_broken_one_is_not() {
        let sealed = seal(1, "a");

        assert!(is_sealed(1, &sealed));
        assert!(!is_sealed(2, &sealed));
        assert!(!is_sealed(1, &sealed[1..]));
        assert!(!is_sealed(1, "") && !is_sealed(1, "é"));
    }
}
