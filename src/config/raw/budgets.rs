//! The shapes of budgets.

use std::collections::BTreeMap;

use bursar_actors::budget::Priority;
use serde::Deserialize;

use super::Amount;
use crate::config::budgets::Deed;
use crate::config::one_or_many::OneOrMany;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawBudgets {
    pub timezone: Option<String>,
    pub unpriced: Option<RawUnpriced>,
    pub unpriced_price: Option<RawUnpricedPrice>,
    pub queue_max: Option<u32>,
    pub webhooks: Vec<RawWebhook>,
    pub models: BTreeMap<String, OneOrMany<RawBudget>>,
    pub tags: BTreeMap<String, OneOrMany<RawBudget>>,
}

/// The values of `budgets.unpriced`.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawUnpriced {
    Block,
    Estimate,
    Flag,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawUnpricedPrice {
    pub input: Option<Amount>,
    pub output: Option<Amount>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawWebhook {
    pub url: Option<String>,
    pub secret: Option<String>,
    pub events: Option<Vec<Deed>>,
}

/// What one holder may spend in windows of one kind: the value of every `budget`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawBudget {
    pub id: Option<String>,
    pub amount: Option<Amount>,
    pub period: Option<String>,
    pub timezone: Option<String>,
    pub rollover: Option<Amount>,
    pub soft: Option<bool>,
    pub steps: Vec<RawStep>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawStep {
    pub at: Option<Amount>,
    #[serde(rename = "do")]
    pub deed: Option<Deed>,
    pub to: Option<String>,
    pub rpm: Option<u64>,
    pub max_wait: Option<String>,
    pub priority: Option<Priority>,
}
