//! How a provider's endpoints are reached: through which proxy, trusting whom, as whom, and whether into private networks.
//!
//! `Debug` shows neither a proxy's password nor a private key: these structs stand inside `Config`, which is logged.

use std::fmt;
use std::sync::Arc;

use bursar_actors::Secret;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The part of `[providers.<id>]` that is about connections.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Dial {
    pub proxy: Option<Proxy>,
    /// Certificates of `ca_file`, trusted besides the public roots; each has been tried as one.
    pub roots: Vec<CertificateDer<'static>>,
    pub identity: Option<Identity>,
    /// Whether a public name may stand for a private address.
    pub allow_private: bool,
    /// Whether the metadata service of a cloud may be called, by its address. Only what mints credentials does.
    pub allow_metadata: bool,
}

/// What carries connections to the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    pub kind: ProxyKind,
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
    pub login: Option<Login>,
}

/// Which handshake a proxy wants, and who resolves the upstream's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// `http://`: CONNECT, for plain upstreams too; the proxy resolves.
    Http,
    /// `socks5://`: we resolve.
    Socks5,
    /// `socks5h://`: the proxy resolves.
    Socks5h,
}

/// User and password for a proxy, 1 to 255 bytes each, without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub user: Secret,
    pub password: Secret,
}

/// Who we are to an upstream that asks for a certificate; the key has been found to belong to the first of the chain.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: Arc<PrivateKeyDer<'static>>,
}

impl Proxy {
    /// Reads `http://`, `socks5://` or `socks5h://`, then `[user:password@]host:port`; user and password may be
    /// percent-encoded. The reason of a refusal quotes nothing, because a password may stand anywhere in it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(WRONG_SCHEME)?;
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => ProxyKind::Http,
            "socks5" => ProxyKind::Socks5,
            "socks5h" => ProxyKind::Socks5h,
            _ => return Err(WRONG_SCHEME),
        };
        let (login, address) = match rest.rsplit_once('@') {
            Some((login, address)) => (Some(login_of(login)?), address),
            None => (None, rest),
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        let (host, port) = address.rsplit_once(':').ok_or("has no port, such as :3128 at its end")?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or("has no port from 1 to 65535 at its end")?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let fine = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => is_host(host),
        };
        if !fine {
            return Err("has no host of letters, digits, dots and dashes, nor an IPv6 address in brackets");
        }
        Ok(Self { kind, host: bare.unwrap_or(host).to_ascii_lowercase(), port, login })
    }
}

const WRONG_SCHEME: &str = "has to start with http://, socks5:// or socks5h://";

fn is_host(host: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !host.is_empty() && host.len() <= 253 && host.bytes().all(fine)
}

fn login_of(text: &str) -> Result<Login, &'static str> {
    let (user, password) = text.split_once(':').ok_or("has a user without a password; write user:password@")?;
    let part = |text: &str| {
        let decoded =
            percent_decoded(text).ok_or("has a user or password with a `%` that starts no code such as %40")?;
        if decoded.is_empty() || decoded.len() > 255 || decoded.chars().any(char::is_control) {
            return Err("has a user or password that is empty, longer than 255 bytes or not printable");
        }
        Ok(decoded)
    };
    let (user, password) = (part(user)?, part(password)?);
    if user.contains(':') {
        return Err("has a colon in its user, which no proxy can tell from the password");
    }
    Ok(Login { user: Secret::new(user), password: Secret::new(password) })
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            let [high, low, after @ ..] = after else { return None };
            let digit = |b: &u8| char::from(*b).to_digit(16);
            decoded.push((digit(high)? * 16 + digit(low)?) as u8);
            rest = after;
        } else {
            decoded.push(*first);
            rest = after;
        }
    }
    String::from_utf8(decoded).ok()
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial")
            .field("proxy", &self.proxy)
            .field("roots", &self.roots.len())
            .field("identity", &self.identity)
            .field("allow_private", &self.allow_private)
            .field("allow_metadata", &self.allow_metadata)
            .finish()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_proxy_is_read_with_its_login_decoded() {
        let proxy = Proxy::parse("socks5h://us%40er:p%3Ass@Proxy.corp:1080/").unwrap();

        assert_eq!((proxy.kind, proxy.host.as_str(), proxy.port), (ProxyKind::Socks5h, "proxy.corp", 1080));
        let login = proxy.login.unwrap();
        assert_eq!((login.user.expose(), login.password.expose()), ("us@er", "p:ss"));
        assert_eq!(Proxy::parse("http://[::1]:3128").unwrap().host, "::1");
    }

    #[test]
    fn what_is_no_proxy_is_refused() {
        let bad = ["", "proxy:3128", "https://p:1", "http://p", "http://p:0", "http://:1", "http://u@p:1"];
        let worse = ["http://u:%zz@p:1", "http://u:%0d%0a@p:1", "http://p:1/path", "http://p q:1", "http://[x]:1"];
        for text in bad.into_iter().chain(worse) {
            assert!(Proxy::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_proxy_shows_no_login() {
        let shown = format!("{:?}", Proxy::parse("http://someone:hunter2@p:1").unwrap());

        assert!(!shown.contains("hunter2") && !shown.contains("someone"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(http://)?\\PC{0,24}") {
            _ = Proxy::parse(&text);
        }
    }
}
