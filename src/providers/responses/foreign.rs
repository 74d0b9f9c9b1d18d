//! Other vendors' proofs of thought, carried through a Responses client in `encrypted_content`, which clients send back
//! untouched: `bursar:<vendor>:<kind>:<value>`.

use crate::schema::chat::{Dialect, Thinking};

const MARK: &str = "bursar:";

/// Vendors and the words that name them on the wire; a word must never change, because clients keep it.
const VENDORS: [(Dialect, &str); 6] = [
    (Dialect::OpenAi, "openai"),
    (Dialect::Anthropic, "anthropic"),
    (Dialect::Gemini, "gemini"),
    (Dialect::Bedrock, "bedrock"),
    (Dialect::Cohere, "cohere"),
    (Dialect::Ollama, "ollama"),
];

/// What an `encrypted_content` holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sealed {
    /// OpenAI's own, and the id it is bound to where the item has another.
    Own {
        encrypted: String,
        id: Option<String>,
    },
    Signature(Dialect, String),
    Encrypted(Dialect, String),
    /// The signature of the call that follows.
    Call(String),
}

/// Returns the `encrypted_content` that carries a thought's proof in the item `item_id`, where it has one.
///
/// OpenAI refuses its own when the item's id is not the one it was made for.
pub(super) fn seal(thinking: &Thinking, item_id: &str) -> Option<String> {
    if thinking.vendor == Some(Dialect::Responses) || thinking.vendor.is_none() {
        let encrypted = thinking.encrypted.as_deref()?;
        return Some(match &thinking.id {
            Some(id) if id != item_id => format!("{MARK}responses:{id}:{encrypted}"),
            _ => encrypted.to_owned(),
        });
    }
    let vendor = VENDORS.iter().find(|(dialect, _)| Some(*dialect) == thinking.vendor)?.1;
    match (&thinking.signature, &thinking.encrypted) {
        (Some(signature), _) => Some(format!("{MARK}{vendor}:signature:{signature}")),
        (None, Some(encrypted)) => Some(format!("{MARK}{vendor}:encrypted:{encrypted}")),
        (None, None) => None,
    }
}

/// Returns the `encrypted_content` that carries a call's signature.
pub(super) fn seal_call(signature: &str) -> String {
    format!("{MARK}gemini:call:{signature}")
}

/// Returns what [`seal`] or [`seal_call`] put in; anything else is OpenAI's.
pub(super) fn open(encrypted: String) -> Sealed {
    let parts = encrypted.strip_prefix(MARK).and_then(|rest| {
        let (vendor, rest) = rest.split_once(':')?;
        let (kind, value) = rest.split_once(':')?;
        if vendor == "responses" {
            return Some(Sealed::Own { encrypted: value.to_owned(), id: Some(kind.to_owned()) });
        }
        let dialect = VENDORS.iter().find(|(_, word)| *word == vendor)?.0;
        match kind {
            "signature" => Some(Sealed::Signature(dialect, value.to_owned())),
            "encrypted" => Some(Sealed::Encrypted(dialect, value.to_owned())),
            "call" => Some(Sealed::Call(value.to_owned())),
            _ => None,
        }
    });
    parts.unwrap_or(Sealed::Own { encrypted, id: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_proof_comes_back_as_it_went() {
        let signed =
            Thinking { signature: Some("a:b".into()), vendor: Some(Dialect::Anthropic), ..Thinking::default() };
        let redacted =
            Thinking { encrypted: Some("xyz".into()), vendor: Some(Dialect::Bedrock), ..Thinking::default() };

        let own = Thinking {
            encrypted: Some("gA".into()),
            vendor: Some(Dialect::Responses),
            id: Some("rs_1".into()),
            ..Thinking::default()
        };

        assert_eq!(open(seal(&signed, "rs_x").unwrap()), Sealed::Signature(Dialect::Anthropic, "a:b".into()));
        assert_eq!(open(seal(&redacted, "rs_x").unwrap()), Sealed::Encrypted(Dialect::Bedrock, "xyz".into()));
        assert_eq!(open(seal_call("sig")), Sealed::Call("sig".into()));
        assert_eq!(seal(&own, "rs_1").unwrap(), "gA");
        assert_eq!(open(seal(&own, "rs_2").unwrap()), Sealed::Own { encrypted: "gA".into(), id: Some("rs_1".into()) });
        for others in ["gAAAA:b:c", "bursar:nobody:signature:x"] {
            assert_eq!(open(others.into()), Sealed::Own { encrypted: others.into(), id: None });
        }
    }
}
