//! What must hold for any bytes at all; shared by the fuzz targets and by `tests/invariants.rs`.
//!
//! Each function takes one input, whose form its own doc gives, and panics if an invariant is broken. The forms are
//! text, so that a seed can be written and a crash be read with an editor.

mod failures;
mod privacy;
mod replies;
mod requests;
mod settings;
mod streams;
mod translations;

pub use failures::{judge, retry_after};
pub use privacy::{privacy_scan, privacy_screen, privacy_walk};
pub use replies::whole_reply;
pub use requests::{auth_header, request_intake};
pub use settings::configuration;
pub use streams::{reply_stream, sse_reader};
pub use translations::{UPSTREAMS, client_body, event_stream, translated_stream};

use serde::de::IgnoredAny;

/// Splits the first line off, which steers the check; without a line feed all is steering.
fn steered(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    (&data[..at], data.get(at + 1..).unwrap_or_default())
}

/// Splits an HTTP-like input at its first blank line: lines of the head, and the body.
fn head_and_body(data: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let at = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = at.map_or((data, &b""[..]), |at| (&data[..at], &data[at + 2..]));
    (head.split(|&byte| byte == b'\n').collect(), body)
}

/// Returns the headers among lines of `name: value`, names in lower case. Only values that awc's `to_str` would give.
fn headers<'d>(lines: &[&'d [u8]]) -> Vec<(String, &'d str)> {
    lines.iter().filter_map(|line| header(line)).filter_map(|(name, value)| Some((name, visible(value)?))).collect()
}

fn header(line: &[u8]) -> Option<(String, &[u8])> {
    let at = line.iter().position(|&byte| byte == b':')?;
    Some((String::from_utf8_lossy(&line[..at]).to_ascii_lowercase(), line[at + 1..].trim_ascii()))
}

fn visible(value: &[u8]) -> Option<&str> {
    let visible = value.iter().all(|&byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    std::str::from_utf8(value).ok().filter(|_| visible)
}

/// Returns whether the bytes are one JSON text. Half surrogate pairs count as text here.
fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}
