//! Where a PDF ends: at the closing of its last revision, unless another revision has begun and is not all there.
//!
//! A closing is `startxref`, an offset and `%%EOF`; the offset leads to a cross-reference table or stream (ISO 32000-1,
//! 7.5). What follows is a leftover, unless it is an object with content, a table or another closing.

mod object;
mod password;

use std::{collections::HashSet, io};

use self::object::{Dictionary, Object, Parser, is_space};
use super::{
    End,
    bytes::{Bytes, CHUNK, find, is_blank},
};

pub(super) const MARK: &[u8] = b"%PDF-";
const END_MARK: &[u8] = b"%%EOF";
const START: &[u8] = b"startxref";

/// Printers' job languages may put up to a kilobyte before the header.
const BEFORE_HEADER: usize = 1024;
/// A closing with its comments.
const CLOSING: usize = 1024;
/// Closings that are looked at, from the end on: only those of embedded documents are passed over.
const MAX_CLOSINGS: usize = 32;
/// Revisions that are followed back.
const MAX_REVISIONS: usize = 1000;

/// Where the header is.
pub(super) fn header(head: &[u8]) -> Option<usize> {
    find(&head[..head.len().min(BEFORE_HEADER + MARK.len())], MARK)
}

pub(super) fn end(bytes: &Bytes<'_>, head: &[u8]) -> io::Result<End> {
    let start = header(head).unwrap_or(0);
    let body = head.get(start..).unwrap_or_default();
    let pdf = Pdf { bytes, start: start as u64 };
    if let Some(length) = linearized_length(body)
        && bytes.size < length.saturating_add(pdf.start)
    {
        return End::missing(format!("it has {} bytes and says of itself that it has {length}", bytes.size));
    }
    let Some(revision) = pdf.last_revision()? else {
        return End::missing("its end (startxref and %%EOF) is missing");
    };
    if pdf.goes_on(revision.end)? {
        return End::missing("a later version of it begins, and is not all there");
    }
    match pdf.trailers(revision.section)? {
        Trailers::Blank => End::missing("an older part of it is still blank, or is beyond its end"),
        Trailers::Plain => Ok(End::Here),
        Trailers::Encrypted(objection) => Ok(objection.map_or(End::Here, End::Locked)),
    }
}

/// `/L` of the dictionary that a PDF made for the web begins with: the length of the file.
fn linearized_length(body: &[u8]) -> Option<u64> {
    let first = &body[..body.len().min(2048)];
    let dictionary = Parser::new(&first[find(first, b"<<")?..]).dictionary()?;
    dictionary.get("Linearized")?;
    u64::try_from(dictionary.number("L")?).ok()
}

struct Pdf<'a> {
    bytes: &'a Bytes<'a>,
    /// Where the header is: offsets count from it, or from the file's beginning.
    start: u64,
}

/// A revision that is closed.
struct Revision {
    /// Where its cross-reference section is.
    section: Option<u64>,
    /// Behind its end mark.
    end: u64,
}

enum Trailers {
    Plain,
    /// One of them leads to where there is nothing.
    Blank,
    /// With what keeps the document from being opened, if anything does.
    Encrypted(Option<String>),
}

impl Pdf<'_> {
    /// The last closing that belongs to this document.
    fn last_revision(&self) -> io::Result<Option<Revision>> {
        let mut before = self.bytes.size;
        for _ in 0..MAX_CLOSINGS {
            let Some(at) = self.bytes.find_last(before, START)? else { break };
            before = at;
            let Some((offset, end)) = self.closing(at)? else { continue };
            if let Some(section) = self.section_near(offset)? {
                return Ok(Some(Revision { section: Some(section), end }));
            }
            if offset >= self.bytes.size || self.is_of_another(at, offset)? {
                continue;
            }
            // Some writers miscount: readers then look for the table, which comes right before.
            if offset > 0 && self.ends_a_section(at)? {
                return Ok(Some(Revision { section: self.section_before(at)?, end }));
            }
        }
        Ok(None)
    }

    /// The offset that a closing at `at` states, and where its end mark ends.
    fn closing(&self, at: u64) -> io::Result<Option<(u64, u64)>> {
        let text = self.bytes.read(at + START.len() as u64, CLOSING)?;
        let mut parser = Parser::new(&text);
        parser.skip_space();
        let Some(offset) = parser.number() else { return Ok(None) };
        // Comments may come before the end mark, which looks like one itself.
        loop {
            parser.skip_blanks();
            if parser.take(END_MARK) {
                return Ok(Some((offset, at + (START.len() + parser.at) as u64)));
            }
            if !parser.skip_comment() {
                return Ok(None);
            }
        }
    }

    /// A cross-reference section at the offset, as counted from either beginning.
    fn section_near(&self, offset: u64) -> io::Result<Option<u64>> {
        for at in [offset, offset.saturating_add(self.start)] {
            if self.section_dictionary(at)?.is_some() {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// The dictionary of the cross-reference table or stream at `at`.
    fn section_dictionary(&self, at: u64) -> io::Result<Option<Dictionary>> {
        let text = self.bytes.read(at, CHUNK)?;
        if text.first() == Some(&0) {
            return Ok(None);
        }
        let mut parser = Parser::new(&text);
        parser.skip_space();
        if parser.take(b"xref") {
            let Some(trailer) = self.bytes.find(at, b"trailer")? else { return Ok(None) };
            let text = self.bytes.read(trailer + b"trailer".len() as u64, CHUNK)?;
            return Ok(Parser::new(&text).dictionary());
        }
        let is_object =
            parser.number().is_some() && parser.skip_blanks() && parser.number().is_some() && parser.skip_blanks();
        if !is_object || !parser.take(b"obj") {
            return Ok(None);
        }
        Ok(parser.dictionary().filter(|dictionary| dictionary.name("Type") == Some(b"XRef")))
    }

    /// Whether this closing is that of a document which is embedded in this one, or follows it.
    fn is_of_another(&self, at: u64, offset: u64) -> io::Result<bool> {
        let Some(header) = self.bytes.find_last(at, MARK)?.filter(|header| *header > self.start) else {
            return Ok(false);
        };
        Ok(self.section_dictionary(header.saturating_add(offset))?.is_some())
    }

    /// Whether a trailer or a cross-reference stream ends right before.
    fn ends_a_section(&self, at: u64) -> io::Result<bool> {
        let from = at.saturating_sub(64);
        let text = self.bytes.read(from, (at - from) as usize)?;
        let end = text.iter().rposition(|byte| !is_space(*byte)).map_or(0, |last| last + 1);
        Ok(text[..end].ends_with(b">>") || text[..end].ends_with(b"endobj"))
    }

    /// The last table or stream before `at`, for a closing that states a wrong offset.
    fn section_before(&self, at: u64) -> io::Result<Option<u64>> {
        let mut before = at;
        for _ in 0..4 {
            let Some(word) = self.bytes.find_last(before, b"xref")? else { return Ok(None) };
            if self.section_dictionary(word)?.is_some() {
                return Ok(Some(word));
            }
            before = word;
        }
        Ok(None)
    }

    /// Whether another revision begins behind `end`: an object with content, a table, or a closing.
    fn goes_on(&self, end: u64) -> io::Result<bool> {
        let head = self.bytes.read(end, CHUNK)?;
        // Another document behind this one is not a part of it.
        if head.iter().position(|byte| !is_space(*byte)).is_some_and(|at| head[at..].starts_with(MARK)) {
            return Ok(false);
        }
        let mut at = end;
        while at < self.bytes.size {
            let text = self.bytes.read(at, CHUNK)?;
            if begins_a_revision(&text) {
                return Ok(true);
            }
            if at + text.len() as u64 >= self.bytes.size {
                break;
            }
            // What the chunk's end divides is read again with the next one.
            at += (text.len() - 256) as u64;
        }
        Ok(false)
    }

    /// Follows the revisions back: nothing that they refer to may be beyond the end, or blank.
    fn trailers(&self, section: Option<u64>) -> io::Result<Trailers> {
        let mut next = section;
        let (mut encrypt, mut id) = (None, None);
        let mut seen = HashSet::new();
        for _ in 0..MAX_REVISIONS {
            if next.is_some_and(|at| !seen.insert(at)) {
                break;
            }
            let Some(trailer) = next.map(|at| self.section_dictionary(at)).transpose()?.flatten() else { break };
            for key in ["Prev", "XRefStm"] {
                if let Some(offset) = trailer.number(key).and_then(|offset| u64::try_from(offset).ok())
                    && is_blank(&self.bytes.read(offset.saturating_add(self.start), 64)?)
                {
                    return Ok(Trailers::Blank);
                }
            }
            encrypt = encrypt.or_else(|| trailer.get("Encrypt").cloned());
            id = id.or_else(|| trailer.get("ID").cloned());
            let offset = trailer.number("Prev").and_then(|offset| u64::try_from(offset).ok());
            next = offset.map(|offset| self.section_near(offset)).transpose()?.flatten();
        }
        let Some(encrypt) = encrypt.filter(|encrypt| *encrypt != Object::Word(b"null".to_vec())) else {
            return Ok(Trailers::Plain);
        };
        let id = match id {
            Some(Object::Array(parts)) => match parts.into_iter().next() {
                Some(Object::Text(first)) => first,
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        let dictionary = match encrypt {
            Object::Dictionary(dictionary) => Some(dictionary),
            Object::Reference(number, generation) => self.indirect(number, generation)?,
            _ => None,
        };
        Ok(Trailers::Encrypted(match dictionary {
            Some(dictionary) => password::objection(&dictionary, &id),
            None => Some("it is encrypted, and what it says of its encryption cannot be read".to_owned()),
        }))
    }

    /// The last dictionary with this number. An encryption dictionary is never inside a compressed object stream.
    fn indirect(&self, number: u32, generation: u32) -> io::Result<Option<Dictionary>> {
        let head = format!("{number} {generation} obj");
        let mut before = self.bytes.size;
        for _ in 0..MAX_REVISIONS {
            let Some(at) = self.bytes.find_last(before, head.as_bytes())? else { break };
            before = at;
            let inside_a_number = at > 0 && self.bytes.read(at - 1, 1)?.first().is_some_and(u8::is_ascii_digit);
            let text = self.bytes.read(at + head.len() as u64, CHUNK)?;
            if let Some(dictionary) = Parser::new(&text).dictionary().filter(|_| !inside_a_number) {
                return Ok(Some(dictionary));
            }
        }
        Ok(None)
    }
}

/// `17 0 obj` with anything but zeros behind it, `xref` or `startxref` with a number, `trailer` with a dictionary.
fn begins_a_revision(text: &[u8]) -> bool {
    let follows = |at: usize| text[at..].iter().copied().find(|byte| !is_space(*byte));
    let at_word = |at: usize| at == 0 || is_space(text[at - 1]);
    (0..text.len()).any(|at| {
        let rest = &text[at..];
        if rest.starts_with(b"obj") {
            is_object_head(&text[..at]) && follows(at + 3).is_some()
        } else if rest.starts_with(b"xref") {
            let closing = text[..at].ends_with(b"start");
            at_word(if closing { at - 5 } else { at }) && follows(at + 4).is_some_and(|byte| byte.is_ascii_digit())
        } else if rest.starts_with(b"trailer") {
            at_word(at) && follows(at + 7) == Some(b'<')
        } else {
            false
        }
    })
}

/// Whether the text ends with two numbers, as the head of an object does.
fn is_object_head(before: &[u8]) -> bool {
    let mut rest = before;
    for _ in 0..2 {
        let spaced = rest.trim_ascii_end();
        let digits = spaced.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        if spaced.len() == rest.len() || digits == 0 || digits > 10 {
            return false;
        }
        rest = &spaced[..spaced.len() - digits];
    }
    true
}
