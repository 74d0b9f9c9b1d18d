//! A reviewer's story while the gateway runs.

use std::fs;
use std::process::{Command, Stdio};

use bursar_actors::audit::checkpoint::SigningKey;
use serde_json::Value;

use super::{PROMPT, Story, column, done, holds, text};
use crate::harness::{Setup, demo};

#[test]
fn records_are_found_proven_and_opened_and_each_look_is_recorded() {
    let story = Story::told();

    let ended = story.json(&["search", "--team", "clinic", "--phase", "completed", "--from", "1h", "--output", "json"]);
    let earlier = story.json(&["search", "--team", "clinic", "--to", "1h", "--output", "json"]);
    let one = story.json(&["search", "--request", "story-served", "--output", "json"]);
    let of_user = story.json(&["search", "--team", "clinic", "--user-name", "ann", "--output", "json"]);
    assert_eq!(column(&ended, "outcome"), ["cancelled", "failed", "served"]);
    assert_eq!(earlier.as_array().unwrap().len(), 0);
    assert_eq!(column(&one, "phase"), ["completed", "admitted"]);
    assert_eq!(of_user.as_array().unwrap().len(), 6);
    assert!(one[0]["tokens"]["total"].is_u64() && one[0]["key"] == "a1", "{one}");

    let admitted = one[1]["index"].as_u64().unwrap().to_string();
    let shown = story.run(&["show", &admitted]);
    assert!(text(&shown.stderr).contains("proven: record"), "{}", text(&shown.stderr));
    assert!(done(shown).contains("story-served"));
    assert!(done(story.run(&["body", &admitted])).contains(PROMPT));
    let whole = story.json(&["proof", "inclusion", &admitted]);
    let size = whole["size"].as_u64().unwrap().to_string();
    assert!(story.json(&["proof", "consistency", "1", "--size", &size])["path"].is_array());
    assert!(!holds(&story.place.data(), PROMPT), "what is kept is sealed");
    assert!(!holds(&story.place.data(), "\"ann\""), "users stand under pseudonyms");

    let looks = story.json(&["search", "--phase", "review", "--key", "socket", "--output", "json"]);
    for (action, part) in [("audit.search", "team=clinic"), ("audit.show", &admitted), ("audit.body", &admitted)] {
        let told = looks.as_array().unwrap().iter();
        let mut notes = told.filter(|look| look["action"] == action).filter_map(|look| look["note"].as_str());
        assert!(notes.any(|note| note.contains(part)), "{action}: {looks}");
    }
    let csv = done(story.run(&["search", "--limit", "2", "--output", "csv"]));
    assert!(csv.starts_with("INDEX,TIME,PHASE") && csv.lines().count() == 3, "{csv}");
}

#[test]
fn an_export_verifies_by_two_programs_and_no_change_escapes_them() {
    let story = Story::told();
    let folder = story.place.data().with_file_name("export");
    let at = folder.to_str().unwrap();
    let export = ["export", "--team", "clinic", "--why", "yearly review", "--by", "M. Reviewer"];
    let told = done(story.run(&[&export[..], &["--format", "jsonl,csv,ocsf", "--bodies", "--out", at]].concat()));
    let key = story.json(&["status", "--output", "json"])["public_key"].as_str().unwrap().to_owned();
    assert!(told.contains("exported 6 of") && told.contains(&key), "{told}");
    let verify = |more: &[&str]| {
        let output = story.run(&[&["verify", at], more].concat());
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };

    assert_eq!(verify(&["--key", &key]).0, Some(0), "{:?}", verify(&["--key", &key]));
    assert!(verify(&[]).1.contains("which it names itself"));
    let other = SigningKey::random().verifying().text("other");
    assert_eq!(verify(&["--key", &other]).0, Some(4));
    assert_eq!(verify(&["--key", "no key"]).0, Some(2));
    let newer = story.place.data().with_file_name("newer.txt");
    fs::write(&newer, done(story.run(&["checkpoint"]))).unwrap();
    assert_eq!(verify(&["--checkpoint", newer.to_str().unwrap(), "--key", &key]).0, Some(5));
    let python = || {
        let script = folder.join("verify.py");
        let run = Command::new("python3")
            .arg(script)
            .args([at, "--key", &key])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        run.ok().map(|status| status.code())
    };
    let is_there = python();
    match is_there {
        Some(code) => assert_eq!(code, Some(0)),
        None => eprintln!("there is no python3 here: the export's own verifier was not tried"),
    }

    let second = story.place.data().with_file_name("second");
    done(story.run(&["export", "--from", "1h", "--out", second.to_str().unwrap()]));
    let manifest: Value = serde_json::from_slice(&fs::read(second.join("manifest.json")).unwrap()).unwrap();
    assert!(manifest["previous"]["checkpoint"].is_string(), "it is tied to the export before: {manifest}");
    assert_eq!(story.run(&["verify", second.to_str().unwrap(), "--key", &key]).status.code(), Some(0));
    let exports = story.json(&["search", "--phase", "export", "--outcome", "done", "--output", "json"]);
    assert_eq!(exports.as_array().unwrap().len(), 2);
    assert!(exports[1]["note"].as_str().unwrap().contains("why: yearly review"), "{exports}");

    let records = folder.join("records.jsonl");
    let changed = fs::read_to_string(&records).unwrap().replacen("\"outcome\":\"failed\"", "\"outcome\":\"served\"", 1);
    let index = changed.lines().find(|line| line.contains("story-failed") && line.contains("completed")).unwrap();
    let index = serde_json::from_str::<Value>(index).unwrap()["index"].to_string();
    fs::write(&records, changed).unwrap();
    let (code, said) = verify(&["--key", &key]);
    assert!(code == Some(1) && said.contains(&format!("record {index}")), "{said}");
    if is_there.is_some() {
        assert_eq!(python(), Some(Some(1)));
    }
}

#[test]
fn what_could_not_be_recorded_as_it_was_asked_is_refused() {
    let story = Story::told();
    let many = (0..60).map(|n| format!("team=one-of-many-teams-{n}")).collect::<Vec<_>>().join("&");
    let named = r#"{"team":"clinic","user":"ann","reason":"Ann asked to be forgotten"}"#;

    let searched = story.admin("GET", &format!("records?{many}"), "");
    let erased = story.admin("POST", "erase", named);
    let held = story.admin("POST", "holds", named);
    done(story.place.run(&["config", "diff"]));

    assert!(searched.status == 422 && searched.text().contains("a record keeps 1000"), "{}", searched.text());
    assert!(erased.status == 422 && erased.text().contains("names the user"), "{}", erased.text());
    assert_eq!(held.status, 422, "{}", held.text());
    let records = story.json(&["search", "--phase", "erase", "--phase", "review", "--output", "json"]);
    assert!(column(&records, "action").contains(&"config.diff"), "{records}");
    assert!(!column(&records, "action").contains(&"audit.erase"), "{records}");
}

#[test]
fn an_erased_users_content_is_gone_and_the_log_still_verifies() {
    let story = Story::told();
    let one = story.json(&["search", "--request", "story-served", "--output", "json"]);
    let body = format!("records/{}/body", one[1]["index"]);
    let ann = ["--team", "clinic", "--user", "ann"];
    assert!(story.admin("GET", &body, "").text().contains(PROMPT));

    done(story.run(&[&["hold"], &ann[..], &["--reason", "case 12"]].concat()));
    let held = story.run(&[&["erase"], &ann[..], &["--reason", "asked to be forgotten"]].concat());
    assert!(held.status.code() == Some(1) && text(&held.stderr).contains("legal hold"), "{}", text(&held.stderr));
    assert_eq!(story.admin("GET", &body, "").status, 200);
    assert!(done(story.run(&["holds"])).contains("case 12"));
    let again = r#"{"team":"clinic","user":"ann","reason":"asked again"}"#;
    assert_eq!(story.admin("POST", "erase", again).status, 409);
    done(story.run(&[&["release"], &ann[..]].concat()));
    let erased = story.admin("POST", "erase", again);

    assert_eq!((erased.status, &erased.json()["bodies_wiped"]), (200, &4.into()), "{}", erased.text());
    assert_eq!(story.admin("GET", &body, "").status, 410);
    done(story.run(&["checkpoint"]));
    let verified = story.run(&["verify"]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stdout));
    let records = story.json(&["search", "--phase", "erase", "--output", "json"]);
    assert_eq!(column(&records, "action")[..2], ["audit.erase", "audit.erase"]);
    assert_eq!((column(&records, "outcome")[0], records[0]["count"].as_u64()), ("done", Some(4)));
    assert!(column(&records, "user").iter().all(|user| user.starts_with("u_")), "{records}");
    assert!(!holds(&story.place.data().join("journal"), "\"ann\""));
}

#[test]
fn nobody_reads_the_books_without_a_credential() {
    let story = Story::told();
    let ask = |method: &str, path: &str, key: &[(&str, &str)]| {
        story.program.client().request(method, &format!("/admin/api/audit/{path}"), key, "").status
    };

    for (method, path) in [
        ("GET", "status"),
        ("GET", "records"),
        ("GET", "records/0"),
        ("GET", "records/0/body"),
        ("GET", "proof/inclusion?index=0"),
        ("GET", "proof/consistency?old=1"),
        ("GET", "holds"),
        ("POST", "holds"),
        ("DELETE", "holds"),
        ("POST", "checkpoint"),
        ("POST", "rebuild"),
        ("POST", "export"),
        ("POST", "backup"),
        ("POST", "erase"),
    ] {
        assert_eq!(ask(method, path, &[]), 401, "{method} {path}");
        assert_eq!(ask(method, path, &[("x-api-key", super::KEY)]), 401, "{method} {path} with a client's key");
    }
    let folder = story.admin("POST", "export", r#"{"folder":"/tmp/somewhere"}"#);
    assert!(folder.status == 422 && folder.text().contains("bursar audit export"), "{}", folder.text());
    for (path, status) in
        [("records?tean=x", 422), ("records/x", 422), ("records/999999", 404), ("records/0/body", 404)]
    {
        let answer = story.admin("GET", path, "");
        assert!(answer.status == status && answer.json()["faults"][0].is_string(), "{path}: {}", answer.text());
    }
}

#[test]
fn what_cannot_be_recorded_is_not_shown() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let ask = |path: &str| {
        let headers = [("x-api-key", crate::harness::ADMIN)];
        bursar.client().request("GET", &format!("/admin/api/audit/{path}"), &headers, "")
    };
    assert_eq!(ask("records").status, 200);

    bursar.gateway.books.as_ref().unwrap().journal().close();

    for path in ["records", "records/0", "records/0/body", "holds"] {
        let refused = ask(path);
        assert_eq!((refused.status, refused.error_code().as_str()), (503, "audit_unavailable"), "{path}");
        assert!(refused.header("retry-after").is_some());
    }
    assert_eq!(ask("status").json()["journal"], "closed");
}

#[test]
fn what_an_operator_changes_is_recorded() {
    let story = Story::told();
    let settings = story.place.data().with_file_name("bursar.toml");
    let file = fs::read_to_string(&settings).unwrap();

    done(story.place.run(&["providers", "rest", "a/a1", "--for", "5m"]));
    done(story.place.run(&["providers", "wake", "a"]));
    fs::write(&settings, file.replace("[models.alias.m]", "[server]\nmax_body = \"3MB\"\n[models.alias.m]")).unwrap();
    done(story.place.run(&["reload"]));
    fs::write(&settings, "[server]\nmax_body = \"huge\"\n").unwrap();
    assert!(!story.place.run(&["reload"]).status.success());

    let steered = story.json(&["search", "--phase", "admin", "--output", "json"]);
    assert_eq!(column(&steered, "action")[..2], ["wake", "rest"]);
    assert_eq!((column(&steered, "endpoint")[1], column(&steered, "key")[1]), ("a", "a1"));
    // The gateway watches the file, too, and may have been the first to see it.
    let reloads = story.json(&["search", "--phase", "config", "--output", "json"]);
    let notes = column(&reloads, "note");
    assert!(notes.iter().any(|note| note.contains("server.max_body")), "{notes:?}");
    assert!(column(&reloads, "error").contains(&"configuration_faulty"), "{reloads}");
}
