//! Translation only: what goes to a provider and what its bytes mean. No socket, no clock, no actor.

pub mod bedrock;
pub mod cohere;
pub mod dialect;
mod embedding;
pub mod framing;
pub mod limits;
mod losses;
pub mod ollama;
pub mod openai;
pub mod sequence;
pub mod sse;
#[cfg(test)]
mod streams;
pub(crate) mod usage;
