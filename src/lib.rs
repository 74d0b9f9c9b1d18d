//! Bursar, the LLM gateway: the HTTP service around the actors of `bursar_actors`.

pub mod cli;
pub mod config;
