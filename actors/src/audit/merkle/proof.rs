//! Proofs over the tree: that a record is in the log, that a range is, and that one log continues another.
//!
//! Making one asks for hashes and yields `None` where one is missing (the log is shorter, or its hashes are gone).
//! Verifying one needs nothing but the proof. Algorithms: RFC 9162, §2.1.3 and §2.1.4.

use serde::{Deserialize, Serialize};

use super::{Frontier, Hash, Hashes, empty_root, node_hash};

/// The complete subtrees that cover the leaves `[start, end)`, from left to right, as few as possible.
pub(super) fn cover(mut start: u64, end: u64) -> impl Iterator<Item = (u32, u64)> {
    std::iter::from_fn(move || {
        let left = end.checked_sub(start).filter(|left| *left > 0)?;
        let level = start.trailing_zeros().min(left.ilog2());
        let index = start >> level;
        start += 1 << level;
        Some((level, index))
    })
}

fn covering<H: Hashes + ?Sized>(hashes: &H, start: u64, end: u64) -> Option<Vec<Hash>> {
    cover(start, end).map(|(level, index)| hashes.subtree(level, index)).collect()
}

/// The hash over `[start, end)` where that is a node of some tree, that is where `start` is a multiple of its width.
fn node<H: Hashes + ?Sized>(hashes: &H, start: u64, end: u64) -> Option<Hash> {
    covering(hashes, start, end)?.into_iter().rev().reduce(|right, left| node_hash(&left, &right))
}

/// The number of leaves in the left half of a tree of `size` > 1 leaves.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// Returns the root of the log when it had `size` records.
pub fn root_at<H: Hashes + ?Sized>(hashes: &H, size: u64) -> Option<Hash> {
    if size == 0 { Some(empty_root()) } else { node(hashes, 0, size) }
}

/// Returns the proof that leaf `index` is in the log of `size` records: the siblings from the leaf up to the root.
pub fn inclusion_proof<H: Hashes + ?Sized>(hashes: &H, index: u64, size: u64) -> Option<Vec<Hash>> {
    if index >= size {
        return None;
    }
    let (mut start, mut end) = (0, size);
    let mut siblings = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            siblings.push(node(hashes, middle, end)?);
            end = middle;
        } else {
            siblings.push(node(hashes, start, middle)?);
            start = middle;
        }
    }
    siblings.reverse();
    Some(siblings)
}

/// Returns whether `proof` shows that the leaf with hash `leaf` is number `index` of the log of `size` records and `root`.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last) = (index, size - 1);
    let mut node = *leaf;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            node = node_hash(sibling, &node);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            node = node_hash(&node, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && node == *root
}

/// Returns the proof that the log of `new` records continues the log of `old` records.
///
/// Empty where both are equal, and from the empty log, which every log continues.
pub fn consistency_proof<H: Hashes + ?Sized>(hashes: &H, old: u64, new: u64) -> Option<Vec<Hash>> {
    if old > new {
        return None;
    }
    if old == 0 || old == new {
        return Some(Vec::new());
    }
    let (mut start, mut end) = (0, new);
    let mut proof = Vec::new();
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(node(hashes, middle, end)?);
            end = middle;
        } else {
            proof.push(node(hashes, start, middle)?);
            start = middle;
        }
    }
    // The old tree is itself a node on this path; the verifier knows it, unless it is only a part of the old tree.
    if start != 0 {
        proof.push(node(hashes, start, end)?);
    }
    proof.reverse();
    Some(proof)
}

/// Returns whether `proof` shows that the log with `new_root` at size `new` continues the one with `old_root` at `old`.
pub fn verify_consistency(old: u64, new: u64, old_root: &Hash, new_root: &Hash, proof: &[Hash]) -> bool {
    if old > new {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    // A tree of a power of two is one node, which the proof leaves out because the verifier has it.
    let (first, rest) = match (old.is_power_of_two(), proof.split_first()) {
        (true, _) => (*old_root, proof),
        (false, Some((first, rest))) => (*first, rest),
        (false, None) => return false,
    };
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut from_old, mut from_new) = (first, first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            from_old = node_hash(sibling, &from_old);
            from_new = node_hash(sibling, &from_new);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            from_new = node_hash(&from_new, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && from_old == *old_root && from_new == *new_root
}

/// What it takes beside the leaf hashes of `[start, end)` to reach the root of the log of `size` records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeProof {
    /// First leaf of the range.
    pub start: u64,
    /// The leaf behind its last.
    pub end: u64,
    /// Records of the log whose root the proof leads to.
    pub size: u64,
    /// Roots of the complete subtrees that cover `[0, start)`, from left to right.
    pub left: Vec<Hash>,
    /// Roots of the complete subtrees that cover `[end, size)`, from left to right.
    pub right: Vec<Hash>,
}

/// Returns the proof that the leaves `[start, end)` stand in the log of `size` records.
pub fn range_proof<H: Hashes + ?Sized>(hashes: &H, start: u64, end: u64, size: u64) -> Option<RangeProof> {
    if start > end || end > size {
        return None;
    }
    Some(RangeProof { start, end, size, left: covering(hashes, 0, start)?, right: covering(hashes, end, size)? })
}

impl RangeProof {
    /// Returns the tree left of the range, to which its leaves are appended one by one; `None` if the proof has no form.
    pub fn before(&self) -> Option<Frontier> {
        if self.start > self.end || self.end > self.size {
            return None;
        }
        Frontier::from_peaks(self.start, self.left.clone())
    }

    /// Returns the root of the log, once all leaves of the range have been appended to [`RangeProof::before`].
    pub fn root_behind(&self, mut tree: Frontier) -> Option<Hash> {
        let mut right = self.right.iter();
        if tree.size() != self.end {
            return None;
        }
        for (level, _) in cover(self.end, self.size) {
            if !tree.append_subtree(level, *right.next()?) {
                return None;
            }
        }
        right.next().is_none().then(|| tree.root())
    }
}

/// Returns whether `proof` shows that `leaves` are exactly the leaf hashes of its range in the log with `root`.
pub fn verify_range(leaves: &[Hash], proof: &RangeProof, root: &Hash) -> bool {
    let Some(mut tree) = proof.before() else { return false };
    leaves.iter().for_each(|leaf| tree.append(*leaf));
    proof.root_behind(tree).is_some_and(|found| found == *root)
}
