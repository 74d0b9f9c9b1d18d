//! What a call is made with: the key itself, or what its credential stands for now.

use std::future::Future;
use std::time::{Duration, Instant};

use bursar_actors::{ErrorClass, Secret};

use super::credentials::{CredentialId, Kind, Minted};
use super::{Failure, Reply, Upstream};

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
        call: impl Fn(Option<Secret>) -> F,
    ) -> Result<Reply, Failure> {
        let Some(id) = secret.and_then(CredentialId::of) else { return call(secret.cloned()).await };
        let store = &self.credentials;
        let minted = store.current(&id).ok_or_else(|| store.pending(&id, None))?;
        let refused = match call(Some(bearer(&minted)?)).await {
            Err(failure) if refuses_token(&failure) => failure,
            answered => return answered,
        };
        store.suspect(&id, &minted);
        let by = head_by.min(Instant::now() + RENEWED_WITHIN);
        let renewed = tokio::time::timeout_at(by.into(), store.renewed(&id, &minted)).await;
        let Ok(Some(other)) = renewed else { return Err(store.pending(&id, Some(refused))) };
        match call(Some(bearer(&other)?)).await {
            Err(failure) if refuses_token(&failure) => {
                store.suspect(&id, &other);
                Err(store.pending(&id, Some(failure)))
            }
            answered => answered,
        }
    }
}

/// Returns the token to send. Keys of AWS are no token but sign the request; a call that is signed takes them from the
/// store itself and does not come here.
fn bearer(minted: &Minted) -> Result<Secret, Failure> {
    match &minted.kind {
        Kind::Bearer(token) => Ok(token.clone()),
        Kind::Aws { .. } => {
            let why = "keys of AWS sign calls, and calls to this kind of provider are not signed";
            Err(Failure::plain(ErrorClass::ConfigMissing, why))
        }
    }
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
    use std::time::SystemTime;

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
