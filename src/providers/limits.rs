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
    // No wait at all is no answer: to call again at once would only be refused again.
    let some = |wait: &Duration| !wait.is_zero();
    from_headers(header, now)
        .or_else(|| retry_info(body).filter(some))
        .or_else(|| exhausted(header, now).filter(some))
        .or_else(|| in_words(&String::from_utf8_lossy(&body[..body.len().min(TEXT_MAX)])).filter(some))
        .map(|wait| wait.min(WAIT_MAX))
}

/// Bytes of a body searched for words.
const TEXT_MAX: usize = 16 * 1024;

fn from_headers(header: Header<'_, '_>, now: SystemTime) -> Option<Duration> {
    let in_ms = header("retry-after-ms").and_then(|value| seconds(value, 0.001));
    in_ms.filter(|wait| !wait.is_zero()).or_else(|| {
        let value = header("retry-after")?;
        let date = || httpdate::parse_http_date(value.trim()).ok()?.duration_since(now).ok();
        seconds(value, 1.0).or_else(date).filter(|wait| !wait.is_zero())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
    }

    fn wait(headers: &[(&str, &'static str)], body: &str) -> Option<Duration> {
        let header = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        retry_after(&header, body.as_bytes(), now())
    }

    #[test]
    fn every_form_of_a_wait_is_read() {
        let ms = |ms| Some(Duration::from_millis(ms));

        assert_eq!(wait(&[("retry-after-ms", "12.5"), ("retry-after", "9")], ""), Some(Duration::from_micros(12_500)));
        assert_eq!(wait(&[("retry-after-ms", "-1"), ("retry-after", "9")], ""), ms(9_000));
        assert_eq!(wait(&[("retry-after", " 1.5 ")], ""), ms(1_500));
        assert_eq!(wait(&[("retry-after", "Mon, 21 Sep 2026 14:13:30 GMT")], ""), ms(10_000));
        assert_eq!(wait(&[], r#"[{"error":{"details":[{"x":1},{"retryDelay":"34.4s"}]}}]"#), ms(34_400));
        assert_eq!(wait(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1790000007000")], ""), ms(7_000));
        let anthropic = [
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("anthropic-ratelimit-input-tokens-reset", "2026-09-21T14:13:25Z"),
        ];
        assert_eq!(wait(&anthropic, ""), ms(5_000));
        assert_eq!(wait(&[], "please retry in 20 seconds"), ms(20_000));
        assert_eq!(wait(&[], "Please try again in 6m0s."), ms(360_000));
        assert_eq!(wait(&[], "Please try again in 250ms"), ms(250));
    }

    #[test]
    fn a_wall_clock_that_jumped_costs_an_hour_at_most() {
        let date = httpdate::fmt_http_date(now());
        let wait_at = |now| retry_after(&|name: &str| (name == "retry-after").then_some(date.as_str()), b"", now);
        let hour = Duration::from_secs(3600);

        assert_eq!(wait_at(now() - hour), Some(hour));
        assert_eq!(wait_at(now() - 24 * hour), Some(WAIT_MAX));
        assert_eq!(wait_at(now() + hour), None);
        assert_eq!(wait_at(SystemTime::UNIX_EPOCH), Some(WAIT_MAX));
    }

    #[test]
    fn a_wait_that_makes_no_sense_is_ignored_or_clamped() {
        for absurd in ["-5", "0", "NaN", "inf", "soon", "", "Mon, 21 Sep 2015 14:13:30 GMT"] {
            assert_eq!(wait(&[("retry-after", absurd)], ""), None, "{absurd}");
        }
        assert_eq!(wait(&[("retry-after", "1e300")], ""), Some(WAIT_MAX));
    }

    #[test]
    fn limits_are_learned_from_go_style_headers() {
        let headers = [
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-remaining-tokens", "-3"),
            ("x-ratelimit-reset-tokens", "1m2.5s"),
        ];
        let header = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);

        let limits = learn(&header, now());

        let requests = Learned { limit: Some(60), remaining: 59, reset: Some(Duration::from_secs(1)) };
        let tokens = Learned { limit: None, remaining: 0, reset: Some(Duration::from_millis(62_500)) };
        assert_eq!(limits, LearnedLimits { requests: Some(requests), tokens: Some(tokens) });
    }

    #[test]
    fn go_durations_are_read() {
        assert_eq!(go_duration("1h2m3.5s"), Some(WAIT_MAX));
        assert_eq!(go_duration("2m3.5s"), Some(Duration::from_millis(123_500)));
        assert_eq!(go_duration("12ms"), Some(Duration::from_millis(12)));
        for wrong in ["", "12", "s", "1x", "1.2.3s", "-4s"] {
            assert_eq!(go_duration(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic_or_wait_over_an_hour(text in ".{0,60}", lead in "(try again in |retry in )?[0-9.]{0,8}[hmsn]{0,3}") {
            for text in [&text, &lead] {
                let header = |_: &str| Some("");
                prop_assert!(retry_after(&header, text.as_bytes(), now()).is_none_or(|wait| wait <= WAIT_MAX));
                prop_assert!(moment(text, now()).is_none_or(|wait| wait <= WAIT_MAX));
            }
        }
    }
}
