//! How conversations are laid out for Gemini.

use super::*;
use crate::providers::dialect::ModelFacts;

fn contents(messages: Vec<Message>, generation: Generation) -> Result<(Option<Value>, Value), IntakeError> {
    let request = ChatRequest { messages, ..ChatRequest::default() };
    let target = Target { model: "m", model_facts: &ModelFacts::default(), strict: false };
    let told = conversation(&request, &target, generation, &mut Losses::new("Gemini", &target))?;
    Ok((told.system, told.contents.into()))
}

fn say(role: Role, text: &str) -> Message {
    Message::new(role, vec![Part::text(text)])
}

fn call(id: &str, name: &str, signature: Option<&str>) -> Part {
    let signature = signature.map(str::to_owned);
    let call = ToolCall { id: id.into(), name: name.into(), arguments: r#"{"a":1}"#.into(), custom: false, signature };
    Part::new(Content::ToolCall(call))
}

fn result(id: &str, text: &str) -> Message {
    let result = ToolResult { call_id: id.into(), parts: vec![Part::text(text)], ..ToolResult::default() };
    Message::new(Role::Tool, vec![Part::new(Content::ToolResult(result))])
}

#[test]
fn roles_take_turns_and_instructions_stand_apart() {
    let messages = vec![
        say(Role::System, "be brief"),
        say(Role::Developer, "be kind"),
        say(Role::User, "a"),
        say(Role::User, "b"),
        say(Role::Assistant, "c"),
        say(Role::System, "later"),
        say(Role::User, "d"),
    ];

    let (system, contents) = contents(messages, Generation::Older).unwrap();

    assert_eq!(system, Some(json!({"parts": [{"text": "be brief"}, {"text": "be kind"}]})));
    let expected = json!([
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
        {"role": "model", "parts": [{"text": "c"}]},
        {"role": "user", "parts": [{"text": "<system>\nlater\n</system>"}, {"text": "d"}]},
    ]);
    assert_eq!(contents, expected);
}

#[test]
fn results_of_one_turn_stand_together_in_the_order_of_their_calls() {
    let messages = vec![
        say(Role::User, "q"),
        Message::new(Role::Assistant, vec![call("1", "f", Some("sig")), call("2", "g", None)]),
        result("2", "[2]"),
        result("1", "{\"one\":1}"),
        say(Role::User, "and?"),
    ];

    let (_, contents) = contents(messages, Generation::Older).unwrap();

    let expected = json!([
        {"functionResponse": {"id": "1", "name": "f", "response": {"one": 1}}},
        {"functionResponse": {"id": "2", "name": "g", "response": {"output": [2]}}},
        {"text": "and?"},
    ]);
    assert_eq!(contents[2]["parts"], expected);
    let call = json!({"functionCall": {"id": "1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "sig"});
    assert_eq!(contents[1]["parts"][0], call);
}

#[test]
fn only_the_first_call_of_each_step_of_the_current_turn_is_signed_in_its_stead() {
    let step = |id: &str| Message::new(Role::Assistant, vec![call(id, "f", None), call(&format!("{id}b"), "f", None)]);
    let messages = vec![
        say(Role::User, "old"),
        step("1"),
        result("1", "x"),
        result("1b", "x"),
        say(Role::Assistant, "done"),
        say(Role::User, "new"),
        step("2"),
        result("2", "x"),
        result("2b", "x"),
        Message::new(Role::Assistant, vec![call("3", "f", Some("own"))]),
        result("3", "x"),
    ];

    let (_, contents) = contents(messages, Generation::Three).unwrap();

    let signature = |turn: usize, part: usize| contents[turn]["parts"][part]["thoughtSignature"].clone();
    assert_eq!(signature(1, 0), Value::Null);
    assert_eq!(signature(5, 0), DUMMY_SIGNATURE);
    assert_eq!(signature(5, 1), Value::Null);
    assert_eq!(signature(7, 0), "own");
}

#[test]
fn thoughts_go_back_only_where_they_are_gemini_s_own() {
    let thinking = |text: &str, vendor| {
        let thinking = Thinking { text: text.into(), signature: Some("s".into()), vendor, ..Thinking::default() };
        Part::new(Content::Thinking(thinking))
    };
    let parts = vec![
        thinking("own", Some(Dialect::Gemini)),
        thinking("", Some(Dialect::Gemini)),
        thinking("foreign", Some(Dialect::Anthropic)),
        Part::text("hi"),
    ];

    let (_, contents) = contents(vec![Message::new(Role::Assistant, parts)], Generation::Three).unwrap();

    let expected = json!([
        {"role": "user", "parts": [{"text": " "}]},
        {"role": "model", "parts": [
            {"text": "own", "thought": true, "thoughtSignature": "s"},
            {"text": "", "thoughtSignature": "s"},
            {"text": "hi"},
        ]},
    ]);
    assert_eq!(contents, expected);
}

#[test]
fn media_in_results_stand_inside_since_gemini_3_and_beside_before() {
    let image = || {
        let source = Source::Inline { media_type: "image/png".into(), data: "AA==".into() };
        Part::new(Content::Image { source, detail: None })
    };
    let messages = || {
        let result = ToolResult { call_id: "1".into(), parts: vec![Part::text("x"), image()], ..ToolResult::default() };
        let result = Message::new(Role::Tool, vec![Part::new(Content::ToolResult(result))]);
        vec![say(Role::User, "q"), Message::new(Role::Assistant, vec![call("1", "f", None)]), result]
    };

    let (_, newer) = contents(messages(), Generation::Three).unwrap();
    let (_, older) = contents(messages(), Generation::Older).unwrap();

    assert_eq!(newer[2]["parts"][0]["functionResponse"]["parts"][0]["inlineData"]["mimeType"], "image/png");
    assert_eq!(older[2]["parts"][1]["inlineData"]["mimeType"], "image/png");
}

#[test]
fn what_only_instructs_is_said_by_the_user() {
    let (system, contents) = contents(vec![say(Role::System, "write")], Generation::Three).unwrap();

    assert_eq!(system, None);
    assert_eq!(contents, json!([{"role": "user", "parts": [{"text": "write"}]}]));
}

#[test]
fn what_cannot_be_answered_is_refused_by_its_place() {
    for (messages, param) in [
        (vec![], "messages"),
        (vec![say(Role::User, "")], "messages"),
        (vec![say(Role::User, "q"), result("lost", "x")], "messages[1].content[0]"),
    ] {
        assert_eq!(contents(messages, Generation::Older).unwrap_err().param.as_deref(), Some(param));
    }
}
