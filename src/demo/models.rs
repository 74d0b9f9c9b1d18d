//! The demo models: their names, and what they take.

pub(super) const SMALL: &str = "demo-small";
pub(super) const LARGE: &str = "demo-large";
pub(super) const SLOW: &str = "demo-slow";
pub(super) const FLAKY: &str = "demo-flaky";
pub(super) const EMBED: &str = "demo-embed";
/// Served in Gemini's dialect only; insists on thought signatures, as Gemini 3 does.
pub(super) const GEMINI_3: &str = "demo-gemini-3";

/// The models of every dialect.
pub(super) const ALL: [&str; 5] = [SMALL, LARGE, SLOW, FLAKY, EMBED];

/// When the demo models came to be, as the lists of models tell it: 2026-01-01.
pub(super) const CREATED: u64 = 1_767_225_600;
/// [`CREATED`] as Anthropic writes it.
pub(super) const CREATED_AT: &str = "2026-01-01T00:00:00Z";
/// Tokens of prompt that a demo model takes.
pub(super) const CONTEXT_TOKENS: usize = 128_000;
/// Tokens that a demo model writes at most.
pub(super) const OUTPUT_TOKENS: usize = 128_000;

/// Returns a name to show for a model, such as `Demo Small`.
pub(super) fn display_name(model: &str) -> String {
    let capitalised = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    };
    model.split('-').map(capitalised).collect::<Vec<_>>().join(" ")
}

/// Whether a prompt is longer than the model takes; a model of another name has no known context.
pub(super) fn overflows(model: &str, prompt_tokens: usize) -> bool {
    prompt_tokens > CONTEXT_TOKENS && (ALL.contains(&model) || model == GEMINI_3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_shown_by_its_words() {
        assert_eq!(display_name(SMALL), "Demo Small");
    }
}
