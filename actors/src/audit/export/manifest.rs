//! What an export says of itself, signed: where it comes from, what was asked, what is in it, and how it is proven.

use serde::{Deserialize, Serialize};

use crate::audit::merkle::{Hash, RangeProof};

/// The name and version of the format.
pub const FORMAT: &str = "bursar-audit-export/1";
/// The manifest, as it is signed.
pub const MANIFEST: &str = "manifest.json";
/// Base64 of the Ed25519 signature over the manifest's bytes, one line.
pub const SIGNATURE: &str = "manifest.sig";
/// The exported records, byte for byte as they stand in the log, one a line.
pub const RECORDS: &str = "records.jsonl";
/// The same as a table.
pub const TABLE: &str = "records.csv";
/// The same as a typed table.
pub const PARQUET: &str = "records.parquet";
/// The same as OCSF events.
pub const OCSF: &str = "ocsf.jsonl";
/// The leaf hash of every record in the range, exported or not, 32 bytes each.
pub const LEAVES: &str = "leaves.bin";
/// The sealed bodies of the exported records.
pub const BODIES: &str = "bodies.jsonl";
/// The checkpoint that the records are proven against.
pub const CHECKPOINT: &str = "checkpoint.txt";
/// How to read and verify the export, for a reviewer.
pub const READ_ME: &str = "README.md";
/// The verifier.
pub const VERIFIER: &str = "verify.py";

/// The signed description of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// The log, 32 hexadecimal digits.
    pub log: String,
    /// When the export was made, in microseconds since 1970.
    pub made_at_us: u64,
    /// Who asked for it.
    pub by: String,
    /// What for.
    pub why: String,
    /// The filter in words; none if every record of the range was to be exported.
    pub filter: Option<String>,
    /// First record of the range.
    pub start: u64,
    /// The record behind its last.
    pub end: u64,
    /// How many there were of what.
    pub counts: Counts,
    /// The public key, as verifiers of signed notes take it.
    pub key: String,
    /// The checkpoint, a signed note.
    pub checkpoint: String,
    /// Leads from the leaf hashes of the range to the checkpoint's root.
    pub range_proof: RangeProof,
    /// The checkpoint of the export before, and the proof that this log continues it.
    pub previous: Option<Previous>,
    /// Every file but the manifest and its signature.
    pub files: Vec<Listed>,
}

/// Figures of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records in the range.
    pub in_range: u64,
    /// Records exported.
    pub matched: u64,
    /// Records of the range of which only the leaf hash is left, because their retention ended.
    pub retired: u64,
    /// Bodies exported; absent if bodies were not asked for.
    pub bodies: Option<u64>,
    /// Exported records whose body was erased; absent if bodies were not asked for.
    pub erased: Option<u64>,
}

/// The export before this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Its checkpoint, a signed note.
    pub checkpoint: String,
    /// Proof that the log of this export's checkpoint continues that of the one before.
    pub proof: Vec<Hash>,
}

/// A file of the export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its name in the folder.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: Hash,
}

/// One line of [`BODIES`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyLine {
    /// The record it belongs to.
    pub index: u64,
    /// Base64 of the sealed bytes, whose SHA-256 the record names as `body_hash`.
    pub sealed: String,
}
