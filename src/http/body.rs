//! Reads a request's body, within bounds of size, time and memory.
//!
//! A client that sends a byte now and then would hold a connection and its memory for ever. So a pause is bounded, and
//! so is the whole: one pause plus the time that the bytes take at the slowest rate.

use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, UPGRADE};
use actix_web::web::Payload;
use bytes::Bytes;
use futures_util::StreamExt;

use super::Worker;
use super::inference::invalid;
use crate::error::GatewayError;
use crate::upstream::Pieces;

/// Slowest body, in bytes per second; a telephone line of 1990 sends faster.
const RATE: u64 = 1024;

/// What a body is held to.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// In bytes.
    pub size: usize,
    /// Until when it has to be here, whatever its size.
    pub until: Instant,
}

/// Returns the body. A length that says more than `bounds.size` is refused before a byte is read.
pub(super) async fn read(
    request: &HttpRequest,
    payload: &mut Payload,
    bounds: Bounds,
    worker: &Worker,
) -> Result<Bytes, GatewayError> {
    let (Bounds { size, until }, patience) = (bounds, worker.gateway.client_timeout);
    let announced = announced(request.headers(), size)?;
    let mut held = worker.pipeline.memory.for_request(announced).map_err(|_| GatewayError::Overloaded)?;
    let begun = Instant::now();
    let mut heard = begun;
    let mut body = Pieces::default();
    loop {
        let wait_until = until.min(heard + patience).min(begun + longest(patience, body.len()));
        let piece = tokio::time::timeout_at(wait_until.into(), payload.next()).await;
        let Some(piece) = piece.map_err(|_| GatewayError::BodyTimeout { patience, rate: RATE })? else { break };
        let piece = piece.map_err(|_| invalid("the request body broke off before its end", None))?;
        let length = body.len() + piece.len();
        if length > size {
            return Err(GatewayError::BodyTooLarge { limit: size });
        }
        held.cover(length).map_err(|_| GatewayError::Overloaded)?;
        body.push(piece);
        heard = Instant::now();
    }
    Ok(held.keep(body.take()))
}

/// Returns how many bytes are announced, 0 where nothing is said.
fn announced(headers: &HeaderMap, limit: usize) -> Result<usize, GatewayError> {
    let announced = header(headers, &CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok()).unwrap_or(0);
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(GatewayError::BodyTooLarge { limit });
    }
    if header(headers, &CONTENT_ENCODING).is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(GatewayError::BodyEncoded);
    }
    // actix then reads all that follows as one body, whatever its length says; a proxy in front would not.
    if header(headers, &UPGRADE).is_some_and(|protocol| protocol.trim().eq_ignore_ascii_case("websocket")) {
        return Err(invalid("this route cannot be upgraded to a websocket; leave out the `upgrade` header", None));
    }
    Ok(announced)
}

/// Returns how long a body may have taken of which so many bytes are here.
fn longest(patience: Duration, bytes: usize) -> Duration {
    patience.saturating_add(Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / RATE))
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kibibyte_buys_a_second() {
        let patience = Duration::from_secs(5);

        assert_eq!(longest(patience, 0), patience);
        assert_eq!(longest(patience, 1), patience + Duration::from_micros(976));
        assert_eq!(longest(patience, 10 * 1024), Duration::from_secs(15));
        assert!(longest(patience, usize::MAX) > Duration::from_secs(3600));
    }

    #[test]
    fn a_byte_every_four_seconds_is_too_slow() {
        let patience = Duration::from_secs(5);
        let at = |second: u64| (second / 4) as usize;

        let cut = (0..).find(|&second| Duration::from_secs(second) > longest(patience, at(second)));

        assert_eq!(cut, Some(6));
    }
}
