//! Where a clinical document (CDA) ends: at its root's closing tag, which a comment or CDATA cannot hold; and whether it
//! has the encoding that it declares.

use std::io;

use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::{
    Beginning, End,
    bytes::{Bytes, CHUNK, find},
};

/// Names and marks that are kept while they are read; longer ones are none that matter.
const MAX_NAME: usize = 200;

/// What an XML document begins with.
#[derive(Debug, PartialEq)]
pub(super) enum Root<'a> {
    /// The root element's name as written, with its prefix.
    Name(&'a [u8]),
    /// Nothing but what may come before it.
    NotYet,
    /// This is no XML, or has a document type, as no CDA has.
    None,
}

/// Skips byte order mark, declaration, processing instructions and comments.
pub(super) fn root(head: &[u8]) -> Root<'_> {
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
            None => return Root::NotYet,
        }
    }
    let starts: [&[u8]; 3] = [b"<?", b"<!--", b"\xef\xbb\xbf"];
    if rest.is_empty() || starts.iter().any(|start| start.starts_with(rest)) {
        return Root::NotYet;
    }
    let Some(name) = rest.strip_prefix(b"<") else { return Root::None };
    match name.iter().position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>')) {
        Some(0) => Root::None,
        Some(_) if name.starts_with(b"!") => Root::None,
        Some(length) => Root::Name(&name[..length]),
        None => Root::NotYet,
    }
}

fn skip_past<'a>(text: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    find(text, mark).map(|at| &text[at + mark.len()..])
}

fn is_cda(name: &[u8]) -> bool {
    let local = name.iter().rposition(|byte| *byte == b':').map_or(name, |colon| &name[colon + 1..]);
    local == b"ClinicalDocument"
}

/// The encoding that the first bytes show, for those that are not a superset of ASCII.
fn shown(head: &[u8]) -> Option<&'static Encoding> {
    match head {
        [0xff, 0xfe, ..] | [b'<', 0, ..] => Some(UTF_16LE),
        [0xfe, 0xff, ..] | [0, b'<', ..] => Some(UTF_16BE),
        _ => None,
    }
}

/// The file's first bytes as UTF-8, where that can be told.
fn decoded(head: &[u8]) -> Option<Vec<u8>> {
    let (text, _) = shown(head)?.decode_with_bom_removal(head);
    Some(text.into_owned().into_bytes())
}

/// `written` is the file's first chunk, less the zeros it may end with.
pub(super) fn begins(written: &[u8]) -> Beginning {
    let decoded = decoded(written);
    match root(decoded.as_deref().unwrap_or(written)) {
        Root::Name(name) if is_cda(name) => Beginning::Right,
        Root::NotYet if written.len() < CHUNK => Beginning::TooShort,
        _ => Beginning::Wrong,
    }
}

/// `encoding` of the XML declaration.
fn declared(head: &[u8]) -> Option<String> {
    let declaration = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).strip_prefix(b"<?xml")?;
    let declaration = &declaration[..find(declaration, b"?>")?];
    let value =
        declaration[find(declaration, b"encoding")? + 8..].trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let (quote, value) = value.split_first()?;
    let length = value.iter().position(|byte| byte == quote)?;
    Some(String::from_utf8_lossy(&value[..length.min(40)]).into_owned())
}

/// The encoding to read it with, or why there is none, in words with an article.
fn encoding(head: &[u8]) -> Result<&'static Encoding, String> {
    let shown = shown(head);
    let decoded = decoded(head);
    let declared = declared(decoded.as_deref().unwrap_or(head));
    let known = declared.as_deref().map(|label| Encoding::for_label(label.as_bytes()));
    let label = declared.as_deref().unwrap_or("UTF-8");
    let is_utf16 = |encoding: &Encoding| encoding == UTF_16LE || encoding == UTF_16BE;
    match (shown, known) {
        (_, Some(None)) => Err(format!("XML in an encoding that is not known ({})", label.escape_debug())),
        (Some(shown), Some(Some(known))) if is_utf16(known) => Ok(shown),
        (Some(shown), None) => Ok(shown),
        (Some(_), Some(Some(_))) => Err(format!("XML that says it is {} and is UTF-16", label.escape_debug())),
        (None, Some(Some(known))) if is_utf16(known) => Err("XML that says it is UTF-16 and is not".to_owned()),
        (None, Some(Some(known))) if known != UTF_8 && head.starts_with(b"\xef\xbb\xbf") => {
            Err(format!("XML that says it is {} and is UTF-8", label.escape_debug()))
        }
        (None, Some(Some(known))) => Ok(known),
        (None, None) => Ok(UTF_8),
    }
}

pub(super) fn end(bytes: &Bytes<'_>, head: &[u8]) -> io::Result<End> {
    let encoding = match encoding(head) {
        Ok(encoding) => encoding,
        Err(found) => return Ok(End::Another(found)),
    };
    let mut decoder = encoding.new_decoder_with_bom_removal();
    let mut scanner = Scanner::default();
    let mut at = 0;
    while at < bytes.size {
        let chunk = bytes.read(at, CHUNK)?;
        at += chunk.len() as u64;
        let room = decoder.max_utf8_buffer_length_without_replacement(chunk.len()).unwrap_or(CHUNK * 4);
        let mut text = String::with_capacity(room);
        let (result, read) = decoder.decode_to_string_without_replacement(&chunk, &mut text, at == bytes.size);
        if let Some(detail) = text.bytes().find_map(|byte| scanner.next(byte)) {
            return End::missing(detail);
        }
        if result != DecoderResult::InputEmpty {
            return match at == bytes.size && read == chunk.len() {
                true => End::missing("it ends within a character"),
                false => Ok(End::Another(format!("XML that says it is {} and is not", encoding.name()))),
            };
        }
    }
    match scanner.state {
        State::After => Ok(End::Here),
        _ => End::missing("its root element is not closed"),
    }
}

/// Follows the tags of an XML document.
#[derive(Default)]
struct Scanner {
    state: State,
    depth: u64,
    root: Vec<u8>,
}

#[derive(Default)]
enum State {
    /// Between tags.
    #[default]
    Text,
    /// Behind `<`, before it is clear what it begins.
    Opened(Vec<u8>),
    /// Inside a tag: its name so far, whether the name is over, the open quote, and the byte before.
    Tag { name: Vec<u8>, named: bool, closing: bool, quote: Option<u8>, before: u8 },
    /// Inside something that ends with a mark, of which so many bytes have come.
    Until { mark: &'static [u8], come: usize },
    /// Behind the root element.
    After,
}

impl Scanner {
    /// Takes a byte of UTF-8; returns what is wrong with it, in words.
    fn next(&mut self, byte: u8) -> Option<&'static str> {
        if byte == 0 {
            return Some("parts of it are still blank");
        }
        match std::mem::take(&mut self.state) {
            State::Text => self.state = if byte == b'<' { State::Opened(Vec::new()) } else { State::Text },
            State::After if byte == b'<' => self.state = State::Opened(Vec::new()),
            // A byte order mark between two texts that were joined is none of XML's white space either.
            State::After if !byte.is_ascii_whitespace() => return Some("it goes on after its root element"),
            State::After => self.state = State::After,
            State::Opened(seen) => return self.opened(seen, byte),
            State::Tag { name, named, closing, quote, before } => {
                return self.tag(name, named, closing, quote, before, byte);
            }
            State::Until { mark, come } => {
                let come = matched(mark, come, byte);
                self.state = if come == mark.len() { self.between() } else { State::Until { mark, come } };
            }
        }
        None
    }

    /// The state between tags: behind the root there may only be comments and instructions.
    fn between(&self) -> State {
        if self.depth == 0 && !self.root.is_empty() { State::After } else { State::Text }
    }

    fn opened(&mut self, mut seen: Vec<u8>, byte: u8) -> Option<&'static str> {
        seen.push(byte);
        let over = self.depth == 0 && !self.root.is_empty();
        self.state = match seen.as_slice() {
            b"?" => State::Until { mark: b"?>", come: 0 },
            b"!--" => State::Until { mark: b"-->", come: 0 },
            b"![CDATA[" if !over => State::Until { mark: b"]]>", come: 0 },
            seen if b"!--".starts_with(seen) || b"![CDATA[".starts_with(seen) => State::Opened(seen.to_vec()),
            [b'!', ..] => return Some("it makes no sense as XML"),
            _ if over => return Some("it goes on after its root element"),
            [b'/'] => State::Tag { name: Vec::new(), named: false, closing: true, quote: None, before: 0 },
            _ => return self.tag(Vec::new(), false, false, None, 0, byte),
        };
        None
    }

    fn tag(
        &mut self,
        mut name: Vec<u8>,
        mut named: bool,
        closing: bool,
        mut quote: Option<u8>,
        before: u8,
        byte: u8,
    ) -> Option<&'static str> {
        match (quote, byte) {
            (Some(open), byte) => quote = Some(open).filter(|open| *open != byte),
            (None, b'>') => {
                let empty = before == b'/' && !closing;
                match (closing, self.depth) {
                    (true, 0) => return Some("it makes no sense as XML"),
                    (true, 1) if name != self.root => return Some("its root element is not closed"),
                    (true, _) => self.depth -= 1,
                    (false, 0) => {
                        self.root.clone_from(&name);
                        self.depth = u64::from(!empty);
                    }
                    (false, _) => self.depth += u64::from(!empty),
                }
                self.state = self.between();
                return None;
            }
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'<') => return Some("it makes no sense as XML"),
            (None, b'/') => named = true,
            (None, byte) if byte.is_ascii_whitespace() => named = true,
            (None, byte) if !named && name.len() < MAX_NAME => name.push(byte),
            (None, _) => {}
        }
        self.state = State::Tag { name, named, closing, quote, before: byte };
        None
    }
}

/// How many bytes of `mark` have come, with this one: `-->` ends `--->` as well.
fn matched(mark: &[u8], come: usize, byte: u8) -> usize {
    if mark[come] == byte {
        return come + 1;
    }
    // The bytes before the last are equal in every mark.
    if come > 0 && mark[come - 1] == byte && mark[..come].iter().all(|earlier| *earlier == byte) {
        come
    } else {
        usize::from(mark[0] == byte)
    }
}
