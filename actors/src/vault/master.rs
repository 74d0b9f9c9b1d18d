//! The master key: where it comes from, and that nobody else may read it.
//!
//! It lives outside the data directory, because whoever takes a copy of that directory must not take the key along. It
//! seals nothing but the keys of the keyring.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::VaultError;
use super::cipher::{KEY_LEN, Key};

const WRAPPING: &str = "bursar 2026-11 vault: wraps the keys of the keyring";
const HEX_LEN: usize = 2 * KEY_LEN;

/// 256 bits that open everything the vault sealed. `Debug` prints `…`.
pub struct MasterKey(Key);

/// Whether a master key was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was read.
    Read,
    /// It was made just now: the operator must be told to keep a copy, for nothing opens without it.
    Made,
}

impl MasterKey {
    /// Returns the key that `text` spells: 64 hexadecimal digits, or 32 bytes in base64 (44 characters).
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        let text = text.trim();
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        let understood = match text.len() {
            HEX_LEN => decode_hex(text.as_bytes(), &mut bytes),
            44 => decode_base64(text, &mut bytes),
            _ => false,
        };
        if !understood {
            return Err(VaultError::Master(format!(
                "the master key has {} characters and is no key: give 64 hexadecimal digits or 32 bytes in base64, as \
                 from `openssl rand -hex 32`",
                text.chars().count()
            )));
        }
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            let what = "the master key repeats one byte: give a random one, as from `openssl rand -hex 32`";
            return Err(VaultError::Master(what.to_owned()));
        }
        Ok(Self(Key::new(bytes)))
    }

    /// Reads the key in the file at `path`, which nobody but its owner may read or write.
    pub fn read(path: &Path) -> Result<Self, VaultError> {
        let file = File::open(path).map_err(VaultError::io("open the master key", path))?;
        let mode = file.metadata().map_err(VaultError::io("look at the master key", path))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(VaultError::Master(format!(
                "master key {} can be read or written by others (mode {:03o}): `chmod 600` it, and make a new one if a \
                 stranger may have seen it",
                path.display(),
                mode & 0o777
            )));
        }
        let mut text = Zeroizing::new(String::with_capacity(256));
        file.take(200).read_to_string(&mut text).map_err(VaultError::io("read the master key", path))?;
        Self::parse(&text).map_err(|error| VaultError::Master(format!("{}: {error}", path.display())))
    }

    /// Reads the key at `path`, or makes one there if neither it nor `keyring` exists.
    ///
    /// With a keyring there was a master key, and a new one would open nothing: then its absence is an error.
    pub fn read_or_make(path: &Path, keyring: &Path) -> Result<(Self, Origin), VaultError> {
        match Self::read(path) {
            Err(VaultError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            other => return other.map(|key| (key, Origin::Read)),
        }
        if keyring.exists() {
            return Err(VaultError::Master(format!(
                "master key {} is missing, and keyring {} cannot be opened without it: restore the key",
                path.display(),
                keyring.display()
            )));
        }
        Self::make(path).map(|key| (key, Origin::Made))
    }

    /// Writes a new key to `path` with mode 0600, in a folder made with mode 0700 if there is none.
    fn make(path: &Path) -> Result<Self, VaultError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut made = DirBuilder::new();
        made.recursive(true).mode(0o700).create(folder).map_err(VaultError::io("make the folder", folder))?;

        let key = Self(Key::random()?);
        let text = key.to_hex();
        // A key that was half written when the machine stopped would be refused for ever; so it appears whole or not.
        let unfinished = path.with_extension("unfinished");
        let write = || {
            let _ = fs::remove_file(&unfinished);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&unfinished, path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(VaultError::io("write the master key", path))?;
        Ok(key)
    }

    /// Returns the key that wraps the keys of the keyring.
    pub(super) fn wrapping(&self) -> Key {
        self.0.derive(WRAPPING)
    }

    fn to_hex(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(HEX_LEN));
        self.0.expose().iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
        text
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

fn decode_hex(text: &[u8], into: &mut [u8; KEY_LEN]) -> bool {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_chunks::<2>().0;
    pairs.iter().zip(into.iter_mut()).all(|(pair, byte)| match (digit(pair[0]), digit(pair[1])) {
        (Some(high), Some(low)) => {
            *byte = (high << 4 | low) as u8;
            true
        }
        _ => false,
    })
}

fn decode_base64(text: &str, into: &mut [u8; KEY_LEN]) -> bool {
    let text = text.replace('-', "+").replace('_', "/");
    // The decoder wants room for a whole last group.
    let mut room = Zeroizing::new([0; 33]);
    let Ok(KEY_LEN) = STANDARD.decode_slice(Zeroizing::new(text).as_str(), room.as_mut()) else { return false };
    into.copy_from_slice(&room[..KEY_LEN]);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn a_key_is_the_same_in_both_spellings() {
        let hex = MasterKey::parse(HEX).expect("hexadecimal");
        let base64 = MasterKey::parse(&format!(" {BASE64}\n")).expect("base64");

        assert_eq!(*hex.to_hex(), HEX);
        assert_eq!(*base64.to_hex(), HEX);
    }

    #[test]
    fn what_is_no_key_is_refused_in_words_that_do_not_repeat_it() {
        for text in ["", "sk-canary", &HEX[1..], &HEX.replace('0', "g"), &BASE64.replace('A', "!"), &"00".repeat(32)] {
            let error = MasterKey::parse(text).expect_err("no key").to_string();

            assert!(text.is_empty() || !error.contains(text), "{error}");
            assert!(error.contains("openssl rand -hex 32"), "{error}");
        }
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_then_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys/master.key");
        let keyring = folder.path().join("keyring");

        let (made, first) = MasterKey::read_or_make(&path, &keyring).expect("made");
        let (read, second) = MasterKey::read_or_make(&path, &keyring).expect("read");

        assert_eq!((first, second), (Origin::Made, Origin::Read));
        assert_eq!(made.to_hex(), read.to_hex());
        assert_eq!(fs::metadata(&path).expect("the key").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().expect("a folder")).expect("it").permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("master.key");
        fs::write(&path, HEX).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("opened to the group");

        let error = MasterKey::read(&path).expect_err("refused").to_string();

        assert!(error.contains("mode 640") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn no_new_key_is_made_where_an_old_one_is_needed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, keyring) = (folder.path().join("master.key"), folder.path().join("keyring"));
        fs::write(&keyring, b"something").expect("written");

        let error = MasterKey::read_or_make(&path, &keyring).expect_err("refused").to_string();

        assert!(error.contains("restore the key"), "{error}");
        assert!(!path.exists());
    }
}
