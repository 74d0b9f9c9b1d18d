//! `[[guardrails.rules]]`.

use super::{Known, audience, hundredths, name, not_blank, pattern, stages};
use crate::config::check::{Checker, Taken};
use crate::config::fault::Fault;
use crate::config::layer::{child, item};
use crate::config::privacy::{Rule, Stages};
use crate::config::raw::{RawRule, RawRuleAction};
use crate::privacy::{Entity, EntitySet, judge};

/// How sure an attempt at injection has to be.
const THRESHOLD: f64 = 0.85;
/// Words of `detect` besides the names of entities.
const WORDS: [&str; 4] = ["injection", "terms", "patterns", "languages"];

/// What a rule looks for.
#[derive(Default)]
struct Detect {
    entities: EntitySet,
    injection: bool,
    terms: bool,
    patterns: bool,
    languages: bool,
}

impl Detect {
    /// What is said of a whole text.
    fn judged(&self) -> Option<&'static str> {
        if self.injection { Some("injection") } else { self.languages.then_some("languages") }
    }
}

/// Checks all rules.
pub(super) fn rules(checker: &mut Checker<'_>, raw: &[RawRule], names: &mut Taken, known: &Known<'_>) -> Vec<Rule> {
    let each = raw.iter().enumerate();
    each.map(|(index, raw)| rule(checker, &item("guardrails.rules", index), raw, names, known)).collect()
}

fn rule(checker: &mut Checker<'_>, path: &str, raw: &RawRule, names: &mut Taken, known: &Known<'_>) -> Rule {
    let name = name(checker, path, raw.name.as_deref(), names);
    let detect = detect(checker, path, &raw.detect);
    let lists = [
        ("terms", &raw.terms, detect.terms),
        ("patterns", &raw.patterns, detect.patterns),
        ("languages", &raw.languages, detect.languages),
    ];
    for (key, list, wanted) in lists {
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
    let stages = stages(checker, path, raw.stage.as_deref(), Stages::INPUT);
    if let Some(word) = detect.judged() {
        whole_text(checker, path, word, action, stages);
    }
    spoken(checker, &child(path, "languages"), &raw.languages);
    let at_least = at_least(checker, path, raw, detect.terms);
    Rule {
        name,
        stages,
        entities: detect.entities,
        injection: detect.injection.then_some(threshold),
        terms: raw.terms.clone(),
        at_least,
        patterns: raw.patterns.clone(),
        languages: raw.languages.clone(),
        action: action.into(),
        message: message(checker, path, raw, action),
        audience: audience(checker, path, (&raw.teams, &raw.orgs, &raw.routes), known),
    }
}

fn detect(checker: &mut Checker<'_>, path: &str, words: &[String]) -> Detect {
    let list = child(path, "detect");
    if words.is_empty() && !checker.origins.is_spoiled(&list) {
        checker.missing(
            path,
            "detect",
            "names of entities, injection, terms, patterns or languages, such as detect = [\"api_key\"]",
        );
    }
    let mut detect = Detect::default();
    for (index, word) in words.iter().enumerate() {
        match (word.as_str(), Entity::from_name(word)) {
            (_, Some(entity)) => detect.entities = detect.entities.with(entity),
            ("injection", _) => detect.injection = true,
            ("languages", _) => detect.languages = true,
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

/// Reports what cannot be done about something that is said of a whole text.
fn whole_text(checker: &mut Checker<'_>, path: &str, word: &str, action: RawRuleAction, stages: Stages) {
    if action == RawRuleAction::Mask {
        let here = child(path, "action");
        let fault = format!("{here} is `mask`, but `{word}` is about whole texts, of which nothing would be left");
        let fault = Fault::error(fault).help("flag or block them, and mask the rest by a rule of its own");
        checker.report(&here, fault);
    }
    if stages.output {
        let here = child(path, "stage");
        let fault = format!("{here} has `output`, but `{word}` is looked for in what clients send only");
        checker.report(&here, Fault::error(fault).help("detect the rest by a rule of its own"));
    }
}

/// Reports languages that cannot be told from others.
fn spoken(checker: &mut Checker<'_>, path: &str, codes: &[String]) {
    for (index, code) in codes.iter().enumerate().filter(|(_, code)| !judge::is_language(code)) {
        let here = item(path, index);
        let known: Vec<&str> = judge::languages().collect();
        let fault = Fault::error(format!("{here} is `{code}`, which is not one of: {}", known.join(", ")));
        checker.report(&here, fault.near(code, known));
    }
}

/// Returns how many different terms there have to be.
fn at_least(checker: &mut Checker<'_>, path: &str, raw: &RawRule, terms: bool) -> usize {
    let here = child(path, "at_least");
    let Some(at_least) = raw.at_least else { return 1 };
    let most = raw.terms.len().max(1);
    if !terms {
        unused(checker, &here, "terms");
    } else if at_least == 0 || at_least as usize > most {
        checker.fault(&here, format!("{here} is {at_least}; it is a number of terms, from 1 to the {most} there are"));
    }
    (at_least as usize).clamp(1, most)
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
