//! What goes into a backup beside the books: the stores that are the truth of what the admin API made.
//!
//! Each is one text of its own there. While the gateway runs, the actor that writes a store writes that text, so that it is of
//! one moment; where none runs, [`at_rest`] does.

use std::fmt;
use std::path::Path;

use crate::access::{DIRECTORY_COPY, Directory};
use crate::admins::{USERS_COPY, Users};

/// A file that goes into a backup.
#[derive(Clone)]
pub struct Beside {
    /// Its name in the backup's folder.
    pub name: &'static str,
    /// What is in it.
    pub content: Vec<u8>,
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.name, self.content.len())
    }
}

/// How a store comes out of a data directory and into one.
pub(super) struct Store {
    /// The file of a backup that holds it.
    pub name: &'static str,
    /// The folder of a data directory that it makes.
    pub folder: &'static str,
    /// What its records are.
    pub holds: &'static str,
    copied: fn(&Path) -> Result<Option<Vec<u8>>, String>,
    /// Returns how many records were put back, or what is wrong with the text.
    pub put_back: fn(&[u8], &Path) -> Result<usize, String>,
}

/// All of them.
pub(super) const STORES: [Store; 2] = [
    Store {
        name: DIRECTORY_COPY,
        folder: "directory",
        holds: "client keys, teams and organisations",
        copied: |data| Directory::open(data)?.copied(),
        put_back: Directory::put_back,
    },
    Store {
        name: USERS_COPY,
        folder: "users",
        holds: "users of the admin API",
        copied: |data| Users::open(data)?.copied(),
        put_back: Users::put_back,
    },
];

impl Store {
    /// Returns its text out of the data directory `data`, which nobody uses meanwhile; none where it has no such store.
    pub fn at_rest(&self, data: &Path) -> Result<Option<Vec<u8>>, String> {
        // A look, because opening would make one.
        if data.join(self.folder).is_dir() { (self.copied)(data) } else { Ok(None) }
    }
}

/// Returns what goes into a backup beside the books of the data directory `data`, which nobody uses meanwhile. The text of an
/// error is for a person.
pub fn at_rest(data: &Path) -> Result<Vec<Beside>, String> {
    let mut files = Vec::new();
    for store in STORES {
        files.extend(store.at_rest(data)?.map(|content| Beside { name: store.name, content }));
    }
    Ok(files)
}
