//! Where a request says who sends it: headers that may carry a client key, and where the end user and the session stand.

use std::fmt;

use actix_http::header::{AUTHORIZATION, HeaderName};

use crate::schema::NameField;

/// Headers that may carry a client key: the SDKs of OpenAI, Anthropic, Azure and Google use them.
pub static KEY_HEADERS: [HeaderName; 4] = [
    AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// `auth.accept`, `auth.end_user` and `auth.session`. In each list the first place that says something wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callers {
    /// Some of [`KEY_HEADERS`], at least one.
    pub accept: Vec<HeaderName>,
    pub end_user: Vec<Place>,
    pub session: Vec<Place>,
}

/// Where a name stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Header(HeaderName),
    Body(NameField),
}

impl Place {
    /// Returns where the end user's name stands unless somebody says otherwise.
    pub fn of_end_user() -> Vec<Self> {
        let headers = ["x-bursar-user", "x-openwebui-user-id"].map(HeaderName::from_static).map(Self::Header);
        let fields = [NameField::User, NameField::SafetyIdentifier, NameField::UserId].map(Self::Body);
        headers.into_iter().chain(fields).collect()
    }

    /// Returns where the session stands unless somebody says otherwise.
    pub fn of_session() -> Vec<Self> {
        let headers = ["x-bursar-session", "x-claude-code-session-id"].map(HeaderName::from_static).map(Self::Header);
        headers.into_iter().chain([Self::Body(NameField::SessionId)]).collect()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => f.write_str(name.as_str()),
            Self::Body(field) => write!(f, "body.{field}"),
        }
    }
}
