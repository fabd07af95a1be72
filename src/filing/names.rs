//! Under which name a file is filed: its own, or its own with a number, never one that is taken.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use crate::{
    inbox::pairing::renamed_sidecar,
    model::path::RelPath,
    platform::dir::{Dir, Kind, absent},
};

/// The longest name that Linux filesystems take, in bytes (NAME_MAX).
pub const NAME_MAX: usize = 255;
/// So many files of one name in one folder, and then filing says so instead of searching on.
const MOST_OF_ONE_NAME: u32 = 10_000;

/// The first of `scan.pdf`, `scan (2).pdf`, `scan (3).pdf`, … that is free beneath `root`, together with its sidecar's
/// name and its note's (`ending`).
pub fn free(root: &Dir, wanted: &RelPath, sidecar: Option<&OsStr>, ending: &str) -> io::Result<RelPath> {
    let (path, folder) = free_folder(root, wanted)?;
    for n in 1..=MOST_OF_ONE_NAME {
        let name = numbered(wanted.file_name(), n);
        let place = RelPath::new(&path.join(&name)).unwrap_or_else(|| wanted.with_file_name(&name));
        let Some(folder) = &folder else { return Ok(place) };
        let sidecar = sidecar.map(|sidecar| beside(sidecar, wanted.file_name(), &name));
        let note = note(&place, ending);
        let mut taken = false;
        for name in [Some(name.as_os_str()), sidecar.as_deref(), Some(note.file_name())].into_iter().flatten() {
            taken |= folder.name(name).stat()?.is_some();
        }
        if !taken {
            return Ok(place);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The folder of `wanted`, open if it is there. Where a file has its name it is another, with a number; a link that has its
/// name is no obstacle (see `moves::make_folder`).
fn free_folder(root: &Dir, wanted: &RelPath) -> io::Result<(PathBuf, Option<Dir>)> {
    let (mut path, mut folder) = (PathBuf::new(), Some(root.clone()));
    for name in Path::new(wanted.folder()).iter() {
        let mut chosen = name.to_owned();
        let mut next = None;
        if let Some(folder) = &folder {
            for n in 1.. {
                chosen = numbered(name, n);
                match folder.name(&chosen).stat()?.map(|found| found.kind) {
                    Some(Kind::File | Kind::Other) if n < MOST_OF_ONE_NAME => {}
                    Some(Kind::Folder) => {
                        next = absent(folder.sub(Path::new(&chosen)))?;
                        break;
                    }
                    Some(Kind::File | Kind::Other | Kind::Link) | None => break,
                }
            }
        }
        path.push(chosen);
        folder = next;
    }
    Ok((path, folder))
}

/// `scan.pdf` → `scan (2).pdf`; the first keeps its name.
pub fn numbered(name: &OsStr, n: u32) -> OsString {
    if n == 1 {
        return name.to_owned();
    }
    let extension = Path::new(name).extension().map(|ext| [b".", ext.as_bytes()].concat()).unwrap_or_default();
    let stem = &name.as_bytes()[..name.len() - extension.len()];
    let tail = [format!(" ({n})").as_bytes(), &extension].concat();
    OsString::from_vec([cut(stem, NAME_MAX - tail.len().min(NAME_MAX)), &tail].concat())
}

/// The sidecar's name beside a document that was renamed from `old` to `new`. Names are compared without case, as sidecars
/// are found.
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
        let dir = Dir::open(root.path()).unwrap();
        let mut names = Vec::new();
        std::fs::create_dir(root.path().join("a")).unwrap();
        for _ in 0..3 {
            let name = free(&dir, &rel("a/scan.pdf"), None, ".receipt.json").unwrap();
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
        let name =
            free(&Dir::open(root.path()).unwrap(), &rel("scan.pdf"), Some(OsStr::new("scan.toml")), ".receipt.json")
                .unwrap();
        assert_eq!(name, rel("scan (3).pdf"));
    }

    #[test]
    fn a_sidecar_follows_its_document() {
        let follow = |sidecar: &str| beside(OsStr::new(sidecar), OsStr::new("s.pdf"), OsStr::new("s (2).pdf"));
        assert_eq!(follow("s.pdf.toml"), "s (2).pdf.toml");
        assert_eq!(follow("s.json"), "s (2).json");
        assert_eq!(follow("S.toml"), "s (2).toml");
        assert_eq!(follow("S.PDF.Toml"), "s (2).pdf.Toml");
        let umlaut = beside(OsStr::new("Ü.toml"), OsStr::new("ü.pdf"), OsStr::new("ü (2).pdf"));
        assert_eq!(umlaut, "ü (2).toml");
    }

    #[test]
    fn a_sidecar_with_other_capitals_finds_a_place_at_once() {
        let root = tempfile::tempdir().unwrap();
        for name in ["Scan.pdf", "scan.toml"] {
            std::fs::write(root.path().join(name), "x").unwrap();
        }
        let dir = Dir::open(root.path()).unwrap();
        let name = free(&dir, &rel("Scan.pdf"), Some(OsStr::new("scan.toml")), ".receipt.json").unwrap();
        assert_eq!(name, rel("Scan (2).pdf"));
    }

    #[test]
    fn a_file_that_has_the_name_of_a_folder_makes_it_another_folder_and_a_link_does_not() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("1001"), "in the way").unwrap();
        std::os::unix::fs::symlink("1002", root.path().join("1002")).unwrap();
        let dir = Dir::open(root.path()).unwrap();
        let place = |wanted: &str| free(&dir, &rel(wanted), None, ".reason.txt").unwrap();
        assert_eq!((place("1001/a.pdf"), place("1002/a.pdf")), (rel("1001 (2)/a.pdf"), rel("1002/a.pdf")));
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
