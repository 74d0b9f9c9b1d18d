//! Forty keys on four endpoints under load, most of them in trouble: no client notices.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bursar::demo::{Behaviour, Demo, Ending, Rule, When};
use serde_json::json;

use crate::client::{chat, stream};
use crate::harness::{Closed, Setup, demo, scripted};

const REQUESTS: usize = 400;
const AT_ONCE: usize = 32;

fn of_key(key: &str, then: Behaviour) -> Rule {
    Rule { when: When { key: Some(key.into()), ..When::default() }, then }
}

fn calls_with(demo: &Demo, key: &str) -> usize {
    demo.exchanges().iter().filter(|exchange| exchange.key.as_deref() == Some(key)).count()
}

#[test]
fn no_client_sees_an_error_while_a_healthy_key_is_left() {
    let healthy = demo();
    let wait = Behaviour { headers: vec![("retry-after".into(), "60".into())], ..Behaviour::status(429) };
    healthy.script(vec![of_key("sk-a-1", Behaviour::status(401)), of_key("sk-a-2", wait)]);
    let refusing = Closed::port();
    let stalling = scripted(Behaviour { stall_head: true, ..Behaviour::default() });
    let cutting = scripted(Behaviour { cut_after: Some(10), ..Behaviour::default() });
    let urls = vec![healthy.base_url(), refusing.url.clone(), stalling.base_url(), cutting.base_url()];
    let bursar = Setup::at(urls)
        .keys(10)
        .workers(2)
        .set("models.alias.m.strategy=p2c_ewma")
        .set("balancing.retry.max_attempts=6")
        .set("balancing.retry.budget.per_second=20")
        .each("first_token_timeout=300ms")
        .each("reply_timeout=300ms")
        .start();
    let (next, errors, retried) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicUsize::new(0));
    let begun = Instant::now();

    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let mut client = bursar.client();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= REQUESTS {
                        return;
                    }
                    let streamed = number % 2 == 0;
                    let answer = client.chat(&if streamed { stream(json!({})) } else { chat(json!({})) });
                    if answer.status != 200 || (streamed && !answer.is_done()) {
                        errors.lock().unwrap().push(answer.text());
                    } else if answer.header("x-bursar-attempts") != Some("1") {
                        retried.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let took = begun.elapsed();

    let errors = errors.into_inner().unwrap();
    let books = bursar.books();
    let (stalled, cut) = (stalling.exchanges().len(), cutting.exchanges().len());
    eprintln!(
        "forty keys: {REQUESTS} requests in {took:?}, {} client errors, {} retried, {} upstream calls ({stalled} \
         stalled, {cut} cut), 401 met {} times, 429 met {} times",
        errors.len(),
        retried.into_inner(),
        books.granted,
        calls_with(&healthy, "sk-a-1"),
        calls_with(&healthy, "sk-a-2"),
    );
    assert!(errors.is_empty(), "{} errors, such as {}", errors.len(), errors[0]);
    assert_eq!(books.endings(), (REQUESTS as u64, 0, 0));
    // Calls that were under way when the first refusal came back cannot be taken back; later ones do not happen.
    assert!(calls_with(&healthy, "sk-a-1") <= AT_ONCE && calls_with(&healthy, "sk-a-2") <= AT_ONCE);
    let complete = healthy.exchanges().iter().filter(|exchange| exchange.ending == Ending::Complete).count();
    assert!(complete >= REQUESTS, "{complete}");
}
