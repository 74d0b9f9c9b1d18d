//! A bearer token (RFC 7519, signed as RFC 7515 says): whether it is genuine, of the right issuer, for us, and not over.
//!
//! Pure: keys and time come from outside. Nothing a token says is believed before its signature is verified, but for who issued
//! it, which decides whose keys are asked, and what names the key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::keys::{KeySet, Verdict};
use crate::config::oidc::{Algorithm, Issuer};

/// Longest token that is read, in bytes.
const TOKEN_MAX: usize = 8 * 1_024;
/// Longest subject, in bytes.
const SUBJECT_MAX: usize = 255;
/// Kinds of tokens that let somebody in. Others (of a log-out, a security event, a proof of possession) are signed by the same
/// keys and mean something else (RFC 8725, 3.11).
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// What a genuine token says.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// Who it is about, by the issuer's name for them.
    pub subject: String,
    /// The last moment at which it is taken, in seconds since 1970.
    pub until_s: u64,
    /// Everything it says.
    pub all: Value,
}

/// Why a token lets nobody in. Whoever sent it is not told; the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    #[error("it is no signed token of at most 8 KiB")]
    Malformed,
    #[error("it is of another kind than those that let somebody in")]
    Type,
    #[error("its algorithm is not allowed")]
    Algorithm,
    #[error("it is of another issuer")]
    Issuer,
    #[error("it is for another audience")]
    Audience,
    #[error("the issuer has published no such key")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("it says of nobody that it is about them")]
    Subject,
    #[error("it has no claim that means a team or a role here")]
    Nothing,
    #[error("it is over, or says of no time when it is")]
    Over,
    #[error("it is not valid yet")]
    NotYet,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    /// Extensions that have to be understood; we understand none.
    crit: Option<Value>,
}

/// The registered claims; written twice, one is an error.
#[derive(Deserialize)]
struct Registered {
    iss: String,
    sub: Option<String>,
    aud: Option<OneOrMany>,
    exp: Option<Date>,
    nbf: Option<Date>,
    iat: Option<Date>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Seconds since 1970; some issuers write a fraction.
#[derive(Deserialize)]
#[serde(untagged)]
enum Date {
    Whole(u64),
    Fraction(f64),
}

impl Date {
    fn seconds(&self) -> u64 {
        match self {
            Self::Whole(seconds) => *seconds,
            // Below 1970 and not a number come to 0, beyond the range to its end.
            Self::Fraction(seconds) => *seconds as u64,
        }
    }
}

/// Returns whether `text` has the form and length of a signed token: three parts.
pub fn looks_signed(text: &str) -> bool {
    text.len() <= TOKEN_MAX && text.split('.').count() == 3
}

/// A token taken apart, of which nothing is believed yet.
pub struct Token<'t> {
    header: Header,
    claims: Vec<u8>,
    registered: Registered,
    signed: &'t str,
    signature: Vec<u8>,
}

impl<'t> Token<'t> {
    /// Takes `text` apart.
    pub fn read(text: &'t str) -> Result<Self, Untrusted> {
        let parts = || {
            let (signed, signature) = text.rsplit_once('.').filter(|_| text.len() <= TOKEN_MAX)?;
            let (header, claims) = signed.split_once('.')?;
            let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
            Some((signed, bytes(header)?, bytes(claims)?, bytes(signature)?))
        };
        let (signed, header, claims, signature) = parts().ok_or(Untrusted::Malformed)?;
        let header = serde_json::from_slice(&header).map_err(|_| Untrusted::Malformed)?;
        let registered = serde_json::from_slice(&claims).map_err(|_| Untrusted::Malformed)?;
        Ok(Self { header, claims, registered, signed, signature })
    }

    /// Returns who it says has issued it.
    pub fn issuer(&self) -> &str {
        &self.registered.iss
    }

    /// Returns what it says, if all of it holds at `now_s`, in seconds since 1970.
    pub fn verify(&self, expected: &Issuer, keys: &KeySet, now_s: u64) -> Result<Claims, Untrusted> {
        let Header { alg, kid, typ, crit } = &self.header;
        let kind = typ.as_deref().map(str::to_ascii_lowercase);
        let kind = kind.as_deref().map(|kind| kind.strip_prefix("application/").unwrap_or(kind));
        if kind.is_some_and(|kind| !TYPES.contains(&kind)) || crit.is_some() {
            return Err(Untrusted::Type);
        }
        let algorithm = Algorithm::of_name(alg).filter(|algorithm| expected.algorithms.contains(algorithm));
        let algorithm = algorithm.ok_or(Untrusted::Algorithm)?;
        if self.registered.iss != expected.issuer {
            return Err(Untrusted::Issuer);
        }
        match keys.verify(kid.as_deref(), algorithm, self.signed.as_bytes(), &self.signature) {
            Verdict::Good => {}
            Verdict::Bad => return Err(Untrusted::Signature),
            Verdict::UnknownKey => return Err(Untrusted::UnknownKey),
        }
        self.believed(expected, now_s)
    }

    /// Holds what a genuine token says against what is expected of it.
    fn believed(&self, expected: &Issuer, now_s: u64) -> Result<Claims, Untrusted> {
        let Registered { sub, aud, exp, nbf, iat, .. } = &self.registered;
        let named = match aud {
            None => &[],
            Some(OneOrMany::One(one)) => std::slice::from_ref(one),
            Some(OneOrMany::Many(many)) => many.as_slice(),
        };
        if !named.iter().any(|audience| expected.audiences.contains(audience)) {
            return Err(Untrusted::Audience);
        }
        let until_s = exp.as_ref().ok_or(Untrusted::Over)?.seconds().saturating_add(expected.leeway.as_secs());
        if now_s >= until_s {
            return Err(Untrusted::Over);
        }
        let begins = [nbf, iat].into_iter().flatten().map(Date::seconds).max().unwrap_or_default();
        if begins > now_s.saturating_add(expected.leeway.as_secs()) {
            return Err(Untrusted::NotYet);
        }
        let subject = sub.clone().filter(|subject| !subject.is_empty() && subject.len() <= SUBJECT_MAX);
        let subject = subject.ok_or(Untrusted::Subject)?;
        let all = serde_json::from_slice(&self.claims).map_err(|_| Untrusted::Malformed)?;
        Ok(Claims { subject, until_s, all })
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
