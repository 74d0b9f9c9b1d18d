//! Who a request says it is sent for: the end user and the session, by the places that the configuration names.

use actix_web::http::header::HeaderMap;

use crate::call::Session;
use crate::config::callers::Place;
use crate::schema::BodyNames;

/// Returns the first name of an end user that `places` have.
pub fn end_user(places: &[Place], headers: &HeaderMap, body: &mut BodyNames) -> Option<String> {
    places.iter().find_map(|place| match place {
        Place::Header(name) => {
            let user = headers.get(name)?.to_str().ok()?;
            (!user.is_empty()).then(|| user.to_owned())
        }
        Place::Body(field) => body.take(*field),
    })
}

/// Returns the first session that `places` have. What could not stand in the books is none.
pub fn session(places: &[Place], headers: &HeaderMap, body: &mut BodyNames) -> Option<Session> {
    places.iter().find_map(|place| match place {
        Place::Header(name) => Session::from_client(headers.get(name)?.to_str().ok()?),
        Place::Body(field) => Session::from_client(&body.take(*field)?),
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::schema::{Operation, read};

    const BODY: &str = r#"{"messages":[{"role":"user","content":"hi"}],"user":"by-user","safety_identifier":"by-safety",
        "metadata":{"user_id":"by-metadata","session_id":"s-body"}}"#;

    fn names(body: &str) -> BodyNames {
        read(Operation::ChatCompletions, body.as_bytes()).unwrap().names
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, text)| (HeaderName::from_static(name), HeaderValue::from_static(text))).collect()
    }

    #[test]
    fn the_first_place_that_says_something_wins() {
        let places = Place::of_end_user();
        let told = |lines: &[_], body: &str| end_user(&places, &headers(lines), &mut names(body));
        let nobody = r#"{"messages":[{"role":"user","content":"hi"}],"user":""}"#;

        assert_eq!(told(&[("x-openwebui-user-id", "web"), ("x-bursar-user", "own")], BODY).as_deref(), Some("own"));
        assert_eq!(told(&[("x-bursar-user", ""), ("x-openwebui-user-id", "web")], BODY).as_deref(), Some("web"));
        assert_eq!(told(&[], BODY).as_deref(), Some("by-user"));
        assert_eq!(told(&[], nobody), None);
        let turned: Vec<_> = places.iter().rev().cloned().collect();
        assert_eq!(end_user(&turned, &headers(&[]), &mut names(BODY)).as_deref(), Some("by-metadata"));
    }

    #[test]
    fn a_session_that_is_no_id_is_none() {
        let places = Place::of_session();
        let told = |lines: &[_], body: &str| {
            session(&places, &headers(lines), &mut names(body)).map(|session| session.as_str().to_owned())
        };

        assert_eq!(told(&[("x-claude-code-session-id", "c-1"), ("x-bursar-session", "b-1")], BODY), Some("b-1".into()));
        assert_eq!(told(&[("x-bursar-session", "my name is ann")], BODY), Some("s-body".into()));
        assert_eq!(told(&[], BODY), Some("s-body".into()));
        assert_eq!(told(&[], r#"{"messages":[{"role":"user","content":"hi"}]}"#), None);
    }
}
