//! What a Responses request says about being stored, and about what was stored before.

use super::IntakeError;
use super::intake::fault;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Storing {
    /// Whether the answer is to be kept; none where the client leaves it to the gateway.
    pub store: Option<bool>,
    /// The answer that the request goes on from.
    pub previous: Option<String>,
}

impl Storing {
    /// Takes a field that is not null.
    pub(super) fn field(&mut self, name: &str, raw: &str) -> Result<(), IntakeError> {
        let refused = |instead: &str| {
            let message = format!("`{name}` is not supported by this gateway: {instead}");
            Err(fault("unsupported_parameter", Some(name.into()), message))
        };
        match name {
            "store" => self.store = Some(raw == "true"),
            "previous_response_id" => self.previous = serde_json::from_str(raw).ok(),
            "conversation" => {
                return refused("go on from an answer with `previous_response_id`, or send all in `input`");
            }
            "background" if raw == "true" => return refused("wait for the answer, or stream it"),
            _ => {}
        }
        Ok(())
    }
}
