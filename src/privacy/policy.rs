//! What to look for in one direction, and what to do about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::placeholder::lookalikes;
use super::{Entity, Finding, Judge, Scanner};

/// What happens to something that was found; each is stricter than the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// It passes, and is not counted.
    Allow,
    /// It passes, and is counted.
    Flag,
    /// A placeholder stands for it, and the answer gets the value back.
    Tokenize,
    /// A keyed code of its value stands for it: equal values stay equal.
    Hash,
    /// The name of its kind stands for it.
    Mask,
    /// The request is refused.
    Block,
}

impl Action {
    /// The name in configuration, records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Flag => "flag",
            Self::Tokenize => "tokenize",
            Self::Hash => "hash",
            Self::Mask => "mask",
            Self::Block => "block",
        }
    }
}

/// Who says a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// The application: its instructions, and what it says of its tools. They are meant to instruct.
    System,
    /// Anybody else: people, tools, models.
    Other,
}

/// What looks at a text.
enum Finder {
    Scanner(Arc<Scanner>),
    Judge(Judge),
}

/// One rule of a policy: what it looks for, and what it does about it.
pub struct Layer {
    rule: Arc<str>,
    finder: Finder,
    /// How many different values one text has to have, for any of them to count.
    different: usize,
    /// Text that is left alone, lower case, with `*` for any number of characters.
    allow: Vec<String>,
    actions: BTreeMap<Entity, Action>,
    default: Action,
    /// In hundredths.
    min_confidence: u8,
}

impl Layer {
    /// The rule of that name, which does `default` with whatever `scanner` finds.
    pub fn new(rule: &str, scanner: impl Into<Arc<Scanner>>, default: Action) -> Self {
        Self::of(rule, Finder::Scanner(scanner.into()), default)
    }

    /// The rule of that name, which does `default` with texts that `judge` finds something in, whoever but the application
    /// says them.
    pub fn judging(rule: &str, judge: Judge, default: Action) -> Self {
        Self::of(rule, Finder::Judge(judge), default)
    }

    fn of(rule: &str, finder: Finder, default: Action) -> Self {
        let (rule, actions) = (rule.into(), BTreeMap::new());
        Self { rule, finder, different: 1, allow: vec![], actions, default, min_confidence: 0 }
    }

    /// Minds nothing in texts that have fewer than that many different values of what it looks for.
    #[must_use]
    pub fn different(mut self, values: usize) -> Self {
        self.different = values;
        self
    }

    /// Values that are left alone; `*` stands for any number of characters, and case does not count.
    #[must_use]
    pub fn allowing<'a>(mut self, values: impl IntoIterator<Item = &'a str>) -> Self {
        self.allow.extend(values.into_iter().map(str::to_lowercase));
        self
    }

    /// What is done with `entity` instead of the default.
    #[must_use]
    pub fn with(mut self, entity: Entity, action: Action) -> Self {
        self.actions.insert(entity, action);
        self
    }

    /// Leaves out what is less sure than that, in hundredths.
    #[must_use]
    pub fn at_least(mut self, confidence: u8) -> Self {
        self.min_confidence = confidence;
        self
    }

    fn action(&self, entity: Entity) -> Action {
        self.actions.get(&entity).copied().unwrap_or(self.default)
    }

    /// Leaves in `findings` what stands in `text`, which `voice` says.
    fn find(&self, text: &str, voice: Voice, findings: &mut Vec<Finding>) {
        match &self.finder {
            Finder::Scanner(scanner) => scanner.scan(text, findings),
            Finder::Judge(judge) if voice == Voice::Other => judge.find(text, findings),
            Finder::Judge(_) => findings.clear(),
        }
        findings.retain(|finding| self.minds(finding, text));
        if self.different > 1 && !findings.is_empty() {
            let values = findings.iter().map(|finding| finding.of(text).to_lowercase());
            if values.collect::<BTreeSet<_>>().len() < self.different {
                findings.clear();
            }
        }
    }

    fn minds(&self, finding: &Finding, text: &str) -> bool {
        let value = finding.of(text);
        finding.confidence >= self.min_confidence
            && self.action(finding.entity) != Action::Allow
            && !self.allows(value)
            // What stands for a value is no value.
            && lookalikes(value).is_empty()
    }

    fn allows(&self, value: &str) -> bool {
        !self.allow.is_empty() && {
            let value = value.to_lowercase();
            self.allow.iter().any(|pattern| fits(pattern, &value))
        }
    }
}

/// Something found, and what is to be done about it. Both ends lie between characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    pub start: usize,
    pub end: usize,
    pub entity: Entity,
    pub action: Action,
    /// Which rule of the policy found it.
    pub(super) layer: usize,
}

/// All rules that hold for one direction of a request.
#[derive(Default)]
pub struct Policy {
    layers: Vec<Arc<Layer>>,
}

impl Policy {
    /// The policy with one more rule.
    #[must_use]
    pub fn with(mut self, layer: impl Into<Arc<Layer>>) -> Self {
        self.layers.push(layer.into());
        self
    }

    /// Whether a placeholder may come to stand for something.
    pub fn tokenizes(&self) -> bool {
        let tokenizes = |layer: &Arc<Layer>| {
            layer.default == Action::Tokenize || layer.actions.values().any(|action| *action == Action::Tokenize)
        };
        self.layers.iter().any(tokenizes)
    }

    /// Whether it matters who says a text.
    pub fn judges(&self) -> bool {
        self.layers.iter().any(|layer| matches!(layer.finder, Finder::Judge(_)))
    }

    /// Whether it has no rule.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// The name of the rule that `hit` is due to.
    pub fn rule(&self, hit: &Hit) -> &Arc<str> {
        &self.layers[hit.layer].rule
    }

    /// Leaves in `hits` what the rules say something about in a text of `voice`, in the order of the text. Of two that overlap the stricter
    /// stays, of two as strict the longer; what is only flagged stands in nobody's way.
    pub fn find(&self, text: &str, voice: Voice, hits: &mut Vec<Hit>) {
        hits.clear();
        let mut findings = Vec::new();
        for (layer, rule) in self.layers.iter().enumerate() {
            rule.find(text, voice, &mut findings);
            hits.extend(findings.iter().map(|finding| {
                let (start, end) = (finding.start as usize, finding.end as usize);
                Hit { start, end, entity: finding.entity, action: rule.action(finding.entity), layer }
            }));
        }
        if self.layers.len() > 1 && hits.len() > 1 {
            hits.sort_unstable_by_key(|hit| {
                (std::cmp::Reverse((hit.action, hit.end - hit.start)), hit.start, hit.layer)
            });
            let mut kept: BTreeMap<usize, usize> = BTreeMap::new();
            hits.retain(|hit| {
                if hit.action == Action::Flag {
                    return true;
                }
                let before = kept.range(..hit.end).next_back();
                let free = before.is_none_or(|(_, end)| *end <= hit.start);
                if free {
                    kept.insert(hit.start, hit.end);
                }
                free
            });
            hits.sort_unstable_by_key(|hit| (hit.start, hit.layer));
        }
    }
}

/// Whether `value` is what `pattern` describes, where `*` stands for anything.
fn fits(pattern: &str, value: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = value.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::EntitySet;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, value, fitting) in [
            ("a@b.com", "a@b.com", true),
            ("a@b.com", "xa@b.com", false),
            ("*@b.com", "x@b.com", true),
            ("*@b.com", "x@b.com.org", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, value), fitting, "{pattern} {value}");
        }
    }

    #[test]
    fn the_stricter_rule_wins_and_flags_stand_aside() {
        let mails = || Scanner::new(EntitySet::NONE.with(Entity::Email));
        let policy = Policy::default()
            .with(Layer::new("flags", mails(), Action::Flag))
            .with(Layer::new("pii", mails(), Action::Tokenize).allowing(["*@b.example"]))
            .with(Layer::new("hard", mails(), Action::Mask).allowing(["a@*"]));
        let mut hits = Vec::new();
        let told = |hits: &[Hit]| hits.iter().map(|hit| (policy.rule(hit).to_string(), hit.action)).collect::<Vec<_>>();

        policy.find("c@d.example", Voice::Other, &mut hits);
        assert_eq!(told(&hits), [("flags".to_owned(), Action::Flag), ("hard".to_owned(), Action::Mask)]);
        policy.find("a@b.example", Voice::Other, &mut hits);
        assert_eq!(told(&hits), [("flags".to_owned(), Action::Flag)]);
    }

    #[test]
    fn a_subject_is_what_several_of_its_words_are_about() {
        let terms = ["casino".to_owned(), "roulette".to_owned(), "bet".to_owned()];
        let scanner = || Scanner::with_custom(EntitySet::NONE.with(Entity::Custom), &[], &terms).expect("terms");
        let policy = Policy::default().with(Layer::new("gambling", scanner(), Action::Mask).different(2));
        let mut hits = Vec::new();
        for (text, found) in [("You bet!", 0), ("I bet, you bet.", 0), ("Bet at the casino", 2), ("BET bet casino", 3)]
        {
            policy.find(text, Voice::Other, &mut hits);
            assert_eq!(hits.len(), found, "{text}");
        }
    }

    #[test]
    fn what_the_application_itself_says_is_not_judged() {
        let german =
            "Bitte antworten Sie immer auf Deutsch, auch wenn die Frage in einer anderen Sprache gestellt ist.";
        let judge = Judge::new(None, &["en".to_owned()]);
        let policy = Policy::default().with(Layer::judging("english only", judge, Action::Block));
        let mut hits = Vec::new();
        policy.find(german, Voice::System, &mut hits);
        assert_eq!(hits, []);
        policy.find(german, Voice::Other, &mut hits);
        assert!(policy.judges() && hits.len() == 1 && hits[0].entity == Entity::Language);
    }
}
