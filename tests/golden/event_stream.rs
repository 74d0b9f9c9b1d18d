//! AWS's binary framing (`application/vnd.amazon.eventstream`), written from lines.

use serde_json::Value;

/// Frames a message per line: `{"event": name, "data": {…}}`, or `{"exception": name, "data": {…}}`.
pub fn framed(lines: &str) -> Vec<u8> {
    lines.lines().flat_map(|line| message(&serde_json::from_str(line).unwrap())).collect()
}

fn message(line: &Value) -> Vec<u8> {
    let kind = if line.get("exception").is_some() { "exception" } else { "event" };
    let (mut named, payload) = (Vec::new(), line["data"].to_string());
    let typed = format!(":{kind}-type");
    for (name, value) in [(&typed[..], line[kind].as_str().unwrap()), (":message-type", kind)] {
        named.push(u8::try_from(name.len()).unwrap());
        named.extend_from_slice(name.as_bytes());
        named.push(7);
        named.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        named.extend_from_slice(value.as_bytes());
    }
    let mut out = Vec::new();
    out.extend_from_slice(&u32::try_from(16 + named.len() + payload.len()).unwrap().to_be_bytes());
    out.extend_from_slice(&u32::try_from(named.len()).unwrap().to_be_bytes());
    out.extend_from_slice(&crc32(&out).to_be_bytes());
    out.extend_from_slice(&named);
    out.extend_from_slice(payload.as_bytes());
    out.extend_from_slice(&crc32(&out).to_be_bytes());
    out
}

/// CRC-32 as IEEE 802.3 has it.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum, &byte| (0..8).fold(sum ^ u32::from(byte), step))
}
