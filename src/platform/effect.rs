//! Everything that a delivery does to the world, one function an effect: so that a test can count the effects, make each
//! of them fail, and end the program before and after each (feature `faults`; without it these are the plain calls).
//!
//! The rooms that a delivery goes through may not call the originals: see `disallowed-methods` in `clippy.toml`.

#![expect(clippy::disallowed_methods, reason = "the one place where they are called")]

#[cfg(feature = "faults")]
mod faults;

use std::{
    ffi::OsStr,
    fs::{self, DirEntry, File, Metadata, OpenOptions, ReadDir},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt},
    path::Path,
};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Timestamps};

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

/// An extended attribute of a file or folder; `None` when it has none of that name.
#[track_caller]
pub fn attribute(path: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    /// Far more than we write.
    const LIMIT: usize = 1024;
    of(|| {
        let mut buffer = vec![0; LIMIT];
        match rustix::fs::getxattr(path, name, &mut buffer[..]) {
            Ok(length) => {
                buffer.truncate(length);
                Ok(Some(buffer))
            }
            Err(rustix::io::Errno::NODATA) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
}

/// Sets an extended attribute of a file or folder.
#[track_caller]
pub fn set_attribute(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    of(|| Ok(rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty())?))
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

/// [`fs::canonicalize`].
#[track_caller]
pub fn canonicalize(path: &Path) -> io::Result<std::path::PathBuf> {
    of(|| fs::canonicalize(path))
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
pub fn open_folder(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    of(|| Ok(rustix::fs::open(path, flags, Mode::empty())?.into()))
}

/// `openat2(2)`.
#[track_caller]
pub fn open_beneath(folder: &File, path: &Path, flags: OFlags, resolve: ResolveFlags) -> io::Result<File> {
    of(|| {
        #[cfg(feature = "faults")]
        faults::unless_taken_away("openat2", libc::ENOSYS)?;
        Ok(rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve)?.into())
    })
}

/// `openat(2)` of one name.
#[track_caller]
pub fn open_at(folder: &File, name: &OsStr, flags: OFlags, mode: Mode) -> io::Result<File> {
    of(|| Ok(rustix::fs::openat(folder, name, flags, mode)?.into()))
}

/// `fstatat(2)`, of a link itself.
#[track_caller]
pub fn stat_at(folder: &File, name: &OsStr) -> io::Result<Stat> {
    of(|| Ok(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?))
}

/// `fstat(2)`.
#[track_caller]
pub fn stat(file: &File) -> io::Result<Stat> {
    of(|| Ok(rustix::fs::fstat(file)?))
}

/// Starts to list an open folder.
#[track_caller]
pub fn list(folder: &File) -> io::Result<rustix::fs::Dir> {
    of(|| Ok(rustix::fs::Dir::read_from(folder)?))
}

/// `renameat2(2)` with `RENAME_NOREPLACE`.
#[track_caller]
pub fn rename_at(from: &File, name: &OsStr, to: &File, new: &OsStr) -> io::Result<()> {
    of(|| {
        #[cfg(feature = "faults")]
        faults::unless_taken_away("noreplace", libc::EINVAL)?;
        Ok(rustix::fs::renameat_with(from, name, to, new, RenameFlags::NOREPLACE)?)
    })
}

/// `renameat(2)`: replaces what is at the new name.
#[track_caller]
pub fn rename_over_at(from: &File, name: &OsStr, to: &File, new: &OsStr) -> io::Result<()> {
    of(|| Ok(rustix::fs::renameat(from, name, to, new)?))
}

/// `linkat(2)`, of a link itself.
#[track_caller]
pub fn link_at(from: &File, name: &OsStr, to: &File, new: &OsStr) -> io::Result<()> {
    of(|| {
        #[cfg(feature = "faults")]
        faults::unless_taken_away("links", libc::EPERM)?;
        Ok(rustix::fs::linkat(from, name, to, new, AtFlags::empty())?)
    })
}

/// `unlinkat(2)` of a file.
#[track_caller]
pub fn unlink_at(folder: &File, name: &OsStr) -> io::Result<()> {
    of(|| Ok(rustix::fs::unlinkat(folder, name, AtFlags::empty())?))
}

/// `mkdirat(2)`, for the owner alone.
#[track_caller]
pub fn make_folder_at(folder: &File, name: &OsStr) -> io::Result<()> {
    of(|| Ok(rustix::fs::mkdirat(folder, name, Mode::RWXU)?))
}

/// `readlinkat(2)`.
#[track_caller]
pub fn read_link_at(folder: &File, name: &OsStr) -> io::Result<std::ffi::CString> {
    of(|| Ok(rustix::fs::readlinkat(folder, name, Vec::new())?))
}

/// `symlinkat(2)`.
#[track_caller]
pub fn symlink_at(target: &std::ffi::CStr, folder: &File, name: &OsStr) -> io::Result<()> {
    of(|| Ok(rustix::fs::symlinkat(target, folder, name)?))
}

/// `fchmod(2)`.
#[track_caller]
pub fn change_mode(file: &File, mode: u32) -> io::Result<()> {
    of(|| Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?))
}

/// `fchown(2)` of the group.
#[track_caller]
pub fn change_group(file: &File, group: u32) -> io::Result<()> {
    of(|| Ok(rustix::fs::fchown(file, None, Some(Gid::from_raw(group)))?))
}

/// `futimens(2)`.
#[track_caller]
pub fn set_times(file: &File, times: &Timestamps) -> io::Result<()> {
    of(|| Ok(rustix::fs::futimens(file, times)?))
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

/// [`fs::rename`]: replaces what is at `to`.
#[track_caller]
pub fn rename_over(from: &Path, to: &Path) -> io::Result<()> {
    of(|| fs::rename(from, to))
}

/// `renameat2(2)` with `RENAME_NOREPLACE`.
#[track_caller]
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    of(|| Ok(rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, RenameFlags::NOREPLACE)?))
}
