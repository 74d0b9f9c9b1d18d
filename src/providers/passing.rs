//! What the gateway reads along of answers that pass to a client of the same dialect, other than OpenAI's.

use bursar_actors::Usage;

use super::dialect::{Nonsense, PassReader};
use crate::schema::Operation;

/// What a whole answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Whole {
    pub usage: Option<Usage>,
    /// It is the provider's error: judge it.
    pub error: bool,
}

/// Returns what reads along a stream that answers `operation`.
pub fn reader(_operation: Operation) -> Box<dyn PassReader> {
    todo!()
}

/// Reads a whole answer to `operation`.
pub fn whole(_operation: Operation, _body: &[u8]) -> Result<Whole, Nonsense> {
    todo!()
}
