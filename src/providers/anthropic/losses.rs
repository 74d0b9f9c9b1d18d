//! What of a request is lost on the way, for the client to know; or, where it wants that, why the request is refused.

use crate::schema::IntakeError;

/// Gathers what is lost.
#[derive(Debug, Default)]
pub(super) struct Losses {
    strict: bool,
    warnings: Vec<String>,
}

impl Losses {
    pub(super) fn new(strict: bool) -> Self {
        Self { strict, warnings: Vec::new() }
    }

    /// Something is lost that `what` says after the parameter's name.
    pub(super) fn lose(&mut self, param: &str, what: &str) -> Result<(), IntakeError> {
        if self.strict {
            return Err(refuse(param, what));
        }
        self.note(param, what);
        Ok(())
    }

    /// The same where a strict request is served all the same, because nothing that was asked for is lost.
    pub(super) fn note(&mut self, param: &str, what: &str) {
        let warning = format!("{param} {what}");
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    pub(super) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }
}

/// Returns the refusal of what makes no sense for an upstream.
pub(super) fn refuse(param: &str, what: &str) -> IntakeError {
    let message = format!("`{param}` {what}");
    IntakeError { message, param: Some(param.to_owned()), code: Some("unsupported_parameter") }
}
