//! Failures of upstreams: any status, headers and body.

use std::time::{Duration, SystemTime};

use bursar::error::Failure;
use bursar::providers::limits;
use bursar::upstream::judge::{judge_error_value, judge_status};

use super::{head_and_body, headers};

/// The moment at which the replies come: 2026-09-21T14:13:20Z.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

/// The input is an HTTP reply without the word HTTP: a line with the status, lines of headers, a blank line, the body.
///
/// Whatever is judged, no wait is above an hour, and no text is long, unprintable or holds a key.
pub fn judge(data: &[u8]) {
    let (lines, body) = head_and_body(data);
    let status = std::str::from_utf8(lines[0]).ok().and_then(|line| line.trim().parse().ok()).unwrap_or(500);
    let headers = headers(&lines);
    let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| *value);

    sound(&judge_status(status, &header, body, now()));
    sound(&judge_error_value(body));
}

fn sound(failure: &Failure) {
    assert!(failure.retry_after.is_none_or(|wait| !wait.is_zero() && wait <= limits::WAIT_MAX), "{failure:?}");
    assert!(!failure.message.is_empty(), "no message: {failure:?}");
    let texts = [Some(&failure.message), failure.kind.as_ref(), failure.code.as_ref(), failure.param.as_ref()];
    for text in texts.into_iter().flatten() {
        assert!(text.chars().count() <= 500, "{} characters", text.chars().count());
        assert!(!text.chars().any(char::is_control), "{text:?}");
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*')));
        let is_key = |word: &str| {
            let rest = word.get(..3).filter(|start| start.eq_ignore_ascii_case("sk-")).map(|_| &word[3..]);
            rest.is_some_and(|rest| rest.len() >= 12 && rest.bytes().any(|byte| byte.is_ascii_digit()))
        };
        assert!(!words.into_iter().any(is_key), "a key is shown: {text:?}");
    }
}

/// The input is lines of headers, a blank line, a body.
///
/// No form of a wait panics or comes to more than an hour, at any time of day or none.
pub fn retry_after(data: &[u8]) {
    let (lines, body) = head_and_body(data);
    let headers = headers(&lines);
    let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
    for now in [now(), SystemTime::UNIX_EPOCH] {
        let wait = limits::retry_after(&header, body, now);
        assert!(wait.is_none_or(|wait| !wait.is_zero() && wait <= limits::WAIT_MAX), "{wait:?}");
        let learned = limits::learn(&header, now);
        for one in [learned.requests, learned.tokens].into_iter().flatten() {
            assert!(one.reset.is_none_or(|reset| reset <= limits::WAIT_MAX), "{one:?}");
        }
    }
    for text in headers.iter().map(|(_, value)| *value).chain(std::str::from_utf8(body)) {
        assert!(limits::go_duration(text).is_none_or(|wait| wait <= limits::WAIT_MAX), "{text:?}");
    }
}
