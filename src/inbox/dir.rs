//! Opens files beneath an inbox and nowhere else: no symbolic links, no way out, nothing but regular files.

use std::{fs::File, io, path::Path};

use crate::{
    model::path::RelPath,
    platform::{dir::Dir, effect},
};

/// An inbox held open, so that what is opened beneath it cannot be diverted by renaming its parents.
#[derive(Debug)]
pub struct InboxDir(Dir);

impl InboxDir {
    /// Opens the folder itself.
    pub fn open(path: &Path) -> io::Result<Self> {
        Dir::open(path).map(Self)
    }

    /// The folder's own path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Opens a regular file for reading. `ErrorKind::InvalidInput` when it is anything else, or leads out of the folder.
    pub fn file(&self, rel: &RelPath) -> io::Result<File> {
        self.0.file(rel)
    }

    /// Removes a file. Its folders are not followed through links.
    pub fn remove(&self, rel: &RelPath) -> io::Result<()> {
        self.0.spot(rel)?.unlink()
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
