//! What a call meets in these tests: upstreams and proxies that say what the test tells them, and a name server that the
//! test writes itself. Everything runs on threads and loopback ports of its own.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bursar::config::dial::{Dial, Proxy};
use bursar::error::Failure;
use bursar::schema::Operation;
use bursar::upstream::dial::{DialSettings, Lookup, Resolver};
use bursar::upstream::format::Format;
use bursar::upstream::{Destination, Timeouts, Upstream};
use bursar_actors::{Clock, EndpointId, ErrorClass};
use bytes::Bytes;

/// Longer than any of these calls takes; reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

/// Listens on a loopback port and gives each connection, with its number from 0, to `serve` on a thread of its own.
pub fn listen(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for (index, stream) in listener.incoming().enumerate() {
            let serve = serve.clone();
            let stream = stream.unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            thread::spawn(move || serve(stream, index));
        }
    });
    address
}

/// Reads one request with its body; `None` where the other side hangs up. Returns the head.
pub fn read_request(stream: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    stream.read_exact(&mut vec![0; length.parse().unwrap()]).ok()?;
    Some(head)
}

/// Answers every request on `stream` with an empty object.
pub fn answer_all(stream: &mut (impl Read + Write)) {
    while read_request(stream).is_some() {
        if stream.write_all(ANSWER).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

/// An upstream that answers every request.
pub fn upstream() -> SocketAddr {
    listen(|mut stream, _| answer_all(&mut stream))
}

/// Carries bytes both ways until both sides are done.
pub fn relay(one: TcpStream, other: TcpStream) {
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    };
    let (from, to) = (one.try_clone().unwrap(), other.try_clone().unwrap());
    let back = thread::spawn(move || copy(to, from));
    copy(one, other);
    back.join().unwrap();
}

/// A port of a loopback address that nobody listens on.
pub fn closed_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Collects what the peers' threads saw.
pub fn notes<T: Send + 'static>() -> (impl Fn(T) + Send + Sync + 'static, Receiver<T>) {
    let (send, receive) = mpsc::channel();
    let send = Mutex::new(send);
    (move |note| send.lock().unwrap().send(note).unwrap(), receive)
}

/// A name server that knows these names only.
pub fn names(known: &[(&str, &[IpAddr])]) -> Arc<Resolver> {
    let known: Vec<(String, Vec<IpAddr>)> = known.iter().map(|(name, ips)| ((*name).into(), ips.to_vec())).collect();
    resolver(move |name: &str| {
        let found = known.iter().find(|(known, _)| known == name);
        found.map(|(_, ips)| ips.clone()).ok_or_else(|| io::Error::other(format!("nobody knows {name}")))
    })
}

pub fn resolver(lookup: impl Lookup + 'static) -> Arc<Resolver> {
    Resolver::new(lookup, Clock::system())
}

pub fn dial(proxy: Option<String>) -> Dial {
    Dial { proxy: proxy.map(|text| Proxy::parse(&text).unwrap()), ..Dial::default() }
}

/// One worker of the gateway that calls one provider.
pub struct Caller {
    pub upstream: Upstream,
    pub destination: Destination,
}

impl Caller {
    pub fn new(base_url: &str, dial: &Dial, resolver: Arc<Resolver>) -> Self {
        Self::patient(base_url, dial, resolver, PATIENCE)
    }

    pub fn patient(base_url: &str, dial: &Dial, resolver: Arc<Resolver>, connect_timeout: Duration) -> Self {
        let timeouts = Timeouts { first_token: PATIENCE, reply: PATIENCE, idle: PATIENCE };
        let settings = DialSettings::of(connect_timeout, dial);
        let destination =
            Destination::of(EndpointId::from("e"), "p", base_url, Format::openai(), &[], timeouts, settings);
        Self { upstream: Upstream::new(resolver), destination: destination.unwrap() }
    }

    /// Makes one call and reads its answer to the end.
    pub async fn call(&self) -> Result<Bytes, Failure> {
        let by = Instant::now() + PATIENCE;
        let body = Bytes::from_static(b"{}");
        let call = self.destination.passing(Operation::ChatCompletions, "m", false, body).unwrap();
        let mut reply = self.upstream.send(&self.destination, call, None, by).await?;
        reply.read_whole(1024, Duration::from_secs(10), |_| Ok(())).await
    }

    /// Makes one call that cannot connect, and returns why.
    pub async fn refusal(&self) -> String {
        let failure = self.call().await.unwrap_err();
        assert_eq!(failure.class, ErrorClass::ConnectFailed, "{}", failure.message);
        for foreign in ["os error", "Os {", "kind:", "nternal error", "disconnected"] {
            assert!(!failure.message.contains(foreign), "{}", failure.message);
        }
        failure.message
    }
}

pub const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
