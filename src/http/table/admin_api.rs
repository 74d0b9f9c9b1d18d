//! The routes of the admin API, under `/admin/api/`.

use bursar_actors::admins::Right;

use super::{Row, Serves, Verb};
use crate::http::admin;
use crate::http::audit;
use crate::http::authorize::Handler;

/// In the order in which the router tries them.
pub const ROWS: &[Row] = &[
    get("status", Right::Status, "status", "Tells how the gateway is.", |asked| Box::pin(admin::status(asked))),
    get("providers", Right::Status, "list_providers", "Lists every endpoint with its keys.", |asked| {
        Box::pin(admin::providers(asked))
    }),
    post(
        "providers/{endpoint}/{action}",
        Right::Operate,
        "steer_provider",
        "Rests, drains or wakes an endpoint or a key.",
        |asked| Box::pin(admin::steer(asked)),
    ),
    get("config/diff", Right::Operate, "config_diff", "Lists what a reload would change.", |asked| {
        Box::pin(admin::config_diff(asked))
    }),
    post("reload", Right::Operate, "reload", "Reads the configuration again.", |asked| Box::pin(admin::reload(asked))),
    audited(Verb::Get, "status", Right::Records, "audit_status", "Tells how the books are."),
    audited(Verb::Get, "records", Right::Records, "search_records", "Searches the books, the latest first."),
    audited(Verb::Get, "records/{index}", Right::Records, "show_record", "Shows one record and its proof."),
    audited(Verb::Get, "records/{index}/body", Right::Records, "show_body", "Opens what is kept beside a record."),
    audited(Verb::Get, "proof/inclusion", Right::Records, "prove_inclusion", "Proves that a record is in the log."),
    audited(
        Verb::Get,
        "proof/consistency",
        Right::Records,
        "prove_consistency",
        "Proves that one log begins with another.",
    ),
    audited(Verb::Post, "checkpoint", Right::Operate, "sign_checkpoint", "Signs the state of the log."),
    audited(Verb::Post, "rebuild", Right::Govern, "rebuild_index", "Makes the index of the books again."),
    audited(
        Verb::Post,
        "export",
        Right::Govern,
        "export_records",
        "Writes part of the log to a folder; by the socket.",
    ),
    audited(Verb::Post, "backup", Right::Govern, "back_up", "Copies the data directory to a folder; by the socket."),
    audited(Verb::Post, "erase", Right::Govern, "erase_user", "Destroys what is kept of a user's content."),
    audited(Verb::Get, "holds", Right::Govern, "list_holds", "Lists legal holds."),
    audited(Verb::Post, "holds", Right::Govern, "hold_user", "Keeps a user's content from being erased."),
    audited(Verb::Delete, "holds", Right::Govern, "release_user", "Ends a legal hold."),
];

const PREFIX: &[&str] = &["/admin/api/"];

const fn get(path: &'static str, right: Right, id: &'static str, summary: &'static str, handler: Handler) -> Row {
    Row { prefixes: PREFIX, ..Row::new(Verb::Get, path, id, summary, Serves::Admin(right, handler)) }
}

const fn post(path: &'static str, right: Right, id: &'static str, summary: &'static str, handler: Handler) -> Row {
    Row { method: Verb::Post, ..get(path, right, id, summary, handler) }
}

const fn audited(method: Verb, path: &'static str, right: Right, id: &'static str, summary: &'static str) -> Row {
    Row {
        prefixes: &["/admin/api/audit/"],
        method,
        ..get(path, right, id, summary, |asked| Box::pin(audit::answer(asked)))
    }
}
