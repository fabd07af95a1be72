//! Opens files beneath a folder and nowhere else: no symbolic links, no way out, nothing but regular files.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{OFlags, ResolveFlags},
    io::Errno,
};

use crate::{model::path::RelPath, platform::effect};

/// A folder held open, so that what is opened beneath it cannot be diverted by renaming its parents.
#[derive(Debug)]
pub struct InboxDir {
    folder: OwnedFd,
    path: PathBuf,
}

impl InboxDir {
    /// Opens the folder itself.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { folder: effect::open_folder(path)?, path: path.to_path_buf() })
    }

    /// The folder's own path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a regular file for reading. `ErrorKind::InvalidInput` when it is anything else, or leads out of the folder.
    pub fn file(&self, rel: &RelPath) -> io::Result<File> {
        // NONBLOCK: opening a FIFO would hang until somebody writes.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = match effect::open_beneath(self.folder.as_fd(), rel.as_path(), flags, resolve) {
            Ok(file) => file,
            Err(error) => {
                return Err(match Errno::from_io_error(&error) {
                    Some(Errno::LOOP | Errno::XDEV | Errno::NXIO) => io::ErrorKind::InvalidInput.into(),
                    _ => error,
                });
            }
        };
        if !effect::file_metadata(&file)?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(file)
    }

    /// Removes a file. Its folders are not followed through links.
    pub fn remove(&self, rel: &RelPath) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let parent = rel.parent();
        let parent = parent.as_ref().map_or(Path::new("."), |parent| parent.as_path());
        let folder = effect::open_beneath(self.folder.as_fd(), parent, flags, resolve)?;
        effect::of(|| Ok(rustix::fs::unlinkat(&folder, rel.file_name(), rustix::fs::AtFlags::empty())?))
    }

    /// Reads a small file whole. `ErrorKind::FileTooLarge` past `limit` bytes.
    pub fn read_small(&self, rel: &RelPath, limit: u64) -> io::Result<Vec<u8>> {
        let bytes = effect::read_up_to(self.file(rel)?, limit + 1)?;
        if bytes.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }
}
