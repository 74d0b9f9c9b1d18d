//! How records and bodies lie in their files: headers, frames, and the prefix that every leaf begins with.
//!
//! ```text
//! journal   BURSARJ1 (8) | log id (16) | first index u64 | crc32 u32     frames: length u32 | crc32 u32 | leaf
//! bodies    BURSARB1 (8) | log id (16) | first index u64 | crc32 u32     frames: length u32 | crc32 u32 | index u64 | bytes
//! ```
//!
//! Numbers are little-endian. The crc32 (IEEE) of a frame covers the record's index and the bytes, so that a frame in
//! the wrong place is a broken one; that of a header covers all before it. Zeros behind the last frame are room that was
//! made ahead and is no frame.

use std::fmt;
use std::io::Write;
use std::ops::Range;

/// Bytes of a file's header.
pub const HEADER: usize = 36;
/// Bytes of a record's frame before its leaf.
pub const RECORD_HEAD: usize = 8;
/// Bytes of a body's frame before the body.
pub const BODY_HEAD: usize = 16;
/// The most bytes a leaf may have. Records are meant to be far smaller; this bounds what a reader takes for a frame.
pub const LEAF_MAX: usize = 64 * 1024;
/// The most bytes a body may have.
pub const BODY_MAX: usize = 256 * 1024 * 1024;

/// Names a log for good: drawn at its birth, written into every file and every leaf.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId(pub [u8; 16]);

impl LogId {
    /// Draws a new id.
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The two kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Records: `journal/<first index>.journal`.
    Journal,
    /// Sealed bodies: `bodies/<index of the first record with a body in it>.bodies`.
    Bodies,
}

impl Kind {
    /// Returns the folder within the data directory, which is the files' extension, too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Bodies => "bodies",
        }
    }

    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Journal => b"BURSARJ1",
            Self::Bodies => b"BURSARB1",
        }
    }
}

/// Where a record's frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// First index of the segment.
    pub segment: u64,
    /// Offset of the frame in the segment's file, in bytes.
    pub offset: u64,
}

/// Where a body's frame stands; in a leaf it is written `<file>+<offset>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BodyPosition {
    /// First index of the file.
    pub file: u64,
    /// Offset of the frame in the file, in bytes.
    pub offset: u64,
}

impl fmt::Display for BodyPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.file, self.offset)
    }
}

impl BodyPosition {
    /// Reads `<file>+<offset>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (file, offset) = text.split_once('+')?;
        Some(Self { file: file.parse().ok()?, offset: offset.parse().ok()? })
    }

    /// Returns where the body of `leaf` stands; none if the record has none.
    pub fn of_leaf(leaf: &[u8], log: LogId) -> Option<Self> {
        let (_, rest) = Prefix::new(log).strip(leaf)?;
        let text = rest.strip_prefix(b"\"body\":\"")?;
        let end = text.iter().position(|&byte| byte == b'"')?;
        Self::parse(std::str::from_utf8(&text[..end]).ok()?)
    }
}

/// Returns a file's header.
pub fn header(kind: Kind, log: LogId, first: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(kind.magic());
    bytes[8..24].copy_from_slice(&log.0);
    bytes[24..32].copy_from_slice(&first.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..32]);
    bytes[32..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads a header; the error says what is wrong with it.
pub fn read_header(kind: Kind, bytes: &[u8]) -> Result<(LogId, u64), &'static str> {
    let bytes: &[u8; HEADER] =
        bytes.get(..HEADER).and_then(|head| head.try_into().ok()).ok_or("the file ends within its header")?;
    if bytes[..8] != *kind.magic() {
        return Err("the file does not begin as files of this kind do");
    }
    if u32_at(bytes, 32) != crc32fast::hash(&bytes[..32]) {
        return Err("the header's checksum does not match");
    }
    let mut log = [0; 16];
    log.copy_from_slice(&bytes[8..24]);
    Ok((LogId(log), u64_at(bytes, 24)))
}

/// The beginning of every leaf: `{"v":1,"log":"<id>","index":`.
#[derive(Clone, Debug)]
pub struct Prefix(Vec<u8>);

impl Prefix {
    /// Returns the prefix of `log`.
    pub fn new(log: LogId) -> Self {
        Self(format!("{{\"v\":1,\"log\":\"{log}\",\"index\":").into_bytes())
    }

    /// Splits a leaf into its index and what follows the comma behind it.
    pub fn strip<'a>(&self, leaf: &'a [u8]) -> Option<(u64, &'a [u8])> {
        let rest = leaf.strip_prefix(self.0.as_slice())?;
        let comma = rest.iter().take(21).position(|&byte| byte == b',')?;
        let index = std::str::from_utf8(&rest[..comma]).ok()?.parse().ok()?;
        Some((index, &rest[comma + 1..]))
    }

    /// Returns how many bytes the leaf will have at most.
    pub fn leaf_bound(&self, tail: usize) -> usize {
        // Three numbers of at most 20 digits, and `,"body":"+",`.
        self.0.len() + 3 * 20 + 12 + tail
    }

    /// Appends the frame of record `index` to `buffer`.
    pub fn push_record(&self, buffer: &mut Vec<u8>, index: u64, body: Option<BodyPosition>, tail: &[u8]) {
        let start = buffer.len();
        buffer.extend_from_slice(&[0; RECORD_HEAD]);
        buffer.extend_from_slice(&self.0);
        push_number(buffer, index);
        buffer.push(b',');
        if let Some(body) = body {
            buffer.extend_from_slice(b"\"body\":\"");
            push_number(buffer, body.file);
            buffer.push(b'+');
            push_number(buffer, body.offset);
            buffer.extend_from_slice(b"\",");
        }
        buffer.extend_from_slice(tail);
        let leaf = start + RECORD_HEAD..buffer.len();
        seal(buffer, start, index, leaf);
    }
}

fn push_number(buffer: &mut Vec<u8>, number: u64) {
    write!(buffer, "{number}").expect("a vector takes every byte");
}

/// Appends the frame of the body of record `index` to `buffer`.
pub fn push_body(buffer: &mut Vec<u8>, index: u64, body: &[u8]) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 8]);
    buffer.extend_from_slice(&index.to_le_bytes());
    buffer.extend_from_slice(body);
    let content = start + BODY_HEAD..buffer.len();
    seal(buffer, start, index, content);
}

fn seal(buffer: &mut [u8], start: usize, index: u64, content: Range<usize>) {
    let length = u32::try_from(content.len()).expect("append refuses what is longer than a frame may be");
    let crc = checksum(index, &buffer[content]);
    buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
    buffer[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(index: u64, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&index.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A whole frame: where its content lies in the bytes.
    Frame(Range<usize>),
    /// No frame yet: nothing, or the zeros of room made ahead.
    End,
    /// A frame may follow, but the bytes end within it; with this many it would be whole.
    Partial(usize),
    /// No frame of this record.
    Broken,
}

/// Looks for the frame of record `index` at the beginning of `bytes`.
pub fn read_record(bytes: &[u8], index: u64) -> Found {
    match read_head(bytes, LEAF_MAX, RECORD_HEAD) {
        Ok(content) if u32_at(bytes, 4) == checksum(index, &bytes[content.clone()]) => Found::Frame(content),
        Ok(_) => Found::Broken,
        Err(found) => found,
    }
}

/// Looks for the frame of any record's body at the beginning of `bytes`; returns the record's index with it.
pub fn read_body(bytes: &[u8]) -> (Found, u64) {
    match read_head(bytes, BODY_MAX, BODY_HEAD) {
        Ok(content) => {
            let index = u64_at(bytes, 8);
            let is_sound = u32_at(bytes, 4) == checksum(index, &bytes[content.clone()]);
            (if is_sound { Found::Frame(content) } else { Found::Broken }, index)
        }
        Err(found) => (found, 0),
    }
}

fn read_head(bytes: &[u8], most: usize, head: usize) -> Result<Range<usize>, Found> {
    if bytes.len() < head {
        let is_empty = bytes.iter().all(|&byte| byte == 0);
        return Err(if is_empty { Found::End } else { Found::Partial(head) });
    }
    let length = u32_at(bytes, 0) as usize;
    if length == 0 {
        return Err(if bytes[..head].iter().all(|&byte| byte == 0) { Found::End } else { Found::Broken });
    }
    if length > most {
        return Err(Found::Broken);
    }
    if bytes.len() < head + length { Err(Found::Partial(head + length)) } else { Ok(head..head + length) }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const LOG: LogId = LogId([0xab; 16]);

    proptest! {
        #[test]
        fn records_read_back_as_written_whatever_they_hold(
            tails in vec(vec(any::<u8>(), 1..300), 1..8), first in any::<u32>(), place in any::<Option<(u64, u64)>>(),
        ) {
            let prefix = Prefix::new(LOG);
            let place = place.map(|(file, offset)| BodyPosition { file, offset });
            let mut buffer = Vec::new();
            for (index, tail) in (u64::from(first)..).zip(&tails) {
                prefix.push_record(&mut buffer, index, place, tail);
                prop_assert!(buffer.len() <= tails.len() * (RECORD_HEAD + prefix.leaf_bound(300)));
            }

            let mut rest = buffer.as_slice();
            for (index, tail) in (u64::from(first)..).zip(&tails) {
                let Found::Frame(content) = read_record(rest, index) else { panic!("no frame {index}") };
                let leaf = &rest[content.clone()];
                prop_assert_eq!(prefix.strip(leaf).map(|(index, _)| index), Some(index));
                prop_assert!(leaf.ends_with(tail));
                if place.is_some() {
                    prop_assert_eq!(BodyPosition::of_leaf(leaf, LOG), place);
                }
                prop_assert_eq!(read_record(rest, index + 1), Found::Broken);
                rest = &rest[content.end..];
            }
            prop_assert_eq!(read_record(rest, 0), Found::End);
        }

        #[test]
        fn a_frame_with_a_changed_bit_or_a_missing_end_is_none(
            content in vec(any::<u8>(), 1..200), index in any::<u64>(), at in any::<prop::sample::Index>(), bit in 0..8,
        ) {
            let mut record = Vec::new();
            Prefix::new(LOG).push_record(&mut record, index, None, &content);
            let mut body = Vec::new();
            push_body(&mut body, index, &content);
            prop_assert_eq!(read_body(&body), (Found::Frame(BODY_HEAD..body.len()), index));

            let (cut_record, cut_body) = (at.index(record.len()), at.index(body.len()));
            prop_assert!(!matches!(read_record(&record[..cut_record], index), Found::Frame(_)));
            prop_assert!(!matches!(read_body(&body[..cut_body]).0, Found::Frame(_)));
            record[cut_record] ^= 1_u8 << bit;
            body[cut_body] ^= 1_u8 << bit;
            prop_assert!(!matches!(read_record(&record, index), Found::Frame(_)));
            prop_assert!(!matches!(read_body(&body).0, Found::Frame(_)));
        }

        #[test]
        fn arbitrary_bytes_are_read_without_harm(bytes in vec(any::<u8>(), 0..100), index in any::<u64>()) {
            read_record(&bytes, index);
            read_body(&bytes);
            BodyPosition::of_leaf(&bytes, LOG);
            prop_assert!(read_header(Kind::Journal, &bytes).is_err());
        }
    }

    #[test]
    fn the_layout_is_as_documented() {
        let mut record = Vec::new();
        Prefix::new(LogId([0; 16])).push_record(
            &mut record,
            7,
            Some(BodyPosition { file: 5, offset: 36 }),
            b"\"a\":1}",
        );

        let leaf = br#"{"v":1,"log":"00000000000000000000000000000000","index":7,"body":"5+36","a":1}"#;
        assert_eq!(record[..4], (leaf.len() as u32).to_le_bytes());
        assert_eq!(record[4..8], crc32fast::hash(&[&7_u64.to_le_bytes()[..], leaf].concat()).to_le_bytes());
        assert_eq!(record[8..], leaf[..]);
        // The check value that every CRC-32 (IEEE) gives, Python's zlib.crc32 among them.
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
        assert_eq!(header(Kind::Bodies, LogId([1; 16]), 9)[..8], *b"BURSARB1");
        assert_eq!(read_header(Kind::Journal, &header(Kind::Journal, LOG, 9)), Ok((LOG, 9)));
    }
}
