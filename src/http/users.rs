//! `/admin/api/users`: who administrates, for admins. What is asked is written into the books before it is done, and what it
//! came to afterwards; passwords and tokens never are.

use actix_web::HttpResponse;
use bursar_actors::admins::{Holder, LINK, Password, Role, User, UserAct, UserDenied, UserDone, UserOrder};
use bursar_actors::audit::record::{Phase, Record};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::error;

use super::authorize::{Asked, TOKEN, invalid};
use crate::call::unix_s;
use crate::error::{Cause, GatewayError};

type Answered = Result<HttpResponse, GatewayError>;

/// A user to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    id: String,
    role: String,
    team: Option<String>,
}

/// Another role for a user.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Assignment {
    role: String,
    team: Option<String>,
}

/// A password to be set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    password: String,
}

/// `GET /admin/api/users`.
pub async fn list(asked: Asked) -> Answered {
    let staff = asked.worker.gateway.doors.staff.load();
    Ok(HttpResponse::Ok().json(staff.all().map(|user| shown(user)).collect::<Vec<_>>()))
}

/// `GET /admin/api/users/{user}`.
pub async fn show(asked: Asked) -> Answered {
    let staff = asked.worker.gateway.doors.staff.load();
    let id = asked.part("user");
    let user = staff.user(id).ok_or_else(|| refused(&UserDenied::Unknown(id.to_owned())))?;
    Ok(HttpResponse::Ok().json(shown(user)))
}

/// `POST /admin/api/users`.
pub async fn create(asked: Asked) -> Answered {
    let NewUser { id, role, team } = asked.fields()?;
    let role = Role::read(&role, team.as_deref()).map_err(invalid)?;
    let note = format!("`{}` as {role}", id.chars().take(64).collect::<String>());
    order(&asked, "user.create", id, UserAct::Create(role), note).await
}

/// `POST /admin/api/users/{user}`.
pub async fn assign(asked: Asked) -> Answered {
    let Assignment { role, team } = asked.fields()?;
    let role = Role::read(&role, team.as_deref()).map_err(invalid)?;
    let note = format!("`{}` as {role}", asked.part("user"));
    order(&asked, "user.assign", asked.part("user").into(), UserAct::Assign(role), note).await
}

/// `DELETE /admin/api/users/{user}`.
pub async fn delete(asked: Asked) -> Answered {
    about(&asked, "user.delete", UserAct::Delete).await
}

/// `POST /admin/api/users/{user}/disable`.
pub async fn disable(asked: Asked) -> Answered {
    about(&asked, "user.disable", UserAct::Disable).await
}

/// `POST /admin/api/users/{user}/enable`.
pub async fn enable(asked: Asked) -> Answered {
    about(&asked, "user.enable", UserAct::Enable).await
}

/// `POST /admin/api/users/{user}/tokens`: the token is in the answer, and nowhere else.
pub async fn make_token(asked: Asked) -> Answered {
    about(&asked, "user.token", UserAct::MakeToken).await
}

/// `DELETE /admin/api/users/{user}/tokens/{token}`, by the token's public part.
pub async fn revoke_token(asked: Asked) -> Answered {
    let public = asked.part("token").to_owned();
    about(&asked, "user.revoke_token", UserAct::RevokeToken(public)).await
}

/// `POST /admin/api/users/{user}/password`: ends the user's sessions.
pub async fn set_password(asked: Asked) -> Answered {
    let NewPassword { password } = asked.fields()?;
    let gateway = &asked.worker.gateway;
    let password = gateway.doors.hashing(move || Password::new(&password)).await?.map_err(invalid)?;
    about(&asked, "user.password", UserAct::SetPassword(password)).await
}

/// `POST /admin/api/users/{user}/link`: a link that lets in once; `admin` is whoever holds the first token.
pub async fn link(asked: Asked) -> Answered {
    let doors = &asked.worker.gateway.doors;
    let id = asked.part("user").to_owned();
    let epoch = match doors.staff.load().user(&id) {
        Some(user) if user.disabled => return Err(invalid(format!("the user `{id}` is disabled; enable it first"))),
        Some(user) => user.epoch,
        None if id == TOKEN => 0,
        None => return Err(refused(&UserDenied::Unknown(id))),
    };
    record(&asked, "user.link", &format!("`{id}`")).await?;
    let secret = doors.sessions().link(Holder { user: id, epoch }, std::time::Instant::now());
    let path = format!("/admin/api/session/link?t={secret}");
    Ok(HttpResponse::Ok().json(json!({ "path": path, "valid_s": LINK.as_secs() })))
}

async fn about(asked: &Asked, action: &str, act: UserAct) -> Answered {
    let id = asked.part("user").to_owned();
    // What a path holds is a stranger's until the user is found.
    let staff = asked.worker.gateway.doors.staff.load_full();
    if staff.user(&id).is_none() {
        return Err(refused(&UserDenied::Unknown(id)));
    }
    let note = format!("`{id}`");
    order(asked, action, id, act, note).await
}

async fn order(asked: &Asked, action: &str, id: String, act: UserAct, note: String) -> Answered {
    // In an emergency a full disk must not keep anybody in.
    if !matches!(act, UserAct::Disable | UserAct::Delete | UserAct::RevokeToken(_)) {
        record(asked, action, &note).await?;
    }
    let users = &asked.worker.gateway.doors.users;
    let done = users.send(UserOrder { id: id.clone(), act, at_unix_s: unix_s() }).await;
    let done = done.map_err(|_| GatewayError::ShuttingDown)?;
    if let Some(books) = &asked.worker.gateway.books {
        let outcome = Some(if done.is_ok() { "done" } else { "failed" }.into());
        books.tell(Record { outcome, note: Some(note.into()), ..books.by_hand(Phase::Admin, &asked.admin.id, action) });
    }
    let UserDone { user, token } = done.map_err(|denied| refused(&denied))?;
    let mut answer = user.as_deref().map_or_else(|| json!({ "id": id, "deleted": true }), shown);
    if let Some(token) = &token {
        answer["token"] = token.expose().into();
    }
    Ok(HttpResponse::Ok().json(answer))
}

/// Writes down what is about to be done; what cannot be written down is not done.
async fn record(asked: &Asked, action: &str, note: &str) -> Result<(), GatewayError> {
    let Some(books) = &asked.worker.gateway.books else { return Ok(()) };
    let record = books.by_hand(Phase::Admin, &asked.admin.id, action);
    let noted = books.note(Record { note: Some(note.into()), ..record }).await;
    noted.map(drop).map_err(|why| GatewayError::NotRecorded { why: why.to_string() })
}

fn refused(denied: &UserDenied) -> GatewayError {
    let cause = match denied {
        UserDenied::Invalid(_) => Cause::Invalid,
        UserDenied::Exists(_) => Cause::Conflict,
        UserDenied::Unknown(_) | UserDenied::NoToken(_) => Cause::Missing,
        UserDenied::NotStored(why) => {
            error!("{why}");
            Cause::Failed
        }
    };
    GatewayError::Refused { cause, faults: vec![denied.to_string()] }
}

fn shown(user: &User) -> Value {
    let tokens = user.tokens.iter();
    let tokens = tokens.map(|token| json!({ "public": token.public, "created_unix_s": token.created_unix_s }));
    let role = user.role();
    json!({
        "id": user.id,
        "role": role.as_str(),
        "team": role.team(),
        "disabled": user.disabled,
        "has_password": user.password.is_some(),
        "tokens": tokens.collect::<Vec<_>>(),
        "created_unix_s": user.created_unix_s,
    })
}
