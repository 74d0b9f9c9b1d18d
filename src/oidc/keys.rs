//! The keys of an issuer (RFC 7517), and whether one of them has signed something.
//!
//! Which algorithms a key may verify follows from the key's own kind, never from the token: a public key is never taken for a
//! shared secret, and there is no algorithm without a signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::oidc::Algorithm;

/// Most keys that are taken from one issuer.
const KEYS_MAX: usize = 100;
/// Most keys that are tried for a token that names none.
const TRIED_MAX: usize = 8;
/// Lengths of an RSA modulus that are taken, in bytes: 2,048 to 8,192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;

/// The keys that an issuer has published.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

#[derive(Debug, PartialEq, Eq)]
struct Key {
    id: Option<String>,
    /// The one algorithm it says it is for, where it does.
    only: Option<Algorithm>,
    material: Material,
}

#[derive(Debug, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The point, uncompressed.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// How a key stands in a set.
#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// What a signature was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Good,
    Bad,
    /// The set has no key of that name: it may be older than the key.
    UnknownKey,
}

impl KeySet {
    /// Reads a set. Keys that are not for signatures, of unknown kinds or too weak are passed over; `Err` says in words why
    /// none is left.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        let set: Set<'_> = serde_json::from_slice(json).map_err(|error| format!("it is no set of keys: {error}"))?;
        let written = set.keys.iter().take(KEYS_MAX).filter_map(|key| serde_json::from_str(key.get()).ok());
        let keys: Vec<Key> = written.filter_map(Key::of).collect();
        if keys.is_empty() {
            return Err(format!(
                "none of its {} keys can verify a signature by RSA, P-256, P-384 or Ed25519",
                set.keys.len()
            ));
        }
        Ok(Self(keys))
    }

    /// Returns how many keys there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns whether the key `id`, or any where the token names none, has signed `message` by `algorithm`.
    pub fn verify(&self, id: Option<&str>, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Verdict {
        let named = || self.0.iter().filter(|key| id.is_none() || key.id.as_deref() == id);
        if named().next().is_none() {
            return Verdict::UnknownKey;
        }
        let is_good = named().take(TRIED_MAX).any(|key| key.verifies(algorithm, message, signature));
        if is_good { Verdict::Good } else { Verdict::Bad }
    }
}

impl Key {
    fn of(written: Written) -> Option<Self> {
        let is_for_signatures = written.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && written.key_ops.as_ref().is_none_or(|does| does.iter().any(|what| what == "verify"));
        let only = match &written.alg {
            None => None,
            Some(name) => Some(Algorithm::of_name(name)?),
        };
        let material = is_for_signatures.then(|| Material::of(&written)).flatten()?;
        Some(Self { id: written.kid, only, material })
    }

    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if self.only.is_some_and(|only| only != algorithm) {
            return false;
        }
        let plain = |how: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(how, key).verify(message, signature).is_ok()
        };
        match (&self.material, algorithm) {
            (Material::Rsa { n, e }, algorithm) => of_rsa(algorithm)
                .is_some_and(|how| RsaPublicKeyComponents { n, e }.verify(how, message, signature).is_ok()),
            (Material::P256(point), Algorithm::Es256) => plain(&signature::ECDSA_P256_SHA256_FIXED, point),
            (Material::P384(point), Algorithm::Es384) => plain(&signature::ECDSA_P384_SHA384_FIXED, point),
            (Material::Ed25519(point), Algorithm::EdDsa) => plain(&signature::ED25519, point),
            _ => false,
        }
    }
}

fn of_rsa(algorithm: Algorithm) -> Option<&'static signature::RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return None,
    })
}

impl Material {
    fn of(written: &Written) -> Option<Self> {
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
        let exactly = |text: &Option<String>, length: usize| bytes(text).filter(|bytes| bytes.len() == length);
        let point = |length: usize| {
            let (x, y) = (exactly(&written.x, length)?, exactly(&written.y, length)?);
            Some([vec![4], x, y].concat())
        };
        match (written.kty.as_str(), written.crv.as_deref()) {
            ("RSA", _) => {
                // Some issuers write a zero before the number.
                let whole = |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
                let (n, e) = (whole(bytes(&written.n)?), whole(bytes(&written.e)?));
                MODULUS_BYTES.contains(&n.len()).then_some(Self::Rsa { n, e })
            }
            ("EC", Some("P-256")) => point(32).map(Self::P256),
            ("EC", Some("P-384")) => point(48).map(Self::P384),
            ("OKP", Some("Ed25519")) => exactly(&written.x, 32).map(Self::Ed25519),
            _ => None,
        }
    }
}
