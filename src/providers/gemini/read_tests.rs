//! What a Gemini client's body is read into.

use super::*;
use crate::schema::chat::{Content, Part, Role, Source, Thinking, ToolCall, ToolResult};

fn read_value(body: &Value) -> Result<ChatRequest, IntakeError> {
    read(body.to_string().as_bytes())
}

fn contents() -> Value {
    json!([{"role": "user", "parts": [{"text": "q"}]}])
}

#[test]
fn either_spelling_is_read_the_same() {
    let camel = json!({
        "contents": contents(), "systemInstruction": {"parts": [{"text": "s"}]},
        "generationConfig": {"maxOutputTokens": 10, "topK": 40.0, "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": true},
            "responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}, "speechConfig": {"a": 1}},
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}]}, {"googleSearch": {}}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "safetySettings": [], "cachedContent": "c",
    });
    let snake = json!({
        "contents": contents(), "system_instruction": {"parts": [{"text": "s"}]},
        "generation_config": {"max_output_tokens": "10", "top_k": 40, "thinking_config": {"thinking_level": "low", "include_thoughts": true},
            "response_mime_type": "application/json", "response_json_schema": {"type": "object"}, "speech_config": {"a": 1}},
        "tools": [{"function_declarations": [{"name": "f", "parameters_json_schema": {"type": "object"}}]}, {"google_search": {}}],
        "tool_config": {"function_calling_config": {"mode": "any", "allowed_function_names": ["f"]}},
        "safety_settings": [], "cached_content": "c", "model": "models/x",
    });

    let (camel, snake) = (read_value(&camel).unwrap(), read_value(&snake).unwrap());

    assert_eq!(camel, snake);
    assert_eq!((camel.max_tokens, camel.top_k, camel.model), (Some(10), Some(40), None));
    assert_eq!(camel.reasoning, Some(Reasoning { effort: Some(Effort::Low), budget: None, show: Some(true) }));
    assert_eq!(camel.tool_choice, Some(ToolChoice::Named("f".into())));
    let native = Tool::Native { dialect: Dialect::Gemini, value: json!({"googleSearch": {}}) };
    assert_eq!(camel.tools[1], native);
    let expected = json!({"generationConfig": {"speechConfig": {"a": 1}}, "safetySettings": [], "cachedContent": "c"});
    assert_eq!(Value::Object(camel.extra.unwrap().fields), expected);
}

#[test]
fn calls_and_results_find_each_other_without_ids() {
    let body = json!({"contents": [
        {"role": "user", "parts": [{"text": "q"}]},
        {"role": "model", "parts": [
            {"function_call": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "s"}, {"functionCall": {"name": "f"}}]},
        {"role": "user", "parts": [
            {"text": "here"},
            {"function_response": {"name": "f", "response": {"output": "15"}}},
            {"functionResponse": {"name": "f", "response": {"error": "no"}}}]},
    ]});

    let request = read_value(&body).unwrap();

    let call = |id: &str, arguments: &str, signature: Option<&str>| {
        let signature = signature.map(str::to_owned);
        let call = ToolCall { id: id.into(), name: "f".into(), arguments: arguments.into(), custom: false, signature };
        Part::new(Content::ToolCall(call))
    };
    let result = |id: &str, text: &str, is_error| {
        let result = ToolResult { call_id: id.into(), name: Some("f".into()), parts: vec![Part::text(text)], is_error };
        Part::new(Content::ToolResult(result))
    };
    assert_eq!(request.messages[1].parts, [call("call_1_0", r#"{"a":1}"#, Some("s")), call("call_1_1", "{}", None)]);
    assert_eq!(request.messages[2].role, Role::Tool);
    assert_eq!(request.messages[2].parts, [result("call_1_0", "15", false), result("call_1_1", "no", true)]);
    assert_eq!(request.messages[3].parts, [Part::text("here")]);
}

#[test]
fn parts_are_read_as_what_they_are() {
    let signed = |text: &str| {
        Content::Thinking(Thinking {
            text: text.into(),
            signature: Some("s".into()),
            vendor: Some(Dialect::Gemini),
            ..Thinking::default()
        })
    };
    let inline = |media_type: &str| Source::Inline { media_type: media_type.into(), data: "AA==".into() };
    let video = json!({"fileData": {"fileUri": "gs://b/v.mp4", "mimeType": "video/mp4"}});
    for (part, expected) in [
        (json!({"text": "t", "thought": true, "thoughtSignature": "s"}), vec![signed("t")]),
        (json!({"text": "t", "thoughtSignature": "s"}), vec![Content::Text("t".into()), signed("")]),
        (
            json!({"inline_data": {"mime_type": "image/png", "data": "AA=="}}),
            vec![Content::Image { source: inline("image/png"), detail: None }],
        ),
        (
            json!({"inlineData": {"mimeType": "audio/mpeg", "data": "AA=="}}),
            vec![Content::Audio { data: "AA==".into(), format: "mp3".into() }],
        ),
        (
            json!({"inlineData": {"mimeType": "application/pdf", "data": "AA==", "displayName": "n"}}),
            vec![Content::File { source: inline("application/pdf"), name: Some("n".into()) }],
        ),
        (
            json!({"fileData": {"fileUri": "https://a.b/c.png", "mimeType": "image/png"}}),
            vec![Content::Image { source: Source::Url("https://a.b/c.png".into()), detail: None }],
        ),
        (video.clone(), vec![Content::Native { dialect: Dialect::Gemini, value: video }]),
    ] {
        let request = read_value(&json!({"contents": [{"role": "model", "parts": [part.clone()]}]})).unwrap();

        let found: Vec<Content> = request.messages[0].parts.iter().map(|part| part.content.clone()).collect();
        assert_eq!(found, expected, "{part}");
    }
}

#[test]
fn a_wrong_type_is_named_by_its_path() {
    for (body, param) in [
        (json!({}), "contents"),
        (json!({"contents": 7}), "contents"),
        (json!({"contents": [{"parts": ["x"]}]}), "contents[0].parts[0]"),
        (json!({"contents": [{"role": "judge"}]}), "contents[0].role"),
        (json!({"contents": [{"parts": [{"functionCall": {}}]}]}), "contents[0].parts[0].functionCall.name"),
        (json!({"contents": contents(), "generationConfig": {"topP": []}}), "generationConfig.topP"),
        (
            json!({"contents": contents(), "tools": [{"functionDeclarations": [{}]}]}),
            "tools[0].functionDeclarations[0].name",
        ),
        (
            json!({"contents": contents(), "toolConfig": {"functionCallingConfig": {"mode": "SECRET"}}}),
            "toolConfig.functionCallingConfig.mode",
        ),
    ] {
        let error = read_value(&body).unwrap_err();

        assert_eq!(error.param.as_deref(), Some(param));
        assert!(!error.message.contains("SECRET"));
    }
}

#[test]
fn a_count_may_hold_a_whole_request() {
    let request = read_count(json!({"generateContentRequest": {"contents": contents()}}).to_string().as_bytes());

    assert_eq!(request.unwrap().messages.len(), 1);
}
