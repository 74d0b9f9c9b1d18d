//! Webhooks that are told of steps of budgets: what comes, signed by whom, tried how often, and what a reload changes.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bursar_actors::budget::{Notice, Window};
use bursar_actors::limits::Holder;
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};

use crate::client::chat;
use crate::harness::{ADMIN, Bursar, Closed, SOON, Setup, demo, until};

const SECRET: &str = "the-secret-of-the-tests";

/// One call to a webhook.
pub struct Call {
    pub head: String,
    pub body: String,
}

impl Call {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Answers one call after the other with a status and a text, for as long as `answer` has one; returns where, and the
/// calls as they come.
pub fn listen(mut answer: impl FnMut(&Call) -> Option<(u16, String)> + Send + 'static) -> (String, Receiver<Call>) {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", tcp.local_addr().unwrap());
    let (came, calls) = channel();
    std::thread::spawn(move || {
        loop {
            let (mut socket, _) = tcp.accept().unwrap();
            let mut text = String::new();
            let mut buffer = [0; 4096];
            let (head, body) = loop {
                let read = socket.read(&mut buffer).unwrap();
                text += std::str::from_utf8(&buffer[..read]).unwrap();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length =
                    head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0_usize) {
                    break (head.to_owned(), body.to_owned());
                }
            };
            let call = Call { head, body };
            let Some((status, text)) = answer(&call) else { return };
            let length = text.len();
            let answer = format!(
                "HTTP/1.1 {status} So\r\nlocation: /other\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
            );
            // Whoever asked may have gone.
            let _ = socket.write_all(answer.as_bytes());
            // A test that has seen enough waits for no more.
            let _ = came.send(call);
        }
    });
    (url, calls)
}

/// Answers one call after the other with these statuses.
fn webhook(statuses: &'static [u16]) -> (String, Receiver<Call>) {
    let mut statuses = statuses.iter();
    listen(move |_| Some((*statuses.next()?, String::new())))
}

fn notice(act: &str) -> Notice {
    Notice {
        holder: Holder::Key("app".into()),
        budget: "daily".into(),
        period: "day".into(),
        window: Window { start_s: 1_796_083_200, end_s: 1_796_169_600 },
        at_ppm: 1_000_000,
        act: act.into(),
        limit_nano: 2_000_000_000,
        posted_nano: 2_000_000_001,
    }
}

fn entry(url: &str, more: &str) -> String {
    format!("[[budgets.webhooks]]\nurl = \"{url}\"\n{more}\n")
}

#[track_caller]
fn next(calls: &Receiver<Call>) -> Call {
    calls.recv_timeout(SOON).expect("the webhook is called")
}

/// HMAC as RFC 2104 has it, by the hash alone.
fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    assert!(key.len() <= 64, "longer keys are hashed first");
    let padded = |with: u8| (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ with).collect::<Vec<u8>>();
    let hash = |parts: [&[u8]; 2]| {
        let mut context = Context::new(&SHA256);
        parts.iter().for_each(|part| context.update(part));
        context.finish().as_ref().to_vec()
    };
    hash([&padded(0x5c), &hash([&padded(0x36), text.as_bytes()])])
}

pub fn is_signed(call: &Call, secret: &str) -> bool {
    let (id, at) = (call.header("webhook-id").unwrap(), call.header("webhook-timestamp").unwrap());
    let expected = STANDARD.encode(hmac_sha256(secret.as_bytes(), &format!("{id}.{at}.{}", call.body)));
    call.header("webhook-signature") == Some(format!("v1,{expected}").as_str())
}

fn deliveries(bursar: &Bursar, url: &str, outcome: &str) -> u64 {
    let metrics = bursar.client().get("/metrics").text();
    let label = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let series = format!("bursar_webhook_deliveries_total{{outcome=\"{outcome}\",webhook=\"{label}\"}} ");
    let figure = metrics.lines().find_map(|line| line.strip_prefix(&series));
    figure.unwrap_or_else(|| panic!("no {series}: {metrics}")).parse().unwrap()
}

#[test]
fn a_message_is_signed_tried_until_it_is_taken_and_follows_no_redirect() {
    let demo = demo();
    let (url, calls) = webhook(&[500, 302, 200]);
    let secret = format!("secret = \"{SECRET}\"");
    let bursar = Setup::over(&[&demo]).more(&entry(&url, &secret)).start();

    bursar.gateway.webhooks.tell(&notice("block"));

    let calls = [next(&calls), next(&calls), next(&calls)];
    for call in &calls {
        assert!(call.head.starts_with("POST /hook HTTP/1.1"), "{}", call.head);
        assert_eq!(call.header("content-type"), Some("application/json"));
        assert!(is_signed(call, SECRET), "{}", call.head);
        assert_eq!((call.header("webhook-id"), &call.body), (calls[0].json()["id"].as_str(), &calls[0].body));
    }
    let body = calls[0].json();
    assert_eq!((&body["type"], &body["holder"]["name"]), (&"budget.step".into(), &"app".into()));
    assert_eq!((&body["step"]["do"], &body["spent_usd"]), (&"block".into(), &"2.000000001".into()));
    until("it counts as delivered", || deliveries(&bursar, &url, "delivered") == 1);
    assert_eq!(deliveries(&bursar, &url, "failed"), 2);
}

#[test]
fn a_step_that_spending_reaches_is_told_once() {
    let demo = demo();
    let (url, calls) = webhook(&[200; 8]);
    let more = format!(
        "{}[models.alias.m.budget]\namount = 2\nperiod = \"year\"\nsteps = [{{ at = 0.5, do = \"notify\" }}, \
         {{ at = 1.0, do = \"block\" }}]\n[catalog.models.\"a/demo-small\"]\nmax_output = 1\n\
         price = {{ input = 0, output = 0 }}\nrequest_price = 0.5\n",
        entry(&url, "")
    );
    let bursar = Setup::over(&[&demo]).more(&more).start();

    for _ in 0..4 {
        assert_eq!(bursar.client().chat(&chat(json!({}))).status, 200);
    }
    let told = [next(&calls).json(), next(&calls).json()];
    assert_eq!(bursar.client().chat(&chat(json!({}))).status, 429);

    let mut steps = told.map(|body| {
        assert_eq!((&body["holder"]["kind"], &body["holder"]["name"]), (&json!("model"), &json!("m")));
        assert_eq!((&body["limit_usd"], &body["budget"]), (&json!("2"), &json!("year")));
        (body["step"]["do"].as_str().unwrap().to_owned(), body["spent_usd"].as_str().unwrap().to_owned())
    });
    steps.sort_unstable();
    assert_eq!(steps, [("block".to_owned(), "2".to_owned()), ("notify".to_owned(), "1".to_owned())]);
    until("both count as delivered", || deliveries(&bursar, &url, "delivered") == 2);
    bursar.books();
}

#[test]
fn each_webhook_is_told_what_it_asks_for_and_one_that_is_gone_holds_up_nobody() {
    let demo = demo();
    let closed = Closed::port();
    let (blocks, of_blocks) = webhook(&[200, 200]);
    let (all, of_all) = webhook(&[200, 200]);
    let only = |events: &str| format!("events = [{events}]");
    let hooks = entry(&format!("{}/hook", closed.url), "") + &entry(&blocks, &only("\"block\"")) + &entry(&all, "");
    let bursar = Setup::over(&[&demo]).more(&hooks).start();

    bursar.gateway.webhooks.tell(&notice("notify"));
    bursar.gateway.webhooks.tell(&notice("block"));

    let block = next(&of_blocks);
    assert_eq!((block.json()["step"]["do"].as_str(), block.header("webhook-signature")), (Some("block"), None));
    let mut both = [next(&of_all), next(&of_all)].map(|call| call.json()["step"]["do"].as_str().unwrap().to_owned());
    both.sort_unstable();
    assert_eq!(both, ["block", "notify"]);
    until("the first is known to be gone", || deliveries(&bursar, &closed.url, "failed") >= 2);
}

#[test]
fn a_reload_changes_who_is_told_what_and_what_messages_are_signed_with() {
    let demo = demo();
    let (stays, of_stays) = webhook(&[500; 32]);
    let (new, of_new) = webhook(&[200]);
    let closed = Closed::port();
    let gone = format!("{}/hook", closed.url);
    let setup = || Setup::over(&[&demo]);
    let before = entry(&stays, "secret = \"the-secret-of-before\"") + &entry(&gone, "");
    let bursar = setup().more(&before).start();
    bursar.gateway.webhooks.tell(&notice("block"));
    let first = next(&of_stays);
    until("the other was tried", || deliveries(&bursar, &closed.url, "failed") >= 1);

    let after = entry(&stays, &format!("secret = \"{SECRET}\"\nevents = [\"block\"]")) + &entry(&new, "");
    bursar.write(&setup().more(&after).file());
    let bearer = format!("Bearer {ADMIN}");
    let reloaded = bursar.client().request("POST", "/admin/api/reload", &[("authorization", &bearer)], "");
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    bursar.gateway.webhooks.tell(&notice("notify"));

    assert!(!is_signed(&first, SECRET) && is_signed(&first, "the-secret-of-before"));
    // Another try may have come before the reload.
    let again = std::iter::from_fn(|| of_stays.recv_timeout(SOON).ok()).find(|call| is_signed(call, SECRET));
    assert_eq!(again.expect("it is tried again").header("webhook-id"), first.header("webhook-id"));
    assert_eq!(next(&of_new).json()["step"]["do"], "notify");
    until("what waited for the one that is gone is dropped", || deliveries(&bursar, &closed.url, "dropped") == 1);
}
