//! What the actors keep beside the journal: projections of it, which can be made again. The only place that knows sled.
//!
//! sled 0.34 keeps no promise about a power failure and panics on some damage; nothing here is the truth, so whoever
//! opens a store that is damaged, missing or behind makes it again from the journal.

mod audit;

pub use audit::{AuditStore, BLOCK, Block, Field, Open, Place, Span, StoreError, Term, as_term};
