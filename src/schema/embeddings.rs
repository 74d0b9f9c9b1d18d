//! Embeddings as the gateway knows them, where client and upstream do not speak the same dialect.

use bursar_actors::Usage;

/// Texts to be turned into vectors.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EmbeddingRequest {
    /// As the client named it.
    pub model: Option<String>,
    pub inputs: Vec<EmbeddingInput>,
    pub dimensions: Option<u64>,
    /// The client wants base64 of little-endian f32 in place of numbers; OpenAI's SDKs do.
    pub base64: bool,
    /// Pseudonym of the end user.
    pub user: Option<String>,
    /// What the vectors are for, in Gemini's words: `RETRIEVAL_QUERY`, `CLUSTERING`, …
    pub task: Option<String>,
    /// Of the document that each text is.
    pub title: Option<String>,
}

/// One text.
#[derive(Debug, Clone, PartialEq)]
pub enum EmbeddingInput {
    Text(String),
    /// Already cut into tokens, which only OpenAI's own upstreams take.
    Tokens(Vec<u64>),
}

/// The vectors, in the order of the inputs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EmbeddingReply {
    pub model: String,
    pub vectors: Vec<Vec<f32>>,
    pub usage: Option<Usage>,
}
