//! Names and addresses: unknown, slow, changing and rebound names, dead and refusing addresses.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use bursar::config::dial::Dial;
use futures_util::future::{Either, select};
use socket2::{Domain, Socket, Type};

use crate::peers::{Caller, LOOPBACK, closed_port, names, resolver, upstream};

#[actix_web::test]
async fn an_unknown_name_is_said_to_be_unknown() {
    let caller = Caller::new("http://llm.internal:1/v1", &Dial::default(), names(&[]));

    assert_eq!(caller.refusal().await, "cannot resolve llm.internal: nobody knows llm.internal");
}

#[actix_web::test]
async fn a_refused_connection_names_host_and_port() {
    let address = closed_port();
    let literal = Caller::new(&format!("http://{address}/v1"), &Dial::default(), names(&[]));
    let named = format!("http://llm.internal:{}/v1", address.port());
    let named = Caller::new(&named, &Dial::default(), names(&[("llm.internal", &[LOOPBACK])]));

    assert_eq!(literal.refusal().await, format!("{address} refused the connection"));
    assert_eq!(named.refusal().await, format!("llm.internal:{} refused the connection", address.port()));
}

#[actix_web::test]
async fn a_name_server_that_is_silent_delays_only_its_own_call() {
    let (_never, silent) = mpsc::channel::<()>();
    let silent = Mutex::new(silent);
    let resolver = resolver(move |name: &str| {
        if name == "slow.internal" {
            let _ = silent.lock().unwrap().recv();
        }
        Ok(vec![LOOPBACK])
    });
    let port = upstream().port();
    let dial = Dial::default();
    let slow = Caller::new(&format!("http://slow.internal:{port}/v1"), &dial, resolver.clone());
    let quick = Caller::new(&format!("http://quick.internal:{port}/v1"), &dial, resolver);

    // Both run on this one thread; the slow call has asked before the quick one begins.
    let ended = select(Box::pin(slow.call()), Box::pin(quick.call())).await;

    let Either::Right((answer, _slow)) = ended else { panic!("the slow name was answered first") };
    assert_eq!(answer.unwrap(), "{}");
}

#[actix_web::test]
async fn a_name_server_that_is_silent_is_cut_by_the_connect_timeout() {
    let (_never, silent) = mpsc::channel::<()>();
    let silent = Mutex::new(silent);
    let resolver = resolver(move |_: &str| {
        let _ = silent.lock().unwrap().recv();
        Ok(vec![LOOPBACK])
    });
    let url = "http://slow.internal:1/v1";
    let caller = Caller::patient(url, &Dial::default(), resolver, Duration::from_millis(50));

    let why = caller.refusal().await;

    assert_eq!(why, "no connection to slow.internal:1 within 50ms: the name server has not answered");
}

#[actix_web::test]
async fn a_public_name_that_turns_private_is_not_called() {
    let port = upstream().port();
    let resolver = || names(&[("api.example.com", &[LOOPBACK])]);
    let url = format!("http://api.example.com:{port}/v1");

    let refused = Caller::new(&url, &Dial::default(), resolver()).refusal().await;
    let meant = Caller::new(&url, &Dial { allow_private: true, ..Dial::default() }, resolver()).call().await;

    assert!(refused.contains("127.0.0.1") && refused.contains("allow_private = true"), "{refused}");
    assert_eq!(meant.unwrap(), "{}");
}

#[actix_web::test]
async fn the_metadata_service_is_not_called_even_where_private_is_allowed() {
    let metadata: IpAddr = [169, 254, 169, 254].into();
    let resolver = || names(&[("api.example.com", &[metadata])]);
    let dial = Dial { allow_private: true, ..Dial::default() };

    for url in ["http://api.example.com/v1", "http://169.254.169.254/v1", "http://[fd00:ec2::254]/v1"] {
        let refused = Caller::new(url, &dial, resolver()).refusal().await;

        assert!(refused.contains("metadata"), "{refused}");
    }
}

#[actix_web::test]
async fn the_vetted_address_is_the_one_that_is_called() {
    let port = upstream().port();
    let answers = Mutex::new(vec![vec![IpAddr::from([169, 254, 169, 254])], vec![LOOPBACK]]);
    // The first answer is good, any later one would lead elsewhere.
    let resolver = resolver(move |_: &str| Ok(answers.lock().unwrap().pop().unwrap()));
    let caller = Caller::new(&format!("http://llm.internal:{port}/v1"), &Dial::default(), resolver);

    assert_eq!(caller.call().await.unwrap(), "{}");
    assert_eq!(caller.call().await.unwrap(), "{}");
}

/// A listener whose queue is full, so that the system drops further SYNs without an answer.
struct Blackhole {
    _listener: Socket,
    _queued: Vec<Socket>,
}

impl Blackhole {
    fn at(address: IpAddr, port: u16) -> Self {
        let address = std::net::SocketAddr::new(address, port).into();
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&address).unwrap();
        listener.listen(0).unwrap();
        let queued = (0..4).map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address);
            socket
        });
        let queued = queued.collect();
        Self { _listener: listener, _queued: queued }
    }
}

#[actix_web::test]
async fn a_dead_first_address_gives_way_to_a_living_one() {
    let port = upstream().port();
    let dead = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let _blackhole = Blackhole::at(dead, port);
    let resolver = names(&[("llm.internal", &[dead, LOOPBACK])]);
    let caller = Caller::new(&format!("http://llm.internal:{port}/v1"), &Dial::default(), resolver);

    assert_eq!(caller.call().await.unwrap(), "{}");
}

#[actix_web::test]
async fn an_address_that_swallows_everything_is_cut_by_the_connect_timeout() {
    let dead = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
    let port = closed_port().port();
    let _blackhole = Blackhole::at(dead, port);
    let url = format!("http://127.0.0.3:{port}/v1");
    let caller = Caller::patient(&url, &Dial::default(), names(&[]), Duration::from_millis(50));

    let why = caller.refusal().await;

    assert_eq!(why, format!("no connection to 127.0.0.3:{port} within 50ms: it has not answered"));
}

#[actix_web::test]
async fn a_refusing_first_address_gives_way_to_the_next() {
    let port = upstream().port();
    let refusing = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 4));
    let resolver = names(&[("llm.internal", &[refusing, LOOPBACK])]);
    let caller = Caller::new(&format!("http://llm.internal:{port}/v1"), &Dial::default(), resolver);

    assert_eq!(caller.call().await.unwrap(), "{}");
}
