//! `[guardrails.structured_output]`: whether an answer has the form that its request asks for, and the words in which the
//! model is asked once more where it has not.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use boon::{Compiler, Schemas, UrlLoader, ValidationError};
use serde_json::{Map, Value, json};

use super::guards::{asker, replaced};
use super::schema_extent::Extent;
use crate::call::{Call, RequestId};
use crate::config::privacy::{Structured, StructuredCheck};
use crate::privacy::texts::Text;
use crate::privacy::{Action, Entity, Report};
use crate::providers::clients;
use crate::schema::Operation;
use crate::schema::chat::Format;

/// How many faults a model or a client is told.
const FAULTS_MAX: usize = 3;
/// How long each is at most, in characters.
const FAULT_MAX: usize = 110;
/// What records and metrics call it.
const RULE: &str = "structured_output";
/// Name of the client's schema for those who read it.
const NAME: &str = "schema:client";
/// Characters of a request's id that the id of its repair begins with.
const ID_KEPT: usize = 57;
/// With less time than that nobody is asked once more.
const LEAST: Duration = Duration::from_secs(1);
/// The reason for which an answer ends that is longer than it may be.
const CUT: &str = "length";
/// Reasons for which an answer ends and is all that was to come.
const COMPLETE: [Option<&str>; 2] = [Some("stop"), None];

/// The form that a request asks for.
pub struct Wanted {
    operation: Operation,
    /// `None` for any JSON object.
    schema: Option<Compiled>,
    pub check: StructuredCheck,
    pub repair: bool,
}

struct Compiled {
    schemas: Schemas,
    index: boon::SchemaIndex,
    extent: Extent,
}

/// What an answer is, held to a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    Fits,
    /// Where, and what was expected there.
    Faulty(Vec<String>),
    /// It was cut before its end.
    Cut,
    /// A call of a tool, a refusal, or more than can be judged in time.
    No,
}

/// Nothing is fetched: a schema that points elsewhere cannot be used.
struct Nowhere;

impl UrlLoader for Nowhere {
    fn load(&self, url: &str) -> Result<Value, Box<dyn std::error::Error>> {
        Err(format!("{url} is not fetched").into())
    }
}

impl Wanted {
    /// Returns what `call`, which asks for `alias`, wants its answer to be like; `None` where it does not say, nobody looks, or
    /// its schema cannot be used, which is the client's affair.
    pub fn of(settings: &Structured, call: &Call, alias: &str) -> Option<Self> {
        let looks = settings.check != StructuredCheck::Off && settings.audience.covers(asker(call), alias);
        if !looks || call.head.choices > 1 || call.head.operation.embeds() {
            return None;
        }
        let operation = call.head.operation;
        // What asks for JSON says so.
        memchr::memmem::find(&call.body, b"json").or_else(|| memchr::memmem::find(&call.body, b"esponse"))?;
        let schema = match clients::read_to_count(operation, &call.body).ok()?.format? {
            Format::Text => return None,
            Format::JsonObject => None,
            Format::JsonSchema { schema, .. } => Some(compiled(schema)?),
        };
        // What a stream has said is said.
        let repair = settings.repair && !call.head.stream;
        Some(Self { operation, schema, check: settings.check, repair })
    }

    /// Returns what `body` is, a whole answer that ended for `finish`.
    pub fn judge(&self, body: &[u8], finish: Option<&str>) -> Judged {
        let text = serde_json::from_slice(body).ok().and_then(|body| said(self.operation, &body));
        self.judge_text(&text.unwrap_or_default(), finish)
    }

    /// Returns whether a text of an event, whose data is `data`, is the next piece of what the answer says.
    pub fn is_said(&self, text: &Text, data: &str) -> bool {
        text.is_piece
            && match self.operation {
                Operation::ChatCompletions => text.at == "0/delta/content/",
                Operation::Messages => text.at.ends_with("/text"),
                Operation::Responses => text.at.starts_with("response.output_text/"),
                Operation::GenerateContent => !data.contains("\"thought\":true") && !data.contains("\"thought\": true"),
                _ => false,
            }
    }

    /// The same of what an answer says.
    pub fn judge_text(&self, text: &str, finish: Option<&str>) -> Judged {
        if text.is_empty() || !COMPLETE.contains(&finish) {
            return if finish == Some(CUT) { Judged::Cut } else { Judged::No };
        }
        let value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(fault) => {
                let place = format!("line {}, column {}", fault.line(), fault.column());
                return Judged::Faulty(vec![format!("it is no JSON: it cannot be read on at {place}")]);
            }
        };
        match &self.schema {
            None if value.is_object() => Judged::Fits,
            None => Judged::Faulty(vec!["it is no JSON object".to_owned()]),
            Some(Compiled { extent, .. }) if !extent.affords(&value) => Judged::No,
            Some(Compiled { schemas, index, .. }) => match schemas.validate(&value, *index) {
                Ok(()) => Judged::Fits,
                Err(fault) => Judged::Faulty(told(&fault)),
            },
        }
    }

    /// Returns what the books are told of an answer that is not as wanted, which `passes` or does not.
    pub fn report(&self, passes: bool) -> Report {
        let action = if passes { Action::Flag } else { Action::Block };
        Report { counts: [((RULE.into(), Entity::Schema, action), 1)].into(), ..Report::default() }
    }

    /// Returns the request that shows the model its answer and what is wrong with it.
    pub fn again(&self, call: &Call, body: &[u8], faults: &[String]) -> Option<Call> {
        let answer = serde_json::from_slice(body).ok().and_then(|body| said(self.operation, &body))?;
        let words = format!(
            "Your last answer does not have the form that was asked for: {}. Answer again with the whole JSON and nothing else.",
            faults.join("; ")
        );
        let mut request: Map<String, Value> = serde_json::from_slice(&call.body).ok()?;
        let (list, turns) = match self.operation {
            Operation::ChatCompletions | Operation::Messages => {
                let turn = |role: &str, text: String| json!({"role": role, "content": text});
                ("messages", [turn("assistant", answer), turn("user", words)])
            }
            Operation::Responses => {
                let turn = |role: &str, text: String| json!({"role": role, "content": text});
                if let Some(Value::String(text)) = request.get("input") {
                    let first = turn("user", text.clone());
                    request.insert("input".into(), json!([first]));
                }
                ("input", [turn("assistant", answer), turn("user", words)])
            }
            Operation::GenerateContent => {
                let turn = |role: &str, text: String| json!({"role": role, "parts": [{"text": text}]});
                ("contents", [turn("model", answer), turn("user", words)])
            }
            _ => return None,
        };
        request.get_mut(list)?.as_array_mut()?.extend(turns);
        let call = replaced(call, Some(Value::Object(request).to_string())).ok()??;
        let own: String = call.id.as_str().chars().take(ID_KEPT).collect();
        let id = RequestId::from_client(&format!("{own}.repair")).unwrap_or_else(RequestId::generate);
        let now = Instant::now();
        (now + LEAST < call.deadline).then_some(Call { id, received: now, read: now, ..call })
    }
}

/// The words for whoever gets no answer for its faults.
pub fn mismatch(faults: &[String]) -> String {
    format!("the model's answer does not have the form that was asked for ({}); try again", faults.join("; "))
}

fn compiled(schema: Value) -> Option<Compiled> {
    let extent = Extent::of(&schema)?;
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.use_loader(Box::new(Nowhere));
    compiler.add_resource(NAME, schema).ok()?;
    let index = compiler.compile(NAME, &mut schemas).ok()?;
    Some(Compiled { schemas, index, extent })
}

/// What the innermost faults are, by their places: what was expected there, never what stands there.
fn told(fault: &ValidationError<'_, '_>) -> Vec<String> {
    let mut innermost = vec![];
    let mut open = vec![fault];
    while let Some(fault) = open.pop() {
        if fault.causes.is_empty() {
            innermost.push(fault);
        }
        open.extend(fault.causes.iter().rev());
    }
    let mut seen = HashMap::new();
    let told = innermost.into_iter().filter_map(|fault| {
        let at = fault.instance_location.to_string();
        let place = if at.is_empty() { "the whole".to_owned() } else { at };
        let text: String = format!("{place}: {}", expected(fault)).chars().take(FAULT_MAX).collect();
        seen.insert(text.clone(), ()).is_none().then_some(text)
    });
    told.take(FAULTS_MAX).collect()
}

/// What was expected, in words without the value that was found.
fn expected(fault: &ValidationError<'_, '_>) -> String {
    use boon::ErrorKind as Kind;
    match &fault.kind {
        Kind::Required { want } => format!("has to have {}", listed(want.iter())),
        Kind::AdditionalProperties { .. } => "may have no further members".to_owned(),
        Kind::Type { want, .. } => format!("has to be of the type {}", listed(want.iter())),
        Kind::Enum { want } => format!("has to be one of {}", listed(want.iter())),
        Kind::Const { want } => format!("has to be {want}"),
        Kind::Pattern { want, .. } => format!("has to match {want}"),
        Kind::Format { want, .. } => format!("has to be a {want}"),
        Kind::MinLength { want, .. } => format!("has to have {want} characters or more"),
        Kind::MaxLength { want, .. } => format!("has to have {want} characters at most"),
        Kind::MinItems { want, .. } => format!("has to have {want} items or more"),
        Kind::MaxItems { want, .. } => format!("has to have {want} items at most"),
        Kind::Minimum { want, .. } => format!("has to be {want} or more"),
        Kind::Maximum { want, .. } => format!("has to be {want} at most"),
        _ => format!("does not satisfy {}", fault.schema_url.rsplit('#').next().unwrap_or_default()),
    }
}

fn listed(names: impl Iterator<Item = impl std::fmt::Display>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Returns the text of a whole answer; `None` where it holds a call of a tool or a refusal.
fn said(operation: Operation, body: &Value) -> Option<String> {
    let joined = |parts: &Value, is_text: &dyn Fn(&Value) -> bool| -> Option<String> {
        parts.as_array()?.iter().filter(|part| is_text(part)).map(|part| part["text"].as_str()).collect()
    };
    match operation {
        Operation::ChatCompletions => body["choices"][0]["message"]["content"].as_str().map(str::to_owned),
        Operation::Messages => joined(&body["content"], &|part| part["type"] == "text"),
        Operation::GenerateContent => joined(&body["candidates"][0]["content"]["parts"], &|part| {
            part["text"].is_string() && part["thought"] != true
        }),
        Operation::Responses => {
            let items = body["output"].as_array()?;
            let messages = items.iter().filter(|item| item["type"] == "message");
            let texts = messages.map(|item| joined(&item["content"], &|part| part["type"] == "output_text"));
            texts.collect::<Option<String>>()
        }
        _ => None,
    }
    .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(operation: Operation, schema: Option<Value>) -> Wanted {
        let schema = schema.map(|schema| compiled(schema).expect("it compiles"));
        Wanted { operation, schema, check: StructuredCheck::Flag, repair: true }
    }

    /// A whole answer of each dialect that says `text`.
    fn answers(text: &str) -> [(Operation, Value); 4] {
        [
            (Operation::ChatCompletions, json!({"choices": [{"message": {"role": "assistant", "content": text}}]})),
            (
                Operation::Messages,
                json!({"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": text}]}),
            ),
            (
                Operation::Responses,
                json!({"output": [{"type": "reasoning", "summary": []}, {"type": "message", "content": [{"type": "output_text", "text": text}]}]}),
            ),
            (
                Operation::GenerateContent,
                json!({"candidates": [{"content": {"parts": [{"text": "hm", "thought": true}, {"text": text}]}}]}),
            ),
        ]
    }

    #[test]
    fn what_is_wrong_is_told_by_its_place_and_never_by_its_value() {
        let schema = json!({"type": "object", "required": ["name", "age"], "additionalProperties": false,
            "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}, "kind": {"enum": ["a", "b"]}}});
        let faults = |text: &str| {
            let each = answers(text).map(|(operation, body)| {
                match wanted(operation, Some(schema.clone())).judge(body.to_string().as_bytes(), Some("stop")) {
                    Judged::Faulty(faults) => faults,
                    judged => {
                        assert_eq!(judged, Judged::Fits);
                        vec![]
                    }
                }
            });
            assert!(each.iter().all(|faults| *faults == each[0]), "{each:?}");
            each[0].clone()
        };
        assert_eq!(faults(r#" {"name": "x", "age": 3} "#), Vec::<String>::new());
        assert_eq!(faults(r#"{"name": "secret"}"#), ["the whole: has to have `age`"]);
        assert_eq!(faults(r#"{"name": "x", "age": "secret"}"#), ["/age: has to be of the type `integer`"]);
        assert_eq!(faults("Sure! {}"), ["it is no JSON: it cannot be read on at line 1, column 1"]);
        let many = faults(r#"{"name": 1, "age": -1, "kind": "c", "more": 1}"#);
        assert!(many.len() == FAULTS_MAX && !many.join(" ").contains("-1"), "{many:?}");
    }

    #[test]
    fn any_object_will_do_and_what_was_cut_or_calls_a_tool_is_not_judged() {
        let any = wanted(Operation::ChatCompletions, None);
        let body = |content: Value| json!({"choices": [{"message": {"content": content}}]}).to_string();
        let judged = |content: Value, finish: &str| any.judge(body(content).as_bytes(), Some(finish));
        assert_eq!(judged("{}".into(), "stop"), Judged::Fits);
        assert_eq!(judged("[1]".into(), "stop"), Judged::Faulty(vec!["it is no JSON object".to_owned()]));
        assert_eq!(judged("[1".into(), "length"), Judged::Cut);
        assert_eq!((judged(Value::Null, "stop"), judged("{}".into(), "tool_calls")), (Judged::No, Judged::No));
    }

    #[test]
    fn a_schema_that_points_elsewhere_or_is_none_cannot_be_used() {
        assert!(compiled(json!({"$ref": "https://example.com/schema.json"})).is_none());
        assert!(compiled(json!({"type": "strin"})).is_none());
        assert!(compiled(json!({"$defs": {"a": {"type": "string"}}, "$ref": "#/$defs/a"})).is_some());
    }
}
