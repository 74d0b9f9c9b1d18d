//! What an export holds, for what was ordered.

use super::python::Python;
use super::*;
use crate::audit::export::manifest::{Counts, Manifest};

fn made(order: &Order<'_>, books: &Books) -> Manifest {
    export(books, order, &books.note(SIZE), &key(1), &mut |_, _| {}).expect("an export")
}

fn lines(folder: &Path, name: &str) -> Vec<String> {
    fs::read_to_string(folder.join(name)).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_whole_range_is_there_byte_for_byte_and_believed() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("export");
    let books = Books::new(SIZE);
    let mut told = Vec::new();

    let manifest =
        export(&books, &order(&folder, RANGE), &books.note(SIZE), &key(1), &mut |done, total| told.push((done, total)))
            .unwrap();

    let expected: Vec<String> =
        RANGE.map(|index| String::from_utf8(books.leaves[index as usize].clone()).unwrap()).collect();
    assert_eq!(lines(&folder, "records.jsonl"), expected);
    assert_eq!(lines(&folder, "ocsf.jsonl").len(), expected.len());
    assert!(lines(&folder, "records.csv")[2].contains(",01REQUEST6,,search,"));
    assert!(lines(&folder, "records.csv")[1].contains(",01REQUEST5,,'=ads,"));
    let counts = Counts { in_range: 28, matched: 28, retired: 0, bodies: Some(8), erased: Some(1) };
    assert_eq!(manifest.counts, counts);
    assert_eq!(told.first().zip(told.last()), Some((&(1, 28), &(28, 28))));
    let verification = verify_export(&folder, &trusting(&key(1)), &mut |_, _| {});
    assert_eq!(verification.outcome, Outcome::Sound);
    let report = verification.report;
    assert_eq!((report.records, report.gaps, report.bodies, report.bodies_gone), (28, 0, 8, 1));
    assert_eq!((report.size, report.root), (SIZE as u64, Some(books.note(SIZE).checkpoint().root)));
    assert!(matches!(report.signed, Signed::Trusted(_)));
}

#[test]
fn what_a_filter_leaves_out_is_counted_and_proven_to_be_there() {
    let home = tempfile::tempdir().unwrap();
    let mut python = Python::start();
    let filter =
        || Filter { text: "team = search".to_owned(), wanted: &|record| record.team.as_deref() == Some("search") };
    let books = Books { retired: 8, ..Books::new(SIZE) };

    // Ranges at every edge: the whole log, its first and last record, none.
    for (number, range) in [0..40, 0..1, 39..40, 16..32, 20..20, 0..0, 40..40].into_iter().enumerate() {
        let folder = home.path().join(number.to_string());
        let order = Order { filter: Some(filter()), bodies: Bodies::LeftOut, ..order(&folder, range.clone()) };

        let manifest = made(&order, &books);

        let wanted = range.clone().filter(|index| *index >= 8 && index.is_multiple_of(2)).count() as u64;
        assert_eq!(manifest.counts.matched, wanted, "{range:?}");
        let verification = verify_export(&folder, &trusting(&key(1)), &mut |_, _| {});
        assert_eq!(verification.outcome, Outcome::Sound, "{range:?}");
        assert_eq!(verification.report.gaps, range.end - range.start - wanted);
        if let Some(python) = &mut python {
            python.agrees(&folder, &trusting(&key(1)), &format!("{range:?}"));
        }
    }
}

#[test]
fn a_record_that_this_version_cannot_read_is_exported_rather_than_left_out() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("export");
    let mut books = Books::new(SIZE);
    books.leaves[9] = format!("{{\"v\":2,\"log\":\"{LOG}\",\"index\":9,\"phase\":\"of the future\"}}").into_bytes();
    books.hashes[9] = leaf_hash(&books.leaves[9]);
    let filter = Filter { text: "none".to_owned(), wanted: &|_| false };

    made(&Order { filter: Some(filter), ..order(&folder, RANGE) }, &books);

    assert_eq!(lines(&folder, "records.jsonl"), [String::from_utf8(books.leaves[9].clone()).unwrap()]);
    assert_eq!(verdict(&folder, &trusting(&key(1))), (0, None));
}

#[test]
fn nothing_is_signed_or_left_behind_if_the_log_does_not_fit_its_checkpoint() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("export");
    let mut books = Books::new(SIZE);
    let note = books.note(SIZE);
    books.leaves[20][60] ^= 1;

    let failed = export(&books, &order(&folder, RANGE), &note, &key(1), &mut |_, _| {});

    assert!(matches!(failed, Err(ExportError::Damaged { .. })), "{failed:?}");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn an_order_that_cannot_be_filled_is_refused_with_the_reason() {
    let home = tempfile::tempdir().unwrap();
    let books = Books::new(SIZE);
    let refused = |folder: &Path, range| {
        export(&books, &order(folder, range), &books.note(SIZE), &key(1), &mut |_, _| {}).unwrap_err().to_string()
    };

    assert!(refused(home.path(), RANGE).contains("exists"));
    assert!(refused(&home.path().join("new"), 30..41).contains("not within the 40 records"));
    assert!(refused(Path::new("/proc/nowhere/export"), RANGE).contains("cannot export to"));
}

#[cfg(feature = "parquet")]
#[test]
fn the_parquet_table_holds_the_rows_in_typed_columns() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;
    let (_home, folder) = exported();

    let file = fs::File::open(folder.join("records.parquet")).unwrap();
    let rows: Vec<_> =
        SerializedFileReader::new(file).unwrap().get_row_iter(None).unwrap().map(Result::unwrap).collect();

    assert_eq!(rows.len(), 28);
    let fields: BTreeMap<_, _> = rows[0].get_column_iter().map(|(name, field)| (&**name, field.clone())).collect();
    assert_eq!(fields["index"], Field::Long(5));
    assert_eq!(fields["time"], Field::TimestampMicros(1_795_000_000_000_005));
    assert_eq!(fields["team"], Field::Str("=ads".to_owned()));
    assert_eq!(fields["cost_nano_usd"], Field::Null);
    assert_eq!(fields["stream"], Field::Bool(false));
}
