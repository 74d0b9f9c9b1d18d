//! The file that is being appended to, and the names of those before it.
//!
//! Room is made ahead with zeros, 1 MiB at a time: while a group falls into it, an fdatasync carries data only and no
//! change of the file's size, which would cost the file system a commit of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::JournalError;
use super::disk::{Access, Disk, DiskFile, is_full};
use super::frame::{self, HEADER, Kind, LogId};

const AHEAD: u64 = 1024 * 1024;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// There is no room. It may pass by itself.
    #[error("{0}")]
    Full(String),
    /// Nothing is known any more of what the disk holds. Nothing may be acknowledged after this.
    #[error("{0}")]
    Fatal(String),
}

impl Trouble {
    /// Tells what failed while `doing` something to `path`.
    pub fn new(doing: &str, path: &Path, error: &io::Error) -> Self {
        let words = format!("{doing} `{}` failed: {error}", path.display());
        if is_full(error) { Self::Full(words) } else { Self::Fatal(words) }
    }

    /// Makes the failure final: used where a second try could not be trusted, as after an fsync.
    fn fatal(self) -> Self {
        match self {
            Self::Full(words) | Self::Fatal(words) => Self::Fatal(words),
        }
    }
}

/// Returns the path of the file of `kind` that begins with index `first`.
pub fn path_of(root: &Path, kind: Kind, first: u64) -> PathBuf {
    root.join(kind.name()).join(format!("{first:020}.{}", kind.name()))
}

/// Returns the first indices of all files of `kind`, ascending. Other names are passed over.
pub fn firsts(disk: &dyn Disk, root: &Path, kind: Kind) -> Result<Vec<u64>, JournalError> {
    let folder = root.join(kind.name());
    let files = disk.list(&folder).map_err(|source| JournalError::Io { doing: "listing", path: folder, source })?;
    let mut firsts: Vec<u64> = files.iter().filter_map(|path| first_of(path, kind)).collect();
    firsts.sort_unstable();
    Ok(firsts)
}

fn first_of(path: &Path, kind: Kind) -> Option<u64> {
    let (digits, extension) = path.file_name()?.to_str()?.split_once('.')?;
    if extension != kind.name() || digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// A file that grows at its end.
pub struct AppendFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    first: u64,
    /// Where the next frame goes.
    length: u64,
    /// Up to where the file is known to be zeros.
    room: u64,
}

impl AppendFile {
    /// Creates the file with its header, durably: a file under its own name always has a whole one.
    pub fn create(disk: &Arc<dyn Disk>, root: &Path, kind: Kind, log: LogId, first: u64) -> Result<Self, Trouble> {
        let path = path_of(root, kind, first);
        let new = path.with_extension(format!("{}.new", kind.name()));
        let file = disk.open(&new, Access::Create).map_err(|error| Trouble::new("creating", &new, &error))?;
        let header = frame::header(kind, log, first);
        let written = file
            .write_all_at(&header, 0)
            .map_err(|error| Trouble::new("writing", &new, &error))
            .and_then(|()| file.sync().map_err(|error| Trouble::new("syncing", &new, &error).fatal()))
            .and_then(|()| disk.rename(&new, &path).map_err(|error| Trouble::new("renaming", &new, &error)));
        if let Err(trouble) = written {
            // What cannot be removed is removed at the next start.
            let _ = disk.remove(&new);
            return Err(trouble);
        }
        let folder = root.join(kind.name());
        disk.sync_folder(&folder).map_err(|error| Trouble::new("syncing", &folder, &error).fatal())?;
        Ok(Self { file, path, first, length: HEADER as u64, room: HEADER as u64 })
    }

    /// Opens a file whose last frame ends at `length`, and cuts off what stands behind it.
    pub fn resume(disk: &Arc<dyn Disk>, root: &Path, kind: Kind, first: u64, length: u64) -> io::Result<Self> {
        let path = path_of(root, kind, first);
        let file = disk.open(&path, Access::Write)?;
        if file.length()? != length {
            file.truncate(length)?;
        }
        // Also where nothing was cut: what the last process wrote without a sync is taken for durable from here on.
        file.sync()?;
        Ok(Self { file, path, first, length, room: length })
    }

    /// Returns the index in the file's name.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Returns where the next frame goes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Writes `bytes` behind the last frame. After a failure [`AppendFile::cut`] has to follow.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.file.write_all_at(bytes, self.length).map_err(|error| Trouble::new("writing", &self.path, &error))?;
        self.length += bytes.len() as u64;
        if self.length > self.room {
            self.room = self.length;
            // Room ahead is a comfort. When it cannot be had, the next write will tell.
            let _ = self.make_room();
        }
        Ok(())
    }

    /// Writes zeros ahead, up to 1 MiB behind the last frame.
    pub fn make_room(&mut self) -> Result<(), Trouble> {
        let end = self.length + AHEAD;
        while self.room < end {
            let piece = ZEROS.len().min((end - self.room) as usize);
            self.file
                .write_all_at(&ZEROS[..piece], self.room)
                .map_err(|error| Trouble::new("making room in", &self.path, &error))?;
            self.room += piece as u64;
        }
        Ok(())
    }

    /// Cuts the file back to `length`, durably. What fails here cannot be mended.
    pub fn cut(&mut self, length: u64) -> Result<(), Trouble> {
        self.file.truncate(length).map_err(|error| Trouble::new("cutting", &self.path, &error).fatal())?;
        self.length = length;
        self.room = length;
        self.sync()
    }

    /// Gives back the room made ahead: the file then ends with its last frame.
    pub fn finish(&mut self) -> Result<(), Trouble> {
        self.cut(self.length)
    }

    /// Returns once all that was appended is on the disk. A failure is final: the kernel may have dropped the pages and
    /// would let a second try succeed.
    pub fn sync(&self) -> Result<(), Trouble> {
        self.file.sync().map_err(|error| Trouble::new("syncing", &self.path, &error).fatal())
    }
}
