//! The contents of a conversation: roles, parts, and that calls, results and thought signatures meet.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::Value;

use super::super::reply::Refusal;
use super::super::signature;
use super::shapes::DATA;
use super::wrong;

/// Signatures that Google takes for conversations that began elsewhere.
const DUMMIES: [&str; 2] = ["skip_thought_signature_validator", "context_engineering_is_the_way_to_go"];

pub(super) struct Turns<'a>(Vec<Content<'a>>);

struct Content<'a> {
    is_model: bool,
    parts: &'a [Value],
}

impl<'a> Content<'a> {
    fn with(&self, name: &'static str) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.parts.iter().filter_map(move |part| part.get(name))
    }
}

/// Returns the signature of a call, which stands beside the first call of a turn.
pub(super) fn signed_call(seed: u64, call: &Value) -> String {
    let empty = Value::Object(serde_json::Map::new());
    signature::sign(seed, &format!("call {} {}", call["name"], call.get("args").unwrap_or(&empty)))
}

/// Returns the signature that stands beside text.
pub(super) fn signed_text(seed: u64) -> String {
    signature::sign(seed, "text")
}

fn parts(content: &Value) -> &[Value] {
    content["parts"].as_array().map_or(&[], Vec::as_slice)
}

impl<'a> Turns<'a> {
    /// Reads `contents` and `systemInstruction`; `signs` tells whether the model demands signatures.
    pub(super) fn read(body: &'a Value, signs: bool, seed: u64) -> Result<Self, Refusal> {
        let contents = body["contents"].as_array().map_or(&[][..], Vec::as_slice);
        if contents.is_empty() {
            return Err(wrong("* GenerateContentRequest.contents: contents is not specified"));
        }
        for (place, part) in parts(&body["systemInstruction"]).iter().enumerate() {
            if part.get("text").is_none() {
                return Err(wrong(format!("systemInstruction.parts[{place}]: only text is allowed here")));
            }
        }
        let mut turns = Vec::new();
        for (index, content) in contents.iter().enumerate() {
            let at = format!("contents[{index}]");
            let is_model = match content["role"].as_str() {
                Some("model") => true,
                Some("user") => false,
                None if contents.len() == 1 => false,
                _ => return Err(wrong(format!("{at}.role: Please use a valid role: user, model."))),
            };
            let parts = parts(content);
            if parts.is_empty() {
                return Err(wrong(format!("* GenerateContentRequest.{at}.parts: contents.parts must not be empty.")));
            }
            parts.iter().enumerate().try_for_each(|(place, part)| {
                check_part(part, is_model, &format!("{at}.parts[{place}]"))?;
                check_signature(part, seed, &format!("{at}.parts[{place}]"))
            })?;
            turns.push(Content { is_model, parts });
        }
        let turns = Self(turns);
        turns.check_calls()?;
        if signs {
            turns.check_signed()?;
        }
        Ok(turns)
    }

    fn check_calls(&self) -> Result<(), Refusal> {
        for (index, content) in self.0.iter().enumerate() {
            let results: Vec<&Value> = content.with("functionResponse").collect();
            let before = index.checked_sub(1).and_then(|before| self.0.get(before)).filter(|before| before.is_model);
            let calls: Vec<&Value> = before.into_iter().flat_map(|before| before.with("functionCall")).collect();
            if results.len() != calls.len() {
                return Err(wrong(format!(
                    "contents[{index}]: Please ensure that the number of function response parts is equal to the number \
                    of function call parts of the function call turn; {} and {} are not.",
                    results.len(),
                    calls.len()
                )));
            }
            check_names(&calls, &results, index)?;
            if content.is_model && content.with("functionCall").next().is_some() && index == 0 {
                return Err(wrong(
                    "Please ensure that function call turn comes immediately after a user turn or after a function \
                    response turn.",
                ));
            }
        }
        if self.0.last().is_some_and(|last| last.is_model) {
            return Err(wrong(
                "Please ensure that single turn requests end with a user role or the role field is empty.",
            ));
        }
        Ok(())
    }

    /// Refuses calls of the current turn, all since the user last said something, whose first has no signature.
    fn check_signed(&self) -> Result<(), Refusal> {
        let said = |content: &Content<'_>| {
            !content.is_model && content.parts.iter().any(|part| part.get("functionResponse").is_none())
        };
        let begins = self.0.iter().rposition(said).unwrap_or(0);
        for (index, content) in self.0.iter().enumerate().skip(begins) {
            let first = content.parts.iter().position(|part| part.get("functionCall").is_some());
            let Some(place) = first else { continue };
            if content.parts[place].get("thoughtSignature").is_none() {
                return Err(wrong(format!(
                    "Function call is missing a thought_signature in functionCall parts: contents[{index}].parts[{place}]."
                )));
            }
        }
        Ok(())
    }

    /// Returns the last text of the user's, the parts of a content joined.
    pub(super) fn user_text(&self) -> String {
        let text =
            |content: &Content<'_>| content.with("text").filter_map(Value::as_str).collect::<Vec<_>>().join("\n");
        self.0
            .iter()
            .rev()
            .filter(|content| !content.is_model)
            .map(text)
            .find(|text| !text.is_empty())
            .unwrap_or_default()
    }

    /// Returns what the last content of the user's brought besides text.
    pub(super) fn brought(&self) -> Vec<&'static str> {
        let last = self.0.iter().rev().find(|content| !content.is_model);
        let attached = last.into_iter().flat_map(|content| content.with("inlineData").chain(content.with("fileData")));
        let kind = |data: &Value| match data["mimeType"].as_str().unwrap_or_default().split('/').next() {
            Some("image") => "image",
            Some("audio") => "sound",
            Some("video") => "video",
            _ => "file",
        };
        attached.map(kind).collect()
    }

    /// Returns the results of functions in the last content.
    pub(super) fn results(&self) -> Vec<String> {
        let words = |result: &Value| {
            let response = &result["response"];
            // The customary field of a plain text.
            let plain = response.get("output").or_else(|| response.get("result")).and_then(Value::as_str);
            plain.map_or_else(|| response.to_string(), str::to_owned)
        };
        self.0.last().into_iter().flat_map(|last| last.with("functionResponse")).map(words).collect()
    }
}

fn check_part(part: &Value, is_model: bool, at: &str) -> Result<(), Refusal> {
    let data: Vec<&str> = DATA.into_iter().filter(|name| part.get(*name).is_some()).collect();
    match data.as_slice() {
        [] => Err(wrong(format!("* {at}.data: required oneof field 'data' must have one initialized field"))),
        ["functionCall"] if !is_model => Err(wrong(format!("{at}: a functionCall needs the role model"))),
        ["functionResponse"] if is_model => Err(wrong(format!("{at}: a functionResponse needs the role user"))),
        ["functionResponse"] if part["functionResponse"]["name"] == "" => {
            Err(wrong(format!("* {at}.function_response.name: Name cannot be empty.")))
        }
        [_] => Ok(()),
        [first, second, ..] => {
            Err(wrong(format!("{at}: oneof field 'data' is already set to '{first}'. Cannot set '{second}'")))
        }
    }
}

fn check_signature(part: &Value, seed: u64, at: &str) -> Result<(), Refusal> {
    let Some(signature) = part["thoughtSignature"].as_str() else { return Ok(()) };
    let expected = match part.get("functionCall") {
        Some(call) => signed_call(seed, call),
        None => signed_text(seed),
    };
    // Bytes in JSON may come in either alphabet of base64; Google's own clients send the one for URLs.
    let right = signature.replace('-', "+").replace('_', "/") == expected;
    // The dummies too come as they are or as bytes.
    let dummy = |dummy: &&str| signature == *dummy || signature.trim_end_matches('=') == STANDARD_NO_PAD.encode(dummy);
    if right || DUMMIES.iter().any(dummy) {
        return Ok(());
    }
    Err(wrong(format!("{at}: Corrupted thought signature.")))
}

/// Refuses results whose names, or ids where they have some, are not those of the calls.
fn check_names(calls: &[&Value], results: &[&Value], index: usize) -> Result<(), Refusal> {
    let mut left: Vec<&Value> = calls.to_vec();
    for result in results {
        let answers = |call: &&Value| {
            let same_id = result["id"].is_null() || call["id"].is_null() || result["id"] == call["id"];
            same_id && result["name"] == call["name"]
        };
        let Some(place) = left.iter().position(answers) else {
            return Err(wrong(format!(
                "contents[{index}]: the function response {} answers no function call of the turn before",
                result["name"]
            )));
        };
        left.swap_remove(place);
    }
    Ok(())
}
