//! The keys of `[providers.<id>]` that are about connections: `proxy`, `ca_file`, `client_cert`, `client_key`,
//! `allow_private`. Files are read and tried here, so that a bad certificate is found at the desk and not on the wire.

use std::io::Read;
use std::sync::Arc;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::Checker;
use crate::config::ProviderKind;
use crate::config::dial::{Dial, Identity, Proxy};
use crate::config::fault::Fault;
use crate::config::layer::child;
use crate::config::raw::RawProvider;

/// Largest PEM file in bytes; a system's whole bundle of roots has about 250,000.
const PEM_MAX: u64 = 4 * 1024 * 1024;

/// Checks how the provider at `path` is reached.
pub fn dial(checker: &mut Checker<'_>, path: &str, kind: ProviderKind, raw: &RawProvider) -> Dial {
    if kind == ProviderKind::Demo {
        refuse_for_demo(checker, path, raw);
        return Dial::default();
    }
    let proxy = raw.proxy.as_deref().and_then(|text| {
        let here = child(path, "proxy");
        Proxy::parse(text).map_err(|why| checker.fault(&here, format!("{here} {why}"))).ok()
    });
    Dial {
        proxy,
        roots: raw.ca_file.as_deref().map(|file| roots(checker, &child(path, "ca_file"), file)).unwrap_or_default(),
        identity: identity(checker, path, raw),
        allow_private: raw.allow_private.unwrap_or(false),
        allow_metadata: false,
    }
}

fn refuse_for_demo(checker: &mut Checker<'_>, path: &str, raw: &RawProvider) {
    let given = [
        ("proxy", raw.proxy.is_some()),
        ("ca_file", raw.ca_file.is_some()),
        ("client_cert", raw.client_cert.is_some()),
        ("client_key", raw.client_key.is_some()),
        ("allow_private", raw.allow_private.is_some()),
    ];
    for (key, _) in given.into_iter().filter(|(_, given)| *given) {
        checker.fault(&child(path, key), format!("{path} is a demo provider; it has no {key}"));
    }
}

fn roots(checker: &mut Checker<'_>, path: &str, file: &str) -> Vec<CertificateDer<'static>> {
    let roots = certificates(checker, path, file).unwrap_or_default();
    let mut store = rustls::RootCertStore::empty();
    for (index, root) in roots.iter().enumerate() {
        if store.add(root.clone()).is_err() {
            let message = format!("{path}: certificate {} of `{file}` cannot be used as a root", index + 1);
            checker.report(path, Fault::error(message).help("it is damaged, or in a form that TLS does not know"));
        }
    }
    roots
}

fn identity(checker: &mut Checker<'_>, path: &str, raw: &RawProvider) -> Option<Identity> {
    let (chain, key) = match (&raw.client_cert, &raw.client_key) {
        (Some(chain), Some(key)) => (chain, key),
        (Some(_), None) => {
            checker.missing(path, "client_key", "the PEM file with the key of client_cert");
            return None;
        }
        (None, Some(_)) => {
            checker.missing(path, "client_cert", "the PEM file with the certificate of client_key");
            return None;
        }
        (None, None) => return None,
    };
    let key_path = child(path, "client_key");
    let (chain, key) =
        (certificates(checker, &child(path, "client_cert"), chain), private_key(checker, &key_path, key));
    let (chain, key) = (chain?, key?);
    let provider = rustls::crypto::ring::default_provider();
    match CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider) {
        Ok(_) => Some(Identity { chain, key: Arc::new(key) }),
        Err(rustls::Error::InconsistentKeys(_)) => {
            checker.fault(&key_path, format!("{key_path} does not belong to the first certificate of client_cert"));
            None
        }
        Err(_) => {
            checker
                .fault(&key_path, format!("{key_path} and client_cert cannot be used: damaged, or of an unknown kind"));
            None
        }
    }
}

fn certificates(checker: &mut Checker<'_>, path: &str, file: &str) -> Option<Vec<CertificateDer<'static>>> {
    let text = read(checker, path, file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => return Some(certificates),
        Ok(_) => {
            let fault = Fault::error(format!("{path}: `{file}` holds no certificate in PEM"));
            checker.report(path, fault.help("a PEM file has lines that say -----BEGIN CERTIFICATE-----"));
        }
        Err(_) => checker.fault(path, format!("{path}: `{file}` is damaged; it is no PEM that can be read")),
    }
    None
}

fn private_key(checker: &mut Checker<'_>, path: &str, file: &str) -> Option<PrivateKeyDer<'static>> {
    let text = zeroize::Zeroizing::new(read(checker, path, file)?);
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => return Some(key),
        Err(PemError::NoItemsFound) => {
            let fault = Fault::error(format!("{path}: `{file}` holds no private key in PEM"));
            checker.report(
                path,
                fault.help("a key that is encrypted has to be decrypted first, for example by openssl pkey"),
            );
        }
        Err(_) => checker.fault(path, format!("{path}: `{file}` is damaged; it is no PEM that can be read")),
    }
    None
}

fn read(checker: &mut Checker<'_>, path: &str, file: &str) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(PEM_MAX + 1).read_to_end(&mut text));
    match read {
        Ok(_) if text.len() as u64 <= PEM_MAX => return Some(text),
        Ok(_) => checker.fault(path, format!("{path}: `{file}` is larger than 4 MiB; that is no PEM file")),
        Err(error) => checker.fault(path, format!("{path}: `{file}` cannot be read: {}", error.kind())),
    }
    None
}
