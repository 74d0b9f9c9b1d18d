//! Stored Responses, by the team of the client key that they were made with.

use bursar_actors::stored::{Lack, Put, Remove, Walk};
use bursar_actors::vault::VaultError;

use super::{Owner, Store, name, unusable};
use crate::error::GatewayError;

/// What was found of a conversation.
#[derive(Debug, Default)]
pub struct Conversation {
    /// What was kept of each Response, the earliest first; empty where there is none of that id.
    pub turns: Vec<Vec<u8>>,
    /// Why the beginning is not among them.
    pub lacks: Option<Lack>,
}

impl Store {
    /// Keeps what belongs to the Response `id`, which goes on from `previous`. The order is on its way when this returns: who
    /// asks for it later finds it. What is returned tells once it is on the disk.
    pub fn put_response(
        &self,
        owner: &Owner,
        id: &str,
        previous: Option<&str>,
        content: &[u8],
    ) -> impl Future<Output = Result<(), GatewayError>> + use<> {
        let key = response(&owner.team, id);
        let before = previous.map(|id| response(&owner.team, id));
        let put = self.vault.seal(&owner.subject(), &binding(&key), &[content]);
        let put = put.map(|sealed| self.actor.send(Put { key, before, sealed: sealed.bytes }));
        async move {
            match put.map_err(unusable)?.await {
                Ok(kept) => kept.map_err(unusable),
                Err(_) => Err(GatewayError::ShuttingDown),
            }
        }
    }

    /// Returns what is kept of the Response `id` of `team` and of those that it goes on from, at most `turns` of them and
    /// `bytes` sealed bytes. What was erased counts as gone.
    pub async fn conversation(
        &self,
        team: &str,
        id: &str,
        turns: usize,
        bytes: usize,
    ) -> Result<Conversation, GatewayError> {
        let walked = self.ask(Walk { key: response(team, id), turns, bytes }).await?;
        let mut conversation = Conversation { turns: Vec::with_capacity(walked.found.len()), lacks: walked.lacks };
        for (key, sealed) in walked.found {
            match self.vault.unseal(&binding(&key), &sealed) {
                Ok(content) => conversation.turns.push(content),
                Err(VaultError::Erased) => {
                    conversation.lacks = Some(Lack::Gone);
                    break;
                }
                Err(why) => return Err(unusable(why)),
            }
        }
        conversation.turns.reverse();
        Ok(conversation)
    }

    /// Removes the Response `id` of `team`; returns whether there was one, once that is on the disk.
    pub async fn remove_response(&self, team: &str, id: &str) -> Result<bool, GatewayError> {
        self.ask(Remove { key: response(team, id) }).await
    }
}

fn response(team: &str, id: &str) -> [u8; 32] {
    name(&["response", team, id])
}

/// Returns what sealed content is bound to.
fn binding(key: &[u8; 32]) -> Vec<u8> {
    [b"stored response ".as_slice(), key].concat()
}
