//! Small readings of a text: its tokens, an excerpt, and the facts a tool call can take from it.

use std::borrow::Cow;

/// Letters or digits of one word that make up a token at most.
const TOKEN_CHARS: usize = 4;

/// Splits a text into the demo provider's tokens, which joined give the text again.
///
/// A token is up to four letters or digits of a word, or one other character; the white space before it belongs to it.
/// White space at the end of the text is a token of its own.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (token, after) = rest.split_at(token_length(rest));
        rest = after;
        Some(token)
    })
}

fn token_length(text: &str) -> usize {
    let mut word = 0;
    for (at, character) in text.char_indices() {
        if word == 0 && character.is_whitespace() {
            continue;
        }
        if !character.is_alphanumeric() {
            return if word > 0 { at } else { at + character.len_utf8() };
        }
        if word == TOKEN_CHARS {
            return at;
        }
        word += 1;
    }
    text.len()
}

/// Returns how many tokens a text has.
pub(super) fn count(text: &str) -> usize {
    tokens(text).count()
}

/// Returns the beginning of a text on one line, at most `length` characters and an ellipsis.
///
/// Only as much of the text is read as the excerpt needs: a prompt may have megabytes.
pub(super) fn excerpt(text: &str, length: usize) -> String {
    let mut excerpt = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let room = length - used;
        let space = usize::from(used > 0);
        let size = word.chars().take(room + 1).count();
        if size + space > room {
            if used == 0 {
                excerpt.extend(word.chars().take(room));
            }
            excerpt.push('…');
            break;
        }
        if space == 1 {
            excerpt.push(' ');
        }
        excerpt.push_str(word);
        used += size + space;
    }
    excerpt
}

/// Returns the first bytes of a text, at most so many and no broken character.
pub(super) fn beginning(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Returns the words of a text that look like e-mail addresses.
pub(super) fn emails(text: &str) -> impl Iterator<Item = &str> {
    words(text).filter(|word| {
        word.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.contains('@'))
    })
}

/// Returns the first number of a text.
pub(super) fn number(text: &str) -> Option<f64> {
    words(text).find_map(|word| word.parse().ok().filter(|number: &f64| number.is_finite()))
}

/// Returns the first web address of a text.
pub(super) fn web_address(text: &str) -> Option<&str> {
    words(text).find(|word| word.starts_with("https://") || word.starts_with("http://"))
}

/// Returns the first day of a text written as `2026-01-31`.
pub(super) fn day(text: &str) -> Option<&str> {
    words(text).find(|word| {
        word.len() == 10
            && word
                .bytes()
                .enumerate()
                .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() })
    })
}

/// Returns the first run of capitalised words that does not begin a sentence, such as a city in a question.
pub(super) fn name(text: &str) -> Option<String> {
    let mut found: Vec<&str> = Vec::new();
    let mut begins_sentence = true;
    for raw in text.split_whitespace() {
        let word = trimmed(raw);
        let capitalised = word.chars().next().is_some_and(char::is_uppercase) && word != "I";
        if capitalised && !(begins_sentence && found.is_empty()) {
            found.push(word);
        } else if !found.is_empty() {
            break;
        }
        begins_sentence = raw.ends_with(['.', '!', '?', ':']);
        if !found.is_empty() && raw.ends_with(|character: char| character.is_ascii_punctuation()) {
            break;
        }
    }
    (!found.is_empty()).then(|| found.join(" "))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().map(trimmed).filter(|word| !word.is_empty())
}

/// Strips the punctuation around a word, but not the sign of a number.
fn trimmed(word: &str) -> &str {
    let word = word.trim_end_matches(|character: char| !character.is_alphanumeric() && character != '/');
    word.trim_start_matches(|character: char| !character.is_alphanumeric() && character != '-')
}

/// Cuts a text before the first of the stop sequences; tells which one it was.
pub(super) fn before_stop<'a, 's>(text: &'a str, stop: &[&'s str]) -> (&'a str, Option<&'s str>) {
    let found = stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| Some((text.find(stop)?, *stop)));
    match found.min_by_key(|(at, _)| *at) {
        Some((at, sequence)) => (&text[..at], Some(sequence)),
        None => (text, None),
    }
}

/// Returns the texts of a message's `content`: itself, or its parts'.
pub(super) fn content(message: &serde_json::Value) -> Cow<'_, str> {
    match message.get("content") {
        Some(serde_json::Value::String(text)) => Cow::Borrowed(text),
        Some(serde_json::Value::Array(parts)) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            Cow::Owned(texts.join("\n"))
        }
        _ => Cow::Borrowed(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_up_to_four_characters_of_a_word_with_the_space_before_them() {
        let split: Vec<&str> = tokens("Hello, wide world ").collect();

        assert_eq!(split, ["Hell", "o", ",", " wide", " worl", "d", " "]);
    }

    #[test]
    fn tokens_joined_give_the_text_again() {
        for text in ["", " ", "a  b\n\nc", "Grüße, 世界!🙂 x", "\u{301}e"] {
            assert_eq!(tokens(text).collect::<String>(), text);
        }
    }

    #[test]
    fn an_excerpt_ends_at_a_word_and_within_its_length() {
        assert_eq!(excerpt("one  two\nthree", 8), "one two…");
        assert_eq!(excerpt("one two", 7), "one two");
        assert_eq!(excerpt("überlang", 4), "über…");
    }

    #[test]
    fn facts_are_found_in_a_sentence() {
        let text = "What is the weather in New York, on 2026-03-01, at -3.5 degrees? Write to <a.b@example.org>.";

        assert_eq!(name(text).as_deref(), Some("New York"));
        assert_eq!(day(text), Some("2026-03-01"));
        assert_eq!(number(text), Some(-3.5));
        assert_eq!(emails(text).collect::<Vec<_>>(), ["a.b@example.org"]);
    }

    #[test]
    fn the_earliest_stop_sequence_cuts() {
        assert_eq!(before_stop("a b c", &["c", "b"]), ("a ", Some("b")));
        assert_eq!(before_stop("a b c", &["x", ""]), ("a b c", None));
    }
}
