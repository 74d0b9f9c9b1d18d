//! Who serves a request by what it needs, and what becomes of one that nobody can serve as it stands.

use bursar::demo::{Behaviour, Demo};
use serde_json::{Value, json};

use crate::client::{Answer, chat};
use crate::forgetting::of_phase;
use crate::harness::{Bursar, Setup, demo, scripted, until};

/// The model of `a` sees nothing and reads little.
const A_IS_LIMITED: &str =
    "[catalog.models.\"a/demo-small\"]\ncontext = 2_000\nmax_output = 500\ncannot = [\"vision\"]\n";

fn image() -> Value {
    let url = "data:image/png;base64,iVBORw0KGgo=";
    json!({"messages": [{"role": "user", "content": [
        {"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": url}}]}]})
}

fn served_by(answer: &Answer) -> &str {
    answer.header("x-bursar-model").unwrap_or_else(|| panic!("{}: {}", answer.status, answer.text()))
}

#[test]
fn a_request_is_kept_from_models_that_are_not_enough_for_it() {
    let (a, b) = (demo(), demo());
    let bursar = Setup::over(&[&a, &b]).more(A_IS_LIMITED).start();
    let mut client = bursar.client();
    let long = json!({"messages": [{"role": "user", "content": "word ".repeat(2_000)}]});

    // So many that leases of `a` lie ready when the others come.
    let usual: Vec<_> = (0..20).map(|_| served_by(&client.chat(&chat(json!({})))).to_owned()).collect();
    let others = [image(), long, json!({"max_tokens": 501})].map(|more| client.chat(&chat(more)));
    let after = client.chat(&chat(json!({"max_tokens": 500})));

    assert!(usual.iter().all(|model| model == "a/demo-small"), "{usual:?}");
    assert_eq!(others.each_ref().map(served_by), ["b/demo-small"; 3]);
    assert_eq!(others.each_ref().map(|answer| answer.header("x-bursar-attempts")), [Some("1"); 3]);
    assert_eq!(served_by(&after), "a/demo-small");
    let books = bursar.gateway.books.clone().unwrap();
    let told = |why: &str| {
        of_phase(&books, "completed").iter().any(|record| {
            let rejected = &record["rejected"][0];
            rejected["target"] == "a/demo-small" && rejected["why"].as_str().is_some_and(|said| said.contains(why))
        })
    };
    until("the books say why `a` was not asked", || told("vision") || told("image"));
}

#[test]
fn the_needs_of_every_dialect_are_seen() {
    let (a, b) = (demo(), demo());
    let cannot = "[catalog.models.\"a/demo-small\"]\ncannot = [\"tools\", \"vision\", \"json_schema\"]\n";
    let bursar = Setup::over(&[&a, &b]).more(cannot).start();
    let bytes = "iVBORw0KGgo=";
    let schema = json!({"type": "object", "properties": {}});
    let image =
        json!([{"type": "input_image", "image_url": format!("data:image/png;base64,{bytes}"), "detail": "auto"}]);
    let asked = [
        ("/v1/responses", json!({"model": "m", "input": [{"role": "user", "content": image}]})),
        (
            "/v1/messages",
            json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}],
            "tools": [{"name": "f", "input_schema": schema}]}),
        ),
        (
            "/v1beta/models/m:generateContent",
            json!({"contents": [{"role": "user", "parts": [
            {"text": "what is it?"}, {"inlineData": {"mimeType": "image/png", "data": bytes}}]}]}),
        ),
        (
            "/v1beta/models/m:generateContent",
            json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}],
            "generationConfig": {"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"}}}),
        ),
    ];

    for (path, body) in asked {
        let answer = bursar.client().post(path, &body);

        assert_eq!(served_by(&answer), "b/demo-small", "{path}");
    }
    assert!(a.exchanges().is_empty());
}

#[test]
fn where_no_model_is_enough_all_are_tried() {
    let (a, b) = (demo(), demo());
    let neither = A_IS_LIMITED.to_owned() + "[catalog.models.\"b/demo-small\"]\ncannot = [\"vision\"]\n";
    let bursar = Setup::over(&[&a, &b]).more(&neither).start();

    assert_eq!(served_by(&bursar.client().chat(&chat(image()))), "a/demo-small");
}

#[test]
fn an_error_names_who_was_not_asked() {
    let (a, b) = (demo(), scripted(Behaviour::status(500)));
    let bursar = Setup::over(&[&a, &b]).more(A_IS_LIMITED).start();

    let failed = bursar.client().chat(&chat(image()));
    let drained = bursar.client().request(
        "POST",
        "/admin/api/providers/b/drain",
        &[("authorization", &format!("Bearer {}", crate::harness::ADMIN))],
        "",
    );
    let refused = bursar.client().chat(&chat(image()));

    for answer in [&failed, &refused] {
        assert!(answer.text().contains("`a`: not asked, its model sees no images"), "{}", answer.text());
    }
    assert_eq!((failed.status, drained.status, refused.status), (502, 200, 503), "{}", drained.text());
    assert!(a.exchanges().is_empty());
}

#[test]
fn an_alias_leaves_out_targets_that_lack_what_it_needs() {
    let (a, b) = (demo(), demo());
    let target = |provider| format!("{{ provider = \"{provider}\", model = \"demo-small\" }}");
    let alias = format!(
        "[models.alias.sees]\nstrategy = \"ordered\"\ntargets = [{}, {}]\nneeds = {{ capabilities = [\"vision\"] }}\n\
         [models.alias.reads]\nstrategy = \"ordered\"\ntargets = [{}, {}]\nneeds = {{ context_window = 3_000 }}\n",
        target("a"),
        target("b"),
        target("a"),
        target("b")
    );
    let bursar = Setup::over(&[&a, &b]).more(&(A_IS_LIMITED.to_owned() + &alias)).start();

    let served = ["sees", "reads", "m"].map(|model| bursar.client().chat(&chat(json!({"model": model}))));

    assert_eq!(served.each_ref().map(served_by), ["b/demo-small", "b/demo-small", "a/demo-small"]);
}

/// A gateway whose alias `m` goes to a demo that is taken for Anthropic, and `both` to it and then to one of OpenAI's kind.
fn strict(claude: &Demo, plain: &Demo, models: &str) -> Bursar {
    let (claude, plain) = (claude.base_url().replace("/v1", ""), plain.base_url());
    Setup::from_file(&format!(
        "[probes]\nevery = \"0s\"\n\
         [providers.c]\nkind = \"anthropic\"\nbase_url = \"{claude}\"\nkeys = [{{ id = \"c1\", value = \"sk-c\" }}]\n\
         [providers.p]\nkind = \"openai\"\nbase_url = \"{plain}\"\nkeys = [{{ id = \"p1\", value = \"sk-p\" }}]\n\
         [models]\n{models}\n\
         [models.alias.m]\ntargets = [{{ provider = \"c\", model = \"demo-small\" }}]\n\
         [models.alias.both]\nstrategy = \"ordered\"\n\
         targets = [{{ provider = \"c\", model = \"demo-small\" }}, {{ provider = \"p\", model = \"demo-small\" }}]\n\
         [models.alias.whole]\nstrict = true\nfallback = [\"free\"]\n\
         targets = [{{ provider = \"c\", model = \"demo-small\" }}]\n\
         [models.alias.free]\nstrict = false\ntargets = [{{ provider = \"c\", model = \"demo-small\" }}]\n"
    ))
    .start()
}

fn asked(bursar: &Bursar, model: &str, wish: Option<&str>) -> Answer {
    let headers: Vec<_> = wish.iter().map(|wish| ("x-bursar-strict", *wish)).collect();
    let body = chat(json!({"model": model, "max_tokens": 9, "seed": 7}));
    bursar.client().request("POST", "/v1/chat/completions", &headers, &body.to_string())
}

#[test]
fn a_strict_request_is_refused_rather_than_sent_without_a_part_of_it() {
    let (claude, plain) = (demo(), demo());
    let bursar = strict(&claude, &plain, "");

    let lenient = asked(&bursar, "m", Some("false"));
    let refused = asked(&bursar, "m", Some("true"));
    let nonsense = asked(&bursar, "m", Some("maybe"));

    assert_eq!((lenient.status, refused.status, nonsense.status), (200, 400, 400), "{}", lenient.text());
    assert!(lenient.header("x-bursar-warning").unwrap().contains("`seed`"));
    assert_eq!(
        (&refused.json()["error"]["param"], refused.error_code().as_str()),
        (&json!("seed"), "unsupported_parameter")
    );
    assert_eq!(nonsense.json()["error"]["param"], "x-bursar-strict");
    assert_eq!(claude.exchanges().len(), 1);
}

#[test]
fn what_the_operator_wants_strict_no_client_sets_free() {
    let (claude, plain) = (demo(), demo());
    let bursar = strict(&claude, &plain, "strict = true");

    let statuses = [("m", None), ("m", Some("false")), ("free", None), ("free", Some("true"))]
        .map(|(model, wish)| asked(&bursar, model, wish).status);
    let direct = asked(&bursar, "c/demo-small", None);
    let by_fallback = asked(&bursar, "whole", None);

    assert_eq!(statuses, [400, 400, 200, 400]);
    assert_eq!((direct.status, by_fallback.status), (400, 400));
}

#[test]
fn a_strict_request_goes_to_a_target_that_can_say_it() {
    let (claude, plain) = (demo(), demo());
    let bursar = strict(&claude, &plain, "");

    assert_eq!(served_by(&asked(&bursar, "both", None)), "c/demo-small");
    assert_eq!(served_by(&asked(&bursar, "both", Some("true"))), "p/demo-small");
}

#[test]
fn a_strict_refusal_speaks_the_callers_dialect() {
    let (claude, plain) = (demo(), demo());
    let bursar = strict(&claude, &plain, "");
    let claudes =
        json!({"model": "p/demo-small", "max_tokens": 9, "top_k": 3, "messages": [{"role": "user", "content": "hi"}]});
    let geminis = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": {"seed": 3}});
    let post =
        |path, body: &Value| bursar.client().request("POST", path, &[("x-bursar-strict", "true")], &body.to_string());

    let (claudes, geminis) = (post("/v1/messages", &claudes), post("/v1beta/models/m:generateContent", &geminis));

    assert_eq!((claudes.status, geminis.status), (400, 400), "{} {}", claudes.text(), geminis.text());
    let (claudes, geminis) = (claudes.json(), geminis.json());
    assert_eq!((&claudes["type"], &claudes["error"]["type"]), (&json!("error"), &json!("invalid_request_error")));
    assert!(claudes["error"]["message"].as_str().unwrap().contains("`top_k`"), "{claudes}");
    assert_eq!(geminis["error"]["status"], "INVALID_ARGUMENT");
    assert!(geminis["error"]["message"].as_str().unwrap().contains("`seed`"), "{geminis}");
}
