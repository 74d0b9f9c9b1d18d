//! Every route of the server, once: how it is matched, what it needs, what it is called. The router, the answers to OPTIONS
//! and to wrong methods, the rights of admins, `/openapi.json` and the test of who may what all come from here.
//!
//! A route is added as a [`Row`]; it cannot be registered in another way, and an admin route is not reached without its right.

mod admin_api;
mod model_api;

use std::sync::Arc;

use actix_web::web::{self, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, guard};
use bursar_actors::admins::Right;

use super::authorize::{Handler, administrate};
use super::{error, no_route, request_id, unread};
use crate::error::GatewayError;

/// One method of one path.
pub struct Row {
    pub method: Verb,
    /// Behind its prefix, as the documentation writes it: `/v1/models/{id}`.
    pub path: &'static str,
    /// As the router matches it, where that differs: `/v1/models/{id:.+}`.
    pub pattern: Option<&'static str>,
    /// Before which it answers; the documentation shows the first.
    pub prefixes: &'static [&'static str],
    /// Its name in the documentation and in generated clients; no other row has it.
    pub id: &'static str,
    /// One sentence.
    pub summary: &'static str,
    pub serves: Serves,
}

/// The methods that routes have. A GET answers HEAD, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
    Delete,
}

/// Who is served, by what.
pub enum Serves {
    /// Anybody.
    Public(fn() -> actix_web::Route),
    /// Whoever brings a client key, which the route checks itself.
    Client(fn() -> actix_web::Route),
    /// An admin with the right, which is checked before the handler runs and before a body is read.
    Admin(Right, Owned, Handler),
}

/// Whose it is what an admin route is about. To the admin of one team everything of other teams is as if it were not there;
/// `tests/e2e/rights.rs` tries that with each route by what stands here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owned {
    /// Nobody's: it tells of the gateway as a whole, and of no team.
    Gateway,
    /// What several teams have, out of which that of others is left.
    Listed,
    /// An organisation, which is above every team.
    Org,
    /// A team.
    Team,
    /// A client key, which has a team.
    Key,
    /// A record of the books, which may have a team.
    Record,
}

impl Owned {
    /// Returns the word for it in the documentation.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Listed => "listed",
            Self::Org => "org",
            Self::Team => "team",
            Self::Key => "key",
            Self::Record => "record",
        }
    }
}

/// Rows that the router tries together.
struct Section {
    rows: &'static [Row],
    /// Some clients end the path in a slash.
    ends: &'static [&'static str],
}

/// The router tries these in their order and spends a regular expression on each pattern that has a variable, so the busy
/// ones come first, each with a pattern of its own. Google's methods stand before the models, whose names may hold a colon.
const SECTIONS: [Section; 6] = [
    Section { rows: model_api::CALLS, ends: &["", "/"] },
    Section { rows: model_api::STORED, ends: &[""] },
    Section { rows: model_api::HEALTH, ends: &[""] },
    Section { rows: admin_api::ROWS, ends: &[""] },
    Section { rows: model_api::GOOGLE, ends: &[""] },
    Section { rows: model_api::MODELS, ends: &[""] },
];

impl Row {
    const fn new(method: Verb, path: &'static str, id: &'static str, summary: &'static str, serves: Serves) -> Self {
        Self { method, path, pattern: None, prefixes: &[""], id, summary, serves }
    }

    fn pattern(&self) -> &'static str {
        self.pattern.unwrap_or(self.path)
    }

    /// Returns the path as the documentation writes it.
    pub fn documented(&self) -> String {
        format!("{}{}", self.prefixes.first().unwrap_or(&""), self.path)
    }

    /// Returns the right that it asks an admin for, and whose it is what it is about.
    pub fn needs(&self) -> Option<(Right, Owned)> {
        match self.serves {
            Serves::Admin(right, owned, _) => Some((right, owned)),
            _ => None,
        }
    }
}

impl Verb {
    /// Returns the method's name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }

    fn allowed(self) -> &'static str {
        match self {
            Self::Get => "GET, HEAD",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }

    /// Returns `route` for this method only.
    fn only(self, route: actix_web::Route) -> actix_web::Route {
        match self {
            Self::Get => route.guard(guard::Any(guard::Get()).or(guard::Head())),
            Self::Post => route.guard(guard::Post()),
            Self::Delete => route.guard(guard::Delete()),
        }
    }
}

/// Returns every row, in the order in which the router tries them.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    SECTIONS.iter().flat_map(|section| section.rows)
}

/// Registers every route. The API answers under `/v1`, under `/openai/v1` and without a prefix, because clients differ in
/// what they append to their base URL.
pub fn register(config: &mut ServiceConfig) {
    for section in &SECTIONS {
        let turns = section.rows.iter().map(|row| row.prefixes.len()).max().unwrap_or_default();
        for end in section.ends {
            for turn in 0..turns {
                let same = |one: &Row, other: &Row| one.pattern() == other.pattern() && one.prefixes == other.prefixes;
                for rows in section.rows.chunk_by(same) {
                    if let Some(prefix) = rows[0].prefixes.get(turn) {
                        config.service(resource(&format!("{prefix}{}{end}", rows[0].pattern()), rows));
                    }
                }
                if let Some(prefix) = section.nowhere(turn) {
                    let path = format!("{prefix}{}", model_api::NO_GOOGLE_METHOD);
                    config.service(web::resource(path).guard(guard::Post()).to(no_route));
                }
            }
        }
    }
    config.default_service(web::to(no_route));
}

impl Section {
    /// Returns the prefix of this turn under which a method of Google's that is not there is no model to read.
    fn nowhere(&self, turn: usize) -> Option<&'static str> {
        std::ptr::eq(self.rows, model_api::GOOGLE).then(|| model_api::GOOGLE[0].prefixes.get(turn).copied())?
    }
}

/// Returns a resource for all methods of a path; OPTIONS says which, anything else is a 405.
fn resource(path: &str, rows: &'static [Row]) -> actix_web::Resource {
    let mut resource = web::resource(path);
    let mut verbs: Vec<Verb> = Vec::new();
    for row in rows.iter() {
        // One pattern may stand for several paths of the documentation.
        if verbs.contains(&row.method) {
            continue;
        }
        verbs.push(row.method);
        let route = match row.serves {
            Serves::Public(route) | Serves::Client(route) => route(),
            Serves::Admin(right, _, handler) => {
                web::to(move |request, payload, worker| administrate(right, handler, request, payload, worker))
            }
        };
        resource = resource.route(row.method.only(route));
    }
    let allow = verbs.iter().map(|verb| verb.allowed()).chain(["OPTIONS"]).collect::<Vec<_>>().join(", ");
    let allow: Arc<str> = allow.into();
    resource.route(options(allow.clone())).default_service(web::to(no_method(allow)))
}

fn options(allow: Arc<str>) -> actix_web::Route {
    let answer = move || std::future::ready(HttpResponse::NoContent().insert_header(("allow", &*allow)).finish());
    web::route().guard(guard::Options()).to(answer)
}

fn no_method(allow: Arc<str>) -> impl Fn(HttpRequest, Payload) -> std::future::Ready<HttpResponse> + Clone {
    move |request, payload| {
        let refusal = error::respond(&GatewayError::NoMethod { allow: allow.clone() }, &request_id(&request));
        std::future::ready(unread::closing(refusal, payload))
    }
}
