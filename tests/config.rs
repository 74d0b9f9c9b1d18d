//! Settings as operators meet them: whole files with several mistakes, layers that override each other, the shipped
//! files, and the two commands that read and write them.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use bursar::cli::{check, init};
use bursar::config::fault::Faults;
use bursar::config::load::{Sources, load};
use bursar::config::schema::{Shape, schema};
use bursar::config::{Config, ProviderKind};
use bursar_actors::{Strategy, TeamId};
use tempfile::TempDir;

/// A working directory with one `bursar.toml`, away from the machine's own file and environment.
struct Place {
    folder: TempDir,
    sources: Sources,
}

fn place(text: &str) -> Place {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bursar.toml"), text).unwrap();
    let sources = Sources {
        working_dir: folder.path().to_owned(),
        system_file: folder.path().join("no-such-file.toml"),
        ..Sources::default()
    };
    Place { folder, sources }
}

impl Place {
    fn environment(mut self, variables: &[(&str, &str)]) -> Self {
        self.sources.environment = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        self
    }

    fn set(mut self, assignment: &str) -> Self {
        self.sources.set.push(assignment.to_owned());
        self
    }

    fn load(&self) -> Result<Config, Faults> {
        load(&self.sources)
    }

    fn config(&self) -> Config {
        self.load().unwrap_or_else(|faults| panic!("{faults}"))
    }

    fn faults(&self) -> Vec<String> {
        self.load().err().map(|faults| faults.iter().map(|fault| fault.one_line()).collect()).unwrap_or_default()
    }

    fn printed(&self) -> String {
        self.load().unwrap_err().to_string()
    }
}

#[test]
fn all_ten_mistakes_of_a_file_are_shown_at_once_with_place_and_help() {
    let text = "\
[providers.openai]
kind = \"openai\"
[[providers.openai.keys]]
id = \"Main\"
value = \"sk-secret-1234567890\"
wieght = 3

[providers.local]
kind = \"openai_compatible\"
base_url = \"https://user:hunter2@host/v1\"
connect_timeout = \"3 apples\"

[models.alias.fast]
targets = [{ provider = \"openia\", model = \"m\" }]
fallback = [\"safer\"]
[models.alias.safe]
targets = [{ provider = \"local\", model = \"m\", weight = 0 }]

[balancing]
strategy = \"round_robbin\"
[[client_keys]]
id = \"ci\"
value = \"0123456789abcdef\"
team = \"serach\"
[teams.search]
[sever]
workers = 2
";

    let printed = place(text).printed();

    let expected = "\
bursar.toml:4:6: `Main` is not an id
    4 | id = \"Main\"
      |      ^^^^^^
      |   help: ids start with a-z and go on with a-z, 0-9 and single _
bursar.toml:6:1: unknown key `wieght` in providers.openai.keys[0]
    6 | wieght = 3
      | ^^^^^^ did you mean `weight`?
bursar.toml:10:12: providers.local.base_url holds a user or password; put keys in `keys` and headers in `headers`
   10 | base_url = \"…\"
      |            ^^^
bursar.toml:11:19: providers.local.connect_timeout: `3 apples` is not a duration; write for example 250ms, 30s, 15m or 30d
   11 | connect_timeout = \"3 apples\"
      |                   ^^^^^^^^^^
bursar.toml:14:25: models.alias.fast.targets[0] names provider `openia`, which is not defined
   14 | targets = [{ provider = \"openia\", model = \"m\" }]
      |                         ^^^^^^^^
      |   help: defined: local, openai (did you mean `openai`?)
bursar.toml:15:13: models.alias.fast.fallback[0] names alias `safer`, which is not defined
   15 | fallback = [\"safer\"]
      |             ^^^^^^^
      |   help: defined: safe (did you mean `safe`?)
bursar.toml:17:56: models.alias.safe.targets[0].weight is 0; it has to be at least 1
   17 | targets = [{ provider = \"local\", model = \"m\", weight = 0 }]
      |                                                        ^
bursar.toml:20:12: balancing.strategy is `round_robbin`, which is not one of: p2c_ewma, weighted, least_inflight, round_robin, ordered
   20 | strategy = \"round_robbin\"
      |            ^^^^^^^^^^^^^^ did you mean `round_robin`?
bursar.toml:24:8: client_keys[0] names team `serach`, which is not defined
   24 | team = \"serach\"
      |        ^^^^^^^^
      |   help: defined: search (did you mean `search`?)
bursar.toml:26:2: unknown key `sever` at the top level
   26 | [sever]
      |  ^^^^^ did you mean `server`?";
    assert_eq!(printed, expected);
}

#[test]
fn no_secret_is_ever_printed() {
    let secret = "hunter2hunter2hunter2";
    let texts = [
        format!("[[providers.openai.keys]]\nvalue = {secret}"),
        format!("[[providers.openai.keys]]\nvalue = \"{secret}"),
        format!("[[providers.openai.keys]]\nid = 3\nvlaue = \"{secret}\""),
        format!("[providers.openai]\nkind='openai'\nkeys = [{{ id = \"A\", value = \"{secret} {secret}\", rpm = 0 }}]"),
        format!("[providers.openai]\nkind='openai'\nkey_pool = {{ id = \"A\", value = \"x {secret},b\" }}"),
        format!("[providers.x]\nkind='openai_compatible'\nbase_url = \"http://a/v1?key={secret}\""),
        format!("[providers.x]\nkind='openai_compatible'\nbase_url='http://a'\nproxy = \"ftp://u:{secret}@p:1\""),
        format!("[providers.x]\nkind='demo'\nheaders = {{ host = \"{secret}\" }}"),
        format!("[[providers.openai.keys]]\nid = 'a'\naws = \"{secret}\""),
        format!("[[providers.openai.keys]]\nid = 3\nentra = {{ tenant = 'a', client_secret = \"{secret}\" }}"),
        format!("[[client_keys]]\nid = \"A\"\nteam = \"x\"\nvalue = \"{secret}\""),
        format!("[server]\nworkers = \"${{W:-{secret}}}\""),
        format!("[telemetry.logs]\nformat = \"${{F:-{secret}}}\" # {secret}"),
    ];

    for text in texts {
        let place = place(&text);

        let printed = place.printed();

        assert!(!printed.is_empty() && !printed.contains(secret), "{printed}");
        assert!(place.faults().iter().all(|fault| !fault.contains(secret)));
    }
}

#[test]
fn a_reference_to_the_wrong_variable_does_not_show_what_it_stands_for() {
    let secret = "sk-hunter2hunter2";
    let wrong =
        ["server.listen", "server.max_body", "server.request_timeout", "models.default", "providers.a.base_url"];
    for path in wrong {
        let place = place("[providers.a]\nkind='openai_compatible'\nbase_url='http://a/v1'")
            .environment(&[("A_KEY", secret)])
            .set(&format!("{path}=${{A_KEY}}"));

        let printed = place.printed();

        assert!(!printed.contains(secret) && printed.contains(path), "{printed}");
    }
}

#[test]
fn the_environment_beats_the_file_and_the_command_line_beats_both() {
    let text = "[server]\nworkers = 1\nlisten = \"127.0.0.1:1\"\nmax_body = \"1MB\"";
    let mut place = place(text)
        .environment(&[("BURSAR__SERVER__LISTEN", "127.0.0.1:2"), ("BURSAR__SERVER__WORKERS", "2")])
        .set("server.workers=3");
    place.sources.data = Some("/somewhere".into());

    let config = place.config();

    assert_eq!((config.server.workers, config.server.max_body), (3, 1_000_000));
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.storage.path, Path::new("/somewhere"));
    assert_eq!(
        config.sources,
        ["bursar.toml", "2 from environment", "2 from the command line", "built-in demo provider"]
    );
}

#[test]
fn later_files_win_and_a_missing_one_is_an_error() {
    let mut place = place("[server]\nworkers = 9");
    fs::write(place.folder.path().join("a.toml"), "[server]\nworkers = 1\nmax_body = \"1MB\"").unwrap();
    fs::write(place.folder.path().join("b.toml"), "[server]\nworkers = 2").unwrap();
    place.sources.files = vec!["a.toml".into(), "b.toml".into()];

    let config = place.config();
    place.sources.files.push("c.toml".into());

    assert_eq!((config.server.workers, config.server.max_body), (2, 1_000_000));
    assert!(place.faults()[0].starts_with("c.toml cannot be read"));
}

#[test]
fn alias_names_with_dots_capitals_and_slashes_survive_the_merge() {
    let text = "[providers.demo]\nkind = \"demo\"\n[models.alias.\"GPT-4.1/Mini\"]\ntargets = [{ provider = \"demo\", model = \"a.B\" }]";
    let config = place(text).set("models.default=GPT-4.1/Mini").config();

    let alias = &config.models.aliases["GPT-4.1/Mini"];
    assert_eq!((alias.name.as_str(), alias.targets[0].model.as_str()), ("GPT-4.1/Mini", "a.B"));
    assert_eq!(config.models.default.as_deref(), Some("GPT-4.1/Mini"));
}

#[test]
fn without_any_provider_the_demo_answers_under_four_names() {
    let config = place("").config();

    assert_eq!(config.providers["demo"].kind, ProviderKind::Demo);
    assert_eq!(config.models.aliases.keys().collect::<Vec<_>>(), ["auto", "embed", "fast", "smart"]);
    assert_eq!(config.models.default.as_deref(), Some("auto"));
    assert!(!config.auth.require_key);
    assert_eq!(config.balancing.strategy, Strategy::P2cEwma);
}

#[test]
fn a_key_in_the_environment_is_enough_for_a_provider() {
    let variables = [("OPENAI_API_KEYS", "sk-a, sk-b,sk-a"), ("OPENAI_BASE_URL", "https://proxy.example/v1/")];

    let config = place("").environment(&variables).config();

    let openai = &config.providers["openai"];
    assert_eq!(openai.endpoints[0].base_url, "https://proxy.example/v1");
    assert_eq!(openai.keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), ["pool_01", "pool_02"]);
    assert!(config.warnings[0].contains("pool_03"), "the third key repeats the first: {:?}", config.warnings);
    assert!(config.models.aliases.is_empty());
    assert!(config.sources.contains(&"openai from OPENAI_API_KEYS".to_owned()));
}

#[test]
fn an_unset_reference_is_an_error_unless_the_key_is_optional() {
    let text = |optional: &str| {
        format!("[providers.openai]\nkind='openai'\n[[providers.openai.keys]]\nid='a'\nvalue='${{A_KEY}}'\n{optional}")
    };

    let needed = place(&text("")).printed();
    let optional = place(&text("optional = true")).config();

    assert!(needed.starts_with("bursar.toml:5:7: ${A_KEY} is not set\n    5 | value='${A_KEY}'\n"), "{needed}");
    assert_eq!(needed.matches("bursar.toml").count(), 1, "{needed}");
    assert!(!optional.providers.contains_key("openai"));
    assert_eq!(optional.warnings.len(), 2, "{:?}", optional.warnings);
}

#[test]
fn an_open_port_needs_a_client_key() {
    let open = "[server]\nlisten = \"0.0.0.0:8080\"\n";
    let key = "[[client_keys]]\nid = \"ci\"\nvalue = \"0123456789abcdef\"\n";

    let keyless = place(open).config();
    assert!(keyless.auth.require_key && keyless.warnings[0].contains("no file has a client key"), "{keyless:?}");
    assert!(place(&format!("{open}{key}[auth]\nrequire_key = false")).faults()[0].contains("require_key is false"));

    let config = place(&format!("{open}{key}")).config();
    assert!(config.auth.require_key);
    assert_eq!(config.client_keys[0].secrets[0].hash, *blake3::hash(b"0123456789abcdef").as_bytes());
    assert!(config.teams.contains_key(&TeamId::from("default")));
}

#[test]
fn several_endpoints_are_numbered_and_one_is_called_like_its_provider() {
    let text = "[providers.a]\nkind='openai_compatible'\nregion='eu'\nkeys=[]\nendpoints=[{base_url='http://a/v1/'},{base_url='http://b',id='spare',region='us'}]\n\
                [providers.b]\nkind='openai_compatible'\nbase_url='http://c/v1'";

    let config = place(text).config();

    let endpoints: Vec<_> = config.providers.values().flat_map(|provider| &provider.endpoints).collect();
    assert_eq!(endpoints.iter().map(|endpoint| endpoint.id.as_str()).collect::<Vec<_>>(), ["a_1", "spare", "b"]);
    assert_eq!(endpoints[0].region.as_deref(), Some("eu"));
    assert_eq!(endpoints[1].region.as_deref(), Some("us"));
    assert!(config.providers["a"].keys.is_empty());
}

#[test]
fn probes_are_off_or_at_least_a_second_apart() {
    let every = |text: &str| place(&format!("[probes]\nevery = '{text}'"));

    assert_eq!(
        every("50ms").faults(),
        ["bursar.toml:2:9: probes.every is 50ms; it has to be at least 1s, or 0s for no probes"]
    );
    assert!(every("0s").config().probes.every.is_zero());
    assert_eq!(place("").config().probes.every.as_secs(), 30);
}

#[test]
fn places_that_name_nobody_or_tell_a_secret_are_refused() {
    for (line, expected) in [
        (
            "accept = ['Authorization', 'x-apikey']",
            "auth.accept[1]: `x-apikey` is no header that may carry a client key; did you mean `x-api-key`?",
        ),
        ("accept = []", "auth.accept is empty: nobody could send a key"),
        ("end_user = ['body.name']", "`body.name` is not read"),
        ("session = ['x-api-key']", "header `x-api-key` carries a secret"),
        ("session = ['x-bursar-user']", "auth.session names `x-bursar-user`, as auth.end_user does"),
    ] {
        let faults = place(&format!("[auth]\n{line}")).faults();
        assert!(faults.len() == 1 && faults[0].contains(expected), "{line}: {faults:?}");
    }
}

#[test]
fn fallbacks_in_a_circle_are_named() {
    let alias = |name: &str, next: &str| {
        format!("[models.alias.{name}]\ntargets=[{{provider='demo',model='m'}}]\nfallback=['{next}']\n")
    };
    let text = format!("[providers.demo]\nkind='demo'\n{}{}{}", alias("a", "b"), alias("b", "c"), alias("c", "b"));

    assert_eq!(place(&text).faults(), ["bursar.toml:8:10: the fallbacks go in a circle: b -> c -> b"]);
}

#[test]
fn a_misspelt_variable_of_ours_is_a_warning() {
    let config = place("").environment(&[("BURSAR__SERVER__LISTN", "x"), ("AZURE_OPENAI_API_KEY", "k")]).config();

    assert_eq!(config.warnings.len(), 2);
    assert!(config.warnings.iter().any(|warning| warning.contains("did you mean `BURSAR__SERVER__LISTEN`?")));
    assert!(config.warnings.iter().any(|warning| warning.contains("set AZURE_OPENAI_ENDPOINT too")));
}

#[test]
fn the_shipped_files_check_clean() {
    for file in ["bursar.toml", "demo.toml"] {
        let mut place = place("");
        place.sources.files = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(file)];

        let config = place.config();

        assert!(config.warnings.is_empty(), "{file}: {:?}", config.warnings);
        assert!(config.providers.values().all(|provider| provider.kind == ProviderKind::Demo));
    }
}

#[test]
fn the_reference_file_shows_every_key() {
    fn keys(shape: &Shape, found: &mut Vec<&'static str>) {
        match shape {
            Shape::Table(table) => table.iter().for_each(|(key, inner)| {
                found.push(key);
                keys(inner, found);
            }),
            Shape::Map(inner) | Shape::List(inner) | Shape::WordOr(inner) | Shape::OneOrMany(inner) => {
                keys(inner, found)
            }
            _ => {}
        }
    }
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/bursar.toml")).unwrap();
    let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let mut known = Vec::new();
    keys(schema(), &mut known);

    let missing: Vec<_> = known.into_iter().filter(|key| !words.contains(key)).collect();

    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn the_reference_file_is_valid_with_its_examples_switched_on() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/bursar.toml")).unwrap();
    let (head, body) = text.split_once("[server]").unwrap();
    // Everything below the first table; a commented line is code if it begins like a table, a list's line or `key =`.
    let is_code = |line: &str| {
        let key = line.split_once('=').map(|(key, _)| key.trim());
        line.trim_start().starts_with(['[', '{', ']'])
            || key.is_some_and(|key| !key.starts_with('#') && !key.contains(' '))
    };
    let switched: Vec<String> = body
        .lines()
        .filter(|line| !line.contains("----"))
        .map(|line| match line.strip_prefix("# ") {
            Some(code) if is_code(code) => code.to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    let text = format!(
        "{head}[server]{}\n[models.alias.safe]\ntargets = [{{ provider = 'local', model = 'm' }}]",
        switched.join("\n")
    );
    let variables = [
        ("OPENAI_KEY_TEAM_A", "sk-1"),
        ("AZURE_CLIENT_SECRET", "s"),
        ("BURSAR_CI_KEY", "0123456789abcdef"),
        ("BURSAR_WEBHOOK_SECRET", "0123456789abcdef"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
    for (file, pem) in [
        ("corp.pem", made.cert.pem()),
        ("bursar.pem", made.cert.pem()),
        ("bursar.key", made.signing_key.serialize_pem()),
    ] {
        fs::write(folder.path().join(file), pem).unwrap();
    }
    let text = text.replace("/etc/ssl", folder.path().to_str().unwrap());

    let config = place(&text).environment(&variables).config();

    // What the file says itself of the word.
    let told: Vec<_> = config.warnings.iter().filter(|told| !told.contains("not look for yet")).collect();
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(config.providers.len(), 6);
    assert_eq!(config.models.aliases.len(), 2);
    assert_eq!(config.client_keys.len(), 1);
    assert_eq!((config.budgets.holders.len(), config.budgets.members.len()), (7, 1));
    let privacy = &config.privacy;
    assert_eq!((privacy.data_classes.len(), privacy.prompts.len(), privacy.guardrails.rules.len()), (1, 1, 1));
    let pii = &privacy.guardrails.pii;
    assert_eq!((pii.policy.enabled, pii.policy.actions.len(), pii.custom.len(), pii.teams.len()), (true, 2, 1, 1));
}

#[test]
fn files_for_tls_are_read_and_tried() {
    let made = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let (own, other) = (made("own"), made("other"));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (cert, key) = (file("own.pem", &own.cert.pem()), file("own.key", &own.signing_key.serialize_pem()));
    let foreign = file("other.key", &other.signing_key.serialize_pem());
    let (words, broken) = (file("words", "no PEM at all"), file("broken", "-----BEGIN CERTIFICATE-----\nAA"));
    let local = "[providers.a]\nkind='openai_compatible'\nbase_url='http://a/v1'\n";

    let good = place(&format!("{local}ca_file='{cert}'\nclient_cert='{cert}'\nclient_key='{key}'")).config();
    let faults = |lines: String| place(&format!("{local}{lines}")).faults().join("\n");

    let dial = &good.providers["a"].dial;
    assert!(dial.roots.len() == 1 && dial.identity.is_some());
    for (lines, expected) in [
        (format!("ca_file='{cert}.away'"), "cannot be read: entity not found"),
        (format!("ca_file='{words}'"), "holds no certificate in PEM"),
        (format!("ca_file='{broken}'"), "is damaged"),
        (format!("client_cert='{cert}'"), "has no `client_key`"),
        (format!("client_key='{key}'"), "has no `client_cert`"),
        (format!("client_cert='{cert}'\nclient_key='{cert}'"), "holds no private key in PEM"),
        (format!("client_cert='{cert}'\nclient_key='{foreign}'"), "does not belong to"),
        ("proxy='https://p:1'".to_owned(), "has to start with http://, socks5:// or socks5h://"),
    ] {
        let found = faults(lines);
        assert!(found.contains(expected), "{expected}: {found}");
    }
    let demo = place("[providers.d]\nkind='demo'\nproxy='http://p:1'\nallow_private=true").faults();
    assert_eq!(demo.len(), 2, "{demo:?}");
}

#[test]
fn check_prints_a_verdict_and_the_exit_code() {
    let mut output = Vec::new();
    check::run(&place("[server]\nlisen = 1").sources, &mut output).unwrap();
    check::run(&place("").sources, &mut output).unwrap();

    let output = String::from_utf8(output).unwrap();
    assert!(output.contains("1 error, 0 warnings. Nothing was changed."), "{output}");
    assert!(output.contains("ok: 1 provider, 0 keys, 4 aliases, 0 teams, 0 client keys, 0 warnings"), "{output}");
}

#[test]
fn init_writes_references_that_check_accepts() {
    let place = place("").environment(&[("GROQ_API_KEY", "gsk-very-secret"), ("OPENAI_API_KEYS", "sk-very-secret")]);
    let options = init::Options { path: "new.toml".into(), ..init::Options::default() };

    init::run(&options, &place.sources, &mut &b""[..], &mut Vec::new()).unwrap();

    let text = fs::read_to_string(place.folder.path().join("new.toml")).unwrap();
    assert!(
        text.contains("${GROQ_API_KEY}") && text.contains("${OPENAI_API_KEYS}") && !text.contains("secret"),
        "{text}"
    );
    let mut sources = place.sources.clone();
    sources.files = vec!["new.toml".into()];
    let config = load(&sources).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
    assert_eq!(config.providers.keys().collect::<Vec<_>>(), ["groq", "openai"]);
}

#[test]
fn init_keeps_a_file_that_is_there_and_asks_on_a_terminal() {
    let place = place("# mine").environment(&[("GROQ_API_KEY", "gsk-1")]);
    let keep = init::Options::default();
    let ask = init::Options { existing: init::Existing::Replace, asking: init::Asking::Terminal, ..keep.clone() };
    let file = place.folder.path().join("bursar.toml");

    init::run(&keep, &place.sources, &mut &b""[..], &mut Vec::new()).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "# mine");

    let answers = b"n\nnot a url\nhttp://127.0.0.1:8000/v1/\n0.0.0.0:80\nlocalhost:9000\n";
    init::run(&ask, &place.sources, &mut &answers[..], &mut Vec::new()).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("127.0.0.1:9000") && text.contains("[providers.local]") && !text.contains("groq"), "{text}");
    let config = load(&Sources { environment: Vec::new(), ..place.sources.clone() }).unwrap();
    assert_eq!(config.providers["local"].endpoints[0].base_url, "http://127.0.0.1:8000/v1");
}
