//! `[[auth.oidc]]`: who else may say who somebody is (OpenID Connect, or any issuer of signed bearer tokens).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How a token may be signed (RFC 7518, RFC 8037). There is no `none` and no shared secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    /// Every algorithm with its name.
    pub const ALL: [(&'static str, Self); 9] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
    ];

    /// Returns the algorithm of that very name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, algorithm)| algorithm)
    }

    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, algorithm)| *algorithm == self).map_or("", |(name, _)| name)
    }
}

/// One issuer whose tokens are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Exactly what `iss` has to say.
    pub issuer: String,
    /// `aud` has to name one of them.
    pub audiences: Vec<String>,
    pub algorithms: Vec<Algorithm>,
    pub source: Source,
    /// Which team somebody is of; without one the tokens are for administration alone.
    pub team: Option<Mapping>,
    /// Which role of administration somebody has; its map holds names of roles and is not empty.
    pub role: Option<Mapping>,
    /// The claim with the end user's name.
    pub user_claim: String,
    /// How far the issuer's clock may be from ours.
    pub leeway: Duration,
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, read again when it changes.
    File(PathBuf),
    /// An address, asked again every quarter of an hour.
    Url(String),
    /// Its own description says where (`/.well-known/openid-configuration`); this is the address of that.
    Discovery(String),
}

impl Source {
    /// Returns it as it is written.
    pub fn label(&self) -> String {
        match self {
            Self::File(path) => format!("file:{}", path.display()),
            Self::Url(url) | Self::Discovery(url) => url.clone(),
        }
    }
}

/// A claim, and what its values mean here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// `a.b` is `b` within `a`, unless a claim has that very name.
    pub claim: String,
    /// Empty where values mean themselves.
    pub map: BTreeMap<String, String>,
}

/// Returns whether keys may come from this address: by TLS, or from this machine.
pub fn is_trustworthy(url: &str) -> bool {
    let of_this_machine = |rest: &str| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = match authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
    };
    match url.split_once("://") {
        Some(("https", rest)) => !rest.is_empty() && !rest.contains('@'),
        Some(("http", rest)) => !rest.contains('@') && of_this_machine(rest),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_tls_or_from_this_machine() {
        for good in ["https://i.example/keys", "http://localhost/k", "http://127.0.0.1:80/k", "http://[::1]:8/k"] {
            assert!(is_trustworthy(good), "{good}");
        }
        for bad in [
            "http://i.example/",
            "http://localhost.evil.example/",
            "http://localhost@evil.example/",
            "ftp://x",
            "https://",
            "x",
        ] {
            assert!(!is_trustworthy(bad), "{bad}");
        }
    }
}
