//! Which dialect a kind of provider is spoken to in.

use super::dialect::UpstreamDialect;
use crate::schema::chat::Dialect;

/// Returns what translates for a provider of that kind (its name in the configuration) that speaks `dialect`.
pub fn of(_kind: &str, _dialect: Dialect) -> &'static dyn UpstreamDialect {
    todo!()
}

/// Returns whether the kind copies OpenAI's API with differences that a request has to be rewritten for.
pub fn is_particular(_kind: &str) -> bool {
    false
}
