//! Opens the books: keys, vault, journal, index, in that order, and closes what the last run of the process left open.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use actix::{Actor, Arbiter};
use arc_swap::ArcSwapOption;
use bursar_actors::Clock;
use bursar_actors::audit::checkpoint::{CheckpointError, CheckpointFile, KeyError, KeyOrigin, Note, SigningKey};
use bursar_actors::audit::journal::{
    Disk, Durability, Entry, Journal, JournalError, JournalOptions, RealDisk, Refused,
};
use bursar_actors::audit::log::{AuditLog, LogError, LogOptions, Progress};
use bursar_actors::audit::record::{Phase, Record};
use bursar_actors::audit::restore::{self, RestoreError};
use bursar_actors::audit::retire::{RetireError, retired_to};
use bursar_actors::budget::keeper::{Budget, BudgetOptions};
use bursar_actors::budget::ledger::FollowError;
use bursar_actors::vault::bodies::Bodies;
use bursar_actors::vault::{self, MasterKey, Vault, VaultError};
use tracing::{info, warn};

use super::{Books, Strangers, counted, witness};
use crate::call::unix_us;
use crate::config::Config;
use crate::config::settings;

/// Why the books cannot be opened, in words for a person.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// The key that signs.
    #[error(transparent)]
    Signing(#[from] KeyError),
    /// The keys that seal.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The journal and what hangs on it.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The folder of the keys.
    #[error("cannot make the folder of keys {path}: {source}; set audit.keys_path")]
    Keys { path: String, source: io::Error },
    /// A key of the settings.
    #[error("audit.{name} is no key of 64 hexadecimal digits")]
    NoKey { name: &'static str },
    /// The first lines could not be written.
    #[error("the books cannot be written: {0}")]
    Unwritable(#[from] Refused),
    /// The ledger of budgets, although it was made anew.
    #[error(transparent)]
    Ledger(#[from] FollowError),
    /// What tells of a restore.
    #[error(transparent)]
    Restored(#[from] RestoreError),
    /// A witness contradicts the log.
    #[error(
        "the witness {witness} contradicts the books: {why}; restore the newest copy of the data directory, or keep both \
         as evidence and begin a new log with a new witness"
    )]
    Witness { witness: String, why: String },
}

impl From<RetireError> for BooksError {
    fn from(error: RetireError) -> Self {
        Self::Log(error.into())
    }
}

impl From<JournalError> for BooksError {
    fn from(error: JournalError) -> Self {
        Self::Log(error.into())
    }
}

impl From<CheckpointError> for BooksError {
    fn from(error: CheckpointError) -> Self {
        Self::Log(error.into())
    }
}

impl BooksError {
    /// Returns whether the log is not the one that was signed.
    pub fn is_tampering(&self) -> bool {
        match self {
            Self::Log(error) => error.is_tampering(),
            Self::Witness { .. } => true,
            _ => false,
        }
    }
}

/// The two keys of the books.
pub struct Keys {
    pub signing: SigningKey,
    pub master: MasterKey,
}

impl Keys {
    /// Reads the keys that `config` names, or those in its folder, which are made if there are none.
    pub fn of(config: &Config) -> Result<Self, BooksError> {
        let audit = &config.audit;
        let folder = &audit.keys_path;
        if audit.signing_key.is_none() || audit.master_key.is_none() {
            make_folder(folder).map_err(|source| BooksError::Keys { path: folder.display().to_string(), source })?;
        }
        let signing = match &audit.signing_key {
            Some(key) => SigningKey::parse(key.expose()).ok_or(BooksError::NoKey { name: "signing_key" })?,
            None => {
                let path = folder.join("audit.ed25519");
                let (key, origin) = SigningKey::open(&path)?;
                if origin == KeyOrigin::Created {
                    info!(path = %path.display(), "made the key that signs the books; keep a copy where the data is not");
                }
                key
            }
        };
        let master = match &audit.master_key {
            Some(key) => MasterKey::parse(key.expose())?,
            None => {
                let path = folder.join("master.key");
                let (key, origin) = MasterKey::read_or_make(&path, &vault::keyring_path(&config.storage.path))?;
                if origin == vault::Origin::Made {
                    info!(path = %path.display(), "made the key that seals what is kept; keep a copy where the data is not");
                }
                key
            }
        };
        Ok(Self { signing, master })
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens the vault in the data directory, which the caller holds, where no books are kept that would open it.
pub fn open_vault(config: &Config) -> Result<Arc<Vault>, BooksError> {
    let (vault, _) = Vault::open(&config.storage.path, &Keys::of(config)?.master, Arc::new(RealDisk))?;
    Ok(Arc::new(vault.with_users_max(config.audit.users_max)))
}

/// Books that are open and whose actor has not started.
pub struct Opened {
    log: AuditLog,
    budget: Budget,
    journal: Journal,
    vault: Arc<Vault>,
    config: Arc<ArcSwapOption<String>>,
    signing: SigningKey,
    started: Instant,
    settings: crate::config::audit::Audit,
    /// Requests of the last run that were closed now.
    abandoned: u64,
}

impl Opened {
    /// Opens the books in the data directory, which the caller holds. Requests of which the last run of the process did
    /// not write the end are closed as `abandoned`.
    pub fn open(config: &Config, keys: Keys, progress: &mut Progress<'_>) -> Result<Self, BooksError> {
        Self::open_on(Arc::new(RealDisk), None, config, keys, progress)
    }

    /// Likewise, with the files of journal, keyring and checkpoints on `disk`. For something that is done by hand while no
    /// gateway runs, `why` is noted as it begins.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        why: Option<&str>,
        config: &Config,
        keys: Keys,
        progress: &mut Progress<'_>,
    ) -> Result<Self, BooksError> {
        let path = &config.storage.path;
        let (vault, recovered) = Vault::open(path, &keys.master, disk.clone())?;
        let vault = Arc::new(vault.with_users_max(config.audit.users_max));
        let _ = recovered;
        let checkpoints = CheckpointFile::open(disk.as_ref(), &path.join("checkpoints"), &keys.signing.verifying())?;
        let newest = checkpoints.last().cloned();
        let floor = checkpoints.last().map_or(0, |note| note.checkpoint().size);
        let pruned_to = retired_to(path, disk.as_ref())?;
        let options =
            JournalOptions { durable_floor: floor, pruned_to, disk: disk.clone(), ..JournalOptions::new(path) };
        let (journal, recovery) = Journal::open(options)?;
        if recovery.torn_bytes > 0 {
            let (bytes, next) = (recovery.torn_bytes, recovery.next_index);
            warn!(
                bytes,
                next, "an unfinished write was cut off the end of the books; none of it had been acknowledged"
            );
        }
        let synced = vault.clone();
        journal.sync_first(move || synced.sync().map_err(io::Error::other));
        let signing = keys.signing.clone();
        let shared = Arc::new(ArcSwapOption::from_pointee(settings::hash(config)));
        let options = LogOptions {
            path: path.clone(),
            signing: keys.signing,
            checkpoint_every: config.audit.checkpoint_every,
            wall: Arc::new(unix_us),
            clock: Clock::system(),
            config: shared.clone(),
        };
        let mut log = AuditLog::open(journal.clone(), checkpoints, options, progress)?;
        let index = log.follower().index();
        witness::check(&config.audit.witnesses, &journal.log_id().to_string(), index.size(), index)?;
        let abandoned = abandon(&mut log, &journal)?;
        if abandoned > 0 {
            warn!(abandoned, "requests that the last run left open are closed as abandoned");
        }
        tell_of_restore(path, disk.as_ref(), newest.as_ref(), &journal)?;
        let started = Instant::now();
        let start = Record {
            at_us: unix_us(),
            phase: Some(Phase::Start),
            action: "start".into(),
            config: shared.load().as_ref().map(|hash| hash.as_ref().clone().into()),
            build: Some(env!("CARGO_PKG_VERSION").into()),
            count: Some(abandoned),
            note: why.map(Into::into),
            ..Record::default()
        };
        let run_from = journal.append(Entry { tail: start.to_tail(), body: None }, Durability::Strict).wait()?;
        let options = BudgetOptions { accounts: Arc::default(), run_from, wall: Arc::new(unix_us) };
        let budget = Budget::open(journal.clone(), options, progress)?;
        let settings = config.audit.clone();
        Ok(Self { log, budget, journal, vault, config: shared, signing, started, settings, abandoned })
    }

    /// Returns who counts what is spent, before it starts.
    pub fn budget(&mut self) -> &mut Budget {
        &mut self.budget
    }

    /// Starts the actors, each on a thread of its own; needs a running actix system.
    pub fn start(self) -> Arc<Books> {
        let Self { log, budget, journal, vault, config, signing, started, settings, abandoned } = self;
        let view = log.view();
        Arc::new(Books {
            log: AuditLog::start_in_arbiter(&Arbiter::new().handle(), move |_| log),
            accounts: budget.accounts(),
            budget_view: budget.view(),
            budget: Budget::start_in_arbiter(&Arbiter::new().handle(), move |_| budget),
            bodies: Bodies::new(journal.path(), journal.disk()),
            journal,
            vault,
            view,
            strangers: Strangers::default(),
            signing,
            work: super::desk::Work::default(),
            commit: settings.commit,
            kept: settings.content,
            content_max: settings.content_max,
            retention: settings.retention,
            swept: AtomicBool::new(false),
            config,
            calls: AtomicU64::new(0),
            abandoned,
            unkeyed: AtomicU64::new(0),
            bound_told: Mutex::default(),
            unwritten: AtomicU64::new(0),
            started,
        })
    }
}

/// Writes down that the log was put back from a backup, once: what came after that is missing or stands elsewhere. `newest` is
/// the last checkpoint that came with it.
fn tell_of_restore(path: &Path, disk: &dyn Disk, newest: Option<&Note>, journal: &Journal) -> Result<(), BooksError> {
    let Some(origin) = restore::origin(path, disk)? else { return Ok(()) };
    let signed = newest.map(Note::checkpoint);
    let when = |at_us| humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_micros(at_us));
    let upto = match signed {
        Some(signed) => {
            let covered = counted(signed.size, "record", "records");
            format!("its last checkpoint of {} covers {covered}", when(signed.at_us))
        }
        None => "it has no checkpoint".to_owned(),
    };
    let record = Record {
        at_us: unix_us(),
        phase: Some(Phase::Admin),
        actor: Some("offline".into()),
        action: "restore".into(),
        outcome: Some("done".into()),
        size: signed.map(|signed| signed.size),
        note: Some(format!("{upto}; {origin}").into()),
        ..Record::default()
    };
    journal.append(Entry { tail: record.to_tail(), body: None }, Durability::Strict).wait()?;
    info!("{upto}; {origin}");
    Ok(restore::told(path, disk)?)
}

/// Closes what is open: nothing more will ever be known of it.
fn abandon(log: &mut AuditLog, journal: &Journal) -> Result<u64, BooksError> {
    let open: Vec<u64> = log.follower().index().open_requests().values().copied().collect();
    let mut last = None;
    for index in &open {
        let Some(leaf) = log.follower().record(*index)? else { continue };
        let admitted: Record<'_> = serde_json::from_slice(&leaf).unwrap_or_default();
        let abandoned = Record {
            at_us: unix_us(),
            phase: Some(Phase::Abandoned),
            outcome: Some("unknown".into()),
            // Nobody knows what it came to, so what was held for it is booked.
            cost_nano: admitted.held_nano,
            estimated: admitted.held_nano.is_some(),
            content: None,
            body_hash: None,
            ..admitted
        };
        last = Some(journal.append(Entry { tail: abandoned.to_tail(), body: None }, Durability::Strict));
    }
    if let Some(ticket) = last {
        ticket.wait()?;
    }
    Ok(open.len() as u64)
}
