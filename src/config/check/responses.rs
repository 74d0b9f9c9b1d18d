//! `[responses]`.

use super::Checker;
use super::audit::{DAY, days};
use crate::config::raw::RawResponses;
use crate::config::responses::Responses;
use crate::config::units;

const RETENTION_DAYS: u32 = 30;
const STORAGE: usize = 1_000_000_000;

/// Returns what is stored of Responses.
pub(super) fn responses(checker: &mut Checker<'_>, raw: &RawResponses) -> Responses {
    let storage = raw.storage.as_ref().map_or(Ok(STORAGE), |text| units::size(text)).unwrap_or_else(|why| {
        checker.fault("responses.storage", format!("responses.storage: {why}"));
        STORAGE
    });
    Responses {
        store: raw.store.unwrap_or_default(),
        retention: days(checker, "responses.retention", raw.retention.as_ref(), DAY * RETENTION_DAYS),
        storage,
    }
}
