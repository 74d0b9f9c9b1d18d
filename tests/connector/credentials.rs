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
struct Peer {
    address: SocketAddr,
    /// Requests so far, head and body.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    /// Answers each request, with its number from 1, with this status and body.
    fn answering(answer: impl Fn(&str, usize) -> (u16, String) + Send + Sync + 'static) -> Self {
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

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn url(&self) -> String {
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
struct Store {
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
    fn of(key: &str, surroundings: &[(&str, &str)]) -> Self {
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
    fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.credentials.want(self.wanted.clone());
    }

    async fn until(&self, what: &str, so: impl Fn() -> bool) {
        while !so() {
            assert!(self.began.elapsed() < PATIENCE, "it did not come to this: {what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn until_token(&self, token: &str) {
        self.until(token, || self.token().as_deref() == Some(token)).await;
    }

    fn why(&self) -> String {
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
    let text = format!(
        "[providers.p]\nkind = 'openai_compatible'\nbase_url = 'http://a/v1'\nkeys = [{{ id = 'k', {key} }}]\n"
    );
    std::fs::write(folder.path().join("bursar.toml"), text).unwrap();
    let (working_dir, system_file) = (folder.path().to_owned(), folder.path().join("none.toml"));
    load(&Sources { working_dir, system_file, ..Sources::default() }).unwrap_or_else(|faults| panic!("{faults}"))
}

fn entra(peer: &Peer) -> String {
    let authority = peer.url();
    format!("entra = {{ tenant = 't', client_id = 'c', client_secret = 'hunter2', authority = '{authority}' }}")
}

fn token(number: usize, life_s: u64) -> (u16, String) {
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

#[actix_web::test]
async fn an_ec2_instance_gives_the_keys_of_its_role() {
    let peer = Peer::answering(|request, _| {
        let body = match request.lines().next().unwrap() {
            "PUT /latest/api/token HTTP/1.1" => "session",
            "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1" => "role",
            "GET /latest/meta-data/iam/security-credentials/role HTTP/1.1" => {
                r#"{"Code":"Success","AccessKeyId":"id","SecretAccessKey":"s","Token":"t","Expiration":"2999-01-01T00:00:00Z"}"#
            }
            _ => return (404, String::new()),
        };
        (200, body.to_owned())
    });
    let url = peer.url();

    let store = Store::of("aws = 'instance'", &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url)]);
    store.until_token("id s t").await;

    let asked = peer.asked();
    assert!(asked[0].contains("x-aws-ec2-metadata-token-ttl-seconds: 300\r\n"), "{}", asked[0]);
    assert!(asked[1..].iter().all(|asked| asked.contains("x-aws-ec2-metadata-token: session\r\n")) && asked.len() == 3);
}

#[actix_web::test]
async fn a_container_shows_the_token_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "let-me-in\n").unwrap();
    let peer = Peer::answering(|_, _| (200, r#"{"AccessKeyId":"id","SecretAccessKey":"s","Token":"t"}"#.to_owned()));
    let url = format!("{}/v1/credentials", peer.url());
    let pod = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap()),
    ];

    let store = Store::of("aws = 'container'", &pod);
    store.until_token("id s t").await;

    assert!(peer.asked()[0].contains("authorization: let-me-in\r\n"), "{}", peer.asked()[0]);
}

#[actix_web::test]
async fn a_profile_is_read_again_when_its_file_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    let write = |secret: &str| {
        std::fs::write(&file, format!("[dev]\naws_access_key_id = id\naws_secret_access_key = {secret}\n")).unwrap();
    };
    write("one");
    let store = Store::of("aws = 'profile:dev'", &[("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())]);
    store.until_token("id one -").await;

    write("two");
    store.advance(SEC * 301);

    store.until_token("id two -").await;
}

#[actix_web::test]
async fn the_machines_own_token_is_asked_for_in_each_cloud() {
    let peer = Peer::answering(|_, number| token(number, 3600));
    let (url, app) = (peer.url(), format!("{}/msi", peer.url()));

    let google = Store::of("google = 'metadata'", &[("GCE_METADATA_HOST", url.strip_prefix("http://").unwrap())]);
    google.until_token("token-1").await;
    let azure = Store::of("entra = 'managed'", &[("IDENTITY_ENDPOINT", &app), ("IDENTITY_HEADER", "h")]);
    azure.until_token("token-2").await;

    let asked = peer.asked();
    assert!(asked[0].starts_with("GET /computeMetadata/v1/instance/service-accounts/default/token "), "{}", asked[0]);
    assert!(asked[0].contains("metadata-flavor: Google\r\n"));
    assert!(
        asked[1].starts_with("GET /msi?api-version=2019-08-01&resource=") && asked[1].contains("x-identity-header: h")
    );
}

#[actix_web::test]
async fn a_service_account_asks_with_an_assertion() {
    let peer = Peer::answering(|_, number| token(number, 3600));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sa.json");
    let key = include_str!("../credentials/key.pem");
    let url = format!("{}/token", peer.url());
    let account = serde_json::json!({ "client_email": "a@b", "private_key": key, "token_uri": url });
    std::fs::write(&file, account.to_string()).unwrap();

    let store = Store::of(&format!("google = {{ service_account = '{}' }}", file.display()), &[]);
    store.until_token("token-1").await;

    assert!(peer.asked()[0].contains("&assertion=ey"), "{}", peer.asked()[0]);
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
