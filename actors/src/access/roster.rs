//! Who may come in at this moment: read by every worker for every request, without a message, and written by the
//! [`Directory`](super::Directory) alone. Whoever is not in it is refused, whatever once was.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use zeroize::Zeroizing;

use super::holder::KeyHash;
use super::identity::Identity;
use super::key::PREFIX;
use crate::ids::TeamId;

/// The secret that hashes of keys made here depend on.
#[derive(Clone)]
pub struct HashKey(Zeroizing<[u8; 32]>);

impl HashKey {
    /// Wraps the secret.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// Returns the secret, for where it is kept.
    pub(super) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the hash of a key made here.
    pub fn hash(&self, key: &str) -> KeyHash {
        *blake3::keyed_hash(&self.0, key.as_bytes()).as_bytes()
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Whom each value of a client key stands for.
#[derive(Debug)]
pub struct Roster {
    by_hash: DashMap<KeyHash, Arc<Identity>>,
    by_team: DashMap<TeamId, Arc<Identity>>,
    hash_key: HashKey,
    /// Keys there are, in whatever standing.
    keys: AtomicUsize,
}

impl Roster {
    /// Returns an empty roster.
    pub(super) fn new(hash_key: HashKey) -> Self {
        Self { by_hash: DashMap::new(), by_team: DashMap::new(), hash_key, keys: AtomicUsize::new(0) }
    }

    /// Returns whom `key` stands for at `now_s`, in seconds since 1970.
    ///
    /// It is looked up by its hash, so that the time taken tells nothing about how close a guess came; one that is over,
    /// disabled or revoked is treated like one that never was.
    pub fn find(&self, key: &str, now_s: u64) -> Option<Arc<Identity>> {
        let made_here = key.starts_with(PREFIX).then(|| self.by_hash(&self.hash_key.hash(key))).flatten();
        // A file may have the plain hash of any key, also of one made elsewhere in our form.
        let found = made_here.or_else(|| self.by_hash(blake3::hash(key.as_bytes()).as_bytes()));
        found.filter(|identity| identity.is_current(now_s))
    }

    /// Returns what whoever belongs to `team` may do, for those of whom somebody else says that they do; the same `Arc` until
    /// it changes.
    pub fn of_team(&self, team: &TeamId) -> Option<Arc<Identity>> {
        self.by_team.get(team).map(|entry| entry.value().clone())
    }

    fn by_hash(&self, hash: &KeyHash) -> Option<Arc<Identity>> {
        self.by_hash.get(hash).map(|entry| entry.value().clone())
    }

    /// Returns how many keys there are, in whatever standing.
    pub fn keys(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    /// Returns what makes and finds the hashes of keys made here.
    pub(super) fn hash_key(&self) -> &HashKey {
        &self.hash_key
    }

    pub(super) fn count(&self, keys: usize) {
        self.keys.store(keys, Ordering::Relaxed);
    }

    /// Puts `identities` in the place of whatever stood for the hashes in `before`. A value that stays good is found at
    /// every moment.
    pub(super) fn replace(&self, before: &[KeyHash], identities: &HashMap<KeyHash, Arc<Identity>>) {
        for (hash, identity) in identities {
            self.by_hash.insert(*hash, identity.clone());
        }
        for hash in before.iter().filter(|hash| !identities.contains_key(*hash)) {
            self.by_hash.remove(hash);
        }
    }

    /// Says what belonging to `team` allows now; none where it is gone.
    pub(super) fn set_team(&self, team: &TeamId, identity: Option<Identity>) {
        match identity {
            Some(identity) => _ = self.by_team.insert(team.clone(), Arc::new(identity)),
            None => _ = self.by_team.remove(team),
        }
    }

    /// Forgets the teams that are gone.
    pub(super) fn retain_teams(&self, is_there: impl Fn(&TeamId) -> bool) {
        self.by_team.retain(|team, _| is_there(team));
    }

    /// Puts `identities` in the place of everything.
    pub(super) fn replace_all(&self, identities: &HashMap<KeyHash, Arc<Identity>>) {
        self.replace(&[], identities);
        self.by_hash.retain(|hash, _| identities.contains_key(hash));
    }
}
