//! Notes and keys: what is believed, and what is not.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::audit::journal::RealDisk;
use crate::audit::merkle::{Frontier, leaf_hash};

const LOG: &str = "00112233445566778899aabbccddeeff";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn note(size: u64, previous: Option<&Note>) -> Note {
    let checkpoint = Checkpoint {
        log: LOG.to_owned(),
        size,
        root: root(size),
        at_us: 1_795_000_000_000_000 + size,
        previous: previous.map(Note::hash),
        config: Some("c0ffee".to_owned()),
    };
    checkpoint.sign(&key(1))
}

fn root(size: u64) -> Hash {
    let mut tree = Frontier::default();
    (0..size).for_each(|number| tree.append(leaf_hash(&number.to_le_bytes())));
    tree.root()
}

#[test]
fn a_note_is_read_as_it_was_written_and_believed_under_its_key_only() {
    let note = note(7, None);

    let read = Note::parse(note.text()).unwrap();

    assert_eq!(read, note);
    assert_eq!(read.verify(&key(1).verifying()), Ok(()));
    assert!(matches!(read.verify(&key(2).verifying()), Err(NoteError::OtherKey { .. })));
}

#[test]
fn every_flipped_bit_of_a_note_is_noticed() {
    let note = note(7, None);
    let key = key(1).verifying();

    for bit in 0..note.text().len() * 8 {
        let mut bytes = note.text().as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let believed = std::str::from_utf8(&bytes).ok().and_then(|text| Note::parse(text).ok());

        assert!(believed.is_none_or(|note| note.verify(&key).is_err()), "bit {bit} may be flipped");
    }
}

#[test]
fn a_signature_of_a_witness_is_passed_over() {
    let witnessed = format!("{}— witness.example/w1 AAAA\n", note(7, None).text());

    assert_eq!(Note::parse(&witnessed).unwrap().verify(&key(1).verifying()), Ok(()));
}

#[test]
fn signatures_are_those_of_rfc_8032() {
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let signature = concat!(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    );

    let key = SigningKey::parse(seed).unwrap();

    let signed: String = key.sign(b"").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(signed, signature);
    assert_eq!(VerifyingKey::parse(public), Some(key.verifying()));
}

#[test]
fn a_public_key_is_read_in_every_spelling() {
    let key = key(3).verifying();
    let shared = key.text(&origin(LOG));
    let base64 = shared.rsplit('+').next().unwrap();

    assert_eq!(VerifyingKey::parse(&shared), Some(key));
    assert_eq!(VerifyingKey::parse(&shared.replace("bursar", "burser")), None, "the id covers the name");
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    assert!(VerifyingKey::parse(pem).is_some());
    assert_eq!(VerifyingKey::parse(base64), None, "33 bytes are no key");
    assert_eq!(VerifyingKey::parse("nonsense"), None);
}

#[test]
fn a_missing_key_file_is_made_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys/audit.ed25519");

    let (made, origin) = SigningKey::open(&path).unwrap();
    let (found, again) = SigningKey::open(&path).unwrap();

    assert_eq!((origin, again), (KeyOrigin::Created, KeyOrigin::Found));
    assert_eq!(made.verifying(), found.verifying());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(format!("{made:?}"), "SigningKey(…)");
}

#[test]
fn a_key_file_that_others_may_read_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.ed25519");
    SigningKey::open(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();

    let error = SigningKey::open(&path).unwrap_err().to_string();

    assert!(error.contains("640") && error.contains("chmod 600"), "{error}");
}

#[test]
fn a_key_file_without_a_key_is_refused_without_showing_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.ed25519");
    std::fs::write(&path, "hunter2").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();

    let error = SigningKey::open(&path).unwrap_err().to_string();

    assert!(error.contains("openssl genpkey") && !error.contains("hunter2"), "{error}");
}

#[test]
fn appended_checkpoints_come_back_and_a_torn_one_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoints");
    let key = key(1).verifying();
    let mut file = CheckpointFile::open(&RealDisk, &path, &key).unwrap();
    let first = note(3, None);
    let second = note(5, Some(&first));
    file.append(first.clone()).unwrap();
    let whole = std::fs::read(&path).unwrap();
    file.append(second.clone()).unwrap();
    let both = std::fs::read(&path).unwrap();

    for length in whole.len()..both.len() {
        std::fs::write(&path, &both[..length]).unwrap();
        let mut file = CheckpointFile::open(&RealDisk, &path, &key).unwrap();

        assert_eq!(file.last(), Some(&first), "cut at {length}");
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        file.append(second.clone()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), both);
    }
}

#[test]
fn a_checkpoint_that_was_removed_inserted_or_changed_breaks_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoints");
    let first = note(3, None);
    let second = note(5, Some(&first));
    let third = note(5, Some(&second));
    let open = |notes: &[&Note]| {
        let text: String = notes.iter().map(|note| format!("{}\n", note.text())).collect();
        std::fs::write(&path, text).unwrap();
        CheckpointFile::open(&RealDisk, &path, &key(1).verifying())
    };

    assert!(open(&[&first, &second, &third]).is_ok());
    for flawed in [vec![&first, &third], vec![&second, &third], vec![&first, &second, &second], vec![&second, &first]] {
        assert!(matches!(open(&flawed), Err(CheckpointError::Tampered(Tampered::Chain { .. }))));
    }
    assert!(matches!(
        CheckpointFile::open(&RealDisk, &path, &key(2).verifying()),
        Err(CheckpointError::Tampered(_) | CheckpointError::Note { .. })
    ));
}

#[test]
fn a_log_behind_or_beside_its_checkpoints_is_named() {
    let first = note(3, None);
    let notes = [first.clone(), note(5, Some(&first))];

    assert_eq!(check_against(&notes, 6, |size| Some(root(size))), Ok(()));
    assert_eq!(check_against(&notes, 4, |size| Some(root(size))), Err(Tampered::Behind { checkpoint: 5, size: 4 }));
    let forked = check_against(&notes, 6, |size| Some(root(size.min(4))));
    assert!(matches!(forked, Err(Tampered::Forked { size: 5, .. })));
    assert_eq!(check_against(&notes, 6, |_| None), Err(Tampered::Unknown { size: 3 }));
}
