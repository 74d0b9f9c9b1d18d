//! Several files that make one configuration, and the commands that show it and put it in order.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::ExitCode;

use bursar::cli::{Output, config};
use bursar::config::load::{Sources, load};
use tempfile::TempDir;

const SECRET: &str = "0123456789abcdef-hunter2";

/// A working directory with these files, away from the machine's own file and environment.
fn place(files: &[(&str, &str)]) -> (TempDir, Sources) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let working_dir = folder.path().to_owned();
    let system_file = folder.path().join("machine/bursar.toml");
    (folder, Sources { working_dir, system_file, ..Sources::default() })
}

fn faults(sources: &Sources) -> Vec<String> {
    load(sources).err().map(|faults| faults.iter().map(|fault| fault.one_line()).collect()).unwrap_or_default()
}

fn shown(sources: &Sources, form: Output) -> String {
    let mut output = Vec::new();
    let code = config::show(sources, config::Origins::Shown, form, &mut output).unwrap();
    assert_eq!(code, ExitCode::SUCCESS);
    String::from_utf8(output).unwrap()
}

#[test]
fn files_of_conf_d_follow_in_the_order_of_their_names() {
    let (_folder, sources) = place(&[
        ("bursar.toml", "[server]\nworkers = 1\nmax_body = '1MB'\n[providers.a]\nkind = 'demo'\ntags = ['x', 'y']"),
        ("conf.d/20.toml", "[server]\nworkers = 3"),
        ("conf.d/10.toml", "[server]\nworkers = 2\n[providers.a]\ntags = ['z']"),
        ("conf.d/.hidden.toml", "nonsense = 1"),
        ("conf.d/note.txt", "nonsense"),
    ]);

    let config = load(&sources).unwrap();

    assert_eq!((config.server.workers, config.server.max_body), (3, 1_000_000));
    assert_eq!(config.providers["a"].tags, ["z"]);
    assert_eq!(config.sources, ["bursar.toml", "conf.d/10.toml", "conf.d/20.toml"]);
}

#[test]
fn lists_with_ids_join_and_their_faults_name_the_right_line() {
    let key = |id: &str, n: u32| format!("[[client_keys]]\nid = '{id}'\nvalue = '{n:020}'\n");
    let (_folder, sources) = place(&[
        ("bursar.toml", &(key("one", 1) + &key("two", 2))),
        ("conf.d/a.toml", &key("three", 3)),
        ("conf.d/b.toml", &format!("{}team = 'nobody'\n", key("four", 4))),
    ]);

    assert_eq!(
        faults(&sources),
        ["conf.d/b.toml:4:8: client_keys[3] names team `nobody`, which is not defined; defined: default"]
    );
    fs::write(sources.working_dir.join("conf.d/b.toml"), key("four", 4)).unwrap();
    let config = load(&sources).unwrap();
    assert_eq!(
        config.client_keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(),
        ["one", "two", "three", "four"]
    );
}

#[test]
fn the_same_id_in_two_files_is_a_fault_that_names_both() {
    let provider = "[providers.openai]\nkind = 'openai'\n";
    let key = |value: &str| format!("[[providers.openai.keys]]\nid = 'main'\nvalue = '{value}'\n");
    let (_folder, sources) = place(&[
        ("bursar.toml", &format!("{provider}{}", key("sk-1"))),
        ("conf.d/a.toml", &format!("{}[[client_keys]]\nid = 'ci'\nvalue = '{SECRET}'\n", key("sk-2"))),
        ("conf.d/b.toml", &format!("[[client_keys]]\nid = 'ci'\nvalue = '{SECRET}{SECRET}'\n")),
    ]);

    assert_eq!(
        faults(&sources),
        [
            "conf.d/a.toml:2:6: key id `main` is taken by providers.openai.keys[0] (bursar.toml:3:1)",
            "conf.d/b.toml:2:6: client key id `ci` is taken by client_keys[0] (conf.d/a.toml:4:1)",
        ]
    );
}

#[test]
fn conf_d_without_the_file_it_stands_beside_is_somebody_elses() {
    let (_folder, sources) = place(&[("conf.d/other.toml", "nonsense = 1")]);

    let config = load(&sources).unwrap();

    assert!(config.files.contains(&sources.working_dir.join("bursar.toml")));
    assert!(config.files.contains(&sources.working_dir.join("conf.d")));
}

#[test]
fn show_names_the_place_of_every_value_and_no_secret() {
    let (_folder, mut sources) = place(&[
        ("machine/bursar.toml", "[server]\nsse_keepalive = '5s'"),
        (
            "bursar.toml",
            "[providers.openai]\nkind = 'openai'\nheaders = { x-team = 'hunter2' }\n[providers.openai.key_pool]\nvalue = '${POOL}'\n",
        ),
        (
            "conf.d/keys.toml",
            &format!(
                "[[client_keys]]\nid = 'ci'\nvalue = '{SECRET}'\n[[providers.openai.keys]]\nid = 'main'\nvalue = '${{file:secret}}'\nweight = 2\n"
            ),
        ),
        ("secret", "sk-hunter2\n"),
    ]);
    sources.environment =
        [("POOL", "sk-hunter3,sk-hunter4"), ("BURSAR__SERVER__WORKERS", "4"), ("GROQ_API_KEY", "gsk-hunter5")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
    sources.set = vec!["server.max_body=2MB".to_owned()];
    sources.listen = Some("127.0.0.1:9".to_owned());

    let csv = shown(&sources, Output::Csv);

    for line in [
        "server.listen,127.0.0.1:9,--listen",
        "server.max_body,2MB,--set server.max_body",
        "server.workers,4,env BURSAR__SERVER__WORKERS",
        "server.sse_keepalive,5s,machine/bursar.toml:2:17",
        "server.request_timeout,15m,default",
        "providers.openai.keys.main.weight,2,conf.d/keys.toml:7:10",
        "providers.openai.keys.main.value,…,conf.d/keys.toml:6:9",
        "providers.openai.keys.pool_01.value,…,bursar.toml:4:19",
        "providers.openai.headers.x-team,…,bursar.toml:3:22",
        "providers.groq.keys.main.value,…,env GROQ_API_KEY",
        "client_keys.ci.value,…,conf.d/keys.toml:3:9",
    ] {
        assert!(csv.lines().any(|found| found == line), "{line} is not in\n{csv}");
    }
    let all = [csv, shown(&sources, Output::Json), shown(&sources, Output::Table)].concat();
    assert!(!all.contains("hunter"), "{all}");
    let config = load(&sources).unwrap();
    assert!(config.files.contains(&sources.working_dir.join("secret")));
    assert!(!format!("{config:?}").contains("sk-hunter"));
}

#[test]
fn a_built_in_value_is_shown_as_such() {
    let (_folder, sources) = place(&[]);

    assert!(shown(&sources, Output::Csv).contains("providers.demo.kind,demo,built-in\n"));
}

#[test]
fn fmt_writes_what_check_complains_about() {
    let (folder, sources) =
        place(&[("bursar.toml", "[server]\nworkers=1 # one\n"), ("conf.d/a.toml", "[auth]\n\n\nrequire_key=false\n")]);
    let run = |mode| {
        let mut output = Vec::new();
        let code = config::fmt(&sources, &[], mode, &mut output).unwrap();
        (code, String::from_utf8(output).unwrap())
    };

    let would = (ExitCode::FAILURE, "bursar.toml would change\nconf.d/a.toml would change\n".to_owned());
    assert_eq!(run(config::Fmt::Check), would);
    assert_eq!(run(config::Fmt::Write).0, ExitCode::SUCCESS);
    assert_eq!(run(config::Fmt::Check), (ExitCode::SUCCESS, String::new()));

    let text = fs::read_to_string(folder.path().join("bursar.toml")).unwrap();
    assert_eq!(text, "[server]\nworkers = 1  # one\n");
    fs::write(folder.path().join("bursar.toml"), "[server\n").unwrap();
    assert_eq!(run(config::Fmt::Write).0, ExitCode::FAILURE);
    assert_eq!(fs::read_to_string(folder.path().join("bursar.toml")).unwrap(), "[server\n");
}

#[test]
fn issuers_of_tokens_are_checked_one_by_one() {
    let told = |more: &str| {
        let issuer = "[teams.care]\n[[auth.oidc]]\nissuer = \"https://i\"\naudience = [\"b\"]\nteam_claim = \"team\"\n";
        let (_folder, sources) = place(&[("bursar.toml", &format!("{issuer}{more}\n"))]);
        faults(&sources).join("\n")
    };
    let fine = "team_map = { nurses = \"care\" }\njwks = \"file:k.json\"\nalgorithms = [\"PS256\"]";
    let second = |more: &str| format!("[[auth.oidc]]\n{more}");

    assert_eq!(told(fine), "");
    for (more, said) in [
        ("jwks = \"http://i/keys\"", "bursar.toml:6:8: auth.oidc[0].jwks: `http://i/keys` is no place for keys"),
        ("algorithms = [\"none\"]", "`none` is no algorithm that tokens may be signed by"),
        ("algorithms = [\"HS256\"]", "`HS256` is no algorithm that tokens may be signed by"),
        ("role_map = { admins = \"root\" }", "auth.oidc[0].role_map.admins: `root` is no role"),
        ("role_claim = \"groups\"", "auth.oidc[0] has no `role_map`"),
        ("leeway = \"1h\"", "auth.oidc[0].leeway is more than 5m"),
        (&second("issuer = \"https://i\"\naudience = [\"c\"]\nteam_claim = \"t\""), "stands here twice"),
        (&second("issuer = \"http://j\"\naudience = [\"c\"]\nteam_claim = \"t\""), "auth.oidc[1] has no `jwks`"),
        (&second("issuer = \"https://j\"\nteam_claim = \"t\""), "auth.oidc[1] has no `audience`"),
        (&second("issuer = \"https://j\"\naudience = [\"c\"]"), "auth.oidc[1] has no `team_claim`"),
    ] {
        assert!(told(more).contains(said), "{more}: {}", told(more));
    }
}
