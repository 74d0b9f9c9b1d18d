//! Records as events of the Open Cybersecurity Schema Framework: class 6003, API Activity, of version 1.3.
//!
//! Fields that the class has no place for stand under `unmapped` by their own names, those of newer versions included.
//! Source: the class `api_activity` and the objects it names in the schema's repository.

use serde_json::{Map, Value, json};

use crate::audit::checkpoint::origin;
use crate::audit::record::{Phase, Record};

const VERSION: &str = "1.3.0";
const CATEGORY: u32 = 6;
const CLASS: u32 = 6_003;

/// Fields of a record that have a place of their own in the event.
const MAPPED: &[&str] = &[
    "v", "log", "index", "at_us", "request", "actor", "team", "user", "action", "provider", "model", "endpoint",
    "outcome", "status", "error", "build", "note",
];

/// Returns `record`, number `index` of `log` with the fields `raw`, as an event.
pub fn event(log: &str, index: u64, record: &Record<'_>, raw: &Map<String, Value>) -> Value {
    let activity = activity(record.phase);
    let (status, severity) = status(record);
    let unmapped: Map<String, Value> = raw
        .iter()
        .filter(|(name, _)| !MAPPED.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut event = json!({
        "category_uid": CATEGORY,
        "class_uid": CLASS,
        "activity_id": activity,
        "activity_name": record.action,
        "type_uid": CLASS * 100 + activity,
        "time": record.at_us / 1_000,
        "severity_id": severity,
        "status_id": status,
        "metadata": {
            "version": VERSION,
            "product": { "name": "Bursar", "vendor_name": "Bursar", "version": record.build },
            "log_name": origin(log),
            "uid": format!("{log}/{index}"),
            "sequence": index,
            "correlation_uid": record.request,
        },
        "actor": actor(record),
        "api": {
            "operation": record.action,
            "request": { "uid": record.request },
            "response": { "code": record.status, "error": record.error },
        },
        "src_endpoint": source(record),
        "dst_endpoint": record.provider.as_ref().map(|provider| json!({ "svc_name": provider, "name": record.endpoint })),
        "resources": record.model.as_ref().map(|model| json!([{ "type": "model", "name": model }])),
        "status": record.outcome,
        "status_code": record.status.map(|status| status.to_string()),
        "status_detail": record.error,
        "message": record.note,
        "unmapped": unmapped,
    });
    prune(&mut event);
    event
}

/// The schema knows create, read, update and delete (1 to 4); a call of a model is none of them (99).
fn activity(phase: Option<Phase>) -> u32 {
    match phase {
        Some(Phase::Export | Phase::Review) => 2,
        Some(Phase::Admin | Phase::Config) => 3,
        Some(Phase::Erase) => 4,
        _ => 99,
    }
}

/// Status (0 unknown, 1 success, 2 failure, 99 other) and severity (1 informational, 2 low).
fn status(record: &Record<'_>) -> (u32, u32) {
    match (record.outcome.as_deref(), record.phase) {
        (_, Some(Phase::Refused | Phase::Auth)) | (Some("failed"), _) => (2, 2),
        (Some("served"), _) => (1, 1),
        (Some("cancelled"), _) => (99, 1),
        _ => (0, 1),
    }
}

fn actor(record: &Record<'_>) -> Value {
    let team = record.team.as_ref().map(|team| json!([{ "name": team }]));
    match (&record.actor, &record.user) {
        (None, None) => json!({ "app_name": "unknown" }),
        (actor, None) if team.is_none() => json!({ "app_uid": actor }),
        (actor, user) => json!({ "app_uid": actor, "user": { "uid": user, "groups": team } }),
    }
}

/// An address of the client's network, or the gateway itself, where somebody asked from within.
fn source(record: &Record<'_>) -> Value {
    match &record.network {
        Some(network) => json!({ "ip": network.split('/').next() }),
        None => json!({ "svc_name": "bursar" }),
    }
}

/// Takes out what is null, and objects that are empty then.
fn prune(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(prune);
        fields.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|fields| !fields.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_what_the_class_requires_and_loses_no_field() {
        let raw = json!({
            "v": 1, "log": "ab", "index": 7, "at_us": 5_000_000, "phase": "completed", "request": "01A", "actor": "k1",
            "network": "203.0.113.0/24", "action": "chat", "provider": "openai", "model": "gpt", "status": 200,
            "outcome": "served", "cost_nano": 12, "novelty": { "a": 1 }
        });
        let text = raw.to_string();
        let record: Record<'_> = serde_json::from_str(&text).unwrap();

        let event = event("ab", 7, &record, raw.as_object().unwrap());

        assert_eq!(event["type_uid"], 600_399);
        assert_eq!((&event["time"], &event["status_id"]), (&json!(5_000), &json!(1)));
        assert_eq!(event["metadata"]["uid"], "ab/7");
        assert_eq!(event["actor"], json!({ "app_uid": "k1" }));
        assert_eq!(event["src_endpoint"], json!({ "ip": "203.0.113.0" }));
        assert_eq!(event["api"]["operation"], "chat");
        assert_eq!(event["unmapped"]["novelty"]["a"], 1);
        assert_eq!(event["unmapped"]["cost_nano"], 12);
    }

    #[test]
    fn an_event_of_nobody_still_has_actor_and_source() {
        let record = Record { action: "start".into(), phase: Some(Phase::Start), ..Record::default() };

        let event = event("ab", 0, &record, &Map::new());

        assert_eq!(event["actor"], json!({ "app_name": "unknown" }));
        assert_eq!(event["src_endpoint"], json!({ "svc_name": "bursar" }));
        assert!(event.get("dst_endpoint").is_none());
    }
}
