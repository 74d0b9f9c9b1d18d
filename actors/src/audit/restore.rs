//! From a backup back to a data directory.
//!
//! The copy is made beside the place where it belongs and gets its name once it is whole and durable: a restore that was
//! stopped leaves no half a log that might be taken for one.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::beside::STORES;
use super::journal::{Access, DirectoryLock, Disk, JournalError};

/// Folders of a data directory that hold what cannot be made anew; the index is not among them.
const FOLDERS: [&str; 4] = ["", "journal", "bodies", "leaves"];
/// Files that belong to a running process, to one that was stopped, or to another restore.
const LEFT_OUT: [&str; 2] = ["lock", ORIGIN];
/// The file that tells of the restore until the log does.
const ORIGIN: &str = "restored";
/// Most bytes of it that are believed.
const ORIGIN_MAX: usize = 600;
/// How much is copied at once.
const PIECE: usize = 1 << 20;

/// Why nothing was restored, in words for a person.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// What is to be restored is no backup.
    #[error("there is no backup of an audit log in `{}`: it has no folder `journal` with segments in it", .0.display())]
    NoBackup(PathBuf),
    /// There is something in the place that would be overwritten.
    #[error(
        "`{}` is not empty, and nothing is restored over a log that may still be wanted: move it away, or restore to \
         another folder", .0.display()
    )]
    NotEmpty(PathBuf),
    /// The source is no backup but a data directory in use; or it cannot be locked.
    #[error(transparent)]
    Locked(JournalError),
    /// What the admin API made is damaged in the source, or cannot be written.
    #[error(
        "`{}` cannot be put back, and nothing was restored: {why}; if it is damaged, restore another backup, or move it \
         away to restore the books without it", path.display()
    )]
    Beside {
        /// The file of the backup, or the folder of a data directory.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The disk.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Bytes of the books.
    pub bytes: u64,
    /// What the admin API made.
    pub made: Vec<Made>,
}

/// What was restored of one store of the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// What its records are, in words for a person.
    pub what: &'static str,
    /// The file of a backup that holds it.
    pub file: &'static str,
    /// How many were restored; none where the source has no such store, like backups of older versions.
    pub records: Option<usize>,
}

/// Copies the backup in `from` to the data directory `to`, which must be empty or not exist.
/// `origin` says when and from where; [`origin`] finds it until whoever opens the log has written it down.
///
/// Whether the log in it is sound, and the master key the right one, shows when it is opened. What was erased after the
/// backup was made is there again: the `erase` records that the newer log has are to be repeated by hand.
pub fn restore(from: &Path, to: &Path, origin: &str, disk: &dyn Disk) -> Result<Restored, RestoreError> {
    let list = |folder: &Path| disk.list(folder).map_err(failed("list", folder));
    if list(&from.join("journal"))?.is_empty() {
        return Err(RestoreError::NoBackup(from.to_owned()));
    }
    for folder in FOLDERS {
        if !list(&to.join(folder))?.is_empty() {
            return Err(RestoreError::NotEmpty(to.to_owned()));
        }
    }
    // A backup has no lock; a data directory does (its owner's, and the journal's), and while a process holds one a copy
    // would not be of one moment.
    let mut unused = Vec::new();
    for folder in [from.to_owned(), from.join("journal")] {
        match disk.open(&folder.join("lock"), Access::Read) {
            Ok(_) => unused.push(DirectoryLock::take(&folder).map_err(RestoreError::Locked)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("open", &folder.join("lock"))(error)),
        }
    }

    let unfinished = beside(to);
    // First, because damage shows here, and the books are large.
    let made = put_back(from, &unfinished, disk)?;
    let mut bytes = 0;
    for folder in FOLDERS {
        let (source, target) = (from.join(folder), unfinished.join(folder));
        disk.create_folder(&target).map_err(failed("make the folder", &target))?;
        for old in list(&target)? {
            disk.remove(&old).map_err(failed("remove", &old))?;
        }
        for path in list(&source)? {
            let is_beside = |name: &OsStr| STORES.iter().any(|store| name == store.name);
            let is_left_out = |name: &OsStr| LEFT_OUT.iter().any(|left| name == *left) || is_beside(name);
            let Some(name) = path.file_name().filter(|name| !is_left_out(name)) else { continue };
            bytes += copy(disk, &path, &target.join(name))?;
        }
        disk.sync_folder(&target).map_err(failed("sync the folder", &target))?;
    }
    let told = unfinished.join(ORIGIN);
    let file = disk.open(&told, Access::Create).map_err(failed("create", &told))?;
    file.write_all_at(origin.as_bytes(), 0).and_then(|()| file.sync()).map_err(failed("write", &told))?;
    disk.sync_folder(&unfinished).map_err(failed("sync the folder", &unfinished))?;
    // An empty folder gives way to another of its name, one that is not empty does not.
    disk.rename(&unfinished, to).map_err(failed("rename the restored copy to", to))?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    disk.sync_folder(parent).map_err(failed("sync the folder", parent))?;
    Ok(Restored { bytes, made })
}

/// Makes the stores of the admin API in the unfinished copy.
fn put_back(from: &Path, unfinished: &Path, disk: &dyn Disk) -> Result<Vec<Made>, RestoreError> {
    let mut made = Vec::new();
    for store in &STORES {
        let refused = |name: &str| {
            let path = from.join(name);
            move |why| RestoreError::Beside { path, why }
        };
        // What a restore left that was stopped.
        let old = unfinished.join(store.folder);
        match fs::remove_dir_all(&old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &old)(error)),
            _ => {}
        }
        // A data directory has the store itself.
        let content = match store.at_rest(from).map_err(refused(store.folder))? {
            None => read(disk, &from.join(store.name))?,
            content => content,
        };
        let records = content.map(|content| (store.put_back)(&content, unfinished)).transpose();
        let records = records.map_err(refused(store.name))?;
        made.push(Made { what: store.holds, file: store.name, records });
    }
    Ok(made)
}

/// Returns what is in a file, if there is one.
fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, RestoreError> {
    let file = match disk.open(path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed("open", path))?,
    };
    let mut content = vec![0; file.length().map_err(failed("read", path))? as usize];
    let read = file.read_full_at(&mut content, 0).map_err(failed("read", path))?;
    content.truncate(read);
    Ok(Some(content))
}

/// Returns what was said of the restore that made the data directory `folder`, if the log does not tell of it yet.
pub fn origin(folder: &Path, disk: &dyn Disk) -> Result<Option<String>, RestoreError> {
    let path = folder.join(ORIGIN);
    let file = match disk.open(&path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed("open", &path))?,
    };
    let mut text = vec![0; ORIGIN_MAX];
    let read = file.read_full_at(&mut text, 0).map_err(failed("read", &path))?;
    Ok(Some(String::from_utf8_lossy(&text[..read]).into_owned()))
}

/// Forgets it, once the log tells of it durably.
pub fn told(folder: &Path, disk: &dyn Disk) -> Result<(), RestoreError> {
    let path = folder.join(ORIGIN);
    disk.remove(&path).and_then(|()| disk.sync_folder(folder)).map_err(failed("remove", &path))
}

/// Returns where the unfinished copy lies: on the same disk, under a name of its own.
fn beside(to: &Path) -> PathBuf {
    let mut name = to.file_name().map_or_else(|| OsString::from("data"), OsString::from);
    name.push(".restoring");
    to.with_file_name(name)
}

fn copy(disk: &dyn Disk, from: &Path, to: &Path) -> Result<u64, RestoreError> {
    let source = disk.open(from, Access::Read).map_err(failed("open", from))?;
    let target = disk.open(to, Access::Create).map_err(failed("create", to))?;
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    loop {
        let read = source.read_full_at(&mut buffer, at).map_err(failed("read", from))?;
        if read == 0 {
            break;
        }
        target.write_all_at(&buffer[..read], at).map_err(failed("write", to))?;
        at += read as u64;
    }
    target.sync().map_err(failed("sync", to))?;
    Ok(at)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    move |source| RestoreError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::super::beside::at_rest;
    use super::*;
    use crate::access::{Act, DIRECTORY_COPY, Directory, Holders, Kind, Order, Wish};
    use crate::audit::journal::{Durability, Entry, Journal, JournalOptions, RealDisk};
    use crate::vault::stopping::stop_everywhere;
    use crate::vault::{MasterKey, Vault};

    /// A backup of a log of three records, with a keyring, a legal hold and a client key; its value.
    fn backup(folder: &Path) -> (PathBuf, Journal, String) {
        let (data, to) = (folder.join("data"), folder.join("backup"));
        let (journal, _) = Journal::open(JournalOptions::new(&data)).expect("the journal opens");
        let key = key_made(&data);
        vault(&data).hold("care", "ann", "case 12", 0).expect("held");
        for _ in 0..3 {
            let entry = Entry { tail: b"\"at_us\":1}".to_vec(), body: Some(b"sealed".to_vec()) };
            journal.append(entry, Durability::Strict).wait().expect("taken");
        }
        journal.backup(&to, &at_rest(&data).expect("copied")).expect("a backup");
        (to, journal, key)
    }

    /// Makes a client key; returns its value.
    fn key_made(data: &Path) -> String {
        let act = Act::Create(Wish::default());
        let order = Order { kind: Kind::Key, id: "ci".into(), act, within: None, now_s: 1 };
        let done = Directory::open(data).expect("it opens").order(&order).expect("made");
        done.value.expect("a new key has a value").expose().to_owned()
    }

    fn vault(folder: &Path) -> Vault {
        let master = MasterKey::parse(&"0123456789abcdef".repeat(4)).expect("a key");
        Vault::open(folder, &master, std::sync::Arc::new(RealDisk)).expect("the vault opens").0
    }

    fn assert_whole(folder: &Path, key: &str) {
        let mut directory = Directory::open(folder).expect("it opens");
        directory.take_files(Holders::default());
        assert_eq!(&*directory.roster().find(key, 2).expect("the key is known").key, "ci");
        let (journal, recovery) = Journal::open(JournalOptions::new(folder)).expect("the journal opens");
        assert_eq!((recovery.next_index, recovery.is_new, recovery.bodies_lost), (3, false, 0));
        journal.close();
        assert_eq!(vault(folder).holds().len(), 1);
    }

    #[test]
    fn a_backup_becomes_a_data_directory_that_opens() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, _running, key) = backup(folder.path());
        let to = folder.path().join("restored");
        fs::create_dir(&to).expect("an empty folder");

        restore(&from, &to, "by hand", &RealDisk).expect("restored");

        assert_whole(&to, &key);
        assert_eq!(origin(&to, &RealDisk).expect("read").as_deref(), Some("by hand"));
        told(&to, &RealDisk).expect("removed");
        assert_eq!(origin(&to, &RealDisk).expect("read"), None);
        let again = restore(&from, &to, "by hand", &RealDisk).expect_err("refused").to_string();
        assert!(again.contains("is not empty"), "{again}");
    }

    #[test]
    fn a_stopped_restore_leaves_nothing_that_looks_like_a_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, _running, key) = backup(folder.path());
        let to = folder.path().join("restored");

        // What was left by another one, which was stopped while it wrote there.
        key_made(&beside(&to));
        stop_everywhere(|disk, changes| {
            disk.allow(changes);
            let is_done = restore(&from, &to, "by hand", disk).is_ok();
            // Stopped after the rename, it is whole all the same.
            assert!(is_done <= to.exists());
            to.exists()
        });

        assert_whole(&to, &key);
        assert!(!beside(&to).exists());
    }

    #[test]
    fn a_damaged_copy_of_the_client_keys_is_not_put_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, _running, _) = backup(folder.path());
        let (to, copy) = (folder.path().join("restored"), from.join(DIRECTORY_COPY));
        let sound = fs::read(&copy).expect("read");
        fs::write(&copy, &sound[..sound.len() - 1]).expect("cut");

        let refused = restore(&from, &to, "by hand", &RealDisk).expect_err("refused").to_string();

        assert!(refused.contains("directory.records") && refused.contains("it is damaged"), "{refused}");
        assert!(!to.exists() && !beside(&to).exists());
        fs::remove_file(&copy).expect("moved away, or of an older version");
        let without = restore(&from, &to, "by hand", &RealDisk).expect("the books alone");
        assert_eq!((without.made[0].records, to.join("directory").exists()), (None, false));
    }

    #[test]
    fn what_is_no_backup_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, running, key) = backup(folder.path());
        let to = folder.path().join("restored");

        let nothing = restore(&folder.path().join("nothing"), &to, "by hand", &RealDisk).expect_err("refused");
        let in_use = restore(&folder.path().join("data"), &to, "by hand", &RealDisk).expect_err("refused");

        assert!(matches!(nothing, RestoreError::NoBackup(_)), "{nothing}");
        assert!(matches!(in_use, RestoreError::Locked(_)), "{in_use}");
        running.close();
        restore(&folder.path().join("data"), &to, "by hand", &RealDisk)
            .expect("a directory at rest is as good as a backup");
        assert_whole(&to, &key);
    }
}
