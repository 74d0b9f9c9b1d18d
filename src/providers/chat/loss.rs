//! What a request loses on its way to one upstream: told as a warning, or refused where the operator is strict.

use crate::schema::IntakeError;

/// What has been lost so far.
#[derive(Debug)]
pub(super) struct Losses {
    provider: &'static str,
    strict: bool,
    pub(super) warnings: Vec<String>,
}

impl Losses {
    /// Starts with nothing lost.
    pub(super) fn new(provider: &'static str, strict: bool) -> Self {
        Self { provider, strict, warnings: Vec::new() }
    }

    /// Notes that `param` was dropped.
    pub(super) fn dropped(&mut self, param: &str) -> Result<(), IntakeError> {
        let provider = self.provider;
        self.note(param, format!("`{param}` was dropped: {provider} does not take it"))
    }

    /// Notes what happened to `param`, in a sentence of its own; each only once.
    pub(super) fn note(&mut self, param: &str, sentence: String) -> Result<(), IntakeError> {
        if self.strict {
            return Err(refusal(param, &format!("cannot be sent to {} as it is; leave it out", self.provider)));
        }
        if !self.warnings.contains(&sentence) {
            self.warnings.push(sentence);
        }
        Ok(())
    }

    /// Returns the refusal of what makes no sense at this upstream.
    pub(super) fn impossible(&self, param: &str, instead: &str) -> IntakeError {
        refusal(param, &format!("cannot be sent to {}; {instead}", self.provider))
    }
}

fn refusal(param: &str, problem: &str) -> IntakeError {
    let message = format!("`{param}` {problem}");
    IntakeError { message, param: Some(param.to_owned()), code: Some("unsupported_parameter") }
}
