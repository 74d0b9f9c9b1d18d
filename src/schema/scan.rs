//! What serde_json does not check in values it skips: how deep they nest, and escapes that encode no character.

use memchr::{memchr2, memmem};

/// The deepest nesting of arrays and objects a request may have.
pub const DEPTH_MAX: usize = 64;

/// What the scan found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScanFault {
    /// Nested deeper than [`DEPTH_MAX`].
    TooDeep,
    /// A `\uD8xx` without its other half, at this byte offset: no program can turn it back into text.
    LoneSurrogate(usize),
}

/// Checks a JSON text of unknown validity; broken JSON may pass, the parser finds that.
pub(super) fn check(text: &[u8]) -> Result<(), ScanFault> {
    // Counting is several times cheaper than following strings, and most requests hold few brackets.
    let open = text.iter().filter(|&&byte| byte == b'{' || byte == b'[').count();
    let escapes = memmem::find(text, b"\\u").is_some();
    if open <= DEPTH_MAX && !escapes {
        return Ok(());
    }
    walk(text)
}

fn walk(text: &[u8]) -> Result<(), ScanFault> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => at = string(text, at)?,
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(ScanFault::TooDeep);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Walks from inside a string to just behind its closing quote.
fn string(text: &[u8], mut at: usize) -> Result<usize, ScanFault> {
    while let Some(found) = memchr2(b'"', b'\\', &text[at..]) {
        at += found;
        if text[at] == b'"' {
            return Ok(at + 1);
        }
        if text.get(at + 1) != Some(&b'u') {
            at = (at + 2).min(text.len());
            continue;
        }
        let next = match hex(text, at) {
            Some(0xD800..=0xDBFF) => match hex(text, at + 6) {
                Some(0xDC00..=0xDFFF) => at + 12,
                _ => return Err(ScanFault::LoneSurrogate(at)),
            },
            Some(0xDC00..=0xDFFF) => return Err(ScanFault::LoneSurrogate(at)),
            _ => at + 2,
        };
        at = next.min(text.len());
    }
    Ok(text.len())
}

/// Returns the code unit of the escape `\uXXXX` at `at`, if there is one.
fn hex(text: &[u8], at: usize) -> Option<u32> {
    let escape = text.get(at..at + 6)?;
    let digits = escape.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |code, &digit| Some(code * 16 + (digit as char).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_four_levels_pass_and_sixty_five_do_not() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);

        assert_eq!(check(nested(64).as_bytes()), Ok(()));
        assert_eq!(check(nested(65).as_bytes()), Err(ScanFault::TooDeep));
    }

    #[test]
    fn brackets_inside_strings_and_siblings_do_not_count_as_depth() {
        let siblings = format!("[{}]", vec![r#"{"a":"[[\"[{"}"#; 200].join(","));

        assert_eq!(check(siblings.as_bytes()), Ok(()));
    }

    #[test]
    fn half_a_surrogate_pair_is_found_and_a_whole_one_passes() {
        assert_eq!(check(br#"{"a":"\ud83d\ude00 \u00e9 \\ud83d"}"#), Ok(()));
        assert_eq!(check(br#"{"a":"\ud83d"}"#), Err(ScanFault::LoneSurrogate(6)));
        assert_eq!(check(br#"{"a":"\ud83d\u0041"}"#), Err(ScanFault::LoneSurrogate(6)));
        assert_eq!(check(br#"{"a":"x\ude00"}"#), Err(ScanFault::LoneSurrogate(7)));
        assert_eq!(check(br#"{"a":"\ud8"#), Ok(()));
    }
}
