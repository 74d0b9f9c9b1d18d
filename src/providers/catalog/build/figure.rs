//! Reads a figure of a source: exactly where it is a decimal, to the nearest unit where it is the print of a float.

use crate::config::units::decimal;

/// Digits beyond which a decimal is taken for the print of a float, and the most that are kept of it then.
const FLOAT_DIGITS: usize = 15;
const KEPT_DIGITS: usize = 12;

/// Returns the decimal `text` times ten to the `power` as a whole number, and counts in `rounded` where it was a float's
/// print: of `1.3200000000000002e-07` and `0.0833333333333333` twelve digits are kept, or fewer where those are no whole
/// number.
pub(super) fn figure(text: &str, power: i32, rounded: &mut usize) -> Option<u64> {
    let text = text.trim();
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    if significant.len() < FLOAT_DIGITS || !significant.bytes().all(|byte| byte.is_ascii_digit()) {
        return decimal(text, power);
    }
    let exponent = exponent.parse::<i32>().ok()?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let nearest = |kept: usize| {
        let (kept, dropped) = significant.split_at(kept);
        let kept = kept.parse::<u64>().ok()? + u64::from(dropped.as_bytes().first().is_some_and(|byte| *byte >= b'5'));
        decimal(&format!("{kept}e{}", exponent.checked_add(i32::try_from(dropped.len()).ok()?)?), power)
    };
    *rounded += 1;
    (1..=KEPT_DIGITS).rev().find_map(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_float_is_the_decimal_that_was_meant() {
        let mut rounded = 0;
        for (text, power, figure_meant) in [
            ("1.3200000000000002e-07", 15, 132_000_000),
            ("9.499999999999999e-07", 15, 950_000_000),
            ("5.0000000000000004e-08", 15, 50_000_000),
            ("0.0833333333333333", 9, 83_333_333),
            ("0.041666666666666664", 9, 41_666_667),
        ] {
            assert_eq!(figure(text, power, &mut rounded), Some(figure_meant), "{text}");
        }
        assert_eq!(rounded, 5);
    }

    #[test]
    fn a_decimal_is_taken_exactly_or_not_at_all() {
        let mut rounded = 0;
        assert_eq!(figure("1.44375e-07", 15, &mut rounded), Some(144_375_000));
        assert_eq!(figure("0.00000015", 15, &mut rounded), Some(150_000_000));
        assert_eq!(figure("0.0000000001", 9, &mut rounded), None);
        assert_eq!(figure("-1", 9, &mut rounded), None);
        assert_eq!(figure("null", 9, &mut rounded), None);
        assert_eq!(rounded, 0);
    }
}
