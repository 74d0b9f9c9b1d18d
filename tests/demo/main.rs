//! The built-in demo provider as a client sees it: raw HTTP over a socket.
#![allow(clippy::unwrap_used)]

mod answers;
mod anthropic;
mod client;
mod faults;
mod gemini;
mod requests;
mod responses;
