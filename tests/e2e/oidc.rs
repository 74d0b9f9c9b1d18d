//! Bearer tokens of another issuer in the place of client keys: from a file, by discovery, mapped to teams, refused alike.

use std::fs;

use bursar::demo::{Behaviour, Demo, Raw, Rule, When};
use serde_json::{Value, json};

use crate::client::{Answer, chat};
use crate::forgetting::of_phase;
use crate::harness::{Bursar, Setup, demo, until};
use crate::signer::{Signer, key_set};

const ISSUER: &str = "https://login.example.com";
const TEAMS: &str = "[teams.care]\n[teams.lab]\nmodels = [\"a/other\"]\n\
    [[client_keys]]\nid = \"app\"\nvalue = \"sk-client-key-4711\"\nteam = \"care\"\n";

fn now_s() -> u64 {
    bursar::call::unix_us() / 1_000_000
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": "bursar", "sub": "ann@example.com", "groups": ["all", "nurses"], "exp": now_s() + 600 })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn entry(issuer: &str, more: &str) -> String {
    format!(
        "[[auth.oidc]]\nissuer = \"{issuer}\"\naudience = [\"bursar\"]\nteam_claim = \"groups\"\n\
         team_map = {{ nurses = \"care\", chemists = \"lab\" }}\n{more}\n"
    )
}

fn ask(bursar: &Bursar, key: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    let body = chat(json!({ "user": "mallory" })).to_string();
    bursar.client().request("POST", "/v1/chat/completions", &[("authorization", &bearer)], &body)
}

/// A gateway that takes what the key set in a file of this folder has signed.
fn by_file(upstream: &Demo, folder: &tempfile::TempDir, keys: &str) -> Bursar {
    let path = folder.path().join("keys.json");
    fs::write(&path, keys).unwrap();
    let jwks = format!("jwks = \"file:{}\"", path.display());
    Setup::over(&[upstream]).more(TEAMS).more(&entry(ISSUER, &jwks)).start()
}

#[test]
fn a_token_stands_for_its_team_and_its_user() {
    let (upstream, folder) = (demo(), tempfile::tempdir().unwrap());
    let signer = Signer::rsa("r1");
    let bursar = by_file(&upstream, &folder, &key_set(&[&signer]));
    let token = signer.token(&claims());
    until("the keys are there", || ask(&bursar, &token).status == 200);

    let again = ask(&bursar, &token);
    let chemist = ask(&bursar, &signer.token(&with("groups", json!(["chemists"]))));
    let of_key = ask(&bursar, "sk-client-key-4711");

    assert_eq!((again.status, of_key.status), (200, 200), "{}", again.text());
    assert_eq!(chemist.error_code(), "model_not_allowed", "{}", chemist.text());
    let books = bursar.gateway.books.clone().unwrap();
    until("it is in the books", || of_phase(&books, "completed").len() >= 3);
    let records = of_phase(&books, "completed");
    let of_token: Vec<&Value> = records.iter().filter(|record| record["actor"] != "app").collect();
    let name = books.vault.pseudonym(ISSUER, "ann@example.com");
    for record in &of_token {
        assert_eq!((&record["team"], &record["actor"]), (&json!("care"), &json!(format!("oidc:{name}"))), "{record}");
        assert_eq!(
            record["user"],
            books.vault.pseudonym("care", "ann@example.com"),
            "not who the body names: {record}"
        );
    }
    assert!(of_token.len() >= 2);
    assert!(!records.iter().any(|record| record.to_string().contains("example.com")), "no name stands in the books");
}

#[test]
fn every_other_token_is_refused_as_an_unknown_key_is() {
    let (upstream, folder) = (demo(), tempfile::tempdir().unwrap());
    let (signer, stranger) = (Signer::p256("p1"), Signer::p256("p1"));
    let bursar = by_file(&upstream, &folder, &key_set(&[&signer]));
    until("the keys are there", || ask(&bursar, &signer.token(&claims())).status == 200);
    let unknown = ask(&bursar, "sk-unknown-key-4712");
    assert_eq!((unknown.status, unknown.error_code().as_str()), (401, "invalid_api_key"));

    let unsigned = signer.token_with(&json!({ "alg": "none" }), &claims());
    for token in [
        stranger.token(&claims()),
        Signer::p256("p2").token(&claims()),
        signer.token(&with("iss", json!("https://other.example.com"))),
        signer.token(&with("aud", json!("other"))),
        signer.token(&with("exp", json!(now_s() - 120))),
        signer.token(&with("nbf", json!(now_s() + 600))),
        signer.token(&with("groups", json!(["visitors"]))),
        signer.token(&with("groups", Value::Null)),
        signer.token_with(&json!({ "alg": "HS256", "kid": "p1" }), &claims()),
        format!("{}.", unsigned.rsplit_once('.').unwrap().0),
        "a.b.c".into(),
    ] {
        let refused = ask(&bursar, &token);

        let told = |answer: &Answer| {
            let error = &answer.json()["error"];
            (answer.status, error["code"].clone(), error["type"].clone(), error["message"].clone())
        };
        assert_eq!(told(&refused), told(&unknown), "{token}");
    }
    bursar.books();
}

#[test]
fn a_key_that_its_issuer_withdraws_ends_its_tokens_also_those_remembered() {
    let (upstream, folder) = (demo(), tempfile::tempdir().unwrap());
    let (old, new) = (Signer::ed25519("e1"), Signer::ed25519("e2"));
    let bursar = by_file(&upstream, &folder, &key_set(&[&old]));
    let (of_old, of_new) = (old.token(&claims()), new.token(&claims()));
    until("the keys are there", || ask(&bursar, &of_old).status == 200);
    assert_eq!(ask(&bursar, &of_new).status, 401);

    fs::write(folder.path().join("keys.json"), "{").unwrap();
    let shown = || bursar.gateway.issuers.load().standings();
    until("the fault is seen", || shown()[0].fault.is_some());
    assert_eq!(ask(&bursar, &of_old).status, 200, "the old keys serve");
    fs::write(folder.path().join("keys.json"), key_set(&[&new])).unwrap();

    until("the new key is there", || ask(&bursar, &of_new).status == 200);
    assert_eq!(ask(&bursar, &of_old).status, 401);
}

#[test]
fn an_issuer_is_asked_where_its_keys_are() {
    let (upstream, login) = (demo(), demo());
    let signer = Signer::rsa("r1");
    let at = login.base_url().trim_end_matches("/v1").to_owned();
    let answer = |path: &str, body: String| Rule {
        when: When { path: Some(path.into()), ..When::default() },
        then: Behaviour { body: Some(Raw(body.into())), ..Behaviour::status(200) },
    };
    let described = json!({ "issuer": at, "jwks_uri": format!("{at}/keys") }).to_string();
    login.script(vec![answer("/.well-known/openid-configuration", described), answer("/keys", key_set(&[&signer]))]);
    let bursar = Setup::over(&[&upstream]).more(TEAMS).more(&entry(&at, "")).start();

    let token = signer.token(&with("iss", json!(at)));

    until("the keys are there", || ask(&bursar, &token).status == 200);
    let elsewhere = ask(&bursar, &signer.token(&claims()));
    assert_eq!(elsewhere.status, 401, "{}", elsewhere.text());
}

#[test]
fn a_token_gives_a_role_of_administration_and_no_more() {
    let (upstream, folder) = (demo(), tempfile::tempdir().unwrap());
    let signer = Signer::ed25519("e1");
    let path = folder.path().join("keys.json");
    fs::write(&path, key_set(&[&signer])).unwrap();
    let roles = "role_claim = \"groups\"\nrole_map = { reviewers = \"auditor\", heads = \"team_admin\" }";
    let entry = entry(ISSUER, &format!("jwks = \"file:{}\"\n{roles}", path.display()));
    let bursar = Setup::over(&[&upstream]).more(TEAMS).more(&entry).start();
    let as_one_of = |groups: &[&str]| format!("Bearer {}", signer.token(&with("groups", json!(groups))));
    let asked = |bearer: &str, method: &str, path: &str| {
        bursar.client().request(method, &format!("/admin/api/{path}"), &[("authorization", bearer)], "").status
    };
    let reviewer = as_one_of(&["reviewers"]);
    until("the keys are there", || asked(&reviewer, "GET", "audit/records") == 200);

    assert_eq!(asked(&reviewer, "POST", "reload"), 403);
    assert_eq!(asked(&as_one_of(&["nurses"]), "GET", "status"), 401, "a team is no role");
    assert_eq!(asked(&as_one_of(&["heads"]), "GET", "audit/records"), 401, "no team to administrate");
    assert_eq!(asked(&as_one_of(&["heads", "nurses"]), "POST", "reload"), 403);
    let chatted = ask(&bursar, reviewer.strip_prefix("Bearer ").unwrap());
    assert_eq!(chatted.status, 401, "a role is no team: {}", chatted.text());
    let books = bursar.gateway.books.clone().unwrap();
    let looks = of_phase(&books, "review");
    let name = books.vault.pseudonym(ISSUER, "ann@example.com");
    assert!(looks.iter().any(|look| look["actor"] == json!(format!("oidc:{name}"))), "{looks:?}");
}
