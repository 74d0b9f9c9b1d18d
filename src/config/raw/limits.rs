//! The shapes of `limits`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Amount;

/// What one holder may use: the value of every `limits`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLimits {
    pub rpm: Option<u64>,
    pub rph: Option<u64>,
    pub rpd: Option<u64>,
    pub tpm: Option<u64>,
    pub tph: Option<u64>,
    pub tpd: Option<u64>,
    pub concurrency: Option<u32>,
    pub cost_per_request: Option<Amount>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLimitTables {
    pub models: BTreeMap<String, RawLimits>,
    pub tags: BTreeMap<String, RawLimits>,
}
