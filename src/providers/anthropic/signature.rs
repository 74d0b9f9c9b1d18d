//! Signatures and encrypted thoughts of other vendors, carried through an Anthropic client's history.
//!
//! A client gives thinking blocks back as it got them. Their signature is the only place where another vendor's proof can
//! travel, so it is written with the vendor's name in front (`bursar:gemini:signature::…`) and known again by that.

use crate::schema::chat::{Content, Dialect, Part, Thinking};

const MARK: &str = "bursar:";

/// The vendors whose proofs can come through here.
const VENDORS: [(Dialect, &str); 6] = [
    (Dialect::OpenAi, "openai"),
    (Dialect::Responses, "responses"),
    (Dialect::Gemini, "gemini"),
    (Dialect::Bedrock, "bedrock"),
    (Dialect::Cohere, "cohere"),
    (Dialect::Ollama, "ollama"),
];

/// The id under which the signature of the tool call that comes next is written.
const FOR_CALL: &str = "call";

/// What a proof is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Signature,
    Encrypted,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Encrypted => "encrypted",
        }
    }
}

/// Returns whether a signature as a client sends it is another vendor's.
pub(super) fn is_foreign(signature: &str) -> bool {
    signature.starts_with(MARK)
}

/// Writes a proof for an Anthropic client; Anthropic's own goes as it is.
fn write(vendor: Option<Dialect>, kind: Kind, id: Option<&str>, proof: &str) -> String {
    let named = VENDORS.iter().find(|(dialect, _)| Some(*dialect) == vendor);
    let Some((_, vendor)) = named else { return proof.to_owned() };
    let id = id.filter(|id| !id.contains(':')).unwrap_or_default();
    format!("{MARK}{vendor}:{}:{id}:{proof}", kind.as_str())
}

/// Returns what stands as the signature of an empty `thinking` block in front of a tool call that Gemini signed.
pub(super) fn of_call(signature: &str) -> String {
    write(Some(Dialect::Gemini), Kind::Signature, Some(FOR_CALL), signature)
}

/// Returns the proof of a thought as an Anthropic client gets it; empty where there is none.
pub(super) fn of_thinking(
    vendor: Option<Dialect>,
    id: Option<&str>,
    signature: Option<&str>,
    encrypted: Option<&str>,
) -> String {
    match (signature, encrypted) {
        (Some(proof), _) => write(vendor, Kind::Signature, id, proof),
        (None, Some(proof)) => write(vendor, Kind::Encrypted, id, proof),
        (None, None) => String::new(),
    }
}

/// Reads a `thinking` block.
pub(super) fn signed(text: String, signature: String) -> Thinking {
    if signature.is_empty() {
        return Thinking { text, ..Thinking::default() };
    }
    match parse(&signature) {
        None => Thinking { text, signature: Some(signature), vendor: Some(Dialect::Anthropic), ..Thinking::default() },
        Some((vendor, kind, id, proof)) => {
            let id = (!id.is_empty()).then(|| id.to_owned());
            let (mut signature, mut encrypted) = (Some(proof.to_owned()), None);
            if kind == Kind::Encrypted {
                std::mem::swap(&mut signature, &mut encrypted);
            }
            Thinking { text, signature, encrypted, vendor: Some(vendor), id }
        }
    }
}

/// Reads a `redacted_thinking` block.
pub(super) fn encrypted(data: String) -> Thinking {
    match parse(&data) {
        Some(_) => signed(String::new(), data),
        None => Thinking { encrypted: Some(data), vendor: Some(Dialect::Anthropic), ..Thinking::default() },
    }
}

/// Gives tool calls the signatures that stand in front of them.
pub(super) fn plain_assistant(parts: Vec<Part>) -> Vec<Part> {
    let mut kept: Vec<Part> = Vec::with_capacity(parts.len());
    let mut waiting: Option<String> = None;
    for mut part in parts {
        match &mut part.content {
            Content::Thinking(thinking) if thinking.id.as_deref() == Some(FOR_CALL) => {
                waiting = thinking.signature.take();
                continue;
            }
            Content::ToolCall(call) => call.signature = waiting.take(),
            _ => {}
        }
        kept.push(part);
    }
    kept
}

fn parse(signature: &str) -> Option<(Dialect, Kind, &str, &str)> {
    let mut pieces = signature.strip_prefix(MARK)?.splitn(4, ':');
    let (vendor, kind, id, proof) = (pieces.next()?, pieces.next()?, pieces.next()?, pieces.next()?);
    let (vendor, _) = VENDORS.iter().find(|(_, name)| *name == vendor)?;
    let kind = [Kind::Signature, Kind::Encrypted].into_iter().find(|each| each.as_str() == kind)?;
    Some((*vendor, kind, id, proof))
}
