//! Who may call which route, for every route of the table.

use crate::client::Answer;
use crate::harness::{Bursar, Setup, demo};

/// What a route asks for, by its operation. A new route is written down here, or the test fails.
const NEEDS: [(&str, &[&str]); 8] = [
    ("public", &["root", "live", "ready", "metrics", "openapi"]),
    (
        "client_key",
        &[
            "create_chat_completion",
            "create_completion",
            "create_embedding",
            "create_response",
            "create_message",
            "count_message_tokens",
            "count_response_tokens",
            "generate_content",
            "stream_generate_content",
            "count_content_tokens",
            "embed_content",
            "batch_embed_contents",
            "list_gemini_models",
            "show_gemini_model",
            "list_models",
            "show_model",
            "show_response",
            "delete_response",
            "list_response_input",
        ],
    ),
    ("signed_in", &[]),
    ("status", &["status", "list_providers"]),
    (
        "records",
        &["audit_status", "search_records", "show_record", "show_body", "prove_inclusion", "prove_consistency"],
    ),
    ("operate", &["steer_provider", "config_diff", "reload", "sign_checkpoint"]),
    (
        "keys",
        &[
            "create_org",
            "show_org",
            "update_org",
            "delete_org",
            "create_team",
            "show_team",
            "update_team",
            "delete_team",
            "create_key",
            "show_key",
            "update_key",
            "delete_key",
            "list_orgs",
            "list_teams",
            "list_keys",
            "act_on_key",
        ],
    ),
    (
        "govern",
        &["rebuild_index", "export_records", "back_up", "erase_user", "list_holds", "hold_user", "release_user"],
    ),
];

const CLIENT_KEY: &str = "client-key-0123456789";

/// One route of the table.
struct Route {
    method: String,
    path: String,
    operation: String,
    need: String,
}

fn routes(bursar: &Bursar) -> Vec<Route> {
    let document = bursar.client().get("/openapi.json").json();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let need = operation["x-right"].as_str().unwrap_or(match operation["tags"][0].as_str() {
                Some("public") => "public",
                _ => "client_key",
            });
            routes.push(Route {
                method: method.to_uppercase(),
                path: path.replace("{index}", "0").replace(['{', '}'], ""),
                operation: operation["operationId"].as_str().unwrap().to_owned(),
                need: need.to_owned(),
            });
        }
    }
    routes
}

fn started() -> Bursar {
    let more = format!("[[client_keys]]\nid = \"app\"\nvalue = \"{CLIENT_KEY}\"\n[auth]\nrequire_key = true\n");
    Setup::at(vec![demo().base_url()]).more(&more).start()
}

fn ask(bursar: &Bursar, route: &Route, key: Option<&str>) -> Answer {
    let headers: Vec<_> = key.map(|key| ("x-api-key", key)).into_iter().collect();
    bursar.client().request(&route.method, &route.path, &headers, "{}")
}

#[test]
fn every_route_is_written_down_with_what_it_asks_for() {
    let bursar = started();

    let mut known: Vec<(String, String)> = Vec::new();
    for (need, operations) in NEEDS {
        known.extend(operations.iter().map(|operation| (operation.to_string(), need.to_owned())));
    }
    let mut found: Vec<_> = routes(&bursar).into_iter().map(|route| (route.operation, route.need)).collect();
    known.sort();
    found.sort();

    assert_eq!(found, known, "a route was added or changed: say here what it asks for");
}

#[test]
fn no_route_but_the_public_ones_answers_without_a_credential() {
    let bursar = started();

    for route in routes(&bursar).iter().filter(|route| route.need != "public") {
        let answer = ask(&bursar, route, None);
        assert_eq!(answer.status, 401, "{} {}: {}", route.method, route.path, answer.text());
        let code = &answer.json()["error"];
        assert!(code.is_object(), "{}: {}", route.operation, answer.text());
        let unknown = ask(&bursar, route, Some("bursar-admin-0"));
        assert_eq!(unknown.status, 401, "{} {}", route.method, route.path);
    }
}

#[test]
fn a_client_key_is_no_admin_and_an_admin_is_no_client() {
    let bursar = started();

    for route in routes(&bursar).iter().filter(|route| route.need != "public") {
        let is_clients = route.need == "client_key";
        let stranger = if is_clients { crate::harness::ADMIN } else { CLIENT_KEY };
        assert_eq!(ask(&bursar, route, Some(stranger)).status, 401, "{} {}", route.method, route.path);
        if is_clients {
            assert_ne!(ask(&bursar, route, Some(CLIENT_KEY)).status, 401, "{} {}", route.method, route.path);
        }
    }
}
