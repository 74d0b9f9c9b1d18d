//! Sealed bytes: which key opens them, and the content inside.
//!
//! ```text
//! 0 version | 1 kind | 2 – (2) | 4 slot u32 | 8 name (8) | 16 crc32 u32 of all before it
//! kind 2 only: 20 its own key, wrapped (72)
//! nonce (24) | ciphertext | tag (16);   within: form u8 | length u32 | content, raw (0) or as an LZ4 block (1)
//! ```
//!
//! Kind 1 names a slot of the keyring; kind 2 carries a key of its own, for content that belongs to no known subject.
//! The ciphertext is bound to the head and to what the caller says it is. Nothing sealed begins with a zero, so that
//! zeros are what is left of something that was erased.

use super::VaultError;
use super::cipher::{KEY_LEN, SEAL_ADDS};
use super::slot::NAME_LEN;
use crate::audit::journal::BODY_MAX;

/// Bytes before the sealed content, or before the wrapped key where there is one.
pub const HEAD_LEN: usize = 20;
/// Bytes of a wrapped key.
pub const WRAPPED_LEN: usize = KEY_LEN + SEAL_ADDS;
/// Bytes before the content inside.
const INNER_HEAD: usize = 5;
/// The most bytes of content: with all that is added, it still fits a frame.
pub const CONTENT_MAX: usize = BODY_MAX - HEAD_LEN - WRAPPED_LEN - SEAL_ADDS - INNER_HEAD;
/// Shorter content is not worth the attempt to compress it.
const COMPRESSED_FROM: usize = 64;

const VERSION: u8 = 1;
const RAW: u8 = 0;
const LZ4: u8 = 1;

/// Which key opens sealed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opener {
    /// The one of this name in this slot of the keyring.
    Slot { slot: u32, name: [u8; NAME_LEN] },
    /// The one that follows the head.
    Own,
}

impl Opener {
    /// Returns the head of what it opens.
    pub fn head(self) -> [u8; HEAD_LEN] {
        let mut head = [0; HEAD_LEN];
        head[0] = VERSION;
        match self {
            Self::Slot { slot, name } => {
                head[1] = 1;
                head[4..8].copy_from_slice(&slot.to_le_bytes());
                head[8..16].copy_from_slice(&name);
            }
            Self::Own => head[1] = 2,
        }
        let crc = crc32fast::hash(&head[..16]);
        head[16..].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// Reads the head of `sealed`; zeros are [`VaultError::Erased`].
    pub fn read(sealed: &[u8]) -> Result<Self, VaultError> {
        if sealed.iter().all(|byte| *byte == 0) && !sealed.is_empty() {
            return Err(VaultError::Erased);
        }
        let head = sealed.first_chunk::<HEAD_LEN>().ok_or(VaultError::Damaged)?;
        let opener = match head[1] {
            1 => Self::Slot {
                slot: u32::from_le_bytes(std::array::from_fn(|i| head[4 + i])),
                name: std::array::from_fn(|i| head[8 + i]),
            },
            _ => Self::Own,
        };
        if opener.head() == *head { Ok(opener) } else { Err(VaultError::Damaged) }
    }
}

/// Content as it lies inside: what precedes it, and the content itself if it was compressed.
pub struct Packed {
    head: [u8; INNER_HEAD],
    compressed: Option<Vec<u8>>,
}

impl Packed {
    /// Compresses the concatenation of `parts`, if that makes it smaller.
    pub fn new(parts: &[&[u8]]) -> Result<Self, VaultError> {
        let bytes = parts.iter().map(|part| part.len()).sum::<usize>();
        if bytes > CONTENT_MAX {
            return Err(VaultError::TooLarge { bytes, max: CONTENT_MAX });
        }
        let compressed = match parts {
            _ if bytes < COMPRESSED_FROM => None,
            [part] => Some(lz4_flex::block::compress(part)),
            _ => Some(lz4_flex::block::compress(&parts.concat())),
        };
        let compressed = compressed.filter(|compressed| compressed.len() < bytes);
        let mut head = [0; INNER_HEAD];
        head[0] = if compressed.is_some() { LZ4 } else { RAW };
        head[1..].copy_from_slice(&(bytes as u32).to_le_bytes());
        Ok(Self { head, compressed })
    }

    /// Returns the pieces to seal, one after the other; `parts` are those it was made of.
    pub fn pieces<'a>(&'a self, parts: &[&'a [u8]]) -> Vec<&'a [u8]> {
        let mut pieces = vec![self.head.as_slice()];
        match &self.compressed {
            Some(compressed) => pieces.push(compressed),
            None => pieces.extend_from_slice(parts),
        }
        pieces
    }
}

/// Returns the content of what was packed.
pub fn unpack(packed: &[u8]) -> Result<Vec<u8>, VaultError> {
    let (head, content) = packed.split_first_chunk::<INNER_HEAD>().ok_or(VaultError::Damaged)?;
    let bytes = u32::from_le_bytes(std::array::from_fn(|i| head[1 + i])) as usize;
    if bytes > CONTENT_MAX {
        return Err(VaultError::Damaged);
    }
    let content = match head[0] {
        RAW => content.to_vec(),
        LZ4 => lz4_flex::block::decompress(content, bytes).map_err(|_| VaultError::Damaged)?,
        _ => return Err(VaultError::Damaged),
    };
    if content.len() == bytes { Ok(content) } else { Err(VaultError::Damaged) }
}
