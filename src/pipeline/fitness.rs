//! Which candidates are enough: for a request, and for what an alias says of all its targets.
//!
//! The catalog is the judge. What it does not know counts as enough, and where nothing is enough everything is tried:
//! this only prefers one model to another. A request is held against the bounds of a whole route first, by one AND and
//! two comparisons; only one that fails there is held against each candidate.

use std::collections::BTreeMap;

use crate::config::catalog::Ability;
use crate::config::{Alias, Config, Provider, Target};
use crate::providers::catalog::{Catalog, Entry};
use crate::schema::{Needs, Operation, RequestHead};

/// Each need with the ability that serves it, and what is said of a model that lacks it.
const SERVED: [(Needs, Ability, &str); 7] = [
    (Needs::TOOLS, Ability::Tools, "its model calls no tools"),
    (Needs::VISION, Ability::Vision, "its model sees no images"),
    (Needs::AUDIO, Ability::AudioInput, "its model hears no audio"),
    (Needs::VIDEO, Ability::VideoInput, "its model sees no video"),
    (Needs::DOCUMENTS, Ability::Pdf, "its model reads no documents"),
    (Needs::JSON_SCHEMA, Ability::JsonSchema, "its model follows no JSON schema"),
    (Needs::REASONING, Ability::Reasoning, "its model does not reason"),
];

/// What may be missing of a prompt's true length in its estimate: a tenth. Who leaves out a model too many still has
/// another, but a prompt that is too long is an error that no other call may mend.
const MARGIN: u64 = 10;

/// A candidate that a request has no use for, by its index, and why.
pub type LeftOut = (usize, &'static str);

/// What a request asks of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    needs: Needs,
    prompt: u64,
    answer: u64,
}

impl Demand {
    /// Returns what the request asks that `head` is of.
    pub fn of(head: &RequestHead) -> Self {
        // Each text of such a list has the whole window to itself.
        let listed = matches!(head.operation, Operation::Embeddings | Operation::Completions);
        // The estimate counts their bytes, which says nothing about tokens.
        let opaque = head.needs.has_any(Needs::DOCUMENTS.with(Needs::AUDIO).with(Needs::VIDEO));
        let prompt = head.tokens_in_estimate.saturating_add(head.tokens_in_estimate / MARGIN);
        Self {
            needs: head.needs,
            prompt: if listed || opaque { 0 } else { prompt },
            answer: head.max_output_tokens.unwrap_or(0),
        }
    }
}

/// What a model is known not to manage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    lacks: Needs,
    prompt: u64,
    answer: u64,
}

impl Bounds {
    const NONE: Self = Self { lacks: Needs::NONE, prompt: u64::MAX, answer: u64::MAX };

    fn of(entry: &Entry) -> Self {
        let lacks = SERVED.iter().filter(|(_, ability, _)| entry.can(*ability) == Some(false));
        Self {
            lacks: lacks.fold(Needs::NONE, |lacks, (need, ..)| lacks.with(*need)),
            prompt: entry.context.unwrap_or(u64::MAX),
            answer: entry.max_output.unwrap_or(u64::MAX),
        }
    }

    fn narrower(self, other: Self) -> Self {
        Self {
            lacks: self.lacks.with(other.lacks),
            prompt: self.prompt.min(other.prompt),
            answer: self.answer.min(other.answer),
        }
    }

    fn hold(&self, demand: &Demand) -> bool {
        !self.lacks.has_any(demand.needs) && demand.prompt <= self.prompt && demand.answer <= self.answer
    }

    fn shortfall(&self, demand: &Demand) -> Option<&'static str> {
        let lacking = SERVED.iter().find(|(need, ..)| demand.needs.has_any(*need) && self.lacks.has_any(*need));
        match lacking {
            Some((.., why)) => Some(why),
            None if demand.prompt > self.prompt => Some("the prompt is too long for its model"),
            None if demand.answer > self.answer => Some("its model may not answer at such length"),
            None => None,
        }
    }
}

/// What is known of the candidates of one route.
#[derive(Debug)]
pub struct Fitness {
    /// By the candidate's index.
    each: Vec<Bounds>,
    /// What every one of them manages; without bounds where all are alike and none is to be preferred.
    all: Bounds,
}

impl Fitness {
    /// Takes what the catalog knows of each candidate, in their order.
    pub fn new<'e>(entries: impl Iterator<Item = Option<&'e Entry>>) -> Self {
        let each: Vec<_> = entries.map(|entry| entry.map_or(Bounds::NONE, Bounds::of)).collect();
        let alike = each.windows(2).all(|pair| pair[0] == pair[1]);
        let all = if alike { Bounds::NONE } else { each.iter().copied().fold(Bounds::NONE, Bounds::narrower) };
        Self { each, all }
    }

    /// Returns whether any candidate but those that are `barred` may be enough.
    pub fn suffices(&self, demand: &Demand, barred: &[usize]) -> bool {
        let open = self.each.iter().enumerate().filter(|(index, _)| !barred.contains(index));
        open.into_iter().any(|(_, bounds)| bounds.hold(demand))
    }

    /// Returns the candidates that are known not to be enough, as long as another is left; those that are `barred` anyway
    /// do not count.
    pub fn left_out(&self, demand: &Demand, barred: &[usize]) -> Vec<LeftOut> {
        if self.all.hold(demand) {
            return vec![];
        }
        let short = |(index, bounds): (usize, &Bounds)| Some((index, bounds.shortfall(demand)?));
        let open = self.each.iter().enumerate().filter(|(index, _)| !barred.contains(index));
        let left_out: Vec<_> = open.filter_map(short).collect();
        if left_out.len() + barred.len() == self.each.len() { vec![] } else { left_out }
    }
}

/// Returns the targets of `alias` that are not known to lack what it needs, all of them where none is left, and a
/// sentence for the operator about each that lacks something.
pub fn fitting<'a>(
    alias: &'a Alias,
    providers: &BTreeMap<String, Provider>,
    catalog: &Catalog,
) -> (Vec<&'a Target>, Vec<String>) {
    let mut fitting = Vec::new();
    let mut warnings = Vec::new();
    for target in &alias.targets {
        let entry = providers.get(&target.provider).and_then(|provider| catalog.of(provider, &target.model));
        match entry.and_then(|entry| unmet(alias, &entry)) {
            None => fitting.push(target),
            Some(why) => {
                let Target { provider, model, .. } = target;
                warnings.push(format!("models.alias.{} leaves out `{provider}/{model}`, which {why}", alias.name));
            }
        }
    }
    if fitting.is_empty() && !warnings.is_empty() {
        warnings.push(format!(
            "models.alias.{}.needs is met by no target, so all of them stay; ask for less, or add a target",
            alias.name
        ));
        fitting.extend(&alias.targets);
    }
    (fitting, warnings)
}

/// Returns what every alias of `config` leaves out, for the operator.
pub fn warnings(config: &Config) -> Vec<String> {
    let catalog = Catalog::builtin().with_overrides(config);
    config.models.aliases.values().flat_map(|alias| fitting(alias, &config.providers, &catalog).1).collect()
}

fn unmet(alias: &Alias, entry: &Entry) -> Option<String> {
    let needs = &alias.needs;
    if let Some((wanted, has)) = needs.context_window.zip(entry.context).filter(|(wanted, has)| has < wanted) {
        return Some(format!("reads {has} tokens of the {wanted} in `needs.context_window`"));
    }
    let lacking = needs.capabilities.iter().find(|ability| entry.can(**ability) == Some(false))?;
    Some(format!("lacks `{lacking}` of `needs.capabilities`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blind() -> Entry {
        Entry { cannot: [Ability::Vision].into(), context: Some(1_000), ..Entry::default() }
    }

    fn long() -> Entry {
        Entry { can: [Ability::Vision].into(), context: Some(9_000), max_output: Some(50), ..Entry::default() }
    }

    fn demand(needs: Needs, prompt: u64, answer: u64) -> Demand {
        Demand { needs, prompt, answer }
    }

    fn indices(fitness: &Fitness, demand: Demand) -> Vec<usize> {
        fitness.left_out(&demand, &[]).into_iter().map(|(index, _)| index).collect()
    }

    #[test]
    fn who_is_known_to_lack_something_is_left_out_and_who_is_unknown_is_not() {
        let (blind, long) = (blind(), long());
        let fitness = Fitness::new([Some(&blind), Some(&long), None].into_iter());

        assert_eq!(fitness.left_out(&demand(Needs::VISION, 10, 0), &[]), [(0, "its model sees no images")]);
        assert!(fitness.left_out(&demand(Needs::VISION, 10, 0), &[1, 2]).is_empty(), "it is all that is left");
        assert_eq!(indices(&fitness, demand(Needs::NONE, 1_001, 0)), [0]);
        assert_eq!(indices(&fitness, demand(Needs::NONE, 10, 51)), [1]);
        assert_eq!(indices(&fitness, demand(Needs::VISION, 9_001, 51)), [0, 1]);
        assert_eq!(indices(&fitness, demand(Needs::TOOLS, 10, 50)), [0; 0]);
    }

    #[test]
    fn nobody_is_left_out_where_nobody_would_be_left() {
        let (blind, long) = (blind(), long());
        let both = Fitness::new([Some(&blind), Some(&long)].into_iter());
        let alike = Fitness::new([Some(&blind), Some(&blind)].into_iter());

        assert_eq!(indices(&both, demand(Needs::VISION, 9_001, 0)), [0; 0]);
        assert_eq!(indices(&alike, demand(Needs::VISION, 10, 0)), [0; 0]);
        assert!(alike.all.hold(&demand(Needs::VISION, 10, 0)), "nothing to look into");
    }

    #[test]
    fn a_prompt_is_measured_with_a_margin_unless_its_estimate_means_nothing() {
        let body = |part: &str| {
            let text = "a".repeat(4_000);
            format!(r#"{{"messages":[{{"role":"user","content":[{part}{{"type":"text","text":"{text}"}}]}}]}}"#)
        };
        let of = |part| {
            let head = crate::schema::read(Operation::ChatCompletions, body(part).as_bytes());
            Demand::of(&head.expect("the body is sound"))
        };

        assert!((1_100..1_150).contains(&of("").prompt), "{:?}", of(""));
        assert_eq!(of(r#"{"type":"file"},"#), demand(Needs::DOCUMENTS, 0, 0));
    }
}
