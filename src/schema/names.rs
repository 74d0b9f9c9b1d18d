//! What a body says of who sends it.

use std::fmt;
use std::mem;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A field of a body that may name the end user or the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameField {
    /// `user`.
    User,
    /// `safety_identifier`.
    SafetyIdentifier,
    /// `metadata.user_id`.
    UserId,
    /// `metadata.session_id`.
    SessionId,
}

impl NameField {
    /// Returns the path within the body.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::SafetyIdentifier => "safety_identifier",
            Self::UserId => "metadata.user_id",
            Self::SessionId => "metadata.session_id",
        }
    }
}

impl fmt::Display for NameField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The names in a body, as they were sent; `None` where there is none or an empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BodyNames {
    user: Option<String>,
    safety_identifier: Option<String>,
    user_id: Option<String>,
    session_id: Option<String>,
}

impl BodyNames {
    /// Takes a name out.
    pub fn take(&mut self, field: NameField) -> Option<String> {
        mem::take(self.slot(field))
    }

    pub(super) fn set(&mut self, field: NameField, name: String) {
        *self.slot(field) = Some(name).filter(|name| !name.is_empty());
    }

    /// Reads `metadata`, an object; what is no string in it names nobody.
    pub(super) fn metadata(&mut self, raw: &str) {
        #[derive(Deserialize)]
        struct Metadata<'a> {
            #[serde(borrow, default)]
            user_id: Option<&'a RawValue>,
            #[serde(borrow, default)]
            session_id: Option<&'a RawValue>,
        }
        let Ok(Metadata { user_id, session_id }) = serde_json::from_str(raw) else { return };
        for (field, raw) in [(NameField::UserId, user_id), (NameField::SessionId, session_id)] {
            if let Some(name) = raw.and_then(|raw| serde_json::from_str(raw.get()).ok()) {
                self.set(field, name);
            }
        }
    }

    fn slot(&mut self, field: NameField) -> &mut Option<String> {
        match field {
            NameField::User => &mut self.user,
            NameField::SafetyIdentifier => &mut self.safety_identifier,
            NameField::UserId => &mut self.user_id,
            NameField::SessionId => &mut self.session_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_that_names_nobody_soundly_names_nobody() {
        let mut names = BodyNames::default();

        names.metadata(r#"{"user_id":7,"session_id":"s-1","other":{"user_id":"x"}}"#);
        names.metadata(r#"{"user_id":""}"#);
        names.metadata(r#"{"user_id":null}"#);

        assert_eq!((names.take(NameField::UserId), names.take(NameField::SessionId)), (None, Some("s-1".into())));
    }
}
