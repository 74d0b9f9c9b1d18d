//! What the actors keep beside the journal. The only place that knows sled.
//!
//! sled 0.34 keeps no promise about a power failure and panics on some damage. The index of the books is no truth, so whoever
//! opens one that is damaged, missing or behind makes it again from the journal; what is kept for clients until a moment is
//! all there is of it, and put aside if it cannot be read. `RecordStore` is the truth of what the admin API made: every change
//! is synced before it is acknowledged, and what cannot be read is left alone.

mod audit;
pub(crate) mod copy;
mod kept;
mod ledger;
mod opening;
mod records;

pub use audit::{
    AuditStore, BLOCK, Block, Field, Open, Place, Postings, Span, StoreError, Term, as_term, request_hash,
};
pub use kept::{Digest, Kept, KeptError, KeptStore, Shelf};
pub use ledger::{Applied, Group, LedgerError, LedgerStore};
pub use records::{Change, RecordStore};
