//! Takes out of an upstream's message what must not reach a client: keys, account ids, control characters.

/// Characters a message keeps.
const MESSAGE_MAX: usize = 500;

/// How keys and ids of the providers in use begin.
const PREFIXES: &[&str] = &[
    "sk-", "sk_", "gsk_", "xai-", "pplx-", "csk-", "fw_", "hf_", "nvapi-", "tgp_", "aiza", "ya29", "eyj", "org-",
    "org_", "proj_", "proj-", "user-", "user_", "acct_", "team_", "key-", "key_",
];

/// Returns the message, scrubbed and cut to 500 characters.
pub(super) fn scrub(message: &str) -> String {
    let mut out = String::with_capacity(message.len().min(MESSAGE_MAX));
    let mut bearer = false;
    for piece in message.split_inclusive(|c: char| !is_token(c)) {
        let token = piece.trim_end_matches(|c: char| !is_token(c));
        if bearer && token.len() >= 8 || is_secret(token) {
            out.push_str("[redacted]");
        } else {
            out.push_str(token);
        }
        if !token.is_empty() {
            bearer = token.eq_ignore_ascii_case("bearer");
        }
        out.extend(piece[token.len()..].chars().map(|c| if c.is_control() { ' ' } else { c }));
        if out.len() > MESSAGE_MAX * 4 {
            break;
        }
    }
    out.trim().chars().take(MESSAGE_MAX).collect()
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*')
}

fn is_secret(token: &str) -> bool {
    let lower = token.to_ascii_lowercase();
    let known = PREFIXES.iter().any(|prefix| {
        lower.strip_prefix(prefix).is_some_and(|rest| {
            rest.len() >= 6 && (rest.contains('*') || rest.bytes().any(|byte| byte.is_ascii_digit()))
                || rest.len() >= 16 && !rest.contains(['_', '-'])
        })
    });
    let masked = token.contains("***");
    // A long run of mixed letters and digits is a key of someone we have not met, or an id.
    let letters = token.bytes().filter(u8::is_ascii_alphabetic).count();
    let digits = token.bytes().filter(u8::is_ascii_digit).count();
    let unknown = token.len() >= 32 && letters > 0 && digits >= 4 && !token.contains('_');
    known || masked || unknown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_and_account_ids_are_taken_out() {
        let cases = [
            ("key sk-proj-****************abcd is wrong", "key [redacted] is wrong"),
            ("in organization org-AbCdEf123456 on", "in organization [redacted] on"),
            ("for user_2xYzAbC99 now", "for [redacted] now"),
            ("Authorization: Bearer abcdefgh rest", "Authorization: Bearer [redacted] rest"),
            ("id 0123456789abcdef0123456789abcdef!", "id [redacted]!"),
        ];
        for (message, scrubbed) in cases {
            assert_eq!(scrub(message), scrubbed);
        }
    }

    #[test]
    fn plain_words_and_parameters_stay() {
        for message in
            ["user_message must be set", "max_completion_tokens is too large: 99", "model gpt-4o-mini-2026-01-01"]
        {
            assert_eq!(scrub(message), message);
        }
    }

    #[test]
    fn long_and_unprintable_messages_are_cut_down() {
        assert_eq!(scrub("a\r\nb\u{1b}[0m"), "a  b [0m");
        assert_eq!(scrub(&"\u{e9} ".repeat(2_000)).chars().count(), 500);
    }

    proptest! {
        #[test]
        fn a_key_is_taken_out_of_any_surroundings(
            before in "\\PC{0,20}[ =:\"'(]", prefix in proptest::sample::select(PREFIXES), key in "[a-zA-Z0-9]{6,20}[0-9]", after in "[^a-zA-Z0-9_*-]{0,20}",
        ) {
            let secret = format!("{prefix}{key}");

            let scrubbed = scrub(&format!("{before}{secret}{after}"));

            prop_assert!(!scrubbed.contains(&secret), "{}", scrubbed);
            prop_assert!(scrubbed.chars().count() <= MESSAGE_MAX && !scrubbed.chars().any(char::is_control));
        }
    }
}
