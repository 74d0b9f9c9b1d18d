//! The program as an operator meets it: first start, lists, and starts that must not succeed.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::client::Answer;
use crate::process::Place;

const QUICK_DEMO: &str =
    "[providers.demo]\nkind = \"demo\"\nlatency = { first_token = \"1ms\", per_token = \"1ms\" }\n";

#[track_caller]
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn ask_for(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Hello"}]})
}

#[test]
fn without_any_settings_the_demo_answers() {
    let place = Place::with("");
    let program = place.serve(&[]);
    let mut client = program.client();

    let models = client.get("/v1/models").json();
    let unnamed = client.chat(&json!({"messages": [{"role": "user", "content": "Hi"}], "stream": true}));

    let ids: Vec<&str> = models["data"].as_array().unwrap().iter().filter_map(|model| model["id"].as_str()).collect();
    assert_eq!(ids[..4], ["auto", "embed", "fast", "smart"]);
    assert!(unnamed.streamed_text().contains("demo provider") && unnamed.is_done());
    assert_eq!(unnamed.header("x-bursar-model"), Some("demo/demo-small"));
}

#[test]
fn the_demo_stands_in_for_well_known_models_and_for_no_others() {
    let place = Place::with(QUICK_DEMO);
    let program = place.serve(&[]);
    let mut client = program.client();

    for model in ["gpt-4o", "o3-mini", "claude-sonnet-4-5", "gemini-2.5-pro", "llama3.2", "deepseek-chat", "demo-large"]
    {
        assert_eq!(client.chat(&ask_for(model)).status, 200, "{model}");
    }
    let embedding = client.post("/v1/embeddings", &json!({"model": "text-embedding-3-small", "input": "x"}));
    let unknown = client.chat(&ask_for("nobody-knows"));

    assert_eq!(embedding.header("x-bursar-model"), Some("demo/demo-embed"));
    assert_eq!((unknown.status, unknown.error_code().as_str()), (404, "model_not_found"));
}

#[test]
fn a_demo_that_fails_on_purpose_fails_in_openais_shape() {
    let place = Place::with(&format!("{QUICK_DEMO}error_rate = 1.0\n"));
    let program = place.serve(&[]);
    let mut client = program.client();

    let check = |answer: Answer| match answer.status {
        200 => assert!(!answer.stream_error().is_empty()),
        429 | 502 | 503 => assert!(!answer.error_code().is_empty()),
        other => panic!("{other}: {}", answer.text()),
    };
    for _ in 0..4 {
        check(client.chat(&ask_for("demo-small")));
        check(
            client
                .chat(&json!({"model": "demo-small", "stream": true, "messages": [{"role": "user", "content": "x"}]})),
        );
    }
}

#[test]
fn status_and_providers_are_listed_in_three_forms_over_the_socket() {
    let place = Place::with(QUICK_DEMO);
    let program = place.serve(&[]);
    program.client().chat(&ask_for("demo-small"));
    let run = |arguments: &[&str]| {
        let output = place.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(output.stderr.clone()));
        text(output.stdout)
    };

    let table = run(&["status"]);
    let status: Value = serde_json::from_str(&run(&["status", "--output", "json"])).unwrap();
    let status_csv = run(&["status", "--output", "csv"]);
    let quiet = run(&["status", "--quiet"]);
    let providers = run(&["providers", "list"]);
    let nested: Value = serde_json::from_str(&run(&["providers", "list", "--output", "json"])).unwrap();
    let csv = run(&["providers", "list", "--output", "csv"]);

    assert!(table.contains("requests_admitted") && table.contains(&program.address.to_string()), "{table}");
    assert_eq!((&status["requests_admitted"], &status["stopping"]), (&json!(1), &json!(false)));
    assert!(status_csv.starts_with("WHAT,VALUE\n") && quiet.is_empty(), "{status_csv}");
    assert!(providers.trim_start().starts_with("ENDPOINT") && providers.contains("closed"), "{providers}");
    assert_eq!(nested[0]["keys"][0]["served"], 1);
    assert!(csv.starts_with("ENDPOINT,BREAKER,PAUSED,KEY,STATE") && csv.lines().count() == 2, "{csv}");
}

#[test]
fn an_endpoint_drained_by_hand_serves_again_once_it_is_woken() {
    let place = Place::with(QUICK_DEMO);
    let program = place.serve(&[]);
    let steer = |arguments: &[&str]| place.run(&[&["providers"], arguments].concat());
    let ask = || program.client().request("POST", "/v1/chat/completions", &[], &ask_for("demo-small").to_string());

    assert!(steer(&["drain", "demo"]).status.success());
    let refused = ask();
    assert_eq!((refused.status, refused.error_code().as_str()), (503, "no_healthy_target"));
    assert!(text(steer(&["list"]).stdout).contains("drained"));

    assert!(steer(&["wake", "demo"]).status.success());
    assert_eq!(ask().status, 200);
    assert!(steer(&["rest", "demo/none", "--for", "1h"]).status.success());
    assert_eq!(ask().status, 503);

    for (arguments, word) in [
        (&["wake", "nowhere"][..], "known: demo"),
        (&["wake", "demo/nobody"], "no key `nobody`"),
        (&["rest", "demo", "--for", "soon"], "no duration"),
        (&["rest", "de mo"], "no endpoint"),
    ] {
        let output = steer(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = text(output.stderr);
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn without_a_running_gateway_lists_say_so() {
    let place = Place::with(QUICK_DEMO);

    for arguments in [&["status"][..], &["providers", "list"]] {
        let output = place.run(arguments);
        let said = text(output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains("no gateway answers at") && said.contains("--data"), "{said}");
    }
    assert_eq!(place.run(&["status", "--quiet"]).status.code(), Some(1));
}

#[test]
fn the_admin_api_asks_for_the_token_of_the_data_directory() {
    let place = Place::with(QUICK_DEMO);
    let program = place.serve(&[]);
    let token = std::fs::read_to_string(place.data().join("admin-token")).unwrap();
    let bearer = format!("Bearer {token}");
    let ask = |path: &str, headers: &[(&str, &str)]| program.client().request("GET", path, headers, "");

    for path in ["/admin/api/status", "/admin/api/providers"] {
        let without = ask(path, &[]);
        assert_eq!((without.status, without.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        without.error_code();
        assert_eq!(ask(path, &[("authorization", "Bearer bursar-admin-0")]).status, 401, "{path}");
        assert_eq!(ask(path, &[("authorization", &bearer)]).status, 200, "{path}");
    }
}

#[test]
fn a_person_gets_a_banner() {
    let place = Place::with(QUICK_DEMO);

    let mut program = place.serve_pretty();
    program.wait_for_line("Try it");
    program.signal("TERM");
    let (status, log) = program.wait();

    assert!(status.success());
    for part in ["ready in ", "API        http://127.0.0.1:", "Metrics ", "Config     bursar.toml", "Providers  demo"] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let place = Place::with(QUICK_DEMO);
    let program = place.serve(&[]);

    let second = place.run(&["serve", "--listen", "127.0.0.1:0"]);

    assert_eq!(second.status.code(), Some(1));
    let said = text(second.stderr);
    assert!(said.contains("another bursar runs with the data directory"), "{said}");
    assert_eq!(program.client().get("/readyz").status, 200);
    assert!(place.run(&["status", "--quiet"]).status.success(), "the first one's socket is still there");
}

#[test]
fn a_port_in_use_is_named_with_another_to_choose() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let output = Place::with(QUICK_DEMO).run(&["serve", "--listen", &address]);

    let said = text(output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&format!("{address} is in use")) && said.contains("--listen 127.0.0.1:"), "{said}");
}

#[test]
fn a_port_open_to_others_that_asks_for_no_key_is_refused() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let output = Place::with(QUICK_DEMO).run(&["serve", "--listen", listen, "--set", "auth.require_key=false"]);

        let said = text(output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("open to others") && said.contains("require_key"), "{said}");
    }
}

#[test]
fn faulty_settings_are_refused_with_all_their_faults() {
    let output = Place::with("[server]\nlissten = \"x\"\nmax_body = \"huge\"\n").run(&["serve"]);

    let said = text(output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("bursar.toml:2:1") && said.contains("bursar.toml:3:"), "{said}");
}
