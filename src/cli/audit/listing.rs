//! What a reviewer reads on the terminal: status, lists of records, one record with its proof.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use bursar_actors::audit::checkpoint::{Note, VerifyingKey};
use bursar_actors::audit::merkle::{Hash, leaf_hash, verify_inclusion};
use serde_json::{Value, json};

use super::super::list::{self, Column};
use super::super::{Output, complain};
use super::counter;
use super::verify::read_key;
use crate::books::desk::{Ask, Pairs};
use crate::config::load::Sources;
use crate::config::settings::dollars;

const RECORDS: [Column; 13] = [
    ("INDEX", "index"),
    ("TIME", "time"),
    ("PHASE", "phase"),
    ("ACTION", "action"),
    ("OUTCOME", "outcome"),
    ("REQUEST", "request"),
    ("TEAM", "team"),
    ("USER", "user"),
    ("WHO", "actor"),
    ("MODEL", "model"),
    ("COST (USD)", "cost_usd"),
    ("TOOK (ms)", "took_ms"),
    ("WHAT", "what"),
];
const HOLDS: [Column; 4] = [("TEAM", "team"), ("USER", "user"), ("SINCE", "since"), ("REASON", "reason")];
const FIELDS: [Column; 2] = [("WHAT", "what"), ("VALUE", "value")];
/// Most records that the gateway puts on one page.
const PAGE_MAX: usize = 1_000;

/// What is to be listed.
pub struct Page {
    pub pairs: Pairs,
    pub limit: usize,
    pub before: Option<u64>,
}

/// Prints how the books are. Returns 1 where something is wrong with them.
pub fn status(sources: &Sources, form: Output, output: &mut dyn Write) -> io::Result<ExitCode> {
    let status = match counter::json(sources, Ask::Status) {
        Ok(status) => status,
        Err(failure) => return Ok(failure.told()),
    };
    match form {
        Output::Json => writeln!(output, "{status:#}")?,
        _ => list::write(&fields(&status), &FIELDS, form, output)?,
    }
    let is_well = status["fault"].is_null() && status["journal_fault"].is_null();
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn fields(object: &Value) -> Vec<Value> {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), |text| text.trim_end().to_owned());
    let told = object.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    told.map(|(what, value)| json!({ "what": what, "value": shown(value) })).collect()
}

/// Prints records, the latest first; page after page until there are as many as wanted.
pub fn search(sources: &Sources, page: Page, form: Output, output: &mut dyn Write) -> io::Result<ExitCode> {
    let Page { pairs, limit, mut before } = page;
    let mut records: Vec<Value> = Vec::new();
    loop {
        let mut pairs = pairs.clone();
        pairs.push(("limit".into(), (limit - records.len()).clamp(1, PAGE_MAX).to_string()));
        pairs.extend(before.map(|before| ("before".into(), before.to_string())));
        let mut found = match counter::json(sources, Ask::Search(pairs)) {
            Ok(found) => found,
            Err(failure) => return Ok(failure.told()),
        };
        before = found["next"].as_u64();
        if let Value::Array(page) = found["records"].take() {
            records.extend(page);
        }
        if before.is_none() || records.len() >= limit {
            break;
        }
    }
    if form == Output::Json {
        list::write(&records, &RECORDS, form, output)?;
    } else {
        let rows: Vec<Value> = records.iter().map(|record| row(record, form)).collect();
        list::write(&rows, &RECORDS, form, output)?;
    }
    if let Some(before) = before {
        let _ = writeln!(io::stderr(), "there are more: --limit {} or --before {before}", limit.saturating_mul(10));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(record: &Value, form: Output) -> Value {
    let text = |field: &str| record[field].as_str().unwrap_or_default();
    let parts = |first: &str, second: &str| match (text(first), text(second)) {
        ("", second) => second.to_owned(),
        (first, "") => first.to_owned(),
        (first, second) => format!("{first}/{second}"),
    };
    let model = if record["model"].is_null() { text("asked").to_owned() } else { parts("provider", "model") };
    let what = [text("error"), text("note")].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
    let mut row = json!({
        "index": record["index"],
        "time": time(record["at_us"].as_u64().unwrap_or_default()),
        "model": model,
        "cost_usd": record["cost_nano"].as_u64().map(dollars),
        "took_ms": record["latency_us"]["total"].as_u64().map(|us| us as f64 / 1e3),
        "what": what,
    });
    for field in ["phase", "action", "outcome", "request", "team", "user", "actor"] {
        row[field] = text(field).into();
    }
    if form == Output::Csv {
        row.as_object_mut().into_iter().flatten().for_each(|(_, value)| harmless(value));
    }
    row
}

/// What clients wrote must not be taken for a formula by a spreadsheet.
fn harmless(value: &mut Value) {
    if let Value::String(text) = value
        && text.starts_with(['=', '+', '-', '@', '\t', '\r'])
    {
        text.insert(0, '\'');
    }
}

fn time(at_us: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_micros(at_us)).to_string()
}

/// Prints one record and whether it is proven. Returns 1 where it is not.
pub fn show(
    sources: &Sources,
    index: u64,
    key: Option<&str>,
    form: Output,
    output: &mut dyn Write,
) -> io::Result<ExitCode> {
    let key = match key.map(read_key).transpose() {
        Ok(key) => key,
        Err(why) => return Ok(complain(why)),
    };
    let mut shown = match counter::json(sources, Ask::Show(index)) {
        Ok(shown) => shown,
        Err(failure) => return Ok(failure.told()),
    };
    let proven = prove(&shown, index, key);
    shown["proven"] = proven.is_ok().into();
    match form {
        Output::Json => writeln!(output, "{shown:#}")?,
        _ => list::write(&fields(&shown["record"]), &FIELDS, form, output)?,
    }
    match proven {
        Ok(how) => {
            let _ = writeln!(io::stderr(), "{how}");
            Ok(ExitCode::SUCCESS)
        }
        Err(why) => Ok(complain(format!("record {index} is NOT proven: {why}"))),
    }
}

/// Computes what the gateway says: believes nothing but the key, if one is given.
fn prove(shown: &Value, index: u64, key: Option<VerifyingKey>) -> Result<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let whose = if key.is_some() { "the key given" } else { "the key that the gateway names; give yours with --key" };
    let key = key.or_else(|| VerifyingKey::parse(&text(&shown["public_key"]))).ok_or("there is no public key")?;
    let note = Note::parse(&text(&shown["checkpoint"])).map_err(|why| why.to_string())?;
    note.verify(&key).map_err(|why| why.to_string())?;
    let path = shown["proof"]["path"].as_array().ok_or("there is no proof")?;
    let path: Option<Vec<Hash>> = path.iter().map(|hash| Hash::from_hex(hash.as_str()?)).collect();
    let path = path.ok_or("the proof is malformed")?;
    let (size, root) = (note.checkpoint().size, note.checkpoint().root);
    let leaf = text(&shown["leaf"]);
    let says: Value = serde_json::from_str(&leaf).unwrap_or_default();
    if says != shown["record"] {
        return Err("what is shown is not what was proven".into());
    }
    if !verify_inclusion(&leaf_hash(leaf.as_bytes()), index, size, &path, &root) {
        return Err("its hash does not lead to the root of the checkpoint".into());
    }
    Ok(format!("proven: record {index} is in the log of {size} records with root {root}, signed with {whose}"))
}

/// Prints the legal holds.
pub fn holds(sources: &Sources, form: Output, output: &mut dyn Write) -> io::Result<ExitCode> {
    let holds = match counter::json(sources, Ask::Holds) {
        Ok(holds) => holds,
        Err(failure) => return Ok(failure.told()),
    };
    let dated = |hold: &Value| {
        let mut hold = hold.clone();
        hold["since"] = time(hold["since_us"].as_u64().unwrap_or_default()).into();
        hold
    };
    let rows: Vec<Value> = holds.as_array().into_iter().flatten().map(dated).collect();
    list::write(&rows, &HOLDS, form, output)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_units_and_no_formula() {
        let record = json!({
            "index": 3, "at_us": 1_795_455_281_000_000_u64, "phase": "completed", "request": "=1+1", "provider": "openai",
            "model": "gpt-5", "cost_nano": 1_500_000, "latency_us": {"total": 2_500}, "error": "x", "note": "y",
        });

        let row = row(&record, Output::Csv);

        assert_eq!(row["time"], "2026-11-23T17:34:41.000Z");
        assert_eq!(
            (&row["request"], &row["model"], &row["what"]),
            (&json!("'=1+1"), &json!("openai/gpt-5"), &json!("x: y"))
        );
        assert_eq!((&row["cost_usd"], &row["took_ms"]), (&json!(dollars(1_500_000)), &json!(2.5)));
    }
}
