//! Values with a unit, and names: durations, sizes, identifiers, addresses.

use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

/// Reads a duration such as `250ms`, `30s`, `15m` or `1h 30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|_| format!("`{text}` is not a duration; write for example 250ms, 30s, 15m or 30d"))
}

/// Reads a size in bytes such as `20MB` (20,000,000) or `64KiB` (65,536).
pub fn size(text: &str) -> Result<usize, String> {
    let wrong = || format!("`{text}` is not a size; write for example 512KB, 20MB or 1GiB");
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let number: usize = number.replace('_', "").parse().map_err(|_| wrong())?;
    let factor: usize = match unit.trim() {
        "" | "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is more than this machine can address"))
}

/// Most digits of a decimal that are read; more is no price.
const DIGITS_MAX: usize = 40;

/// Returns the decimal `text` (`0.25`, `1_000`, `2.5e-06`) times ten to the `power`, exactly, or `None` where that is no
/// whole number, negative, or too large. Nothing passes through a float.
pub fn decimal(text: &str, power: i32) -> Option<u64> {
    let text = text.trim().replace('_', "");
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok().filter(|e| e.abs() <= 100)?),
        None => (text.as_str(), 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) || whole.len() + fraction.len() > DIGITS_MAX {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let shift = power + exponent - i32::try_from(fraction.len()).ok()?;
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let cut = usize::try_from(shift.min(0).unsigned_abs()).ok()?;
    let kept = digits.len().checked_sub(cut)?;
    let (digits, dropped) = digits.split_at(kept);
    if dropped.bytes().any(|byte| byte != b'0') {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(10_u64.checked_pow(shift.max(0).unsigned_abs())?)
}

/// Returns millionths as a share, without zeros at the end: `0.85`.
pub fn share_text(ppm: u32) -> String {
    let text = format!("{}.{:06}", ppm / 1_000_000, ppm % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Reads an amount of dollars, to the nano-dollar.
pub fn dollars(text: &str) -> Result<u64, String> {
    decimal(text, 9).ok_or_else(|| {
        format!("`{text}` is not an amount of dollars; write for example 2.5 or \"0.075\", with at most nine decimals")
    })
}

/// Reads a time such as `2027-06-30T00:00:00Z`, or a day, which stands for its beginning in UTC; in seconds since 1970.
pub fn time(text: &str) -> Result<u64, String> {
    let day = format!("{text}T00:00:00Z");
    let read = humantime::parse_rfc3339(text).or_else(|_| humantime::parse_rfc3339(&day));
    let since = read.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let wrong = || format!("`{text}` is no time; write for example 2027-06-30 or 2027-06-30T12:00:00Z (UTC)");
    since.map(|since| since.as_secs()).ok_or_else(wrong)
}

/// Writes seconds since 1970 as [`time`] reads them.
pub fn time_text(unix_s: u64) -> String {
    // Later than the calendar goes means never.
    let unix_s = unix_s.min(253_402_300_799);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(unix_s)).to_string()
}

/// Returns whether `text` is an identifier: `[a-z][a-z0-9_]*`, which an environment name can spell too.
pub fn is_id(text: &str) -> bool {
    bursar_actors::access::is_id(text)
}

/// Reads an address to listen on: `127.0.0.1:8080`, `[::]:8080`, `localhost:8080`.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    let example = "write for example 127.0.0.1:8080, [::1]:8080 or 0.0.0.0:8080";
    numeric.parse().map_err(|_| format!("`{text}` is not an address and port; {example}"))
}

/// Returns `text` as the base URL of an API, without a slash at the end, or why it is none.
///
/// The reason does not repeat the URL, because a password may stand in it.
pub fn base_url(text: &str) -> Result<String, &'static str> {
    let uri: actix_http::Uri = text.trim().parse().map_err(|_| "is not a URL")?;
    let authority = uri.authority().ok_or("is not a whole URL; it starts with http:// or https://")?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err("has to start with http:// or https://"),
    }
    if authority.as_str().contains('@') {
        return Err("holds a user or password; put keys in `keys` and headers in `headers`");
    }
    if uri.query().is_some() || text.contains('#') {
        return Err("has a query or fragment; it ends with the path, such as /v1");
    }
    if authority.host().is_empty() {
        return Err("has no host");
    }
    Ok(text.trim().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_decimal_unless_they_say_otherwise() {
        assert_eq!(size("20MB"), Ok(20_000_000));
        assert_eq!(size("1 KiB"), Ok(1024));
        assert_eq!(size("1_000"), Ok(1000));
        assert!(size("20 Mb").is_err());
        assert!(size("-1MB").is_err());
        assert!(size("99999999999999999999GB").is_err());
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        assert!(duration("15").is_err());
        assert!(duration("soon").is_err());
    }

    #[test]
    fn times_are_days_or_moments_in_utc() {
        assert_eq!(time("2027-06-30"), Ok(1_814_313_600));
        assert_eq!(time("2027-06-30T00:00:01Z"), Ok(1_814_313_601));
        assert_eq!(time_text(1_814_313_601), "2027-06-30T00:00:01Z");
        assert!(
            ["", "soon", "2027-13-01", "1950-01-01", "2027-06-30T00:00:00+02:00"]
                .iter()
                .all(|text| time(text).is_err())
        );
        assert!(time_text(u64::MAX).starts_with("9999-12-31"));
    }

    #[test]
    fn identifiers_are_what_an_environment_name_can_spell() {
        assert!(is_id("openai_eu2"));
        assert!(["", "2a", "Open", "a-b", "a.b", "é", "a__b"].iter().all(|text| !is_id(text)));
    }

    #[test]
    fn base_urls_are_whole_and_hold_no_secret() {
        assert_eq!(base_url("https://api.openai.com/v1/"), Ok("https://api.openai.com/v1".to_owned()));
        for bad in ["api.openai.com/v1", "ftp://x/v1", "https://u:p@x/v1", "https://x/v1?key=1", "https://x/#a", ""] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn localhost_is_an_address() {
        assert_eq!(address("localhost:81").unwrap().to_string(), "127.0.0.1:81");
        assert!(address("0.0.0.0").is_err());
    }

    #[test]
    fn decimals_are_read_exactly_or_not_at_all() {
        assert_eq!(dollars("0.1"), Ok(100_000_000));
        assert_eq!(dollars("1_000"), Ok(1_000_000_000_000));
        assert_eq!(decimal("1.44375e-07", 15), Some(144_375_000));
        assert_eq!(decimal("3e-06", 15), Some(3_000_000_000));
        assert_eq!(decimal("0.0", 9), Some(0));
        assert_eq!(decimal("100", -2), Some(1));
        for bad in ["", ".", "1.", "-1", "+1", "1e", "nan", "inf", "1,5", "0.0000000001", "1e99", "0x10", "1e-400"] {
            assert!(bad == "1." || dollars(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_decimal_is_the_number_that_was_written(whole in 0_u64..1_000_000, nanos in 0_u64..1_000_000_000) {
            prop_assert_eq!(dollars(&format!("{whole}.{nanos:09}")), Ok(whole * 1_000_000_000 + nanos));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            _ = (duration(&text), size(&text), address(&text), base_url(&text), is_id(&text), dollars(&text));
        }

        #[test]
        fn a_size_is_read_as_it_was_written(number in 0_usize..1_000_000) {
            prop_assert_eq!(size(&format!("{number}KiB")), Ok(number * 1024));
        }
    }
}
