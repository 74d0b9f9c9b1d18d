//! Providers nobody wrote down: found by the well-known variables that hold their keys.
//!
//! A found provider refers to its variable (`${GROQ_API_KEY}`) as a file would, so the key itself does not pass here.
//! A file that mentions the provider — by id, by host or by variable — wins, and nothing is added.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::ProviderKind;
use super::fault::{Fault, Faults, Origin};
use super::layer::{Layer, child};

/// The built-in provider that answers without a network, used when there is no other.
pub const DEMO: &str = "demo";

/// What was found.
#[derive(Default)]
pub struct Found {
    pub layer: Layer,
    /// For the banner: `openai from OPENAI_API_KEY`.
    pub sources: Vec<String>,
}

/// Returns the providers that `environment` has the means for and `files` do not mention.
pub fn discover(environment: &BTreeMap<String, String>, files: &Table, faults: &mut Faults) -> Found {
    let get = |name: &str| environment.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let mut found = Found::default();
    for &kind in ProviderKind::ALL {
        let Some(variable) = kind.variable() else { continue };
        let list = format!("{variable}S");
        if (get(variable).is_none() && get(&list).is_none()) || mentions(files, kind, variable, &list) {
            continue;
        }
        let Some(place) = place(kind, &get) else {
            let (what, with) = if kind == ProviderKind::Bedrock {
                ("Bedrock", "AWS_REGION")
            } else {
                ("Azure OpenAI", "AZURE_OPENAI_ENDPOINT")
            };
            let message = format!("{what} has a key but no place; set {with} too, or write the provider down");
            faults.push(Fault::warning(message).at(Some(Origin::Environment(variable.to_owned()))));
            continue;
        };
        let table = with_keys(kind, place, get(variable).map(|_| variable), get(&list).map(|_| list.as_str()));
        found.add(kind.as_str(), if get(variable).is_some() { variable } else { &list }, table);
    }
    if let Some(host) = get("OLLAMA_HOST")
        && !mentions(files, ProviderKind::Ollama, "OLLAMA_HOST", "")
    {
        found.add("ollama", "OLLAMA_HOST", ollama_table(host));
    }
    found
}

/// Returns the demo provider and, unless `files` have aliases, names for its models.
pub fn demo(merged: &Table) -> Layer {
    let has_aliases = merged
        .get("models")
        .and_then(|models| models.get("alias"))
        .and_then(Value::as_table)
        .is_some_and(|aliases| !aliases.is_empty());
    let mut table = Table::new();
    insert_table(&mut table, &["providers", DEMO], string_table(&[("kind", DEMO)]));
    if !has_aliases {
        let aliases =
            [("auto", "demo-small"), ("fast", "demo-small"), ("smart", "demo-large"), ("embed", "demo-embed")];
        for (alias, model) in aliases {
            let targets = vec![Value::Table(string_table(&[("provider", DEMO), ("model", model)]))];
            insert_table(&mut table, &["models", "alias", alias, "targets"], Value::Array(targets));
        }
        let has_default = merged.get("models").and_then(|models| models.get("default")).is_some();
        if !has_default {
            insert_table(&mut table, &["models", "default"], Value::String("auto".to_owned()));
        }
    }
    Layer { table, ..Layer::default() }
}

impl Found {
    fn add(&mut self, id: &str, variable: &str, table: Table) {
        insert_table(&mut self.layer.table, &["providers", id], table);
        self.layer.origins.insert(&child("providers", id), Origin::Environment(variable.to_owned()));
        self.sources.push(format!("{id} from {variable}"));
    }
}

/// Returns where a provider of this kind is by the environment, as a setting; `None` where that is not said.
pub fn place<'e>(kind: ProviderKind, get: &impl Fn(&str) -> Option<&'e str>) -> Option<Option<(&'static str, String)>> {
    let refer = |key, variable: &str| get(variable).map(|_| Some((key, format!("${{{variable}}}"))));
    match kind {
        ProviderKind::OpenAi => refer("base_url", "OPENAI_BASE_URL").or(Some(None)),
        ProviderKind::Bedrock => refer("region", "AWS_REGION").or_else(|| refer("region", "AWS_DEFAULT_REGION")),
        ProviderKind::AzureOpenAi => {
            let endpoint = get("AZURE_OPENAI_ENDPOINT")?.trim_end_matches('/').replace("${", "$${");
            Some(Some(("base_url", format!("{endpoint}/openai/v1"))))
        }
        _ => Some(None),
    }
}

fn with_keys(kind: ProviderKind, place: Option<(&str, String)>, single: Option<&str>, list: Option<&str>) -> Table {
    let mut table = string_table(&[("kind", kind.as_str())]);
    if let Some((key, value)) = place {
        table.insert(key.to_owned(), value.into());
    }
    if let Some(variable) = single {
        let value = format!("${{{variable}}}");
        let key = Value::Table(string_table(&[("id", "main"), ("value", &value)]));
        table.insert("keys".to_owned(), Value::Array(vec![key]));
    }
    if let Some(list) = list {
        let pool = string_table(&[("id", "pool"), ("value", &format!("${{{list}}}"))]);
        table.insert("key_pool".to_owned(), Value::Table(pool));
    }
    table
}

/// Ollama's own variable may be a host, a host and port, or a URL; a server reads it as the address to bind.
fn ollama_table(host: &str) -> Table {
    let host = host.trim().trim_end_matches('/');
    let (scheme, host) = host.split_once("://").unwrap_or(("http", host));
    let host = host.replacen("0.0.0.0", "127.0.0.1", 1);
    let host = if host.starts_with(':') { format!("127.0.0.1{host}") } else { host };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let port = if has_port || scheme == "https" { "" } else { ":11434" };
    let base_url = format!("{scheme}://{host}{port}/v1").replace("${", "$${");
    let mut table = string_table(&[("kind", "openai_compatible"), ("base_url", &base_url)]);
    table.insert("self_hosted".to_owned(), Value::Boolean(true));
    table
}

/// Returns whether `files` have a provider of that id, kind or host, or use its variables anywhere.
fn mentions(files: &Table, kind: ProviderKind, variable: &str, list: &str) -> bool {
    let Some(providers) = files.get("providers").and_then(Value::as_table) else { return false };
    let host = kind.base_url().map(host_of);
    let same_kind = |table: &Value| {
        table.get("kind").and_then(Value::as_str) == Some(kind.as_str()) && table.get("base_url").is_none()
    };
    providers.contains_key(kind.as_str())
        || providers.values().any(same_kind)
        || providers.values().any(|table| {
            any_text(table, &|text| {
                let same_host = text.starts_with("http") && host.is_some_and(|host| host_of(text) == host);
                let refers = |name: &str| {
                    !name.is_empty()
                        && text.split_once(&format!("${{{name}")).is_some_and(|(_, rest)| rest.starts_with(['}', ':']))
                };
                same_host || refers(variable) || refers(list)
            })
        })
}

fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

fn any_text(value: &Value, holds: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => holds(text),
        Value::Array(list) => list.iter().any(|inner| any_text(inner, holds)),
        Value::Table(table) => table.values().any(|inner| any_text(inner, holds)),
        _ => false,
    }
}

fn string_table(pairs: &[(&str, &str)]) -> Table {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), Value::String((*value).to_owned()))).collect()
}

fn insert_table(table: &mut Table, steps: &[&str], value: impl Into<Value>) {
    let steps: Vec<String> = steps.iter().map(|step| (*step).to_owned()).collect();
    super::overrides::insert(table, &steps, value.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(environment: &[(&str, &str)], files: &str) -> (Table, usize) {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut faults = Faults::default();
        let files = files.parse().expect("the test's file is TOML");
        (discover(&environment, &files, &mut faults).layer.table, faults.warnings())
    }

    fn table(text: &str) -> Table {
        text.parse().expect("the test's expectation is TOML")
    }

    #[test]
    fn a_key_in_the_environment_makes_a_provider_that_refers_to_it() {
        let (layer, _) = found(&[("GROQ_API_KEY", "gsk-1"), ("GROQ_API_KEYS", "a,b")], "");

        let expected = "[providers.groq]\nkind = 'groq'\n\
             keys = [{ id = 'main', value = '${GROQ_API_KEY}' }]\nkey_pool = { id = 'pool', value = '${GROQ_API_KEYS}' }";
        assert_eq!(layer, table(expected));
    }

    #[test]
    fn a_provider_that_a_file_mentions_is_not_found_again() {
        let environment = [("OPENAI_API_KEY", "sk-1"), ("GROQ_API_KEY", "gsk-1")];
        let by_kind = "[providers.main]\nkind = 'openai'\n[providers.g]\nbase_url = 'https://api.groq.com/openai/v1'";
        let by_variable = "[providers.x]\nheaders = { a = '${GROQ_API_KEY:-}', b = '${OPENAI_API_KEY}' }";

        assert!(found(&environment, by_kind).0.is_empty());
        assert!(found(&environment, by_variable).0.is_empty());
        assert!(!found(&environment, "[providers.x]\nregion = '${GROQ_API_KEY_2}'").0.is_empty());
    }

    #[test]
    fn an_empty_variable_is_none_and_a_base_url_needs_a_key() {
        assert!(found(&[("OPENAI_API_KEY", " "), ("OPENAI_BASE_URL", "http://x/v1")], "").0.is_empty());
    }

    #[test]
    fn a_key_whose_place_is_not_said_is_a_warning() {
        let (layer, warnings) = found(&[("AWS_BEARER_TOKEN_BEDROCK", "k"), ("AZURE_OPENAI_API_KEY", "k")], "");
        let (placed, none) = found(&[("AWS_BEARER_TOKEN_BEDROCK", "k"), ("AWS_REGION", "eu-west-1")], "");

        assert!(layer.is_empty());
        assert_eq!((warnings, none), (2, 0));
        assert_eq!(placed["providers"]["bedrock"]["region"].as_str(), Some("${AWS_REGION}"));
    }

    #[test]
    fn ollama_is_found_by_host_port_or_url() {
        let url = |host: &str| ollama_table(host)["base_url"].as_str().unwrap_or_default().to_owned();

        assert_eq!(url("0.0.0.0"), "http://127.0.0.1:11434/v1");
        assert_eq!(url("box:8000"), "http://box:8000/v1");
        assert_eq!(url("https://ollama.example.com/"), "https://ollama.example.com/v1");
        assert_eq!(url(":9000"), "http://127.0.0.1:9000/v1");
    }
}
