//! What is kept for clients, in the real actor: turns under idempotency keys, Responses, restarts, erasures.

// A step that fails fails the test.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{Addr, System};
use bursar_actors::audit::journal::RealDisk;
use bursar_actors::stored::{
    ANSWERS_KEPT_US, Begin, Begun, Close, Digest, Lack, Put, Remove, Stored, StoredOptions, TURNS_MAX, Walk, Walked,
};
use bursar_actors::vault::{MasterKey, Month, Subject, Vault};

const KEY: Digest = [1; 32];
const REQUEST: Digest = [7; 32];
const START_US: u64 = 1_795_000_000_000_000;

/// A data directory, and a clock that is turned by hand.
struct Place {
    folder: tempfile::TempDir,
    now_us: Arc<AtomicU64>,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), now_us: Arc::new(AtomicU64::new(START_US)) }
    }

    fn vault(&self) -> Arc<Vault> {
        open_vault(self.folder.path())
    }

    /// Runs one life of a process over the store.
    fn live<T>(&self, vault: &Arc<Vault>, life: impl AsyncFnOnce(Addr<Stored>) -> T) -> T {
        let now_us = self.now_us.clone();
        let options = StoredOptions {
            path: self.folder.path().join("stored"),
            vault: vault.clone(),
            wall: Arc::new(move || now_us.load(Ordering::Relaxed)),
            responses_bytes: 10_000,
            responses_kept: Duration::from_secs(30 * 86_400),
        };
        System::new().block_on(async {
            let stored = Stored::start_with(options);
            let lived = life(stored.clone()).await;
            stored.send(Close).await.unwrap();
            lived
        })
    }
}

fn open_vault(folder: &Path) -> Arc<Vault> {
    let master = MasterKey::parse(&"5a17".repeat(16)).unwrap();
    Arc::new(Vault::open(folder, &master, Arc::new(RealDisk)).unwrap().0)
}

fn seal(vault: &Vault, content: &[u8]) -> Vec<u8> {
    let subject = Subject { team: "clinic", user: Some("ann"), month: Month::of_micros(START_US).stored() };
    vault.seal(&subject, b"", &[content]).unwrap().bytes
}

async fn begin(stored: &Addr<Stored>, fingerprint: Digest) -> Begun {
    stored.send(Begin { key: KEY, fingerprint }).await.unwrap().unwrap()
}

async fn put(stored: &Addr<Stored>, vault: &Vault, key: u8, before: Option<u8>, content: &[u8]) {
    let put = Put { key: [key; 32], before: before.map(|key| [key; 32]), sealed: seal(vault, content) };
    stored.send(put).await.unwrap().unwrap();
}

async fn walk(stored: &Addr<Stored>, key: u8, turns: usize) -> Walked {
    stored.send(Walk { key: [key; 32], turns, bytes: 1 << 20 }).await.unwrap().unwrap()
}

#[test]
fn one_request_is_served_under_a_key_and_answered_again_for_a_day() {
    let place = Place::new();
    let vault = place.vault();
    place.live(&vault, async |stored| {
        let Begun::First(turn) = begin(&stored, REQUEST).await else { panic!("it is the first") };
        assert!(matches!(begin(&stored, REQUEST).await, Begun::InFlight));
        assert!(matches!(begin(&stored, [8; 32]).await, Begun::OtherRequest));

        turn.answered(seal(&vault, b"the answer"));
        let Begun::Answered { sealed, .. } = begin(&stored, REQUEST).await else { panic!("it was answered") };
        assert_eq!(vault.unseal(b"", &sealed).unwrap(), b"the answer");
        assert!(matches!(begin(&stored, [8; 32]).await, Begun::OtherRequest));

        place.now_us.fetch_add(ANSWERS_KEPT_US, Ordering::Relaxed);
        assert!(matches!(begin(&stored, [8; 32]).await, Begun::First(_)));
    });
}

#[test]
fn a_failed_turn_leaves_the_key_free_and_a_long_answer_does_not() {
    let place = Place::new();
    place.live(&place.vault(), async |stored| {
        let Begun::First(turn) = begin(&stored, REQUEST).await else { panic!("it is the first") };
        drop(turn);
        let Begun::First(turn) = begin(&stored, REQUEST).await else { panic!("the key is free again") };
        turn.unkept();

        assert!(matches!(begin(&stored, REQUEST).await, Begun::Unkept));
    });
}

#[test]
fn what_was_answered_outlives_the_process_and_what_was_cut_off_says_so() {
    let place = Place::new();
    let vault = place.vault();
    place.live(&vault, async |stored| {
        let Begun::First(turn) = begin(&stored, REQUEST).await else { panic!("it is the first") };
        turn.answered(seal(&vault, b"the answer"));
        // In the mailbox behind the end of the turn, and answered when both are on the disk.
        let Ok(Ok(Begun::First(other))) = stored.send(Begin { key: [2; 32], fingerprint: REQUEST }).await else {
            panic!("it is the first")
        };
        // The process ends in its midst.
        std::mem::forget(other);
    });

    place.live(&vault, async |stored| {
        assert!(matches!(begin(&stored, REQUEST).await, Begun::Answered { .. }));
        let cut = stored.send(Begin { key: [2; 32], fingerprint: REQUEST }).await.unwrap().unwrap();
        assert!(matches!(cut, Begun::CutOff));
    });
}

#[test]
fn an_answer_of_an_erased_user_is_nobodys() {
    let place = Place::new();
    let vault = place.vault();
    place.live(&vault, async |stored| {
        let Begun::First(turn) = begin(&stored, REQUEST).await else { panic!("it is the first") };
        turn.answered(seal(&vault, b"the answer"));
        assert!(matches!(begin(&stored, REQUEST).await, Begun::Answered { .. }));

        vault.erase("clinic", "ann").unwrap();

        assert!(matches!(begin(&stored, [9; 32]).await, Begun::First(_)));
    });
}

#[test]
fn a_conversation_is_read_backwards_until_its_beginning_or_what_is_gone() {
    let place = Place::new();
    let vault = place.vault();
    place.live(&vault, async |stored| {
        put(&stored, &vault, 1, None, b"one").await;
        put(&stored, &vault, 2, Some(1), b"two").await;
        put(&stored, &vault, 3, Some(2), b"three").await;

        let walked = walk(&stored, 3, TURNS_MAX).await;
        let texts: Vec<_> = walked.found.iter().map(|(_, sealed)| vault.unseal(b"", sealed).unwrap()).collect();
        assert_eq!(texts, [b"three".as_slice(), b"two", b"one"]);
        assert_eq!(walked.lacks, None);
        assert_eq!(walk(&stored, 3, 1).await.lacks, Some(Lack::TooLong));

        assert!(stored.send(Remove { key: [1; 32] }).await.unwrap().unwrap());
        assert!(!stored.send(Remove { key: [1; 32] }).await.unwrap().unwrap());
        assert_eq!(walk(&stored, 3, TURNS_MAX).await.lacks, Some(Lack::Gone));
        assert!(walk(&stored, 1, 1).await.found.is_empty());
    });
}

#[test]
fn what_is_removed_under_a_legal_hold_stays_unseen() {
    let place = Place::new();
    let vault = place.vault();
    vault.hold("clinic", "ann", "case 7", START_US).unwrap();
    place.live(&vault, async |stored| {
        put(&stored, &vault, 1, None, b"evidence").await;

        assert!(stored.send(Remove { key: [1; 32] }).await.unwrap().unwrap());

        assert!(walk(&stored, 1, 1).await.found.is_empty());
    });
    let store = bursar_actors::store::KeptStore::open(&place.folder.path().join("stored")).unwrap();
    assert!(store.get(bursar_actors::store::Shelf::Responses, &[1; 32]).unwrap().is_some());
}

#[test]
fn the_oldest_make_room_and_all_go_when_their_time_is_over() {
    let place = Place::new();
    let vault = place.vault();
    let noise: Vec<u8> = (0..6_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).take(6_000).collect();
    place.live(&vault, async |stored| {
        put(&stored, &vault, 1, None, &noise).await;
        place.now_us.fetch_add(1, Ordering::Relaxed);
        put(&stored, &vault, 2, None, &noise).await;

        assert!(walk(&stored, 1, 1).await.found.is_empty());
        assert_eq!(walk(&stored, 2, 1).await.found.len(), 1);

        place.now_us.fetch_add(30 * 86_400_000_000, Ordering::Relaxed);
        assert!(walk(&stored, 2, 1).await.found.is_empty());
    });
}

#[test]
fn keys_of_what_is_stored_live_by_a_time_of_their_own() {
    let vault = Place::new().vault();
    let sealed = seal(&vault, b"kept");
    let later = Month::of_micros(START_US + 40 * 86_400_000_000);

    assert_eq!(vault.expire(later).unwrap(), 0);
    assert!(vault.unseal(b"", &sealed).is_ok());

    assert_eq!(vault.expire_stored(later).unwrap(), 1);
    assert!(vault.unseal(b"", &sealed).is_err());
}
