//! Which file a name leads to, and in which state: what says that nobody wrote to it since.

use std::{fmt, os::unix::fs::MetadataExt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Which file, and which state of it: if all of it is the same, nobody wrote to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

impl FileState {
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

impl FileState {
    /// Whether it is the same file in the same state, seen before and after a rename: that changes its change time.
    pub fn same_after_rename(&self, other: &Self) -> bool {
        (self.dev, self.ino, self.size, self.mtime) == (other.dev, other.ino, other.size, other.mtime)
    }
}

impl fmt::Display for FileState {
    /// `dev:ino:size:mtime:ctime`, the stored form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}:{}", self.dev, self.ino, self.size, self.mtime, self.ctime)
    }
}

impl FromStr for FileState {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "not the state of a file";
        let mut parts = text.split(':');
        let mut next = || parts.next().ok_or(WRONG);
        let number = |text: &str| text.parse().map_err(|_| WRONG);
        let time = |text: &str| text.parse().map_err(|_| WRONG);
        let state = Self {
            dev: number(next()?)?,
            ino: number(next()?)?,
            size: number(next()?)?,
            mtime: time(next()?)?,
            ctime: time(next()?)?,
        };
        if parts.next().is_some() { Err(WRONG) } else { Ok(state) }
    }
}

impl Serialize for FileState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
