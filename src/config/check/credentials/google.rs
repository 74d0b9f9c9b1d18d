//! `google`: the metadata server of the machine, or one of the three files that Google's tools write.
//!
//! Source: "How Application Default Credentials works", Google Cloud; AIP-4112, AIP-4113 and AIP-4117 for the files.

use std::io::Read;

use bursar_actors::Secret;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use super::no_such_word;
use crate::config::check::Checker;
use crate::config::credential::{AuthorizedUser, Credential, ExternalAccount, Google, ServiceAccount};
use crate::config::layer::child;
use crate::config::raw::RawGoogle;
use crate::config::units;
use crate::config::word_or::WordOr;

/// Largest file in bytes; usual ones have about 2,400.
const FILE_MAX: u64 = 64 * 1024;
/// Where Google gives tokens, unless the file says otherwise.
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

pub fn google(checker: &mut Checker<'_>, path: &str, raw: &WordOr<RawGoogle>) -> Option<Credential> {
    let raw = match raw {
        WordOr::Word(word) if word == "metadata" => return Some(Credential::Google(Google::Metadata)),
        WordOr::Word(word) => {
            let table = "{ service_account = \"file.json\" }, or { credentials = \"file.json\" }";
            no_such_word(checker, path, word, &["metadata"], table);
            return None;
        }
        WordOr::Table(raw) => raw,
    };
    let (key, file) = match (&raw.service_account, &raw.credentials) {
        (Some(_), Some(_)) => {
            checker.fault(path, format!("{path} has service_account and credentials; keep one of them"));
            return None;
        }
        (Some(file), None) => ("service_account", file),
        (None, Some(file)) => ("credentials", file),
        (None, None) => {
            let help = "the JSON file that Google gave for the account's key; or credentials = \"file.json\" for any \
                        file of application default credentials";
            checker.missing(path, "service_account", help);
            return None;
        }
    };
    let here = child(path, key);
    match read(file).and_then(|text| credential_of(file, &text)) {
        Ok(other) if key == "service_account" && !matches!(other, Google::ServiceAccount(_)) => {
            let why = "is of another type than service_account; name it by `credentials`, which takes every type";
            checker.fault(&here, format!("{here}: `{file}` {why}"));
            None
        }
        Ok(google) => Some(Credential::Google(google)),
        Err(why) => {
            checker.fault(&here, format!("{here}: `{file}` {why}"));
            None
        }
    }
}

fn read(file: &str) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    let mut text = zeroize::Zeroizing::new(Vec::new());
    let read = std::fs::File::open(file).and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut text));
    match read {
        Err(error) => Err(format!("cannot be read: {}", error.kind())),
        Ok(_) if text.len() as u64 > FILE_MAX => Err("is larger than 64 KiB; that is no key file".to_owned()),
        Ok(_) => Ok(text),
    }
}

/// What is needed of any of the files.
#[derive(Deserialize)]
struct CredentialFile {
    #[serde(rename = "type")]
    kind: Option<String>,
    // service_account
    client_email: Option<String>,
    private_key: Option<String>,
    private_key_id: Option<String>,
    token_uri: Option<String>,
    // authorized_user
    client_id: Option<String>,
    client_secret: Option<String>,
    refresh_token: Option<String>,
    // external_account
    audience: Option<String>,
    subject_token_type: Option<String>,
    token_url: Option<String>,
    service_account_impersonation_url: Option<String>,
    credential_source: Option<TokenSource>,
}

#[derive(Deserialize)]
struct TokenSource {
    file: Option<String>,
    format: Option<TokenFormat>,
}

#[derive(Deserialize)]
struct TokenFormat {
    #[serde(rename = "type")]
    kind: Option<String>,
    subject_token_field_name: Option<String>,
}

/// Reads a file. The reason of a refusal quotes nothing of it.
fn credential_of(file: &str, text: &[u8]) -> Result<Google, String> {
    let read: CredentialFile =
        serde_json::from_slice(text).map_err(|_| "is no JSON with credentials of Google".to_owned())?;
    let google = match read.kind.as_deref() {
        None | Some("service_account") => service_account(file, read).map(Google::ServiceAccount),
        Some("authorized_user") => authorized_user(file, read).map(Google::AuthorizedUser),
        Some("external_account") => external_account(file, read).map(Google::ExternalAccount),
        Some(_) => Err("is of a type that is not known; known: service_account, authorized_user, external_account"),
    };
    google.map_err(str::to_owned)
}

fn service_account(file: &str, read: CredentialFile) -> Result<ServiceAccount, &'static str> {
    let email = read.client_email.ok_or("has no client_email")?;
    let key = Secret::new(read.private_key.ok_or("has no private_key")?);
    let der = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| "has a private_key that is no PEM")?;
    let signer = rustls::crypto::ring::sign::any_supported_type(&der);
    let signer = signer.map_err(|_| "has a private_key that cannot be used: damaged, or of an unknown kind")?;
    if signer.algorithm() != rustls::SignatureAlgorithm::RSA {
        return Err("has a private_key that is no RSA key");
    }
    let token_url = url(read.token_uri, "has a token_uri that is no URL")?;
    Ok(ServiceAccount { file: file.to_owned(), email, key_id: read.private_key_id, token_url, key })
}

fn authorized_user(file: &str, read: CredentialFile) -> Result<AuthorizedUser, &'static str> {
    Ok(AuthorizedUser {
        file: file.to_owned(),
        client_id: read.client_id.ok_or("has no client_id")?,
        client_secret: Secret::new(read.client_secret.ok_or("has no client_secret")?),
        refresh_token: Secret::new(read.refresh_token.ok_or("has no refresh_token")?),
        token_url: url(read.token_uri, "has a token_uri that is no URL")?,
    })
}

fn external_account(file: &str, read: CredentialFile) -> Result<ExternalAccount, &'static str> {
    let source = read.credential_source.ok_or("has no credential_source")?;
    let token_file = source.file.ok_or(
        "has a credential_source that is no file; only tokens in files are supported, so let something write the token \
         to a file (gcloud: --credential-source-file)",
    )?;
    let token_field = match source.format {
        Some(TokenFormat { kind: Some(kind), subject_token_field_name: field }) if kind == "json" => {
            Some(field.ok_or("has a credential_source.format without subject_token_field_name")?)
        }
        _ => None,
    };
    let impersonation_url = read.service_account_impersonation_url;
    let token_url = read.token_url.ok_or("has no token_url")?;
    Ok(ExternalAccount {
        file: file.to_owned(),
        audience: read.audience.ok_or("has no audience")?,
        token_type: read.subject_token_type.ok_or("has no subject_token_type")?,
        token_url: url(Some(token_url), "has a token_url that is no URL")?,
        token_file,
        token_field,
        impersonation_url: impersonation_url
            .map(|text| url(Some(text), "has a service_account_impersonation_url that is no URL"))
            .transpose()?,
    })
}

fn url(given: Option<String>, why: &'static str) -> Result<String, &'static str> {
    given.map_or_else(|| Ok(TOKEN_URL.to_owned()), |text| units::base_url(&text).map_err(|_| why))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_persons_credentials_and_a_federated_token_are_read() {
        let user = br#"{"type":"authorized_user","client_id":"c","client_secret":"s","refresh_token":"r"}"#;
        let external = br#"{"type":"external_account","audience":"//iam/x","subject_token_type":"urn:jwt",
            "token_url":"https://sts.googleapis.com/v1/token","service_account_impersonation_url":"https://iam/x:go",
            "credential_source":{"file":"/t","format":{"type":"json","subject_token_field_name":"id_token"}}}"#;

        let Google::AuthorizedUser(user) = credential_of("f", user).unwrap() else { panic!("no user") };
        let Google::ExternalAccount(external) = credential_of("f", external).unwrap() else { panic!("not federated") };

        assert_eq!((user.refresh_token.expose(), user.token_url.as_str()), ("r", TOKEN_URL));
        assert_eq!((external.token_file.as_str(), external.token_field.as_deref()), ("/t", Some("id_token")));
        assert_eq!(external.impersonation_url.as_deref(), Some("https://iam/x:go"));
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_being_shown() {
        for (file, why) in [
            ("hunter2", "is no JSON"),
            (r#"{"type":"hunter2"}"#, "is of a type that is not known"),
            (r#"{"type":"authorized_user","client_id":"hunter2"}"#, "has no client_secret"),
            (r#"{"type":"external_account","audience":"hunter2"}"#, "has no credential_source"),
            (r#"{"type":"external_account","credential_source":{"environment_id":"aws1"}}"#, "only tokens in files"),
            (
                r#"{"type":"external_account","credential_source":{"file":"/t","format":{"type":"json"}}}"#,
                "without subject_token_field_name",
            ),
        ] {
            let told = credential_of("f", file.as_bytes()).unwrap_err();

            assert!(told.contains(why) && !told.contains("hunter2"), "{told}");
        }
    }
}
