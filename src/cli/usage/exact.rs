//! Numbers of a bill, exact to eighteen decimals: more than any export has, and never a float.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

/// Decimals that are kept.
const DECIMALS: usize = 18;
/// Digits before the point that are read; more is no amount.
const WHOLE_MAX: usize = 18;

/// A number in units of 10⁻¹⁸.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Exact(i128);

impl Exact {
    /// Reads what spreadsheets and exports write: `1234.5`, `1,234.50`, `-0.1`, `$3`, `(2.00)`, `1.2e-05`. What is beyond the
    /// eighteenth decimal is cut off. `None` where it is no number.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, text) = match text.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
            Some(inner) => (true, inner),
            None => (text.starts_with('-'), text.trim_start_matches(['-', '+'])),
        };
        let text: String = text.trim().trim_start_matches("US").trim_start_matches('$').replace([',', '_'], "");
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok().filter(|e| e.abs() <= 40)?),
            None => (text.as_str(), 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !is_number(whole) || !is_number(fraction) {
            return None;
        }
        // The point moves by the exponent; then whatever lies beyond the last decimal is cut.
        let digits = format!("{whole}{fraction}");
        let point = i32::try_from(whole.len()).ok()? + exponent + i32::try_from(DECIMALS).ok()?;
        let kept = usize::try_from(point).unwrap_or(0);
        let mut digits: String = digits.chars().take(kept).collect();
        digits.extend(std::iter::repeat_n('0', kept.saturating_sub(digits.len())));
        let digits = digits.trim_start_matches('0');
        if digits.len() > WHOLE_MAX + DECIMALS {
            return None;
        }
        let number: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        Some(Self(if negative { -number } else { number }))
    }

    /// Returns a whole number.
    pub fn whole(number: u64) -> Self {
        Self(i128::from(number) * 10_i128.pow(18))
    }

    /// Returns the number rounded to so many decimals, half away from zero, with all of them.
    pub fn rounded(self, decimals: u32) -> String {
        let unit = 10_i128.pow(18 - decimals.min(18));
        let half = if unit > 1 { unit / 2 } else { 0 };
        let rounded = (self.0.abs() + half) / unit;
        let sign = if self.0 < 0 && rounded > 0 { "-" } else { "" };
        let scale = 10_i128.pow(decimals.min(18));
        let places = decimals as usize;
        match places {
            0 => format!("{sign}{rounded}"),
            _ => format!("{sign}{}.{:0places$}", rounded / scale, rounded % scale),
        }
    }

    /// Returns whether the difference between both is at most so many millionths of `whole`.
    pub fn is_within(self, whole: Self, ppm: u64) -> bool {
        let difference = (self - whole).0.unsigned_abs();
        // Both sides fit: 36 digits and the 6 of a million.
        let bound = whole.0.unsigned_abs() / 1_000_000 * u128::from(ppm)
            + whole.0.unsigned_abs() % 1_000_000 * u128::from(ppm) / 1_000_000;
        difference <= bound
    }

    /// Returns how many hundredths of a percent of `whole` it is; `None` of nothing, or where that is beyond reason.
    pub fn share_of(self, whole: Self) -> Option<i64> {
        if whole.0 == 0 {
            return None;
        }
        let share = self.0.checked_mul(100_000)? / whole.0.abs();
        i64::try_from((share + 5 * share.signum()) / 10).ok()
    }

    /// Returns whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Exact {
    /// All decimals that say something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.rounded(18);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Add for Exact {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Exact {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl AddAssign for Exact {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Exact {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn exact(text: &str) -> Exact {
        Exact::parse(text).unwrap_or_else(|| panic!("{text} is a number"))
    }

    #[test]
    fn amounts_are_read_as_exports_write_them() {
        for (written, read) in [
            ("0.003835980000000000000000000000", "0.00383598"),
            ("1,234.50", "1234.5"),
            ("$5.72", "5.72"),
            ("(2.00)", "-2"),
            ("-5", "-5"),
            ("1.2e-05", "0.000012"),
            ("3E2", "300"),
            (".5", "0.5"),
            ("0.0000000000000000019", "0.000000000000000001"),
            ("000", "0"),
        ] {
            assert_eq!(exact(written).to_string(), read, "{written}");
        }
        for wrong in ["", "-", "$", "abc", "1.2.3", "1e", "12345678901234567890", "NaN"] {
            assert_eq!(Exact::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn shares_and_bounds_are_exact() {
        assert_eq!(exact("0.5").share_of(exact("200")), Some(25));
        assert_eq!(exact("-1").share_of(exact("3")), Some(-3333));
        assert_eq!(exact("1").share_of(exact("0")), None);
        assert!(exact("101").is_within(exact("100"), 10_000) && !exact("101.000001").is_within(exact("100"), 10_000));
        assert!(exact("0").is_within(exact("0"), 0) && !exact("0.1").is_within(exact("0"), 1_000_000));
    }

    #[test]
    fn rounding_is_half_away_from_zero() {
        assert_eq!(exact("0.0000005").rounded(6), "0.000001");
        assert_eq!(exact("-1.0000005").rounded(6), "-1.000001");
        assert_eq!(exact("-0.0000001").rounded(6), "0.000000");
        assert_eq!(exact("1234567").rounded(0), "1234567");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}|[-+$(,0-9.eE)]{0,50}") {
            if let Some(number) = Exact::parse(&text) {
                _ = (number.rounded(6), number.share_of(Exact::whole(7)), (number + number - Exact::whole(3)).to_string());
            }
        }

        #[test]
        fn what_is_shown_is_what_is_read(whole in -1_000_000_000_i64..1_000_000_000, atto in 0_u64..1_000_000_000_000_000_000) {
            let text = format!("{whole}.{atto:018}");
            prop_assert_eq!(exact(&exact(&text).to_string()), exact(&text));
        }
    }
}
