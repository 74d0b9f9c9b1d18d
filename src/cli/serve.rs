//! `bursar serve`: from the settings to a running gateway, and back down in good order.

use std::io::{self, IsTerminal, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar_actors::Clock;
use bursar_actors::access::Directory;
use bursar_actors::admins::Users;
use bursar_actors::vault::Vault;
use rand::RngExt;
use socket2::{Domain, Socket, Type};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::complain;
use super::data::Data;
use super::watch;
use crate::books::{BooksError, Keys, Opened, open_vault};
use crate::config::load::{Sources, load};
use crate::config::{Config, LogFormat, ProviderEndpoint};
use crate::demo::Demo;
use crate::http::{self, Gateway, Opening, Server};
use crate::pipeline::fitness;
use crate::telemetry::logs;
use crate::upstream::Upstream;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4_096;
/// Below this a few hundred clients are too many.
const DESCRIPTORS_FEW: u64 = 1_024;
/// Exit code when the actors are gone ("internal software error", sysexits.h).
const EXIT_SOFTWARE: i32 = 70;
/// Exit code when the books are not those that were signed ("configuration error", sysexits.h: a person has to look).
const EXIT_TAMPERED: u8 = 78;
/// How long the end waits for requests that were cut off to close their books.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);
/// Time between two lines about a long start.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT. Returns 1 where the settings, the port or the data directory do not allow it.
pub fn run(sources: &Sources) -> ExitCode {
    let started = Instant::now();
    let mut config = match load(sources) {
        Ok(config) => config,
        Err(faults) => return complain(format!("these settings cannot be served\n{faults}")),
    };
    logs::install(&config.logs);
    let descriptors = http::descriptors::raise_limit();
    if descriptors < DESCRIPTORS_FEW {
        warn!(descriptors, "only {descriptors} files may be open at once; raise the limit (LimitNOFILE, ulimit -Hn)");
    }
    // The demo's thread ends when this is dropped.
    let _demos = match start_demos(&mut config) {
        Ok(demos) => demos,
        Err(error) => return complain(format!("the demo provider cannot start: {error}")),
    };
    config.warnings.extend(fitness::warnings(&config));
    let prepared = Data::hold(&config.storage.path).and_then(|data| {
        let tcp = listen(config.server.listen)?;
        let socket = data.listen().map_err(|error| format!("cannot open the control socket: {error}"))?;
        let token = data.admin_token().map_err(|error| format!("cannot read or make the admin token: {error}"))?;
        Ok((data, tcp, socket, token))
    });
    let (_data, tcp, socket, token) = match prepared {
        Ok(prepared) => prepared,
        Err(message) => return complain(message),
    };
    let (books, vault) = match open_books(&config) {
        Ok(opened) => opened,
        Err(error) => {
            complain(&error);
            return ExitCode::from(if error.is_tampering() { EXIT_TAMPERED } else { 1 });
        }
    };
    let path = &config.storage.path;
    let (directory, users) = match Directory::open(path).and_then(|directory| Ok((directory, Users::open(path)?))) {
        Ok(opened) => opened,
        Err(message) => return complain(message),
    };
    let served = actix::System::new().block_on(async {
        let opening = Opening {
            listen: tcp.local_addr()?,
            admin_token: Some(blake3::hash(token.as_bytes())),
            books,
            vault,
            directory,
            users,
            clock: Clock::system(),
            seed: rand::rng().random(),
        };
        let gateway = Gateway::open(&config, opening);
        gateway.read_from(sources.clone());
        let server = http::serve(gateway.clone(), tcp, Some(socket))?;
        actix_rt::spawn(watch_actors(gateway.clone()));
        // Before anybody is told that the gateway is ready: from then on it may be told to stop.
        let signals = Signals::catch();
        watch::start(&gateway);
        announce(&config, &gateway, started.elapsed());
        let ended = until_stopped(gateway.clone(), server, signals).await;
        close(&gateway).await;
        ended
    });
    match served {
        Ok(()) => {
            info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => complain(format!("the server failed: {error}")),
    }
}

/// Ends what is kept on the disk.
async fn close(gateway: &Gateway) {
    gateway.webhooks.finish().await;
    if let Some(stored) = &gateway.stored {
        stored.close().await;
    }
    if let Some(books) = &gateway.books {
        books.close().await;
        gateway.witnesses.tell_last(&books.view, &Upstream::default()).await;
    }
}

/// Opens the books, or the vault alone where none are kept. An index that has to be made again may take a while, so it tells how far it is.
fn open_books(config: &Config) -> Result<(Option<Opened>, Option<Arc<Vault>>), BooksError> {
    if !config.audit.enabled {
        return Ok((None, Some(open_vault(config)?)));
    }
    let mut told = Instant::now();
    let mut progress = |done: u64, total: u64| {
        if told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            info!(done, total, "reading the books: {done} of {total} records");
        }
    };
    Ok((Some(Opened::open(config, Keys::of(config)?, &mut progress)?), None))
}

/// Starts a demo provider for each that is configured and fills in its address.
fn start_demos(config: &mut Config) -> io::Result<Vec<Demo>> {
    let mut demos = Vec::new();
    for provider in config.providers.values_mut() {
        let Some(settings) = &provider.demo else { continue };
        let demo = Demo::start(settings.into())?;
        let endpoint = ProviderEndpoint {
            id: provider.id.as_str().into(),
            base_url: demo.base_url(),
            weight: 1,
            region: provider.region.clone(),
        };
        provider.endpoints = vec![endpoint];
        demos.push(demo);
    }
    Ok(demos)
}

fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    let bound = Socket::new(Domain::for_address(address), Type::STREAM, None).and_then(|socket| {
        // A restart must not wait for the old connections' TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    });
    bound.map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            let next = SocketAddr::new(address.ip(), address.port().wrapping_add(1).max(1024));
            format!("{address} is in use by another program; choose another, for example --listen {next}")
        }
        io::ErrorKind::PermissionDenied => {
            format!("may not listen on {address}: {error}; ports below 1024 are for root, choose another with --listen")
        }
        _ => format!("cannot listen on {address}: {error}; choose another with --listen"),
    })
}

/// Ends the process when the supervisor is gone: without it nothing can be served, and a service manager restarts us.
async fn watch_actors(gateway: Arc<Gateway>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let books = gateway.books.as_ref();
        let alive = [
            ("supervisor", gateway.actors.supervisor.connected()),
            ("audit log", books.is_none_or(|books| books.log.connected())),
            // What cannot be counted is not served.
            ("budget", books.is_none_or(|books| books.budget.connected())),
        ];
        let Some((dead, _)) = alive.iter().find(|(_, alive)| !alive) else { continue };
        complain(format!("the {dead} has died; stopping so that a fresh process can take over"));
        std::process::exit(EXIT_SOFTWARE);
    }
}

/// SIGTERM and SIGINT; none where the system lets us catch neither.
struct Signals(Option<(Signal, Signal)>);

impl Signals {
    fn catch() -> Self {
        let caught = signal(SignalKind::terminate()).and_then(|one| Ok((one, signal(SignalKind::interrupt())?)));
        if let Err(error) = &caught {
            warn!(%error, "signals cannot be caught; the gateway will stop without letting requests finish");
        }
        Self(caught.ok())
    }

    async fn next(&mut self) {
        let Some((terminate, interrupt)) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// First signal: refuse new requests, let running ones finish within the grace, end the rest with an error.
/// Second signal: stop at once.
async fn until_stopped(gateway: Arc<Gateway>, server: Server, mut signals: Signals) -> io::Result<()> {
    let handle = server.handle();
    let mut server = std::pin::pin!(server);
    tokio::select! {
        ended = &mut server => return ended,
        () = signals.next() => {}
    }
    let grace_s = gateway.shutdown_grace.as_secs();
    let running = gateway.metrics.in_flight();
    info!(running, grace_s, "stopping: {running} requests have up to {grace_s} s to finish");
    gateway.drain.start();
    // The command is sent here; that it was obeyed shows in the server's own end.
    drop(handle.stop(true));
    tokio::select! {
        ended = &mut server => {
            settled(&gateway).await;
            ended
        }
        () = signals.next() => {
            // A server that is draining heeds no further command, so it is dropped, which cuts what still runs.
            warn!("stopping at once");
            Ok(())
        }
    }
}

/// Waits until what the server cut off has closed its books: that happens on the workers' threads as they end.
async fn settled(gateway: &Gateway) {
    let until = Instant::now() + SETTLED_WITHIN;
    while gateway.metrics.in_flight() > 0 {
        if Instant::now() >= until {
            let open = gateway.metrics.in_flight();
            warn!(open, "{open} requests do not end; the next start closes them in the books as abandoned");
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Says on standard error what runs where: for people on a terminal, as a log line otherwise.
fn announce(config: &Config, gateway: &Gateway, took: Duration) {
    let listen = gateway.listen;
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let ready_ms = took.as_millis() as u64;
    let pretty = config.logs.format == LogFormat::Pretty
        || (config.logs.format == LogFormat::Auto && io::stderr().is_terminal());
    if !pretty {
        info!(listen = %listen, ready_ms, sources = %config.sources.join(" + "), "ready");
        return;
    }
    let _ = io::stderr().write_all(banner(config, gateway, ready_ms).as_bytes());
}

fn banner(config: &Config, gateway: &Gateway, ready_ms: u64) -> String {
    let url = format!("http://{}", gateway.listen);
    let keys = |count: usize| match count {
        0 => String::new(),
        1 => " 1 key".into(),
        count => format!(" {count} keys"),
    };
    let providers = config.providers.values().map(|provider| format!("{}{}", provider.id, keys(provider.keys.len())));
    let providers = providers.collect::<Vec<_>>().join(" | ");
    let aliases = config.models.aliases.keys().map(String::as_str).collect::<Vec<_>>().join(" ");
    let direct = if config.models.allow_direct { "  (and any provider/model)" } else { "" };
    let clients = gateway.clients.load();
    let auth = match clients.are_required() {
        false => "no key asked (loopback only)".into(),
        true => format!("required; {} client keys", clients.count()),
    };
    let model = config.models.default.as_deref().or(config.models.aliases.keys().next().map(String::as_str));
    let authorization = if clients.are_required() { " -H 'authorization: Bearer <client key>'" } else { "" };
    format!(
        "bursar {version}  ready in {ready_ms} ms\n  \
         API        {url}/v1\n  \
         Metrics    {url}/metrics\n  \
         Config     {sources}\n  \
         Data       {data}\n  \
         Providers  {providers}\n  \
         Models     {aliases}{direct}\n  \
         Auth       {auth}\n\n  \
         Try it     curl {url}/v1/chat/completions -H 'content-type: application/json'{authorization} \
         -d '{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n",
        version = env!("CARGO_PKG_VERSION"),
        sources = if config.sources.is_empty() { "defaults".into() } else { config.sources.join(" + ") },
        data = config.storage.path.display(),
        model = model.unwrap_or("<provider/model>"),
    )
}
