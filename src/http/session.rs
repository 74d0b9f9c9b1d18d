//! `/admin/api/session`: browsers sign in by password or by a link, and are known by a cookie from then on.
//!
//! The cookie is `HttpOnly` and `SameSite=Strict`, and `Secure` behind TLS. Every change that it makes needs the token that
//! the answer held, in `x-csrf-token`, and an `Origin` that is this host. No answer ever allows another origin.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix::Addr;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::{CACHE_CONTROL, HOST, ORIGIN};
use actix_web::web::{Data, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use arc_swap::ArcSwap;
use bursar_actors::admins::{
    ABSOLUTE, Holder, Lockout, PASSWORD_MAX, Password, Role, Sessions, Staff, User, Users, csrf_token,
};
use bursar_actors::audit::record::Phase;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use super::authorize::{Admin, Asked, TOKEN, invalid};
use super::body::{self, Bounds};
use super::error::respond;
use super::inference::network;
use super::unread::closing;
use super::{Worker, request_id};
use crate::error::{GatewayError, SignInFault};

const COOKIE: &str = "bursar_session";
/// Most bytes of an order to sign in.
const ORDER_MAX: usize = 4 * 1024;
/// Passwords that are hashed at once. Each takes a core and 19 MiB.
const HASHING: usize = 1;
/// How long a sign-in waits for its turn.
const TURN: Duration = Duration::from_secs(5);

/// How admins come in.
pub struct Doors {
    pub users: Addr<Users>,
    pub staff: Arc<ArcSwap<Staff>>,
    sessions: Mutex<Sessions>,
    lockout: Mutex<Lockout>,
    turn: Semaphore,
}

impl Doors {
    /// Starts the actor; needs a running actix system.
    pub fn open(users: Users) -> Self {
        let staff = users.staff().clone();
        let turn = Semaphore::new(HASHING);
        Self { users: users.start(), staff, sessions: Mutex::default(), lockout: Mutex::default(), turn }
    }

    /// Returns the sessions, which nobody holds for long.
    pub fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lockout(&self) -> MutexGuard<'_, Lockout> {
        self.lockout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hashes a password where it holds nobody up, one at a time; who waits too long is told to come later.
    pub async fn hashing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, GatewayError> {
        let turn = tokio::time::timeout(TURN, self.turn.acquire()).await;
        let _turn = turn.map_err(|_| GatewayError::Overloaded)?;
        tokio::task::spawn_blocking(work).await.map_err(|_| GatewayError::Internal)
    }

    /// Returns who `holder` is now; none once the session's user is shut out, gone or has another password.
    fn admin(&self, holder: &Holder) -> Option<Admin> {
        if holder.user == TOKEN {
            return Some(Admin::new(TOKEN, Role::Admin));
        }
        let staff = self.staff.load();
        let user = staff.user(&holder.user).filter(|user| !user.disabled && user.epoch == holder.epoch)?;
        Some(Admin::of(user))
    }
}

/// Returns who is signed in by the request's cookie. A change needs proof that it was not another site's page that asked.
pub fn signed_in(request: &HttpRequest, doors: &Doors) -> Result<Option<Admin>, GatewayError> {
    let Some(cookie) = request.cookie(COOKIE) else { return Ok(None) };
    let holder = doors.sessions().holder(cookie.value(), Instant::now());
    let Some(admin) = holder.and_then(|holder| doors.admin(&holder)) else { return Ok(None) };
    if request.method().is_safe() {
        return Ok(Some(admin));
    }
    let sent = request.headers().get("x-csrf-token").and_then(|token| blake3::Hash::from_hex(token.as_bytes()).ok());
    // `blake3::Hash` compares in constant time.
    if sent != Some(csrf_token(cookie.value())) || !is_own_origin(request) {
        return Err(GatewayError::SignIn(SignInFault::Forged));
    }
    Ok(Some(admin))
}

/// Returns whether a page of this very host asks.
fn is_own_origin(request: &HttpRequest) -> bool {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let origin = text(ORIGIN).and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    origin.is_some() && origin == text(HOST)
}

/// A user's name and password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    user: String,
    password: String,
}

/// A link's secret.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Followed {
    t: String,
}

/// `POST /admin/api/session`: 401 for a wrong user or password, 429 after too many.
pub async fn sign_in(request: HttpRequest, mut payload: Payload, worker: Data<Worker>) -> HttpResponse {
    let until = Instant::now() + worker.gateway.client_timeout;
    let bounds = Bounds { size: ORDER_MAX, until };
    let read = body::read(&request, &mut payload, bounds, &worker).await;
    let begun = match read {
        Ok(body) => by_password(&request, &worker, &body).await,
        Err(error) => Err(error),
    };
    begun.unwrap_or_else(|error| closing(respond(&error, &request_id(&request)), payload))
}

async fn by_password(request: &HttpRequest, worker: &Worker, body: &[u8]) -> Result<HttpResponse, GatewayError> {
    // A page of another site must not sign its reader in as somebody else.
    if request.headers().contains_key(ORIGIN) && !is_own_origin(request) {
        return Err(GatewayError::SignIn(SignInFault::Forged));
    }
    let order = serde_json::from_slice(body);
    let SignIn { user: id, password } =
        order.map_err(|_| invalid("the body cannot be understood; send `{\"user\": …, \"password\": …}`".into()))?;
    if password.len() > PASSWORD_MAX {
        return Err(invalid(format!("the password is longer than {PASSWORD_MAX} bytes")));
    }
    let doors = &worker.gateway.doors;
    let network = request.peer_addr().map(|peer| network(peer.ip())).unwrap_or_default();
    let user: Option<Arc<User>> = doors.staff.load().user(&id).cloned();
    // Who does not exist counts, too, or the count would tell who does; strange names count together.
    let name = if id.len() <= 64 { id.as_str() } else { "" };
    if let Err(after) = doors.lockout().attempt(name, &network, Instant::now()) {
        return Err(refused(worker, SignInFault::Locked { after }, &network));
    }
    let kept = user.as_ref().and_then(|user| user.password.clone());
    let is_right = doors.hashing(move || Password::verify(kept.as_ref(), &password)).await?;
    let Some(user) = user.filter(|user| is_right && !user.disabled) else {
        return Err(refused(worker, SignInFault::Wrong, &network));
    };
    doors.lockout().passed(name, &network, Instant::now());
    begin(request, worker, Holder { user: user.id.clone(), epoch: user.epoch })
}

fn refused(worker: &Worker, fault: SignInFault, network: &str) -> GatewayError {
    let error = GatewayError::SignIn(fault);
    if let Some(books) = &worker.gateway.books {
        books.strangers.count(error.code(), Some(network));
    }
    error
}

/// `GET /admin/api/session/link`: signs in by a link, once.
pub async fn follow(request: HttpRequest, worker: Data<Worker>) -> HttpResponse {
    let follow = || {
        let query = Query::<Followed>::from_query(request.query_string());
        let secret = query.map_err(|_| invalid("the link is incomplete; copy all of it".into()))?.into_inner().t;
        let holder = worker.gateway.doors.sessions().follow(&secret, Instant::now());
        let Some(holder) = holder else {
            let network = request.peer_addr().map(|peer| network(peer.ip())).unwrap_or_default();
            return Err(refused(&worker, SignInFault::Wrong, &network));
        };
        begin(&request, &worker, holder)
    };
    follow().unwrap_or_else(|error| respond(&error, &request_id(&request)))
}

fn begin(request: &HttpRequest, worker: &Worker, holder: Holder) -> Result<HttpResponse, GatewayError> {
    let doors = &worker.gateway.doors;
    let wrong = || GatewayError::SignIn(SignInFault::Wrong);
    let admin = doors.admin(&holder).ok_or_else(wrong)?;
    if let Some(books) = &worker.gateway.books {
        books.tell(books.by_hand(Phase::Auth, &admin.id, "session.begin"));
    }
    let secret = doors.sessions().begin(holder, Instant::now());
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, "no-store"));
    answer.cookie(cookie(request, &secret, ABSOLUTE));
    Ok(answer.json(shown(&admin, Some(&secret))))
}

/// `GET /admin/api/session`: who is signed in, and for a browser the token against forged requests again.
pub async fn show(asked: Asked) -> Result<HttpResponse, GatewayError> {
    let cookie = asked.request.cookie(COOKIE).filter(|_| asked.admin.by_cookie);
    Ok(HttpResponse::Ok().json(shown(&asked.admin, cookie.as_ref().map(Cookie::value))))
}

/// `DELETE /admin/api/session`: signs out.
pub async fn sign_out(asked: Asked) -> Result<HttpResponse, GatewayError> {
    let Some(held) = asked.request.cookie(COOKIE).filter(|_| asked.admin.by_cookie) else {
        return Err(invalid("there is no session to end; this request came with a token or by the socket".into()));
    };
    asked.worker.gateway.doors.sessions().end(held.value());
    if let Some(books) = &asked.worker.gateway.books {
        books.tell(books.by_hand(Phase::Auth, &asked.admin.id, "session.end"));
    }
    let gone = cookie(&asked.request, "", Duration::ZERO);
    Ok(HttpResponse::Ok().cookie(gone).json(json!({ "signed_out": true })))
}

fn shown(admin: &Admin, secret: Option<&str>) -> serde_json::Value {
    json!({
        "user": &*admin.id,
        "role": admin.role.as_str(),
        "team": admin.role.team(),
        "csrf_token": secret.map(|secret| csrf_token(secret).to_hex().to_string()),
    })
}

fn cookie<'c>(request: &HttpRequest, value: &str, lives: Duration) -> Cookie<'c> {
    let says = |name: &str, begin: &str| {
        request.headers().get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.starts_with(begin))
    };
    // Whoever lies about it makes only its own cookie stricter.
    let behind_tls = says("x-forwarded-proto", "https") || says("origin", "https://");
    let max_age = actix_web::cookie::time::Duration::seconds(lives.as_secs() as i64);
    let cookie = Cookie::build(COOKIE, value.to_owned()).path("/").http_only(true).same_site(SameSite::Strict);
    cookie.secure(behind_tls).max_age(max_age).finish()
}
