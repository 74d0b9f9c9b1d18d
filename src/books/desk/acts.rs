//! What an operator does to the books: checkpoints, a new index, erasures and legal holds.

use bursar_actors::audit::log::{Rebuild, SignCheckpoint};
use bursar_actors::audit::record::{Phase, Record};
use serde_json::{Value, json};

use super::{Desk, DeskError, Subject, blocking};
use crate::call::unix_us;

impl Desk<'_> {
    pub(super) async fn checkpoint(&self) -> Result<Value, DeskError> {
        self.asked(Phase::Admin, "audit.checkpoint", String::new()).await?;
        let note = self.books.log.send(SignCheckpoint).await??;
        let note = note.ok_or_else(|| DeskError::Failed("there is nothing to sign yet".into()))?;
        let signed = note.checkpoint();
        Ok(json!({
            "size": signed.size,
            "root": signed.root,
            "checkpoint": note.text(),
            "public_key": self.books.public_key(),
        }))
    }

    pub(super) async fn rebuild(&self) -> Result<Value, DeskError> {
        self.asked(Phase::Admin, "audit.rebuild", String::new()).await?;
        let rebuilt = self.books.log.send(Rebuild).await?.map_err(DeskError::from);
        self.came_to(&rebuilt, self.record(Phase::Admin, "audit.rebuild", String::new()));
        let (size, root) = rebuilt?;
        Ok(json!({ "size": size, "root": root }))
    }

    pub(super) async fn erase(&self, subject: Subject) -> Result<Value, DeskError> {
        let why = subject.reason()?.to_owned();
        let user = self.pseudonym(&subject)?;
        self.asked_about(&subject, &user, "audit.erase", why.clone()).await?;
        let (books, Subject { team, user: name, .. }) = (self.books.clone(), subject.clone());
        let erased = blocking(move || Ok(books.destroy(&team, &name)?)).await;
        let count = erased.as_ref().ok().map(|(_, bodies)| *bodies);
        self.came_to(&erased, Record { count, ..self.about(&subject, &user, "audit.erase", why) });
        let (keys, bodies) = erased?;
        Ok(json!({ "user": user, "keys_destroyed": keys, "bodies_wiped": bodies }))
    }

    pub(super) async fn hold(&self, subject: Subject) -> Result<Value, DeskError> {
        let why = subject.reason()?.to_owned();
        let user = self.pseudonym(&subject)?;
        self.asked_about(&subject, &user, "audit.hold", why.clone()).await?;
        let (vault, Subject { team, user: name, .. }, reason) =
            (self.books.vault.clone(), subject.clone(), why.clone());
        // What lets go of content waits meanwhile, or would go on by the holds it knew when it began.
        let books = self.books.clone();
        let held = blocking(move || {
            let _alone = books.journal.housekeeping();
            Ok(vault.hold(&team, &name, &reason, unix_us())?)
        });
        let held = held.await;
        self.came_to(&held, self.about(&subject, &user, "audit.hold", why));
        Ok(json!({ "user": user, "held": true, "before": held?.map(|hold| hold.reason) }))
    }

    pub(super) async fn release(&self, subject: Subject) -> Result<Value, DeskError> {
        let user = self.pseudonym(&subject)?;
        let why = if subject.reason.trim().is_empty() { String::new() } else { subject.reason()?.to_owned() };
        self.asked_about(&subject, &user, "audit.release", why.clone()).await?;
        let (vault, Subject { team, user: name, .. }) = (self.books.vault.clone(), subject.clone());
        let released = blocking(move || Ok(vault.release(&team, &name)?)).await.and_then(|hold| {
            hold.ok_or_else(|| DeskError::Missing(format!("{user} of team `{}` is under no legal hold", subject.team)))
        });
        self.came_to(&released, self.about(&subject, &user, "audit.release", why));
        Ok(json!({ "user": user, "held": false, "before": released?.reason }))
    }

    pub(super) async fn holds(&self) -> Result<Value, DeskError> {
        self.asked(Phase::Review, "audit.holds", String::new()).await?;
        Ok(self.books.vault.holds().iter().map(|hold| json!(hold)).collect())
    }

    fn pseudonym(&self, subject: &Subject) -> Result<String, DeskError> {
        if subject.user.is_empty() {
            return Err(DeskError::Invalid("`user` is empty; name the user as requests do".into()));
        }
        Ok(self.books.vault.pseudonym(&subject.team, &subject.user))
    }

    async fn asked_about(&self, subject: &Subject, user: &str, action: &str, why: String) -> Result<(), DeskError> {
        self.books.note(self.about(subject, user, action, why)).await?;
        Ok(())
    }

    /// Never with the user's name: it is what an erasure is to forget.
    fn about<'r>(&'r self, subject: &'r Subject, user: &'r str, action: &'r str, why: String) -> Record<'r> {
        let team = (!subject.team.is_empty()).then(|| subject.team.as_str().into());
        Record { team, user: Some(user.into()), ..self.record(Phase::Erase, action, why) }
    }
}
