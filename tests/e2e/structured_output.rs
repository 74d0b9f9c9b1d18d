//! Answers that have to have a form: whole ones are looked at, and the model is asked once more where they have not.

use bursar::demo::{Behaviour, Demo, Raw, Rule, When};
use serde_json::{Value, json};

use crate::client::Answer;
use crate::forgetting::of_phase;
use crate::harness::{Bursar, Setup, demo, until};

const GOOD: &str = "{\"city\": \"Rome\"}";
const BAD: &str = "{\"town\": \"Rome\"}";
const ROUTES: [&str; 4] = ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1beta/models/m:generateContent"];

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": false})
}

fn request(path: &str) -> Value {
    let messages = json!([{"role": "user", "content": "Which city?"}]);
    match path {
        "/v1/chat/completions" => {
            let format =
                json!({"type": "json_schema", "json_schema": {"name": "city", "schema": schema(), "strict": true}});
            json!({"model": "m", "messages": messages, "response_format": format})
        }
        "/v1/responses" => {
            let format = json!({"type": "json_schema", "name": "city", "schema": schema(), "strict": true});
            json!({"model": "m", "input": "Which city?", "text": {"format": format}})
        }
        "/v1/messages" => {
            let format = json!({"type": "json_schema", "schema": schema()});
            json!({"model": "m", "max_tokens": 100, "messages": messages, "output_config": {"format": format}})
        }
        _ => json!({"contents": [{"role": "user", "parts": [{"text": "Which city?"}]}],
            "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": schema()}}),
    }
}

/// Over an upstream that says these texts, one after the other.
fn over(says: &[&str], check: &str) -> (Demo, Bursar) {
    let demo = demo();
    let say = |text: &&str| {
        let body = json!({"id": "x", "object": "chat.completion", "created": 1, "model": "demo-small",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}});
        let then = Behaviour { body: Some(Raw(body.to_string().into())), ..Behaviour::default() };
        Rule { when: When { times: Some(1), ..When::default() }, then }
    };
    demo.script(says.iter().map(say).collect());
    let more = format!(
        "[guardrails.structured_output]\n{check}\n[catalog.models.\"a/demo-small\"]\nmax_output = 100\n\
         price = {{ input = 0, output = 0 }}\nrequest_price = 0.5\n"
    );
    let bursar = Setup::over(&[&demo]).more(&more).start();
    (demo, bursar)
}

fn cost(answer: &Answer) -> Option<&str> {
    answer.header("x-bursar-cost-usd")
}

#[test]
fn what_fits_passes_and_what_does_not_is_asked_for_once_more() {
    for path in ROUTES {
        let (demo, bursar) = over(&[GOOD, BAD, GOOD], "check = \"block\"");

        let fits = bursar.client().post(path, &request(path));
        assert_eq!((fits.status, demo.exchanges().len()), (200, 1), "{path}: {}", fits.text());
        let repaired = bursar.client().post(path, &request(path));

        assert_eq!(repaired.status, 200, "{path}: {}", repaired.text());
        assert!(repaired.text().contains("city") && !repaired.text().contains("town"), "{path}: {}", repaired.text());
        assert_eq!((cost(&fits), cost(&repaired)), (Some("0.5"), Some("1")), "{path}");
        assert!(repaired.header("x-bursar-warning").is_some_and(|told| told.contains("repaired")), "{path}");
        let sent = demo.exchanges();
        assert_eq!(sent.len(), 3);
        let last = sent[2].body.to_string();
        assert!(last.contains("town") && last.contains("has to have `city`"), "{path}: {last}");
        let metrics = bursar.client().get("/metrics").text();
        let counted = r#"bursar_guardrail_hits_total{action="flag",rule="structured_output",stage="output"} 1"#;
        assert!(metrics.contains(counted), "{metrics}");
    }
}

#[test]
fn each_try_is_a_request_of_its_own_in_the_books() {
    let (_demo, bursar) = over(&[BAD, GOOD], "check = \"flag\"");
    bursar.client().post(ROUTES[0], &request(ROUTES[0]));

    bursar.books();
    let books = bursar.gateway.books.clone().unwrap();
    until("both are in the books", || of_phase(&books, "completed").len() == 2);
    let records = of_phase(&books, "completed");
    let ids: Vec<&str> = records.iter().map(|record| record["request"].as_str().unwrap()).collect();
    assert!(ids.iter().any(|id| ids.contains(&format!("{id}.repair").as_str())), "{ids:?}");
    assert!(records.iter().all(|record| record["cost_nano"] == 500_000_000), "{records:?}");
    let told = "structured_output: flag 1 schema";
    assert_eq!(records.iter().filter(|record| record["rules"].to_string().contains(told)).count(), 1);
}

#[test]
fn what_is_wrong_twice_passes_flagged_or_not_at_all() {
    for path in ROUTES {
        let (_demo, bursar) = over(&[BAD, "no JSON"], "check = \"flag\"");
        let flagged = bursar.client().post(path, &request(path));
        assert!(flagged.status == 200 && flagged.text().contains("town"), "{path}: {}", flagged.text());
        assert!(flagged.header("x-bursar-warning").is_some_and(|told| told.contains("has to have `city`")), "{path}");

        let (demo, bursar) = over(&[BAD, BAD], "check = \"block\"");
        let refused = bursar.client().post(path, &request(path));
        assert_eq!((refused.status, demo.exchanges().len()), (502, 2), "{path}: {}", refused.text());
        assert!(
            refused.text().contains("has to have `city`") && !refused.text().contains("Rome"),
            "{}",
            refused.text()
        );
    }
}

#[test]
fn a_second_answer_that_was_cut_is_no_repair_and_a_first_one_is_flagged() {
    let cut = |check: &str| {
        let demo = demo();
        let say = |text: &str, finish: &str| {
            let body = json!({"id": "x", "object": "chat.completion", "created": 1, "model": "demo-small",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}]});
            let then = Behaviour { body: Some(Raw(body.to_string().into())), ..Behaviour::default() };
            Rule { when: When { times: Some(1), ..When::default() }, then }
        };
        demo.script(vec![say("{\"ci", "length"), say(BAD, "stop"), say("{\"ci", "length")]);
        let more = format!("[guardrails.structured_output]\ncheck = \"{check}\"\n");
        let bursar = Setup::over(&[&demo]).more(&more).start();
        let first = bursar.client().post(ROUTES[0], &request(ROUTES[0]));
        assert_eq!((first.status, demo.exchanges().len()), (200, 1), "{}", first.text());
        assert_eq!(first.header("x-bursar-guardrails"), Some("structured_output:1 flag"));
        let second = bursar.client().post(ROUTES[0], &request(ROUTES[0]));
        assert_eq!(demo.exchanges().len(), 3);
        second
    };
    assert_eq!(cut("block").status, 502);
    assert!(cut("flag").text().contains("town"));
}

#[test]
fn a_schema_that_asks_for_too_much_work_is_not_looked_at() {
    let (demo, bursar) = over(&[BAD], "check = \"block\"");
    let next = |level: usize| json!({"$ref": format!("#/$defs/a{level}")});
    let defs = (0..40).map(|level| (format!("a{level}"), json!({"anyOf": [next(level + 1), next(level + 1)]})));
    let mut defs: serde_json::Map<String, Value> = defs.collect();
    defs.insert("a40".into(), json!({"type": "string"}));
    let mut asked = request(ROUTES[0]);
    asked["response_format"]["json_schema"]["schema"] = json!({"$defs": defs, "$ref": "#/$defs/a0"});
    asked["response_format"]["json_schema"]["strict"] = false.into();

    let answer = bursar.client().post(ROUTES[0], &asked);

    assert_eq!((answer.status, demo.exchanges().len()), (200, 1), "{}", answer.text());
}

#[test]
fn a_stream_is_judged_at_its_end() {
    for path in ROUTES {
        for (text, check, complete) in [(GOOD, "block", true), (BAD, "flag", true), (BAD, "block", false)] {
            let demo = demo();
            let chunk = |delta: Value, finish: Value| {
                json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "demo-small",
                    "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
                .to_string()
            };
            let (one, two) = text.split_at(5);
            let events = [
                chunk(json!({"role": "assistant", "content": one}), Value::Null),
                chunk(json!({"content": two}), Value::Null),
                chunk(json!({}), "stop".into()),
            ];
            let then = Behaviour { events: Some(events.into()), ..Behaviour::default() };
            demo.script(vec![Rule { when: When::default(), then }]);
            let more = format!("[guardrails.structured_output]\ncheck = \"{check}\"\n");
            let bursar = Setup::over(&[&demo]).more(&more).start();
            let mut asked = request(path);
            let to = if path.starts_with("/v1beta") {
                path.replace("generate", "streamGenerate") + "?alt=sse"
            } else {
                asked["stream"] = true.into();
                path.to_owned()
            };

            let answer = bursar.client().post(&to, &asked);

            let told = answer.text();
            let what = format!("{path}, {check}: {told}");
            assert_eq!(told.contains("has to have `city`"), !complete, "{what}");
            assert_eq!(demo.exchanges().len(), 1, "{what}");
            let metrics = bursar.client().get("/metrics").text();
            let counted = metrics.contains("bursar_guardrail_hits_total{action=\"")
                && metrics.contains("rule=\"structured_output\"");
            assert_eq!(counted, text == BAD, "{what}");
        }
    }
}

#[test]
fn nobody_looks_unless_told_to_and_without_repair_there_is_one_call() {
    for (check, status) in [("check = \"off\"", 200), ("check = \"block\"\nrepair = false", 502)] {
        let (demo, bursar) = over(&[BAD], check);
        let answer = bursar.client().post(ROUTES[0], &request(ROUTES[0]));
        assert_eq!((answer.status, demo.exchanges().len()), (status, 1), "{check}: {}", answer.text());
    }
}
