//! Which dialect a kind of provider is spoken to in.

use super::anthropic::Anthropic;
use super::bedrock::Bedrock;
use super::chat::{Compatible, row};
use super::cohere::Cohere;
use super::dialect::UpstreamDialect;
use super::gemini::Gemini;
use super::ollama::Ollama;
use super::responses::Responses;
use crate::schema::chat::Dialect;

/// The row for whatever has none of its own.
const PLAIN: &str = "openai_compatible";

/// Returns what translates for a provider of that kind (its name in the configuration) that speaks `dialect`.
pub fn of(kind: &str, dialect: Dialect) -> &'static dyn UpstreamDialect {
    match dialect {
        Dialect::OpenAi => compatible(kind),
        Dialect::Responses => &Responses,
        Dialect::Anthropic => &Anthropic,
        Dialect::Gemini if kind == "vertex" => &Gemini { vertex: true },
        Dialect::Gemini => &Gemini { vertex: false },
        Dialect::Bedrock => &Bedrock,
        Dialect::Cohere => &Cohere,
        Dialect::Ollama => &Ollama,
    }
}

fn compatible(kind: &str) -> &'static dyn UpstreamDialect {
    use std::collections::BTreeMap;
    use std::sync::LazyLock;
    static ALL: LazyLock<BTreeMap<&'static str, Compatible>> =
        LazyLock::new(|| super::chat::table::ROWS.iter().map(|row| (row.name, Compatible { row })).collect());
    let row = row(kind).or_else(|| row(PLAIN)).expect("the plain row is in the table");
    &ALL[row.name]
}

/// Returns whether the kind, which copies OpenAI's API, has its legacy completions, too.
pub fn has_completions(kind: &str) -> bool {
    row(kind).is_none_or(|row| row.completions)
}

/// Returns whether the kind copies OpenAI's API with differences that a request has to be rewritten for.
pub fn is_particular(kind: &str) -> bool {
    row(kind).is_some_and(|row| row.knows.is_some())
}
