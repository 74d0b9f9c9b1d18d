//! AWS Bedrock: the Converse dialect, the binary framing of its streams and the signature of its requests.
//!
//! One dialect for all models that Bedrock hosts; what differs by model (`model`) goes into
//! `additionalModelRequestFields`. An error in a stream is a frame named `exception` ([`event_stream::EventMessage`]); an
//! answer that the model botched (`malformed_model_output`, `malformed_tool_use`) counts as an error, too.

mod decode;
mod embeddings;
mod encode;
pub mod event_stream;
mod messages;
mod model;
mod reader;
pub mod sigv4;

#[cfg(test)]
mod tests;

use super::dialect::{EmbeddingsDialect, Nonsense, StreamReader, Target, UpstreamDialect, WireRequest, object};
use super::framing::Framing;
use crate::schema::IntakeError;
use crate::schema::chat::{ChatReply, ChatRequest};

/// Speaks Converse. Its base URL ends at the host, e.g. `https://bedrock-runtime.eu-central-1.amazonaws.com`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bedrock;

impl UpstreamDialect for Bedrock {
    fn encode(&self, request: &ChatRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
        encode::encode(request, target)
    }

    fn decode(&self, body: &[u8]) -> Result<ChatReply, Nonsense> {
        decode::decode(object(body)?)
    }

    fn is_error(&self, body: &[u8]) -> bool {
        #[derive(serde::Deserialize)]
        struct Top {
            #[serde(rename = "stopReason")]
            stop_reason: Option<String>,
            output: Option<serde::de::IgnoredAny>,
            message: Option<serde::de::IgnoredAny>,
        }
        serde_json::from_slice::<Top>(body).is_ok_and(|top| match top.stop_reason {
            Some(reason) => decode::is_malformed(&reason),
            None => top.output.is_none() && top.message.is_some(),
        })
    }

    fn framing(&self) -> Framing {
        Framing::EventStream
    }

    fn reader(&self) -> Box<dyn StreamReader> {
        Box::new(reader::Reader::default())
    }

    fn embeddings(&self) -> Option<&dyn EmbeddingsDialect> {
        Some(&embeddings::Invoke)
    }
}

/// Returns the path of `operation` on `model`, whose name may be an ARN.
fn path(model: &str, operation: &str) -> String {
    format!("/model/{}/{operation}", sigv4::encode(model, b""))
}
