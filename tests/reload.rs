//! A configuration that changes while the gateway serves: over HTTP, with demo providers as upstreams.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bursar::call::Caller;
use bursar::config::Config;
use bursar::config::load::{Sources, load};
use bursar::demo::{Demo, DemoOptions};
use bursar::http::{self, Gateway, Opening};
use bursar_actors::access::Directory;
use bursar_actors::admins::Users;
use bursar_actors::{Clock, Views};
use serde_json::json;

fn sources(folder: &std::path::Path, text: &str) -> Sources {
    std::fs::write(folder.join("bursar.toml"), text).unwrap();
    Sources { working_dir: folder.to_owned(), system_file: folder.join("none.toml"), ..Sources::default() }
}

fn config(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    load(&sources(folder.path(), text)).unwrap_or_else(|faults| panic!("{faults}"))
}

/// One provider `id` at `demo`, and an alias `m` that leads there.
fn leading_to(id: &str, demo: &Demo, key: &str) -> String {
    format!(
        "[providers.{id}]\nkind = 'openai_compatible'\nbase_url = '{}'\nkeys = [{{ id = 'k', value = '{key}' }}]\n\
         [models]\nallow_direct = false\n[models.alias.m]\ntargets = [{{ provider = '{id}', model = 'demo-small' }}]\n",
        demo.base_url()
    )
}

fn demo(keys: &[&str]) -> Demo {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    Demo::start(DemoOptions { remembered: 0, keys, ..DemoOptions::default() }).unwrap()
}

fn serve(config: &Config) -> (Arc<Gateway>, String) {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    tcp.set_nonblocking(true).unwrap();
    let listen = tcp.local_addr().unwrap();
    let gateway = Gateway::open(
        config,
        Opening {
            listen,
            admin_token: None,
            books: None,
            vault: None,
            directory: Directory::in_memory(),
            users: Users::in_memory(),
            clock: Clock::system(),
            seed: 3,
        },
    );
    actix_rt::spawn(http::serve(gateway.clone(), tcp, None).unwrap());
    (gateway, format!("http://{listen}"))
}

/// Returns the status of one chat, whole or streamed to its end.
async fn chat(client: &awc::Client, url: &str, model: &str, stream: bool) -> u16 {
    let body = json!({ "model": model, "stream": stream, "messages": [{ "role": "user", "content": "Hello" }] });
    let mut answer = client.post(format!("{url}/v1/chat/completions")).send_json(&body).await.unwrap();
    let text = answer.body().limit(1 << 20).await.unwrap();
    let done = !stream || text.ends_with(b"data: [DONE]\n\n");
    if done { answer.status().as_u16() } else { 0 }
}

async fn settle(gateway: &Gateway, done: impl Fn(&Gateway) -> bool) {
    for _ in 0..100_000 {
        if done(gateway) {
            return;
        }
        gateway.actors.supervisor.send(Views).await.unwrap();
    }
    panic!("the gateway did not settle: {:?}", gateway.actors.board.views());
}

fn endpoints(gateway: &Gateway) -> Vec<String> {
    gateway.actors.board.views().iter().map(|(id, _)| id.to_string()).collect()
}

fn reloads() -> usize {
    std::env::var("BURSAR_RELOADS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// Set `BURSAR_RELOADS=1000` for the long form.
#[actix::test]
async fn no_request_fails_however_often_the_provider_behind_its_model_is_exchanged() {
    let (one, other) = (demo(&["sk-1", "sk-2"]), demo(&[]));
    let configs = [
        config(&leading_to("one", &one, "sk-1")),
        config(&leading_to("other", &other, "sk-3")),
        config(&leading_to("one", &one, "sk-2")),
    ];
    let (gateway, url) = serve(&configs[0]);
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let askers = (0..16).map(|n| {
        let (stop, served, url) = (stop.clone(), served.clone(), url.clone());
        actix_rt::spawn(async move {
            let client = awc::Client::default();
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(chat(&client, &url, "m", n % 2 == 0).await, 200);
                served.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let askers: Vec<_> = askers.collect();

    let probe = awc::Client::default();
    for turn in 1..=reloads() {
        gateway.reload(&configs[turn % 3]).await.ok().unwrap();
        // A request of its own, so that every configuration has served at least one.
        assert_eq!(chat(&probe, &url, "m", false).await, 200);
    }
    stop.store(true, Ordering::Relaxed);
    for asker in askers {
        asker.await.unwrap();
    }

    let last = if reloads() % 3 == 1 { "other" } else { "one" };
    settle(&gateway, |gateway| endpoints(gateway) == [last]).await;
    settle(&gateway, |gateway| gateway.actors.board.views().iter().all(|(_, view)| view.pulse.in_flight == 0)).await;
    let board = &gateway.actors.board;
    assert_eq!(board.leases_granted(), board.leases_reported());
    assert!(served.load(Ordering::Relaxed) > 0);
    assert_eq!(board.restarts(), 0);
}

#[actix::test]
async fn what_can_change_counts_at_once_and_what_cannot_is_named() {
    let upstream = demo(&[]);
    let before = config(&leading_to("one", &upstream, "sk-1"));
    let (gateway, url) = serve(&before);
    let text = format!(
        "[server]\nlisten = '127.0.0.1:1'\nrequest_timeout = '7s'\n[storage]\npath = './elsewhere'\n\
         [providers.play]\nkind = 'demo'\nerror_rate = 0.5\n{}\
         [models.alias.n]\ntargets = [{{ provider = 'play', model = 'demo-small' }}]\n\
         [models.alias.o]\ntargets = [{{ provider = 'one', model = 'demo-small' }}]\nfallback = ['n']\n\
         [[client_keys]]\nid = 'ci'\nvalue = '0123456789abcdef'\n",
        leading_to("one", &upstream, "sk-2")
    );

    let changes = gateway.reload(&config(&text)).await.ok().unwrap();

    let named = |waits: bool| {
        let paths = changes.iter().filter(|change| change.needs_restart == waits).map(|change| change.path.as_str());
        paths.collect::<Vec<_>>()
    };
    let waiting = [
        // It lies beside the data directory unless somebody says where.
        "audit.keys_path",
        "models.alias.n.targets[0].model",
        "models.alias.n.targets[0].provider",
        "models.alias.o.fallback",
        "providers.play.error_rate",
        "providers.play.kind",
        "server.listen",
        "storage.path",
    ];
    assert_eq!(named(true), waiting);
    assert!(named(false).contains(&"providers.one.keys.k.value") && named(false).contains(&"server.request_timeout"));
    assert!(named(false).contains(&"client_keys.ci.value"), "{changes:?}");
    let shown = format!("{changes:?}");
    assert!(!shown.contains("sk-") && !shown.contains("0123456789abcdef"), "{shown}");
    let client = awc::Client::builder().bearer_auth("0123456789abcdef").finish();
    assert_eq!(chat(&client, &url, "o", false).await, 200);
    assert_eq!(chat(&client, &url, "n", false).await, 404, "its demo provider is not started");
    assert_eq!(chat(&awc::Client::default(), &url, "o", false).await, 401);
    assert_eq!(gateway.config.load().storage.path, before.storage.path);
    assert_eq!(gateway.routes.load().request_timeout.as_secs(), 7);
    // The same again: only what still waits differs.
    let again = gateway.reload(&config(&text)).await.ok().unwrap();
    assert_eq!(again.iter().map(|change| change.path.as_str()).collect::<Vec<_>>(), waiting);
}

#[actix::test]
async fn a_running_demo_provider_goes_on_as_it_was_started() {
    let upstream = demo(&[]);
    let text =
        "[providers.play]\nkind = 'demo'\n[models.alias.m]\ntargets = [{ provider = 'play', model = 'demo-small' }]\n";
    let mut started = config(text);
    let play = started.providers.get_mut("play").unwrap();
    play.endpoints = config(&leading_to("play", &upstream, "sk-1")).providers["play"].endpoints.clone();
    let (gateway, url) = serve(&started);

    let changes = gateway.reload(&config(&text.replace("'demo'\n", "'demo'\nerror_rate = 1.0\ntags = ['x']\n"))).await;

    let changes = changes.ok().unwrap();
    let shown: Vec<_> = changes.iter().map(|change| (change.path.as_str(), change.needs_restart)).collect();
    assert_eq!(shown, [("providers.play.error_rate", true), ("providers.play.tags", false)]);
    assert_eq!(chat(&awc::Client::default(), &url, "m", false).await, 200);
}

#[actix::test]
async fn a_faulty_configuration_changes_nothing_and_says_so_until_it_is_mended() {
    let upstream = demo(&[]);
    let folder = tempfile::tempdir().unwrap();
    let good = leading_to("one", &upstream, "sk-1");
    let sources = sources(folder.path(), &good);
    let (gateway, url) = serve(&load(&sources).unwrap());
    gateway.read_from(sources);
    let file = folder.path().join("bursar.toml");

    std::fs::write(&file, good.replace("targets", "tragets")).unwrap();
    assert!(gateway.clone().reload_from_sources("test").await.is_err());

    assert_eq!(chat(&awc::Client::default(), &url, "m", false).await, 200);
    assert!(gateway.config_fault().unwrap().contains("bursar.toml:8:1: unknown key `tragets`"));
    std::fs::write(&file, good).unwrap();
    assert!(gateway.clone().reload_from_sources("test").await.ok().unwrap().is_empty());
    assert!(gateway.config_fault().is_none());
    let metrics = gateway.metrics.render(&gateway.actors.board, None);
    assert!(metrics.contains("bursar_config_reload_total{result=\"ok\"} 1"), "{metrics}");
    assert!(metrics.contains("bursar_config_reload_total{result=\"error\"} 1"), "{metrics}");
}

#[actix::test]
async fn probes_follow_the_configuration() {
    let remembering = || Demo::start(DemoOptions::default()).unwrap();
    let (one, other) = (remembering(), remembering());
    let direct = |id: &str, demo: &Demo, every: &str| {
        let text = leading_to(id, demo, "sk-1").replace("allow_direct = false", "allow_direct = true");
        config(&format!("[probes]\nevery = '{every}'\n{text}"))
    };
    let (gateway, _) = serve(&direct("one", &one, "1h"));
    let listed = || {
        let models = gateway.catalog.models_of(&gateway.routes.load(), &Caller::default());
        models.into_iter().map(|model| model.id).collect::<Vec<_>>()
    };
    one.wait_for(|all| all.first().is_some_and(|probe| probe.status == Some(200))).await;

    gateway.reload(&direct("other", &other, "1s")).await.ok().unwrap();
    other.wait_for(|all| all.len() >= 2).await;

    assert!(other.exchanges().iter().all(|exchange| exchange.path == "/v1/models"));
    assert!(listed().contains(&"other/demo-large".to_owned()), "{:?}", listed());
    assert!(!listed().iter().any(|name| name.starts_with("one/")), "{:?}", listed());
    assert_eq!(one.exchanges().len(), 1);
}
