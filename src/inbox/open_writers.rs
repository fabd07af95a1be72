//! Asks the kernel whether somebody has a file open for writing: the only `unsafe` of this program.

use std::{fs::File, os::fd::AsRawFd};

/// True when a writer has the file open; false when nobody has, or when this kernel or filesystem cannot tell.
///
/// A read lease (`F_SETLEASE`, fcntl(2)) is granted only while no one has the file open for writing. It is given back
/// at once: a writer that comes a moment later must not be made to wait for us.
#[allow(unsafe_code)]
pub fn has_writer(file: &File) -> bool {
    let fd = file.as_raw_fd();
    // SAFETY: `fd` is open for as long as `file` is borrowed, and these commands take a plain integer.
    let granted = unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) };
    if granted == -1 {
        return std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN);
    }
    // SAFETY: as above.
    unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_noticed_where_the_kernel_can_tell() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(has_writer(&File::open(file.path()).unwrap()), "the temporary file is still open for writing");
        let path = file.into_temp_path();
        assert!(!has_writer(&File::open(&path).unwrap()));
    }
}
