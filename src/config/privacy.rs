//! `[compliance]`, `[data_classes]`, `[[prompts]]` and `[guardrails]`: what must not leave, what is done with it, and what
//! is said to models besides.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_http::header::HeaderName;

use bursar_actors::{OrgId, Secret, TeamId};
use serde::Deserialize;

use crate::privacy::{Entity, EntitySet};

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Privacy {
    /// Whose rules the operator follows. What follows from it stands in the other settings already.
    pub compliance: Option<Law>,
    /// By the name of the class.
    pub data_classes: BTreeMap<String, DataClass>,
    /// In the order in which they were written; each name once.
    pub prompts: Vec<Prompt>,
    pub guardrails: Guardrails,
}

/// The values of `compliance.profile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    Hipaa,
    Pci,
    Gdpr,
}

impl Law {
    /// Returns the profile of entities that it asks for.
    pub fn profile(self) -> Profile {
        match self {
            Self::Hipaa => Profile::Hipaa,
            Self::Pci => Profile::Pci,
            Self::Gdpr => Profile::Gdpr,
        }
    }
}

/// A set of entities that goes by a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    Hipaa,
    Pci,
    Gdpr,
    Secrets,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hipaa, Self::Pci, Self::Gdpr, Self::Secrets];

    /// Returns its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hipaa => "hipaa",
            Self::Pci => "pci",
            Self::Gdpr => "gdpr",
            Self::Secrets => "secrets",
        }
    }

    /// Returns what it holds.
    pub fn entities(self) -> EntitySet {
        EntitySet::of_profile(self.as_str()).unwrap_or(EntitySet::NONE)
    }
}

/// `[data_classes.<name>]`: how a request is known to hold such data, and what may serve it then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataClass {
    /// A request in which one of these is found is of the class.
    pub findings: EntitySet,
    /// So is every request of these teams.
    pub teams: Vec<TeamId>,
    /// And of the teams of these organisations.
    pub orgs: Vec<OrgId>,
    /// So is a request whose header of this name has the name of the class as its value.
    pub header: Option<HeaderName>,
    /// Whether only providers that are self-hosted may serve it.
    pub self_hosted: bool,
}

/// Whose requests something is for, and for which models.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audience {
    /// These teams', and those of `orgs`; everybody's where both are empty.
    pub teams: Vec<TeamId>,
    pub orgs: Vec<OrgId>,
    /// Aliases that have to be asked for; empty for any model.
    pub routes: Vec<String>,
}

impl Audience {
    /// Returns whether it covers a request of `asker` for `alias`.
    pub fn covers(&self, asker: Asker<'_>, alias: &str) -> bool {
        let everybody = self.teams.is_empty() && self.orgs.is_empty();
        (everybody || asker.is_among(&self.teams, &self.orgs))
            && (self.routes.is_empty() || self.routes.iter().any(|route| route == alias))
    }
}

/// Whose request it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asker<'a> {
    pub team: Option<&'a TeamId>,
    /// The team's organisation.
    pub org: Option<&'a OrgId>,
}

impl Asker<'_> {
    /// Returns whether its team or its organisation is among those.
    pub fn is_among(self, teams: &[TeamId], orgs: &[OrgId]) -> bool {
        self.team.is_some_and(|team| teams.contains(team)) || self.org.is_some_and(|org| orgs.contains(org))
    }
}

/// `[[prompts]]`: words of the operator for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// 1 to 64 characters.
    pub name: String,
    pub audience: Audience,
    pub place: PromptPlace,
    /// Not blank.
    pub text: String,
}

/// Where a prompt of the operator's stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptPlace {
    /// Before what the client says as the system.
    #[default]
    SystemPrepend,
    /// Behind it.
    SystemAppend,
}

impl PromptPlace {
    /// Returns its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SystemPrepend => "system_prepend",
            Self::SystemAppend => "system_append",
        }
    }
}

/// `[guardrails]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guardrails {
    /// What becomes of a text that could not be looked at.
    pub on_error: Passage,
    /// Characters of a stream that are held back, so that nothing is told in halves: 16 to 1024.
    pub stream_window: usize,
    /// What becomes of a request with parts that nobody can look into: images, audio, files.
    pub unscanned_parts: Passage,
    /// Whether what is found is counted only, and nothing is changed or refused.
    pub dry_run: bool,
    pub pii: Pii,
    /// In the order in which they were written; each name once.
    pub rules: Vec<Rule>,
    /// Asked one after the other, in the order in which they were written; no name is a rule's.
    pub webhooks: Vec<Reviewer>,
    pub structured_output: Structured,
}

/// `[guardrails.structured_output]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Structured {
    pub check: StructuredCheck,
    /// Whether the model is asked once more.
    pub repair: bool,
    pub audience: Audience,
}

/// What becomes of an answer that does not have the form that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StructuredCheck {
    /// Nobody looks.
    #[default]
    Off,
    /// It passes, and is counted.
    Flag,
    /// It does not pass.
    Block,
}

impl StructuredCheck {
    /// Returns its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Flag => "flag",
            Self::Block => "block",
        }
    }
}

/// `[[guardrails.webhooks]]`: a service that is asked about texts before they go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewer {
    /// 1 to 64 characters.
    pub name: String,
    /// Of https, or of http on this machine. Often it is a secret itself.
    pub url: Secret,
    /// What questions are signed with.
    pub secret: Option<Secret>,
    /// What it knows the gateway by.
    pub token: Option<Secret>,
    pub stages: Stages,
    /// How long it has for one question: 50 ms to 30 s.
    pub timeout: Duration,
    /// What becomes of a text that it says nothing about.
    pub on_error: Passage,
    /// About how many characters of a stream it is asked about at once: 32 to 65,536.
    pub stream_window: usize,
    pub audience: Audience,
}

/// Whether something passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Passage {
    Block,
    Allow,
}

impl Passage {
    /// Returns its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Allow => "allow",
        }
    }
}

/// `[guardrails.pii]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pii {
    /// Of everybody who has no other.
    pub policy: PiiPolicy,
    /// Patterns of the operator's own; each name once. They are looked for wherever the policy has `custom`.
    pub custom: Vec<CustomPattern>,
    /// No team and no organisation stands in two of them.
    pub teams: Vec<TeamPolicy>,
}

/// `[[guardrails.pii.teams]]`: a policy of its own, complete: what it does not name it has from the one for everybody. That
/// of a team goes before that of its organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamPolicy {
    /// At least one team or organisation.
    pub teams: Vec<TeamId>,
    pub orgs: Vec<OrgId>,
    pub policy: PiiPolicy,
}

/// What is looked for and what is done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PiiPolicy {
    pub enabled: bool,
    pub stages: Stages,
    /// How placeholders are numbered.
    pub numbers: Numbers,
    /// What is done with what has no action of its own.
    pub action: Action,
    /// What is done with some entities.
    pub actions: BTreeMap<Entity, StageActions>,
    /// What is looked for; has `custom` where there are patterns or terms of the operator's own. Complete also where
    /// it is not enabled, for `audit.content = "redacted"`.
    pub entities: EntitySet,
    /// Languages whose cue words count, such as `en`.
    pub locales: Vec<String>,
    /// How sure a finding has to be, in hundredths: 0 to 100.
    pub min_confidence: u8,
    /// Values that are left alone; `*` stands for any characters.
    pub allow: Vec<String>,
    /// Terms that are found as `custom`, whatever they are.
    pub deny: Vec<String>,
}

impl PiiPolicy {
    /// Returns what is done with an `entity` that is found at `stage`.
    pub fn action_of(&self, entity: Entity, stage: Stage) -> Action {
        let own = self.actions.get(&entity);
        own.and_then(|own| own.of(stage)).unwrap_or(self.action)
    }
}

/// How placeholders are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Numbers {
    /// By first appearance in a request.
    #[default]
    Counted,
    /// By a code under a key of the session's, where there is one: the same in every request of the session.
    Keyed,
}

impl Numbers {
    /// Returns its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Keyed => "keyed",
        }
    }
}

/// Returns what is looked for where nobody says: all but what every other text has.
pub fn usual_entities() -> EntitySet {
    Entity::all().filter(|entity| !matches!(entity, Entity::Date | Entity::Url | Entity::Age)).collect()
}

/// `[[guardrails.pii.custom]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomPattern {
    /// An identifier that is no entity's name.
    pub name: String,
    /// A regular expression that compiles within [`PATTERN_SIZE`] and finds something.
    pub pattern: String,
    /// `None` for that of `custom`.
    pub action: Option<Action>,
}

/// Most bytes that a compiled pattern may take up.
pub const PATTERN_SIZE: usize = 1 << 20;

/// What is done with something that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing, and it is not counted.
    Allow,
    /// It is counted and recorded.
    Flag,
    /// The name of its entity stands for it.
    Mask,
    /// A placeholder stands for it, for which an answer gets the value back.
    #[default]
    Tokenize,
    /// A keyed hash stands for it: the same for the same value.
    Hash,
    /// The request is refused.
    Block,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Allow, Self::Flag, Self::Mask, Self::Tokenize, Self::Hash, Self::Block];

    /// Returns its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Flag => "flag",
            Self::Mask => "mask",
            Self::Tokenize => "tokenize",
            Self::Hash => "hash",
            Self::Block => "block",
        }
    }
}

/// What is looked at: what clients send, or what models answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Input,
    Output,
}

impl Stage {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Input, Self::Output];

    /// Returns its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

/// One stage or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stages {
    pub input: bool,
    pub output: bool,
}

impl Stages {
    /// What clients send and what models answer.
    pub const BOTH: Self = Self { input: true, output: true };
    /// What clients send.
    pub const INPUT: Self = Self { input: true, output: false };

    /// Returns whether `stage` is among them.
    pub fn contains(self, stage: Stage) -> bool {
        match stage {
            Stage::Input => self.input,
            Stage::Output => self.output,
        }
    }
}

/// What is done with one entity at each stage; `None` for what is done with all others there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageActions {
    pub input: Option<Action>,
    pub output: Option<Action>,
}

impl StageActions {
    /// Returns what is done at `stage`.
    pub fn of(self, stage: Stage) -> Option<Action> {
        match stage {
            Stage::Input => self.input,
            Stage::Output => self.output,
        }
    }
}

/// `[[guardrails.rules]]`. It applies where any of what it detects is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// 1 to 64 characters.
    pub name: String,
    pub stages: Stages,
    pub entities: EntitySet,
    /// How sure an attempt at injection has to be, in hundredths, 1 to 100; `None` where none is looked for.
    pub injection: Option<u8>,
    /// Not blank.
    pub terms: Vec<String>,
    /// How many different terms one text has to have, for any to count: 1 to as many as there are.
    pub at_least: usize,
    /// Each compiles within [`PATTERN_SIZE`] and finds something.
    pub patterns: Vec<String>,
    /// The languages that may be spoken, by codes that [`is_language`](crate::privacy::judge::is_language) knows; empty where
    /// any may.
    pub languages: Vec<String>,
    /// `flag`, `mask` or `block`; `mask` only without `injection` and `languages`.
    pub action: Action,
    /// What a client is told whose request is refused.
    pub message: Option<String>,
    pub audience: Audience,
}
