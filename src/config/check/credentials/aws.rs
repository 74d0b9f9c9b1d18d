//! `aws`: keys, where keys are, and roles that are taken on with them.

use bursar_actors::Secret;

use super::{no_such_word, optional, required};
use crate::config::check::Checker;
use crate::config::credential::{Aws, Credential, Role, WebIdentity};
use crate::config::fault::Fault;
use crate::config::layer::child;
use crate::config::raw::RawAws;
use crate::config::word_or::WordOr;

const WORDS: [&str; 5] = ["environment", "container", "instance", "web_identity", "profile:NAME"];
/// What keys are given as.
const KEYS: &str = "{ access_key_id = ..., secret_access_key = ... }";
const ROLE: &str = "it looks like arn:aws:iam::123456789012:role/bursar";

/// Checks a credential of a provider in `region`.
pub fn aws(checker: &mut Checker<'_>, path: &str, raw: &WordOr<RawAws>, region: Option<&str>) -> Option<Credential> {
    let aws = match raw {
        WordOr::Word(text) => {
            let found = word(text, region);
            if found.is_none() {
                no_such_word(checker, path, text, &WORDS, &format!("{KEYS}, or {{ role_arn = ..., source = ... }}"));
            }
            found
        }
        WordOr::Table(raw) => table(checker, path, raw, region),
    };
    aws.map(Credential::Aws)
}

fn word(word: &str, region: Option<&str>) -> Option<Aws> {
    match (word, word.strip_prefix("profile:").map(str::trim)) {
        ("environment", _) => Some(Aws::Environment),
        ("container", _) => Some(Aws::Container),
        ("instance", _) => Some(Aws::Instance),
        ("web_identity", _) => {
            Some(Aws::WebIdentity(WebIdentity { region: region.map(str::to_owned), ..WebIdentity::default() }))
        }
        (_, Some(name)) if !name.is_empty() => Some(Aws::Profile(name.to_owned())),
        _ => None,
    }
}

fn table(checker: &mut Checker<'_>, path: &str, raw: &RawAws, region: Option<&str>) -> Option<Aws> {
    // The parts of a role; those that were given and have no fault.
    let role_arn = optional(checker, path, "role_arn", raw.role_arn.as_ref(), ROLE);
    if let Some(arn) = role_arn.as_deref().filter(|arn| !(arn.starts_with("arn:") && arn.contains(":role/"))) {
        let here = child(path, "role_arn");
        checker.report(&here, Fault::error(format!("{here} is `{arn}`, which names no role")).help(ROLE));
    }
    let session_name = session_name(checker, path, raw);
    let external_id = optional(checker, path, "external_id", raw.external_id.as_ref(), "the role's owner names it");
    let help = "the region whose STS is asked, such as \"eu-central-1\"";
    let given = optional(checker, path, "region", raw.region.as_ref(), help);
    let region = given.or_else(|| region.map(str::to_owned));
    if let Some(file) = &raw.web_identity_token_file {
        let other = [
            ("source", raw.source.is_some()),
            ("access_key_id", raw.access_key_id.is_some()),
            ("secret_access_key", raw.secret_access_key.is_some()),
            ("external_id", raw.external_id.is_some()),
        ];
        for (key, _) in other.into_iter().filter(|(_, given)| *given) {
            let here = child(path, key);
            checker.fault(&here, format!("{here} has no use beside web_identity_token_file; remove one of them"));
        }
        if raw.role_arn.is_none() {
            checker.missing(path, "role_arn", ROLE);
        }
        let token_file = Some(file.clone());
        return Some(Aws::WebIdentity(WebIdentity { role_arn, token_file, session_name, region }));
    }
    if raw.role_arn.is_some() {
        let source = source(checker, path, raw, region.as_deref());
        let role = Role { arn: role_arn?, external_id, session_name, region, source: source? };
        return Some(Aws::Role(Box::new(role)));
    }
    let of_role = [
        ("source", raw.source.is_some()),
        ("external_id", raw.external_id.is_some()),
        ("session_name", raw.session_name.is_some()),
        ("region", raw.region.is_some()),
    ];
    for (key, _) in of_role.into_iter().filter(|(_, given)| *given) {
        let here = child(path, key);
        checker.fault(&here, format!("{here} is of a role, and {path} has no `role_arn`"));
    }
    keys(checker, path, raw)
}

/// Returns the keys that a role is taken on with.
fn source(checker: &mut Checker<'_>, path: &str, raw: &RawAws, region: Option<&str>) -> Option<Aws> {
    let has_keys = raw.access_key_id.is_some() || raw.secret_access_key.is_some();
    match &raw.source {
        None if has_keys => keys(checker, path, raw),
        None => {
            let help = format!("what the role is taken on with: \"{}\", or keys of its own", WORDS.join("\", \""));
            checker.missing(path, "source", &help);
            None
        }
        Some(_) if has_keys => {
            let here = child(path, "source");
            checker.fault(&here, format!("{path} has source and access_key_id; keep one of them"));
            None
        }
        Some(text) => {
            let found = word(text, region);
            if found.is_none() {
                no_such_word(checker, &child(path, "source"), text, &WORDS, "keys of their own beside role_arn");
            }
            found
        }
    }
}

fn keys(checker: &mut Checker<'_>, path: &str, raw: &RawAws) -> Option<Aws> {
    let help = "it begins with AKIA or ASIA; aws = \"environment\" reads all of them from the environment";
    let access_key_id = required(checker, path, "access_key_id", raw.access_key_id.as_ref(), help);
    let help = "usually a reference, such as secret_access_key = \"${AWS_SECRET_ACCESS_KEY}\"";
    let secret = required(checker, path, "secret_access_key", raw.secret_access_key.as_ref(), help);
    let session_token = raw.session_token.as_ref().map(|token| token.trim()).filter(|token| !token.is_empty());
    Some(Aws::Static {
        access_key_id: access_key_id?,
        secret_access_key: Secret::new(secret?),
        session_token: session_token.map(|token| Secret::new(token.to_owned())),
    })
}

/// Bounds and letters of STS, "AssumeRole", `RoleSessionName`.
fn session_name(checker: &mut Checker<'_>, path: &str, raw: &RawAws) -> Option<String> {
    let help = "2 to 64 letters, digits and characters of _=,.@-";
    let name = optional(checker, path, "session_name", raw.session_name.as_ref(), help)?;
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"_=,.@-+".contains(&b);
    if !(2..=64).contains(&name.len()) || !name.bytes().all(fine) {
        let here = child(path, "session_name");
        checker.report(&here, Fault::error(format!("{here} is `{name}`, which STS does not take")).help(help));
    }
    Some(name)
}
