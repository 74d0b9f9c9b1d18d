//! Everything that OpenAI's clients get, by OpenAI's own description of it, where that file lies beside the project
//! (`../shared/reference/spec`, or the folder that `BURSAR_SPEC` names).

mod schema;

use std::path::{Path, PathBuf};

use bursar::demo::Behaviour;
use serde_json::{Value, json};

use self::schema::Schemas;
use crate::client::{chat, stream};
use crate::harness::{Setup, demo, scripted};

/// What was checked, and what was found.
struct Checked {
    schemas: Schemas,
    texts: usize,
    faults: Vec<String>,
}

impl Checked {
    fn against(&mut self, schema: &str, value: &Value, what: &dyn std::fmt::Display) {
        assert!(self.schemas.knows(schema), "the file has no {schema}");
        self.texts += 1;
        let faults = self.schemas.faults(schema, value).into_iter();
        // "When present, it contains a null value except for the last chunk", say the words of the same schema.
        let faults = faults.filter(|fault| fault != "/usage: null is no \"object\"");
        // Calls of custom tools are in the schema of whole replies and were forgotten in that of chunks.
        let faults = faults.filter(|fault| !fault.ends_with("/type: \"custom\" is none of [\"function\"]"));
        self.faults.extend(faults.map(|fault| format!("{what}: {schema}{fault}")));
    }

    /// Checks the events of a stream.
    fn events(&mut self, schema: &str, sse: &str, what: &dyn std::fmt::Display) {
        for data in sse.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]") {
            let event: Value = serde_json::from_str(data).unwrap();
            let schema = if event["error"].is_object() && event["type"].is_null() { "ErrorResponse" } else { schema };
            self.against(schema, &event, what);
        }
    }

    /// Checks every golden answer in the folders below `folder`.
    fn golden(&mut self, folder: &Path, whole: &str, streamed: &str) {
        for case in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = case.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_owned();
            if let Ok(text) = std::fs::read_to_string(case.join("client.json")) {
                let reply: Value = serde_json::from_str(&text).unwrap();
                if reply["failure"].is_null() {
                    self.against(whole, &reply, &name.display());
                }
            }
            if let Ok(text) = std::fs::read_to_string(case.join("client.sse")) {
                self.events(streamed, &text, &name.display());
            }
        }
    }

    /// Returns how many texts were checked. Fails with every fault, once each.
    #[track_caller]
    fn done(mut self) -> usize {
        self.faults.sort();
        self.faults.dedup();
        assert!(self.faults.is_empty(), "{} faults:\n{}", self.faults.len(), self.faults.join("\n"));
        self.texts
    }
}

fn official() -> Option<Checked> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/spec");
    let folder = std::env::var_os("BURSAR_SPEC").map_or(beside, PathBuf::from);
    let file = folder.join("openai-openapi.yaml");
    if !file.exists() {
        eprintln!("skipped: there is no {}", file.display());
        return None;
    }
    Some(Checked { schemas: Schemas::read(&file), texts: 0, faults: Vec::new() })
}

#[test]
fn what_openais_clients_get_is_as_openai_describes_it() {
    let Some(mut checked) = official() else { return };
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for provider in ["chat", "anthropic", "bedrock", "cohere", "gemini", "mistral", "ollama", "responses"] {
        let (whole, streamed) = ("CreateChatCompletionResponse", "CreateChatCompletionStreamResponse");
        checked.golden(&golden.join(provider), whole, streamed);
    }
    checked.golden(&golden.join("clients/responses"), "Response", "ResponseStreamEvent");
    let golden = checked.texts;

    let crippled = json!({"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0,
        "delta": "x", "logprobs": []});
    assert_eq!(checked.schemas.faults("ResponseStreamEvent", &crippled), ["/sequence_number: is missing"]);
    lists(&mut checked);
    refusals(&mut checked);

    let all = checked.done();
    eprintln!("{all} texts were checked, {golden} of them golden");
    assert!(golden > 500 && all > golden + 10, "only {golden} and {all} texts");
}

/// Models and embeddings, of a running gateway.
fn lists(checked: &mut Checked) {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();

    let models = client.get("/v1/models");
    let model = client.get("/v1/models/m");
    let floats = client.post("/v1/embeddings", &json!({"model": "m", "input": ["a", "b"]}));
    let whole = client.chat(&chat(json!({})));
    let streamed = client.chat(&stream(json!({"stream_options": {"include_usage": true}})));

    checked.against("ListModelsResponse", &models.json(), &"models");
    checked.against("Model", &model.json(), &"model");
    checked.against("CreateEmbeddingResponse", &floats.json(), &"embeddings");
    checked.against("CreateChatCompletionResponse", &whole.json(), &"chat");
    checked.events("CreateChatCompletionStreamResponse", &streamed.text(), &"streamed chat");
}

/// Errors of every kind: the client's, the upstream's, none to serve.
fn refusals(checked: &mut Checked) {
    for status in [400, 401, 403, 404, 429, 500, 503, 529] {
        let demo = scripted(Behaviour::status(status));
        let bursar = Setup::over(&[&demo]).start();
        let answer = bursar.client().chat(&chat(json!({})));
        assert!(answer.status >= 400);
        checked.against("ErrorResponse", &answer.json(), &format_args!("upstream's {status}"));
    }
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();
    for body in [json!({}), json!({"model": "nobody", "messages": []}), json!({"model": 7}), json!([])] {
        let answer = client.chat(&body);
        checked.against("ErrorResponse", &answer.json(), &body);
    }
    checked.against("ErrorResponse", &client.get("/v1/nothing").json(), &"no such route");
    checked.against("ErrorResponse", &client.post("/v1/responses", &json!({})).json(), &"responses");
    checked.against("ErrorResponse", &client.post("/v1/embeddings", &json!({"model": "m"})).json(), &"embeddings");
}
