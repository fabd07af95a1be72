//! Where an RTF ends: at the brace that closes the first one.

use std::io;

use super::{
    End,
    bytes::{Bytes, Forward},
};

/// Follows the braces; `\bin` is followed by raw bytes that are none of them.
pub(super) fn end(bytes: &Bytes<'_>) -> io::Result<End> {
    let mut reader = Forward::new(bytes, 0);
    let mut depth = 0_u64;
    while let Some(byte) = reader.next()? {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return Ok(End::Here),
            b'}' => depth -= 1,
            b'\\' => control_word(&mut reader)?,
            _ => {}
        }
    }
    End::missing("its last closing brace is missing")
}

/// Reads what follows a backslash.
fn control_word(reader: &mut Forward<'_>) -> io::Result<()> {
    let mut word = Vec::new();
    while let Some(letter) = reader.peek()?.filter(u8::is_ascii_alphabetic) {
        reader.skip(1);
        // Longer than any word that matters here.
        if word.len() < 4 {
            word.push(letter);
        }
    }
    if word.is_empty() {
        // A single escaped character, such as a brace.
        reader.skip(1);
        return Ok(());
    }
    let mut count = 0_u64;
    while let Some(digit) = reader.peek()?.filter(u8::is_ascii_digit) {
        reader.skip(1);
        count = count.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    }
    if word == b"bin" {
        let spaced = reader.peek()? == Some(b' ');
        reader.skip(u64::from(spaced));
        reader.skip(count);
    }
    Ok(())
}
