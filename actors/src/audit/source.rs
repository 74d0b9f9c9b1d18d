//! What exports are made of: records and bodies out of a data directory, with the hashes of the tree over them.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::export::{Body, ExportError, Source, Stored, Take};
use super::journal::{BodyPosition, Disk, JournalError, JournalReader};
use super::merkle::{Hash, Hashes};
use crate::vault::VaultError;
use crate::vault::bodies::Bodies;

/// A log on the disk. A gateway may go on writing it: whoever exports reads below a checkpoint only.
pub struct DirectorySource<H> {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    bodies: Bodies,
    hashes: H,
}

impl<H: Hashes> DirectorySource<H> {
    /// Returns the log in the data directory `root`; `hashes` knows its tree.
    pub fn new(root: &Path, disk: Arc<dyn Disk>, hashes: H) -> Self {
        Self { root: root.to_owned(), bodies: Bodies::new(root, disk.clone()), disk, hashes }
    }
}

impl<H: Hashes> Hashes for DirectorySource<H> {
    fn subtree(&self, level: u32, index: u64) -> Option<Hash> {
        self.hashes.subtree(level, index)
    }
}

impl<H: Hashes> Source for DirectorySource<H> {
    fn records(&self, range: Range<u64>, take: &mut Take<'_>) -> Result<(), ExportError> {
        let mut at = range.start;
        let unread = |index, error: JournalError| ExportError::Read { index, why: error.to_string() };
        let mut reader = JournalReader::open(self.disk.clone(), &self.root).map_err(|error| unread(at, error))?;
        while at < range.end.min(reader.first_index()) {
            let hash = self.subtree(0, at).ok_or_else(|| ExportError::Read {
                index: at,
                why: "its retention has ended, and its hash is not there either".to_owned(),
            })?;
            take(at, Stored::Retired(hash))?;
            at += 1;
        }
        if at == range.end {
            return Ok(());
        }
        reader.seek(at, None).map_err(|error| unread(at, error))?;
        while let Some(leaf) = reader.next(range.end).map_err(|error| unread(at, error))? {
            take(leaf.index, Stored::Leaf(leaf.bytes))?;
            at = leaf.index + 1;
        }
        Ok(())
    }

    fn body(&self, index: u64, leaf: &[u8]) -> Result<Body, ExportError> {
        let unread = |why: String| ExportError::Read { index, why };
        let Some(position) = place_of_body(leaf) else { return Ok(Body::Erased) };
        match self.bodies.read(position, index) {
            Ok(sealed) => Ok(Body::Sealed(sealed)),
            Err(VaultError::Erased | VaultError::Dropped { .. }) => Ok(Body::Erased),
            Err(error) => Err(unread(error.to_string())),
        }
    }
}

/// Returns where the body of the record with these bytes stands; none if it has none.
pub fn place_of_body(leaf: &[u8]) -> Option<BodyPosition> {
    #[derive(serde::Deserialize)]
    struct Told<'a> {
        body: &'a str,
    }
    serde_json::from_slice::<Told<'_>>(leaf).ok().and_then(|told| BodyPosition::parse(told.body))
}
