//! Forgets a user: keys destroyed, bodies overwritten, and a record that says so without the name.

use std::sync::Arc;

use bursar_actors::audit::journal::{Durability, Refused};
use bursar_actors::audit::record::Phase;
use bursar_actors::vault::VaultError;

use super::Books;

/// Who is to be forgotten, and by whose word.
#[derive(Debug, Clone)]
pub struct Erasure {
    pub team: String,
    pub user: String,
    /// Who asked for it: `socket` or `admin`.
    pub by: String,
    /// For the record; must not name the user.
    pub reason: Option<String>,
}

/// What was destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// The user's pseudonym, under which the records stay.
    pub user: String,
    pub keys: u64,
    pub bodies: u64,
    /// Index of the record about it.
    pub index: u64,
}

/// Why a user is not forgotten, or nobody knows of it.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// Nothing was destroyed, or not all; it has to be done again.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Nothing was destroyed: the books could not have told.
    #[error("nothing is erased while the books cannot tell of it: {0}")]
    Refused(Refused),
    /// It is done, and the log says nothing of it.
    #[error("it is erased, but the books could not be told: {0}; do it again once they can be written")]
    Untold(Refused),
    /// The process is about to end.
    #[error("the gateway is stopping; do it again when it runs")]
    Stopping,
}

impl Books {
    /// Destroys the keys of a user, which makes all that is kept of them unreadable and their fingerprints unprovable,
    /// overwrites the bodies, and returns once that and the record about it are durable. Refused under a legal hold.
    pub async fn erase(self: &Arc<Self>, erasure: Erasure) -> Result<Erased, EraseError> {
        self.journal.admits(Durability::Strict).map_err(EraseError::Refused)?;
        let pseudonym = self.vault.pseudonym(&erasure.team, &erasure.user);
        let (books, whose) = (self.clone(), erasure.clone());
        // The disk is written and waited for.
        let destroyed = tokio::task::spawn_blocking(move || books.destroy(&whose.team, &whose.user)).await;
        let destroyed = destroyed.map_err(|_| EraseError::Stopping)?;
        let mut record = self.by_hand(Phase::Erase, &erasure.by, "erase");
        (record.team, record.user) = (Some(erasure.team.as_str().into()), Some(pseudonym.as_str().into()));
        match destroyed {
            Ok((keys, bodies)) => {
                let reason = erasure.reason.as_deref().map(|reason| format!("; {reason}")).unwrap_or_default();
                record.count = Some(bodies);
                record.note = Some(format!("{keys} keys destroyed, {bodies} bodies overwritten{reason}").into());
                let index = self.note(record).await.map_err(EraseError::Untold)?;
                Ok(Erased { user: pseudonym, keys, bodies, index })
            }
            Err(why) => {
                let error = if matches!(why, VaultError::Held { .. }) { "held" } else { "disk" };
                (record.outcome, record.error) = (Some("failed".into()), Some(error.into()));
                self.tell(record);
                Err(why.into())
            }
        }
    }

    /// Blocks. Returns how many keys were destroyed and how many bodies overwritten.
    fn destroy(&self, team: &str, user: &str) -> Result<(u64, u64), VaultError> {
        let _alone = self.journal.housekeeping();
        let keys = self.vault.erase(team, user)?;
        let wiped = self.bodies.wipe_erased(&self.vault, self.journal.durable())?;
        Ok((keys, wiped.wiped))
    }
}
