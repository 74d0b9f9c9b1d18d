//! One new connection, from the name to a stream that carries HTTP or TLS: look up, judge, connect, pass the proxy.

use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_rt::net::TcpStream;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use futures_util::future::LocalBoxFuture;
use socket2::{SockRef, TcpKeepalive};

use super::descriptors::{has_none_left, is_exhausted};
use super::happy_eyeballs::{STAGGER, first_to_answer, interleave};
use super::resolve::Resolver;
use super::settings::DialSettings;
use super::vet::{Reach, is_metadata, reach_of, vet};
use super::{OPENED, in_words, proxy, socks};
use crate::config::dial::{Proxy, ProxyKind};

/// A peer that has vanished without a word is noticed after a minute even where nothing is sent.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// Most addresses that are tried through a SOCKS proxy, one connection to it each.
const SOCKS_TRIED_MAX: usize = 3;

/// Why there is no connection. The texts are for clients and logs: hosts, addresses and causes, never a login.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    #[error("cannot resolve {host}: {why}")]
    Unresolved { host: String, why: String },
    #[error(
        "{host} is a public name but stands for {address}, which is no public address; the call was not made, because \
         that may be DNS rebinding. If it is meant, set allow_private = true on the provider"
    )]
    Private { host: String, address: IpAddr },
    #[error("{host} stands for {address}, where a cloud's metadata service answers; no call goes there")]
    Metadata { host: String, address: IpAddr },
    /// The fault is ours, not the upstream's.
    #[error("no connection to {at}: the gateway has as many files open as it may; raise its limit (LimitNOFILE)")]
    OutOfDescriptors { at: String },
    #[error("{at} {why}")]
    Unconnected { at: String, why: String },
    #[error("proxy {proxy} {why}")]
    Proxy { proxy: String, why: String },
    #[error("no connection to {at} within {after:?}: {waiting}")]
    TooSlow { at: String, after: Duration, waiting: String },
}

/// What is being waited for, for the message when it takes too long.
#[derive(Debug, Clone, Copy, Default)]
enum Phase {
    #[default]
    Upstream,
    Resolving,
    ProxyConnect,
    ProxyHandshake,
}

/// Makes connections the way `settings` say.
#[derive(Clone)]
pub struct Connector {
    settings: Arc<DialSettings>,
    resolver: Arc<Resolver>,
}

impl actix_service::Service<ConnectInfo<Uri>> for Connector {
    type Response = Connection<Uri, TcpStream>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&self, request: ConnectInfo<Uri>) -> Self::Future {
        // A call that is not watched was made by a test.
        let note = |took| _ = OPENED.try_with(|opened| opened.set(Some(took)));
        note(Duration::ZERO);
        let connector = self.clone();
        Box::pin(async move {
            let began = Instant::now();
            let host = request.hostname().trim_start_matches('[').trim_end_matches(']');
            let opened = connector.open(host, request.port()).await;
            note(began.elapsed());
            // The variant that awc hands on with the error inside untouched.
            let stream = opened.map_err(|error| ConnectError::Resolver(Box::new(error)))?;
            Ok(Connection::new(request.request().clone(), stream))
        })
    }
}

impl Connector {
    pub fn new(settings: Arc<DialSettings>, resolver: Arc<Resolver>) -> Self {
        Self { settings, resolver }
    }

    async fn open(&self, host: &str, port: u16) -> Result<TcpStream, DialError> {
        if let Some(address) = host.parse().ok().filter(|address| is_metadata(*address))
            && !self.settings.dial.allow_metadata
        {
            return Err(DialError::Metadata { host: host.to_owned(), address });
        }
        let phase = Cell::default();
        let after = self.settings.connect_timeout;
        let proxy = self.settings.dial.proxy.as_ref();
        let opening = async {
            match proxy {
                None => self.direct(host, port, &phase).await,
                Some(proxy) => self.through(proxy, host, port, &phase).await,
            }
        };
        let late = |_| {
            let name = proxy.map_or_else(String::new, name_of);
            let waiting = match phase.get() {
                Phase::Resolving => "the name server has not answered".into(),
                Phase::Upstream => "it has not answered".into(),
                Phase::ProxyConnect => format!("proxy {name} has not answered"),
                Phase::ProxyHandshake => format!("proxy {name} has not opened the tunnel"),
            };
            DialError::TooSlow { at: at(host, port), after, waiting }
        };
        tokio::time::timeout(after, opening).await.map_err(late)?
    }

    async fn direct(&self, host: &str, port: u16, phase: &Cell<Phase>) -> Result<TcpStream, DialError> {
        phase.set(Phase::Resolving);
        let addresses = self.addresses(host, self.reach(host)).await?;
        phase.set(Phase::Upstream);
        let connected = tcp(addresses, port).await;
        connected.map_err(|error| match is_exhausted(&error) {
            true => DialError::OutOfDescriptors { at: at(host, port) },
            false => DialError::Unconnected { at: at(host, port), why: connect_words(&error) },
        })
    }

    async fn through(&self, proxy: &Proxy, host: &str, port: u16, phase: &Cell<Phase>) -> Result<TcpStream, DialError> {
        let failed = |why: String| DialError::Proxy { proxy: name_of(proxy), why };
        let resolved_here = proxy.kind == ProxyKind::Socks5 && host.parse::<IpAddr>().is_err();
        let targets = if resolved_here {
            phase.set(Phase::Resolving);
            let mut addresses = self.addresses(host, self.reach(host)).await?;
            // Fewer networks carry IPv6; a proxy in one of those would refuse the first address.
            addresses.sort_by_key(IpAddr::is_ipv6);
            addresses.truncate(SOCKS_TRIED_MAX);
            addresses.iter().map(IpAddr::to_string).collect()
        } else {
            vec![host.to_owned()]
        };
        let mut refusal = String::new();
        for target in targets {
            phase.set(Phase::ProxyConnect);
            // The operator named the proxy; where it stands is its own affair.
            let addresses = self.addresses(&proxy.host, Reach::Private).await.map_err(|error| match error {
                DialError::OutOfDescriptors { .. } => error,
                error => failed(of_proxy(error)),
            })?;
            let mut stream = tcp(addresses, proxy.port).await.map_err(|error| match is_exhausted(&error) {
                true => DialError::OutOfDescriptors { at: name_of(proxy) },
                false => failed(connect_words(&error)),
            })?;
            phase.set(Phase::ProxyHandshake);
            let login = proxy.login.as_ref();
            let tunnel = match proxy.kind {
                ProxyKind::Http => proxy::tunnel(&mut stream, &at(&target, port), login).await,
                ProxyKind::Socks5 | ProxyKind::Socks5h => socks::tunnel(&mut stream, &target, port, login).await,
            };
            match tunnel {
                Ok(()) => return Ok(stream),
                Err(why) => refusal = why,
            }
        }
        Err(failed(refusal))
    }

    fn reach(&self, host: &str) -> Reach {
        if self.settings.dial.allow_private { Reach::Private } else { reach_of(host) }
    }

    /// Returns the addresses of `host` that may be connected to; an address that stands in the configuration may.
    async fn addresses(&self, host: &str, reach: Reach) -> Result<Vec<IpAddr>, DialError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![address]);
        }
        let name = host.to_ascii_lowercase();
        let found = self.resolver.resolve(&name).await;
        let found = found.map_err(|why| match has_none_left() {
            // A resolver that cannot open a socket says no more than that the name server did not answer.
            true => DialError::OutOfDescriptors { at: name.clone() },
            false => DialError::Unresolved { host: name.clone(), why: why.to_string() },
        })?;
        vet(&name, &found, reach).map(|addresses| interleave(&addresses))
    }
}

/// Connects to the first of `addresses` that answers.
async fn tcp(addresses: Vec<IpAddr>, port: u16) -> io::Result<TcpStream> {
    let stream = first_to_answer(addresses, STAGGER, |address| TcpStream::connect((address, port))).await?;
    // With Nagle's algorithm small writes wait for the peer's delayed ACK (40 ms).
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

fn name_of(proxy: &Proxy) -> String {
    at(&proxy.host, proxy.port)
}

fn at(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn connect_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused the connection".into(),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => "cannot be reached: no route".into(),
        io::ErrorKind::TimedOut => "did not answer".into(),
        _ => format!("cannot be connected to: {}", in_words(error)),
    }
}

fn of_proxy(error: DialError) -> String {
    match error {
        DialError::Unresolved { why, .. } => format!("cannot be resolved: {why}"),
        other => format!("cannot be used: {other}"),
    }
}
