//! Forgets a user: keys destroyed, bodies overwritten. Who asks for it writes that down (`desk`).

use bursar_actors::vault::VaultError;

use super::Books;

impl Books {
    /// Destroys the keys of a user, which makes all that is kept of them unreadable and their fingerprints unprovable, and
    /// overwrites the bodies. Returns how many keys and bodies that were, once it is durable. Refused under a legal hold.
    /// Blocks.
    pub fn destroy(&self, team: &str, user: &str) -> Result<(u64, u64), VaultError> {
        let _alone = self.journal.housekeeping();
        let keys = self.vault.erase(team, user)?;
        let wiped = self.bodies.wipe_erased(&self.vault, self.journal.durable())?;
        Ok((keys, wiped.wiped))
    }
}
