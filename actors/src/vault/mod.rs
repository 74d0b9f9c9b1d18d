//! The vault: seals every piece of content that is kept, and destroys the key when it must be forgotten.
//!
//! ```text
//! master key (outside the data directory)
//! └─ wraps the keyring's slots ── 0: root secret ── pseudonyms, keys of single bodies, fingerprints without a user
//!                              ├─ n: data key of one subject (team and user) and month ── seals bodies
//!                              └─ m: key of one subject ── fingerprints of its content
//! ```
//!
//! To erase a subject is to overwrite its slots: what was sealed with those keys can never be read again, wherever a
//! copy of it lies, while the record's hash over the sealed bytes still holds. A copy of the *keyring* keeps what was
//! erased readable to whoever has the master key, and so may a disk that writes elsewhere than it was told (copy on
//! write, wear levelling): keep old copies no longer than erased content may live.
//!
//! The vault takes no lock on the data directory; whoever opens it holds that.

pub mod bodies;
mod cipher;
mod error;
mod holds;
mod keyring;
mod master;
mod names;
mod sealed;
mod slot;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

pub use bodies::Standing;
pub use error::VaultError;
pub use holds::Hold;
pub use keyring::Recovery;
pub use master::{MasterKey, Origin};
pub use names::ContentHasher;
pub use sealed::CONTENT_MAX;

use cipher::{Key, SEAL_ADDS};
use holds::Holds;
use keyring::{DataKey, Keyring};
use names::{Names, fingerprint};
use sealed::{HEAD_LEN, Opener, Packed, WRAPPED_LEN};
use slot::Making;

use crate::audit::journal::frame;
use crate::audit::journal::{Access, Disk, DiskFile};

/// A month of the calendar (UTC), as 202611.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(u32);

impl Month {
    /// Stands in a slot for no month at all: a subject's key for fingerprints, which outlives what is kept.
    const NONE: Self = Self(0);
    /// Lies between a month and the same one of what is stored for clients.
    const STORED: u32 = 1_000_000;

    /// Returns the month of a time in microseconds since 1970.
    pub fn of_micros(at_us: u64) -> Self {
        // Days are counted from 0000-03-01 in eras of 400 years, so that the leap day comes last in its year.
        let days = at_us / 86_400_000_000 + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year + year / 4 - year / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + year + u64::from(month <= 2);
        Self((year * 100 + month) as u32)
    }

    /// Returns what stands for this month with content that is stored for clients: it has keys of its own, because it is
    /// kept for another time than what the books keep.
    pub fn stored(self) -> Self {
        Self(self.0 % Self::STORED + Self::STORED)
    }
}

/// Whose content it is, and when it came: what decides which key seals it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The team of the client key.
    pub team: &'a str,
    /// The end user, where the request names one. Without one the content gets a key of its own, which only goes with
    /// the content itself.
    pub user: Option<&'a str>,
    /// The month.
    pub month: Month,
}

/// Sealed content and what the record says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// What is kept.
    pub bytes: Vec<u8>,
    /// SHA-256 over `bytes`. It proves nothing about the content, so nobody can confirm a guess with it.
    pub hash: [u8; 32],
}

/// Seals and opens content; shared by all threads.
pub struct Vault {
    disk: Arc<dyn Disk>,
    names: Names,
    path: PathBuf,
    ring: Mutex<Keyring>,
    file: Arc<dyn DiskFile>,
    /// Changes written to the keyring.
    written: AtomicU64,
    /// Those of them that are durable.
    synced: AtomicU64,
    /// How often keys were destroyed since the start.
    destroyed: AtomicU64,
    /// Held while the keyring is synced; whether that has failed.
    syncing: Mutex<bool>,
    /// Taken before `ring` by whoever takes both.
    holds: Mutex<Holds>,
    users_max: u32,
}

impl Vault {
    /// Opens the keyring in the data directory `folder`, or makes one if there is no content yet.
    pub fn open(folder: &Path, master: &MasterKey, disk: Arc<dyn Disk>) -> Result<(Self, Recovery), VaultError> {
        disk.create_folder(folder).map_err(VaultError::io("make the folder", folder))?;
        let path = keyring_path(folder);
        refuse_lost_keyring(disk.as_ref(), folder, &path)?;
        let (ring, root, recovery) = Keyring::open(disk.as_ref(), &path, master.wrapping())?;
        let names = Names::new(&root);
        let holds = Holds::open(disk.as_ref(), &folder.join("holds"), &names.single)?;
        let file = ring.file();
        // A process that was killed may have left keys and names that are only in the system's memory, and nobody would
        // sync them any more: they are not new.
        file.sync().map_err(VaultError::io("sync", &path))?;
        disk.sync_folder(folder).map_err(VaultError::io("sync the folder", folder))?;
        let vault = Self {
            disk,
            names,
            path,
            ring: Mutex::new(ring),
            file,
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            destroyed: AtomicU64::new(0),
            syncing: Mutex::new(false),
            holds: Mutex::new(holds),
            users_max: u32::MAX,
        };
        Ok((vault, recovery))
    }

    /// Bounds for how many new users of one team keys are made in a month, of each kind: names of users are the clients', and
    /// the keyring must not grow with what they invent. Beyond it, [`VaultError::TooMany`].
    pub fn with_users_max(self, users_max: u32) -> Self {
        Self { users_max, ..self }
    }

    /// Wraps all keys of the keyring in `folder` under `new` instead of `old`, which then opens nothing any more.
    ///
    /// Returns how many keys there are. For use while no gateway has the folder open. Content, pseudonyms and
    /// fingerprints stay as they are.
    pub fn rewrap(folder: &Path, old: &MasterKey, new: &MasterKey, disk: &dyn Disk) -> Result<u64, VaultError> {
        let path = keyring_path(folder);
        // Opening would make a keyring where there is none.
        disk.open(&path, Access::Read).map_err(VaultError::io("open the keyring", &path))?;
        let (ring, _, _) = Keyring::open(disk, &path, old.wrapping())?;
        ring.rewrap(disk, &new.wrapping())
    }

    /// Seals the concatenation of `parts` for `subject`, bound to `aad`: what it is and which request's.
    ///
    /// The first content of a subject in a month makes a new key; it is written at once, and durable after [`Vault::sync`].
    pub fn seal(&self, subject: &Subject<'_>, aad: &[u8], parts: &[&[u8]]) -> Result<Sealed, VaultError> {
        let packed = Packed::new(parts)?;
        let pieces = packed.pieces(parts);
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(HEAD_LEN + WRAPPED_LEN + SEAL_ADDS + length);
        match subject.user {
            Some(user) => {
                let DataKey { slot, name, key } = self.key_for(subject, user, subject.month)?;
                let bound = bind(Opener::Slot { slot, name }, aad, &mut bytes);
                key.seal(&bound, &pieces, &mut bytes);
            }
            None => {
                let key = Key::random()?;
                let bound = bind(Opener::Own, aad, &mut bytes);
                key.wrap(&self.names.single, &bound, &mut bytes);
                key.seal(&bound, &pieces, &mut bytes);
            }
        }
        let hash = Sha256::digest(&bytes).into();
        Ok(Sealed { bytes, hash })
    }

    /// Returns the content of `sealed`, which was bound to `aad`.
    pub fn unseal(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let opener = Opener::read(sealed)?;
        let bound = bind(opener, aad, &mut Vec::new());
        let rest = &sealed[HEAD_LEN..];
        let packed = match opener {
            Opener::Slot { slot, name } => {
                let key = self.ring().key_named(slot, &name)?;
                key.open(&bound, rest)
            }
            Opener::Own => {
                let (wrapped, rest) = rest.split_at_checked(WRAPPED_LEN).ok_or(VaultError::Damaged)?;
                self.names.single.unwrap(&bound, wrapped).and_then(|key| key.open(&bound, rest))
            }
        };
        sealed::unpack(&packed.ok_or(VaultError::Damaged)?)
    }

    /// Returns the user's key for `month`, which may be made now, in that of `subject`.
    fn key_for(&self, subject: &Subject<'_>, user: &str, month: Month) -> Result<DataKey, VaultError> {
        let tag = self.names.tag(subject.team, user);
        let making = Making { team: self.names.team_tag(subject.team), month: subject.month.0 };
        // Whoever else wants the same new key waits here, and then finds it.
        let mut ring = self.ring();
        let (key, is_new) = ring.key_for(tag, month.0, making, self.users_max)?;
        self.written.fetch_add(u64::from(is_new), Ordering::Release);
        Ok(key)
    }

    /// Whether keys were written or destroyed and this is not durable yet.
    pub fn is_dirty(&self) -> bool {
        self.synced.load(Ordering::Acquire) != self.written.load(Ordering::Acquire)
    }

    /// Returns once every key that has sealed anything by now is durable.
    ///
    /// Once it has failed it fails for good: a second try would succeed without having written anything.
    pub fn sync(&self) -> io::Result<()> {
        // Whoever comes second waits: returning at once would call durable what is still on its way.
        let mut has_failed = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.written.load(Ordering::Acquire);
        if self.synced.load(Ordering::Acquire) == written && !*has_failed {
            return Ok(());
        }
        if *has_failed {
            return Err(io::Error::other("an earlier sync of the keyring failed; check the disk and start again"));
        }
        self.file.sync().inspect_err(|_| *has_failed = true)?;
        self.synced.store(written, Ordering::Release);
        Ok(())
    }

    /// Destroys all keys of a user and returns how many there were; durable when it returns.
    ///
    /// Under a legal hold it is refused. After an error of the disk some keys may be gone and others not, or not for
    /// good: it has to be done again, if need be after a new start.
    pub fn erase(&self, team: &str, user: &str) -> Result<u64, VaultError> {
        let subject = self.names.tag(team, user);
        let holds = self.lock_holds();
        if let Some(hold) = holds.get(&subject) {
            return Err(VaultError::Held { subject: hold.user.clone(), reason: hold.reason.clone() });
        }
        self.destroy(|tag, _| *tag == subject)
    }

    /// Destroys the data keys of all months before `first`, save those under a legal hold; returns how many. Keys of
    /// fingerprints stay until the user is erased.
    pub fn expire(&self, first: Month) -> Result<u64, VaultError> {
        let holds = self.lock_holds();
        self.destroy(|tag, month| month < first.0 && month != Month::NONE.0 && holds.get(tag).is_none())
    }

    /// Likewise for content that is stored for clients ([`Month::stored`]), which [`Vault::expire`] leaves alone.
    pub fn expire_stored(&self, first: Month) -> Result<u64, VaultError> {
        let holds = self.lock_holds();
        let (least, first) = (Month::STORED, first.stored().0);
        self.destroy(|tag, month| (least..first).contains(&month) && holds.get(tag).is_none())
    }

    /// Returns a number that grows whenever keys are destroyed: then there may be content that nobody can open any more.
    pub fn destructions(&self) -> u64 {
        self.destroyed.load(Ordering::Acquire)
    }

    fn destroy(&self, chosen: impl Fn(&slot::Tag, u32) -> bool) -> Result<u64, VaultError> {
        let destroyed = self.ring().destroy(chosen);
        // Even if nothing was destroyed, or not all: an earlier try may have overwritten keys and not got this far.
        self.written.fetch_add(1, Ordering::Release);
        self.sync().map_err(VaultError::io("sync", &self.path))?;
        self.destroyed.fetch_add(1, Ordering::Release);
        destroyed
    }

    /// Puts a user's content under a legal hold since `since_us`: nothing of it is erased or expires until
    /// [`Vault::release`]. Returns the hold that was there before.
    pub fn hold(&self, team: &str, user: &str, reason: &str, since_us: u64) -> Result<Option<Hold>, VaultError> {
        let hold =
            Hold { team: team.to_owned(), user: self.pseudonym(team, user), reason: reason.to_owned(), since_us };
        self.set_hold(team, user, Some(hold))
    }

    /// Lifts a user's legal hold and returns it.
    pub fn release(&self, team: &str, user: &str) -> Result<Option<Hold>, VaultError> {
        self.set_hold(team, user, None)
    }

    fn set_hold(&self, team: &str, user: &str, hold: Option<Hold>) -> Result<Option<Hold>, VaultError> {
        let subject = self.names.tag(team, user);
        self.lock_holds().set(self.disk.as_ref(), &self.names.single, subject, hold)
    }

    /// Returns all legal holds.
    pub fn holds(&self) -> Vec<Hold> {
        self.lock_holds().list()
    }

    /// Returns the name under which the user of this team stands in the records: `u_` and 20 hexadecimal digits.
    pub fn pseudonym(&self, team: &str, user: &str) -> String {
        self.names.pseudonym(team, user)
    }

    /// Returns a hasher for the fingerprint of content: keyed, so that only the holder of the keys can compare.
    ///
    /// A known user has a key of their own, made with the first content and destroyed by [`Vault::erase`]: afterwards
    /// nobody can confirm a guess any more.
    pub fn content_hasher(&self, subject: &Subject<'_>) -> Result<ContentHasher, VaultError> {
        self.with_content_key(subject, ContentHasher::new)
    }

    /// Returns the fingerprint of `content`, as [`Vault::content_hasher`] makes it.
    pub fn content_hash(&self, subject: &Subject<'_>, content: &[u8]) -> Result<String, VaultError> {
        self.with_content_key(subject, |key| fingerprint(key, content))
    }

    fn with_content_key<T>(&self, subject: &Subject<'_>, work: impl FnOnce(&Key) -> T) -> Result<T, VaultError> {
        match subject.user {
            None => Ok(work(self.names.content())),
            Some(user) => Ok(work(&Names::content_of(&self.key_for(subject, user, Month::NONE)?.key))),
        }
    }

    fn ring(&self) -> MutexGuard<'_, Keyring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({})", self.path.display())
    }
}

/// Returns where the keyring of a data directory lies.
pub fn keyring_path(folder: &Path) -> PathBuf {
    folder.join("keyring")
}

/// Appends the head to `bytes` and returns what the ciphertext is bound to.
fn bind(opener: Opener, aad: &[u8], bytes: &mut Vec<u8>) -> Vec<u8> {
    let head = opener.head();
    bytes.extend_from_slice(&head);
    [head.as_slice(), aad].concat()
}

/// Refuses to make a new keyring where there are bodies sealed with an old one.
fn refuse_lost_keyring(disk: &dyn Disk, folder: &Path, path: &Path) -> Result<(), VaultError> {
    if disk.open(path, Access::Read).is_ok() {
        return Ok(());
    }
    let bodies = folder.join(frame::Kind::Bodies.name());
    let io = || VaultError::io("look for bodies in", &bodies);
    for file in disk.list(&bodies).map_err(io())? {
        let mut first = [0; 4];
        let file = disk.open(&file, Access::Read).map_err(io())?;
        file.read_full_at(&mut first, frame::HEADER as u64).map_err(io())?;
        if first != [0; 4] {
            return Err(VaultError::Lost { path: path.to_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod stopping;
#[cfg(test)]
mod tests;
