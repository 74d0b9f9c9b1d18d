//! The Ed25519 keys that checkpoints and exports are signed with, and the files they live in.
//!
//! Who holds the signing key can sign another history, so its file belongs outside the data directory and is refused
//! when others than its owner may read it. Neither `Debug` nor an error shows a key.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::Signer;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::audit::merkle::{Hash, read_hex};

/// DER of a PKCS#8 Ed25519 private key up to its 32 bytes (RFC 8410), without and with the public key behind them.
const PRIVATE_DER: [&[u8]; 2] = [
    b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20",
    b"\x30\x51\x02\x01\x01\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20",
];
/// DER of an Ed25519 public key up to its 32 bytes.
const PUBLIC_DER: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
/// The type of signature in a signed note: Ed25519.
const ED25519: u8 = 1;

/// Why a key could not be had.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file cannot be read or made.
    #[error("cannot use the signing key `{path}`: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner may read it.
    #[error("the signing key `{path}` may be read by others (mode {mode:o}); run `chmod 600 {path}`", path = .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds no key.
    #[error(
        "`{path}` holds no Ed25519 private key; expected PEM (`openssl genpkey -algorithm ed25519`) or 64 hexadecimal digits",
        path = .path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
    },
}

/// Whether a key was there or had to be made, so that the caller can tell a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrigin {
    /// It stood in the file.
    Found,
    /// The file was missing; a new key was drawn and written.
    Created,
}

/// A private key that signs checkpoints and exports.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl SigningKey {
    /// Draws a new key.
    pub fn random() -> Self {
        Self::from_seed(&Zeroizing::new(rand::random()))
    }

    /// Returns the key with this seed, the 32 bytes that RFC 8032 calls the private key.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reads a key from PEM (PKCS#8) or 64 hexadecimal digits; `None` if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        if read_hex(text.trim().to_ascii_lowercase().as_bytes(), &mut *seed) {
            return Some(Self::from_seed(&seed));
        }
        let der = Zeroizing::new(pem(text, "PRIVATE KEY")?);
        let behind = PRIVATE_DER.iter().find_map(|head| der.strip_prefix(*head))?;
        seed.copy_from_slice(behind.get(..32)?);
        Some(Self::from_seed(&seed))
    }

    /// Returns the key in the file `path`; where there is none, draws one and writes it, readable by the owner alone.
    pub fn open(path: &Path) -> Result<(Self, KeyOrigin), KeyError> {
        let failed = |source| KeyError::File { path: path.to_owned(), source };
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self::random();
                key.write(path).map_err(failed)?;
                return Ok((key, KeyOrigin::Created));
            }
            other => other.map_err(failed)?,
        };
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned(), mode });
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
        let key = Self::parse(&text).ok_or_else(|| KeyError::Content { path: path.to_owned() })?;
        Ok((key, KeyOrigin::Found))
    }

    /// Writes the key beside its place and moves it there, so that no kill leaves half a key.
    fn write(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut der = Zeroizing::new(PRIVATE_DER[0].to_vec());
        der.extend_from_slice(self.0.as_bytes());
        let body = Zeroizing::new(BASE64.encode(&*der));
        let text = Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", *body));
        let beside = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(folder)?.sync_all()
    }

    /// Returns the public key that verifies what this one signs.
    pub fn verifying(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// Returns the signature over `bytes`.
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(bytes).to_bytes()
    }
}

/// A public key: what a reviewer needs to hold from elsewhere than the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// Reads a key as verifiers exchange it (`<name>+<id>+<base64>`), as PEM, 64 hexadecimal digits, or base64.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut bytes = [0; 32];
        if read_hex(text.to_ascii_lowercase().as_bytes(), &mut bytes) {
            return Self::from_bytes(&bytes);
        }
        if let Some(der) = pem(text, "PUBLIC KEY") {
            return Self::from_bytes(der.strip_prefix(PUBLIC_DER)?.try_into().ok()?);
        }
        if let Some(bytes) = BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok()) {
            return Self::from_bytes(&bytes);
        }
        let (name, rest) = text.split_once('+')?;
        let (id, key) = rest.split_once('+')?;
        let typed = BASE64.decode(key).ok()?;
        let key = Self::from_bytes(typed.strip_prefix(&[ED25519])?.try_into().ok()?)?;
        let mut told = [0; 4];
        (read_hex(id.as_bytes(), &mut told) && key.id(name) == told).then_some(key)
    }

    fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        ed25519_dalek::VerifyingKey::from_bytes(bytes).ok().map(Self)
    }

    /// Returns the key as verifiers of signed notes take it: `<name>+<id>+<base64>`, the id in hexadecimal.
    pub fn text(&self, name: &str) -> String {
        let id: String = self.id(name).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name}+{id}+{}", BASE64.encode(self.typed()))
    }

    /// Returns the id that stands before this key's signatures in notes of `name`.
    pub fn id(&self, name: &str) -> [u8; 4] {
        let digest = Hash::of(&[name.as_bytes(), b"\n", &self.typed()].concat());
        [digest.0[0], digest.0[1], digest.0[2], digest.0[3]]
    }

    fn typed(&self) -> [u8; 33] {
        let mut bytes = [ED25519; 33];
        bytes[1..].copy_from_slice(self.0.as_bytes());
        bytes
    }

    /// Returns whether `signature` is this key's over `bytes`.
    pub fn verify(&self, bytes: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(bytes, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    }
}

fn pem(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
    BASE64.decode(body.as_bytes()).ok()
}
