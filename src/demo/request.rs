//! Reading one HTTP/1.1 request from a connection: head, then body by length or in chunks, both bounded.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::reply::Refusal;

const MAX_HEADERS: usize = 128;
const MAX_HEAD: usize = 64 * 1024;
const MAX_BODY: usize = 32 * 1024 * 1024;
/// Longest line that announces a chunk, extensions included.
const MAX_CHUNK_LINE: usize = 4 * 1024;

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    /// Whether the client speaks HTTP/1.0, to which no chunk may be sent.
    pub(super) http_1_0: bool,
    pub(super) keep_alive: bool,
}

impl Request {
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the key: `x-api-key`, `x-goog-api-key`, the bearer of `authorization`, or `key` of the query.
    ///
    /// Of several the first counts, as at Anthropic.
    pub(super) fn key(&self) -> Option<&str> {
        let bearer = || {
            let (scheme, key) = self.header("authorization")?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        };
        self.header("x-api-key").or_else(|| self.header("x-goog-api-key")).or_else(bearer).or_else(|| self.query("key"))
    }

    /// Returns a parameter of the query, as sent.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }
}

/// Why no request could be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// The client closed, or the connection failed: nobody is left to answer.
    Gone,
    /// What came is no request this server takes; after the refusal the connection must close.
    Refused(Refusal),
}

impl From<io::Error> for Unread {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Reads the next request; bytes of the one after it stay in `buffer`.
pub(super) async fn read(
    reader: &mut ReadHalf<'_>,
    writer: &mut WriteHalf<'_>,
    buffer: &mut BytesMut,
) -> Result<Request, Unread> {
    let mut request = loop {
        if let Some(request) = take_head(buffer)? {
            break request;
        }
        more(reader, buffer).await?;
    };
    if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let chunked =
        request.header("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked"));
    request.body =
        if chunked { read_chunks(reader, buffer).await? } else { read_length(&request, reader, buffer).await? };
    Ok(request)
}

async fn more(reader: &mut ReadHalf<'_>, buffer: &mut BytesMut) -> Result<(), Unread> {
    match reader.read_buf(buffer).await? {
        0 => Err(Unread::Gone),
        _ => Ok(()),
    }
}

/// Takes a complete head off the buffer; none while it is incomplete.
fn take_head(buffer: &mut BytesMut) -> Result<Option<Request>, Unread> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(Unread::Refused(Refusal::plain(431, "the request's headers are too large")));
        }
        Err(error) => return Err(Unread::Refused(Refusal::plain(400, format!("this is not HTTP/1.1: {error}")))),
    };
    let http_1_0 = head.version == Some(0);
    let headers: Vec<(String, String)> = head
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).trim().to_owned()))
        .collect();
    let mut request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        target: head.path.unwrap_or_default().to_owned(),
        headers,
        body: Bytes::new(),
        http_1_0,
        keep_alive: false,
    };
    let connection = request.header("connection").unwrap_or_default().to_ascii_lowercase();
    request.keep_alive = if http_1_0 { connection.contains("keep-alive") } else { !connection.contains("close") };
    buffer.advance(length);
    Ok(Some(request))
}

async fn read_length(request: &Request, reader: &mut ReadHalf<'_>, buffer: &mut BytesMut) -> Result<Bytes, Unread> {
    let Some(length) = request.header("content-length") else { return Ok(Bytes::new()) };
    let length: usize = length
        .parse()
        .map_err(|_| Unread::Refused(Refusal::plain(400, format!("content-length `{length}` is no number"))))?;
    if length > MAX_BODY {
        return Err(too_large());
    }
    buffer.reserve(length.saturating_sub(buffer.len()));
    while buffer.len() < length {
        more(reader, buffer).await?;
    }
    Ok(buffer.split_to(length).freeze())
}

async fn read_chunks(reader: &mut ReadHalf<'_>, buffer: &mut BytesMut) -> Result<Bytes, Unread> {
    let mut body = BytesMut::new();
    loop {
        let size = loop {
            match httparse::parse_chunk_size(buffer) {
                Ok(httparse::Status::Complete((line, size))) => {
                    buffer.advance(line);
                    break usize::try_from(size).map_err(|_| too_large())?;
                }
                Ok(httparse::Status::Partial) if buffer.len() < MAX_CHUNK_LINE => more(reader, buffer).await?,
                _ => return Err(bad_chunk()),
            }
        };
        if size > MAX_BODY - body.len() {
            return Err(too_large());
        }
        if size == 0 {
            return skip_trailers(reader, buffer).await.map(|()| body.freeze());
        }
        while buffer.len() < size + 2 {
            more(reader, buffer).await?;
        }
        body.extend_from_slice(&buffer.split_to(size));
        if buffer.split_to(2) != "\r\n" {
            return Err(bad_chunk());
        }
    }
}

async fn skip_trailers(reader: &mut ReadHalf<'_>, buffer: &mut BytesMut) -> Result<(), Unread> {
    loop {
        if let Some(end) = buffer.windows(2).position(|pair| pair == b"\r\n") {
            buffer.advance(end + 2);
            if end == 0 {
                return Ok(());
            }
        } else if buffer.len() > MAX_HEAD {
            return Err(bad_chunk());
        } else {
            more(reader, buffer).await?;
        }
    }
}

fn too_large() -> Unread {
    Unread::Refused(Refusal::plain(413, format!("the request body is larger than {MAX_BODY} bytes")))
}

fn bad_chunk() -> Unread {
    Unread::Refused(Refusal::plain(400, "the chunked request body is malformed"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_incomplete_head_is_awaited_and_left_in_the_buffer() {
        let mut buffer = BytesMut::from("GET /v1/models HTTP/1.1\r\nhost: x\r\n");

        assert!(take_head(&mut buffer).unwrap().is_none());

        assert!(buffer.starts_with(b"GET"));
    }

    #[test]
    fn a_head_gives_the_path_without_its_query_and_the_bearer() {
        let mut buffer = BytesMut::from("GET /v1/models?a=1 HTTP/1.1\r\nAuthorization: bearer k1\r\n\r\nrest");

        let request = take_head(&mut buffer).unwrap().unwrap();

        assert_eq!((request.path(), request.key(), request.keep_alive), ("/v1/models", Some("k1"), true));
        assert_eq!(buffer, "rest");
    }

    #[test]
    fn a_key_is_found_wherever_a_dialect_puts_it() {
        for head in ["/ HTTP/1.1\r\nx-api-key: k1", "/ HTTP/1.1\r\nx-goog-api-key: k1", "/?alt=sse&key=k1 HTTP/1.1"] {
            let mut buffer = BytesMut::from(format!("GET {head}\r\n\r\n").as_str());

            assert_eq!(take_head(&mut buffer).unwrap().unwrap().key(), Some("k1"), "{head}");
        }
    }

    #[test]
    fn an_http_1_0_client_keeps_the_connection_only_when_it_says_so() {
        let mut buffer = BytesMut::from("GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");

        let kept = [(); 2].map(|()| take_head(&mut buffer).unwrap().unwrap().keep_alive);

        assert_eq!(kept, [false, true]);
    }

    #[test]
    fn what_is_not_http_is_refused() {
        let mut buffer = BytesMut::from("\x16\x03\x01 hello\r\n\r\n");

        assert!(matches!(take_head(&mut buffer), Err(Unread::Refused(refusal)) if refusal.status == 400));
    }
}
