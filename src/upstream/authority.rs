//! What a call is made with: the key itself, or what its credential stands for now.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use awc::http::Uri;
use awc::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use bursar_actors::{ErrorClass, Secret};
use zeroize::Zeroizing;

use super::credentials::{CredentialId, Kind, Minted};
use super::format::Auth;
use super::{Failure, Reply, Upstream};
use crate::providers::bedrock::sigv4::{AwsCredentials, SigningInput, sign};

/// Longest wait of a call for a credential in place of one that was refused.
const RENEWED_WITHIN: Duration = Duration::from_secs(3);

impl Upstream {
    /// Makes `call` with the token that `secret` stands for, or with `secret` itself where it is an ordinary key.
    ///
    /// A token that the upstream refuses is minted anew, and the call goes out once more with the next one. The key is
    /// never at fault: what remains is [`ErrorClass::CredentialPending`].
    pub(super) async fn authorized<F: Future<Output = Result<Reply, Failure>>>(
        &self,
        secret: Option<&Secret>,
        head_by: Instant,
        call: impl Fn(Option<Proof>) -> F,
    ) -> Result<Reply, Failure> {
        let Some(id) = secret.and_then(CredentialId::of) else { return call(secret.cloned().map(Proof::Key)).await };
        let store = &self.credentials;
        let minted = store.current(&id).ok_or_else(|| store.pending(&id, None))?;
        let refused = match call(Some(Proof::Minted(minted.clone()))).await {
            Err(failure) if refuses_token(&failure) => failure,
            answered => return answered,
        };
        store.suspect(&id, &minted);
        let by = head_by.min(Instant::now() + RENEWED_WITHIN);
        let renewed = tokio::time::timeout_at(by.into(), store.renewed(&id, &minted)).await;
        let Ok(Some(other)) = renewed else { return Err(store.pending(&id, Some(refused))) };
        match call(Some(Proof::Minted(other.clone()))).await {
            Err(failure) if refuses_token(&failure) => {
                store.suspect(&id, &other);
                Err(store.pending(&id, Some(failure)))
            }
            answered => answered,
        }
    }
}

/// What shows an upstream who calls.
#[derive(Clone)]
pub(super) enum Proof {
    Key(Secret),
    Minted(Arc<Minted>),
}

impl Proof {
    /// Puts it where the upstream wants to see it: into a header, or as a signature over the call.
    pub(super) fn show(
        &self,
        headers: &mut HeaderMap,
        auth: &Auth,
        method: &str,
        uri: &Uri,
        body: &[u8],
    ) -> Result<(), Failure> {
        let (name, text) = match (self, auth) {
            (Self::Minted(minted), auth) => match (&minted.kind, auth) {
                // Azure takes Entra's tokens where it takes no key.
                (Kind::Bearer(token), _) => (AUTHORIZATION, format!("Bearer {}", token.expose())),
                (Kind::Aws { .. }, Auth::Aws { region }) => {
                    let call = Signed { method, uri, body, region };
                    return call.sign(headers, &minted.kind);
                }
                (Kind::Aws { .. }, _) => {
                    let why = "keys of AWS sign calls, and calls to this kind of provider are not signed";
                    return Err(Failure::plain(ErrorClass::ConfigMissing, why));
                }
            },
            (Self::Key(key), Auth::Header(name)) => (name.clone(), key.expose().to_owned()),
            (Self::Key(key), Auth::Bearer | Auth::Aws { .. }) => (AUTHORIZATION, format!("Bearer {}", key.expose())),
        };
        put(headers, name, &text)
    }
}

/// A call as it is signed.
struct Signed<'a> {
    method: &'a str,
    uri: &'a Uri,
    body: &'a [u8],
    region: &'a str,
}

impl Signed<'_> {
    fn sign(&self, headers: &mut HeaderMap, keys: &Kind) -> Result<(), Failure> {
        let Kind::Aws { access_key_id, secret_access_key, session_token } = keys else { return Ok(()) };
        let own = |secret: &Secret| Zeroizing::new(secret.expose().to_owned());
        let credentials = AwsCredentials {
            access_key_id: access_key_id.expose().to_owned(),
            secret_access_key: own(secret_access_key),
            session_token: session_token.as_ref().map(own),
        };
        let host = match (self.uri.host().unwrap_or_default(), self.uri.port_u16()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        };
        let input = SigningInput {
            method: self.method,
            host: &host,
            path: self.uri.path(),
            query: self.uri.query().unwrap_or_default(),
            headers: &[],
            body: self.body,
            region: self.region,
            service: "bedrock",
        };
        for (name, value) in sign(&input, &credentials, SystemTime::now()) {
            put(headers, HeaderName::from_static(name), &value)?;
        }
        Ok(())
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, text: &str) -> Result<(), Failure> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Failure::plain(ErrorClass::AuthInvalid, "the provider key holds characters that no header may carry")
    })?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// Returns whether the upstream refused the token rather than the request. AWS says so with a 403.
fn refuses_token(failure: &Failure) -> bool {
    let texts = [Some(&failure.message), failure.code.as_ref(), failure.kind.as_ref()];
    let expired = || texts.into_iter().flatten().any(|text| text.to_ascii_lowercase().contains("expired"));
    failure.class == ErrorClass::AuthInvalid || (failure.status == Some(403) && expired())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::judge::judge_status;

    fn refused(status: u16, message: &str) -> bool {
        let body = serde_json::json!({ "message": message }).to_string();
        refuses_token(&judge_status(status, &|_| None, body.as_bytes(), SystemTime::UNIX_EPOCH))
    }

    #[test]
    fn a_refused_token_is_told_from_a_refused_request() {
        assert!(refused(401, "Request had invalid authentication credentials."));
        assert!(refused(403, "The security token included in the request is expired"));
        assert!(!refused(403, "You don't have access to the model"));
        assert!(!refused(400, "the link to the image has expired"));
        assert!(!refused(500, "the session has expired"));
    }
}
