//! Where the formats that are text end: RTF at its closing brace, a CDA at its root's closing tag, plain text anywhere.

use std::io;

use super::{
    Beginning, End, TRAILING,
    bytes::{Bytes, CHUNK, Forward, find_last, is_blank},
};

/// Follows the braces; `\bin` is followed by raw bytes that are none of them.
pub(super) fn rtf_end(bytes: &Bytes<'_>) -> io::Result<End> {
    let mut reader = Forward::new(bytes, 0);
    let mut depth = 0_u64;
    while let Some(byte) = reader.next()? {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return Ok(End::At(reader.at)),
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

/// Only UTF-8 is taken: of another encoding nobody could say which one, and names would be garbled in the chart.
pub(super) fn text_end(bytes: &Bytes<'_>) -> io::Result<End> {
    let blank = bytes.blank_tail()?;
    if blank > 0 {
        return End::missing(format!("its last {blank} bytes are still blank"));
    }
    let mut at = 0;
    while at < bytes.size {
        let chunk = bytes.read(at, CHUNK)?;
        if at == 0 && (chunk.starts_with(b"\xff\xfe") || chunk.starts_with(b"\xfe\xff")) {
            return Ok(End::Another("text saved as Unicode (UTF-16), not as UTF-8".to_owned()));
        }
        let last = at + chunk.len() as u64 == bytes.size;
        let valid = match str::from_utf8(&chunk) {
            Ok(_) => chunk.len(),
            // A character that the chunk's end divides is read again with the next chunk.
            Err(error) if error.error_len().is_none() && !last => error.valid_up_to(),
            Err(error) if error.error_len().is_none() => return End::missing("it ends within a character"),
            Err(_) => return Ok(not_text()),
        };
        if chunk[..valid].contains(&0) {
            return Ok(not_text());
        }
        at += valid as u64;
    }
    Ok(End::At(bytes.size))
}

fn not_text() -> End {
    End::Another("something that is not plain UTF-8 text".to_owned())
}

/// What an XML document begins with.
#[derive(Debug, PartialEq)]
pub(super) enum InboxDir<'a> {
    /// The root element's name as written, with its prefix.
    Name(&'a [u8]),
    /// Nothing but what may stand before it.
    NotYet,
    /// This is no XML, or has a document type, as no CDA has.
    None,
}

/// Skips byte order mark, declaration, processing instructions and comments.
pub(super) fn root(head: &[u8]) -> InboxDir<'_> {
    let mut rest = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    loop {
        let after = if rest.starts_with(b"<?") {
            skip_past(rest, b"?>")
        } else if rest.starts_with(b"<!--") {
            skip_past(rest, b"-->")
        } else {
            break;
        };
        match after {
            Some(after) => rest = after.trim_ascii_start(),
            None => return InboxDir::NotYet,
        }
    }
    let starts: [&[u8]; 3] = [b"<?", b"<!--", b"\xef\xbb\xbf"];
    if rest.is_empty() || starts.iter().any(|start| start.starts_with(rest)) {
        return InboxDir::NotYet;
    }
    let Some(name) = rest.strip_prefix(b"<") else { return InboxDir::None };
    match name.iter().position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>')) {
        Some(0) => InboxDir::None,
        Some(_) if name.starts_with(b"!") => InboxDir::None,
        Some(length) => InboxDir::Name(&name[..length]),
        None => InboxDir::NotYet,
    }
}

fn skip_past<'a>(text: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    super::bytes::find(text, mark).map(|at| &text[at + mark.len()..])
}

fn is_cda(name: &[u8]) -> bool {
    let local = name.iter().rposition(|byte| *byte == b':').map_or(name, |colon| &name[colon + 1..]);
    local == b"ClinicalDocument"
}

/// `written` is the file's first chunk, less the zeros it may end with.
pub(super) fn cda_begins(written: &[u8]) -> Beginning {
    match root(written) {
        InboxDir::Name(name) if is_cda(name) => Beginning::Right,
        InboxDir::NotYet if written.len() < CHUNK => Beginning::TooShort,
        _ => Beginning::Wrong,
    }
}

pub(super) fn cda_end(bytes: &Bytes<'_>, head: &[u8]) -> io::Result<End> {
    let InboxDir::Name(name) = root(head) else { return End::missing("its root element is missing") };
    let closing = [b"</", name].concat();
    let (tail_start, tail) = bytes.tail(TRAILING as usize + closing.len() + 1)?;
    let missing = || End::missing("its root element is not closed");
    let Some(tag) = find_last(&tail, &closing) else { return missing() };
    let after = &tail[tag + closing.len()..];
    let space = after.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    if after.get(space) != Some(&b'>') {
        return missing();
    }
    let end = tail_start + (tag + closing.len() + space + 1) as u64;
    // XML knows no zeros: they are parts of the file that were not written yet.
    let mut at = 0;
    while at < end {
        let chunk = bytes.read(at, CHUNK.min(usize::try_from(end - at).unwrap_or(CHUNK)))?;
        if chunk.contains(&0) {
            return End::missing("parts of it are still blank");
        }
        at += chunk.len() as u64;
    }
    // Behind the root element there may be comments, but no other element.
    let rest = &tail[tag + closing.len() + space + 1..];
    if rest.contains(&b'<')
        && !rest.windows(2).filter(|pair| pair[0] == b'<').all(|pair| matches!(pair[1], b'!' | b'?'))
    {
        return End::missing("it goes on after its root element");
    }
    if is_blank(rest) { Ok(End::At(bytes.size)) } else { Ok(End::At(end)) }
}
