//! The books without a gateway, copies of them, and copies that are put back.

use std::fs;
use std::path::Path;

use super::{PROMPT, Story, column, done, json_of, run, text};

#[test]
fn without_a_gateway_the_commands_open_the_books_themselves() {
    let story = Story::told();
    let refused = story.program.client().request("GET", "/admin/api/audit/status", &[], "");
    assert_eq!(refused.status, 401);
    let place = story.stop();

    let strangers = json_of(&place, &["search", "--phase", "auth", "--output", "json"]);
    let one = json_of(&place, &["search", "--request", "story-served", "--output", "json"]);
    let admitted = one[1]["index"].to_string();
    let body = done(run(&place, &["body", &admitted]));
    let before = json_of(&place, &["proof", "inclusion", &admitted]);
    fs::remove_dir_all(place.data().join("index")).unwrap();
    let rebuilt = done(run(&place, &["rebuild"]));
    let after = json_of(&place, &["proof", "inclusion", &admitted, "--size", &before["size"].to_string()]);
    let folder = place.data().with_file_name("export");
    done(run(&place, &["export", "--team", "clinic", "--out", folder.to_str().unwrap()]));

    assert_eq!((column(&strangers, "error"), strangers[0]["count"].as_u64()), (vec!["invalid_api_key"], Some(1)));
    assert!(body.contains(PROMPT));
    assert!(rebuilt.contains("root"), "{rebuilt}");
    assert_eq!((&before["root"], &before["path"]), (&after["root"], &after["path"]));
    assert_eq!(run(&place, &["verify", folder.to_str().unwrap()]).status.code(), Some(0));
    assert_eq!(run(&place, &["verify"]).status.code(), Some(0));
    let looks = json_of(&place, &["search", "--key", "offline", "--output", "json"]);
    assert!(column(&looks, "action").contains(&"audit.body"), "{looks}");
    assert!(place.serve(&[]).client().get("/readyz").status == 200, "and the gateway goes on with them");
}

#[test]
fn a_copy_made_while_it_runs_becomes_a_data_directory() {
    let story = Story::told();
    let copy = story.place.data().with_file_name("copy");
    done(story.place.run(&["backup", copy.to_str().unwrap()]));
    let into_itself = story.place.run(&["restore", copy.to_str().unwrap()]);
    assert!(text(&into_itself.stderr).contains("not empty"), "{}", text(&into_itself.stderr));
    let place = story.stop();
    fs::rename(place.data(), place.data().with_file_name("lost")).unwrap();

    let restored = done(place.run(&["restore", copy.to_str().unwrap()]));

    assert!(restored.contains("restored"), "{restored}");
    assert_eq!(run(&place, &["verify"]).status.code(), Some(0));
    let one = json_of(&place, &["search", "--request", "story-failed", "--output", "json"]);
    assert_eq!(column(&one, "outcome"), ["failed", ""]);
    let told = json_of(&place, &["search", "--action", "restore", "--output", "json"]);
    assert_eq!(told.as_array().map(Vec::len), Some(1), "the log tells once of its restore: {told}");
    let note = told[0]["note"].as_str().unwrap();
    assert!(note.contains("its last checkpoint of 20") && note.contains(copy.to_str().unwrap()), "{note}");
    assert!(place.serve(&[]).client().get("/readyz").status == 200);
}

#[test]
fn an_older_journal_put_back_stops_the_start() {
    let story = Story::told();
    let journal = story.place.data().join("journal");
    let kept = story.place.data().with_file_name("kept");
    copy(&journal, &kept);
    assert_eq!(story.ask("story-later").status, 200);
    let place = story.stop();
    fs::remove_dir_all(&journal).unwrap();
    copy(&kept, &journal);

    let served = place.run(&["serve", "--listen", "127.0.0.1:0"]);
    let searched = run(&place, &["search"]);

    let said = text(&served.stderr);
    assert_eq!((served.status.code(), searched.status.code()), (Some(78), Some(78)), "{said}");
    assert!(said.contains("known to have been durable"), "{said}");
    assert_ne!(run(&place, &["verify"]).status.code(), Some(0));
}

#[test]
fn a_directory_without_books_gets_none_by_being_looked_at() {
    let place = crate::process::Place::with("");

    let searched = run(&place, &["search"]);

    assert!(text(&searched.stderr).contains("there are no books"), "{}", text(&searched.stderr));
    assert!(!place.data().exists());
    assert_eq!(run(&place, &["verify"]).status.code(), Some(2));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
