//! Whether a folder lies on a filesystem of this machine, by `statfs`: only there are events complete and syncs durable.

use std::{io, path::Path};

/// Filesystems whose files live on this machine, by the magic numbers of statfs(2).
const LOCAL: [i64; 13] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0x0102_1994, // tmpfs
    0x8584_58F6, // ramfs
    0x794C_7630, // overlayfs
    0xF2F5_2010, // f2fs
    0x2FC1_2FC1, // zfs
    0xCA45_1A4E, // bcachefs
    0x5265_4973, // reiserfs
    0x3153_464A, // jfs
    0x4D44,      // vfat
    0x2011_BAB0, // exfat
];

/// True on a filesystem that is known to be local; anything unknown counts as remote.
pub fn is_local(path: &Path) -> io::Result<bool> {
    Ok(LOCAL.contains(&(rustix::fs::statfs(path)?.f_type as i64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_not_a_place_for_files_and_the_temporary_folder_is() {
        assert!(!is_local(Path::new("/proc")).unwrap());
        assert!(is_local(&std::env::temp_dir()).unwrap());
        assert!(is_local(Path::new("/no/such/folder")).is_err());
    }
}
