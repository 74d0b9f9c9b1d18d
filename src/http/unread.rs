//! Answers to requests whose body was not read to its end.
//!
//! actix reads on behind an answer as long as a chunked body goes on, if nobody holds that body any more: without end
//! where the client never ends it. While somebody holds it, actix closes the connection behind the answer.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::Payload;
use bytes::Bytes;

/// An answer's body that holds the request's.
struct Holding {
    answer: BoxBody,
    _request: Payload,
}

/// Returns `answer` such that the connection closes behind it, unless all of the request was read.
pub(super) fn closing(answer: HttpResponse, request: Payload) -> HttpResponse {
    answer.map_body(|_, answer| BoxBody::new(Holding { answer, _request: request }))
}

impl MessageBody for Holding {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.answer).poll_next(context)
    }
}
