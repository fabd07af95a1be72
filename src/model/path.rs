//! A file's place beneath an inbox, done or failed: a relative path that keeps every byte of its names.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Component, Path},
};

use icu_normalizer::DecomposingNormalizerBorrowed;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::words::is_unsafe;

/// Which inbox, and the relative path beneath its root (never empty, never `..`).
///
/// Stored and shown with `%`, whatever is not UTF-8, and what must not reach a terminal as `%XX`, so that any name survives
/// JSON, and none breaks or turns around the line that it is in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboxPath {
    /// The inbox's name.
    pub inbox: String,
    /// Beneath its root.
    pub path: RelPath,
}

/// A relative path of plain names, with one slash between two of them.
///
/// Compared and hashed as its bytes: [`Path`] would take itself apart each time, which is most of the work of looking at an
/// inbox with a hundred thousand files.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(OsString);

/// A name as Windows and Macs compare names: without case, however its `ü` is written.
pub fn folded(name: &OsStr) -> Vec<u8> {
    match name.to_str() {
        Some(text) if !text.is_ascii() => composed(text.to_lowercase().as_ref()),
        _ => name.as_bytes().to_ascii_lowercase(),
    }
}

/// A name in its one Unicode form: a Mac writes `ü` as two characters, and Windows as one.
pub fn composed(name: &OsStr) -> Vec<u8> {
    const PLAIN: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizerBorrowed::new_nfd();
    match name.to_str() {
        Some(text) if !text.is_ascii() => PLAIN.normalize(text).into_owned().into_bytes(),
        _ => name.as_bytes().to_vec(),
    }
}

impl RelPath {
    /// `None` for an empty path and for one with a root, `.` or `..` at its beginning, or `..` in it.
    pub fn new(path: &Path) -> Option<Self> {
        let mut plain = OsString::with_capacity(path.as_os_str().len());
        for part in path.components() {
            let Component::Normal(name) = part else { return None };
            if !plain.is_empty() {
                plain.push("/");
            }
            plain.push(name);
        }
        (!plain.is_empty()).then_some(Self(plain))
    }

    /// The path itself.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// The last name.
    pub fn file_name(&self) -> &OsStr {
        let bytes = self.0.as_bytes();
        OsStr::from_bytes(&bytes[self.folder_end().map_or(0, |end| end + 1)..])
    }

    /// A name directly beneath the root. `name` is one that a folder's list gave: never empty, `.`, `..`, or with a slash.
    pub fn of_name(name: &OsStr) -> RelPath {
        Self(name.to_owned())
    }

    /// A name in this folder, which a folder's list gave.
    pub fn join(&self, name: &OsStr) -> RelPath {
        Self(OsString::from_vec([self.0.as_bytes(), b"/", name.as_bytes()].concat()))
    }

    /// The last name alone.
    pub fn last(&self) -> RelPath {
        Self(self.file_name().to_owned())
    }

    /// The folder it lies in; empty directly beneath the root.
    pub fn folder(&self) -> &OsStr {
        OsStr::from_bytes(&self.0.as_bytes()[..self.folder_end().unwrap_or(0)])
    }

    /// The folder it lies in; `None` directly beneath the root.
    pub fn parent(&self) -> Option<RelPath> {
        self.folder_end().map(|end| Self(OsStr::from_bytes(&self.0.as_bytes()[..end]).to_owned()))
    }

    /// The direct child of the root it lies in: the patient folder. `None` for a file directly beneath the root.
    pub fn first_folder(&self) -> Option<&OsStr> {
        let bytes = self.0.as_bytes();
        bytes.iter().position(|byte| *byte == b'/').map(|end| OsStr::from_bytes(&bytes[..end]))
    }

    fn folder_end(&self) -> Option<usize> {
        self.0.as_bytes().iter().rposition(|byte| *byte == b'/')
    }

    /// The same folder, another name.
    pub fn with_file_name(&self, name: &OsStr) -> RelPath {
        let mut path = self.0.as_bytes()[..self.folder_end().map_or(0, |end| end + 1)].to_vec();
        path.extend_from_slice(name.as_bytes());
        Self(OsString::from_vec(path))
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coded =
            |f: &mut fmt::Formatter<'_>, bytes: &[u8]| bytes.iter().try_for_each(|byte| write!(f, "%{byte:02X}"));
        for chunk in self.0.as_bytes().utf8_chunks() {
            let mut rest = chunk.valid();
            while let Some((at, c)) = rest.char_indices().find(|(_, c)| *c == '%' || is_unsafe(*c)) {
                let (plain, tail) = rest.split_at(at);
                f.write_str(plain)?;
                let (code, tail) = tail.split_at(c.len_utf8());
                coded(f, code.as_bytes())?;
                rest = tail;
            }
            f.write_str(rest)?;
            coded(f, chunk.invalid())?;
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
        Self::new(Path::new(&OsString::from_vec(bytes)))
            .ok_or_else(|| de::Error::custom("a place that is not a plain relative path"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_survives_json() {
        for raw in [&b"a/b.pdf"[..], b"100%/50%25.pdf", b"b\xff\xfe/c\n.pdf", "Müller/ü\u{202e}.pdf".as_bytes()] {
            let place = RelPath::new(Path::new(OsStr::from_bytes(raw))).unwrap();
            let json = serde_json::to_string(&place).unwrap();
            assert_eq!(serde_json::from_str::<RelPath>(&json).unwrap(), place);
        }
        let place = RelPath::new(Path::new("line\nend/\u{202e}50%.pdf")).unwrap();
        assert_eq!(place.to_string(), "line%0Aend/%E2%80%AE50%25.pdf");
        let stored_before = serde_json::from_str::<RelPath>("\"line\\nend/\u{202e}50%25.pdf\"").unwrap();
        assert_eq!(stored_before, place, "how it was stored once is still read");
    }

    #[test]
    fn a_place_comes_apart_as_a_path_does() {
        for raw in ["a", "a/b", "a/b/c.pdf", "a//b", "a/./b", "a/b/"] {
            let (place, path) = (RelPath::new(Path::new(raw)).unwrap(), Path::new(raw));
            assert_eq!(place.as_path(), path);
            assert_eq!(place.file_name(), path.file_name().unwrap());
            assert_eq!(place.parent(), path.parent().and_then(RelPath::new));
            assert_eq!(place.first_folder(), path.parent().and_then(|folder| folder.iter().next()));
            assert_eq!(place.with_file_name(OsStr::new("x")).as_path(), path.with_file_name("x"));
            assert_eq!(RelPath::new(place.as_path()), Some(place));
        }
        assert_eq!(RelPath::new(Path::new("a//b")), RelPath::new(Path::new("a/b")));
    }

    #[test]
    fn nothing_leads_out_of_the_root() {
        for raw in ["", "/a", "../a", "a/../b"] {
            assert!(RelPath::new(Path::new(raw)).is_none(), "{raw}");
        }
        assert!(serde_json::from_str::<RelPath>("\"%2E%2E/a\"").is_err());
    }
}
