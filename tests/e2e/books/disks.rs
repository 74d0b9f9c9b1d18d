//! A disk that is full, slow or broken, as clients feel it.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::{Ledger, Totals};
use crate::client::{Answer, chat, stream};
use crate::faulty_disk::FaultyDisk;
use crate::harness::{Bursar, Setup, demo, until};
use crate::process::Place;

/// Room made ahead of the records is a MiB; prompts that are kept go into another file with less of it.
fn kept(bursar: Setup, commit: &str) -> Setup {
    bursar.set(&format!("audit.commit={commit}")).set("audit.content=full")
}

/// A prompt of 200 KB that no compression makes smaller.
fn large() -> Value {
    let mut dice = StdRng::seed_from_u64(1);
    let noise: String = (0..200_000).map(|_| char::from(dice.random_range(b'0'..b'z'))).collect();
    chat(json!({"messages": [{"role": "user", "content": noise}]}))
}

fn state(bursar: &Bursar, state: &str) -> bool {
    bursar.client().get("/metrics").text().contains(&format!("bursar_audit_state{{state=\"{state}\"}} 1"))
}

#[track_caller]
fn assert_unavailable(answer: &Answer) {
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "audit_unavailable"), "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.header("x-should-retry"), Some("true"));
}

#[test]
fn what_cannot_be_written_down_is_not_served_and_is_served_again_once_there_is_room() {
    let large = large();
    for commit in ["before_reply", "before_dispatch"] {
        let (demo, disk) = (demo(), FaultyDisk::default());
        let bursar = kept(Setup::over(&[&demo]), commit).disk(disk.clone()).start();
        assert_eq!(bursar.client().chat(&large).status, 200);
        let before = demo.exchanges().len();

        disk.full_after(0);
        until("the disk is full", || bursar.client().chat(&large).status == 503);
        assert_unavailable(&bursar.client().chat(&large));
        until("the metrics say so", || state(&bursar, "full"));
        let told = bursar.client().post(
            "/v1/messages",
            &json!({"model": "m", "max_tokens": 9,
            "messages": [{"role": "user", "content": "Hello"}]}),
        );
        let late = bursar.client().chat(&stream(json!({})));
        let in_vain = demo.exchanges().len() - before;
        disk.free();

        until("it recovers by itself", || bursar.client().chat(&chat(json!({}))).status == 200);
        assert!(state(&bursar, "open"));
        assert_eq!((told.status, told.json()["type"].as_str()), (503, Some("error")), "{}", told.text());
        assert!(told.json()["error"]["message"].as_str().unwrap().contains("full"), "{}", told.text());
        assert_unavailable(&late);
        if commit == "before_dispatch" {
            let ledger = Ledger::settled(&bursar);
            let sent = ledger.totals().admitted as usize - 2;
            assert!(in_vain <= sent, "{in_vain} calls went out unrecorded");
        }
        let totals = Ledger::settled(&bursar).totals();
        assert!(totals.served >= 2 && totals.refused >= 3, "{totals:?}");
    }
}

#[test]
fn with_async_a_full_disk_is_borne_until_the_queue_is_full() {
    let (demo, disk, large) = (demo(), FaultyDisk::default(), large());
    let bursar = kept(Setup::over(&[&demo]), "async").disk(disk.clone()).start();
    assert_eq!(bursar.client().chat(&large).status, 200);

    disk.full_after(0);
    until("the metrics raise it", || {
        assert_eq!(bursar.client().chat(&large).status, 200);
        state(&bursar, "full")
    });
    let mut served = 0;
    let refused = loop {
        let answer = bursar.client().chat(&large);
        if answer.status != 200 {
            break answer;
        }
        served += 1;
        assert!(served < 1_000, "what waits is bounded");
    };
    assert_unavailable(&refused);
    disk.free();

    until("it recovers by itself", || bursar.client().chat(&chat(json!({}))).status == 200);
    bursar.gateway.books.as_ref().unwrap().flush_strangers();
    let totals = Ledger::settled(&bursar).totals();
    assert!(totals.served >= served + 2, "nothing that was served is lost: {totals:?}");
    assert!(totals.refused >= 1, "{totals:?}");
}

#[test]
fn a_failed_sync_ends_the_serving_and_nothing_more_is_acknowledged() {
    for commit in ["before_reply", "async"] {
        let (demo, disk) = (demo(), FaultyDisk::default());
        let bursar = kept(Setup::over(&[&demo]), commit).disk(disk.clone()).start();
        assert_eq!(bursar.client().chat(&chat(json!({}))).status, 200);

        disk.fail_sync_after(0);
        until("the journal stops", || {
            bursar.client().chat(&chat(json!({})));
            state(&bursar, "failed")
        });
        let durable = bursar.gateway.books.as_ref().unwrap().journal().durable();
        let answers: Vec<_> = (0..3).map(|_| bursar.client().chat(&chat(json!({})))).collect();

        for answer in answers {
            assert_unavailable(&answer);
            let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(message.contains("its disk failed") && message.contains("restart"), "{message}");
        }
        assert_eq!(bursar.gateway.books.as_ref().unwrap().journal().durable(), durable);
    }
}

#[test]
fn the_program_outlives_files_that_may_not_grow_and_its_log_stays_whole() {
    let (demo, large) = (demo(), large());
    let place = Place::with(&Setup::over(&[&demo]).more("[audit]\ncontent = \"full\"\n[server]\nworkers = 1\n").file());
    let program = place.serve_with_small_files(4_000);

    let mut served = 0;
    let mut client = program.client();
    let refused = loop {
        let answer = client.chat(&large);
        if answer.status != 200 {
            break answer;
        }
        served += 1;
        assert!(served < 1_000, "the files may not grow for ever");
    };
    assert_unavailable(&refused);
    drop(client);
    program.signal("TERM");
    let (status, log) = program.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("disk is full"), "{log}");

    let program = place.serve(&[]);
    assert_eq!(program.client().chat(&chat(json!({}))).status, 200);
    program.signal("TERM");
    assert_eq!(program.wait().0.code(), Some(0));
    let totals = Ledger::at_rest(&place.data()).totals();
    assert_eq!((totals.open, totals.served + totals.abandoned >= served), (0, true), "{totals:?}");
    assert_ne!(totals, Totals::default());
}
