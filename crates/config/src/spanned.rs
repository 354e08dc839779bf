//! A value with its position in the file.

use std::borrow::Cow;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value and its byte range in the file: [`toml::Spanned`] with the schema of the value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spanned<T> {
    value: T,
    start: usize,
    end: usize,
}

impl<T> Spanned<T> {
    /// A value at a position; `0..0` for a default that is not written.
    pub fn new(span: Range<usize>, value: T) -> Spanned<T> {
        Spanned { value, start: span.start, end: span.end }
    }

    /// Byte range in the file; `0..0` for a default that is not written.
    pub fn span(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The value, by reference.
    pub fn get_ref(&self) -> &T {
        &self.value
    }

    /// The value without its position.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Spanned<T>, D::Error> {
        let read = toml::Spanned::<T>::deserialize(from)?;
        Ok(Spanned::new(read.span(), read.into_inner()))
    }
}

impl<T: Serialize> Serialize for Spanned<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(to)
    }
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
