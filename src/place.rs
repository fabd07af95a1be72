//! A file's place beneath an inbox, done or failed: a relative path that keeps every byte of its names.

use std::{
    ffi::OsStr,
    fmt,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Component, Path, PathBuf},
};

use icu_normalizer::DecomposingNormalizerBorrowed;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Which inbox, and the relative path beneath its root (never empty, never `..`).
///
/// Stored and shown with `%` and whatever is not UTF-8 as `%XX`, so that any name survives JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The inbox's name.
    pub inbox: String,
    /// Beneath its root.
    pub path: RelPath,
}

/// A relative path of plain names.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(PathBuf);

/// A place as Windows and Macs compare names: the folder, and the name without case, however its `ü` is written.
pub type Folded = (Option<RelPath>, Vec<u8>);

impl RelPath {
    /// `None` for an empty path and for one with a root, `.` or `..` in it.
    pub fn new(path: &Path) -> Option<Self> {
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        (plain && !path.as_os_str().is_empty()).then(|| Self(path.to_path_buf()))
    }

    /// The path itself.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The last name.
    pub fn file_name(&self) -> &OsStr {
        self.0.file_name().unwrap_or_default()
    }

    /// The last name alone.
    pub fn last(&self) -> RelPath {
        Self(PathBuf::from(self.file_name()))
    }

    /// The folder it lies in; `None` directly beneath the root.
    pub fn parent(&self) -> Option<RelPath> {
        self.0.parent().and_then(Self::new)
    }

    /// The direct child of the root it lies in: the patient folder. `None` for a file directly beneath the root.
    pub fn first_folder(&self) -> Option<&OsStr> {
        self.parent()?;
        self.0.iter().next()
    }

    /// Equal for two names that Windows or a Mac would take for the same.
    pub fn folded(&self) -> Folded {
        const PLAIN: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizerBorrowed::new_nfd();
        let name = match self.file_name().to_str() {
            Some(text) if !text.is_ascii() => PLAIN.normalize(&text.to_lowercase()).into_owned().into_bytes(),
            _ => self.file_name().as_bytes().to_ascii_lowercase(),
        };
        (self.parent(), name)
    }

    /// The same folder, another name.
    pub fn with_file_name(&self, name: &OsStr) -> RelPath {
        Self(self.0.with_file_name(name))
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_os_str().as_bytes().utf8_chunks() {
            f.write_str(&chunk.valid().replace('%', "%25"))?;
            chunk.invalid().iter().try_for_each(|byte| write!(f, "%{byte:02X}"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            if byte != b'%' {
                bytes.push(byte);
                continue;
            }
            let code = rest.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
            let code = code.and_then(|hex| u8::from_str_radix(hex, 16).ok());
            bytes.push(code.ok_or_else(|| de::Error::custom("a place with a broken % code"))?);
            rest = &rest[2..];
        }
        let path = PathBuf::from(std::ffi::OsString::from_vec(bytes));
        Self::new(&path).ok_or_else(|| de::Error::custom("a place that is not a plain relative path"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_survives_json() {
        for raw in [&b"a/b.pdf"[..], b"100%/50%25.pdf", b"b\xff\xfe/c\n.pdf", "Müller/ü.pdf".as_bytes()] {
            let place = RelPath::new(Path::new(OsStr::from_bytes(raw))).unwrap();
            let json = serde_json::to_string(&place).unwrap();
            assert_eq!(serde_json::from_str::<RelPath>(&json).unwrap(), place);
        }
    }

    #[test]
    fn nothing_leads_out_of_the_root() {
        for raw in ["", "/a", "../a", "a/../b"] {
            assert!(RelPath::new(Path::new(raw)).is_none(), "{raw}");
        }
        assert!(serde_json::from_str::<RelPath>("\"%2E%2E/a\"").is_err());
    }
}
