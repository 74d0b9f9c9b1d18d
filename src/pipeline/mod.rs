//! The life of one request.

pub mod admission;
mod along;
pub mod attempts;
mod bounding;
pub mod budgets;
pub mod catalog;
mod counting;
pub mod drain;
pub mod fitness;
pub mod flow;
pub mod guards;
pub mod keeping;
mod leg;
pub mod memory;
pub mod preamble;
pub mod pricing;
pub mod probe;
mod prompts;
mod quote;
pub mod review;
pub mod route;
mod schema_extent;
pub mod settlement;
mod spending;
pub mod stream;
pub mod structured;
pub mod translation;
mod walls;
mod way;
pub mod webhooks;
pub mod witness;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bursar_actors::Handles;
use bursar_actors::limits::Meters;
use bytes::Bytes;

use crate::books::Books;
use crate::call::Call;
use crate::config::privacy::{Stage, StructuredCheck};
use crate::error::GatewayError;
use crate::privacy::{Placeholders, Screening};
use crate::providers::signatures::Signatures;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;
use along::Along;
use attempts::Begun;
use budgets::{Budgets, throttled};
use drain::Drain;
use keeping::Keeping;
use memory::Memory;
use preamble::Preamble;
use pricing::Priced;
use route::Routes;
use settlement::{Provenance, Settlement};
use stream::ReplyStream;
use structured::{Judged, Wanted};
use way::Whole;

/// One worker's way from a request to its answer.
pub struct Pipeline {
    pub routes: Arc<ArcSwap<Routes>>,
    pub actors: Handles,
    pub drain: Arc<Drain>,
    pub memory: Arc<Memory>,
    /// What every holder of a limit uses.
    pub meters: Arc<Meters>,
    /// What every holder of a budget may still spend.
    pub budgets: Arc<Budgets>,
    /// What the conversations of all workers need to remember.
    pub signatures: Arc<Signatures>,
    pub upstream: Upstream,
    pub metrics: Arc<Metrics>,
    pub books: Option<Arc<Books>>,
    pub access_log: bool,
}

/// What the client gets.
pub struct Answer {
    pub provenance: Provenance,
    /// What it cost; `None` for a stream, which has only begun, and where no price is known.
    pub cost: Option<Priced>,
    pub body: Body,
}

/// All of it, or the beginning of a stream.
pub enum Body {
    Whole(Bytes),
    Stream(Box<ReplyStream>),
}

impl Pipeline {
    /// Serves one request, and asks once more where the answer has to have a form that it has not. Whatever happens, the
    /// books of each are closed exactly once. What a stream says ahead of its first output is put into `preamble` meanwhile.
    /// What is complete is kept by `keeping`.
    pub async fn serve(
        self: Rc<Self>,
        call: Call,
        books: Settlement,
        preamble: Rc<Preamble>,
        keeping: Option<Rc<Keeping>>,
    ) -> Result<Answer, GatewayError> {
        let routes = self.routes.load_full();
        let wanted = routes.wanted(&call).map(Rc::new);
        let may_repair = keeping.is_none() && wanted.as_ref().is_some_and(|wanted| wanted.repair);
        let (first, judged) = self.serve_once(&call, books, &preamble, keeping, (wanted.as_ref(), may_repair)).await?;
        let (Some(wanted), Body::Whole(body), Judged::Faulty(faults), true) = (wanted, &first.body, judged, may_repair)
        else {
            return Ok(first);
        };
        let mut paid = first.cost;
        if let Some(again) = wanted.again(&call, body, &faults) {
            let books = Settlement::open(self.metrics.clone(), self.books.as_ref(), &again, self.access_log);
            match self.serve_once(&again, books, &preamble, None, (Some(&wanted), false)).await {
                Ok((mut second, Judged::Fits)) => {
                    second
                        .provenance
                        .warnings
                        .push("the answer was repaired: it did not have the form asked for".into());
                    return Ok(Answer { cost: Priced::sum(paid, second.cost), ..second });
                }
                Ok((second, _)) => paid = Priced::sum(paid, second.cost),
                // What it cost is in the books only.
                Err(_) => paid = None,
            }
        }
        match wanted.check {
            StructuredCheck::Block => Err(GatewayError::SchemaMismatch { faults }),
            _ => Ok(Answer { cost: paid, ..first }),
        }
    }

    /// Serves one request. What is not as `wanted` is told besides; where it may not pass and is not asked for again, it is an
    /// error.
    async fn serve_once(
        self: &Rc<Self>,
        call: &Call,
        mut books: Settlement,
        preamble: &Preamble,
        keeping: Option<Rc<Keeping>>,
        (wanted, may_repair): (Option<&Rc<Wanted>>, bool),
    ) -> Result<(Answer, Judged), GatewayError> {
        let streamed = wanted.filter(|_| call.head.stream).cloned();
        let mut along = Along { keeping, wanted: streamed, ..Along::default() };
        let answered = tokio::select! {
            biased;
            answered = self.answer(call, &mut books, preamble, &mut along) => answered,
            () = self.drain.over() => Err(GatewayError::ShuttingDown),
        };
        // Errors wait, too: what a client was told is in the books.
        let answered = match books.recorded().await {
            Ok(()) => answered,
            Err(unrecorded) => Err(unrecorded),
        };
        match answered {
            Ok((Begun::Whole(Whole { body, usage, finish }), mut provenance)) => {
                let (routes, size) = (self.routes.load_full(), body.len() as u64);
                let screened = along.whole(body, |rule, entity| routes.guards.words(rule, entity)).await;
                along.tell(&mut books);
                // An embedding is no text that the model wrote.
                let written = if call.head.operation.embeds() { 0 } else { size };
                books.used(usage, finish, written);
                let judged = screened.and_then(|body| match wanted {
                    Some(wanted) => Ok((judge(wanted, &body, finish, may_repair, &mut books)?, body)),
                    None => Ok((Judged::No, body)),
                });
                let (judged, body) = match judged {
                    Ok(judged) => judged,
                    Err(refused) => {
                        books.failed(&refused);
                        return Err(refused);
                    }
                };
                if let Judged::Faulty(faults) = &judged {
                    let told = |fault: &String| format!("the answer does not have the form asked for: {fault}");
                    provenance.warnings.extend(faults.iter().map(told));
                }
                provenance.guardrails = books.guardrails();
                books.sent_whole(&body);
                let cost = books.served();
                Ok((Answer { provenance, cost, body: Body::Whole(body) }, judged))
            }
            Ok((Begun::Stream(opened), provenance)) => {
                books.sent(&preamble.take_ahead());
                let keepalive = self.routes.load().sse_keepalive;
                let stream = ReplyStream::new(*opened, books, keepalive, call, self.drain.clone());
                Ok((Answer { provenance, cost: None, body: Body::Stream(Box::new(stream)) }, Judged::No))
            }
            Err(error) => {
                books.failed(&error);
                Err(error)
            }
        }
    }

    /// Model → route → access → budgets' steps → limits → budgets → attempts. Each station may end it.
    async fn answer(
        self: &Rc<Self>,
        call: &Call,
        books: &mut Settlement,
        preamble: &Preamble,
        along: &mut Along,
    ) -> Result<(Begun, Provenance), GatewayError> {
        let routes = self.routes.load_full();
        let asked = call.head.model.as_deref();
        let Some(mut route) = routes.resolve(asked, call.head.operation) else {
            return Err(routes.not_found(asked, &call.caller));
        };
        books.routed(&route.label);
        route.admit(&call.caller)?;
        let asked = call;
        let (report, guarded) = {
            let keep = books.redacted_by(routes.guards.of_books.as_ref());
            self.guard(&routes.guards, call, &route.label, keep).await
        };
        books.guarded(&report, Stage::Input);
        let guarded = guarded?;
        (along.screening, along.review) = (guarded.screening, guarded.review);
        if along.wanted.is_some() {
            let idle = || Rc::new(RefCell::new(Screening::of(Placeholders::new())));
            along.screening.get_or_insert_with(idle);
        }
        if call.head.stream {
            books.screened_by(along.screening.clone());
        }
        let call = guarded.call.as_ref().unwrap_or(call);
        if let Some(class) = &call.confined {
            books.note(format!("data class {class}: self-hosted only"));
            if !routes.may_see(&route, call) {
                return Err(GatewayError::Confined { class: class.clone(), asked: route.asked.clone() });
            }
        }
        let spender = self.budgets.spender(call, books);
        let mut throttles = vec![];
        if let Some(spender) = &spender {
            (route, throttles) = spender.steer(&routes, route, call, books);
        }
        let above = throttled(routes.above(&route, call), throttles);
        let standing = |standing| preamble.standing.set(Some(standing));
        books.let_in(admission::let_in(&self.meters, above, call, &route, standing)?);
        let bounded = match &spender {
            Some(spender) => spender.hold(&routes, &route, call, books).await?,
            None => None,
        };
        // What is written down is what the client asked.
        books.admitted(asked, call).await?;
        let call = bounded.as_ref().unwrap_or(call);
        let (begun, provenance) = attempts::run(self, call, &routes, &route, books, (preamble, along)).await?;
        books.answered(provenance.clone());
        Ok((begun, provenance))
    }
}

/// Returns what `body` is, held to what was `wanted`, which the books are told; an error where it may not pass so.
fn judge(
    wanted: &Wanted,
    body: &[u8],
    finish: Option<&str>,
    may_repair: bool,
    books: &mut Settlement,
) -> Result<Judged, GatewayError> {
    let judged = wanted.judge(body, finish);
    match judged {
        Judged::Fits | Judged::No => {}
        Judged::Cut => books.guarded(&wanted.report(true), Stage::Output),
        Judged::Faulty(faults) => {
            let passes = may_repair || wanted.check == StructuredCheck::Flag;
            books.guarded(&wanted.report(passes), Stage::Output);
            if !passes {
                return Err(GatewayError::SchemaMismatch { faults });
            }
            if may_repair {
                books.note("structured output: asked for once more".to_owned());
            }
            return Ok(Judged::Faulty(faults));
        }
    }
    Ok(judged)
}
