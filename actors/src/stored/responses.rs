//! Stored Responses: each knows which one it goes on from, so a conversation is read backwards.

use actix::{Context, Handler, Message, ResponseFuture};

use super::{Digest, KeptError, Stored, stopping};
use crate::store::{Kept, Shelf};

/// Most Responses of one conversation that are read for a request that goes on from it.
pub const TURNS_MAX: usize = 1_000;

/// Returns what a stored Response goes on from, and what is sealed of it.
pub(super) fn split(value: &[u8]) -> Option<(Option<Digest>, &[u8])> {
    let (has, rest) = value.split_first()?;
    let (before, sealed) = rest.split_first_chunk::<32>()?;
    Some(((*has == 1).then_some(*before), sealed))
}

/// Keeps a Response; answered once it is on the disk.
#[derive(Message)]
#[rtype(result = "Result<(), KeptError>")]
pub struct Put {
    /// Of its owner and its id.
    pub key: Digest,
    /// The Response that it goes on from.
    pub before: Option<Digest>,
    /// The content.
    pub sealed: Vec<u8>,
}

impl Handler<Put> for Stored {
    type Result = ResponseFuture<Result<(), KeptError>>;

    fn handle(&mut self, Put { key, before, sealed }: Put, context: &mut Context<Self>) -> Self::Result {
        let kept_us = u64::try_from(self.options.responses_kept.as_micros()).unwrap_or(u64::MAX);
        let until_us = (self.options.wall)().saturating_add(kept_us);
        let value = [&[u8::from(before.is_some())], before.unwrap_or_default().as_slice(), &sealed].concat();
        let most = self.options.responses_bytes;
        if let Err(why) = self.put(Shelf::Responses, &key, &Kept { until_us, value }, most) {
            return Box::pin(async { Err(why) });
        }
        let durable = self.durable(context);
        Box::pin(async move { durable.await.map_err(|_| stopping())? })
    }
}

/// Asks for a Response and those that it goes on from, the latest first.
#[derive(Message)]
#[rtype(result = "Result<Walked, KeptError>")]
pub struct Walk {
    /// Of its owner and its id.
    pub key: Digest,
    /// How many are wanted; 1 is the Response alone, and no more than [`TURNS_MAX`] are read.
    pub turns: usize,
    /// How many sealed bytes are wanted at most.
    pub bytes: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Walked {
    /// Each with what it is bound to; empty where there is no such Response.
    pub found: Vec<(Digest, Vec<u8>)>,
    /// Why the beginning is not among them.
    pub lacks: Option<Lack>,
}

/// Why the beginning of a conversation was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// It was removed, or its time is over.
    Gone,
    /// There is more than was asked for.
    TooLong,
}

impl Handler<Walk> for Stored {
    type Result = Result<Walked, KeptError>;

    fn handle(&mut self, Walk { key, turns, bytes }: Walk, _: &mut Context<Self>) -> Self::Result {
        let mut walked = Walked::default();
        let (mut next, mut taken) = (Some(key), 0);
        while let Some(key) = next {
            if walked.found.len() == turns.min(TURNS_MAX) {
                walked.lacks = Some(Lack::TooLong);
                break;
            }
            let value = self.get(Shelf::Responses, &key)?;
            let Some((before, sealed)) = value.as_deref().and_then(split) else {
                walked.lacks = Some(Lack::Gone);
                break;
            };
            taken += sealed.len();
            if taken > bytes {
                walked.lacks = Some(Lack::TooLong);
                break;
            }
            walked.found.push((key, sealed.to_vec()));
            next = before;
        }
        Ok(walked)
    }
}

/// Removes a Response; answered once that is on the disk.
#[derive(Message)]
#[rtype(result = "Result<bool, KeptError>")]
pub struct Remove {
    /// Of its owner and its id.
    pub key: Digest,
}

impl Handler<Remove> for Stored {
    type Result = ResponseFuture<Result<bool, KeptError>>;

    fn handle(&mut self, Remove { key }: Remove, context: &mut Context<Self>) -> Self::Result {
        match self.remove(Shelf::Responses, &key) {
            Ok(true) => {
                let durable = self.durable(context);
                Box::pin(async move { durable.await.map_err(|_| stopping())?.map(|()| true) })
            }
            other => Box::pin(async { other }),
        }
    }
}
