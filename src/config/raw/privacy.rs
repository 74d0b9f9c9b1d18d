//! The shapes of compliance, data classes, prompts and guardrails.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::privacy::{Action, Law, Numbers, Passage, Profile, PromptPlace, Stage, StructuredCheck};
use crate::config::word_or::WordOr;
use crate::privacy::Entity;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawCompliance {
    pub profile: Option<Law>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawDataClass {
    pub from: RawClassSigns,
    pub require: RawClassNeeds,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawClassSigns {
    pub findings: Vec<Entity>,
    pub teams: Vec<String>,
    pub orgs: Vec<String>,
    pub header: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawClassNeeds {
    pub self_hosted: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawPrompt {
    pub name: Option<String>,
    pub when: RawWhen,
    pub place: Option<PromptPlace>,
    pub text: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawWhen {
    pub team: Vec<String>,
    pub org: Vec<String>,
    pub route: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawGuardrails {
    pub on_error: Option<Passage>,
    pub stream_window: Option<u32>,
    pub unscanned_parts: Option<Passage>,
    pub dry_run: Option<bool>,
    /// Whether it was written at all says whether it is wanted.
    pub pii: Option<RawPii>,
    pub rules: Vec<RawRule>,
    pub webhooks: Vec<RawReviewer>,
    pub structured_output: RawStructured,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawStructured {
    pub check: Option<StructuredCheck>,
    pub repair: Option<bool>,
    pub teams: Vec<String>,
    pub orgs: Vec<String>,
    pub routes: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawPii {
    pub enabled: Option<bool>,
    pub stage: Option<Vec<Stage>>,
    pub action: Option<Action>,
    pub numbers: Option<Numbers>,
    pub profile: Option<Profile>,
    pub entities: Option<Vec<Entity>>,
    pub locales: Option<Vec<String>>,
    pub min_confidence: Option<f64>,
    pub allow: Option<Vec<String>>,
    pub deny: Option<Vec<String>>,
    pub actions: BTreeMap<String, WordOr<RawStageActions>>,
    pub custom: Vec<RawCustom>,
    pub teams: Vec<RawTeamPii>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTeamPii {
    pub team: Vec<String>,
    pub org: Vec<String>,
    pub enabled: Option<bool>,
    pub stage: Option<Vec<Stage>>,
    pub action: Option<Action>,
    pub numbers: Option<Numbers>,
    pub profile: Option<Profile>,
    pub entities: Option<Vec<Entity>>,
    pub locales: Option<Vec<String>>,
    pub min_confidence: Option<f64>,
    pub allow: Option<Vec<String>>,
    pub deny: Option<Vec<String>>,
    pub actions: BTreeMap<String, WordOr<RawStageActions>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawStageActions {
    pub input: Option<Action>,
    pub output: Option<Action>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawCustom {
    pub name: Option<String>,
    pub pattern: Option<String>,
    pub action: Option<Action>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRule {
    pub name: Option<String>,
    pub stage: Option<Vec<Stage>>,
    pub detect: Vec<String>,
    pub terms: Vec<String>,
    pub patterns: Vec<String>,
    pub at_least: Option<u32>,
    pub languages: Vec<String>,
    pub threshold: Option<f64>,
    pub action: Option<RawRuleAction>,
    pub message: Option<String>,
    pub teams: Vec<String>,
    pub orgs: Vec<String>,
    pub routes: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawReviewer {
    pub name: Option<String>,
    pub url: Option<String>,
    pub secret: Option<String>,
    pub token: Option<String>,
    pub stage: Option<Vec<Stage>>,
    pub timeout: Option<String>,
    pub on_error: Option<Passage>,
    pub stream_window: Option<u32>,
    pub teams: Vec<String>,
    pub orgs: Vec<String>,
    pub routes: Vec<String>,
}

/// The values of `guardrails.rules.action`.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawRuleAction {
    Flag,
    Mask,
    Block,
}

impl From<RawRuleAction> for Action {
    fn from(raw: RawRuleAction) -> Self {
        match raw {
            RawRuleAction::Flag => Self::Flag,
            RawRuleAction::Mask => Self::Mask,
            RawRuleAction::Block => Self::Block,
        }
    }
}
