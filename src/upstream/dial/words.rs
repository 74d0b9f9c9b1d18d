//! What a failed call is called: plain words about hosts and causes in place of awc's, rustls' and the system's own.

use std::error::Error;
use std::io;

use actix_http::error::{ParseError, PayloadError};
use awc::error::{ConnectError, SendRequestError};
use awc::http::Uri;
use bursar_actors::ErrorClass;
use rustls::{AlertDescription, CertificateError};

use super::TLS_TIMEOUT;
use super::connector::DialError;
use crate::error::Failure;

/// Returns what a call to `uri` that failed before its answer's head was complete means.
///
/// [`ErrorClass::ConnectFailed`] where the request was not out, or was refused unread for want of a certificate
/// ([`ErrorClass::GatewayOverloaded`] where it is us who had no descriptor left);
/// [`ErrorClass::StreamBroken`] where the upstream may have begun to work on it.
pub fn of_send_error(error: &SendRequestError, uri: &Uri) -> Failure {
    let host = uri.host().unwrap_or_default();
    let broken = |why: String| Failure::plain(ErrorClass::StreamBroken, why);
    match error {
        SendRequestError::Connect(ConnectError::Disconnected) => broken(closed(host)),
        SendRequestError::Connect(error) => {
            let class = if is_ours(error) { ErrorClass::GatewayOverloaded } else { ErrorClass::ConnectFailed };
            Failure::plain(class, connect_words(error, host))
        }
        SendRequestError::Send(error) | SendRequestError::Response(ParseError::Io(error)) => match tls_error(error) {
            // With TLS 1.3 the upstream judges our certificate when we believe the handshake done.
            Some(error @ rustls::Error::AlertReceived(_)) => {
                Failure::plain(ErrorClass::ConnectFailed, tls_words(error, host))
            }
            Some(error) => broken(tls_words(error, host)),
            None if is_closed(error) => broken(closed(host)),
            None => broken(format!("the connection to {host} broke before it answered: {}", in_words(error))),
        },
        SendRequestError::Response(ParseError::TooLarge) => {
            broken(format!("{host} answered with a head that is too large"))
        }
        SendRequestError::Response(_) => broken(format!("{host} answered with something that is not HTTP/1.1")),
        SendRequestError::Timeout => broken(format!("{host} did not answer in time")),
        _ => Failure::plain(ErrorClass::ConnectFailed, format!("the call to {host} could not be made")),
    }
}

/// Returns what it means that the body of an answer broke off.
pub fn of_body_error(error: &PayloadError) -> Failure {
    let why = match error {
        PayloadError::Incomplete(None) => "the upstream closed the connection".to_owned(),
        PayloadError::Incomplete(Some(error)) | PayloadError::Io(error) => in_words(error),
        _ => "it is not framed as HTTP/1.1 wants it".to_owned(),
    };
    Failure::plain(ErrorClass::StreamBroken, format!("the upstream's answer broke off: {why}"))
}

/// Returns whether `error` may mean that an idle connection was closed as the request set out on it.
pub fn may_be_stale(error: &SendRequestError) -> bool {
    match error {
        SendRequestError::Connect(ConnectError::Disconnected) => true,
        SendRequestError::Send(error) | SendRequestError::Response(ParseError::Io(error)) => is_closed(error),
        _ => false,
    }
}

/// Returns the cause of `error` in words, without numbers and names of the system's.
pub fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionReset => "the other side reset the connection".into(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            "the other side closed the connection".into()
        }
        io::ErrorKind::TimedOut => "the other side has vanished".into(),
        _ => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            // Rust's own words in front of what the system's resolver said.
            let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(text);
            let mut letters = text.chars();
            // `Name or service not known` stands in the middle of our sentence; `EOF` is a name of its own.
            match (letters.next(), letters.next()) {
                (Some(first), Some(second)) if second.is_lowercase() => {
                    format!("{}{}", first.to_lowercase(), &text[first.len_utf8()..])
                }
                _ => text.to_owned(),
            }
        }
    }
}

fn closed(host: &str) -> String {
    format!("{host} closed the connection before it answered")
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// Returns whether it was the gateway that could open no connection.
fn is_ours(error: &ConnectError) -> bool {
    let ConnectError::Resolver(error) = error else { return false };
    matches!(error.downcast_ref(), Some(DialError::OutOfDescriptors { .. }))
}

fn connect_words(error: &ConnectError, host: &str) -> String {
    match error {
        ConnectError::Resolver(error) => match error.downcast_ref::<DialError>() {
            Some(error) => error.to_string(),
            None => format!("cannot resolve {host}"),
        },
        // The connector returns typed errors and keeps its own time, so what is left is the TLS handshake.
        ConnectError::Timeout => format!("TLS: {host} did not finish the handshake within {TLS_TIMEOUT:?}"),
        ConnectError::Io(error) => match tls_error(error) {
            Some(error) => tls_words(error, host),
            None if error.kind() == io::ErrorKind::InvalidInput => {
                format!("TLS: {host} is not a name that a certificate can be checked against; use its DNS name")
            }
            None => format!("TLS: the handshake with {host} broke off: {}", in_words(error)),
        },
        _ => format!("no connection to {host} could be made"),
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    let inner: &(dyn Error + 'static) = error.get_ref()?;
    inner.downcast_ref::<rustls::Error>()
}

fn tls_words(error: &rustls::Error, host: &str) -> String {
    use AlertDescription as A;
    use rustls::Error as E;
    match error {
        E::InvalidCertificate(error) => format!("TLS: the certificate of {host} {}", certificate_words(error)),
        E::NoCertificatesPresented => format!("TLS: {host} shows no certificate"),
        E::AlertReceived(A::CertificateRequired) => {
            format!("TLS: {host} asks for a client certificate; set client_cert and client_key on the provider")
        }
        E::AlertReceived(
            A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied,
        ) => format!("TLS: {host} does not accept our client certificate"),
        E::AlertReceived(A::UnrecognisedName) => format!("TLS: {host} does not know itself by that name"),
        E::AlertReceived(A::NoApplicationProtocol) => format!("TLS: {host} does not offer HTTP/1.1"),
        E::AlertReceived(A::ProtocolVersion | A::HandshakeFailure | A::InsufficientSecurity)
        | E::PeerIncompatible(_) => {
            format!("TLS: {host} and we have no version or cipher in common")
        }
        E::InvalidMessage(_) => format!("TLS: {host} does not speak TLS on this port"),
        _ => format!("TLS: the handshake with {host} failed"),
    }
}

fn certificate_words(error: &CertificateError) -> &'static str {
    use CertificateError as C;
    match error {
        C::Expired | C::ExpiredContext { .. } => "has expired",
        C::NotValidYet | C::NotValidYetContext { .. } => "is not valid yet",
        C::NotValidForName | C::NotValidForNameContext { .. } => "is not valid for that name",
        C::UnknownIssuer => "is from an unknown issuer; if it is your own, name its root in ca_file",
        C::Revoked => "has been revoked",
        C::BadSignature => "carries a wrong signature",
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => "is not meant for servers",
        _ => "cannot be used",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_words_lose_their_numbers() {
        assert_eq!(in_words(&io::Error::from_raw_os_error(104)), "the other side reset the connection");
        assert_eq!(in_words(&io::Error::from_raw_os_error(24)), "too many open files");
        let unknown = "failed to lookup address information: Name or service not known";
        assert_eq!(in_words(&io::Error::other(unknown)), "name or service not known");
        assert_eq!(in_words(&io::Error::other("EOF of something")), "EOF of something");
    }
}
