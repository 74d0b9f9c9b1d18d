//! What must not leave does not leave: over every route, whole and streamed, whatever the upstream speaks.

use bursar::demo::Demo;
use serde_json::{Value, json};

use crate::client::{Answer, chat};
use crate::dialects::KINDS;
use crate::forgetting::of_phase;
use crate::harness::{Bursar, Setup, demo, until};
use crate::process::Place;

const MAIL: &str = "grace.hopper@navy.example";
const CARD: &str = "4111 1111 1111 1111";
const SSN: &str = "078-05-1120";
const MASKED: &str = "[guardrails.pii]\nentities = [\"email\", \"credit_card\", \"ssn\"]\n";
/// The routes that carry text, and whether their answers can be streamed.
const ROUTES: [(&str, bool); 11] = [
    ("/v1/chat/completions", true),
    ("/v1/responses", true),
    ("/v1/messages", true),
    ("/v1/completions", true),
    ("/v1beta/models/m:generateContent", true),
    ("/v1/embeddings", false),
    ("/v1beta/models/m:embedContent", false),
    ("/v1beta/models/m:batchEmbedContents", false),
    ("/v1/messages/count_tokens", false),
    ("/v1/responses/input_tokens", false),
    ("/v1beta/models/m:countTokens", false),
];

#[test]
fn every_route_that_takes_a_text_is_among_those_that_are_tried() {
    let routes = include_str!("routes.txt").lines().filter_map(|line| line.strip_suffix(" POST"));
    let mut taking: Vec<String> = routes.filter(|path| path.starts_with("/v1")).map(str::to_owned).collect();
    // The streams of the same route.
    taking.retain(|path| !path.ends_with(":streamGenerateContent"));
    let mut tried: Vec<String> = ROUTES.iter().map(|(path, _)| path.replace("/m:", "/{model}:")).collect();
    taking.sort();
    tried.sort();
    assert_eq!(taking, tried, "a route was added or lost: its texts have to be looked into");
}

fn over(kind: &str, demo: &Demo, more: &str) -> Bursar {
    let base_url = if kind == "anthropic" { demo.base_url().replace("/v1", "") } else { demo.base_url() };
    Setup::from_file(&format!(
        "[probes]\nevery = \"0s\"\n[providers.u]\nkind = \"{kind}\"\nbase_url = \"{base_url}\"\n\
         [[providers.u.keys]]\nid = \"k\"\nvalue = \"sk-u\"\n\
         [models.alias.m]\ntargets = [{{ provider = \"u\", model = \"demo-small\" }}]\n{more}"
    ))
    .start()
}

/// What stands in every place of a request of that route that holds text.
fn request(path: &str, text: &str, stream: bool) -> (String, Value) {
    let user = json!({"role": "user", "content": text});
    let parts = json!({"parts": [{"text": text}]});
    let mut body = match path {
        "/v1/chat/completions" => {
            let arguments = json!({"to": text}).to_string().replace('@', "\\u0040");
            let call = json!({"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}});
            json!({"messages": [
                {"role": "system", "content": text}, user, {"role": "assistant", "content": null, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": text}, {"role": "user", "content": [{"type": "text", "text": text}]},
            ]})
        }
        "/v1/responses" | "/v1/responses/input_tokens" => json!({"instructions": text, "input": [
            {"role": "user", "content": [{"type": "input_text", "text": text}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": json!({"to": text}).to_string()},
            {"type": "function_call_output", "call_id": "c1", "output": text}, {"role": "user", "content": text},
        ]}),
        "/v1/messages" | "/v1/messages/count_tokens" => json!({"max_tokens": 500, "system": text, "messages": [
            user, {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"to": text}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": text}, {"type": "text", "text": text}]},
        ]}),
        "/v1/completions" => json!({"prompt": text}),
        "/v1/embeddings" => json!({"input": [text, text]}),
        "/v1beta/models/m:embedContent" => json!({"content": parts}),
        "/v1beta/models/m:batchEmbedContents" => json!({"requests": [{"model": "models/m", "content": parts}]}),
        _ => json!({"systemInstruction": parts, "contents": [{"role": "user", "parts": [{"text": text}]}]}),
    };
    if path.starts_with("/v1beta") {
        let path =
            if stream { path.replace("generateContent", "streamGenerateContent?alt=sse") } else { path.to_owned() };
        return (path, body);
    }
    body["model"] = "m".into();
    if stream {
        body["stream"] = true.into();
    }
    (path.to_owned(), body)
}

fn ask(bursar: &Bursar, path: &str, text: &str, stream: bool) -> Answer {
    let (path, body) = request(path, text, stream);
    bursar.client().post(&path, &body)
}

#[track_caller]
fn assert_nothing_left(demo: &Demo, values: &[&str], what: &str) {
    for exchange in demo.exchanges() {
        let sent = String::from_utf8_lossy(&exchange.raw_body).into_owned();
        for value in values {
            assert!(
                !sent.contains(value) && !sent.contains(&value.replace('@', "\\u0040")),
                "{what}: {value} in {sent}"
            );
        }
    }
}

#[test]
fn no_route_leaves_out_a_guard_whatever_the_upstream_speaks() {
    for kind in KINDS {
        let demo = demo();
        let bursar = over(kind, &demo, MASKED);
        for (path, streams) in ROUTES {
            for stream in [false, true].into_iter().filter(|stream| streams || !stream) {
                let what = format!("{path} over {kind}, streamed: {stream}");

                let answer = ask(&bursar, path, &format!("I am {MAIL}, {SSN}"), stream);

                assert_nothing_left(&demo, &[MAIL, SSN, "078", "hopper"], &what);
                if answer.status != 200 {
                    // Not every provider completes or embeds.
                    assert!(kind != "openai", "{what}: {}", answer.text());
                    continue;
                }
                let text = answer.text();
                assert!(!text.contains("PII_"), "{what}: {text}");
                if streams {
                    assert!(text.contains(MAIL) && text.contains(SSN), "{what}: {text}");
                }
            }
        }
        let seen = demo.exchanges().iter().filter(|exchange| exchange.body.to_string().contains("PII_EMAIL_1")).count();
        assert!(seen >= 8, "{kind}: {seen}");
    }
}

#[test]
fn what_models_ask_tools_for_comes_back_as_json() {
    let tools = json!([{"type": "function", "function": {"name": "mail", "parameters":
        {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}}}]);
    let demo = demo();
    let bursar = over("openai", &demo, MASKED);
    for stream in [false, true] {
        let body = json!({"tools": tools, "tool_choice": "required", "stream": stream,
            "messages": [{"role": "user", "content": format!("write to {MAIL}")}]});

        let answer = bursar.client().chat(&chat(body));

        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains("PII_"), "{}", answer.text());
        if !stream {
            let message = &answer.json()["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"];
            assert!(serde_json::from_str::<Value>(message.as_str().unwrap()).is_ok(), "{message}");
        }
    }
    assert_nothing_left(&demo, &[MAIL], "tools");
}

#[test]
fn patients_go_to_machines_of_ones_own_and_the_records_hold_numbers_only() {
    let (outside, inside) = (demo(), demo());
    let more = "[guardrails.pii]\nprofile = \"hipaa\"\n[data_classes.phi]\n\
                from = { findings = [\"mrn\", \"ssn\"], header = \"x-data-class\" }\nrequire = { self_hosted = true }\n";
    let bursar = Setup::over(&[&outside, &inside]).set("providers.b.self_hosted=true").more(more).start();
    let served = |answer: &Answer| answer.header("x-bursar-model").map(str::to_owned);
    // So many that leases of the first lie ready.
    for _ in 0..10 {
        assert_eq!(served(&bursar.client().chat(&chat(json!({})))).as_deref(), Some("a/demo-small"));
    }
    let text = format!("Patient {MAIL}, MRN 00482913, ssn {SSN}");
    for stream in [false, true] {
        let body = chat(json!({"stream": stream, "messages": [{"role": "user", "content": text}]}));

        let answer = bursar.client().chat(&body);

        assert_eq!(served(&answer).as_deref(), Some("b/demo-small"));
        assert!(answer.header("x-bursar-guardrails").is_some_and(|told| told.contains("pii:3 tokenize")));
        assert!(answer.text().contains("00482913") && answer.text().contains(SSN), "{}", answer.text());
    }
    let by_header = bursar.client().request(
        "POST",
        "/v1/chat/completions",
        &[("x-data-class", "phi")],
        &chat(json!({})).to_string(),
    );
    assert_eq!(served(&by_header).as_deref(), Some("b/demo-small"));
    assert_nothing_left(&inside, &[MAIL, "00482913", SSN], "in house");
    assert_nothing_left(&outside, &[MAIL, "00482913", SSN], "outside");
    let told = inside.exchanges();
    assert!(told[0].body.to_string().contains("MRN PII_MRN_1, ssn PII_SSN_1"), "{}", told[0].body);

    bursar.books();
    let books = bursar.gateway.books.clone().unwrap();
    until("both are in the books", || of_phase(&books, "completed").len() == 13);
    let records = of_phase(&books, "completed");
    let masked: Vec<_> = records.iter().filter(|record| record["redactions"]["mrn"] == 1).collect();
    assert_eq!(masked.len(), 2);
    assert_eq!(masked[0]["redactions"], json!({"email": 1, "mrn": 1, "ssn": 1}));
    assert!(masked[0]["rules"].to_string().contains("data class phi"), "{}", masked[0]);
    let metrics = bursar.client().get("/metrics").text();
    assert!(
        metrics.contains(r#"bursar_guardrail_hits_total{action="tokenize",rule="pii",stage="input"} 6"#),
        "{metrics}"
    );
    // The whole data directory, logs and indexes of it.
    let mut folders = vec![bursar.folder.path().join("data")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap_or_default();
            for value in [MAIL, "00482913", SSN] {
                assert!(memchr::memmem::find(&bytes, value.as_bytes()).is_none(), "{value} in {}", path.display());
            }
        }
    }
}

#[test]
fn a_class_that_nobody_may_see_is_refused() {
    let outside = demo();
    let more = "[guardrails.pii]\nentities = [\"ssn\"]\n[data_classes.phi]\nfrom = { findings = [\"ssn\"] }\n\
                require = { self_hosted = true }\n";
    let bursar = Setup::over(&[&outside]).more(more).start();

    let answer = bursar.client().chat(&chat(json!({"messages": [{"role": "user", "content": format!("ssn {SSN}")}]})));

    assert_eq!((answer.status, answer.error_code().as_str()), (403, "data_class_not_allowed"));
    assert!(outside.exchanges().is_empty());
}

#[test]
fn rules_refuse_in_the_callers_dialect_and_say_what_to_do() {
    let demo = demo();
    let more = "[[guardrails.rules]]\nname = \"no cards\"\ndetect = [\"credit_card\"]\naction = \"block\"\n\
                message = \"Pay by the portal.\"\n[[guardrails.rules]]\nname = \"rivals\"\ndetect = [\"terms\"]\n\
                terms = [\"Acme Corp\"]\naction = \"mask\"\n[guardrails]\nunscanned_parts = \"block\"\n";
    let bursar = over("openai", &demo, more);

    for path in ["/v1/chat/completions", "/v1/messages"] {
        let refused = ask(&bursar, path, &format!("card {CARD}"), false);
        assert_eq!(refused.status, 400);
        assert!(
            refused.text().contains("Pay by the portal.") && !refused.text().contains("4111"),
            "{}",
            refused.text()
        );
    }
    let picture = json!({"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}]});
    let unseen = bursar.client().chat(&chat(picture));
    assert_eq!((unseen.status, unseen.error_code().as_str()), (400, "guardrail_blocked"));
    assert!(demo.exchanges().is_empty());

    ask(&bursar, "/v1/chat/completions", "ask acme corp", false);
    assert!(demo.exchanges()[0].body.to_string().contains("ask [CUSTOM]"));
}

#[test]
fn what_only_the_answer_brings_up_is_masked_or_refused_whole_and_streamed() {
    for (action, status) in [("mask", 200), ("block", 400)] {
        let demo = demo();
        let more = format!("[guardrails.pii]\nentities = [\"email\"]\nstage = [\"output\"]\naction = \"{action}\"\n");
        let bursar = over("openai", &demo, &more);

        for stream in [false, true] {
            let answer = ask(&bursar, "/v1/completions", &format!("I am {MAIL}"), stream);

            let text = answer.text();
            assert!(!text.contains("hopper"), "{action}, streamed: {stream}: {text}");
            assert!(stream || answer.status == status, "{action}: {text}");
            assert!(if status == 200 { text.contains("[EMAIL]") } else { text.contains("refuse") }, "{action}: {text}");
        }
    }
}

#[test]
fn prompts_of_the_operator_go_along_and_a_dry_run_only_counts() {
    let demo = demo();
    let more =
        "[[prompts]]\nname = \"house\"\ntext = \"Be brief.\"\n[guardrails]\ndry_run = true\n".to_owned() + MASKED;
    let bursar = over("openai", &demo, &more);

    let answer = ask(&bursar, "/v1/chat/completions", &format!("I am {MAIL}"), false);

    assert_eq!(answer.header("x-bursar-guardrails"), Some("pii:6 flag"));
    let sent = &demo.exchanges()[0].body;
    assert_eq!(sent["messages"][0], json!({"role": "system", "content": "Be brief."}));
    assert!(sent.to_string().contains(MAIL));
}

#[test]
fn what_is_kept_redacted_holds_prompts_and_answers_without_what_was_found() {
    let demo = demo();
    let more = "[compliance]\nprofile = \"hipaa\"\n";
    let bursar = over("openai", &demo, more);
    for (path, stream) in [("/v1/chat/completions", false), ("/v1/messages", true), ("/v1/completions", true)] {
        let answer = ask(&bursar, path, &format!("I like tulips, I am {MAIL}, ssn {SSN}"), stream);
        assert!(answer.text().contains(SSN), "{}", answer.text());
    }
    bursar.books();
    let books = bursar.gateway.books.clone().unwrap();
    until("all are in the books", || of_phase(&books, "completed").len() == 3);

    let admin = format!("Bearer {}", crate::harness::ADMIN);
    let body = |index: usize| {
        let path = format!("/admin/api/audit/records/{index}/body");
        bursar.client().request("GET", &path, &[("authorization", &admin)], "")
    };
    let kept: Vec<Answer> = (0..20).map(body).filter(|answer| answer.status == 200).collect();
    assert_eq!(kept.len(), 6, "requests and answers");
    for body in kept {
        let text = body.text();
        assert!(text.contains("tul"), "{text}");
        assert!(!text.contains(MAIL) && !text.contains(SSN) && !text.contains("hopper"), "{text}");
    }
}

#[test]
fn policies_are_held_against_texts_from_the_command_line() {
    let place = Place::with("[guardrails.pii]\nentities = [\"email\"]\n[guardrails.pii.actions]\nemail = \"mask\"\n");
    let file = place.path().join("cases.jsonl");
    let cases = [json!({"text": format!("mail {MAIL}"), "expect": ["email"]}), json!({"text": "nothing"})];
    let lines = |cases: &[Value]| cases.iter().map(|case| format!("{case}\n")).collect::<String>();
    std::fs::write(&file, lines(&cases)).unwrap();
    let path = file.to_str().unwrap();

    let passed = place.run(&["guardrails", "test", path, "--output", "json"]);
    std::fs::write(&file, lines(&[json!({"text": SSN, "expect": ["ssn"]})])).unwrap();
    let failed = place.run(&["guardrails", "test", path, "--output", "csv"]);
    std::fs::write(&file, "{\"text\": 1}\n").unwrap();
    let unread = place.run(&["guardrails", "test", path]);

    let rows: Value = serde_json::from_slice(&passed.stdout).unwrap();
    assert_eq!((passed.status.code(), &rows[0]["becomes"]), (Some(0), &json!("mail [EMAIL]")));
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stdout).contains("FAILED"), "{failed:?}");
    assert!(String::from_utf8_lossy(&unread.stderr).contains("cases.jsonl:1"), "{unread:?}");
}
