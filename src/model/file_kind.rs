//! The kinds of file that are sent: by their extension, with their MIME type and the words for a person.

use std::{borrow::Cow, collections::BTreeMap, ffi::OsStr, path::Path};

/// Kinds beyond the built-in ones: MIME types by lower-case extension, as `[file_types]` lists them.
pub type FileTypes = BTreeMap<String, String>;

/// Extensions of what runs, with words for it: never sent, whatever `[file_types]` says.
pub const PROGRAMS: &[(&[&str], &str)] = &[
    (&["exe", "dll", "com", "scr", "msi", "msix", "sys", "cpl", "pif", "lnk"], "a Windows program"),
    (&["elf", "so", "mach", "dylib", "deb", "rpm", "apk", "app", "dex", "class", "jar", "wasm", "dey"], "a program"),
    (
        &[
            "bat", "cmd", "ps1", "vbs", "vbe", "js", "jse", "mjs", "wsf", "hta", "sh", "bash", "py", "pl", "rb", "php",
            "reg",
        ],
        "a script",
    ),
];

/// The formats that are sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum FileKind {
    Pdf,
    Tiff,
    Jpeg,
    Png,
    Rtf,
    Text,
    /// HL7's clinical document, an XML format.
    Cda,
    /// Another kind, which `[file_types]` lists.
    Listed {
        extension: String,
        mime: String,
    },
}

impl FileKind {
    /// The built-in kind of this lower-case extension.
    pub fn built_in(extension: &str) -> Option<Self> {
        Some(match extension {
            "pdf" => Self::Pdf,
            "tif" | "tiff" => Self::Tiff,
            "jpg" | "jpeg" | "jpe" | "jfif" => Self::Jpeg,
            "png" => Self::Png,
            "rtf" => Self::Rtf,
            "txt" => Self::Text,
            "xml" | "ccda" => Self::Cda,
            _ => return None,
        })
    }

    /// By the file name's extension, in capitals or not.
    pub fn of(name: &OsStr, types: &FileTypes) -> Option<Self> {
        let extension = extension(name).filter(|extension| !is_program(extension))?;
        Self::built_in(&extension).or_else(|| {
            types.get(&extension).cloned().map(|mime| Self::by_mime(&mime).unwrap_or(Self::Listed { extension, mime }))
        })
    }

    /// The built-in kind of a MIME type, which `[file_types]` may give another extension.
    pub fn by_mime(mime: &str) -> Option<Self> {
        Some(match mime {
            "application/pdf" => Self::Pdf,
            "image/tiff" => Self::Tiff,
            "image/jpeg" => Self::Jpeg,
            "image/png" => Self::Png,
            "application/rtf" | "text/rtf" => Self::Rtf,
            "text/plain" => Self::Text,
            "text/xml" => Self::Cda,
            _ => return None,
        })
    }

    /// The MIME type.
    pub fn mime(&self) -> &str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Tiff => "image/tiff",
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Rtf => "application/rtf",
            Self::Text => "text/plain",
            Self::Cda => "text/xml",
            Self::Listed { mime, .. } => mime,
        }
    }

    /// For a person, without an article.
    pub fn words(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Pdf => "PDF document",
            Self::Tiff => "TIFF picture",
            Self::Jpeg => "JPEG picture",
            Self::Png => "PNG picture",
            Self::Rtf => "RTF document",
            Self::Text => "plain text",
            Self::Cda => "clinical document (CDA)",
            Self::Listed { extension, .. } => return Cow::Owned(format!("file of the type {extension}")),
        })
    }
}

/// Whether an extension is that of something that runs.
pub fn is_program(extension: &str) -> bool {
    PROGRAMS.iter().any(|(extensions, _)| extensions.contains(&extension))
}

/// What follows the last dot of a name, in lower case.
pub fn extension(name: &OsStr) -> Option<String> {
    Some(Path::new(name).extension()?.to_str()?.to_ascii_lowercase())
}
