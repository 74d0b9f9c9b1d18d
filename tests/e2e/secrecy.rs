//! Marked keys, prompts and answers go through every path; nothing of them may show in what the gateway writes.

use bursar::demo::{Behaviour, Raw, Rule, When};
use serde_json::{Value, json};

use crate::harness::{Setup, demo};
use crate::process::Place;

const CLIENT_KEY: &str = "canary-client-key-4711";
const WRONG_KEY: &str = "canary-wrong-key-4712";
const PROMPT: &str = "canary-prompt-4713";
const ANSWER: &str = "canary-answer-4714";
/// As the harness names them.
const PROVIDER_KEYS: [&str; 2] = ["sk-a-1", "sk-a-2"];

fn rule(model: &str, then: Behaviour) -> Rule {
    Rule { when: When { model: Some(model.into()), ..When::default() }, then }
}

fn error(status: u16, message: &str) -> Behaviour {
    let body = json!({"error": {"message": message, "type": "server_error", "param": null, "code": null}});
    Behaviour { body: Some(Raw(body.to_string().into())), ..Behaviour::status(status) }
}

fn ask(model: &str, streamed: bool) -> Value {
    json!({"model": format!("a/{model}"), "stream": streamed, "user": PROMPT,
        "messages": [{"role": "user", "content": PROMPT}]})
}

#[test]
fn no_key_no_prompt_and_no_answer_shows_in_logs_metrics_status_or_errors() {
    let demo = demo();
    let leaky = format!("Incorrect API key provided: {} for {PROMPT}", "sk-proj-canary4715canary4715canary4715");
    let chunk = json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"content": ANSWER}, "finish_reason": null}]});
    demo.script(vec![
        rule("refuses", error(401, &leaky)),
        rule("fails", error(500, "no luck")),
        rule("breaks", Behaviour { events: Some(vec![chunk.to_string()]), omit_done: true, ..Behaviour::default() }),
        rule("babbles", Behaviour { body: Some(ANSWER.into()), ..Behaviour::default() }),
        rule("garbles", Behaviour { garbage: Some(ANSWER.into()), ..Behaviour::default() }),
    ]);
    let keys = format!("[[client_keys]]\nid = \"app\"\nvalue = \"{CLIENT_KEY}\"\n");
    let logs = "[telemetry.logs]\nlevel = \"trace\"\n[server]\nworkers = 1\n";
    let place = Place::with(&Setup::over(&[&demo]).keys(2).more(&keys).more(logs).file());
    let program = place.serve(&[]);
    let post = |key: &str, body: &str| {
        let bearer = format!("Bearer {key}");
        program.client().request("POST", "/v1/chat/completions", &[("authorization", &bearer)], body)
    };

    let mut written = String::new();
    for model in ["demo-small", "fails", "breaks", "babbles", "garbles", "refuses", "demo-small"] {
        for streamed in [false, true] {
            let answer = post(CLIENT_KEY, &ask(model, streamed).to_string());
            written += &format!("{:?}", answer.headers);
            if answer.status >= 400 {
                written += &answer.text();
            }
        }
    }
    written += &post(WRONG_KEY, &ask("demo-small", false).to_string()).text();
    let bad = [
        format!("{{\"{PROMPT}\""),
        format!("{{\"model\":\"a/x\",\"{PROMPT}\":1,\"{PROMPT}\":2,\"messages\":[]}}"),
        format!("{{\"model\":\"a/x\",\"messages\":\"{PROMPT}\"}}"),
        format!("{{\"model\":\"a/x\",\"messages\":[{{\"role\":\"user\",\"content\":\"{PROMPT}\\ud83d\"}}]}}"),
        format!("{{\"model\":\"a/x\",\"stream\":\"{PROMPT}\",\"messages\":[]}}"),
        format!("{{\"model\":\"a/x\",\"messages\":[{{\"role\":\"{PROMPT}\",\"content\":{{\"{PROMPT}\":1}}}}]}}"),
    ];
    for body in bad {
        let answer = post(CLIENT_KEY, &body);
        assert!(answer.status >= 400, "{body}");
        written += &answer.text();
    }
    written += &program.client().get("/metrics").text();
    for arguments in [&["status", "--output", "json"][..], &["providers", "list", "--output", "json"]] {
        written += &String::from_utf8(place.run(arguments).stdout).unwrap();
    }
    program.signal("TERM");
    let (status, log) = program.wait();

    assert!(status.success() && log.contains("chat served") && log.contains("chat failed"), "{log}");
    let canaries = [CLIENT_KEY, WRONG_KEY, PROMPT, ANSWER, "canary", PROVIDER_KEYS[0], PROVIDER_KEYS[1]];
    for canary in canaries {
        for (what, text) in [("the log", &log), ("an answer", &written)] {
            let at = text.find(canary).map(|at| text[at.saturating_sub(300)..].chars().take(500).collect::<String>());
            assert_eq!(at, None, "`{canary}` stands in {what}");
        }
    }
    let sent: Vec<_> = demo.exchanges().into_iter().filter_map(|exchange| exchange.key).collect();
    assert!(PROVIDER_KEYS.iter().all(|key| sent.iter().any(|used| used == key)), "every key was at work: {sent:?}");
}
