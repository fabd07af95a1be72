//! Strict TOML and JSON for what people write by hand: every error says where and what to do, and never quotes a value.
//!
//! Both formats are read into one tree that knows where everything stood, and serde reads that tree. So the errors
//! are the same for both, and nothing a file says, except for the names of its keys, can get into a message: free
//! text from `de::Error::custom` is dropped, since other people's visitors quote what they were given. A visitor of
//! ours explains itself with [`refuse`].

mod read;
mod tree;

use std::{fmt, mem};

use serde::de::{self, DeserializeOwned, Unexpected};

use tree::{Node, Problem, Value};

/// What is wrong with a file, and where; holds none of its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// The key that it is about.
    pub key: Option<String>,
    /// What was probably meant.
    pub nearest: Option<String>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        self.nearest.iter().try_for_each(|nearest| write!(f, "; did you mean \"{nearest}\"?"))
    }
}

impl std::error::Error for ParseError {}

/// Reads TOML. Dates and times come as text, exactly as they were written, with quotes or without.
pub fn toml<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ParseError> {
    parse(bytes, read::toml)
}

/// Reads JSON; a key that is there twice is an error.
pub fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ParseError> {
    parse(bytes, read::json)
}

fn parse<T: DeserializeOwned>(bytes: &[u8], read: fn(&str) -> Result<Node, Problem>) -> Result<T, ParseError> {
    let text = decode(bytes)?;
    read(text).and_then(|root| T::deserialize(&root)).map_err(|problem| located(text, problem))
}

/// Where a key is in a TOML document, counted from 1; the position of the nearest table around it where the key is not there.
/// A number is an element of a list. `None` for text that is not TOML.
pub fn place(bytes: &[u8], key: &[String]) -> Option<(usize, usize)> {
    let text = decode(bytes).ok()?;
    let root = read::toml(text).ok()?;
    let (mut node, mut at) = (&root, root.at);
    for step in key {
        match &node.value {
            Value::Table(entries) => {
                let Some(entry) = entries.iter().find(|entry| entry.key == *step) else { break };
                (node, at) = (&entry.value, entry.at);
            }
            Value::List(items) => {
                let Some(item) = step.parse::<usize>().ok().and_then(|index| items.get(index)) else { break };
                (node, at) = (item, item.at);
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Float(_) | Value::Text(_) => break,
        }
    }
    let found = located(text, Problem::syntax(at, ""));
    Some((found.line, found.column))
}

/// The text without its byte order mark, which Windows Notepad writes.
fn decode(bytes: &[u8]) -> Result<&str, ParseError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let utf16 = matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=255, ..] | [1..=255, 0, ..]);
    if utf16 {
        return Err(located("", Problem::syntax(0, "the file was saved as Unicode (UTF-16): save it as UTF-8")));
    }
    str::from_utf8(bytes).map_err(|error| {
        let valid = &bytes[..error.valid_up_to()];
        let words =
            "a character that is not UTF-8: the file was saved as ANSI or another old encoding; save it as UTF-8";
        located(str::from_utf8(valid).unwrap_or_default(), Problem::syntax(valid.len(), words))
    })
}

fn located(text: &str, problem: Problem) -> ParseError {
    let before = text.get(..problem.at.unwrap_or(0)).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    ParseError {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message: match &problem.key {
            Some(key) => format!("\"{}\" {}", shown(key), problem.says),
            None => problem.says,
        },
        key: problem.key,
        nearest: problem.nearest,
    }
}

/// A word that somebody typed, as it may be shown: short, and with nothing in it that a terminal obeys.
pub fn shown(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).take(60).collect()
}

/// The error of a visitor that was given something else than `expected`, e.g. `a date such as 2008-01-06`.
pub fn refuse<E: de::Error>(expected: &str) -> E {
    E::invalid_value(Unexpected::Other("something else"), &expected)
}

/// The known word that was probably meant: not more than a third of its letters wrong, missing, too many or swapped.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().collect();
    let close = known.into_iter().filter_map(|candidate| {
        let letters: Vec<char> = candidate.to_lowercase().chars().collect();
        let longer = word.len().max(letters.len());
        // Lengths that differ by more than the threshold need no table: a word may be as long as the file.
        if word.len().abs_diff(letters.len()) > longer / 3 {
            return None;
        }
        let distance = distance(&word, &letters);
        (distance <= longer / 3).then_some((distance, candidate))
    });
    close.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// Edit distance in which a swap of neighbours is one edit (optimal string alignment).
pub(crate) fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let mut best = (last[j] + usize::from(a[i] != b[j])).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests;
