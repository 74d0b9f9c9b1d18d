//! What a record of the journal books, and on whom.
//!
//! A request is booked once, by the record of its end: `completed`, or `abandoned` where the process ended first. Everything
//! else is passed over by its phase alone, which stands near the beginning of every record, behind nothing but figures.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;

use super::mark::Mark;
use crate::ids::{OrgId, TeamId};
use crate::limits::Holder;
use crate::usage::Usage;

const PHASE: &[u8] = br#""phase":""#;
/// Within so many bytes the phase stands; a record that has it later is read in full.
const PHASE_WITHIN: usize = 400;

/// What the ledger takes from a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Booked {
    /// A request has ended.
    Posting(Box<Posting>),
    /// A step was told, or a budget raised for a while.
    Mark(Box<Mark>),
    /// Nothing.
    Nothing,
}

impl Booked {
    /// Reads the bytes of a record.
    pub fn of(record: &[u8]) -> Self {
        let head = &record[..record.len().min(PHASE_WITHIN)];
        if let Some(at) = head.windows(PHASE.len()).position(|window| window == PHASE) {
            let phase = &head[at + PHASE.len()..];
            if !["completed\"", "abandoned\"", "budget\""].iter().any(|word| phase.starts_with(word.as_bytes())) {
                return Self::Nothing;
            }
        }
        let Ok(entry) = serde_json::from_slice::<Entry<'_>>(record) else { return Self::Nothing };
        match entry.phase.as_ref().map_or("", |phase| &*phase.0) {
            "completed" => Self::Posting(Box::new(entry.posting())),
            "abandoned" => Self::Posting(Box::new(entry.held())),
            "budget" => Mark::of(record).map_or(Self::Nothing, |mark| Self::Mark(Box::new(mark))),
            _ => Self::Nothing,
        }
    }
}

/// One request that has ended: when it began, on whom it is booked, and what it came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Posting {
    /// When it was let in, in seconds since 1970.
    pub began_s: i64,
    /// Its number within the run of the process.
    pub call: Option<u64>,
    /// The organisation.
    pub org: Option<Arc<str>>,
    /// The team.
    pub team: Option<Arc<str>>,
    /// Id of the client key.
    pub key: Option<Arc<str>>,
    /// Pseudonym of the end user.
    pub user: Option<Arc<str>>,
    /// The alias that it was asked of.
    pub alias: Option<Arc<str>>,
    /// The provider that served.
    pub provider: Option<Arc<str>>,
    /// The model that served, as the provider knows it.
    pub model: Option<Arc<str>>,
    /// Id of the provider's key.
    pub provider_key: Option<Arc<str>>,
    /// Tags as `name=value`, each once, sorted.
    pub tags: Vec<Arc<str>>,
    /// What it cost, in nano-dollars.
    pub cost_nano: u64,
    /// The part of it for which a budget had no room any more.
    pub overrun_nano: u64,
    /// Tokens.
    pub usage: Usage,
    /// The cost is an estimate, because nobody told the tokens.
    pub estimated: bool,
    /// Nobody knows the price of the model.
    pub unpriced: bool,
    /// It failed.
    pub failed: bool,
}

impl Posting {
    /// Returns what the record with these bytes books; `None` where it books nothing.
    pub fn of(record: &[u8]) -> Option<Self> {
        match Booked::of(record) {
            Booked::Posting(posting) => Some(*posting),
            Booked::Mark(_) | Booked::Nothing => None,
        }
    }

    /// Returns on whom it is booked, each once. Requests of a team that name no user are booked on the user without a name.
    pub fn holders(&self) -> impl Iterator<Item = Holder> {
        let served = self.provider.as_ref().zip(self.model.as_ref());
        let served = served.map(|(provider, model)| Arc::from(format!("{provider}/{model}")));
        let user =
            |team: &Arc<str>| Holder::User(TeamId::from(&**team), self.user.clone().unwrap_or_else(|| Arc::from("")));
        // An alias may have the name of what serves it.
        let alias = self.alias.clone().filter(|alias| served.as_ref() != Some(alias));
        let key = self.provider.clone().zip(self.provider_key.clone());
        [
            self.org.as_deref().map(|org| Holder::Org(OrgId::from(org))),
            self.team.as_deref().map(|team| Holder::Team(TeamId::from(team))),
            self.key.clone().map(Holder::Key),
            self.team.as_ref().map(user),
            alias.map(Holder::Model),
            served.map(Holder::Model),
            key.map(|(provider, key)| Holder::ProviderKey(provider, key)),
        ]
        .into_iter()
        .flatten()
        .chain(self.tags.clone().into_iter().map(Holder::Tag))
    }
}

/// A text that is copied only if its JSON had escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What is read of a record; the rest is passed over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry<'a> {
    at_us: u64,
    began_us: Option<u64>,
    #[serde(borrow)]
    phase: Option<Text<'a>>,
    call: Option<u64>,
    #[serde(borrow)]
    org: Option<Text<'a>>,
    #[serde(borrow)]
    team: Option<Text<'a>>,
    #[serde(borrow)]
    actor: Option<Text<'a>>,
    #[serde(borrow)]
    user: Option<Text<'a>>,
    #[serde(borrow)]
    alias: Option<Text<'a>>,
    #[serde(borrow)]
    provider: Option<Text<'a>>,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    key: Option<Text<'a>>,
    #[serde(borrow)]
    tags: Vec<Text<'a>>,
    #[serde(borrow)]
    outcome: Option<Text<'a>>,
    cost_nano: Option<u64>,
    held_nano: Option<u64>,
    overrun_nano: u64,
    tokens: Usage,
    estimated: bool,
    unpriced: bool,
}

impl Entry<'_> {
    fn posting(self) -> Posting {
        let owned =
            |text: Option<Text<'_>>| text.map(|text| Arc::from(&*text.0)).filter(|text: &Arc<str>| !text.is_empty());
        let unique: HashSet<Arc<str>> = self.tags.iter().map(|tag| Arc::from(&*tag.0)).collect();
        let mut tags: Vec<Arc<str>> = unique.into_iter().collect();
        tags.sort_unstable();
        Posting {
            // Whoever wrote before budgets were kept told only when it ended.
            began_s: (self.began_us.unwrap_or(self.at_us) / 1_000_000).cast_signed(),
            call: self.call,
            failed: self.outcome.as_ref().is_some_and(|outcome| outcome.0 == "failed"),
            org: owned(self.org),
            team: owned(self.team),
            key: owned(self.actor),
            user: owned(self.user),
            alias: owned(self.alias),
            provider: owned(self.provider),
            model: owned(self.model),
            provider_key: owned(self.key),
            tags,
            cost_nano: self.cost_nano.unwrap_or_default(),
            overrun_nano: self.overrun_nano,
            usage: self.tokens,
            estimated: self.estimated,
            unpriced: self.unpriced,
        }
    }

    /// Nobody knows what it came to: what was held for it is booked.
    fn held(self) -> Posting {
        let cost_nano = self.held_nano.or(self.cost_nano);
        Self { cost_nano, estimated: true, ..self }.posting()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::{Phase, Record};

    fn leaf(record: Record<'_>) -> Vec<u8> {
        [br#"{"v":1,"log":"00ff","index":7,"#.as_slice(), &record.to_tail()].concat()
    }

    fn completed() -> Record<'static> {
        Record {
            at_us: 9_000_000,
            phase: Some(Phase::Completed),
            call: Some(4),
            org: Some("acme".into()),
            team: Some("search".into()),
            actor: Some("key1".into()),
            user: Some("u_1".into()),
            alias: Some("fast".into()),
            provider: Some("openai".into()),
            model: Some("gpt".into()),
            key: Some("pool".into()),
            tags: vec!["env=prod".into(), "env=prod".into(), "app=\"x\"".into()],
            outcome: Some("served".into()),
            tokens: Some(Usage { prompt: 5, completion: 6, total: 11, cached: 2, ..Usage::default() }),
            began_us: Some(3_500_000),
            cost_nano: Some(70),
            overrun_nano: 3,
            ..Record::default()
        }
    }

    #[test]
    fn the_end_of_a_request_is_booked_on_everybody_above_it() {
        let posting = Posting::of(&leaf(completed())).expect("it books");

        let holders: Vec<String> = posting.holders().map(|holder| holder.to_string()).collect();
        let expected = [
            "organisation `acme`",
            "team `search`",
            "client key `key1`",
            "this user of team `search`",
            "model `fast`",
            "model `openai/gpt`",
            "key `pool` of provider `openai`",
            "tag `app=\"x\"`",
            "tag `env=prod`",
        ];
        assert_eq!(holders, expected);
        assert_eq!((posting.began_s, posting.call, posting.cost_nano, posting.overrun_nano), (3, Some(4), 70, 3));
        assert_eq!((posting.usage.prompt, posting.usage.completion, posting.usage.cached), (5, 6, 2));
    }

    #[test]
    fn what_serves_under_its_own_name_is_booked_on_it_once() {
        let posting = Posting::of(&leaf(Record { alias: Some("openai/gpt".into()), ..completed() })).expect("it books");

        let models = posting.holders().filter(|holder| matches!(holder, Holder::Model(_))).count();

        assert_eq!(models, 1);
    }

    #[test]
    fn an_abandoned_request_is_booked_with_what_was_held_for_it() {
        let record = Record {
            phase: Some(Phase::Abandoned),
            cost_nano: None,
            held_nano: Some(900),
            outcome: Some("unknown".into()),
            ..completed()
        };

        let posting = Posting::of(&leaf(record)).expect("it books");

        assert_eq!((posting.cost_nano, posting.estimated), (900, true));
    }

    #[test]
    fn nothing_else_is_booked() {
        for phase in Phase::ALL {
            let books = matches!(phase, Phase::Completed | Phase::Abandoned);
            let record = Record { phase: Some(phase), ..completed() };

            assert_eq!(Posting::of(&leaf(record)).is_some(), books, "{phase:?}");
        }
        for no_record in [&b"{}"[..], b"", br#"{"phase":"completed""#, br#"["phase","completed"]"#] {
            assert_eq!(Booked::of(no_record), Booked::Nothing);
        }
    }

    #[test]
    fn a_phase_in_a_later_place_is_found() {
        let padding = "x".repeat(500);
        let json = format!(r#"{{"note":"{padding}","at_us":7000000,"cost_nano":5,"phase":"completed"}}"#);

        assert_eq!(Posting::of(json.as_bytes()).map(|posting| posting.cost_nano), Some(5));
    }
}
