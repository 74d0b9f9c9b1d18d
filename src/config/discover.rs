//! Providers nobody wrote down: found by the well-known variables that hold their keys.
//!
//! A found provider refers to its variable (`${GROQ_API_KEY}`) as a file would, so the key itself does not pass here.
//! A file that mentions the provider — by id, by host or by variable — wins, and nothing is added.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::fault::{Fault, Faults, Origin};
use super::layer::{Layer, child};

/// The built-in provider that answers without a network, used when there is no other.
pub const DEMO: &str = "demo";

/// A provider that speaks OpenAI's format, and the variable that people keep its key in.
pub struct KnownProvider {
    pub id: &'static str,
    pub variable: &'static str,
    /// `None` for OpenAI itself, whose address is the default of its kind.
    pub base_url: Option<&'static str>,
}

const fn known(id: &'static str, variable: &'static str, base_url: &'static str) -> KnownProvider {
    KnownProvider { id, variable, base_url: Some(base_url) }
}

/// Providers that can be used with nothing but a key. The variable with an `S` at its end holds a comma list.
pub const KNOWN: &[KnownProvider] = &[
    KnownProvider { id: "openai", variable: "OPENAI_API_KEY", base_url: None },
    known("cerebras", "CEREBRAS_API_KEY", "https://api.cerebras.ai/v1"),
    known("deepinfra", "DEEPINFRA_API_KEY", "https://api.deepinfra.com/v1/openai"),
    known("deepseek", "DEEPSEEK_API_KEY", "https://api.deepseek.com/v1"),
    known("fireworks", "FIREWORKS_API_KEY", "https://api.fireworks.ai/inference/v1"),
    known("gemini", "GEMINI_API_KEY", "https://generativelanguage.googleapis.com/v1beta/openai"),
    known("groq", "GROQ_API_KEY", "https://api.groq.com/openai/v1"),
    known("hyperbolic", "HYPERBOLIC_API_KEY", "https://api.hyperbolic.xyz/v1"),
    known("mistral", "MISTRAL_API_KEY", "https://api.mistral.ai/v1"),
    known("moonshot", "MOONSHOT_API_KEY", "https://api.moonshot.ai/v1"),
    known("nebius", "NEBIUS_API_KEY", "https://api.studio.nebius.com/v1"),
    known("novita", "NOVITA_API_KEY", "https://api.novita.ai/v3/openai"),
    known("nvidia", "NVIDIA_API_KEY", "https://integrate.api.nvidia.com/v1"),
    known("openrouter", "OPENROUTER_API_KEY", "https://openrouter.ai/api/v1"),
    known("perplexity", "PERPLEXITY_API_KEY", "https://api.perplexity.ai"),
    known("sambanova", "SAMBANOVA_API_KEY", "https://api.sambanova.ai/v1"),
    known("together", "TOGETHER_API_KEY", "https://api.together.xyz/v1"),
    known("xai", "XAI_API_KEY", "https://api.x.ai/v1"),
    known("zai", "ZAI_API_KEY", "https://api.z.ai/api/paas/v4"),
];

/// Providers whose own format is not spoken yet.
const NOT_YET: &[(&str, &str)] = &[
    ("ANTHROPIC_API_KEY", "Anthropic"),
    ("COHERE_API_KEY", "Cohere"),
    ("AZURE_OPENAI_API_KEY", "Azure OpenAI"),
    ("AWS_BEARER_TOKEN_BEDROCK", "Amazon Bedrock"),
];

/// What was found.
#[derive(Default)]
pub struct Found {
    pub layer: Layer,
    /// For the banner: `openai from OPENAI_API_KEY`.
    pub sources: Vec<String>,
}

/// Returns the providers that `environment` has the means for and `files` do not mention.
pub fn discover(environment: &BTreeMap<String, String>, files: &Table, faults: &mut Faults) -> Found {
    let set = |name: &str| environment.get(name).is_some_and(|value| !value.trim().is_empty());
    let mut found = Found::default();
    for provider in KNOWN {
        let list = format!("{}S", provider.variable);
        if (set(provider.variable) || set(&list)) && !mentions(files, provider, &list) {
            let base_url = (provider.id == "openai" && set("OPENAI_BASE_URL")).then_some("${OPENAI_BASE_URL}");
            let table = with_keys(provider, base_url, set(provider.variable), set(&list).then_some(&list));
            let variable = if set(provider.variable) { provider.variable } else { &list };
            found.add(provider.id, variable, table);
        }
    }
    let ollama = KnownProvider { id: "ollama", variable: "OLLAMA_HOST", base_url: None };
    if let Some(host) = environment.get("OLLAMA_HOST").filter(|host| !host.trim().is_empty())
        && !mentions(files, &ollama, "")
    {
        found.add(ollama.id, ollama.variable, ollama_table(host));
    }
    for (variable, name) in NOT_YET.iter().filter(|(variable, _)| set(variable)) {
        let message = format!("{name} cannot be served yet; the variable is ignored");
        faults.push(Fault::warning(message).at(Some(Origin::Environment((*variable).to_owned()))));
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

fn with_keys(provider: &KnownProvider, base_url: Option<&str>, single: bool, list: Option<&String>) -> Table {
    let kind = if provider.base_url.is_some() { "openai_compatible" } else { "openai" };
    let mut table = string_table(&[("kind", kind)]);
    if let Some(base_url) = base_url.or(provider.base_url) {
        table.insert("base_url".to_owned(), base_url.into());
    }
    if single {
        let value = format!("${{{}}}", provider.variable);
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

/// Returns whether `files` have a provider of that id or host, or use its variables anywhere.
fn mentions(files: &Table, provider: &KnownProvider, list: &str) -> bool {
    let Some(providers) = files.get("providers").and_then(Value::as_table) else { return false };
    let host = provider.base_url.map(host_of);
    let is_openai = |table: &Value| {
        provider.id == "openai"
            && table.get("kind").and_then(Value::as_str) == Some("openai")
            && table.get("base_url").is_none()
    };
    providers.contains_key(provider.id)
        || providers.values().any(is_openai)
        || providers.values().any(|table| {
            any_text(table, &|text| {
                let same_host = text.starts_with("http") && host.is_some_and(|host| host_of(text) == host);
                let refers = |name: &str| {
                    !name.is_empty()
                        && text.split_once(&format!("${{{name}")).is_some_and(|(_, rest)| rest.starts_with(['}', ':']))
                };
                same_host || refers(provider.variable) || refers(list)
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

        let expected = "[providers.groq]\nkind = 'openai_compatible'\nbase_url = 'https://api.groq.com/openai/v1'\n\
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
    fn a_provider_that_cannot_be_served_yet_is_a_warning() {
        let (layer, warnings) = found(&[("ANTHROPIC_API_KEY", "sk-ant-1")], "");

        assert!(layer.is_empty());
        assert_eq!(warnings, 1);
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
