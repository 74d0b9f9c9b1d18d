//! Every way in which the vault can fail, in words for the person who has to do something about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why content was not sealed, not opened or not destroyed. No variant holds a key or a piece of content.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key was destroyed on purpose.
    #[error("the content was erased: its key was destroyed and nobody can read it again")]
    Erased,
    /// A bit differs from what was sealed, or it was sealed for another place.
    #[error("the sealed content is damaged, or it belongs to another record")]
    Damaged,
    /// The keyring is older than what was sealed with it.
    #[error(
        "the content was sealed with key {slot}, which this keyring does not hold ({slots} keys): restore the keyring \
         that belongs to these files"
    )]
    NoKey {
        /// Number of the key that is wanted.
        slot: u32,
        /// How many the keyring has.
        slots: u32,
    },
    /// The file it lay in is gone.
    #[error("{} is gone, and the content in it: its retention has ended, or it was removed by hand", path.display())]
    Dropped {
        /// The file.
        path: PathBuf,
    },
    /// The keyring belongs to another master key.
    #[error(
        "keyring {} was made with another master key: give the master key it was made with (after a rotation the new \
         one), or restore the keyring that belongs to this key", path.display()
    )]
    WrongKey {
        /// The keyring.
        path: PathBuf,
    },
    /// The keyring, or what stands beside it, cannot be understood.
    #[error("{} {what}: restore it from a backup", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Content is there, its keyring is not.
    #[error(
        "keyring {} is missing, but there is content sealed with it: restore the keyring from a backup, or move the \
         folder `bodies` away to begin anew", path.display()
    )]
    Lost {
        /// Where the keyring should be.
        path: PathBuf,
    },
    /// The master key given is none, or is not kept well.
    #[error("{0}")]
    Master(String),
    /// A legal hold forbids it.
    #[error("{subject} is under a legal hold ({reason}): release the hold before anything is erased")]
    Held {
        /// Pseudonym of the subject.
        subject: String,
        /// Why it is held.
        reason: String,
    },
    /// The team has had new keys for as many users as it may in a month.
    #[error(
        "a team's users need more than {most} new keys in one month (audit.users_max): of further users' prompts and answers \
         neither text nor hash is kept until the month is over"
    )]
    TooMany {
        /// How many it may have.
        most: u32,
    },
    /// More than a body may have.
    #[error("a body of {bytes} bytes is too large to be kept: at most {max}")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What it may have.
        max: usize,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes for a new key")]
    NoRandomness,
    /// The disk.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl VaultError {
    /// Returns the closure that names `action` and `path` in an error of the disk.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
