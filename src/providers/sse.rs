//! Server-sent events out of bytes that arrive in any pieces.
//!
//! An event as OpenAI frames it (`data: …\n\n`) is handed out as the very bytes that came, not copied unless it was
//! split over two pieces. Any other framing the standard allows (CR, CRLF, several data lines, ids, names) is put
//! into that form, so that the client's parser need not be better than ours. Comments only show that the upstream
//! lives. For clients that go by the events' names, a reader can keep them ([`SseReader::with_names`]).

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr2;

/// The largest event taken; a provider that sends more has lost its mind.
pub const EVENT_MAX: usize = 4 * 1024 * 1024;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    #[error("an event is larger than 4 MiB")]
    TooLarge,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SseItem {
    Event(SseEvent),
    /// A comment, or an event without data: nothing to forward.
    Comment,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    raw: Bytes,
    data: Range<usize>,
    joined: Option<Bytes>,
    name: Option<Bytes>,
}

impl SseEvent {
    /// Returns the bytes to forward: `data: …`, a blank line, and nothing else; but for a reader with names.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Returns the payload; several data lines are joined by line feeds.
    pub fn data(&self) -> &[u8] {
        self.joined.as_deref().unwrap_or(&self.raw[self.data.clone()])
    }

    /// Returns the event's name, where it had one.
    pub fn name(&self) -> Option<&[u8]> {
        self.name.as_deref()
    }

    /// Returns whether it is named `error`, as Groq and LM Studio do.
    pub fn is_error(&self) -> bool {
        self.name() == Some(b"error")
    }
}

/// The event under way, in offsets into what is buffered.
#[derive(Debug, Default)]
struct Partial {
    /// Where the next line begins.
    line: usize,
    /// How far that line has been searched for its end.
    searched: usize,
    data: Option<Range<usize>>,
    /// Values of all data lines once there are two.
    joined: Option<BytesMut>,
    name: Option<Bytes>,
    /// Something keeps it from being forwarded as it came.
    odd: bool,
    /// The same where names are kept: carriage returns, or several data lines.
    bent: bool,
    /// Any line has been seen.
    begun: bool,
}

/// Reads events; feed it, then take events until there are none.
#[derive(Debug, Default)]
pub struct SseReader {
    /// One piece as it came.
    piece: Bytes,
    /// Pieces put together, because an event lies across them.
    gathered: BytesMut,
    partial: Partial,
    started: bool,
    /// A CR ended the last line; an LF right behind it belongs to it.
    after_cr: bool,
    broken: bool,
    names: bool,
}

impl SseReader {
    /// Starts at the beginning of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts at the beginning of a body whose events are forwarded with their names: as the very bytes that came, or, where
    /// lines end in carriage returns or data has several of them, as `event: …`, `data: …` and a blank line.
    pub fn with_names() -> Self {
        Self { names: true, ..Self::default() }
    }

    /// Takes the next bytes of the body.
    pub fn feed(&mut self, piece: Bytes) {
        if !self.piece.is_empty() {
            self.gathered.extend_from_slice(&self.piece);
            self.piece.clear();
        }
        if self.gathered.is_empty() {
            self.piece = piece;
        } else {
            self.gathered.extend_from_slice(&piece);
        }
    }

    /// Returns the next event that is complete.
    pub fn next_event(&mut self) -> Option<Result<SseItem, SseError>> {
        if self.broken || !self.begin() {
            return None;
        }
        loop {
            let Some((end, next)) = self.line_end() else {
                if self.buffered().len() > EVENT_MAX {
                    return self.fail();
                }
                return None;
            };
            if next > EVENT_MAX {
                return self.fail();
            }
            let start = self.partial.line;
            self.partial.line = next;
            self.partial.searched = next;
            if start < end {
                if let Some(comment) = self.on_line(start, end) {
                    return Some(Ok(comment));
                }
                continue;
            }
            if let Some(item) = self.on_blank(start) {
                return Some(Ok(item));
            }
        }
    }

    /// Returns the last event where the body ended without a blank line behind it; its payload may be cut.
    pub fn finish(&mut self) -> Option<Result<SseItem, SseError>> {
        if !self.started && !self.buffered().is_empty() {
            self.started = true;
        }
        if !self.partial.begun && self.buffered().is_empty() {
            return None;
        }
        self.feed(Bytes::from_static(b"\n\n"));
        let item = self.next_event();
        self.consume(self.buffered().len());
        item
    }

    fn fail(&mut self) -> Option<Result<SseItem, SseError>> {
        self.broken = true;
        Some(Err(SseError::TooLarge))
    }

    fn buffered(&self) -> &[u8] {
        if self.gathered.is_empty() { &self.piece } else { &self.gathered }
    }

    fn consume(&mut self, len: usize) {
        if self.gathered.is_empty() {
            self.piece.advance(len)
        } else {
            self.gathered.advance(len)
        }
        self.partial = Partial::default();
    }

    /// Skips a byte order mark; false while it may still be coming.
    fn begin(&mut self) -> bool {
        if self.started {
            return true;
        }
        let buffered = self.buffered();
        if buffered.len() < BOM.len() && BOM.starts_with(buffered) {
            return false;
        }
        let marked = buffered.starts_with(BOM);
        self.started = true;
        if marked {
            self.consume(BOM.len());
        }
        true
    }

    /// Returns where the current line's text ends and where the next line begins.
    fn line_end(&mut self) -> Option<(usize, usize)> {
        if self.after_cr {
            let line = self.partial.line;
            if *self.buffered().get(line)? == b'\n' {
                if self.partial.begun {
                    self.partial.line += 1;
                    self.partial.searched = self.partial.line;
                } else {
                    self.consume(line + 1);
                }
            }
            self.after_cr = false;
        }
        let from = self.partial.searched;
        let rest = &self.buffered()[from..];
        let Some(found) = memchr2(b'\n', b'\r', rest) else {
            self.partial.searched = from + rest.len();
            return None;
        };
        self.after_cr = rest[found] == b'\r';
        self.partial.odd |= self.after_cr;
        self.partial.bent |= self.after_cr;
        Some((from + found, from + found + 1))
    }

    /// Takes a line that is not blank.
    fn on_line(&mut self, start: usize, end: usize) -> Option<SseItem> {
        let line = &self.buffered()[start..end];
        if line[0] == b':' {
            if !self.partial.begun {
                self.consume(self.partial.line);
                return Some(SseItem::Comment);
            }
            self.partial.odd = true;
            return None;
        }
        let colon = memchr::memchr(b':', &line[..line.len().min(8)]);
        let field = &line[..colon.unwrap_or(line.len())];
        let mut value = colon.map_or(end, |at| start + at + 1);
        let is_data = field == b"data";
        let is_name = field == b"event";
        if value < end && self.buffered()[value] == b' ' {
            value += 1;
        }
        if is_data {
            self.on_data(start, value..end);
        } else {
            self.partial.odd = true;
            if is_name {
                self.partial.name = Some(Bytes::copy_from_slice(&self.buffered()[value..end]));
            }
        }
        self.partial.begun = true;
        None
    }

    fn on_data(&mut self, start: usize, value: Range<usize>) {
        let Some(first) = self.partial.data.clone() else {
            self.partial.odd |= start != 0 || value.start != b"data: ".len();
            self.partial.data = Some(value);
            return;
        };
        let mut joined = self.partial.joined.take().unwrap_or_else(|| BytesMut::from(&self.buffered()[first]));
        joined.extend_from_slice(b"\n");
        joined.extend_from_slice(&self.buffered()[value]);
        self.partial.joined = Some(joined);
        self.partial.odd = true;
        self.partial.bent = true;
    }

    /// Takes the blank line that ends an event.
    fn on_blank(&mut self, start: usize) -> Option<SseItem> {
        let end = self.partial.line;
        let Partial { data, joined, name, odd, bent, begun, .. } = std::mem::take(&mut self.partial);
        let Some(data) = data else {
            self.consume(end);
            return begun.then_some(SseItem::Comment);
        };
        let as_it_came = if self.names { !bent } else { !odd };
        if as_it_came && joined.is_none() && end == start + 1 {
            let raw = self.split(end);
            return Some(SseItem::Event(SseEvent { raw, data, joined: None, name }));
        }
        let joined = joined.map(BytesMut::freeze);
        let payload = joined.as_deref().unwrap_or(&self.buffered()[data]);
        let mut raw = BytesMut::with_capacity(payload.len() + 8);
        if let Some(name) = name.as_deref().filter(|_| self.names) {
            raw.extend_from_slice(&[b"event: ", name, b"\n"].concat());
        }
        raw.extend_from_slice(b"data: ");
        let data_start = raw.len();
        // A payload is JSON, where a line feed between tokens means no more than a space.
        raw.extend(payload.iter().map(|&byte| if byte == b'\n' { b' ' } else { byte }));
        let data = data_start..raw.len();
        raw.extend_from_slice(b"\n\n");
        self.consume(end);
        Some(SseItem::Event(SseEvent { raw: raw.freeze(), data, joined, name }))
    }

    fn split(&mut self, end: usize) -> Bytes {
        if !self.gathered.is_empty() {
            return self.gathered.split_to(end).freeze();
        }
        if end == self.piece.len() { std::mem::take(&mut self.piece) } else { self.piece.split_to(end) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// An event's raw bytes, data and name; `None` for a comment.
    type Shown = Option<(Vec<u8>, Vec<u8>, Option<Vec<u8>>)>;

    /// Reads pieces to their end.
    fn read(pieces: &[&[u8]]) -> Vec<Shown> {
        read_with(SseReader::new(), pieces)
    }

    fn read_with(mut reader: SseReader, pieces: &[&[u8]]) -> Vec<Shown> {
        let mut items = Vec::new();
        for piece in pieces {
            reader.feed(Bytes::copy_from_slice(piece));
            items.extend(std::iter::from_fn(|| reader.next_event()));
        }
        items.extend(reader.finish());
        let show = |event: SseEvent| (event.raw().to_vec(), event.data().to_vec(), event.name().map(<[u8]>::to_vec));
        let items = items.into_iter().map(Result::unwrap);
        items.map(|item| if let SseItem::Event(event) = item { Some(show(event)) } else { None }).collect()
    }

    fn event(raw: &str, data: &str) -> Shown {
        Some((raw.into(), data.into(), None))
    }

    #[test]
    fn a_canonical_event_is_the_very_bytes_that_came() {
        let mut reader = SseReader::new();
        let piece = Bytes::from_static(b"data: {}\n\ndata: [DONE]\n\n");
        reader.feed(piece.clone());

        let Some(Ok(SseItem::Event(first))) = reader.next_event() else { panic!("no event") };

        assert_eq!(first.raw().as_ptr(), piece.as_ptr());
        assert_eq!(first.data(), b"{}");
    }

    #[test]
    fn odd_framing_is_made_canonical() {
        assert_eq!(read(&[b"data:{}\r\n\r\n"]), [event("data: {}\n\n", "{}")]);
        assert_eq!(read(&[b"data: {\rdata: }\r\r"]), [event("data: { }\n\n", "{\n}")]);
        assert_eq!(read(&[b"\xEF\xBB\xBFid: 7\ndata: {}\n\n"]), [event("data: {}\n\n", "{}")]);
        assert_eq!(read(&[b"event: error\ndata: {}\n\n"])[0].as_ref().unwrap().2.as_deref(), Some(&b"error"[..]));
        assert_eq!(read(&[b"data: {}\n: note\n\n"]), [event("data: {}\n\n", "{}")]);
    }

    #[test]
    fn names_are_kept_where_wanted() {
        let named = |text: &[u8]| {
            let shown = read_with(SseReader::with_names(), &[text]).remove(0).unwrap();
            [shown.0, shown.1, shown.2.unwrap_or_default()].map(|bytes| String::from_utf8(bytes).unwrap())
        };

        let as_it_came = "id: 7\nevent: ping\ndata: {\"type\": \"ping\"  }\n\n";
        assert_eq!(named(as_it_came.as_bytes()), [as_it_came, "{\"type\": \"ping\"  }", "ping"]);
        assert_eq!(named(b"data:{}\n\n"), ["data:{}\n\n", "{}", ""]);
        assert_eq!(named(b"event:a\r\ndata:{}\r\n\r\n"), ["event: a\ndata: {}\n\n", "{}", "a"]);
        assert_eq!(named(b"data: {\nevent: a\ndata: }\n\n"), ["event: a\ndata: { }\n\n", "{\n}", "a"]);
    }

    #[test]
    fn comments_and_blank_lines_are_no_events() {
        assert_eq!(read(&[b": OPEN\n\n\n\ndata: {}\n\n:x\n"]), [None, event("data: {}\n\n", "{}"), None]);
        assert_eq!(read(&[b"event: ping\n\n"]), [None]);
    }

    #[test]
    fn the_last_event_needs_no_blank_line() {
        assert_eq!(read(&[b"data: [DONE]"]), [event("data: [DONE]\n\n", "[DONE]")]);
        assert_eq!(read(&[b"data: [DONE]\n"]), [event("data: [DONE]\n\n", "[DONE]")]);
        assert_eq!(read(&[b"data: {}\n\n\n"]), [event("data: {}\n\n", "{}")]);
        assert_eq!(read(&[b""]), []);
    }

    #[test]
    fn an_event_above_the_limit_ends_the_stream() {
        let mut reader = SseReader::new();
        reader.feed(Bytes::from(vec![b'x'; EVENT_MAX + 1]));

        assert_eq!(reader.next_event(), Some(Err(SseError::TooLarge)));
        assert_eq!(reader.next_event(), None);
    }

    #[test]
    fn the_limit_is_the_same_however_the_bytes_are_cut() {
        for (payload, is_read) in [(EVENT_MAX - 8, true), (EVENT_MAX - 7, false)] {
            let event = [&b"data: "[..], &vec![b'x'; payload], b"\n\n"].concat();
            for cut in [0, 1, payload, event.len() - 2, event.len() - 1] {
                let mut reader = SseReader::new();
                reader.feed(Bytes::copy_from_slice(&event[..cut]));
                let early = reader.next_event();
                reader.feed(Bytes::copy_from_slice(&event[cut..]));
                let late = reader.next_event();

                assert_eq!(early.or(late).is_some_and(|item| item.is_ok()), is_read, "{payload} bytes, cut at {cut}");
            }
        }
    }

    #[test]
    fn a_large_event_in_small_pieces_is_read_in_linear_time() {
        let mut reader = SseReader::new();
        let piece = Bytes::from(vec![b'x'; 64]);
        reader.feed(Bytes::from_static(b"data: "));
        for _ in 0..50_000 {
            reader.feed(piece.clone());
            assert_eq!(reader.next_event(), None);
        }
        reader.feed(Bytes::from_static(b"\n\n"));

        assert!(matches!(reader.next_event(), Some(Ok(SseItem::Event(event))) if event.data().len() == 3_200_000));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            lines in proptest::collection::vec("(data: ?|event: ?|: ?|id:|x|)[a-c{}\u{e9}\u{1F680}]{0,6}(\n|\r|\r\n|\n\n|\r\n\r\n)", 0..12),
            bom in any::<bool>(),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let text = format!("{}{}", if bom { "\u{feff}" } else { "" }, lines.concat()).into_bytes();
            let whole = read(&[&text]);
            let named = read_with(SseReader::with_names(), &[&text]);

            for at in 0..=text.len() {
                prop_assert_eq!(&read(&[&text[..at], &text[at..]]), &whole, "split at {}", at);
                let pieces: [&[u8]; 2] = [&text[..at], &text[at..]];
                prop_assert_eq!(&read_with(SseReader::with_names(), &pieces), &named, "split at {}", at);
            }
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).chain([0, text.len()]).collect();
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(&read(&pieces), &whole);
        }
    }
}
