//! Which file a name leads to, and in which state: what says that nobody wrote to it since.

use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

/// Which file, and which state of it: if all of it is the same, nobody wrote to it.
///
/// Stored as an array, since ledger rows are short: device, inode, size, mtime, ctime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct FileState {
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

/// The stored form. Its numbers are those of JSON: times have 64 bits, enough until the year 2262.
type Stored = (u64, u64, u64, i64, i64);

impl From<Stored> for FileState {
    fn from((dev, ino, size, mtime, ctime): Stored) -> Self {
        Self { dev, ino, size, mtime: mtime.into(), ctime: ctime.into() }
    }
}

impl From<FileState> for Stored {
    fn from(state: FileState) -> Self {
        let short = |time: i128| time.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        (state.dev, state.ino, state.size, short(state.mtime), short(state.ctime))
    }
}

/// Seconds and nanoseconds as one number.
fn nanoseconds(seconds: i64, rest: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(rest)
}

impl FileState {
    /// From an open file or a directory entry.
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            size: metadata.size(),
            mtime: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// From what `stat(2)` says.
    #[allow(clippy::unnecessary_cast, reason = "the fields' types differ from machine to machine")]
    pub fn of_stat(stat: &rustix::fs::Stat) -> Self {
        Self {
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            size: stat.st_size as u64,
            mtime: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }

    /// The same file, and nobody wrote to it or changed anything about it.
    pub fn same_content_state(&self, other: &Self) -> bool {
        self == other
    }

    /// The same file after a rename, which moves the change time on most filesystems.
    pub fn same_after_rename(&self, other: &Self) -> bool {
        self.is_same_file(other) && self.same_size_and_mtime(other)
    }

    /// The same state where device and inode numbers mean little: a share that is mounted again has another device, and
    /// sshfs numbers a file anew when it has forgotten it. The change time alone cannot be set by whoever replaces a file.
    pub fn same_on_share(&self, other: &Self) -> bool {
        self.same_size_and_mtime(other) && self.ctime == other.ctime
    }

    /// Size and modification time are the same: what a faithful copy keeps.
    pub fn same_size_and_mtime(&self, other: &Self) -> bool {
        (self.size, self.mtime) == (other.size, other.mtime)
    }

    /// Device and inode are the same: two names of one file.
    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }

    /// Only times differ: reading alone changes them on some shares (rclone with a write cache).
    pub fn same_but_times(&self, other: &Self) -> bool {
        self.is_same_file(other) && self.size == other.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: FileState = FileState {
        dev: 64769,
        ino: 1_234_567,
        size: 9,
        mtime: 1_790_000_000_123_456_789,
        ctime: 1_790_000_001_000_000_000,
    };

    #[test]
    fn a_state_is_stored_as_a_short_array() {
        let json = serde_json::to_string(&STATE).unwrap();
        assert_eq!(json, "[64769,1234567,9,1790000000123456789,1790000001000000000]");
        assert_eq!(serde_json::from_str::<FileState>(&json).unwrap(), STATE);
    }

    #[test]
    fn what_may_differ() {
        let (renamed, remounted) = (FileState { ctime: 5, ..STATE }, FileState { dev: 1, ino: 2, ..STATE });
        let edited = FileState { mtime: 5, ..STATE };
        // state, content state, after rename, on share, but times
        for (other, expected) in [
            (STATE, [true, true, true, true]),
            (renamed, [false, true, false, true]),
            (remounted, [false, false, true, false]),
            (edited, [false, false, false, true]),
            (FileState { size: 1, ..STATE }, [false; 4]),
        ] {
            let found = [
                STATE.same_content_state(&other),
                STATE.same_after_rename(&other),
                STATE.same_on_share(&other),
                STATE.same_but_times(&other),
            ];
            assert_eq!(found, expected, "{other:?}");
        }
    }
}
