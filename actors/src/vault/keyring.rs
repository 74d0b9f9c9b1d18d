//! The keyring: a file of slots, and what of it is kept in memory.
//!
//! Slot 0 holds the root secret; each further one the data key of a subject and month, in the order in which they were
//! made. A number is never given twice. In memory stand 20 bytes per slot and the way from subject and month to number;
//! the keys themselves stay wrapped in the file until one is wanted, and the last ones used are kept open. A keyring of a
//! million slots is a file of 128 MB that opens in 0.9 s and takes 73 MiB of memory; it is wrapped anew in 10 s (measured
//! on one slow core).

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::Rng;

use super::VaultError;
use super::cipher::Key;
use super::slot::{self, Found, Head, Making, NAME_LEN, ROOT_NAME, SLOT_LEN, State, Tag};
use crate::audit::journal::{Access, Disk, DiskFile};

/// How many keys are kept open; beyond that all are closed and opened again when wanted.
const OPEN_MAX: usize = 16_384;
/// How many slots are read or written at once when the whole file is.
const CHUNK: usize = 512;

/// What opening a keyring found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Slots, without the one of the root secret.
    pub slots: u32,
    /// Slots whose keys were destroyed.
    pub erased: u32,
    /// Slots that cannot be read: what was sealed with their keys is lost, and nobody can tell whose it was.
    pub damaged: u32,
    /// Bytes of a slot that was being written when the machine stopped; nothing was sealed with it for good.
    pub torn_bytes: u64,
    /// Whether the keyring was made just now.
    pub is_new: bool,
}

/// A key together with what is written into bytes sealed with it.
#[derive(Debug, Clone)]
pub struct DataKey {
    pub slot: u32,
    pub name: [u8; NAME_LEN],
    pub key: Arc<Key>,
}

/// One slot as it is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Key { subject: Tag, month: u32 },
    Erased,
    Damaged,
}

/// The keyring, open.
pub struct Keyring {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    wrapping: Key,
    entries: Vec<Entry>,
    current: HashMap<(Tag, u32), u32>,
    open: HashMap<u32, DataKey>,
    /// How many keys of each kind (for fingerprints or not) a team has made in a month. Those destroyed before the last start
    /// are forgotten.
    made: HashMap<(Making, bool), u32>,
}

impl Keyring {
    /// Opens the keyring at `path`, or makes one; returns it with its root secret.
    pub fn open(disk: &dyn Disk, path: &Path, wrapping: Key) -> Result<(Self, Key, Recovery), VaultError> {
        // What an interrupted rewrap left holds every key once more, out of reach of later erasures.
        let unfinished = unfinished(path);
        if let Err(error) = disk.remove(&unfinished)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(VaultError::io("remove", &unfinished)(error));
        }
        let is_new = match disk.open(path, Access::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let root = root_head().wrap(&Key::random()?, &wrapping);
                replace(disk, path, |file| file.write_all_at(&root, 0))?;
                true
            }
            other => other.map(|_| false).map_err(VaultError::io("open the keyring", path))?,
        };
        let file: Arc<dyn DiskFile> =
            disk.open(path, Access::Write).map_err(VaultError::io("open the keyring", path))?.into();

        let mut ring = Self {
            path: path.to_owned(),
            file,
            wrapping,
            entries: Vec::new(),
            current: HashMap::new(),
            open: HashMap::new(),
            made: HashMap::new(),
        };
        let root = ring.root()?;
        let mut found = ring.load()?;
        found.is_new = is_new;
        Ok((ring, root, found))
    }

    fn root(&self) -> Result<Key, VaultError> {
        let unreadable = |what| VaultError::Unreadable { path: self.path.clone(), what };
        match slot::read(0, &self.read_slot(0)?) {
            Found::Key(head) if head.name == ROOT_NAME => {
                let slot = self.read_slot(0)?;
                head.unwrap(&slot, &self.wrapping).ok_or_else(|| VaultError::WrongKey { path: self.path.clone() })
            }
            Found::Key(_) => Err(unreadable("is no keyring of this gateway")),
            Found::Erased | Found::Damaged => Err(unreadable("is damaged in its first slot, without which none opens")),
        }
    }

    fn load(&mut self) -> Result<Recovery, VaultError> {
        let length = self.file.length().map_err(VaultError::io("measure the keyring", &self.path))?;
        let torn_bytes = length % SLOT_LEN as u64;
        let slots = u32::try_from(length / SLOT_LEN as u64).map_err(|_| VaultError::Unreadable {
            path: self.path.clone(),
            what: "has more slots than can be counted",
        })?;
        if torn_bytes > 0 {
            self.file
                .truncate(length - torn_bytes)
                .map_err(VaultError::io("cut the torn end of the keyring", &self.path))?;
        }
        self.entries.reserve_exact(slots as usize);
        self.each_slot(slots, |ring, number, slot| {
            ring.entries.push(match slot::read(number, slot) {
                Found::Key(Head { subject, month, making, .. }) => {
                    ring.current.insert((subject, month), number);
                    *ring.made.entry((making, month == 0)).or_default() += 1;
                    Entry::Key { subject, month }
                }
                Found::Erased => Entry::Erased,
                Found::Damaged => Entry::Damaged,
            });
        })?;
        let count = |wanted: Entry| self.entries.iter().filter(|entry| **entry == wanted).count() as u32;
        let (erased, damaged) = (count(Entry::Erased), count(Entry::Damaged));
        Ok(Recovery { slots: slots - 1, erased, damaged, torn_bytes, is_new: false })
    }

    /// Gives every slot to `visit`, in order; the file is read in large pieces.
    fn each_slot(
        &mut self,
        slots: u32,
        mut visit: impl FnMut(&mut Self, u32, &[u8; SLOT_LEN]),
    ) -> Result<(), VaultError> {
        let mut buffer = vec![0; CHUNK * SLOT_LEN];
        let mut number = 0;
        while number < slots {
            let wanted = CHUNK.min((slots - number) as usize) * SLOT_LEN;
            let offset = u64::from(number) * SLOT_LEN as u64;
            let read = self.file.read_full_at(&mut buffer[..wanted], offset);
            if read.map_err(VaultError::io("read the keyring", &self.path))? < wanted {
                return Err(VaultError::Unreadable {
                    path: self.path.clone(),
                    what: "became shorter while it was read",
                });
            }
            for bytes in buffer[..wanted].as_chunks::<SLOT_LEN>().0 {
                visit(self, number, bytes);
                number += 1;
            }
        }
        Ok(())
    }

    /// Returns the key of `subject` in `month`; one that is not there yet is made and written (`true`), but not synced. If it
    /// would be more than `most` of its kind that the team of `making` has made in that month, it is
    /// [`VaultError::TooMany`].
    pub fn key_for(
        &mut self,
        subject: Tag,
        month: u32,
        making: Making,
        most: u32,
    ) -> Result<(DataKey, bool), VaultError> {
        if let Some(&number) = self.current.get(&(subject, month)) {
            return self.key_in(number).map(|key| (key, false));
        }
        if self.made.get(&(making, month == 0)).is_some_and(|made| *made >= most) || most == 0 {
            return Err(VaultError::TooMany { most });
        }
        let number = u32::try_from(self.entries.len()).map_err(|_| VaultError::Unreadable {
            path: self.path.clone(),
            what: "is full: no more keys can be counted",
        })?;
        let mut name = [0; NAME_LEN];
        rand::rng().fill_bytes(&mut name);
        let key = Key::random()?;
        let slot = Head { state: State::DataKey, number, month, subject, name, making }.wrap(&key, &self.wrapping);
        // If this fails half-way, the next key is written over it: the number was not given yet.
        self.file.write_all_at(&slot, place(number)).map_err(VaultError::io("write a key to", &self.path))?;

        self.entries.push(Entry::Key { subject, month });
        self.current.insert((subject, month), number);
        *self.made.entry((making, month == 0)).or_default() += 1;
        let key = DataKey { slot: number, name, key: Arc::new(key) };
        self.remember(key.clone());
        Ok((key, true))
    }

    /// Returns the key in slot `number` if it bears `name`.
    pub fn key_named(&mut self, number: u32, name: &[u8; NAME_LEN]) -> Result<Arc<Key>, VaultError> {
        if number == 0 {
            return Err(VaultError::Damaged);
        }
        let no_key = VaultError::NoKey { slot: number, slots: self.entries.len() as u32 - 1 };
        match self.entries.get(number as usize) {
            None => Err(no_key),
            Some(Entry::Erased) => Err(VaultError::Erased),
            Some(Entry::Damaged) => Err(VaultError::Damaged),
            Some(Entry::Key { .. }) => {
                let found = self.key_in(number)?;
                if found.name == *name { Ok(found.key) } else { Err(no_key) }
            }
        }
    }

    fn key_in(&mut self, number: u32) -> Result<DataKey, VaultError> {
        if let Some(key) = self.open.get(&number) {
            return Ok(key.clone());
        }
        let slot = self.read_slot(number)?;
        let Found::Key(head) = slot::read(number, &slot) else { return Err(VaultError::Damaged) };
        let key = head.unwrap(&slot, &self.wrapping).ok_or(VaultError::Damaged)?;
        let key = DataKey { slot: number, name: head.name, key: Arc::new(key) };
        self.remember(key.clone());
        Ok(key)
    }

    fn remember(&mut self, key: DataKey) {
        if self.open.len() >= OPEN_MAX {
            self.open.clear();
        }
        self.open.insert(key.slot, key);
    }

    /// Overwrites every key for which `chosen` holds (subject, month) with zeros and forgets it; returns how many.
    ///
    /// The caller syncs. Stopped half-way, it can be done again: what is gone is gone, the rest is found as before.
    pub fn destroy(&mut self, chosen: impl Fn(&Tag, u32) -> bool) -> Result<u64, VaultError> {
        let mut destroyed = 0;
        for number in 1..self.entries.len() {
            let Entry::Key { subject, month } = self.entries[number] else { continue };
            if !chosen(&subject, month) {
                continue;
            }
            let number = number as u32;
            self.file
                .write_all_at(&[0; SLOT_LEN], place(number))
                .map_err(VaultError::io("overwrite a key in", &self.path))?;
            self.entries[number as usize] = Entry::Erased;
            // A damaged file may hold two keys of one subject and month; only the one in use stands in the map.
            if self.current.get(&(subject, month)) == Some(&number) {
                self.current.remove(&(subject, month));
            }
            self.open.remove(&number);
            destroyed += 1;
        }
        Ok(destroyed)
    }

    /// Returns the file, to sync it without keeping the keyring from others meanwhile.
    pub fn file(&self) -> Arc<dyn DiskFile> {
        self.file.clone()
    }

    /// Returns whose key is in slot `number`; none if it was destroyed or cannot be read.
    pub fn subject_of(&self, number: u32) -> Option<Tag> {
        match self.entries.get(number as usize)? {
            Entry::Key { subject, .. } if number > 0 => Some(*subject),
            _ => None,
        }
    }

    /// Whether the key in slot `number` was destroyed.
    pub fn is_erased(&self, number: u32) -> bool {
        self.entries.get(number as usize) == Some(&Entry::Erased)
    }

    /// Writes the keyring anew with every key wrapped under `wrapping`, and puts it in the place of the old one, whose
    /// bytes are then overwritten. Returns how many keys there are.
    ///
    /// Nobody else may have the keyring open. Stopped at any point, the file is either the old or the new one.
    pub fn rewrap(mut self, disk: &dyn Disk, wrapping: &Key) -> Result<u64, VaultError> {
        let slots = self.entries.len() as u32;
        let path = self.path.clone();
        let mut keys = 0;
        let mut failed = None;
        let unfinished = unfinished(&path);
        let new = disk.open(&unfinished, Access::Create).map_err(VaultError::io("create", &unfinished))?;
        self.each_slot(slots, |ring, number, slot| {
            let slot = match slot::read(number, slot) {
                Found::Key(head) => match head.unwrap(slot, &ring.wrapping) {
                    Some(key) => {
                        keys += u64::from(number > 0);
                        head.wrap(&key, wrapping)
                    }
                    None => *slot,
                },
                Found::Erased | Found::Damaged => *slot,
            };
            if failed.is_none() {
                failed = new.write_all_at(&slot, place(number)).err();
            }
        })?;
        let written = failed.map_or(Ok(()), Err).and_then(|()| new.sync());
        written.map_err(VaultError::io("write", &unfinished))?;
        put_in_place(disk, &unfinished, &path)?;

        // The old file has no name any more, but its keys would still lie on the disk, wrapped under the old key.
        let zeros = vec![0; CHUNK * SLOT_LEN];
        let length = u64::from(slots) * SLOT_LEN as u64;
        let overwrite = || {
            let mut offset = 0;
            while offset < length {
                let piece = zeros.len().min((length - offset) as usize);
                self.file.write_all_at(&zeros[..piece], offset)?;
                offset += piece as u64;
            }
            self.file.sync()
        };
        let action = "overwrite what the old master key opens (the new one is in force) of";
        overwrite().map_err(VaultError::io(action, &path))?;
        Ok(keys)
    }

    fn read_slot(&self, number: u32) -> Result<[u8; SLOT_LEN], VaultError> {
        let mut slot = [0; SLOT_LEN];
        let read = self.file.read_full_at(&mut slot, place(number));
        match read.map_err(VaultError::io("read the keyring", &self.path))? {
            SLOT_LEN => Ok(slot),
            _ => Err(VaultError::Unreadable { path: self.path.clone(), what: "ends too early" }),
        }
    }
}

fn root_head() -> Head {
    let making = Making::default();
    Head { state: State::Root, number: 0, month: 0, subject: Tag::default(), name: ROOT_NAME, making }
}

fn place(number: u32) -> u64 {
    u64::from(number) * SLOT_LEN as u64
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("unfinished")
}

/// Writes a file that afterwards stands at `path` whole, or not at all.
pub fn replace(
    disk: &dyn Disk,
    path: &Path,
    write: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
) -> Result<(), VaultError> {
    let unfinished = unfinished(path);
    let file = disk.open(&unfinished, Access::Create).map_err(VaultError::io("create", &unfinished))?;
    write(file.as_ref()).and_then(|()| file.sync()).map_err(VaultError::io("write", &unfinished))?;
    put_in_place(disk, &unfinished, path)
}

fn put_in_place(disk: &dyn Disk, unfinished: &Path, path: &Path) -> Result<(), VaultError> {
    disk.rename(unfinished, path).map_err(VaultError::io("rename", unfinished))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    disk.sync_folder(folder).map_err(VaultError::io("sync the folder", folder))
}
