//! What a file's bytes are, and whether they are all there.
//!
//! A copy that was cut off has often its full size already (SMB preallocates) and its last writer is often gone (a
//! client that died): only the format itself tells. Nothing here is a decoder; each format is followed just far enough
//! to find its end. Plain text has no end mark, so that only zeros or half a character betray a cut one.

mod bytes;
mod jpeg;
mod markup;
mod names;
mod pdf;
mod png;
mod tiff;

use std::{ffi::OsStr, fs::File, io, path::Path};

use bytes::{Bytes, CHUNK, is_blank};

/// What scanners leave behind the end of a document, and what cameras and disks pad it with, stays below this.
const TRAILING: u64 = 8 * 1024;

/// The formats that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Pdf,
    Tiff,
    Jpeg,
    Png,
    Rtf,
    Text,
    /// HL7's clinical document, an XML format.
    Cda,
}

impl Kind {
    /// By the file name's extension, in capitals or not.
    pub fn of(name: &OsStr) -> Option<Self> {
        Some(match extension(name)?.as_str() {
            "pdf" => Self::Pdf,
            "tif" | "tiff" => Self::Tiff,
            "jpg" | "jpeg" => Self::Jpeg,
            "png" => Self::Png,
            "rtf" => Self::Rtf,
            "txt" => Self::Text,
            "xml" => Self::Cda,
            _ => return None,
        })
    }

    /// The MIME type.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Tiff => "image/tiff",
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Rtf => "application/rtf",
            Self::Text => "text/plain",
            Self::Cda => "text/xml",
        }
    }

    /// For a person, without an article.
    pub fn words(self) -> &'static str {
        match self {
            Self::Pdf => "PDF document",
            Self::Tiff => "TIFF picture",
            Self::Jpeg => "JPEG picture",
            Self::Png => "PNG picture",
            Self::Rtf => "RTF document",
            Self::Text => "plain text",
            Self::Cda => "clinical document (CDA)",
        }
    }
}

/// What was found. `found` begins with an article: "a ZIP archive".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspection {
    /// It begins and ends as its format does.
    Whole(Kind),
    /// It begins as its format does, or is still blank, and its end is not there (yet).
    CutOff {
        /// By its name.
        kind: Kind,
        /// What is missing.
        detail: String,
    },
    /// No bytes.
    Empty,
    /// The bytes contradict the name.
    Foreign {
        /// By its name.
        expected: Kind,
        /// By its bytes.
        found: String,
    },
    /// Something that is known, and is not sent.
    Forbidden {
        /// By its name or its bytes.
        found: String,
    },
    /// Something whose name says nothing.
    Unknown,
}

/// The end of a document, as far as its format tells.
enum End {
    /// The format ends here.
    At(u64),
    /// It does not; in words.
    Missing(String),
    /// It is another format after all; in words with an article.
    Another(String),
}

impl End {
    fn missing<T: Into<String>>(detail: T) -> io::Result<Self> {
        Ok(Self::Missing(detail.into()))
    }
}

/// Looks at a file without moving its cursor, and with at most 64 KB of it in memory at a time.
///
/// A file that is shorter than `size` is an error of the kind `UnexpectedEof`: it changed meanwhile.
pub fn inspect(file: &File, size: u64, name: &OsStr) -> Result<Inspection, io::Error> {
    let bytes = Bytes { file, size };
    let extension = extension(name).unwrap_or_default();
    if let Some(found) = names::by_extension(&extension) {
        return Ok(Inspection::Forbidden { found: found.to_owned() });
    }
    if size == 0 {
        return Ok(Inspection::Empty);
    }
    let head = bytes.read(0, CHUNK)?;
    let Some(kind) = Kind::of(name) else {
        return Ok(match names::not_sent(&head) {
            Some(found) => Inspection::Forbidden { found },
            None => Inspection::Unknown,
        });
    };
    let cut_off = |detail: String| Ok(Inspection::CutOff { kind, detail });
    if is_blank(&head) {
        return cut_off("its beginning is still blank".to_owned());
    }
    match begins(kind, &head) {
        Beginning::Right if names::contradicts(kind, &head).is_none() => {}
        Beginning::TooShort => return cut_off("it ends within its first bytes".to_owned()),
        _ => return Ok(Inspection::Foreign { expected: kind, found: names::by_content(&head) }),
    }
    let blank = bytes.blank_tail()?;
    // A picture may well end in black, which is zero: TIFF looks at its blank tail itself.
    if blank > TRAILING && kind != Kind::Tiff {
        return cut_off(format!("its last {blank} bytes are still blank"));
    }
    let end = match kind {
        Kind::Pdf => pdf::end(&bytes, &head)?,
        Kind::Tiff => tiff::end(&bytes, blank)?,
        Kind::Jpeg => jpeg::end(&bytes)?,
        Kind::Png => png::end(&bytes)?,
        Kind::Rtf => markup::rtf_end(&bytes)?,
        Kind::Text => markup::text_end(&bytes)?,
        Kind::Cda => markup::cda_end(&bytes, &head)?,
    };
    Ok(match end {
        End::At(end) if size.saturating_sub(end) <= TRAILING => Inspection::Whole(kind),
        End::At(end) => {
            let detail = format!("{} bytes of something else follow its end", size - end);
            Inspection::CutOff { kind, detail }
        }
        End::Missing(detail) => Inspection::CutOff { kind, detail },
        End::Another(found) => Inspection::Foreign { expected: kind, found },
    })
}

fn extension(name: &OsStr) -> Option<String> {
    Some(Path::new(name).extension()?.to_str()?.to_ascii_lowercase())
}

enum Beginning {
    Right,
    Wrong,
    /// What there is could be the first bytes of the right one.
    TooShort,
}

fn begins(kind: Kind, head: &[u8]) -> Beginning {
    let written = &head[..head.len() - head.iter().rev().take_while(|byte| **byte == 0).count()];
    let marks: &[&[u8]] = match kind {
        Kind::Pdf => &[pdf::MARK],
        Kind::Tiff => &[b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"],
        Kind::Jpeg => &[b"\xff\xd8\xff"],
        Kind::Png => &[png::MARK],
        Kind::Rtf => &[b"{\\rtf"],
        Kind::Text => return Beginning::Right,
        Kind::Cda => return markup::cda_begins(written),
    };
    let right = marks.iter().any(|mark| head.starts_with(mark));
    if right || (kind == Kind::Pdf && pdf::header(head).is_some()) {
        return Beginning::Right;
    }
    let too_short = marks.iter().any(|mark| mark.starts_with(written));
    if too_short { Beginning::TooShort } else { Beginning::Wrong }
}

#[cfg(test)]
mod tests;
