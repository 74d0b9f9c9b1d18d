//! Kept bodies: reading one, wiping those that must be forgotten, dropping those whose time is over.
//!
//! Bodies lie in the files that the journal's writer appends to, one frame each; a record says where its own stands. A
//! frame never moves: one that must go is overwritten with zeros where it stands, with a checksum that fits, so that
//! the positions in the log and the walk over the file stay right.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sealed::{HEAD_LEN, Opener};
use super::{Vault, VaultError};
use crate::audit::journal::frame::{self, BODY_HEAD, BODY_MAX, BodyPosition, Found, HEADER, Kind};
use crate::audit::journal::{Access, Disk, DiskFile};

/// The files of bodies in a data directory.
#[derive(Clone)]
pub struct Bodies {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
}

/// What was wiped or dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Files removed.
    pub files: u64,
    /// Files that had to stay for the sake of a legal hold; whatever else was in them is wiped.
    pub files_held: u64,
    /// Bodies overwritten.
    pub wiped: u64,
}

/// What may be done with sealed content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may go when its time has come.
    Free,
    /// It must stay.
    Held,
    /// Its key is destroyed; nobody needs its bytes any more.
    Erased,
}

/// One frame, met on a walk over a file.
struct Met {
    offset: u64,
    index: u64,
    length: usize,
    /// How the body begins: enough to tell whose it is.
    head: [u8; HEAD_LEN],
    /// Whether all of it is zeros.
    is_wiped: bool,
}

impl Bodies {
    /// Returns those in the data directory `folder`.
    pub fn new(folder: &Path, disk: Arc<dyn Disk>) -> Self {
        Self { folder: folder.join(Kind::Bodies.name()), disk }
    }

    /// Returns the sealed body of record `index`, which stands at `position`.
    ///
    /// One that was wiped is [`VaultError::Erased`], one whose file was dropped [`VaultError::Dropped`].
    pub fn read(&self, position: BodyPosition, index: u64) -> Result<Vec<u8>, VaultError> {
        let (path, file) = self.open(position.file, Access::Read)?;
        let frame = read_frame(&path, file.as_ref(), position.offset)?;
        let (found, found_index) = frame::read_body(&frame);
        let body = &frame[BODY_HEAD..];
        match found {
            _ if found_index != index => Err(VaultError::Damaged),
            // Whatever follows: a machine may have stopped while the zeros were written.
            Found::Frame(_) | Found::Broken if begins_with_zeros(body) => Err(VaultError::Erased),
            Found::Frame(_) => Ok(body.to_vec()),
            _ => Err(VaultError::Damaged),
        }
    }

    /// Overwrites the body of record `index` with zeros; durable when it returns.
    ///
    /// For content without a known user, whose key lies in the body itself; a legal hold is the caller's to heed.
    pub fn wipe(&self, position: BodyPosition, index: u64) -> Result<(), VaultError> {
        let (path, file) = self.open(position.file, Access::Write)?;
        let (length, found_index) = measure_frame(&path, file.as_ref(), position.offset)?;
        if found_index != index {
            return Err(VaultError::Damaged);
        }
        wipe(&path, file.as_ref(), position.offset, index, length)?;
        file.sync().map_err(VaultError::io("sync", &path))
    }

    /// Overwrites every body whose key was destroyed; durable when it returns.
    ///
    /// It looks at the records below `durable` only, because the writer may yet take back what follows. It may be
    /// stopped and done again at any time.
    pub fn wipe_erased(&self, vault: &Vault, durable: u64) -> Result<Cleared, VaultError> {
        let mut cleared = Cleared::default();
        for first in self.files()? {
            cleared.wiped += self.wipe_where(first, |met| {
                met.index < durable && !met.is_wiped && vault.standing(&met.head) == Standing::Erased
            })?;
        }
        Ok(cleared)
    }

    /// Removes the files whose bodies all belong to records below `before`, which must be durable, and wipes those bodies
    /// in the others.
    ///
    /// A file with a body under legal hold stays, and that body in it. The newest file always stays.
    pub fn drop_before(&self, vault: &Vault, before: u64) -> Result<Cleared, VaultError> {
        let mut cleared = Cleared::default();
        let files = self.files()?;
        for (place, &first) in files.iter().enumerate().take_while(|(_, first)| **first < before) {
            let is_over = files.get(place + 1).is_some_and(|next| *next <= before);
            let mut is_held = false;
            if is_over {
                self.walk(first, |met| is_held |= vault.standing(&met.head) == Standing::Held)?;
            }
            if is_held || !is_over {
                cleared.files_held += u64::from(is_held);
                cleared.wiped += self.wipe_where(first, |met| {
                    met.index < before && !met.is_wiped && vault.standing(&met.head) != Standing::Held
                })?;
            } else {
                let path = self.path(first);
                self.disk.remove(&path).map_err(VaultError::io("remove", &path))?;
                cleared.files += 1;
            }
        }
        if cleared.files > 0 {
            self.disk.sync_folder(&self.folder).map_err(VaultError::io("sync the folder", &self.folder))?;
        }
        Ok(cleared)
    }

    /// Returns the first indices of all files, in order.
    fn files(&self) -> Result<Vec<u64>, VaultError> {
        let paths = self.disk.list(&self.folder).map_err(VaultError::io("list", &self.folder))?;
        let mut files: Vec<u64> = paths
            .iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == Kind::Bodies.name()))
            .filter_map(|path| path.file_stem()?.to_str()?.parse().ok())
            .collect();
        files.sort_unstable();
        Ok(files)
    }

    fn path(&self, first: u64) -> PathBuf {
        self.folder.join(format!("{first:020}.{}", Kind::Bodies.name()))
    }

    fn open(&self, first: u64, access: Access) -> Result<(PathBuf, Box<dyn DiskFile>), VaultError> {
        let path = self.path(first);
        match self.disk.open(&path, access) {
            Ok(file) => Ok((path, file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(VaultError::Dropped { path }),
            Err(error) => Err(VaultError::io("open", &path)(error)),
        }
    }

    /// Shows every whole frame of a file to `visit`, without the bodies.
    fn walk(&self, first: u64, mut visit: impl FnMut(&Met)) -> Result<(), VaultError> {
        let (path, file) = self.open(first, Access::Read)?;
        let end = file.length().map_err(VaultError::io("measure", &path))?;
        let mut bytes = [0; BODY_HEAD + HEAD_LEN];
        let mut offset = HEADER as u64;
        while offset + BODY_HEAD as u64 <= end {
            bytes.fill(0);
            file.read_full_at(&mut bytes, offset).map_err(VaultError::io("read", &path))?;
            let (length, index) = read_head(&bytes);
            let next = offset + (BODY_HEAD + length) as u64;
            // Zeros are room made ahead, a frame beyond the end is being written.
            if length == 0 || length > BODY_MAX || next > end {
                break;
            }
            let mut head = [0; HEAD_LEN];
            let known = length.min(HEAD_LEN);
            head[..known].copy_from_slice(&bytes[BODY_HEAD..BODY_HEAD + known]);
            // Half of the zeros may have been written when a machine stopped, so the beginning does not tell.
            let is_wiped = head == [0; HEAD_LEN]
                && read_frame(&path, file.as_ref(), offset)?[BODY_HEAD..].iter().all(|byte| *byte == 0);
            visit(&Met { offset, index, length, head, is_wiped });
            offset = next;
        }
        Ok(())
    }

    fn wipe_where(&self, first: u64, chosen: impl Fn(&Met) -> bool) -> Result<u64, VaultError> {
        let mut doomed = Vec::new();
        self.walk(first, |met| {
            if chosen(met) {
                doomed.push((met.offset, met.index, met.length));
            }
        })?;
        if doomed.is_empty() {
            return Ok(0);
        }
        let (path, file) = self.open(first, Access::Write)?;
        for &(offset, index, length) in &doomed {
            wipe(&path, file.as_ref(), offset, index, length)?;
        }
        file.sync().map_err(VaultError::io("sync", &path))?;
        Ok(doomed.len() as u64)
    }
}

impl Vault {
    /// Tells what may be done with sealed bytes that begin like `head` (20 bytes suffice).
    pub fn standing(&self, head: &[u8]) -> Standing {
        let slot = match Opener::read(head) {
            Ok(Opener::Slot { slot, .. }) => slot,
            Err(VaultError::Erased) => return Standing::Erased,
            Ok(Opener::Own) | Err(_) => return Standing::Free,
        };
        let holds = self.lock_holds();
        let ring = self.ring();
        match ring.subject_of(slot) {
            Some(subject) if holds.get(&subject).is_some() => Standing::Held,
            _ if ring.is_erased(slot) => Standing::Erased,
            _ => Standing::Free,
        }
    }
}

/// Whether it begins as nothing sealed does.
fn begins_with_zeros(body: &[u8]) -> bool {
    body.iter().take(HEAD_LEN).all(|byte| *byte == 0)
}

/// Reads length and record index of a frame.
fn read_head(bytes: &[u8]) -> (usize, u64) {
    let length = u32::from_le_bytes(std::array::from_fn(|i| bytes[i]));
    (length as usize, u64::from_le_bytes(std::array::from_fn(|i| bytes[8 + i])))
}

/// Reads length and record index of the frame at `offset`, which lies within the file.
fn measure_frame(path: &Path, file: &dyn DiskFile, offset: u64) -> Result<(usize, u64), VaultError> {
    let end = file.length().map_err(VaultError::io("measure", path))?;
    if offset >= end {
        return Err(VaultError::Damaged);
    }
    let mut head = [0; BODY_HEAD];
    file.read_full_at(&mut head, offset).map_err(VaultError::io("read", path))?;
    let (length, index) = read_head(&head);
    // Before room is made for it: a damaged length must not cost memory.
    if length == 0 || length > BODY_MAX || offset + (BODY_HEAD + length) as u64 > end {
        return Err(VaultError::Damaged);
    }
    Ok((length, index))
}

fn read_frame(path: &Path, file: &dyn DiskFile, offset: u64) -> Result<Vec<u8>, VaultError> {
    let (length, _) = measure_frame(path, file, offset)?;
    let mut frame = vec![0; BODY_HEAD + length];
    file.read_full_at(&mut frame, offset).map_err(VaultError::io("read", path))?;
    Ok(frame)
}

fn wipe(path: &Path, file: &dyn DiskFile, offset: u64, index: u64, length: usize) -> Result<(), VaultError> {
    let mut frame = Vec::with_capacity(BODY_HEAD + length);
    frame::push_body(&mut frame, index, &vec![0; length]);
    file.write_all_at(&frame, offset).map_err(VaultError::io("overwrite a body in", path))
}

#[cfg(test)]
#[path = "bodies_tests.rs"]
mod tests;
