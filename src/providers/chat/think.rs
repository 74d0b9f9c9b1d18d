//! Thought between `<think>` tags at the beginning of the content, told apart from the answer even where a tag is cut in
//! two by the stream.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// A piece of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Thinking(String),
    Text(String),
}

/// Follows the content of one choice.
#[derive(Debug)]
pub(super) enum ThinkTags {
    /// Nothing but what may be the beginning of a tag has come.
    Start(String),
    /// The end of what came may be the beginning of the closing tag.
    Inside(String),
    /// Thought is over; blanks before the answer are left out.
    Between,
    /// The rest is the answer.
    Answer,
}

impl ThinkTags {
    /// Starts at the beginning of the content.
    pub(super) fn new() -> Self {
        Self::Start(String::new())
    }

    /// Takes more content; appends what it is.
    pub(super) fn push(&mut self, text: String, out: &mut Vec<Piece>) {
        match self {
            Self::Answer => out.push(Piece::Text(text)),
            Self::Start(held) => {
                held.push_str(&text);
                let begun = held.trim_start();
                if let Some(rest) = begun.strip_prefix(OPEN) {
                    let rest = rest.to_owned();
                    *self = Self::Inside(String::new());
                    self.push(rest, out);
                } else if !OPEN.starts_with(begun) {
                    out.push(Piece::Text(std::mem::take(held)));
                    *self = Self::Answer;
                }
            }
            Self::Inside(held) => {
                held.push_str(&text);
                if let Some(at) = held.find(CLOSE) {
                    let rest = held.split_off(at)[CLOSE.len()..].to_owned();
                    out.push(Piece::Thinking(std::mem::take(held)));
                    *self = Self::Between;
                    self.push(rest, out);
                } else {
                    let kept = held.split_off(held.len() - overlap(held));
                    out.push(Piece::Thinking(std::mem::replace(held, kept)));
                }
            }
            Self::Between => {
                let text = text.trim_start();
                if !text.is_empty() {
                    out.push(Piece::Text(text.to_owned()));
                    *self = Self::Answer;
                }
            }
        }
        out.retain(|piece| matches!(piece, Piece::Thinking(text) | Piece::Text(text) if !text.is_empty()));
    }

    /// No more content comes; appends what was held back.
    pub(super) fn finish(&mut self, out: &mut Vec<Piece>) {
        match std::mem::replace(self, Self::Answer) {
            Self::Start(held) if !held.is_empty() => out.push(Piece::Text(held)),
            Self::Inside(held) if !held.is_empty() => out.push(Piece::Thinking(held)),
            _ => {}
        }
    }
}

/// Returns how many bytes at the end of `text` may be the beginning of the closing tag.
fn overlap(text: &str) -> usize {
    (1..CLOSE.len()).rev().find(|&len| text.ends_with(&CLOSE[..len])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(pieces: &[&str]) -> (String, String) {
        let (mut tags, mut out) = (ThinkTags::new(), Vec::new());
        pieces.iter().for_each(|piece| tags.push((*piece).to_owned(), &mut out));
        tags.finish(&mut out);
        let (mut thinking, mut text) = (String::new(), String::new());
        for piece in out {
            match piece {
                Piece::Thinking(more) => thinking += &more,
                Piece::Text(more) => text += &more,
            }
        }
        (thinking, text)
    }

    #[test]
    fn only_a_tag_at_the_beginning_counts() {
        let pair = |thinking: &str, text: &str| (thinking.to_owned(), text.to_owned());

        assert_eq!(split(&["\n<think>a < b</think>\n\nYes."]), pair("a < b", "Yes."));
        assert_eq!(split(&["Say <think>x</think>"]), pair("", "Say <think>x</think>"));
        assert_eq!(split(&["<thin"]), pair("", "<thin"));
        assert_eq!(split(&["<think>cut"]), pair("cut", ""));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_stream_is_cut(text in "(<think>)?[a<>/ ]{0,6}(</think>)?[a<>/ ]{0,6}", cut in 0usize..30, other in 0usize..30) {
            let (first, second) = (cut.min(other).min(text.len()), cut.max(other).min(text.len()));

            prop_assert_eq!(split(&[&text[..first], &text[first..second], &text[second..]]), split(&[&text]));
        }
    }
}
