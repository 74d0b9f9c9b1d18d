//! Sessions of browsers, and links that begin one. They are held in memory: a restart ends all.
//!
//! A session ends 30 minutes after its last request, 12 hours after its beginning, when its user is shut out or gets another
//! password, and when it is told to.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a session may be idle.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// How long a session may last.
pub const ABSOLUTE: Duration = Duration::from_secs(12 * 60 * 60);
/// How long a link may be used.
pub const LINK: Duration = Duration::from_secs(15 * 60);
/// Most sessions, and most links, at once; then the oldest go.
const HELD_MAX: usize = 1_000;

type Digest = [u8; 32];

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The user's id.
    pub user: String,
    /// The user's epoch when it began; another one ends it.
    pub epoch: u64,
}

#[derive(Debug)]
struct Session {
    holder: Holder,
    begun: Instant,
    used: Instant,
}

#[derive(Debug)]
struct Link {
    holder: Holder,
    made: Instant,
}

/// All sessions and links, by the hashes of their secrets.
#[derive(Debug, Default)]
pub struct Sessions {
    sessions: HashMap<Digest, Session>,
    links: HashMap<Digest, Link>,
}

impl Sessions {
    /// Begins a session and returns its secret, which is the cookie's value.
    pub fn begin(&mut self, holder: Holder, now: Instant) -> String {
        self.sessions.retain(|_, session| session.lives(now));
        if self.sessions.len() >= HELD_MAX {
            let oldest = self.sessions.iter().min_by_key(|(_, session)| session.used).map(|(digest, _)| *digest);
            oldest.map(|digest| self.sessions.remove(&digest));
        }
        let secret = secret();
        self.sessions.insert(digest(&secret), Session { holder, begun: now, used: now });
        secret
    }

    /// Returns whose session `secret` is, and notes that it was used.
    pub fn holder(&mut self, secret: &str, now: Instant) -> Option<Holder> {
        let session = self.sessions.get_mut(&digest(secret)).filter(|session| session.lives(now))?;
        session.used = now;
        Some(session.holder.clone())
    }

    /// Ends a session.
    pub fn end(&mut self, secret: &str) {
        self.sessions.remove(&digest(secret));
    }

    /// Makes a link and returns its secret.
    pub fn link(&mut self, holder: Holder, now: Instant) -> String {
        self.links.retain(|_, link| now.saturating_duration_since(link.made) < LINK);
        if self.links.len() >= HELD_MAX {
            let oldest = self.links.iter().min_by_key(|(_, link)| link.made).map(|(digest, _)| *digest);
            oldest.map(|digest| self.links.remove(&digest));
        }
        let secret = secret();
        self.links.insert(digest(&secret), Link { holder, made: now });
        secret
    }

    /// Returns whom the link lets in: once, and in time.
    pub fn follow(&mut self, secret: &str, now: Instant) -> Option<Holder> {
        let link = self.links.remove(&digest(secret))?;
        (now.saturating_duration_since(link.made) < LINK).then_some(link.holder)
    }
}

impl Session {
    fn lives(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) < IDLE && now.saturating_duration_since(self.begun) < ABSOLUTE
    }
}

/// Returns what a page has to send along with every change, besides the session's cookie: a page of another site cannot
/// know it.
pub fn csrf_token(secret: &str) -> blake3::Hash {
    blake3::Hash::from_bytes(blake3::derive_key("bursar 2026-11 token against forged requests", secret.as_bytes()))
}

fn secret() -> String {
    blake3::Hash::from_bytes(rand::random()).to_hex().to_string()
}

fn digest(secret: &str) -> Digest {
    *blake3::hash(secret.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> Holder {
        Holder { user: "ann".into(), epoch: 1 }
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_when_it_is_old() {
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        let at = |minutes: u64| start + Duration::from_secs(minutes * 60);

        let idle = sessions.begin(ann(), at(0));
        let busy = sessions.begin(ann(), at(0));
        for turn in 1..=24 {
            assert_eq!(sessions.holder(&busy, at(turn * 29)), Some(ann()), "{turn}");
        }

        assert_eq!(sessions.holder(&idle, at(30)), None);
        assert_eq!(sessions.holder(&busy, at(719)), Some(ann()));
        assert_eq!(sessions.holder(&busy, at(720)), None);
        assert_eq!(sessions.holder("no secret", at(0)), None);
    }

    #[test]
    fn who_signs_out_is_out() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let secret = sessions.begin(ann(), now);

        sessions.end(&secret);

        assert_eq!(sessions.holder(&secret, now), None);
    }

    #[test]
    fn a_link_lets_in_once_and_for_a_quarter_of_an_hour() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let (one, late) = (sessions.link(ann(), now), sessions.link(ann(), now));

        assert_eq!(sessions.follow(&one, now), Some(ann()));
        assert_eq!(sessions.follow(&one, now), None);
        assert_eq!(sessions.follow(&late, now + LINK), None);
    }

    #[test]
    fn sessions_are_bounded_and_the_longest_idle_goes_first() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let later = now + Duration::from_secs(1);

        let first = sessions.begin(ann(), now);
        let others: Vec<String> = (0..HELD_MAX).map(|_| sessions.begin(ann(), later)).collect();

        assert_eq!(sessions.holder(&first, later), None);
        assert!(others.iter().all(|secret| sessions.holder(secret, later).is_some()));
    }
}
