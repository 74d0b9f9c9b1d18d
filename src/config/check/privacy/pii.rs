//! `[guardrails.pii]`: the policy of everybody, and those of teams, which say only what is different.

use std::collections::BTreeMap;

use super::{Known, hundredths, not_blank, orgs, pattern, stages, teams};
use crate::config::check::{Checker, Taken};
use crate::config::fault::Fault;
use crate::config::layer::{child, item};
use crate::config::privacy::{
    Action, CustomPattern, Law, Numbers, Pii, PiiPolicy, Profile, Stage, StageActions, Stages, TeamPolicy,
    usual_entities,
};
use crate::config::raw::{RawCustom, RawPii, RawStageActions, RawTeamPii};
use crate::config::word_or::WordOr;
use crate::privacy::{Entity, EntitySet};

const PATH: &str = "guardrails.pii";
/// What a cue word near it gives to a finding without a checksum.
const CONFIDENCE: f64 = 0.6;
const LOCALE: &str = "en";

/// What one table says of a policy.
struct Written {
    enabled: Option<bool>,
    stage: Option<Vec<Stage>>,
    action: Option<Action>,
    numbers: Option<Numbers>,
    profile: Option<Profile>,
    entities: Option<Vec<Entity>>,
    locales: Option<Vec<String>>,
    min_confidence: Option<f64>,
    allow: Option<Vec<String>>,
    deny: Option<Vec<String>>,
    actions: BTreeMap<String, WordOr<RawStageActions>>,
}

macro_rules! policy_of {
    ($raw:expr) => {
        Written {
            enabled: $raw.enabled,
            stage: $raw.stage,
            action: $raw.action,
            numbers: $raw.numbers,
            profile: $raw.profile,
            entities: $raw.entities,
            locales: $raw.locales,
            min_confidence: $raw.min_confidence,
            allow: $raw.allow,
            deny: $raw.deny,
            actions: $raw.actions,
        }
    };
}

/// Checks the policies. `law` says what holds where nothing is written.
pub(super) fn pii(checker: &mut Checker<'_>, raw: Option<RawPii>, law: Option<Law>, known: &Known<'_>) -> Pii {
    let usual = PiiPolicy {
        enabled: raw.is_some() || law.is_some(),
        stages: Stages::BOTH,
        numbers: Numbers::Counted,
        action: Action::Tokenize,
        actions: BTreeMap::new(),
        entities: law.map_or_else(usual_entities, |law| law.profile().entities()),
        locales: vec![LOCALE.to_owned()],
        min_confidence: (CONFIDENCE * 100.0) as u8,
        allow: Vec::new(),
        deny: Vec::new(),
    };
    let raw = raw.unwrap_or_default();
    let custom = customs(checker, &raw.custom);
    let own = !custom.is_empty();
    let policy = policy(checker, PATH, policy_of!(raw), &usual, own);
    let mut taken = Taken::default();
    let of_teams = raw.teams.into_iter().enumerate();
    let teams = of_teams.map(|(index, raw)| {
        let path = item(&child(PATH, "teams"), index);
        team_policy(checker, &path, raw, &policy, own, &mut taken, known)
    });
    let teams = teams.collect();
    Pii { policy, custom, teams }
}

fn team_policy(
    checker: &mut Checker<'_>,
    path: &str,
    raw: RawTeamPii,
    above: &PiiPolicy,
    own: bool,
    taken: &mut Taken,
    known: &Known<'_>,
) -> TeamPolicy {
    let here = child(path, "team");
    if raw.team.is_empty() && raw.org.is_empty() {
        checker.missing(path, "team", "whose policy it is, such as team = [\"clinic\"]");
    }
    let places = raw.team.iter().enumerate().map(|(index, team)| (item(&here, index), "team", team));
    let orgs_here = child(path, "org");
    let of_orgs = raw.org.iter().enumerate().map(|(index, org)| (item(&orgs_here, index), "organisation", org));
    for (here, kind, name) in places.chain(of_orgs) {
        if let Some(first) = taken.take(&format!("{kind} {name}"), &here) {
            let first = checker.placed(&first);
            checker.fault(&here, format!("{kind} `{name}` has a policy already, by {first}"));
        }
    }
    let teams = teams(checker, &here, &raw.team, known);
    let orgs = orgs(checker, &orgs_here, &raw.org, known);
    TeamPolicy { teams, orgs, policy: policy(checker, path, policy_of!(raw), above, own) }
}

/// Checks the policy at `path`; what it does not say is as in `above`. `own` says whether there are patterns of the
/// operator's own.
fn policy(checker: &mut Checker<'_>, path: &str, raw: Written, above: &PiiPolicy, own: bool) -> PiiPolicy {
    allowed(checker, &child(path, "allow"), raw.allow.as_deref().unwrap_or_default());
    not_blank(checker, &child(path, "deny"), raw.deny.as_deref().unwrap_or_default());
    languages(checker, &child(path, "locales"), raw.locales.as_deref().unwrap_or_default());
    let deny = raw.deny.unwrap_or_else(|| above.deny.clone());
    let enabled = raw.enabled.unwrap_or(above.enabled);
    let mut entities = above.entities;
    if raw.profile.is_some() || raw.entities.is_some() {
        let profile = raw.profile.map(Profile::entities).unwrap_or_default();
        entities = profile.union(raw.entities.into_iter().flatten().collect());
    }
    if own || !deny.is_empty() {
        entities = entities.with(Entity::Custom);
    }
    let list = child(path, "entities");
    if enabled && entities.is_empty() && !checker.origins.is_spoiled(&list) {
        let fault = Fault::error(format!("{list} is empty, so that nothing would be looked for"));
        checker.report(&list, fault.help("leave it out for the usual ones, or set enabled = false"));
    }
    let mut actions = above.actions.clone();
    for (entity, own) in entity_actions(checker, path, &raw.actions, entities) {
        let all = actions.entry(entity).or_default();
        *all = StageActions { input: own.input.or(all.input), output: own.output.or(all.output) };
    }
    let above_confidence = f64::from(above.min_confidence) / 100.0;
    PiiPolicy {
        enabled,
        stages: stages(checker, path, raw.stage.as_deref(), above.stages),
        numbers: raw.numbers.unwrap_or(above.numbers),
        action: raw.action.unwrap_or(above.action),
        actions,
        entities,
        locales: raw.locales.unwrap_or_else(|| above.locales.clone()),
        min_confidence: hundredths(checker, path, "min_confidence", raw.min_confidence, above_confidence),
        allow: raw.allow.unwrap_or_else(|| above.allow.clone()),
        deny,
    }
}

/// Checks `actions` of the policy at `path`, which looks for `entities`.
fn entity_actions(
    checker: &mut Checker<'_>,
    path: &str,
    raw: &BTreeMap<String, WordOr<RawStageActions>>,
    entities: EntitySet,
) -> Vec<(Entity, StageActions)> {
    let table = child(path, "actions");
    let mut actions = Vec::new();
    for (name, raw) in raw {
        let here = child(&table, name);
        let action = match raw {
            WordOr::Word(word) => {
                let action = action(checker, &here, word);
                StageActions { input: action, output: action }
            }
            WordOr::Table(RawStageActions { input: None, output: None }) => {
                if !checker.origins.is_spoiled(&here) {
                    let fault = Fault::error(format!("{here} names no action"));
                    checker.report(&here, fault.help("a word such as \"mask\", or input, output or both"));
                }
                continue;
            }
            WordOr::Table(RawStageActions { input, output }) => StageActions { input: *input, output: *output },
        };
        let Some(entity) = Entity::from_name(name) else {
            let known: Vec<&str> = Entity::all().map(Entity::as_str).collect();
            let fault = Fault::error(format!("{here}: `{name}` is no entity; there are: {}", known.join(", ")));
            checker.report(&here, fault.near(name, known));
            continue;
        };
        // What was left out of the entities for being none may have been this one.
        if !entities.contains(entity) && !checker.origins.is_spoiled(&child(path, "entities")) {
            checker.warn(&here, format!("{here} says what is done with `{name}`, which is not looked for"));
        }
        actions.push((entity, action));
    }
    actions
}

fn action(checker: &mut Checker<'_>, path: &str, word: &str) -> Option<Action> {
    let found = Action::ALL.into_iter().find(|action| action.as_str() == word);
    if found.is_none() {
        let words = Action::ALL.map(Action::as_str);
        let fault = Fault::error(format!("{path} is `{word}`, which is not one of: {}", words.join(", ")));
        checker.report(path, fault.near(word, words));
    }
    found
}

/// Reports values to be left alone that would leave everything alone, or nothing.
fn allowed(checker: &mut Checker<'_>, path: &str, list: &[String]) {
    not_blank(checker, path, list);
    let is_all = |text: &str| !text.trim().is_empty() && text.trim().chars().all(|c| c == '*');
    for (index, text) in list.iter().enumerate().filter(|(_, text)| is_all(text)) {
        let here = item(path, index);
        let fault = Fault::error(format!("{here} is `{text}`, which would leave everything alone"));
        checker.report(&here, fault.help("set enabled = false where nothing is to be looked for"));
    }
}

fn languages(checker: &mut Checker<'_>, path: &str, list: &[String]) {
    let is_language = |text: &str| {
        let (language, region) = text.split_once('-').unwrap_or((text, "XX"));
        let letters =
            |part: &str, most| (2..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphabetic());
        letters(language, 3) && letters(region, 4)
    };
    for (index, text) in list.iter().enumerate().filter(|(_, text)| !is_language(text)) {
        let here = item(path, index);
        checker.fault(&here, format!("{here}: `{text}` is no language; write for example \"en\" or \"de-AT\""));
    }
}

fn customs(checker: &mut Checker<'_>, raw: &[RawCustom]) -> Vec<CustomPattern> {
    let mut taken = Taken::default();
    let mut customs = Vec::with_capacity(raw.len());
    for (index, raw) in raw.iter().enumerate() {
        let path = item(&child(PATH, "custom"), index);
        match raw.name.as_deref() {
            None => {
                checker.missing(&path, "name", "what records and metrics call it, such as name = \"customer_number\"")
            }
            Some(name) => {
                let here = child(&path, "name");
                checker.is_id(&here, name);
                if Entity::from_name(name).is_some() {
                    checker.fault(&here, format!("{here}: `{name}` is an entity already; take another name"));
                } else if let Some(first) = taken.take(name, &path) {
                    let first = checker.placed(&first);
                    checker.fault(&here, format!("name `{name}` is taken by {first}"));
                }
            }
        }
        match raw.pattern.as_deref() {
            None => checker.missing(&path, "pattern", "a regular expression, such as pattern = 'CUST-\\d{8}'"),
            Some(text) => pattern(checker, &child(&path, "pattern"), text),
        }
        let (name, pattern) = (raw.name.clone().unwrap_or_default(), raw.pattern.clone().unwrap_or_default());
        customs.push(CustomPattern { name, pattern, action: raw.action });
    }
    customs
}
