//! Translation only: what goes to a provider and what its bytes mean. No socket, no clock, no actor.

pub mod dialect;
pub mod framing;
pub mod gemini;
pub mod limits;
pub mod openai;
pub mod sequence;
pub mod signatures;
pub mod sse;
pub(crate) mod usage;
