//! The books: what every request was, in an append-only log that proves itself.

pub mod checkpoint;
pub mod export;
pub mod journal;
pub mod merkle;
pub mod record;
pub mod verify;
