//! A setting that is one word or a table: `google = "metadata"`, `google = { service_account = "file.json" }`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// The name under which such a setting asks for its value; `schema` knows it by that.
pub const WORD_OR: &str = "a string or a table";

/// What was written.
pub enum WordOr<T> {
    Word(String),
    Table(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for WordOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct(WORD_OR, &[], Either(PhantomData))
    }
}

struct Either<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
    type Value = WordOr<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(WORD_OR)
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Self::Value, E> {
        Ok(WordOr::Word(word.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(table)).map(WordOr::Table)
    }

    /// Only the schema's tracer calls this, to learn what the table may hold.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, table: D) -> Result<Self::Value, D::Error> {
        T::deserialize(table).map(WordOr::Table)
    }
}
