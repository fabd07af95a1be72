//! The receipts and reasons that lie in done and failed: what a ledger that has lost rows is built again from.

use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    absent,
    reason::{self, Record},
    receipt::Receipt,
};
use crate::{model::path::RelPath, platform::effect};

/// A receipt or a reason, not yet read.
#[derive(Clone, Debug)]
pub struct NoteFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Where its document lies, beneath done or failed.
    pub document: RelPath,
    /// When it was written; not asked for when all are wanted.
    pub modified: SystemTime,
}

/// Every note with that ending beneath `folder`; with `since` only those written since then. No folder, no notes.
///
/// Every folder is listed, but notes are looked at only in folders to which something was added or taken away since.
pub fn list(folder: &Path, ending: &str, since: Option<SystemTime>) -> io::Result<Vec<NoteFile>> {
    let is_new = |path: &Path| match since {
        None => Ok(Some(SystemTime::UNIX_EPOCH)),
        Some(since) => {
            let modified = absent(effect::symlink_metadata(path).and_then(|found| found.modified()))?;
            Ok::<_, io::Error>(modified.filter(|modified| *modified >= since))
        }
    };
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        let Some(entries) = absent(effect::read_dir(&next))? else { continue };
        let has_new = is_new(&next)?.is_some();
        for entry in entries {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            if absent(entry.file_type())?.is_some_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if has_new
                && let Some(document) = name.as_bytes().strip_suffix(ending.as_bytes())
                && let Some(modified) = is_new(&path)?
                && let Some(document) = beneath(folder, &path.with_file_name(OsStr::from_bytes(document)))
            {
                found.push(NoteFile { path, document, modified });
            }
        }
    }
    Ok(found)
}

fn beneath(folder: &Path, path: &Path) -> Option<RelPath> {
    RelPath::new(path.strip_prefix(folder).ok()?)
}

impl NoteFile {
    /// `None` for a receipt that cannot be read or understood.
    pub fn receipt(&self) -> Option<Receipt> {
        let bytes = effect::read(&self.path).ok()?;
        // Some editors put a mark before the text that they save.
        serde_json::from_slice(bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes)).ok()
    }

    /// `None` for a reason without its last line: that one tells nothing about its delivery.
    pub fn reason(&self) -> Option<Record> {
        reason::record(&effect::read(&self.path).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

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
        let documents = |since| {
            let found = list(root.path(), ".receipt.json", since).unwrap();
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
        assert_eq!(
            documents(Some(now - Duration::from_secs(3600))),
            [all[0].clone()].map(|_| { RelPath::new(Path::new(OsStr::from_bytes(b"a/b/\xff\xfe.pdf"))).unwrap() })
        );
        assert_eq!(list(&root.path().join("none"), ".receipt.json", None).unwrap().len(), 0);
    }
}
