//! What stands above one request: all holders whose limits it counts against, taken from in order or not at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::meter::{Meter, Rate, Short, Taken};
use super::{Amount, Holder, Limits, Which};

/// A holder with its limits and its meter.
#[derive(Debug, Clone)]
pub struct Limited {
    /// Who.
    pub holder: Holder,
    /// What it may use.
    pub limits: Limits,
    /// What it uses.
    pub meter: Arc<Meter>,
}

/// How the limits above one request stand: of each amount the one of the shortest span, and of those the one of which the
/// least is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Requests.
    pub requests: Option<Rate>,
    /// Tokens.
    pub tokens: Option<Rate>,
}

/// Which limit is in the way of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Whose.
    pub holder: Holder,
    /// Which of its limits.
    pub which: Which,
    /// Its figure: requests or tokens.
    pub limit: u64,
    /// What the request counts for: 1, or its tokens.
    pub asked: u64,
    /// When it would pass, if nobody else asks meanwhile; `None`: never, for it is more than the whole limit.
    pub retry_after: Option<Duration>,
    /// How that limit stands.
    pub standing: Standing,
}

/// The permission to use what was taken. Dropping it gives back what is in flight, and settles the tokens.
#[derive(Debug)]
pub struct Grant {
    taken: Vec<(Limited, Taken)>,
    reserved: u64,
    used: u64,
    /// How the limits stood right after.
    pub standing: Standing,
}

/// Takes one request of `tokens` from every holder in `above`, or from none. `tokens` should be a bound from above: what
/// passes it later is counted in full and keeps out what follows.
///
/// A holder that is taken from before another refuses is given back at once; for the moment between, it may look fuller than
/// it is, which can refuse another request, never admit one too many.
pub fn admit(above: impl IntoIterator<Item = Limited>, tokens: u64, now: Instant) -> Result<Grant, Denied> {
    let mut grant = Grant { taken: Vec::new(), reserved: tokens, used: tokens, standing: Standing::default() };
    for limited in above {
        match limited.meter.take(&limited.limits, tokens, now) {
            Ok(taken) => {
                grant.standing.note(&taken);
                grant.taken.push((limited, taken));
            }
            Err(short) => {
                grant.undo();
                return Err(denied(limited.holder, short, tokens));
            }
        }
    }
    Ok(grant)
}

fn denied(holder: Holder, short: Short, tokens: u64) -> Denied {
    let Short { which, limit, wait, rate } = short;
    let of_tokens = matches!(which, Which::Window(Amount::Tokens, _));
    let standing = match rate {
        Some(rate) if of_tokens => Standing { tokens: Some(rate), requests: None },
        rate => Standing { requests: rate, tokens: None },
    };
    Denied { holder, which, limit, asked: if of_tokens { tokens } else { 1 }, retry_after: wait, standing }
}

impl Grant {
    /// Says how many tokens were really used; without it, the bound stands.
    pub fn used(&mut self, tokens: u64) {
        self.used = tokens;
    }

    fn undo(&mut self) {
        for (limited, taken) in self.taken.drain(..).rev() {
            limited.meter.undo(&taken, self.reserved);
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        for (limited, taken) in &self.taken {
            limited.meter.settle(taken, self.reserved, self.used);
        }
    }
}

impl Standing {
    fn note(&mut self, taken: &Taken) {
        let [requests, tokens] = taken.rates;
        self.requests = tighter(self.requests, requests);
        self.tokens = tighter(self.tokens, tokens);
    }
}

fn tighter(one: Option<Rate>, other: Option<Rate>) -> Option<Rate> {
    let rates = one.into_iter().chain(other);
    rates.min_by_key(|rate| (rate.span, rate.remaining))
}
