//! A setting that is one table or a list of them: `budget = { … }`, `budget = [{ … }, { … }]`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::layer::item;

/// The name under which such a setting asks for its value; `schema` knows it by that.
pub const ONE_OR_MANY: &str = "a table or a list of tables";

/// What was written.
pub enum OneOrMany<T> {
    One(T),
    /// None, where nothing was written.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// Returns each table with its path, where the setting stands at `path`.
    pub fn placed(self, path: &str) -> Vec<(String, T)> {
        match self {
            Self::One(table) => vec![(path.to_owned(), table)],
            Self::Many(list) => list.into_iter().enumerate().map(|(index, table)| (item(path, index), table)).collect(),
        }
    }
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct(ONE_OR_MANY, &[], Either(PhantomData))
    }
}

struct Either<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
    type Value = OneOrMany<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(ONE_OR_MANY)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(table)).map(OneOrMany::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut many = Vec::new();
        while let Some(table) = list.next_element()? {
            many.push(table);
        }
        Ok(OneOrMany::Many(many))
    }

    /// Only the schema's tracer calls this, to learn what the table may hold.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, table: D) -> Result<Self::Value, D::Error> {
        T::deserialize(table).map(OneOrMany::One)
    }
}
