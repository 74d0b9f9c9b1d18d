//! The routes of the admin API, under `/admin/api/`.

use actix_web::web;
use bursar_actors::access::Kind;
use bursar_actors::admins::Right;

use super::{Owned, Row, Serves, Verb};
use crate::http::admin;
use crate::http::audit;
use crate::http::authorize::Handler;
use crate::http::budgets;
use crate::http::directory;
use crate::http::{session, users};

/// In the order in which the router tries them.
pub const ROWS: &[Row] = &[
    get("status", Right::Status, Owned::Gateway, "status", "Tells how the gateway is.", |asked| {
        Box::pin(admin::status(asked))
    }),
    get("providers", Right::Status, Owned::Gateway, "list_providers", "Lists every endpoint with its keys.", |asked| {
        Box::pin(admin::providers(asked))
    }),
    post(
        "providers/{endpoint}/{action}",
        Right::Operate,
        Owned::Gateway,
        "steer_provider",
        "Rests, drains or wakes an endpoint or a key.",
        |asked| Box::pin(admin::steer(asked)),
    ),
    get("config/diff", Right::Operate, Owned::Gateway, "config_diff", "Lists what a reload would change.", |asked| {
        Box::pin(admin::config_diff(asked))
    }),
    post("reload", Right::Operate, Owned::Gateway, "reload", "Reads the configuration again.", |asked| {
        Box::pin(admin::reload(asked))
    }),
    get("orgs", Right::Keys, Owned::Listed, "list_orgs", "Lists the organisations.", |asked| {
        Box::pin(directory::list(asked, Kind::Org))
    }),
    post("orgs", Right::Keys, Owned::Org, "create_org", "Makes an organisation.", |asked| {
        Box::pin(directory::create(asked, Kind::Org))
    }),
    get("orgs/{id}", Right::Keys, Owned::Org, "show_org", "Shows an organisation.", |asked| {
        Box::pin(directory::show(asked, Kind::Org))
    }),
    post(
        "orgs/{id}",
        Right::Keys,
        Owned::Org,
        "update_org",
        "Changes what the body names of an organisation.",
        |asked| Box::pin(directory::update(asked, Kind::Org)),
    ),
    delete("orgs/{id}", Right::Keys, Owned::Org, "delete_org", "Removes an organisation.", |asked| {
        Box::pin(directory::delete(asked, Kind::Org))
    }),
    get("teams", Right::Keys, Owned::Listed, "list_teams", "Lists the teams.", |asked| {
        Box::pin(directory::list(asked, Kind::Team))
    }),
    post("teams", Right::Keys, Owned::Team, "create_team", "Makes a team.", |asked| {
        Box::pin(directory::create(asked, Kind::Team))
    }),
    get("teams/{id}", Right::Keys, Owned::Team, "show_team", "Shows a team.", |asked| {
        Box::pin(directory::show(asked, Kind::Team))
    }),
    post("teams/{id}", Right::Keys, Owned::Team, "update_team", "Changes what the body names of a team.", |asked| {
        Box::pin(directory::update(asked, Kind::Team))
    }),
    delete("teams/{id}", Right::Keys, Owned::Team, "delete_team", "Removes a team.", |asked| {
        Box::pin(directory::delete(asked, Kind::Team))
    }),
    get("keys", Right::Keys, Owned::Listed, "list_keys", "Lists the client keys.", |asked| {
        Box::pin(directory::list(asked, Kind::Key))
    }),
    post(
        "keys",
        Right::Keys,
        Owned::Key,
        "create_key",
        "Makes a client key. The key itself is in this answer and nowhere else.",
        |asked| Box::pin(directory::create(asked, Kind::Key)),
    ),
    get("keys/{id}", Right::Keys, Owned::Key, "show_key", "Shows a client key.", |asked| {
        Box::pin(directory::show(asked, Kind::Key))
    }),
    post("keys/{id}", Right::Keys, Owned::Key, "update_key", "Changes what the body names of a client key.", |asked| {
        Box::pin(directory::update(asked, Kind::Key))
    }),
    delete("keys/{id}", Right::Keys, Owned::Key, "delete_key", "Removes a client key.", |asked| {
        Box::pin(directory::delete(asked, Kind::Key))
    }),
    post(
        "keys/{id}/{action}",
        Right::Keys,
        Owned::Key,
        "act_on_key",
        "Rotates, disables, enables or revokes a client key; a new value is in this answer and nowhere else.",
        |asked| Box::pin(directory::act(asked)),
    ),
    get("budgets", Right::Spending, Owned::Listed, "list_budgets", "Lists how budgets stand.", |asked| {
        Box::pin(budgets::list(asked))
    }),
    post(
        "budgets/override",
        Right::Govern,
        Owned::Gateway,
        "override_budget",
        "Gives a budget more for a while, or takes that back.",
        |asked| Box::pin(budgets::raise(asked)),
    ),
    get("usage", Right::Spending, Owned::Listed, "list_usage", "Lists what was used and spent.", |asked| {
        Box::pin(budgets::usage(asked))
    }),
    open(Verb::Post, "session", "sign_in", "Signs in by password.", || web::to(session::sign_in)),
    get("session", Right::SignedIn, Owned::Gateway, "show_session", "Tells who is signed in.", |asked| {
        Box::pin(session::show(asked))
    }),
    delete("session", Right::SignedIn, Owned::Gateway, "sign_out", "Signs out.", |asked| {
        Box::pin(session::sign_out(asked))
    }),
    open(Verb::Get, "session/link", "follow_link", "Signs in by a link, once.", || web::to(session::follow)),
    get("users", Right::Govern, Owned::Gateway, "list_users", "Lists who administrates.", |asked| {
        Box::pin(users::list(asked))
    }),
    post("users", Right::Govern, Owned::Gateway, "create_user", "Makes a user.", |asked| {
        Box::pin(users::create(asked))
    }),
    get("users/{user}", Right::Govern, Owned::Gateway, "show_user", "Shows a user.", |asked| {
        Box::pin(users::show(asked))
    }),
    post("users/{user}", Right::Govern, Owned::Gateway, "assign_user", "Gives a user another role.", |asked| {
        Box::pin(users::assign(asked))
    }),
    delete("users/{user}", Right::Govern, Owned::Gateway, "delete_user", "Removes a user with all tokens.", |asked| {
        Box::pin(users::delete(asked))
    }),
    post(
        "users/{user}/disable",
        Right::Govern,
        Owned::Gateway,
        "disable_user",
        "Shuts a user out, at once.",
        |asked| Box::pin(users::disable(asked)),
    ),
    post("users/{user}/enable", Right::Govern, Owned::Gateway, "enable_user", "Lets a user in again.", |asked| {
        Box::pin(users::enable(asked))
    }),
    post(
        "users/{user}/password",
        Right::Govern,
        Owned::Gateway,
        "set_password",
        "Sets a password, ends all sessions.",
        |asked| Box::pin(users::set_password(asked)),
    ),
    post(
        "users/{user}/link",
        Right::Govern,
        Owned::Gateway,
        "make_link",
        "Makes a link that signs in once.",
        |asked| Box::pin(users::link(asked)),
    ),
    post("users/{user}/tokens", Right::Govern, Owned::Gateway, "make_token", "Makes a token, shown once.", |asked| {
        Box::pin(users::make_token(asked))
    }),
    delete("users/{user}/tokens/{token}", Right::Govern, Owned::Gateway, "revoke_token", "Removes a token.", |asked| {
        Box::pin(users::revoke_token(asked))
    }),
    audited(Verb::Get, "status", Right::Records, Owned::Gateway, "audit_status", "Tells how the books are."),
    audited(
        Verb::Get,
        "records",
        Right::Records,
        Owned::Listed,
        "search_records",
        "Searches the books, the latest first.",
    ),
    audited(
        Verb::Get,
        "records/{index}",
        Right::Records,
        Owned::Record,
        "show_record",
        "Shows one record and its proof.",
    ),
    audited(
        Verb::Get,
        "records/{index}/body",
        Right::Records,
        Owned::Record,
        "show_body",
        "Opens what is kept beside a record.",
    ),
    audited(
        Verb::Get,
        "proof/inclusion",
        Right::Records,
        Owned::Gateway,
        "prove_inclusion",
        "Proves that a record is in the log.",
    ),
    audited(
        Verb::Get,
        "proof/consistency",
        Right::Records,
        Owned::Gateway,
        "prove_consistency",
        "Proves that one log begins with another.",
    ),
    audited(Verb::Post, "checkpoint", Right::Operate, Owned::Gateway, "sign_checkpoint", "Signs the state of the log."),
    audited(
        Verb::Post,
        "rebuild",
        Right::Govern,
        Owned::Gateway,
        "rebuild_index",
        "Makes the index of the books again.",
    ),
    audited(
        Verb::Post,
        "export",
        Right::Govern,
        Owned::Gateway,
        "export_records",
        "Writes part of the log to a folder; by the socket.",
    ),
    audited(
        Verb::Post,
        "backup",
        Right::Govern,
        Owned::Gateway,
        "back_up",
        "Copies the data directory to a folder; by the socket.",
    ),
    audited(
        Verb::Post,
        "erase",
        Right::Govern,
        Owned::Gateway,
        "erase_user",
        "Destroys what is kept of a user's content.",
    ),
    audited(Verb::Get, "holds", Right::Govern, Owned::Gateway, "list_holds", "Lists legal holds."),
    audited(
        Verb::Post,
        "holds",
        Right::Govern,
        Owned::Gateway,
        "hold_user",
        "Keeps a user's content from being erased.",
    ),
    audited(Verb::Delete, "holds", Right::Govern, Owned::Gateway, "release_user", "Ends a legal hold."),
];

const PREFIX: &[&str] = &["/admin/api/"];

const fn get(
    path: &'static str,
    right: Right,
    owned: Owned,
    id: &'static str,
    summary: &'static str,
    handler: Handler,
) -> Row {
    Row { prefixes: PREFIX, ..Row::new(Verb::Get, path, id, summary, Serves::Admin(right, owned, handler)) }
}

const fn post(
    path: &'static str,
    right: Right,
    owned: Owned,
    id: &'static str,
    summary: &'static str,
    handler: Handler,
) -> Row {
    Row { method: Verb::Post, ..get(path, right, owned, id, summary, handler) }
}

const fn delete(
    path: &'static str,
    right: Right,
    owned: Owned,
    id: &'static str,
    summary: &'static str,
    handler: Handler,
) -> Row {
    Row { method: Verb::Delete, ..get(path, right, owned, id, summary, handler) }
}

const fn open(
    method: Verb,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    route: fn() -> actix_web::Route,
) -> Row {
    Row { prefixes: PREFIX, ..Row::new(method, path, id, summary, Serves::Public(route)) }
}

const fn audited(
    method: Verb,
    path: &'static str,
    right: Right,
    owned: Owned,
    id: &'static str,
    summary: &'static str,
) -> Row {
    Row {
        prefixes: &["/admin/api/audit/"],
        method,
        ..get(path, right, owned, id, summary, |asked| Box::pin(audit::answer(asked)))
    }
}
