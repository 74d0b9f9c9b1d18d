//! Bursar, the LLM gateway: the HTTP service around the actors of `bursar_actors`.

pub mod books;
pub mod call;
pub mod cli;
pub mod config;
pub mod demo;
pub mod error;
pub mod http;
pub mod oidc;
pub mod pipeline;
pub mod privacy;
pub mod providers;
pub mod schema;
pub mod stored;
pub mod telemetry;
pub mod upstream;
