//! A client's request made fit for one upstream, by splicing the few bytes that differ.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::schema::RequestHead;

/// What an upstream of this dialect does not share with the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quirks {
    /// It knows `stream_options`; one that does not gets none, and its stream's usage is estimated.
    pub supports_stream_options: bool,
}

impl Default for Quirks {
    fn default() -> Self {
        Self { supports_stream_options: true }
    }
}

/// Returns the body to send: the upstream's model name, usage asked for, the gateway's own field gone.
///
/// Where nothing changes these are the very same bytes, not a copy.
pub fn encode(body: &Bytes, head: &RequestHead, upstream_model: &str, quirks: Quirks) -> Bytes {
    let model = model_text(head, upstream_model);
    let mut edits: Vec<(Range<usize>, &str)> = Vec::with_capacity(4);
    match (&model, &head.model_span) {
        (Some(text), Some(span)) => edits.push((span.clone(), text)),
        (Some(text), None) => edits.push((head.insert_at..head.insert_at, text)),
        (None, _) => {}
    }
    if quirks.supports_stream_options {
        edits.extend(head.ask_usage.as_ref().map(|edit| (edit.range.clone(), edit.text)));
    }
    edits.extend(cuts(body, head, quirks).into_iter().flatten().map(|range| (range, "")));
    if edits.is_empty() {
        return body.clone();
    }
    splice(body, edits)
}

/// Returns the JSON text that must stand for the model, or `None` where the client's own is right already.
fn model_text(head: &RequestHead, upstream_model: &str) -> Option<String> {
    if head.model.as_deref() == Some(upstream_model) {
        return None;
    }
    let name = serde_json::Value::from(upstream_model);
    Some(if head.model_span.is_some() { name.to_string() } else { format!(r#""model":{name},"#) })
}

/// Returns the members to leave out; two that touch become one.
fn cuts(body: &[u8], head: &RequestHead, quirks: Quirks) -> [Option<Range<usize>>; 2] {
    let own = head.own_cut.clone();
    let options = head.stream_options_cut.clone().filter(|_| !quirks.supports_stream_options);
    let (Some(one), Some(two)) = (&own, &options) else { return [own, options] };
    if one.end <= two.start || two.end <= one.start {
        return [own, options];
    }
    // They share a comma, so the earlier one is the object's first member: the comma behind the later goes as well.
    let (start, mut end) = (one.start.min(two.start), one.end.max(two.end));
    let blank = body[end..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    if body.get(end + blank) == Some(&b',') {
        end += blank + 1;
    }
    [Some(start..end), None]
}

fn splice(body: &[u8], mut edits: Vec<(Range<usize>, &str)>) -> Bytes {
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let added: usize = edits.iter().map(|(_, text)| text.len()).sum();
    let mut out = BytesMut::with_capacity(body.len() + added);
    let mut from = 0;
    for (range, text) in edits {
        out.extend_from_slice(&body[from..range.start]);
        out.extend_from_slice(text.as_bytes());
        from = range.end;
    }
    out.extend_from_slice(&body[from..]);
    out.freeze()
}
