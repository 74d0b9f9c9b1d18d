//! Images, audio and documents as Gemini's parts.

use serde_json::{Value, json};

use crate::providers::losses::refusal;
use crate::schema::IntakeError;
use crate::schema::chat::{Dialect, Source};

/// Media types by the ending of a file's name.
const TYPES: &[(&str, &str)] = &[
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("heic", "image/heic"),
    ("heif", "image/heif"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("csv", "text/csv"),
    ("html", "text/html"),
    ("json", "application/json"),
    ("mp3", "audio/mp3"),
    ("wav", "audio/wav"),
    ("mp4", "video/mp4"),
];

/// Returns the part that `source` becomes; `param` names it in a refusal, `fallback` is the type where none can be told.
pub(super) fn part(source: &Source, param: &str, fallback: &str) -> Result<Value, IntakeError> {
    match source {
        Source::Inline { media_type, data } => Ok(inline(media_type, data)),
        Source::Text(text) => Ok(json!({ "text": text })),
        Source::Id { dialect: Dialect::Gemini, id } => Ok(json!({ "fileData": { "fileUri": id } })),
        Source::Id { .. } => {
            Err(refusal(param, "is a file kept by another vendor, which Gemini cannot read; send its bytes"))
        }
        Source::Url(url) => by_url(url, param, fallback),
    }
}

/// Returns audio; `format` as in `wav`.
pub(super) fn audio(format: &str, data: &str) -> Value {
    let media_type = if format.contains('/') { format.to_owned() } else { format!("audio/{format}") };
    inline(&media_type, data)
}

fn inline(media_type: &str, data: &str) -> Value {
    json!({ "inlineData": { "mimeType": media_type, "data": data } })
}

fn by_url(url: &str, param: &str, fallback: &str) -> Result<Value, IntakeError> {
    let scheme = url.split(':').next().unwrap_or_default().to_ascii_lowercase();
    if scheme == "data" {
        let (head, data) = url[5..].split_once(',').unwrap_or_default();
        let Some(media_type) = head.strip_suffix(";base64") else {
            return Err(refusal(param, "is a data URL without base64; encode its bytes in base64"));
        };
        return Ok(inline(media_type.split(';').next().unwrap_or_default(), data));
    }
    if scheme != "https" && scheme != "gs" {
        return Err(refusal(param, "must be an https URL or a data URL for Gemini, which fetches it itself"));
    }
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let ending = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending);
    let known = TYPES.iter().find(|(known, _)| ending.is_some_and(|ending| ending.eq_ignore_ascii_case(known)));
    let media_type = known.map_or(fallback, |(_, media_type)| media_type);
    Ok(json!({ "fileData": { "fileUri": url, "mimeType": media_type } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_handed_on_or_refused() {
        let table = [
            (
                "https://a.b/x.PNG?y=.jpg",
                Some(json!({"fileData": {"fileUri": "https://a.b/x.PNG?y=.jpg", "mimeType": "image/png"}})),
            ),
            ("https://a.b/x", Some(json!({"fileData": {"fileUri": "https://a.b/x", "mimeType": "image/jpeg"}}))),
            ("data:image/png;base64,AA==", Some(json!({"inlineData": {"mimeType": "image/png", "data": "AA=="}}))),
            ("data:text/plain,hi", None),
            ("http://a.b/x.png", None),
            ("file:///etc/passwd", None),
        ];
        for (url, expected) in table {
            assert_eq!(part(&Source::Url(url.into()), "p", "image/jpeg").ok(), expected, "{url}");
        }
    }
}
