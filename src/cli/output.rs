//! What a command prints: tables, times, and words that came from file names; and a closed pipe that ends it quietly.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use jiff::{Timestamp, tz::TimeZone};

use crate::model::{path::RelPath, words::display_name};

/// The output could not be written, and this was said.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Prints to the standard output. Whoever reads it may have had enough (`chartdrop history | head`): that is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            if !FAILED.swap(true, Ordering::Relaxed) {
                writeln!(io::stderr(), "The output cannot be written: {error}").ok();
            }
            Ok(())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether something that was to be printed was lost, and somebody was there to read it.
pub fn has_failed() -> bool {
    FAILED.load(Ordering::Relaxed)
}

/// Prints one JSON document.
pub fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// Without what a terminal would obey, or what would turn the order of its characters: a file's name may hold anything.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}') {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// A path as the API and the ledger spell it, as a person reads it: `50%25.pdf` is `50%.pdf`. The API keeps its spelling, which
/// names exactly one file.
pub fn path(stored: &str) -> String {
    let read: Option<RelPath> = serde_json::from_value(serde_json::Value::from(stored)).ok();
    read.map_or_else(|| escape(stored), |path| display_name(path.as_path()))
}

/// Lines in columns, each as wide as its widest cell; the last is never padded.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if column + 1 < row.len() {
                let pad = widths[column].saturating_sub(self::width(cell)) + 2;
                line.extend(std::iter::repeat_n(' ', pad));
            }
        }
        line.trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Columns of a terminal that a text takes.
fn width(text: &str) -> usize {
    let of = |c: char| match u32::from(c) {
        0x0300..=0x036f | 0x200b..=0x200d | 0xfe00..=0xfe0f | 0x20d0..=0x20ff => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    };
    text.chars().map(of).sum()
}

/// A moment as people read it, where they are.
pub fn time(moment: Timestamp, zone: &TimeZone) -> String {
    moment.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// How long ago, in one unit.
pub fn ago(moment: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(moment).as_secs().max(0))
}

fn span(seconds: i64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_s_name_cannot_steer_the_terminal() {
        assert_eq!(escape("a\u{1b}[2Jb\nc\u{202e}fdp.exe"), "a\\u{1b}[2Jb\\u{a}c\\u{202e}fdp.exe");
        assert_eq!(escape("M\u{fc}ller 日本.pdf"), "M\u{fc}ller 日本.pdf");
    }

    #[test]
    fn columns_are_as_wide_as_they_look() {
        let rows = [vec!["日本".to_owned(), "x".to_owned()], vec!["abc".to_owned(), "y".to_owned()]];
        assert_eq!(table(&rows), "日本  x\nabc   y\n");
        assert_eq!(span(59), "59 s");
        assert_eq!(span(7200), "2 h");
    }
}
