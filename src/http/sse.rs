//! A stream whose first token is long in coming: comments until the pipeline has an answer, then the answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::error::event;
use crate::error::GatewayError;
use crate::pipeline::stream::{KEEP_ALIVE, ReplyStream};
use crate::pipeline::{Answer, Body};

type Serving = Pin<Box<dyn Future<Output = Result<Answer, GatewayError>>>>;

/// Dropping it, when the client hangs up, drops the attempts and with them the upstream call.
pub struct LateStream {
    state: State,
    comments: Interval,
}

enum State {
    Waiting(Serving),
    Flowing(Box<ReplyStream>),
    Over,
}

impl LateStream {
    /// Continues `serving`; the first comment goes out at once, the next ones every `keepalive`.
    pub fn new(serving: Serving, keepalive: Duration) -> Self {
        let mut comments = tokio::time::interval_at(Instant::now(), keepalive);
        comments.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { state: State::Waiting(serving), comments }
    }
}

impl Stream for LateStream {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Over => return Poll::Ready(None),
                State::Flowing(stream) => return Pin::new(stream.as_mut()).poll_next(context),
                State::Waiting(serving) => match serving.as_mut().poll(context) {
                    Poll::Pending => return this.comments.poll_tick(context).map(|_| Some(Ok(KEEP_ALIVE))),
                    Poll::Ready(Ok(Answer { body: Body::Stream(stream), .. })) => this.state = State::Flowing(stream),
                    Poll::Ready(Ok(Answer { body: Body::Whole(_), .. })) => {
                        unreachable!("the pipeline answers a streamed call with a stream")
                    }
                    Poll::Ready(Err(error)) => {
                        this.state = State::Over;
                        return Poll::Ready(Some(Ok(event(&error))));
                    }
                },
            }
        }
    }
}
