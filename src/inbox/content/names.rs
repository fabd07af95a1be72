//! What a file is in words, by its extension and by its first bytes.

use super::{Kind, markup, markup::InboxDir, pdf};

/// Extensions of what is known and not sent.
const NOT_SENT: &[(&[&str], &str)] = &[
    (&["exe", "dll", "com", "scr", "msi", "msix", "sys", "cpl", "pif", "lnk"], "a Windows program"),
    (&["elf", "so", "mach", "dylib", "deb", "rpm", "apk", "app", "dex", "class", "jar", "wasm", "dey"], "a program"),
    (
        &[
            "bat", "cmd", "ps1", "vbs", "vbe", "js", "jse", "mjs", "wsf", "hta", "sh", "bash", "py", "pl", "rb", "php",
            "reg",
        ],
        "a script",
    ),
    (&["zip"], "a ZIP archive"),
    (
        &[
            "7z", "rar", "gz", "tgz", "tar", "bz2", "xz", "zst", "lz", "lz4", "z", "cab", "ar", "cpio", "iso", "img",
            "dmg",
        ],
        "an archive",
    ),
    (&["docm", "dotm", "xlsm", "xltm", "xlsb", "pptm", "potm", "ppsm"], "an Office document with macros"),
    (&["doc", "dot", "docx", "dotx"], "a Word document"),
    (&["xls", "xlsx", "xltx", "ods"], "a spreadsheet"),
    (&["ppt", "pps", "pptx", "ppsx", "odp"], "a presentation"),
    (&["odt", "pages", "wpd", "wps", "epub", "mobi"], "a text document of another program"),
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
    NOT_SENT.iter().find(|(extensions, _)| extensions.contains(&extension)).map(|(_, words)| *words)
}

/// What has these first bytes and is not sent, whatever its name.
pub(super) fn not_sent(head: &[u8]) -> Option<String> {
    let hit =
        infer::get(head).filter(|hit| kind_of_mime(hit.mime_type()).is_none() && !is_text_by_chance(hit, head))?;
    Some(in_words(&hit))
}

/// Whether `infer` knows better than the name and the first bytes that belong to it.
pub(super) fn contradicts(kind: Kind, head: &[u8]) -> Option<String> {
    let found = match infer::get(head) {
        // Its root element says more.
        Some(_) | None if kind == Kind::Cda => None,
        Some(hit) if kind_of_mime(hit.mime_type()) == Some(kind) => None,
        Some(hit) if kind == Kind::Text && is_text_by_chance(&hit, head) => None,
        hit => hit.map(|hit| in_words(&hit)),
    };
    found.or_else(|| match markup::root(head) {
        InboxDir::Name(name) if kind == Kind::Text => element(name).map(str::to_owned),
        _ => None,
    })
}

/// What these first bytes are, with an article.
pub(super) fn by_content(head: &[u8]) -> String {
    if let InboxDir::Name(name) = markup::root(head)
        && let Some(words) = element(name)
    {
        return words.to_owned();
    }
    match infer::get(head).filter(|hit| !is_text_by_chance(hit, head)) {
        Some(hit) => in_words(&hit),
        None if matches!(markup::root(head), InboxDir::Name(_)) => in_words_xml(),
        None if pdf::header(head).is_some() => "a PDF document".to_owned(),
        None if is_text(head) => "plain text".to_owned(),
        None => "something unknown".to_owned(),
    }
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

fn kind_of_mime(mime: &str) -> Option<Kind> {
    Some(match mime {
        "application/pdf" => Kind::Pdf,
        "image/tiff" => Kind::Tiff,
        "image/jpeg" => Kind::Jpeg,
        "image/png" => Kind::Png,
        "application/rtf" | "text/rtf" => Kind::Rtf,
        "text/xml" => Kind::Cda,
        _ => return None,
    })
}

fn in_words(hit: &infer::Type) -> String {
    if let Some(words) = by_extension(hit.extension()) {
        return words.to_owned();
    }
    match kind_of_mime(hit.mime_type()) {
        Some(Kind::Rtf) => "an RTF document".to_owned(),
        Some(Kind::Cda) => in_words_xml(),
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
