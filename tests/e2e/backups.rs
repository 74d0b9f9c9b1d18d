//! What was made by hand comes back with a backup, through the real program: who has a key is let in, and nobody else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bursar::demo::Demo;
use serde_json::{Value, json};

use crate::client::chat;
use crate::harness::{Setup, demo};
use crate::process::{Place, Program};

/// A folder in which everybody has to show a client key.
fn place(demo: &Demo) -> Place {
    Place::with(&Setup::over(&[demo]).more("[auth]\nrequire_key = true\n").file())
}

/// Gives an order to the admin API.
#[track_caller]
fn order(place: &Place, program: &Program, path: &str, body: &Value) -> Value {
    let (path, token) = (format!("/admin/api/{path}"), place.admin_token());
    let headers = [("x-api-key", token.trim())];
    let answer = program.client().request("POST", &path, &headers, &body.to_string());
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// Makes a client key; returns its value.
#[track_caller]
fn key_made(place: &Place, program: &Program, id: &str) -> String {
    let made = order(place, program, "keys", &json!({ "id": id, "team": "search" }));
    made["value"].as_str().unwrap().to_owned()
}

/// Returns what becomes of a request with each of these client keys.
fn served(program: &Program, keys: &[&String]) -> Vec<u16> {
    let ask = |key: &&String| {
        let headers = [("x-api-key", key.as_str())];
        program.client().request("POST", "/v1/chat/completions", &headers, &chat(json!({})).to_string()).status
    };
    keys.iter().map(ask).collect()
}

/// Makes a user of the admin API; returns a token that signs in as it.
#[track_caller]
fn user_made(place: &Place, program: &Program, id: &str) -> String {
    order(place, program, "users", &json!({ "id": id, "role": "auditor" }));
    let made = order(place, program, &format!("users/{id}/tokens"), &Value::Null);
    made["token"].as_str().unwrap().to_owned()
}

/// Asks the admin API, with a token, for what auditors may see.
fn seen(program: &Program, token: &str) -> u16 {
    program.client().request("GET", "/admin/api/audit/records", &[("x-api-key", token)], "").status
}

/// Runs a command that has to succeed; returns what it says.
#[track_caller]
fn run(place: &Place, arguments: &[&str]) -> String {
    let output = place.run(arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[track_caller]
fn stop(program: Program) {
    program.signal("TERM");
    assert!(program.wait().0.success());
}

/// Returns `path` and all that is below it.
fn all_of(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    if path.is_dir() {
        found.extend(fs::read_dir(path).unwrap().flat_map(|entry| all_of(&entry.unwrap().path())));
    }
    found
}

#[test]
fn what_was_made_by_hand_serves_again_where_a_backup_is_restored() {
    let demo = demo();
    let place = place(&demo);
    let program = place.serve(&[]);
    order(&place, &program, "orgs", &json!({ "id": "acme", "models": ["m"] }));
    order(&place, &program, "teams", &json!({ "id": "search", "org": "acme" }));
    let [kept, revoked] = ["kept", "revoked"].map(|id| key_made(&place, &program, id));
    order(&place, &program, "keys/revoked/revoke", &Value::Null);
    let [auditor, disabled] = ["ann", "bob"].map(|id| user_made(&place, &program, id));
    order(&place, &program, "users/bob/disable", &Value::Null);
    run(&place, &["backup", "while-running"]);
    let late = key_made(&place, &program, "late");
    stop(program);
    run(&place, &["backup", "at-rest"]);
    fs::rename(place.data(), place.path().join("lost")).unwrap();

    for file in ["while-running", "at-rest"].iter().flat_map(|copy| all_of(&place.path().join(copy))) {
        let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if file.is_dir() { 0o700 } else { 0o600 }, "{}", file.display());
    }
    // A data directory that nobody uses is as good as a copy.
    for (copy, made, late_status) in [("while-running", 4, 401), ("at-rest", 5, 200), ("lost", 5, 200)] {
        let told = run(&place, &["restore", copy]);
        let program = place.serve(&[]);

        assert!(told.contains(&format!("client keys, teams and organisations  {made}\n")), "{copy}: {told}");
        assert!(told.contains("users of the admin API  2\n"), "{copy}: {told}");
        assert_eq!([seen(&program, &auditor), seen(&program, &disabled)], [200, 401], "{copy}");
        assert_eq!(served(&program, &[&kept, &revoked, &late]), [200, 401, late_status], "{copy}");
        let orgs = program.client().request("GET", "/admin/api/orgs", &[("x-api-key", place.admin_token().trim())], "");
        assert_eq!(orgs.json()[0]["id"], "acme", "{copy}");
        stop(program);
        fs::remove_dir_all(place.data()).unwrap();
    }
}

#[test]
fn a_damaged_copy_is_refused_by_name_and_a_backup_of_an_older_version_restores() {
    let demo = demo();
    let place = place(&demo);
    let program = place.serve(&[]);
    order(&place, &program, "teams", &json!({ "id": "search" }));
    let (key, token) = (key_made(&place, &program, "ci"), user_made(&place, &program, "ann"));
    run(&place, &["backup", "copy"]);
    stop(program);
    fs::remove_dir_all(place.data()).unwrap();

    for name in ["directory.records", "users.records"] {
        let file = place.path().join("copy").join(name);
        let sound = fs::read(&file).unwrap();
        let mut damaged = sound.clone();
        damaged[sound.len() / 2] ^= 1;
        fs::write(&file, damaged).unwrap();

        let refused = place.run(&["restore", "copy"]);

        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && !place.data().exists(), "{said}");
        assert!(said.contains(&format!("{name}` cannot be put back")) && said.contains("it is damaged"), "{said}");
        fs::write(&file, sound).unwrap();
    }
    // Older versions wrote neither.
    for name in ["directory.records", "users.records"] {
        fs::remove_file(place.path().join("copy").join(name)).unwrap();
    }
    let told = run(&place, &["restore", "copy"]);
    let program = place.serve(&[]);
    assert!(told.contains("client keys, teams and organisations  none, for there is no directory.records"), "{told}");
    assert_eq!((served(&program, &[&key]), seen(&program, &token)), (vec![401], 401));
    assert_eq!(seen(&program, place.admin_token().trim()), 200);
    run(&place, &["audit", "verify"]);
}
