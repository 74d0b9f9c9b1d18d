//! What a single content block must fulfil beyond its shape.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::super::reply::Refusal;
use super::super::signature;
use super::turns::{Block, blocks_of};
use super::{Version, wrong};

const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/// Whether a name has only letters, digits, `_` and `-`.
pub(super) fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Returns what signs the thoughts.
pub(super) fn signed(seed: u64, thinking: &str) -> String {
    signature::sign(seed, &format!("thinking {thinking}"))
}

pub(super) fn check_system(system: &Value) -> Result<(), Refusal> {
    let texts = system.as_array().into_iter().flatten().enumerate();
    texts.into_iter().try_for_each(|(place, block)| check_text(&block["text"], &format!("system.{place}")))
}

pub(super) fn check(block: &Block<'_>, version: Version, seed: u64) -> Result<(), Refusal> {
    let Block { at, role, value } = block;
    check_role(block, version)?;
    match block.kind() {
        "text" => {
            let cited = value["citations"].as_array().is_some_and(|citations| !citations.is_empty());
            if cited && *role == "user" && version == Version::Of2026 {
                return Err(wrong(format!("{at}.citations: must be empty in a user message")));
            }
            check_text(&value["text"], at)
        }
        "image" | "document" => check_source(&value["source"], block.kind(), at),
        "thinking" => {
            let (thinking, given) = (block.text("thinking"), block.text("signature"));
            let omitted = thinking.is_empty() && signature::is_sealed(seed, given);
            if omitted || given == signed(seed, thinking) {
                return Ok(());
            }
            Err(wrong(format!("{at}: Invalid `signature` in `thinking` block")))
        }
        "redacted_thinking" if signature::is_sealed(seed, block.text("data")) => Ok(()),
        "redacted_thinking" => Err(wrong(format!("{at}: Invalid `data` in `redacted_thinking` block"))),
        "tool_use" => check_id(block.text("id"), &format!("{at}.id")),
        "tool_result" => {
            check_id(block.text("tool_use_id"), &format!("{at}.tool_use_id"))?;
            let within = blocks_of(&value["content"]);
            let listed = value["content"].is_array();
            within.iter().enumerate().filter(|_| listed).try_for_each(|(place, inner)| {
                let at = format!("{at}.content.{place}");
                match inner["type"].as_str() {
                    Some("text") => check_text(&inner["text"], &at),
                    Some(kind @ ("image" | "document")) => check_source(&inner["source"], kind, &at),
                    _ => Ok(()),
                }
            })
        }
        _ => Ok(()),
    }
}

fn check_role(block: &Block<'_>, version: Version) -> Result<(), Refusal> {
    let Block { at, role, .. } = block;
    let kind = block.kind();
    let allowed = match *role {
        "user" => matches!(kind, "text" | "image" | "document" | "search_result" | "tool_result" | "container_upload"),
        "system" => kind == "text",
        _ => match kind {
            "image" | "tool_result" | "search_result" | "container_upload" => false,
            "document" => version == Version::Of2023,
            _ => true,
        },
    };
    if allowed { Ok(()) } else { Err(wrong(format!("{at}: `{kind}` blocks are not permitted in `{role}` messages"))) }
}

fn check_text(text: &Value, at: &str) -> Result<(), Refusal> {
    match text.as_str() {
        Some("") => Err(wrong(format!("{at}: text content blocks must be non-empty"))),
        Some(text) if text.trim().is_empty() => {
            Err(wrong(format!("{at}: text content blocks must contain non-whitespace text")))
        }
        _ => Ok(()),
    }
}

fn check_id(id: &str, at: &str) -> Result<(), Refusal> {
    if !id.is_empty() && is_plain(id) {
        return Ok(());
    }
    Err(wrong(format!("{at}: `{id}` is not made of letters, digits, `_` and `-`")))
}

fn check_source(source: &Value, kind: &str, at: &str) -> Result<(), Refusal> {
    match source["type"].as_str() {
        Some("base64") => {
            let media_type = source["media_type"].as_str().unwrap_or_default();
            let known = if kind == "image" { IMAGES.contains(&media_type) } else { media_type == "application/pdf" };
            if !known {
                return Err(wrong(format!("{at}.source.base64.media_type: `{media_type}` is not supported")));
            }
            match STANDARD.decode(source["data"].as_str().unwrap_or_default()) {
                Ok(bytes) if !bytes.is_empty() => Ok(()),
                _ => Err(wrong(format!("{at}.source.base64.data: is empty or no base64"))),
            }
        }
        Some("url") if !source["url"].as_str().unwrap_or_default().starts_with("https://") => {
            Err(wrong(format!("{at}.source.url.url: only HTTPS URLs are supported")))
        }
        _ => Ok(()),
    }
}
