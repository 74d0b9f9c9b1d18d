//! What the chat dialect must hold: read, write, encode, decode, and what remains of a reply that passes all of them.

mod reading;
mod requests;
mod round_trips;
