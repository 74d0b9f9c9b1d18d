//! The shape of the configuration as data: which keys exist where, and of which type.
//!
//! Nobody writes it down. [`shape_of`] lets a serde type deserialise itself from a tracer that notes what the type asks
//! for: the field names of a struct, the variants of an enum, the width of an integer. A key added to `raw` is thereby
//! known to files, environment and `--set` at once.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::de::value::Error;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess};
use serde::de::{EnumAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::one_or_many::ONE_OR_MANY;
use super::raw::RawConfig;
use super::word_or::WORD_OR;

/// What may stand at one path.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    Text,
    Truth,
    /// A whole number from 0 to the given bound.
    Whole(u64),
    Number,
    /// Money: a decimal, kept as the text that was written, with or without quotes.
    Amount,
    /// One of these words.
    Choice(&'static [&'static str]),
    List(Box<Shape>),
    /// A table whose keys the operator chooses.
    Map(Box<Shape>),
    /// A table whose keys are ours.
    Table(BTreeMap<&'static str, Shape>),
    /// A word, or such a table.
    WordOr(Box<Shape>),
    /// Such a table, or a list of them.
    OneOrMany(Box<Shape>),
}

impl Shape {
    /// Returns what a person would call it: `a string`, `a whole number`.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Text | Self::Choice(_) => "a string",
            Self::Truth => "true or false",
            Self::Whole(_) => "a whole number",
            Self::Number => "a number",
            Self::Amount => "an amount such as 0.25",
            Self::List(_) => "a list",
            Self::Map(_) | Self::Table(_) => "a table",
            Self::WordOr(_) => WORD_OR,
            Self::OneOrMany(_) => ONE_OR_MANY,
        }
    }
}

/// Returns the shape of the whole configuration.
pub fn schema() -> &'static Shape {
    static SCHEMA: OnceLock<Shape> = OnceLock::new();
    SCHEMA.get_or_init(shape_of::<RawConfig>)
}

/// Returns the shape that `T` asks its deserialiser for.
///
/// # Panics
/// If `T` asks for something that the configuration does not use (maps with other keys than strings, bytes, tuples);
/// the tests call it for the one type that matters.
pub fn shape_of<T: DeserializeOwned>() -> Shape {
    let mut shape = Shape::Truth;
    if let Err(error) = T::deserialize(Tracer(&mut shape)) {
        panic!("the configuration uses a type that has no shape: {error}");
    }
    shape
}

/// A deserialiser that gives empty values and notes what was asked for.
struct Tracer<'s>(&'s mut Shape);

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("no type is asked for"))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        *self.0 = Shape::Truth;
        visitor.visit_bool(false)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        *self.0 = Shape::Whole(u32::MAX.into());
        visitor.visit_u32(0)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        // TOML's integers are signed.
        *self.0 = Shape::Whole(i64::MAX.unsigned_abs());
        visitor.visit_u64(0)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        *self.0 = Shape::Number;
        visitor.visit_f64(0.0)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        *self.0 = Shape::Text;
        visitor.visit_str("")
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    /// The one newtype is `raw::Amount`.
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        let mut inner = Shape::Truth;
        let value = visitor.visit_newtype_struct(Tracer(&mut inner))?;
        *self.0 = Shape::Amount;
        Ok(value)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut item = Shape::Truth;
        let value = visitor.visit_seq(One { shape: &mut item, given: false })?;
        *self.0 = Shape::List(Box::new(item));
        Ok(value)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut item = Shape::Truth;
        let value = visitor.visit_map(One { shape: &mut item, given: false })?;
        *self.0 = Shape::Map(Box::new(item));
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == WORD_OR || name == ONE_OR_MANY {
            let mut table = Shape::Truth;
            let value = visitor.visit_newtype_struct(Tracer(&mut table))?;
            let table = Box::new(table);
            *self.0 = if name == WORD_OR { Shape::WordOr(table) } else { Shape::OneOrMany(table) };
            return Ok(value);
        }
        let mut table = BTreeMap::new();
        let value = visitor.visit_map(Fields { left: fields, table: &mut table })?;
        *self.0 = Shape::Table(table);
        Ok(value)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = Shape::Choice(variants);
        visitor.visit_enum(First(variants))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct
        identifier ignored_any
    }
}

/// A list or a map with one item.
struct One<'s> {
    shape: &'s mut Shape,
    given: bool,
}

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if std::mem::replace(&mut self.given, true) {
            return Ok(None);
        }
        seed.deserialize(Tracer(self.shape)).map(Some)
    }
}

impl<'de> MapAccess<'de> for One<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if std::mem::replace(&mut self.given, true) {
            return Ok(None);
        }
        seed.deserialize("any".into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(Tracer(self.shape))
    }
}

/// A struct with every one of its fields.
struct Fields<'s> {
    left: &'static [&'static str],
    table: &'s mut BTreeMap<&'static str, Shape>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.left.first().map(|field| seed.deserialize((*field).into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (field, left) = self.left.split_first().ok_or_else(|| Error::custom("a value without a key"))?;
        self.left = left;
        let mut shape = Shape::Truth;
        let value = seed.deserialize(Tracer(&mut shape))?;
        self.table.insert(field, shape);
        Ok(value)
    }
}

/// An enum's first variant, which has to be a plain word.
struct First(&'static [&'static str]);

impl<'de> EnumAccess<'de> for First {
    type Error = Error;
    type Variant = <serde::de::value::StrDeserializer<'de, Error> as EnumAccess<'de>>::Variant;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant), Error> {
        let first: &'static str = self.0.first().copied().unwrap_or_default();
        let word: serde::de::value::StrDeserializer<'de, Error> = first.into_deserializer();
        word.variant_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'s>(shape: &'s Shape, path: &[&'s str]) -> &'s Shape {
        path.iter().fold(shape, |shape, step| match shape {
            Shape::Table(keys) => &keys[step],
            Shape::Map(item) | Shape::List(item) => item,
            Shape::WordOr(table) | Shape::OneOrMany(table) => at(table, &[step]),
            leaf => panic!("{leaf:?} has no `{step}`"),
        })
    }

    #[test]
    fn the_schema_knows_what_the_raw_types_know() {
        let schema = schema();

        assert_eq!(at(schema, &["server", "listen"]), &Shape::Text);
        assert_eq!(at(schema, &["providers", "*", "keys", "*", "weight"]), &Shape::Whole(u32::MAX.into()));
        assert_eq!(at(schema, &["balancing", "headroom"]), &Shape::Number);
        assert!(
            matches!(at(schema, &["models", "alias", "*", "strategy"]), Shape::Choice(words) if words.contains(&"ordered"))
        );
        assert!(matches!(at(schema, &["providers", "*", "tags"]), Shape::List(_)));
        assert_eq!(at(schema, &["providers", "*", "keys", "*", "entra", "tenant"]), &Shape::Text);
        assert_eq!(at(schema, &["teams", "*", "budget", "amount"]), &Shape::Amount);
    }
}
