//! What the gateway keeps for its clients, sealed by the vault: answers under idempotency keys, stored Responses.
//!
//! Content is sealed and opened here, on the worker that has it; who is first under a key, what is kept and what goes is
//! decided by the `Stored` actor. An erased user's content opens no more, because it is sealed with the keys that go.

mod answers;
mod responses;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Message};
use bursar_actors::stored::{Begin, Begun, Close, Digest, KeptError, Stored, StoredOptions};
use bursar_actors::vault::{Month, Subject, Vault};
use tracing::warn;

use crate::call::{Caller, unix_us};
use crate::config::responses::Responses;
use crate::error::GatewayError;
pub use answers::{ANSWER_MAX, Answered};
pub use responses::Conversation;

/// How long a closing gateway waits until what it keeps is on the disk.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

/// What is kept, shared by all workers.
pub struct Store {
    actor: Addr<Stored>,
    vault: Arc<Vault>,
}

/// Whose content it is: what decides which key seals it.
#[derive(Debug, Clone)]
pub struct Owner {
    pub team: String,
    /// The end user, where the request names one.
    pub user: Option<String>,
}

impl Owner {
    fn subject(&self) -> Subject<'_> {
        let month = Month::of_micros(unix_us()).stored();
        Subject { team: &self.team, user: self.user.as_deref(), month }
    }
}

impl Store {
    /// Starts the actor over the folder `stored` of the data directory; needs a running actix system.
    pub fn start(data: &Path, settings: &Responses, vault: Arc<Vault>) -> Self {
        let path = data.join("stored");
        let options = StoredOptions {
            path,
            vault: vault.clone(),
            wall: Arc::new(unix_us),
            responses_bytes: settings.storage as u64,
            responses_kept: settings.retention,
        };
        Self { actor: Stored::start_with(options), vault }
    }

    /// Asks whether a request of `caller` is the first under its idempotency key. `parts` are all that makes it this request
    /// and no other.
    pub async fn begin(&self, caller: &Caller, key: &str, parts: &[&[u8]]) -> Result<Begun, GatewayError> {
        let holder = caller.key_id().map_or("", |id| id);
        let key = name(&["idempotency key", holder, key]);
        self.ask(Begin { key, fingerprint: self.fingerprint(parts)? }).await
    }

    /// Returns a keyed hash, by which nobody but the holder of the keys can confirm a guess.
    fn fingerprint(&self, parts: &[&[u8]]) -> Result<Digest, GatewayError> {
        let nobody = Subject { team: "", user: None, month: Month::of_micros(unix_us()) };
        let mut hasher = self.vault.content_hasher(&nobody).map_err(unusable)?;
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Ok(*blake3::hash(hasher.finish().as_bytes()).as_bytes())
    }

    async fn ask<M, T>(&self, message: M) -> Result<T, GatewayError>
    where
        M: Message<Result = Result<T, KeptError>> + Send + 'static,
        T: Send + 'static,
        Stored: actix::Handler<M>,
    {
        match self.actor.send(message).await {
            Ok(answered) => answered.map_err(unusable),
            Err(_) => Err(GatewayError::ShuttingDown),
        }
    }

    /// Brings everything to the disk, as the process ends.
    pub async fn close(&self) {
        if !matches!(tokio::time::timeout(CLOSED_WITHIN, self.actor.send(Close)).await, Ok(Ok(()))) {
            warn!("what is kept for clients may lack the last half second");
        }
    }
}

/// Returns a name that no other words make.
fn name(words: &[&str]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for word in words {
        hasher.update(&(word.len() as u64).to_le_bytes()).update(word.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

fn unusable(why: impl std::fmt::Display) -> GatewayError {
    GatewayError::StoreUnavailable { why: why.to_string() }
}
