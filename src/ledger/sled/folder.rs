//! The ledger's folder: fit for durable steps, ours alone, and moved aside rather than ever thrown away.

use std::{
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use crate::ledger::LedgerError;
use crate::{platform::effect, platform::filesystem};

/// Lies in a ledger that is just being made, and so has never recorded anything.
const UNFINISHED: &str = "unfinished";

/// The open folder; while it lives, no other chartdrop gets it.
pub(super) struct Folder {
    path: PathBuf,
    handle: File,
}

impl Folder {
    /// Creates the folder if there is none, refuses an unfit or a taken one, and removes what a killed opening left.
    pub(super) fn take(path: &Path) -> Result<Self, LedgerError> {
        create(path).map_err(io_error("create", path))?;
        let handle = effect::open(path).map_err(io_error("open", path))?;
        if let Some(name) = filesystem::network_filesystem(&handle).map_err(io_error("examine", path))? {
            let text = format!("{} is on {name}; choose a folder on a disk of this machine", path.display());
            return Err(LedgerError::Unsuitable(text));
        }
        let folder = Self { path: path.to_path_buf(), handle };
        lock(&folder.handle, path)?;
        match effect::open(&folder.db()) {
            // Somebody may have the database without knowing of the folder's lock.
            Ok(db) => lock(&db, path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("open", &folder.db())(error)),
        }
        folder.remove_leftovers().map_err(io_error("clean up", path))?;
        folder.begin().map_err(io_error("begin", path))?;
        Ok(folder)
    }

    /// Sled cannot open what is left of its first moments when the power fails in them. As nothing was recorded by then,
    /// that is no loss: such a ledger is made once more.
    fn begin(&self) -> io::Result<()> {
        let mark = self.path.join(UNFINISHED);
        if effect::lies_at(&mark)? {
            for entry in effect::read_dir(&self.path)? {
                let entry = entry?;
                match entry.file_name().to_str() {
                    Some("blobs") => effect::remove_empty_dir(&entry.path())?,
                    Some(name) if name == "conf" || name == "db" || name.starts_with("snap.") => {
                        effect::remove_file(&entry.path())?;
                    }
                    Some(_) | None => {}
                }
            }
        } else if !effect::lies_at(&self.path.join("conf"))? && !effect::lies_at(&self.db())? {
            effect::open_with(File::options().write(true).create_new(true), &mark)?;
        } else {
            return Ok(());
        }
        effect::sync(&self.handle)
    }

    /// From here on the ledger may record something: all that it was made of is durable.
    pub(super) fn finish(&self) -> Result<(), LedgerError> {
        let finish = || match effect::remove_file(&self.path.join(UNFINISHED)) {
            Ok(()) => effect::sync(&self.handle),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        finish().map_err(io_error("finish", &self.path))
    }

    /// The file that has to be synced with every step.
    pub(super) fn db(&self) -> PathBuf {
        self.path.join("db")
    }

    /// A snapshot that was being written when chartdrop was killed makes sled refuse to open, for ever.
    fn remove_leftovers(&self) -> io::Result<()> {
        for entry in effect::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with("snap.") && name.ends_with(".generating")) {
                effect::remove_file(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Reads every byte once. Sled takes what the disk cannot read for something that was never written, and would make a
    /// new beginning of it; what was read here it finds in the kernel's cache.
    pub(super) fn read_through(&self) -> Result<(), LedgerError> {
        let mut buffer = vec![0; 128 * 1024];
        let mut read = || {
            for entry in effect::read_dir(&self.path)? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    let mut file = effect::open(&entry.path())?;
                    while effect::read_some(&mut file, &mut buffer)? > 0 {}
                }
            }
            Ok(())
        };
        read().map_err(io_error("read", &self.path))
    }

    /// Sled leaves the creation of its files to the kernel's mood: makes all of them durable, up to the parent's entry.
    pub(super) fn sync(&self) -> Result<(), LedgerError> {
        let sync = || {
            for entry in effect::read_dir(&self.path)? {
                effect::sync(&effect::open(&entry?.path())?)?;
            }
            effect::sync(&self.handle)?;
            sync_parent(&self.path)
        };
        sync().map_err(io_error("sync", &self.path))
    }

    /// Sled moves long values to files that it never syncs; rows are short enough to keep that from happening.
    pub(super) fn expect_no_blobs(&self) -> Result<(), LedgerError> {
        let blobs = self.path.join("blobs");
        match effect::read_dir(&blobs).map_err(io_error("list", &blobs))?.next() {
            None => Ok(()),
            Some(_) => Err(LedgerError::Unsuitable(format!(
                "{} holds files, which nothing ever made durable; was this ledger written by another program?",
                blobs.display()
            ))),
        }
    }
}

/// Moves a ledger that is lost to `<ledger>.lost-<time>`, and its stamp to the same name with `.stamp`; never deletes
/// and never replaces. Gives back where the ledger lies now.
///
/// # Errors
/// [`LedgerError::Io`] when the move is refused.
pub fn move_aside(path: &Path, now: Timestamp) -> Result<PathBuf, LedgerError> {
    let path = std::path::absolute(path).map_err(io_error("find", path))?;
    let aside = with_suffix(&path, &now.strftime(".lost-%Y%m%dT%H%M%S.%3fZ").to_string());
    // The stamp goes last: while it stands, whatever opens empty beside it is known to be lost.
    for (from, to) in [(&path, &aside), (&stamp_path(&path), &stamp_path(&aside))] {
        match effect::rename(from, to) {
            Ok(()) => sync_parent(to).map_err(io_error("sync the folder of", to))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("move aside", from)(error)),
        }
    }
    Ok(aside)
}

/// The stamp's file: beside the ledger, so that it outlives whatever happens in there.
pub(super) fn stamp_path(ledger: &Path) -> PathBuf {
    with_suffix(ledger, ".stamp")
}

/// Makes a new name in the folder of `path` durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    effect::sync(&effect::open(path.parent().unwrap_or(path))?)
}

/// Words for an I/O error.
pub(super) fn io_error(doing: &str, path: &Path) -> impl Fn(io::Error) -> LedgerError {
    move |error| LedgerError::Io(format!("cannot {doing} {}: {error}", path.display()))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Each new folder is durable in its parent before anything is put into it.
fn create(path: &Path) -> io::Result<()> {
    match effect::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    path.parent().map_or(Ok(()), create)?;
    effect::create_private_dir(path)?;
    sync_parent(path)
}

fn lock(file: &File, path: &Path) -> Result<(), LedgerError> {
    match effect::try_lock(file) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(LedgerError::InUse),
        locked => locked.map_err(io_error("lock", path)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_folder_is_for_its_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("var/ledger");
        Folder::take(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn only_unfinished_snapshots_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let names = ["conf", "snap.00000000000000AB", "snap.0000.generating", "other.generating", "snapshot"];
        for name in names {
            std::fs::write(root.path().join(name), "x").unwrap();
        }
        Folder::take(root.path()).unwrap();
        let left: Vec<_> = names.into_iter().filter(|name| root.path().join(name).exists()).collect();
        assert_eq!(left, ["conf", "snap.00000000000000AB", "other.generating", "snapshot"]);
    }

    #[test]
    fn a_lost_ledger_is_kept_with_its_stamp() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("ledger");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("db"), "rows").unwrap();
        std::fs::write(stamp_path(&path), "stamp").unwrap();
        let now = "2026-11-24T10:15:00.25Z".parse().unwrap();
        let aside = move_aside(&path, now).unwrap();
        assert_eq!(aside, root.path().join("ledger.lost-20261124T101500.250Z"));
        assert_eq!(std::fs::read(aside.join("db")).unwrap(), b"rows");
        assert_eq!(std::fs::read(stamp_path(&aside)).unwrap(), b"stamp");
        assert!(!path.exists() && !stamp_path(&path).exists());

        std::fs::create_dir(&path).unwrap();
        assert!(matches!(move_aside(&path, now), Err(LedgerError::Io(_))), "an earlier one is never replaced");
        assert!(path.exists());
    }
}
