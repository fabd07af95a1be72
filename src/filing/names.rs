//! Under which name a file is filed: its own, or its own with a number, never one that is taken.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

use crate::{inbox::pairing::renamed_sidecar, model::path::RelPath, platform::effect};

/// The longest name that Linux filesystems take, in bytes (NAME_MAX).
const NAME_MAX: usize = 255;
/// So many files of one name in one folder, and then filing says so instead of searching on.
const MOST_OF_ONE_NAME: u32 = 100_000;

/// The first of `scan.pdf`, `scan (2).pdf`, `scan (3).pdf`, … that is free beneath `root`, together with its sidecar's
/// name and its note's (`ending`).
pub fn free(root: &Path, wanted: &RelPath, sidecar: Option<&OsStr>, ending: &str) -> io::Result<RelPath> {
    for n in 1..=MOST_OF_ONE_NAME {
        let name = wanted.with_file_name(&numbered(wanted.file_name(), n));
        let sidecar =
            sidecar.map(|sidecar| name.with_file_name(&beside(sidecar, wanted.file_name(), name.file_name())));
        let mut taken = false;
        for rel in [Some(&name), sidecar.as_ref(), Some(&note(&name, ending))].into_iter().flatten() {
            taken |= effect::lies_at(&root.join(rel.as_path()))?;
        }
        if !taken {
            return Ok(name);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// `scan.pdf` → `scan (2).pdf`; the first keeps its name.
fn numbered(name: &OsStr, n: u32) -> OsString {
    if n == 1 {
        return name.to_owned();
    }
    let extension = Path::new(name).extension().map(|ext| [b".", ext.as_bytes()].concat()).unwrap_or_default();
    let stem = &name.as_bytes()[..name.len() - extension.len()];
    let tail = [format!(" ({n})").as_bytes(), &extension].concat();
    OsString::from_vec([cut(stem, NAME_MAX - tail.len().min(NAME_MAX)), &tail].concat())
}

/// The sidecar's name beside a document that was renamed from `old` to `new`.
pub fn beside(sidecar: &OsStr, old: &OsStr, new: &OsStr) -> OsString {
    renamed_sidecar(sidecar, old, new)
}

/// The name of a document's receipt or reason. A name too long for that is cut, and marked with a part of its hash.
pub fn note(document: &RelPath, ending: &str) -> RelPath {
    let name = document.file_name().as_bytes();
    if name.len() + ending.len() <= NAME_MAX {
        return document.with_file_name(&OsString::from_vec([name, ending.as_bytes()].concat()));
    }
    let mark = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name);
    let mark: String = mark.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let tail = format!("~{mark}{ending}");
    document.with_file_name(&OsString::from_vec([cut(name, NAME_MAX - tail.len()), tail.as_bytes()].concat()))
}

/// At most `most` bytes, not ending within a UTF-8 character.
fn cut(name: &[u8], most: usize) -> &[u8] {
    let mut end = name.len().min(most);
    while end > 0 && name.get(end).is_some_and(|byte| byte & 0xC0 == 0x80) {
        end -= 1;
    }
    &name[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(name: &str) -> RelPath {
        RelPath::new(Path::new(name)).unwrap()
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let root = tempfile::tempdir().unwrap();
        let mut names = Vec::new();
        std::fs::create_dir(root.path().join("a")).unwrap();
        for _ in 0..3 {
            let name = free(root.path(), &rel("a/scan.pdf"), None, ".receipt.json").unwrap();
            std::fs::write(root.path().join(name.as_path()), "x").unwrap();
            names.push(name.to_string());
        }
        assert_eq!(names, ["a/scan.pdf", "a/scan (2).pdf", "a/scan (3).pdf"]);
    }

    #[test]
    fn a_name_is_taken_when_its_note_or_sidecar_is() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("scan.pdf.receipt.json"), "x").unwrap();
        std::fs::write(root.path().join("scan (2).toml"), "x").unwrap();
        let name = free(root.path(), &rel("scan.pdf"), Some(OsStr::new("scan.toml")), ".receipt.json").unwrap();
        assert_eq!(name, rel("scan (3).pdf"));
    }

    #[test]
    fn a_sidecar_follows_its_document() {
        let follow = |sidecar: &str| beside(OsStr::new(sidecar), OsStr::new("s.pdf"), OsStr::new("s (2).pdf"));
        assert_eq!(follow("s.pdf.toml"), "s (2).pdf.toml");
        assert_eq!(follow("s.json"), "s (2).json");
    }

    #[test]
    fn names_of_255_bytes_still_get_a_note_and_a_number() {
        for letter in ["x", "ü", "医"] {
            let long = rel(&format!("{}.pdf", letter.repeat(251 / letter.len())));
            let note = note(&long, ".reason.txt");
            assert!(note.file_name().len() <= NAME_MAX && note.file_name().to_str().is_some(), "{note}");
            let second = numbered(long.file_name(), 2);
            assert!(second.len() <= NAME_MAX && second.to_str().unwrap().ends_with(" (2).pdf"), "{second:?}");
        }
    }
}
