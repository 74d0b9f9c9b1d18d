//! Reads a whole reply: a stream of one chunk, put together again.

use super::reader::ChatReader;
use super::table::Row;
use crate::providers::dialect::{Nonsense, Step};
use crate::providers::sequence::Sequence;
use crate::schema::chat::{Accumulator, ChatReply};

/// Reads a reply of the provider in `row`.
pub(super) fn reply(body: &[u8], row: &'static Row) -> Result<ChatReply, Nonsense> {
    let mut reader = ChatReader::new(row);
    let (mut chunks, mut ordered) = (Vec::new(), Vec::new());
    if reader.take(body, &mut chunks)? == Step::Error {
        return Err(Nonsense::of("it is an error with a status of success"));
    }
    reader.end(&mut chunks);
    let mut sequence = Sequence::default();
    chunks.into_iter().for_each(|chunk| sequence.push(chunk, &mut ordered));
    if !sequence.is_finished() {
        return Err(Nonsense::of("it has no choices"));
    }
    sequence.finish(&mut ordered);
    let mut accumulator = Accumulator::default();
    ordered.iter().for_each(|chunk| accumulator.push(chunk));
    Ok(accumulator.finish())
}
