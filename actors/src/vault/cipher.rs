//! One 256-bit key and what is done with it: sealing bytes, opening them, deriving further keys.
//!
//! XChaCha20-Poly1305 throughout. Its nonce has 192 bits, so that a random one never meets itself under the same key,
//! and no counter has to survive a crash.

use std::fmt;

use blake3::Hasher;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use rand::rngs::SysRng;
use rand::{Rng, TryRng};
use zeroize::Zeroizing;

use super::VaultError;

/// Bytes of a key.
pub const KEY_LEN: usize = 32;
/// Bytes of the nonce that stands before what is sealed.
const NONCE_LEN: usize = 24;
/// Bytes of the tag that stands behind it.
const TAG_LEN: usize = 16;
/// How many bytes sealing adds.
pub const SEAL_ADDS: usize = NONCE_LEN + TAG_LEN;

/// A key, overwritten in memory when it is dropped; `Debug` prints `…`.
pub struct Key(Zeroizing<[u8; KEY_LEN]>);

impl Key {
    /// Wraps `bytes`.
    pub fn new(bytes: Zeroizing<[u8; KEY_LEN]>) -> Self {
        Self(bytes)
    }

    /// Returns a key of the operating system's randomness.
    pub fn random() -> Result<Self, VaultError> {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        SysRng.try_fill_bytes(bytes.as_mut()).map_err(|_| VaultError::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// Returns the key for the one purpose that `context` names.
    pub fn derive(&self, context: &str) -> Self {
        Self(Zeroizing::new(blake3::derive_key(context, self.0.as_ref())))
    }

    /// Returns a hasher keyed with this key.
    pub fn hasher(&self) -> Hasher {
        Hasher::new_keyed(&self.0)
    }

    /// Returns the hash of `content` keyed with this key, as [`Key::hasher`] makes it.
    pub fn hash(&self, content: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.0, content)
    }

    /// Appends nonce, ciphertext and tag of `plain`, bound to `aad`, to `out`.
    pub fn seal(&self, aad: &[u8], plain: &[&[u8]], out: &mut Vec<u8>) {
        let mut nonce = [0; NONCE_LEN];
        rand::rng().fill_bytes(&mut nonce);
        out.extend_from_slice(&nonce);
        let start = out.len();
        plain.iter().for_each(|part| out.extend_from_slice(part));
        let tag = self
            .cipher()
            .encrypt_inout_detached(&XNonce::from(nonce), aad, (&mut out[start..]).into())
            .expect("what is sealed is far below the cipher's bound of 256 GiB");
        out.extend_from_slice(&tag);
    }

    /// Returns what `seal` was given, or `None` if a bit of `sealed` or `aad` differs or the key is another.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let (text, tag) = rest.split_last_chunk::<TAG_LEN>()?;
        let mut plain = Zeroizing::new(text.to_vec());
        self.cipher()
            .decrypt_inout_detached(&XNonce::from(*nonce), aad, plain.as_mut_slice().into(), &Tag::from(*tag))
            .ok()?;
        Some(plain)
    }

    /// Appends this key itself, sealed under `wrapping` and bound to `aad`, to `out`.
    pub fn wrap(&self, wrapping: &Self, aad: &[u8], out: &mut Vec<u8>) {
        wrapping.seal(aad, &[self.0.as_ref()], out);
    }

    /// Returns the key that `wrap` sealed under this one.
    pub fn unwrap(&self, aad: &[u8], wrapped: &[u8]) -> Option<Self> {
        let plain = self.open(aad, wrapped)?;
        let bytes: &[u8; KEY_LEN] = plain.as_slice().try_into().ok()?;
        Some(Self(Zeroizing::new(*bytes)))
    }

    /// Returns the key itself, for the one place that writes a new master key to its file.
    pub fn expose(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        let bytes: &[u8; KEY_LEN] = &self.0;
        XChaCha20Poly1305::new(bytes.into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
