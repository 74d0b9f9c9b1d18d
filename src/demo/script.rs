//! The script: which requests the demo provider mistreats, and how.
//!
//! Everything here can be read with serde, times in whole milliseconds, so that a request may carry its own
//! [`Behaviour`] in the field `demo`.

use std::time::Duration;

use serde::Deserialize;

use super::dice::Dice;

/// One line of the script; the first rule that fits a request applies.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    pub when: When,
    pub then: Behaviour,
}

/// Which requests a rule is for; what is left out fits every request.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    pub key: Option<String>,
    pub model: Option<String>,
    /// With or without the leading `/v1` or `/v1beta`, without the query.
    pub path: Option<String>,
    /// Lets the first so many requests pass that reach this rule and fit.
    pub skip: u32,
    /// Applies to so many requests after those skipped, then no more.
    pub times: Option<u32>,
    /// Applies to this share of the requests only, 0 to 1, by the seed.
    pub share: Option<f64>,
}

/// What happens to a request instead of, or on top of, the normal answer.
///
/// The positions of `cut_after`, `reset_after` and `stall_after` count bytes of the response body, not of its framing;
/// the smallest applies. One beyond the end of the body applies after its last byte, before the chunk terminator.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Behaviour {
    /// Waits so long before anything is sent.
    #[serde(rename = "delay_ms", with = "millis")]
    pub delay: Option<Duration>,
    /// Answers with this status; from 400 on with the error body that the dialect's provider would send.
    pub status: Option<u16>,
    /// Response headers to add; one of the same name is replaced.
    pub headers: Vec<(String, String)>,
    /// The response body, byte for byte, for streams too.
    pub body: Option<Raw>,
    pub content_type: Option<String>,
    /// The payloads of the server-sent events to send instead of the answer.
    pub events: Option<Vec<String>>,
    /// Ends a stream of events after so many of them with an error event, in the dialect's own form.
    pub error_after: Option<usize>,
    /// Leaves out the final `data: [DONE]`.
    pub omit_done: bool,
    /// Closes the connection in good order (FIN) after so many body bytes.
    pub cut_after: Option<usize>,
    /// Resets the connection (RST) after so many body bytes.
    pub reset_after: Option<usize>,
    /// Falls silent after so many body bytes, until the client hangs up.
    pub stall_after: Option<usize>,
    /// Never answers: silent until the client hangs up.
    pub stall_head: bool,
    /// Sends the body in pieces of so many bytes, even through the middle of a character.
    pub split: Option<usize>,
    /// Sends these bytes in place of an HTTP response, then closes; an empty text is a hang-up without an answer.
    pub garbage: Option<Raw>,
    /// Sends a body that would have a `content-length` in chunks.
    pub chunked: bool,
    /// Marks the end of the body by closing the connection: neither length nor chunks.
    pub close_delimited: bool,
    /// Closes a connection as soon as it is accepted. Such a rule is asked about connections, never about requests: of
    /// its `when` only `skip`, `times` and `share` count.
    pub close_at_accept: bool,
    #[serde(rename = "first_token_ms", with = "millis")]
    pub first_token: Option<Duration>,
    #[serde(rename = "per_token_ms", with = "millis")]
    pub per_token: Option<Duration>,
}

impl Behaviour {
    /// Returns the behaviour that answers with this status and nothing else unusual.
    pub fn status(status: u16) -> Self {
        Self { status: Some(status), ..Self::default() }
    }
}

/// Bytes to send as they are; in JSON a string, or an array of numbers where they are no UTF-8.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Written")]
pub struct Raw(pub Vec<u8>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<Written> for Raw {
    fn from(written: Written) -> Self {
        match written {
            Written::Text(text) => Self(text.into_bytes()),
            Written::Bytes(bytes) => Self(bytes),
        }
    }
}

impl From<&str> for Raw {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for Raw {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<Vec<u8>> for Raw {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// What a rule can look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) key: Option<&'a str>,
    pub(super) model: Option<&'a str>,
    pub(super) path: &'a str,
}

/// The rules in force, each with the number of times it was reached.
#[derive(Debug, Default)]
pub(super) struct Script(Vec<(Rule, u32)>);

impl Script {
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        Self(rules.into_iter().map(|rule| (rule, 0)).collect())
    }

    pub(super) fn for_request(&mut self, asked: &Asked<'_>, seed: u64) -> Option<Behaviour> {
        self.first(seed, |rule| !rule.then.close_at_accept && rule.when.fits(asked))
    }

    pub(super) fn for_connection(&mut self, seed: u64) -> Option<Behaviour> {
        self.first(seed, |rule| rule.then.close_at_accept)
    }

    fn first(&mut self, seed: u64, fits: impl Fn(&Rule) -> bool) -> Option<Behaviour> {
        for (index, (rule, reached)) in self.0.iter_mut().enumerate() {
            if !fits(rule) {
                continue;
            }
            let nth = *reached;
            *reached = reached.saturating_add(1);
            if rule.when.applies(nth, seed, index) {
                return Some(rule.then.clone());
            }
        }
        None
    }
}

impl When {
    fn fits(&self, asked: &Asked<'_>) -> bool {
        fits(self.key.as_deref(), asked.key)
            && fits(self.model.as_deref(), asked.model)
            && self.path.as_deref().is_none_or(|path| without_version(path) == without_version(asked.path))
    }

    fn applies(&self, nth: u32, seed: u64, rule: usize) -> bool {
        let Some(counted) = nth.checked_sub(self.skip) else { return false };
        if self.times.is_some_and(|times| counted >= times) {
            return false;
        }
        self.share.is_none_or(|share| Dice::new(seed, format!("rule {rule}, request {nth}").as_bytes()).share() < share)
    }
}

fn fits(wanted: Option<&str>, given: Option<&str>) -> bool {
    wanted.is_none() || wanted == given
}

/// Returns the path without its `/v1` or `/v1beta`, which the demo provider treats as optional.
pub(super) fn without_version(path: &str) -> &str {
    let rest = path.strip_prefix("/v1beta").or_else(|| path.strip_prefix("/v1"));
    rest.filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

mod millis {
    use std::time::Duration;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer};

    /// Longest wait, a day: far above any timeout, far below what overflows a clock.
    const MAX: u64 = 24 * 60 * 60 * 1000;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        match Option::<u64>::deserialize(deserializer)? {
            Some(millis) if millis > MAX => Err(D::Error::custom(format!("{millis} ms are more than a day"))),
            millis => Ok(millis.map(Duration::from_millis)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ANYONE: Asked<'static> = Asked { key: None, model: None, path: "/v1/models" };

    fn statuses(script: &mut Script, requests: usize) -> Vec<Option<u16>> {
        (0..requests).map(|_| script.for_request(&ANYONE, 1).and_then(|then| then.status)).collect()
    }

    #[test]
    fn a_rule_skips_then_applies_a_number_of_times_then_rests() {
        let when = When { skip: 1, times: Some(2), ..When::default() };
        let mut script = Script::new(vec![Rule { when, then: Behaviour::status(503) }]);

        let seen = statuses(&mut script, 4);

        assert_eq!(seen, [None, Some(503), Some(503), None]);
    }

    #[test]
    fn the_first_rule_that_fits_applies_and_hides_the_request_from_the_next() {
        let once = When { times: Some(1), ..When::default() };
        let rules = [429, 500].map(|status| Rule { when: once.clone(), then: Behaviour::status(status) });
        let mut script = Script::new(rules.to_vec());

        assert_eq!(statuses(&mut script, 3), [Some(429), Some(500), None]);
    }

    #[test]
    fn a_rule_for_a_key_and_a_path_leaves_other_requests_alone() {
        let when = When { key: Some("k1".into()), path: Some("/chat/completions".into()), ..When::default() };
        let mut script = Script::new(vec![Rule { when, then: Behaviour::status(401) }]);
        let mut asked = Asked { key: Some("k1"), model: Some("m"), path: "/v1/chat/completions" };

        assert!(script.for_request(&asked, 1).is_some());
        asked.key = Some("k2");
        assert!(script.for_request(&asked, 1).is_none());
        assert!(script.for_request(&ANYONE, 1).is_none());
    }

    #[test]
    fn a_share_of_requests_is_close_to_what_was_asked_and_repeats_with_the_seed() {
        let when = When { share: Some(0.3), ..When::default() };
        let rule = Rule { when, then: Behaviour::status(500) };

        let first = statuses(&mut Script::new(vec![rule.clone()]), 1_000);
        let second = statuses(&mut Script::new(vec![rule]), 1_000);

        let failed = first.iter().flatten().count();
        assert!((250..350).contains(&failed), "{failed} of 1000 failed");
        assert_eq!(first, second);
    }

    #[test]
    fn a_behaviour_reads_from_json_with_times_in_milliseconds() {
        let read: Behaviour = serde_json::from_str(r#"{"delay_ms": 250, "cut_after": 10, "omit_done": true}"#).unwrap();

        assert_eq!(read.delay, Some(Duration::from_millis(250)));
        assert_eq!((read.cut_after, read.omit_done), (Some(10), true));
    }

    #[test]
    fn raw_bytes_read_from_a_string_or_from_numbers() {
        let read: Behaviour = serde_json::from_str(r#"{"body": "é", "garbage": [255, 0]}"#).unwrap();

        assert_eq!((read.body, read.garbage), (Some("é".into()), Some(vec![255, 0].into())));
    }

    #[test]
    fn a_wait_of_more_than_a_day_is_refused() {
        assert!(serde_json::from_str::<Behaviour>(r#"{"delay_ms": 86400000}"#).is_ok());
        assert!(serde_json::from_str::<Behaviour>(r#"{"delay_ms": 86400001}"#).is_err());
    }

    #[test]
    fn a_misspelt_behaviour_is_refused_with_the_known_names() {
        let error = serde_json::from_str::<Behaviour>(r#"{"cut_afer": 10}"#).unwrap_err().to_string();

        assert!(error.contains("cut_after"), "{error}");
    }
}
