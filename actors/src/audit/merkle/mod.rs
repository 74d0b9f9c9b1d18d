//! The Merkle tree over the log: what its hashes are, and how a root follows from them.
//!
//! Hashing is RFC 9162's (§2.1.1): a leaf is `SHA256(0x00 ‖ record)`, an inner node `SHA256(0x01 ‖ left ‖ right)`, the
//! root of an empty log `SHA256("")`. [`Frontier`] grows a root in O(log n) memory; `proof` shows that a record is in
//! the log and that one log continues another; `tile` says how the hashes are kept so that proofs are cheap.
//!
//! A *complete subtree* `(level, index)` covers the `2^level` leaves from `index × 2^level` on.

mod proof;
#[cfg(test)]
mod tests;
pub mod tile;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

pub use proof::{
    RangeProof, consistency_proof, inclusion_proof, range_proof, root_at, verify_consistency, verify_inclusion,
    verify_range,
};

/// A SHA-256 hash; shown, written and read as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Returns the SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns the hash that `text` names; only what [`Hash`]'s `Display` writes is read, so each hash has one spelling.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        read_hex(text.as_bytes(), &mut bytes).then_some(Self(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("expected 64 lower-case hexadecimal digits"))
    }
}

/// Reads lower-case hexadecimal digits into `bytes`; false if `text` is anything but exactly as many digits.
pub(crate) fn read_hex(text: &[u8], bytes: &mut [u8]) -> bool {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    text.len() == bytes.len() * 2
        && text.chunks_exact(2).zip(bytes).all(|(pair, byte)| match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => {
                *byte = high << 4 | low;
                true
            }
            _ => false,
        })
}

/// Returns the hash of the leaf whose bytes are `record`.
pub fn leaf_hash(record: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(record).finalize().into())
}

/// Returns the hash of the node above `left` and `right`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Hash::of(&bytes)
}

/// Returns the root of a log without records.
pub fn empty_root() -> Hash {
    Hash::of(b"")
}

/// Where the hashes of complete subtrees come from: tiles in a store, or a list in memory.
pub trait Hashes {
    /// Returns the hash over the leaves `[index << level, (index + 1) << level)`, or `None` where it is not known.
    fn subtree(&self, level: u32, index: u64) -> Option<Hash>;
}

/// All leaf hashes of a log from its first on, in memory: for tests and small logs.
impl Hashes for [Hash] {
    fn subtree(&self, level: u32, index: u64) -> Option<Hash> {
        let start = usize::try_from(index.checked_shl(level)?).ok()?;
        let width = 1_usize.checked_shl(level)?;
        let leaves = self.get(start..start.checked_add(width)?)?;
        let mut frontier = Frontier::default();
        leaves.iter().for_each(|leaf| frontier.append(*leaf));
        Some(frontier.root())
    }
}

/// The right edge of a tree: the roots of its complete subtrees from left to right, enough to go on appending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Returns the frontier of a log of `size` records from the roots of its complete subtrees, the widest first.
    ///
    /// `None` unless there are exactly as many as `size` has one-bits.
    pub fn from_peaks(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// Returns how many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the roots of the complete subtrees, the widest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends one leaf.
    pub fn append(&mut self, leaf: Hash) {
        let appended = self.append_subtree(0, leaf);
        debug_assert!(appended, "a leaf fits behind every size");
    }

    /// Appends a complete subtree of `2^level` leaves; false, and nothing done, unless one fits at this size.
    pub fn append_subtree(&mut self, level: u32, root: Hash) -> bool {
        let Some(width) = 1_u64.checked_shl(level) else { return false };
        let Some(size) = self.size.checked_add(width).filter(|_| self.size.is_multiple_of(width)) else {
            return false;
        };
        let mut node = root;
        // One peak stands for each one-bit of the size; where bits carry over, peaks of equal width become one.
        let mut rest = self.size >> level;
        while rest & 1 == 1 {
            let left = self.peaks.pop().expect("each one-bit of the size has its peak");
            node = node_hash(&left, &node);
            rest >>= 1;
        }
        self.peaks.push(node);
        self.size = size;
        true
    }

    /// Returns the root over all leaves appended so far.
    pub fn root(&self) -> Hash {
        let folded = self.peaks.iter().rev().copied().reduce(|right, left| node_hash(&left, &right));
        folded.unwrap_or_else(empty_root)
    }

    /// Returns the frontier as bytes: the size (u64, little endian), then the peaks.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_le_bytes().to_vec();
        self.peaks.iter().for_each(|peak| bytes.extend_from_slice(&peak.0));
        bytes
    }

    /// Reads what [`Frontier::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (size, peaks) = bytes.split_first_chunk::<8>()?;
        let (peaks, rest) = peaks.as_chunks::<32>();
        if !rest.is_empty() {
            return None;
        }
        Self::from_peaks(u64::from_le_bytes(*size), peaks.iter().copied().map(Hash).collect())
    }
}
