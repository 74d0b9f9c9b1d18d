//! Custom tools, which take free text, at upstreams that know functions only: they go out as functions of one string,
//! `input`, and what the model calls comes back to the client as the free text within.

use std::borrow::Cow;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::schema::chat::{ChatReply, ChatRequest, Chunk, Content, Function, Tool};

/// The one argument of such a function.
const INPUT: &str = "input";

/// What is said of a custom tool whose text has a grammar; continues a sentence.
pub(super) const GRAMMAR_IN_WORDS: &str = "has a custom tool whose grammar is asked for in words only";

/// Returns the function that a tool is, or goes out as; `None` for tools that a vendor runs itself.
pub(super) fn as_function(tool: &Tool) -> Option<Cow<'_, Function>> {
    match tool {
        Tool::Function(function) => Some(Cow::Borrowed(function)),
        Tool::Custom { name, description, format } => {
            let mut input = json!({ "type": "string" });
            if let Some(grammar) = grammar(format.as_ref()) {
                input["description"] = grammar.into();
            }
            let parameters = json!({ "type": "object", "properties": { INPUT: input }, "required": [INPUT] });
            let (name, description) = (name.clone(), description.clone());
            Some(Cow::Owned(Function { name, description, parameters: Some(parameters), ..Function::default() }))
        }
        Tool::Native { .. } => None,
    }
}

/// Returns whether the tool's text has a grammar, to which no function's argument can be held.
pub(super) fn has_grammar(tool: &Tool) -> bool {
    matches!(tool, Tool::Custom { format, .. } if grammar(format.as_ref()).is_some())
}

/// Asks in words for what the format of a custom tool's text is.
fn grammar(format: Option<&Value>) -> Option<String> {
    let grammar = format?.get("grammar")?;
    let (syntax, definition) = (grammar.get("syntax")?.as_str()?, grammar.get("definition")?.as_str()?);
    let syntax = if syntax == "regex" { "regular expression" } else { "Lark grammar" };
    Some(format!("Plain text that matches this {syntax}:\n{definition}"))
}

/// The names of a request's custom tools.
#[derive(Debug, Clone, Default)]
pub struct CustomTools(Rc<[String]>);

impl CustomTools {
    /// Returns those of `request`.
    pub fn of(request: &ChatRequest) -> Self {
        let name = |tool: &Tool| match tool {
            Tool::Custom { name, .. } => Some(name.clone()),
            _ => None,
        };
        Self(request.tools.iter().filter_map(name).collect())
    }

    /// Makes custom calls again of the calls of custom tools in a whole reply.
    pub fn restore(&self, reply: &mut ChatReply) {
        for part in reply.choices.iter_mut().flat_map(|choice| &mut choice.parts) {
            if let Content::ToolCall(call) = &mut part.content
                && !call.custom
                && self.0.contains(&call.name)
            {
                let mut text = FreeText::default();
                let begun = text.push(&call.arguments);
                call.arguments = begun + &text.finish();
                call.custom = true;
            }
        }
    }

    /// Begins the same for a stream; `None` where there is nothing to do.
    pub fn stream(&self) -> Option<CustomCalls> {
        (!self.0.is_empty()).then(|| CustomCalls { tools: self.clone(), open: Vec::new() })
    }
}

/// Makes custom calls again of the calls of custom tools in a stream.
#[derive(Debug)]
pub struct CustomCalls {
    tools: CustomTools,
    /// Choice and number of each such call.
    open: Vec<(u32, u32, FreeText)>,
}

impl CustomCalls {
    /// Takes the next chunk, in order; appends what becomes of it.
    pub fn push(&mut self, mut chunk: Chunk, out: &mut Vec<Chunk>) {
        match &mut chunk {
            Chunk::ToolCall { choice, tool, name, custom, .. } if !*custom && self.tools.0.contains(name) => {
                *custom = true;
                self.open.push((*choice, *tool, FreeText::default()));
            }
            Chunk::ToolArguments { choice, tool, fragment } => {
                let mine = self.open.iter_mut().find(|(of, number, _)| (of, number) == (choice, tool));
                if let Some((_, _, text)) = mine {
                    *fragment = text.push(fragment);
                    if fragment.is_empty() {
                        return;
                    }
                }
            }
            Chunk::Finish { choice, .. } => {
                for (_, tool, text) in self.open.iter_mut().filter(|(of, ..)| of == choice) {
                    let fragment = text.finish();
                    if !fragment.is_empty() {
                        out.push(Chunk::ToolArguments { choice: *choice, tool: *tool, fragment });
                    }
                }
            }
            _ => {}
        }
        out.push(chunk);
    }
}

/// The text within `{"input": "…"}`, as it comes in pieces.
#[derive(Debug)]
enum FreeText {
    /// What came before the text; all of it where it begins otherwise.
    Before(String),
    /// Within the text; what has come of an escape.
    Within(String),
    Behind,
}

impl Default for FreeText {
    fn default() -> Self {
        Self::Before(String::new())
    }
}

/// How a piece of arguments begins.
enum Lead<'a> {
    /// With `{"input": "`; behind it comes this.
    Whole(&'a str),
    /// It may yet become that.
    Partial,
    Other,
}

impl FreeText {
    /// Takes more of the arguments and returns what of the text can be told by now.
    fn push(&mut self, fragment: &str) -> String {
        let held = match self {
            Self::Behind => return String::new(),
            Self::Before(before) => {
                before.push_str(fragment);
                match lead(before) {
                    Lead::Whole(rest) => rest.to_owned(),
                    _ => return String::new(),
                }
            }
            Self::Within(held) => std::mem::take(held) + fragment,
        };
        let mut text = String::with_capacity(held.len());
        *self = unescape(&held, &mut text);
        text
    }

    /// The arguments are over; returns what of the text was not told.
    fn finish(&mut self) -> String {
        match std::mem::replace(self, Self::Behind) {
            Self::Before(before) if matches!(lead(&before), Lead::Other) => otherwise(before),
            // Cut off before the text, or within an escape.
            _ => String::new(),
        }
    }
}

fn lead(text: &str) -> Lead<'_> {
    let mut rest = text;
    for token in ["{", "\"input\"", ":", "\""] {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        match rest.strip_prefix(token) {
            Some(behind) => rest = behind,
            None if token.starts_with(rest) => return Lead::Partial,
            None => return Lead::Other,
        }
    }
    Lead::Whole(rest)
}

/// Appends the text up to its closing quote, or to an escape that is not all there.
fn unescape(mut rest: &str, text: &mut String) -> FreeText {
    loop {
        let Some(at) = rest.find(['"', '\\']) else {
            text.push_str(rest);
            return FreeText::Within(String::new());
        };
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('"') {
            return FreeText::Behind;
        }
        let Some((letter, length)) = escaped(rest) else { return FreeText::Within(rest.to_owned()) };
        text.push(letter);
        rest = &rest[length..];
    }
}

/// Returns the letter that the escape at the beginning of `rest` stands for, and the escape's length in bytes; `None` where
/// more has to come.
fn escaped(rest: &str) -> Option<(char, usize)> {
    let letter = rest[1..].chars().next()?;
    let plain = match letter {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'u' => return unicode(rest),
        other => other,
    };
    Some((plain, 1 + letter.len_utf8()))
}

fn unicode(rest: &str) -> Option<(char, usize)> {
    const LENGTH: usize = "\\u0000".len();
    let (high, is_whole) = code_unit(rest);
    let Some(high) = high else {
        // No escape at all: it stands as it is, but for the backslash.
        return is_whole.then_some(('u', 2));
    };
    if !(0xD800..0xDC00).contains(&high) {
        return Some((char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), LENGTH));
    }
    match code_unit(&rest[LENGTH..]) {
        (Some(low @ 0xDC00..0xE000), _) => {
            let letter = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            Some((char::from_u32(letter).unwrap_or(char::REPLACEMENT_CHARACTER), 2 * LENGTH))
        }
        (None, false) => None,
        _ => Some((char::REPLACEMENT_CHARACTER, LENGTH)),
    }
}

/// Returns the number in `\u1234`, and whether enough has come to tell.
fn code_unit(text: &str) -> (Option<u32>, bool) {
    let bytes = text.as_bytes();
    let fits = |(at, byte): (usize, &u8)| match at {
        0 => *byte == b'\\',
        1 => *byte == b'u',
        _ => byte.is_ascii_hexdigit(),
    };
    let fitting = bytes.iter().take(6).enumerate().take_while(|pair| fits(*pair)).count();
    let number = (fitting == 6).then(|| u32::from_str_radix(&text[2..6], 16).ok()).flatten();
    (number, fitting < bytes.len() || fitting == 6)
}

/// Returns the text of arguments that do not begin as they should.
fn otherwise(arguments: String) -> String {
    match serde_json::from_str::<Value>(&arguments) {
        Ok(Value::String(text)) => text,
        Ok(Value::Object(fields)) => match fields.get(INPUT) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
            None if fields.is_empty() => String::new(),
            None => arguments,
        },
        _ => arguments,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::chat::{Choice, Finish, Part, ToolCall};

    const SAMPLES: [(&str, &str); 12] = [
        (r#"{"input":"plain"}"#, "plain"),
        ("{ \"input\" :\n\"spaced\" } ", "spaced"),
        (r#"{"input":"a\n\"b\"\\ \/ \t\u00e9\u20AC"}"#, "a\n\"b\"\\ / \té€"),
        (r#"{"input":"\ud83d\ude00 😀"}"#, "😀 😀"),
        (r#"{"input":"\ud83d! \ude00"}"#, "\u{fffd}! \u{fffd}"),
        (r#"{"input":"","more":"no"}"#, ""),
        (r#"{"more":1,"input":"later"}"#, "later"),
        (r#"{"input":{"a":1}}"#, r#"{"a":1}"#),
        (r#"{"patch":"x"}"#, r#"{"patch":"x"}"#),
        ("{}", ""),
        ("*** Begin Patch", "*** Begin Patch"),
        (r#"{"input":"cut \u00"#, "cut "),
    ];

    fn tools() -> CustomTools {
        let custom = Tool::Custom { name: "patch".into(), description: None, format: None };
        let function = Tool::Function(Function { name: "f".into(), ..Function::default() });
        CustomTools::of(&ChatRequest { tools: vec![custom, function], ..ChatRequest::default() })
    }

    fn call(name: &str, arguments: &str, custom: bool) -> ToolCall {
        let (id, name, arguments) = ("c".into(), name.into(), arguments.into());
        ToolCall { id, name, arguments, custom, signature: None }
    }

    #[test]
    fn a_whole_call_of_a_custom_tool_is_free_text_again() {
        for (arguments, text) in SAMPLES {
            let parts = [call("patch", arguments, false), call("f", arguments, false), call("patch", arguments, true)];
            let parts = parts.map(|call| Part::new(Content::ToolCall(call))).to_vec();
            let mut reply = ChatReply { choices: vec![Choice { parts, ..Choice::default() }], ..ChatReply::default() };

            tools().restore(&mut reply);

            let expected = [call("patch", text, true), call("f", arguments, false), call("patch", arguments, true)];
            assert_eq!(reply.choices[0].parts, expected.map(|call| Part::new(Content::ToolCall(call))));
        }
    }

    #[test]
    fn a_streamed_call_is_the_same_text_however_it_is_cut() {
        for (arguments, expected) in SAMPLES {
            let cuts = arguments.char_indices().flat_map(|(one, _)| {
                arguments.char_indices().filter(move |(two, _)| *two >= one).map(move |(two, _)| [one, two])
            });
            for [one, two] in cuts {
                let mut calls = tools().stream().unwrap();
                let mut out = Vec::new();
                let (name, id, signature) = ("patch".into(), "c".into(), None);
                calls.push(Chunk::ToolCall { choice: 0, tool: 0, id, name, custom: false, signature }, &mut out);
                for piece in [&arguments[..one], &arguments[one..two], &arguments[two..]] {
                    calls.push(Chunk::ToolArguments { choice: 0, tool: 0, fragment: piece.into() }, &mut out);
                }
                calls.push(Chunk::Finish { choice: 0, finish: Finish::ToolCalls }, &mut out);

                let text = |chunk: &Chunk| match chunk {
                    Chunk::ToolArguments { fragment, .. } => fragment.clone(),
                    _ => String::new(),
                };
                assert!(matches!(out[0], Chunk::ToolCall { custom: true, .. }));
                assert!(matches!(out.last(), Some(Chunk::Finish { .. })));
                assert_eq!(out.iter().map(text).collect::<String>(), expected, "{arguments} cut at {one} and {two}");
            }
        }
    }

    #[test]
    fn text_goes_on_as_it_comes() {
        let mut text = FreeText::default();

        let told = [r#"{"input": "#, r#""one"#, r" t\", "nwo", r#""}"#].map(|piece| text.push(piece));

        assert_eq!(told, ["", "one", " t", "\nwo", ""]);
    }

    #[test]
    fn a_grammar_is_asked_for_in_words() {
        let format = json!({ "type": "grammar", "grammar": { "syntax": "regex", "definition": "[0-9]+" } });
        let custom = Tool::Custom { name: "n".into(), description: None, format: Some(format) };

        let function = as_function(&custom).unwrap();

        let input = &function.parameters.as_ref().unwrap()["properties"]["input"];
        assert_eq!(input["description"], "Plain text that matches this regular expression:\n[0-9]+");
        assert!(has_grammar(&custom));
    }
}
