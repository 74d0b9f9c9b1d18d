//! A stream whose first output is still to come: its preamble or comments until the pipeline has an answer, then the
//! answer.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::error::event;
use crate::error::GatewayError;
use crate::pipeline::preamble::Preamble;
use crate::pipeline::settlement::Provenance;
use crate::pipeline::stream::{KEEP_ALIVE, ReplyStream};
use crate::pipeline::{Answer, Body};
use crate::schema::Operation;

/// A request that is being served.
pub type Serving = Pin<Box<dyn Future<Output = Result<Answer, GatewayError>>>>;

/// What comes first.
pub enum Beginning {
    Answer(Result<Answer, GatewayError>),
    /// Somebody answers; what, is still to come.
    Preamble(Bytes, Provenance),
    /// Nothing at all, for as long as `keepalive`.
    Silence,
}

/// Waits for whatever comes first of `serving`.
pub async fn begin(serving: &mut Serving, preamble: &Preamble, keepalive: Duration) -> Beginning {
    let mut silence = pin!(tokio::time::sleep(keepalive));
    std::future::poll_fn(|context| {
        if let Poll::Ready(answer) = serving.as_mut().poll(context) {
            return Poll::Ready(Beginning::Answer(answer));
        }
        if let Some((bytes, provenance)) = preamble.take() {
            return Poll::Ready(Beginning::Preamble(bytes, provenance));
        }
        silence.as_mut().poll(context).map(|()| Beginning::Silence)
    })
    .await
}

/// Dropping it, when the client hangs up, drops the attempts and with them the upstream call.
pub struct LateStream {
    /// Says in which dialect an error is told.
    operation: Operation,
    first: Bytes,
    state: State,
    preamble: Rc<Preamble>,
    comments: Interval,
}

enum State {
    Waiting(Serving),
    Flowing(Box<ReplyStream>),
    Over,
}

impl LateStream {
    /// Continues `serving` after the bytes `first`, with a comment after every silence of `keepalive`.
    pub fn new(
        operation: Operation,
        first: Bytes,
        serving: Serving,
        preamble: Rc<Preamble>,
        keepalive: Duration,
    ) -> Self {
        let mut comments = tokio::time::interval_at(Instant::now() + keepalive, keepalive);
        comments.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if first == KEEP_ALIVE {
            preamble.went(&first);
        }
        Self { operation, first, state: State::Waiting(serving), preamble, comments }
    }
}

impl Stream for LateStream {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if !this.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut this.first))));
        }
        loop {
            match &mut this.state {
                State::Over => return Poll::Ready(None),
                State::Flowing(stream) => return Pin::new(stream.as_mut()).poll_next(context),
                State::Waiting(serving) => match serving.as_mut().poll(context) {
                    Poll::Pending => {
                        if let Some((bytes, _)) = this.preamble.take() {
                            return Poll::Ready(Some(Ok(bytes)));
                        }
                        return this.comments.poll_tick(context).map(|_| {
                            this.preamble.went(&KEEP_ALIVE);
                            Some(Ok(KEEP_ALIVE))
                        });
                    }
                    Poll::Ready(Ok(Answer { body: Body::Stream(stream), .. })) => this.state = State::Flowing(stream),
                    Poll::Ready(Ok(Answer { body: Body::Whole(_), .. })) => {
                        unreachable!("the pipeline answers a streamed call with a stream")
                    }
                    Poll::Ready(Err(error)) => {
                        this.state = State::Over;
                        return Poll::Ready(Some(Ok(event(this.operation, &error))));
                    }
                },
            }
        }
    }
}
