//! `[[guardrails.webhooks]]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use bursar_actors::Secret;

use super::{Known, audience, name, stages};
use crate::config::check::{Checker, Taken, webhook};
use crate::config::layer::{child, item};
use crate::config::privacy::{Passage, Reviewer, Stages};
use crate::config::raw::RawReviewer;

/// How long one question may take.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(30);
const TIMEOUT_USUAL: Duration = Duration::from_secs(2);
/// Characters of a stream that one question is about.
const WINDOW: RangeInclusive<u32> = 32..=65_536;
const WINDOW_USUAL: u32 = 400;

/// Checks all webhooks; `names` are taken by the rules, and `on_error` holds where one says nothing.
pub(super) fn reviewers(
    checker: &mut Checker<'_>,
    raw: &[RawReviewer],
    names: &mut Taken,
    on_error: Passage,
    known: &Known<'_>,
) -> Vec<Reviewer> {
    let each = raw.iter().enumerate();
    each.filter_map(|(index, raw)| reviewer(checker, &item("guardrails.webhooks", index), raw, names, on_error, known))
        .collect()
}

fn reviewer(
    checker: &mut Checker<'_>,
    path: &str,
    raw: &RawReviewer,
    names: &mut Taken,
    on_error: Passage,
    known: &Known<'_>,
) -> Option<Reviewer> {
    let name = name(checker, path, raw.name.as_deref(), names);
    let timeout = checker.duration(path, "timeout", raw.timeout.as_ref(), TIMEOUT_USUAL);
    if !TIMEOUT.contains(&timeout) {
        let here = child(path, "timeout");
        checker.fault(&here, format!("{here} is {timeout:?}; it is from {:?} to {:?}", TIMEOUT.start(), TIMEOUT.end()));
    }
    let stream_window = raw.stream_window.unwrap_or(WINDOW_USUAL);
    if !WINDOW.contains(&stream_window) {
        let here = child(path, "stream_window");
        let (least, most) = (WINDOW.start(), WINDOW.end());
        checker
            .fault(&here, format!("{here} is {stream_window}; it is a number of characters, from {least} to {most}"));
    }
    let token = raw.token.as_ref().and_then(|token| bearer(checker, &child(path, "token"), token));
    let secret = webhook::secret(checker, path, raw.secret.as_ref());
    let stages = stages(checker, path, raw.stage.as_deref(), Stages::BOTH);
    let audience = audience(checker, path, (&raw.teams, &raw.orgs, &raw.routes), known);
    let url = webhook::url(checker, path, raw.url.as_ref(), "https://dlp.example.com/review")?;
    let (on_error, stream_window) = (raw.on_error.unwrap_or(on_error), stream_window as usize);
    Some(Reviewer { name, url, secret, token, stages, timeout, on_error, stream_window, audience })
}

/// Returns a token that can stand in a header.
fn bearer(checker: &mut Checker<'_>, path: &str, token: &str) -> Option<Secret> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        checker.fault(path, format!("{path} is empty, or holds what no token has: blanks or letters beyond ASCII"));
        return None;
    }
    Some(Secret::new(token.to_owned()))
}
