//! What of a request an upstream does not get: a warning each, or a refusal where the client wants all or nothing.

use crate::schema::IntakeError;

/// The warnings so far.
#[derive(Debug)]
pub(super) struct Losses {
    strict: bool,
    warnings: Vec<String>,
}

impl Losses {
    /// Begins without any; `strict` refuses the first.
    pub(super) fn new(strict: bool) -> Self {
        Self { strict, warnings: Vec::new() }
    }

    /// Notes that `param` is left out and why, once.
    pub(super) fn lose(&mut self, param: &str, why: &str) -> Result<(), IntakeError> {
        if self.strict {
            return Err(refused(
                param,
                format!("`{param}` cannot be honoured: {why}; leave it out or allow it to be dropped"),
            ));
        }
        let warning = format!("`{param}` was left out: {why}");
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
        Ok(())
    }

    /// Returns the warnings.
    pub(super) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }
}

/// Returns the refusal of `param`.
pub(super) fn refused(param: &str, message: impl Into<String>) -> IntakeError {
    IntakeError { message: message.into(), param: Some(param.to_owned()), code: Some("unsupported_value") }
}
