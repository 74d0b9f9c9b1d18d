//! The books as a reviewer and an operator meet them: through the real program, its command line and its admin API.

mod alone;
mod reviewing;

use std::fs;
use std::path::Path;
use std::process::Output;

use bursar::demo::{Behaviour, Demo, Rule, When};
use serde_json::{Value, json};

use crate::client::{Answer, chat};
use crate::harness::{Setup, demo, until, wait_for};
use crate::process::{Place, Program};

const KEY: &str = "clinic-key-0123456789";
const PROMPT: &str = "What did the patient say on Tuesday?";

/// A gateway whose books hold three requests of one user: one served, one failed, one cancelled.
struct Story {
    place: Place,
    program: Program,
    _demo: Demo,
}

impl Story {
    fn told() -> Self {
        let demo = demo();
        let rule = |skip, then| Rule { when: When { skip, times: Some(1), ..When::default() }, then };
        demo.script(vec![
            rule(1, Behaviour { status: Some(400), ..Behaviour::default() }),
            rule(1, Behaviour { stall_head: true, ..Behaviour::default() }),
        ]);
        let more = format!(
            "[audit]\ncontent = \"full\"\n[teams.clinic]\n[[client_keys]]\nid = \"ward\"\nteam = \"clinic\"\nvalue = \"{KEY}\"\n"
        );
        let place = Place::with(&Setup::over(&[&demo]).more(&more).file());
        let program = place.serve(&[]);
        let story = Self { place, program, _demo: demo };
        assert_eq!(story.ask("story-served").status, 200);
        assert_eq!(story.ask("story-failed").status, 400);
        let mut client = story.program.client();
        client.begin("POST", "/v1/chat/completions", &headers("story-cancelled"), &question());
        wait_for(&story._demo, |all| all.len() == 3);
        drop(client);
        story.until_closed();
        story
    }

    fn ask(&self, id: &str) -> Answer {
        self.program.client().request("POST", "/v1/chat/completions", &headers(id), &question())
    }

    fn until_closed(&self) {
        until("every request has ended in the books", || {
            let status = self.json(&["status", "--output", "json"]);
            status["open_requests"] == 0 && status["lag"] == 0
        });
    }

    fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        let token = fs::read_to_string(self.place.data().join("admin-token")).unwrap();
        let bearer = format!("Bearer {token}");
        let path = format!("/admin/api/audit/{path}");
        self.program.client().request(method, &path, &[("authorization", &bearer)], body)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run(&self.place, arguments)
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        json_of(&self.place, arguments)
    }

    fn stop(self) -> Place {
        self.program.signal("TERM");
        let (status, log) = self.program.wait();
        assert!(status.success(), "{log}");
        self.place
    }
}

fn headers(id: &str) -> [(&str, &str); 2] {
    [("authorization", "Bearer clinic-key-0123456789"), ("x-bursar-request-id", id)]
}

fn question() -> String {
    chat(json!({"user": "ann", "messages": [{"role": "user", "content": PROMPT}]})).to_string()
}

fn run(place: &Place, arguments: &[&str]) -> Output {
    place.run(&[&["audit"], arguments].concat())
}

#[track_caller]
fn done(output: Output) -> String {
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
fn json_of(place: &Place, arguments: &[&str]) -> Value {
    serde_json::from_str(&done(run(place, arguments))).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns one field of every record found.
fn column<'a>(records: &'a Value, field: &str) -> Vec<&'a str> {
    records.as_array().unwrap().iter().map(|record| record[field].as_str().unwrap_or_default()).collect()
}

/// Returns whether any file below `folder` holds `needle`.
fn holds(folder: &Path, needle: &str) -> bool {
    fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, needle);
        }
        let bytes = fs::read(&path).unwrap_or_default();
        bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
    })
}
