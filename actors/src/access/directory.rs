//! The one writer of organisations, teams and client keys.
//!
//! | message     | reply                  | sent by       |
//! |-------------|------------------------|---------------|
//! | `Order`     | `Result<Done, Denied>` | the admin API |
//! | `Show`      | `Result<Holder, …>`    | the admin API |
//! | `List`      | `Vec<Holder>`          | the admin API |
//! | `TakeFiles` | warnings               | a reload      |
//! | `Budgets`   | `Table`                | the admin API |
//! | `Copied`    | all of it, as text     | a backup      |
//!
//! A change is on the disk before it counts, and counts before it is answered: a key that was revoked is refused by the
//! next request on every worker, since all read one [`Roster`].

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use actix::{Actor, Addr, Arbiter, Context, Handler, Message};
use tracing::{error, warn};

use super::holder::{ClientKey, KeyHash};
use super::key::NewKey;
use super::order::{Denied, Done, Holder, Kind, Order};
use super::register::{Holders, Register, Step};
use super::roster::{HashKey, Roster};
use crate::budget::Table;
use crate::ids::TeamId;
use crate::store::{Change, RecordStore};

/// Length of the secret that hashes depend on, in bytes.
const SECRET_LENGTH: usize = 32;

/// The directory: what there is, where it is kept, and who is let in by it.
pub struct Directory {
    register: Register,
    /// None where nothing outlives the process.
    pub(super) store: Option<RecordStore>,
    pub(super) roster: Arc<Roster>,
}

impl Directory {
    /// Opens the directory in the data directory `data`, or makes an empty one. The text of an error is for a person.
    pub fn open(data: &Path) -> Result<Self, String> {
        let path = data.join("directory");
        let failed = |error: io::Error| format!("cannot use {}: {error}", path.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
        let hash_key = HashKey::new(hash_secret(&path).map_err(failed)?);
        let store = RecordStore::open(&path.join("store"))?;
        let mut directory =
            Self { register: Register::default(), store: None, roster: Arc::new(Roster::new(hash_key)) };
        for (name, value) in store.all()? {
            let step = read(&name, &value).map_err(|why| format!("{}: record `{name}`: {why}", path.display()))?;
            directory.register.apply(step);
        }
        Ok(Self { store: Some(store), ..directory })
    }

    /// Returns an empty directory that is kept nowhere.
    pub fn in_memory() -> Self {
        let hash_key = HashKey::new(rand::random());
        Self { register: Register::default(), store: None, roster: Arc::new(Roster::new(hash_key)) }
    }

    /// Takes over what files define, and returns what the operator should know of it.
    pub fn take_files(&mut self, files: Holders) -> Vec<String> {
        self.register.take_files(files);
        let mut identities = HashMap::new();
        self.register.keys().for_each(|key| identities.extend(self.register.identities(key)));
        self.roster.replace_all(&identities);
        self.roster.retain_teams(|team| self.register.team(team).is_some());
        self.register.teams().for_each(|team| self.publish_team(&team.id));
        self.roster.count(self.register.count_keys());
        self.register.warnings()
    }

    /// Returns the budgets of all that the admin API made. Those of files are not among them.
    pub fn budgets(&self) -> Table {
        self.register.budgets()
    }

    /// Returns who is let in; stays the same for as long as the directory lives.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Starts it on a thread of its own, since it waits for the disk; needs a running actix system.
    pub fn start(self) -> Addr<Self> {
        Self::start_in_arbiter(&Arbiter::new().handle(), move |_| self)
    }

    /// Carries `order` out, wholly or not at all.
    pub fn order(&mut self, order: &Order) -> Result<Done, Denied> {
        let hash_key = self.roster.hash_key().clone();
        let mut fresh = || {
            let new = NewKey::generate();
            let hash = hash_key.hash(new.expose());
            (new, hash)
        };
        let (steps, done) = self.register.decide(order, &mut fresh)?;
        if let Some(store) = &self.store {
            let changes: Vec<Change> = steps.iter().map(write).collect::<Result<_, _>>().map_err(Denied::NotStored)?;
            store.apply(&changes).map_err(Denied::NotStored)?;
        }
        let before = self.concerned(&steps);
        for step in steps.clone() {
            self.register.apply(step);
        }
        let mut identities = HashMap::new();
        for key in self.concerned(&steps) {
            identities.extend(self.register.identities(&key));
        }
        let hashes: Vec<KeyHash> = before.iter().flat_map(|key| key.secrets.iter().map(|secret| secret.hash)).collect();
        self.roster.replace(&hashes, &identities);
        steps.iter().for_each(|step| self.publish_teams(step));
        if order.kind == Kind::Key {
            self.roster.count(self.register.count_keys());
        }
        Ok(done)
    }

    /// Publishes what belonging to the teams allows that `step` has changed.
    fn publish_teams(&self, step: &Step) {
        match step {
            Step::Put(Holder::Team(team)) => self.publish_team(&team.id),
            Step::Remove(Kind::Team, id) => self.publish_team(&TeamId::from(id.as_str())),
            Step::Put(Holder::Org(org)) => {
                let teams = self.register.teams().filter(|team| team.org.as_ref() == Some(&org.id));
                teams.for_each(|team| self.publish_team(&team.id));
            }
            Step::Put(Holder::Key(_)) | Step::Remove(Kind::Key | Kind::Org, _) => {}
        }
    }

    fn publish_team(&self, team: &TeamId) {
        self.roster.set_team(team, self.register.of_team(team));
    }

    /// Returns the keys whose rights `steps` may change, as they stand.
    fn concerned(&self, steps: &[Step]) -> Vec<ClientKey> {
        let concerns = |key: &ClientKey, step: &Step| match step {
            Step::Put(Holder::Key(changed)) => changed.id == key.id,
            Step::Remove(Kind::Key, id) => *id == key.id,
            Step::Put(Holder::Team(team)) => team.id == key.team,
            Step::Put(Holder::Org(org)) => {
                self.register.team(&key.team).is_some_and(|team| team.org.as_ref() == Some(&org.id))
            }
            // Nothing is removed that has children.
            Step::Remove(Kind::Team | Kind::Org, _) => false,
        };
        if let [Step::Put(Holder::Key(ClientKey { id, .. })) | Step::Remove(Kind::Key, id)] = steps {
            return self.register.key(id).cloned().into_iter().collect();
        }
        self.register.keys().filter(|key| steps.iter().any(|step| concerns(key, step))).cloned().collect()
    }
}

/// Returns the secret of the directory at `path`, made on the first start. It is whole or not there at all, whenever the
/// process is killed.
fn hash_secret(path: &Path) -> io::Result<[u8; SECRET_LENGTH]> {
    match File::open(path.join("hash.key")) {
        Ok(mut file) => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let wrong = || {
                io::Error::other("hash.key is damaged, without which no key that was made here is known; restore it")
            };
            bytes.try_into().map_err(|_| wrong())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.join("store").exists() => {
            Err(io::Error::other("hash.key is missing, without which no key that was made here is known; restore it"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret: [u8; SECRET_LENGTH] = rand::random();
            keep_secret(path, &secret)?;
            Ok(secret)
        }
        Err(error) => Err(error),
    }
}

/// Keeps the secret of the directory at `path`.
pub(super) fn keep_secret(path: &Path, secret: &[u8; SECRET_LENGTH]) -> io::Result<()> {
    let (place, made) = (path.join("hash.key"), path.join("hash.key.new"));
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&made)?;
    file.write_all(secret)?;
    file.sync_all()?;
    fs::rename(&made, &place)?;
    File::open(path)?.sync_all()
}

/// Returns `step` as the store takes it.
fn write(step: &Step) -> Result<Change, String> {
    let (kind, id, value) = match step {
        Step::Put(Holder::Org(org)) => (Kind::Org, org.id.as_str(), Some(serde_json::to_vec(org))),
        Step::Put(Holder::Team(team)) => (Kind::Team, team.id.as_str(), Some(serde_json::to_vec(team))),
        Step::Put(Holder::Key(key)) => (Kind::Key, key.id.as_str(), Some(serde_json::to_vec(key))),
        Step::Remove(kind, id) => (*kind, id.as_str(), None),
    };
    let value = value.transpose().map_err(|error| error.to_string())?;
    Ok((format!("{}/{id}", kind.letter()), value))
}

/// Returns what the store has under `name`.
pub(super) fn read(name: &str, value: &[u8]) -> Result<Step, String> {
    let holder = match name.chars().next() {
        Some('o') => serde_json::from_slice(value).map(Holder::Org),
        Some('t') => serde_json::from_slice(value).map(Holder::Team),
        Some('k') => serde_json::from_slice(value).map(Holder::Key),
        _ => return Err("it is nothing that this version knows".to_owned()),
    };
    holder.map(Step::Put).map_err(|error| error.to_string())
}

/// Asks for one holder.
#[derive(Message, Debug)]
#[rtype(result = "Result<Holder, Denied>")]
pub struct Show {
    /// Of what.
    pub kind: Kind,
    /// Which.
    pub id: String,
    /// See [`Order::within`].
    pub within: Option<TeamId>,
}

/// Asks for all holders of a kind.
#[derive(Message, Debug)]
#[rtype(result = "Vec<Holder>")]
pub struct List {
    /// Of what.
    pub kind: Kind,
    /// See [`Order::within`].
    pub within: Option<TeamId>,
}

/// Says what files define now.
#[derive(Message, Debug)]
#[rtype(result = "Vec<String>")]
pub struct TakeFiles(pub Holders);

impl Message for Order {
    type Result = Result<Done, Denied>;
}

impl Actor for Directory {
    type Context = Context<Self>;
}

impl Handler<Order> for Directory {
    type Result = Result<Done, Denied>;

    fn handle(&mut self, order: Order, _: &mut Self::Context) -> Self::Result {
        let done = self.order(&order);
        if let Err(Denied::NotStored(why)) = &done {
            error!("a change of {} `{}` could not be written: {why}", order.kind.as_str(), order.id);
        }
        done
    }
}

impl Handler<Show> for Directory {
    type Result = Result<Holder, Denied>;

    fn handle(&mut self, Show { kind, id, within }: Show, _: &mut Self::Context) -> Self::Result {
        self.register.find(kind, &id, within.as_ref())
    }
}

impl Handler<List> for Directory {
    type Result = Vec<Holder>;

    fn handle(&mut self, List { kind, within }: List, _: &mut Self::Context) -> Self::Result {
        let seen = |team: &TeamId| within.as_ref().is_none_or(|within| within == team);
        match kind {
            Kind::Org if within.is_some() => Vec::new(),
            Kind::Org => self.register.orgs().cloned().map(Holder::Org).collect(),
            Kind::Team => self.register.teams().filter(|team| seen(&team.id)).cloned().map(Holder::Team).collect(),
            Kind::Key => self.register.keys().filter(|key| seen(&key.team)).cloned().map(Holder::Key).collect(),
        }
    }
}

impl Handler<TakeFiles> for Directory {
    type Result = Vec<String>;

    fn handle(&mut self, TakeFiles(files): TakeFiles, _: &mut Self::Context) -> Self::Result {
        let warnings = self.take_files(files);
        for warning in &warnings {
            warn!("{warning}");
        }
        warnings
    }
}
