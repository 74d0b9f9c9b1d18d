//! From a question to an answer, whatever the dialect: calls, text, JSON, thoughts or a refusal.
//!
//! What a dialect reads becomes a [`Question`], and it writes the [`Answer`] in its own shape; so it
//! gives the same kinds of answers in every dialect.

use super::dice::Dice;
use super::tools::{Call, Callable};
use super::{answer, models, schema_value, text};
use serde_json::Value;

/// In the user's message: the model declines, and says why.
const REFUSE: &str = "demo:refuse";
/// In the user's message: the provider's filter withholds the answer.
const BLOCK: &str = "demo:block";
/// In the user's message: thoughts come redacted, in the dialects that have such.
const REDACT: &str = "demo:redact";
/// Bytes of the user's text that tools and schemas look at.
const MAX_SEARCHED: usize = 16 * 1024;
/// Longest part of the user's message that the thoughts repeat.
const THOUGHT: usize = 80;

/// What the demo provider was asked.
pub(super) struct Question<'a> {
    pub(super) model: &'a str,
    /// The last message of the user's.
    pub(super) user: &'a str,
    /// What that message brought besides text: `image`, `file`, `sound`, `video`.
    pub(super) brought: Vec<&'static str>,
    /// The results of tools at the end of the conversation, oldest first; with some, no tool is called.
    pub(super) results: Vec<String>,
    /// Whether it is the user who spoke last.
    pub(super) user_spoke_last: bool,
    pub(super) tools: &'a Callable<'a>,
    pub(super) format: Format<'a>,
    pub(super) stop: &'a [&'a str],
    /// Most tokens of an answer, thoughts included.
    pub(super) limit: usize,
    pub(super) thinks: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Format<'a> {
    Text,
    JsonObject,
    Schema(&'a Value),
}

/// What the demo provider answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    /// Empty when it did not think.
    pub(super) thoughts: String,
    pub(super) redacted: bool,
    /// Empty when there are calls; the reason when it ends with a refusal.
    pub(super) text: String,
    pub(super) calls: Vec<Call>,
    pub(super) end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Done,
    /// At the token limit.
    Length,
    /// At this stop sequence.
    Stop(String),
    Calls,
    /// The model declined; the text says why.
    Refused,
    /// A filter withheld the answer.
    Blocked,
}

/// Answers; the same question and dice always get the same answer.
pub(super) fn answer(question: &Question<'_>, dice: &mut Dice) -> Answer {
    let mut answer = Answer {
        thoughts: String::new(),
        redacted: question.user.contains(REDACT),
        text: String::new(),
        calls: Vec::new(),
        end: End::Done,
    };
    if question.user.contains(BLOCK) {
        answer.end = End::Blocked;
        return answer;
    }
    if question.user.contains(REFUSE) {
        "I decline to answer, as your message asks me to.".clone_into(&mut answer.text);
        answer.end = End::Refused;
        return answer;
    }
    // Every tool and every value of a schema looks for words in it, which must not cost megabytes each.
    let beginning = text::beginning(question.user, MAX_SEARCHED);
    if question.user_spoke_last {
        answer.calls = question.tools.calls(beginning, dice);
    }
    let thoughts = if question.thinks { thoughts(question, &answer.calls) } else { String::new() };
    answer.thoughts = text::tokens(&thoughts).take(question.limit).collect();
    if !answer.calls.is_empty() {
        answer.end = End::Calls;
        return answer;
    }
    let left = question.limit.saturating_sub(text::count(&answer.thoughts));
    let full = words(question, beginning, dice);
    (answer.text, answer.end) = limited(&full, question.stop, left);
    answer
}

fn words(question: &Question<'_>, beginning: &str, dice: &mut Dice) -> String {
    match question.format {
        Format::Schema(schema) => schema_value::satisfying(schema, beginning, dice).to_string(),
        Format::JsonObject => answer::json_object(question.user).to_string(),
        Format::Text if !question.results.is_empty() => answer::to_tool_results(&question.results, question.user),
        Format::Text if question.model == models::LARGE => {
            answer::to_user_at_length(question.user, &question.brought, dice)
        }
        Format::Text => answer::to_user(question.user, &question.brought, dice),
    }
}

fn thoughts(question: &Question<'_>, calls: &[Call]) -> String {
    let plan = match calls {
        [] if !question.results.is_empty() => "The tools have answered, so I pass on what they said.".to_owned(),
        [] => "No tool is needed, so I answer in my own words.".to_owned(),
        calls => {
            let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
            format!("To answer I need {}, so I call it first.", names.join(" and "))
        }
    };
    format!("The user wrote “{}”. {plan}", text::excerpt(question.user, THOUGHT))
}

/// Cuts a text at a stop sequence and at the token limit, and tells how it ended.
pub(super) fn limited(full: &str, stop: &[&str], limit: usize) -> (String, End) {
    let (stopped, sequence) = text::before_stop(full, stop);
    let kept: String = text::tokens(stopped).take(limit).collect();
    let end = match sequence {
        _ if kept.len() < stopped.len() => End::Length,
        Some(sequence) => End::Stop(sequence.to_owned()),
        None => End::Done,
    };
    (kept, end)
}

impl Answer {
    pub(super) fn thought_tokens(&self) -> usize {
        text::count(&self.thoughts)
    }

    /// Returns how many tokens the text and the calls take, thoughts left out.
    pub(super) fn spoken_tokens(&self) -> usize {
        text::count(&self.text) + self.calls.iter().map(Call::tokens).sum::<usize>()
    }

    pub(super) fn tokens(&self) -> usize {
        self.thought_tokens() + self.spoken_tokens()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_TOOLS: Callable<'static> = Callable { tools: Vec::new(), parallel: true };

    fn ask(user: &str, limit: usize) -> Answer {
        let question = Question {
            model: models::SMALL,
            user,
            brought: vec!["image"],
            results: Vec::new(),
            user_spoke_last: true,
            tools: &NO_TOOLS,
            format: Format::Text,
            stop: &["built-in"],
            limit,
            thinks: true,
        };
        answer(&question, &mut Dice::new(1, b""))
    }

    #[test]
    fn thoughts_count_towards_the_limit() {
        let cut = ask("hello", 3);

        assert_eq!((cut.thought_tokens(), cut.text.as_str(), cut.end), (3, "", End::Length));
    }

    #[test]
    fn a_stop_sequence_ends_the_text_and_is_told() {
        let stopped = ask("hello", 1_000);

        assert_eq!(stopped.end, End::Stop("built-in".to_owned()));
        assert!(!stopped.text.contains("built-in"));
    }

    #[test]
    fn keywords_make_the_model_decline_or_the_filter_act() {
        let refused = ask("please demo:refuse", 1_000);

        assert!(refused.end == End::Refused && !refused.text.is_empty());
        assert_eq!(ask("demo:block", 1_000).end, End::Blocked);
    }
}
