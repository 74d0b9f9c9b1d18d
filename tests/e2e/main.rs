//! The gateway from end to end: real sockets, scripted upstreams, every fault that a client must not feel.

// The harness fails a test by panicking and prints what it measured, as the tests themselves do.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod client;
#[path = "../../actors/tests/support/faulty_disk.rs"]
mod faulty_disk;
mod harness;
mod process;

mod access;
mod audit;
mod backups;
mod balance;
mod books;
mod budgets;
mod budgets_by_hand;
mod choice;
mod connections;
mod credentials;
mod custom_tools;
mod dialects;
mod draining;
mod failover;
mod finishes;
mod forgetting;
mod framing;
mod hang_ups;
mod idempotency;
mod keys;
mod limits;
mod many_keys;
mod official;
mod oidc;
mod operations;
mod pricing;
mod privacy;
mod probing;
mod program;
mod queueing;
mod reconciling;
mod refusals;
mod reviewing;
mod rights;
mod secrecy;
mod serving;
mod shortages;
mod signatures;
mod signer;
mod signing_in;
mod slow_clients;
#[cfg(target_os = "linux")]
mod slow_readers;
mod spending;
mod stored;
mod storm;
mod streams;
mod structured_output;
mod takeover;
mod waiting;
mod watching;
mod webhooks;
mod witnessing;
