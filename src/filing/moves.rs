//! Moves a file without ever replacing another, and without ever having it in neither place.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

/// Which file a name led to, and in which state: device, inode, size, and modification time in nanoseconds.
///
/// A file that was written to since is not the document that was sent: it stays, and is looked at on its own.
pub type FileId = (u64, u64, u64, i128);

/// The file a name leads to now, not followed if it is a link.
pub fn id_of(path: &Path) -> io::Result<FileId> {
    let metadata = fs::symlink_metadata(path)?;
    let mtime = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Ok((metadata.dev(), metadata.ino(), metadata.size(), mtime))
}

/// Moves `from` to `to` and makes that durable. `AlreadyExists` when `to` is taken; `from` then stays.
///
/// `NotFound` when `from` does not lead to `expected` (any more): what lies there now is somebody's new file.
pub fn rename(from: &Path, to: &Path, expected: Option<FileId>) -> io::Result<()> {
    let is_expected =
        |path: &Path| Ok::<_, io::Error>(expected.is_none_or(|id| id_of(path).is_ok_and(|found| found == id)));
    if !is_expected(from)? {
        return Err(io::ErrorKind::NotFound.into());
    }
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {
            if !is_expected(to)? {
                // Replaced between the look and the move: put the new file back; it is looked at on its own.
                renameat_with(CWD, to, CWD, from, RenameFlags::NOREPLACE)?;
                return Err(io::ErrorKind::NotFound.into());
            }
        }
        Err(Errno::XDEV) => return copy(from, to),
        // Network filesystems without RENAME_NOREPLACE: a hard link does not replace either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match fs::hard_link(from, to) {
            Ok(()) => fs::remove_file(from)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) => return copy(from, to),
        },
        Err(error) => return Err(error.into()),
    }
    sync_folder_of(to)?;
    sync_folder_of(from)
}

/// Across filesystems: the copy is whole and durable under its final name before the original goes.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    if metadata.file_type().is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, to)?;
    } else if metadata.is_file() {
        let mut source = File::open(from)?;
        create_whole(to, |target| io::copy(&mut source, target).map(drop))?;
    } else {
        return Err(io::Error::other("only plain files can be moved to another filesystem"));
    }
    sync_folder_of(to)?;
    fs::remove_file(from)?;
    sync_folder_of(from)
}

/// Writes a new file that appears under its name only when it is whole and durable. `AlreadyExists` when that is taken.
pub fn create_whole(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = folder.join(format!(".chartdrop-{}.tmp", uuid::Uuid::new_v4().simple()));
    let result = (|| {
        let mut file = File::options().write(true).create_new(true).open(&temporary)?;
        write(&mut file)?;
        file.flush()?;
        file.sync_all()?;
        match renameat_with(CWD, &temporary, CWD, path, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                if fs::hard_link(&temporary, path).is_err() {
                    // Neither flag nor links: the last way is a look before the move.
                    if path.symlink_metadata().is_ok() {
                        return Err(io::ErrorKind::AlreadyExists.into());
                    }
                    return fs::rename(&temporary, path);
                }
                fs::remove_file(&temporary)
            }
            Err(error) => Err(error.into()),
        }
    })();
    if result.is_err() {
        // Best effort: a temporary name is litter to every reader.
        fs::remove_file(&temporary).ok();
    }
    result?;
    sync_folder_of(path)
}

/// A rename is durable once its folder is.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => match File::open(folder).and_then(|folder| folder.sync_all()) {
            // Some network filesystems cannot sync a folder; there the server decides.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            result => result,
        },
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        assert_eq!(rename(&from, &to, None).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!((fs::read(&from).unwrap(), fs::read(&to).unwrap()), (b"new".to_vec(), b"old".to_vec()));
        let made = create_whole(&to, |file| file.write_all(b"newer"));
        assert_eq!(made.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn a_file_that_took_the_place_of_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, "ours").unwrap();
        let ours = id_of(&from).unwrap();
        fs::write(dir.path().join("other"), "theirs").unwrap();
        fs::rename(dir.path().join("other"), &from).unwrap();
        assert_eq!(rename(&from, &to, Some(ours)).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(fs::read(&from).unwrap(), b"theirs");
        assert!(!to.exists());
    }

    #[test]
    fn a_file_that_was_written_to_since_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, "sent").unwrap();
        let sent = id_of(&from).unwrap();
        fs::write(&from, "sent, and then some").unwrap();
        assert_eq!(rename(&from, &to, Some(sent)).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(from.exists() && !to.exists());
    }

    #[test]
    fn a_copy_to_another_filesystem_is_whole_before_the_original_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, "ours").unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"ours");
        assert!(!from.exists());
    }
}
