//! What a provider says about limits and waiting, in headers, bodies and words; every wait is clamped to one hour.

use std::time::{Duration, SystemTime};

use bursar_actors::{Learned, LearnedLimits};
use serde_json::Value;

/// Looks up a response header by its lower-case name.
pub type Header<'a, 'h> = &'a dyn Fn(&str) -> Option<&'h str>;

/// The longest wait believed.
pub const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// Returns the remaining requests and tokens that OpenAI-type headers tell of the key.
pub fn learn(header: Header<'_, '_>, now: SystemTime) -> LearnedLimits {
    let dimension = |remaining: &str, limit: &str, reset: &str| {
        Some(Learned {
            limit: header(limit).and_then(count),
            remaining: header(remaining).and_then(count)?,
            reset: header(reset).and_then(|value| moment(value, now)),
        })
    };
    let requests =
        dimension("x-ratelimit-remaining-requests", "x-ratelimit-limit-requests", "x-ratelimit-reset-requests");
    let tokens = dimension("x-ratelimit-remaining-tokens", "x-ratelimit-limit-tokens", "x-ratelimit-reset-tokens");
    // OpenRouter and some others count requests only, without saying so.
    let plain = || dimension("x-ratelimit-remaining", "x-ratelimit-limit", "x-ratelimit-reset");
    LearnedLimits { requests: requests.or_else(plain), tokens }
}

/// Returns how long the provider asks to wait, by the first form found that makes sense.
pub fn retry_after(header: Header<'_, '_>, body: &[u8], now: SystemTime) -> Option<Duration> {
    from_headers(header, now)
        .or_else(|| retry_info(body))
        .or_else(|| exhausted(header, now))
        .or_else(|| in_words(&String::from_utf8_lossy(&body[..body.len().min(TEXT_MAX)])))
        .map(|wait| wait.min(WAIT_MAX))
}

/// Bytes of a body searched for words.
const TEXT_MAX: usize = 16 * 1024;

fn from_headers(header: Header<'_, '_>, now: SystemTime) -> Option<Duration> {
    let in_ms = header("retry-after-ms").and_then(|value| seconds(value, 0.001)).filter(|wait| !wait.is_zero());
    in_ms.or_else(|| {
        let value = header("retry-after")?;
        seconds(value, 1.0).or_else(|| {
            let date = httpdate::parse_http_date(value.trim()).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        })
    })
}

/// Reads `RetryInfo.retryDelay`, as Google writes it.
fn retry_info(body: &[u8]) -> Option<Duration> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let top = value.get(0).unwrap_or(&value);
    let details = top.pointer("/error/details")?.as_array()?;
    details.iter().find_map(|detail| go_duration(detail.get("retryDelay")?.as_str()?))
}

/// Returns the reset of the dimension of which nothing is left.
fn exhausted(header: Header<'_, '_>, now: SystemTime) -> Option<Duration> {
    let limits = learn(header, now);
    let learned = [limits.requests, limits.tokens];
    let resets = learned.into_iter().flatten().filter(|one| one.remaining == 0).filter_map(|one| one.reset);
    let named = ["requests", "tokens", "input-tokens", "output-tokens"].into_iter().filter_map(|name| {
        let left = header(&format!("anthropic-ratelimit-{name}-remaining")).and_then(count)?;
        let reset = header(&format!("anthropic-ratelimit-{name}-reset"))?;
        (left == 0).then(|| moment(reset, now))?
    });
    resets.chain(named).max()
}

/// Reads `try again in 1.5s` and `retry in 20 s`.
fn in_words(text: &str) -> Option<Duration> {
    let lower = text.to_ascii_lowercase();
    ["try again in ", "retry in ", "retry after "].into_iter().find_map(|lead| {
        let rest = &lower[lower.find(lead)? + lead.len()..];
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        if digits == 0 {
            return None;
        }
        let unit = rest[digits..].trim_start();
        let spaced = unit.len() != rest.len() - digits;
        if !spaced && let Some(wait) = go_prefix(rest) {
            return Some(wait);
        }
        let scale = match unit {
            _ if unit.starts_with("ms") || unit.starts_with("milli") => 0.001,
            _ if unit.starts_with('s') => 1.0,
            _ if unit.starts_with('m') => 60.0,
            _ if unit.starts_with('h') => 3_600.0,
            _ => return None,
        };
        seconds(rest[..digits].trim_end_matches('.'), scale)
    })
}

/// Reads a Go duration at the beginning of a text, such as `7m12.5s. Visit …`.
fn go_prefix(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !".hmsuµn".contains(c)).unwrap_or(text.len());
    go_duration(text[..end].trim_end_matches('.'))
}

fn count(value: &str) -> Option<u64> {
    let value = value.trim();
    value.parse().ok().or_else(|| {
        let float = value.parse::<f64>().ok()?;
        // A negative remainder means that nothing is left; the cast is saturating.
        float.is_finite().then_some(float as u64)
    })
}

/// Reads a decimal number of units of `scale` seconds; a negative one is no wait, anything not finite is no number.
fn seconds(value: &str, scale: f64) -> Option<Duration> {
    let number = value.trim().parse::<f64>().ok().filter(|number| number.is_finite())?;
    let clamped = (number * scale).clamp(0.0, WAIT_MAX.as_secs_f64());
    Some(Duration::from_secs_f64(clamped))
}

/// Reads a reset time in any of the forms in use: a Go duration, plain seconds, epoch seconds or milliseconds, RFC 3339.
fn moment(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = go_duration(value).or_else(|| {
        if let Ok(number) = value.parse::<f64>() {
            let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            return match number {
                _ if !number.is_finite() => None,
                // Thirty years of seconds, or of milliseconds: no window is as long, so it is a date.
                1e12.. => seconds(&(number / 1_000.0 - since_epoch).to_string(), 1.0),
                1e9.. => seconds(&(number - since_epoch).to_string(), 1.0),
                _ => seconds(value, 1.0),
            };
        }
        let date = humantime::parse_rfc3339_weak(value).ok()?;
        Some(date.duration_since(now).unwrap_or_default())
    })?;
    Some(wait.min(WAIT_MAX))
}

/// Reads a duration as Go prints it: `1h2m3.5s`, `12ms`, `6m0s`, `1.75s`; at most an hour is returned.
pub fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..letters] {
                "h" => 3_600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    total.is_finite().then(|| Duration::from_secs_f64(total.clamp(0.0, WAIT_MAX.as_secs_f64())))
}
