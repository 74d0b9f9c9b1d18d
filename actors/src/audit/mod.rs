//! The books: what every request was, in an append-only log that proves itself.

pub mod journal;
pub mod record;
pub mod restore;
pub mod retire;
