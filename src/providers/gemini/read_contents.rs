//! A client's `contents` as messages: calls given ids where it sends none, results found their calls.

use serde_json::Value;

use super::fields::{Fields, as_object, flag, join, list, object, peek, take, text, wrong_type};
use crate::schema::IntakeError;
use crate::schema::chat::{Content, Dialect, Message, Part, Role, Source, Thinking, ToolCall, ToolResult};

/// Calls of the history that no result has answered yet: id and name.
type Unanswered = Vec<(String, String)>;

/// Takes `systemInstruction` and `contents` out.
pub(super) fn messages(fields: &mut Fields) -> Result<Vec<Message>, IntakeError> {
    let mut messages = Vec::new();
    messages.extend(system(fields)?);
    let contents = match take(fields, "contents") {
        None => Vec::new(),
        Some(Value::Array(items)) => items,
        Some(one @ (Value::Object(_) | Value::String(_))) => vec![one],
        Some(_) => return Err(wrong_type("contents", "an array of objects with `role` and `parts`")),
    };
    if contents.is_empty() {
        let message = "`contents` is missing or empty; send at least one content with `role` and `parts`".into();
        return Err(IntakeError { message, param: Some("contents".into()), code: Some("missing_required_parameter") });
    }
    let mut unanswered = Unanswered::new();
    for (index, content) in contents.into_iter().enumerate() {
        self::content(content, index, &mut unanswered, &mut messages)?;
    }
    Ok(messages)
}

fn system(fields: &mut Fields) -> Result<Option<Message>, IntakeError> {
    let path = "systemInstruction";
    let mut parts = match take(fields, path) {
        None => return Ok(None),
        Some(Value::String(text)) => vec![Part::text(text)],
        Some(value) => {
            let mut content = as_object(value, path)?;
            let mut parts = Vec::new();
            for (index, part) in list(&mut content, path, "parts")?.into_iter().enumerate() {
                let path = format!("{path}.parts[{index}]");
                let mut part = as_object(part, &path)?;
                parts.extend(text(&mut part, &path, "text")?.map(Part::text));
            }
            parts
        }
    };
    parts.retain(|part| part.content != Content::Text(String::new()));
    Ok((!parts.is_empty()).then(|| Message::new(Role::System, parts)))
}

fn content(
    content: Value,
    index: usize,
    unanswered: &mut Unanswered,
    out: &mut Vec<Message>,
) -> Result<(), IntakeError> {
    let path = format!("contents[{index}]");
    if let Value::String(text) = content {
        out.push(Message::new(Role::User, vec![Part::text(text)]));
        return Ok(());
    }
    let mut content = as_object(content, &path)?;
    let role = match text(&mut content, &path, "role")?.as_deref() {
        None | Some("" | "user" | "function" | "tool") => Role::User,
        Some("model" | "assistant") => Role::Assistant,
        Some("system") => Role::System,
        Some(_) => return Err(wrong_type(&join(&path, "role"), "`user` or `model`")),
    };
    let (mut parts, mut results) = (Vec::new(), Vec::new());
    for (position, part) in list(&mut content, &path, "parts")?.into_iter().enumerate() {
        let path = format!("{path}.parts[{position}]");
        let mut fields = as_object(part, &path)?;
        if let Some(result) = object(&mut fields, &path, "functionResponse")? {
            let made_up = format!("call_{index}_{position}");
            results.push(function_response(result, &join(&path, "functionResponse"), unanswered, made_up)?);
        } else if let Some(call) = object(&mut fields, &path, "functionCall")? {
            let signature = text(&mut fields, &path, "thoughtSignature")?;
            let made_up = format!("call_{index}_{position}");
            let call = function_call(call, &join(&path, "functionCall"), signature, made_up)?;
            unanswered.push((call.id.clone(), call.name.clone()));
            parts.push(Part::new(Content::ToolCall(call)));
        } else {
            plain(fields, &path, &mut parts)?;
        }
    }
    // Other dialects want results before anything else that the user says.
    if !results.is_empty() {
        out.push(Message::new(Role::Tool, results));
    }
    if !parts.is_empty() {
        out.push(Message::new(role, parts));
    }
    Ok(())
}

/// Reads text, a thought, or media.
fn plain(mut fields: Fields, path: &str, out: &mut Vec<Part>) -> Result<(), IntakeError> {
    let signature = text(&mut fields, path, "thoughtSignature")?.filter(|signature| !signature.is_empty());
    if let Some(said) = text(&mut fields, path, "text")? {
        let thought = flag(&mut fields, path, "thought")? == Some(true);
        let vendor = signature.as_ref().map(|_| Dialect::Gemini);
        let thinking = |text| Thinking { text, signature, vendor, ..Thinking::default() };
        if thought {
            out.push(Part::new(Content::Thinking(thinking(said))));
        } else if vendor.is_some() {
            // The signature covers the text before it; it stands behind it as a thought without words.
            if !said.is_empty() {
                out.push(Part::text(said));
            }
            out.push(Part::new(Content::Thinking(thinking(String::new()))));
        } else {
            out.push(Part::text(said));
        }
        return Ok(());
    }
    out.extend(media(fields, path)?.map(Part::new));
    Ok(())
}

/// Reads media that every dialect knows; the rest stays Gemini's own.
fn media(mut fields: Fields, path: &str) -> Result<Option<Content>, IntakeError> {
    if fields.values().all(Value::is_null) {
        return Ok(None);
    }
    if is_own(&fields) {
        return Ok(Some(Content::Native { dialect: Dialect::Gemini, value: Value::Object(fields) }));
    }
    let detail = detail(&mut fields);
    if let Some(mut inline) = object(&mut fields, path, "inlineData")? {
        let path = join(path, "inlineData");
        let media_type = text(&mut inline, &path, "mimeType")?.unwrap_or_default().to_ascii_lowercase();
        let data = text(&mut inline, &path, "data")?;
        let data = plain_base64(data.ok_or_else(|| wrong_type(&join(&path, "data"), "the bytes in base64"))?);
        let name = text(&mut inline, &path, "displayName")?;
        return Ok(Some(match media_type.split_once('/') {
            Some(("image", _)) => Content::Image { source: Source::Inline { media_type, data }, detail },
            Some(("audio", kind)) => Content::Audio { data, format: audio_format(kind) },
            _ => Content::File { source: Source::Inline { media_type, data }, name },
        }));
    }
    let Some(mut file) = object(&mut fields, path, "fileData")? else { return Ok(None) };
    let path = join(path, "fileData");
    let media_type = text(&mut file, &path, "mimeType")?.unwrap_or_default();
    let source = Source::Url(text(&mut file, &path, "fileUri")?.unwrap_or_default());
    let name = text(&mut file, &path, "displayName")?;
    let image = media_type.to_ascii_lowercase().starts_with("image/");
    Ok(Some(if image { Content::Image { source, detail } } else { Content::File { source, name } }))
}

/// Returns base64 in the standard alphabet, padded: Google's own clients write the one for URLs, which others refuse.
fn plain_base64(data: String) -> String {
    let full = data.len().is_multiple_of(4);
    if full && !data.contains(['-', '_']) {
        return data;
    }
    let mut plain = data.replace('-', "+").replace('_', "/");
    while !plain.len().is_multiple_of(4) {
        plain.push('=');
    }
    plain
}

/// Returns whether only Gemini knows what a part holds: video, files kept at Google, code that ran, and what is new.
fn is_own(fields: &Fields) -> bool {
    let word = |of: &Value, name| of.as_object().and_then(|of| peek(of, name)?.as_str()).unwrap_or_default().to_owned();
    if peek(fields, "videoMetadata").is_some() {
        return true;
    }
    if let Some(inline) = peek(fields, "inlineData") {
        return word(inline, "mimeType").starts_with("video/");
    }
    let Some(file) = peek(fields, "fileData").filter(|file| file.is_object()) else {
        return peek(fields, "fileData").is_none();
    };
    let (media_type, url) = (word(file, "mimeType"), word(file, "fileUri"));
    let public = url.starts_with("https://") || url.starts_with("http://");
    let at_google = url.starts_with("https://generativelanguage.googleapis.com/") || url.contains("youtu");
    let known = ["image/", "application/", "text/"].iter().any(|kind| media_type.starts_with(kind));
    !public || at_google || !known
}

/// Returns OpenAI's word for the resolution wanted.
fn detail(fields: &mut Fields) -> Option<String> {
    let resolution = take(fields, "mediaResolution")?;
    let level = resolution.get("level").unwrap_or(&resolution).as_str()?;
    let word = if level.ends_with("_LOW") {
        "low"
    } else if level.ends_with("_HIGH") {
        "high"
    } else {
        return None;
    };
    Some(word.to_owned())
}

fn audio_format(kind: &str) -> String {
    match kind.split(';').next().unwrap_or_default() {
        "mpeg" => "mp3",
        "x-wav" | "wave" => "wav",
        kind => kind,
    }
    .to_owned()
}

fn function_call(
    mut call: Fields,
    path: &str,
    signature: Option<String>,
    made_up: String,
) -> Result<ToolCall, IntakeError> {
    let name = text(&mut call, path, "name")?.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| wrong_type(&join(path, "name"), "the name of the function called"))?;
    let id = text(&mut call, path, "id")?.filter(|id| !id.is_empty()).unwrap_or(made_up);
    let arguments =
        object(&mut call, path, "args")?.map_or_else(|| "{}".to_owned(), |args| Value::Object(args).to_string());
    let signature = signature.filter(|signature| !signature.is_empty());
    Ok(ToolCall { id, name, arguments, custom: false, signature })
}

fn function_response(
    mut result: Fields,
    path: &str,
    unanswered: &mut Unanswered,
    made_up: String,
) -> Result<Part, IntakeError> {
    let name = text(&mut result, path, "name")?.filter(|name| !name.is_empty());
    let id = text(&mut result, path, "id")?.filter(|id| !id.is_empty());
    let fits = |(call, called): &(String, String)| match (&id, &name) {
        (Some(id), _) => call == id,
        (None, Some(name)) => called == name,
        (None, None) => true,
    };
    let answered = unanswered.iter().position(fits).map(|at| unanswered.remove(at));
    let (call_id, called) = answered.unzip();
    let call_id = id.or(call_id).unwrap_or(made_up);
    let response = object(&mut result, path, "response")?.unwrap_or_default();
    let (said, is_error) = answer(response);
    let mut parts = vec![Part::text(said)];
    for (index, part) in list(&mut result, path, "parts")?.into_iter().enumerate() {
        let path = format!("{path}.parts[{index}]");
        plain(as_object(part, &path)?, &path, &mut parts)?;
    }
    let result = ToolResult { call_id, name: name.or(called), parts, is_error };
    Ok(Part::new(Content::ToolResult(result)))
}

/// Returns what a tool answered as text: what stands under the one key that SDKs wrap it in, or the object's JSON.
fn answer(response: Fields) -> (String, bool) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if response.len() == 1 {
        for (key, is_error) in [("error", true), ("output", false), ("result", false)] {
            if let Some(value) = response.get(key) {
                return (text(value), is_error);
            }
        }
    }
    (Value::Object(response).to_string(), false)
}
