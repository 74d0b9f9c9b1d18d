//! A streamed answer on its way: upstream bytes → events → what the client gets; the one `poll_next`.
//!
//! Until the first output nothing is sent but the preamble, so another upstream can still take over (`open`). From then
//! on every ending is told: `[DONE]`, or an error event without it. Dropping the stream, as happens when the client hangs
//! up, closes the upstream's connection and gives the lease back.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bursar_actors::budget::Exceeded;
use bursar_actors::{ErrorClass, Lease, Outcome};
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Sleep;

use super::drain::Drain;
use super::flow::{Batch, Flow, broken};
use super::preamble::Preamble;
use super::settlement::{Provenance, Settlement};
use crate::call::Call;
use crate::error::{Failure, GUARDRAIL_BLOCKED, SCHEMA_MISMATCH};
use crate::providers::clients::error_event;
use crate::providers::dialect::StreamFailure;
use crate::schema::Operation;
use crate::upstream::judge;
use crate::upstream::{Pieces, Reply};

/// A comment that keeps intermediaries from cutting a silent stream; every SSE client ignores it.
pub const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");
/// Most bytes of a whole body that came in place of a stream.
const PLAIN_MAX: usize = 64 * 1024;

/// The upstream's body, read as a stream.
struct Events {
    reply: Reply,
    flow: Box<dyn Flow>,
    /// The body is JSON after all, most likely an error.
    plain: Option<Pieces>,
    started: bool,
}

impl Events {
    /// Returns the next batch; `None` never comes, an end is a batch that is done or failed.
    fn poll_batch(&mut self, context: &mut Context<'_>) -> Poll<Batch> {
        loop {
            if let Some(held) = self.flow.poll_held(context) {
                return held;
            }
            let piece = match self.reply.poll_piece(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(self.ended()),
                Poll::Ready(Some(Err(failure))) => return Poll::Ready(Batch::failed(failure)),
                Poll::Ready(Some(Ok(piece))) => piece,
            };
            if !self.started && !piece.trim_ascii().is_empty() {
                self.started = true;
                let object = self.flow.is_framed() && piece.trim_ascii_start().starts_with(b"{");
                self.plain = object.then(Pieces::default);
            }
            match &mut self.plain {
                None => return Poll::Ready(self.flow.feed(piece)),
                Some(plain) if plain.len() + piece.len() <= PLAIN_MAX => plain.push(piece),
                Some(_) => return Poll::Ready(Batch::failed(no_stream())),
            }
        }
    }

    /// The upstream's body is over: with everything said, or cut off.
    fn ended(&mut self) -> Batch {
        let Some(plain) = &mut self.plain else { return self.flow.end() };
        let body = plain.take();
        Batch::failed(if body.is_empty() { no_stream() } else { judge::judge_error_value(&body) })
    }
}

fn ended_by(exceeded: &Exceeded) -> String {
    format!("the budget `{}` of {} has no room for more of this answer", exceeded.budget, exceeded.holder)
}

fn no_stream() -> Failure {
    Failure::plain(ErrorClass::ServerError, "the upstream did not answer with a stream")
}

/// A stream whose first output has come.
pub struct Opened {
    events: Events,
    /// What came up to now, or what comes last.
    held: Bytes,
    over: Option<Result<(), Failure>>,
    /// A budget has no room for more of it, in words.
    spent: Option<String>,
    idle: Duration,
    pub lease: Option<Lease>,
}

impl Opened {
    /// Tells the books what is known of the answer so far.
    fn tell(&self, books: &mut Settlement) {
        let flow = &self.events.flow;
        books.used(flow.usage(), flow.finish(), flow.output_bytes());
    }
}

/// Reads until the first output; what comes before goes into `preamble`. After a failure until then another upstream may
/// answer.
pub async fn open(
    reply: Reply,
    flow: Box<dyn Flow>,
    idle: Duration,
    begin_by: Instant,
    preamble: &Preamble,
    provenance: impl Fn() -> Provenance,
) -> Result<Opened, Failure> {
    let mut events = Events { reply, flow, plain: None, started: false };
    let mut held = Pieces::default();
    let opening = async {
        loop {
            let mut batch = std::future::poll_fn(|context| events.poll_batch(context)).await;
            match batch.failure {
                Some(failure) if !batch.began => return Err(failure),
                failure => {
                    let over = failure.map(Err).or(batch.done.then_some(Ok(())));
                    if batch.began {
                        held.push(preamble.withdraw());
                        held.push(batch.bytes.take());
                        return Ok(over);
                    }
                    if !batch.bytes.is_empty() {
                        held.push(preamble.offer(batch.bytes.take(), &provenance));
                    }
                }
            }
        }
    };
    let over = tokio::time::timeout_at(begin_by.into(), opening).await;
    let late = |_| Failure::plain(ErrorClass::FirstByteTimeout, "no first token from the upstream in time");
    let over = over.map_err(late).flatten().inspect_err(|_| _ = preamble.withdraw())?;
    Ok(Opened { events, held: held.take(), over, spent: None, idle, lease: None })
}

/// The body of a streamed answer.
pub struct ReplyStream {
    /// Says in which dialect an error is told.
    operation: Operation,
    opened: Option<Opened>,
    books: Option<Settlement>,
    keepalive: Duration,
    deadline: Instant,
    drain: Arc<Drain>,
    heard: Instant,
    sent: Instant,
    timer: Pin<Box<Sleep>>,
}

impl ReplyStream {
    /// Continues `opened` until the deadline of `call`, with a comment after each silence of `keepalive`.
    pub fn new(opened: Opened, books: Settlement, keepalive: Duration, call: &Call, drain: Arc<Drain>) -> Self {
        let (operation, deadline) = (call.head.operation, call.deadline);
        let now = Instant::now();
        let timer = Box::pin(tokio::time::sleep(Duration::ZERO));
        let (opened, books) = (Some(opened), Some(books));
        let mut stream = Self { operation, opened, books, keepalive, deadline, drain, heard: now, sent: now, timer };
        stream.rewind(now);
        stream
    }

    /// Sets the timer to the next moment at which something may be due.
    fn rewind(&mut self, now: Instant) {
        let idle = self.opened.as_ref().map_or(Duration::ZERO, |opened| opened.idle);
        let wake = self.deadline.min(self.heard + idle).min(self.sent + self.keepalive).min(now + self.drain.pulse());
        let wake = self.drain.cut().map_or(wake, |cut| wake.min(cut));
        self.timer.as_mut().reset(wake.into());
    }

    /// Everything was passed on: reports, closes the books, keeps the connection.
    fn complete(&mut self) {
        let Some(mut opened) = self.opened.take() else { return };
        let Some(mut books) = self.books.take() else { return };
        if let Some(lease) = opened.lease.take() {
            books.attempted(lease.endpoint(), "served");
            lease.report(Outcome::Served);
        }
        opened.tell(&mut books);
        books.served();
        opened.events.reply.drain();
    }

    /// It broke off: reports, closes the books, and returns the event that tells the client.
    fn fail(&mut self, mut failure: Failure) -> Bytes {
        if failure.class == ErrorClass::StreamBroken {
            failure.class = ErrorClass::StreamBrokenAfterOutput;
        }
        let class = failure.class;
        let ours = [GUARDRAIL_BLOCKED, SCHEMA_MISMATCH].into_iter().find(|ours| failure.code.as_deref() == Some(ours));
        let code = ours.unwrap_or(class.as_str());
        let outcome = Outcome::Failed { class, retry_after: failure.retry_after };
        self.end(outcome, class.as_str(), code, &failure.message, 502)
    }

    /// The deadline or the end of the process came while the upstream was still at it, which is not its fault.
    fn cut(&mut self, code: &'static str, message: &str) -> Bytes {
        self.end(Outcome::Cancelled, "cancelled", code, message, 504)
    }

    fn end(&mut self, outcome: Outcome, attempt: &str, code: &'static str, message: &str, status: u16) -> Bytes {
        let told = StreamFailure { message, kind: "server_error", code: Some(code), param: None };
        let general = || error_event(self.operation, status, &told);
        let (Some(mut opened), Some(mut books)) = (self.opened.take(), self.books.take()) else { return general() };
        if let Some(lease) = opened.lease.take() {
            books.attempted(lease.endpoint(), attempt);
            lease.report(outcome);
        }
        opened.tell(&mut books);
        let event = opened.events.flow.fail(&told).unwrap_or_else(general);
        books.sent(&event);
        books.broke(code);
        event
    }

    /// Returns the end that is due whether the upstream speaks or not.
    fn ending_due(&mut self, now: Instant) -> Option<Bytes> {
        if now >= self.deadline {
            return Some(self.cut("deadline_exceeded", "the request's deadline passed before the answer was complete"));
        }
        if self.drain.cut().is_some_and(|cut| now >= cut) {
            return Some(self.cut("shutting_down", "the gateway stopped before the answer was complete"));
        }
        None
    }

    fn on_batch(&mut self, mut batch: Batch) -> Option<Bytes> {
        let opened = self.opened.as_mut()?;
        opened.over = batch.failure.map(Err).or(batch.done.then_some(Ok(())));
        if let Some(books) = self.books.as_mut().filter(|books| books.is_outgrown(opened.events.flow.output_bytes())) {
            opened.tell(books);
            opened.spent = books.extend().err().map(|exceeded| ended_by(&exceeded));
        }
        let bytes = batch.bytes.take();
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Returns what a timer that fired asks for: a comment, an end, or nothing but a new time.
    fn on_timer(&mut self) -> Option<Bytes> {
        let now = Instant::now();
        let idle = self.opened.as_ref()?.idle;
        if let Some(end) = self.ending_due(now) {
            return Some(end);
        }
        if now >= self.heard + idle {
            let idle_s = idle.as_secs_f64();
            return Some(self.fail(broken(format!("the upstream was silent for {idle_s} s"))));
        }
        let comment = (now >= self.sent + self.keepalive).then_some(KEEP_ALIVE);
        if let Some(comment) = &comment {
            self.sent = now;
            self.books.iter_mut().for_each(|books| books.sent(comment));
        }
        self.rewind(now);
        comment
    }
}

impl Stream for ReplyStream {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let Some(opened) = &mut this.opened else { return Poll::Ready(None) };
            if !opened.held.is_empty() {
                let held = std::mem::take(&mut opened.held);
                this.books.iter_mut().for_each(|books| books.sent(&held));
                return Poll::Ready(Some(Ok(held)));
            }
            match opened.over.take() {
                None => {}
                Some(Ok(())) => {
                    this.complete();
                    return Poll::Ready(None);
                }
                Some(Err(failure)) => return Poll::Ready(Some(Ok(this.fail(failure)))),
            }
            if let Some(message) = opened.spent.take() {
                let end = this.end(Outcome::Cancelled, "cancelled", "budget_exceeded", &message, 429);
                return Poll::Ready(Some(Ok(end)));
            }
            match opened.events.poll_batch(context) {
                Poll::Ready(batch) => {
                    this.heard = Instant::now();
                    if let Some(end) = this.ending_due(this.heard) {
                        return Poll::Ready(Some(Ok(end)));
                    }
                    if let Some(bytes) = this.on_batch(batch) {
                        this.books.iter_mut().for_each(|books| books.sent(&bytes));
                        this.sent = this.heard;
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Poll::Pending => {
                    if this.timer.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                    if let Some(bytes) = this.on_timer() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
            }
        }
    }
}

impl Drop for ReplyStream {
    /// The client went away: the lease's own drop gives it back, the settlement's counts it as cancelled.
    fn drop(&mut self) {
        let (Some(opened), Some(books)) = (&self.opened, &mut self.books) else { return };
        opened.tell(books);
        if let Some(lease) = &opened.lease {
            books.attempted(lease.endpoint(), "cancelled");
        }
    }
}
