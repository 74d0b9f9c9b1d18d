//! What becomes of kept bodies: read, wiped, dropped, held.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::audit::journal::{LogId, RealDisk};
use crate::vault::stopping::stop_everywhere;
use crate::vault::{MasterKey, Month, Subject};

const MAY: Month = Month(202_605);
const LOG: LogId = LogId([7; 16]);

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn vault(folder: &Path) -> Vault {
    let master = MasterKey::parse(&"0123456789abcdef".repeat(4)).expect("a key");
    Vault::open(folder, &master, Arc::new(RealDisk)).expect("the vault opens").0
}

fn bodies(folder: &Path) -> Bodies {
    Bodies::new(folder, Arc::new(RealDisk))
}

fn sealed(vault: &Vault, user: Option<&str>) -> Vec<u8> {
    let text = format!("heliotrope of {user:?}").repeat(20);
    vault.seal(&Subject { team: "care", user, month: MAY }, b"aad", &[text.as_bytes()]).expect("sealed").bytes
}

/// Writes a file of bodies of the records from `first` on, every second of which has one, with room made ahead; returns
/// where they stand.
fn write(folder: &Path, first: u64, list: &[Vec<u8>]) -> Vec<(BodyPosition, u64)> {
    let mut bytes = frame::header(Kind::Bodies, LOG, first).to_vec();
    let mut places = Vec::new();
    for (n, body) in list.iter().enumerate() {
        let index = first + 2 * n as u64;
        places.push((BodyPosition { file: first, offset: bytes.len() as u64 }, index));
        frame::push_body(&mut bytes, index, body);
    }
    bytes.resize(bytes.len() + 4_096, 0);
    fs::create_dir_all(folder.join("bodies")).expect("a folder");
    fs::write(folder.join(format!("bodies/{first:020}.bodies")), bytes).expect("written");
    places
}

fn is_erased(bodies: &Bodies, place: &(BodyPosition, u64)) -> bool {
    matches!(bodies.read(place.0, place.1), Err(VaultError::Erased))
}

#[test]
fn a_body_is_found_where_its_record_says_and_nowhere_else() {
    let folder = folder();
    let vault = vault(folder.path());
    let list = [sealed(&vault, Some("ann")), sealed(&vault, None), b"short".to_vec()];
    let places = write(folder.path(), 10, &list);
    let bodies = bodies(folder.path());

    for (place, body) in places.iter().zip(&list) {
        assert_eq!(&bodies.read(place.0, place.1).expect("read"), body);
    }

    let (place, index) = places[1];
    assert!(matches!(bodies.read(place, index + 1), Err(VaultError::Damaged)), "another record's");
    for offset in [0, place.offset + 1, place.offset + 100_000, u64::MAX] {
        let read = bodies.read(BodyPosition { offset, ..place }, index);
        assert!(matches!(read, Err(VaultError::Damaged)), "{offset}: {read:?}");
    }
    assert!(matches!(bodies.read(BodyPosition { file: 9, ..place }, index), Err(VaultError::Dropped { .. })));
}

#[test]
fn every_flipped_bit_of_a_frame_is_noticed() {
    let folder = folder();
    let vault = vault(folder.path());
    let places = write(folder.path(), 0, &[sealed(&vault, None)]);
    let path = folder.path().join(format!("bodies/{:020}.bodies", 0));
    let whole = fs::read(&path).expect("the file");
    let (start, end) = (HEADER, whole.len() - 4_096);

    for bit in start * 8..end * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, bytes).expect("written");
        let read = bodies(folder.path()).read(places[0].0, places[0].1);
        assert!(matches!(read, Err(VaultError::Damaged)), "bit {bit}: {read:?}");
    }
}

#[test]
fn bodies_of_an_erased_subject_are_wiped_wherever_it_is_stopped() {
    stop_everywhere(|disk, changes| {
        let folder = folder();
        let vault = vault(folder.path());
        let list = [
            sealed(&vault, Some("ann")),
            sealed(&vault, Some("bob")),
            sealed(&vault, None),
            sealed(&vault, Some("ann")),
        ];
        let places = write(folder.path(), 0, &list);
        let later = write(folder.path(), 8, &list[..1]);
        vault.erase("care", "ann").expect("erased");

        disk.allow(changes);
        let stopped = Bodies::new(folder.path(), Arc::new(disk.clone())).wipe_erased(&vault, u64::MAX);

        assert!(stopped.as_ref().is_ok_and(|cleared| cleared.wiped == 3) || stopped.is_err(), "{stopped:?}");
        let bodies = bodies(folder.path());
        bodies.wipe_erased(&vault, u64::MAX).expect("finished");
        assert!(is_erased(&bodies, &places[0]) && is_erased(&bodies, &places[3]) && is_erased(&bodies, &later[0]));
        assert_eq!(bodies.read(places[1].0, places[1].1).expect("bob's"), list[1]);
        assert_eq!(bodies.read(places[2].0, places[2].1).expect("nobody's"), list[2]);
        for file in ["00000000000000000000", "00000000000000000008"] {
            let bytes = fs::read(folder.path().join(format!("bodies/{file}.bodies"))).expect("a file");
            let tail = &list[0][list[0].len() / 2..];
            assert!(!bytes.windows(tail.len()).any(|window| window == tail), "{file}");
        }
        stopped.is_ok()
    });
}

#[test]
fn what_the_writer_may_take_back_is_not_wiped_yet() {
    let folder = folder();
    let vault = vault(folder.path());
    let list = [sealed(&vault, Some("ann")), sealed(&vault, Some("ann"))];
    let places = write(folder.path(), 0, &list);
    vault.erase("care", "ann").expect("erased");
    let bodies = bodies(folder.path());

    assert_eq!(bodies.wipe_erased(&vault, 2).expect("wiped").wiped, 1);

    assert!(is_erased(&bodies, &places[0]));
    assert_eq!(bodies.read(places[1].0, places[1].1).expect("still there"), list[1]);
}

#[test]
fn a_body_without_a_subject_is_wiped_by_its_place() {
    let folder = folder();
    let vault = vault(folder.path());
    let list = [sealed(&vault, None), sealed(&vault, None)];
    let places = write(folder.path(), 0, &list);
    let bodies = bodies(folder.path());

    assert!(matches!(bodies.wipe(places[0].0, 1), Err(VaultError::Damaged)), "another record's");
    bodies.wipe(places[0].0, places[0].1).expect("wiped");

    assert!(is_erased(&bodies, &places[0]));
    assert_eq!(bodies.read(places[1].0, places[1].1).expect("the other"), list[1]);
}

#[test]
fn files_whose_time_is_over_go_and_a_hold_keeps_its_bodies_alone() {
    let folder = folder();
    let vault = vault(folder.path());
    let of = |user| sealed(&vault, user);
    let held = of(Some("bob"));
    let first = write(folder.path(), 0, &[of(Some("ann"))]);
    let second = write(folder.path(), 10, &[of(Some("ann")), held.clone(), of(None)]);
    let third = write(folder.path(), 20, &[of(Some("ann"))]);
    let last = write(folder.path(), 30, &[of(Some("ann"))]);
    vault.hold("care", "bob", "case 12", 0).expect("held");
    let bodies = bodies(folder.path());

    let cleared = bodies.drop_before(&vault, 29).expect("dropped");

    assert_eq!(cleared, Cleared { files: 1, files_held: 1, wiped: 3 });
    assert!(matches!(bodies.read(first[0].0, first[0].1), Err(VaultError::Dropped { .. })));
    assert!(is_erased(&bodies, &second[0]) && is_erased(&bodies, &second[2]));
    assert_eq!(bodies.read(second[1].0, second[1].1).expect("held"), held);
    assert!(is_erased(&bodies, &third[0]), "record 29 may have a body in its file, so that stays");
    assert!(bodies.read(last[0].0, last[0].1).is_ok());
    assert_eq!(bodies.drop_before(&vault, 29).expect("again"), Cleared { files_held: 1, ..Cleared::default() });

    vault.release("care", "bob").expect("released");
    let all = bodies.drop_before(&vault, 1_000).expect("all");
    assert_eq!(all, Cleared { files: 2, wiped: 1, ..Cleared::default() });
    assert!(is_erased(&bodies, &last[0]), "the newest file stays, without its bodies");
}
