//! `auth.accept`, `auth.end_user` and `auth.session`: where a request says who sends it.

use actix_http::header::{COOKIE, HeaderName, PROXY_AUTHORIZATION};

use super::Checker;
use crate::config::callers::{Callers, KEY_HEADERS, Place};
use crate::config::fault::Fault;
use crate::config::layer::item;
use crate::config::raw::RawAuth;
use crate::schema::NameField;

/// Fields that may name an end user, and those that may name a session: its name stands in the books as it was sent.
const USER_FIELDS: [NameField; 3] = [NameField::User, NameField::SafetyIdentifier, NameField::UserId];
const SESSION_FIELDS: [NameField; 1] = [NameField::SessionId];

/// Checks where callers say who they are.
pub(super) fn callers(checker: &mut Checker<'_>, raw: &RawAuth) -> Callers {
    let end_user = places(checker, "auth.end_user", raw.end_user.as_deref(), &USER_FIELDS);
    let session = places(checker, "auth.session", raw.session.as_deref(), &SESSION_FIELDS);
    let (end_user, session) = (end_user.unwrap_or_else(Place::of_end_user), session.unwrap_or_else(Place::of_session));
    if let Some(both) = session.iter().find(|place| end_user.contains(place)) {
        let message =
            format!("auth.session names `{both}`, as auth.end_user does: a user's name has to stay out of the books");
        checker.report("auth.session", Fault::error(message).help("take a header of its own for the session"));
    }
    Callers { accept: accept(checker, raw.accept.as_deref()), end_user, session }
}

fn accept(checker: &mut Checker<'_>, named: Option<&[String]>) -> Vec<HeaderName> {
    let Some(named) = named else { return KEY_HEADERS.to_vec() };
    if named.is_empty() {
        let message = "auth.accept is empty: nobody could send a key";
        checker.report("auth.accept", Fault::error(message).help("leave it out to accept all of them"));
    }
    let known = || KEY_HEADERS.iter().map(HeaderName::as_str);
    let mut accepted = Vec::with_capacity(named.len());
    for (index, name) in named.iter().enumerate() {
        match KEY_HEADERS.iter().find(|known| known.as_str().eq_ignore_ascii_case(name)) {
            Some(header) => accepted.push(header.clone()),
            None => {
                let here = item("auth.accept", index);
                let fault = Fault::error(format!("{here}: `{name}` is no header that may carry a client key"));
                let all: Vec<&str> = known().collect();
                checker.report(&here, fault.near(name, known()).help(format!("known: {}", all.join(", "))));
            }
        }
    }
    accepted
}

fn places(checker: &mut Checker<'_>, path: &str, named: Option<&[String]>, fields: &[NameField]) -> Option<Vec<Place>> {
    let mut places = Vec::new();
    for (index, name) in named?.iter().enumerate() {
        let here = item(path, index);
        if let Some(field) = name.strip_prefix("body.") {
            let known = fields.iter().find(|known| known.as_str() == field);
            if known.is_none() {
                let all: Vec<String> = fields.iter().map(|field| format!("body.{field}")).collect();
                let fault =
                    Fault::error(format!("{here}: `{name}` is not read")).near(name, all.iter().map(String::as_str));
                checker.report(&here, fault.help(format!("headers by name, and {}", all.join(", "))));
            }
            places.extend(known.copied().map(Place::Body));
            continue;
        }
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(header) if KEY_HEADERS.contains(&header) || header == COOKIE || header == PROXY_AUTHORIZATION => {
                checker.fault(
                    &here,
                    format!("{here}: header `{header}` carries a secret, which nobody is to be called by"),
                );
            }
            Ok(header) => places.push(Place::Header(header)),
            Err(_) => checker.fault(&here, format!("{here}: `{name}` is not the name of a header")),
        }
    }
    Some(places)
}
