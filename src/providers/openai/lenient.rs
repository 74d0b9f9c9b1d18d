//! Reads JSON that strict parsers refuse for its text alone: half surrogate pairs and broken UTF-8.
//!
//! Both come from servers that cut a character in two between tokens; what is left of it becomes U+FFFD.

use serde_json::Value;

/// Returns the value of a JSON text, or `None` where more is wrong with it.
pub(in crate::providers) fn value(text: &[u8]) -> Option<Value> {
    if let Ok(value) = serde_json::from_slice(text) {
        return Some(value);
    }
    serde_json::from_str(&mended(&String::from_utf8_lossy(text))).ok()
}

/// Replaces each escape that is half a surrogate pair by the replacement character's.
fn mended(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let len = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                out.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            // The character behind the backslash must not be taken for the beginning of an escape.
            _ => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    out + rest
}

/// Returns the code unit of the escape at the beginning, if there is one.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn half_a_character_is_replaced_and_a_whole_one_stays() {
        assert_eq!(
            value(br#"["\ud83d","\ud83d\ude00","\ude00x","\\ud83d"]"#),
            Some(json!(["\u{fffd}", "\u{1f600}", "\u{fffd}x", "\\ud83d"]))
        );
        assert_eq!(value(b"[\"\xc3\"]"), Some(json!(["\u{fffd}"])));
        assert_eq!(value(b"[1e999]"), None);
    }

    proptest! {
        #[test]
        fn any_string_can_be_read(units in proptest::collection::vec(prop_oneof!["[a-z\u{e9}]", r"\\\\", r"\\u[0-9a-f]{4}", r"\\ud[89a-f][0-9a-f]{2}"], 0..12)) {
            let text = format!("\"{}\"", units.concat());

            prop_assert!(value(text.as_bytes()).is_some_and(|value| value.is_string()), "{}", text);
        }
    }
}
