//! Repairs that need the chunk as a value: rare, so clarity comes before speed.

use bytes::Bytes;
use serde_json::{Value, json};

use super::event;
use super::facts::{Finish, Malformed, identity};
use super::lenient;
use super::repair::{ChoiceState, Tool, choice};

/// Repairs one streamed chunk; `None` if it is sound after all. The result may be several events.
///
/// A chunk that cannot be built as a value is refused: forwarded as it is, its tool calls and its end would be lost.
pub(super) fn chunk(data: &[u8], choices: &mut Vec<ChoiceState>) -> Result<Option<Bytes>, Malformed> {
    let mut value = lenient::value(data).ok_or(Malformed::NotJson)?;
    let seed = value.get("id").map(Value::to_string).unwrap_or_default();
    let mut ahead = Vec::new();
    let mut changed = only_objects(value.get_mut("choices"));
    let entries = value.get_mut("choices").and_then(Value::as_array_mut);
    for (place, entry) in entries.into_iter().flatten().enumerate() {
        let position = u32::try_from(place).unwrap_or(u32::MAX);
        let index = entry.get("index").and_then(Value::as_u64).and_then(|index| u32::try_from(index).ok());
        if index.is_none() {
            entry["index"] = json!(position);
            changed = true;
        }
        let state = choice(choices, index.unwrap_or(position));
        changed |= delta(entry, state, &seed);
        let mut owed = Vec::new();
        changed |= finish(entry, state, &mut owed);
        ahead.extend(owed.into_iter().map(|owed| (place, owed)));
    }
    if ahead.is_empty() {
        return Ok(changed.then(|| event(&value)));
    }
    Ok(Some(one_by_one(value, ahead)))
}

/// Sends the choices of a chunk as an event each, and ahead of each what it is owed: a call that another choice of the
/// same index opens here must not be completed before it is opened.
fn one_by_one(mut chunk: Value, ahead: Vec<(usize, Value)>) -> Bytes {
    let mut out = frame(&chunk);
    let mut ahead = ahead.into_iter().peekable();
    let mut choices = Vec::new();
    if let Value::Array(entries) = chunk["choices"].take() {
        for (place, entry) in entries.into_iter().enumerate() {
            choices.extend(ahead.next_if(|(at, _)| *at == place).map(|(_, owed)| owed));
            choices.push(entry);
        }
    }
    let last = choices.pop();
    let mut bytes = Vec::new();
    for choice in choices {
        out["choices"] = json!([choice]);
        bytes.extend_from_slice(&event(&out));
    }
    // Usage and what else the chunk holds goes with the last.
    chunk["choices"] = last.into_iter().collect();
    bytes.extend_from_slice(&event(&chunk));
    bytes.into()
}

/// Removes from an array what is no object.
pub(super) fn only_objects(list: Option<&mut Value>) -> bool {
    let Some(list) = list.and_then(Value::as_array_mut) else { return false };
    let before = list.len();
    list.retain(Value::is_object);
    list.len() != before
}

/// Makes `tool_calls` a list of objects, or null, or takes it away.
fn shape_tools(message: &mut Value) -> bool {
    let misshapen = message.get("tool_calls").is_some_and(|tools| !tools.is_array() && !tools.is_null());
    if misshapen && let Some(fields) = message.as_object_mut() {
        fields.remove("tool_calls");
    }
    misshapen | only_objects(message.get_mut("tool_calls"))
}

/// Builds the chunk (two, if a tool call lacks its arguments) that ends a choice the upstream forgot to end.
pub(super) fn finish_chunk(first: &[u8], state: &mut ChoiceState) -> Bytes {
    let mut out = pattern(first);
    let reason = if state.tools.is_empty() { "stop" } else { "tool_calls" };
    let mut entry = json!({ "index": state.index, "delta": {}, "finish_reason": reason });
    let mut ahead = Vec::new();
    finish(&mut entry, state, &mut ahead);
    let mut bytes = Vec::new();
    for entry in ahead.into_iter().chain([entry]) {
        out["choices"] = json!([entry]);
        bytes.extend_from_slice(&event(&out));
    }
    bytes.into()
}

/// Returns a chunk without choices and usage, in the likeness of an event seen before.
pub(super) fn pattern(event: &[u8]) -> Value {
    let data = event.strip_prefix(b"data: ").unwrap_or(event);
    serde_json::from_slice(data).map_or_else(|_| json!({ "object": "chat.completion.chunk" }), |value| frame(&value))
}

fn frame(value: &Value) -> Value {
    let keep = ["id", "object", "created", "model", "system_fingerprint", "service_tier"];
    keep.iter()
        .filter_map(|&key| Some((key.to_owned(), value.get(key)?.clone())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Repairs the delta of one choice.
fn delta(entry: &mut Value, state: &mut ChoiceState, seed: &str) -> bool {
    let Some(delta) = entry.get_mut("delta") else { return false };
    if !delta.is_object() {
        *delta = json!({});
        return true;
    }
    let mut changed = flatten(delta) | shape_tools(delta);
    let Some(tools) = delta.get_mut("tool_calls").and_then(Value::as_array_mut) else { return changed };
    for tool in tools {
        changed |= tool_delta(tool, state, seed);
    }
    changed
}

/// Turns content in parts, or one part alone, into text.
fn flatten(message: &mut Value) -> bool {
    let parts = match message.get("content") {
        Some(Value::Array(parts)) => parts.as_slice(),
        Some(part @ Value::Object(_)) => std::slice::from_ref(part),
        _ => return false,
    };
    let text = |part: &Value| part.as_str().or_else(|| part.get("text")?.as_str()).map(str::to_owned);
    let joined: String = parts.iter().filter_map(text).collect();
    message["content"] = Value::String(joined);
    true
}

fn hash_of(value: Option<&Value>) -> Option<u64> {
    value.and_then(|value| identity(&value.to_string()))
}

/// Repairs one entry of a delta's `tool_calls` and follows it in the state.
fn tool_delta(tool: &mut Value, state: &mut ChoiceState, seed: &str) -> bool {
    let before = tool.clone();
    let custom = is_custom(tool);
    let body = if custom { "custom" } else { "function" };
    let index = tool.get("index").and_then(Value::as_u64).and_then(|index| u32::try_from(index).ok());
    let id = hash_of(tool.get("id"));
    let name = hash_of(tool.get(body).and_then(|body| body.get("name")));
    let (position, opens) = match state.find(index, id, name) {
        Some(position) => (position, false),
        None => {
            state.tools.push(Tool { upstream_index: index, id, name, custom, has_arguments: false });
            (state.tools.len() - 1, true)
        }
    };
    tool["index"] = json!(position);
    if opens {
        open(tool, body, &format!("{seed}/{}/{position}", state.index));
    } else {
        follow(tool, body, id, name, &state.tools[position]);
    }
    if !custom {
        arguments_to_text(&mut tool[body], "");
        let text = tool[body].get("arguments").and_then(Value::as_str);
        state.tools[position].has_arguments |= text.is_some_and(|text| !text.is_empty());
    }
    *tool != before
}

/// Returns whether a call is of a custom tool. Servers that print every field send `"custom": null` with functions.
fn is_custom(tool: &Value) -> bool {
    tool.get("custom").is_some_and(Value::is_object) || tool.get("type") == Some(&json!("custom"))
}

/// Completes the first delta of a call, or a whole call.
fn open(tool: &mut Value, body: &str, seed: &str) {
    shape_body(tool, body);
    match tool.get("id") {
        Some(Value::String(id)) if !id.is_empty() => {}
        Some(Value::Number(id)) => tool["id"] = json!(id.to_string()),
        _ => tool["id"] = json!(format!("call_{:016x}", identity(seed).unwrap_or_default())),
    }
    if !tool.get("type").is_some_and(Value::is_string) {
        tool["type"] = json!(body);
    }
    if body == "function" && tool[body].get("arguments").is_none() {
        tool[body]["arguments"] = json!("");
    }
}

/// Makes the body of a call an object.
fn shape_body(tool: &mut Value, body: &str) {
    if !tool.get(body).is_some_and(Value::is_object) {
        tool[body] = json!({});
    }
}

/// Strips what a later delta must not repeat, because clients append it.
fn follow(tool: &mut Value, body: &str, id: Option<u64>, name: Option<u64>, known: &Tool) {
    shape_body(tool, body);
    let fragment = name.is_some() && id.is_none() && name != known.name && !known.has_arguments;
    if let Some(fields) = tool.as_object_mut() {
        fields.remove("id");
        fields.remove("type");
    }
    if let Some(fields) = tool[body].as_object_mut()
        && !fragment
    {
        fields.remove("name");
    }
}

/// Makes `arguments` a string where it is there: null as `empty`, anything else as its JSON.
fn arguments_to_text(function: &mut Value, empty: &str) {
    let Some(arguments) = function.get_mut("arguments") else { return };
    if arguments.is_null() {
        *arguments = json!(empty);
    } else if !arguments.is_string() {
        *arguments = json!(arguments.to_string());
    }
}

impl ChoiceState {
    /// Returns which call a delta continues, or `None` if it opens one.
    fn find(&self, index: Option<u32>, id: Option<u64>, name: Option<u64>) -> Option<usize> {
        let Some(index) = index else {
            if id.is_some() {
                return self.tools.iter().rposition(|tool| tool.id == id);
            }
            return if name.is_some() { None } else { self.tools.len().checked_sub(1) };
        };
        let found = self.tools.iter().rposition(|tool| tool.upstream_index == Some(index))?;
        // Some servers number all parallel calls 0 and tell them apart by id only.
        let another = id.is_some() && id != self.tools[found].id && name.is_some();
        (!another).then_some(found)
    }
}

/// Repairs the finish reason of one choice, and completes its tool calls: in this very chunk if it holds some, else
/// as a choice to send ahead.
fn finish(entry: &mut Value, state: &mut ChoiceState, ahead: &mut Vec<Value>) -> bool {
    let Some(reason) = entry.get("finish_reason").and_then(Value::as_str) else {
        let wrong = entry.get("finish_reason").is_some_and(|reason| !reason.is_null());
        if wrong {
            entry["finish_reason"] = Value::Null;
        }
        return wrong;
    };
    let (found, _) = Finish::read(reason);
    if found == Finish::Unknown {
        entry["finish_reason"] = Value::Null;
        return true;
    }
    let calls = !state.tools.is_empty();
    let meant = match found {
        Finish::Stop | Finish::FunctionCall if calls => Finish::ToolCalls,
        Finish::ToolCalls if !calls => Finish::Stop,
        other => other,
    };
    state.finish = Some(meant);
    let mut changed = meant.word() != reason;
    entry["finish_reason"] = json!(meant.word());
    if meant == Finish::ToolCalls {
        changed |= complete_arguments(entry, state, ahead);
    }
    changed
}

fn complete_arguments(entry: &mut Value, state: &mut ChoiceState, ahead: &mut Vec<Value>) -> bool {
    let mut missing = Vec::new();
    for (position, tool) in state.tools.iter_mut().enumerate() {
        if !tool.custom && !tool.has_arguments {
            tool.has_arguments = true;
            missing.push(json!({ "index": position, "function": { "arguments": "{}" } }));
        }
    }
    if missing.is_empty() {
        return false;
    }
    match entry.pointer_mut("/delta/tool_calls").and_then(Value::as_array_mut) {
        Some(here) if !here.is_empty() => {
            for fragment in missing {
                match here.iter_mut().find(|tool| tool["index"] == fragment["index"]) {
                    Some(tool) => tool["function"]["arguments"] = json!("{}"),
                    None => here.push(fragment),
                }
            }
        }
        _ => ahead.push(json!({ "index": state.index, "delta": { "tool_calls": missing }, "finish_reason": null })),
    }
    true
}

/// Repairs one choice of a whole reply.
pub(super) fn whole_choice(entry: &mut Value, position: usize, seed: &str) -> bool {
    if !entry.is_object() {
        return false;
    }
    let before = entry.clone();
    if !entry.get("index").is_some_and(Value::is_u64) {
        entry["index"] = json!(position);
    }
    let message = entry.get_mut("message");
    let mut calls = false;
    if let Some(message) = message.filter(|message| message.is_object()) {
        flatten(message);
        shape_tools(message);
        let tools = message.get_mut("tool_calls").and_then(Value::as_array_mut);
        for (number, tool) in tools.into_iter().flatten().enumerate() {
            calls = true;
            let custom = is_custom(tool);
            open(tool, if custom { "custom" } else { "function" }, &format!("{seed}/{position}/{number}"));
            if !custom {
                arguments_to_text(&mut tool["function"], "{}");
                if tool["function"]["arguments"] == json!("") {
                    tool["function"]["arguments"] = json!("{}");
                }
            }
        }
    }
    let reason = entry.get("finish_reason").and_then(Value::as_str);
    let found = reason.map_or(Finish::Unknown, |reason| Finish::read(reason).0);
    let meant = match found {
        Finish::Stop | Finish::Unknown if calls => Finish::ToolCalls,
        other => other,
    };
    if entry.get("finish_reason").is_some() || calls {
        entry["finish_reason"] = json!(meant.word());
    }
    *entry != before
}
