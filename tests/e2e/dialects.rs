//! Any client to any upstream: what it asks is understood, what comes back is in its own dialect, errors too.

use bursar::demo::{Behaviour, Demo};
use serde_json::{Value, json};

use crate::client::Answer;
use crate::harness::{Bursar, Setup, demo, scripted};

/// A client, by the dialect it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaker {
    Chat,
    Responses,
    Anthropic,
    Gemini,
}

pub(crate) const SPEAKERS: [Speaker; 4] = [Speaker::Chat, Speaker::Responses, Speaker::Anthropic, Speaker::Gemini];
/// Id, name and arguments of a call.
type Called = (String, String, Value);
/// Kinds of provider that the demo can stand in for.
pub(crate) const KINDS: [&str; 3] = ["openai", "anthropic", "gemini"];

/// What is asked.
pub(crate) enum Turn {
    Text,
    /// A tool has to be called.
    Tool,
    /// The tool's answer to this call.
    After {
        id: String,
        name: String,
        arguments: Value,
    },
}

pub fn gateway(kind: &str, demo: &Demo) -> Bursar {
    let base_url = if kind == "anthropic" { demo.base_url().replace("/v1", "") } else { demo.base_url() };
    Setup::from_file(&format!(
        "[probes]\nevery = \"0s\"\n[providers.u]\nkind = \"{kind}\"\nbase_url = \"{base_url}\"\n\
         first_token_timeout = \"300ms\"\nidle_timeout = \"300ms\"\n\
         [[providers.u.keys]]\nid = \"k\"\nvalue = \"sk-u\"\n\
         [models.alias.m]\ntargets = [{{ provider = \"u\", model = \"demo-small\" }}]\n"
    ))
    .set("balancing.retry.backoff.base=1ms")
    .start()
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
}

impl Speaker {
    fn ask(self, bursar: &Bursar, turn: &Turn, stream: bool) -> Answer {
        bursar.client().post(self.path(stream), &self.body(turn, stream))
    }

    pub(crate) fn path(self, stream: bool) -> &'static str {
        match (self, stream) {
            (Self::Chat, _) => "/v1/chat/completions",
            (Self::Responses, _) => "/v1/responses",
            (Self::Anthropic, _) => "/v1/messages",
            (Self::Gemini, false) => "/v1beta/models/m:generateContent",
            (Self::Gemini, true) => "/v1beta/models/m:streamGenerateContent?alt=sse",
        }
    }

    pub(crate) fn body(self, turn: &Turn, stream: bool) -> Value {
        let mut body = match self {
            Self::Chat => chat(turn),
            Self::Responses => responses(turn),
            Self::Anthropic => anthropic(turn),
            Self::Gemini => gemini(turn),
        };
        if stream && self != Self::Gemini {
            body["stream"] = true.into();
        }
        if stream && self == Self::Chat {
            body["stream_options"] = json!({"include_usage": true});
        }
        body
    }

    /// Returns text, call (id, name, arguments) and tokens read and written of a whole reply.
    fn whole(self, reply: &Value) -> (String, Option<Called>, (u64, u64)) {
        let parsed = |text: &Value| serde_json::from_str(text.as_str().unwrap()).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let count = |value: &Value| value.as_u64().unwrap_or_default();
        let usage = match self {
            Self::Gemini => &reply["usageMetadata"],
            _ => &reply["usage"],
        };
        match self {
            Self::Chat => {
                let message = &reply["choices"][0]["message"];
                let call = &message["tool_calls"][0];
                let function = &call["function"];
                let call = call
                    .is_object()
                    .then(|| (text(&call["id"]), text(&function["name"]), parsed(&function["arguments"])));
                (text(&message["content"]), call, (count(&usage["prompt_tokens"]), count(&usage["completion_tokens"])))
            }
            Self::Responses => {
                let of = |kind: &str| reply["output"].as_array().unwrap().iter().find(|item| item["type"] == kind);
                let said = of("message").map(|item| text(&item["content"][0]["text"])).unwrap_or_default();
                let call = of("function_call")
                    .map(|item| (text(&item["call_id"]), text(&item["name"]), parsed(&item["arguments"])));
                (said, call, (count(&usage["input_tokens"]), count(&usage["output_tokens"])))
            }
            Self::Anthropic => {
                let of = |kind: &str| reply["content"].as_array().unwrap().iter().find(|block| block["type"] == kind);
                let said = of("text").map(|block| text(&block["text"])).unwrap_or_default();
                let call =
                    of("tool_use").map(|block| (text(&block["id"]), text(&block["name"]), block["input"].clone()));
                (said, call, (count(&usage["input_tokens"]), count(&usage["output_tokens"])))
            }
            Self::Gemini => {
                let parts = reply["candidates"][0]["content"]["parts"].as_array().cloned().unwrap_or_default();
                let said = parts.iter().map(|part| text(&part["text"])).collect();
                let call = parts.iter().find(|part| part["functionCall"].is_object()).map(|part| {
                    let call = &part["functionCall"];
                    (text(&call["id"]), text(&call["name"]), call["args"].clone())
                });
                let tokens = (count(&usage["promptTokenCount"]), count(&usage["candidatesTokenCount"]));
                (said, call, tokens)
            }
        }
    }

    /// Returns the text of a stream, and whether it says that it is complete.
    fn streamed(self, answer: &Answer) -> (String, bool) {
        let body = answer.text();
        let data: Vec<&str> = body.lines().filter_map(|line| line.trim_end().strip_prefix("data: ")).collect();
        let events = data.iter().filter_map(|data| serde_json::from_str::<Value>(data).ok());
        let mut text = String::new();
        let mut complete = self == Self::Chat && data.last() == Some(&"[DONE]");
        for event in events {
            let piece = match self {
                Self::Chat => &event["choices"][0]["delta"]["content"],
                Self::Responses if event["type"] == "response.output_text.delta" => &event["delta"],
                Self::Anthropic => &event["delta"]["text"],
                Self::Gemini => &event["candidates"][0]["content"]["parts"][0]["text"],
                Self::Responses => &Value::Null,
            };
            text.push_str(piece.as_str().unwrap_or_default());
            complete |= event["type"] == "response.completed"
                || event["type"] == "message_stop"
                || event["candidates"][0]["finishReason"].is_string();
        }
        (text, complete)
    }

    /// Returns the message of an error as this client finds it.
    fn error(self, reply: &Value) -> String {
        if self == Self::Anthropic {
            assert_eq!(reply["type"], "error", "{reply}");
            assert!(reply["error"]["type"].is_string() && reply["request_id"].is_string(), "{reply}");
        }
        if self == Self::Gemini {
            assert!(reply["error"]["code"].is_u64() && reply["error"]["status"].is_string(), "{reply}");
        }
        reply["error"]["message"].as_str().unwrap_or_else(|| panic!("{self:?}: {reply}")).to_owned()
    }
}

fn chat(turn: &Turn) -> Value {
    let tools = json!([{"type": "function", "function": {"name": "weather", "parameters": schema()}}]);
    let user = json!({"role": "user", "content": "How is Rome?"});
    match turn {
        Turn::Text => json!({"model": "m", "messages": [{"role": "system", "content": "Be kind."}, user]}),
        Turn::Tool => json!({"model": "m", "messages": [user], "tools": tools, "tool_choice": "required"}),
        Turn::After { id, name, arguments } => json!({"model": "m", "tools": tools, "messages": [user,
            {"role": "assistant", "content": null, "tool_calls": [{"id": id, "type": "function",
                "function": {"name": name, "arguments": arguments.to_string()}}]},
            {"role": "tool", "tool_call_id": id, "content": "sunny, 21 degrees"}]}),
    }
}

fn responses(turn: &Turn) -> Value {
    let tools = json!([{"type": "function", "name": "weather", "parameters": schema(), "strict": false}]);
    let user = json!({"role": "user", "content": "How is Rome?"});
    match turn {
        Turn::Text => json!({"model": "m", "instructions": "Be kind.", "input": "How is Rome?"}),
        Turn::Tool => json!({"model": "m", "input": [user], "tools": tools, "tool_choice": "required"}),
        Turn::After { id, name, arguments } => json!({"model": "m", "tools": tools, "input": [user,
            {"type": "function_call", "call_id": id, "name": name, "arguments": arguments.to_string()},
            {"type": "function_call_output", "call_id": id, "output": "sunny, 21 degrees"}]}),
    }
}

fn anthropic(turn: &Turn) -> Value {
    let tools = json!([{"name": "weather", "input_schema": schema()}]);
    let user = json!({"role": "user", "content": "How is Rome?"});
    let mut body = match turn {
        Turn::Text => json!({"system": "Be kind.", "messages": [user]}),
        Turn::Tool => json!({"messages": [user], "tools": tools, "tool_choice": {"type": "any"}}),
        Turn::After { id, name, arguments } => json!({"tools": tools, "messages": [user,
            {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": name, "input": arguments}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "sunny, 21 degrees"}]}]}),
    };
    body["model"] = "m".into();
    body["max_tokens"] = 500.into();
    body
}

fn gemini(turn: &Turn) -> Value {
    let tools = json!([{"functionDeclarations": [{"name": "weather", "parameters": schema()}]}]);
    let user = json!({"role": "user", "parts": [{"text": "How is Rome?"}]});
    match turn {
        Turn::Text => json!({"systemInstruction": {"parts": [{"text": "Be kind."}]}, "contents": [user]}),
        Turn::Tool => json!({"contents": [user], "tools": tools,
            "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}),
        Turn::After { id, name, arguments } => json!({"tools": tools, "contents": [user,
            {"role": "model", "parts": [{"functionCall": {"id": id, "name": name, "args": arguments}}]},
            {"role": "user", "parts": [{"functionResponse": {"id": id, "name": name,
                "response": {"output": "sunny, 21 degrees"}}}]}]}),
    }
}

/// Runs `test` for every client before every kind of provider.
fn each(test: impl Fn(Speaker, &str, &Bursar)) {
    for kind in KINDS {
        let demo = demo();
        let bursar = gateway(kind, &demo);
        for speaker in SPEAKERS {
            test(speaker, kind, &bursar);
        }
    }
}

#[test]
fn a_text_comes_whole_and_streamed_the_same_with_its_usage() {
    each(|speaker, kind, bursar| {
        let whole = speaker.ask(bursar, &Turn::Text, false);
        assert_eq!(whole.status, 200, "{speaker:?} to {kind}: {}", whole.text());
        let (said, call, (read, written)) = speaker.whole(&whole.json());
        assert!(said.contains("Rome") && call.is_none(), "{speaker:?} to {kind}: {}", whole.text());
        assert!(read > 0 && written > 0, "{speaker:?} to {kind}: {}", whole.text());

        let streamed = speaker.ask(bursar, &Turn::Text, true);
        assert_eq!(streamed.status, 200, "{speaker:?} to {kind}: {}", streamed.text());
        assert_eq!(speaker.streamed(&streamed), (said, true), "{speaker:?} to {kind}: {}", streamed.text());
    });
}

#[test]
fn a_tool_is_called_and_its_answer_understood() {
    each(|speaker, kind, bursar| {
        let asked = speaker.ask(bursar, &Turn::Tool, false);
        assert_eq!(asked.status, 200, "{speaker:?} to {kind}: {}", asked.text());
        let (_, call, _) = speaker.whole(&asked.json());
        let (id, name, arguments) = call.unwrap_or_else(|| panic!("{speaker:?} to {kind}: {}", asked.text()));
        assert_eq!(name, "weather", "{speaker:?} to {kind}");
        assert!(arguments["city"].is_string(), "{speaker:?} to {kind}: {arguments}");

        let answer = speaker.ask(bursar, &Turn::After { id, name, arguments }, false);
        assert_eq!(answer.status, 200, "{speaker:?} to {kind}: {}", answer.text());
        assert!(!speaker.whole(&answer.json()).0.is_empty(), "{speaker:?} to {kind}: {}", answer.text());
    });
}

#[test]
fn a_refusal_comes_in_the_clients_dialect() {
    for kind in KINDS {
        let refusing =
            scripted(Behaviour { headers: vec![("retry-after".into(), "7".into())], ..Behaviour::status(429) });
        let bursar = gateway(kind, &refusing);
        for speaker in SPEAKERS {
            for stream in [false, true] {
                let answer = speaker.ask(&bursar, &Turn::Text, stream);
                // The first finds the provider's refusal, the others that its only key rests.
                assert!([429, 503].contains(&answer.status), "{speaker:?} to {kind}: {}", answer.text());
                assert!(answer.header("retry-after").is_some());
                assert!(!speaker.error(&answer.json()).is_empty());
            }
        }
    }
}

#[test]
fn a_stream_that_breaks_off_never_looks_complete() {
    for kind in KINDS {
        for speaker in SPEAKERS {
            let broken = scripted(Behaviour { cut_after: Some(3_000), ..Behaviour::default() });
            let bursar = gateway(kind, &broken);

            let answer = speaker.ask(&bursar, &Turn::Text, true);

            assert_eq!(answer.status, 200, "{speaker:?} to {kind}: {}", answer.text());
            let (text, complete) = speaker.streamed(&answer);
            assert!(!text.is_empty() && !complete, "{speaker:?} to {kind}: {}", answer.text());
            assert!(answer.text().contains("\"error\""), "{speaker:?} to {kind}: {}", answer.text());
            assert_eq!(bursar.books().endings(), (0, 1, 0), "{speaker:?} to {kind}");
        }
    }
}

#[test]
fn models_are_shown_in_the_clients_dialect() {
    let demo = demo();
    let bursar = gateway("openai", &demo);
    let mut client = bursar.client();

    let gemini = client.get("/v1beta/models/m");
    let nowhere = client.get("/v1beta/cachedContents");
    let in_anthropics = client.request("GET", "/v1/models/m", &[("anthropic-version", "2023-06-01")], "");

    assert_eq!((gemini.status, gemini.json()["name"].clone()), (200, json!("models/m")));
    assert_eq!(gemini.json(), client.get("/v1beta/models").json()["models"][0]);
    assert_eq!((in_anthropics.status, in_anthropics.json()["type"].clone()), (200, json!("model")));
    // Google's SDKs ask under /v1, too, and are known by their key's header.
    let google = client.request("GET", "/v1/models", &[("x-goog-api-key", "k")], "");
    assert_eq!(google.json()["models"][0]["name"], "models/m");
    let message = client.post("/v1/messages", &anthropic(&Turn::Text));
    assert_eq!(message.header("request-id"), message.header("x-request-id"), "what Anthropic's SDKs read");
    let no_method = client.post("/v1beta/models/m:predict", &json!({}));
    for unknown in [nowhere, no_method] {
        assert_eq!(unknown.status, 404);
        assert!(!Speaker::Gemini.error(&unknown.json()).is_empty(), "{}", unknown.text());
    }
}

#[test]
fn gemini_is_spoken_under_every_version() {
    let demo = demo();
    let bursar = gateway("openai", &demo);

    for prefix in ["/v1beta", "/v1", "/gemini/v1beta", "/gemini/v1"] {
        for method in ["generateContent", "streamGenerateContent?alt=sse", "countTokens"] {
            let path = format!("{prefix}/models/m:{method}");
            let answer = bursar.client().post(&path, &gemini(&Turn::Text));
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
    }
}

#[test]
fn bytes_in_the_alphabet_for_urls_reach_upstreams_that_know_only_the_standard_one() {
    let demo = demo();
    let bursar = gateway("anthropic", &demo);
    // A PNG's first bytes, then two that differ between the alphabets; unpadded.
    let image = json!({"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgr7_w"}});

    let answer = bursar.client().post("/v1beta/models/m:generateContent", &json!({"contents": [{"parts": [image]}]}));

    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn what_is_wrong_is_said_in_the_clients_dialect() {
    let demo = demo();
    let bursar = gateway("anthropic", &demo);
    let unknown = [
        ("/v1/messages", json!({"model": "nobody/none", "max_tokens": 1, "messages": []})),
        ("/v1beta/models/nobody/none:generateContent", json!({"contents": []})),
    ];
    for ((path, body), speaker) in unknown.into_iter().zip([Speaker::Anthropic, Speaker::Gemini]) {
        let answer = bursar.client().post(path, &body);
        assert!([400, 404].contains(&answer.status), "{}", answer.text());
        assert!(!speaker.error(&answer.json()).is_empty());
    }
    let kept = json!({
        "model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "thread": {"type": "create"}
    });
    let elsewhere = gateway("openai", &demo);
    for bursar in [&elsewhere, &bursar] {
        let beta = [("anthropic-version", "2023-06-01"), ("anthropic-beta", "threads-2026-06-01")];
        let answer = bursar.client().request("POST", "/v1/messages", &beta, &kept.to_string());
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status, error["type"].as_str()), (400, Some("invalid_request_error")), "{error}");
        assert_eq!(error["details"]["error_code"], "thread_unsupported_request", "clients then go on without: {error}");
    }
    let before = demo.exchanges().len();
    let stored = json!({"model": "m", "input": "x", "previous_response_id": "resp_1"});
    let answer = bursar.client().post("/v1/responses", &stored);
    assert_eq!((answer.status, answer.json()["error"]["param"].as_str()), (400, Some("previous_response_id")));
    assert_eq!(demo.exchanges().len(), before);
}

#[test]
fn tokens_are_counted_without_a_call() {
    let demo = demo();
    let bursar = gateway("openai", &demo);
    let routes = [
        (
            "/v1/messages/count_tokens",
            json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}]}),
            "input_tokens",
        ),
        ("/v1/responses/input_tokens", json!({"model": "m", "input": "Hello"}), "input_tokens"),
        ("/v1beta/models/m:countTokens", json!({"contents": [{"parts": [{"text": "Hello"}]}]}), "totalTokens"),
        (
            "/v1beta/models/m:countTokens",
            json!({"generateContentRequest": {"contents": [{"parts": [{"text": "Hello"}]}]}}),
            "totalTokens",
        ),
    ];
    for (path, body, field) in routes {
        let answer = bursar.client().post(path, &body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.json()[field].as_u64().unwrap() > 0, "{path}: {}", answer.text());
        assert!(answer.header("x-bursar-estimate").is_some());
    }
    assert!(demo.exchanges().is_empty());
}

#[test]
fn what_one_upstream_has_no_words_for_another_answers_and_nobody_is_blamed() {
    let (first, second) = (demo(), demo());
    let bursar = Setup::from_file(&format!(
        "[probes]\nevery = \"0s\"\n[providers.a]\nkind = \"anthropic\"\nbase_url = \"{}\"\nkeys = [{{ id = \"k\", value = \"sk-a\" }}]\n\
         [providers.o]\nkind = \"openai\"\nbase_url = \"{}\"\nkeys = [{{ id = \"k\", value = \"sk-o\" }}]\n\
         [models.alias.m]\nstrategy = \"ordered\"\ntargets = [{{ provider = \"a\", model = \"demo-small\" }}, \
         {{ provider = \"o\", model = \"demo-small\" }}]\n",
        first.base_url().replace("/v1", ""),
        second.base_url()
    ))
    .start();
    let mut two = chat(&Turn::Text);
    two["n"] = 2.into();

    let answer = bursar.client().chat(&two);

    assert_eq!((answer.status, answer.header("x-bursar-attempts")), (200, Some("1")), "{}", answer.text());
    assert!(first.exchanges().is_empty());
    two["model"] = "a/demo-small".into();
    let refused = bursar.client().chat(&two);
    assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, Some("n")), "{}", refused.text());
}

#[test]
fn every_prefix_of_messages_answers_and_what_cannot_be_asked_is_refused() {
    let demo = demo();
    let bursar = gateway("openai", &demo);
    for path in ["/v1/messages", "/anthropic/v1/messages", "/messages"] {
        assert_eq!(bursar.client().post(path, &anthropic(&Turn::Text)).status, 200, "{path}");
    }
    let array = bursar.client().post("/v1beta/models/m:streamGenerateContent", &gemini(&Turn::Text));
    assert_eq!(array.status, 400, "{}", array.text());
    let climbing = json!({"model": "u/../../x", "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(bursar.client().chat(&climbing).status, 400);
}

#[test]
fn a_signature_that_the_client_dropped_comes_back_to_the_model_that_made_it() {
    let demo = demo();
    let bursar = Setup::from_file(&format!(
        "[probes]\nevery = \"0s\"\n[providers.u]\nkind = \"gemini\"\nbase_url = \"{}\"\n\
         keys = [{{ id = \"k\", value = \"sk-u\" }}]\n\
         [models.alias.m]\ntargets = [{{ provider = \"u\", model = \"demo-gemini-3\" }}]\n",
        demo.base_url()
    ))
    .start();
    for stream in [false, true] {
        let asked = Speaker::Chat.ask(&bursar, &Turn::Tool, stream);
        let body = asked.text();
        // OpenAI's clients keep id, name and arguments of a call and nothing else.
        let call = body
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ").unwrap_or(line)).ok())
            .flat_map(|reply| {
                let choice = reply["choices"][0].clone();
                [choice["message"]["tool_calls"][0].clone(), choice["delta"]["tool_calls"][0].clone()]
            })
            .find(|call| call["id"].is_string())
            .unwrap_or_else(|| panic!("{body}"));
        let made = call["extra_content"]["google"]["thought_signature"].as_str().unwrap().to_owned();
        let (id, name) = (call["id"].as_str().unwrap().into(), "weather".into());

        let answer = Speaker::Chat.ask(&bursar, &Turn::After { id, name, arguments: json!({"city": "Rome"}) }, false);

        assert_eq!(answer.status, 200, "{}", answer.text());
        let sent = demo.exchanges().last().unwrap().body.to_string();
        assert!(sent.contains(&made), "stream {stream}: {sent}");
    }
}
