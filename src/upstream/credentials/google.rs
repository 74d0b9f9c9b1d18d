//! Google: a token for a service account, asked for with a signed assertion; for a person, with what a login left; for the
//! token of another issuer; or the machine's own from the metadata server.
//!
//! Source: "Using OAuth 2.0 for Server to Server Applications", Google; RFC 7523; AIP-4113; AIP-4117; RFC 8693.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::json;

use super::exchange::{self, Ask};
use super::surroundings::Surroundings;
use crate::config::credential::{AuthorizedUser, ExternalAccount, ServiceAccount};

/// What a token may be used for; Vertex has no narrower one.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Longest life of an assertion that Google takes.
const ASSERTION_FOR: Duration = Duration::from_secs(3600);

/// Returns the question for a token of `account`; `now` is the time since 1970.
pub fn ask(account: &ServiceAccount, now: Duration) -> Result<Ask, String> {
    let assertion = assertion(account, now)?;
    let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    Ok(Ask::form(account.token_url.clone(), &[("grant_type", grant), ("assertion", &assertion)]))
}

/// Returns the question for a token of a person.
pub fn ask_user(user: &AuthorizedUser) -> Ask {
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", user.client_id.as_str()),
        ("client_secret", user.client_secret.expose()),
        ("refresh_token", user.refresh_token.expose()),
    ];
    Ask::form(user.token_url.clone(), &fields)
}

/// Returns the question for a token in exchange for that of another issuer, which is in `file`.
pub fn ask_exchange(account: &ExternalAccount, file: &str) -> Result<Ask, String> {
    let subject = match &account.token_field {
        None => file.trim().to_owned(),
        Some(field) => {
            let read: serde_json::Value = serde_json::from_str(file).unwrap_or_default();
            let token = read.get(field).and_then(|token| token.as_str());
            token.ok_or_else(|| format!("`{}` has no `{field}`", account.token_file))?.to_owned()
        }
    };
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("audience", account.audience.as_str()),
        ("scope", SCOPE),
        ("subject_token_type", account.token_type.as_str()),
        ("subject_token", subject.as_str()),
    ];
    Ok(Ask::form(account.token_url.clone(), &fields))
}

/// Returns the question for a service account's token, by one who may speak for it and shows so by `token`.
pub fn ask_impersonation(url: &str, token: &str) -> Ask {
    Ask::json(url.to_owned(), &json!({ "scope": [SCOPE] })).header("authorization", format!("Bearer {token}"))
}

/// A service account's token, as the service that speaks for it words it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: String,
    expire_time: String,
}

/// Reads a service account's token and when it expires.
pub fn read_impersonated(body: &[u8]) -> Result<(String, SystemTime), String> {
    let token: Impersonated = exchange::json(body)?;
    let expires = humantime::parse_rfc3339(&token.expire_time).map_err(|_| "the expiry of the token is no date")?;
    Ok((token.access_token, expires))
}

/// Returns the question for the token of the machine's own account.
pub fn ask_metadata(surroundings: &Surroundings) -> Ask {
    let host = surroundings.service("GCE_METADATA_HOST", "169.254.169.254");
    let url = format!("{host}/computeMetadata/v1/instance/service-accounts/default/token");
    Ask::get(url).header("metadata-flavor", "Google")
}

/// Returns a JSON Web Token that says who asks, signed by RS256 (RFC 7515).
fn assertion(account: &ServiceAccount, now: Duration) -> Result<String, String> {
    let mut header = json!({ "alg": "RS256", "typ": "JWT" });
    if let Some(key_id) = &account.key_id {
        header["kid"] = key_id.as_str().into();
    }
    let claims = json!({
        "iss": account.email,
        "scope": SCOPE,
        "aud": account.token_url,
        "iat": now.as_secs(),
        "exp": (now + ASSERTION_FOR).as_secs(),
    });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = sign(account, signed.as_bytes()).ok_or("the key of the service account cannot sign")?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn sign(account: &ServiceAccount, message: &[u8]) -> Option<Vec<u8>> {
    let key = PrivateKeyDer::from_pem_slice(account.key.expose().as_bytes()).ok()?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key).ok()?;
    key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])?.sign(message).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bursar_actors::Secret;
    use rustls::pki_types::alg_id;

    use super::*;

    /// Made for these tests; nobody uses it.
    const KEY: &str = include_str!("../../../tests/credentials/key.pem");
    const PUBLIC: &[u8] = include_bytes!("../../../tests/credentials/public.der");

    fn account() -> ServiceAccount {
        ServiceAccount {
            file: "sa.json".into(),
            email: "bursar@project.iam.gserviceaccount.com".into(),
            key_id: Some("k1".into()),
            token_url: "https://oauth2.googleapis.com/token".into(),
            key: Secret::new(KEY.into()),
        }
    }

    #[test]
    fn the_assertion_says_who_asks_for_what_and_its_signature_holds() {
        let assertion = assertion(&account(), Duration::from_secs(1_700_000_000)).unwrap();

        let (signed, signature) = assertion.rsplit_once('.').unwrap();
        let parts: Vec<serde_json::Value> = signed
            .split('.')
            .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect();
        assert_eq!(parts[0], json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
        assert_eq!(
            parts[1],
            json!({
                "iss": "bursar@project.iam.gserviceaccount.com",
                "scope": "https://www.googleapis.com/auth/cloud-platform",
                "aud": "https://oauth2.googleapis.com/token",
                "iat": 1_700_000_000,
                "exp": 1_700_003_600,
            })
        );
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
        let rs256 = algorithms.iter().find(|one| one.signature_alg_id() == alg_id::RSA_PKCS1_SHA256).unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        rs256.verify_signature(PUBLIC, signed.as_bytes(), &signature).unwrap();
        assert!(rs256.verify_signature(PUBLIC, b"other", &signature).is_err());
    }

    #[test]
    fn the_question_carries_the_assertion_and_a_damaged_key_none() {
        let ask = ask(&account(), Duration::ZERO).unwrap();
        let form = ask.body.unwrap().text;

        let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=ey";
        assert!(form.expose().starts_with(grant), "{}", form.expose());
        let damaged = ServiceAccount { key: Secret::new("x".into()), ..account() };
        assert!(super::ask(&damaged, Duration::ZERO).is_err());
    }
}
