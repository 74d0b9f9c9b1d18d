//! What of a request an upstream does not get: a warning each, or a refusal where the client wants it strict.

use std::borrow::Cow;

use super::dialect::Target;
use crate::schema::IntakeError;
use crate::schema::chat::{ChatRequest, Content, Dialect, Extra, Part, Source, ToolChoice, ToolResult};

/// Most characters of a parameter's name in a warning; names of unknown fields are the client's own words.
const NAME_MAX: usize = 64;

/// Gathers the warnings of one request.
#[derive(Debug)]
pub(crate) struct Losses {
    upstream: &'static str,
    strict: bool,
    warnings: Vec<String>,
}

impl Losses {
    /// Begins for a call to `target`, which is called `upstream` in warnings.
    pub(crate) fn new(upstream: &'static str, target: &Target<'_>) -> Self {
        Self { upstream, strict: target.strict, warnings: Vec::new() }
    }

    /// `param` is left out, because the upstream has nothing for it.
    pub(crate) fn drop(&mut self, param: &str) -> Result<(), IntakeError> {
        let what = format!("was left out: {} does not take it", self.upstream);
        self.note(param, &what)
    }

    /// `param` is left out for a reason of its own.
    pub(crate) fn leave_out(&mut self, param: &str, why: &str) -> Result<(), IntakeError> {
        self.note(param, &format!("was left out: {why}"))
    }

    /// `param` is left out if the client sent it.
    pub(crate) fn drop_if(&mut self, sent: bool, param: &str) -> Result<(), IntakeError> {
        if sent { self.drop(param) } else { Ok(()) }
    }

    /// Something else than asked for becomes of `param`: `what` continues the sentence that begins with its name.
    pub(crate) fn note(&mut self, param: &str, what: &str) -> Result<(), IntakeError> {
        if self.strict {
            let name = clean(param);
            let message = format!(
                "nothing of a strict request may be lost, but `{name}` {what}; change or remove it, or choose another model"
            );
            return Err(IntakeError { message, param: Some(name), code: Some("unsupported_parameter") });
        }
        self.tell(param, what);
        Ok(())
    }

    /// The same where even a strict request is served, because it gets all that it asks of the answer.
    pub(crate) fn tell(&mut self, param: &str, what: &str) {
        let warning = format!("`{}` {what}", clean(param));
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Returns the refusal of what makes no sense without `param`; `instead` says why and what to do.
    pub(crate) fn impossible(&self, param: &str, instead: &str) -> IntakeError {
        refusal(param, &format!("cannot be sent to {}; {instead}", self.upstream))
    }

    /// Returns `value` within `[low, high]`, with a warning if it was not.
    pub(crate) fn within(&mut self, param: &str, value: f64, low: f64, high: f64) -> Result<f64, IntakeError> {
        if value < low || value > high {
            self.note(param, &format!("was set to the nearest value that {} takes ({low} to {high})", self.upstream))?;
        }
        Ok(value.clamp(low, high))
    }

    /// Returns the fields that only `dialect` knows; those of another are left out.
    pub(crate) fn own_extra<'r>(
        &mut self,
        extra: Option<&'r Extra>,
        dialect: Dialect,
    ) -> Result<Option<&'r Extra>, IntakeError> {
        match extra {
            Some(extra) if extra.dialect != dialect => {
                extra.lost_abroad().try_for_each(|name| self.drop(name))?;
                Ok(None)
            }
            other => Ok(other),
        }
    }

    /// Returns the warnings.
    pub(crate) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }
}

/// A header carries the name, so it holds nothing but printable ASCII.
fn clean(name: &str) -> String {
    name.chars().take(NAME_MAX).map(|c| if matches!(c, ' '..='~') && c != '`' { c } else { '?' }).collect()
}

/// Returns the refusal of what makes no sense without `param`: `what` continues the sentence that begins with its name.
pub(crate) fn refusal(param: &str, what: &str) -> IntakeError {
    let message = format!("`{param}` {what}");
    IntakeError { message, param: Some(param.to_owned()), code: Some("unsupported_parameter") }
}

/// Refuses more than one choice, for upstreams that give one.
pub(crate) fn one_choice(request: &ChatRequest) -> Result<(), IntakeError> {
    match request.choices {
        Some(choices) if choices > 1 => {
            Err(refusal("n", "is more than 1, and this upstream gives one choice per request; send 1"))
        }
        _ => Ok(()),
    }
}

/// Returns what a tool answered, for upstreams that know no failed calls: there the text says so.
pub(crate) fn told(result: &ToolResult) -> Cow<'_, [Part]> {
    const FAILED: &str = "ERROR: ";
    if !result.is_error {
        return Cow::Borrowed(&result.parts);
    }
    let mut parts = result.parts.clone();
    match parts.iter_mut().find_map(|part| if let Content::Text(text) = &mut part.content { Some(text) } else { None })
    {
        Some(text) if text.starts_with(FAILED) => {}
        Some(text) => text.insert_str(0, FAILED),
        None => parts.insert(0, Part::text(format!("{FAILED}the tool failed"))),
    }
    Cow::Owned(parts)
}

/// Returns whether a tool is offered to an upstream to which none can be named: then only the named one is.
pub(crate) fn is_offered(name: &str, choice: Option<&ToolChoice>) -> bool {
    match choice {
        Some(ToolChoice::Named(named)) => named == name,
        Some(ToolChoice::Allowed { names, .. }) => names.iter().any(|allowed| allowed == name),
        _ => true,
    }
}

/// Returns a document's text, where it is plain text.
pub(crate) fn document_text(source: &Source) -> Option<String> {
    use base64::Engine;
    match source {
        Source::Text(text) => Some(text.clone()),
        Source::Inline { media_type, data } if media_type.starts_with("text/") => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(data).ok()?;
            String::from_utf8(bytes).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::dialect::ModelFacts;

    #[test]
    fn a_loss_is_a_warning_once_and_a_refusal_where_strict() {
        let model_facts = &ModelFacts::default();
        let mut lenient = Losses::new("Cohere", &Target { model: "m", model_facts, strict: false });
        let mut strict = Losses::new("Cohere", &Target { model: "m", model_facts, strict: true });

        lenient.drop("seed").unwrap();
        lenient.drop("seed").unwrap();
        let refused = strict.drop("seed").unwrap_err();

        assert_eq!(lenient.into_warnings(), ["`seed` was left out: Cohere does not take it"]);
        assert_eq!(refused.param.as_deref(), Some("seed"));
    }

    #[test]
    fn a_name_that_no_header_can_carry_is_made_harmless() {
        assert_eq!(clean("a\r\nx: y\u{e9}"), "a??x: y?");
    }
}
