//! Witnesses of the books: who is told of checkpoints, and what a witness makes of an older copy.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use bursar_actors::audit::checkpoint::Note;
use bursar_actors::audit::log::SignCheckpoint;
use serde_json::json;

use crate::client::chat;
use crate::forgetting::wait_for;
use crate::harness::{ADMIN, Bursar, Closed, Setup, demo, until};
use crate::process::Place;

const QUICK_DEMO: &str =
    "[providers.demo]\nkind = \"demo\"\nlatency = { first_token = \"1ms\", per_token = \"1ms\" }\n";

/// Answers one request after the other with these statuses; returns where, and the thread with their bodies.
fn listener(statuses: &'static [u16]) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/bursar", tcp.local_addr().unwrap());
    let serve = move || {
        let mut bodies = Vec::new();
        for status in statuses {
            let (mut socket, _) = tcp.accept().unwrap();
            let mut text = String::new();
            let mut buffer = [0; 4096];
            loop {
                let read = socket.read(&mut buffer).unwrap();
                text += std::str::from_utf8(&buffer[..read]).unwrap();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length =
                    head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0_usize) {
                    assert!(head.starts_with("POST /bursar HTTP/1.1") && head.contains("text/plain"), "{head}");
                    bodies.push(body.to_owned());
                    break;
                }
            }
            let answer =
                format!("HTTP/1.1 {status} Told\r\nlocation: /other\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            socket.write_all(answer.as_bytes()).unwrap();
        }
        bodies
    };
    (url, std::thread::spawn(serve))
}

fn checkpoint(bursar: &Bursar) -> std::sync::Arc<Note> {
    let books = bursar.gateway.books.as_ref().unwrap();
    wait_for(books.log.send(SignCheckpoint)).unwrap().unwrap().unwrap()
}

fn size_in(file: &Path) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let last = text.split("\n\nbursar").last().unwrap_or_default();
    last.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or(0)
}

#[test]
fn each_witness_is_told_in_its_own_time() {
    let demo = demo();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("witness");
    let closed = Closed::port();
    // A redirect is not followed: what has not been taken is told again.
    let (url, told) = listener(&[302, 200]);
    let list = format!("witness = [\"file:{}\", \"{}\", \"{url}\"]", file.display(), closed.url);
    let bursar = Setup::over(&[&demo]).more(&format!("[audit]\n{list}\n")).start();
    assert_eq!(bursar.client().chat(&chat(json!({}))).status, 200);

    let note = checkpoint(&bursar);

    until("the file holds it", || fs::read_to_string(&file).unwrap_or_default().contains(note.text()));
    let bodies = told.join().unwrap();
    assert_eq!(Note::parse(&bodies[1]).unwrap().text(), note.text());
    let standing = |witness: &str| {
        let standings = bursar.gateway.witnesses.standings();
        standings.into_iter().find(|standing| standing.witness == witness).unwrap()
    };
    until("the third is known to know it", || standing(&url).told == Some(note.checkpoint().size));
    until("the second is known to be gone", || standing(&closed.url).fault.is_some());
    assert_eq!(standing(&url).fault, None);
    let metrics = bursar.client().get("/metrics").text();
    let failures = |witness: &str| {
        let series = format!("bursar_audit_witness_failures_total{{witness=\"{witness}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&series)).map(|figure| figure.parse::<u64>().unwrap())
    };
    assert_eq!(failures(&format!("file:{}", file.display())), Some(0));
    assert_eq!(failures(&url), Some(1));
    assert!(failures(&closed.url) >= Some(1));
    let authorization = format!("Bearer {ADMIN}");
    let status = bursar.client().request("GET", "/admin/api/status", &[("authorization", &authorization)], "").json();
    assert_eq!(status["witnesses"][1]["witness"], *closed.url);
    assert!(status["witnesses"][1]["fault"].is_string() && status["witnesses"][0]["fault"].is_null(), "{status}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else if path.is_file() {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn a_witness_knows_an_older_copy_of_the_data_and_the_start_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("witness");
    let place = Place::with(&format!("{QUICK_DEMO}[audit]\nwitness = [\"file:{}\"]\n", file.display()));
    let run = || {
        let program = place.serve(&[]);
        assert_eq!(
            program.client().chat(&json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]})).status,
            200
        );
        program.signal("TERM");
        assert!(program.wait().0.success());
    };
    run();
    let first = size_in(&file);
    assert!(first > 0, "the last checkpoint is told before the end");
    let older = folder.path().join("older");
    copy(&place.data(), &older);
    run();
    assert!(size_in(&file) > first);

    fs::remove_dir_all(place.data()).unwrap();
    copy(&older, &place.data());
    let refused = place.run(&["serve", "--listen", "127.0.0.1:0"]);

    let words = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(78), "{words}");
    assert!(words.contains(&file.display().to_string()) && words.contains("older copy"), "{words}");
    fs::remove_file(&file).unwrap();
    run();
}
