//! What was spent, by the records of the journal: a projection that can be made again from them to the same nano-dollar.
//!
//! Rows are by quarters of an hour of the moment at which a request was let in: every window of every time zone is a sum of
//! them, so a change of zone or period is exact.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::calendar::Window;
use super::posting::{Booked, Posting};
use super::{HolderName, QUARTER_S, Zone};
use crate::audit::journal::{Journal, JournalError, JournalReader};
use crate::audit::merkle::leaf_hash;
use crate::audit::record::Record;
use crate::limits::Holder;
pub use crate::store::LedgerError;
use crate::store::{Applied, Group, LedgerStore};

/// Most records of one batch.
const GROUP_MAX: usize = 1_024;

/// Who asked, what served, and by which tags.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Dimensions(
    /// In the order of [`Dimension`], without days, months and tags; empty where nobody knows.
    [String; 8],
    /// As `name=value`, sorted.
    Vec<String>,
);

/// By what spending can be told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dimension {
    /// The day, as `2026-12-01`.
    Day,
    /// The month, as `2026-12`.
    Month,
    /// The organisation.
    Org,
    /// The team.
    Team,
    /// The client key.
    Key,
    /// The end user's pseudonym.
    User,
    /// The alias that served, or `direct`.
    Alias,
    /// The provider that served.
    Provider,
    /// The model that served, as its provider calls it.
    Model,
    /// The provider's key.
    ProviderKey,
    /// The value of the tag of this name.
    Tag(String),
}

impl Dimension {
    /// Those that have a name of their own.
    pub const NAMED: [Self; 10] = [
        Self::Day,
        Self::Month,
        Self::Org,
        Self::Team,
        Self::Key,
        Self::User,
        Self::Alias,
        Self::Provider,
        Self::Model,
        Self::ProviderKey,
    ];

    /// Returns its name in questions and lists; of a tag `tag:` and the tag's.
    pub fn name(&self) -> String {
        match self {
            Self::Day => "day".into(),
            Self::Month => "month".into(),
            Self::Org => "org".into(),
            Self::Team => "team".into(),
            Self::Key => "key".into(),
            Self::User => "user".into(),
            Self::Alias => "alias".into(),
            Self::Provider => "provider".into(),
            Self::Model => "model".into(),
            Self::ProviderKey => "provider_key".into(),
            Self::Tag(name) => format!("tag:{name}"),
        }
    }

    /// Returns the one of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        if let Some(tag) = name.strip_prefix("tag:") {
            return (!tag.is_empty()).then(|| Self::Tag(tag.to_owned()));
        }
        Self::NAMED.into_iter().find(|dimension| dimension.name() == name)
    }
}

impl Dimensions {
    fn of(posting: &Posting) -> Self {
        let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
        let names = [
            text(&posting.org),
            text(&posting.team),
            text(&posting.key),
            text(&posting.user),
            text(&posting.alias),
            text(&posting.provider),
            text(&posting.model),
            text(&posting.provider_key),
        ];
        Self(names, posting.tags.iter().map(|tag| tag.to_string()).collect())
    }

    /// Returns what stands for it in the store.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what [`Dimensions::to_bytes`] wrote.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Returns its value in `dimension`, of a row of the quarter that begins at `quarter_s`; empty where it has none.
    pub fn value(&self, dimension: &Dimension, quarter_s: i64) -> String {
        let Self(names, tags) = self;
        let at = match dimension {
            Dimension::Day => return Zone::default().day_of(quarter_s),
            Dimension::Month => return Zone::default().day_of(quarter_s).chars().take(7).collect(),
            Dimension::Tag(name) => {
                let value = tags.iter().find_map(|tag| tag.strip_prefix(name.as_str())?.strip_prefix('='));
                return value.unwrap_or_default().to_owned();
            }
            Dimension::Org => 0,
            Dimension::Team => 1,
            Dimension::Key => 2,
            Dimension::User => 3,
            Dimension::Alias => 4,
            Dimension::Provider => 5,
            Dimension::Model => 6,
            Dimension::ProviderKey => 7,
        };
        names[at].clone()
    }
}

/// What requests came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sums {
    /// Requests that have ended.
    pub requests: u64,
    /// Of these, those that failed.
    pub failed: u64,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Of the tokens read, those out of a provider's cache.
    pub cached_tokens: u64,
    /// In nano-dollars.
    pub cost_nano: u64,
    /// The part of it that is an estimate.
    pub estimated_nano: u64,
    /// The part of it for which a budget had no room.
    pub overrun_nano: u64,
    /// Requests with such a part.
    pub overruns: u64,
    /// Requests whose price nobody knows.
    pub unpriced: u64,
}

impl Sums {
    fn of(posting: &Posting) -> Self {
        Self {
            requests: 1,
            failed: u64::from(posting.failed),
            prompt_tokens: posting.usage.prompt,
            completion_tokens: posting.usage.completion,
            cached_tokens: posting.usage.cached,
            cost_nano: posting.cost_nano,
            estimated_nano: if posting.estimated { posting.cost_nano } else { 0 },
            overrun_nano: posting.overrun_nano,
            overruns: u64::from(posting.overrun_nano > 0),
            unpriced: u64::from(posting.unpriced),
        }
    }

    /// Returns both together.
    pub fn and(&self, other: &Self) -> Self {
        let (mine, theirs) = (self.figures(), other.figures());
        Self::of_figures(std::array::from_fn(|at| mine[at].saturating_add(theirs[at])))
    }

    /// Returns the figures in their order.
    pub fn figures(&self) -> [u64; 10] {
        [
            self.requests,
            self.failed,
            self.prompt_tokens,
            self.completion_tokens,
            self.cached_tokens,
            self.cost_nano,
            self.estimated_nano,
            self.overrun_nano,
            self.overruns,
            self.unpriced,
        ]
    }

    /// Takes what [`Sums::figures`] gave.
    pub fn of_figures(figures: [u64; 10]) -> Self {
        let [requests, failed, prompt_tokens, completion_tokens, cached_tokens, ..] = figures;
        let [.., cost_nano, estimated_nano, overrun_nano, overruns, unpriced] = figures;
        Self {
            requests,
            failed,
            prompt_tokens,
            completion_tokens,
            cached_tokens,
            cost_nano,
            estimated_nano,
            overrun_nano,
            overruns,
            unpriced,
        }
    }
}

/// A row of a list of what was spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// Values in the order of the dimensions that were asked for; empty where nobody knows.
    pub by: Vec<String>,
    /// What it comes to.
    pub sums: Sums,
}

/// Which spending is asked for, and by what it is told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageAsked {
    /// By what.
    pub by: Vec<Dimension>,
    /// Of requests that were let in then, by the quarter of an hour.
    pub window: Window,
    /// Only with these values.
    pub only: Vec<(Dimension, String)>,
}

/// One record of the journal, as far as it is booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its index.
    pub index: u64,
    /// What it books.
    pub booked: Booked,
}

/// The ledger of one log, and its place in the journal.
pub struct Ledger {
    store: LedgerStore,
    reader: JournalReader,
}

/// Returns the folder of the ledger in the data directory `path`.
pub fn ledger_path(path: &Path) -> PathBuf {
    path.join("ledger")
}

impl Ledger {
    /// Opens the ledger of `journal`; fails where it is not its projection, and has to be made again.
    pub fn open(journal: &Journal) -> Result<Self, FollowError> {
        let store = LedgerStore::open(&ledger_path(journal.path()), &journal.log_id().to_string())?;
        let mut reader = journal.reader()?;
        let Applied { count, last } = store.applied()?;
        if count > journal.durable() {
            return Err(LedgerError::Damaged("a").into());
        }
        let first = reader.first_index();
        if count > first {
            reader.seek(count - 1, None)?;
            let same = reader.next(count)?.is_some_and(|leaf| leaf_hash(leaf.bytes).0 == last);
            // The journal goes on otherwise than it did: an older copy was put back.
            if !same {
                return Err(LedgerError::Foreign.into());
            }
        } else {
            reader.seek(first, None)?;
        }
        Ok(Self { store, reader })
    }

    /// Removes the ledger of `journal` and begins an empty one.
    pub fn anew(journal: &Journal) -> Result<Self, FollowError> {
        let path = ledger_path(journal.path());
        LedgerStore::discard(&path).map_err(|error| LedgerError::Unusable(error.to_string()))?;
        Self::open(journal)
    }

    /// Takes in the next records below `durable`, at most a thousand or so, and returns those that book anything; `None`: there
    /// are no more.
    pub fn follow(&mut self, durable: u64) -> Result<Option<Vec<Entry>>, FollowError> {
        let (mut entries, mut group, mut applied) = (Vec::new(), Group::default(), Applied::default());
        let begun = self.reader.index();
        let mut left = GROUP_MAX;
        while left > 0
            && let Some(leaf) = self.reader.next(durable)?
        {
            left -= 1;
            if leaf.index == begun && begun > 0 && self.store.applied()?.count < begun {
                self.store.set_complete_since(began_s(leaf.bytes))?;
            }
            let booked = Booked::of(leaf.bytes);
            match &booked {
                Booked::Posting(posting) => add(&mut group, posting),
                Booked::Mark(_) => group.marks.push((leaf.index, leaf.bytes.to_vec())),
                Booked::Nothing => {}
            }
            applied = Applied { count: leaf.index + 1, last: applied.last };
            if left == 0 || leaf.index + 1 == durable {
                applied.last = leaf_hash(leaf.bytes).0;
            }
            if booked != Booked::Nothing {
                entries.push(Entry { index: leaf.index, booked });
            }
        }
        if left == GROUP_MAX {
            return Ok(None);
        }
        self.store.commit(&group, applied)?;
        Ok(Some(entries))
    }

    /// Returns how many records are in it.
    pub fn applied(&self) -> u64 {
        self.reader.index()
    }

    /// Returns what can be read of it on another thread.
    pub fn spending(&self) -> Spending {
        Spending(self.store.clone())
    }
}

/// What the ledger says. Cheap to clone; readable from several threads.
#[derive(Clone)]
pub struct Spending(LedgerStore);

impl Spending {
    /// Returns what `holder` spent in a window, in nano-dollars by quarters of an hour, the earliest first.
    pub fn of(&self, holder: &Holder, window: Window) -> Result<Vec<(i64, u64)>, LedgerError> {
        self.0.costs(holder, window)
    }

    /// Returns every end user that spent anything.
    pub fn users(&self) -> Result<Vec<Holder>, LedgerError> {
        let mut users = self.0.holders()?;
        users.retain(|holder| matches!(holder, Holder::User(..)));
        Ok(users)
    }

    /// Returns the records of budgets, in their order.
    pub fn marks(&self) -> Result<Vec<Vec<u8>>, LedgerError> {
        self.0.marks()
    }

    /// Returns since when everything that was spent is in it, in seconds since 1970; `None`: from the beginning.
    pub fn complete_since(&self) -> Result<Option<i64>, LedgerError> {
        self.0.complete_since()
    }

    /// Returns what was spent, the rows in the order of their values.
    pub fn usage(&self, asked: &UsageAsked) -> Result<Vec<UsageRow>, LedgerError> {
        let mut rows: BTreeMap<Vec<String>, Sums> = BTreeMap::new();
        self.0.rows(asked.window, &mut |quarter, dimensions, sums| {
            if asked.only.iter().all(|(dimension, value)| dimensions.value(dimension, quarter) == *value) {
                let by = asked.by.iter().map(|dimension| dimensions.value(dimension, quarter)).collect();
                let row = rows.entry(by).or_default();
                *row = row.and(&sums);
            }
        })?;
        Ok(rows.into_iter().map(|(by, sums)| UsageRow { by, sums }).collect())
    }
}

/// Why the ledger does not follow.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The ledger cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

fn add(group: &mut Group, posting: &Posting) {
    let quarter = posting.began_s.div_euclid(QUARTER_S) * QUARTER_S;
    let row = group.rows.entry((quarter, Dimensions::of(posting))).or_default();
    *row = row.and(&Sums::of(posting));
    if posting.cost_nano > 0 {
        for holder in posting.holders() {
            let cost = group.costs.entry((HolderName::of(&holder).into_owned(), quarter)).or_default();
            *cost = cost.saturating_add(posting.cost_nano);
        }
    }
}

/// Returns when a record was written, in seconds since 1970.
fn began_s(record: &[u8]) -> i64 {
    let record: Record<'_> = serde_json::from_slice(record).unwrap_or_default();
    (record.at_us / 1_000_000).cast_signed()
}
