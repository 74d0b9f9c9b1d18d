//! Proofs: that a record is in the log, and that one state of the log begins with an earlier one.

use actix::{Context, Handler, Message};

use super::log::{AuditLog, LogError};
use super::merkle::{Hash, Hashes, consistency_proof, inclusion_proof, root_at};

/// Asks for the proof that a record is in the log, or that the log of `size` records begins with that of `of`.
#[derive(Message, Clone, Copy)]
#[rtype(result = "Result<Option<Proof>, LogError>")]
pub enum Prove {
    /// Of record `index` in the log of `size` records.
    Inclusion {
        /// The record.
        index: u64,
        /// The log's size; `None` for that of the last checkpoint.
        size: Option<u64>,
    },
    /// Of the log of `old` records being the beginning of that of `size`.
    Consistency {
        /// The smaller size.
        old: u64,
        /// The larger; `None` for that of the last checkpoint.
        size: Option<u64>,
    },
}

/// A proof with the roots it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The log's size.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// The root at the smaller size, of a proof of consistency.
    pub old_root: Option<Hash>,
    /// The hash of the leaf, of a proof of inclusion.
    pub leaf: Option<Hash>,
    /// The hashes, in the order of RFC 9162.
    pub path: Vec<Hash>,
}

impl Handler<Prove> for AuditLog {
    type Result = Result<Option<Proof>, LogError>;

    /// `None` where the sizes or the index are beyond the log.
    fn handle(&mut self, ask: Prove, _: &mut Context<Self>) -> Self::Result {
        let signed = self.signed.1;
        self.with_index(|follower| {
            let index = follower.index();
            let proof = |size: Option<u64>, old: Option<u64>, leaf: Option<u64>| {
                let size = size.unwrap_or(signed).min(index.size());
                let path = match (old, leaf) {
                    (Some(old), _) => consistency_proof(index, old, size)?,
                    (None, leaf) => inclusion_proof(index, leaf?, size)?,
                };
                let old_root = match old {
                    Some(old) => Some(root_at(index, old)?),
                    None => None,
                };
                let leaf = leaf.and_then(|leaf| index.subtree(0, leaf));
                Some(Proof { size, root: root_at(index, size)?, old_root, leaf, path })
            };
            Ok(match ask {
                Prove::Inclusion { index: at, size } => proof(size, None, Some(at)),
                Prove::Consistency { old, size } => proof(size, Some(old), None),
            })
        })
    }
}
