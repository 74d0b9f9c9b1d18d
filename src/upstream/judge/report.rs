//! An error body of any of the shapes in use, reduced to message, type, code and parameter.

use serde_json::Value;

/// What a body says of the error.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) message: String,
    pub(super) kind: Option<String>,
    pub(super) code: Option<String>,
    pub(super) param: Option<String>,
    /// A status given inside the body.
    pub(super) status: Option<u16>,
    /// OpenRouter's `metadata.limit_source`.
    pub(super) limit_source: Option<String>,
    /// OpenRouter's moderation gave reasons.
    pub(super) moderated: bool,
    pub(super) html: bool,
    /// Everything that patterns look at, in lower case.
    pub(super) lower: String,
}

/// Bytes of a body that are looked at.
const BODY_MAX: usize = 64 * 1024;

impl Report {
    pub(super) fn read(body: &[u8]) -> Self {
        let body = body.trim_ascii();
        let mut report = match serde_json::from_slice::<Value>(body) {
            Ok(value) => Self::of(value.get(0).unwrap_or(&value)),
            Err(_) => {
                let text = String::from_utf8_lossy(&body[..body.len().min(BODY_MAX)]);
                Self { html: body.starts_with(b"<"), message: text.into_owned(), ..Self::default() }
            }
        };
        let words = [Some(&report.message), report.kind.as_ref(), report.code.as_ref(), Some(&report.lower)];
        report.lower = words.into_iter().flatten().map(|word| word.to_lowercase()).collect::<Vec<_>>().join("\n");
        report
    }

    fn of(value: &Value) -> Self {
        // In Responses, a stream that failed ends in a response which has the error; at Cohere its last event has it.
        let errors = [value.get("error"), value.pointer("/response/error"), value.pointer("/delta/error")];
        let error = errors.into_iter().flatten().find(|error| !error.is_null()).unwrap_or(value);
        if let Some(message) = error.as_str() {
            // xAI and TGI: the error is a string, its code or type stands beside it.
            return Self {
                message: message.to_owned(),
                kind: text(value, "error_type").or_else(|| text(value, "type")),
                code: text(value, "code"),
                ..Self::default()
            };
        }
        let metadata = error.get("metadata");
        let numbers = ["status_code", "status", "code"];
        let extra = ["/metadata/raw", "/innererror/code", "/innererror", "/details"];
        let extra: Vec<_> = extra.iter().filter_map(|path| error.pointer(path)).map(Value::to_string).collect();
        Self {
            message: message(error).or_else(|| ended(value)).unwrap_or_default(),
            kind: text(error, "type").or_else(|| text(error, "status").filter(|status| status.parse::<u16>().is_err())),
            // Anthropic's stands among the details.
            code: text(error, "code").or_else(|| text(error.get("details")?, "error_code")),
            param: text(error, "param"),
            status: numbers.iter().find_map(|key| status(error.get(key)?)),
            limit_source: metadata.and_then(|metadata| text(metadata, "limit_source")),
            moderated: metadata.is_some_and(|metadata| metadata.get("reasons").is_some()),
            html: false,
            lower: extra.join("\n"),
        }
    }

    /// Takes the error's name from AWS's header, `Name:address`, where the body has none.
    pub(super) fn named(&mut self, name: &str) {
        let name = name.split(':').next().unwrap_or_default();
        self.lower.push('\n');
        self.lower.push_str(&name.to_lowercase());
        self.code.get_or_insert_with(|| name.to_owned());
    }

    /// Returns whether any of the words occurs.
    pub(super) fn has(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.lower.contains(word))
    }

    pub(super) fn code_is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

/// Returns words for an answer that says only by its finish reason that it failed (Mistral, OpenRouter).
fn ended(answer: &Value) -> Option<String> {
    let reason = answer.pointer("/choices/0/finish_reason")?.as_str()?;
    reason.contains("error").then(|| {
        format!("the model's answer ended with finish reason `{}`", reason.chars().take(32).collect::<String>())
    })
}

fn message(error: &Value) -> Option<String> {
    // AWS writes it either way.
    if let Some(message) = text(error, "message").or_else(|| text(error, "Message")) {
        return Some(message);
    }
    // Mistral: what FastAPI says, as the message.
    if let Some(nested) = error.get("message").filter(|nested| nested.is_object()) {
        return message(nested);
    }
    // FastAPI: a text, or a list of findings.
    match error.get("detail")? {
        Value::String(detail) => Some(detail.clone()),
        Value::Array(findings) => findings.first().and_then(|finding| text(finding, "msg")),
        other => message(other),
    }
}

/// Returns a member that is a non-empty string or a number, as text.
fn text(value: &Value, key: &str) -> Option<String> {
    match value.get(key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn status(value: &Value) -> Option<u16> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    u16::try_from(number).ok().filter(|status| (400..600).contains(status))
}
