//! Witnesses: who else is told of checkpoints, and what those who can be read hold against the log.
//!
//! A witness makes no difference while all is well. When somebody has put an older copy of the data back, or written the
//! log anew with the signing key, the file of a witness still knows better.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use bursar_actors::audit::checkpoint::{Note, Notes, check_against};
use bursar_actors::audit::merkle::{Hashes, root_at};
use tracing::warn;

use super::BooksError;
use crate::config::audit::Witness;

/// Of so many notes, the last ones, the roots are computed; of all the sizes are compared. One costs some 50 µs.
const ROOTS_MAX: usize = 10_000;
/// `authpriv` (10) and `info` (6), as RFC 3164 counts them.
const PRIORITY: u8 = 10 * 8 + 6;
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Holds what the files among `witnesses` know against the log with this id, size and these hashes.
///
/// One that cannot be read is only warned of: the log must not depend on somebody else's disk.
pub fn check(witnesses: &[Witness], log: &str, size: u64, hashes: &(impl Hashes + ?Sized)) -> Result<(), BooksError> {
    for witness in witnesses {
        let Witness::File(path) = witness else { continue };
        let refuse = |why: String| BooksError::Witness { witness: witness.label(), why };
        match known(path) {
            Ok(Known { last, largest }) => {
                if let Some(other) = last.iter().map(|note| &note.checkpoint().log).find(|other| *other != log) {
                    let why = format!("it knows another log, {other}, and this one is {log}");
                    return Err(refuse(why));
                }
                check_against(largest.iter().chain(&last), size, |size| root_at(hashes, size))
                    .map_err(|why| refuse(why.to_string()))?;
            }
            Err(error) => warn!(witness = %witness.label(), "a witness of the books cannot be read: {error}"),
        }
    }
    Ok(())
}

/// What a file holds.
#[derive(Default)]
struct Known {
    last: VecDeque<Note>,
    largest: Option<Note>,
}

/// Reads a witness's file; what a write that was torn left at its end is cut off, what is no note is passed over.
fn known(path: &Path) -> io::Result<Known> {
    let mut known = Known::default();
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(known),
        opened => opened?,
    };
    let mut notes = Notes::new(BufReader::new(file));
    let mut others = 0;
    while let Some(note) = notes.next_note()? {
        let Ok(note) = note else {
            others += 1;
            continue;
        };
        if known.largest.as_ref().is_none_or(|largest| largest.checkpoint().size < note.checkpoint().size) {
            known.largest = Some(note.clone());
        }
        if known.last.len() == ROOTS_MAX {
            known.last.pop_front();
        }
        known.last.push_back(note);
    }
    let (whole, torn) = notes.extent();
    if others > 0 {
        warn!(file = %path.display(), others, "a witness of the books holds what is no checkpoint; it is passed over");
    }
    if torn > 0 && whole == 0 {
        warn!(file = %path.display(), "a witness of the books is a file without any checkpoint; is it the right one?");
    } else if torn > 0 && OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(whole)).is_err() {
        warn!(file = %path.display(), "a torn checkpoint at the end of a witness of the books cannot be cut off");
    }
    Ok(known)
}

/// Appends a note to a witness's file and waits until it is durable. Blocks.
pub fn append(path: &Path, note: &Note) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    // In one call, so that two of them never mix.
    file.write_all(format!("{}\n", note.text()).as_bytes())?;
    file.sync_data()
}

/// Returns the line for the system's log (RFC 3164, as it is written on the machine itself, without a host; the time is
/// UTC). The note's own lines stand in one, divided by ` | `, so that it can be put together again.
pub fn syslog_line(note: &Note, now_us: u64, pid: u32) -> String {
    let now = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_micros(now_us)).to_string();
    // As `2026-11-03T10:22:07Z`; the day has two places, filled with a blank.
    let month = now[5..7].parse::<usize>().ok().and_then(|month| MONTHS.get(month.checked_sub(1)?)).unwrap_or(&"Jan");
    let day = now[8..10].trim_start_matches('0');
    let text = note.text().trim_end().replace('\n', " | ");
    format!("<{PRIORITY}>{month} {day:>2} {} bursar[{pid}]: checkpoint: {text}", &now[11..19])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bursar_actors::audit::checkpoint::{Checkpoint, SigningKey};
    use bursar_actors::audit::merkle::{Frontier, Hash, leaf_hash};

    use super::*;

    const LOG: &str = "0123456789abcdef0123456789abcdef";

    fn leaves(count: u64, seed: &str) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(format!("{seed}{n}").as_bytes())).collect()
    }

    fn note(log: &str, leaves: &[Hash]) -> Note {
        let mut frontier = Frontier::default();
        leaves.iter().for_each(|leaf| frontier.append(*leaf));
        let checkpoint = Checkpoint {
            log: log.into(),
            size: leaves.len() as u64,
            root: frontier.root(),
            at_us: 1_793_701_327_000_000,
            previous: None,
            config: None,
        };
        checkpoint.sign(&SigningKey::parse(&"ab".repeat(32)).unwrap())
    }

    fn checked(witness: &Path, leaves: &[Hash]) -> Result<(), String> {
        let witnesses = [Witness::Syslog, Witness::File(witness.into())];
        check(&witnesses, LOG, leaves.len() as u64, leaves).map_err(|error| {
            assert!(error.is_tampering());
            error.to_string()
        })
    }

    #[test]
    fn a_witness_that_knows_better_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witness");
        let log = leaves(30, "a");
        assert_eq!(checked(&path, &log), Ok(()), "one that was told nothing yet");

        for size in [1, 9, 20] {
            append(&path, &note(LOG, &log[..size])).unwrap();
        }

        assert_eq!(checked(&path, &log), Ok(()));
        let older = checked(&path, &log[..19]).unwrap_err();
        let rewritten = checked(&path, &[&leaves(8, "b")[..], &log[8..]].concat()).unwrap_err();
        assert!(older.contains(&path.display().to_string()) && older.contains("signed at 20"), "{older}");
        assert!(rewritten.contains("the first 20 records") || rewritten.contains("the first 9 records"), "{rewritten}");
        // Whoever writes the log anew may go on telling the witness.
        append(&path, &note(LOG, &leaves(25, "b"))).unwrap();
        assert!(checked(&path, &leaves(30, "b")).is_err());
        let other = folder.path().join("other");
        append(&other, &note(&"f".repeat(32), &log)).unwrap();
        assert!(checked(&other, &log).unwrap_err().contains("another log"));
    }

    #[test]
    fn what_a_torn_write_left_is_cut_off_and_what_is_no_note_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witness");
        let log = leaves(5, "a");
        append(&path, &note(LOG, &log[..3])).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"no\n\nnote\n\n", &whole[..40]].concat()).unwrap();

        assert_eq!(checked(&path, &log), Ok(()));
        append(&path, &note(LOG, &log)).unwrap();

        assert!(checked(&path, &log[..4]).is_err(), "the note behind is read");
        assert_eq!(checked(folder.path(), &log), Ok(()), "a folder cannot be read, which is warned of");
    }

    #[test]
    fn the_line_for_the_system_holds_the_whole_note() {
        let note = note(LOG, &leaves(2, "a"));

        let line = syslog_line(&note, 1_793_701_327_000_000, 77);

        let text =
            line.strip_prefix("<86>Nov  3 10:22:07 bursar[77]: checkpoint: ").unwrap_or_else(|| panic!("{line}"));
        assert_eq!(Note::parse(&format!("{}\n", text.replace(" | ", "\n"))).unwrap(), note);
        assert!(!line.contains('\n') && line.len() < 1_024, "{} bytes", line.len());
    }
}
