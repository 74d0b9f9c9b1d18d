//! What of a stream may go to the client ahead of its first output: the events that only say who speaks.
//!
//! They are passed on as they come, so that the client sees at once that somebody answers; the call behind them can
//! still be moved to another upstream, whose own preamble is then left out. The attempts put it in, the body of the answer
//! takes it out; both run in one task, so nobody has to be woken.

use std::cell::{Cell, RefCell};

use bursar_actors::limits::Standing;
use bytes::{Bytes, BytesMut};

use super::settlement::Provenance;

/// The preamble of one streamed answer.
#[derive(Default)]
pub struct Preamble {
    state: RefCell<State>,
    /// All that went out before the answer, comments included.
    ahead: RefCell<BytesMut>,
    /// How the limits above the request stand since it was let in or refused; its head tells it.
    pub standing: Cell<Option<Standing>>,
}

#[derive(Default)]
enum State {
    #[default]
    None,
    Offered(Bytes, Box<Provenance>),
    Sent(Bytes),
}

impl Preamble {
    /// Returns what the client has of one already.
    pub fn sent(&self) -> Option<Bytes> {
        match &*self.state.borrow() {
            State::Sent(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// Offers `bytes` of an upstream that `provenance` describes. Returns them where the client has a preamble already.
    pub fn offer(&self, bytes: Bytes, provenance: impl FnOnce() -> Provenance) -> Bytes {
        let mut state = self.state.borrow_mut();
        match &mut *state {
            State::Sent(_) => return bytes,
            State::None => *state = State::Offered(bytes, Box::new(provenance())),
            State::Offered(before, _) => {
                let mut longer = BytesMut::from(std::mem::take(before));
                longer.extend_from_slice(&bytes);
                *before = longer.freeze();
            }
        }
        Bytes::new()
    }

    /// Notes bytes that went out before the answer: a few hundred at most.
    pub fn went(&self, bytes: &[u8]) {
        self.ahead.borrow_mut().extend_from_slice(bytes);
    }

    /// Takes what went out before the answer.
    pub fn take_ahead(&self) -> Bytes {
        self.ahead.take().freeze()
    }

    /// Takes back what was offered and has not been sent.
    pub fn withdraw(&self) -> Bytes {
        match self.state.take() {
            State::Offered(bytes, _) => bytes,
            sent_or_none => {
                self.state.replace(sent_or_none);
                Bytes::new()
            }
        }
    }

    /// Takes what is to be sent now, with what it comes from.
    pub fn take(&self) -> Option<(Bytes, Provenance)> {
        match self.state.take() {
            State::Offered(bytes, provenance) => {
                self.state.replace(State::Sent(bytes.clone()));
                self.went(&bytes);
                Some((bytes, *provenance))
            }
            sent_or_none => {
                self.state.replace(sent_or_none);
                None
            }
        }
    }
}
