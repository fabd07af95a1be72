//! The one reader of what is in done and failed: documents, receipts and notes.
//!
//! A ledger that has lost rows is built again from it, and `chartdrop verify` compares with it. No link is followed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    moves::is_temporary,
    reason::{self, Record},
    receipt::Receipt,
};
use crate::{
    model::path::RelPath,
    platform::{
        dir::{Dir, Kind, absent},
        effect,
    },
};

/// More than any receipt or note has; what is larger was not written by chartdrop.
const NOTE_LIMIT: u64 = 1 << 20;

/// What `fsck` keeps at the root of a filesystem: not ours, and readable for root alone.
const LOST_AND_FOUND: &str = "lost+found";

/// A done or failed folder, open.
#[derive(Clone, Debug)]
pub struct Archive(Dir);

/// A receipt or a note, not yet read.
#[derive(Clone, Debug)]
pub struct NoteFile {
    /// Its place beneath done or failed.
    pub note: RelPath,
    /// Where its document is, beneath done or failed.
    pub document: RelPath,
    /// When it was written; not asked for when all are wanted.
    pub modified: SystemTime,
}

/// What is beneath a done or failed folder.
#[derive(Debug, Default)]
pub struct Contents {
    /// Every file that is not a note, with its size: documents, sidecars, and what others put there.
    pub files: BTreeMap<RelPath, u64>,
    /// Receipts or notes, and when they were written.
    pub notes: BTreeMap<RelPath, SystemTime>,
    /// Folders and links. One that was refused has a note as well.
    pub others: BTreeSet<RelPath>,
    /// What an interrupted copy left.
    pub leftovers: Vec<RelPath>,
}

impl Archive {
    /// `None` when the folder is not there: it is made at the first start.
    pub fn open(folder: &Path) -> io::Result<Option<Self>> {
        match Dir::open(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(|dir| Some(Self(dir))),
        }
    }

    /// Every note with that ending; with `since` only those written since then.
    ///
    /// Every folder is listed, but notes are looked at only in folders to which something was added or taken away since.
    pub fn notes(&self, ending: &str, since: Option<SystemTime>) -> io::Result<Vec<NoteFile>> {
        let mut found = Vec::new();
        walk(&self.0, &mut |folder, rel, kind| {
            let Some(document) = rel.file_name().as_bytes().strip_suffix(ending.as_bytes()) else { return Ok(()) };
            if kind != Kind::File || document.is_empty() {
                return Ok(());
            }
            let document = rel.with_file_name(OsStr::from_bytes(document));
            let modified = match since {
                None => SystemTime::UNIX_EPOCH,
                Some(since) if time(folder.modified) < since => return Ok(()),
                Some(since) => match folder.dir.name(rel.file_name()).stat()?.map(|found| time(found.state.mtime)) {
                    Some(modified) if modified >= since => modified,
                    Some(_) | None => return Ok(()),
                },
            };
            found.push(NoteFile { note: rel, document, modified });
            Ok(())
        })?;
        Ok(found)
    }

    /// All that is there; names that end in `ending` are notes.
    pub fn contents(&self, ending: &str) -> io::Result<Contents> {
        let mut contents = Contents::default();
        walk(&self.0, &mut |folder, rel, kind| {
            match kind {
                Kind::Folder | Kind::Link | Kind::Other => {
                    contents.others.insert(rel);
                    return Ok(());
                }
                Kind::File => {}
            }
            let name = rel.file_name();
            let Some(found) = folder.dir.name(name).stat()? else { return Ok(()) };
            if name.as_bytes().ends_with(ending.as_bytes()) {
                contents.notes.insert(rel, time(found.state.mtime));
            } else if is_temporary(name) {
                contents.leftovers.push(rel);
            } else {
                contents.files.insert(rel, found.state.size);
            }
            Ok(())
        })?;
        Ok(contents)
    }

    /// `None` for a receipt that cannot be read or understood.
    pub fn receipt(&self, note: &RelPath) -> Option<Receipt> {
        let bytes = self.read(note)?;
        // Some editors put a mark before the text that they save.
        serde_json::from_slice(bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes)).ok()
    }

    /// `None` for a note without its last line: that one tells nothing about its delivery.
    pub fn record(&self, note: &RelPath) -> Option<Record> {
        reason::record(&self.read(note)?)
    }

    /// The full path of something in it: for lists that a person works through.
    pub fn path_of(&self, rel: &RelPath) -> PathBuf {
        self.0.path().join(rel.as_path())
    }

    fn read(&self, note: &RelPath) -> Option<Vec<u8>> {
        effect::read_up_to(self.0.file(note).ok()?, NOTE_LIMIT).ok()
    }
}

/// A folder on a walk.
pub struct Walked {
    /// Itself.
    pub dir: Dir,
    modified: i128,
}

/// Calls `visit` with all that is beneath `root`, each with the folder that it is in. A folder that goes away is skipped.
pub fn walk(root: &Dir, visit: &mut dyn FnMut(&Walked, RelPath, Kind) -> io::Result<()>) -> io::Result<()> {
    let mut folders = vec![None::<RelPath>];
    while let Some(next) = folders.pop() {
        let dir = match &next {
            None => root.clone(),
            Some(rel) => match absent(root.sub(rel.as_path()))? {
                Some(dir) => dir,
                None => continue,
            },
        };
        let folder = Walked { modified: dir.info()?.state.mtime, dir };
        for (name, kind) in folder.dir.entries()? {
            if next.is_none() && name == LOST_AND_FOUND && kind == Kind::Folder {
                continue;
            }
            let rel = match &next {
                Some(folder) => folder.join(&name),
                None => RelPath::of_name(&name),
            };
            if kind == Kind::Folder {
                folders.push(Some(rel.clone()));
            }
            visit(&folder, rel, kind)?;
        }
    }
    Ok(())
}

fn time(nanoseconds: i128) -> SystemTime {
    let after = u64::try_from(nanoseconds).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_nanos(after)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn notes_are_found_beside_any_name_and_only_the_new_ones_when_asked() {
        let root = tempfile::tempdir().unwrap();
        let names = [&b"a/scan.pdf"[..], b"a/b/\xff\xfe.pdf", b"top.pdf"].map(OsStr::from_bytes);
        for name in names {
            let mut path = root.path().join(name).into_os_string();
            path.push(".receipt.json");
            fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let archive = Archive::open(root.path()).unwrap().unwrap();
        let documents = |since| {
            let found = archive.notes(".receipt.json", since).unwrap();
            let mut documents: Vec<_> = found.into_iter().map(|note| note.document).collect();
            documents.sort();
            documents
        };
        let mut all = names.map(|name| RelPath::new(Path::new(name)).unwrap());
        all.sort();
        assert_eq!(documents(None), all);
        let now = SystemTime::now();
        assert_eq!(documents(Some(now - Duration::from_secs(3600))), all);
        let old = |name: &str| {
            fs::File::open(root.path().join(name)).unwrap().set_modified(now - Duration::from_secs(7200)).unwrap();
        };
        old("top.pdf.receipt.json");
        old("a");
        let deep = RelPath::new(Path::new(OsStr::from_bytes(b"a/b/\xff\xfe.pdf"))).unwrap();
        assert_eq!(documents(Some(now - Duration::from_secs(3600))), [deep]);
        assert!(Archive::open(&root.path().join("none")).unwrap().is_none());
    }

    #[test]
    fn a_link_in_the_archive_is_seen_and_not_followed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("elsewhere/1001")).unwrap();
        fs::write(root.path().join("elsewhere/1001/scan.pdf.receipt.json"), "x").unwrap();
        fs::create_dir_all(root.path().join("done/lost+found")).unwrap();
        fs::write(root.path().join("done/lost+found/#1.receipt.json"), "x").unwrap();
        std::os::unix::fs::symlink("../elsewhere/1001", root.path().join("done/1001")).unwrap();
        let archive = Archive::open(&root.path().join("done")).unwrap().unwrap();
        assert!(archive.notes(".receipt.json", None).unwrap().is_empty());
        let contents = archive.contents(".receipt.json").unwrap();
        assert!(contents.files.is_empty() && contents.notes.is_empty() && contents.others.len() == 1);
    }
}
