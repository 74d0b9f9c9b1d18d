//! Tokens that were verified, by their hash: bounded, and good only as long as the keys that verified them.

use std::sync::Arc;

use dashmap::DashMap;

use super::Bearer;

/// Most tokens that are remembered; some 500 bytes each.
const TOKENS_MAX: usize = 20_000;

/// A hash of 256 bits, which nobody finds another token for.
type Hash = [u8; 32];

struct Entry {
    issuer: usize,
    edition: u64,
    bearer: Arc<Bearer>,
}

/// The tokens.
#[derive(Default)]
pub struct Cache(DashMap<Hash, Entry>);

impl Cache {
    /// Returns whom the token stands for, if that was found out with the keys of that `edition`, and it is not over.
    pub fn find(&self, hash: &Hash, now_s: u64, edition: impl Fn(usize) -> u64) -> Option<Arc<Bearer>> {
        let entry = self.0.get(hash)?;
        let is_good = now_s < entry.bearer.until_s && entry.edition == edition(entry.issuer);
        is_good.then(|| entry.bearer.clone())
    }

    /// Remembers a token. A full cache forgets first what is over, then everything.
    pub fn put(&self, hash: Hash, issuer: usize, edition: u64, bearer: Arc<Bearer>, now_s: u64) {
        if self.0.len() >= TOKENS_MAX {
            self.0.retain(|_, entry| now_s < entry.bearer.until_s);
            // Whoever comes again is verified again; that costs some 50 µs.
            if self.0.len() >= TOKENS_MAX {
                self.0.clear();
            }
        }
        self.0.insert(hash, Entry { issuer, edition, bearer });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(until_s: u64) -> Arc<Bearer> {
        let (key, team, role) = ("oidc:a".into(), Some("care".into()), None);
        Arc::new(Bearer { key, team, role, user: None, until_s, own: Default::default() })
    }

    #[test]
    fn a_token_is_remembered_until_it_is_over_or_the_keys_change() {
        let cache = Cache::default();

        cache.put([1; 32], 0, 7, bearer(100), 10);

        assert!(cache.find(&[1; 32], 99, |_| 7).is_some());
        assert!(cache.find(&[1; 32], 100, |_| 7).is_none());
        assert!(cache.find(&[1; 32], 99, |_| 8).is_none());
        assert!(cache.find(&[2; 32], 99, |_| 7).is_none());
    }

    #[test]
    fn no_number_of_tokens_grows_it_beyond_its_bound() {
        let cache = Cache::default();
        let put = |n: usize, until_s: u64| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_le_bytes());
            cache.put(hash, 0, 0, bearer(until_s), 10);
        };

        (0..TOKENS_MAX + 5).for_each(|n| put(n, if n % 2 == 0 { 5 } else { 100 }));
        assert!(cache.0.len() > TOKENS_MAX / 3, "those that are not over stay");
        (0..3 * TOKENS_MAX).for_each(|n| put(n, 100));

        assert!(cache.0.len() <= TOKENS_MAX);
    }
}
