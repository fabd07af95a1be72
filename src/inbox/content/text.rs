//! Plain text: it may end anywhere, so that only zeros or half a character betray a cut one; and which encoding it has.

use std::io;

use super::{
    End,
    bytes::{Bytes, CHUNK},
};

/// An encoding that is not UTF-8, as far as bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextEncoding {
    /// UTF-16; `marked` when a byte order mark says so.
    #[allow(missing_docs)]
    Utf16 { little: bool, marked: bool },
    /// Windows-1252, or ISO 8859-1, which is a part of it.
    Windows1252,
    /// A code page of MS-DOS.
    Dos,
    /// Another one: Cyrillic, Greek, East Asian, …
    Legacy,
}

impl TextEncoding {
    /// For a person: what follows "This text is saved as".
    pub fn words(self) -> &'static str {
        match self {
            Self::Utf16 { .. } => "UTF-16 (Windows calls it \"Unicode\")",
            Self::Windows1252 => "Windows-1252 (also called \"ANSI\" or \"Latin-1\")",
            Self::Dos => "a code page of MS-DOS",
            Self::Legacy => "an old code page (such as a Cyrillic, Greek or Asian one)",
        }
    }

    /// The encoding to read it with, where bytes leave no doubt.
    pub fn readable(self) -> Option<&'static encoding_rs::Encoding> {
        match self {
            Self::Utf16 { little: true, marked: true } => Some(encoding_rs::UTF_16LE),
            Self::Utf16 { little: false, marked: true } => Some(encoding_rs::UTF_16BE),
            Self::Windows1252 => Some(encoding_rs::WINDOWS_1252),
            Self::Utf16 { marked: false, .. } | Self::Dos | Self::Legacy => None,
        }
    }
}

/// Only UTF-8 is taken as it is: of another encoding nobody could be sure, and names would be garbled in the chart.
pub(super) fn end(bytes: &Bytes<'_>) -> io::Result<End> {
    let mark = bytes.read(0, 4)?;
    let marked = match mark.as_slice() {
        // UTF-32, which nobody writes.
        [0xff, 0xfe, 0, 0] => None,
        [0xff, 0xfe, ..] => Some(true),
        [0xfe, 0xff, ..] => Some(false),
        _ => None,
    };
    let blank = bytes.blank_tail()?;
    if let Some(little) = marked {
        // The last character's own zero is one of them.
        return if blank > 1 {
            still_blank(blank)
        } else {
            Ok(End::Encoded(TextEncoding::Utf16 { little, marked: true }))
        };
    }
    let mut counts = Counts::default();
    let mut at = 0;
    while at < bytes.size {
        let chunk = bytes.read(at, CHUNK)?;
        counts.add(&chunk);
        at += chunk.len() as u64;
    }
    if let Some(little) = counts.utf16(bytes.size).filter(|_| blank <= 1) {
        return Ok(End::Encoded(TextEncoding::Utf16 { little, marked: false }));
    }
    if blank > 0 {
        return still_blank(blank);
    }
    match utf8(bytes)? {
        _ if counts.zeros_even + counts.zeros_odd > 0 => Ok(not_text()),
        Utf8::Valid => Ok(End::Here),
        Utf8::CutOff => End::missing("it ends within a character"),
        Utf8::Invalid if counts.controls > 0 => Ok(not_text()),
        Utf8::Invalid => Ok(End::Encoded(counts.code_page())),
    }
}

fn not_text() -> End {
    End::Another("something that is not plain text".to_owned())
}

fn still_blank(blank: u64) -> io::Result<End> {
    End::missing(format!("its last {blank} bytes are still blank"))
}

enum Utf8 {
    Valid,
    CutOff,
    Invalid,
}

fn utf8(bytes: &Bytes<'_>) -> io::Result<Utf8> {
    let mut at = 0;
    let mut multibyte = false;
    while at < bytes.size {
        let chunk = bytes.read(at, CHUNK)?;
        let last = at + chunk.len() as u64 == bytes.size;
        let valid = match str::from_utf8(&chunk) {
            Ok(_) => chunk.len(),
            // A character that the chunk's end divides is read again with the next chunk.
            Err(error) if error.error_len().is_none() && !last => error.valid_up_to(),
            // A lone last byte is half a character only where there were whole ones, or where text of one byte a character
            // would end otherwise.
            Err(error) if error.error_len().is_none() => {
                multibyte |= chunk[..error.valid_up_to()].iter().any(|byte| !byte.is_ascii());
                return Ok(if multibyte || chunk.len() - error.valid_up_to() > 1 {
                    Utf8::CutOff
                } else {
                    Utf8::Invalid
                });
            }
            Err(_) => return Ok(Utf8::Invalid),
        };
        multibyte |= chunk[..valid].iter().any(|byte| !byte.is_ascii());
        at += valid as u64;
    }
    Ok(Utf8::Valid)
}

/// Statistics that tell encodings apart.
#[derive(Default)]
struct Counts {
    length: u64,
    zeros_even: u64,
    zeros_odd: u64,
    /// Control characters that no text has, zeros included.
    controls: u64,
    letters: u64,
    high: u64,
    /// Bytes that Windows-1252 leaves undefined.
    undefined: u64,
    /// Punctuation of Windows-1252 between two letters, where it makes no sense: letters of MS-DOS.
    misplaced: u64,
    previous: [u8; 2],
}

impl Counts {
    fn add(&mut self, chunk: &[u8]) {
        for byte in chunk {
            let [before, middle] = self.previous;
            if is_dos_letter(middle) && before.is_ascii_alphabetic() && byte.is_ascii_alphabetic() {
                self.misplaced += 1;
            }
            match byte {
                0 if self.length.is_multiple_of(2) => self.zeros_even += 1,
                0 => self.zeros_odd += 1,
                _ => {}
            }
            self.controls += u64::from(*byte < 9);
            self.letters += u64::from(byte.is_ascii_alphabetic());
            self.high += u64::from(!byte.is_ascii());
            self.undefined += u64::from(matches!(byte, 0x81 | 0x8d | 0x8f | 0x90 | 0x9d));
            self.previous = [middle, *byte];
            self.length += 1;
        }
    }

    /// Without a mark: characters of Western text have a zero in every other byte.
    fn utf16(&self, size: u64) -> Option<bool> {
        let (few, many) = (size / 40, size / 5);
        match (self.zeros_even, self.zeros_odd) {
            _ if !size.is_multiple_of(2) => None,
            (even, odd) if even <= few && odd > many => Some(true),
            (even, odd) if odd <= few && even > many => Some(false),
            _ => None,
        }
    }

    fn code_page(&self) -> TextEncoding {
        if self.undefined > 0 || self.misplaced > 0 {
            return TextEncoding::Dos;
        }
        // German and French text has at most one accented letter in ten; short notes may have more.
        if self.high * 2 > self.letters { TextEncoding::Legacy } else { TextEncoding::Windows1252 }
    }
}

/// Letters in code pages 437 and 850 whose place Windows-1252 gives to punctuation.
fn is_dos_letter(byte: u8) -> bool {
    matches!(byte, 0x80..=0x89 | 0x8b | 0x91 | 0x93..=0x95 | 0x98 | 0x99 | 0x9b)
}
