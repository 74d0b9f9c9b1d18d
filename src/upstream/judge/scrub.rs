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
