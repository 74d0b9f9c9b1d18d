//! Translation only: what goes to a provider and what its bytes mean. No socket, no clock, no actor.

pub mod catalog;
pub mod dialect;
pub mod framing;
pub mod limits;
pub mod openai;
pub mod sequence;
pub mod sse;
pub(crate) mod usage;
