//! What the demo provider says.

use serde_json::{Value, json};

use super::dice::Dice;
use super::text;

/// Longest part of the user's message that is repeated.
const ECHO: usize = 160;
/// Longest part of a tool's result that is repeated.
const RESULT: usize = 300;
/// Most e-mail addresses that are repeated when the excerpt did not reach them.
const MAX_ADDRESSES: usize = 5;

const GREETINGS: [&str; 4] = ["Hello!", "Hi there!", "Good to hear from you.", "Welcome!"];
const HOW_TO: &str = "To talk to a real model, set a provider's key, for example \
    `OPENAI_API_KEY=sk-...`, start Bursar again, and ask for one of that provider's models.";

/// Answers a message of the user's.
pub(super) fn to_user(message: &str, brought: &[&str], dice: &mut Dice) -> String {
    let greeting = GREETINGS[dice.below(GREETINGS.len())];
    let echo = echo(message);
    let seen = acknowledged(brought);
    format!("{greeting} I am Bursar's built-in demo provider, not a language model. {echo}{seen} {HOW_TO}")
}

/// Answers a message of the user's at length.
pub(super) fn to_user_at_length(message: &str, brought: &[&str], dice: &mut Dice) -> String {
    let short = to_user(message, brought, dice);
    format!(
        "{short}\n\nUntil then this answer shows that the whole way works: your program sent its request to Bursar, \
        Bursar checked the key, chose an endpoint, passed the request on and counted the tokens of what came back. \
        The same request always gets the same answer, so you can rely on it in tests.\n\n\
        Things to try:\n\
        - `stream: true` sends this text in pieces, at the pace set in the configuration.\n\
        - `tools` makes me call one of your functions, with arguments that fit its parameters.\n\
        - `response_format` with a JSON schema makes me answer with JSON that fits the schema.\n\
        - The model `demo-flaky` fails now and then, so that you can watch retries and fallbacks at work.\n\
        - The model `demo-slow` takes its time, for trying out timeouts.\n\n\
        None of this costs anything, and nothing you write here is passed on to anyone."
    )
}

/// Answers after the results of tool calls.
pub(super) fn to_tool_results(results: &[String], message: &str) -> String {
    let results: Vec<String> = results.iter().map(|result| format!("“{}”", text::excerpt(result, RESULT))).collect();
    format!("Your tool answered {}. {} {HOW_TO}", results.join(" and "), echo(message))
}

/// Answers with a JSON object of no particular schema.
pub(super) fn json_object(message: &str) -> Value {
    json!({"provider": "demo", "answer": "This is Bursar's built-in demo provider.", "you_wrote": echo_text(message)})
}

/// Continues a prompt of the legacy completions.
pub(super) fn to_prompt(prompt: &str, dice: &mut Dice) -> String {
    format!(" {}", to_user(prompt, &[], dice))
}

fn echo(message: &str) -> String {
    match echo_text(message).as_str() {
        "" => "Your message had no text.".to_owned(),
        said => format!("You wrote: “{said}”."),
    }
}

/// Says what came with a message besides its text, such as ` With it came 2 images and 1 file.`
fn acknowledged(brought: &[&str]) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    brought.iter().for_each(|kind| {
        if !kinds.contains(kind) {
            kinds.push(kind);
        }
    });
    let counted: Vec<String> = kinds
        .iter()
        .map(|kind| match brought.iter().filter(|other| other == &kind).count() {
            1 => format!("1 {kind}"),
            many => format!("{many} {kind}s"),
        })
        .collect();
    if counted.is_empty() { String::new() } else { format!(" With it came {}.", counted.join(" and ")) }
}

/// Returns the beginning of the message, and the e-mail addresses further on: placeholders that Bursar puts in place of
/// addresses can then be seen to come back as the addresses.
fn echo_text(message: &str) -> String {
    let mut said = text::excerpt(message, ECHO);
    let beyond: Vec<&str> =
        text::emails(message).filter(|address| !said.contains(*address)).take(MAX_ADDRESSES).collect();
    if !beyond.is_empty() {
        said = format!("{said} [{}]", beyond.join(", "));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_e_mail_address_comes_back_even_from_the_end_of_a_long_message() {
        let message = format!("{} write to ada@example.org, please", "word ".repeat(100));

        let answer = to_user(&message, &[], &mut Dice::new(1, b""));

        assert!(answer.contains("ada@example.org"), "{answer}");
        assert!(answer.len() < 700, "{answer}");
    }

    #[test]
    fn what_came_with_a_message_is_counted_by_kind() {
        assert_eq!(acknowledged(&["image", "file", "image"]), " With it came 2 images and 1 file.");
        assert_eq!(acknowledged(&[]), "");
    }

    #[test]
    fn the_answer_says_who_speaks_and_how_to_get_a_real_model() {
        let answer = to_user("hello", &[], &mut Dice::new(1, b""));

        assert!(answer.contains("demo provider") && answer.contains("OPENAI_API_KEY"), "{answer}");
    }
}
