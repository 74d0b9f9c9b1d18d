//! Which name of the catalog a model's name means: the same one, or one that differs by nothing but a date or a version.

/// Words for a provider in configurations and sources, with the catalog's own.
const VENDORS: &[(&str, &str)] = &[
    ("aws", "bedrock"),
    ("google", "gemini"),
    ("google_ai", "gemini"),
    ("vertex_ai", "vertex"),
    ("azure_openai", "azure"),
    ("together_ai", "together"),
    ("fireworks_ai", "fireworks"),
    ("nvidia_nim", "nvidia"),
    ("moonshotai", "moonshot"),
    ("x_ai", "xai"),
    ("z_ai", "zai"),
];

/// Hosts of the providers' APIs; one that begins with a dot stands for all below it.
const HOSTS: &[(&str, &str)] = &[
    ("api.openai.com", "openai"),
    (".api.openai.com", "openai"),
    (".openai.azure.com", "azure"),
    (".cognitiveservices.azure.com", "azure"),
    (".services.ai.azure.com", "azure"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gemini"),
    ("aiplatform.googleapis.com", "vertex"),
    ("-aiplatform.googleapis.com", "vertex"),
    ("api.mistral.ai", "mistral"),
    ("codestral.mistral.ai", "codestral"),
    ("api.cohere.com", "cohere"),
    ("api.cohere.ai", "cohere"),
    ("api.groq.com", "groq"),
    ("api.deepseek.com", "deepseek"),
    ("api.x.ai", "xai"),
    (".api.x.ai", "xai"),
    ("api.together.xyz", "together"),
    ("api.together.ai", "together"),
    ("api.fireworks.ai", "fireworks"),
    ("openrouter.ai", "openrouter"),
    ("api.perplexity.ai", "perplexity"),
    ("api.cerebras.ai", "cerebras"),
    ("api.moonshot.ai", "moonshot"),
    ("api.z.ai", "zai"),
    ("integrate.api.nvidia.com", "nvidia"),
    ("router.huggingface.co", "huggingface"),
    ("api.sambanova.ai", "sambanova"),
    ("api.deepinfra.com", "deepinfra"),
    ("api.studio.nebius.com", "nebius"),
    ("api.studio.nebius.ai", "nebius"),
    ("api.tokenfactory.nebius.com", "nebius"),
    ("api.novita.ai", "novita"),
    ("api.hyperbolic.xyz", "hyperbolic"),
];

/// Groups of regions that Bedrock puts before a model's name.
const REGION_GROUPS: &[&str] = &["us", "eu", "apac", "global", "jp", "au", "in", "ca", "sa", "kr", "me", "mx"];

/// Returns the catalog's word for a provider.
pub fn vendor(word: &str) -> String {
    let word = word.to_ascii_lowercase().replace('-', "_");
    VENDORS.iter().find(|(other, _)| *other == word).map_or(word, |(_, vendor)| (*vendor).to_owned())
}

/// Returns whose API answers at `base_url`, where that is known.
pub fn vendor_of_url(base_url: &str) -> Option<&'static str> {
    let host = base_url.split_once("://")?.1.split(['/', ':', '?']).next()?.to_ascii_lowercase();
    if host.ends_with(".amazonaws.com") || host.ends_with(".api.aws") {
        let runtime = ["bedrock-runtime.", "bedrock-runtime-fips."].iter().any(|prefix| host.starts_with(prefix));
        return if runtime { Some("bedrock") } else { host.starts_with("bedrock-mantle.").then_some("bedrock_mantle") };
    }
    let is = |pattern: &str| if pattern.starts_with(['.', '-']) { host.ends_with(pattern) } else { host == pattern };
    HOSTS.iter().find(|(pattern, _)| is(pattern)).map(|(_, vendor)| *vendor)
}

/// Returns whether an address of OpenAI or Vertex keeps its calls in a region of the world, for which both charge more.
pub fn is_regional(base_url: &str) -> bool {
    let host = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
    let host = host.split(['/', ':', '?']).next().unwrap_or_default().to_ascii_lowercase();
    host.ends_with(".api.openai.com") || host.ends_with("-aiplatform.googleapis.com")
}

/// Returns the names that `model` may have in the catalog, as `vendor/name`, the surest first.
pub fn candidates(vendor: &str, model: &str) -> Vec<String> {
    let mut names = vec![model.to_owned()];
    let mut add = |name: &str| {
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    };
    let mut bare = model.strip_prefix("models/").unwrap_or(model);
    if vendor == "bedrock" && bare.starts_with("arn:") {
        bare = bare.rsplit('/').next().unwrap_or(bare);
    }
    if vendor == "vertex" {
        bare = bare.rsplit_once("/models/").map_or(bare, |(_, name)| name);
        bare = bare.strip_prefix("google/").unwrap_or(bare);
    }
    if let Some((head, rest)) = bare.split_once('/')
        && self::vendor(head) == vendor
    {
        bare = rest;
    }
    add(bare);
    if vendor == "fireworks" && !bare.contains('/') {
        add(&format!("accounts/fireworks/models/{bare}"));
    }
    if vendor == "bedrock" {
        beyond_region(bare).iter().for_each(|name| add(name));
    }
    for name in names.clone() {
        let mut rest = name.as_str();
        while let Some(shorter) = without_version(rest) {
            rest = shorter;
            if !names.iter().any(|known| known == rest) {
                names.push(rest.to_owned());
            }
        }
    }
    let vendors = if vendor == "azure" { &["azure", "azure_ai"][..] } else { &[vendor] };
    vendors.iter().flat_map(|vendor| names.iter().map(move |name| format!("{vendor}/{name}"))).collect()
}

/// Returns what a name for a group of regions may cost like: another group, as all but `global` bear the same surcharge,
/// and then the model itself. Government regions have prices of their own.
fn beyond_region(name: &str) -> Vec<String> {
    match name.split_once('.') {
        Some(("global", rest)) => vec![rest.to_owned()],
        Some((group, rest)) if REGION_GROUPS.contains(&group) => {
            vec![format!("us.{rest}"), format!("eu.{rest}"), rest.to_owned()]
        }
        _ => Vec::new(),
    }
}

/// Returns whether `rest`, which follows a name, is nothing but dates and versions.
pub fn is_version(rest: &str) -> bool {
    // A name in front, because that is what versions are cut from.
    let mut name = format!("m{rest}");
    while let Some(shorter) = without_version(&name) {
        name.truncate(shorter.len());
    }
    name == "m"
}

/// Returns `name` without the date or version at its end: `-20251001`, `@20251001`, `-2025-10-01`, `-10-2025`, `-0905`,
/// `-2407`, `-001`, `-latest`, `-v1:0`. A bare `-v3` or `-32k` belongs to the name.
fn without_version(name: &str) -> Option<&str> {
    if let Some((head, tail)) = name.rsplit_once('@') {
        let fits = tail == "default" || tail == "latest" || is_serial(tail) || is_day(tail);
        return fits.then_some(head).filter(|head| !head.is_empty());
    }
    if let Some((head, tail)) = name.rsplit_once(':') {
        let (head, version) = head.rsplit_once("-v").filter(|_| is_digits(tail))?;
        return (is_digits(version) && !head.is_empty()).then_some(head);
    }
    let parts: Vec<&str> = name.split('-').collect();
    let taken = match parts.as_slice() {
        [_, .., "latest"] => 1,
        [_, .., year, month, day] if is_year(year) && is_month(month) && is_day_of_month(day) => 3,
        [_, .., month, year] if is_year(year) && is_month(month) => 2,
        [_, .., date] if is_day(date) || is_serial(date) || is_short_date(date) => 1,
        _ => return None,
    };
    let cut: usize = parts[parts.len() - taken..].iter().map(|part| part.len() + 1).sum();
    name.get(..name.len() - cut).filter(|head| !head.is_empty())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(text: &str, digits: usize) -> Option<u32> {
    (text.len() == digits && is_digits(text)).then(|| text.parse().ok()).flatten()
}

fn is_year(text: &str) -> bool {
    number(text, 4).is_some_and(|year| (2019..=2049).contains(&year))
}

fn is_month(text: &str) -> bool {
    number(text, 2).is_some_and(|month| (1..=12).contains(&month))
}

fn is_day_of_month(text: &str) -> bool {
    number(text, 2).is_some_and(|day| (1..=31).contains(&day))
}

/// `20251001`.
fn is_day(text: &str) -> bool {
    text.is_char_boundary(4)
        && text.len() == 8
        && text.is_ascii()
        && is_year(&text[..4])
        && is_month(&text[4..6])
        && is_day_of_month(&text[6..])
}

/// `0905` (a day of the year) or `2407` (a month of a year).
fn is_short_date(text: &str) -> bool {
    if number(text, 4).is_none() {
        return false;
    }
    let (first, second) = text.split_at(2);
    (is_month(first) && is_day_of_month(second))
        || (number(first, 2).is_some_and(|year| (20..=49).contains(&year)) && is_month(second))
}

/// `001`.
fn is_serial(text: &str) -> bool {
    text.len() == 3 && text.starts_with('0') && is_digits(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_dates_and_versions_are_cut() {
        for (name, cut) in [
            ("gpt-4o-2024-08-06", Some("gpt-4o")),
            ("claude-haiku-4-5-20251001", Some("claude-haiku-4-5")),
            ("claude-haiku-4-5@20251001", Some("claude-haiku-4-5")),
            ("anthropic.claude-3-5-sonnet-20241022-v2:0", Some("anthropic.claude-3-5-sonnet-20241022")),
            ("kimi-k2-0905", Some("kimi-k2")),
            ("mistral-large-2407", Some("mistral-large")),
            ("command-r-08-2024", Some("command-r")),
            ("gemini-2.0-flash-001", Some("gemini-2.0-flash")),
            ("grok-4-latest", Some("grok-4")),
            ("gpt-4o-mini", None),
            ("gpt-4-32k", None),
            ("gpt-4-1106", Some("gpt-4")),
            ("deepseek-v3", None),
            ("llama-3.1-8b", None),
            ("phi-3-128", None),
            ("x-9999", None),
            ("x-20259901", None),
            ("model:free", None),
            ("model:0", None),
            ("-2024-08-06", None),
            ("2024-08-06", None),
            ("-v1:0", None),
            ("@latest", None),
            ("", None),
        ] {
            assert_eq!(without_version(name), cut, "{name}");
        }
        assert!(is_version("-20251001-v1:0") && is_version("-2024-08-06") && is_version(""));
        assert!(!is_version("-mini") && !is_version("-mini-2024-08-06") && !is_version("2024-08-06"));
    }

    #[test]
    fn a_provider_is_known_by_its_address() {
        for (url, vendor) in [
            ("https://api.openai.com/v1", Some("openai")),
            ("https://eu.api.openai.com/v1", Some("openai")),
            ("https://me.openai.azure.com:443/openai/v1", Some("azure")),
            ("https://bedrock-runtime.eu-west-1.amazonaws.com", Some("bedrock")),
            ("https://europe-west4-aiplatform.googleapis.com/v1", Some("vertex")),
            ("https://openai.com.evil.example/v1", None),
            ("https://notapi.openai.com.example", None),
            ("https://s3.amazonaws.com", None),
            ("http://10.0.0.5:8000/v1", None),
        ] {
            assert_eq!(vendor_of_url(url), vendor, "{url}");
        }
    }

    #[test]
    fn an_address_says_whether_calls_stay_in_a_region() {
        assert!(is_regional("https://eu.api.openai.com/v1"));
        assert!(is_regional("https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/europe-west1"));
        assert!(!is_regional("https://api.openai.com/v1"));
        assert!(!is_regional("https://aiplatform.googleapis.com/v1/projects/p/locations/global"));
    }

    proptest! {
        #[test]
        fn no_name_panics_and_the_first_candidate_is_the_name_itself(vendor in "[a-z]{1,9}|bedrock|vertex", model in "\\PC{0,30}") {
            let found = candidates(&vendor, &model);

            prop_assert_eq!(&found[0], &format!("{vendor}/{model}"));
        }

        #[test]
        fn a_name_with_something_else_behind_it_is_not_that_name(rest in "[a-z][a-z0-9]{0,5}") {
            prop_assume!(rest != "latest");
            let found = candidates("openai", &format!("gpt-4o-{rest}"));

            prop_assert!(!found.contains(&"openai/gpt-4o".to_owned()));
        }
    }
}
