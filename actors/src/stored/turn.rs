//! Whose turn it is under an idempotency key: what is known of the key, and what follows for a request that comes with it.

use crate::store::Digest;

/// Bytes before the sealed answer.
const HEAD: usize = 33;
const OPEN: u8 = b'o';
const UNKEPT: u8 = b'u';
const ANSWERED: u8 = b'a';

/// What lies under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<'a> {
    /// A keyed hash of the request that came with it.
    pub fingerprint: Digest,
    /// How far that request got.
    pub state: State<'a>,
}

/// How far a request got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State<'a> {
    /// It was let in.
    Open,
    /// It was answered, by more than is kept.
    Unkept,
    /// It was answered so; sealed.
    Answered(&'a [u8]),
}

impl<'a> Row<'a> {
    /// Returns the bytes to keep.
    pub fn bytes(&self) -> Vec<u8> {
        let (state, sealed): (u8, &[u8]) = match self.state {
            State::Open => (OPEN, &[]),
            State::Unkept => (UNKEPT, &[]),
            State::Answered(sealed) => (ANSWERED, sealed),
        };
        [&[state], self.fingerprint.as_slice(), sealed].concat()
    }

    /// Reads what was kept; none where it is damaged.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (head, sealed) = bytes.split_first_chunk::<HEAD>()?;
        let state = match head[0] {
            OPEN => State::Open,
            UNKEPT => State::Unkept,
            ANSWERED => State::Answered(sealed),
            _ => return None,
        };
        Some(Self { fingerprint: head[1..].try_into().ok()?, state })
    }
}

/// What follows for a request that comes with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It is the first, and has to be served.
    First,
    /// The first is still being served.
    InFlight,
    /// The first was another request.
    OtherRequest,
    /// The first was cut off with the process, and nobody knows how far it had got.
    CutOff,
    /// The first was answered by more than is kept.
    Unkept,
    /// The first was answered so; sealed.
    Answered(&'a [u8]),
}

/// Decides about a request with this fingerprint. `serving` is the fingerprint of the one that this process serves under
/// the key, `row` what lies under it.
pub fn judge<'a>(fingerprint: &Digest, serving: Option<&Digest>, row: Option<&Row<'a>>) -> Verdict<'a> {
    let first = serving.or(row.map(|row| &row.fingerprint));
    match (first, serving, row) {
        (None, ..) => Verdict::First,
        (Some(first), ..) if first != fingerprint => Verdict::OtherRequest,
        (_, Some(_), _) => Verdict::InFlight,
        (_, _, None) => Verdict::First,
        (_, _, Some(row)) => match row.state {
            // Nobody here serves it, so the process that did has ended.
            State::Open => Verdict::CutOff,
            State::Unkept => Verdict::Unkept,
            State::Answered(sealed) => Verdict::Answered(sealed),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THIS: Digest = [1; 32];
    const OTHER: Digest = [2; 32];

    fn row(state: State<'_>) -> Row<'_> {
        Row { fingerprint: THIS, state }
    }

    #[test]
    fn a_key_that_nobody_has_used_is_served() {
        assert_eq!(judge(&THIS, None, None), Verdict::First);
    }

    #[test]
    fn a_key_in_use_waits_for_the_first_and_refuses_another_request() {
        assert_eq!(judge(&THIS, Some(&THIS), None), Verdict::InFlight);
        assert_eq!(judge(&THIS, Some(&THIS), Some(&row(State::Open))), Verdict::InFlight);
        assert_eq!(judge(&OTHER, Some(&THIS), Some(&row(State::Open))), Verdict::OtherRequest);
        assert_eq!(judge(&OTHER, None, Some(&row(State::Answered(b"x")))), Verdict::OtherRequest);
    }

    #[test]
    fn an_answer_is_given_again_and_an_open_end_is_said_to_be_one() {
        assert_eq!(judge(&THIS, None, Some(&row(State::Answered(b"x")))), Verdict::Answered(b"x"));
        assert_eq!(judge(&THIS, None, Some(&row(State::Unkept))), Verdict::Unkept);
        assert_eq!(judge(&THIS, None, Some(&row(State::Open))), Verdict::CutOff);
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        for state in [State::Open, State::Unkept, State::Answered(b"sealed")] {
            assert_eq!(Row::read(&row(state).bytes()), Some(row(state)));
        }
        assert_eq!(Row::read(b"o"), None);
        assert_eq!(Row::read(&[b'x'; 40]), None);
    }
}
