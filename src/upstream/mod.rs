//! The upstream side of a call.

pub mod judge;
