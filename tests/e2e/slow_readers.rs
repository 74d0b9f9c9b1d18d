//! Clients that take their answer slowly or not at all, and would hold an upstream call and the memory of what waits for
//! them. Linux only: it is there that the kernel is told how much it may take and when to give up.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::client::stream;
use crate::harness::{SOON, Setup};

/// Between two bytes of a slow client.
const TICK: Duration = Duration::from_millis(20);

/// An upstream that streams without end and counts the bytes that were taken from it.
struct Fountain {
    address: SocketAddr,
    written: Arc<AtomicUsize>,
    /// Nothing was taken for a while.
    held_back: Arc<AtomicBool>,
    cut: Arc<AtomicBool>,
}

/// Longer than the gateway ever pauses by itself.
const HELD_BACK: Duration = Duration::from_millis(500);

impl Fountain {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let fountain = Self { address, written: Arc::default(), held_back: Arc::default(), cut: Arc::default() };
        let (written, held_back, cut) = (fountain.written.clone(), fountain.held_back.clone(), fountain.cut.clone());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            stream.set_write_timeout(Some(HELD_BACK)).unwrap();
            let event = format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
                "x".repeat(1000)
            );
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            let mut waiting = chunk.as_bytes();
            loop {
                match stream.write(waiting) {
                    Ok(length) => {
                        written.fetch_add(length, Ordering::SeqCst);
                        waiting = if length == waiting.len() { chunk.as_bytes() } else { &waiting[length..] };
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        held_back.store(true, Ordering::SeqCst);
                    }
                    Err(_) => return cut.store(true, Ordering::SeqCst),
                }
            }
        });
        fountain
    }

    fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    #[track_caller]
    fn wait_until(&self, flag: &AtomicBool, meanwhile: &mut impl FnMut()) {
        let begun = Instant::now();
        while !flag.load(Ordering::SeqCst) {
            assert!(begun.elapsed() < SOON * 2, "{} bytes were taken", self.written.load(Ordering::SeqCst));
            meanwhile();
        }
    }
}

/// A client with a small window that has asked for a stream and reads as it is told.
fn begin(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut client = TcpStream::from(socket);
    let body = stream(json!({})).to_string();
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    client.write_all(format!("{head}{body}").as_bytes()).unwrap();
    client.set_read_timeout(Some(TICK)).unwrap();
    client
}

/// Returns the bytes in the kernel's queues of all loopback connections that have `port` at one of their ends.
fn queued_in_the_kernel(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{port:04X}");
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (sent, received) = fields[4].split_once(':').unwrap();
        let queued = |hex| usize::from_str_radix(hex, 16).unwrap();
        // A listener's queues count connections.
        let ours = fields[3] == "01" && (fields[1].ends_with(&port) || fields[2].ends_with(&port));
        if ours { queued(sent) + queued(received) } else { 0 }
    };
    table.lines().skip(1).map(of_line).sum()
}

#[test]
fn a_client_that_reads_nothing_holds_back_its_upstream_within_a_quarter_of_a_mebibyte() {
    let fountain = Fountain::start();
    let bursar = Setup::at(vec![fountain.url()]).start();
    let slow = begin(bursar.address);

    fountain.wait_until(&fountain.held_back, &mut || assert_eq!(bursar.client().get("/healthz").status, 200));
    let written = fountain.written.load(Ordering::SeqCst);
    let queued = queued_in_the_kernel(fountain.address.port()) + queued_in_the_kernel(bursar.address.port());
    drop(slow);
    fountain.wait_until(&fountain.cut, &mut || std::thread::yield_now());

    let inside = written.saturating_sub(queued);
    eprintln!("of an endless stream {written} bytes were taken: {inside} in the gateway, {queued} in the kernel");
    assert!(inside <= 256 * 1024, "{inside}");
    assert_eq!(bursar.books().endings(), (0, 0, 1));
}

#[test]
#[allow(clippy::disallowed_methods)]
fn a_client_that_reads_a_byte_now_and_then_is_cut_and_its_upstream_with_it() {
    let fountain = Fountain::start();
    let bursar = Setup::at(vec![fountain.url()]).set("server.unread_timeout=1s").start();
    let mut slow = begin(bursar.address);
    let mut byte = [0];

    fountain.wait_until(&fountain.cut, &mut || {
        // Slow is what this client is; nothing is waited for.
        std::thread::sleep(TICK);
        let _ = slow.read(&mut byte);
    });

    assert_eq!(bursar.books().endings(), (0, 0, 1));
}
