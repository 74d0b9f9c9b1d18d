//! A gateway inside the test process: started from settings over scripted upstreams, stopped when dropped.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bursar::books::{Keys, Opened};
use bursar::config::Config;
use bursar::config::load::{Sources, load};
use bursar::demo::{Behaviour, Demo, DemoOptions, Ending, Exchange, Rule, When};
use bursar::http::{Gateway, Opening, ServerHandle, serve};
use bursar_actors::access::Directory;
use bursar_actors::admins::Users;
use bursar_actors::audit::journal::{Disk, RealDisk};
use bursar_actors::{ChanceFactory, Clock, EndpointId, SystemOptions};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::client::{Client, PROMPT};

/// The admin token of every gateway here.
pub const ADMIN: &str = "bursar-admin-of-the-tests";
/// Longest that an event may take to show.
pub const SOON: Duration = Duration::from_secs(10);
/// What a panic says that a test causes by chance inside an actor; any other fails the test.
pub const INTENDED: &str = "this actor was meant to die";

/// A running gateway.
pub struct Bursar {
    pub address: SocketAddr,
    pub gateway: Arc<Gateway>,
    server: ServerHandle,
    system: usize,
    thread: Option<JoinHandle<()>>,
    pub folder: TempDir,
}

/// What a gateway is started with. Each upstream is a provider (`a`, `b`, ...) with keys `sk-a-1`, `sk-a-2`, ...; the
/// alias `m` tries them in their order. Nothing is probed unless asked for, so that tests can count calls.
pub struct Setup {
    upstreams: Vec<String>,
    keys: usize,
    workers: usize,
    set: Vec<String>,
    probes: &'static str,
    more: String,
    file: Option<String>,
    chance_for: Option<ChanceFactory>,
    disk: Arc<dyn Disk>,
}

impl Setup {
    pub fn over(demos: &[&Demo]) -> Self {
        Self::at(demos.iter().map(|demo| demo.base_url()).collect())
    }

    pub fn at(upstreams: Vec<String>) -> Self {
        let set = ["balancing.retry.backoff.base=1ms", "balancing.retry.backoff.max=2ms"].map(str::to_owned);
        let (more, file, chance_for) = (String::new(), None, None);
        let disk = Arc::new(RealDisk);
        Self { upstreams, keys: 1, workers: 1, set: set.into(), probes: "0s", more, file, chance_for, disk }
    }

    /// Starts from this very file.
    pub fn from_file(file: &str) -> Self {
        Self { file: Some(file.to_owned()), ..Self::at(vec![]) }
    }

    /// Gives the actors their chance from here; a draw that panics kills its actor.
    pub fn chance_for(self, chance_for: ChanceFactory) -> Self {
        Self { chance_for: Some(chance_for), ..self }
    }

    /// Keeps the books on this disk.
    pub fn disk(self, disk: impl Disk + 'static) -> Self {
        Self { disk: Arc::new(disk), ..self }
    }

    pub fn keys(self, keys: usize) -> Self {
        Self { keys, ..self }
    }

    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// Probes whatever is quiet for so long.
    pub fn probes(self, every: &'static str) -> Self {
        Self { probes: every, ..self }
    }

    /// Overrides one setting, as `--set` does.
    pub fn set(mut self, assignment: &str) -> Self {
        self.set.push(assignment.to_owned());
        self
    }

    /// Overrides one setting of every provider.
    pub fn each(mut self, assignment: &str) -> Self {
        for index in 0..self.upstreams.len() {
            self.set.push(format!("providers.{}.{assignment}", name(index)));
        }
        self
    }

    /// Appends to the file.
    pub fn more(self, toml: &str) -> Self {
        Self { more: self.more + toml, ..self }
    }

    pub fn file(&self) -> String {
        if let Some(file) = &self.file {
            return file.clone();
        }
        let mut file = format!("[probes]\nevery = \"{}\"\n", self.probes);
        for (index, base_url) in self.upstreams.iter().enumerate() {
            let id = name(index);
            file += &format!("[providers.{id}]\nkind = \"openai_compatible\"\nbase_url = \"{base_url}\"\n");
            for key in 1..=self.keys {
                file += &format!("[[providers.{id}.keys]]\nid = \"{id}{key}\"\nvalue = \"sk-{id}-{key}\"\n");
            }
        }
        let target = |index| format!("{{ provider = \"{}\", model = \"demo-small\" }}", name(index));
        let targets: Vec<String> = (0..self.upstreams.len()).map(target).collect();
        file += &format!("[models.alias.m]\nstrategy = \"ordered\"\ntargets = [{}]\n", targets.join(", "));
        file + &self.more
    }

    #[track_caller]
    pub fn start(self) -> Bursar {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bursar.toml"), self.file()).unwrap();
        let sources = Sources {
            set: self.set,
            data: Some(folder.path().join("data")),
            working_dir: folder.path().into(),
            system_file: folder.path().join("none.toml"),
            ..Sources::default()
        };
        let mut config = load(&sources).unwrap_or_else(|faults| panic!("{faults}"));
        config.server.workers = self.workers;
        watch_panics();
        let (chance_for, disk) = (self.chance_for, self.disk);
        let (started, starting) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            // Outside the system, as in the program: it waits for the disk.
            let books = books(&config, disk);
            let system = actix::System::new();
            let served = system.block_on(async {
                let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                tcp.set_nonblocking(true).unwrap();
                let address = tcp.local_addr().unwrap();
                let admin_token = Some(blake3::hash(ADMIN.as_bytes()));
                let (directory, clock) = (Directory::open(&config.storage.path).unwrap(), Clock::system());
                let users = Users::open(&config.storage.path).unwrap();
                let opening =
                    Opening { listen: address, admin_token, books, vault: None, directory, users, clock, seed: 7 };
                let mut gateway = Gateway::open(&config, opening);
                if let Some(chance_for) = chance_for {
                    exchange_actors(&mut gateway, chance_for);
                    assert!(gateway.reload(&config).await.is_ok());
                }
                gateway.read_from(sources);
                let server = serve(gateway.clone(), tcp, None).unwrap();
                started.send((address, gateway, server.handle(), actix::System::current().id())).unwrap();
                let served = server.await;
                actix::System::current().stop();
                served
            });
            served.unwrap();
        });
        let (address, gateway, server, system) = starting.recv().expect("the gateway starts");
        Bursar { address, gateway, server, system, thread: Some(thread), folder }
    }
}

/// Exchanges the actors, before anybody knows them, for a tree without endpoints yet whose chance is the test's.
fn exchange_actors(gateway: &mut Arc<Gateway>, chance_for: ChanceFactory) {
    let chance_for = Some(chance_for);
    let options = SystemOptions { endpoints: vec![], clock: Clock::system(), seed: 7, chance_for };
    Arc::get_mut(gateway).expect("nobody shares it yet").actors = bursar_actors::start(options);
}

impl Bursar {
    /// Whatever a test did, no key of its configuration may stand in what the gateway has written, nor in its metrics.
    fn leaves_no_secrets(&self) {
        let file = std::fs::read_to_string(self.folder.path().join("bursar.toml")).unwrap_or_default();
        let is_secret =
            |line: &&str| ["value", "secret", "token"].iter().any(|name| line.starts_with(&format!("{name} = \"")));
        let secrets = file.lines().filter(is_secret).filter_map(|line| line.split('"').nth(1));
        // What is shorter may stand anywhere.
        let secrets: Vec<&str> = secrets.filter(|secret| secret.len() >= 6).chain([ADMIN, PROMPT]).collect();
        let mut written =
            vec![("metrics".to_owned(), self.gateway.metrics.render(&self.gateway.actors.board, None).into_bytes())];
        let mut folders = vec![self.folder.path().join("data")];
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    written.push((path.display().to_string(), std::fs::read(&path).unwrap_or_default()));
                }
            }
        }
        for (place, bytes) in &written {
            let found = secrets.iter().find(|secret| memchr::memmem::find(bytes, secret.as_bytes()).is_some());
            assert_eq!(found, None, "a secret stands in {place}");
        }
    }
}

impl Drop for Bursar {
    fn drop(&mut self) {
        // The command is on its way as soon as the future is made.
        drop(self.server.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let own = format!("actix-rt|system:{}|", self.system);
        // Not held while asserting: a panic takes the lock, too.
        let panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let panics: Vec<_> =
            panics.iter().filter(|panic| panic.starts_with(&own) && !panic.contains(INTENDED)).collect();
        assert!(panics.is_empty() || std::thread::panicking(), "the gateway panicked: {panics:?}");
        if !std::thread::panicking() {
            self.leaves_no_secrets();
        }
    }
}

/// What panicked on the threads of any gateway; a task's panic is caught there and would go unnoticed.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            let text = format!("{name} {panic}");
            if !text.contains(INTENDED) {
                usual(panic);
            }
            PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        }));
    });
}

impl Bursar {
    pub fn client(&self) -> Client {
        Client::of(self.address)
    }

    /// Writes the file that the next reload reads.
    pub fn write(&self, file: &str) {
        std::fs::write(self.folder.path().join("bursar.toml"), file).unwrap();
    }

    /// Ends it as SIGTERM would, and waits until its threads have let go of everything.
    #[track_caller]
    pub fn drained(mut self) -> Weak<Gateway> {
        self.gateway.drain.start();
        drop(self.server.stop(true));
        let thread = self.thread.take().expect("it runs");
        until("the server ends", || thread.is_finished());
        thread.join().unwrap();
        Arc::downgrade(&self.gateway)
    }

    /// Returns the share of an endpoint's calls that count as failed.
    pub fn error_share(&self, endpoint: &str) -> f64 {
        let view = self.gateway.actors.board.view(&EndpointId::from(endpoint)).unwrap();
        view.pulse.errors.share(Instant::now())
    }

    /// Waits until nothing is in flight, then holds the books against each other.
    #[track_caller]
    pub fn books(&self) -> Books {
        Books::closed(self.client())
    }
}

/// What the metrics say of requests and leases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Books {
    pub admitted: u64,
    pub served: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub in_flight: u64,
    pub granted: u64,
    pub reported: u64,
    pub upstream_in_flight: u64,
}

impl Books {
    /// Reads them through `client` until nothing is in flight, then holds them against each other.
    #[track_caller]
    pub fn closed(mut client: Client) -> Self {
        let begun = Instant::now();
        loop {
            let books = Self::read(&client.get("/metrics").text());
            if books.in_flight == 0 && books.upstream_in_flight == 0 && books.granted == books.reported {
                assert_eq!(books.admitted, books.served + books.failed + books.cancelled, "{books:?}");
                return books;
            }
            assert!(begun.elapsed() < SOON, "the books do not close: {books:?}");
        }
    }

    pub fn read(metrics: &str) -> Self {
        let sum = |name: &str, label: &str| {
            let of_name = metrics.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
            let values = of_name.filter(|line| line.contains(label)).filter_map(|line| line.rsplit(' ').next());
            values.map(|value| value.parse::<f64>().unwrap()).sum::<f64>() as u64
        };
        Self {
            admitted: sum("bursar_requests_admitted_total", ""),
            served: sum("bursar_requests_total", "outcome=\"served\""),
            failed: sum("bursar_requests_total", "outcome=\"failed\""),
            cancelled: sum("bursar_requests_total", "outcome=\"cancelled\""),
            in_flight: sum("bursar_requests_in_flight", ""),
            granted: sum("bursar_leases_granted_total", ""),
            reported: sum("bursar_leases_reported_total", ""),
            upstream_in_flight: sum("bursar_endpoint_in_flight", ""),
        }
    }

    /// Returns how many requests were served, failed and cancelled.
    pub fn endings(&self) -> (u64, u64, u64) {
        (self.served, self.failed, self.cancelled)
    }
}

fn name(index: usize) -> char {
    char::from(b'a' + index as u8)
}

pub fn demo() -> Demo {
    Demo::start(DemoOptions { any_model: true, ..DemoOptions::default() }).unwrap()
}

/// An upstream that behaves like this at every request.
pub fn scripted(then: Behaviour) -> Demo {
    let demo = demo();
    demo.script(vec![Rule { when: When::default(), then }]);
    demo
}

/// An upstream that behaves like this at its first requests, then as it should.
pub fn at_first(times: u32, then: Behaviour) -> Demo {
    let demo = demo();
    demo.script(vec![Rule { when: When { times: Some(times), ..When::default() }, then }]);
    demo
}

/// A port that refuses connections, kept from others while this lives.
pub struct Closed {
    _socket: Socket,
    pub url: String,
}

impl Closed {
    pub fn port() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let url = format!("http://{}/v1", socket.local_addr().unwrap().as_socket().unwrap());
        Self { _socket: socket, url }
    }
}

/// Waits until it is so.
#[track_caller]
pub fn until(what: &str, so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < SOON, "it did not come to this: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Waits for something that an upstream sees.
#[track_caller]
pub fn wait_for(demo: &Demo, predicate: impl Fn(&[Exchange]) -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let waited = runtime.block_on(async { tokio::time::timeout(SOON, demo.wait_for(predicate)).await });
    assert!(waited.is_ok(), "it did not happen; seen: {:?}", demo.exchanges());
}

/// Waits until the last request's connection was closed on the upstream.
#[track_caller]
pub fn wait_for_hang_up(demo: &Demo) {
    wait_for(demo, |all| all.last().is_some_and(|last| matches!(last.ending, Ending::PeerClosed { .. })));
}

/// Opens the books in the gateway's data directory, as the program does.
fn books(config: &Config, disk: Arc<dyn Disk>) -> Option<Opened> {
    let open = || Opened::open_on(disk, None, config, Keys::of(config)?, &mut |_, _| {});
    config.audit.enabled.then(|| open().unwrap_or_else(|error| panic!("{error}")))
}
