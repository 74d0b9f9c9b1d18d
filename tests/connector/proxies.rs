//! Proxies: CONNECT and SOCKS5, willing, unwilling and broken.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::peers::{Caller, LOOPBACK, closed_port, dial, listen, names, notes, read_request, relay, upstream};

/// A CONNECT proxy that opens every tunnel to `upstream` and tells what it was asked.
fn connect_proxy(upstream: SocketAddr, note: impl Fn(String) + Send + Sync + 'static) -> SocketAddr {
    listen(move |mut stream, _| {
        let Some(head) = read_request(&mut stream) else { return };
        note(head);
        stream.write_all(b"HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n").unwrap();
        relay(stream, TcpStream::connect(upstream).unwrap());
    })
}

/// A proxy that answers a CONNECT with `answer` and hangs up.
fn answering(answer: &'static [u8]) -> SocketAddr {
    listen(move |mut stream, _| {
        if read_request(&mut stream).is_some() {
            let _ = stream.write_all(answer);
        }
    })
}

fn exactly<const LENGTH: usize>(stream: &mut TcpStream) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// A SOCKS5 proxy that lets `user:pass` in and opens every tunnel to `upstream`; tells whom it was asked for.
fn socks_proxy(upstream: SocketAddr, note: impl Fn(Vec<u8>) + Send + Sync + 'static) -> SocketAddr {
    listen(move |mut stream, _| {
        let [5, 1, method] = exactly::<3>(&mut stream) else { panic!("a greeting with one method") };
        stream.write_all(&[5, method]).unwrap();
        if method == 2 {
            let right = exactly::<11>(&mut stream) == *b"\x01\x04user\x04pass";
            stream.write_all(&[1, u8::from(!right)]).unwrap();
            if !right {
                return;
            }
        }
        let [5, 1, 0, kind] = exactly::<4>(&mut stream) else { panic!("a CONNECT") };
        let mut asked = vec![kind];
        let length = if kind == 3 { exactly::<1>(&mut stream)[0].into() } else { 4 };
        asked.resize(1 + length, 0);
        stream.read_exact(&mut asked[1..]).unwrap();
        exactly::<2>(&mut stream);
        note(asked);
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        relay(stream, TcpStream::connect(upstream).unwrap());
    })
}

#[actix_web::test]
async fn a_connect_proxy_carries_calls_and_learns_its_login_only() {
    let (note, asked) = notes();
    let proxy = connect_proxy(upstream(), note);
    let dial = dial(Some(format!("http://user:pass@{proxy}")));
    // The proxy resolves: no name is known here.
    let caller = Caller::new("http://api.example.com/v1", &dial, names(&[]));

    assert_eq!(caller.call().await.unwrap(), "{}");
    assert_eq!(caller.call().await.unwrap(), "{}");

    let asked: Vec<String> = asked.try_iter().collect();
    assert_eq!(asked.len(), 1, "the second call uses the same tunnel");
    assert!(asked[0].starts_with("CONNECT api.example.com:80 HTTP/1.1\r\n"), "{}", asked[0]);
    assert!(asked[0].contains("proxy-authorization: Basic dXNlcjpwYXNz\r\n"), "{}", asked[0]);
}

#[actix_web::test]
async fn a_proxy_is_found_by_name_and_may_be_private() {
    let (note, _asked) = notes();
    let proxy = connect_proxy(upstream(), note);
    let dial = dial(Some(format!("http://proxy.example.com:{}", proxy.port())));
    let resolver = names(&[("proxy.example.com", &[LOOPBACK])]);

    assert_eq!(Caller::new("http://api.example.com/v1", &dial, resolver).call().await.unwrap(), "{}");
}

#[actix_web::test]
async fn a_proxy_that_refuses_is_named_without_its_login() {
    let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 4\r\n\r\npage";
    for answer in [&refusal[..], &refusal[..refusal.len() - 4]] {
        let proxy = answering(answer);
        let dial = dial(Some(format!("http://someone:hunter2@{proxy}")));

        let why = Caller::new("https://api.example.com/v1", &dial, names(&[])).refusal().await;

        assert_eq!(why, format!("proxy {proxy} refused the tunnel: 407"));
    }
}

#[actix_web::test]
async fn a_proxy_that_is_none_is_told_apart() {
    let endless: &'static [u8] = Box::leak(vec![b'x'; 64 * 1024].into_boxed_slice());
    for (answer, expected) in [
        (&b""[..], "closed the connection before it opened the tunnel"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not answer like an HTTP proxy"),
        (b"HTTP/1.1 200 OK\r\n\r\nmore", "sent bytes before the tunnel's"),
        (endless, "answers with a head of more than 8 KiB"),
    ] {
        let proxy = answering(answer);
        let dial = dial(Some(format!("http://{proxy}")));

        let why = Caller::new("http://api.example.com/v1", &dial, names(&[])).refusal().await;

        assert_eq!(why, format!("proxy {proxy} {expected}"));
    }
}

#[actix_web::test]
async fn a_proxy_that_never_answers_is_cut_by_the_connect_timeout() {
    let proxy = listen(|mut stream, _| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    for scheme in ["http", "socks5h"] {
        let dial = dial(Some(format!("{scheme}://{proxy}")));
        let url = "http://api.example.com/v1";
        let caller = Caller::patient(url, &dial, names(&[]), Duration::from_millis(50));

        let why = caller.refusal().await;

        let expected =
            format!("no connection to api.example.com:80 within 50ms: proxy {proxy} has not opened the tunnel");
        assert_eq!(why, expected);
    }
}

#[actix_web::test]
async fn a_proxy_that_is_down_is_named() {
    let proxy = closed_port();
    let named = dial(Some("http://proxy.internal:3128".into()));
    let down = dial(Some(format!("socks5h://{proxy}")));
    let url = "http://api.example.com/v1";

    let unknown = Caller::new(url, &named, names(&[])).refusal().await;
    let refused = Caller::new(url, &down, names(&[])).refusal().await;

    assert_eq!(unknown, "proxy proxy.internal:3128 cannot be resolved: nobody knows proxy.internal");
    assert_eq!(refused, format!("proxy {proxy} refused the connection"));
}

#[actix_web::test]
async fn socks5h_lets_the_proxy_resolve() {
    let (note, asked) = notes();
    let proxy = socks_proxy(upstream(), note);
    let dial = dial(Some(format!("socks5h://user:pass@{proxy}")));

    let answer = Caller::new("http://api.example.com/v1", &dial, names(&[])).call().await;

    assert_eq!(answer.unwrap(), "{}");
    assert_eq!(asked.try_recv().unwrap(), b"\x03api.example.com");
}

#[actix_web::test]
async fn socks5_resolves_here_and_vets() {
    let (note, asked) = notes();
    let proxy = socks_proxy(upstream(), note);
    let dial = dial(Some(format!("socks5://{proxy}")));
    let resolver = names(&[("api.example.com", &[[93, 184, 216, 34].into()]), ("rebound.example.com", &[LOOPBACK])]);

    let answer = Caller::new("http://api.example.com/v1", &dial, resolver.clone()).call().await;
    let refused = Caller::new("http://rebound.example.com/v1", &dial, resolver).refusal().await;

    assert_eq!(answer.unwrap(), "{}");
    assert_eq!(asked.try_iter().collect::<Vec<_>>(), [vec![1, 93, 184, 216, 34]]);
    assert!(refused.contains("allow_private"), "{refused}");
}

#[actix_web::test]
async fn a_socks_proxy_that_refuses_says_why() {
    let (note, _asked) = notes();
    let strict = socks_proxy(upstream(), note);
    let choosy = listen(|mut stream, _| {
        exactly::<3>(&mut stream);
        stream.write_all(&[5, 0xff]).unwrap();
    });
    let failing = listen(|mut stream, _| {
        exactly::<3>(&mut stream);
        stream.write_all(&[5, 0]).unwrap();
        let mut request = [0; 5];
        stream.read_exact(&mut request).unwrap();
        stream.read_exact(&mut vec![0; usize::from(request[4]) + 2]).unwrap();
        stream.write_all(&[5, 2, 0, 1]).unwrap();
    });
    for (login, proxy, expected) in [
        ("user:nope@", strict, "wrong user or password"),
        ("", choosy, "it wants a user and password"),
        ("", failing, "its rules do not allow it"),
    ] {
        let dial = dial(Some(format!("socks5h://{login}{proxy}")));

        let why = Caller::new("http://api.example.com/v1", &dial, names(&[])).refusal().await;

        assert_eq!(why, format!("proxy {proxy} refused the tunnel: {expected}"));
    }
}
