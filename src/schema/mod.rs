//! What the gateway understands of a client's request before anything is decided.
//!
//! Nothing here is rebuilt: the body stays the client's bytes, and the head only remembers what they say and where.

mod fields;
mod intake;
mod messages;
mod scan;

pub use intake::{Edit, IntakeError, Needs, Operation, RequestHead, read};
pub(crate) use messages::Text;
pub use scan::DEPTH_MAX;
#[cfg(test)]
mod tests;
