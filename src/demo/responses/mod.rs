//! The Responses of the OpenAI dialect: `POST /v1/responses`, whole and streamed.
//!
//! Nothing is kept between requests: what refers to an earlier response, or to a stored item, is refused.

mod events;
mod items;
mod request;
mod response;

use serde_json::{Value, json};

use super::dialect::{Arrival, Dialect};
use super::models::EMBED;
use super::openai;
use super::reply::{Refusal, Reply};
use request::Request;

const DIALECT: Dialect = Dialect::Responses;

pub(super) fn answer(arrival: Arrival<'_>) -> Reply {
    route(arrival).unwrap_or_else(|refusal| openai::refuse(&refusal))
}

/// Returns the event that tells of a failure in mid-stream, the one of that number.
pub(super) fn error_event(refusal: &Refusal, number: usize) -> Value {
    let Refusal { code, param, message, kind, .. } = refusal;
    let error = json!({"type": kind, "code": code, "message": message, "param": param});
    json!({"type": "error", "sequence_number": number, "code": code, "message": message, "param": param, "error": error})
}

fn route(arrival: Arrival<'_>) -> Result<Reply, Refusal> {
    if let Err(refusal) = arrival.check_method("POST") {
        return Ok(openai::refuse(&refusal).with_header("allow", "POST"));
    }
    arrival.check_key()?;
    let body = arrival.object()?;
    let model = openai::known_model(arrival.options, body)?;
    if model == EMBED {
        let message = format!("`{EMBED}` makes embeddings; it cannot chat");
        return Err(Refusal::invalid("model", "unsupported_value", message));
    }
    let request = Request::read(body, model, arrival.options.seed)?;
    openai::check_context(model, request.prompt_tokens())?;
    Ok(response::answer(&request, arrival))
}
