//! An answer as it is kept under its idempotency key: what it was, and of which request.

use bursar_actors::stored::Turn;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{Owner, Store, unusable};
use crate::error::GatewayError;

/// Most bytes of an answer that is kept; a longer one is not answered again.
pub const ANSWER_MAX: usize = 4 << 20;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The id of the request that was answered so.
    pub request: String,
    pub status: u16,
    /// Those that are answered again, by name and value.
    pub headers: Vec<(String, String)>,
    #[serde(skip)]
    pub body: Bytes,
}

impl Store {
    /// Keeps an answer and ends the turn.
    pub fn keep_answer(&self, turn: Turn, owner: &Owner, answered: &Answered) {
        let head = serde_json::to_vec(answered).expect("texts and a number are JSON");
        match self.vault.seal(&owner.subject(), &binding(turn.key()), &[&head, b"\n", &answered.body]) {
            Ok(sealed) => turn.answered(sealed.bytes),
            Err(why) => {
                warn!("an answer could not be sealed and will not be given again: {why}");
                turn.unkept();
            }
        }
    }

    /// Opens an answer that was kept under `key`.
    pub fn open_answer(&self, key: &[u8; 32], sealed: &[u8]) -> Result<Answered, GatewayError> {
        let content = Bytes::from(self.vault.unseal(&binding(key), sealed).map_err(unusable)?);
        let end = memchr::memchr(b'\n', &content).ok_or_else(|| unusable("a kept answer is damaged"))?;
        let head: Answered =
            serde_json::from_slice(&content[..end]).map_err(|_| unusable("a kept answer is damaged"))?;
        Ok(Answered { body: content.slice(end + 1..), ..head })
    }
}

/// Returns what a sealed answer is bound to.
fn binding(key: &[u8; 32]) -> Vec<u8> {
    [b"idempotent answer ".as_slice(), key].concat()
}
