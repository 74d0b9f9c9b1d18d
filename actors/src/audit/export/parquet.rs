//! The table of an export as Parquet: typed columns, in groups of rows so that memory stays bounded.

use std::io;
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};

use super::columns::{COLUMNS, Cell, Row};
use super::output::Output;
use crate::audit::record::Record;

/// Rows that are held before they are written as one group.
const GROUP_ROWS: usize = 10_000;

/// Values of one column of the group that is being filled; `Option`s hold only those that are there.
enum Values {
    Text { values: Vec<ByteArray>, present: Vec<i16> },
    Number { values: Vec<i64>, present: Vec<i16> },
    Time(Vec<i64>),
    Flag(Vec<bool>),
}

/// A table being written.
pub struct ParquetTable {
    writer: SerializedFileWriter<Output>,
    columns: Vec<Values>,
    rows: usize,
}

impl ParquetTable {
    /// Begins a table in `output`.
    pub fn new(output: Output) -> io::Result<Self> {
        let properties = Arc::new(WriterProperties::builder().set_created_by("bursar".to_owned()).build());
        let writer = schema().and_then(|schema| SerializedFileWriter::new(output, schema, properties)).map_err(told)?;
        Ok(Self { writer, columns: empty_columns(), rows: 0 })
    }

    /// Adds a row.
    pub fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for ((_, cell), column) in COLUMNS.iter().zip(&mut self.columns) {
            match (cell(row), column) {
                (Cell::Text(text), Values::Text { values, present }) => {
                    present.push(i16::from(text.is_some()));
                    values.extend(text.map(ByteArray::from));
                }
                (Cell::Number(number), Values::Number { values, present }) => {
                    present.push(i16::from(number.is_some()));
                    values.extend(number.map(signed));
                }
                (Cell::Time(at_us), Values::Time(values)) => values.push(signed(at_us)),
                (Cell::Flag(flag), Values::Flag(values)) => values.push(flag),
                _ => unreachable!("a column gives the same kind of cell for every row"),
            }
        }
        self.rows += 1;
        if self.rows == GROUP_ROWS { self.write_group().map_err(told) } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<()> {
        let columns = std::mem::replace(&mut self.columns, empty_columns());
        self.rows = 0;
        let mut group = self.writer.next_row_group()?;
        for values in columns {
            let Some(mut column) = group.next_column()? else { break };
            write_column(&mut column, values)?;
            column.close()?;
        }
        group.close().map(drop)
    }

    /// Ends the table and returns its file.
    pub fn finish(mut self) -> io::Result<Output> {
        if self.rows > 0 {
            self.write_group().map_err(told)?;
        }
        self.writer.into_inner().map_err(told)
    }
}

fn write_column(column: &mut SerializedColumnWriter<'_>, values: Values) -> Result<()> {
    match values {
        Values::Text { values, present } => column.typed::<ByteArrayType>().write_batch(&values, Some(&present), None),
        Values::Number { values, present } => column.typed::<Int64Type>().write_batch(&values, Some(&present), None),
        Values::Time(values) => column.typed::<Int64Type>().write_batch(&values, None, None),
        Values::Flag(values) => column.typed::<BoolType>().write_batch(&values, None, None),
    }
    .map(drop)
}

fn empty_columns() -> Vec<Values> {
    let record = Record::default();
    let row = Row { index: 0, record: &record };
    let empty = |cell| match cell {
        Cell::Text(_) => Values::Text { values: Vec::new(), present: Vec::new() },
        Cell::Number(_) => Values::Number { values: Vec::new(), present: Vec::new() },
        Cell::Time(_) => Values::Time(Vec::new()),
        Cell::Flag(_) => Values::Flag(Vec::new()),
    };
    COLUMNS.iter().map(|(_, cell)| empty(cell(&row))).collect()
}

fn schema() -> Result<TypePtr> {
    let microseconds = LogicalType::timestamp(true, TimeUnit::MICROS);
    let fields = COLUMNS.iter().zip(empty_columns()).map(|((name, _), values)| {
        let (physical, logical, repetition) = match values {
            Values::Text { .. } => (Physical::BYTE_ARRAY, Some(LogicalType::String), Repetition::OPTIONAL),
            Values::Number { .. } => (Physical::INT64, None, Repetition::OPTIONAL),
            Values::Time(_) => (Physical::INT64, Some(microseconds.clone()), Repetition::REQUIRED),
            Values::Flag(_) => (Physical::BOOLEAN, None, Repetition::REQUIRED),
        };
        let field = Type::primitive_type_builder(name, physical).with_logical_type(logical);
        field.with_repetition(repetition).build().map(Arc::new)
    });
    Type::group_type_builder("record").with_fields(fields.collect::<Result<_>>()?).build().map(Arc::new)
}

fn told(error: ParquetError) -> io::Error {
    io::Error::other(error)
}
