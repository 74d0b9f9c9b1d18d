//! Browsers as admins: passwords, cookies, links, and what must not get in by them.

use serde_json::{Value, json};

use crate::client::Answer;
use crate::harness::{ADMIN, Bursar, Setup, demo};

const PASSWORD: &str = "correct horse battery";
const HERE: &str = "http://gateway";

/// A gateway with the auditor `ann` and the admin `bob`, who have the same password.
fn started() -> Bursar {
    let bursar = Setup::at(vec![demo().base_url()]).start();
    for (id, role) in [("ann", "auditor"), ("bob", "admin")] {
        order(&bursar, "users", &json!({ "id": id, "role": role }));
        order(&bursar, &format!("users/{id}/password"), &json!({ "password": PASSWORD }));
    }
    bursar
}

/// Gives an order with the first token.
#[track_caller]
fn order(bursar: &Bursar, path: &str, body: &Value) -> Value {
    let path = format!("/admin/api/{path}");
    let answer = bursar.client().request("POST", &path, &[("x-api-key", ADMIN)], &body.to_string());
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn sign_in(bursar: &Bursar, user: &str, password: &str) -> Answer {
    let body = json!({ "user": user, "password": password }).to_string();
    bursar.client().request("POST", "/admin/api/session", &[("origin", HERE)], &body)
}

/// Returns the cookie as a browser sends it back, and the token against forged requests.
fn admitted(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let csrf = answer.json()["csrf_token"].as_str().unwrap().to_owned();
    (cookie.split(';').next().unwrap().to_owned(), csrf)
}

fn with(bursar: &Bursar, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    bursar.client().request(method, &format!("/admin/api/{path}"), headers, "").status
}

#[test]
fn a_session_has_the_rights_of_its_user_until_it_is_ended() {
    let bursar = started();
    let (cookie, csrf) = admitted(&sign_in(&bursar, "ann", PASSWORD));
    let reads = [("cookie", cookie.as_str())];
    let changes = [("cookie", cookie.as_str()), ("x-csrf-token", csrf.as_str()), ("origin", HERE)];

    assert_eq!(with(&bursar, "GET", "status", &reads), 200);
    assert_eq!(with(&bursar, "GET", "audit/records", &reads), 200);
    assert_eq!(with(&bursar, "GET", "users", &reads), 403);
    assert_eq!(with(&bursar, "POST", "reload", &changes), 403);
    let shown = bursar.client().request("GET", "/admin/api/session", &reads, "").json();
    assert_eq!(
        (&shown["user"], &shown["role"], &shown["csrf_token"]),
        (&json!("ann"), &json!("auditor"), &json!(csrf))
    );
    assert_eq!(with(&bursar, "DELETE", "session", &changes), 200);
    assert_eq!(with(&bursar, "GET", "status", &reads), 401);
    let searches = bursar.client().request("GET", "/admin/api/audit/records?key=ann", &[("x-api-key", ADMIN)], "");
    let actions: Vec<_> =
        searches.json()["records"].as_array().unwrap().iter().map(|one| one["action"].clone()).collect();
    assert_eq!(actions, ["session.end", "audit.search", "session.begin"]);
}

#[test]
fn a_change_by_a_cookie_needs_its_token_and_this_very_host() {
    let bursar = started();
    let (cookie, csrf) = admitted(&sign_in(&bursar, "bob", PASSWORD));
    let (_, foreign) = admitted(&sign_in(&bursar, "ann", PASSWORD));
    let change = |more: &[(&str, &str)]| {
        with(&bursar, "POST", "users/ann/disable", &[&[("cookie", cookie.as_str())], more].concat())
    };

    for forged in [
        &[][..],
        &[("origin", HERE)],
        &[("x-csrf-token", &csrf)],
        &[("x-csrf-token", &csrf), ("origin", "http://elsewhere")],
        &[("x-csrf-token", &csrf), ("origin", "null")],
        &[("x-csrf-token", &foreign), ("origin", HERE)],
        &[("x-csrf-token", "0"), ("origin", HERE)],
    ] {
        assert_eq!(change(forged), 403, "{forged:?}");
    }
    assert_eq!(change(&[("x-csrf-token", &csrf), ("origin", HERE)]), 200);
    let body = json!({ "user": "bob", "password": PASSWORD }).to_string();
    let elsewhere = bursar.client().request("POST", "/admin/api/session", &[("origin", "http://elsewhere")], &body);
    assert_eq!(elsewhere.status, 403, "nobody is signed in by another site's page");
    let allows = elsewhere.headers.iter().find(|(name, _)| name.starts_with("access-control"));
    assert_eq!(allows, None, "no answer allows another origin");
}

#[test]
fn another_password_and_being_shut_out_end_sessions() {
    let bursar = started();
    let signed_in = || admitted(&sign_in(&bursar, "ann", PASSWORD)).0;
    let status = |cookie: &str| with(&bursar, "GET", "status", &[("cookie", cookie)]);

    let first = signed_in();
    order(&bursar, "users/ann/password", &json!({ "password": PASSWORD }));
    assert_eq!(status(&first), 401);
    let second = signed_in();
    assert_eq!(status(&second), 200);
    order(&bursar, "users/ann/disable", &json!({}));
    assert_eq!(status(&second), 401);
    assert_eq!(sign_in(&bursar, "ann", PASSWORD).status, 401);
    order(&bursar, "users/ann/enable", &json!({}));
    assert_eq!(status(&second), 401, "what has ended stays ended");
}

#[test]
fn who_guesses_is_locked_out_and_learns_nothing() {
    let bursar = started();
    let known = sign_in(&bursar, "ann", "wrong horse battery");
    let unknown = sign_in(&bursar, "carl", "wrong horse battery");
    assert_eq!((known.status, unknown.status), (401, 401));
    assert_eq!(known.json()["error"]["message"], unknown.json()["error"]["message"]);

    for _ in 0..4 {
        assert_eq!(sign_in(&bursar, "ann", "wrong horse battery").status, 401);
        assert_eq!(sign_in(&bursar, "carl", "wrong horse battery").status, 401);
    }

    for user in ["ann", "carl"] {
        let locked = sign_in(&bursar, user, PASSWORD);
        assert_eq!((locked.status, locked.error_code().as_str()), (429, "sign_in_locked"));
        let wait: u64 = locked.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=30).contains(&wait), "{wait}");
    }
    assert_eq!(sign_in(&bursar, "bob", PASSWORD).status, 200, "nobody else waits");
}

#[test]
fn a_link_lets_in_once() {
    let bursar = started();
    let path = order(&bursar, "users/ann/link", &json!({}))["path"].as_str().unwrap().to_owned();

    let (cookie, _) = admitted(&bursar.client().get(&path));

    assert_eq!(with(&bursar, "GET", "status", &[("cookie", &cookie)]), 200);
    assert_eq!(bursar.client().get(&path).status, 401);
    let first = order(&bursar, "users/admin/link", &json!({}));
    let (cookie, _) = admitted(&bursar.client().get(first["path"].as_str().unwrap()));
    assert_eq!(with(&bursar, "GET", "users", &[("cookie", &cookie)]), 200);
}

#[test]
fn bodies_with_unknown_or_missing_fields_are_refused() {
    let bursar = started();
    let status = |path: &str, body: &str| {
        bursar.client().request("POST", &format!("/admin/api/{path}"), &[("x-api-key", ADMIN)], body).status
    };

    for body in ["", "[]", "{}", r#"{"id":"c","role":"viewer","sudo":true}"#, r#"{"id":"c","role":"root"}"#] {
        assert_eq!(status("users", body), 422, "{body}");
    }
    assert_eq!(status("users", r#"{"id":"socket","role":"viewer"}"#), 422);
    assert_eq!(status("users", r#"{"id":"ann","role":"viewer"}"#), 409);
    assert_eq!(status("users/nobody/disable", ""), 404);
    assert_eq!(status("users/ann/password", r#"{"password":"short"}"#), 422);
    assert_eq!(status("session", r#"{"user":"ann"}"#), 422);
}
