//! Idempotency keys: one request is served under each, and what it was answered is answered again.

use std::mem;

use actix::{Addr, AsyncContext, Context, Handler, Message, ResponseFuture};

use super::turn::{Row, State, Verdict, judge};
use super::{Digest, KeptError, Stored, standing, stopping};
use crate::store::Shelf;
use crate::vault::Standing;

/// Asks whether a request is the first under its key. A first one is on the disk before it gets its turn: what may have been
/// paid for is not done twice because the process ended.
#[derive(Message)]
#[rtype(result = "Result<Begun, KeptError>")]
pub struct Begin {
    /// Of the client key and the idempotency key.
    pub key: Digest,
    /// A keyed hash of the request.
    pub fingerprint: Digest,
}

/// Whether a request is the first under its key.
#[derive(Debug)]
pub enum Begun {
    /// It is, and has to be served.
    First(Turn),
    /// The first is still being served.
    InFlight,
    /// The first was another request.
    OtherRequest,
    /// The first was cut off with the process, and nobody knows how far it had got.
    CutOff,
    /// The first was answered by more than is kept.
    Unkept,
    /// The first was answered so.
    Answered {
        /// What it is bound to.
        key: Digest,
        /// The answer.
        sealed: Vec<u8>,
    },
}

impl Handler<Begin> for Stored {
    type Result = ResponseFuture<Result<Begun, KeptError>>;

    fn handle(&mut self, Begin { key, fingerprint }: Begin, context: &mut Context<Self>) -> Self::Result {
        let now = |begun| Box::pin(async { begun }) as Self::Result;
        let value = match self.get(Shelf::Answers, &key) {
            Ok(value) => value.filter(|value| standing(&self.options.vault, Shelf::Answers, value) != Standing::Erased),
            Err(why) => return now(Err(why)),
        };
        let row = value.as_deref().and_then(Row::read);
        match judge(&fingerprint, self.serving.get(&key), row.as_ref()) {
            Verdict::First => {}
            Verdict::InFlight => return now(Ok(Begun::InFlight)),
            Verdict::OtherRequest => return now(Ok(Begun::OtherRequest)),
            Verdict::CutOff => return now(Ok(Begun::CutOff)),
            Verdict::Unkept => return now(Ok(Begun::Unkept)),
            Verdict::Answered(sealed) => return now(Ok(Begun::Answered { key, sealed: sealed.to_vec() })),
        }
        if let Err(why) = self.put_row(&key, &Row { fingerprint, state: State::Open }) {
            return now(Err(why));
        }
        self.serving.insert(key, fingerprint);
        let turn = Turn { stored: context.address(), key, end: Ended::Failed };
        let durable = self.durable(context);
        Box::pin(async move { durable.await.map_err(|_| stopping())?.map(|()| Begun::First(turn)) })
    }
}

/// The right and duty to serve the one request under a key. Dropped without a word, the key is free again.
#[derive(Debug)]
pub struct Turn {
    stored: Addr<Stored>,
    key: Digest,
    end: Ended,
}

/// How a turn ended.
#[derive(Debug)]
enum Ended {
    /// In a failure that may pass: the key is free again.
    Failed,
    /// In more than is kept.
    Unkept,
    /// So; sealed.
    Answered(Vec<u8>),
}

impl Turn {
    /// Returns what the sealed answer has to be bound to.
    pub fn key(&self) -> &Digest {
        &self.key
    }

    /// The request was answered so; the same is answered again for a day.
    pub fn answered(mut self, sealed: Vec<u8>) {
        self.end = Ended::Answered(sealed);
    }

    /// The request was answered by more than is kept; nothing is done again for a day.
    pub fn unkept(mut self) {
        self.end = Ended::Unkept;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let ended = mem::replace(&mut self.end, Ended::Failed);
        #[expect(clippy::disallowed_methods, reason = "in Drop, and bounded by the requests in flight")]
        self.stored.do_send(End { key: self.key, ended });
    }
}

/// Tells how a turn ended.
#[derive(Message)]
#[rtype(result = "()")]
struct End {
    key: Digest,
    ended: Ended,
}

impl Handler<End> for Stored {
    type Result = ();

    fn handle(&mut self, End { key, ended }: End, _: &mut Context<Self>) {
        let Some(fingerprint) = self.serving.remove(&key) else { return };
        let state = match &ended {
            Ended::Failed => {
                self.is_dirty = true;
                let _ = self.with_store(|store| store.remove(Shelf::Answers, &key));
                return;
            }
            Ended::Unkept => State::Unkept,
            Ended::Answered(sealed) => State::Answered(sealed),
        };
        // Where it fails the key stays open on the disk, which refuses a repetition: better than to pay twice.
        let _ = self.put_row(&key, &Row { fingerprint, state });
    }
}
