//! Translation only: what goes to a provider and what its bytes mean. No socket, no clock, no actor.

pub mod announced;
pub mod anthropic;
pub mod bedrock;
pub mod catalog;
pub mod chat;
pub mod clients;
pub mod cohere;
pub mod custom;
pub mod dialect;
mod embedding;
pub mod framing;
pub mod gemini;
pub mod limits;
mod losses;
pub mod ollama;
pub mod openai;
pub mod passing;
pub mod responses;
pub mod sequence;
pub mod signatures;
pub mod sse;
#[cfg(test)]
mod streams;
pub mod upstreams;
pub(crate) mod usage;
