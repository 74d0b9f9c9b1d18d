//! Legal holds: whose content must not be destroyed, and why.
//!
//! They lie sealed in a small file beside the keyring, which is replaced as a whole. One that cannot be read stops the
//! vault from opening, because a hold that was forgotten is an erasure that should not have happened.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::VaultError;
use super::cipher::Key;
use super::keyring::replace;
use super::slot::Tag;
use crate::audit::journal::{Access, Disk};

const AAD: &[u8] = b"bursar legal holds v1";

/// A legal hold on one user's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The user's team.
    pub team: String,
    /// The user's pseudonym, as in the records.
    pub user: String,
    /// Why.
    pub reason: String,
    /// Since when, in microseconds since 1970.
    pub since_us: u64,
}

/// All holds.
pub struct Holds {
    path: PathBuf,
    held: BTreeMap<Tag, Hold>,
}

impl Holds {
    /// Reads those in the file at `path`; none if there is no file.
    pub fn open(disk: &dyn Disk, path: &Path, key: &Key) -> Result<Self, VaultError> {
        let mut holds = Self { path: path.to_owned(), held: BTreeMap::new() };
        let file = match disk.open(path, Access::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(holds),
            other => other.map_err(VaultError::io("open the legal holds", path))?,
        };
        let read = || {
            let mut sealed = vec![0; file.length()? as usize];
            file.read_full_at(&mut sealed, 0)?;
            Ok(sealed)
        };
        let sealed: Vec<u8> = read().map_err(VaultError::io("read the legal holds", path))?;
        let plain = key.open(AAD, &sealed);
        let list: Option<Vec<(Tag, Hold)>> = plain.and_then(|plain| serde_json::from_slice(&plain).ok());
        let what = "(the legal holds) cannot be opened, so that nobody knows what must not be erased";
        holds.held = list.ok_or(VaultError::Unreadable { path: path.to_owned(), what })?.into_iter().collect();
        Ok(holds)
    }

    /// Returns the hold on a subject.
    pub fn get(&self, subject: &Tag) -> Option<&Hold> {
        self.held.get(subject)
    }

    /// Returns all of them, in no order that means something.
    pub fn list(&self) -> Vec<Hold> {
        self.held.values().cloned().collect()
    }

    /// Puts a subject under a hold, or changes the hold, or lifts it (`None`); durable when it returns.
    ///
    /// Returns the hold that was there. If the file cannot be written, nothing changes.
    pub fn set(
        &mut self,
        disk: &dyn Disk,
        key: &Key,
        subject: Tag,
        hold: Option<Hold>,
    ) -> Result<Option<Hold>, VaultError> {
        let mut held = self.held.clone();
        let before = match hold {
            Some(hold) => held.insert(subject, hold),
            None => held.remove(&subject),
        };
        let list: Vec<_> = held.iter().collect();
        let plain = serde_json::to_vec(&list).expect("names and numbers can be written as JSON");
        let mut sealed = Vec::new();
        key.seal(AAD, &[&plain], &mut sealed);
        replace(disk, &self.path, |file| file.write_all_at(&sealed, 0))?;
        self.held = held;
        Ok(before)
    }
}
