//! What is found on the disk at the start: checks that the segments are one unbroken log, and finds where it ends.
//!
//! Every segment's header and last frame is read, and all frames of the last segment; what lies between is read by
//! whoever rebuilds or verifies. A crash leaves an unfinished group at the end of the last segment: that is cut off and
//! reported. Damage anywhere else is refused, because cutting there would lose records that were acknowledged.
//!
//! Power that fails during a group may leave its later sectors written and earlier ones not. The room was zeros before,
//! so such a hole is made of whole zero sectors, which distinguishes it from a changed byte.

use std::path::Path;
use std::sync::Arc;

use super::disk::{Access, Disk, DiskFile};
use super::frame::{self, BodyPosition, Found, HEADER, Kind, LEAF_MAX, LogId, Prefix, RECORD_HEAD};
use super::scan::{Scan, Step};
use super::segment::{AppendFile, firsts, path_of};
use super::{JournalError, JournalOptions, Recovery};

const SECTOR: usize = 512;

/// An open log.
pub struct Recovered {
    pub recovery: Recovery,
    pub records: AppendFile,
}

/// Reads what is there, cuts off what a crash left unfinished, and opens the last segment; begins a log where there is
/// none.
pub fn recover(options: &JournalOptions) -> Result<Recovered, JournalError> {
    let disk = &options.disk;
    let root = &options.path;
    for kind in [Kind::Journal, Kind::Bodies] {
        prepare(disk.as_ref(), root, kind)?;
    }
    let segments = firsts(disk.as_ref(), root, Kind::Journal)?;
    let Some((&last, earlier)) = segments.split_last() else { return begin(options) };
    if segments[0] > options.pruned_to {
        return Err(corrupt(root, segments[0], 0, segments[0], missing(options.pruned_to, segments[0])));
    }
    let log = check_header(disk.as_ref(), root, Kind::Journal, segments[0], None)?;
    if let Some(expected) = options.log.filter(|&expected| expected != log) {
        return Err(corrupt(root, segments[0], 8, segments[0], format!("it belongs to log {log}, not {expected}")));
    }
    for (&first, &next) in earlier.iter().zip(&segments[1..]) {
        check_header(disk.as_ref(), root, Kind::Journal, next, Some(log))?;
        check_end(disk.as_ref(), root, first, next)?;
    }
    let end = scan_last(disk, root, log, last)?;
    if end.next < options.durable_floor {
        let floor = options.durable_floor;
        let what = format!("the log ends with {} records, but {floor} are known to have been durable", end.next);
        return Err(corrupt(root, last, end.offset, end.next, what));
    }
    if !end.torn.is_empty() && end.beyond > 0 {
        set_aside(disk.as_ref(), root, end.next, &end.torn)?;
    }
    let (bodies_end, bodies_lost) = recover_bodies(disk, root, log, &end)?;
    if let Some((file, length)) = bodies_end {
        let path = path_of(root, Kind::Bodies, file);
        AppendFile::resume(disk, root, Kind::Bodies, file, length).map_err(|source| JournalError::Io {
            doing: "cutting",
            path,
            source,
        })?;
    }
    let path = path_of(root, Kind::Journal, last);
    let records = AppendFile::resume(disk, root, Kind::Journal, last, end.offset)
        .map_err(|source| JournalError::Io { doing: "opening", path, source })?;
    let recovery = Recovery {
        log_id: log,
        first_index: segments[0],
        next_index: end.next,
        torn_bytes: end.torn.len() as u64,
        torn_records: end.beyond,
        bodies_lost,
        is_new: false,
    };
    Ok(Recovered { recovery, records })
}

/// Makes the folder, and removes files that a crash kept from getting their names.
fn prepare(disk: &dyn Disk, root: &Path, kind: Kind) -> Result<(), JournalError> {
    let folder = root.join(kind.name());
    let failed = |doing, source| JournalError::Io { doing, path: folder.clone(), source };
    disk.create_folder(&folder).map_err(|source| failed("creating", source))?;
    for path in disk.list(&folder).map_err(|source| failed("listing", source))? {
        if path.extension().is_some_and(|extension| extension == "new") {
            disk.remove(&path).map_err(|source| failed("cleaning", source))?;
        }
    }
    Ok(())
}

fn begin(options: &JournalOptions) -> Result<Recovered, JournalError> {
    let bodies = firsts(options.disk.as_ref(), &options.path, Kind::Bodies)?;
    if options.durable_floor > 0 || !bodies.is_empty() {
        let what = "all segments of the journal are missing, though there was a log here".to_owned();
        return Err(corrupt(&options.path, 0, 0, 0, what));
    }
    let log = options.log.unwrap_or_else(LogId::random);
    let first = options.pruned_to;
    let records = AppendFile::create(&options.disk, &options.path, Kind::Journal, log, first)
        .map_err(|trouble| JournalError::Begin(trouble.to_string()))?;
    // The names of the new folders have to outlive a loss of power as well.
    for folder in [Some(options.path.as_path()), options.path.parent()].into_iter().flatten() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let failed = |source| JournalError::Io { doing: "syncing", path: folder.to_owned(), source };
        options.disk.sync_folder(folder).map_err(failed)?;
    }
    let recovery = Recovery {
        log_id: log,
        first_index: first,
        next_index: first,
        torn_bytes: 0,
        torn_records: 0,
        bodies_lost: 0,
        is_new: true,
    };
    Ok(Recovered { recovery, records })
}

fn corrupt(root: &Path, segment: u64, offset: u64, index: u64, what: String) -> JournalError {
    JournalError::Corrupt { file: path_of(root, Kind::Journal, segment), offset, index, what }
}

fn missing(from: u64, to: u64) -> String {
    format!("the segments with records {from} to {} are missing before it", to.saturating_sub(1))
}

/// Returns the log id of a file after checking its header against its name and `expected`.
pub fn check_header(
    disk: &dyn Disk,
    root: &Path,
    kind: Kind,
    first: u64,
    expected: Option<LogId>,
) -> Result<LogId, JournalError> {
    let path = path_of(root, kind, first);
    let failed = |source| JournalError::Io { doing: "reading", path: path.clone(), source };
    let mut bytes = [0; HEADER];
    let file = disk.open(&path, Access::Read).map_err(failed)?;
    let read = file.read_full_at(&mut bytes, 0).map_err(failed)?;
    let fault = match frame::read_header(kind, &bytes[..read]) {
        Err(what) => what.to_owned(),
        Ok((log, _)) if expected.is_some_and(|expected| expected != log) => format!("it belongs to another log, {log}"),
        Ok((_, index)) if index != first => format!("its header says that it begins with record {index}"),
        Ok((log, _)) => return Ok(log),
    };
    Err(JournalError::Corrupt { file: path, offset: 0, index: first, what: fault })
}

/// Checks that the last frame of the segment `first` is that of record `next - 1`.
fn check_end(disk: &dyn Disk, root: &Path, first: u64, next: u64) -> Result<(), JournalError> {
    let path = path_of(root, Kind::Journal, first);
    let failed = |source| JournalError::Io { doing: "reading", path: path.clone(), source };
    let file = disk.open(&path, Access::Read).map_err(failed)?;
    let length = file.length().map_err(failed)?;
    let from = length.saturating_sub((LEAF_MAX + RECORD_HEAD) as u64).max(HEADER as u64).min(length);
    let mut tail = vec![0; (length - from) as usize];
    let read = file.read_full_at(&mut tail, from).map_err(failed)?;
    tail.truncate(read);
    // Frames cannot be read backwards: but of all places the frame could begin at, only the true one has the length that
    // reaches the end of the file, and the checksum.
    let ends_there =
        |at: usize| frame::read_record(&tail[at..], next - 1) == Found::Frame(RECORD_HEAD..tail.len() - at);
    if next > first && (0..tail.len()).rev().any(ends_there) {
        return Ok(());
    }
    let what = format!("it does not end with record {}, after which the next segment begins", next.saturating_sub(1));
    Err(JournalError::Corrupt { file: path, offset: length, index: next.saturating_sub(1), what })
}

/// The end of the last segment.
pub struct End {
    pub next: u64,
    offset: u64,
    /// What an unfinished write left behind it.
    pub torn: Vec<u8>,
    /// Whole frames within that.
    beyond: u64,
    /// The places of the bodies of the segment's records.
    bodies: Vec<BodyPosition>,
}

/// Reads all frames of the last segment; fails if it is damaged in another way than an unfinished write leaves it.
pub fn scan_last(disk: &Arc<dyn Disk>, root: &Path, log: LogId, first: u64) -> Result<End, JournalError> {
    check_header(disk.as_ref(), root, Kind::Journal, first, Some(log))?;
    let path = path_of(root, Kind::Journal, first);
    let failed = |source| JournalError::Io { doing: "reading", path: path.clone(), source };
    let mut scan = Scan::new(disk.open(&path, Access::Read).map_err(failed)?);
    let mut next = first;
    let mut bodies = Vec::new();
    while scan.next(next).map_err(failed)? == Step::Leaf {
        bodies.extend(BodyPosition::of_leaf(scan.leaf().1, log));
        next += 1;
    }
    let offset = scan.offset();
    let file = disk.open(&path, Access::Read).map_err(failed)?;
    let torn = rest_of(file.as_ref(), offset).map_err(failed)?;
    let (beyond, first_at) = frames_in(&torn, &Prefix::new(log), next);
    // Rounded up, so that a sector counts only if all of it lies within the damage.
    let damage = (offset as usize).next_multiple_of(SECTOR) - offset as usize..first_at;
    let has_hole =
        torn.get(damage).is_some_and(|damage| damage.chunks_exact(SECTOR).any(|s| s.iter().all(|&b| b == 0)));
    if beyond > 0 && !has_hole {
        let what = format!("record {next} is damaged, but {beyond} sound records follow it");
        return Err(JournalError::Corrupt { file: path, offset, index: next, what });
    }
    Ok(End { next, offset, torn, beyond, bodies })
}

/// Returns what the file holds from `offset` on, without the zeros at its end.
fn rest_of(file: &dyn DiskFile, offset: u64) -> std::io::Result<Vec<u8>> {
    let mut rest = vec![0; file.length()?.saturating_sub(offset) as usize];
    let read = file.read_full_at(&mut rest, offset)?;
    let used = rest[..read].iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    rest.truncate(used);
    Ok(rest)
}

/// Counts whole frames of records from `next` on in `bytes`, wherever they begin, and says where the first one does.
fn frames_in(bytes: &[u8], prefix: &Prefix, next: u64) -> (u64, usize) {
    let mut count = 0;
    let mut first_at = bytes.len();
    let mut at = RECORD_HEAD;
    while at < bytes.len() {
        let frame = &bytes[at - RECORD_HEAD..];
        let index = prefix.strip(&bytes[at..]).map(|(index, _)| index).filter(|&index| index >= next);
        match index.map(|index| frame::read_record(frame, index)) {
            Some(Found::Frame(content)) => {
                first_at = first_at.min(at - RECORD_HEAD);
                count += 1;
                at += content.len();
            }
            _ => at += 1,
        }
    }
    (count, first_at)
}

/// Keeps what is cut off although it holds whole records: `journal/<index>.torn`.
fn set_aside(disk: &dyn Disk, root: &Path, next: u64, torn: &[u8]) -> Result<(), JournalError> {
    let path = path_of(root, Kind::Journal, next).with_extension("torn");
    let written = disk.open(&path, Access::Create).and_then(|file| {
        file.write_all_at(torn, 0)?;
        file.sync()
    });
    written.map_err(|source| JournalError::Io { doing: "saving the torn end to", path, source })
}

/// Removes bodies that no record can name, and finds where the last file of the others ends. Returns that file and its
/// length if something has to be cut, and how many records of the last segment lack their body.
fn recover_bodies(
    disk: &Arc<dyn Disk>,
    root: &Path,
    log: LogId,
    end: &End,
) -> Result<(Option<(u64, u64)>, u64), JournalError> {
    let mut files = firsts(disk.as_ref(), root, Kind::Bodies)?;
    while let Some(&orphan) = files.last().filter(|&&first| first >= end.next) {
        let path = path_of(root, Kind::Bodies, orphan);
        disk.remove(&path).map_err(|source| JournalError::Io { doing: "removing", path, source })?;
        files.pop();
    }
    let Some(&last) = files.last() else { return Ok((None, end.bodies.len() as u64)) };
    check_header(disk.as_ref(), root, Kind::Bodies, last, Some(log))?;
    let path = path_of(root, Kind::Bodies, last);
    let failed = |source| JournalError::Io { doing: "reading", path: path.clone(), source };
    let file = disk.open(&path, Access::Read).map_err(failed)?;
    let length = end_of_bodies(file.as_ref()).map_err(failed)?;
    let is_lost = |place: &&BodyPosition| match place.file.cmp(&last) {
        std::cmp::Ordering::Less => files.binary_search(&place.file).is_err(),
        std::cmp::Ordering::Equal => place.offset >= length,
        std::cmp::Ordering::Greater => true,
    };
    let lost = end.bodies.iter().filter(is_lost).count() as u64;
    // What a record names is not cut off, however it looks: what is left of it may still be worth having.
    let is_named = end.bodies.iter().any(|place| place.file == last && place.offset >= length);
    Ok(((!is_named).then_some((last, length)), lost))
}

fn end_of_bodies(file: &dyn DiskFile) -> std::io::Result<u64> {
    let mut at = HEADER as u64;
    let mut buffer = vec![0; frame::BODY_HEAD];
    loop {
        let mut read = file.read_full_at(&mut buffer, at)?;
        if let (Found::Partial(whole), _) = frame::read_body(&buffer[..read])
            && whole > buffer.len()
            && at + whole as u64 <= file.length()?
        {
            buffer.resize(whole, 0);
            read = file.read_full_at(&mut buffer, at)?;
        }
        match frame::read_body(&buffer[..read]).0 {
            Found::Frame(content) => at += content.end as u64,
            _ => return Ok(at),
        }
        buffer.truncate(frame::BODY_HEAD);
    }
}
