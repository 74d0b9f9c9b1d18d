//! `[[guardrails.rules]]`.

use super::{Known, hundredths, name, not_blank, pattern, routes, stages, teams};
use crate::config::check::{Checker, Taken};
use crate::config::fault::Fault;
use crate::config::layer::{child, item};
use crate::config::privacy::{Rule, Stages};
use crate::config::raw::{RawRule, RawRuleAction};
use crate::privacy::{Entity, EntitySet};

/// How sure an attempt at injection has to be.
const THRESHOLD: f64 = 0.85;
/// Words of `detect` besides the names of entities.
const WORDS: [&str; 3] = ["injection", "terms", "patterns"];

/// What a rule looks for.
#[derive(Default)]
struct Detect {
    entities: EntitySet,
    injection: bool,
    terms: bool,
    patterns: bool,
}

/// Checks all rules.
pub(super) fn rules(checker: &mut Checker<'_>, raw: &[RawRule], known: &Known<'_>) -> Vec<Rule> {
    let mut names = Taken::default();
    let each = raw.iter().enumerate();
    each.map(|(index, raw)| rule(checker, &item("guardrails.rules", index), raw, &mut names, known)).collect()
}

fn rule(checker: &mut Checker<'_>, path: &str, raw: &RawRule, names: &mut Taken, known: &Known<'_>) -> Rule {
    let name = name(checker, path, raw.name.as_deref(), names);
    let detect = detect(checker, path, &raw.detect);
    for (key, list, wanted) in [("terms", &raw.terms, detect.terms), ("patterns", &raw.patterns, detect.patterns)] {
        let here = child(path, key);
        match (wanted, list.is_empty()) {
            (true, true) => checker.missing(path, key, "detect names them, so there has to be one at least"),
            (false, false) => unused(checker, &here, key),
            _ => not_blank(checker, &here, list),
        }
    }
    for (index, text) in raw.patterns.iter().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        pattern(checker, &item(&child(path, "patterns"), index), text);
    }
    let threshold = hundredths(checker, path, "threshold", raw.threshold, THRESHOLD);
    let here = child(path, "threshold");
    if raw.threshold.is_some() && !detect.injection {
        unused(checker, &here, "injection");
    } else if threshold == 0 {
        checker.fault(&here, format!("{here} is 0, so that every text would be an attempt"));
    }
    let action = raw.action.unwrap_or(RawRuleAction::Block);
    if action == RawRuleAction::Mask && detect.injection {
        let here = child(path, "action");
        let fault =
            Fault::error(format!("{here} is `mask`, but an injection is a whole text, of which nothing would be left"));
        checker.report(&here, fault.help("flag or block it, and mask the rest by a rule of its own"));
    }
    Rule {
        name,
        stages: stages(checker, path, raw.stage.as_deref(), Stages::INPUT),
        entities: detect.entities,
        injection: detect.injection.then_some(threshold),
        terms: raw.terms.clone(),
        patterns: raw.patterns.clone(),
        action: action.into(),
        message: message(checker, path, raw, action),
        teams: teams(checker, &child(path, "teams"), &raw.teams, known),
        routes: routes(checker, &child(path, "routes"), &raw.routes, known),
    }
}

fn detect(checker: &mut Checker<'_>, path: &str, words: &[String]) -> Detect {
    let list = child(path, "detect");
    if words.is_empty() && !checker.origins.is_spoiled(&list) {
        checker.missing(
            path,
            "detect",
            "names of entities, injection, terms or patterns, such as detect = [\"api_key\"]",
        );
    }
    let mut detect = Detect::default();
    for (index, word) in words.iter().enumerate() {
        match (word.as_str(), Entity::from_name(word)) {
            (_, Some(entity)) => detect.entities = detect.entities.with(entity),
            ("injection", _) => {
                detect.injection = true;
                let here = item(&list, index);
                let fault = Fault::warning(format!("{here} is `injection`, which this version does not look for yet"));
                checker
                    .report(&here, fault.help("what else the rule detects counts; do not rely on it for injections"));
            }
            ("terms", _) => detect.terms = true,
            ("patterns", _) => detect.patterns = true,
            _ => {
                let here = item(&list, index);
                let known: Vec<&str> = WORDS.into_iter().chain(Entity::all().map(Entity::as_str)).collect();
                let fault = Fault::error(format!("{here} is `{word}`, which is not one of: {}", known.join(", ")));
                checker.report(&here, fault.near(word, known));
            }
        }
    }
    detect
}

/// Reports a setting that counts only where `detect` has `word`.
fn unused(checker: &mut Checker<'_>, path: &str, word: &str) {
    let fault = Fault::error(format!("{path} belongs to `{word}`, which `detect` does not name"));
    checker.report(path, fault.help(format!("add \"{word}\" to detect, or take it out")));
}

fn message(checker: &mut Checker<'_>, path: &str, raw: &RawRule, action: RawRuleAction) -> Option<String> {
    let message = raw.message.clone()?;
    let here = child(path, "message");
    if action != RawRuleAction::Block {
        checker.fault(&here, format!("{here} belongs to action = \"block\": nobody else is told"));
    } else if message.trim().is_empty() {
        checker.fault(&here, format!("{here} is empty"));
    }
    Some(message)
}
