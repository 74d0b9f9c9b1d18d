//! Everything at once, drawn from one seed: clients of every manner, upstreams that fail in every way, reloads, steering
//! and actors that die. When it is over, the books have to agree.
//!
//! `BURSAR_STORM_SEED` and `BURSAR_STORM_REQUESTS` choose another storm; which threads meet when is the machine's affair.

mod clients;
mod plan;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bursar::demo::{Demo, DemoOptions, Ending};
use bursar_actors::{Chance, ChanceFactory};
use rand::RngExt;

use crate::client::Answer;
use crate::harness::{ADMIN, Bursar, Closed, INTENDED, Setup, until};
use clients::Expected;
use plan::{Action, Addresses, ENDPOINTS, UPSTREAMS};

/// Clients at once.
const CLIENTS: usize = 12;
/// Share of an endpoint's draws that panic instead.
const DEADLY: f64 = 0.01;

/// What all clients of a storm share.
struct Storm {
    bursar: Bursar,
    /// How many share the gateway when nobody asks it anything.
    known_by: usize,
    actions: Vec<Action>,
    next: AtomicUsize,
    expected: Expected,
    tally: Tally,
    /// Held from writing the file until it is read.
    file: Mutex<()>,
    violations: Mutex<Vec<String>>,
}

/// What clients saw.
#[derive(Default)]
struct Tally {
    served: AtomicUsize,
    hung_up: AtomicUsize,
    errors: Mutex<BTreeMap<String, usize>>,
}

impl Tally {
    fn answered(&self, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => _ = self.served.fetch_add(1, Ordering::Relaxed),
            Err(code) => *locked(&self.errors).entry(code).or_default() += 1,
        }
    }

    fn hung_up(&self) {
        self.hung_up.fetch_add(1, Ordering::Relaxed);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().expect("a number"))
}

#[test]
fn after_any_storm_the_books_agree_and_the_gateway_serves() {
    let (seed, requests) = (number("BURSAR_STORM_SEED", 1), number("BURSAR_STORM_REQUESTS", 400) as usize);
    eprintln!("to repeat: BURSAR_STORM_SEED={seed} BURSAR_STORM_REQUESTS={requests}");
    let begun = Instant::now();
    weather(seed, requests);
    eprintln!("storm {seed} took {:?}", begun.elapsed());
}

fn weather(seed: u64, requests: usize) {
    let upstream = |_| Demo::start(DemoOptions { seed, any_model: true, ..DemoOptions::default() }).unwrap();
    let upstreams: Vec<Demo> = (0..UPSTREAMS).map(upstream).collect();
    let expected = Expected::of(upstream(0).address());
    let closed = Closed::port();
    let addresses = Addresses { upstreams: upstreams.iter().map(Demo::base_url).collect(), closed: closed.url.clone() };
    let calm = Arc::new(AtomicBool::new(false));
    let fair = plan::fair_file(&addresses);
    let bursar =
        Setup::from_file(&plan::hasty_file(&addresses)).workers(2).chance_for(deadly(seed, calm.clone())).start();
    bursar.books();
    let known_by = Arc::strong_count(&bursar.gateway);
    for (index, upstream) in upstreams.iter().enumerate() {
        upstream.script(plan::faults(seed, index));
    }
    let storm = Storm {
        bursar,
        known_by,
        actions: plan::actions(seed, requests, &addresses),
        next: AtomicUsize::new(0),
        expected,
        tally: Tally::default(),
        file: Mutex::default(),
        violations: Mutex::default(),
    };

    std::thread::scope(|scope| (0..CLIENTS).for_each(|_| _ = scope.spawn(|| storm.client())));
    let violations = std::mem::take(&mut *locked(&storm.violations));
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));

    calm.store(true, Ordering::Relaxed);
    upstreams.iter().for_each(|upstream| upstream.script(vec![]));
    aftermath(storm, &fair, &upstreams);
}

/// The chance of endpoints: seeded, and now and then deadly.
fn deadly(seed: u64, calm: Arc<AtomicBool>) -> ChanceFactory {
    Box::new(move |id, restarts| {
        let part = ENDPOINTS.iter().position(|known| *known == id.as_str()).unwrap_or_default();
        let (mut dice, calm) = (plan::dice(seed, 1_000 + 1_000 * part as u64 + restarts), calm.clone());
        Chance::from_fn(move || {
            let draw = dice.random::<f64>();
            assert!(calm.load(Ordering::Relaxed) || !dice.random_bool(DEADLY), "{INTENDED}");
            draw
        })
    })
}

impl Storm {
    /// One thread: takes the next action until none is left.
    fn client(&self) {
        let mut connection = None;
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(action) = self.actions.get(number) else { return };
            let done = catch_unwind(AssertUnwindSafe(|| match action {
                Action::Ask(ask) => connection = clients::perform(ask, connection.take(), self),
                other => self.by_hand(other),
            }));
            if let Err(panic) = done {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?");
                let text: String = text.chars().take(1_000).collect();
                locked(&self.violations).push(format!("action {number}, {action:?}: {text}"));
            }
        }
    }

    fn by_hand(&self, action: &Action) {
        match action {
            Action::Ask(_) => unreachable!("clients ask"),
            Action::Reload(file) => assert_eq!(self.reloaded(file).status, 200),
            Action::Misspelt(file) => assert_eq!(self.reloaded(file).status, 422),
            // Whether there is such an endpoint or key just now is the reloads' affair.
            Action::Steer(what) => assert!([200, 422].contains(&self.steered(what).status), "{what}"),
            Action::WakeAll => ENDPOINTS.iter().for_each(|id| _ = self.steered(&format!("{id}/wake"))),
            Action::Look => {
                let mut client = self.bursar.client();
                let providers = client.request("GET", "/admin/api/providers", &[("x-api-key", ADMIN)], "");
                assert_eq!((providers.status, client.get("/v1/models").status), (200, 200));
                assert!(client.get("/metrics").text().contains("bursar_leases_granted_total"));
            }
        }
    }

    fn reloaded(&self, file: &str) -> Answer {
        let _turn = locked(&self.file);
        self.bursar.write(file);
        self.bursar.client().request("POST", "/admin/api/reload", &[("x-api-key", ADMIN)], "")
    }

    fn steered(&self, what: &str) -> Answer {
        let path = format!("/admin/api/providers/{what}");
        self.bursar.client().request("POST", &path, &[("x-api-key", ADMIN)], "")
    }

    /// Returns the providers' endpoints with their keys.
    fn endpoints(&self) -> Vec<serde_json::Value> {
        let answer = self.bursar.client().request("GET", "/admin/api/providers", &[("x-api-key", ADMIN)], "");
        answer.json().as_array().expect("a list").clone()
    }
}

/// What has to be so once everybody has gone and the sky is clear.
fn aftermath(storm: Storm, fair: &str, upstreams: &[Demo]) {
    let books = storm.bursar.books();
    let (served, hung_up) = (storm.tally.served.load(Ordering::Relaxed), storm.tally.hung_up.load(Ordering::Relaxed));
    let errors = locked(&storm.tally.errors).clone();
    let failed: usize = errors.values().sum();
    eprintln!(
        "storm: clients saw {served} served, {failed} errors, {hung_up} hung up; {books:?}; {} actors died; {errors:?}",
        storm.bursar.gateway.actors.board.restarts(),
    );
    // Of those who hung up, the gateway may have served some to the end, or never have heard.
    let (served, failed, hung_up) = (served as u64, failed as u64, hung_up as u64);
    assert!((served..=served + hung_up).contains(&books.served), "{books:?}");
    assert!((failed..=failed + hung_up).contains(&books.failed), "{books:?}");
    assert!(books.admitted >= served + failed && books.cancelled <= hung_up, "{books:?}");

    // Before the reload, which makes all keys new.
    for endpoint in storm.endpoints() {
        let keys = endpoint["keys"].as_array().expect("keys");
        assert!(endpoint["in_flight"] == 0 && keys.iter().all(|key| key["in_flight"] == 0), "{endpoint}");
    }
    assert_eq!(storm.reloaded(fair).status, 200);
    storm.by_hand(&Action::WakeAll);
    let calls: Vec<_> = upstreams.iter().flat_map(Demo::exchanges).collect();
    // A call on an old connection that is closed without a word is sent once more, on the same permission.
    let answered = calls.iter().filter(|call| call.ending != Ending::Cut || call.status.is_some()).count() as u64;
    assert!(answered <= books.granted, "{answered} calls were answered, {} permitted", books.granted);
    for upstream in upstreams {
        until("every upstream call is over", || {
            upstream.exchanges().iter().all(|exchange| exchange.ending != Ending::InProgress)
        });
        // What is still open waits for another call: at most as many as a worker ever needed at once.
        assert!(upstream.open_connections() <= CLIENTS * storm.bursar.gateway.workers);
    }
    nothing_is_left(&storm);
    serves_as_ever(&storm);
    ends_by_draining(storm, upstreams);
}

/// No request holds on to anything: connections, routes of earlier configurations, calls in flight.
fn nothing_is_left(storm: &Storm) {
    let gateway = &storm.bursar.gateway;
    let port = storm.bursar.address.port();
    until("every client's connection is closed", || connections(port) == 0);
    until("only the endpoints of the last configuration are left", || {
        gateway.actors.board.views().iter().map(|(id, _)| id.as_str()).eq(ENDPOINTS)
    });
    // A reload ends when the last request on the routes before it does; one that never ends would be one more.
    until("nobody else knows the gateway", || Arc::strong_count(gateway) <= storm.known_by);
}

/// Returns how many connections to a port of this machine are not closed on its side, as the kernel counts them.
fn connections(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap_or_default();
    let (established, close_wait) = ("01", "08");
    let local = format!(":{port:04X}");
    let ours = table.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (at, state) = (fields.next()?, fields.nth(1)?);
        (at.ends_with(&local) && [established, close_wait].contains(&state)).then_some(())
    });
    ours.count()
}

fn serves_as_ever(storm: &Storm) {
    let mut client = storm.bursar.client();
    for model in ["m", "a/demo-small", "b/demo-small", "c/demo-small"] {
        for streamed in [false, true] {
            let answer = client.chat(&clients::chat(model, 0, streamed));
            assert!(answer.status == 200 && (!streamed || answer.is_done()), "{model}: {answer:?}");
        }
    }
    storm.bursar.books();
}

fn ends_by_draining(storm: Storm, upstreams: &[Demo]) {
    let idle = storm.bursar.client();
    let gateway = storm.bursar.drained();
    until("every thread has let go of the gateway", || gateway.strong_count() == 0);
    drop(idle);
    for upstream in upstreams {
        until("every connection to upstreams is closed", || upstream.open_connections() == 0);
    }
}
