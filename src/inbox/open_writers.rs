//! Asks the kernel whether somebody has a file open for writing: the only `unsafe` of this program.

use std::{fs::File, os::fd::AsRawFd};

/// What the kernel knows of a file's writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// Nobody has it open for writing.
    Nobody,
    /// Somebody has.
    Somebody,
    /// Another user's file, and this process has no `CAP_LEASE`: it is not told. That is never "nobody".
    NotTold,
    /// This kernel or filesystem does not know.
    NotKnown,
}

/// Who has a file open for writing.
///
/// A read lease (`F_SETLEASE`, fcntl(2)) is granted only while no one has the file open for writing. It is returned
/// at once: a writer that comes a moment later must not be made to wait for us.
#[allow(unsafe_code)]
pub fn writers(file: &File) -> Writers {
    let fd = file.as_raw_fd();
    // SAFETY: `fd` is open for as long as `file` is borrowed, and these commands take a plain integer.
    let granted = unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) };
    if granted == -1 {
        return match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::EAGAIN) => Writers::Somebody,
            Some(libc::EACCES | libc::EPERM) => Writers::NotTold,
            _ => Writers::NotKnown,
        };
    }
    // SAFETY: as above.
    unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
    Writers::Nobody
}

/// True when a writer certainly has the file open.
pub fn has_writer(file: &File) -> bool {
    writers(file) == Writers::Somebody
}

/// Whether this process is told of the writers of other users' files: it has `CAP_LEASE`, or cannot say.
pub fn may_ask_for_others() -> bool {
    const CAP_LEASE: u64 = 1 << 28;
    let status = crate::platform::effect::read("/proc/self/status".as_ref()).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    held.and_then(|held| u64::from_str_radix(held.trim(), 16).ok()).is_none_or(|held| held & CAP_LEASE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_noticed_where_the_kernel_can_tell() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = || File::open(file.path()).unwrap();
        assert_eq!(writers(&read()), Writers::Somebody, "the temporary file is still open for writing");
        let path = file.into_temp_path();
        assert_eq!(writers(&File::open(&path).unwrap()), Writers::Nobody);
    }
}
