//! What one record of the log says, as canonical JSON: compact, keys in the order of the fields here, no floats.
//!
//! A record never holds a prompt, an answer, a whole address or a key. Unknown fields of newer versions are ignored when
//! a record is read, and its bytes are kept as they are.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::budget::BudgetSays;
use crate::usage::Usage;

/// Most bytes of one record, index and log id included.
pub const RECORD_MAX: usize = 2_048;
/// Most bytes that the journal adds to a record.
const JOURNAL_ADDS: usize = 160;
/// Most bytes kept of a name in a record that is too long; nothing the gateway itself makes is that long.
const NAME_MAX: usize = 40;
/// Most bytes kept of the name of a listed target, and of why it was not called.
const WHY_MAX: usize = 80;
/// Most bytes kept of a note.
pub const NOTE_MAX: usize = 1_000;
/// Most attempts and rejected candidates listed.
const LISTED_MAX: usize = 6;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A request was let in; its `completed` or `abandoned` follows.
    Admitted,
    /// How an admitted request ended.
    Completed,
    /// An admitted request of which nothing more is known, because the process ended in the midst of it.
    Abandoned,
    /// A request that was turned away before it was admitted.
    Refused,
    /// Failed authentications since the last such record, counted.
    Auth,
    /// Somebody changed something by hand.
    Admin,
    /// The configuration changed, or could not be changed.
    Config,
    /// Records left the gateway.
    Export,
    /// Records or bodies were read.
    Review,
    /// A subject's content was destroyed, or put under a legal hold.
    Erase,
    /// The gateway started.
    Start,
    /// The gateway stopped in good order.
    Stop,
    /// A step of a budget was reached, or a budget raised for a while.
    Budget,
}

impl Phase {
    /// Every phase, for lists.
    pub const ALL: [Self; 13] = [
        Self::Admitted,
        Self::Completed,
        Self::Abandoned,
        Self::Refused,
        Self::Auth,
        Self::Admin,
        Self::Config,
        Self::Export,
        Self::Review,
        Self::Erase,
        Self::Start,
        Self::Stop,
        Self::Budget,
    ];

    /// Returns the name in records and filters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Completed => "completed",
            Self::Abandoned => "abandoned",
            Self::Refused => "refused",
            Self::Auth => "auth",
            Self::Admin => "admin",
            Self::Config => "config",
            Self::Export => "export",
            Self::Review => "review",
            Self::Erase => "erase",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Budget => "budget",
        }
    }

    /// Returns the phase of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == name)
    }
}

/// One upstream call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attempt<'a> {
    /// `provider/model`.
    pub target: Cow<'a, str>,
    /// The endpoint called.
    pub endpoint: Cow<'a, str>,
    /// Id of the provider's key.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub key: Cow<'a, str>,
    /// `served`, `cancelled`, or the class of the failure.
    pub outcome: Cow<'a, str>,
    /// When it began, counted from the request.
    pub start_us: u64,
    /// What it took to come by the permission to call.
    pub acquire_us: u64,
    /// From the call to the head of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_us: Option<u64>,
    /// From the call to its end; for a stream to its first output.
    pub took_us: u64,
}

/// A candidate that was not called, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rejected<'a> {
    /// `provider/model` or the endpoint.
    pub target: Cow<'a, str>,
    /// In words.
    pub why: Cow<'a, str>,
}

/// Where the time of a request went, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// From the request line to the end of the body.
    pub receive: u64,
    /// From there to the first attempt: routes, rights, policies.
    pub policies: u64,
    /// Waiting for a key to be ready, or for the record of admission to be durable.
    pub queue: u64,
    /// Coming by permissions to call.
    pub acquire: u64,
    /// Opening the connection of the call that served; 0 on one that was open.
    pub connect: u64,
    /// From the call that served to the head of its answer.
    pub first_byte: u64,
    /// From the request to the first output; 0 for a whole reply.
    pub first_token: u64,
    /// From the first output to the end of a stream.
    pub stream: u64,
    /// What the gateway itself added before the answer began.
    pub overhead: u64,
    /// From the request to the end of its answer.
    pub total: u64,
}

/// Keyed hashes (see [`crate::vault`]) over what was asked and answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Content<'a> {
    /// Over the request's body as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Cow<'a, str>>,
    /// Over the answer's body as it went out, as far as it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<Cow<'a, str>>,
    /// The body beside this record was cut at the bound of what is kept.
    #[serde(skip_serializing_if = "is_false")]
    pub cut: bool,
}

/// One record, without what the journal adds (version, log id, index, place of the body).
///
/// Fields without a value are left out. `at_us` is the wall clock in microseconds since 1970, for people; `mono_us` the
/// monotonic clock since the process began, for differences.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // The names are the documentation of the log's format; see ARCHITECTURE.md.
pub struct Record<'a> {
    pub at_us: u64,
    pub mono_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Cow<'a, str>>,
    /// Id of the client key, `socket`, `admin`, or absent for nobody in particular.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<Cow<'a, str>>,
    /// Pseudonym of the end user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Cow<'a, str>>,
    /// Network of the client: the first 24 bits of an IPv4 address, 48 of an IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Cow<'a, str>>,
    pub action: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "is_false")]
    pub stream: bool,
    /// `served`, `failed`, `cancelled` or `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Usage>,
    /// Nano-dollars; absent where the model has no price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_nano: Option<u64>,
    /// Hash of the catalog that the price comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Cow<'a, str>>,
    /// Tokens were counted by the gateway, because the provider told none.
    #[serde(skip_serializing_if = "is_false")]
    pub estimated: bool,
    /// Upstream calls made.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts_made: u32,
    /// The first and last of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Rejected<'a>>,
    /// The strategy that chose among the candidates, and the rules that narrowed them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<Latency>,
    /// Findings that were masked, by type.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub redactions: BTreeMap<Cow<'a, str>, u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Content<'a>>,
    /// SHA-256 over the sealed body beside this record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_hash: Option<Cow<'a, str>>,
    /// Number of the request within the run of the process: what `admitted` and its `completed` have in common, since
    /// clients may choose the request's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<u64>,
    /// Hash of the configuration in force, which holds every policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<Cow<'a, str>>,
    /// How many events this record stands for, where it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Of an export: how many records its checkpoint covers, to which the next one is tied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What was done, in words; never content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<Cow<'a, str>>,
    /// What the client says that the request belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<Cow<'a, str>>,
    /// Tags of key, team and organisation, each as `name=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Cow<'a, str>>,
    /// When the request was let in, by the wall clock in microseconds: whose windows of budgets it counts in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began_us: Option<u64>,
    /// Nano-dollars that were held of the budgets above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_nano: Option<u64>,
    /// Nano-dollars of its cost for which a budget had no room any more.
    #[serde(skip_serializing_if = "is_zero_nano")]
    pub overrun_nano: u64,
    /// A model answered whose price nobody knows, so `cost_nano` is absent or a guess of the configuration.
    #[serde(skip_serializing_if = "is_false")]
    pub unpriced: bool,
    /// What would have served, had its budget not been near its limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downgraded_from: Option<Cow<'a, str>>,
    /// Of which budget the record tells, in exact figures; these are never shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Box<BudgetSays<'a>>>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // The signature serde asks for.
fn is_false(flag: &bool) -> bool {
    !flag
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero_nano(number: &u64) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Record<'_> {
    /// Returns the record as the journal takes it: the JSON object without its opening brace.
    ///
    /// Lists of more than six are shortened. If the record still exceeds [`RECORD_MAX`] with what the journal adds, its
    /// lists are left out, then the words of clients and upstreams shortened, and only then the names that it is booked under.
    pub fn to_tail(mut self) -> Vec<u8> {
        self.shorten_lists();
        let mut tail = self.encode();
        if tail.len() > RECORD_MAX - JOURNAL_ADDS {
            self.attempts.clear();
            self.rejected.clear();
            self.rules.clear();
            self.redactions.clear();
            tail = self.encode();
        }
        if tail.len() > RECORD_MAX - JOURNAL_ADDS {
            self.shorten_words();
            tail = self.encode();
        }
        if tail.len() > RECORD_MAX - JOURNAL_ADDS {
            self.shorten_names();
            tail = self.encode();
        }
        tail
    }

    fn encode(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(1_024);
        serde_json::to_writer(&mut json, self).expect("a record has no map with other keys than strings");
        json.remove(0);
        json
    }

    fn shorten_lists(&mut self) {
        if self.attempts.len() > LISTED_MAX {
            let last = self.attempts.split_off(self.attempts.len() - LISTED_MAX / 2);
            self.attempts.truncate(LISTED_MAX - LISTED_MAX / 2);
            self.attempts.extend(last);
        }
        self.rejected.truncate(LISTED_MAX);
        self.rules.truncate(LISTED_MAX);
        let rejected = self.rejected.iter_mut().flat_map(|rejected| [&mut rejected.target, &mut rejected.why]);
        rejected.for_each(|text| clip(text, WHY_MAX));
        self.rules.iter_mut().for_each(|rule| clip(rule, WHY_MAX));
        if let Some(note) = &mut self.note {
            clip(note, NOTE_MAX);
        }
    }

    /// The request's id stays, because content is sealed under it; the gateway takes none of more than 64 bytes.
    fn shorten_words(&mut self) {
        let words = [&mut self.asked, &mut self.error, &mut self.finish, &mut self.session, &mut self.network];
        words.into_iter().flatten().for_each(|word| clip(word, NAME_MAX));
        if let Some(note) = &mut self.note {
            clip(note, NAME_MAX * 4);
        }
    }

    fn shorten_names(&mut self) {
        self.tags.clear();
        let names = [
            &mut self.actor,
            &mut self.org,
            &mut self.team,
            &mut self.user,
            &mut self.alias,
            &mut self.provider,
            &mut self.model,
            &mut self.endpoint,
            &mut self.region,
            &mut self.key,
        ];
        for name in names.into_iter().flatten() {
            clip(name, NAME_MAX);
        }
    }
}

/// Cuts `text` to `bytes_max`; what would need an escape in JSON goes, too, since it would count sixfold.
fn clip(text: &mut Cow<'_, str>, bytes_max: usize) {
    let harmless = |letter: char| !letter.is_control() && letter != '"' && letter != '\\';
    if text.len() <= bytes_max && text.chars().all(harmless) {
        return;
    }
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    let mut short: String = text[..end].chars().filter(|letter| harmless(*letter)).collect();
    if end < text.len() {
        short.push('…');
    }
    *text = Cow::Owned(short);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(tail: &[u8]) -> Vec<u8> {
        [b"{", tail].concat()
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let record = Record {
            at_us: 5,
            phase: Some(Phase::Completed),
            request: Some("01ABC".into()),
            action: "chat".into(),
            attempts: vec![Attempt { target: "openai/gpt".into(), took_us: 12, ..Attempt::default() }],
            latency_us: Some(Latency { total: 9, ..Latency::default() }),
            ..Record::default()
        };

        let json = object(&record.clone().to_tail());

        assert_eq!(serde_json::from_slice::<Record<'_>>(&json).unwrap(), record);
    }

    #[test]
    fn what_a_newer_version_adds_is_ignored() {
        let json = br#"{"v":2,"log":"00","index":7,"at_us":1,"phase":"stop","action":"stop","novelty":{"a":1}}"#;

        let record: Record<'_> = serde_json::from_slice(json).unwrap();

        assert_eq!(record.phase, Some(Phase::Stop));
    }

    #[test]
    fn a_long_record_keeps_the_id_that_content_is_sealed_under() {
        let (id, long) = ("r".repeat(64), "\"".repeat(256));
        let record = Record {
            request: Some((&*id).into()),
            asked: Some((&*long).into()),
            model: Some((&*long).into()),
            attempts: vec![Attempt { target: (&*long).into(), ..Attempt::default() }; 6],
            ..Record::default()
        };

        let json = object(&record.to_tail());

        assert_eq!(serde_json::from_slice::<Record<'_>>(&json).unwrap().request.as_deref(), Some(&*id));
    }

    #[test]
    fn every_phase_has_its_name_in_records() {
        for phase in Phase::ALL {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
            assert_eq!(Phase::of_name(phase.as_str()), Some(phase));
        }
    }

    proptest! {
        #[test]
        fn a_record_never_exceeds_its_bound(name in ".{0,400}", listed in 0_usize..40) {
            let long = || Some(Cow::Borrowed(&*name));
            let record = Record {
                // Ids of requests are bounded where they come in.
                request: Some("r".repeat(64).into()), actor: long(), team: long(), user: long(), asked: long(), alias: long(),
                provider: long(), model: long(), endpoint: long(), region: long(), key: long(), error: long(),
                finish: long(), note: long(), session: long(), action: "chat".into(),
                org: long(), tags: vec![(&*name).into(); listed],
                attempts: vec![Attempt { target: (&*name).into(), ..Attempt::default() }; listed],
                rejected: vec![Rejected { target: (&*name).into(), why: (&*name).into() }; listed],
                ..Record::default()
            };

            let json = object(&record.to_tail());

            prop_assert!(serde_json::from_slice::<Record<'_>>(&json).is_ok());
            prop_assert!(json.len() <= RECORD_MAX - JOURNAL_ADDS + 1, "{}", json.len());
        }
    }
}
