//! What parameters become for Gemini.

use super::*;
use crate::providers::dialect::ModelFacts;
use crate::schema::chat::{Effort, Extra, Message, Part, Reasoning, Role};

fn request() -> ChatRequest {
    ChatRequest { messages: vec![Message::new(Role::User, vec![Part::text("q")])], ..ChatRequest::default() }
}

fn function(name: &str, parameters: Option<Value>) -> Tool {
    Tool::Function(Function { name: name.into(), parameters, ..Function::default() })
}

fn encoded(request: &ChatRequest, model: &str) -> (String, Value, Vec<String>) {
    let target = Target { model, model_facts: &ModelFacts::default(), strict: false };
    let wire = encode(request, &target, false).unwrap();
    (wire.path, serde_json::from_slice(&wire.body).unwrap(), wire.warnings)
}

#[test]
fn a_plain_request_says_no_more_than_it_must() {
    let (path, body, warnings) = encoded(&request(), "gemini-2.5-flash");

    assert_eq!(path, "/models/gemini-2.5-flash:generateContent");
    assert_eq!(body, json!({"contents": [{"role": "user", "parts": [{"text": "q"}]}]}));
    assert!(warnings.is_empty());
}

#[test]
fn models_are_named_in_the_path() {
    for (model, expected) in [
        ("models/gemini-3-pro", "/models/gemini-3-pro:streamGenerateContent?alt=sse"),
        ("tunedModels/mine", "/tunedModels/mine:streamGenerateContent?alt=sse"),
        ("a b?c", "/models/a%20b%3Fc:streamGenerateContent?alt=sse"),
    ] {
        assert_eq!(encoded(&ChatRequest { stream: true, ..request() }, model).0, expected);
    }
}

#[test]
fn every_parameter_finds_its_name() {
    let request = ChatRequest {
        max_tokens: Some(10),
        temperature: Some(0.5),
        top_p: Some(0.9),
        top_k: Some(4),
        presence_penalty: Some(0.1),
        frequency_penalty: Some(0.2),
        seed: Some(7),
        stop: vec!["x".into()],
        choices: Some(2),
        logprobs: Some(true),
        top_logprobs: Some(3),
        format: Some(Format::JsonSchema {
            name: "n".into(),
            description: None,
            schema: json!({"type": "object"}),
            strict: None,
        }),
        reasoning: Some(Reasoning { effort: Some(Effort::Low), ..Reasoning::default() }),
        service_tier: Some("default".into()),
        ..request()
    };

    let (_, body, warnings) = encoded(&request, "gemini-2.5-flash");

    let expected = json!({
        "maxOutputTokens": 10, "temperature": 0.5, "topP": 0.9, "topK": 4, "presencePenalty": 0.1,
        "frequencyPenalty": 0.2, "seed": 7, "stopSequences": ["x"], "candidateCount": 2, "responseLogprobs": true,
        "logprobs": 3, "responseMimeType": "application/json", "responseJsonSchema": {"type": "object"},
        "thinkingConfig": {"thinkingBudget": 1024},
    });
    assert_eq!(body["generationConfig"], expected);
    assert_eq!(body["serviceTier"], "standard");
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn all_functions_stand_in_one_tool() {
    let schema = json!({"type": "object", "properties": {"a": {"type": ["string", "null"]}}});
    let tools = vec![
        function("f", Some(schema.clone())),
        function("g", None),
        function("h", Some(json!({"type": "object", "properties": {}}))),
        Tool::Native { dialect: Dialect::Gemini, value: json!({"googleSearch": {}}) },
    ];

    let (_, body, _) = encoded(&ChatRequest { tools, ..request() }, "gemini-2.5-flash");

    let declarations = json!([{"name": "f", "parametersJsonSchema": schema}, {"name": "g"}, {"name": "h"}]);
    assert_eq!(body["tools"], json!([{"functionDeclarations": declarations}, {"googleSearch": {}}]));
    assert_eq!(body.get("toolConfig"), None);
}

#[test]
fn choices_of_tools_have_their_modes() {
    let names = || vec!["f".to_owned()];
    for (choice, expected) in [
        (ToolChoice::Auto, json!({"mode": "AUTO"})),
        (ToolChoice::None, json!({"mode": "NONE"})),
        (ToolChoice::Required, json!({"mode": "ANY"})),
        (ToolChoice::Named("f".into()), json!({"mode": "ANY", "allowedFunctionNames": ["f"]})),
        (
            ToolChoice::Allowed { names: names(), required: false },
            json!({"mode": "VALIDATED", "allowedFunctionNames": ["f"]}),
        ),
    ] {
        let request = ChatRequest { tools: vec![function("f", None)], tool_choice: Some(choice), ..request() };

        assert_eq!(encoded(&request, "gemini-3-flash").1["toolConfig"]["functionCallingConfig"], expected);
    }
}

#[test]
fn what_gemini_does_not_know_is_told_and_refused_where_strict() {
    let extra = Extra { dialect: Dialect::OpenAi, fields: json!({"store": true}).as_object().unwrap().clone() };
    let request = ChatRequest { user: Some("u".into()), logit_bias: Some(json!({})), extra: Some(extra), ..request() };

    let (_, body, warnings) = encoded(&request, "gemini-3-flash");

    assert_eq!(body.get("store"), None);
    assert_eq!(warnings.len(), 3);
    let target = Target { model: "m", model_facts: &ModelFacts::default(), strict: true };
    assert_eq!(encode(&request, &target, false).unwrap_err().param.as_deref(), Some("store"));
}

#[test]
fn a_schema_beside_tools_goes_to_gemini_3_only() {
    let request = ChatRequest { tools: vec![function("f", None)], format: Some(Format::JsonObject), ..request() };

    assert_eq!(encoded(&request, "gemini-2.5-flash").2.len(), 1);
    assert_eq!(encoded(&request, "gemini-3-flash").1["generationConfig"]["responseMimeType"], "application/json");
}

#[test]
fn own_fields_come_back_in_their_places() {
    let fields = json!({
        "safetySettings": [{"category": "c"}],
        "generationConfig": {"responseModalities": ["TEXT"], "thinkingConfig": {"thinkingBudget": -1}},
    });
    let extra = Extra { dialect: Dialect::Gemini, fields: fields.as_object().unwrap().clone() };
    let request = ChatRequest { temperature: Some(1.0), extra: Some(extra), ..request() };

    let (_, older, _) = encoded(&request, "gemini-2.5-flash");
    let (_, newer, _) = encoded(&request, "gemini-3-flash");

    assert_eq!(older["safetySettings"][0]["category"], "c");
    let rest = json!({"responseModalities": ["TEXT"], "temperature": 1.0});
    assert_eq!(newer["generationConfig"], rest);
    assert_eq!(older["generationConfig"]["thinkingConfig"]["thinkingBudget"], -1);
}
