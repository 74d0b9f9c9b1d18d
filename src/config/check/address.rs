//! Where a provider answers when nobody gave it a `base_url`: some kinds have one address for everybody, others build it
//! from a name of the account's.

use super::Checker;
use crate::config::ProviderKind;
use crate::config::fault::Fault;
use crate::config::layer::child;
use crate::config::raw::RawProvider;

/// Returns the address of a provider of this kind, and reports what it would have to be built from.
pub fn of_kind(checker: &mut Checker<'_>, path: &str, kind: ProviderKind, raw: &RawProvider) -> String {
    match kind {
        ProviderKind::Bedrock => {
            let region =
                part(checker, path, "region", raw.region.as_deref(), "an AWS region, such as \"eu-central-1\"");
            format!("https://bedrock-runtime.{region}.amazonaws.com")
        }
        ProviderKind::Vertex => {
            let project = part(checker, path, "project", raw.project.as_deref(), "the id of the Google Cloud project");
            let region =
                part(checker, path, "region", raw.region.as_deref(), "such as \"europe-west4\", or \"global\"");
            // https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations: the global host has no region.
            let host = if region == "global" { String::new() } else { format!("{region}-") };
            format!(
                "https://{host}aiplatform.googleapis.com/v1/projects/{project}/locations/{region}/publishers/google"
            )
        }
        ProviderKind::AzureOpenAi => {
            let resource = part(checker, path, "resource", raw.resource.as_deref(), "the name of the Azure resource");
            let surface = if raw.api_version.is_some() { "/openai" } else { "/openai/v1" };
            format!("https://{resource}.openai.azure.com{surface}")
        }
        _ => kind.base_url().map(str::to_owned).unwrap_or_else(|| {
            checker.missing(path, "base_url", "where it answers, such as \"http://127.0.0.1:8000/v1\"");
            String::new()
        }),
    }
}

/// Reports what only other kinds are built from.
pub fn unused(checker: &mut Checker<'_>, path: &str, kind: ProviderKind, raw: &RawProvider) {
    let given = [
        ("resource", raw.resource.is_some(), ProviderKind::AzureOpenAi),
        ("api_version", raw.api_version.is_some(), ProviderKind::AzureOpenAi),
        ("project", raw.project.is_some(), ProviderKind::Vertex),
    ];
    for (key, _, only) in given.into_iter().filter(|(_, given, only)| *given && *only != kind) {
        let here = child(path, key);
        checker.fault(&here, format!("{here} is only for kind = \"{}\"", only.as_str()));
    }
}

/// Returns a part of a host name or path as it was given, or nothing where it is missing or no such part.
fn part<'r>(checker: &mut Checker<'_>, path: &str, key: &str, given: Option<&'r str>, what: &str) -> &'r str {
    let Some(text) = given else {
        checker.missing(path, key, &format!("{what}; or give base_url"));
        return "";
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if text.is_empty() || !text.bytes().all(plain) {
        let here = child(path, key);
        let fault = Fault::error(format!("{here} has characters that no such name has"));
        checker.report(&here, fault.help("letters, digits, `-`, `_`, `.` and `:`"));
        return "";
    }
    text
}
