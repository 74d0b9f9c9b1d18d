//! The books: what every request was, in an append-only log that proves itself.

pub mod beside;
pub mod checkpoint;
pub mod export;
pub mod filter;
pub mod index;
pub mod journal;
pub mod log;
pub mod merkle;
mod prove;
pub mod ranges;
pub mod record;
pub mod restore;
pub mod retire;
pub mod source;
pub mod verify;
