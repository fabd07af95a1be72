//! A parsed file in which every key and value knows where it was written, and serde's view of it.

use std::fmt::{self, Display};

use serde::{
    de::{
        self, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
        Visitor, value::MapAccessDeserializer,
    },
    forward_to_deserialize_any,
};

use super::nearest;

/// A value and the byte where it starts.
#[derive(Debug)]
pub(super) struct Node {
    pub at: usize,
    pub value: Value,
}

/// What both formats can say.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// Only what [`Value::Int`] cannot hold.
    Uint(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Table(Vec<Entry>),
}

/// A key, where it is, and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub at: usize,
    pub key: String,
    pub value: Node,
}

/// What is wrong. InboxPath and key are filled in by the innermost value around it that knows them.
#[derive(Debug)]
pub(super) struct Problem {
    pub at: Option<usize>,
    pub key: Option<String>,
    /// A whole sentence, or what follows the key when there is one.
    pub says: String,
    pub nearest: Option<String>,
}

impl Problem {
    fn new(key: Option<&str>, says: impl Into<String>) -> Self {
        Self { at: None, key: key.map(str::to_owned), says: says.into(), nearest: None }
    }

    /// An error of the format itself.
    pub fn syntax(at: usize, says: impl Into<String>) -> Self {
        Self { at: Some(at), ..Self::new(None, says) }
    }

    /// A key that is there twice.
    pub fn duplicate(at: usize, key: &str) -> Self {
        Self { at: Some(at), ..Self::new(Some(key), "is there twice") }
    }

    fn at(mut self, at: usize) -> Self {
        self.at.get_or_insert(at);
        self
    }

    fn about(mut self, key: &str) -> Self {
        self.key.get_or_insert_with(|| key.to_owned());
        self
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says)
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: Display>(_: T) -> Self {
        // The text may quote the value.
        Self::new(None, "has a value that is not allowed here")
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(None, format!("must be {}, not {}", plain(&expected.to_string()), kind(&found)))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(None, format!("must be {}", plain(&expected.to_string())))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(None, format!("has {length} elements, but must be {}", plain(&expected.to_string())))
    }

    fn unknown_variant(given: &str, known: &'static [&'static str]) -> Self {
        let mut problem = Self::new(None, format!("must be one of {}", list(known)));
        problem.nearest = nearest(given, known.iter().copied()).map(str::to_owned);
        problem
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        let mut problem = Self::new(Some(key), "is not a key that is known here");
        problem.nearest = nearest(key, known.iter().copied()).map(str::to_owned);
        if problem.nearest.is_none() && !known.is_empty() {
            problem.says.push_str(&format!("; known are {}", list(known)));
        }
        problem
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(Some(key), "is missing")
    }

    fn duplicate_field(key: &'static str) -> Self {
        Self::new(Some(key), "is there twice")
    }
}

fn list(known: &[&str]) -> String {
    known.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// Serde's names of types in words.
fn plain(expected: &str) -> &str {
    match expected {
        "a string" | "a character" | "string or table" => "text in quotes",
        "path string" => "a path in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list in [ ]",
        "a map" => "a table",
        "u8" | "u16" | "u32" | "u64" | "usize" | "a nonzero u16" | "a nonzero u32" | "a nonzero u64"
        | "a nonzero usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        _ if expected.starts_with("struct ") => "a table",
        _ if expected.starts_with("enum ") || expected == "variant identifier" => "one of its known words",
        _ => expected,
    }
}

/// What was found, without its value.
fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
        Unexpected::Float(_) => "a decimal number",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "text",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a table",
        _ => "something else",
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visitor.visit_i64(*value),
            Value::Uint(value) => visitor.visit_u64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(value) => visitor.visit_borrowed_str(value),
            Value::List(items) => visitor.visit_seq(Items(items.iter())),
            Value::Table(entries) => visitor.visit_map(Entries { rest: entries.iter(), current: None }),
        }
        .map_err(|problem| problem.at(self.at))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &str, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match &self.value {
            Value::Text(word) => visitor.visit_enum(Word(word)),
            Value::Table(entries) if entries.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(Entries { rest: entries.iter(), current: None }))
            }
            _ => return self.deserialize_any(visitor),
        }
        .map_err(|problem| problem.at(self.at))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// A variant without data.
struct Word<'de>(&'de str);

impl<'de> EnumAccess<'de> for Word<'de> {
    type Error = Problem;
    type Variant = <de::value::StrDeserializer<'de, Problem> as EnumAccess<'de>>::Variant;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), Problem> {
        let deserializer: de::value::StrDeserializer<'de, Problem> = self.0.into_deserializer();
        deserializer.variant_seed(seed)
    }
}

struct Items<'de>(std::slice::Iter<'de, Node>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Problem;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Problem> {
        self.0.next().map(|item| seed.deserialize(item).map_err(|problem| problem.at(item.at))).transpose()
    }
}

struct Entries<'de> {
    rest: std::slice::Iter<'de, Entry>,
    /// The entry whose key was read and whose value was not.
    current: Option<&'de Entry>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Problem;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Problem> {
        self.current = self.rest.next();
        let Some(entry) = self.current else { return Ok(None) };
        let key: de::value::StrDeserializer<'de, Problem> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|problem| problem.at(entry.at).about(&entry.key))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Problem> {
        let entry = self.current.take().ok_or_else(|| Problem::new(None, "has a value without a key"))?;
        seed.deserialize(&entry.value).map_err(|problem| problem.at(entry.value.at).about(&entry.key))
    }
}
