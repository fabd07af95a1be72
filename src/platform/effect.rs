//! Everything that a delivery does to the world, one function an effect: so that a test can count the effects, make each
//! of them fail, and end the program before and after each (feature `faults`; without it these are the plain calls).
//!
//! The rooms that a delivery goes through may not call the originals: see `disallowed-methods` in `clippy.toml`.

#![expect(clippy::disallowed_methods, reason = "the one place where they are called")]

#[cfg(feature = "faults")]
mod faults;

use std::{
    fs::{self, DirEntry, File, Metadata, OpenOptions, ReadDir},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{DirBuilderExt, FileExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, ResolveFlags};

/// One effect. Its name is the line that asks for it.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn of<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    call()
}

/// One effect. Its name is the line that asks for it.
#[cfg(feature = "faults")]
#[track_caller]
pub fn of<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    faults::around(std::panic::Location::caller(), call)
}

/// Sends a request and waits for the head of its answer.
#[cfg(not(feature = "faults"))]
pub fn send(request: reqwest::RequestBuilder) -> impl Future<Output = reqwest::Result<reqwest::Response>> {
    request.send()
}

/// Sends a request and waits for the head of its answer.
#[cfg(feature = "faults")]
#[track_caller]
pub fn send(request: reqwest::RequestBuilder) -> impl Future<Output = reqwest::Result<reqwest::Response>> {
    faults::around_request(std::panic::Location::caller(), request.send())
}

/// [`fs::metadata`].
#[track_caller]
pub fn metadata(path: &Path) -> io::Result<Metadata> {
    of(|| fs::metadata(path))
}

/// [`fs::symlink_metadata`].
#[track_caller]
pub fn symlink_metadata(path: &Path) -> io::Result<Metadata> {
    of(|| fs::symlink_metadata(path))
}

/// Whether something lies there, a link that leads nowhere included. An error means that this cannot be told.
#[track_caller]
pub fn lies_at(path: &Path) -> io::Result<bool> {
    of(|| match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    })
}

/// [`DirEntry::metadata`].
#[track_caller]
pub fn entry_metadata(entry: &DirEntry) -> io::Result<Metadata> {
    of(|| entry.metadata())
}

/// [`File::metadata`].
#[track_caller]
pub fn file_metadata(file: &File) -> io::Result<Metadata> {
    of(|| file.metadata())
}

/// [`fs::read_dir`].
#[track_caller]
pub fn read_dir(path: &Path) -> io::Result<ReadDir> {
    of(|| fs::read_dir(path))
}

/// [`fs::read`].
#[track_caller]
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    of(|| fs::read(path))
}

/// [`File::open`].
#[track_caller]
pub fn open(path: &Path) -> io::Result<File> {
    of(|| File::open(path))
}

/// [`OpenOptions::open`].
#[track_caller]
pub fn open_with(options: &OpenOptions, path: &Path) -> io::Result<File> {
    of(|| options.open(path))
}

/// Opens a folder to hold on to.
#[track_caller]
pub fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    of(|| Ok(rustix::fs::open(path, flags, Mode::empty())?))
}

/// `openat2(2)`.
#[track_caller]
pub fn open_beneath(folder: impl AsFd, path: &Path, flags: OFlags, resolve: ResolveFlags) -> io::Result<File> {
    of(|| Ok(rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve)?.into()))
}

/// [`Read::read`].
#[track_caller]
pub fn read_some(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    of(|| file.read(buffer))
}

/// [`Read::read_to_end`], of `limit` bytes at most.
#[track_caller]
pub fn read_up_to(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    of(|| file.take(limit).read_to_end(&mut bytes))?;
    Ok(bytes)
}

/// [`FileExt::read_at`].
#[track_caller]
pub fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    of(|| file.read_at(buffer, at))
}

/// [`FileExt::read_exact_at`].
#[track_caller]
pub fn read_exact_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    of(|| file.read_exact_at(buffer, at))
}

/// [`Write::write_all`].
#[track_caller]
pub fn write_all(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    of(|| file.write_all(bytes))
}

/// [`FileExt::write_all_at`].
#[track_caller]
pub fn write_all_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    of(|| file.write_all_at(bytes, at))
}

/// [`io::copy`].
#[track_caller]
pub fn copy(from: &mut File, to: &mut File) -> io::Result<u64> {
    of(|| io::copy(from, to))
}

/// [`File::try_lock`].
#[track_caller]
pub fn try_lock(file: &File) -> io::Result<()> {
    of(|| Ok(file.try_lock()?))
}

/// [`File::sync_all`].
#[track_caller]
pub fn sync(file: &File) -> io::Result<()> {
    of(|| file.sync_all())
}

/// [`File::sync_all`] of the ledger's own file, after each of its steps.
#[track_caller]
pub fn sync_step(file: &File) -> io::Result<()> {
    #[cfg(feature = "faults")]
    if faults::steps_are_only_flushed() {
        return Ok(());
    }
    sync(file)
}

/// [`fs::create_dir_all`].
#[track_caller]
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    of(|| fs::create_dir_all(path))
}

/// Makes a folder that is for its owner alone.
#[track_caller]
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    of(|| fs::DirBuilder::new().mode(0o700).create(path))
}

/// [`fs::remove_dir`].
#[track_caller]
pub fn remove_empty_dir(path: &Path) -> io::Result<()> {
    of(|| fs::remove_dir(path))
}

/// [`fs::remove_file`].
#[track_caller]
pub fn remove_file(path: &Path) -> io::Result<()> {
    of(|| fs::remove_file(path))
}

/// [`fs::hard_link`].
#[track_caller]
pub fn hard_link(from: &Path, to: &Path) -> io::Result<()> {
    of(|| fs::hard_link(from, to))
}

/// [`fs::read_link`].
#[track_caller]
pub fn read_link(path: &Path) -> io::Result<PathBuf> {
    of(|| fs::read_link(path))
}

/// [`std::os::unix::fs::symlink`].
#[track_caller]
pub fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    of(|| std::os::unix::fs::symlink(target, path))
}

/// [`fs::rename`]: replaces what lies at `to`.
#[track_caller]
pub fn rename_over(from: &Path, to: &Path) -> io::Result<()> {
    of(|| fs::rename(from, to))
}

/// `renameat2(2)` with `RENAME_NOREPLACE`.
#[track_caller]
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    of(|| Ok(rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?))
}
