//! Mints one credential: asks whoever issues it, in as many steps as it takes.

use std::time::{Duration, SystemTime};

use bursar_actors::Secret;
use serde::Deserialize;
use serde_json::Value;

use super::exchange::{Ask, json};
use super::{Kind, Surroundings, Wanted, aws, entra, google};
use crate::config::credential::{Aws, Credential, Entra, Google};
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

/// Returns whether `source` is a service of the machine or container itself, which no proxy leads to.
pub fn is_local(source: &Credential) -> bool {
    matches!(source, Credential::Google(Google::Metadata) | Credential::Entra(Entra::Managed) | Credential::Aws(_))
}

impl Mint {
    /// Mints what is `wanted`. The reason of a failure holds nothing secret.
    pub async fn mint(&self, wanted: &Wanted) -> Result<Fresh, String> {
        let client = self.upstream.client(&wanted.dial);
        match &wanted.source {
            Credential::Google(Google::ServiceAccount(account)) => {
                bearer(&google::ask(account, since_1970())?.by(&client).await?)
            }
            Credential::Google(Google::Metadata) => {
                bearer(&google::ask_metadata(&self.surroundings).by(&client).await?)
            }
            Credential::Entra(Entra::Client { tenant, client_id, client_secret, scope, authority }) => {
                bearer(&entra::ask(authority, tenant, client_id, client_secret, scope).by(&client).await?)
            }
            Credential::Entra(Entra::Managed) => bearer(&entra::ask_managed(&self.surroundings).by(&client).await?),
            Credential::Aws(source) => self.aws(source, &client).await,
        }
    }

    async fn aws(&self, source: &Aws, client: &awc::Client) -> Result<Fresh, String> {
        let lasting = |kind| Fresh { kind, life: None, read_again: None };
        match source {
            Aws::Static { access_key_id, secret_access_key, session_token } => {
                let token = session_token.as_ref().map(Secret::expose);
                Ok(lasting(aws::kind(access_key_id, secret_access_key.expose(), token)))
            }
            Aws::Environment => aws::of_environment(&self.surroundings).map(lasting),
            Aws::Profile(name) => {
                let path = self.surroundings.aws_credentials_file();
                let at = path.display().to_string();
                let text = file(path.to_string_lossy().into_owned()).await?;
                let kind = aws::of_profile(&text, name).map_err(|why| format!("`{at}`: {why}"))?;
                Ok(Fresh { read_again: Some(READ_AGAIN), ..lasting(kind) })
            }
            Aws::Container => {
                let (url, authorization) = aws::container(&self.surroundings)?;
                let ask = match authorization {
                    aws::Authorization::None => Ask::get(url),
                    aws::Authorization::Text(text) => Ask::get(url).header("authorization", text),
                    aws::Authorization::File(path) => Ask::get(url).header("authorization", file(path).await?),
                };
                keys(&ask.by(client).await?)
            }
            Aws::Instance => {
                let session = aws::ask_session(&self.surroundings).by(client).await?;
                let session = text(&session)?;
                let roles = aws::ask_role(&self.surroundings, session).by(client).await?;
                keys(&aws::ask_keys(&self.surroundings, session, text(&roles)?)?.by(client).await?)
            }
        }
    }
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

fn keys(body: &[u8]) -> Result<Fresh, String> {
    let (kind, expires) = aws::read(body)?;
    let life = expires.map(|expires| expires.duration_since(SystemTime::now()).unwrap_or_default());
    Ok(Fresh { kind, life, read_again: None })
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
    if token.access_token.is_empty() || !token.access_token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("the token that was answered can stand in no header".to_owned());
    }
    let seconds = |value: &Value| {
        let number = value.as_u64().or_else(|| value.as_f64().map(|seconds| seconds as u64));
        number.or_else(|| value.as_str()?.trim().parse().ok()).map(Duration::from_secs)
    };
    let until = seconds(&token.expires_on).map(|until| until.saturating_sub(now));
    let life = seconds(&token.expires_in).or(until);
    // No issuer gives tokens for ever; an hour is what all of them give.
    let life = life.unwrap_or(Duration::from_secs(3600)).min(Duration::from_secs(30 * 86_400));
    Ok(Fresh { kind: Kind::Bearer(Secret::new(token.access_token)), life: Some(life), read_again: None })
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
