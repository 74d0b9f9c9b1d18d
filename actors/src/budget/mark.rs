//! What the journal says of budgets themselves: a step that was told, a budget that was raised for a while.
//!
//! The record is the mark: whoever follows the journal knows what was told and what was raised, and so does whoever reads it
//! again from the beginning.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Window;
use super::account::Override;
use crate::audit::record::{Phase, Record};
use crate::ids::{OrgId, TeamId};
use crate::limits::Holder;

/// The action of a record that raises a budget.
const OVERRIDE: &str = "override";

/// What a record says of a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// A step was told.
    Told(Notice),
    /// A budget was raised, or is raised no more.
    Raised {
        /// Whose budget.
        holder: Holder,
        /// Which of them.
        budget: Arc<str>,
        /// By how much.
        by: Override,
    },
}

/// A step that was reached by what is booked; each is told once in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whose budget.
    pub holder: Holder,
    /// Which of them.
    pub budget: Arc<str>,
    /// Its period, as it is written.
    pub period: Arc<str>,
    /// In which window.
    pub window: Window,
    /// The step's share of the limit, in millionths.
    pub at_ppm: u32,
    /// What the step does, in a word: `notify`, `downgrade`, `throttle`, `queue` or `block`.
    pub act: Arc<str>,
    /// The limit of the window, in nano-dollars.
    pub limit_nano: u64,
    /// What was booked in it when the step was told.
    pub posted_nano: u64,
}

impl Notice {
    /// Returns whether `other` is about the same step of the same budget, in whatever window.
    pub fn is_same_step(&self, other: &Self) -> bool {
        let parts = |notice: &Self| (notice.at_ppm, notice.act.clone(), notice.budget.clone(), notice.period.clone());
        parts(self) == parts(other) && self.holder == other.holder
    }

    /// Returns whether `told` is the same step in the same window. Rolling windows are the same as long as they overlap.
    pub fn is_told_by(&self, told: &Self) -> bool {
        self.is_same_step(told) && told.window.end_s > self.window.start_s && told.window.start_s < self.window.end_s
    }
}

impl Mark {
    /// Reads the bytes of a record of the phase `budget`.
    pub fn of(record: &[u8]) -> Option<Self> {
        let record: Record<'_> = serde_json::from_slice(record).ok()?;
        let says = record.budget?;
        let (holder, budget) = (says.holder.to_holder()?, Arc::from(&*says.id));
        if record.action == OVERRIDE {
            let reason = record.note.map(Cow::into_owned).unwrap_or_default();
            let by = record.actor.map(Cow::into_owned).unwrap_or_default();
            let by = Override { extra_nano: says.extra_nano?, until_s: says.until_s?, reason, by };
            return Some(Self::Raised { holder, budget, by });
        }
        Some(Self::Told(Notice {
            holder,
            budget,
            period: Arc::from(&*says.period),
            window: Window { start_s: says.from_s?, end_s: says.to_s? },
            at_ppm: says.at_ppm?,
            act: Arc::from(&*record.action),
            limit_nano: says.limit_nano.unwrap_or_default(),
            posted_nano: says.posted_nano.unwrap_or_default(),
        }))
    }

    /// Returns the record that says it, dated by the wall clock in microseconds since 1970.
    pub fn to_record(&self, at_us: u64) -> Record<'_> {
        let (holder, id) = match self {
            Self::Told(notice) => (&notice.holder, &notice.budget),
            Self::Raised { holder, budget, .. } => (holder, budget),
        };
        let says = BudgetSays { holder: HolderName::of(holder), id: (&**id).into(), ..BudgetSays::default() };
        let record = Record { at_us, phase: Some(Phase::Budget), ..Record::default() };
        match self {
            Self::Told(notice) => Record {
                action: (&*notice.act).into(),
                budget: Some(Box::new(BudgetSays {
                    period: (&*notice.period).into(),
                    from_s: Some(notice.window.start_s),
                    to_s: Some(notice.window.end_s),
                    at_ppm: Some(notice.at_ppm),
                    limit_nano: Some(notice.limit_nano),
                    posted_nano: Some(notice.posted_nano),
                    ..says
                })),
                ..record
            },
            Self::Raised { by, .. } => Record {
                action: OVERRIDE.into(),
                actor: Some((&*by.by).into()),
                note: Some((&*by.reason).into()),
                budget: Some(Box::new(BudgetSays {
                    extra_nano: Some(by.extra_nano),
                    until_s: Some(by.until_s),
                    ..says
                })),
                ..record
            },
        }
    }
}

/// What a record of the phase `budget` says, in its field `budget`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // The names are the documentation of the log's format, like those of `Record`.
pub struct BudgetSays<'a> {
    pub holder: HolderName<'a>,
    pub id: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub period: Cow<'a, str>,
    /// The window, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_s: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_s: Option<i64>,
    /// Share of the limit, in millionths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_ppm: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_nano: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posted_nano: Option<u64>,
    /// By how much the limit is raised, and until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_nano: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_s: Option<i64>,
}

/// A holder in words: what kind it is, its name, and of users and providers' keys whose.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct HolderName<'a> {
    /// `org`, `team`, `key`, `user`, `users` (all beyond those who are counted one by one), `model`, `tag`, `provider_key`.
    pub kind: Cow<'a, str>,
    /// The team of a user, the provider of a key.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub of: Cow<'a, str>,
    /// The id or name; of a user the pseudonym.
    pub name: Cow<'a, str>,
}

impl<'a> HolderName<'a> {
    /// Returns the words for `holder`.
    pub fn of(holder: &'a Holder) -> Self {
        let (kind, of, name): (&str, &str, &str) = match holder {
            Holder::Org(id) => ("org", "", id.as_str()),
            Holder::Team(id) => ("team", "", id.as_str()),
            Holder::Key(id) => ("key", "", id),
            Holder::User(team, name) => ("user", team.as_str(), name),
            Holder::FurtherUsers(team) => ("users", team.as_str(), ""),
            Holder::Model(name) => ("model", "", name),
            Holder::Tag(tag) => ("tag", "", tag),
            Holder::ProviderKey(provider, id) => ("provider_key", provider, id),
        };
        Self { kind: kind.into(), of: of.into(), name: name.into() }
    }

    /// Returns the same with texts of its own.
    pub fn into_owned(self) -> HolderName<'static> {
        let Self { kind, of, name } = self;
        HolderName { kind: kind.into_owned().into(), of: of.into_owned().into(), name: name.into_owned().into() }
    }

    /// Returns whom the words mean; `None` for a kind that this version does not know.
    pub fn to_holder(&self) -> Option<Holder> {
        let name = || Arc::from(&*self.name);
        Some(match &*self.kind {
            "org" => Holder::Org(OrgId::from(&*self.name)),
            "team" => Holder::Team(TeamId::from(&*self.name)),
            "key" => Holder::Key(name()),
            "user" => Holder::User(TeamId::from(&*self.of), name()),
            "users" => Holder::FurtherUsers(TeamId::from(&*self.of)),
            "model" => Holder::Model(name()),
            "tag" => Holder::Tag(name()),
            "provider_key" => Holder::ProviderKey(Arc::from(&*self.of), name()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holders() -> Vec<Holder> {
        vec![
            Holder::Org("acme".into()),
            Holder::Team("search".into()),
            Holder::Key("k".into()),
            Holder::User("search".into(), "u_1".into()),
            Holder::User("search".into(), "".into()),
            Holder::FurtherUsers("search".into()),
            Holder::Model("openai/gpt".into()),
            Holder::Tag("env=prod".into()),
            Holder::ProviderKey("openai".into(), "pool".into()),
        ]
    }

    fn read_back(mark: &Mark) -> Option<Mark> {
        Mark::of(&[b"{".as_slice(), &mark.to_record(5).to_tail()].concat())
    }

    fn notice(holder: Holder, start_s: i64, end_s: i64) -> Notice {
        Notice {
            holder,
            budget: "month".into(),
            period: "month".into(),
            window: Window { start_s, end_s },
            at_ppm: 800_000,
            act: "notify".into(),
            limit_nano: u64::MAX,
            posted_nano: 9,
        }
    }

    #[test]
    fn what_is_marked_comes_back_as_it_was() {
        for holder in holders() {
            let told = Mark::Told(notice(holder.clone(), -900, 1_800));
            let by = Override { extra_nano: 5, until_s: 77, reason: "launch".into(), by: "kim".into() };
            let raised = Mark::Raised { holder, budget: "day".into(), by };

            assert_eq!(read_back(&told), Some(told));
            assert_eq!(read_back(&raised), Some(raised));
        }
    }

    #[test]
    fn a_step_is_told_in_each_calendar_window_and_once_while_rolling_ones_overlap() {
        let [holder, ..] = &holders()[..] else { unreachable!("there are some") };
        let told = notice(holder.clone(), 0, 1_800);

        assert!(notice(holder.clone(), 0, 1_800).is_told_by(&told));
        assert!(notice(holder.clone(), 900, 2_700).is_told_by(&told));
        assert!(!notice(holder.clone(), 1_800, 3_600).is_told_by(&told));
        assert!(!Notice { at_ppm: 900_000, ..told.clone() }.is_told_by(&told));
    }
}
