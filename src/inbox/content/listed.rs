//! Kinds that `[file_types]` lists: whether the bytes contradict the name, and where the formats that have an end have it.

use std::io;

use super::{
    End,
    bytes::{Bytes, find_last},
    names,
};

/// A ZIP archive's last record, and the comment that may follow it.
const ZIP_END: &[u8] = b"PK\x05\x06";
/// Boxes of a HEIC or MP4 file.
const MAX_BOXES: usize = 10_000;

/// What this is instead, in words with an article; `None` when nothing speaks against the name.
pub(super) fn contradiction(extension: &str, mime: &str, head: &[u8]) -> Option<String> {
    if extension == "dcm" || mime == "application/dicom" {
        return (head.get(128..132) != Some(b"DICM")).then(|| names::by_content(head));
    }
    if is_heif(extension, mime) {
        return (!is_heif_brand(head)).then(|| names::by_content(head));
    }
    match names::known(head) {
        Some(hit) if hit.mime_type() == mime || hit.extension() == extension => None,
        Some(hit) if is_zip(hit.mime_type()) && (is_zip(mime) || is_zipped(extension, mime)) => None,
        Some(hit) if is_old_office(hit.mime_type()) && is_old_office(mime) => None,
        Some(_) => Some(names::by_content(head)),
        // It knows what such a file begins with, and this one does not.
        None if is_binary(mime) && (infer::is_mime_supported(mime) || is_zipped(extension, mime)) => {
            Some(names::by_content(head))
        }
        None => None,
    }
}

pub(super) fn end(bytes: &Bytes<'_>, head: &[u8]) -> io::Result<End> {
    if head.starts_with(b"PK\x03\x04") {
        return zip_end(bytes);
    }
    if head.get(4..8) == Some(b"ftyp") {
        return boxes_end(bytes);
    }
    match bytes.blank_tail()? {
        0 => Ok(End::Here),
        blank => Ok(End::Doubtful(format!("its last {blank} bytes are zeros"))),
    }
}

/// The last record is in the last 64 KB, and the directory that it points to is before it.
fn zip_end(bytes: &Bytes<'_>) -> io::Result<End> {
    let start = bytes.size.saturating_sub(66_000);
    let mut tail = bytes.read(start, 40_000)?;
    tail.extend(bytes.read(start + tail.len() as u64, 40_000)?);
    let Some(at) = find_last(&tail, ZIP_END) else { return End::missing("its table of contents is missing") };
    let Some(record) = tail.get(at..at + 22) else { return End::missing("it ends within its table of contents") };
    let number = |from: usize| {
        u64::from(u32::from_le_bytes([record[from], record[from + 1], record[from + 2], record[from + 3]]))
    };
    let (files, size, offset) = (number(8) & 0xffff, number(12), number(16));
    // Beyond 4 GB the numbers are elsewhere.
    let fits = offset == u64::from(u32::MAX) || size + offset <= start + at as u64;
    if files > 0 && fits {
        Ok(End::Here)
    } else {
        End::missing("its table of contents is still blank, or beyond its end")
    }
}

/// Every box says how long it is (ISO 14496-12, 4.2).
fn boxes_end(bytes: &Bytes<'_>) -> io::Result<End> {
    let mut at = 0;
    let (mut described, mut media) = (false, None);
    for _ in 0..MAX_BOXES {
        if at == bytes.size {
            break;
        }
        let Some([a, b, c, d, kind @ ..]) = bytes.array::<8>(at)? else { return End::missing("it ends within a part") };
        described |= matches!(&kind, b"meta" | b"moov");
        let length = match u32::from_be_bytes([a, b, c, d]) {
            0 if kind.iter().all(u8::is_ascii_graphic) => bytes.size - at,
            1 => match bytes.array::<16>(at)? {
                Some([.., a, b, c, d, e, f, g, h]) => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
                None => return End::missing("it ends within a part"),
            },
            length => u64::from(length),
        };
        match at.checked_add(length) {
            Some(end) if length >= 8 && end <= bytes.size => {
                if kind == *b"mdat" {
                    media = Some((at, end));
                }
                at = end;
            }
            Some(_) if length >= 8 => return End::missing("it ends within a part"),
            // Padding, or parts that are still to be written.
            _ => break,
        }
    }
    match media {
        // Compressed data has no three zeros in a row, apart from what pads them.
        Some((start, end)) if described && bytes.blank_before(start, end)? < 64 => Ok(End::Here),
        Some(_) if described => End::missing("a part of its picture is still blank"),
        _ => End::missing("its picture is missing"),
    }
}

fn is_heif(extension: &str, mime: &str) -> bool {
    matches!(extension, "heic" | "heif") || matches!(mime, "image/heic" | "image/heif")
}

fn is_heif_brand(head: &[u8]) -> bool {
    const BRANDS: [&[u8]; 10] =
        [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"];
    head.get(4..8) == Some(b"ftyp") && head.get(8..12).is_some_and(|brand| BRANDS.contains(&brand))
}

fn is_zip(mime: &str) -> bool {
    matches!(mime, "application/zip" | "application/x-zip-compressed")
        || mime.contains("openxmlformats")
        || mime.contains("oasis.opendocument")
        || mime == "application/epub+zip"
}

fn is_zipped(extension: &str, mime: &str) -> bool {
    is_zip(mime)
        || mime.ends_with("+zip")
        || matches!(extension, "docx" | "xlsx" | "pptx" | "odt" | "ods" | "odp" | "epub")
}

fn is_old_office(mime: &str) -> bool {
    matches!(
        mime,
        "application/msword"
            | "application/vnd.ms-excel"
            | "application/vnd.ms-powerpoint"
            | "application/vnd.ms-outlook"
    )
}

fn is_binary(mime: &str) -> bool {
    !mime.starts_with("text/")
}
