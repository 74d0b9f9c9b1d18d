//! A file of an export as it grows: buffered, counted and hashed.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::manifest::Listed;
use crate::audit::merkle::Hash;

/// One file being written.
pub struct Output {
    name: &'static str,
    file: BufWriter<Hashed>,
}

/// Hashes what reaches the file. It lies below the buffer, because many small pieces are slow to hash.
struct Hashed {
    file: File,
    digest: Sha256,
    size: u64,
}

impl Output {
    /// Makes the file `name` in `folder`, readable by its owner alone.
    pub fn create(folder: &Path, name: &'static str) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(name))?;
        let hashed = Hashed { file, digest: Sha256::new(), size: 0 };
        Ok(Self { name, file: BufWriter::with_capacity(256 * 1024, hashed) })
    }

    /// Writes `bytes` and a line break.
    pub fn line(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.write_all(b"\n")
    }

    /// Makes the file durable and returns how the manifest lists it.
    pub fn finish(self) -> io::Result<Listed> {
        let Hashed { file, digest, size } = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(Listed { name: self.name.to_owned(), size, sha256: Hash(digest.finalize().into()) })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
