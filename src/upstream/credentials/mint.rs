//! Mints one credential: asks whoever issues it, in as many steps as it takes.

use std::time::{Duration, SystemTime};

use bursar_actors::Secret;
use serde::Deserialize;
use serde_json::Value;

use super::exchange::{Ask, json};
use super::{Kind, Surroundings, Wanted, aws, entra, google, sts};
use crate::config::credential::{Aws, Credential, Entra, ExternalAccount, Google, Role};
use crate::upstream::Upstream;

/// How often a file is read again whose keys somebody else renews.
const READ_AGAIN: Duration = Duration::from_secs(300);
/// Largest file that is read, in characters.
const FILE_MAX: usize = 1 << 20;

/// A credential just minted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh {
    pub kind: Kind,
    /// `None` where nobody says when it ends.
    pub life: Option<Duration>,
    /// After what time to look at its source again, whatever its life.
    pub read_again: Option<Duration>,
}

/// Who asks.
pub struct Mint {
    pub upstream: Upstream,
    pub surroundings: Surroundings,
}

impl Mint {
    /// Mints what is `wanted`. The reason of a failure holds nothing secret.
    pub async fn mint(&self, wanted: &Wanted) -> Result<Fresh, String> {
        let outside = || self.upstream.client(&wanted.dial);
        match &wanted.source {
            Credential::Google(Google::ServiceAccount(account)) => {
                bearer(&google::ask(account, since_1970())?.by(&outside()).await?)
            }
            Credential::Google(Google::AuthorizedUser(user)) => bearer(&google::ask_user(user).by(&outside()).await?),
            Credential::Google(Google::ExternalAccount(account)) => federated(account, &outside()).await,
            Credential::Google(Google::Metadata) => {
                bearer(&google::ask_metadata(&self.surroundings).by(&self.upstream.client(&wanted.local)).await?)
            }
            Credential::Entra(Entra::Client { tenant, client_id, client_secret, scope, authority }) => {
                bearer(&entra::ask(authority, tenant, client_id, client_secret, scope).by(&outside()).await?)
            }
            Credential::Entra(Entra::Managed) => {
                bearer(&entra::ask_managed(&self.surroundings).by(&self.upstream.client(&wanted.local)).await?)
            }
            Credential::Aws(Aws::Role(role)) => self.role(role, wanted).await,
            Credential::Aws(source) => self.aws(source, wanted).await,
        }
    }

    /// Mints the keys of a role.
    async fn role(&self, role: &Role, wanted: &Wanted) -> Result<Fresh, String> {
        let with = self.aws(&role.source, wanted).await?.kind;
        let ask = sts::ask_role(&self.surroundings, role, &with, SystemTime::now())?;
        expiring(sts::read(&ask.by(&self.upstream.client(&wanted.dial)).await?)?)
    }

    /// Mints or reads keys that are no role's taken on with others.
    async fn aws(&self, source: &Aws, wanted: &Wanted) -> Result<Fresh, String> {
        let lasting = |kind| Fresh { kind, life: None, read_again: None };
        match source {
            Aws::Static { access_key_id, secret_access_key, session_token } => {
                let token = session_token.as_ref().map(Secret::expose);
                Ok(lasting(aws::kind(access_key_id, secret_access_key.expose(), token)))
            }
            Aws::Environment => aws::of_environment(&self.surroundings).map(lasting),
            Aws::Profile(name) => {
                let kind = self.profile(name).await?;
                Ok(Fresh { read_again: Some(READ_AGAIN), ..lasting(kind) })
            }
            Aws::Container => {
                let (url, authorization) = aws::container(&self.surroundings)?;
                let ask = match authorization {
                    aws::Authorization::None => Ask::get(url),
                    aws::Authorization::Text(text) => Ask::get(url).header("authorization", text),
                    aws::Authorization::File(path) => Ask::get(url).header("authorization", file(path).await?),
                };
                expiring(aws::read(&ask.by(&self.upstream.client(&wanted.local)).await?)?)
            }
            Aws::Instance => {
                let client = self.upstream.client(&wanted.local);
                let session = aws::ask_session(&self.surroundings).by(&client).await?;
                let session = text(&session)?;
                let roles = aws::ask_role(&self.surroundings, session).by(&client).await?;
                expiring(aws::read(&aws::ask_keys(&self.surroundings, session, text(&roles)?)?.by(&client).await?)?)
            }
            Aws::WebIdentity(given) => {
                let identity = sts::Identity::of(&self.surroundings, given)?;
                let token = file(identity.token_file.to_owned()).await?;
                let ask = identity.ask(&self.surroundings, &token);
                expiring(sts::read(&ask.by(&self.upstream.client(&wanted.dial)).await?)?)
            }
            // The configuration has no words for it.
            Aws::Role(_) => Err("a role cannot be the source of another".to_owned()),
        }
    }

    /// Returns the keys of a profile: those of the credentials file, else those of the configuration file.
    async fn profile(&self, name: &str) -> Result<Kind, String> {
        let (first, second) = (self.surroundings.aws_credentials_file(), self.surroundings.aws_config_file());
        let read = |path: std::path::PathBuf| async move {
            let at = path.display().to_string();
            let text = file(path.to_string_lossy().into_owned()).await?;
            match aws::of_profile(&text, name) {
                Ok(kind) => Ok(Ok(kind)),
                Err(aws::NoKeys::NoSection) => Err(format!("`{at}`: it has no section [{name}]")),
                Err(aws::NoKeys::Other(why)) => Ok(Err(format!("`{at}`: {why}"))),
            }
        };
        match read(first).await {
            Ok(found) => found,
            // What the first file lacks is told where neither has it.
            Err(why) => read(second).await.unwrap_or(Err(why)),
        }
    }
}

/// Exchanges the token of another issuer for one of Google's.
async fn federated(account: &ExternalAccount, client: &awc::Client) -> Result<Fresh, String> {
    let token = file(account.token_file.clone()).await?;
    let fresh = bearer(&google::ask_exchange(account, &token)?.by(client).await?)?;
    let (Some(url), Kind::Bearer(token)) = (&account.impersonation_url, &fresh.kind) else { return Ok(fresh) };
    let answer = google::ask_impersonation(url, token.expose()).by(client).await?;
    let (token, expires) = google::read_impersonated(&answer)?;
    expiring((Kind::Bearer(header_text(token)?), Some(expires)))
}

fn text(body: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(body).map_err(|_| "what was answered is no text".to_owned())
}

async fn file(path: String) -> Result<String, String> {
    let named = path.clone();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
    match read.map_err(|_| "the gateway is stopping".to_owned())? {
        Ok(text) if text.len() <= FILE_MAX => Ok(text),
        Ok(_) => Err(format!("`{named}` is larger than 1 MiB")),
        Err(error) => Err(format!("`{named}` cannot be read: {}", error.kind())),
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn expiring((kind, expires): (Kind, Option<SystemTime>)) -> Result<Fresh, String> {
    let life = expires.map(|expires| expires.duration_since(SystemTime::now()).unwrap_or_default());
    Ok(Fresh { kind, life, read_again: None })
}

fn header_text(token: String) -> Result<Secret, String> {
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("the token that was answered can stand in no header".to_owned());
    }
    Ok(Secret::new(token))
}

/// An answer with a token (RFC 6749, 5.1). Azure's machines write numbers as strings.
#[derive(Deserialize)]
struct Token {
    access_token: String,
    #[serde(default)]
    expires_in: Value,
    #[serde(default)]
    expires_on: Value,
}

fn bearer(body: &[u8]) -> Result<Fresh, String> {
    bearer_at(body, since_1970())
}

/// Reads a token; `now` is the time since 1970.
fn bearer_at(body: &[u8], now: Duration) -> Result<Fresh, String> {
    let token: Token = json(body)?;
    let access_token = header_text(token.access_token)?;
    let seconds = |value: &Value| {
        let number = value.as_u64().or_else(|| value.as_f64().map(|seconds| seconds as u64));
        number.or_else(|| value.as_str()?.trim().parse().ok()).map(Duration::from_secs)
    };
    let until = seconds(&token.expires_on).map(|until| until.saturating_sub(now));
    let life = seconds(&token.expires_in).or(until);
    // No issuer gives tokens for ever; an hour is what all of them give.
    let life = life.unwrap_or(Duration::from_secs(3600)).min(Duration::from_secs(30 * 86_400));
    Ok(Fresh { kind: Kind::Bearer(access_token), life: Some(life), read_again: None })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_life_of_a_token_is_read_in_every_form() {
        for (more, life) in [
            ("", 3600),
            (r#","expires_in":3599,"token_type":"Bearer""#, 3599),
            (r#","expires_in":"86399","expires_on":"7""#, 86_399),
            (r#","expires_on":"1600""#, 600),
            (r#","expires_on":900"#, 0),
            (r#","expires_in":1e300"#, 30 * 86_400),
        ] {
            let fresh = bearer_at(format!(r#"{{"access_token":"t"{more}}}"#).as_bytes(), Duration::from_secs(1000));

            assert_eq!(fresh.unwrap().life, Some(Duration::from_secs(life)), "{more}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_shown() {
        for body in
            ["", "[]", "{}", r#"{"access_token":7}"#, r#"{"access_token":""}"#, r#"{"access_token":"hunter 2"}"#]
        {
            assert!(!bearer_at(body.as_bytes(), Duration::ZERO).unwrap_err().contains("hunter"), "{body}");
        }
    }
}
