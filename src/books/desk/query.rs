//! From words to a filter: `team=clinic&from=2026-11-01&to=2d`.

use std::time::{Duration, UNIX_EPOCH};

use bursar_actors::audit::filter::Filter;
use bursar_actors::audit::index::PAGE_MAX;
use bursar_actors::audit::record::Phase;
use bursar_actors::store::Field;

use super::{DeskError, Pairs};

/// Records on a page when nobody says how many.
const PAGE: usize = 100;
/// Filters by a word, and the field that each stands for.
const WORDS: [(&str, Field); 10] = [
    ("team", Field::Team),
    ("user", Field::User),
    ("key", Field::Actor),
    ("model", Field::Served),
    ("asked", Field::Asked),
    ("provider", Field::Provider),
    ("phase", Field::Phase),
    ("outcome", Field::Outcome),
    ("error", Field::Error),
    ("action", Field::Action),
];

/// A query, understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Query {
    pub filter: Filter,
    /// Records before this index.
    pub before: u64,
    pub limit: usize,
    /// The filter in words, with pseudonyms for names; empty for everything.
    pub words: String,
}

impl Query {
    /// Reads `pairs`; `pseudonym` turns a team and a user's name into how the user stands in the records.
    pub fn read(pairs: &Pairs, now_us: u64, pseudonym: impl Fn(&str, &str) -> String) -> Result<Self, DeskError> {
        let mut query = Self { filter: Filter::default(), before: u64::MAX, limit: PAGE, words: String::new() };
        let named = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        for (name, value) in pairs {
            let (mut name, mut value) = (name.as_str(), value.clone());
            if name == "user_name" {
                (name, value) = ("user", pseudonym(named("team").unwrap_or_default(), &value));
            } else if name == "user" && !is_pseudonym(&value) {
                // The words stand in the record of this search, for good.
                let help = "`user` takes a pseudonym such as u_0123456789abcdef0123; a name goes into `user_name`";
                return Err(invalid(help.into()));
            }
            query.take(name, &value, now_us)?;
            if !matches!(name, "limit" | "before") {
                let space = if query.words.is_empty() { "" } else { " " };
                query.words.push_str(&format!("{space}{name}={value}"));
            }
        }
        Ok(query)
    }

    fn take(&mut self, name: &str, value: &str, now_us: u64) -> Result<(), DeskError> {
        let number = || value.parse().map_err(|_| invalid(format!("`{name}={value}` is no whole number")));
        match name {
            "from" => self.filter.from_us = Some(moment(value, now_us).map_err(invalid)?),
            "to" => self.filter.to_us = Some(moment(value, now_us).map_err(invalid)?),
            "request" => self.filter.request = Some(value.to_owned()),
            "before" => self.before = number()?,
            "limit" => self.limit = usize::try_from(number()?).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX),
            _ => {
                let Some((_, field)) = WORDS.iter().find(|(word, _)| *word == name) else {
                    let known = WORDS.map(|(word, _)| word).join(", ");
                    return Err(invalid(format!(
                        "`{name}` is nothing to search for; known: from, to, request, user_name, {known}, before, limit"
                    )));
                };
                check(*field, value)?;
                self.filter.terms.push((*field, value.to_owned()));
            }
        }
        Ok(())
    }
}

fn check(field: Field, value: &str) -> Result<(), DeskError> {
    match field {
        Field::Phase if Phase::of_name(value).is_none() => {
            let known = Phase::ALL.map(Phase::as_str).join(", ");
            Err(invalid(format!("`{value}` is no phase; known: {known}")))
        }
        Field::Served if !value.contains('/') => Err(invalid(format!(
            "`model={value}` needs its provider: `openai/{value}`; `asked` takes the client's word"
        ))),
        _ => Ok(()),
    }
}

/// Returns the moment that `text` names, in microseconds since 1970: a day (`2026-11-23`, its beginning in UTC), a time
/// (`2026-11-23T17:30:00Z`), how long ago (`2h`, `7d`), or that very number.
pub fn moment(text: &str, now_us: u64) -> Result<u64, String> {
    if let Ok(micros) = text.parse() {
        return Ok(micros);
    }
    let day = format!("{text}T00:00:00Z");
    let written = humantime::parse_rfc3339_weak(text).or_else(|_| humantime::parse_rfc3339(&day));
    if let Ok(time) = written {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        return Ok(since.as_micros() as u64);
    }
    match humantime::parse_duration(text) {
        Ok(ago) => Ok(now_us.saturating_sub(ago.as_micros() as u64)),
        Err(_) => Err(format!("`{text}` is no time; write 2026-11-23, 2026-11-23T17:30:00Z, or how long ago: 2h, 7d")),
    }
}

fn invalid(text: String) -> DeskError {
    DeskError::Invalid(text)
}

/// Returns whether it has the form in which users stand in the records.
fn is_pseudonym(text: &str) -> bool {
    text.strip_prefix("u_").is_some_and(|hex| hex.len() == 20 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_455_281_000_000;

    fn read(pairs: &[(&str, &str)]) -> Result<Query, String> {
        let pairs = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Query::read(&pairs, NOW, |team, user| format!("u_{team}_{}", user.len())).map_err(|error| error.to_string())
    }

    #[test]
    fn times_are_days_moments_or_how_long_ago() {
        assert_eq!(moment("2026-11-23", NOW), Ok(1_795_392_000_000_000));
        assert_eq!(moment("2026-11-23T17:34:41Z", NOW), Ok(NOW));
        assert_eq!(moment("2h", NOW), Ok(NOW - 7_200_000_000));
        assert_eq!(moment("17", NOW), Ok(17));
        assert!(moment("yesterday", NOW).unwrap_err().contains("`yesterday` is no time"));
    }

    #[test]
    fn a_name_becomes_a_pseudonym_and_stands_nowhere() {
        let query = read(&[("user_name", "ann"), ("team", "clinic"), ("limit", "5")]).unwrap();

        assert_eq!(query.filter.terms, [(Field::User, "u_clinic_3".into()), (Field::Team, "clinic".into())]);
        assert_eq!((query.limit, query.words.as_str()), (5, "user=u_clinic_3 team=clinic"));
    }

    #[test]
    fn what_cannot_be_searched_for_is_said_with_what_can() {
        for (pair, word) in [
            (("tean", "x"), "known: from"),
            (("phase", "done"), "known: admitted"),
            (("model", "gpt-5"), "openai/gpt-5"),
            (("before", "x"), "whole number"),
            (("from", "x"), "no time"),
        ] {
            let said = read(&[pair]).unwrap_err();
            assert!(said.contains(word), "{said}");
        }
    }
}
