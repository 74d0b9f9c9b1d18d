//! Opens connections to upstreams the way streams need them: without Nagle, HTTP/1.1 only, TLS from one shared set-up.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_rt::net::TcpStream;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection, Connector as TcpConnector, ConnectorService};
use awc::http::Uri;
use futures_util::future::LocalBoxFuture;

/// Longest TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(5);
/// An idle connection is closed by us before usual upstreams (60 s and more) close it under a request.
const IDLE_KEPT: Duration = Duration::from_secs(30);
/// Connections are renewed after this, so that a changed DNS answer is noticed.
const LIFETIME: Duration = Duration::from_secs(600);

/// An awc client and a count of the connections it opened.
#[derive(Clone)]
pub struct Dialer {
    pub client: awc::Client,
    /// A failed send during which this did not grow used an old connection, which the upstream may just have closed.
    pub opened: Rc<Cell<u64>>,
}

impl Dialer {
    /// Returns a client that gives up connecting (DNS and TCP) after `connect_timeout`.
    pub fn new(connect_timeout: Duration) -> Self {
        let opened = Rc::new(Cell::new(0));
        let tcp = NoDelay { inner: TcpConnector::default().service(), opened: opened.clone() };
        let connector = awc::Connector::new()
            .connector(tcp)
            .rustls_0_23(tls())
            .timeout(connect_timeout)
            .handshake_timeout(TLS_TIMEOUT)
            .conn_keep_alive(IDLE_KEPT)
            .conn_lifetime(LIFETIME)
            .limit(0);
        let client = awc::Client::builder()
            .connector(connector)
            .disable_timeout()
            .disable_redirects()
            .no_default_headers()
            .finish();
        Self { client, opened }
    }
}

/// The TLS set-up, made once per process. Offering HTTP/1.1 alone keeps awc from HTTP/2, where it opens a connection
/// per concurrent request and sends stray requests.
fn tls() -> Arc<rustls::ClientConfig> {
    static TLS: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    TLS.get_or_init(|| {
        let roots = actix_tls::connect::rustls_0_23::webpki_roots_cert_store();
        let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    })
    .clone()
}

/// Connects, then switches Nagle's algorithm off: with it, small writes wait for the peer's delayed ACK (40 ms).
#[derive(Clone)]
struct NoDelay {
    inner: ConnectorService,
    opened: Rc<Cell<u64>>,
}

impl actix_service::Service<ConnectInfo<Uri>> for NoDelay {
    type Response = Connection<Uri, TcpStream>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        actix_service::Service::<ConnectInfo<Uri>>::poll_ready(&self.inner, context)
    }

    fn call(&self, request: ConnectInfo<Uri>) -> Self::Future {
        self.opened.set(self.opened.get() + 1);
        let connecting = actix_service::Service::call(&self.inner, request);
        Box::pin(async move {
            let connection: Connection<Uri, TcpStream> = connecting.await?;
            connection.io_ref().set_nodelay(true).map_err(ConnectError::Io)?;
            Ok(connection)
        })
    }
}
