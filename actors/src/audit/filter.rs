//! What records are searched for by, and what of a record that needs.

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
    pub fn fits(&self, gist: &Gist) -> bool {
        let at = gist.at_us;
        let in_time = self.from_us.is_none_or(|from| at >= from) && self.to_us.is_none_or(|to| at < to);
        let about = self.request.as_ref().is_none_or(|request| gist.request.as_ref() == Some(request));
        in_time
            && about
            && self.fields().all(|(field, values)| {
                let held = gist.value(field);
                held.is_some_and(|held| values.iter().any(|value| **value == held))
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

/// What the index takes from a record.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Gist {
    /// When, by the wall clock, in microseconds since 1970.
    pub at_us: u64,
    /// What it is about; unknown to this version where `None`.
    #[serde(deserialize_with = "known_phase")]
    pub phase: Option<Phase>,
    /// The request.
    pub request: Option<String>,
    /// The request's number within the run of the process.
    pub call: Option<u64>,
    actor: Option<String>,
    team: Option<String>,
    user: Option<String>,
    asked: Option<String>,
    provider: Option<String>,
    model: Option<String>,
    error: Option<String>,
    outcome: Option<String>,
    action: Option<String>,
}

fn known_phase<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Phase>, D::Error> {
    Ok(Phase::of_name(&String::deserialize(deserializer)?))
}

impl Gist {
    /// Reads the bytes of a leaf. What is no JSON object has an empty gist: it is in the log and cannot be searched for.
    pub fn of(leaf: &[u8]) -> Self {
        serde_json::from_slice(leaf).unwrap_or_default()
    }

    /// Returns that of a record that was read in full.
    pub fn of_record(record: &Record<'_>) -> Self {
        let owned = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(str::to_owned);
        Self {
            at_us: record.at_us,
            phase: record.phase,
            request: owned(&record.request),
            call: record.call,
            actor: owned(&record.actor),
            team: owned(&record.team),
            user: owned(&record.user),
            asked: owned(&record.asked),
            provider: owned(&record.provider),
            model: owned(&record.model),
            error: owned(&record.error),
            outcome: owned(&record.outcome),
            action: Some(record.action.clone().into_owned()),
        }
    }

    /// Returns that of a record of which only the moment is known.
    pub fn bare(at_us: u64) -> Self {
        Self { at_us, ..Self::default() }
    }

    /// Returns the value that the record can be found by in `field`.
    pub fn value(&self, field: Field) -> Option<String> {
        match field {
            Field::User => self.user.clone(),
            Field::Actor => self.actor.clone(),
            Field::Team => self.team.clone(),
            Field::Served => Some(format!("{}/{}", self.provider.as_ref()?, self.model.as_ref()?)),
            Field::Asked => self.asked.clone(),
            Field::Provider => self.provider.clone(),
            Field::Error => self.error.clone(),
            Field::Phase => self.phase.map(|phase| phase.as_str().to_owned()),
            Field::Outcome => self.outcome.clone(),
            Field::Action => self.action.clone(),
        }
    }
}
