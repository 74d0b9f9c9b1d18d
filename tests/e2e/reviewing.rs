//! Services that are asked about texts before they go on: what they are shown, and what becomes of what they say.

use std::sync::mpsc::Receiver;

use bursar::demo::Demo;
use serde_json::{Value, json};

use crate::client::chat;
use crate::harness::{Bursar, Setup, demo};
use crate::webhooks::{Call, is_signed, listen};

const SECRET: &str = "the-secret-of-the-tests";
const MAIL: &str = "grace.hopper@navy.example";
/// The routes whose answers are text, and where they are streamed.
const ROUTES: [&str; 5] =
    ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/completions", "/v1beta/models/m:generateContent"];

/// A service that allows all but what `say` says something else about, text by text.
fn service(say: impl Fn(&str) -> Option<Value> + Send + 'static) -> (String, Receiver<Call>) {
    listen(move |call| {
        let texts = call.json()["texts"].clone();
        let texts = texts.as_array().unwrap().iter().map(|text| say(text["text"].as_str().unwrap()));
        let mut said: Vec<Option<Value>> = texts.collect();
        let verdict = match said.iter().flatten().next() {
            None => json!({"verdict": "allow"}),
            Some(Value::String(_)) => json!({"verdict": "replace", "texts": said}),
            Some(_) => said.iter_mut().find_map(Option::take).unwrap(),
        };
        Some((200, verdict.to_string()))
    })
}

fn entry(url: &str, more: &str) -> String {
    format!("[[guardrails.webhooks]]\nname = \"dlp\"\nurl = \"{url}\"\n{more}\n")
}

fn over(demo: &Demo, more: &str) -> Bursar {
    Setup::over(&[demo]).more(more).start()
}

fn body(path: &str, text: &str, stream: bool) -> (String, Value) {
    let user = json!([{"role": "user", "content": text}]);
    let mut body = match path {
        "/v1/chat/completions" => json!({"messages": user}),
        "/v1/responses" => json!({"input": text}),
        "/v1/messages" => json!({"max_tokens": 500, "messages": user}),
        "/v1/completions" => json!({"prompt": text}),
        _ => {
            let path = if stream { path.replace("generate", "streamGenerate") + "?alt=sse" } else { path.to_owned() };
            return (path, json!({"contents": [{"parts": [{"text": text}]}]}));
        }
    };
    body["model"] = "m".into();
    body["stream"] = stream.into();
    (path.to_owned(), body)
}

fn texts(call: &Call) -> Vec<String> {
    let texts = call.json()["texts"].clone();
    texts.as_array().unwrap().iter().map(|text| text["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_question_is_signed_and_shows_what_is_left_once_everything_is_masked() {
    let demo = demo();
    let (url, calls) = service(|_| None);
    let more = "[guardrails.pii]\nentities = [\"email\"]\n".to_owned()
        + &entry(&url, &format!("secret = \"{SECRET}\"\ntoken = \"t0ken\""));
    let bursar = over(&demo, &more);

    let answer =
        bursar.client().chat(&chat(json!({"messages": [{"role": "user", "content": format!("I am {MAIL}")}]})));

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains(MAIL), "{}", answer.text());
    let [input, output] = [calls.recv().unwrap(), calls.recv().unwrap()];
    for call in [&input, &output] {
        assert!(is_signed(call, SECRET), "{}", call.head);
        assert_eq!(call.header("authorization"), Some("Bearer t0ken"));
        assert_eq!(call.header("webhook-id"), call.json()["id"].as_str());
        assert!(!call.body.contains("hopper"), "{}", call.body);
    }
    assert_eq!(input.json()["stage"], "input");
    assert_eq!(input.json()["texts"], json!([{"at": "/messages/0/content", "text": "I am PII_EMAIL_1"}]));
    assert_eq!((output.json()["stage"].as_str(), output.json()["alias"].as_str()), (Some("output"), Some("m")));
    assert_eq!(output.json()["texts"][0]["at"], "/choices/0/message/content");
    assert_eq!(input.json()["request_id"].as_str(), answer.header("x-bursar-request-id"));
    let metrics = bursar.client().get("/metrics").text();
    assert!(metrics.contains("bursar_guardrail_duration_seconds_count{rule=\"dlp\",stage=\"input\"} 1"), "{metrics}");
}

#[test]
fn what_clients_send_is_rewritten_refused_or_noted() {
    let demo = demo();
    let (url, _calls) = service(|text| match text {
        "rewrite" => Some("rewritten".into()),
        "refuse" => Some(json!({"verdict": "block", "message": "Not here."})),
        "note" => Some(json!({"verdict": "flag"})),
        _ => None,
    });
    let bursar = over(&demo, &entry(&url, "stage = [\"input\"]"));
    let ask = |text: &str| bursar.client().chat(&chat(json!({"messages": [{"role": "user", "content": text}]})));

    let rewritten = ask("rewrite");
    assert_eq!((rewritten.status, rewritten.header("x-bursar-guardrails")), (200, Some("dlp:1 mask")));
    assert_eq!(demo.exchanges()[0].body["messages"][0]["content"], "rewritten");
    assert_eq!(ask("note").header("x-bursar-guardrails"), Some("dlp:1 flag"));
    let refused = ask("refuse");
    assert_eq!((refused.status, refused.error_code().as_str()), (400, "guardrail_blocked"));
    assert!(refused.text().contains("Not here."), "{}", refused.text());
    assert_eq!(demo.exchanges().len(), 2);
    let counted = bursar
        .client()
        .post("/v1/messages/count_tokens", &json!({"model": "m", "messages": [{"role": "user", "content": "refuse"}]}));
    assert_eq!(counted.status, 400, "{}", counted.text());
}

#[test]
fn answers_are_rewritten_and_refused_on_every_route_whole_and_streamed() {
    for (verdict, word) in [(Value::from("all of it"), "all of it"), (json!({"verdict": "block"}), "refuse")] {
        let demo = demo();
        let (url, calls) = service(move |text| text.contains("tulips").then(|| verdict.clone()));
        let bursar = over(&demo, &entry(&url, "stage = [\"output\"]\nstream_window = 65536"));
        for path in ROUTES {
            for stream in [false, true] {
                let (to, asked) = body(path, "I like tulips and nothing else", stream);

                let answer = bursar.client().post(&to, &asked);

                let text = answer.text();
                let what = format!("{path}, streamed: {stream}: {text}");
                assert!(!text.contains("tulips") && text.contains(word), "{what}");
                let statuses: &[u16] = if word != "refuse" {
                    &[200]
                } else if stream {
                    &[200, 400]
                } else {
                    &[400]
                };
                assert!(statuses.contains(&answer.status), "{what}");
                assert!(word != "refuse" || text.contains("the guardrail `dlp` refuses it"), "{what}");
            }
        }
        assert!(calls.try_iter().all(|call| call.json()["last"] == true));
    }
}

#[test]
fn a_stream_is_asked_about_window_by_window_and_held_until_then() {
    let demo = demo();
    let (url, calls) = service(|_| None);
    let bursar = over(&demo, &entry(&url, "stage = [\"output\"]\nstream_window = 32"));
    let said = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen";
    let (path, asked) = body("/v1/chat/completions", said, true);

    let answer = bursar.client().post(&path, &asked);

    assert_eq!(answer.status, 200);
    let calls: Vec<Call> = calls.try_iter().collect();
    assert!(calls.len() > 1, "{}", calls.len());
    let shown: String = calls.iter().flat_map(texts).collect();
    assert!(shown.contains(said), "{shown}");
    assert!(calls[..calls.len() - 1].iter().all(|call| texts(call)[0].chars().count() >= 32));
    let before = calls[1].json()["texts"][0]["before"].clone();
    assert_eq!(before.as_str(), Some(texts(&calls[0])[0].as_str()));
    assert!(answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
}

#[test]
fn who_gives_no_answer_lets_nothing_pass_unless_the_operator_says_so() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}/", silent.local_addr().unwrap());
    let (wrong, _calls) = listen(|_| Some((200, "{\"verdict\":\"maybe\"}".to_owned())));
    let (broken, _calls) = listen(|_| Some((500, String::new())));
    for url in [silent, wrong, broken] {
        for stage in ["input", "output"] {
            let demo = demo();
            let stage = format!("timeout = \"100ms\"\nstage = [\"{stage}\"]\n");
            let closed = over(&demo, &entry(&url, &stage));
            for path in ["/v1/chat/completions", "/v1/messages"] {
                let (path, asked) = body(path, "hi", false);
                let refused = closed.client().post(&path, &asked);
                assert_eq!(refused.status, 503, "{}", refused.text());
                assert!(refused.text().contains("`dlp` gives no answer"), "{}", refused.text());
            }
            let open = over(&demo, &entry(&url, &(stage + "on_error = \"allow\"\n")));
            for stream in [false, true] {
                let (path, asked) = body("/v1/chat/completions", "hi", stream);
                let passed = open.client().post(&path, &asked);
                assert_eq!(passed.status, 200, "{}", passed.text());
                assert!(!passed.text().contains("error"), "{}", passed.text());
            }
            let metrics = open.client().get("/metrics").text();
            assert!(metrics.contains("bursar_guardrail_hits_total{action=\"allow\",rule=\"dlp\""), "{metrics}");
        }
    }
}
