//! What a reviewer reads: status, records, what is kept beside them, and proofs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bursar_actors::audit::checkpoint::{Note, origin};
use bursar_actors::audit::journal::{JournalState, RealDisk};
use bursar_actors::audit::log::{Fetch, Proof, Prove, Search, SignCheckpoint};
use bursar_actors::audit::ranges::Head;
use bursar_actors::audit::record::{Phase, Record};
use bursar_actors::audit::source::place_of_body;
use bursar_actors::vault::bodies::Bodies;
use serde_json::{Value, json};

use super::query::Query;
use super::{Desk, DeskError, Pairs, Reply, blocking};
use crate::books::{Books, binding};
use crate::call::unix_us;

impl Books {
    /// Returns the key that verifies checkpoints and exports, as verifiers of signed notes take it.
    pub fn public_key(&self) -> String {
        self.signing.verifying().text(&origin(&self.journal.log_id().to_string()))
    }
}

impl Desk<'_> {
    /// Tells figures only, nothing of any record, so it is not written down.
    pub(super) async fn status(&self) -> Result<Value, DeskError> {
        let (books, view) = (self.books, &self.books.view);
        let durable = books.journal.durable();
        // An index that fails is part of the answer.
        let head = books.log.send(Head).await?;
        let (state, why) = match books.journal.state() {
            JournalState::Open => ("open", None),
            JournalState::Full(why) => ("full", Some(why)),
            JournalState::Failed(why) => ("failed", Some(why)),
            JournalState::Closed => ("closed", None),
        };
        let checkpoint = view.checkpoint.load_full();
        let signed = checkpoint.as_deref().map(Note::checkpoint);
        let fault = head.as_ref().err().map(ToString::to_string);
        Ok(json!({
            "log": books.journal.log_id().to_string(),
            "size": durable,
            "indexed": view.indexed.load(Ordering::Relaxed),
            "lag": durable.saturating_sub(view.indexed.load(Ordering::Relaxed)),
            "root": head.as_ref().ok().map(|(_, root)| root),
            "root_size": head.as_ref().ok().map(|(size, _)| size),
            "journal": state,
            "journal_fault": why,
            "open_requests": view.open.load(Ordering::Relaxed),
            "rebuilds": view.rebuilds.load(Ordering::Relaxed),
            "fault": view.fault.load().as_deref().cloned().or(fault),
            "checkpoint_size": signed.map(|checkpoint| checkpoint.size),
            "checkpoint_age_s": signed.map(|checkpoint| unix_us().saturating_sub(checkpoint.at_us) / 1_000_000),
            "checkpoint": checkpoint.as_deref().map(Note::text),
            "public_key": books.public_key(),
            "commit": books.commit.as_str(),
            "content": books.kept.as_str(),
            "holds": books.vault.holds().len(),
            "working": books.work.progress().map(|(done, total)| json!({ "done": done, "total": total })),
        }))
    }

    pub(super) async fn search(&self, pairs: &Pairs) -> Result<Value, DeskError> {
        let mut pairs = pairs.clone();
        if let Some(team) = self.team {
            if let Some((_, other)) = pairs.iter().find(|(name, value)| name == "team" && value != team) {
                return Err(DeskError::Missing(format!("there is no team `{other}`")));
            }
            pairs.push(("team".into(), team.into()));
        }
        let query = self.read_query(&pairs)?;
        self.asked(Phase::Review, "audit.search", query.words).await?;
        let ask = Search { filter: query.filter, before: query.before, limit: query.limit };
        let page = self.books.log.send(ask).await??;
        let records: Vec<Value> = page.records.iter().map(|(index, leaf)| parsed(*index, leaf)).collect();
        Ok(json!({ "records": records, "next": page.next }))
    }

    pub(super) fn read_query(&self, pairs: &Pairs) -> Result<Query, DeskError> {
        Query::read(pairs, unix_us(), |team, user| self.books.vault.pseudonym(team, user))
    }

    pub(super) async fn show(&self, index: u64) -> Result<Value, DeskError> {
        self.asked(Phase::Review, "audit.show", format!("record {index}")).await?;
        let leaf = self.leaf(index).await?;
        let note = self.checkpoint_over(index).await?;
        let size = note.checkpoint().size;
        let proof = self.books.log.send(Prove::Inclusion { index, size: Some(size) }).await??;
        Ok(json!({
            "index": index,
            "record": parsed(index, &leaf),
            "leaf": String::from_utf8_lossy(&leaf),
            "proof": proof.map(|proof| shown(&proof)),
            "checkpoint": note.text(),
            "public_key": self.books.public_key(),
        }))
    }

    async fn leaf(&self, index: u64) -> Result<Vec<u8>, DeskError> {
        let found = self.books.log.send(Fetch(index)).await??;
        let size = self.books.journal.durable();
        let is_theirs = |leaf: &Vec<u8>| {
            let of = |team| {
                serde_json::from_slice::<Record<'_>>(leaf).is_ok_and(|record| record.team.as_deref() == Some(team))
            };
            self.team.is_none_or(of)
        };
        found
            .filter(is_theirs)
            .ok_or_else(|| DeskError::Missing(format!("there is no record {index}; the log has {size}")))
    }

    /// Returns a checkpoint that covers record `index`; a new one where the last does not.
    async fn checkpoint_over(&self, index: u64) -> Result<Arc<Note>, DeskError> {
        let covers = |note: &Arc<Note>| note.checkpoint().size > index;
        if let Some(last) = self.books.view.checkpoint.load_full().filter(covers) {
            return Ok(last);
        }
        let signed = self.books.log.send(SignCheckpoint).await??;
        signed.filter(covers).ok_or_else(|| DeskError::Failed(format!("no checkpoint covers record {index} yet")))
    }

    pub(super) async fn body(&self, index: u64) -> Result<Reply, DeskError> {
        self.asked(Phase::Review, "audit.body", format!("content of record {index}")).await?;
        let leaf = self.leaf(index).await?;
        let Some(place) = place_of_body(&leaf) else {
            return Err(DeskError::Missing(format!(
                "nothing is kept beside record {index}; audit.content says what is kept of prompts and answers"
            )));
        };
        let record: Record<'_> = serde_json::from_slice(&leaf).unwrap_or_default();
        let part = if record.phase == Some(Phase::Admitted) { "request" } else { "reply" };
        let log = self.books.journal.log_id().to_string();
        let request = record.request.as_deref().unwrap_or_default();
        let bound = binding(&log, request, record.call.unwrap_or_default(), part);
        let (vault, folder) = (self.books.vault.clone(), self.books.journal.path().to_owned());
        let bytes = blocking(move || {
            let sealed = Bodies::new(&folder, Arc::new(RealDisk)).read(place, index)?;
            Ok(vault.unseal(bound.as_bytes(), &sealed)?)
        });
        Ok(Reply::Content { part, bytes: bytes.await? })
    }

    /// A proof holds hashes only, so it is not written down.
    pub(super) async fn inclusion(&self, index: u64, size: Option<u64>) -> Result<Value, DeskError> {
        let proof = self.books.log.send(Prove::Inclusion { index, size }).await??;
        self.proven(proof.as_ref(), &format!("there is no record {index} in a log of that size"))
    }

    pub(super) async fn consistency(&self, old: u64, size: Option<u64>) -> Result<Value, DeskError> {
        let proof = self.books.log.send(Prove::Consistency { old, size }).await??;
        self.proven(proof.as_ref(), &format!("no log of that size begins with one of {old} records"))
    }

    fn proven(&self, proof: Option<&Proof>, otherwise: &str) -> Result<Value, DeskError> {
        let checkpoint = self.books.view.checkpoint.load_full();
        let mut shown = shown(proof.ok_or_else(|| DeskError::Missing(otherwise.to_owned()))?);
        shown["checkpoint"] = checkpoint.as_deref().map(Note::text).into();
        shown["public_key"] = self.books.public_key().into();
        Ok(shown)
    }
}

/// Returns a record as JSON; what is none is shown as the text it is.
fn parsed(index: u64, leaf: &[u8]) -> Value {
    serde_json::from_slice(leaf).unwrap_or_else(|_| json!({ "index": index, "text": String::from_utf8_lossy(leaf) }))
}

fn shown(proof: &Proof) -> Value {
    json!({
        "size": proof.size,
        "root": proof.root,
        "old_root": proof.old_root,
        "leaf_hash": proof.leaf,
        "path": proof.path,
    })
}
