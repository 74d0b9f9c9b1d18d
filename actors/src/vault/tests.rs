//! What the vault promises: content comes back or is gone for good, and nothing but the keyring decides which.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Barrier;

use proptest::prelude::*;
use tempfile::TempDir;

use super::slot::SLOT_LEN;
use super::stopping::{StoppingDisk, stop_everywhere};
use super::*;
use crate::audit::journal::RealDisk;

const MAY: Month = Month(202_605);
const JUNE: Month = Month(202_606);
const AAD: &[u8] = b"log|request|body";
const TEXT: &[u8] = b"the patient's marker phrase is heliotrope-7731, said twice: heliotrope-7731, heliotrope-7731";

fn master(digit: char) -> MasterKey {
    let other = if digit == 'f' { 'e' } else { 'f' };
    MasterKey::parse(&format!("{}{other}", digit.to_string().repeat(63))).expect("a key")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn open(folder: &TempDir) -> Vault {
    Vault::open(folder.path(), &master('1'), Arc::new(RealDisk)).expect("the vault opens").0
}

fn of(user: &str, month: Month) -> Subject<'_> {
    Subject { team: "care", user: Some(user), month }
}

fn single() -> Subject<'static> {
    Subject { team: "care", user: None, month: MAY }
}

fn seal(vault: &Vault, subject: &Subject<'_>) -> Sealed {
    vault.seal(subject, AAD, &[TEXT]).expect("sealed")
}

fn keyring(folder: &TempDir) -> PathBuf {
    keyring_path(folder.path())
}

/// The key and the wrapped key in a slot of the keyring.
fn key_material(vault: &Vault, folder: &TempDir, slot: u32) -> (Vec<u8>, Vec<u8>) {
    let file = fs::read(keyring(folder)).expect("the keyring");
    let bytes = &file[slot as usize * SLOT_LEN..][..SLOT_LEN];
    let name = std::array::from_fn(|i| bytes[28 + i]);
    let key = vault.ring().key_named(slot, &name).expect("the key");
    (key.expose().to_vec(), bytes[60..92].to_vec())
}

/// Whether any file in the folder holds `needle`.
fn lies_in(folder: &TempDir, needle: &[u8]) -> bool {
    fs::read_dir(folder.path()).expect("the folder").any(|entry| {
        let bytes = fs::read(entry.expect("an entry").path()).expect("a file");
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

fn is_erased(vault: &Vault, sealed: &Sealed) -> bool {
    matches!(vault.unseal(AAD, &sealed.bytes), Err(VaultError::Erased))
}

fn is_whole(vault: &Vault, sealed: &Sealed) -> bool {
    vault.unseal(AAD, &sealed.bytes).is_ok_and(|text| text == TEXT)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn content_comes_back_as_it_was(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..4),
        repeats in 1..40_usize,
        user in prop::option::of("[a-z]{0,8}"),
        aad in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let folder = folder();
        let vault = open(&folder);
        let parts: Vec<Vec<u8>> = parts.into_iter().map(|part| part.repeat(repeats)).collect();
        let pieces: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let subject = Subject { team: "care", user: user.as_deref(), month: MAY };

        let sealed = vault.seal(&subject, &aad, &pieces).expect("sealed");

        prop_assert_eq!(vault.unseal(&aad, &sealed.bytes).expect("opened"), pieces.concat());
        prop_assert_eq!(sealed.hash, <[u8; 32]>::from(Sha256::digest(&sealed.bytes)));
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let folder = folder();
    let vault = open(&folder);
    // So that a flipped slot number hits one that was erased, too.
    seal(&vault, &of("other", MAY));
    vault.erase("care", "other").expect("erased");
    for subject in [of("ann", MAY), single()] {
        let sealed = seal(&vault, &subject);

        for bit in 0..sealed.bytes.len() * 8 {
            let mut bytes = sealed.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(vault.unseal(AAD, &bytes), Err(VaultError::Damaged)), "bit {bit} of {subject:?}");
        }
        for length in 0..sealed.bytes.len() {
            let cut = vault.unseal(AAD, &sealed.bytes[..length]);
            assert!(matches!(cut, Err(VaultError::Damaged)), "{length} bytes of {subject:?}: {cut:?}");
        }
        assert!(matches!(vault.unseal(b"log|another|body", &sealed.bytes), Err(VaultError::Damaged)));
    }
}

#[test]
fn the_same_content_never_looks_the_same() {
    let folder = folder();
    let vault = open(&folder);

    let sealed: BTreeSet<Vec<u8>> = (0..100).map(|_| seal(&vault, &of("ann", MAY)).bytes).collect();

    assert_eq!(sealed.len(), 100);
    assert!(!lies_in(&folder, b"heliotrope"));
}

#[test]
fn what_is_too_large_for_a_frame_is_refused() {
    let folder = folder();
    let half = vec![0; CONTENT_MAX / 2 + 1];

    let refused = open(&folder).seal(&single(), AAD, &[&half, &half]);

    assert!(matches!(refused, Err(VaultError::TooLarge { .. })), "{refused:?}");
}

#[test]
fn an_erased_subject_is_gone_in_every_month_and_nobody_else_is() {
    let folder = folder();
    let vault = open(&folder);
    let gone = [seal(&vault, &of("ann", MAY)), seal(&vault, &of("ann", JUNE))];
    let kept = [seal(&vault, &of("bob", MAY)), seal(&vault, &single())];
    let (key, wrapped) = key_material(&vault, &folder, 1);
    assert!(lies_in(&folder, &wrapped));

    assert_eq!(vault.erase("care", "ann").expect("erased"), 2);

    assert!(!lies_in(&folder, &wrapped) && !lies_in(&folder, &key) && !lies_in(&folder, b"heliotrope"));
    assert!(!vault.is_dirty());
    let later = seal(&vault, &of("ann", JUNE));
    for vault in [vault, open(&folder)] {
        assert!(gone.iter().all(|sealed| is_erased(&vault, sealed)));
        assert!(kept.iter().all(|sealed| is_whole(&vault, sealed)));
        assert!(is_whole(&vault, &later), "content that comes after the erasure has a key of its own");
    }
    assert_eq!(open(&folder).erase("care", "ann").expect("again"), 1);
    assert_eq!(open(&folder).erase("care", "ann").expect("and again"), 0);
}

#[test]
fn an_erasure_that_is_stopped_can_be_finished() {
    stop_everywhere(|disk, changes| {
        let folder = folder();
        let (vault, _) = Vault::open(folder.path(), &master('1'), Arc::new(disk.clone())).expect("opened");
        let sealed = [seal(&vault, &of("ann", MAY)), seal(&vault, &of("ann", JUNE))];
        let other = seal(&vault, &of("bob", MAY));
        vault.sync().expect("synced");

        disk.allow(changes);
        let is_done = vault.erase("care", "ann").is_ok();
        drop(vault);

        let vault = open(&folder);
        assert!(!is_done || sealed.iter().all(|sealed| is_erased(&vault, sealed)));
        vault.erase("care", "ann").expect("finished");
        assert!(!sealed.iter().any(|sealed| is_whole(&vault, sealed)));
        assert!(is_whole(&vault, &other));
        is_done
    });
}

#[test]
fn keys_of_months_that_are_over_expire_unless_they_are_held() {
    let folder = folder();
    let vault = open(&folder);
    let (old, held, new) =
        (seal(&vault, &of("ann", MAY)), seal(&vault, &of("bob", MAY)), seal(&vault, &of("ann", JUNE)));
    vault.hold("care", "bob", "case 12", 0).expect("held");

    assert_eq!(vault.expire(JUNE).expect("expired"), 1);

    assert!(is_erased(&vault, &old) && is_whole(&vault, &held) && is_whole(&vault, &new));
}

#[test]
fn a_legal_hold_wins_until_it_is_released() {
    let folder = folder();
    let sealed = seal(&open(&folder), &of("ann", MAY));
    assert_eq!(open(&folder).hold("care", "ann", "case 12", 5).expect("held"), None);

    let vault = open(&folder);
    let refused = vault.erase("care", "ann").expect_err("held").to_string();

    let pseudonym = vault.pseudonym("care", "ann");
    assert!(refused.contains("case 12") && refused.contains(&pseudonym) && !refused.contains("ann"), "{refused}");
    let hold = Hold { team: "care".to_owned(), user: pseudonym, reason: "case 12".to_owned(), since_us: 5 };
    assert_eq!(vault.holds(), std::slice::from_ref(&hold));
    assert!(!lies_in(&folder, b"case 12"), "reasons may name persons");
    assert!(is_whole(&vault, &sealed));

    assert_eq!(vault.release("care", "ann").expect("released"), Some(hold));
    assert_eq!(open(&folder).erase("care", "ann").expect("erased"), 1);
}

#[test]
fn a_hold_is_there_or_not_wherever_it_is_stopped() {
    stop_everywhere(|disk, changes| {
        let folder = folder();
        let (vault, _) = Vault::open(folder.path(), &master('1'), Arc::new(disk.clone())).expect("opened");
        vault.hold("care", "bob", "case 11", 0).expect("held");

        disk.allow(changes);
        let is_done = vault.hold("care", "ann", "case 12", 0).is_ok();
        let known = vault.holds().len();

        let found = open(&folder).holds().len();
        assert!(known == 1 + usize::from(is_done) && found >= known, "{known} known, {found} found");
        is_done
    });
}

#[test]
fn holds_that_cannot_be_read_stop_the_vault() {
    let folder = folder();
    open(&folder).hold("care", "ann", "case 12", 0).expect("held");
    fs::write(folder.path().join("holds"), b"nonsense").expect("written");

    let refused = Vault::open(folder.path(), &master('1'), Arc::new(RealDisk)).expect_err("refused").to_string();

    assert!(refused.contains("legal holds") && refused.contains("backup"), "{refused}");
}

#[test]
fn a_torn_last_slot_costs_that_key_alone_and_its_number_misleads_nobody() {
    for cut in 1..SLOT_LEN as u64 {
        let folder = folder();
        let vault = open(&folder);
        let (kept, lost) = (seal(&vault, &of("ann", MAY)), seal(&vault, &of("bob", MAY)));
        drop(vault);
        let file = fs::OpenOptions::new().write(true).open(keyring(&folder)).expect("the keyring");
        file.set_len(3 * SLOT_LEN as u64 - cut).expect("cut");

        let (vault, found) = Vault::open(folder.path(), &master('1'), Arc::new(RealDisk)).expect("opened");

        assert_eq!((found.slots, found.torn_bytes), (1, SLOT_LEN as u64 - cut));
        assert!(is_whole(&vault, &kept));
        assert!(matches!(vault.unseal(AAD, &lost.bytes), Err(VaultError::NoKey { slot: 2, slots: 1 })));
        let next = seal(&vault, &of("eve", MAY));
        assert!(is_whole(&vault, &next));
        assert!(matches!(vault.unseal(AAD, &lost.bytes), Err(VaultError::NoKey { slot: 2, .. })));
        vault.erase("care", "eve").expect("erased");
        assert_eq!(open(&folder).unseal(AAD, &kept.bytes).expect("opened"), TEXT);
    }
}

#[test]
fn a_damaged_slot_costs_its_key_and_is_reported() {
    let folder = folder();
    let vault = open(&folder);
    let (lost, kept) = (seal(&vault, &of("ann", MAY)), seal(&vault, &of("bob", MAY)));
    let gone = seal(&vault, &of("eve", MAY));
    vault.erase("care", "eve").expect("erased");
    let mut bytes = fs::read(keyring(&folder)).expect("the keyring");
    bytes[SLOT_LEN + 70] ^= 4;
    fs::write(keyring(&folder), bytes).expect("written");

    let (vault, found) = Vault::open(folder.path(), &master('1'), Arc::new(RealDisk)).expect("opened");

    assert_eq!(found, Recovery { slots: 3, erased: 1, damaged: 1, ..Recovery::default() });
    assert!(matches!(vault.unseal(AAD, &lost.bytes), Err(VaultError::Damaged)));
    assert!(is_whole(&vault, &kept) && is_erased(&vault, &gone));
    assert!(is_whole(&vault, &seal(&vault, &of("ann", MAY))), "the subject gets a new key");
}

#[test]
fn a_process_that_dies_anywhere_leaves_a_keyring_that_opens() {
    stop_everywhere(|disk, changes| {
        let folder = folder();
        disk.allow(changes);
        let mut sealed = Vec::new();
        let mut run = || -> Result<(), VaultError> {
            let (vault, _) = Vault::open(folder.path(), &master('1'), Arc::new(disk.clone()))?;
            for user in ["ann", "bob", "ann"] {
                let bytes = vault.seal(&of(user, MAY), AAD, &[TEXT])?;
                vault.sync().map_err(VaultError::io("sync", folder.path()))?;
                sealed.push(bytes);
            }
            Ok(())
        };
        let is_done = run().is_ok();

        let vault = open(&folder);
        assert!(sealed.iter().all(|sealed| is_whole(&vault, sealed)));
        // A key that was written and never used is found and used.
        seal(&vault, &of("ann", MAY));
        seal(&vault, &of("bob", MAY));
        let slots = fs::metadata(keyring(&folder)).expect("the keyring").len() / SLOT_LEN as u64;
        assert_eq!(slots, 3);
        is_done
    });
}

#[test]
fn keys_that_a_killed_process_left_unsynced_are_made_durable_before_they_are_used() {
    let folder = folder();
    seal(&open(&folder), &of("ann", MAY));
    let disk = StoppingDisk::running();

    for changes in 0..2 {
        disk.allow(changes);
        let opened = Vault::open(folder.path(), &master('1'), Arc::new(disk.clone()));
        assert!(matches!(opened, Err(VaultError::Io { .. })), "opened after {changes} of two syncs");
    }
    disk.allow(2);
    Vault::open(folder.path(), &master('1'), Arc::new(disk)).expect("the keyring and its folder are synced");
}

#[test]
fn a_sync_that_failed_fails_for_good() {
    let folder = folder();
    let disk = StoppingDisk::running();
    let (vault, _) = Vault::open(folder.path(), &master('1'), Arc::new(disk.clone())).expect("opened");
    seal(&vault, &of("ann", MAY));

    disk.allow(0);
    vault.sync().expect_err("the disk stopped");
    disk.allow(100);
    let again = vault.sync().expect_err("what was written then may be lost").to_string();

    assert!(vault.is_dirty() && again.contains("start again"), "{again}");
}

#[test]
fn a_wrong_master_key_is_told_at_once() {
    let folder = folder();
    open(&folder);

    let refused = Vault::open(folder.path(), &master('2'), Arc::new(RealDisk)).expect_err("refused").to_string();

    assert!(refused.contains("another master key") && refused.contains("restore the keyring"), "{refused}");
}

#[test]
fn a_keyring_that_is_none_is_refused_in_words() {
    for (bytes, words) in [
        (vec![], "ends too early"),
        (vec![7; 100], "ends too early"),
        (vec![7; SLOT_LEN], "damaged in its first slot"),
        (vec![0; SLOT_LEN], "damaged in its first slot"),
    ] {
        let folder = folder();
        fs::write(keyring(&folder), bytes).expect("written");

        let refused = Vault::open(folder.path(), &master('1'), Arc::new(RealDisk)).expect_err("refused").to_string();

        assert!(refused.contains(words) && refused.contains("backup"), "{refused}");
    }
}

#[test]
fn no_new_keyring_is_made_where_there_is_content() {
    let folder = folder();
    let bodies = folder.path().join("bodies");
    fs::create_dir(&bodies).expect("a folder");
    fs::write(bodies.join("0.bodies"), [0; 4096]).expect("room, but no body");
    open(&folder);
    fs::remove_file(keyring(&folder)).expect("lost");
    fs::write(bodies.join("1.bodies"), [1; 4096]).expect("a body");

    let refused = Vault::open(folder.path(), &master('1'), Arc::new(RealDisk)).expect_err("refused");

    assert!(matches!(refused, VaultError::Lost { .. }), "{refused}");
    assert!(!keyring(&folder).exists());
}

#[test]
fn a_rotation_keeps_content_names_and_erasures_wherever_it_is_stopped() {
    stop_everywhere(|disk, changes| {
        let folder = folder();
        let vault = open(&folder);
        let (mine, own) = (seal(&vault, &of("ann", MAY)), seal(&vault, &single()));
        let gone = seal(&vault, &of("bob", MAY));
        vault.erase("care", "bob").expect("erased");
        vault.hold("care", "ann", "case 12", 0).expect("held");
        let hash = |vault: &Vault| vault.content_hash(&single(), TEXT).expect("a hash");
        let named = (vault.pseudonym("care", "ann"), hash(&vault));
        drop(vault);

        disk.allow(changes);
        let rewrapped = Vault::rewrap(folder.path(), &master('1'), &master('2'), disk);

        let old = Vault::open(folder.path(), &master('1'), Arc::new(RealDisk));
        let new = Vault::open(folder.path(), &master('2'), Arc::new(RealDisk));
        assert_eq!(old.is_ok(), new.is_err(), "one of both opens, never both");
        assert!(rewrapped.as_ref().is_ok_and(|keys| *keys == 1) && new.is_ok() || rewrapped.is_err());
        let (vault, _) = new.or(old).expect("one of both opens");
        assert!(is_whole(&vault, &mine) && is_whole(&vault, &own) && is_erased(&vault, &gone));
        assert_eq!((vault.pseudonym("care", "ann"), hash(&vault)), named);
        assert_eq!(vault.holds().len(), 1);
        assert!(!folder.path().join("keyring.unfinished").exists());
        rewrapped.is_ok()
    });
}

#[test]
fn a_rotation_leaves_no_key_under_the_old_master_key() {
    let folder = folder();
    seal(&open(&folder), &of("ann", MAY));
    // Another name for the same bytes shows what becomes of them.
    let old = folder.path().join("old");
    fs::hard_link(keyring(&folder), &old).expect("linked");

    Vault::rewrap(folder.path(), &master('1'), &master('2'), &RealDisk).expect("rotated");

    assert!(fs::read(&old).expect("the old file").iter().all(|byte| *byte == 0));
}

#[test]
fn threads_that_want_the_same_new_key_get_one() {
    const THREADS: usize = 8;
    let folder = folder();
    let vault = open(&folder);
    let start = Barrier::new(THREADS);

    let sealed: Vec<Sealed> = std::thread::scope(|scope| {
        let run = |thread: usize| {
            let (vault, start) = (&vault, &start);
            scope.spawn(move || {
                start.wait();
                let users = ["ann", "bob", "eve"];
                let sealed = (0..30).map(|i| seal(vault, &of(users[(i + thread) % 3], MAY)));
                let sealed: Vec<Sealed> = sealed.collect();
                vault.sync().expect("synced");
                sealed
            })
        };
        let threads: Vec<_> = (0..THREADS).map(run).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });

    let (again, found) = Vault::open(folder.path(), &master('1'), Arc::new(RealDisk)).expect("opened");
    assert_eq!((found.slots, found.damaged), (3, 0));
    assert!(!vault.is_dirty() && sealed.iter().all(|sealed| is_whole(&again, sealed)));
}

#[test]
fn pseudonyms_and_fingerprints_are_keyed_and_stable() {
    let (mine, theirs) = (folder(), folder());
    let (vault, other) = (open(&mine), open(&theirs));

    let name = vault.pseudonym("care", "ann");

    assert!(name.len() == 22 && name.starts_with("u_") && name[2..].bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
    assert_eq!(open(&mine).pseudonym("care", "ann"), name);
    assert_ne!(other.pseudonym("care", "ann"), name);
    assert_ne!(vault.pseudonym("carea", "nn"), name);
    for user in [None, Some("ann")] {
        let hash = |vault: &Vault, user| {
            vault.content_hash(&Subject { team: "care", user, month: MAY }, TEXT).expect("a hash")
        };
        let mut hasher = vault.content_hasher(&Subject { team: "care", user, month: MAY }).expect("a hasher");
        TEXT.chunks(7).for_each(|piece| hasher.update(piece));
        assert_eq!(hasher.finish(), hash(&vault, user));
        assert_eq!(hash(&open(&mine), user), hash(&vault, user));
        assert_ne!(hash(&other, user), hash(&vault, user));
        assert_ne!(hash(&vault, Some("bob")), hash(&vault, user));
    }
}

#[test]
fn nothing_shows_a_key_or_content() {
    let folder = folder();
    let master = master('1');
    let vault = open(&folder);
    let sealed = seal(&vault, &of("ann", MAY));
    let (key, _) = key_material(&vault, &folder, 1);
    let data_key = vault.ring().key_for(vault.names.tag("care", "ann"), MAY.0, Making::default(), 1).expect("the key");

    let hasher = vault.content_hasher(&of("ann", MAY));
    let mut shown = format!("{master:?} {vault:?} {data_key:?} {hasher:?} {:?}", of("ann", MAY));
    for error in [
        vault.unseal(b"wrong", &sealed.bytes).expect_err("damaged"),
        MasterKey::parse("canary-1111111111111111").expect_err("no key"),
        VaultError::Erased,
        VaultError::NoRandomness,
        VaultError::WrongKey { path: keyring(&folder) },
    ] {
        shown.push_str(&format!(" {error} {error:?}"));
    }

    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{key:?}");
    for secret in ["1111", "heliotrope", &hex[..8], &list[1..12]] {
        assert!(!shown.contains(secret), "`{secret}` shows in {shown}");
    }
}

#[test]
fn a_month_is_the_calendars() {
    for (at_us, month) in [
        (0, 197_001),
        (951_782_400_000_000, 200_002),
        (951_868_799_999_999, 200_002),
        (951_868_800_000_000, 200_003),
        (1_798_761_599_999_999, 202_612),
        (1_798_761_600_000_000, 202_701),
        (4_107_542_399_000_000, 210_002),
        (4_107_542_400_000_000, 210_003),
    ] {
        assert_eq!(Month::of_micros(at_us), Month(month), "{at_us}");
    }
}

#[test]
fn users_that_a_client_invents_get_no_keys_beyond_the_bound_not_even_after_a_new_start() {
    let folder = folder();
    let open = || open(&folder).with_users_max(2);
    let is_refused = |vault: &Vault, subject: &Subject<'_>| {
        matches!(vault.seal(subject, AAD, &[TEXT]), Err(VaultError::TooMany { most: 2 }))
    };
    let vault = open();
    seal(&vault, &of("ann", MAY));
    seal(&vault, &of("bob", MAY));

    assert!(is_refused(&vault, &of("cid", MAY)));
    drop(vault);
    let vault = open();

    assert!(is_refused(&vault, &of("cid", MAY)));
    seal(&vault, &of("ann", MAY));
    seal(&vault, &single());
    seal(&vault, &Subject { team: "other", ..of("cid", MAY) });
    seal(&vault, &of("cid", JUNE));
    for user in ["ann", "bob"] {
        vault.content_hash(&of(user, MAY), TEXT).expect("keys of fingerprints count for themselves");
    }
    assert!(matches!(vault.content_hash(&of("cid", MAY), TEXT), Err(VaultError::TooMany { .. })));
}
