//! Where a PDF ends: at its last `%%EOF`, unless more of it was to follow.

use std::io;

use super::{
    End, TRAILING,
    bytes::{Bytes, find, find_last},
};

pub(super) const MARK: &[u8] = b"%PDF-";
const END_MARK: &[u8] = b"%%EOF";

/// Printers' job languages may put up to a kilobyte before the header.
const BEFORE_HEADER: usize = 1024;

/// Where the header is.
pub(super) fn header(head: &[u8]) -> Option<usize> {
    find(&head[..head.len().min(BEFORE_HEADER + MARK.len())], MARK)
}

pub(super) fn end(bytes: &Bytes<'_>, head: &[u8]) -> io::Result<End> {
    let start = header(head).unwrap_or(0);
    let body = head.get(start..).unwrap_or_default();
    if let Some(length) = linearized_length(body)
        && bytes.size < length.saturating_add(start as u64)
    {
        return End::missing(format!("it has {} bytes and says of itself that it has {length}", bytes.size));
    }
    let (tail_start, tail) = bytes.tail(TRAILING as usize + END_MARK.len())?;
    let Some(mark) = find_last(&tail, END_MARK) else {
        return End::missing("its end mark (%%EOF) is missing");
    };
    // A PDF that was changed holds an end mark for each of its versions.
    if goes_on(&tail[mark + END_MARK.len()..]) {
        return End::missing("it goes on after an end mark (%%EOF), and the last one is missing");
    }
    if xref_offset(&tail[..mark]).is_some_and(|offset| offset >= bytes.size) {
        return End::missing("its table of contents (xref) lies beyond its end");
    }
    Ok(End::At(tail_start + (mark + END_MARK.len()) as u64))
}

/// `/L` of the dictionary that a PDF made for the web begins with: the length of the file.
fn linearized_length(body: &[u8]) -> Option<u64> {
    let first = &body[..body.len().min(1024)];
    let dictionary = &first[find(first, b"/Linearized")?..];
    let dictionary = &dictionary[..find(dictionary, b">>")?];
    (0..dictionary.len()).filter(|at| dictionary[*at..].starts_with(b"/L")).find_map(|at| number(&dictionary[at + 2..]))
}

/// What `startxref` says.
fn xref_offset(before_mark: &[u8]) -> Option<u64> {
    number(&before_mark[find_last(before_mark, b"startxref")? + b"startxref".len()..])
}

/// The number that comes next, white space apart.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii_start();
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    str::from_utf8(&digits[..length]).ok()?.parse().ok()
}

/// Whether more objects follow, be it only the first digit of one.
fn goes_on(rest: &[u8]) -> bool {
    let next = rest.iter().find(|byte| !byte.is_ascii_whitespace() && **byte != 0);
    let words: [&[u8]; 4] = [b" obj", b"endobj", b"endstream", b"startxref"];
    next.is_some_and(u8::is_ascii_digit)
        || rest.trim_ascii_start().starts_with(b"xref")
        || words.iter().any(|word| find(rest, word).is_some())
}
