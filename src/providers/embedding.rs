//! What the dialects of embeddings have in common: texts out, vectors in.

use serde_json::Value;

use super::dialect::Nonsense;
use super::losses::{Losses, refusal};
use crate::schema::IntakeError;
use crate::schema::embeddings::{EmbeddingInput, EmbeddingRequest};

/// Returns the texts to embed; tokens, which only OpenAI can read, are refused.
pub(crate) fn texts(request: &EmbeddingRequest) -> Result<Vec<&str>, IntakeError> {
    let texts = request.inputs.iter().map(|input| match input {
        EmbeddingInput::Text(text) => Ok(text.as_str()),
        EmbeddingInput::Tokens(_) => {
            let message = "`input` holds tokens, which only OpenAI's models can read; send `input` as text";
            Err(refusal("input", message))
        }
    });
    texts.collect()
}

/// Leaves out what only Gemini's clients say of a text: what its vector is for, and its title.
pub(crate) fn drop_purpose(request: &EmbeddingRequest, losses: &mut Losses) -> Result<(), IntakeError> {
    losses.drop_if(request.task.is_some(), "taskType")?;
    losses.drop_if(request.title.is_some(), "title")
}

/// Returns Cohere's word for what the vectors are for. It wants one always; documents are what is embedded most.
pub(crate) fn input_type(request: &EmbeddingRequest, losses: &mut Losses) -> Result<&'static str, IntakeError> {
    losses.drop_if(request.title.is_some(), "title")?;
    Ok(match request.task.as_deref() {
        None | Some("TASK_TYPE_UNSPECIFIED" | "RETRIEVAL_DOCUMENT") => "search_document",
        Some("RETRIEVAL_QUERY" | "QUESTION_ANSWERING" | "FACT_VERIFICATION" | "CODE_RETRIEVAL_QUERY") => "search_query",
        Some("CLASSIFICATION") => "classification",
        Some("CLUSTERING") => "clustering",
        Some(_) => {
            losses.note("taskType", "has no equivalent there; the texts were embedded as documents")?;
            "search_document"
        }
    })
}

/// Returns the vectors in `found`, of which there must be as many as there were texts.
pub(crate) fn vectors(found: Option<&Value>, expected: usize) -> Result<Vec<Vec<f32>>, Nonsense> {
    let Some(rows) = found.and_then(Value::as_array) else { return Err(Nonsense::of("it has no embeddings")) };
    if rows.len() != expected {
        return Err(Nonsense::of(format!("it has {} embeddings for {expected} texts", rows.len())));
    }
    rows.iter().map(vector).collect()
}

fn vector(row: &Value) -> Result<Vec<f32>, Nonsense> {
    let numbers = row.as_array().filter(|numbers| !numbers.is_empty());
    let numbers = numbers.ok_or_else(|| Nonsense::of("an embedding is no list of numbers"))?;
    let number = |number: &Value| number.as_f64().map(|number| number as f32);
    let numbers: Option<Vec<_>> = numbers.iter().map(number).collect();
    numbers.ok_or_else(|| Nonsense::of("an embedding holds something that is no number"))
}
