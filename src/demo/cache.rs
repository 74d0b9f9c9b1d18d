//! The prompt cache, of which a client sees nothing but figures: which beginnings of prompts were there before.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::dice::hash;

/// Beginnings remembered; the oldest is forgotten first.
const REMEMBERED: usize = 4096;

/// The beginnings of prompts that were marked in earlier requests.
#[derive(Debug, Default)]
pub(super) struct PromptCache(RefCell<VecDeque<u64>>);

/// A part of a prompt, in the order in which the model reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// What tells it from other parts; its cache mark left out.
    pub(super) content: String,
    pub(super) tokens: usize,
    /// Whether the prompt up to and including this part is to be kept.
    pub(super) marked: bool,
}

/// How many tokens of a prompt came from the cache, and how many went into it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) read: usize,
    pub(super) written: usize,
}

impl PromptCache {
    /// Looks a prompt up and keeps its marked beginnings; `owner` is whose cache it is: dialect and model.
    ///
    /// Read is the longest beginning known, written what lies between it and the last mark.
    pub(super) fn pass(&self, owner: &str, parts: &[Part]) -> Figures {
        let mut known = self.0.borrow_mut();
        let Some(last) = parts.iter().rposition(|part| part.marked) else { return Figures::default() };
        let mut state = hash(0, owner.as_bytes());
        let mut tokens = 0;
        let mut read = 0;
        let mut fresh = Vec::new();
        for part in &parts[..=last] {
            state = hash(state, part.content.as_bytes());
            tokens += part.tokens;
            if known.contains(&state) {
                read = tokens;
            } else if part.marked {
                fresh.push(state);
            }
        }
        known.extend(fresh);
        while known.len() > REMEMBERED {
            known.pop_front();
        }
        Figures { read, written: tokens - read }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(content: &str, marked: bool) -> Part {
        Part { content: content.to_owned(), tokens: 10, marked }
    }

    #[test]
    fn a_beginning_is_written_first_and_read_when_it_returns_with_a_later_mark() {
        let cache = PromptCache::default();

        let first = cache.pass("m", &[part("system", true), part("hello", false)]);
        let second = cache.pass("m", &[part("system", false), part("hello", true)]);
        let third = cache.pass("m", &[part("system", false), part("hello", true), part("more", false)]);

        assert_eq!(first, Figures { read: 0, written: 10 });
        assert_eq!(second, Figures { read: 10, written: 10 });
        assert_eq!(third, Figures { read: 20, written: 0 });
    }

    #[test]
    fn another_model_and_a_prompt_without_marks_know_nothing() {
        let cache = PromptCache::default();
        cache.pass("m", &[part("system", true)]);

        assert_eq!(cache.pass("n", &[part("system", true)]).read, 0);
        assert_eq!(cache.pass("m", &[part("system", false)]), Figures::default());
    }
}
