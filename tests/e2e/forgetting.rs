//! What the books let go: users who are to be forgotten, and what is older than its retention.

use std::sync::Arc;

use bursar::books::Books;
use bursar::books::desk::{self, Ask, DeskError, Reply, Subject};
use bursar_actors::audit::filter::Filter;
use bursar_actors::audit::journal::{BodyPosition, RealDisk};
use bursar_actors::audit::log::Search;
use bursar_actors::vault::bodies::Bodies;
use bursar_actors::vault::{self, Month, VaultError};
use serde_json::{Value, json};

use crate::client::chat;
use crate::harness::{Bursar, Setup, demo, until};

const DAY_US: u64 = 86_400_000_000;
const FULL: &str = "[audit]\ncontent = \"full\"\n";

pub fn wait_for<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn books(bursar: &Bursar) -> Arc<Books> {
    bursar.gateway.books.clone().unwrap()
}

/// Every record, the first one first, with its bytes.
fn records(books: &Books) -> Vec<(u64, Vec<u8>, Value)> {
    let search = Search { filter: Filter::default(), before: u64::MAX, limit: 1_000 };
    let page = wait_for(books.log.send(search)).unwrap().unwrap();
    let read = |(index, leaf): (u64, Vec<u8>)| (index, leaf.clone(), serde_json::from_slice(&leaf).unwrap());
    page.records.into_iter().rev().map(read).collect()
}

pub fn of_phase(books: &Books, phase: &str) -> Vec<Value> {
    records(books).into_iter().map(|(.., record)| record).filter(|record| record["phase"] == phase).collect()
}

/// A user of no team, now.
pub fn of_user(user: Option<&str>) -> vault::Subject<'_> {
    vault::Subject { team: "", user, month: Month::of_micros(bursar::call::unix_us()) }
}

/// What has become of the bodies of all records, in their order.
fn bodies(books: &Books) -> Vec<Result<Vec<u8>, VaultError>> {
    let journal = books.journal();
    let bodies = Bodies::new(journal.path(), Arc::new(RealDisk));
    let place = |leaf: &[u8]| BodyPosition::of_leaf(leaf, journal.log_id());
    records(books).iter().filter_map(|(index, leaf, _)| Some(bodies.read(place(leaf)?, *index))).collect()
}

/// A gateway that keeps everything, after a chat of ann and one of bob.
fn after_two_chats() -> (bursar::demo::Demo, Bursar) {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).more(FULL).start();
    for user in ["ann", "bob"] {
        assert_eq!(bursar.client().chat(&chat(json!({ "user": user }))).status, 200);
    }
    let books = books(&bursar);
    until("both are in the books", || of_phase(&books, "completed").len() == 2);
    assert_eq!(bodies(&books).iter().filter(|body| body.is_ok()).count(), 4);
    (demo, bursar)
}

fn erase(books: &Arc<Books>, user: &str) -> Result<Value, DeskError> {
    let subject = Subject { user: user.into(), reason: "asked by letter".into(), ..Subject::default() };
    match wait_for(desk::answer(books, desk::Asker { id: "socket", team: None }, Ask::Erase(subject)))? {
        Reply::Json(told) => Ok(told),
        Reply::Content { .. } => panic!("an erasure shows no content"),
    }
}

#[test]
fn a_user_is_forgotten_and_the_log_says_so_without_the_name() {
    let (_demo, bursar) = after_two_chats();
    let books = books(&bursar);
    let of = |user: &str| {
        let name = books.vault.pseudonym("", user);
        let admitted = of_phase(&books, "admitted").into_iter().find(|record| record["user"] == *name);
        admitted.unwrap()["content"]["request"].as_str().unwrap().to_owned()
    };
    let sent = chat(json!({ "user": "ann" })).to_string();
    let hash = || books.vault.content_hash(&of_user(Some("ann")), sent.as_bytes()).unwrap();
    assert_eq!(hash(), of("ann"), "who has the text and the keys can prove it");

    let erased = erase(&books, "ann").unwrap();

    // A key for what is kept and one for fingerprints; a request and an answer.
    assert_eq!((&erased["keys_destroyed"], &erased["bodies_wiped"]), (&json!(2), &json!(2)));
    until("what came of it is in the books", || of_phase(&books, "erase").len() == 2);
    for about in of_phase(&books, "erase") {
        assert_eq!((&about["user"], &about["actor"]), (&erased["user"], &json!("socket")));
        assert!(about["note"].as_str().unwrap().contains("by letter"), "{about}");
        assert!(!about.to_string().contains("\"ann\""), "{about}");
    }
    let bodies = bodies(&books);
    assert_eq!(bodies.iter().filter(|body| matches!(body, Err(VaultError::Erased))).count(), 2);
    assert_eq!(bodies.iter().filter(|body| body.is_ok()).count(), 2, "bob's stay");
    assert_ne!(hash(), of("ann"), "nobody can confirm a guess any more");
}

#[test]
fn a_user_under_a_legal_hold_is_not_forgotten() {
    let (_demo, bursar) = after_two_chats();
    let books = books(&bursar);
    books.vault.hold("", "ann", "case 12", 1).unwrap();

    let refused = erase(&books, "ann").unwrap_err();
    let gone = wait_for(books.let_go(bursar::call::unix_us() + 40 * DAY_US)).unwrap();

    assert!(matches!(refused, DeskError::Held(_)), "{refused}");
    until("the try is in the books", || of_phase(&books, "erase").iter().any(|record| record["outcome"] == "failed"));
    assert_eq!((gone.keys, gone.bodies.wiped), (1, 2), "bob's");
    assert_eq!(bodies(&books).iter().filter(|body| body.is_ok()).count(), 2, "ann's");
}

#[test]
fn content_goes_when_its_time_is_over_and_the_log_says_so() {
    let (_demo, bursar) = after_two_chats();
    let books = books(&bursar);
    let now = bursar::call::unix_us();

    let early = wait_for(books.let_go(now + 6 * DAY_US)).unwrap();
    assert_eq!(early.bodies.wiped, 0);
    assert!(bodies(&books).iter().all(Result::is_ok));
    let gone = wait_for(books.let_go(now + 8 * DAY_US)).unwrap();
    let again = wait_for(books.let_go(now + 8 * DAY_US)).unwrap();

    assert_eq!(gone.bodies.wiped, 4);
    assert!(again.is_nothing(), "{again:?}");
    assert!(bodies(&books).iter().all(|body| matches!(body, Err(VaultError::Erased))));
    until("it is in the books", || !of_phase(&books, "admin").is_empty());
    let about = &of_phase(&books, "admin")[0];
    assert_eq!(about["action"], "retention");
    assert!(about["note"].as_str().unwrap().contains("4 bodies overwritten"), "{about}");
}

#[test]
fn records_name_the_configuration_that_was_in_force() {
    let demo = demo();
    let setup = Setup::over(&[&demo]);
    let file = setup.file();
    let bursar = setup.start();
    let ask = || assert_eq!(bursar.client().chat(&chat(json!({}))).status, 200);

    ask();
    bursar.write(&(file + "[models.alias.other]\ntargets = [{ provider = \"a\", model = \"demo-small\" }]\n"));
    let reload = [("authorization", format!("Bearer {}", crate::harness::ADMIN))];
    let reload = reload.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(bursar.client().request("POST", "/admin/api/reload", &reload, "").status, 200);
    ask();

    let books = books(&bursar);
    until("both are in the books", || of_phase(&books, "admitted").len() == 2);
    let admitted = of_phase(&books, "admitted");
    assert!(admitted.iter().all(|record| record["config"].as_str().is_some_and(|hash| hash.len() == 32)));
    assert_ne!(admitted[0]["config"], admitted[1]["config"]);
}

#[test]
fn what_was_not_understood_is_in_the_books_too() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let books = books(&bursar);

    assert_eq!(bursar.client().chat(&json!({ "model": "m", "messages": [] })).status, 400);

    until("the refusal is in the books", || of_phase(&books, "refused").len() == 1);
    let refused = &of_phase(&books, "refused")[0];
    assert_eq!((&refused["error"], &refused["action"]), (&json!("invalid_request"), &json!("/v1/chat/completions")));
}

#[test]
fn users_beyond_the_bound_of_their_team_leave_neither_text_nor_hash() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).more("[audit]\ncontent = \"full\"\nusers_max = 1\n").start();
    for user in ["ann", "bob", "ann"] {
        assert_eq!(bursar.client().chat(&chat(json!({ "user": user }))).status, 200);
    }
    let books = books(&bursar);
    until("all are in the books", || of_phase(&books, "completed").len() == 3);

    let hashed = |record: &Value| record["content"]["request"].is_string() && record["body_hash"].is_string();
    let is_ann = |record: &Value| record["user"] == *books.vault.pseudonym("", "ann");
    let admitted = of_phase(&books, "admitted");
    assert_eq!(admitted.iter().filter(|record| is_ann(record)).count(), 2);
    assert!(admitted.iter().all(|record| hashed(record) == is_ann(record)), "{admitted:?}");
    assert_eq!(bodies(&books).iter().filter(|body| body.is_ok()).count(), 4, "two of ann's, each with its answer");
    assert!(books.figures().unkeyed > 0);
}
