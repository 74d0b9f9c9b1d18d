//! Credentials that expire: minted before they are needed, renewed before they end, and anew when a provider refuses one.
//! The issuers are scripted; the clock of the store is turned by hand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bursar::config::Config;
use bursar::config::dial::Dial;
use bursar::config::load::{Sources, load};
use bursar::error::Failure;
use bursar::schema::Operation;
use bursar::upstream::Upstream;
use bursar::upstream::credentials::{CredentialId, Credentials, Kind, Refresher, Surroundings, Wanted, wanted};
use bursar_actors::{Clock, ErrorClass, Secret};
use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::peers::{Caller, PATIENCE, listen, names};

const SEC: Duration = Duration::from_secs(1);

/// Somebody who is asked over HTTP and answers as the test says at that moment.
pub struct Peer {
    address: SocketAddr,
    /// Requests so far, head and body.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    /// Answers each request, with its number from 1, with this status and body.
    pub fn answering(answer: impl Fn(&str, usize) -> (u16, String) + Send + Sync + 'static) -> Self {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = asked.clone();
        let address = listen(move |mut stream, _| {
            while let Some(request) = read(&mut stream) {
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(request.clone());
                    seen.len()
                };
                let (status, body) = answer(&request, number);
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                if stream.write_all((head + &body).as_bytes()).is_err() {
                    return;
                }
            }
        });
        Self { address, asked }
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}

/// A store that is kept current on this thread, and what to turn.
pub struct Store {
    credentials: Arc<Credentials>,
    clock: Clock,
    wanted: Vec<Wanted>,
    /// What the key has for a value.
    secret: Secret,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
    began: Instant,
}

impl Store {
    pub fn of(key: &str, surroundings: &[(&str, &str)]) -> Self {
        let config = config(key);
        let (clock, wanted, stop) = (Clock::manual(), wanted(&config), Arc::new(AtomicBool::new(false)));
        let secret = config.providers["p"].keys[0].value.clone();
        let credentials = Arc::new(Credentials::new(clock.clone()));
        credentials.want(wanted.clone());
        let owned = |text: &&str| (*text).to_owned();
        let surroundings = Surroundings::new(surroundings.iter().map(|(name, value)| (owned(name), owned(value))));
        let refresher = Refresher::new(credentials.clone(), Upstream::default(), surroundings);
        let stopped = stop.clone();
        let task = actix_rt::spawn(refresher.run(move || stopped.load(Ordering::SeqCst)));
        Self { credentials, clock, wanted, secret, stop, task, began: Instant::now() }
    }

    fn id(&self) -> CredentialId {
        self.wanted[0].id.clone()
    }

    fn token(&self) -> Option<String> {
        self.credentials.current(&self.id()).map(|minted| shown(&minted.kind))
    }

    /// Turns the clock; the refresher looks at it at once.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.credentials.want(self.wanted.clone());
    }

    pub async fn until(&self, what: &str, so: impl Fn() -> bool) {
        while !so() {
            assert!(self.began.elapsed() < PATIENCE, "it did not come to this: {what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn until_token(&self, token: &str) {
        self.until(token, || self.token().as_deref() == Some(token)).await;
    }

    pub fn why(&self) -> String {
        self.credentials.pending(&self.id(), None).message
    }
}

fn shown(kind: &Kind) -> String {
    match kind {
        Kind::Bearer(token) => token.expose().to_owned(),
        Kind::Aws { access_key_id, secret_access_key, session_token } => {
            let token = session_token.as_ref().map_or("-", Secret::expose);
            format!("{} {} {token}", access_key_id.expose(), secret_access_key.expose())
        }
    }
}

fn config(key: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let kind = if key.starts_with("aws") { "bedrock" } else { "openai_compatible" };
    let text = format!(
        "[providers.p]\nkind = '{kind}'\nbase_url = 'http://a/v1'\nregion = 'eu-west-1'\nkeys = [{{ id = 'k', {key} }}]\n"
    );
    std::fs::write(folder.path().join("bursar.toml"), text).unwrap();
    let (working_dir, system_file) = (folder.path().to_owned(), folder.path().join("none.toml"));
    load(&Sources { working_dir, system_file, ..Sources::default() }).unwrap_or_else(|faults| panic!("{faults}"))
}

fn entra(peer: &Peer) -> String {
    let authority = peer.url();
    format!("entra = {{ tenant = 't', client_id = 'c', client_secret = 'hunter2', authority = '{authority}' }}")
}

pub fn token(number: usize, life_s: u64) -> (u16, String) {
    (200, format!("{{\"access_token\":\"token-{number}\",\"expires_in\":{life_s}}}"))
}

#[actix_web::test]
async fn a_token_is_there_before_it_is_needed_and_renewed_before_its_end() {
    let peer = Peer::answering(|_, number| token(number, 3600));
    let store = Store::of(&entra(&peer), &[]);

    store.until_token("token-1").await;
    store.advance(SEC * 2500);
    store.advance(SEC * 400);
    store.until_token("token-2").await;

    let asked = peer.asked();
    assert!(asked[0].starts_with("POST /t/oauth2/v2.0/token HTTP/1.1"), "{}", asked[0]);
    assert!(
        asked[0].contains("grant_type=client_credentials&client_id=c&client_secret=hunter2&scope="),
        "{}",
        asked[0]
    );
    assert_eq!(asked.len(), 2, "2500 s were too early");
}

#[actix_web::test]
async fn where_no_new_token_comes_the_old_one_serves_to_its_end() {
    let peer = Peer::answering(|_, number| match number {
        1 => token(1, 3600),
        _ => (
            401,
            "{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000222: the secret has expired\"}".into(),
        ),
    });
    let store = Store::of(&entra(&peer), &[]);
    store.until_token("token-1").await;

    store.advance(SEC * 2900);
    store.until("it was tried", || store.why().contains("AADSTS7000222")).await;
    assert_eq!(store.token().as_deref(), Some("token-1"));
    store.clock.advance(SEC * 701);

    assert_eq!(store.token(), None);
    let failure = store.credentials.pending(&store.id(), None);
    assert_eq!(failure.class, ErrorClass::CredentialPending);
    assert!(failure.message.contains("answered 401: invalid_client") && !failure.message.contains("hunter2"));
    assert!(failure.retry_after.is_some_and(|rest| rest <= SEC * 10));
}

#[actix_web::test]
async fn what_fails_at_first_is_tried_again() {
    let peer = Peer::answering(|_, number| if number < 3 { (503, String::new()) } else { token(number, 3600) });
    let store = Store::of(&entra(&peer), &[]);

    for tries in 1..3 {
        store.until("it was tried", || peer.asked().len() == tries && store.why().contains("503")).await;
        assert_eq!(store.token(), None);
        store.advance(SEC * 2);
    }

    store.until_token("token-3").await;
}

#[actix_web::test]
async fn what_is_no_longer_wanted_is_forgotten_and_what_is_new_is_minted() {
    let (old, new) = (Peer::answering(|_, _| token(1, 3600)), Peer::answering(|_, _| token(2, 3600)));
    let mut store = Store::of(&entra(&old), &[]);
    store.until_token("token-1").await;
    let before = store.id();

    store.wanted = wanted(&config(&entra(&new)));
    store.credentials.want_also(store.wanted.clone());
    store.until_token("token-2").await;
    assert!(store.credentials.current(&before).is_some(), "requests that run may still need it");
    store.credentials.want(store.wanted.clone());
    store.until("it is forgotten", || store.credentials.current(&before).is_none()).await;

    assert_eq!((store.token().as_deref(), old.asked().len(), new.asked().len()), (Some("token-2"), 1, 1));
}

#[actix_web::test]
async fn minting_ends_when_the_gateway_stops() {
    let peer = Peer::answering(|_, _| token(1, 3600));
    let store = Store::of(&entra(&peer), &[]);
    store.until_token("token-1").await;

    store.stop.store(true, Ordering::SeqCst);
    store.advance(SEC * 3000);
    let ended = tokio::time::timeout(PATIENCE, store.task).await;

    assert!(ended.is_ok_and(|ended| ended.is_ok()));
    assert_eq!(peer.asked().len(), 1);
}

/// Makes one call to `upstream` with what `store` holds.
async fn call(upstream: &Peer, store: &Store) -> Result<(), Failure> {
    let mut caller = Caller::new(&format!("{}/v1", upstream.url()), &Dial::default(), names(&[]));
    caller.upstream = Upstream::default().with_credentials(store.credentials.clone());
    let (body, by) = (Bytes::from_static(b"{}"), Instant::now() + PATIENCE);
    let operation = Operation::ChatCompletions;
    let call = caller.destination.passing(operation, "m", false, body).unwrap();
    caller.upstream.send(&caller.destination, call, Some(&store.secret), by).await.map(drop)
}

fn bearers(upstream: &Peer) -> Vec<String> {
    let bearer = |request: &String| {
        let line = request.lines().find_map(|line| line.strip_prefix("authorization: Bearer "));
        line.unwrap_or("none").to_owned()
    };
    upstream.asked().iter().map(bearer).collect()
}

#[actix_web::test]
async fn a_call_carries_the_token_and_without_one_it_is_not_made() {
    let upstream = Peer::answering(|_, _| (200, "{}".to_owned()));
    let issuer = Peer::answering(|_, number| if number == 1 { (503, String::new()) } else { token(2, 3600) });
    let store = Store::of(&entra(&issuer), &[]);
    store.until("it was tried", || store.why().contains("503")).await;

    let failure = call(&upstream, &store).await.unwrap_err();
    store.advance(SEC * 2);
    store.until_token("token-2").await;
    call(&upstream, &store).await.unwrap();

    assert_eq!(failure.class, ErrorClass::CredentialPending);
    assert!(failure.message.starts_with("the key has no valid token yet: 127.0.0.1:"), "{}", failure.message);
    assert_eq!(bearers(&upstream), ["token-2"]);
}

#[actix_web::test]
async fn a_token_that_is_refused_is_minted_anew_and_the_call_made_again() {
    let upstream = Peer::answering(|request, _| match request.contains("Bearer token-1") {
        true => (401, "{\"error\":{\"message\":\"invalid token\"}}".to_owned()),
        false => (200, "{}".to_owned()),
    });
    let issuer = Peer::answering(|_, number| token(number, 3600));
    let store = Store::of(&entra(&issuer), &[]);
    store.until_token("token-1").await;

    store.clock.advance(SEC * 60);
    call(&upstream, &store).await.unwrap();

    assert_eq!(bearers(&upstream), ["token-1", "token-2"]);
    assert_eq!(store.token().as_deref(), Some("token-2"));
}

#[actix_web::test]
async fn a_fresh_token_that_is_refused_lets_the_key_rest_and_no_storm_begins() {
    let upstream = Peer::answering(|_, _| (401, "{\"error\":{\"message\":\"invalid token\"}}".to_owned()));
    let issuer = Peer::answering(|_, number| token(number, 3600));
    let store = Store::of(&entra(&issuer), &[]);
    store.until_token("token-1").await;

    let mut failures = vec![];
    for _ in 0..5 {
        failures.push(call(&upstream, &store).await.unwrap_err());
    }

    assert!(failures.iter().all(|failure| failure.class == ErrorClass::CredentialPending));
    assert!(failures.iter().all(|failure| failure.retry_after == Some(SEC * 10) && failure.status == Some(401)));
    assert_eq!((issuer.asked().len(), upstream.asked().len()), (1, 5));
    store.advance(SEC * 61);
    store.until_token("token-2").await;
}

#[actix_web::test]
async fn keys_of_aws_are_sent_to_nobody() {
    let upstream = Peer::answering(|_, _| (200, "{}".to_owned()));
    let store = Store::of("aws = { access_key_id = 'id', secret_access_key = 'hunter2' }", &[]);
    store.until_token("id hunter2 -").await;

    let failure = call(&upstream, &store).await.unwrap_err();

    assert!(failure.message.contains("sign calls") && upstream.asked().is_empty(), "{}", failure.message);
}
