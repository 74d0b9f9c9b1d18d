//! Opens connections to upstreams: the one place where an address is looked up, judged and connected to.
//!
//! | file             | question                                                        |
//! |------------------|-----------------------------------------------------------------|
//! | `settings`       | what one provider's connections have in common, and their TLS   |
//! | `resolve`        | which addresses a name has, without ever stopping a worker      |
//! | `vet`            | which of them a key may be sent to                              |
//! | `happy_eyeballs` | which of several addresses answers first                        |
//! | `proxy`, `socks` | the handshakes of CONNECT and SOCKS5                            |
//! | `connector`      | all of that in order, within one deadline                       |
//! | `descriptors`    | whether it failed for want of a file descriptor                 |
//! | `words`          | what a failure is called                                        |
//!
//! The connection goes to exactly the address that was judged. A TLS failure ends the call; nothing falls back to plain
//! text.

mod connector;
mod descriptors;
mod happy_eyeballs;
mod proxy;
mod resolve;
mod settings;
mod socks;
mod vet;
mod words;

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use connector::DialError;
pub use resolve::{Lookup, Resolver};
pub use settings::DialSettings;
pub use words::{in_words, may_be_stale, of_body_error, of_send_error};

use connector::Connector;

/// Longest TLS handshake.
pub const TLS_TIMEOUT: Duration = Duration::from_secs(5);
/// An idle connection is closed by us before usual upstreams (60 s and more) close it under a request.
const IDLE_KEPT: Duration = Duration::from_secs(30);
/// Connections are renewed after this, so that a changed DNS answer is noticed.
const LIFETIME: Duration = Duration::from_secs(600);

tokio::task_local! {
    /// Whether the call being polled opened a connection of its own.
    static OPENED: Cell<Option<Duration>>;
}

/// Returns what `call` gives, and what it took to open a connection (name, TCP, proxy); `None` if it went out on an old
/// one, which the upstream may just have closed.
pub async fn noting_connections<F: Future>(call: F) -> (F::Output, Option<Duration>) {
    let noted = async {
        let output = call.await;
        (output, OPENED.with(Cell::get))
    };
    OPENED.scope(Cell::new(None), noted).await
}

/// Returns a client whose connections are made by `settings`. It keeps them for itself and its clones.
pub fn client(settings: Arc<DialSettings>, resolver: Arc<Resolver>) -> awc::Client {
    let (tls, connect_timeout) = (settings.tls(), settings.connect_timeout);
    let connector = awc::Connector::new()
        .connector(Connector::new(settings, resolver))
        .rustls_0_23(tls)
        // The connector keeps the real limit, because it can say what it was waiting for.
        .timeout(connect_timeout.saturating_add(TLS_TIMEOUT))
        .handshake_timeout(TLS_TIMEOUT)
        .conn_keep_alive(IDLE_KEPT)
        .conn_lifetime(LIFETIME)
        .limit(0);
    awc::Client::builder().connector(connector).disable_timeout().disable_redirects().no_default_headers().finish()
}
