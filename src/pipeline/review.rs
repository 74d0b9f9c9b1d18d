//! `[[guardrails.webhooks]]`: services that are asked about the texts of requests and answers, and may refuse or rewrite them.
//!
//! They are shown what is left once Bursar's own guards have replaced what must not leave, and say `allow`, `flag`,
//! `replace` or `block`. Questions are signed as Standard Webhooks has it (standardwebhooks.com).

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bursar_actors::TeamId;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::guards::{Guarded, Guards, asker, refused, replaced};
use super::{Pipeline, webhooks};
use crate::call::{Call, unix_s};
use crate::config::dial::Dial;
use crate::config::privacy::{self, Passage, Stage};
use crate::config::units::time_text;
use crate::error::GatewayError;
use crate::privacy::texts::{self, Text};
use crate::privacy::{Action, Entity, Report};
use crate::telemetry::metrics::Metrics;
use crate::upstream::dial::DialSettings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer of a service, in bytes.
const ANSWER_MAX: usize = 4 * 1024 * 1024;
/// Longest message of a service that a client is told, in characters.
const MESSAGE_MAX: usize = 500;

/// One service.
pub struct Reviewer {
    name: Arc<str>,
    settings: privacy::Reviewer,
    dial: Arc<DialSettings>,
    /// What it says is counted only.
    dry: bool,
    /// The last question was not answered.
    failing: AtomicBool,
}

/// A text that is asked about.
#[derive(Debug)]
pub struct Asked {
    /// Where it stands in the body, or which text of a stream it belongs to.
    pub at: String,
    /// The end of what came before it in a stream.
    pub before: String,
    pub text: String,
}

/// What became of texts.
#[derive(Debug, Default)]
pub struct Reviewed {
    /// New words for each that got some.
    pub texts: Vec<Option<String>>,
    pub report: Report,
    /// They must not go on.
    pub refusal: Option<GatewayError>,
}

/// What a service answers.
#[derive(Debug, Deserialize)]
struct Answer {
    verdict: Verdict,
    /// What the client is told of a refusal.
    #[serde(default)]
    message: Option<String>,
    /// With `replace`: as many as there were, null for those that stay.
    #[serde(default)]
    texts: Vec<Option<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Allow,
    Flag,
    Replace,
    Block,
}

/// Who is asked about one request, in one direction.
pub struct Review {
    pipeline: Rc<Pipeline>,
    reviewers: Vec<Arc<Reviewer>>,
    stage: Stage,
    request_id: String,
    team: Option<TeamId>,
    alias: String,
    /// Questions asked so far.
    asked: Cell<u32>,
}

impl Reviewer {
    /// Returns the service that `settings` describe; with `dry` what it says is counted only.
    pub fn new(settings: &privacy::Reviewer, dry: bool) -> Self {
        // Often a neighbour, and no key of a provider goes there.
        let dial = DialSettings::of(CONNECT_TIMEOUT, &Dial { allow_private: true, ..Dial::default() });
        let (name, settings) = (settings.name.as_str().into(), settings.clone());
        Self { name, settings, dial, dry, failing: AtomicBool::new(false) }
    }

    /// Returns whether it is asked about `call`, which asks for `alias`, in that direction.
    fn is_for(&self, call: &Call, alias: &str, stage: Stage) -> bool {
        self.settings.stages.contains(stage) && self.settings.audience.covers(asker(call), alias)
    }

    async fn ask(&self, pipeline: &Pipeline, id: &str, body: String, texts: usize) -> Result<Answer, String> {
        let until = Instant::now() + self.settings.timeout;
        let mut headers = webhooks::headers(id, unix_s(), &body, self.settings.secret.as_ref());
        if let Some(token) = &self.settings.token {
            headers.push(("authorization", format!("Bearer {}", token.expose())));
        }
        let url = self.settings.url.expose();
        let mut again = true;
        let answer = loop {
            let limits = (until.saturating_duration_since(Instant::now()), ANSWER_MAX);
            match pipeline.upstream.ask_json(&self.dial, url, &headers, body.clone(), limits).await {
                // The connection may have been an idle one that was just closed, and asking twice does no harm.
                Err(_) if again && Instant::now() < until => again = false,
                answered => break answered?,
            }
        };
        let answer: Answer = serde_json::from_slice(&answer).map_err(|fault| {
            format!("the answer is not what it should be at line {} column {}", fault.line(), fault.column())
        })?;
        if answer.verdict == Verdict::Replace && answer.texts.len() != texts {
            return Err(format!("the answer has {} texts for the {texts} it was asked about", answer.texts.len()));
        }
        Ok(answer)
    }

    /// Logs the first failure, and the first answer behind one.
    fn note(&self, failure: Option<&str>) {
        let name = &*self.name;
        match failure {
            Some(why) if !self.failing.swap(true, Ordering::AcqRel) => {
                let then = match self.settings.on_error {
                    Passage::Block => "texts are refused",
                    Passage::Allow => "texts pass",
                };
                warn!(guardrail = name, "the guardrail {name} gives no answer, and {then} until it does: {why}");
            }
            None if self.failing.swap(false, Ordering::AcqRel) => {
                info!(guardrail = name, "the guardrail {name} answers again");
            }
            _ => {}
        }
    }
}

impl Review {
    /// Returns who is asked about a request for `alias` in that direction; `None` if nobody is.
    fn new(pipeline: &Rc<Pipeline>, all: &[Arc<Reviewer>], call: &Call, alias: &str, stage: Stage) -> Option<Self> {
        let reviewers: Vec<_> = all.iter().filter(|reviewer| reviewer.is_for(call, alias, stage)).cloned().collect();
        (!reviewers.is_empty()).then(|| Self {
            pipeline: pipeline.clone(),
            reviewers,
            stage,
            request_id: call.id.as_str().to_owned(),
            team: call.caller.team().cloned(),
            alias: alias.to_owned(),
            asked: Cell::new(0),
        })
    }

    /// About how many characters of a stream one question is about.
    pub fn window(&self) -> usize {
        self.reviewers.iter().map(|reviewer| reviewer.settings.stream_window).min().unwrap_or(1)
    }

    /// Asks one service after the other about `texts`, each about what the one before it left. `last` says that nothing
    /// comes behind them.
    pub async fn of(&self, texts: &[Asked], last: bool) -> Reviewed {
        self.asked.set(self.asked.get() + 1);
        let mut reviewed = Reviewed { texts: vec![None; texts.len()], ..Reviewed::default() };
        for reviewer in &self.reviewers {
            let (id, body) = self.question(reviewer, texts, &reviewed.texts, last);
            let began = Instant::now();
            let answer = reviewer.ask(&self.pipeline, &id, body, texts.len()).await;
            self.metrics().reviewed(&reviewer.name, self.stage.as_str(), began.elapsed());
            reviewer.note(answer.as_ref().err().map(String::as_str));
            reviewed.take(reviewer, answer, self.stage);
            if reviewed.refusal.is_some() {
                break;
            }
        }
        reviewed
    }

    /// Asks about a whole body, and returns what it becomes where that is something else.
    pub async fn of_body(&self, body: &str) -> (Report, Result<Option<String>, GatewayError>) {
        // What is no JSON here was no text either.
        let texts = texts::of_body(body).unwrap_or_default();
        if texts.is_empty() {
            return (Report::default(), Ok(None));
        }
        let asked = |text: &Text| Asked { at: text.at.clone(), before: String::new(), text: text.text.clone() };
        let reviewed = self.of(&texts.iter().map(asked).collect::<Vec<_>>(), true).await;
        let new = texts::replaced(body, texts.iter().zip(reviewed.texts.iter().map(Option::as_deref)));
        (reviewed.report, reviewed.refusal.map_or(Ok(new), Err))
    }

    /// Returns the id of the next question, and its body.
    fn question(&self, reviewer: &Reviewer, texts: &[Asked], new: &[Option<String>], last: bool) -> (String, String) {
        #[derive(Serialize)]
        struct Question<'q> {
            #[serde(rename = "type")]
            kind: &'q str,
            id: &'q str,
            time: String,
            guardrail: &'q str,
            stage: &'q str,
            request_id: &'q str,
            team: Option<&'q str>,
            alias: &'q str,
            last: bool,
            texts: Vec<Shown<'q>>,
        }
        #[derive(Serialize)]
        struct Shown<'q> {
            at: &'q str,
            #[serde(skip_serializing_if = "str::is_empty")]
            before: &'q str,
            text: &'q str,
        }
        let id = format!("{}.{}.{}", self.request_id, self.stage.as_str(), self.asked.get());
        let shown = texts.iter().zip(new).map(|(asked, new)| Shown {
            at: &asked.at,
            before: &asked.before,
            text: new.as_deref().unwrap_or(&asked.text),
        });
        let question = Question {
            kind: "guardrail.review",
            id: &id,
            time: time_text(unix_s().max(0).unsigned_abs()),
            guardrail: &reviewer.name,
            stage: self.stage.as_str(),
            request_id: &self.request_id,
            team: self.team.as_ref().map(TeamId::as_str),
            alias: &self.alias,
            last,
            texts: shown.collect(),
        };
        let body = serde_json::to_string(&question).expect("strings are JSON");
        (id, body)
    }

    fn metrics(&self) -> &Metrics {
        &self.pipeline.metrics
    }
}

impl Reviewed {
    /// Takes what `reviewer` says, or that it says nothing.
    fn take(&mut self, reviewer: &Reviewer, answer: Result<Answer, String>, stage: Stage) {
        let dry = reviewer.dry;
        let mut count = |action: Action| {
            let action = if dry && action != Action::Allow { Action::Flag } else { action };
            *self.report.counts.entry((reviewer.name.clone(), Entity::External, action)).or_default() += 1;
        };
        let refusal = match answer {
            Ok(Answer { verdict: Verdict::Allow, .. }) => return,
            Ok(Answer { verdict: Verdict::Flag, .. }) => return count(Action::Flag),
            Ok(Answer { verdict: Verdict::Replace, texts, .. }) => {
                count(Action::Mask);
                if !dry {
                    let new = self.texts.iter_mut().zip(texts).filter(|(_, new)| new.is_some());
                    new.for_each(|(text, new)| *text = new);
                }
                return;
            }
            Ok(Answer { verdict: Verdict::Block, message, .. }) => {
                count(Action::Block);
                let usual = || format!("the guardrail `{}` refuses it", reviewer.name);
                let message = message.map(|message| plain(&message)).filter(|message| !message.is_empty());
                let message = message.unwrap_or_else(usual);
                refused(if stage == Stage::Output { format!("the answer: {message}") } else { message })
            }
            // It passes without a verdict, and the record says so.
            Err(_) if reviewer.settings.on_error == Passage::Allow || dry => return count(Action::Allow),
            Err(_) => {
                count(Action::Block);
                GatewayError::GuardrailUnavailable { name: reviewer.name.clone() }
            }
        };
        if !dry {
            self.refusal = Some(refusal);
        }
    }
}

/// A message without what does not belong into one line, and not too long.
fn plain(message: &str) -> String {
    let message = message.chars().filter(|letter| !letter.is_control());
    message.take(MESSAGE_MAX).collect::<String>().trim().to_owned()
}

impl Pipeline {
    /// Lets all guards look at `call`, which asks for `alias`: this house's own first, then those that are asked. `keep` is how
    /// many bytes of the answer are kept as it came. Whatever becomes of it, the report says in numbers what was found.
    pub async fn guard(
        self: &Rc<Self>,
        guards: &Guards,
        call: &Call,
        alias: &str,
        keep: usize,
    ) -> (Report, Result<Guarded, GatewayError>) {
        let all = guards.reviewers();
        let output = Review::new(self, all, call, alias, Stage::Output).filter(|_| !call.head.operation.embeds());
        let (mut report, guarded) = guards.admit(call, alias, keep, output.is_some()).await;
        let mut guarded = match guarded {
            Ok(guarded) => guarded,
            refused => return (report, refused),
        };
        guarded.review = output.map(Rc::new);
        let Some(input) = Review::new(self, all, call, alias, Stage::Input) else { return (report, Ok(guarded)) };
        let leaving = guarded.call.as_ref().unwrap_or(call);
        let Ok(body) = std::str::from_utf8(&leaving.body) else { return (report, Ok(guarded)) };
        let (found, new) = input.of_body(body).await;
        report.add(&found);
        let rewritten = new.and_then(|new| replaced(leaving, new));
        let rewritten = rewritten.map(|new| {
            guarded.call = new.or(guarded.call.take());
            guarded
        });
        (report, rewritten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_actors::Secret;

    use crate::config::privacy::{Audience, Stages};

    fn reviewer(on_error: Passage, dry: bool) -> Reviewer {
        let settings = privacy::Reviewer {
            name: "dlp".into(),
            url: Secret::new("https://a".to_owned()),
            secret: None,
            token: None,
            stages: Stages::BOTH,
            timeout: Duration::from_secs(1),
            on_error,
            stream_window: 400,
            audience: Audience::default(),
        };
        Reviewer::new(&settings, dry)
    }

    fn taken(reviewer: &Reviewer, answer: Result<&str, &str>) -> Reviewed {
        let mut reviewed = Reviewed { texts: vec![None, Some("old".to_owned())], ..Reviewed::default() };
        let answer = answer.map(|text| serde_json::from_str(text).expect("an answer")).map_err(str::to_owned);
        reviewed.take(reviewer, answer, Stage::Input);
        reviewed
    }

    fn actions(reviewed: &Reviewed) -> Vec<Action> {
        reviewed.report.counts.keys().map(|(_, _, action)| *action).collect()
    }

    #[test]
    fn each_verdict_does_what_it_says() {
        let one = reviewer(Passage::Block, false);

        let allowed = taken(&one, Ok(r#"{"verdict":"allow","more":1}"#));
        assert!(allowed.refusal.is_none() && actions(&allowed).is_empty());
        assert_eq!(actions(&taken(&one, Ok(r#"{"verdict":"flag"}"#))), [Action::Flag]);
        let new = taken(&one, Ok(r#"{"verdict":"replace","texts":["new",null]}"#));
        assert_eq!(new.texts, [Some("new".to_owned()), Some("old".to_owned())]);
        let refusal = taken(&one, Ok("{\"verdict\":\"block\",\"message\":\" No\\n cards. \"}")).refusal;
        assert!(matches!(refusal, Some(GatewayError::Guardrail { message }) if message == "No cards."));
    }

    #[test]
    fn who_says_nothing_lets_nothing_pass_unless_the_operator_says_so() {
        let closed = taken(&reviewer(Passage::Block, false), Err("late"));
        assert!(matches!(closed.refusal, Some(GatewayError::GuardrailUnavailable { .. })));
        let open = taken(&reviewer(Passage::Allow, false), Err("late"));
        assert!(open.refusal.is_none() && actions(&open) == [Action::Allow]);
    }

    #[test]
    fn a_dry_run_only_counts() {
        let dry = reviewer(Passage::Block, true);
        for answer in [Ok(r#"{"verdict":"block"}"#), Ok(r#"{"verdict":"replace","texts":["x","y"]}"#)] {
            let reviewed = taken(&dry, answer);
            assert!(reviewed.refusal.is_none() && actions(&reviewed) == [Action::Flag]);
            assert_eq!(reviewed.texts, [None, Some("old".to_owned())]);
        }
        assert!(taken(&dry, Err("late")).refusal.is_none());
    }
}
