//! What a file is in words, by its extension and by its first bytes.

use super::{
    FileKind,
    bytes::find,
    cda::{Root, root},
    pdf,
};
use crate::model::file_kind::PROGRAMS;

/// Extensions of what is known and not sent, unless `[file_types]` lists it.
const NOT_SENT: &[(&[&str], &str)] = &[
    (&["zip"], "a ZIP archive"),
    (&["7z"], "a 7-Zip archive"),
    (&["rar"], "a RAR archive"),
    (&["gz", "tgz"], "a gzip archive"),
    (&["tar", "bz2", "xz", "zst", "lz", "lz4", "z", "cab", "ar", "cpio", "iso", "img", "dmg"], "an archive"),
    (&["docm", "dotm", "xlsm", "xltm", "xlsb", "pptm", "potm", "ppsm"], "an Office document with macros"),
    (&["docx", "dotx"], "a Word document (docx)"),
    (&["doc", "dot"], "an old Word document (doc)"),
    (&["xlsx", "xltx"], "an Excel workbook (xlsx)"),
    (&["xls"], "an old Excel workbook (xls)"),
    (&["pptx", "ppsx"], "a PowerPoint presentation (pptx)"),
    (&["ppt", "pps"], "an old PowerPoint presentation (ppt)"),
    (&["odt", "ods", "odp"], "a LibreOffice document"),
    (&["pages", "wpd", "wps", "epub", "mobi"], "a text document of another program"),
    (&["eml", "msg"], "an e-mail"),
    (&["html", "htm", "xhtml", "mht", "mhtml"], "a web page"),
    (&["svg", "svgz"], "an SVG picture"),
    (&["heic", "heif"], "an iPhone picture (HEIC)"),
    (
        &["gif", "bmp", "webp", "avif", "ico", "psd", "jp2", "jxr", "jxl", "cr2", "dng", "nef", "djvu", "eps", "ps"],
        "a picture of another format",
    ),
    (&["dcm", "dicom"], "a DICOM picture"),
    (&["mp3", "m4a", "wav", "ogg", "flac", "aac", "aiff", "amr", "wma", "opus", "mid"], "a sound recording"),
    (&["mp4", "m4v", "mov", "avi", "mkv", "webm", "wmv", "mpg", "mpeg", "flv", "3gp"], "a film"),
    (&["csv", "json", "hl7", "sql", "db", "sqlite", "mdb", "accdb"], "a data file"),
    (&["ttf", "otf", "woff", "woff2"], "a font"),
];

/// What is known by this lower-case extension and is not sent.
pub(super) fn by_extension(extension: &str) -> Option<&'static str> {
    PROGRAMS.iter().chain(NOT_SENT).find(|(extensions, _)| extensions.contains(&extension)).map(|(_, words)| *words)
}

/// What has these first bytes and is not sent, whatever its name.
pub(super) fn not_sent(head: &[u8]) -> Option<String> {
    known(head).filter(|hit| FileKind::by_mime(hit.mime_type()).is_none()).map(|hit| in_words(&hit, head))
}

/// What `infer` says of the first bytes, unless it sees a sign in plain text.
pub(super) fn known(head: &[u8]) -> Option<infer::Type> {
    infer::get(head).filter(|hit| !is_text_by_chance(hit, head))
}

/// Whether `infer` knows better than the name and the first bytes that belong to it.
pub(super) fn contradicts(kind: &FileKind, head: &[u8]) -> Option<String> {
    if let FileKind::Listed { extension, mime } = kind {
        return super::listed::contradiction(extension, mime, head);
    }
    let found = match infer::get(head) {
        // Its root element says more.
        Some(_) | None if *kind == FileKind::Cda => None,
        Some(hit) if FileKind::by_mime(hit.mime_type()).as_ref() == Some(kind) => None,
        Some(hit) if *kind == FileKind::Text && is_text_by_chance(&hit, head) => None,
        hit => hit.map(|hit| in_words(&hit, head)),
    };
    found.or_else(|| match root(head) {
        Root::Name(name) if *kind == FileKind::Text => element(name).map(str::to_owned),
        _ => None,
    })
}

/// What these first bytes are, with an article.
pub(super) fn by_content(head: &[u8]) -> String {
    if let Root::Name(name) = root(head)
        && let Some(words) = element(name)
    {
        return words.to_owned();
    }
    if is_web_page(head) {
        return "a web page".to_owned();
    }
    match known(head) {
        Some(hit) => in_words(&hit, head),
        None if head.starts_with(b"PK\x03\x04") => zip_in_words(head),
        None if head.starts_with(OLD_OFFICE) => old_office_in_words(head),
        None if matches!(root(head), Root::Name(_)) => in_words_xml(),
        None if pdf::header(head).is_some() => "a PDF document".to_owned(),
        None if head.get(128..132) == Some(b"DICM") => "a DICOM picture".to_owned(),
        None if is_text(head) => "plain text".to_owned(),
        None => "something unknown".to_owned(),
    }
}

/// What Microsoft's compound files begin with.
const OLD_OFFICE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// Servers answer with a page where a document was asked for: a log-in, or an error.
fn is_web_page(head: &[u8]) -> bool {
    let start = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let start = start[..start.len().min(14)].to_ascii_lowercase();
    start.starts_with(b"<!doctype html") || start.starts_with(b"<html")
}

/// Office documents are ZIP archives; the names of the first files inside tell which.
fn zip_in_words(head: &[u8]) -> String {
    let parts: [(&[u8], &str); 4] = [
        (b"word/", "a Word document (docx)"),
        (b"xl/", "an Excel workbook (xlsx)"),
        (b"ppt/", "a PowerPoint presentation (pptx)"),
        (b"[Content_Types].xml", "an Office document"),
    ];
    let part = parts.into_iter().find(|(name, _)| find(head, name).is_some());
    part.map_or("a ZIP archive", |(_, words)| words).to_owned()
}

/// Documents whose name is that of their root element.
fn element(name: &[u8]) -> Option<&'static str> {
    match name.to_ascii_lowercase().as_slice() {
        b"svg" | b"svg:svg" => Some("an SVG picture"),
        b"html" | b"head" | b"body" => Some("a web page"),
        _ if name.ends_with(b"ClinicalDocument") => Some("a clinical document (CDA)"),
        _ => None,
    }
}

/// Installers are compound files as well; the names of the streams inside tell.
fn old_office_in_words(head: &[u8]) -> String {
    let streams = [
        ("WordDocument", "an old Word document (doc)"),
        ("Workbook", "an old Excel workbook (xls)"),
        ("PowerPoint Document", "an old PowerPoint presentation (ppt)"),
    ];
    let named = |name: &str| {
        let utf16: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        find(head, &utf16).is_some()
    };
    let stream = streams.into_iter().find(|(name, _)| named(name));
    stream.map_or("an old Office document (Word, Excel or PowerPoint before 2007)", |(_, words)| words).to_owned()
}

fn in_words(hit: &infer::Type, head: &[u8]) -> String {
    if hit.extension() == "zip" {
        return zip_in_words(head);
    }
    if head.starts_with(OLD_OFFICE) {
        return old_office_in_words(head);
    }
    if let Some(words) = by_extension(hit.extension()) {
        return words.to_owned();
    }
    match FileKind::by_mime(hit.mime_type()) {
        Some(FileKind::Rtf) => "an RTF document".to_owned(),
        Some(FileKind::Cda) => in_words_xml(),
        Some(kind) => format!("a {}", kind.words()),
        None => format!("a file of the type {}", hit.extension()),
    }
}

fn in_words_xml() -> String {
    "an XML file that is no clinical document".to_owned()
}

/// Two letters make a picture for `infer`: "BMI 24.1" begins as a BMP does, "MZ twins" as a program. None of these can
/// do without bytes that no text has.
fn is_text_by_chance(hit: &infer::Type, head: &[u8]) -> bool {
    let textual = hit.mime_type().starts_with("text/")
        || matches!(hit.extension(), "pdf" | "rtf" | "ps" | "eps" | "eml" | "vcf" | "ics");
    !textual && is_text(head)
}

/// UTF-8 without the control characters that no text has; the last character may be cut.
fn is_text(head: &[u8]) -> bool {
    let valid = match str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    valid && head.iter().all(|byte| *byte > 8)
}
