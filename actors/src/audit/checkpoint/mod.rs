//! Checkpoints: signed statements that the log had so many records and this root, each naming the one before.
//!
//! The text is a C2SP checkpoint in a C2SP signed note, so that common tools and witnesses can read it:
//!
//! ```text
//! bursar-audit/<log id>
//! <records>
//! <root, base64>
//! time <microseconds since 1970>
//! previous <SHA-256 of the whole note before, or ->
//! config <hash of the configuration, or ->
//!
//! — bursar-audit/<log id> <base64 of key id and signature>
//! ```
//!
//! A note covers the hash of the one before it, signature and all, so a valid signature on the last vouches for all.

mod file;
mod keys;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use thiserror::Error;

pub use file::{CheckpointError, CheckpointFile, Notes};
pub use keys::{KeyError, KeyOrigin, SigningKey, VerifyingKey};

use super::merkle::Hash;

const ORIGIN: &str = "bursar-audit/";
const NONE: &str = "-";

/// What a checkpoint says of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log, 32 lower-case hexadecimal digits.
    pub log: String,
    /// Records in it.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
    /// When it was signed, in microseconds since 1970.
    pub at_us: u64,
    /// Hash of the note before this one; none for the first.
    pub previous: Option<Hash>,
    /// Hash of the configuration in force.
    pub config: Option<String>,
}

/// Returns the name under which the log `log` signs.
pub fn origin(log: &str) -> String {
    format!("{ORIGIN}{log}")
}

impl Checkpoint {
    /// Returns the checkpoint as a note signed with `key`.
    pub fn sign(self, key: &SigningKey) -> Note {
        let body = self.body();
        let name = origin(&self.log);
        let signed = [&key.verifying().id(&name)[..], &key.sign(body.as_bytes())].concat();
        Note { text: format!("{body}\n— {name} {}\n", BASE64.encode(signed)), checkpoint: self }
    }

    fn body(&self) -> String {
        let previous = self.previous.map_or_else(|| NONE.to_owned(), |hash| hash.to_string());
        let config: String =
            self.config.iter().flat_map(|text| text.chars()).filter(|c| c.is_ascii_graphic()).collect();
        let config = if config.is_empty() { NONE } else { &config };
        let root = BASE64.encode(self.root.0);
        let origin = origin(&self.log);
        let Self { size, at_us, .. } = self;
        format!("{origin}\n{size}\n{root}\ntime {at_us}\nprevious {previous}\nconfig {config}\n")
    }

    fn parse(body: &str) -> Option<Self> {
        let mut lines = body.lines();
        let checkpoint = Self {
            log: lines.next()?.strip_prefix(ORIGIN).filter(|log| is_log_id(log))?.to_owned(),
            size: lines.next()?.parse().ok()?,
            root: Hash(BASE64.decode(lines.next()?).ok()?.try_into().ok()?),
            at_us: lines.next()?.strip_prefix("time ")?.parse().ok()?,
            previous: match lines.next()?.strip_prefix("previous ")? {
                NONE => None,
                text => Some(Hash::from_hex(text)?),
            },
            config: lines.next()?.strip_prefix("config ").filter(|text| *text != NONE).map(str::to_owned),
        };
        // Each checkpoint has one spelling: what would be written differently was not written by us.
        (checkpoint.body() == body).then_some(checkpoint)
    }
}

/// Returns whether `text` is the id of a log: 32 lower-case hexadecimal digits.
pub(crate) fn is_log_id(text: &str) -> bool {
    super::merkle::read_hex(text.as_bytes(), &mut [0; 16])
}

/// Why a note is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoteError {
    /// It is no note of ours.
    #[error("this is no checkpoint of a Bursar log, or it was changed")]
    Form,
    /// No signature of the key asked for.
    #[error("the checkpoint is not signed with the key {key}")]
    OtherKey {
        /// The key that was to verify it.
        key: String,
    },
    /// The signature does not fit.
    #[error("the signature of the checkpoint does not fit its text")]
    Signature,
}

/// A checkpoint with its signature, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    checkpoint: Checkpoint,
    text: String,
}

impl Note {
    /// Reads a note without believing it: [`Note::verify`] does, or a later note that names it.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (body, signatures) = text.split_once("\n\n").ok_or(NoteError::Form)?;
        let checkpoint = Checkpoint::parse(&format!("{body}\n")).ok_or(NoteError::Form)?;
        let is_note = signatures.ends_with('\n') && signatures.lines().all(|line| line.starts_with("— "));
        is_note.then(|| Self { checkpoint, text: text.to_owned() }).ok_or(NoteError::Form)
    }

    /// Checks that `key` signed the note; signatures of others, such as witnesses, are passed over.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), NoteError> {
        let name = origin(&self.checkpoint.log);
        let (body, signatures) = self.text.split_once("\n\n").ok_or(NoteError::Form)?;
        let signed = signatures.lines().find_map(|line| {
            let signed = BASE64.decode(line.strip_prefix("— ")?.strip_prefix(&name)?.strip_prefix(' ')?).ok()?;
            let (id, signature) = signed.split_first_chunk::<4>()?;
            (*id == key.id(&name)).then(|| signature.try_into().ok())?
        });
        let signature: [u8; 64] = signed.ok_or_else(|| NoteError::OtherKey { key: key.text(&name) })?;
        key.verify(format!("{body}\n").as_bytes(), &signature).then_some(()).ok_or(NoteError::Signature)
    }

    /// Returns what the note says.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Returns the note as it is written and handed on.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the hash by which the next note names this one.
    pub fn hash(&self) -> Hash {
        Hash::of(self.text.as_bytes())
    }
}

/// How a log contradicts what was signed of it: somebody put an older copy back, or changed it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Tampered {
    /// The log has fewer records than a checkpoint says.
    #[error(
        "the log has {size} records, but a checkpoint of it was signed at {checkpoint}: records were removed or an older copy was restored"
    )]
    Behind {
        /// Records that the checkpoint covers.
        checkpoint: u64,
        /// Records there are.
        size: u64,
    },
    /// The records under a checkpoint are not those it was signed over.
    #[error(
        "the first {size} records give the root {found}, but {signed} was signed: a record below {size} was changed"
    )]
    Forked {
        /// Records that the checkpoint covers.
        size: u64,
        /// The root that was signed.
        signed: Hash,
        /// The root that the records give.
        found: Hash,
    },
    /// The root at a checkpoint cannot be computed.
    #[error("the root over the first {size} records cannot be computed, because hashes of them are missing")]
    Unknown {
        /// Records that the checkpoint covers.
        size: u64,
    },
    /// A checkpoint does not follow the one before it.
    #[error("checkpoint {number} does not follow the one before it: one was removed, inserted or changed")]
    Chain {
        /// Which note of the file, counted from 0.
        number: u64,
    },
}

/// Checks a log of `size` records against `notes`, where `root_at` computes its root at a smaller size.
pub fn check_against<'a>(
    notes: impl IntoIterator<Item = &'a Note>,
    size: u64,
    root_at: impl Fn(u64) -> Option<Hash>,
) -> Result<(), Tampered> {
    for note in notes {
        let Checkpoint { size: checkpoint, root: signed, .. } = *note.checkpoint();
        if checkpoint > size {
            return Err(Tampered::Behind { checkpoint, size });
        }
        let found = root_at(checkpoint).ok_or(Tampered::Unknown { size: checkpoint })?;
        if found != signed {
            return Err(Tampered::Forked { size: checkpoint, signed, found });
        }
    }
    Ok(())
}

/// Holds each note against the one before: same log, no fewer records, and the hash it names.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    last: Option<(Hash, u64, String)>,
    notes: u64,
}

impl Chain {
    /// Takes the next note of the log.
    pub fn follow(&mut self, note: &Note) -> Result<(), Tampered> {
        let next = note.checkpoint();
        let follows = match &self.last {
            None => next.previous.is_none(),
            Some((hash, size, log)) => next.previous == Some(*hash) && next.size >= *size && next.log == *log,
        };
        if !follows {
            return Err(Tampered::Chain { number: self.notes });
        }
        self.last = Some((note.hash(), next.size, next.log.clone()));
        self.notes += 1;
        Ok(())
    }

    /// Returns how many notes were taken.
    pub fn notes(&self) -> u64 {
        self.notes
    }
}
