//! What a file's bytes are, and whether they are all there.
//!
//! A copy that was cut off has often its full size already (SMB preallocates) and its last writer is often gone (a
//! client that died): only the format itself tells. Nothing here is a decoder; each format is followed just far enough
//! to find its end. What follows the end does not matter: cameras, scanners and disks leave all sorts of things there.

mod bytes;
mod cda;
mod convert;
mod jpeg;
mod listed;
mod names;
mod pdf;
mod png;
mod rtf;
mod text;
mod tiff;

use std::{ffi::OsStr, fs::File, io};

use bytes::{Bytes, CHUNK, is_blank};
pub use convert::to_utf8;
pub use text::TextEncoding;

use crate::model::file_kind::{FileKind, FileTypes, extension};

/// What was found. `found` begins with an article: "a ZIP archive".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspection {
    /// It begins and ends as its format does.
    Whole(FileKind),
    /// As far as its format tells, it is whole; but its end looks as one does that was not written yet.
    Doubtful {
        /// By its name.
        kind: FileKind,
        /// What is doubtful.
        detail: String,
    },
    /// It begins as its format does, or is still blank, and its end is not there (yet).
    CutOff {
        /// By its name.
        kind: FileKind,
        /// What is missing.
        detail: String,
    },
    /// No bytes.
    Empty,
    /// The bytes contradict the name.
    Foreign {
        /// By its name.
        expected: FileKind,
        /// By its bytes.
        found: String,
    },
    /// Plain text, and not in UTF-8.
    OtherText(TextEncoding),
    /// A document that nobody opens without a password or a certificate; why, in words that begin with "it".
    Locked(String),
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
    Here,
    /// It ends, and may not be written to its end; in words.
    Doubtful(String),
    /// It does not; in words.
    Missing(String),
    /// It is another format after all; in words with an article.
    Another(String),
    /// It ends, and does not open without a password; in words.
    Locked(String),
    /// It is text in this encoding.
    Encoded(TextEncoding),
}

impl End {
    fn missing<T: Into<String>>(detail: T) -> io::Result<Self> {
        Ok(Self::Missing(detail.into()))
    }
}

/// Looks at a file without moving its cursor, and with at most a few hundred KB of it in memory at a time.
///
/// A file that is shorter than `size` is an error of the kind `UnexpectedEof`: it changed meanwhile.
pub fn inspect(file: &File, size: u64, name: &OsStr, types: &FileTypes) -> Result<Inspection, io::Error> {
    let bytes = Bytes { file, size };
    let kind = FileKind::of(name, types);
    if kind.is_none()
        && let Some(found) = names::by_extension(&extension(name).unwrap_or_default())
    {
        return Ok(Inspection::Forbidden { found: found.to_owned() });
    }
    if size == 0 {
        return Ok(Inspection::Empty);
    }
    let head = bytes.read(0, CHUNK)?;
    let Some(kind) = kind else {
        return Ok(match names::not_sent(&head) {
            Some(found) => Inspection::Forbidden { found },
            None => Inspection::Unknown,
        });
    };
    if is_blank(&head) {
        return Ok(Inspection::CutOff { kind, detail: "its beginning is still blank".to_owned() });
    }
    match begins(&kind, &head) {
        Beginning::Right => {
            if let Some(found) = names::contradicts(&kind, &head) {
                return Ok(Inspection::Foreign { expected: kind, found });
            }
        }
        Beginning::TooShort => {
            return Ok(Inspection::CutOff { kind, detail: "it ends within its first bytes".to_owned() });
        }
        Beginning::Wrong => return Ok(Inspection::Foreign { expected: kind, found: names::by_content(&head) }),
    }
    Ok(match end(&kind, &bytes, &head)? {
        End::Here => Inspection::Whole(kind),
        End::Doubtful(detail) => Inspection::Doubtful { kind, detail },
        End::Missing(detail) => Inspection::CutOff { kind, detail },
        End::Another(found) => Inspection::Foreign { expected: kind, found },
        End::Locked(detail) => Inspection::Locked(detail),
        End::Encoded(encoding) => Inspection::OtherText(encoding),
    })
}

fn end(kind: &FileKind, bytes: &Bytes<'_>, head: &[u8]) -> io::Result<End> {
    match kind {
        FileKind::Pdf => pdf::end(bytes, head),
        FileKind::Tiff => tiff::end(bytes),
        FileKind::Jpeg => jpeg::end(bytes),
        FileKind::Png => png::end(bytes),
        FileKind::Rtf => rtf::end(bytes),
        FileKind::Text => text::end(bytes),
        FileKind::Cda => cda::end(bytes, head),
        FileKind::Listed { .. } => listed::end(bytes, head),
    }
}

enum Beginning {
    Right,
    Wrong,
    /// What there is could be the first bytes of the right one.
    TooShort,
}

fn begins(kind: &FileKind, head: &[u8]) -> Beginning {
    let written = &head[..head.len() - head.iter().rev().take_while(|byte| **byte == 0).count()];
    let marks: &[&[u8]] = match kind {
        FileKind::Pdf => &[pdf::MARK],
        FileKind::Tiff => &[b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"],
        FileKind::Jpeg => &[b"\xff\xd8"],
        FileKind::Png => &[png::MARK],
        FileKind::Rtf => &[b"{\\rtf"],
        FileKind::Cda => return cda::begins(written),
        FileKind::Text | FileKind::Listed { .. } => return Beginning::Right,
    };
    let right = marks.iter().any(|mark| head.starts_with(mark));
    if right || (*kind == FileKind::Pdf && pdf::header(head).is_some()) {
        return Beginning::Right;
    }
    let too_short = marks.iter().any(|mark| mark.starts_with(written));
    if too_short { Beginning::TooShort } else { Beginning::Wrong }
}

#[cfg(test)]
mod tests;
