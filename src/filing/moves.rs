//! Moves a file without ever replacing another, and without ever having it in neither place.

use std::{
    ffi::OsStr,
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::io::Errno;

use crate::platform::effect;

/// Which file a name led to, and in which state: device, inode, size, and modification time in nanoseconds.
///
/// A file that was written to since is not the document that was sent: it stays, and is looked at on its own.
pub type FileId = (u64, u64, u64, i128);

/// The file a name leads to now, not followed if it is a link.
pub fn id_of(path: &Path) -> io::Result<FileId> {
    Ok(id(&effect::symlink_metadata(path)?))
}

fn id(metadata: &Metadata) -> FileId {
    let mtime = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    (metadata.dev(), metadata.ino(), metadata.size(), mtime)
}

/// Moves `from` to `to` and makes that durable. `AlreadyExists` when `to` is taken; `from` then stays.
///
/// `NotFound` when `from` does not lead to `expected` (any more): what lies there now is somebody's new file.
pub fn rename(from: &Path, to: &Path, expected: Option<FileId>) -> io::Result<()> {
    let is_expected = |path: &Path| expected.map_or(Ok(true), |id| id_of(path).map(|found| found == id));
    if !is_expected(from)? {
        return Err(io::ErrorKind::NotFound.into());
    }
    match effect::rename(from, to) {
        Ok(()) => {
            if !is_expected(to)? {
                // Replaced between the look and the move: put the new file back; it is looked at on its own.
                effect::rename(to, from)?;
                return Err(io::ErrorKind::NotFound.into());
            }
        }
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::XDEV) => return copy(from, to, expected),
            // Network filesystems without RENAME_NOREPLACE: a hard link does not replace either.
            Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match effect::hard_link(from, to) {
                Ok(()) => {
                    if !is_expected(to)? {
                        effect::remove_file(to)?;
                        return Err(io::ErrorKind::NotFound.into());
                    }
                    remove(from, id_of(to)?)?;
                }
                // Of a try that was ended before the first name went.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && id_of(from)? == id_of(to)? => {
                    effect::remove_file(from)?;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
                Err(_) => return copy(from, to, expected),
            },
            _ => return Err(error),
        },
    }
    sync_folder_of(to)?;
    sync_folder_of(from)
}

/// Across filesystems: the copy is whole and durable under its final name before the original goes. That takes a while,
/// in which somebody may put another file there: that one stays.
fn copy(from: &Path, to: &Path, expected: Option<FileId>) -> io::Result<()> {
    let metadata = effect::symlink_metadata(from)?;
    let original = id(&metadata);
    if expected.is_some_and(|expected| expected != original) {
        return Err(io::ErrorKind::NotFound.into());
    }
    if metadata.file_type().is_symlink() {
        effect::symlink(&effect::read_link(from)?, to)?;
    } else if metadata.is_file() {
        let mut source = effect::open(from)?;
        create_whole(to, |target| {
            effect::copy(&mut source, target)?;
            match id(&effect::file_metadata(&source)?) == original {
                true => Ok(()),
                // Replaced before it was opened, or written to since.
                false => Err(io::ErrorKind::NotFound.into()),
            }
        })?;
    } else {
        return Err(io::Error::other("only plain files can be moved to another filesystem"));
    }
    sync_folder_of(to)?;
    remove(from, original)?;
    sync_folder_of(from)
}

/// Removes the file that was moved, unless its name leads to another by now.
fn remove(path: &Path, moved: FileId) -> io::Result<()> {
    match id_of(path) {
        Ok(found) if found == moved => effect::remove_file(path),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// How the name of a file that is not whole yet begins.
const TEMPORARY: &str = ".chartdrop-";

/// Whether a file of this name is one that was never finished.
pub fn is_temporary(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes())
}

/// Writes a new file that appears under its name only when it is whole and durable. `AlreadyExists` when that is taken.
pub fn create_whole(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = folder.join(format!("{TEMPORARY}{}.tmp", uuid::Uuid::new_v4().simple()));
    let result = (|| {
        let mut file = effect::open_with(File::options().write(true).create_new(true), &temporary)?;
        write(&mut file)?;
        effect::sync(&file)?;
        let Err(error) = effect::rename(&temporary, path) else { return Ok(()) };
        match Errno::from_io_error(&error) {
            Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                if effect::hard_link(&temporary, path).is_err() {
                    // Neither flag nor links: the last way is a look before the move.
                    if effect::lies_at(path)? {
                        return Err(io::ErrorKind::AlreadyExists.into());
                    }
                    return effect::rename_over(&temporary, path);
                }
                effect::remove_file(&temporary)
            }
            _ => Err(error),
        }
    })();
    if result.is_err() {
        // Best effort: a temporary name is litter to every reader.
        effect::remove_file(&temporary).ok();
    }
    result?;
    sync_folder_of(path)
}

/// Makes the folder of `path`, beneath `root`. What is put into a folder is lost with the folder's name, so each one up to
/// `root` is durable in the one above: also one that stands, for it may have been made just before the power fails.
/// The root itself is never made: one that is not there is a share that is not mounted.
pub fn create_folder_of(root: &Path, path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    effect::metadata(root)?;
    effect::create_dir_all(folder).map_err(|error| match error.kind() {
        // A file is in the way. For a document it would mean that another took its place, to be answered with a new name.
        io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
        _ => error,
    })?;
    folder.ancestors().take_while(|folder| *folder != root).try_for_each(sync_folder_of)
}

/// Makes a done or failed folder that is not there.
pub fn create_root(root: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    for folder in root.ancestors() {
        if effect::lies_at(folder)? {
            break;
        }
        missing.push(folder);
    }
    effect::create_dir_all(root)?;
    missing.into_iter().try_for_each(sync_folder_of)
}

/// A rename is durable once its folder is.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => match effect::open(folder).and_then(|folder| effect::sync(&folder)) {
            // Some network filesystems cannot sync a folder; there the server decides.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            result => result,
        },
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

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
    fn a_file_where_a_folder_should_be_is_not_taken_for_a_document_of_that_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("1001"), "in the way").unwrap();
        let made = create_folder_of(dir.path(), &dir.path().join("1001/scan.pdf"));
        assert_eq!(made.unwrap_err().kind(), io::ErrorKind::NotADirectory);
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
        let ours = id_of(&from).unwrap();
        copy(&from, &to, Some(ours)).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"ours");
        assert!(!from.exists());
    }

    #[test]
    fn a_file_that_came_while_ours_was_copied_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, "ours").unwrap();
        let ours = id_of(&from).unwrap();
        fs::write(&from, "theirs!").unwrap();
        assert_eq!(copy(&from, &to, Some(ours)).unwrap_err().kind(), io::ErrorKind::NotFound);
        remove(&from, ours).unwrap();
        assert_eq!(fs::read(&from).unwrap(), b"theirs!");
        assert!(!to.exists());
    }
}
