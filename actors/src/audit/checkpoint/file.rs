//! The file of checkpoints: signed notes one behind the other, each closed by an empty line, only ever appended to.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Chain, Note, NoteError, Tampered, VerifyingKey};
use crate::audit::journal::{Access, Disk, DiskFile};

/// More bytes than any note has, signatures of witnesses included.
const NOTE_MAX: usize = 64 * 1024;

/// Why the checkpoints cannot be used.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The file cannot be read or written.
    #[error("cannot use the checkpoints in `{path}`: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A note is damaged or not signed with the key.
    #[error("checkpoint {number} in `{path}`: {why}", path = .path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// Which note, counted from 0.
        number: u64,
        /// What is wrong with it.
        why: NoteError,
    },
    /// The notes contradict each other or the log.
    #[error(transparent)]
    Tampered(#[from] Tampered),
}

/// Notes out of a reader, one after the other, unverified; ends before a note that was torn in the writing.
pub struct Notes<R> {
    reader: R,
    read: u64,
    whole: u64,
}

impl<R: BufRead> Notes<R> {
    /// Reads notes from `reader`, which stands at the beginning of the first.
    pub fn new(reader: R) -> Self {
        Self { reader, read: 0, whole: 0 }
    }

    /// Returns how many bytes the notes read so far take, and how many were read behind them.
    pub fn extent(&self) -> (u64, u64) {
        (self.whole, self.read - self.whole)
    }

    /// Returns the next note; `None` at the end, where a torn note may stand.
    pub fn next_note(&mut self) -> io::Result<Option<Result<Note, NoteError>>> {
        let mut bytes = Vec::new();
        let mut blank_lines = 0;
        while blank_lines < 2 {
            let before = bytes.len();
            let read = self.reader.read_until(b'\n', &mut bytes)?;
            self.read += read as u64;
            if read == 0 || bytes.last() != Some(&b'\n') {
                return Ok(None);
            }
            blank_lines += u8::from(bytes[before..] == *b"\n");
            if bytes.len() > NOTE_MAX {
                return Ok(Some(Err(NoteError::Form)));
            }
        }
        bytes.pop();
        self.whole = self.read;
        let text = std::str::from_utf8(&bytes).map_err(|_| NoteError::Form);
        Ok(Some(text.and_then(Note::parse)))
    }
}

/// The checkpoints of a log, open for appending.
pub struct CheckpointFile {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    length: u64,
    chain: Chain,
    last: Option<Note>,
}

impl CheckpointFile {
    /// Opens or makes the file at `path`, reads all notes and cuts off one that was torn in the writing.
    ///
    /// Every note must follow the one before it, and `key` must have signed the last, which vouches for the others.
    pub fn open(disk: &dyn Disk, path: &Path, key: &VerifyingKey) -> Result<Self, CheckpointError> {
        let failed = |source| CheckpointError::File { path: path.to_owned(), source };
        let file = open_or_create(disk, path).map_err(failed)?;
        let mut notes = Notes::new(BufReader::new(FromStart { file: file.as_ref(), offset: 0 }));
        let (mut chain, mut last) = (Chain::default(), None);
        while let Some(note) = notes.next_note().map_err(failed)? {
            let number = chain.notes();
            let note = note.map_err(|why| CheckpointError::Note { path: path.to_owned(), number, why })?;
            chain.follow(&note)?;
            last = Some(note);
        }
        if let Some(note) = &last {
            let number = chain.notes() - 1;
            note.verify(key).map_err(|why| CheckpointError::Note { path: path.to_owned(), number, why })?;
        }
        let (length, torn) = notes.extent();
        drop(notes);
        if torn > 0 {
            file.truncate(length).and_then(|()| file.sync()).map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), file, length, chain, last })
    }

    /// Returns the last note, which the next one has to name.
    pub fn last(&self) -> Option<&Note> {
        self.last.as_ref()
    }

    /// Appends `note` and waits until it is durable; refused if it does not follow the last.
    ///
    /// After an error the file is as it was, as far as the disk obeys, and the next note may be tried.
    pub fn append(&mut self, note: Note) -> Result<(), CheckpointError> {
        let mut chain = self.chain.clone();
        chain.follow(&note)?;
        let bytes = format!("{}\n", note.text());
        let written = self.file.write_all_at(bytes.as_bytes(), self.length).and_then(|()| self.file.sync());
        if let Err(source) = written {
            // Best effort: whatever is left of the note is overwritten by the next, or cut off at the next start.
            let _ = self.file.truncate(self.length);
            return Err(CheckpointError::File { path: self.path.clone(), source });
        }
        self.length += bytes.len() as u64;
        self.chain = chain;
        self.last = Some(note);
        Ok(())
    }
}

fn open_or_create(disk: &dyn Disk, path: &Path) -> io::Result<Box<dyn DiskFile>> {
    match disk.open(path, Access::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = disk.open(path, Access::Create)?;
            disk.sync_folder(path.parent().unwrap_or(Path::new(".")))?;
            Ok(file)
        }
        other => other,
    }
}

/// Reads a file from its beginning.
struct FromStart<'a> {
    file: &'a dyn DiskFile,
    offset: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
