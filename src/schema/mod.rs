//! What the gateway understands of a client's request before anything is decided.
//!
//! The body stays the client's bytes, and the head only remembers what they say and where. Where client and upstream speak
//! different dialects, `chat` is what one is read into and the other written from.

pub mod chat;
pub mod embeddings;
mod fields;
mod intake;
mod messages;
mod names;
mod needs;
mod scan;
mod storing;

pub use intake::{Edit, IntakeError, Operation, RequestHead, model_name, read};
pub(crate) use messages::Text;
pub use names::{BodyNames, NameField};
pub use needs::Needs;
pub use scan::DEPTH_MAX;
pub use storing::Storing;
#[cfg(test)]
mod tests;
