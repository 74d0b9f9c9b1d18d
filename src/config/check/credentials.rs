//! The keys of `[[providers.<id>.keys]]` that say how a credential that expires is come by: `google`, `entra`, `aws`.

use std::io::Read;

use bursar_actors::Secret;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use super::Checker;
use super::providers::plain_key;
use crate::config::credential::{Aws, Credential, ENTRA_AUTHORITY, ENTRA_SCOPE, Entra, Google, ServiceAccount};
use crate::config::fault::{Fault, nearest};
use crate::config::layer::child;
use crate::config::raw::{RawAws, RawEntra, RawGoogle, RawKey};
use crate::config::word_or::WordOr;
use crate::config::{ProviderKey, units};

/// Largest key file of a service account in bytes; usual ones have about 2,400.
const FILE_MAX: u64 = 64 * 1024;
/// Where Google gives tokens, unless the file says otherwise.
const GOOGLE_TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const AWS_WORDS: [&str; 4] = ["environment", "container", "instance", "profile:NAME"];

/// Returns whether the key has something in place of a value.
pub fn has_credential(raw: &RawKey) -> bool {
    raw.google.is_some() || raw.entra.is_some() || raw.aws.is_some()
}

/// Checks a key with a credential in place of a value.
pub fn minted_key(checker: &mut Checker<'_>, path: &str, id: &str, raw: &RawKey) -> Option<ProviderKey> {
    let given = [
        ("value", raw.value.is_some()),
        ("google", raw.google.is_some()),
        ("entra", raw.entra.is_some()),
        ("aws", raw.aws.is_some()),
    ];
    let given: Vec<&str> = given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
    if given.len() > 1 {
        let message = format!("{path} has {}; keep one of them", given.join(" and "));
        checker.fault(&child(path, given[1]), message);
    }
    if raw.optional.is_some() {
        let here = child(path, "optional");
        checker.fault(&here, format!("{here} is only for a key with a value; remove it"));
    }
    let google = raw.google.as_ref().map(|raw| google(checker, &child(path, "google"), raw));
    let entra = raw.entra.as_ref().map(|raw| entra(checker, &child(path, "entra"), raw));
    let aws = raw.aws.as_ref().map(|raw| aws(checker, &child(path, "aws"), raw));
    let credential = google.or(entra).or(aws)??;
    let placeholder = credential.placeholder();
    Some(ProviderKey { credential: Some(credential), ..plain_key(id, placeholder.expose()) })
}

fn google(checker: &mut Checker<'_>, path: &str, raw: &WordOr<RawGoogle>) -> Option<Credential> {
    let raw = match raw {
        WordOr::Word(word) if word == "metadata" => return Some(Credential::Google(Google::Metadata)),
        WordOr::Word(word) => {
            no_such_word(checker, path, word, &["metadata"], "{ service_account = \"file.json\" }");
            return None;
        }
        WordOr::Table(raw) => raw,
    };
    let Some(file) = &raw.service_account else {
        checker.missing(path, "service_account", "the JSON file that Google gave for the account's key");
        return None;
    };
    let account = service_account(checker, &child(path, "service_account"), file)?;
    Some(Credential::Google(Google::ServiceAccount(account)))
}

/// What is needed of a key file.
#[derive(Deserialize)]
struct KeyFile {
    #[serde(rename = "type")]
    kind: Option<String>,
    client_email: Option<String>,
    private_key: Option<String>,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

fn service_account(checker: &mut Checker<'_>, path: &str, file: &str) -> Option<ServiceAccount> {
    let mut text = zeroize::Zeroizing::new(Vec::new());
    let read = std::fs::File::open(file).and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut text));
    let why = match read {
        Err(error) => format!("cannot be read: {}", error.kind()),
        Ok(_) if text.len() as u64 > FILE_MAX => "is larger than 64 KiB; that is no key file".to_owned(),
        Ok(_) => match account_of(&text) {
            Ok(account) => return Some(ServiceAccount { file: file.to_owned(), ..account }),
            Err(why) => why.to_owned(),
        },
    };
    checker.fault(path, format!("{path}: `{file}` {why}"));
    None
}

/// Reads a key file. The reason of a refusal quotes nothing of it.
fn account_of(text: &[u8]) -> Result<ServiceAccount, &'static str> {
    let file: KeyFile = serde_json::from_slice(text).map_err(|_| "is no JSON with the key of a service account")?;
    if file.kind.is_some_and(|kind| kind != "service_account") {
        return Err("is of another type than service_account");
    }
    let email = file.client_email.ok_or("has no client_email")?;
    let key = Secret::new(file.private_key.ok_or("has no private_key")?);
    let der = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| "has a private_key that is no PEM")?;
    let signer = rustls::crypto::ring::sign::any_supported_type(&der);
    let signer = signer.map_err(|_| "has a private_key that cannot be used: damaged, or of an unknown kind")?;
    if signer.algorithm() != rustls::SignatureAlgorithm::RSA {
        return Err("has a private_key that is no RSA key");
    }
    let token_url = file.token_uri.unwrap_or_else(|| GOOGLE_TOKEN_URL.to_owned());
    let token_url = units::base_url(&token_url).map_err(|_| "has a token_uri that is no URL")?;
    Ok(ServiceAccount { file: String::new(), email, key_id: file.private_key_id, token_url, key })
}

fn entra(checker: &mut Checker<'_>, path: &str, raw: &WordOr<RawEntra>) -> Option<Credential> {
    let raw = match raw {
        WordOr::Word(word) if word == "managed" => return Some(Credential::Entra(Entra::Managed)),
        WordOr::Word(word) => {
            no_such_word(checker, path, word, &["managed"], "{ tenant = ..., client_id = ..., client_secret = ... }");
            return None;
        }
        WordOr::Table(raw) => raw,
    };
    let tenant = required(checker, path, "tenant", raw.tenant.as_ref(), "the directory's id or domain");
    let client_id = required(checker, path, "client_id", raw.client_id.as_ref(), "the application's id");
    let help = "usually a reference, such as client_secret = \"${AZURE_CLIENT_SECRET}\"";
    let client_secret = required(checker, path, "client_secret", raw.client_secret.as_ref(), help);
    let in_path = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if let Some(tenant) = tenant.as_deref().filter(|tenant| !tenant.bytes().all(in_path)) {
        let here = child(path, "tenant");
        let fault = Fault::error(format!("{here} is `{tenant}`, which is no id and no domain"));
        checker.report(&here, fault.help("it looks like 8a4c…-…-…, or contoso.onmicrosoft.com"));
    }
    let authority = match &raw.authority {
        None => ENTRA_AUTHORITY.to_owned(),
        Some(text) => units::base_url(text).unwrap_or_else(|why| {
            let here = child(path, "authority");
            checker.fault(&here, format!("{here} {why}"));
            String::new()
        }),
    };
    let scope = raw.scope.clone().unwrap_or_else(|| ENTRA_SCOPE.to_owned());
    let client_secret = Secret::new(client_secret?);
    Some(Credential::Entra(Entra::Client { tenant: tenant?, client_id: client_id?, client_secret, scope, authority }))
}

fn aws(checker: &mut Checker<'_>, path: &str, raw: &WordOr<RawAws>) -> Option<Credential> {
    let raw = match raw {
        WordOr::Table(raw) => raw,
        WordOr::Word(word) => {
            let aws = match (word.as_str(), word.strip_prefix("profile:").map(str::trim)) {
                ("environment", _) => Aws::Environment,
                ("container", _) => Aws::Container,
                ("instance", _) => Aws::Instance,
                (_, Some(name)) if !name.is_empty() => Aws::Profile(name.to_owned()),
                _ => {
                    let table = "{ access_key_id = ..., secret_access_key = ... }";
                    no_such_word(checker, path, word, &AWS_WORDS, table);
                    return None;
                }
            };
            return Some(Credential::Aws(aws));
        }
    };
    let help = "it begins with AKIA or ASIA; aws = \"environment\" reads all of them from the environment";
    let access_key_id = required(checker, path, "access_key_id", raw.access_key_id.as_ref(), help);
    let help = "usually a reference, such as secret_access_key = \"${AWS_SECRET_ACCESS_KEY}\"";
    let secret = required(checker, path, "secret_access_key", raw.secret_access_key.as_ref(), help);
    let session_token = raw.session_token.as_ref().map(|token| token.trim()).filter(|token| !token.is_empty());
    Some(Credential::Aws(Aws::Static {
        access_key_id: access_key_id?,
        secret_access_key: Secret::new(secret?),
        session_token: session_token.map(|token| Secret::new(token.to_owned())),
    }))
}

/// Returns the text at `key`, which has to be there and to consist of characters that such things have.
fn required(
    checker: &mut Checker<'_>,
    path: &str,
    key: &str,
    text: Option<&String>,
    help: &'static str,
) -> Option<String> {
    let Some(text) = text else {
        checker.missing(path, key, help);
        return None;
    };
    let (here, text) = (child(path, key), text.trim());
    if text.is_empty() {
        checker.report(&here, Fault::error(format!("{here} is empty")).help(help));
        return None;
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        checker.fault(&here, format!("{here} has spaces or other characters that do not belong there"));
        return None;
    }
    Some(text.to_owned())
}

/// Reports a word that is none of `known`, without showing it: it may be a key in the wrong place.
fn no_such_word(checker: &mut Checker<'_>, path: &str, word: &str, known: &[&'static str], table: &str) {
    let near = nearest(word, known.iter().copied()).map(|near| format!(" (did you mean \"{near}\"?)"));
    let fault = Fault::error(format!("{path} is a word that is not known"));
    let known = known.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    checker.report(path, fault.help(format!("known: {known}, or {table}{}", near.unwrap_or_default())));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::config::load::{Sources, load};
    use crate::config::settings::settings;

    const KEY: &str = include_str!("../../../tests/credentials/key.pem");

    /// One provider with these keys, in a folder that holds `sa.json`.
    fn sources(keys: &str) -> (tempfile::TempDir, Sources) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sa.json");
        let account = serde_json::json!({ "type": "service_account", "client_email": "a@b", "private_key": KEY });
        std::fs::write(&file, account.to_string()).unwrap();
        std::fs::write(folder.path().join("wrong.json"), r#"{"client_email":"a@b","private_key":"hunter2"}"#).unwrap();
        let keys = keys.replace("FOLDER", folder.path().to_str().unwrap());
        let text = format!("[providers.p]\nkind = 'openai_compatible'\nbase_url = 'http://a/v1'\nkeys = [\n{keys}]\n");
        std::fs::write(folder.path().join("bursar.toml"), text).unwrap();
        let (working_dir, system_file) = (folder.path().to_owned(), folder.path().join("none.toml"));
        let environment = vec![("SECRET".to_owned(), "hunter2".to_owned())];
        (folder, Sources { working_dir, system_file, environment, ..Sources::default() })
    }

    fn faults(keys: &str) -> Vec<String> {
        let (_folder, sources) = sources(keys);
        let faults = load(&sources).err();
        faults.map(|faults| faults.iter().map(|fault| fault.one_line()).collect()).unwrap_or_default()
    }

    #[test]
    fn each_way_to_a_credential_is_read_and_shown_without_its_secrets() {
        let (_folder, sources) = sources(
            "{ id = 'a', google = 'metadata' },\n{ id = 'b', google = { service_account = 'FOLDER/sa.json' }, weight = 2 },\n\
             { id = 'c', entra = 'managed' },\n{ id = 'd', entra = { tenant = 't', client_id = 'c', client_secret = '${SECRET}' } },\n\
             { id = 'e', aws = { access_key_id = 'hunter2', secret_access_key = 'hunter2', session_token = 'hunter2' } },\n\
             { id = 'f', aws = 'environment' },\n{ id = 'g', aws = 'profile:dev' },\n{ id = 'h', aws = 'container' },\n\
             { id = 'i', aws = 'instance' },\n",
        );

        let config = load(&sources).unwrap_or_else(|faults| panic!("{faults}"));

        let keys = &config.providers["p"].keys;
        assert!(keys.iter().all(|key| key.credential.is_some()) && keys.len() == 9);
        assert_eq!(keys[1].weight, 2);
        let shown: Vec<_> = settings(&config)
            .into_iter()
            .filter(|setting| setting.path.contains(".keys.") && setting.origin != "default")
            .map(|setting| format!("{} {}", setting.path.trim_start_matches("providers.p.keys."), setting.value))
            .collect();
        for line in [
            "a.google metadata",
            "d.entra.client_secret …",
            "d.entra.tenant t",
            "e.aws.session_token …",
            "g.aws profile:dev",
        ] {
            assert!(shown.iter().any(|shown| shown == line), "{line} is not in {shown:#?}");
        }
        let all = format!("{shown:?} {config:?}");
        assert!(!all.contains("hunter2") && !all.contains("PRIVATE KEY"), "{all}");
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let faults = faults(
            "{ id = 'a', value = 'x', entra = 'managed' },\n{ id = 'b', google = 'metadta' },\n{ id = 'c', entra = { tenant = 'a/b', client_id = 'c' } },\n\
             { id = 'd', aws = { access_key = 'x' } },\n{ id = 'e', aws = 'AKIAHUNTER' },\n{ id = 'f', google = { service_account = 'none.json' } },\n\
             { id = 'g', aws = 'container', optional = true },\n{ id = 'h', google = { service_account = 'FOLDER/wrong.json' } },\n",
        );

        let told = faults.join("\n");
        for part in [
            "bursar.toml:5:34: providers.p.keys[0] has value and entra; keep one of them",
            "bursar.toml:6:22: providers.p.keys[1].google is a word that is not known",
            "(did you mean \"metadata\"?)",
            "bursar.toml:7:32: providers.p.keys[2].entra.tenant is `a/b`, which is no id and no domain",
            "providers.p.keys[2].entra has no `client_secret`",
            "unknown key `access_key` in providers.p.keys[3].aws; did you mean `access_key_id`?",
            "providers.p.keys[4].aws is a word that is not known; known: \"environment\", \"container\"",
            "providers.p.keys[5].google.service_account: `none.json` cannot be read",
            "providers.p.keys[6].optional is only for a key with a value",
            "has a private_key that is no PEM",
        ] {
            assert!(told.contains(part), "{part}\nis not in\n{told}");
        }
        assert!(!told.contains("HUNTER") && !told.contains("hunter2"), "{told}");
        assert_eq!(faults.len(), 9, "{told}");
    }
}
