//! Who asks: one extractor for every form in which clients send their key.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderName, HeaderValue, ORIGIN};
use bursar_actors::access::Roster;

use crate::call::{Caller, unix_s};
use crate::config::callers::{Callers, KEY_HEADERS};
use crate::config::{Auth, Config};
use crate::error::GatewayError;
use crate::oidc::Issuers;

/// Who is let in.
pub struct ClientKeys {
    roster: Arc<Roster>,
    issuers: Arc<Issuers>,
    auth: Auth,
}

impl ClientKeys {
    /// Lets in whoever is in `roster`, or has a token of one of `issuers`, by the rules of `config`.
    pub fn new(roster: Arc<Roster>, issuers: Arc<Issuers>, config: &Config) -> Self {
        Self { roster, issuers, auth: config.auth.clone() }
    }

    /// Returns where callers say who they are.
    pub fn callers(&self) -> &Callers {
        &self.auth.callers
    }

    /// Returns how many keys there are.
    pub fn count(&self) -> usize {
        self.roster.keys()
    }

    /// Returns whether a request without a good key is refused.
    pub fn are_required(&self) -> bool {
        self.auth.require_key || (self.auth.unless_keyless && self.roster.keys() > 0)
    }

    /// Returns who sent `request`. Where no key is required, an unknown one counts as none; see [`Roster::find`].
    pub fn authenticate(&self, request: &HttpRequest) -> Result<Caller, GatewayError> {
        match presented_in(&self.auth.callers.accept, request).and_then(|key| self.known(key, unix_s().unsigned_abs()))
        {
            Some(caller) => {
                let address = request.peer_addr().map(|peer| peer.ip());
                if !caller.scope().is_none_or(|scope| scope.admits_from(address)) {
                    return Err(GatewayError::NetworkNotAllowed { address });
                }
                Ok(caller)
            }
            None if self.are_required() => Err(GatewayError::InvalidApiKey),
            // Any page that the operator's browser shows could otherwise spend the provider keys.
            None if is_foreign(request) => Err(GatewayError::ForeignOrigin),
            None => Ok(Caller::default()),
        }
    }

    /// Returns who sent `key` at `now_s`, in seconds since 1970: a client key, else a token of an issuer.
    fn known(&self, key: &str, now_s: u64) -> Option<Caller> {
        if let Some(identity) = self.roster.find(key, now_s) {
            return Some(Caller::of(identity));
        }
        let bearer = self.issuers.verify(key, now_s)?;
        let identity = bearer.identity(&self.roster.of_team(bearer.team.as_ref()?)?);
        Some(Caller::of(identity).named(bearer.user.clone()))
    }
}

/// Returns whether a browser sends the request for a page that is not of this machine.
fn is_foreign(request: &HttpRequest) -> bool {
    let Some(origin) = request.headers().get(ORIGIN) else { return false };
    let host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let name =
        host.map(|host| host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(host, |(name, _)| name));
    !name.is_some_and(|name| name == "localhost" || name == "[::1]" || is_loopback(name))
}

fn is_loopback(name: &str) -> bool {
    name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// Returns the key as the client sent it, in whichever header.
pub fn presented(request: &HttpRequest) -> Option<&str> {
    presented_in(&KEY_HEADERS, request)
}

fn presented_in<'r>(accepted: &[HeaderName], request: &'r HttpRequest) -> Option<&'r str> {
    key_in(accepted, |name| request.headers().get(name).map(HeaderValue::as_bytes))
}

/// Returns the key in the first of the `accepted` headers that has one.
///
/// An empty bearer token does not hide a key in another header: SDKs send one where theirs is set to "".
pub fn key_in<'h>(accepted: &[HeaderName], header: impl Fn(&HeaderName) -> Option<&'h [u8]>) -> Option<&'h str> {
    let text = |name: &HeaderName| {
        let value = header(name)?;
        let visible = value.iter().all(|&byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
        std::str::from_utf8(value).ok().filter(|_| visible)
    };
    let key = |text: &'h str| Some(text.trim()).filter(|key| !key.is_empty());
    let bearer = |text: &'h str| {
        let (scheme, rest) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key(rest))?
    };
    accepted.iter().find_map(|name| if *name == AUTHORIZATION { bearer(text(name)?) } else { key(text(name)?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn a_key_is_found_in_every_header_that_sdks_use() {
        for (name, value) in [
            ("authorization", "Bearer sk-1"),
            ("authorization", "bearer  sk-1 "),
            ("x-api-key", "sk-1"),
            ("api-key", "sk-1"),
            ("x-goog-api-key", "sk-1"),
        ] {
            let request = TestRequest::default().insert_header((name, value)).to_http_request();
            assert_eq!(presented(&request), Some("sk-1"), "{name}: {value}");
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        for (name, value) in [("authorization", "Bearer "), ("authorization", "Basic eDp5"), ("x-other", "sk-1")] {
            let request = TestRequest::default().insert_header((name, value)).to_http_request();
            assert_eq!(presented(&request), None, "{name}: {value}");
        }
    }

    #[test]
    fn a_key_in_a_header_that_is_not_accepted_is_none() {
        let request = TestRequest::default().insert_header(("api-key", "sk-1")).to_http_request();
        let [bearer, _, azure, _] = &KEY_HEADERS;

        assert_eq!(presented_in(std::slice::from_ref(azure), &request), Some("sk-1"));
        assert_eq!(presented_in(std::slice::from_ref(bearer), &request), None);
    }

    #[test]
    fn an_empty_bearer_token_does_not_hide_a_key_in_another_header() {
        let request =
            TestRequest::default().insert_header(("authorization", "Bearer ")).insert_header(("api-key", "sk-1"));

        assert_eq!(presented(&request.to_http_request()), Some("sk-1"));
    }

    #[test]
    fn pages_of_this_machine_are_told_from_others() {
        let foreign =
            |origin: &str| is_foreign(&TestRequest::default().insert_header((ORIGIN, origin)).to_http_request());

        for own in ["http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:8080", "https://localhost"] {
            assert!(!foreign(own), "{own}");
        }
        for other in ["https://example.com", "http://127.evil.example", "null", "http://localhost.evil.example:80"] {
            assert!(foreign(other), "{other}");
        }
        assert!(!is_foreign(&TestRequest::default().to_http_request()));
    }
}
