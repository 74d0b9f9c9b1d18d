//! `[compliance]`, `[data_classes]`, `[[prompts]]` and `[guardrails]`.

mod pii;
mod reviewers;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use actix_http::header::{COOKIE, HeaderName, PROXY_AUTHORIZATION};
use bursar_actors::access::{Org, Team};
use bursar_actors::{OrgId, TeamId};
use regex::RegexBuilder;

use super::{Checker, Taken};
use crate::config::Provider;
use crate::config::callers::KEY_HEADERS;
use crate::config::fault::Fault;
use crate::config::layer::{child, item};
use crate::config::privacy::{
    Audience, DataClass, Guardrails, PATTERN_SIZE, Passage, Privacy, Prompt, Stage, Stages, Structured,
};
use crate::config::raw::{RawClassSigns, RawCompliance, RawDataClass, RawGuardrails, RawPrompt, RawStructured};

/// Names of prompts and rules stand in records and metrics.
const NAME_MAX: usize = 64;
/// Characters of a stream that may be held back.
const WINDOW: std::ops::RangeInclusive<u32> = 16..=1024;
const WINDOW_USUAL: u32 = 64;

/// The raw shapes of all of it.
pub(super) struct Raw {
    pub compliance: RawCompliance,
    pub data_classes: BTreeMap<String, RawDataClass>,
    pub prompts: Vec<RawPrompt>,
    pub guardrails: RawGuardrails,
}

/// What it may name.
pub(super) struct Known<'k> {
    pub orgs: &'k BTreeMap<OrgId, Org>,
    pub teams: &'k BTreeMap<TeamId, Team>,
    /// Those that are left out too.
    pub aliases: &'k BTreeSet<String>,
    pub providers: &'k BTreeMap<String, Provider>,
}

/// Checks all of it.
pub(super) fn privacy(checker: &mut Checker<'_>, raw: Raw, known: &Known<'_>) -> Privacy {
    let Raw { compliance, data_classes, prompts, guardrails } = raw;
    let mut classes = BTreeMap::new();
    for (name, raw) in data_classes {
        let class = data_class(checker, &name, &raw, known);
        classes.insert(name, class);
    }
    let mut names = Taken::default();
    let prompts = prompts.iter().enumerate();
    let prompts = prompts.map(|(index, raw)| prompt(checker, &item("prompts", index), raw, &mut names, known));
    Privacy {
        compliance: compliance.profile,
        data_classes: classes,
        prompts: prompts.collect(),
        guardrails: guardrails_of(checker, guardrails, &compliance, known),
    }
}

fn guardrails_of(
    checker: &mut Checker<'_>,
    raw: RawGuardrails,
    compliance: &RawCompliance,
    known: &Known<'_>,
) -> Guardrails {
    let stream_window = raw.stream_window.unwrap_or(WINDOW_USUAL);
    if !WINDOW.contains(&stream_window) {
        let (least, most) = (WINDOW.start(), WINDOW.end());
        let path = "guardrails.stream_window";
        checker.fault(path, format!("{path} is {stream_window}; it is a number of characters, from {least} to {most}"));
    }
    let on_error = raw.on_error.unwrap_or(Passage::Block);
    let mut names = Taken::default();
    Guardrails {
        on_error,
        stream_window: stream_window as usize,
        unscanned_parts: raw.unscanned_parts.unwrap_or(Passage::Allow),
        dry_run: raw.dry_run.unwrap_or(false),
        pii: pii::pii(checker, raw.pii, compliance.profile, known),
        rules: rules::rules(checker, &raw.rules, &mut names, known),
        structured_output: structured(checker, &raw.structured_output, known),
        webhooks: reviewers::reviewers(checker, &raw.webhooks, &mut names, on_error, known),
    }
}

fn structured(checker: &mut Checker<'_>, raw: &RawStructured, known: &Known<'_>) -> Structured {
    let path = "guardrails.structured_output";
    Structured {
        check: raw.check.unwrap_or_default(),
        repair: raw.repair.unwrap_or(true),
        audience: audience(checker, path, (&raw.teams, &raw.orgs, &raw.routes), known),
    }
}

fn data_class(checker: &mut Checker<'_>, name: &str, raw: &RawDataClass, known: &Known<'_>) -> DataClass {
    let path = child("data_classes", name);
    checker.is_id(&path, name);
    let (from, require) = (child(&path, "from"), child(&path, "require"));
    let RawClassSigns { findings, teams: named, orgs: named_orgs, header } = &raw.from;
    let fine = !checker.origins.is_spoiled(&path) && !checker.origins.is_spoiled(&from);
    if findings.is_empty() && named.is_empty() && named_orgs.is_empty() && header.is_none() && fine {
        let fault = Fault::error(format!("{from} names nothing by which a request would be of the class"));
        checker.report(&from, fault.help("findings, teams, orgs or header, for example findings = [\"mrn\"]"));
    }
    let self_hosted = raw.require.self_hosted.unwrap_or(false);
    if !self_hosted && !checker.origins.is_spoiled(&path) && !checker.origins.is_spoiled(&require) {
        checker.warn(&path, format!("{path} requires nothing, so that it only marks requests"));
    }
    if self_hosted && !known.providers.values().any(|provider| provider.self_hosted) {
        let here = child(&require, "self_hosted");
        let message = format!("{here} leaves nobody to serve such requests: no provider is self-hosted");
        let help = "set self_hosted = true on the providers whose machines are yours";
        checker.report(&here, Fault::warning(message).help(help));
    }
    DataClass {
        findings: findings.iter().copied().collect(),
        teams: teams(checker, &child(&from, "teams"), named, known),
        orgs: orgs(checker, &child(&from, "orgs"), named_orgs, known),
        header: header.as_ref().and_then(|name| header_name(checker, &child(&from, "header"), name)),
        self_hosted,
    }
}

fn header_name(checker: &mut Checker<'_>, path: &str, name: &str) -> Option<HeaderName> {
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(header) if KEY_HEADERS.contains(&header) || header == COOKIE || header == PROXY_AUTHORIZATION => {
            checker.fault(path, format!("{path}: header `{header}` carries a secret, and no class"));
            None
        }
        Ok(header) => Some(header),
        Err(_) => {
            checker.fault(path, format!("{path}: `{name}` is not the name of a header"));
            None
        }
    }
}

fn prompt(checker: &mut Checker<'_>, path: &str, raw: &RawPrompt, names: &mut Taken, known: &Known<'_>) -> Prompt {
    let when = child(path, "when");
    let text = raw.text.clone().unwrap_or_default();
    if raw.text.is_none() {
        checker.missing(path, "text", "what the model is told");
    } else if text.trim().is_empty() {
        let here = child(path, "text");
        checker.fault(&here, format!("{here} is empty"));
    }
    Prompt {
        name: name(checker, path, raw.name.as_deref(), names),
        audience: Audience {
            teams: teams(checker, &child(&when, "team"), &raw.when.team, known),
            orgs: orgs(checker, &child(&when, "org"), &raw.when.org, known),
            routes: routes(checker, &child(&when, "route"), &raw.when.route, known),
        },
        place: raw.place.unwrap_or_default(),
        text,
    }
}

/// Returns the name of a prompt or a rule, which no other one of `names` has.
fn name(checker: &mut Checker<'_>, path: &str, raw: Option<&str>, names: &mut Taken) -> String {
    let Some(name) = raw else {
        checker.missing(path, "name", "what records and metrics call it");
        return String::new();
    };
    let here = child(path, "name");
    let fits = (1..=NAME_MAX).contains(&name.chars().count()) && name.trim() == name;
    if !fits || name.contains(char::is_control) {
        let rule = "1 to 64 characters, without blanks at its ends";
        checker.fault(&here, format!("`{}` is not a name: {rule}", name.escape_debug()));
    } else if let Some(first) = names.take(name, path) {
        let first = checker.placed(&first);
        checker.fault(&here, format!("name `{name}` is taken by {first}"));
    }
    name.to_owned()
}

/// Returns the teams that `named` holds. One that no file defines may be made while the gateway runs.
fn teams(checker: &mut Checker<'_>, path: &str, named: &[String], known: &Known<'_>) -> Vec<TeamId> {
    for (index, team) in named.iter().enumerate() {
        if !known.teams.contains_key(&TeamId::from(team.as_str())) {
            let here = item(path, index);
            let message = format!("{here} names team `{team}`, which no file defines: it counts once the team is made");
            let fault = Fault::warning(message).near(team, known.teams.keys().map(TeamId::as_str));
            checker.report(&here, fault);
        }
    }
    named.iter().map(|team| TeamId::from(team.as_str())).collect()
}

/// Returns the organisations that `named` holds. One that no file defines may be made while the gateway runs.
fn orgs(checker: &mut Checker<'_>, path: &str, named: &[String], known: &Known<'_>) -> Vec<OrgId> {
    for (index, org) in named.iter().enumerate() {
        if !known.orgs.contains_key(&OrgId::from(org.as_str())) {
            let here = item(path, index);
            let message =
                format!("{here} names organisation `{org}`, which no file defines: it counts once that is made");
            let fault = Fault::warning(message).near(org, known.orgs.keys().map(OrgId::as_str));
            checker.report(&here, fault);
        }
    }
    named.iter().map(|org| OrgId::from(org.as_str())).collect()
}

/// Returns whom a rule or a webhook at `path` is for.
fn audience(
    checker: &mut Checker<'_>,
    path: &str,
    (named_teams, named_orgs, named_routes): (&[String], &[String], &[String]),
    known: &Known<'_>,
) -> Audience {
    Audience {
        teams: teams(checker, &child(path, "teams"), named_teams, known),
        orgs: orgs(checker, &child(path, "orgs"), named_orgs, known),
        routes: routes(checker, &child(path, "routes"), named_routes, known),
    }
}

/// Returns the aliases that `named` holds.
fn routes(checker: &mut Checker<'_>, path: &str, named: &[String], known: &Known<'_>) -> Vec<String> {
    for (index, alias) in named.iter().enumerate().filter(|(_, alias)| !known.aliases.contains(*alias)) {
        let here = item(path, index);
        let message = format!("{here} names alias `{alias}`, which is not defined");
        checker.unknown(&here, message, alias, known.aliases.iter().map(String::as_str));
    }
    named.to_vec()
}

/// Returns the stages at `stage` in `table`, or the default.
fn stages(checker: &mut Checker<'_>, table: &str, raw: Option<&[Stage]>, default: Stages) -> Stages {
    let Some(raw) = raw else { return default };
    let path = child(table, "stage");
    // What was left out for being no stage is reported already.
    if raw.is_empty() && !checker.origins.is_spoiled(&path) {
        let fault = Fault::error(format!("{path} is empty, so that nothing would be looked at"));
        checker.report(&path, fault.help("leave it out for the default, or write \"input\", \"output\" or both"));
    }
    Stages { input: raw.contains(&Stage::Input), output: raw.contains(&Stage::Output) }
}

/// Returns the share at `key` in `table` in hundredths.
fn hundredths(checker: &mut Checker<'_>, table: &str, key: &str, raw: Option<f64>, default: f64) -> u8 {
    let share = checker.share(table, key, raw, default);
    (share * 100.0).round() as u8
}

/// Reports those of `list` that are blank.
fn not_blank(checker: &mut Checker<'_>, path: &str, list: &[String]) {
    for (index, _) in list.iter().enumerate().filter(|(_, text)| text.trim().is_empty()) {
        let here = item(path, index);
        checker.fault(&here, format!("{here} is empty"));
    }
}

/// Reports a regular expression that does not compile, or that finds nothing at all in every text.
fn pattern(checker: &mut Checker<'_>, path: &str, pattern: &str) {
    match RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).build() {
        Ok(regex) if regex.is_match("") => {
            let fault = Fault::error(format!("{path} matches even where there is nothing"));
            checker.report(path, fault.help("let it ask for one character at least: + for *, no ? around all of it"));
        }
        Ok(_) => {}
        Err(regex::Error::CompiledTooBig(_)) => {
            let fault = Fault::error(format!("{path} is too large a pattern: more than 1 MiB once it is compiled"));
            checker.report(path, fault.help("lower its counts, or write [0-9] for \\d and [a-z] for \\w"));
        }
        Err(error) => {
            // The crate draws the place over several lines; what is wrong stands in the last.
            let text = error.to_string();
            let why = text.lines().last().unwrap_or_default();
            let why = why.strip_prefix("error: ").unwrap_or(why);
            checker.fault(path, format!("{path} is not a regular expression: {why}"));
        }
    }
}

#[cfg(test)]
mod tests;
