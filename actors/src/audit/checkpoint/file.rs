//! The file of checkpoints: signed notes one behind the other, each closed by an empty line, only ever appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Chain, Note, NoteError, Tampered, VerifyingKey};

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
#[derive(Debug)]
pub struct CheckpointFile {
    path: PathBuf,
    file: File,
    chain: Chain,
    last: Option<Note>,
}

impl CheckpointFile {
    /// Opens or makes the file at `path`, reads all notes and cuts off one that was torn in the writing.
    ///
    /// Every note must follow the one before it, and `key` must have signed the last, which vouches for the others.
    pub fn open(path: &Path, key: &VerifyingKey) -> Result<Self, CheckpointError> {
        let failed = |source| CheckpointError::File { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed)?;
        let mut notes = Notes::new(BufReader::new(&file));
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
        let (whole, torn) = notes.extent();
        drop(notes);
        if torn > 0 {
            file.set_len(whole).and_then(|()| file.sync_all()).map_err(failed)?;
        }
        let file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file, chain, last })
    }

    /// Returns the last note, which the next one has to name.
    pub fn last(&self) -> Option<&Note> {
        self.last.as_ref()
    }

    /// Appends `note` and waits until it is durable; refused if it does not follow the last.
    pub fn append(&mut self, note: Note) -> Result<(), CheckpointError> {
        self.chain.follow(&note)?;
        let written = self.file.write_all(format!("{}\n", note.text()).as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|source| CheckpointError::File { path: self.path.clone(), source })?;
        self.last = Some(note);
        Ok(())
    }
}
