//! The directory in a backup, and back in a data directory: all that was made while the gateway ran, and the secret without
//! which no key of it would be known.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use actix::{Handler, Message};

use super::directory::{Directory, keep_secret, read};
use crate::store::RecordStore;
use crate::store::copy::{pack, unpack};

/// The file of a backup that holds the directory.
pub const DIRECTORY_COPY: &str = "directory.records";
/// The name of the secret among the records; theirs have a slash.
const SECRET: &str = "hash.key";

/// Asks a writer for all that it keeps, at one moment, as a backup has it; none where nothing is kept.
#[derive(Message, Debug)]
#[rtype(result = "Result<Option<Vec<u8>>, String>")]
pub struct Copied;

impl Directory {
    /// Answers [`Copied`].
    pub fn copied(&self) -> Result<Option<Vec<u8>>, String> {
        let Some(store) = &self.store else { return Ok(None) };
        let secret = blake3::Hash::from_bytes(*self.roster.hash_key().expose()).to_hex();
        let mut records = store.all()?;
        records.push((SECRET.to_owned(), secret.as_bytes().to_vec()));
        pack(&records).map(Some)
    }

    /// Makes the directory of the data directory `data`, which has none, from a copy; returns how many organisations, teams
    /// and client keys that are, once they are on the disk. An error says what is wrong with the copy, or with the disk.
    pub fn put_back(copy: &[u8], data: &Path) -> Result<usize, String> {
        let mut records = unpack(copy)?;
        let secret = records.iter().position(|(name, _)| name == SECRET).map(|place| records.remove(place).1);
        let secret = secret.and_then(|text| blake3::Hash::from_hex(text).ok());
        let secret = secret.ok_or("it holds no hash.key, without which no client key is known")?;
        for (name, value) in &records {
            read(name, value).map_err(|why| format!("record `{name}`: {why}"))?;
        }
        let made = records.len();
        let path = data.join("directory");
        let failed = |error: io::Error| format!("cannot write {}: {error}", path.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
        keep_secret(&path, secret.as_bytes()).map_err(failed)?;
        RecordStore::make(&path.join("store"), records)?;
        File::open(&path).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(made)
    }
}

impl Handler<Copied> for Directory {
    type Result = Result<Option<Vec<u8>>, String>;

    fn handle(&mut self, Copied: Copied, _: &mut Self::Context) -> Self::Result {
        self.copied()
    }
}
