//! The users of the admin API in a backup, and back in a data directory. Their tokens are known by plain hashes and their
//! passwords by salted ones, so that nothing else is needed.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use actix::Handler;

use super::user::User;
use super::users::Users;
use crate::access::Copied;
use crate::store::RecordStore;
use crate::store::copy::{pack, unpack};

/// The file of a backup that holds the users.
pub const USERS_COPY: &str = "users.records";

impl Users {
    /// Answers [`Copied`].
    pub fn copied(&self) -> Result<Option<Vec<u8>>, String> {
        self.store.as_ref().map(|store| pack(&store.all()?)).transpose()
    }

    /// Makes the users of the data directory `data`, which has none, from a copy; returns how many, once they are on the disk.
    /// An error says what is wrong with the copy, or with the disk.
    pub fn put_back(copy: &[u8], data: &Path) -> Result<usize, String> {
        let records = unpack(copy)?;
        for (id, value) in &records {
            serde_json::from_slice::<User>(value).map_err(|why| format!("record of user `{id}`: {why}"))?;
        }
        let (made, path) = (records.len(), data.join("users"));
        let folder = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        folder.map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        RecordStore::make(&path, records)?;
        Ok(made)
    }
}

impl Handler<Copied> for Users {
    type Result = Result<Option<Vec<u8>>, String>;

    fn handle(&mut self, Copied: Copied, _: &mut Self::Context) -> Self::Result {
        self.copied()
    }
}
