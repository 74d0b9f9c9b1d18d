//! Which of several addresses answers first: RFC 8305, "Happy Eyeballs Version 2".
//!
//! A dead IPv6 route or one dead replica costs a quarter of a second and not the whole connect timeout; an address that
//! refuses costs nothing.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};

/// Head start of one address over the next.
pub const STAGGER: Duration = Duration::from_millis(250);
/// Most addresses that are tried; a name may have dozens.
const TRIED_MAX: usize = 8;

/// Returns `addresses` with the families in turn, the family of the first one first, each in its own order.
pub fn interleave(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let (own, other): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(|a| a.is_ipv4() == first.is_ipv4());
    let mut mixed = Vec::with_capacity(addresses.len());
    let (mut own, mut other) = (own.into_iter(), other.into_iter());
    loop {
        let pair = [own.next(), other.next()];
        if pair == [None, None] {
            mixed.truncate(TRIED_MAX);
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

/// Returns the first success of `connect`, begun for one address after the other: the next when `stagger` has passed or
/// when one fails. If all fail, returns the first failure.
///
/// The losers are dropped, which closes them.
pub async fn first_to_answer<T, F>(
    addresses: Vec<IpAddr>,
    stagger: Duration,
    connect: impl Fn(IpAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = addresses.into_iter();
    let mut running = FuturesUnordered::new();
    let mut failure = None;
    loop {
        if let Some(address) = waiting.next() {
            running.push(connect(address));
        }
        tokio::select! {
            biased;
            ended = running.next() => match ended {
                Some(Ok(connection)) => return Ok(connection),
                Some(Err(error)) => failure = failure.or(Some(error)),
                None => return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
            },
            () = tokio::time::sleep(stagger), if waiting.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::RefCell;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns_beginning_with_the_first() {
        let mixed = interleave(&ips(&["::1", "::2", "::3", "1.0.0.1", "1.0.0.2"]));

        assert_eq!(mixed, ips(&["::1", "1.0.0.1", "::2", "1.0.0.2", "::3"]));
        assert!(interleave(&[]).is_empty());
    }

    #[tokio::test]
    async fn a_silent_first_address_gives_way_to_the_second() {
        let addresses = ips(&["1.0.0.1", "1.0.0.2"]);
        let silent = addresses[0];

        let answered = first_to_answer(addresses.clone(), Duration::from_millis(1), |address| async move {
            if address == silent { std::future::pending().await } else { Ok(address) }
        });

        assert_eq!(answered.await.unwrap(), addresses[1]);
    }

    #[tokio::test]
    async fn a_refusal_moves_on_at_once_and_a_quick_first_address_is_alone() {
        let addresses = ips(&["1.0.0.1", "1.0.0.2", "1.0.0.3"]);
        let tried = RefCell::new(Vec::new());
        let connect = |address| {
            tried.borrow_mut().push(address);
            let refuses = tried.borrow().len() == 1;
            async move { if refuses { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(address) } }
        };

        let answered = tokio::time::timeout(HOUR / 2, first_to_answer(addresses.clone(), HOUR, connect)).await;

        assert_eq!(answered.unwrap().unwrap(), addresses[1]);
        assert_eq!(*tried.borrow(), addresses[..2]);
    }

    #[tokio::test]
    async fn the_first_failure_is_told_when_all_fail() {
        let addresses = ips(&["1.0.0.1", "1.0.0.2"]);
        let first = addresses[0];

        let failed = first_to_answer(addresses, HOUR, |address| async move {
            let refused = io::ErrorKind::ConnectionRefused;
            Err::<(), _>(if address == first { refused } else { io::ErrorKind::HostUnreachable }.into())
        });

        assert_eq!(failed.await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
