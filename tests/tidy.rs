//! The invariants of ARCHITECTURE.md and of the style, held over the text of the repository.
//!
//! Every failure lists `file:line` and what to do. The rules live in `tidy/rules.rs`, the lexer in `tidy/source.rs`; the
//! last tests here feed each rule an offence, so that a rule that has gone blind is noticed.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use bursar_actors::Secret;
use rules::{Faults, TOP_LEVEL};
use source::{Source, blank_literals, functions, read_tree};

const ACTORS: &[&str] = &["actors/src/"];
const SRC: &[&str] = &["src/"];
const BOTH: &[&str] = &["src/", "actors/src/"];
const PURE: &[&str] = &["src/privacy", "src/providers", "src/schema", "src/dashboard"];

fn tree() -> Vec<Source> {
    read_tree(Path::new(env!("CARGO_MANIFEST_DIR")))
}

#[track_caller]
fn none(faults: Faults, what_to_do: &str) {
    assert!(faults.is_empty(), "\n  {}\n{what_to_do}\n", faults.join("\n  "));
}

#[test]
fn the_actors_name_no_http_and_no_socket() {
    let names = ["http", "awc", "actix_web", "actix_http", "hyper", "reqwest", "std::net", "tokio::net"];

    none(
        rules::names_outside(&tree(), ACTORS, &[], &names),
        "actors decide and never see bytes: pass them a type of their own (ids.rs, outcome.rs) from src/",
    );
}

#[test]
fn awc_stands_only_in_upstream_and_telemetry() {
    none(
        rules::names_outside(&tree(), SRC, &["src/upstream", "src/telemetry"], &["awc"]),
        "only src/upstream/ calls providers (exporters in src/telemetry/ may too): give it a function and call that",
    );
}

#[test]
fn actix_web_stands_only_in_http_and_demo() {
    none(
        rules::names_outside(&tree(), SRC, &["src/http/", "src/http.rs", "src/demo"], &["actix_web"]),
        "move it to src/http/ and pass a type of src/call.rs, src/error.rs or src/schema/ inward",
    );
}

#[test]
fn routes_stand_only_in_the_table() {
    let names = ["web::resource", "web::scope", "actix_web::web::resource", "actix_web::web::scope", "actix_web::get"];

    none(
        rules::names_outside(&tree(), SRC, &["src/http/table", "src/demo"], &names),
        "make it a row of src/http/table/: only there it has a right, a place in /openapi.json, and a test",
    );
}

#[test]
fn sled_stands_only_in_the_store() {
    none(
        rules::names_outside(&tree(), BOTH, &["actors/src/store/"], &["sled"]),
        "speak to the traits of actors/src/store/mod.rs, which other stores can stand behind too",
    );
}

#[test]
fn providers_schema_and_dashboard_do_no_input_or_output() {
    none(
        rules::input_or_output(&tree(), PURE),
        "translation and rendering are pure: take the time, the file's text or the bytes as a parameter",
    );
}

#[test]
fn imports_run_downward() {
    none(
        rules::upward_imports(&tree()),
        "a module uses only lower floors (table in tests/tidy/rules.rs): move the shared type down, or pass it in",
    );
}

#[test]
fn a_status_code_is_chosen_in_one_place() {
    let allowed = ["src/http/error.rs", "src/upstream", "src/demo"];

    none(
        rules::segments_outside(&tree(), SRC, &allowed, "StatusCode"),
        "return a GatewayError; src/http/error.rs alone turns it into a status",
    );
}

#[test]
fn no_decision_goes_by_the_wall_clock() {
    // It reads a provider's dates against its own headers, reads and signs dates for issuers of credentials, and stamps
    // ids and the demo's answers.
    let allowed = [
        "src/upstream/mod.rs",
        "src/upstream/judge.rs",
        "src/upstream/credentials",
        "src/providers/limits.rs",
        "src/providers/bedrock/sigv4.rs",
        "src/upstream/authority.rs",
        "src/call.rs",
        "src/demo",
    ];

    none(
        rules::names_outside(&tree(), &["src/", "actors/src/"], &allowed, &["std::time::SystemTime"]),
        "it jumps; take Instant, or the Clock that was passed in",
    );
}

#[test]
fn money_is_never_a_float() {
    none(rules::money_as_float(&tree()), "count whole nano-dollars with the money type of actors/src/money.rs");
}

#[test]
fn a_file_has_at_most_500_lines_and_a_function_70() {
    none(
        rules::long_files_and_functions(&tree()),
        "split the file by the questions it answers, the function by its steps",
    );
}

#[test]
fn no_file_is_a_drawer_for_odds_and_ends() {
    none(rules::drawer_names(&tree()), "name the file after the one question it answers");
}

#[test]
fn the_top_level_holds_only_known_names() {
    let tops: BTreeSet<String> =
        tree().iter().map(|s| s.path.split('/').next().unwrap_or_default().to_owned()).collect();

    let unknown = tops.into_iter().filter(|name| !TOP_LEVEL.contains(&name.as_str())).collect();

    none(unknown, "move it into a folder, ignore it in .gitignore, or add it to TOP_LEVEL in tests/tidy/rules.rs");
}

#[test]
fn nothing_is_left_to_be_done_later() {
    none(rules::leftovers(&tree()), "finish it or take it out; a test that cannot pass is fixed or deleted");
}

#[test]
fn nothing_shipped_unwraps() {
    none(rules::unwraps(&tree()), "handle the case, or state the invariant with expect");
}

#[test]
fn do_send_stands_only_in_drop() {
    none(
        rules::do_send_outside_drop(&tree()),
        "do_send ignores the mailbox bound and drops silently: ask with send, tell with try_send",
    );
}

#[test]
fn every_rust_file_says_first_what_it_is() {
    none(rules::missing_module_docs(&tree()), "begin with //! and one line that says which question the file answers");
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    none(rules::machine_paths(&tree()), "use a relative path, a temporary folder or a configured one");
}

#[test]
fn every_exception_of_cargo_deny_has_a_day_on_which_it_ends() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml")).expect("deny.toml exists");
    let is_exception = |line: &str| line.contains("id = \"RUSTSEC-") || line.contains("wrappers = ");
    let has_end = |line: &str| {
        line.split_once("reason = \"until ").is_some_and(|(_, rest)| {
            let day = rest.get(..11).unwrap_or_default();
            day.chars()
                .zip("0000-00-00:".chars())
                .all(|(c, form)| if form == '0' { c.is_ascii_digit() } else { c == form })
                && day.len() == 11
        })
    };

    let faults = text
        .lines()
        .enumerate()
        .filter(|(_, line)| is_exception(line) && !has_end(line))
        .map(|(index, line)| format!("deny.toml:{}  {}", index + 1, line.trim()))
        .collect();

    none(faults, "write reason = \"until YYYY-MM-DD: why it does not hurt us until then\"");
}

#[test]
fn a_secret_shows_itself_to_no_debug_output() {
    let secret = Secret::new("sk-very-secret-0123456789".to_owned());
    let nested = Some(vec![("key", secret.clone())]);

    let shown = format!("{secret:?} {secret:#?} {nested:?} {nested:#?}");

    for part in ["sk-", "very", "secret", "0123", "6789"] {
        assert!(!shown.contains(part), "Debug of Secret shows `{part}` in {shown}");
    }
    assert_eq!(secret.expose(), "sk-very-secret-0123456789");
}

// From here on: the rules themselves.

fn file(path: &str, text: &str) -> Vec<Source> {
    vec![Source::new(path, text.to_owned())]
}

#[test]
fn comments_strings_and_characters_are_no_code() {
    let code = blank_literals(concat!(
        "let a = \"awc::\\\"x\"; // awc\n/* awc /* awc */ awc */ let b = r#\"awc\"#;\n",
        "fn f<'a>(q: &'a str) -> char { '\"' }\nlet c = b\"awc\"; let d = '\\''; let e = br\"awc\";"
    ));

    assert!(!code.contains("awc"), "{code}");
    assert!(code.contains("fn f<'a>(q: &'a str)"), "{code}");
    assert_eq!(code.lines().count(), 4, "{code}");
    assert!(!code.contains('"'), "{code}");
}

#[test]
fn test_code_is_not_shipped() {
    let text =
        "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { x.unwrap() } }\nfn c() {}\n#[actix_web::test]\nasync fn d() {}";

    let names: Vec<String> =
        functions(&file("src/config/x.rs", text)[0].shipped).iter().map(|(name, _)| (*name).to_owned()).collect();

    assert_eq!(names, ["a", "c"]);
    assert!(rules::unwraps(&file("src/config/x.rs", text)).is_empty());
    assert!(rules::unwraps(&file("src/config/tests.rs", "fn a() { x.unwrap() }")).is_empty());
}

#[test]
fn a_forbidden_name_is_found_in_any_spelling() {
    for text in
        ["use awc::Client;", "use {awc::Client};", "use awc::{\n a, b};", "fn f() -> awc::Client {}", "use awc;"]
    {
        let faults = rules::names_outside(&file("src/pipeline/x.rs", text), SRC, &["src/upstream"], &["awc"]);
        assert!(!faults.is_empty(), "not found in {text}");
    }
    let elsewhere = file("src/upstream/mod.rs", "use awc::Client;");
    assert!(rules::names_outside(&elsewhere, SRC, &["src/upstream"], &["awc"]).is_empty());
    let own = file("src/pipeline/x.rs", "use crate::awc::x; fn http_awc() {}");
    assert!(rules::names_outside(&own, SRC, &[], &["awc"]).is_empty());
}

#[test]
fn an_import_upward_or_sideways_is_found_and_one_downward_is_not() {
    let up = rules::upward_imports(&file("src/config/x.rs", "use crate::{schema::A, http::{B, C}};"));
    assert_eq!(up.len(), 2, "{up:?}");
    assert!(up[0].starts_with("src/config/x.rs:1"), "{up:?}");

    let sideways = rules::upward_imports(&file("src/policies/x.rs", "use crate::providers::A;"));
    assert_eq!(sideways, ["src/policies/x.rs:1  `policies` (floor 3) uses `providers` (floor 3)"]);

    let fine = "use crate::config::A; use crate::error::B; use crate::policies::y; fn f() { crate::schema::z() }";
    assert!(rules::upward_imports(&file("src/policies/x.rs", fine)).is_empty());
    assert!(!rules::upward_imports(&file("src/attic.rs", "")).is_empty(), "a module without a floor");
}

#[test]
fn a_float_that_holds_money_is_found() {
    for text in [
        "struct A { total_cost: f64 }",
        "fn f(price_per_token: Option<f64>) {}",
        "let usd: f32 = 1.0;",
        "fn cost(&self) -> f64 { 1.0 }",
        "struct Usd(f64);",
        "type Price = f64;",
    ] {
        assert_eq!(rules::money_as_float(&file("src/call.rs", text)).len(), 1, "{text}");
    }
    let fine = "struct A { cost: Usd, share: f64 } fn cost(share: f64) -> Usd { Usd::zero() }";
    assert!(rules::money_as_float(&file("src/call.rs", fine)).is_empty());
}

#[test]
fn length_is_counted_without_tests() {
    let long_function = format!("fn f() {{\n{}}}\n", "a();\n".repeat(70));
    let long_file = "//! x\n".repeat(501) + "fn f() {}";
    let long_tests = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{}}}\n", "a();\n".repeat(600));

    assert_eq!(rules::long_files_and_functions(&file("src/call.rs", &long_function)).len(), 1);
    assert_eq!(rules::long_files_and_functions(&file("src/call.rs", &long_file)).len(), 1);
    assert!(rules::long_files_and_functions(&file("src/call.rs", &long_tests)).is_empty());
}

#[test]
fn the_remaining_rules_find_what_they_forbid() {
    let io = "use std::{fs, time::Instant}; fn f() { Instant::now(); std::net::TcpStream::connect(a); }";
    assert_eq!(rules::input_or_output(&file("src/providers/x.rs", io), PURE).len(), 3);

    let status = "use actix_web::http::StatusCode; fn f() { StatusCode::OK; http::StatusCode::from_u16(1); }";
    assert_eq!(rules::segments_outside(&file("src/http/chat.rs", status), SRC, &[], "StatusCode").len(), 2);

    let sends = "impl Drop for A { fn drop(&mut self) { self.a.do_send(B) } } impl C { fn f(&self) { a.do_send(B) } }";
    assert_eq!(rules::do_send_outside_drop(&file("actors/src/x.rs", sends)).len(), 1);

    let later = concat!("fn f() { to", "do!() } #[ign", "ore = \"x\"] fn g() { db", "g!(1) }");
    assert_eq!(rules::leftovers(&file("tests/x.rs", later)).len(), 3);

    assert_eq!(rules::drawer_names(&file("src/http/utils.rs", "")).len(), 1);
    assert_eq!(rules::missing_module_docs(&file("src/call.rs", "use a;")).len(), 1);
    let paths = concat!("see /ho", "me/me/x, not https://x.org/ho", "me/x");
    assert_eq!(rules::machine_paths(&file("README.md", paths)).len(), 1);
}
