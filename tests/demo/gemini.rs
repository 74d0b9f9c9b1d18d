//! The demo provider as Google's clients see it.

use bursar::demo::{Behaviour, Demo, DemoOptions};
use serde_json::{Value, json};

use crate::client::{Client, Response, demo, extended, scripted};

fn call(demo: &Demo, path: &str, body: &Value) -> Response {
    let mut client = Client::of(demo);
    client.send(&format!("POST {path} HTTP/1.1\r\nx-goog-api-key: k1"), body.to_string().as_bytes());
    client.response().unwrap()
}

fn said(text: &str) -> Value {
    json!({"role": "user", "parts": [{"text": text}]})
}

fn ask(demo: &Demo, model: &str, more: Value) -> Response {
    let body = extended(json!({"contents": [said("Hello from ada@example.org")]}), more);
    call(demo, &format!("/v1beta/models/{model}:generateContent"), &body)
}

fn stream(demo: &Demo, model: &str, more: Value) -> Vec<Value> {
    let body = extended(json!({"contents": [said("Hello from ada@example.org")]}), more);
    let response = call(demo, &format!("/v1/models/{model}:streamGenerateContent?alt=sse"), &body);
    let text = String::from_utf8(response.body).unwrap();
    text.split_terminator("\r\n\r\n").map(|event| serde_json::from_str(&event["data: ".len()..]).unwrap()).collect()
}

fn refusal(demo: &Demo, model: &str, more: Value) -> String {
    let response = ask(demo, model, more);
    let body = response.json();
    assert_eq!((response.status, &body["error"]["status"]), (400, &json!("INVALID_ARGUMENT")), "{body}");
    body["error"]["message"].as_str().unwrap().to_owned()
}

fn parts(response: &Value) -> Vec<Value> {
    response["candidates"][0]["content"]["parts"].as_array().cloned().unwrap_or_default()
}

fn weather() -> Value {
    let schema = json!({"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]});
    let declared = json!([{"name": "get_weather", "parameters": schema}, {"name": "get_time"}]);
    json!([{"function_declarations": declared}])
}

#[test]
fn an_answer_counts_its_tokens_as_google_does() {
    let demo = demo();

    let body =
        ask(&demo, "demo-small", json!({"generationConfig": {"thinkingConfig": {"thinkingBudget": 100}}})).json();

    let usage = |name: &str| body["usageMetadata"][name].as_u64().unwrap();
    assert!(parts(&body)[0]["text"].as_str().unwrap().contains("ada@example.org"), "{body}");
    assert_eq!(body["candidates"][0]["finishReason"], "STOP");
    assert!(usage("thoughtsTokenCount") > 0);
    assert_eq!(
        usage("totalTokenCount"),
        usage("promptTokenCount") + usage("candidatesTokenCount") + usage("thoughtsTokenCount")
    );
    let exchange = demo.exchanges().remove(0);
    assert_eq!((exchange.key.as_deref(), exchange.model()), (Some("k1"), Some("demo-small")));
}

#[test]
fn a_stream_says_what_the_whole_answer_says_and_ends_with_the_reason_and_all_the_usage() {
    let demo = demo();
    let config = json!({"generationConfig": {"thinkingConfig": {"includeThoughts": true}}});

    let whole = ask(&demo, "demo-small", config.clone()).json();
    let chunks = stream(&demo, "demo-small", config);

    let joined = |thought: bool| -> String {
        let parts = chunks.iter().flat_map(parts).filter(|part| (part["thought"] == true) == thought);
        parts.map(|part| part["text"].as_str().unwrap().to_owned()).collect()
    };
    let (last, before) = chunks.split_last().unwrap();
    assert_eq!(joined(true), parts(&whole)[0]["text"].as_str().unwrap());
    assert_eq!(joined(false), parts(&whole)[1]["text"].as_str().unwrap());
    assert!(before.iter().all(|chunk| chunk["candidates"][0].get("finishReason").is_none()));
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    assert_eq!(last["usageMetadata"], whole["usageMetadata"]);
}

#[test]
fn a_stream_without_alt_sse_is_one_array() {
    let demo = demo();

    let path = "/v1beta/models/demo-small:streamGenerateContent";
    let response = call(&demo, path, &json!({"contents": [said("Hello")], "demo": {}}));

    assert_eq!(response.header("content-type"), Some("application/json"));
    assert!(response.json().as_array().unwrap().len() > 10);
}

#[test]
fn functions_are_called_in_parallel_and_their_results_answered() {
    let demo = demo();
    let question = said("Use get_weather for Paris and get_time.");
    let more = json!({"tools": weather(), "contents": [question]});

    let called = ask(&demo, "demo-small", more.clone()).json();
    let streamed = stream(&demo, "demo-small", more.clone());

    let names: Vec<Value> = parts(&called).iter().map(|part| part["functionCall"]["name"].clone()).collect();
    assert_eq!(
        (names, &called["candidates"][0]["finishReason"]),
        (vec![json!("get_weather"), json!("get_time")], &json!("STOP"))
    );
    assert!(parts(&called)[0]["functionCall"]["args"]["city"].is_string());
    assert_eq!(streamed.iter().flat_map(parts).collect::<Vec<_>>(), parts(&called));
    let answer = |name: &str, text: &str| json!({"functionResponse": {"name": name, "response": {"output": text}}});
    let history = |answers: Value| {
        let contents = json!([question, called["candidates"][0]["content"], {"role": "user", "parts": answers}]);
        extended(more.clone(), json!({"contents": contents}))
    };
    let both = history(json!([answer("get_weather", "21 degrees"), answer("get_time", "noon")]));
    let answered = ask(&demo, "demo-small", both).json();
    assert!(parts(&answered)[0]["text"].as_str().unwrap().contains("21 degrees"), "{answered}");
    assert!(
        refusal(&demo, "demo-small", history(json!([answer("get_time", "noon")]))).contains("is equal to the number")
    );
    let other = history(json!([answer("get_weather", "21 degrees"), answer("call_1", "noon")]));
    assert!(refusal(&demo, "demo-small", other).contains("call_1"));
}

#[test]
fn a_gemini_3_demands_the_signatures_of_the_current_turn_back() {
    let demo = demo();
    let question = said("How is the weather in Paris?");
    let more = json!({"tools": weather(), "contents": [question]});
    let called = parts(&ask(&demo, "demo-gemini-3", more.clone()).json());
    let id = &called[0]["functionCall"]["id"];
    let history = |signature: Option<&str>, after: Option<Value>| {
        let mut call = called[0].clone();
        match signature {
            Some(signature) => call["thoughtSignature"] = json!(signature),
            None => drop(call.as_object_mut().unwrap().remove("thoughtSignature")),
        }
        let answer = json!({"functionResponse": {"id": id, "name": "get_weather", "response": {"output": "21"}}});
        let mut contents = vec![
            question.clone(),
            json!({"role": "model", "parts": [call]}),
            json!({"role": "user", "parts": [answer]}),
        ];
        contents
            .extend(after.into_iter().flat_map(|after| [json!({"role": "model", "parts": [{"text": "21"}]}), after]));
        extended(more.clone(), json!({"contents": contents}))
    };
    let right = called[0]["thoughtSignature"].as_str();
    let for_urls = right.map(|signature| signature.replace('+', "-").replace('/', "_"));

    assert_eq!(ask(&demo, "demo-gemini-3", history(right, None)).status, 200);
    assert_eq!(ask(&demo, "demo-gemini-3", history(for_urls.as_deref(), None)).status, 200);
    assert_eq!(ask(&demo, "demo-gemini-3", history(Some("skip_thought_signature_validator"), None)).status, 200);
    let in_bytes = Some("c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=");
    assert_eq!(ask(&demo, "demo-gemini-3", history(in_bytes, None)).status, 200);
    let missing = refusal(&demo, "demo-gemini-3", history(None, None));
    assert!(missing.starts_with("Function call is missing a thought_signature"), "{missing}");
    assert!(refusal(&demo, "demo-gemini-3", history(Some("Zm9yZ2Vk"), None)).contains("Corrupted thought signature"));
    assert_eq!(ask(&demo, "demo-gemini-3", history(None, Some(said("Thanks")))).status, 200);
    assert_eq!(ask(&demo, "demo-small", history(None, None)).status, 200);
}

#[test]
fn an_answer_ends_at_its_limit_at_a_stop_sequence_or_at_the_filter() {
    let demo = demo();
    let user = |text: &str| json!({"contents": [said(text)]});

    let limited = ask(&demo, "demo-gemini-3", json!({"generationConfig": {"maxOutputTokens": 3}})).json();
    let stopped = ask(&demo, "demo-small", json!({"generation_config": {"stop_sequences": ["built-in"]}})).json();
    let refused = ask(&demo, "demo-small", user("demo:refuse")).json();
    let blocked = ask(&demo, "demo-small", user("demo:block")).json();

    assert_eq!((parts(&limited).len(), &limited["candidates"][0]["finishReason"]), (0, &json!("MAX_TOKENS")));
    assert!(limited["usageMetadata"].get("candidatesTokenCount").is_none());
    assert!(!parts(&stopped)[0]["text"].as_str().unwrap().contains("built-in"));
    assert_eq!(refused["candidates"][0]["finishReason"], "SAFETY");
    assert_eq!((blocked.get("candidates"), blocked["promptFeedback"]["blockReason"].is_string()), (None, true));
}

#[test]
fn a_schema_of_either_kind_gets_json_that_fits_it() {
    let demo = demo();
    let config =
        |name: &str, schema: Value| json!({"generationConfig": {"responseMimeType": "application/json", name: schema}});
    let answered = |more: Value| {
        let text = parts(&ask(&demo, "demo-small", more).json())[0]["text"].as_str().unwrap().to_owned();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let openapi = json!({"type": "OBJECT", "properties": {"count": {"type": "INTEGER"}}, "required": ["count"]});
    let json_schema =
        json!({"type": "object", "properties": {"city": {"const": "Paris"}}, "additionalProperties": false});

    assert!(answered(config("responseSchema", openapi))["count"].is_i64());
    assert_eq!(answered(config("responseJsonSchema", json_schema.clone())), json!({"city": "Paris"}));
    assert!(refusal(&demo, "demo-small", config("responseSchema", json_schema)).contains("Cannot find field"));
}

#[test]
fn what_google_refuses_is_refused() {
    let demo = demo();
    let wrong = |more: Value| refusal(&demo, "demo-small", more);
    let part = |part: Value| json!({"contents": [{"role": "user", "parts": [part]}]});

    assert!(wrong(json!({"stream": true})).contains("Unknown name \"stream\": Cannot find field"));
    assert!(wrong(part(json!({"type": "text", "text": "a"}))).contains("at 'contents[0].parts[0]'"));
    assert!(wrong(part(json!({}))).contains("oneof field 'data'"));
    assert!(wrong(part(json!({"functionCall": {"name": "f"}}))).contains("role model"));
    assert!(wrong(json!({"contents": [{"role": "assistant", "parts": [{"text": "a"}]}]})).contains("valid role"));
    assert!(
        wrong(json!({"contents": [said("a"), {"role": "model", "parts": [{"text": "b"}]}]}))
            .contains("end with a user role")
    );
    let both = json!({"generationConfig": {"thinkingConfig": {"thinkingBudget": 1, "thinkingLevel": "LOW"}}});
    assert!(wrong(both).contains("thinking level"));
    let empty = json!({"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}]});
    assert!(wrong(empty).contains("non-empty for OBJECT"));
    assert!(wrong(json!({"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}})).contains("function_declarations"));
    assert_eq!(ask(&demo, "gemini-9", json!({})).json()["error"]["status"], "NOT_FOUND");
}

#[test]
fn a_long_prompt_comes_from_the_cache_when_it_returns() {
    let demo = demo();
    let more = json!({"contents": [said(&"word ".repeat(1200))]});

    let cached = [(); 2]
        .map(|()| ask(&demo, "demo-small", more.clone()).json()["usageMetadata"]["cachedContentTokenCount"].clone());

    assert!(cached[0].is_null() && cached[1].as_u64().unwrap() >= 1024, "{cached:?}");
}

#[test]
fn texts_are_embedded_and_tokens_counted() {
    let demo = demo();
    let content = json!({"parts": [{"text": "hello"}]});
    let request = json!({"model": "models/demo-embed", "content": content, "output_dimensionality": 8});

    let one = call(&demo, "/v1beta/models/demo-embed:embedContent", &request).json();
    let many = call(&demo, "/v1beta/models/demo-embed:batchEmbedContents", &json!({"requests": [request]})).json();
    let counted = call(&demo, "/v1beta/models/demo-small:countTokens", &json!({"contents": [said("hello")]})).json();
    let answered = ask(&demo, "demo-small", json!({"contents": [said("hello")]})).json();

    assert_eq!(one["embedding"]["values"].as_array().unwrap().len(), 8);
    assert_eq!(many["embeddings"][0], one["embedding"]);
    assert_eq!(counted["totalTokens"], answered["usageMetadata"]["promptTokenCount"]);
}

#[test]
fn keys_models_scripts_and_errors_have_googles_shape() {
    let demo = Demo::start(DemoOptions { keys: vec!["good".into()], ..DemoOptions::default() }).unwrap();
    let mut client = Client::of(&demo);

    let wrong = ask(&demo, "demo-small", json!({}));
    client.send("GET /v1beta/models?key=good HTTP/1.1", b"");
    let models = client.response().unwrap().json();
    let limited = ask(&demo, "demo-small", json!({"demo": {"status": 429, "headers": [["retry-after", "7"]]}}));

    assert_eq!((wrong.status, &wrong.json()["error"]["details"][0]["reason"]), (400, &json!("API_KEY_INVALID")));
    assert_eq!(models["models"][0]["name"], "models/demo-small");
    assert_eq!((limited.status, &limited.json()["error"]["details"][1]["retryDelay"]), (429, &json!("7s")));
}

#[test]
fn a_stream_breaks_off_with_an_error() {
    let demo = scripted(Behaviour { error_after: Some(3), ..Behaviour::default() });

    let chunks = stream(&demo, "demo-small", json!({}));

    assert_eq!((chunks.len(), &chunks[3]["error"]["status"]), (4, &json!("UNAVAILABLE")));
}
