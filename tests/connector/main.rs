//! The way to an upstream as it meets the world: name servers, address families, proxies and certificates, good and bad.
#![allow(clippy::unwrap_used)]

mod addresses;
mod credentials;
mod issuers;
mod peers;
mod proxies;
mod reuse;
mod tls;
