//! What a request goes through before anything of it leaves: what must not leave is replaced or refused, and what kind of
//! data it holds decides where it may go.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bursar_actors::TeamId;
use bytes::Bytes;

use super::prompts;
use super::review::{Review, Reviewer};
use crate::call::Call;
use crate::config::Config;
use crate::config::audit::Kept;
use crate::config::privacy::{
    self, Asker, Audience, DataClass, Guardrails, Numbers, Passage, Pii, PiiPolicy, Prompt, Stage, Stages, Structured,
};
use crate::error::GatewayError;
use crate::privacy::scan::Custom;
use crate::privacy::{
    Action, Entity, EntitySet, Judge, Layer, Placeholders, Policy, Redactor, Report, Scanner, Screening,
};
use crate::schema;

/// The rule by which personal data is found, in records and metrics.
const PII: &str = "pii";
/// The rule that looks for what only data classes want to know.
const CLASSES: &str = "data_classes";

/// Larger bodies are looked through beside the worker, so that nobody else waits for it, in bytes: some milliseconds.
const BESIDE: usize = 64 * 1024;
/// How long that may take: many times as long as it does (over 10 MB/s), and what takes longer counts as a failure. What is
/// looked through on the worker is bounded by its size, because all of it is linear.
const BESIDE_MIN: Duration = Duration::from_secs(2);
const BESIDE_PER_MIB: Duration = Duration::from_secs(1);

/// What stands in answers of every kind: left alone there unless an action names it for the output.
const COMMON: [Entity; 4] = [Entity::Person, Entity::Address, Entity::Date, Entity::Url];

/// Everything that holds for everybody's requests: a snapshot made from the configuration.
pub struct Guards {
    pii: Layers,
    /// Of teams and organisations that have their own.
    own: Vec<(privacy::TeamPolicy, Layers)>,
    rules: Vec<Rule>,
    reviewers: Vec<Arc<Reviewer>>,
    /// Whose answers have to have the form that was asked for.
    pub structured: Structured,
    classes: BTreeMap<Arc<str>, DataClass>,
    /// Finds what classes want to know and no policy looks for.
    of_classes: Option<Arc<Layer>>,
    prompts: Vec<Prompt>,
    /// What is masked in what the books keep, where they keep only that.
    pub of_books: Option<Arc<Policy>>,
    on_error: Passage,
    unscanned: Passage,
    window: usize,
}

impl std::fmt::Debug for Guards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guards").finish_non_exhaustive()
    }
}

/// What is looked for in each direction.
#[derive(Default)]
struct Layers {
    input: Vec<Arc<Layer>>,
    output: Vec<Arc<Layer>>,
    numbers: Numbers,
}

/// `[[guardrails.rules]]`, ready.
struct Rule {
    name: Arc<str>,
    audience: Audience,
    stages: Stages,
    layers: Vec<Arc<Layer>>,
    message: Option<String>,
}

/// What was found in a request, and its body with everything replaced; an error is one that could not be looked into.
struct Looked {
    values: Placeholders,
    report: Report,
    body: Result<Option<String>, ()>,
}

impl Default for Looked {
    fn default() -> Self {
        Self { values: Placeholders::new(), report: Report::default(), body: Ok(None) }
    }
}

/// A request that may go on.
#[derive(Default)]
pub struct Guarded {
    /// As it leaves; `None` where nothing of it changed.
    pub call: Option<Call>,
    /// What its answer goes through; `None` where it passes as it comes.
    pub screening: Option<Rc<RefCell<Screening>>>,
    /// Who is asked about it besides.
    pub review: Option<Rc<Review>>,
}

impl Guards {
    /// Builds the snapshot; `config` has been checked.
    pub fn new(config: &Config) -> Self {
        let privacy = &config.privacy;
        let Guardrails { on_error, stream_window, unscanned_parts, dry_run, pii, rules, webhooks, structured_output } =
            &privacy.guardrails;
        let of_team = |own: &privacy::TeamPolicy| (own.clone(), layers(pii, &own.policy, *dry_run));
        let wanted = privacy.data_classes.values().map(|class| class.findings).fold(EntitySet::NONE, EntitySet::union);
        Self {
            pii: layers(pii, &pii.policy, *dry_run),
            own: pii.teams.iter().map(of_team).collect(),
            rules: rules.iter().map(|rule| Rule::new(rule, *dry_run)).collect(),
            reviewers: webhooks.iter().map(|webhook| Arc::new(Reviewer::new(webhook, *dry_run))).collect(),
            structured: structured_output.clone(),
            classes: privacy.data_classes.iter().map(|(name, class)| (name.as_str().into(), class.clone())).collect(),
            of_classes: (!wanted.is_empty()).then(|| Arc::new(Layer::new(CLASSES, Scanner::new(wanted), Action::Flag))),
            prompts: privacy.prompts.clone(),
            of_books: (config.audit.content == Kept::Redacted).then(|| Arc::new(for_books(pii))),
            on_error: *on_error,
            unscanned: *unscanned_parts,
            window: *stream_window,
        }
    }

    /// Replaces in `call` what must not leave, or refuses it, and says what its answer goes through. `alias` is what was
    /// asked for, `keep` how many bytes of the answer are kept as it came, and `watched` whether others are asked about it.
    /// Whatever becomes of it, the report says in numbers what was found.
    pub async fn admit(
        &self,
        call: &Call,
        alias: &str,
        keep: usize,
        watched: bool,
    ) -> (Report, Result<Guarded, GatewayError>) {
        let input = self.policy(asker(call), alias, Stage::Input);
        let key = self.key(call);
        let looked = if input.is_empty() && self.unscanned == Passage::Allow {
            Ok(Looked::default())
        } else if call.body.len() > BESIDE {
            let body = call.body.clone();
            let patience = BESIDE_MIN + BESIDE_PER_MIB * (body.len() >> 20) as u32;
            let looked = tokio::task::spawn_blocking(move || look(&input, &body, key));
            tokio::time::timeout(patience, looked).await.map_err(|_| ()).and_then(|looked| looked.map_err(|_| ()))
        } else {
            unharmed(|| look(&input, &call.body, key))
        };
        let failed = looked.is_err();
        let Looked { values, report, body } = looked.unwrap_or_default();
        let body = if failed { Err(()) } else { body };
        let guarded = self.guarded(call, alias, &report, (body, watched), |output| {
            let mut screening = Screening::new(output, values, self.window, secret());
            screening.keep(keep);
            screening
        });
        (report, guarded)
    }

    /// Returns what placeholders are numbered by; nothing where they are counted.
    fn key(&self, call: &Call) -> Option<[u8; 32]> {
        let session = call.session.as_ref().filter(|_| self.layers(asker(call)).numbers == Numbers::Keyed)?;
        let team = call.caller.team().map_or("", TeamId::as_str);
        let mut hasher = blake3::Hasher::new_keyed(&secret());
        hasher.update(team.as_bytes()).update(&[0]).update(session.as_str().as_bytes());
        Some(*hasher.finalize().as_bytes())
    }

    /// The call as it leaves, after `report` and with `body` in the place of its own. An error is a body that could not be
    /// looked into.
    fn guarded(
        &self,
        call: &Call,
        alias: &str,
        report: &Report,
        (body, watched): (Result<Option<String>, ()>, bool),
        screening: impl FnOnce(Option<Arc<Policy>>) -> Screening,
    ) -> Result<Guarded, GatewayError> {
        let body = match body {
            Err(()) if self.on_error == Passage::Block => {
                return Err(refused(
                    "the request could not be looked into, and nothing is sent unseen; send less, or plainer",
                ));
            }
            body => body.unwrap_or_default(),
        };
        self.judge(call, report)?;
        let mut own = replaced(call, body)?;
        if let Some(class) = self.class(call, report) {
            own.get_or_insert_with(|| call.clone()).confined = Some(class);
        }
        let told = self.prompts.iter().filter(|prompt| prompt.audience.covers(asker(call), alias));
        if let Some(told) = prompts::with(own.as_ref().unwrap_or(call), told) {
            own = replaced(own.as_ref().unwrap_or(call), Some(told))?.or(own);
        }
        let output = self.policy(asker(call), alias, Stage::Output);
        let output = (!output.is_empty()).then(|| Arc::new(output));
        let screening = screening(output);
        let screening = (watched || !screening.is_idle()).then(|| Rc::new(RefCell::new(screening)));
        Ok(Guarded { call: own, screening, review: None })
    }

    /// Returns the services that are asked besides.
    pub fn reviewers(&self) -> &[Arc<Reviewer>] {
        &self.reviewers
    }

    /// The policy for `asker`: of the team, else of its organisation, else of everybody.
    fn layers(&self, asker: Asker<'_>) -> &Layers {
        let of_team = || self.own.iter().find(|(own, _)| asker.is_among(&own.teams, &[]));
        let own = of_team().or_else(|| self.own.iter().find(|(own, _)| asker.is_among(&[], &own.orgs)));
        own.map_or(&self.pii, |(_, layers)| layers)
    }

    /// What is looked for in that direction of a request of `asker` for `alias`.
    fn policy(&self, asker: Asker<'_>, alias: &str, stage: Stage) -> Policy {
        let layers = self.layers(asker);
        let pii = if stage == Stage::Input { &layers.input } else { &layers.output };
        let rules = self.rules.iter().filter(|rule| rule.stages.contains(stage));
        let rules = rules.filter(|rule| rule.audience.covers(asker, alias)).flat_map(|rule| &rule.layers);
        let classes = self.of_classes.iter().filter(|_| stage == Stage::Input);
        pii.iter().chain(rules).chain(classes).cloned().fold(Policy::default(), Policy::with)
    }

    /// Returns what becomes of `text` in a request of `asker` for `alias`, or in its answer, and what is found in it.
    pub fn of_text(&self, asker: Asker<'_>, alias: &str, stage: Stage, text: &str) -> (String, Report) {
        let policy = self.policy(asker, alias, stage);
        let mut redactor = Redactor::new(&policy, secret());
        let new = redactor.text(text).unwrap_or_else(|| text.to_owned());
        (new, redactor.finish().1)
    }

    fn judge(&self, call: &Call, report: &Report) -> Result<(), GatewayError> {
        if let Some((rule, entity)) = &report.blocked {
            return Err(refused(self.words(rule, *entity)));
        }
        if report.unscanned > 0 && self.unscanned == Passage::Block {
            let parts = report.unscanned;
            return Err(refused(format!(
                "it has {parts} parts that nobody can look into (images, audio or files), and {} sends none; send text",
                call.caller.team().map_or("this gateway".to_owned(), |team| format!("the team `{team}`"))
            )));
        }
        Ok(())
    }

    /// What somebody is told whose request or answer `rule` refuses.
    pub fn words(&self, rule: &str, entity: Entity) -> String {
        let own = self.rules.iter().find(|own| &*own.name == rule).and_then(|own| own.message.clone());
        own.unwrap_or_else(|| match entity {
            Entity::Custom => format!("the rule `{rule}` refuses what it says"),
            Entity::Injection => format!(
                "to the rule `{rule}` it looks like an attempt to change what the model was told; say it in another way"
            ),
            Entity::Language => format!("the rule `{rule}` refuses its language; write in one that is spoken here"),
            _ => format!("it holds {}, which the rule `{rule}` refuses; take it out and try again", said(entity)),
        })
    }

    /// The first class of data that the request is of and that only self-hosted providers may see.
    fn class(&self, call: &Call, report: &Report) -> Option<Arc<str>> {
        let of = |(name, class): &(&Arc<str>, &DataClass)| {
            class.self_hosted
                && (report.has(class.findings)
                    || asker(call).is_among(&class.teams, &class.orgs)
                    || call.classes.contains(*name))
        };
        self.classes.iter().find(of).map(|(name, _)| name.clone())
    }

    /// The headers by which clients name classes of data, and the classes.
    pub fn class_headers(&self) -> impl Iterator<Item = (&actix_http::header::HeaderName, &Arc<str>)> {
        self.classes.iter().filter_map(|(name, class)| Some((class.header.as_ref()?, name)))
    }
}

impl Rule {
    fn new(rule: &privacy::Rule, dry: bool) -> Self {
        let action = action(rule.action, dry);
        let custom = |pattern: &String| Custom { name: rule.name.clone(), pattern: pattern.clone() };
        let layer = |entities: EntitySet, patterns: &[String], terms: &[String]| {
            let patterns: Vec<_> = patterns.iter().map(custom).collect();
            let own = !terms.is_empty() || !patterns.is_empty();
            let entities = if own { entities.with(Entity::Custom) } else { entities };
            let scanner = Scanner::with_custom(entities, &patterns, terms);
            let scanner = scanner.expect("config::check compiles every pattern");
            (!entities.is_empty()).then(|| Layer::new(&rule.name, scanner, action))
        };
        // Terms of which there have to be several count by themselves.
        let (alone, along) = if rule.at_least > 1 { (&*rule.terms, &[][..]) } else { (&[][..], &*rule.terms) };
        let judge = Judge::new(rule.injection, &rule.languages);
        let layers = [
            layer(rule.entities, &rule.patterns, along),
            layer(EntitySet::NONE, &[], alone).map(|layer| layer.different(rule.at_least)),
            (!judge.is_idle()).then(|| Layer::judging(&rule.name, judge, action)),
        ];
        Self {
            name: rule.name.as_str().into(),
            audience: rule.audience.clone(),
            stages: rule.stages,
            layers: layers.into_iter().flatten().map(Arc::new).collect(),
            message: rule.message.clone(),
        }
    }
}

/// What `policy` looks for in each direction.
fn layers(pii: &Pii, policy: &PiiPolicy, dry: bool) -> Layers {
    if !policy.enabled {
        return Layers::default();
    }
    let custom = |patterns: Vec<&privacy::CustomPattern>| -> Vec<Custom> {
        let own = |own: &privacy::CustomPattern| Custom { name: own.name.clone(), pattern: own.pattern.clone() };
        patterns.into_iter().map(own).collect()
    };
    let (own, plain): (Vec<_>, Vec<_>) = pii.custom.iter().partition(|custom| custom.action.is_some());
    let scanner = Scanner::with_custom(policy.entities, &custom(plain), &policy.deny);
    let scanner = Arc::new(scanner.expect("config::check compiles every pattern"));
    let of = |stage: Stage| {
        if !policy.stages.contains(stage) {
            return vec![];
        }
        let allowed = || policy.allow.iter().map(String::as_str);
        let mut layer = Layer::new(PII, scanner.clone(), action(policy.action, dry))
            .at_least(policy.min_confidence)
            .allowing(allowed());
        for entity in policy.actions.keys() {
            layer = layer.with(*entity, action(policy.action_of(*entity, stage), dry));
        }
        // What a model says of people, places and times is rarely about those whose data was taken out.
        let spoken = COMMON.iter().filter(|entity| stage == Stage::Output && !names(policy, **entity, stage));
        layer = spoken.fold(layer, |layer, entity| layer.with(*entity, Action::Allow));
        let own = own.iter().filter(|_| policy.entities.contains(Entity::Custom)).map(|own| {
            let scanner = Scanner::with_custom(EntitySet::NONE.with(Entity::Custom), &custom(vec![own]), &[]);
            let scanner = scanner.expect("config::check compiles every pattern");
            let does = own.action.unwrap_or(policy.action);
            Arc::new(Layer::new(&own.name, scanner, action(does, dry)).allowing(allowed()))
        });
        std::iter::once(Arc::new(layer)).chain(own).collect()
    };
    Layers { input: of(Stage::Input), output: of(Stage::Output), numbers: policy.numbers }
}

fn look(policy: &Policy, body: &[u8], key: Option<[u8; 32]>) -> Looked {
    let mut redactor = Redactor::new(policy, secret());
    if let Some(key) = key {
        redactor = redactor.keyed(key);
    }
    let read = std::str::from_utf8(body).ok().map(|body| redactor.request(body));
    let (values, report) = redactor.finish();
    Looked { values, report, body: read.and_then(Result::ok).ok_or(()) }
}

/// Does `work`; an error where it panics, which must cost the one request and let nothing through.
fn unharmed<T>(work: impl FnOnce() -> T) -> Result<T, ()> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| ())
}

fn names(policy: &PiiPolicy, entity: Entity, stage: Stage) -> bool {
    policy.actions.get(&entity).is_some_and(|own| own.of(stage).is_some())
}

/// Masks whatever `pii` looks for, whoever asks.
fn for_books(pii: &Pii) -> Policy {
    let everybodys = std::iter::once(&pii.policy).chain(pii.teams.iter().map(|own| &own.policy));
    let entities = everybodys.clone().map(|policy| policy.entities).fold(EntitySet::NONE, EntitySet::union);
    let deny: Vec<String> = everybodys.flat_map(|policy| policy.deny.iter().cloned()).collect();
    let own = |own: &privacy::CustomPattern| Custom { name: own.name.clone(), pattern: own.pattern.clone() };
    let scanner = Scanner::with_custom(entities, &pii.custom.iter().map(own).collect::<Vec<_>>(), &deny);
    let scanner = scanner.expect("config::check compiles every pattern");
    Policy::default().with(Layer::new(PII, scanner, Action::Mask))
}

/// A dry run counts what it would do something about.
fn action(action: privacy::Action, dry: bool) -> Action {
    match action {
        privacy::Action::Allow => Action::Allow,
        _ if dry => Action::Flag,
        privacy::Action::Flag => Action::Flag,
        privacy::Action::Mask => Action::Mask,
        privacy::Action::Tokenize => Action::Tokenize,
        privacy::Action::Hash => Action::Hash,
        privacy::Action::Block => Action::Block,
    }
}

/// Whose request it is.
pub(super) fn asker(call: &Call) -> Asker<'_> {
    Asker { team: call.caller.team(), org: call.caller.identity().and_then(|identity| identity.org.as_ref()) }
}

fn said(entity: Entity) -> String {
    format!("`{}`", entity.as_str())
}

/// The call with another body, or an error where that cannot be read any more.
pub(super) fn replaced(call: &Call, body: Option<String>) -> Result<Option<Call>, GatewayError> {
    let Some(body) = body else { return Ok(None) };
    let body = Bytes::from(body);
    let read = schema::read(call.head.operation, &body).map_err(GatewayError::Invalid)?;
    // What did not stand in the body, or was told by somebody trusted.
    let (model, stream, user) = (call.head.model.clone(), call.head.stream, call.head.user.clone());
    let head = schema::RequestHead { model, stream, user, ..read };
    Ok(Some(Call { head, body, ..call.clone() }))
}

/// The refusal of a request or an answer, in words.
pub fn refused(message: impl Into<String>) -> GatewayError {
    GatewayError::Guardrail { message: message.into() }
}

/// Keys the codes of hashed values: the same as long as the process runs, and nobody's afterwards.
fn secret() -> [u8; 32] {
    static SECRET: OnceLock<[u8; 32]> = OnceLock::new();
    *SECRET.get_or_init(rand::random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_that_fails_lets_nothing_through() {
        let failed = unharmed(|| -> Looked { panic!("this guard was meant to fail") });
        assert!(failed.is_err());

        let deep = format!("{{\"messages\":{}{}}}", "[".repeat(500), "]".repeat(500));
        assert!(look(&Policy::default(), deep.as_bytes(), None).body.is_err());
        assert!(look(&Policy::default(), b"\xff{}", None).body.is_err());
        assert!(look(&Policy::default(), b"{}", None).body.is_ok());
    }
}
