//! The keys of `[[providers.<id>.keys]]` that say how a credential that expires is come by: `google`, `entra`, `aws`.

mod aws;
mod google;

use bursar_actors::Secret;

use super::Checker;
use super::providers::plain_key;
use crate::config::credential::{Credential, ENTRA_AUTHORITY, ENTRA_SCOPE, Entra};
use crate::config::fault::{Fault, nearest};
use crate::config::layer::child;
use crate::config::raw::{RawEntra, RawKey, RawProvider};
use crate::config::word_or::WordOr;
use crate::config::{ProviderKey, ProviderKind, units};

/// Returns whether the key has something in place of a value.
pub fn has_credential(raw: &RawKey) -> bool {
    raw.google.is_some() || raw.entra.is_some() || raw.aws.is_some()
}

/// Checks a key with a credential in place of a value.
pub fn minted_key(
    checker: &mut Checker<'_>,
    path: &str,
    id: &str,
    raw: &RawKey,
    provider: &RawProvider,
) -> Option<ProviderKey> {
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
    if let (Some(kind), [name]) = (provider.kind, given.as_slice()) {
        fits(checker, &child(path, name), name, kind);
    }
    let google = raw.google.as_ref().map(|raw| google::google(checker, &child(path, "google"), raw));
    let entra = raw.entra.as_ref().map(|raw| entra(checker, &child(path, "entra"), raw));
    let aws = raw.aws.as_ref().map(|raw| aws::aws(checker, &child(path, "aws"), raw, provider.region.as_deref()));
    let credential = google.or(entra).or(aws)??;
    let placeholder = credential.placeholder();
    Some(ProviderKey { credential: Some(credential), ..plain_key(id, placeholder.expose()) })
}

/// Reports a credential that this kind of provider cannot be called with.
fn fits(checker: &mut Checker<'_>, path: &str, name: &str, kind: ProviderKind) {
    use ProviderKind as Kind;
    let (takers, made_of): (&[Kind], _) = match name {
        "aws" => (&[Kind::Bedrock], "signatures of AWS"),
        // The Developer API and Vertex's copy of OpenAI's take Google's tokens, too.
        "google" => (&[Kind::Vertex, Kind::Gemini, Kind::OpenAiCompatible], "tokens of Google"),
        // Azure has Anthropic's API and a general copy of OpenAI's beside its own.
        _ => (&[Kind::AzureOpenAi, Kind::Anthropic, Kind::OpenAiCompatible], "tokens of Entra"),
    };
    if takers.contains(&kind) {
        return;
    }
    let takers: Vec<_> = takers.iter().map(|kind| format!("\"{}\"", kind.as_str())).collect();
    let fault = Fault::error(format!("{path} makes {made_of}, which kind = \"{}\" does not take", kind.as_str()));
    let help = format!("give the key a `value`, or the provider kind = {}", takers.join(" or "));
    checker.report(path, fault.help(help));
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

/// Returns the text at `key`, which has to be there and to consist of characters that such things have.
fn required(
    checker: &mut Checker<'_>,
    path: &str,
    key: &str,
    text: Option<&String>,
    help: &'static str,
) -> Option<String> {
    if text.is_none() {
        checker.missing(path, key, help);
    }
    optional(checker, path, key, text, help)
}

/// The same for a text that may be left out.
fn optional(
    checker: &mut Checker<'_>,
    path: &str,
    key: &str,
    text: Option<&String>,
    help: &'static str,
) -> Option<String> {
    let (here, text) = (child(path, key), text?.trim());
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
    const GENERAL: &str = "kind = 'openai_compatible'\nbase_url = 'http://a/v1'";
    const BEDROCK: &str = "kind = 'bedrock'\nregion = 'eu-west-1'";

    /// One provider of this kind with these keys, in a folder that holds `sa.json`.
    fn sources(kind: &str, keys: &str) -> (tempfile::TempDir, Sources) {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let account = serde_json::json!({ "type": "service_account", "client_email": "a@b", "private_key": KEY });
        write("sa.json", &account.to_string());
        write("wrong.json", r#"{"client_email":"a@b","private_key":"hunter2"}"#);
        write(
            "user.json",
            r#"{"type":"authorized_user","client_id":"c","client_secret":"hunter2","refresh_token":"hunter2"}"#,
        );
        let keys = keys.replace("FOLDER", folder.path().to_str().unwrap());
        write("bursar.toml", &format!("[providers.p]\n{kind}\nkeys = [\n{keys}]\n"));
        let (working_dir, system_file) = (folder.path().to_owned(), folder.path().join("none.toml"));
        let environment = vec![("SECRET".to_owned(), "hunter2".to_owned())];
        (folder, Sources { working_dir, system_file, environment, ..Sources::default() })
    }

    fn faults(kind: &str, keys: &str) -> Vec<String> {
        let (_folder, sources) = sources(kind, keys);
        let faults = load(&sources).err();
        faults.map(|faults| faults.iter().map(|fault| fault.one_line()).collect()).unwrap_or_default()
    }

    /// Returns what was written of the keys, as lists show it, and that nothing secret does.
    fn shown(kind: &str, keys: &str) -> Vec<String> {
        let (_folder, sources) = sources(kind, keys);
        let config = load(&sources).unwrap_or_else(|faults| panic!("{faults}"));
        assert!(config.providers["p"].keys.iter().all(|key| key.credential.is_some()));
        let shown: Vec<_> = settings(&config)
            .into_iter()
            .filter(|setting| setting.path.contains(".keys.") && setting.origin != "default")
            .map(|setting| format!("{} {}", setting.path.trim_start_matches("providers.p.keys."), setting.value))
            .collect();
        let all = format!("{shown:?} {config:?}");
        assert!(!all.contains("hunter2") && !all.contains("PRIVATE KEY"), "{all}");
        shown
    }

    fn assert_all(shown: &[String], lines: &[&str]) {
        for line in lines {
            assert!(
                shown.iter().any(|shown| shown.ends_with(line) || shown.contains(line)),
                "{line} not in {shown:#?}"
            );
        }
    }

    #[test]
    fn each_way_to_a_token_is_read_and_shown_without_its_secrets() {
        let shown = shown(
            GENERAL,
            "{ id = 'a', google = 'metadata' },\n{ id = 'b', google = { service_account = 'FOLDER/sa.json' }, weight = 2 },\n\
             { id = 'c', entra = 'managed' },\n{ id = 'd', entra = { tenant = 't', client_id = 'c', client_secret = '${SECRET}' } },\n\
             { id = 'e', google = { credentials = 'FOLDER/user.json' } },\n",
        );

        let lines = ["a.google metadata", "b.weight 2", "d.entra.client_secret …", "d.entra.tenant t", "user.json"];
        assert_all(&shown, &lines);
    }

    #[test]
    fn each_way_to_keys_of_aws_is_read_and_shown_without_its_secrets() {
        let shown = shown(
            BEDROCK,
            "{ id = 'a', aws = { access_key_id = 'hunter2', secret_access_key = 'hunter2', session_token = 'hunter2' } },\n\
             { id = 'b', aws = 'environment' },\n{ id = 'c', aws = 'profile:dev' },\n{ id = 'd', aws = 'container' },\n\
             { id = 'e', aws = 'instance' },\n{ id = 'f', aws = 'web_identity' },\n\
             { id = 'g', aws = { role_arn = 'arn:aws:iam::1:role/r', source = 'profile:dev', external_id = 'x', session_name = 'gw' } },\n\
             { id = 'h', aws = { role_arn = 'arn:aws:iam::1:role/r', access_key_id = 'hunter2', secret_access_key = 'hunter2' } },\n\
             { id = 'i', aws = { role_arn = 'arn:aws:iam::1:role/r', web_identity_token_file = '/t' } },\n",
        );

        let lines = [
            "a.aws.session_token …",
            "c.aws profile:dev",
            "f.aws web_identity",
            "g.aws.role_arn arn:aws:iam::1:role/r",
            "g.aws.source profile:dev",
            "g.aws.external_id x",
            "h.aws.secret_access_key …",
            "i.aws.web_identity_token_file /t",
        ];
        assert_all(&shown, &lines);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let faults = faults(
            GENERAL,
            "{ id = 'a', value = 'x', entra = 'managed' },\n{ id = 'b', google = 'metadta' },\n{ id = 'c', entra = { tenant = 'a/b', client_id = 'c' } },\n\
             { id = 'f', google = { service_account = 'none.json' } },\n\
             { id = 'g', google = 'metadata', optional = true },\n{ id = 'h', google = { service_account = 'FOLDER/wrong.json' } },\n\
             { id = 'i', google = { service_account = 'FOLDER/user.json' } },\n",
        );

        let told = faults.join("\n");
        for part in [
            "bursar.toml:5:34: providers.p.keys[0] has value and entra; keep one of them",
            "bursar.toml:6:22: providers.p.keys[1].google is a word that is not known",
            "(did you mean \"metadata\"?)",
            "bursar.toml:7:32: providers.p.keys[2].entra.tenant is `a/b`, which is no id and no domain",
            "providers.p.keys[2].entra has no `client_secret`",
            "providers.p.keys[3].google.service_account: `none.json` cannot be read",
            "providers.p.keys[4].optional is only for a key with a value",
            "has a private_key that is no PEM",
            "name it by `credentials`, which takes every type",
        ] {
            assert!(told.contains(part), "{part}\nis not in\n{told}");
        }
        assert!(!told.contains("hunter2"), "{told}");
        assert_eq!(faults.len(), 8, "{told}");
    }

    #[test]
    fn mistakes_in_roles_are_told_with_what_to_do() {
        let faults = faults(
            BEDROCK,
            "{ id = 'a', aws = { access_key = 'x' } },\n{ id = 'b', aws = 'AKIAHUNTER' },\n\
             { id = 'c', aws = { role_arn = 'bursar', source = 'instance' } },\n\
             { id = 'd', aws = { role_arn = 'arn:aws:iam::1:role/r' } },\n\
             { id = 'e', aws = { role_arn = 'arn:aws:iam::1:role/r', source = 'AKIAHUNTER' } },\n\
             { id = 'f', aws = { role_arn = 'arn:aws:iam::1:role/r', source = 'instance', session_name = 'a b' } },\n\
             { id = 'g', aws = { role_arn = 'arn:aws:iam::1:role/r', web_identity_token_file = '/t', external_id = 'x' } },\n\
             { id = 'h', aws = { source = 'instance', access_key_id = 'i', secret_access_key = 's' } },\n",
        );

        let told = faults.join("\n");
        for part in [
            "unknown key `access_key` in providers.p.keys[0].aws; did you mean `access_key_id`?",
            "providers.p.keys[1].aws is a word that is not known; known: \"environment\", \"container\"",
            "bursar.toml:7:32: providers.p.keys[2].aws.role_arn is `bursar`, which names no role; it looks like arn:aws:iam",
            "providers.p.keys[3].aws has no `source`",
            "providers.p.keys[4].aws.source is a word that is not known",
            "providers.p.keys[5].aws.session_name has spaces",
            "providers.p.keys[6].aws.external_id has no use beside web_identity_token_file",
            "providers.p.keys[7].aws.source is of a role, and providers.p.keys[7].aws has no `role_arn`",
        ] {
            assert!(told.contains(part), "{part}\nis not in\n{told}");
        }
        assert!(!told.contains("HUNTER"), "{told}");
        assert_eq!(faults.len(), 8, "{told}");
    }

    #[test]
    fn a_credential_that_the_kind_cannot_be_called_with_is_refused() {
        let of_aws = faults("kind = 'openai'", "{ id = 'a', aws = 'instance' },\n{ id = 'b', entra = 'managed' },\n");
        let of_google = faults(BEDROCK, "{ id = 'a', google = 'metadata' },\n");

        assert_eq!(
            of_aws[0].split_once("bursar.toml").unwrap().1,
            ":4:19: providers.p.keys[0].aws makes signatures of AWS, which kind = \"openai\" does not take; \
             give the key a `value`, or the provider kind = \"bedrock\""
        );
        assert!(of_aws[1].contains("kind = \"azure_openai\" or \"anthropic\" or \"openai_compatible\""), "{of_aws:?}");
        assert!(of_google[0].contains("kind = \"vertex\" or \"gemini\""), "{of_google:?}");
        assert!(faults(GENERAL, "{ id = 'a', google = 'metadata' },\n").is_empty());
    }
}
