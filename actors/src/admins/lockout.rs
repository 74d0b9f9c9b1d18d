//! Who guesses passwords waits: after five wrong ones for a user from a network, longer after each more.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Wrong passwords in a row before the first wait.
const FREE: u32 = 5;
/// The first wait; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(30);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(3_600);
/// How long nobody has to guess until it is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(2 * 3_600);
/// Most users and networks that are told apart; the rest count together.
const HELD_MAX: usize = 10_000;

#[derive(Debug)]
struct Guesses {
    count: u32,
    last: Instant,
    locked_until: Option<Instant>,
}

/// What was guessed lately.
#[derive(Debug, Default)]
pub struct Lockout(HashMap<(String, String), Guesses>);

impl Lockout {
    /// Counts an attempt to sign in before it is judged, so that many at once are no way around. `Err` says how long to wait.
    pub fn attempt(&mut self, user: &str, network: &str, now: Instant) -> Result<(), Duration> {
        let name = self.name(user, network, now);
        let guesses = self.0.entry(name).or_insert(Guesses { count: 0, last: now, locked_until: None });
        if let Some(until) = guesses.locked_until.filter(|until| *until > now) {
            return Err(until - now);
        }
        guesses.count = guesses.count.saturating_add(1);
        guesses.last = now;
        if let Some(beyond) = guesses.count.checked_sub(FREE) {
            guesses.locked_until = Some(now + FIRST.saturating_mul(1 << beyond.min(16)).min(LONGEST));
        }
        Ok(())
    }

    /// Forgets the guesses: the right password came.
    pub fn passed(&mut self, user: &str, network: &str, now: Instant) {
        let name = self.name(user, network, now);
        self.0.remove(&name);
    }

    fn name(&mut self, user: &str, network: &str, now: Instant) -> (String, String) {
        let name = (user.to_owned(), network.to_owned());
        if self.0.len() < HELD_MAX || self.0.contains_key(&name) {
            return name;
        }
        self.0.retain(|_, guesses| now.saturating_duration_since(guesses.last) < FORGOTTEN);
        if self.0.len() < HELD_MAX { name } else { Default::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_guesses_are_free_and_each_more_costs_twice_the_wait() {
        let (mut lockout, mut now) = (Lockout::default(), Instant::now());

        for _ in 0..5 {
            assert_eq!(lockout.attempt("ann", "10.0.0.0/24", now), Ok(()));
        }
        for seconds in [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600] {
            let wait = Duration::from_secs(seconds);
            assert_eq!(lockout.attempt("ann", "10.0.0.0/24", now), Err(wait));
            now += wait;
            assert_eq!(lockout.attempt("ann", "10.0.0.0/24", now), Ok(()));
        }
        assert_eq!(lockout.attempt("ann", "10.0.1.0/24", now), Ok(()), "from elsewhere ann gets in");
        assert_eq!(lockout.attempt("bob", "10.0.0.0/24", now), Ok(()));
    }

    #[test]
    fn the_right_password_ends_the_count() {
        let (mut lockout, now) = (Lockout::default(), Instant::now());

        for _ in 0..20 {
            assert_eq!(lockout.attempt("ann", "x", now), Ok(()));
            lockout.passed("ann", "x", now);
        }
    }

    #[test]
    fn beyond_the_bound_all_count_together() {
        let (mut lockout, now) = (Lockout::default(), Instant::now());
        for user in 0..HELD_MAX {
            let _ = lockout.attempt(&user.to_string(), "x", now);
        }

        let refused = (0..10).filter(|user| lockout.attempt(&format!("new {user}"), "x", now).is_err()).count();

        assert_eq!(refused, 5);
        assert!(lockout.0.len() <= HELD_MAX + 1);
    }
}
