//! Who may call which route, for every route of the table.

use bursar::demo::Demo;
use serde_json::json;

use crate::client::{Answer, chat};
use crate::harness::{Bursar, Setup, demo};

/// What a route asks for, by its operation. A new route is written down here, or the test fails.
const NEEDS: [(&str, &[&str]); 9] = [
    ("public", &["root", "live", "ready", "metrics", "openapi", "sign_in", "follow_link"]),
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
    ("signed_in", &["show_session", "sign_out"]),
    ("status", &["status", "list_providers"]),
    ("spending", &["list_budgets", "list_usage"]),
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
        &[
            "override_budget",
            "rebuild_index",
            "export_records",
            "back_up",
            "erase_user",
            "list_holds",
            "hold_user",
            "release_user",
            "list_users",
            "create_user",
            "show_user",
            "assign_user",
            "delete_user",
            "disable_user",
            "enable_user",
            "set_password",
            "make_link",
            "make_token",
            "revoke_token",
        ],
    ),
];

const CLIENT_KEY: &str = "client-key-0123456789";

/// One route of the table.
struct Route {
    method: String,
    path: String,
    operation: String,
    need: String,
    /// As the documentation writes it.
    template: String,
    /// Whose it is what an admin route is about.
    owned: String,
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
                template: path.clone(),
                owned: operation["x-owned"].as_str().unwrap_or_default().to_owned(),
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
fn the_paths_are_those_that_clients_know() {
    let document = started().client().get("/openapi.json").json();

    let mut paths = String::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let methods: Vec<_> = methods.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        paths.push_str(&format!("{path} {}\n", methods.join(" ")));
    }

    assert_eq!(paths, include_str!("routes.txt"), "a path was added, changed or lost: if that is meant, write it down");
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

/// Who asks, by the needs that they meet.
const ROLES: [(&str, Option<&str>, &[&str]); 6] = [
    ("viewer", None, &["signed_in", "status", "spending"]),
    ("auditor", None, &["signed_in", "status", "spending", "records"]),
    ("operator", None, &["signed_in", "status", "spending", "operate"]),
    ("admin", None, &["signed_in", "status", "spending", "records", "operate", "keys", "govern"]),
    ("team_admin", Some("a"), &["signed_in", "spending", "records", "keys"]),
    ("team_admin", Some("b"), &["signed_in", "spending", "records", "keys"]),
];

/// Makes a user and returns its token.
fn user(bursar: &Bursar, id: &str, role: &str, team: Option<&str>) -> String {
    let headers = [("x-api-key", crate::harness::ADMIN)];
    let body = json!({ "id": id, "role": role, "team": team }).to_string();
    let made = bursar.client().request("POST", "/admin/api/users", &headers, &body);
    assert_eq!(made.status, 200, "{}", made.text());
    let token = bursar.client().request("POST", &format!("/admin/api/users/{id}/tokens"), &headers, "");
    assert_eq!(token.status, 200, "{}", token.text());
    token.json()["token"].as_str().unwrap().to_owned()
}

#[test]
fn each_role_passes_where_it_may_and_nowhere_else() {
    let bursar = started();
    let mut tried = 0;

    for (role, team, needs) in ROLES {
        let token = user(&bursar, &format!("{role}_{}", team.unwrap_or("all")), role, team);
        for route in routes(&bursar).iter().filter(|route| !["public", "client_key"].contains(&route.need.as_str())) {
            let answer = ask(&bursar, route, Some(&token));
            let shown = format!("{role} of {team:?}: {} {}: {}", route.method, route.path, answer.text());
            let may = needs.contains(&route.need.as_str());
            assert_eq!(answer.status == 403, !may, "{shown}");
            assert!(answer.status != 401 && answer.status < 500, "{shown}");
            if !may {
                assert_eq!(answer.error_code(), "permission_denied", "{shown}");
                assert!(answer.text().contains("ask an admin"), "{shown}");
            }
            tried += 1;
        }
    }
    assert!(tried > 250, "{tried}");
}

/// Two teams with a key each, of which the other's name is found in no answer by chance, and the index of a record of each.
fn two_teams() -> (Demo, Bursar, [u64; 2]) {
    let upstream = demo();
    let more = "[teams.own]\nmodels = [\"*\"]\n[teams.unseen]\nmodels = [\"*\"]\n[orgs.unseen]\n\
        [[client_keys]]\nid = \"key_own\"\nteam = \"own\"\nvalue = \"client-key-of-own-012345\"\n\
        [[client_keys]]\nid = \"key_unseen\"\nteam = \"unseen\"\nvalue = \"client-key-of-the-other-012345\"\n";
    let bursar = Setup::over(&[&upstream]).more(more).start();
    for key in ["client-key-of-own-012345", "client-key-of-the-other-012345"] {
        let body = chat(json!({})).to_string();
        let answer = bursar.client().request("POST", "/v1/chat/completions", &[("x-api-key", key)], &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let of = |team: &str| {
        let path = format!("/admin/api/audit/records?team={team}&phase=admitted");
        let found = bursar.client().request("GET", &path, &[("x-api-key", crate::harness::ADMIN)], "");
        found.json()["records"][0]["index"].as_u64().unwrap()
    };
    let records = [of("own"), of("unseen")];
    (upstream, bursar, records)
}

/// Whose a thing is that a route is tried with: of the own team, of the other, or nobody's.
const OWN: usize = 0;
const OTHERS: usize = 1;
const NOBODYS: usize = 2;

impl Route {
    /// Returns path and body that name something of one of these. A route about something new says here how it is named.
    fn about(&self, whose: usize, records: [u64; 2]) -> (String, String) {
        let [own, others] = records.map(|index| index.to_string());
        let team = ["own", "unseen", "nobodys"][whose];
        let name = match self.owned.as_str() {
            "gateway" | "listed" => "",
            "org" | "team" => team,
            "key" => ["key_own", "key_unseen", "key_nobodys"][whose],
            "record" => [own.as_str(), others.as_str(), "99999"][whose],
            owned => panic!("{}: how is something of `{owned}` named?", self.operation),
        };
        let path = self.template.replace("{action}", "revoke").replace("{id}", name).replace("{index}", name);
        assert!(!path.contains('{'), "{path}: what stands in the path?");
        let body = match (self.owned.as_str(), path == self.template) {
            // To make something for a team is to name it.
            ("key", true) => json!({ "id": "made", "team": team }),
            ("team" | "org", true) => json!({ "id": "made" }),
            _ => json!({}),
        };
        (path, body.to_string())
    }
}

#[test]
fn for_the_admin_of_a_team_there_are_no_other_teams() {
    let (_upstream, bursar, records) = two_teams();
    let token = user(&bursar, "ann", "team_admin", Some("own"));
    let ask = |token: &str, method: &str, (path, body): &(String, String)| {
        bursar.client().request(method, path, &[("x-api-key", token)], if method == "GET" { "" } else { body })
    };
    let seen_by_admin = || {
        let shown = |path: &str| {
            let path = format!("/admin/api/{path}");
            ask(crate::harness::ADMIN, "GET", &(path, String::new())).text()
        };
        [shown("orgs"), shown("teams/unseen"), shown("keys/key_unseen")]
    };
    let before = seen_by_admin();
    let needs = ROLES.iter().find(|(role, ..)| *role == "team_admin").unwrap().2;
    let mut tried = [0, 0];

    for route in routes(&bursar).iter().filter(|route| needs.contains(&route.need.as_str())) {
        let of_others = route.about(OTHERS, records);
        let answer = ask(&token, &route.method, &of_others);
        let shown = format!("{} {}: {} {}", route.method, of_others.0, answer.status, answer.text());
        if ["gateway", "listed"].contains(&route.owned.as_str()) {
            assert!(!answer.text().contains("unseen"), "{shown}");
            tried[0] += 1;
            continue;
        }
        assert_eq!(answer.status, 404, "{shown}");
        // What there is of another team is answered as what there is not at all.
        let of_nobody = route.about(NOBODYS, records);
        let unknown = ask(&token, &route.method, &of_nobody);
        let neutral = |answer: &Answer, name: &str| {
            let id = answer.header("x-bursar-request-id").unwrap_or_default().to_owned();
            // The log grows by each question.
            let text = answer.text().replace(name, "…").replace(&id, "…");
            text.split("the log has").next().unwrap_or_default().to_owned()
        };
        let (name, nobody) = match route.owned.as_str() {
            "record" => (records[OTHERS].to_string(), "99999".to_owned()),
            _ => ("unseen".to_owned(), "nobodys".to_owned()),
        };
        assert_eq!(neutral(&answer, &name), neutral(&unknown, &nobody), "{shown}");
        if route.method == "GET" && route.owned != "org" && !route.path.ends_with("/body") {
            assert_eq!(ask(&token, "GET", &route.about(OWN, records)).status, 200, "{shown}");
        }
        tried[1] += 1;
    }
    assert!(tried[0] >= 8 && tried[1] >= 14, "{tried:?}");
    assert_eq!(seen_by_admin(), before, "what is another team's was changed");
    let by_team = ("/admin/api/audit/records?team=unseen".to_owned(), String::new());
    assert_eq!(ask(&token, "GET", &by_team).status, 404);
    let other = bursar.client().request("GET", "/v1/models", &[("x-api-key", "client-key-of-the-other-012345")], "");
    assert_eq!(other.status, 200, "the key of the other team was not touched");
}

#[test]
fn a_token_is_worth_nothing_once_its_user_is_out() {
    let bursar = started();
    let token = user(&bursar, "ann", "viewer", None);
    let status = || bursar.client().request("GET", "/admin/api/status", &[("x-api-key", &token)], "").status;
    let steer = |what: &str| {
        let path = format!("/admin/api/users/ann{what}");
        let method = if what.is_empty() { "DELETE" } else { "POST" };
        let done = bursar.client().request(method, &path, &[("x-api-key", crate::harness::ADMIN)], "");
        assert_eq!(done.status, 200, "{}", done.text());
    };

    assert_eq!(status(), 200);
    steer("/disable");
    assert_eq!(status(), 401);
    steer("/enable");
    assert_eq!(status(), 200);
    steer("");
    assert_eq!(status(), 401);
}
