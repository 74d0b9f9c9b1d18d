//! What the connections of one provider have in common: limits, proxy and TLS.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::config::dial::Dial;

/// One way to connect. Equal ways are one object with one `id`, so that a reload that changes something else keeps the
/// open connections.
pub struct DialSettings {
    /// Unique within the process.
    pub id: u64,
    /// DNS, TCP and the proxy's handshake together.
    pub connect_timeout: Duration,
    pub dial: Dial,
    tls: Arc<rustls::ClientConfig>,
}

impl DialSettings {
    /// Returns the settings for `dial`, the very same object while an equal one is in use.
    ///
    /// # Panics
    /// If the client certificate cannot be used; `config::check` has tried it.
    pub fn of(connect_timeout: Duration, dial: &Dial) -> Arc<Self> {
        static IN_USE: Mutex<Vec<Weak<DialSettings>>> = Mutex::new(Vec::new());
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.retain(|settings| settings.strong_count() > 0);
        let known = in_use.iter().filter_map(Weak::upgrade);
        if let Some(same) =
            known.into_iter().find(|known| known.connect_timeout == connect_timeout && known.dial == *dial)
        {
            return same;
        }
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let settings = Arc::new(Self { id, connect_timeout, dial: dial.clone(), tls: Arc::new(tls(dial)) });
        in_use.push(Arc::downgrade(&settings));
        settings
    }

    /// Returns the TLS set-up.
    pub(super) fn tls(&self) -> Arc<rustls::ClientConfig> {
        self.tls.clone()
    }
}

impl fmt::Debug for DialSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("DialSettings");
        shown.field("id", &self.id).field("connect_timeout", &self.connect_timeout).field("dial", &self.dial);
        shown.finish_non_exhaustive()
    }
}

/// Offering HTTP/1.1 alone keeps awc from HTTP/2, where it opens a connection per concurrent request and sends stray
/// requests.
fn tls(dial: &Dial) -> rustls::ClientConfig {
    let mut roots = actix_tls::connect::rustls_0_23::webpki_roots_cert_store();
    roots.add_parsable_certificates(dial.roots.iter().cloned());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions of TLS")
        .with_root_certificates(roots);
    let mut config = match &dial.identity {
        Some(identity) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .expect("config::check accepts only a certificate and key that belong together"),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_settings_are_one_object_and_others_are_not() {
        let private = Dial { allow_private: true, ..Dial::default() };
        let first = DialSettings::of(Duration::from_millis(7_001), &Dial::default());

        let same = DialSettings::of(Duration::from_millis(7_001), &Dial::default());
        let slower = DialSettings::of(Duration::from_millis(7_002), &Dial::default());
        let other = DialSettings::of(Duration::from_millis(7_001), &private);

        assert!(Arc::ptr_eq(&first, &same));
        assert!(first.id != slower.id && first.id != other.id && slower.id != other.id);
    }
}
