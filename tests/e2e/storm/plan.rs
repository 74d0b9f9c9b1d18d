//! What happens in a storm, all of it drawn from one seed: who asks for what, what the upstreams do, what the operator does.

use std::time::{Duration, SystemTime};

use bursar::demo::{Behaviour, Rule, When};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;

/// Upstreams that answer. The last provider's port is closed.
pub const UPSTREAMS: usize = 4;
const PROVIDERS: [&str; 4] = ["a", "b", "c", "dead"];
/// Endpoints as the configuration names them: provider `a` has two.
pub const ENDPOINTS: [&str; 5] = ["a_1", "a_2", "b", "c", "dead"];
const KEYS_MAX: usize = 4;
/// Which of its values a key has at first; reloads exchange it now and then.
const FIRST_TURN: u32 = 9;
/// What is asked; the answers quote it, so that some are cut within a character.
pub const PROMPTS: [&str; 6] = ["Hello", "Grüße aus Köln 🌩️🌩️", "1 + 1?", "Wie wird das Wetter?", "雷と雨", "a\nb\tc"];
/// Model names that lead somewhere, mostly.
const MODELS: [&str; 8] = ["m", "m", "m", "m", "m", "spare", "a/demo-small", "b/demo-small"];
/// What an upstream says before it breaks off with an error event.
pub const HALF_SAID: &str = "half said";

#[derive(Debug)]
pub enum Action {
    Ask(Ask),
    Reload(String),
    /// A reload of a file that has faults.
    Misspelt(String),
    /// Path and query below `/admin/api/providers/`.
    Steer(String),
    WakeAll,
    Look,
}

#[derive(Debug)]
pub struct Ask {
    pub what: What,
    pub manner: Manner,
    /// Whether the connection is used again.
    pub keep_alive: bool,
}

#[derive(Debug)]
pub enum What {
    Chat { model: &'static str, prompt: usize, streamed: bool, timeout: Option<&'static str> },
    Embedding { prompt: usize },
    UnknownModel,
    Oversized { chunked: bool },
    Malformed(usize),
}

/// How the client takes its answer.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    Patient,
    /// Pauses so long after each piece.
    Slow(Duration),
    /// Hangs up unless something comes within this time.
    HangsUpWithin(Duration),
    /// Hangs up after so many pieces of the body.
    HangsUpAfter(usize),
    /// Hangs up in the middle of its own body.
    HalfAsked,
}

/// Where the upstreams are.
pub struct Addresses {
    pub upstreams: Vec<String>,
    pub closed: String,
}

/// Returns the dice for one part of the storm.
pub fn dice(seed: u64, part: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(part))
}

/// Returns `requests` requests with what the operator does in between.
pub fn actions(seed: u64, requests: usize, addresses: &Addresses) -> Vec<Action> {
    let dice = &mut dice(seed, 1);
    let mut actions = Vec::new();
    for _ in 0..requests {
        actions.push(Action::Ask(ask(dice)));
        if dice.random_bool(0.12) {
            actions.push(by_hand(dice, addresses));
        }
    }
    actions
}

fn pick<T: Copy>(dice: &mut SmallRng, of: &[T]) -> T {
    of[dice.random_range(0..of.len())]
}

fn ask(dice: &mut SmallRng) -> Ask {
    let prompt = dice.random_range(0..PROMPTS.len());
    let what = match dice.random_range(0..100) {
        0..5 => What::Malformed(dice.random_range(0..9)),
        5..8 => What::Oversized { chunked: dice.random_bool(0.5) },
        8..11 => What::UnknownModel,
        11..21 => What::Embedding { prompt },
        kind => {
            let timeout = dice.random_bool(0.05).then_some("60ms");
            What::Chat { model: pick(dice, &MODELS), prompt, streamed: kind % 2 == 0, timeout }
        }
    };
    let millis = |dice: &mut SmallRng, max: u64| Duration::from_millis(dice.random_range(1..=max));
    let manner = match dice.random_range(0..100) {
        0..8 => Manner::HangsUpWithin(millis(dice, 30)),
        8..16 => Manner::HangsUpAfter(dice.random_range(0..6)),
        16..24 => Manner::Slow(millis(dice, 4)),
        24..27 => Manner::HalfAsked,
        _ => Manner::Patient,
    };
    Ask { what, manner, keep_alive: dice.random_bool(0.7) }
}

fn by_hand(dice: &mut SmallRng, addresses: &Addresses) -> Action {
    match dice.random_range(0..100) {
        0..30 => Action::Reload(drawn_file(dice, addresses)),
        30..38 => Action::Misspelt(drawn_file(dice, addresses).replace("targets", "tragets")),
        38..62 => {
            let endpoint = pick(dice, &ENDPOINTS);
            let action = pick(dice, &["rest", "drain", "wake"]);
            let key = format!("key=k{}", dice.random_range(1..=KEYS_MAX));
            let time = if action == "rest" { "for=150ms" } else { "" };
            let key = if dice.random_bool(0.6) { key.as_str() } else { "" };
            Action::Steer(format!("{endpoint}/{action}?{key}&{time}"))
        }
        62..88 => Action::WakeAll,
        _ => Action::Look,
    }
}

/// A configuration drawn by chance: which providers there are, with which keys.
fn drawn_file(dice: &mut SmallRng, addresses: &Addresses) -> String {
    let mut providers: Vec<_> = PROVIDERS.into_iter().filter(|_| dice.random_bool(0.75)).collect();
    // A single provider would take any model's name for one of its own.
    for needed in ["b", "c"] {
        if providers.len() < 2 && !providers.contains(&needed) {
            providers.push(needed);
        }
    }
    providers.shuffle(dice);
    let mut keys_of = |_: &str| -> Vec<(usize, u32)> {
        let numbers = (1..=KEYS_MAX).filter(|_| dice.random_bool(0.7));
        let numbers: Vec<_> = numbers.collect();
        // Most keep their value, and with it what is known of them.
        let mut turn = || if dice.random_bool(0.8) { FIRST_TURN } else { dice.random_range(0..3) };
        numbers.into_iter().map(|number| (number, turn())).collect()
    };
    let providers: Vec<_> = providers.into_iter().map(|id| (id, keys_of(id))).collect();
    let strategy = pick(dice, &["p2c_ewma", "weighted", "least_inflight", "round_robin", "ordered"]);
    file(&providers, strategy, "150ms", addresses)
}

/// The configuration at the beginning: everything is there, and no upstream may take its time.
pub fn hasty_file(addresses: &Addresses) -> String {
    whole_file("150ms", addresses)
}

/// The configuration in fair weather: everything is there, and nobody is hurried.
pub fn fair_file(addresses: &Addresses) -> String {
    whole_file("10s", addresses)
}

fn whole_file(patience: &str, addresses: &Addresses) -> String {
    let keys: Vec<_> = (1..=KEYS_MAX).map(|number| (number, FIRST_TURN)).collect();
    file(&PROVIDERS.map(|id| (id, keys.clone())), "p2c_ewma", patience, addresses)
}

fn file(
    providers: &[(&str, Vec<(usize, u32)>)],
    strategy: &str,
    patience: &str,
    Addresses { upstreams, closed }: &Addresses,
) -> String {
    let mut file = format!(
        "[server]\nworkers = 2\nmax_body = '64KB'\nrequest_timeout = '5s'\nsse_keepalive = '60ms'\nshutdown_grace = '3s'\n\
         [balancing]\nstrategy = '{strategy}'\nmax_wait = '40ms'\n\
         [balancing.retry]\nmax_attempts = 4\nbudget = {{ share = 0.5, per_second = 20.0 }}\n\
         backoff = {{ base = '1ms', max = '5ms' }}\n\
         [balancing.breaker]\nopen_for = '150ms'\nopen_for_max = '600ms'\n"
    );
    for (id, keys) in providers {
        let address = match *id {
            "a" => format!("endpoints = [{{ base_url = '{}' }}, {{ base_url = '{}' }}]", upstreams[0], upstreams[1]),
            "b" => format!("base_url = '{}'", upstreams[2]),
            "c" => format!("base_url = '{}'", upstreams[3]),
            _ => format!("base_url = '{closed}'"),
        };
        file += &format!(
            "[providers.{id}]\nkind = 'openai_compatible'\n{address}\nfirst_token_timeout = '{patience}'\n\
             reply_timeout = '{patience}'\nidle_timeout = '{patience}'\n"
        );
        for (number, turn) in keys {
            file += &format!("[[providers.{id}.keys]]\nid = 'k{number}'\nvalue = 'sk-{id}-{number}-{turn}'\n");
        }
    }
    let targets = |model: &str| {
        let target = |(id, _): &(&str, _)| format!("{{ provider = '{id}', model = '{model}' }}");
        providers.iter().map(target).collect::<Vec<_>>().join(", ")
    };
    file + &format!(
        "[models.alias.m]\ntargets = [{0}]\nfallback = ['spare']\n[models.alias.spare]\nstrategy = 'ordered'\n\
         targets = [{0}]\n[models.alias.embed]\ntargets = [{1}]\n",
        targets("demo-small"),
        targets("demo-embed"),
    )
}

/// Returns what an upstream does to its calls: each rule to a small share of them.
pub fn faults(seed: u64, upstream: usize) -> Vec<Rule> {
    let dice = &mut dice(seed, 100 + upstream as u64);
    let mut behaviours = statuses();
    behaviours.extend(broken(dice));
    behaviours.shuffle(dice);
    let mut rule = |then| {
        let share = Some(dice.random_range(0.003..0.025));
        Rule { when: When { share, ..When::default() }, then }
    };
    behaviours.into_iter().map(&mut rule).collect()
}

fn statuses() -> Vec<Behaviour> {
    let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
    let long_ago = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH);
    let waits = [
        ("retry-after", "1"),
        ("retry-after", "0"),
        ("retry-after", "0.2"),
        ("retry-after", "-3"),
        ("retry-after", "soon"),
        ("retry-after", "99999999999999999999999"),
        ("retry-after", &soon),
        ("retry-after", &long_ago),
        ("retry-after-ms", "80"),
        ("x-ratelimit-reset-requests", "70ms"),
    ];
    let throttled = waits.map(|(name, value)| Behaviour {
        headers: vec![(name.to_owned(), value.to_owned())],
        ..Behaviour::status(429)
    });
    let plain = [400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504, 529, 204, 302].map(Behaviour::status);
    throttled.into_iter().chain(plain).collect()
}

fn broken(dice: &mut SmallRng) -> Vec<Behaviour> {
    let none = Behaviour::default;
    let (mut anywhere, early) = (
        {
            let mut dice = dice.clone();
            move || Some(dice.random_range(0..3_000))
        },
        Some(10),
    );
    let wait = |millis| Some(Duration::from_millis(millis));
    let chunk = |delta: serde_json::Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": null});
        json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "x", "choices": [choice]})
            .to_string()
    };
    let error = json!({"error": {"message": "boom", "type": "server_error", "param": null, "code": null}}).to_string();
    let events = |events: Vec<String>| Behaviour { events: Some(events), ..none() };
    let html = "<!doctype html><html><body>Sign in</body></html>";
    vec![
        Behaviour { close_at_accept: true, ..none() },
        Behaviour { close_at_accept: true, reset_after: Some(0), ..none() },
        Behaviour { garbage: Some("".into()), ..none() },
        Behaviour { garbage: Some("".into()), reset_after: Some(0), ..none() },
        Behaviour { garbage: Some("HTTP/1.1 200 OK\r\ncontent-ty".into()), ..none() },
        Behaviour { garbage: Some("SSH-2.0-OpenSSH\r\n".into()), ..none() },
        Behaviour { reset_after: anywhere(), ..none() },
        Behaviour { reset_after: early, ..none() },
        Behaviour { cut_after: anywhere(), ..none() },
        Behaviour { cut_after: anywhere(), chunked: true, ..none() },
        Behaviour { cut_after: Some(usize::MAX), chunked: true, ..none() },
        Behaviour { stall_after: early, ..none() },
        // In chunks, because a body of known length is complete without its terminator.
        Behaviour { stall_after: anywhere(), chunked: true, ..none() },
        Behaviour { stall_after: Some(usize::MAX), chunked: true, ..none() },
        Behaviour { stall_head: true, ..none() },
        Behaviour { body: Some(html.into()), content_type: Some("text/html".into()), ..none() },
        Behaviour { body: Some("{\"id\": \"x\", \"choices\": [".into()), ..none() },
        Behaviour { body: Some("".into()), ..none() },
        Behaviour { body: Some(error.as_str().into()), ..none() },
        Behaviour { close_delimited: true, ..none() },
        Behaviour { omit_done: true, ..none() },
        Behaviour { split: Some(1), ..none() },
        Behaviour { split: Some(7), chunked: true, ..none() },
        Behaviour { first_token: wait(40), ..none() },
        Behaviour { first_token: wait(120), per_token: wait(2), ..none() },
        Behaviour { per_token: wait(8), split: Some(3), ..none() },
        Behaviour { delay: wait(70), ..none() },
        events(vec![error.clone()]),
        events(vec![chunk(json!({"role": "assistant", "content": ""})), error.clone()]),
        events(vec![chunk(json!({"role": "assistant", "content": HALF_SAID})), error]),
    ]
}
