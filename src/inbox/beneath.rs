//! Opens files beneath a folder and nowhere else: no symbolic links, no way out, nothing but regular files.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{OFlags, ResolveFlags},
    io::Errno,
};

use crate::{effect, place::RelPath};

/// A folder held open, so that what is opened beneath it cannot be diverted by renaming its parents.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
    path: PathBuf,
}

/// Which file, and which state of it: if all of it is the same, nobody wrote to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime: i128,
    /// Change time, nanoseconds since 1970: it also moves when somebody sets an old modification time.
    pub ctime: i128,
}

impl Stamp {
    /// From an open file or a directory entry.
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            size: metadata.size(),
            mtime: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Root {
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

    /// Reads a small file whole. `ErrorKind::FileTooLarge` past `limit` bytes.
    pub fn read_small(&self, rel: &RelPath, limit: u64) -> io::Result<Vec<u8>> {
        let bytes = effect::read_up_to(self.file(rel)?, limit + 1)?;
        if bytes.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }
}
