//! Lists in three forms: a table for people, JSON for programs, CSV for spreadsheets.

use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde_json::Value;

use super::Output;

/// One column: its heading, and the field of each row it shows.
pub type Column = (&'static str, &'static str);

/// Writes `rows` (JSON objects) with `columns` in the given form. JSON has every field, not the columns alone.
pub fn write(rows: &[Value], columns: &[Column], form: Output, output: &mut dyn Write) -> io::Result<()> {
    let cells = |row: &Value| columns.iter().map(|(_, field)| text(&row[*field])).collect::<Vec<_>>();
    let headings = columns.iter().map(|(heading, _)| *heading);
    match form {
        Output::Json => {
            serde_json::to_writer_pretty(&mut *output, rows)?;
            writeln!(output)
        }
        Output::Csv => {
            let mut csv = csv::Writer::from_writer(output);
            csv.write_record(headings)?;
            rows.iter().try_for_each(|row| csv.write_record(cells(row)))?;
            csv.flush()
        }
        Output::Table => {
            let mut table = Table::new();
            table.load_style(presets::NOTHING).set_header(headings);
            for row in rows {
                table.add_row(cells(row));
            }
            writeln!(output, "{}", table.trim_fmt())
        }
    }
}

/// Returns a field as a table shows it.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => format!("{:.3}", number.as_f64().unwrap_or_default()),
        other => other.to_string(),
    }
}
