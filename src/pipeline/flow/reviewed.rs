//! Streams that others are asked about: events are held until those have spoken, window by window. It stands ahead of the
//! screen, so that nobody is shown what was taken out of the question.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bursar_actors::{ErrorClass, Usage};
use bytes::Bytes;

use super::event::Event;
use super::{Batch, Flow};
use crate::error::{Failure, GatewayError};
use crate::pipeline::review::{Asked, Review, Reviewed};
use crate::privacy::Screening;
use crate::privacy::texts::{self, Text};
use crate::providers::dialect::StreamFailure;
use crate::providers::sse::{SseItem, SseReader};

/// Characters of what went before that a window is told with.
const BEFORE: usize = 200;

/// A stream that is reviewed.
pub struct ReviewedFlow {
    flow: Box<dyn Flow>,
    review: Rc<Review>,
    screening: Rc<RefCell<Screening>>,
    reader: SseReader,
    held: Vec<Held>,
    /// Characters of what is held.
    chars: usize,
    /// The end of each text that goes on.
    before: HashMap<String, String>,
    began: bool,
    over: Option<Result<(), Failure>>,
    question: Option<Question>,
}

/// An event that waits, with its texts.
struct Held {
    event: Event,
    data: String,
    texts: Vec<Text>,
}

/// What is asked now.
struct Question {
    /// Where each text asked about stands: which event, which of its texts.
    places: Vec<Vec<(usize, usize)>>,
    reviewed: Pin<Box<dyn Future<Output = Reviewed>>>,
}

impl ReviewedFlow {
    /// Has what comes out of `flow` looked at; what is found is told to `screening`.
    pub fn new(flow: Box<dyn Flow>, review: Rc<Review>, screening: Rc<RefCell<Screening>>) -> Self {
        Self {
            flow,
            review,
            screening,
            reader: SseReader::with_names(),
            held: vec![],
            chars: 0,
            before: HashMap::new(),
            began: false,
            over: None,
            question: None,
        }
    }

    fn hold(&mut self, mut batch: Batch) -> Batch {
        self.began |= batch.began;
        self.reader.feed(batch.bytes.take());
        while let Some(item) = self.reader.next_event() {
            let Ok(SseItem::Event(event)) = item else { continue };
            let data = String::from_utf8_lossy(event.data()).into_owned();
            let texts = texts::of_event(&data);
            self.chars += texts.iter().map(|text| text.text.chars().count()).sum::<usize>();
            self.held.push(Held { event: Event::of(&event), data, texts });
        }
        if let Some(over) = batch.failure.map(Err).or(batch.done.then_some(Ok(()))) {
            self.over = Some(over);
        }
        match self.chars {
            // Nothing is said, so nobody has to be asked.
            0 => self.passed(&[], &[]),
            chars if chars >= self.review.window() || self.over.is_some() => {
                self.ask();
                Batch::default()
            }
            _ => Batch::default(),
        }
    }

    fn ask(&mut self) {
        let (mut asked, mut places) = (Vec::<Asked>::new(), Vec::<Vec<(usize, usize)>>::new());
        let mut known = HashMap::new();
        for (event, held) in self.held.iter().enumerate() {
            for (number, text) in held.texts.iter().enumerate() {
                let fresh = asked.len();
                let at = if text.is_piece { *known.entry(text.at.as_str()).or_insert(fresh) } else { fresh };
                if at == fresh {
                    let before = self.before.get(&text.at).filter(|_| text.is_piece).cloned().unwrap_or_default();
                    asked.push(Asked { at: text.at.clone(), before, text: String::new() });
                    places.push(vec![]);
                }
                asked[at].text.push_str(&text.text);
                places[at].push((event, number));
            }
        }
        for text in known.into_values().map(|at| &asked[at]) {
            let all = format!("{}{}", text.before, text.text);
            let from = all.char_indices().rev().nth(BEFORE - 1).map_or(0, |(at, _)| at);
            self.before.insert(text.at.clone(), all[from..].to_owned());
        }
        let (review, last) = (self.review.clone(), self.over.is_some());
        let reviewed = Box::pin(async move { review.of(&asked, last).await });
        self.question = Some(Question { places, reviewed });
    }

    /// Lets go what is held, with the texts at `places` in new words where there are some.
    fn passed(&mut self, places: &[Vec<(usize, usize)>], new: &[Option<String>]) -> Batch {
        let mut batch = Batch { began: std::mem::take(&mut self.began), ..Batch::default() };
        let mut words: HashMap<(usize, usize), &str> = HashMap::new();
        for (places, new) in places.iter().zip(new).filter_map(|(places, new)| Some((places, new.as_deref()?))) {
            // All of it comes with the first piece.
            words.extend(places.iter().enumerate().map(|(nth, place)| (*place, if nth == 0 { new } else { "" })));
        }
        for (number, held) in std::mem::take(&mut self.held).into_iter().enumerate() {
            let said = held.texts.iter().enumerate().map(|(nth, text)| (text, words.get(&(number, nth)).copied()));
            let new = texts::replaced(&held.data, said);
            batch.bytes.push(held.event.with(new));
        }
        self.chars = 0;
        match self.over.take() {
            Some(Ok(())) => batch.done = true,
            Some(Err(failure)) => batch.failure = Some(failure),
            None => {}
        }
        batch
    }

    fn answered(&mut self, places: &[Vec<(usize, usize)>], reviewed: &Reviewed) -> Batch {
        self.screening.borrow_mut().found(&reviewed.report);
        let Some(refusal) = &reviewed.refusal else { return self.passed(places, &reviewed.texts) };
        self.held.clear();
        self.over = None;
        Batch::failed(refused(refusal))
    }
}

/// The failure that ends a stream which is refused.
fn refused(refusal: &GatewayError) -> Failure {
    let (class, message) = match refusal {
        GatewayError::Guardrail { message } => (ErrorClass::ContentPolicy, message.clone()),
        GatewayError::GuardrailUnavailable { name } => (
            ErrorClass::GatewayOverloaded,
            format!("the guardrail `{name}` gives no answer, and nothing passes without it"),
        ),
        _ => (ErrorClass::GatewayOverloaded, "the answer could not be looked at".to_owned()),
    };
    let kind = if class == ErrorClass::ContentPolicy { "invalid_request_error" } else { "server_error" };
    Failure { kind: Some(kind.to_owned()), code: Some(refusal.code().to_owned()), ..Failure::plain(class, message) }
}

impl Flow for ReviewedFlow {
    fn is_framed(&self) -> bool {
        self.flow.is_framed()
    }

    fn feed(&mut self, piece: Bytes) -> Batch {
        let batch = self.flow.feed(piece);
        self.hold(batch)
    }

    fn poll_held(&mut self, context: &mut Context<'_>) -> Option<Poll<Batch>> {
        let question = self.question.as_mut()?;
        let Poll::Ready(reviewed) = question.reviewed.as_mut().poll(context) else { return Some(Poll::Pending) };
        let places = self.question.take().map(|question| question.places).unwrap_or_default();
        Some(Poll::Ready(self.answered(&places, &reviewed)))
    }

    fn end(&mut self) -> Batch {
        let batch = self.flow.end();
        self.hold(batch)
    }

    fn usage(&self) -> Option<Usage> {
        self.flow.usage()
    }

    fn finish(&self) -> Option<&'static str> {
        self.flow.finish()
    }

    fn output_bytes(&self) -> u64 {
        self.flow.output_bytes()
    }

    fn fail(&mut self, failure: &StreamFailure<'_>) -> Option<Bytes> {
        self.flow.fail(failure)
    }
}
