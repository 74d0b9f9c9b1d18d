//! AWS's binary framing of streams (`application/vnd.amazon.eventstream`) cut into messages.
//!
//! total length u32 | length of headers u32 | CRC-32 of these eight bytes | headers | payload | CRC-32 of all before it;
//! everything big-endian. A message whose sums do not fit ends the stream: what follows cannot be found any more.

use bytes::{Buf, Bytes, BytesMut};
use serde_json::{Map, Value};

/// Bytes one message may have, as AWS bounds it.
const MESSAGE_MAX: usize = 16 * 1024 * 1024;
const HEADERS_MAX: usize = 128 * 1024;
const PRELUDE: usize = 12;
const TRAILER: usize = 4;
/// The name under which exceptions and errors come out.
const EXCEPTION: &str = "exception";

/// One message.
///
/// An exception (`:message-type` is `exception` or `error`) has the name `exception`, and as data its payload with three
/// members more: `__type` and `code`, the exception's name as in `throttlingException`, and `status`, the HTTP status that
/// the same exception has outside of a stream, where it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventMessage {
    name: Bytes,
    data: Bytes,
}

impl EventMessage {
    /// The `:event-type`, or `exception`.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The payload.
    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

/// Cuts a body into messages, wherever its pieces were cut.
#[derive(Debug, Default)]
pub struct EventStreamReader {
    gathered: BytesMut,
}

impl EventStreamReader {
    /// Takes the next bytes of the body.
    pub fn feed(&mut self, piece: &[u8]) {
        self.gathered.extend_from_slice(piece);
    }

    /// Returns the next message that is complete, or why the stream cannot be read on.
    pub fn next_message(&mut self) -> Option<Result<EventMessage, String>> {
        let prelude = self.gathered.first_chunk::<PRELUDE>()?;
        let total = read_u32(&prelude[..4]) as usize;
        let headers = read_u32(&prelude[4..8]) as usize;
        if crc32(&prelude[..8]) != read_u32(&prelude[8..]) {
            return Some(Err("the checksum of a message's lengths is wrong".into()));
        }
        if total > MESSAGE_MAX || headers > HEADERS_MAX {
            return Some(Err("a message is larger than 16 MiB".into()));
        }
        if total < PRELUDE + headers + TRAILER {
            return Some(Err("a message is shorter than its headers".into()));
        }
        // Room is made by what arrives, not by what was announced.
        if self.gathered.len() < total {
            return None;
        }
        let message = self.gathered.split_to(total).freeze();
        let (body, sum) = message.split_at(total - TRAILER);
        if crc32(body) != read_u32(sum) {
            return Some(Err("the checksum of a message is wrong".into()));
        }
        let names = message.slice(PRELUDE..PRELUDE + headers);
        let payload = message.slice(PRELUDE + headers..total - TRAILER);
        let Some(names) = Names::read(names) else { return Some(Err("the headers of a message make no sense".into())) };
        Some(Ok(names.message(payload)))
    }

    /// Returns what is wrong at the end of the body: the beginning of a message that never ended.
    pub fn finish(&mut self) -> Option<Result<EventMessage, String>> {
        let rest = std::mem::take(&mut self.gathered);
        (!rest.is_empty()).then(|| Err("the stream ends within a message".into()))
    }
}

/// The headers that say what a message is.
#[derive(Debug, Default)]
struct Names {
    message_type: Bytes,
    event_type: Bytes,
    exception_type: Bytes,
    error_code: Bytes,
    error_message: Bytes,
}

impl Names {
    fn read(mut headers: Bytes) -> Option<Self> {
        let mut names = Self::default();
        while !headers.is_empty() {
            let length = usize::from(headers.try_get_u8().ok()?);
            let name = take(&mut headers, length)?;
            let value = match headers.try_get_u8().ok()? {
                // True and false have no value of their own.
                0 | 1 => Bytes::new(),
                2 => take(&mut headers, 1)?,
                3 => take(&mut headers, 2)?,
                4 => take(&mut headers, 4)?,
                5 | 8 => take(&mut headers, 8)?,
                6 | 7 => {
                    let length = usize::from(headers.try_get_u16().ok()?);
                    take(&mut headers, length)?
                }
                9 => take(&mut headers, 16)?,
                _ => return None,
            };
            match name.as_ref() {
                b":message-type" => names.message_type = value,
                b":event-type" => names.event_type = value,
                b":exception-type" => names.exception_type = value,
                b":error-code" => names.error_code = value,
                b":error-message" => names.error_message = value,
                _ => {}
            }
        }
        Some(names)
    }

    fn message(self, payload: Bytes) -> EventMessage {
        match self.message_type.as_ref() {
            b"exception" => exception(&self.exception_type, &payload, b""),
            b"error" => exception(&self.error_code, &payload, &self.error_message),
            _ => EventMessage { name: self.event_type, data: payload },
        }
    }
}

fn exception(name: &[u8], payload: &[u8], message: &[u8]) -> EventMessage {
    let mut object = match serde_json::from_slice(payload) {
        Ok(Value::Object(object)) => object,
        _ => Map::from_iter([("message".to_owned(), String::from_utf8_lossy(payload).into())]),
    };
    if !message.is_empty() {
        object.insert("message".into(), String::from_utf8_lossy(message).into());
    }
    let name = String::from_utf8_lossy(name);
    if let Some(status) = status_of(&name) {
        object.insert("status".into(), status.into());
    }
    object.insert("code".into(), name.as_ref().into());
    object.insert("__type".into(), name.into());
    EventMessage { name: Bytes::from_static(EXCEPTION.as_bytes()), data: Value::Object(object).to_string().into() }
}

/// The status that an exception has where it is not part of a stream.
fn status_of(name: &str) -> Option<u16> {
    const STATUS: &[(&str, u16)] = &[
        ("validationException", 400),
        ("accessDeniedException", 403),
        ("resourceNotFoundException", 404),
        ("modelTimeoutException", 408),
        ("modelErrorException", 424),
        ("modelStreamErrorException", 424),
        ("modelNotReadyException", 429),
        ("throttlingException", 429),
        ("internalServerException", 500),
        ("serviceUnavailableException", 503),
    ];
    STATUS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, status)| *status)
}

fn take(from: &mut Bytes, length: usize) -> Option<Bytes> {
    (from.len() >= length).then(|| from.split_to(length))
}

fn read_u32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

/// CRC-32 of IEEE 802.3 (polynomial 0xEDB88320, reflected), a byte at a time.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let (mut entry, mut bit) = (byte as u32, 0);
            while bit < 8 {
                entry = if entry & 1 == 1 { entry >> 1 ^ 0xEDB8_8320 } else { entry >> 1 };
                bit += 1;
            }
            table[byte] = entry;
            byte += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |sum, byte| sum >> 8 ^ TABLE[usize::from(sum as u8 ^ byte)])
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes a message as AWS does.
    pub(in crate::providers) fn message(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
        let mut named = Vec::new();
        for (name, value) in headers {
            named.push(name.len() as u8);
            named.extend_from_slice(name.as_bytes());
            named.push(7);
            named.extend_from_slice(&(value.len() as u16).to_be_bytes());
            named.extend_from_slice(value.as_bytes());
        }
        let mut out = Vec::new();
        out.extend_from_slice(&((PRELUDE + named.len() + payload.len() + TRAILER) as u32).to_be_bytes());
        out.extend_from_slice(&(named.len() as u32).to_be_bytes());
        out.extend_from_slice(&crc32(&out).to_be_bytes());
        out.extend_from_slice(&named);
        out.extend_from_slice(payload);
        out.extend_from_slice(&crc32(&out).to_be_bytes());
        out
    }

    fn event(name: &str, payload: &str) -> Vec<u8> {
        let headers = [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")];
        message(&headers, payload.as_bytes())
    }

    fn read<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<Result<EventMessage, String>> {
        let (mut reader, mut out) = (EventStreamReader::default(), Vec::new());
        for piece in pieces {
            reader.feed(piece);
            while let Some(message) = reader.next_message() {
                let failed = message.is_err();
                out.push(message);
                if failed {
                    return out;
                }
            }
        }
        out.extend(reader.finish());
        out
    }

    #[test]
    fn the_checksum_is_the_one_of_ieee() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn a_message_without_headers_and_payload_is_sixteen_bytes_long() {
        // The empty message of AWS's own test vectors.
        let empty = [0, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xC2, 0x48, 0xEB, 0x7D, 0x98, 0xC8, 0xFF];

        assert_eq!(message(&[], b""), empty);
        assert_eq!(read([&empty[..]])[0].as_ref().unwrap().data(), b"");
    }

    #[test]
    fn messages_come_out_the_same_wherever_the_body_is_cut() {
        let body = [event("messageStart", "{}"), event("metadata", r#"{"a":1}"#)].concat();
        let whole = read([&body[..]]);

        for at in 0..body.len() {
            let (left, right) = body.split_at(at);
            assert_eq!(read([left, right]), whole);
        }
        assert_eq!(read(body.chunks(1)), whole);
        assert_eq!(whole[1].as_ref().unwrap().name(), b"metadata");
    }

    #[test]
    fn a_byte_that_was_changed_anywhere_is_found() {
        let body = event("metadata", r#"{"usage":{}}"#);

        for at in 0..body.len() {
            let mut broken = body.clone();
            broken[at] ^= 0x10;
            assert!(read([&broken[..]]).iter().any(Result::is_err), "byte {at}");
        }
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_anything_is_kept_for_it() {
        let mut prelude = [0xFF, 0xFF, 0xFF, 0xF0, 0, 0, 0, 0].to_vec();
        prelude.extend_from_slice(&crc32(&prelude).to_be_bytes());
        let mut reader = EventStreamReader::default();

        reader.feed(&prelude);

        assert_eq!(reader.next_message(), Some(Err("a message is larger than 16 MiB".into())));
        assert!(reader.gathered.capacity() < 1024);
    }

    #[test]
    fn an_exception_carries_its_name_and_status() {
        let throttled = message(
            &[(":exception-type", "throttlingException"), (":message-type", "exception")],
            br#"{"message":"wait"}"#,
        );
        let error = message(&[(":message-type", "error"), (":error-code", "Odd"), (":error-message", "it broke")], b"");

        let read = read([&throttled[..], &error[..]]);

        let data = |at: usize| serde_json::from_slice::<Value>(read[at].as_ref().unwrap().data()).unwrap();
        assert_eq!(read[0].as_ref().unwrap().name(), b"exception");
        let named = serde_json::json!({"__type": "throttlingException", "code": "throttlingException",
            "message": "wait", "status": 429});
        assert_eq!(data(0), named);
        assert_eq!(data(1), serde_json::json!({"__type": "Odd", "code": "Odd", "message": "it broke"}));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            read(bytes.chunks(7));
            prop_assert!(Names::read(bytes.into()).is_none_or(|names| names.event_type.len() < 200));
        }
    }
}
