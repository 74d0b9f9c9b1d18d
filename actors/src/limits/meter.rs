//! What one holder uses: up to six windows and the requests in flight, behind one lock.
//!
//! One lock for all, because a request takes from all of them or from none, and taking an uncontended lock costs more
//! than looking at a window.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::window::{Mark, Window};
use super::{Amount, Limits, Span, Which};

/// What is told of requests in flight when there is no room for another: nobody knows when one ends.
const CONCURRENCY_WAIT: Duration = Duration::from_secs(1);

/// What one holder uses. 88 bytes, and 560 for each window that has a limit and was used within its span.
#[derive(Debug, Default)]
pub struct Meter {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Every grant, whether or not their number is limited, so that a new limit knows of those before it.
    in_flight: u32,
    /// By amount and span; made when a limit asks for one.
    windows: [[Option<Box<Window>>; 3]; 2],
}

/// How a limit of a minute, an hour or a day stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How long its window is.
    pub span: Span,
    /// What may be used within it.
    pub limit: u64,
    /// What is left of that.
    pub remaining: u64,
    /// Time until all of it is left again, if nobody uses any of it.
    pub reset: Duration,
}

/// What was taken from a meter.
#[derive(Debug)]
pub(super) struct Taken {
    /// From the windows of requests and tokens, by span.
    marks: [[Option<Mark>; 3]; 2],
    /// How the shortest window of each amount stands now.
    pub rates: [Option<Rate>; 2],
}

/// Why nothing was taken.
#[derive(Debug)]
pub(super) struct Short {
    pub which: Which,
    pub limit: u64,
    /// `None`: the request alone is more than the limit.
    pub wait: Option<Duration>,
    /// How that window stands.
    pub rate: Option<Rate>,
}

impl Meter {
    /// Takes one request of `tokens` from everything that `limits` limits, or nothing at all. Of several limits in the way
    /// the one that takes longest is told.
    pub(super) fn take(&self, limits: &Limits, tokens: u64, now: Instant) -> Result<Taken, Short> {
        let mut state = self.state();
        let mut short: Option<Short> = None;
        for (amount, span, limit) in windows_of(limits) {
            let window = state.window(amount, span, now);
            let asked = asked(amount, tokens);
            if window.spares(asked, limit) {
                continue;
            }
            let wait = window.wait(asked, limit, now);
            let longer = |short: &Short| short.wait.is_some_and(|before| wait.is_none_or(|wait| wait > before));
            if short.as_ref().is_none_or(longer) {
                let rate = Some(rate_of(window, span, limit, now));
                short = Some(Short { which: Which::Window(amount, span), limit, wait, rate });
            }
        }
        if let Some(short) = short {
            return Err(short);
        }
        if let Some(limit) = limits.concurrency.filter(|limit| state.in_flight >= *limit) {
            let wait = (limit > 0).then_some(CONCURRENCY_WAIT);
            return Err(Short { which: Which::Concurrency, limit: limit.into(), wait, rate: None });
        }
        state.in_flight += 1;
        let mut taken = Taken { marks: [[None; 3]; 2], rates: [None; 2] };
        for (amount, span, limit) in windows_of(limits) {
            let Some(window) = &mut state.windows[amount as usize][span as usize] else { continue };
            taken.marks[amount as usize][span as usize] = Some(window.take(asked(amount, tokens)));
            // The spans come in order, so the shortest is the first.
            taken.rates[amount as usize].get_or_insert_with(|| rate_of(window, span, limit, now));
        }
        Ok(taken)
    }

    /// Gives back what is in flight and puts the tokens `used` in place of those that were taken.
    pub(super) fn settle(&self, taken: &Taken, tokens: u64, used: u64) {
        let mut state = self.state();
        state.settle(Amount::Tokens, taken, tokens, used);
        state.in_flight = state.in_flight.saturating_sub(1);
    }

    /// Takes everything back, as if the request had never been.
    pub(super) fn undo(&self, taken: &Taken, tokens: u64) {
        let mut state = self.state();
        state.settle(Amount::Requests, taken, 1, 0);
        state.settle(Amount::Tokens, taken, tokens, 0);
        state.in_flight = state.in_flight.saturating_sub(1);
    }

    /// Lets go of windows in which nothing is counted any more; returns whether none is left, nor a request in flight.
    pub fn rest(&self, now: Instant) -> bool {
        let mut state = self.state();
        if state.in_flight > 0 {
            return false;
        }
        let mut idle = true;
        for kept in state.windows.iter_mut().flatten() {
            let Some(window) = kept else { continue };
            window.advance(now);
            if window.total() == 0 {
                *kept = None;
            } else {
                idle = false;
            }
        }
        idle
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two figures that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn window(&mut self, amount: Amount, span: Span, now: Instant) -> &mut Window {
        let kept = &mut self.windows[amount as usize][span as usize];
        let window = kept.get_or_insert_with(|| Box::new(Window::new(span, now)));
        window.advance(now);
        window
    }

    fn settle(&mut self, amount: Amount, taken: &Taken, took: u64, used: u64) {
        for span in Span::ALL {
            let window = &mut self.windows[amount as usize][span as usize];
            if let (Some(window), Some(mark)) = (window, taken.marks[amount as usize][span as usize]) {
                window.settle(mark, took, used);
            }
        }
    }
}

fn windows_of(limits: &Limits) -> impl Iterator<Item = (Amount, Span, u64)> {
    let windows = Amount::ALL.into_iter().flat_map(|amount| Span::ALL.map(|span| (amount, span)));
    windows.filter_map(|(amount, span)| Some((amount, span, limits.of(amount, span)?)))
}

fn asked(amount: Amount, tokens: u64) -> u64 {
    if amount == Amount::Requests { 1 } else { tokens }
}

fn rate_of(window: &Window, span: Span, limit: u64, now: Instant) -> Rate {
    Rate { span, limit, remaining: limit.saturating_sub(window.total()), reset: window.reset(now) }
}
