//! AWS Bedrock: the Converse dialect, the binary framing of its streams and the signature of its requests.

pub mod event_stream;
pub mod sigv4;
