//! What records are searched for by, and what of a record that needs.

use std::borrow::Cow;

use serde::Deserialize;

use super::record::{Phase, Record};
use crate::store::{Field, Term};

/// What a search asks for; what is empty or `None` asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of several values of one field any will do; of several fields all have to fit.
    pub terms: Vec<Term>,
    /// From this moment on, in microseconds since 1970.
    pub from_us: Option<u64>,
    /// Before this moment.
    pub to_us: Option<u64>,
    /// About this request.
    pub request: Option<String>,
}

impl Filter {
    /// Returns whether a record with these terms, of that moment, about that request, is asked for.
    pub fn fits(&self, gist: &Gist<'_>) -> bool {
        let at = gist.at_us;
        let in_time = self.from_us.is_none_or(|from| at >= from) && self.to_us.is_none_or(|to| at < to);
        let about = self.request.as_ref().is_none_or(|request| gist.request() == Some(request));
        in_time
            && about
            && self.fields().all(|(field, values)| {
                let held = gist.value(field);
                held.is_some_and(|held| values.iter().any(|value| **value == *held))
            })
    }

    /// Returns whether this record is asked for.
    pub fn fits_record(&self, record: &Record<'_>) -> bool {
        self.fits(&Gist::of_record(record))
    }

    /// Returns each field that is asked for with its values.
    pub(super) fn fields(&self) -> impl Iterator<Item = (Field, Vec<&String>)> {
        let of = |field| self.terms.iter().filter(move |(other, _)| *other == field).map(|(_, value)| value).collect();
        Field::ALL
            .into_iter()
            .map(move |field| (field, of(field)))
            .filter(|(_, values): &(_, Vec<_>)| !values.is_empty())
    }
}

/// What the index takes from a record; borrowed from its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Gist<'a> {
    /// When, by the wall clock, in microseconds since 1970.
    pub at_us: u64,
    /// What it is about; unknown to this version where `None`.
    #[serde(deserialize_with = "known_phase")]
    pub phase: Option<Phase>,
    /// The request's number within the run of the process.
    pub call: Option<u64>,
    #[serde(borrow)]
    request: Option<Text<'a>>,
    #[serde(borrow)]
    actor: Option<Text<'a>>,
    #[serde(borrow)]
    team: Option<Text<'a>>,
    #[serde(borrow)]
    user: Option<Text<'a>>,
    #[serde(borrow)]
    asked: Option<Text<'a>>,
    #[serde(borrow)]
    provider: Option<Text<'a>>,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    error: Option<Text<'a>>,
    #[serde(borrow)]
    outcome: Option<Text<'a>>,
    #[serde(borrow)]
    action: Option<Text<'a>>,
}

/// A text that is copied only if its JSON had escapes; serde borrows none inside an `Option` by itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn known_phase<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Phase>, D::Error> {
    Ok(Phase::of_name(&Text::deserialize(deserializer)?.0))
}

impl<'a> Gist<'a> {
    /// Reads the bytes of a leaf. What is no JSON object has an empty gist: it is in the log and cannot be searched for.
    pub fn of(leaf: &'a [u8]) -> Self {
        serde_json::from_slice(leaf).unwrap_or_default()
    }

    /// Returns that of a record that was read in full.
    pub fn of_record(record: &'a Record<'_>) -> Self {
        let text = |text: &'a Option<Cow<'_, str>>| text.as_deref().map(|text| Text(text.into()));
        Self {
            at_us: record.at_us,
            phase: record.phase,
            request: text(&record.request),
            call: record.call,
            actor: text(&record.actor),
            team: text(&record.team),
            user: text(&record.user),
            asked: text(&record.asked),
            provider: text(&record.provider),
            model: text(&record.model),
            error: text(&record.error),
            outcome: text(&record.outcome),
            action: Some(Text((&*record.action).into())),
        }
    }

    /// Returns the request that it is about.
    pub fn request(&self) -> Option<&str> {
        self.request.as_ref().map(|request| &*request.0)
    }

    /// Returns the value that the record can be found by in `field`.
    pub fn value(&self, field: Field) -> Option<Cow<'_, str>> {
        let text = match field {
            Field::User => &self.user,
            Field::Actor => &self.actor,
            Field::Team => &self.team,
            Field::Served => {
                let (provider, model) = (self.provider.as_ref()?, self.model.as_ref()?);
                return Some(format!("{}/{}", provider.0, model.0).into());
            }
            Field::Asked => &self.asked,
            Field::Provider => &self.provider,
            Field::Error => &self.error,
            Field::Phase => return self.phase.map(|phase| phase.as_str().into()),
            Field::Outcome => &self.outcome,
            Field::Action => &self.action,
        };
        text.as_ref().map(|text| Cow::Borrowed(&*text.0))
    }
}
