//! The shipped catalog of models: figures checked by hand against its sources, names, what the operator adds, the commands.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bursar::config::Config;
use bursar::config::catalog::{Ability, Rates, Tier};
use bursar::config::load::{Sources, load};
use bursar::providers::catalog::build::build;
use bursar::providers::catalog::{Catalog, Entry, Mode};
use bursar::schema::chat::Effort;
use bursar_actors::Usage;
use serde_json::Value;
use tempfile::TempDir;

/// One dollar per million tokens.
const DOLLAR: u64 = 1_000_000_000;

fn shipped() -> &'static str {
    include_str!("../config/catalog.jsonl")
}

#[track_caller]
fn found(provider: &str, model: &str) -> Entry {
    Catalog::builtin().find(provider, model).unwrap_or_else(|| panic!("{provider}/{model} is not known"))
}

fn rates(entry: &Entry, tier: Tier, above: u64) -> Rates {
    entry.price.as_ref().and_then(|price| price.tariff.get(&(tier, above)).copied()).unwrap_or_default()
}

fn loaded(text: &str) -> Result<(Config, TempDir), Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bursar.toml"), text).unwrap();
    let sources = Sources {
        working_dir: folder.path().to_owned(),
        system_file: folder.path().join("none.toml"),
        ..Sources::default()
    };
    match load(&sources) {
        Ok(config) => Ok((config, folder)),
        Err(faults) => Err(faults.iter().map(|fault| fault.one_line()).collect()),
    }
}

#[test]
fn twelve_models_cost_what_the_sources_say() {
    // Dollars per million tokens, as millionths: input, cached, cache write, output; copied from the sources by hand.
    let table: [(&str, &str, [u64; 4]); 12] = [
        ("openai", "gpt-4o", [2_500_000, 1_250_000, 0, 10_000_000]),
        ("openai", "gpt-6.1-sol", [2_000_000, 100_000, 2_500_000, 10_000_000]),
        ("openai", "text-embedding-3-small", [20_000, 0, 0, 0]),
        ("anthropic", "claude-haiku-4-5", [1_000_000, 100_000, 1_250_000, 5_000_000]),
        ("anthropic", "claude-haiku-5-5", [100_000, 10_000, 125_000, 500_000]),
        ("vertex", "gemini-2.5-flash", [300_000, 30_000, 0, 2_500_000]),
        ("deepseek", "deepseek-flash", [300_000, 6_000, 0, 1_200_000]),
        ("zai", "glm-5.3", [1_400_000, 260_000, 0, 4_400_000]),
        ("xai", "grok-4.20-beta-0309-reasoning", [1_250_000, 200_000, 0, 2_500_000]),
        ("nebius", "deepseek-ai/DeepSeek-R1-0528", [800_000, 0, 0, 2_400_000]),
        ("novita", "moonshotai/kimi-k2.7-code", [950_000, 0, 0, 0]),
        ("openrouter", "01-ai/yi-large", [3_000_000, 0, 0, 3_000_000]),
    ];
    for (provider, model, [input, cached, write, output]) in table {
        let rates = rates(&found(provider, model), Tier::Standard, 0);
        let millionths = |rate: Option<u64>| rate.map(|rate| (rate / 1000, rate % 1000));

        assert_eq!(millionths(rates.input), Some((input, 0)), "{provider}/{model}");
        for (rate, meant) in [(rates.cached, cached), (rates.cache_write, write), (rates.output, output)] {
            if meant > 0 {
                assert_eq!(millionths(rate), Some((meant, 0)), "{provider}/{model}");
            }
        }
    }
}

#[test]
fn tiers_brackets_limits_and_abilities_are_kept() {
    let sol = found("openai", "gpt-6.1-sol");
    assert_eq!(rates(&sol, Tier::Priority, 272_000).input, Some(8 * DOLLAR));
    assert_eq!(rates(&sol, Tier::Batch, 272_000).output, Some(7_500_000_000));
    assert_eq!(rates(&sol, Tier::Ultrafast, 0).cache_write_long, Some(30 * DOLLAR));
    assert_eq!((sol.mode, sol.max_output), (Mode::Chat, Some(128_000)));
    assert_eq!(sol.price.as_ref().unwrap().search, Some([10_000_000; 3]));
    assert_eq!(sol.efforts, [Effort::Low, Effort::Medium, Effort::High, Effort::XHigh, Effort::Max]);

    let opus = found("anthropic", "claude-opus-5-5");
    let (usual, fast) = (rates(&opus, Tier::Standard, 0), rates(&opus, Tier::Fast, 0));
    assert_eq!(fast.output, usual.output.map(|rate| 2 * rate));

    let haiku = found("anthropic", "claude-haiku-5-5").facts();
    assert_eq!((haiku.sampling, haiku.prefill, haiku.json_schema), (Some(false), Some(false), Some(true)));
    assert_eq!((haiku.forced_tools, haiku.context), (Some(true), Some(1_000_000)));

    let nova = found("bedrock", "us.amazon.nova-2-lite-v1:0");
    assert_eq!(rates(&nova, Tier::Priority, 0).cached, Some(144_375_000), "the finest figure of the source");
    assert_eq!(found("perplexity", "sonar").price.unwrap().search, Some([5_000_000, 8_000_000, 12_000_000]));
    assert_eq!(found("openai", "computer-use-preview").mode, Mode::Responses);
    assert_eq!(found("openai", "computer-use-preview").deprecated.as_deref(), Some("2026-07-23"));
    assert_eq!(found("gemini", "gemini-embedding-001").dimensions, Some(3072));
}

#[test]
fn a_call_costs_what_one_reckons_by_hand() {
    let price = found("anthropic", "claude-haiku-5-5").price.unwrap();
    let usage = Usage { prompt: 100_000, completion: 200, total: 100_200, cached: 90_000, ..Usage::default() };
    let longer = Usage { prompt: 100_001, total: 100_201, ..usage };

    // 10,000 x 0.1 + 90,000 x 0.01 + 200 x 0.5 micro-dollars, and above 100,000 tokens five times of it.
    assert_eq!(price.cost(&usage), Some(2_000_000));
    assert_eq!(price.cost(&longer), Some(10_000_500));
    assert_eq!(price.cost(&Usage { tier: Tier::Batch, ..usage }), Some(1_000_000));
    assert_eq!(price.cost(&Usage { tier: Tier::Priority, ..usage }), None);
    assert_eq!(price.cost(&Usage { searches: 1, ..usage }), Some(12_000_000));
    assert_eq!(price.cost(&Usage { regional: true, ..usage }), Some(2_200_000));
}

#[test]
fn a_name_means_itself_or_itself_with_a_date() {
    let table = [
        ("openai", "gpt-4o", "openai/gpt-4o"),
        ("openai", "GPT-4o", "openai/gpt-4o"),
        ("openai", "openai/gpt-4o", "openai/gpt-4o"),
        ("openai", "gpt-4o-2024-05-13", "openai/gpt-4o-2024-05-13"),
        ("openai", "gpt-4o-2031-01-01", "openai/gpt-4o"),
        ("gemini", "models/gemini-2.5-flash", "gemini/gemini-2.5-flash"),
        ("google", "gemini-2.5-flash", "gemini/gemini-2.5-flash"),
        ("vertex", "publishers/google/models/gemini-2.5-flash", "vertex/gemini-2.5-flash"),
        ("vertex_ai", "google/gemini-2.5-flash-001", "vertex/gemini-2.5-flash"),
        ("anthropic", "claude-haiku-4-5-20251001", "anthropic/claude-haiku-4-5-20251001"),
        ("anthropic", "claude-haiku-4-5-20311001", "anthropic/claude-haiku-4-5"),
        ("bedrock", "eu.anthropic.claude-sonnet-5", "bedrock/eu.anthropic.claude-sonnet-5"),
        ("bedrock", "kr.anthropic.claude-sonnet-5", "bedrock/us.anthropic.claude-sonnet-5"),
        ("bedrock", "anthropic.claude-sonnet-5-v1:0", "bedrock/anthropic.claude-sonnet-5"),
        (
            "bedrock",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-5",
            "bedrock/us.anthropic.claude-sonnet-5",
        ),
        ("fireworks", "deepseek-r1", "fireworks/accounts/fireworks/models/deepseek-r1"),
        ("together", "meta-llama/llama-3.3-70b-instruct-turbo", "together/meta-llama/Llama-3.3-70B-Instruct-Turbo"),
        ("azure", "claude-haiku-4-5", "azure_ai/claude-haiku-4-5"),
        ("huggingface", "MiniMaxAI/MiniMax-M3:together", "huggingface/MiniMaxAI/MiniMax-M3:together"),
    ];
    for (provider, model, name) in table {
        assert_eq!(found(provider, model).name, name, "{provider} {model}");
    }
}

#[test]
fn another_model_is_never_taken_for_a_known_one() {
    let catalog = Catalog::builtin();
    for (provider, model) in [
        ("openai", "gpt-4o-mega"),
        ("openai", "gpt-4o-mini-turbo"),
        ("openai", "gpt-4o:fancy"),
        ("openai", "gpt"),
        ("openai", "gpt-"),
        ("openai", ""),
        ("openai", "claude-haiku-4-5"),
        ("anthropic", "claude"),
        ("openrouter", "01-ai/yi-large:nitro"),
        ("huggingface", "MiniMaxAI/MiniMax-M3"),
        ("bedrock", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"),
        ("bedrock", "us-gov.anthropic.claude-nobody"),
        ("nobody", "gpt-4o"),
        ("", ""),
    ] {
        assert_eq!(catalog.find(provider, model).map(|entry| entry.name), None, "{provider}/{model}");
    }
}

#[test]
fn every_line_is_found_by_its_own_name_and_nothing_else_is_free() {
    let catalog = Catalog::builtin();
    let lines = shipped().lines().skip(1).count();

    let entries: Vec<Entry> = catalog.entries().collect();

    assert_eq!(entries.len(), lines, "every line can be read");
    assert!(lines > 4000);
    for entry in &entries {
        let (provider, model) = entry.name.split_once('/').unwrap();
        assert_eq!(catalog.find(provider, model).as_ref(), Some(entry));
        for rates in entry.price.iter().flat_map(|price| price.tariff.values()) {
            let free = rates.named().iter().any(|(_, rate)| *rate == Some(0));
            assert!(!free || (provider == "openrouter" && model.ends_with(":free")), "{} is free", entry.name);
        }
    }
    let header: Value = serde_json::from_str(shipped().lines().next().unwrap()).unwrap();
    assert_eq!(header["format"], 1);
    assert!(header["licences"].as_object().unwrap().values().all(|text| text.as_str().unwrap().starts_with("MIT")));
}

#[test]
fn the_operator_knows_better() {
    let text = "
[providers.openai]
kind = 'openai'
keys = [{ id = 'a', value = 'sk-1' }]
[providers.local]
kind = 'openai_compatible'
base_url = 'http://10.0.0.5:8000/v1'
keys = []
[catalog.models.\"local/qwen3-32b\"]
context = 32768
price = { input = 0.10, output = '0.30' }
long_price = [{ above = 16_000, price = { input = 0.2, output = 0.6 } }]
flex_price = { input = 0.000000001 }
can = ['tools']
efforts = ['high', 'low']
[catalog.models.\"openai/gpt-4o\"]
max_output = 99
cannot = ['vision']
";
    let (config, _folder) = loaded(text).unwrap();
    let catalog = Catalog::builtin().with_overrides(&config);
    let of = |provider: &str, model: &str| catalog.of(&config.providers[provider], model);

    let local = of("local", "qwen3-32b").unwrap();
    assert_eq!(rates(&local, Tier::Standard, 0).input, Some(DOLLAR / 10));
    assert_eq!(rates(&local, Tier::Standard, 16_000).output, Some(DOLLAR * 6 / 10));
    assert_eq!(rates(&local, Tier::Flex, 0).input, Some(1));
    assert_eq!((local.context, local.can(Ability::Tools)), (Some(32_768), Some(true)));
    assert_eq!(local.efforts, [Effort::Low, Effort::High]);
    let gpt = of("openai", "gpt-4o").unwrap();
    assert_eq!((gpt.max_output, gpt.can(Ability::Vision)), (Some(99), Some(false)));
    assert_eq!(gpt.price, found("openai", "gpt-4o").price, "what was not said stays");
    assert_eq!(of("local", "gpt-4o"), None, "a machine of one's own has no price but the one that was written");

    let other = loaded(&text.replace("0.10", "0.11")).unwrap().0;
    assert_ne!(catalog.hash(), Catalog::builtin().hash());
    assert_ne!(catalog.hash(), Catalog::builtin().with_overrides(&other).hash());
    assert_eq!(catalog.hash(), Catalog::builtin().with_overrides(&config).hash());
}

#[test]
fn every_fault_of_an_override_is_told_with_its_place() {
    let faults = loaded(
        "[providers.openai]\nkind = 'openai'\nkeys = [{ id = 'a', value = 'sk-1' }]\n\
        [catalog.models.\"opnai/gpt-4o\"]\ncontext = 0\n\
        [catalog.models.gpt]\nprice = { input = 0.0000000001, output = 'much' }\n\
        [catalog.models.\"openai/a\"]\nlong_price = [{ price = { output = 1 } }]\ncan = ['tools']\ncannot = ['tools']\n\
        [catalog.models.\"openai/b\"]\nprice = { input = true }\ncan = ['fly']\n",
    )
    .err()
    .unwrap()
    .join("\n");

    for part in [
        "names provider `opnai`, which is not defined; defined: openai (did you mean `openai`?)",
        "context is 0; it is a number of tokens",
        "`gpt` does not say whose model it is; write [catalog.models.\"provider/model\"]",
        "price.input: `0.0000000001` is not an amount of dollars",
        "price.output: `much` is not an amount of dollars",
        "long_price[0] has no `above`",
        "has no `price`",
        "cannot names `tools`, and so does `can`",
        "price.input takes an amount such as 0.25, not true or false",
        "is `fly`, which is not one of: tools",
    ] {
        assert!(faults.contains(part), "`{part}` is not in\n{faults}");
    }
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bursar"));
    command.args(arguments).env_clear().current_dir(folder).output().unwrap()
}

#[track_caller]
fn said(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const CONFIGURED: &str = "
[providers.claude]
kind = 'openai_compatible'
base_url = 'https://api.anthropic.com/v1'
keys = [{ id = 'a', value = 'sk-1' }]
[models.alias.smart]
description = 'Thinks'
targets = [{ provider = 'claude', model = 'claude-haiku-5-5' }, { provider = 'claude', model = 'nobody-knows' }]
";

#[test]
fn models_are_listed_in_three_forms_without_a_gateway() {
    let (_, folder) = loaded(CONFIGURED).unwrap();
    let folder = folder.path();

    let csv = said(folder, &["models", "list", "--format", "csv"]);
    let table = said(folder, &["models", "list", "--provider", "claude"]);
    let json: Value = serde_json::from_str(&said(folder, &["models", "list", "--output", "json"])).unwrap();
    let groq = said(folder, &["models", "list", "--provider", "groq", "--output", "csv"]);
    let unknown = run(folder, &["models", "list", "--provider", "groqq"]);

    assert!(csv.starts_with("MODEL,MODE,CONTEXT,MAX OUTPUT,INPUT ($/1M),CACHED ($/1M),OUTPUT ($/1M)"), "{csv}");
    assert!(csv.contains("smart,alias,,,,,,,\"claude/claude-haiku-5-5, claude/nobody-knows\""), "{csv}");
    assert!(csv.contains("\nclaude/claude-haiku-5-5,chat,1000000,128000,0.1,0.01,0.5,"), "{csv}");
    assert!(csv.contains("\nclaude/nobody-knows,,,,,,,,"), "{csv}");
    assert!(table.contains("claude/claude-opus-5-5") && !table.contains("smart"), "{table}");
    let haiku = json.as_array().unwrap().iter().find(|row| row["model"] == "claude/claude-haiku-5-5").unwrap();
    assert_eq!(haiku["usd_per_million_tokens"][0]["input"], "0.1");
    assert_eq!((&haiku["priced"], &haiku["catalog_name"]), (&true.into(), &"anthropic/claude-haiku-5-5".into()));
    assert!(groq.lines().skip(1).all(|line| line.starts_with("groq/")) && groq.lines().count() > 10, "{groq}");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no provider `groqq`"));
}

#[test]
fn info_tells_everything_of_a_model_and_of_the_targets_of_an_alias() {
    let (_, folder) = loaded(CONFIGURED).unwrap();
    let folder = folder.path();

    let alias = said(folder, &["models", "info", "smart"]);
    let plain = said(folder, &["models", "info", "claude-haiku-5-5", "--output", "csv"]);
    let other: Value =
        serde_json::from_str(&said(folder, &["models", "info", "openai/gpt-6.1-sol", "--output", "json"])).unwrap();
    let unknown = run(folder, &["models", "info", "nobody-knows-this"]);

    for part in ["Thinks", "claude/claude-haiku-5-5", "claude/nobody-knows", "unpriced; say it in [catalog.models]"] {
        assert!(alias.contains(part), "`{part}` is not in\n{alias}");
    }
    for part in [
        "model,claude/claude-haiku-5-5",
        "known as,anthropic/claude-haiku-5-5 (litellm)",
        "context,1000000 tokens",
        "\"$ per 1M tokens, standard\",\"input 0.1, output 0.5, cached 0.01, cache write 0.125, cache write long 0.2\"",
        "\"$ per 1M tokens, standard, prompts above 100000 tokens\",\"input 0.5,",
        "$ per search,0.01",
        "cannot,\"always_thinks, sampling, prefill\"",
        "efforts,\"low, medium, high, xhigh, max\"",
    ] {
        let flat = plain.replace("standard\"", "standard");
        assert!(plain.contains(part) || flat.contains(part), "`{part}` is not in\n{plain}");
    }
    assert_eq!(other["models"][0]["max_output"], 128_000);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("nothing is known of `nobody-knows-this`"));
}

#[test]
fn a_build_leaves_out_what_it_cannot_be_sure_of_and_says_so() {
    let litellm = r#"{
        "gpt-x": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1.3200000000000002e-07,
            "output_cost_per_token": 4e-07, "cache_creation_input_token_cost": 0, "max_input_tokens": 10,
            "supports_vision": false, "input_cost_per_token_above_200k_tokens_flex": 1e-06},
        "free": {"litellm_provider": "groq", "mode": "chat", "input_cost_per_token": 0, "output_cost_per_token": 0,
            "max_input_tokens": 10},
        "draws": {"litellm_provider": "openai", "mode": "image_generation"},
        "stranger": {"litellm_provider": "elsewhere", "mode": "chat", "input_cost_per_token": 1}
    }"#;
    let genai = r#"[{"id": "openrouter", "models": [
        {"id": "a/b:free", "match": {"equals": "a/b:free"}, "prices": "", "context_window": 5},
        {"id": "a/b", "match": {"equals": "a/b"}, "prices": "$1/input MTok (+tiers), $2/output MTok", "context_window": 5},
        {"id": "a/c", "match": {"or_": [{"equals": "a/c"}, {"equals": "a/d"}]}, "prices": [
            {"prices": "$1/input MTok, $2/output MTok"},
            {"constraint": {"start_date": "2026-11-01"}, "prices": "$3/input MTok, $4/output MTok"}]}]},
        {"id": "openai", "models": [
        {"id": "gpt-x", "match": {"equals": "gpt-x"}, "prices": "$0.2/input MTok, $0.4/output MTok", "context_window": 20},
        {"id": "draws", "match": {"equals": "draws"}, "prices": "$1/input MTok, $2/output MTok"}]}]"#;

    let built = build(litellm, genai, "2026-11-23").unwrap();

    let lines: Vec<&str> = built.text.lines().skip(1).collect();
    let rest = "\"source\":\"genai_prices\"}";
    let expected = [
        "{\"model\":\"groq/free\",\"mode\":\"chat\",\"context\":10,\"source\":\"litellm\"}".to_owned(),
        "{\"model\":\"openai/gpt-x\",\"mode\":\"chat\",\"context\":20,\"prices\":{\"flex>200000\":{\"input\":1000000000},\
         \"standard\":{\"input\":132000000,\"output\":400000000}},\"cannot\":\"vision\",\"source\":\"litellm\"}"
            .to_owned(),
        format!("{{\"model\":\"openrouter/a/b\",\"mode\":\"chat\",\"context\":5,{rest}"),
        format!(
            "{{\"model\":\"openrouter/a/b:free\",\"mode\":\"chat\",\"context\":5,\
            \"prices\":{{\"standard\":{{\"input\":0,\"output\":0}}}},{rest}"
        ),
        format!(
            "{{\"model\":\"openrouter/a/c\",\"mode\":\"chat\",\"prices\":\
            {{\"standard\":{{\"input\":3000000000,\"output\":4000000000}}}},{rest}"
        ),
        format!(
            "{{\"model\":\"openrouter/a/d\",\"mode\":\"chat\",\"prices\":\
            {{\"standard\":{{\"input\":3000000000,\"output\":4000000000}}}},{rest}"
        ),
    ];
    assert_eq!(lines, expected);
    let report = built.report.to_string();
    for part in [
        "6 models (2 unpriced): groq 1, openai 1, openrouter 4",
        "left out, of a provider that is not served: 1 (stranger)",
        "left out, neither chat nor embedding: 2 (draws, openai/draws)",
        "unpriced, 0 in the source, which does not mean free: 1 (groq/free)",
        "unpriced, as the source does not show its prices of long prompts: 1 (openrouter/a/b)",
        "1 figures were printed floats",
        "1 models have a price in both sources; 1 differ, LiteLLM's was taken:\n  openai/gpt-x: input 0.132 against 0.2",
    ] {
        assert!(report.contains(part), "`{part}` is not in\n{report}");
    }
    assert!(build("[]", genai, "2026-11-23").unwrap_err().contains("LiteLLM"));
    assert!(build(litellm, "{}", "2026-11-23").unwrap_err().contains("genai-prices"));
}

/// The two sources, where they lie beside the project.
fn sources() -> Option<[PathBuf; 2]> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let folder = std::env::var_os("BURSAR_PRICES").map_or(folder.join("shared/reference/prices"), PathBuf::from);
    let files = ["litellm-model_prices_and_context_window.json", "genai-prices.json"].map(|name| folder.join(name));
    files.iter().all(|file| file.is_file()).then_some(files)
}

#[test]
fn the_shipped_file_is_what_its_sources_build() {
    let Some([litellm, genai]) = sources() else { return };
    let header: Value = serde_json::from_str(shipped().lines().next().unwrap()).unwrap();
    let (folder, day) = (tempfile::tempdir().unwrap(), header["as_of"].as_str().unwrap());
    let out = folder.path().join("catalog.jsonl");
    let [litellm, genai, file] = [&litellm, &genai, &out].map(|path| path.to_str().unwrap());

    let arguments = ["catalog", "build", "--litellm", litellm, "--genai", genai, "--day", day, "--out", file];
    let output = run(folder.path(), &arguments);

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // No assert_eq: a megabyte of difference helps nobody.
    assert!(std::fs::read_to_string(&out).unwrap() == shipped(), "build it again and look at the difference");
    assert!(String::from_utf8_lossy(&output.stderr).contains("models have a price in both sources"));
}

#[test]
fn targets_known_to_lack_what_their_alias_needs_are_told_and_the_unknown_stay() {
    let alias = |name: &str, targets: &str, needs: &str| {
        format!("[models.alias.{name}]\ntargets = [{targets}]\nneeds = {{ {needs} }}\n")
    };
    let blind = r#"{ provider = "local", model = "blind" }"#;
    let unknown = r#"{ provider = "local", model = "unknown" }"#;
    let text = "[providers.local]\nkind = \"openai_compatible\"\nbase_url = \"http://127.0.0.1:1/v1\"\nkeys = []\n\
        [catalog.models.\"local/blind\"]\ncontext = 100\ncannot = [\"vision\"]\n"
        .to_owned()
        + &alias("fits", blind, "capabilities = [\"tools\"]")
        + &alias("one", &format!("{blind}, {unknown}"), "capabilities = [\"vision\"]")
        + &alias("none", blind, "context_window = 101");
    let (config, _folder) = loaded(&text).unwrap();

    let warnings = bursar::pipeline::fitness::warnings(&config);
    let routes = bursar::pipeline::route::Routes::new(&config);

    let told = [
        "models.alias.none leaves out `local/blind`, which reads 100 tokens of the 101 in `needs.context_window`",
        "models.alias.none.needs is met by no target, so all of them stay; ask for less, or add a target",
        "models.alias.one leaves out `local/blind`, which lacks `vision` of `needs.capabilities`",
    ];
    assert_eq!(warnings, told);
    let left =
        |name: &str| routes.alias(name).unwrap().candidates.iter().map(|c| c.model.to_string()).collect::<Vec<_>>();
    assert_eq!((left("one"), left("none")), (vec!["unknown".to_owned()], vec!["blind".to_owned()]));
}
