//! TOML and JSON text into one tree.

use std::collections::HashSet;

use serde_json::Value as Scalar;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::tree::{Entry, Node, Problem, Value};

/// Nobody writes deeper by hand, and each level costs stack.
const MAX_DEPTH: usize = 64;

/// Reads a TOML document.
pub(super) fn toml(text: &str) -> Result<Node, Problem> {
    let root = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        let slice = text.get(span.clone()).unwrap_or_default();
        match error.message() {
            "duplicate key" => Problem::duplicate(span.start, slice.trim_matches(['"', '\''])),
            message => Problem::syntax(span.start, format!("this is not valid TOML: {message}")),
        }
    })?;
    Ok(Node { at: root.span().start, value: toml_table(text, root.get_ref())? })
}

fn toml_table(text: &str, table: &DeTable<'_>) -> Result<Value, Problem> {
    let entries = table.iter().map(|(key, value)| {
        Ok(Entry { at: key.span().start, key: key.get_ref().to_string(), value: toml_value(text, value)? })
    });
    let mut entries = entries.collect::<Result<Vec<_>, Problem>>()?;
    entries.sort_by_key(|entry| entry.at);
    Ok(Value::Table(entries))
}

fn toml_value(text: &str, node: &Spanned<DeValue<'_>>) -> Result<Node, Problem> {
    let span = node.span();
    let at = span.start;
    let value = match node.get_ref() {
        DeValue::String(value) => Value::Text(value.to_string()),
        DeValue::Integer(value) => Value::Int(
            i64::from_str_radix(value.as_str(), value.radix())
                .map_err(|_| Problem::syntax(at, "this whole number is too large"))?,
        ),
        DeValue::Float(value) => {
            Value::Float(value.as_str().parse().map_err(|_| Problem::syntax(at, "this is not a number"))?)
        }
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(value) => Value::Text(text.get(span).map_or_else(|| value.to_string(), str::to_owned)),
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| toml_value(text, item)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => toml_table(text, table)?,
    };
    Ok(Node { at, value })
}

/// Reads one JSON value with nothing after it.
pub(super) fn json(text: &str) -> Result<Node, Problem> {
    let mut reader = Json { text, pos: 0 };
    let root = reader.value(0)?;
    match reader.peek() {
        None => Ok(root),
        Some(_) => Err(reader.expected("the end of the file")),
    }
}

/// Brackets, commas and colons are ours, since only so do we know where things stand; strings and numbers are read by
/// `serde_json`.
struct Json<'a> {
    text: &'a str,
    pos: usize,
}

impl Json<'_> {
    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.pos..];
        self.pos += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.text.as_bytes().get(self.pos).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.pos += usize::from(found);
        found
    }

    fn expected(&self, what: &str) -> Problem {
        Problem::syntax(self.pos, format!("this is not valid JSON: {what} is expected here"))
    }

    fn value(&mut self, depth: usize) -> Result<Node, Problem> {
        if depth > MAX_DEPTH {
            return Err(Problem::syntax(self.pos, "this is nested too deeply"));
        }
        let opening = self.peek();
        let at = self.pos;
        let value = match opening {
            Some(b'{') => Value::Table(self.members(depth)?),
            Some(b'[') => Value::List(self.items(depth)?),
            _ => self.scalar()?,
        };
        Ok(Node { at, value })
    }

    fn members(&mut self, depth: usize) -> Result<Vec<Entry>, Problem> {
        self.pos += 1;
        let (mut entries, mut keys) = (Vec::new(), HashSet::new());
        if self.take(b'}') {
            return Ok(entries);
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.expected("a key in double quotes"));
            }
            let at = self.pos;
            let Value::Text(key) = self.scalar()? else { return Err(self.expected("a key in double quotes")) };
            if !keys.insert(key.clone()) {
                return Err(Problem::duplicate(at, &key));
            }
            if !self.take(b':') {
                return Err(self.expected("\":\""));
            }
            entries.push(Entry { at, key, value: self.value(depth + 1)? });
            if self.take(b'}') {
                return Ok(entries);
            }
            if !self.take(b',') {
                return Err(self.expected("\",\" or \"}\""));
            }
        }
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Node>, Problem> {
        self.pos += 1;
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(items);
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Ok(items);
            }
            if !self.take(b',') {
                return Err(self.expected("\",\" or \"]\""));
            }
        }
    }

    fn scalar(&mut self) -> Result<Value, Problem> {
        if matches!(self.peek(), None | Some(b'{' | b'[')) {
            return Err(self.expected("a value"));
        }
        let mut stream = serde_json::Deserializer::from_str(&self.text[self.pos..]).into_iter::<Scalar>();
        let (scalar, length) = (stream.next(), stream.byte_offset());
        let value = match scalar {
            Some(Ok(Scalar::Null)) => Value::Null,
            Some(Ok(Scalar::Bool(value))) => Value::Bool(value),
            Some(Ok(Scalar::String(value))) => Value::Text(value),
            Some(Ok(Scalar::Number(value))) => match (value.as_i64(), value.as_u64(), value.as_f64()) {
                (Some(value), _, _) => Value::Int(value),
                (_, Some(value), _) => Value::Uint(value),
                (_, _, Some(value)) => Value::Float(value),
                _ => return Err(self.expected("a smaller number")),
            },
            _ if self.text[self.pos..].starts_with('"') => {
                let words = "this is not valid JSON: a text without its closing quote, or with a wrong \\ in it";
                return Err(Problem::syntax(self.pos, words));
            }
            _ => return Err(self.expected("a value in double quotes, a number, true, false or null")),
        };
        self.pos += length;
        Ok(value)
    }
}
