//! Writing a reply to the socket, with every fault the script may ask for.
//!
//! Pieces without a wait between them leave in one write; a wait or `split` forces what is pending out first. The
//! caller drops the future as soon as the client hangs up, so a stall simply never ends.

use std::fmt::Write as _;
use std::future::pending;
use std::io;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::WriteHalf;
use tokio::time::{Instant, sleep_until};

use super::reply::{Piece, Reply};
use super::script::Behaviour;

/// Pending bytes above which a write happens although nothing forces it.
const ENOUGH: usize = 16 * 1024;

/// How the connection stands after a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Everything is out; another request may follow.
    Reusable,
    /// Everything is out, and the connection must close.
    Last,
    /// Broken off by the script: close in good order.
    Cut,
    /// Broken off by the script: close with a reset.
    Reset,
}

/// What the request means for its reply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) keep_alive: bool,
    pub(super) http_1_0: bool,
    /// Whether the method is HEAD, whose reply has no body.
    pub(super) head_only: bool,
    pub(super) received: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    Close,
    /// The status or the method allows no body.
    None,
}

/// Sends the reply; an error means that the client is gone.
pub(super) async fn send(
    writer: &mut WriteHalf<'_>,
    reply: &Reply,
    faults: &Behaviour,
    terms: Terms,
) -> io::Result<Sent> {
    let mut clock = terms.received + faults.delay.unwrap_or_default();
    sleep_until(clock).await;
    if faults.stall_head {
        pending::<()>().await;
    }
    if let Some(garbage) = &faults.garbage {
        writer.write_all(&garbage.0).await?;
        return Ok(if faults.reset_after.is_some() { Sent::Reset } else { Sent::Cut });
    }
    clock += reply.wait;
    sleep_until(clock).await;

    let framing = framing(reply, faults, terms);
    let keep_alive = terms.keep_alive && framing != Framing::Close;
    let end = End::of(faults);
    let mut out = Out { writer, pending: head(reply, framing, keep_alive, terms).into_bytes(), framing };
    if framing != Framing::None {
        let mut left = end.after;
        for Piece { wait, bytes } in &reply.pieces {
            if !wait.is_zero() {
                out.flush().await?;
                clock += *wait;
                sleep_until(clock).await;
            }
            let allowed = bytes.slice(..bytes.len().min(left));
            left -= allowed.len();
            out.body(allowed, faults.split).await?;
            if left == 0 {
                break;
            }
        }
    }
    out.finish(end.fault, keep_alive).await
}

/// Where the body breaks off, and how.
struct End {
    after: usize,
    fault: Option<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Cut,
    Reset,
    Stall,
}

impl End {
    fn of(faults: &Behaviour) -> Self {
        [(faults.cut_after, Fault::Cut), (faults.reset_after, Fault::Reset), (faults.stall_after, Fault::Stall)]
            .into_iter()
            .filter_map(|(after, fault)| Some(Self { after: after?, fault: Some(fault) }))
            .min_by_key(|end| end.after)
            .unwrap_or(Self { after: usize::MAX, fault: None })
    }
}

fn framing(reply: &Reply, faults: &Behaviour, terms: Terms) -> Framing {
    if terms.head_only || matches!(reply.status, 100..=199 | 204 | 304) {
        Framing::None
    } else if faults.close_delimited || (terms.http_1_0 && reply.streamed) {
        Framing::Close
    } else if reply.streamed {
        Framing::Chunked
    } else {
        Framing::Length(reply.pieces.iter().map(|piece| piece.bytes.len()).sum())
    }
}

fn head(reply: &Reply, framing: Framing, keep_alive: bool, terms: Terms) -> String {
    let reason = actix_web::http::StatusCode::from_u16(reply.status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Unknown");
    let date = httpdate::fmt_http_date(SystemTime::now());
    let mut head = format!("HTTP/1.1 {} {reason}\r\ndate: {date}\r\n", reply.status);
    let mut add = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = write!(head, "{name}: {value}\r\n");
    };
    if framing != Framing::None {
        add("content-type", &reply.content_type);
    }
    for (name, value) in &reply.headers {
        add(name, value);
    }
    if reply.tells_time && !reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("openai-processing-ms")) {
        add("openai-processing-ms", &terms.received.elapsed().as_millis().to_string());
    }
    match framing {
        Framing::Length(length) => add("content-length", &length.to_string()),
        Framing::Chunked => add("transfer-encoding", "chunked"),
        Framing::Close | Framing::None => {}
    }
    if !keep_alive {
        add("connection", "close");
    }
    head.push_str("\r\n");
    head
}

struct Out<'a, 'b> {
    writer: &'a mut WriteHalf<'b>,
    pending: Vec<u8>,
    framing: Framing,
}

impl Out<'_, '_> {
    async fn flush(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.writer.write_all(&self.pending).await?;
            self.pending.clear();
        }
        Ok(())
    }

    /// Frames body bytes, in pieces of `split` bytes that leave one by one when that is given.
    async fn body(&mut self, bytes: Bytes, split: Option<usize>) -> io::Result<()> {
        let Some(size) = split else {
            self.frame(&bytes);
            return if self.pending.len() >= ENOUGH { self.flush().await } else { Ok(()) };
        };
        for part in bytes.chunks(size.max(1)) {
            self.frame(part);
            self.flush().await?;
            // Lets a client on this machine read the part before the next one joins it in the socket's buffer.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn frame(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return; // An empty chunk would end the body.
        }
        if self.framing == Framing::Chunked {
            self.pending.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
            self.pending.extend_from_slice(bytes);
            self.pending.extend_from_slice(b"\r\n");
        } else {
            self.pending.extend_from_slice(bytes);
        }
    }

    async fn finish(mut self, fault: Option<Fault>, keep_alive: bool) -> io::Result<Sent> {
        if fault.is_none() && self.framing == Framing::Chunked {
            self.pending.extend_from_slice(b"0\r\n\r\n");
        }
        self.flush().await?;
        match fault {
            Some(Fault::Cut) => Ok(Sent::Cut),
            Some(Fault::Reset) => Ok(Sent::Reset),
            Some(Fault::Stall) => pending().await,
            None if keep_alive => Ok(Sent::Reusable),
            None => Ok(Sent::Last),
        }
    }
}
