//! Whether a folder is a share: there events are missing, syncs are promises of somebody else, and locks a matter of luck.

use std::{fs::File, io};

/// Filesystems whose bytes lie with somebody else, by the magic numbers of statfs(2).
const REMOTE: &[(u32, &str)] = &[
    (0x0000_6969, "NFS"),
    (0x0000_517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x6573_5546, "FUSE (such as sshfs)"),
    (0x0102_1997, "9p"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0000_564C, "NCP"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x786F_4256, "VirtualBox shared folder"),
    (0xBACB_ACBC, "VMware shared folder"),
    (0x7C7C_6673, "Parallels shared folder"),
];

/// What kind of share an open folder is on; `None` on a filesystem of this machine.
pub fn network_filesystem(folder: &File) -> io::Result<Option<&'static str>> {
    // Magic numbers have 32 bits; the field's width differs from machine to machine.
    Ok(named(rustix::fs::fstatfs(folder)?.f_type as u32))
}

fn named(kind: u32) -> Option<&'static str> {
    REMOTE.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_known_and_disks_are_not_among_them() {
        for (kind, name) in [(0x6969, "NFS"), (0xFF53_4D42, "CIFS"), (0xFE53_4D42, "SMB2"), (0x0102_1997, "9p")] {
            assert_eq!(named(kind), Some(name));
        }
        // ext, xfs, btrfs, tmpfs, overlay, zfs, f2fs
        for kind in [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1, 0xF2F5_2010] {
            assert_eq!(named(kind), None);
        }
    }

    #[test]
    fn the_temporary_folder_is_on_this_machine() {
        assert_eq!(network_filesystem(&File::open(std::env::temp_dir()).unwrap()).unwrap(), None);
    }
}
