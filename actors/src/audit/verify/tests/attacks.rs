//! What somebody might do to an export, and that both verifiers say the same of it.

use super::python::Python;
use super::*;
use crate::audit::export::manifest::Manifest;

type Deed = fn(&Path);

fn edit(folder: &Path, name: &str, change: impl Fn(&mut Vec<String>)) {
    let text = fs::read_to_string(folder.join(name)).unwrap();
    let mut lines = text.split_inclusive('\n').map(str::to_owned).collect();
    change(&mut lines);
    fs::write(folder.join(name), lines.concat()).unwrap();
}

fn edit_bytes(folder: &Path, name: &str, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(folder.join(name)).unwrap();
    change(&mut bytes);
    fs::write(folder.join(name), bytes).unwrap();
}

/// The deed, and what it must be answered with: exit code and first bad record. The range is 5 to 33.
const DEEDS: &[(&str, Deed, u8, Option<u64>)] = &[
    ("a record deleted", |f| edit(f, "records.jsonl", |lines| drop(lines.remove(4))), 1, Some(9)),
    ("the first record deleted", |f| edit(f, "records.jsonl", |lines| drop(lines.remove(0))), 1, Some(5)),
    ("the last record deleted", |f| edit(f, "records.jsonl", |lines| drop(lines.pop())), 1, Some(32)),
    ("a record doubled", |f| edit(f, "records.jsonl", |lines| lines.insert(4, lines[3].clone())), 1, Some(9)),
    ("a line inserted", |f| edit(f, "records.jsonl", |lines| lines.insert(4, "{}\n".to_owned())), 1, Some(9)),
    ("two records swapped", |f| edit(f, "records.jsonl", |lines| lines.swap(3, 4)), 1, Some(8)),
    ("a record changed", |f| edit(f, "records.jsonl", |lines| lines[3] = lines[3].replace("200", "403")), 1, Some(8)),
    ("cut within a record", |f| edit_bytes(f, "records.jsonl", |bytes| bytes.truncate(bytes.len() - 9)), 1, Some(32)),
    (
        "the last line break gone",
        |f| edit_bytes(f, "records.jsonl", |bytes| bytes.truncate(bytes.len() - 1)),
        1,
        Some(32),
    ),
    ("a line behind the last", |f| edit(f, "records.jsonl", |lines| lines.push("\n".to_owned())), 1, Some(33)),
    ("no records at all", |f| edit(f, "records.jsonl", Vec::clear), 1, Some(5)),
    ("two leaf hashes swapped", |f| edit_bytes(f, "leaves.bin", |bytes| bytes[..64].rotate_left(32)), 1, Some(5)),
    ("a leaf hash gone", |f| edit_bytes(f, "leaves.bin", |bytes| bytes.truncate(bytes.len() - 32)), 1, None),
    ("a body deleted", |f| edit(f, "bodies.jsonl", |lines| drop(lines.remove(1))), 1, None),
    ("the last body deleted", |f| edit(f, "bodies.jsonl", |lines| drop(lines.pop())), 1, None),
    ("a body doubled", |f| edit(f, "bodies.jsonl", |lines| lines.insert(1, lines[0].clone())), 1, Some(6)),
    ("two bodies out of order", |f| edit(f, "bodies.jsonl", |lines| lines.swap(0, 1)), 1, Some(6)),
    ("a body of another record", swap_bodies, 1, Some(6)),
    ("a body for a record without", body_for_another, 1, Some(7)),
    (
        "a cell of the table changed",
        |f| edit(f, "records.csv", |lines| lines[2] = lines[2].replace("200", "403")),
        1,
        None,
    ),
    ("the checkpoint emptied", |f| edit(f, "checkpoint.txt", Vec::clear), 1, None),
    ("a record and its hash changed", change_record_and_hash, 1, None),
    ("the signature emptied", |f| edit(f, "manifest.sig", Vec::clear), 4, None),
    (
        "the signature's line break gone",
        |f| edit_bytes(f, "manifest.sig", |bytes| bytes.truncate(bytes.len() - 1)),
        4,
        None,
    ),
    ("a count in the manifest changed", |f| edit(f, "manifest.json", |lines| lines[3] += " "), 4, None),
    ("the manifest missing", |f| fs::remove_file(f.join("manifest.json")).unwrap(), 3, None),
    ("the signature missing", |f| fs::remove_file(f.join("manifest.sig")).unwrap(), 3, None),
    ("the records missing", |f| fs::remove_file(f.join("records.jsonl")).unwrap(), 3, None),
    ("the read-me missing", |f| fs::remove_file(f.join("README.md")).unwrap(), 3, None),
    ("the bodies missing", |f| fs::remove_file(f.join("bodies.jsonl")).unwrap(), 3, None),
    ("everything missing", |f| fs::remove_dir_all(f).unwrap(), 2, None),
    ("nothing done", |_| {}, 0, None),
];

fn swap_bodies(folder: &Path) {
    edit(folder, "bodies.jsonl", |lines| {
        let (first, second) =
            (lines[0].replace("\"index\":6", "\"index\":9"), lines[1].replace("\"index\":9", "\"index\":6"));
        (lines[0], lines[1]) = (second, first);
    });
}

fn body_for_another(folder: &Path) {
    edit(folder, "bodies.jsonl", |lines| lines[0] = lines[0].replace("\"index\":6", "\"index\":7"));
}

fn change_record_and_hash(folder: &Path) {
    edit(folder, "records.jsonl", |lines| lines[3] = lines[3].replace("200", "403"));
    let text = fs::read_to_string(folder.join("records.jsonl")).unwrap();
    let hash = leaf_hash(text.lines().nth(3).unwrap().as_bytes());
    edit_bytes(folder, "leaves.bin", |bytes| bytes[96..128].copy_from_slice(&hash.0));
}

#[test]
fn whatever_is_done_to_an_export_is_noticed_by_both_verifiers() {
    let (home, folder) = exported();
    let mut python = Python::start();

    for (what, deed, exit, index) in DEEDS {
        let attacked = home.path().join("attacked");
        copy(&folder, &attacked);
        deed(&attacked);

        assert_eq!(verdict(&attacked, &trusting(&key(1))), (*exit, *index), "{what}");
        if let Some(python) = &mut python {
            python.agrees(&attacked, &trusting(&key(1)), what);
            python.agrees(&attacked, &Trusted::default(), what);
        }
        let _ = fs::remove_dir_all(&attacked);
    }
}

#[test]
fn files_of_another_export_of_the_same_log_are_noticed() {
    let home = tempfile::tempdir().unwrap();
    let books = Books::new(SIZE);
    let mut python = Python::start();
    let (one, other) = (home.path().join("one"), home.path().join("other"));
    for (folder, range, size) in [(&one, 5..33, SIZE), (&other, 6..34, SIZE - 2)] {
        export(&books, &order(folder, range), &books.note(size), &key(1), &mut |_, _| {}).unwrap();
    }
    // Those that are the same in every export may be swapped.
    let names =
        ["records.jsonl", "records.csv", "ocsf.jsonl", "leaves.bin", "bodies.jsonl", "checkpoint.txt", "README.md"];

    for name in names.into_iter().chain(["manifest.json", "manifest.sig"]) {
        let mixed = home.path().join("mixed");
        copy(&one, &mixed);
        fs::copy(other.join(name), mixed.join(name)).unwrap();

        let (code, _) = verdict(&mixed, &trusting(&key(1)));

        assert_eq!(code, if name.starts_with("manifest") { 4 } else { 1 }, "{name}");
        if let Some(python) = &mut python {
            python.agrees(&mixed, &trusting(&key(1)), name);
        }
    }
}

#[test]
fn an_export_that_somebody_else_signed_is_refused_under_the_trusted_key() {
    let home = tempfile::tempdir().unwrap();
    let (folder, books) = (home.path().join("export"), Books::new(SIZE));
    let mut python = Python::start();
    export(&books, &order(&folder, RANGE), &books.signed(SIZE, &key(2)), &key(2), &mut |_, _| {}).unwrap();
    let half = home.path().join("half");
    export(&books, &order(&half, RANGE), &books.signed(SIZE, &key(1)), &key(2), &mut |_, _| {}).unwrap();

    assert_eq!(verdict(&folder, &trusting(&key(1))), (4, None));
    let verification = verify_export(&folder, &Trusted::default(), &mut |_, _| {});
    assert_eq!(verification.outcome, Outcome::Sound);
    assert!(matches!(verification.report.signed, Signed::Named(_)), "which has to be told");
    if let Some(python) = &mut python {
        assert_eq!(python.agrees(&folder, &trusting(&key(1)), "signed by another"), (4, None));
        assert_eq!(python.agrees(&folder, &Trusted::default(), "signed by another"), (0, None));
        assert_eq!(python.agrees(&half, &trusting(&key(2)), "the checkpoint signed by another"), (4, None));
    }
}

#[test]
fn an_export_is_held_against_a_checkpoint_seen_before() {
    let home = tempfile::tempdir().unwrap();
    let (folder, books) = (home.path().join("export"), Books::new(SIZE + 5));
    let mut other = books.clone();
    other.hashes[0] = leaf_hash(b"another history");
    let before = books.note(3);
    let order = Order { previous: Some(&before), ..order(&folder, RANGE) };
    export(&books, &order, &books.note(SIZE), &key(1), &mut |_, _| {}).unwrap();
    let mut python = Python::start();
    let cases = [
        ("the export's own", books.note(SIZE), 0),
        ("a newer one", books.note(SIZE + 5), 5),
        ("one within the range", books.note(20), 0),
        ("one at the start of the range", books.note(5), 0),
        ("one at its end", books.note(33), 0),
        ("that of the export before", before.clone(), 0),
        ("one that nothing leads from", books.note(4), 3),
        ("one behind the range", books.note(35), 3),
        ("another history at the same size", other.note(SIZE), 1),
        ("another history within the range", other.note(20), 1),
        ("another history before", other.note(3), 1),
        ("one of somebody else", books.signed(20, &key(2)), 4),
    ];

    for (what, note, exit) in cases {
        let trusted = Trusted { checkpoint: Some(note.text().to_owned()), ..trusting(&key(1)) };

        assert_eq!(verdict(&folder, &trusted), (exit, None), "{what}");
        if let Some(python) = &mut python {
            python.agrees(&folder, &trusted, what);
        }
    }
}

#[test]
fn a_log_that_does_not_continue_the_export_before_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    let (folder, books) = (home.path().join("export"), Books::new(SIZE));
    let mut other = books.clone();
    other.hashes[0] = leaf_hash(b"another history");
    let before = other.note(11);
    let order = Order { previous: Some(&before), ..order(&folder, RANGE) };

    export(&books, &order, &books.note(SIZE), &key(1), &mut |_, _| {}).unwrap();

    assert_eq!(verdict(&folder, &trusting(&key(1))), (1, None));
    if let Some(python) = &mut Python::start() {
        python.agrees(&folder, &trusting(&key(1)), "another history before");
    }
}

#[test]
fn a_signed_manifest_that_contradicts_itself_is_refused() {
    type Change = fn(&mut Manifest);
    let (_home, folder) = exported();
    let mut python = Python::start();
    let text = fs::read(folder.join("manifest.json")).unwrap();
    let changes: &[(&str, Change, u8)] = &[
        ("a path for a name", |m| m.files[0].name = "../../secret".to_owned(), 1),
        ("a file named twice", |m| m.files.push(m.files[0].clone()), 1),
        ("another log", |m| m.log = "ff".repeat(16), 1),
        ("a longer range", |m| m.end += 1, 1),
        ("a range backwards", |m| (m.start, m.end) = (m.end, m.start), 1),
        ("a wrong count", |m| m.counts.in_range -= 1, 1),
        ("records left out without a filter", |m| m.counts.matched -= 1, 1),
        ("no bodies counted", |m| m.counts.bodies = None, 1),
        ("a peak too many", |m| m.range_proof.left.push(Hash([0; 32])), 1),
        ("a hash too many", |m| m.range_proof.right.push(Hash([0; 32])), 1),
        ("a hash too few", |m| m.range_proof.right.truncate(1), 1),
        ("another checkpoint", |m| m.checkpoint = "nonsense".to_owned(), 4),
        ("a newer format", |m| m.format = "bursar-audit-export/2".to_owned(), 2),
    ];

    for (what, change, exit) in changes {
        let mut manifest: Manifest = serde_json::from_slice(&text).unwrap();
        change(&mut manifest);
        let bytes = serde_json::to_vec_pretty(&manifest).unwrap();
        let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key(1).sign(&bytes));
        fs::write(folder.join("manifest.json"), bytes).unwrap();
        fs::write(folder.join("manifest.sig"), signature + "\n").unwrap();

        assert_eq!(verdict(&folder, &trusting(&key(1))).0, *exit, "{what}");
        if let Some(python) = &mut python {
            python.agrees(&folder, &trusting(&key(1)), what);
        }
    }
}
