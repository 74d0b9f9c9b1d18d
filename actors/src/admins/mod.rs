//! Who may administrate the gateway, and what.

mod role;

pub use role::{Right, Role};
