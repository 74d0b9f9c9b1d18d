//! The admin API of the books: `/admin/api/audit/…`.
//!
//! Everything is answered by `books::desk`, which writes down what is asked before it shows anything: 503 where it cannot.
//! Folders for exports and backups are named by the operator, so these two are for the socket only: whoever holds no more
//! than the token must not choose where this process writes.

use std::path::PathBuf;

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse};
use bursar_actors::TeamId;
use bursar_actors::access::{Copied, DIRECTORY_COPY};
use bursar_actors::admins::USERS_COPY;
use bursar_actors::audit::beside::Beside;
use schemars::JsonSchema;
use serde::Deserialize;

use super::authorize::{Asked, invalid};
use super::gateway::Gateway;
use crate::books::desk::{self, Ask, Asker, DeskError, Reply};
use crate::error::{Cause, GatewayError};

/// Answers every route of the books.
pub async fn answer(asked: Asked) -> Result<HttpResponse, GatewayError> {
    let reads = matches!(*asked.request.method(), Method::GET | Method::HEAD);
    let mut ask = if reads { question(&asked) } else { instruction(&asked) }?;
    let Some(books) = asked.worker.gateway.books.clone() else {
        return Err(DeskError::Missing("no books are kept: audit.enabled = false".into()).into());
    };
    if let Ask::Backup { beside, .. } = &mut ask {
        *beside = beside_the_books(&asked.worker.gateway).await?;
    }
    let admin = asked.admin.clone();
    // In a task of its own: what was begun is finished and written down, though the client hangs up.
    let answered = actix_web::rt::spawn(async move {
        let asker = Asker { id: &admin.id, team: admin.role.team().map(TeamId::as_str) };
        desk::answer(&books, asker, ask).await
    });
    match answered.await.map_err(|_| GatewayError::Internal)?? {
        Reply::Json(answer) => Ok(HttpResponse::Ok().json(answer)),
        Reply::Content { part, bytes } => Ok(HttpResponse::Ok()
            .insert_header(("content-type", "application/octet-stream"))
            .insert_header(("x-content-type-options", "nosniff"))
            .insert_header(("x-bursar-part", part))
            .body(bytes)),
    }
}

/// Returns the last part of the path that names what is asked: `records`, `proof/inclusion`, `holds`.
fn subject(request: &HttpRequest) -> &str {
    request.path().strip_prefix("/admin/api/audit/").unwrap_or_default()
}

/// Where a backup goes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Backup {
    folder: PathBuf,
}

fn question(asked: &Asked) -> Result<Ask, GatewayError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inclusion {
        index: u64,
        size: Option<u64>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Consistency {
        old: u64,
        size: Option<u64>,
    }
    let what = subject(&asked.request);
    if let Some(text) = asked.request.match_info().get("index") {
        let index = text.parse().map_err(|_| invalid(format!("`{text}` is no index of a record")))?;
        return Ok(if what.ends_with("/body") { Ask::Body(index) } else { Ask::Show(index) });
    }
    Ok(match what {
        "status" => Ask::Status,
        "records" => Ask::Search(asked.query()?),
        "holds" => Ask::Holds,
        "proof/inclusion" => {
            let Inclusion { index, size } = asked.query()?;
            Ask::Inclusion { index, size }
        }
        _ => {
            let Consistency { old, size } = asked.query()?;
            Ask::Consistency { old, size }
        }
    })
}

fn instruction(asked: &Asked) -> Result<Ask, GatewayError> {
    let what = subject(&asked.request);
    if matches!(what, "export" | "backup") && !asked.is_local() {
        return Err(invalid(format!(
            "an {what} goes to a folder of this machine and is ordered there: `bursar audit export`, `bursar backup`"
        )));
    }
    Ok(match what {
        "checkpoint" => Ask::Checkpoint,
        "rebuild" => Ask::Rebuild,
        "export" => Ask::Export(asked.fields()?),
        "backup" => {
            let Backup { folder } = asked.fields()?;
            Ask::Backup { folder, beside: Vec::new() }
        }
        "erase" => Ask::Erase(asked.fields()?),
        _ if asked.request.method() == Method::DELETE => Ask::Release(asked.fields()?),
        _ => Ask::Hold(asked.fields()?),
    })
}

/// Returns what goes into a backup beside the books, from the actors that write it.
///
/// It is older than the copy of the books, which thus tell of everything that is in it.
async fn beside_the_books(gateway: &Gateway) -> Result<Vec<Beside>, GatewayError> {
    let users = (USERS_COPY, gateway.doors.users.send(Copied).await);
    let directory = (DIRECTORY_COPY, gateway.directory.send(Copied).await);
    let mut files = Vec::new();
    for (name, copied) in [users, directory] {
        let content = copied.map_err(|_| GatewayError::ShuttingDown)?.map_err(DeskError::Failed)?;
        files.extend(content.map(|content| Beside { name, content }));
    }
    Ok(files)
}

impl From<DeskError> for GatewayError {
    fn from(error: DeskError) -> Self {
        let cause = match &error {
            DeskError::NotRecorded(why) => return Self::NotRecorded { why: why.to_string() },
            DeskError::Invalid(_) => Cause::Invalid,
            DeskError::Missing(_) => Cause::Missing,
            DeskError::Gone(_) => Cause::Gone,
            DeskError::Held(_) => Cause::Conflict,
            DeskError::Failed(_) => Cause::Failed,
        };
        Self::Refused { cause, faults: vec![error.to_string()] }
    }
}
