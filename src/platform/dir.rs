//! Folders held open, and what is in them: everything beneath is reached from the handle, and no link is ever followed.
//!
//! A path string is resolved again at each call, and whoever can write into a share can swap a folder of it for a link in
//! between. A handle stays where it is.

use std::{
    ffi::{CStr, CString, OsStr, OsString},
    fs::File,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use super::{effect, filesystem};
use crate::model::{file_state::FileState, path::RelPath};

/// For opening a folder on the way.
const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
/// For going up: whoever may go through a folder need not be allowed to list it.
const UP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// For reading a file. NONBLOCK: opening a FIFO would hang until somebody writes.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOFOLLOW).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// Set when this kernel, or what confines this process, has no `openat2`.
static IS_STEPPING: AtomicBool = AtomicBool::new(false);

/// How paths beneath a handle are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// By the kernel, in one call.
    Openat2,
    /// Folder by folder: `openat2` is not to be had (kernels before 5.6; units with `RestrictSUIDSGID=` or `DynamicUser=`).
    Steps,
}

/// Tries which way works here. Both are safe.
pub fn resolution() -> io::Result<Resolution> {
    Dir::open(Path::new("/"))?.try_openat2(Path::new("."), FOLDER)?;
    Ok(match IS_STEPPING.load(Ordering::Relaxed) {
        false => Resolution::Openat2,
        true => Resolution::Steps,
    })
}

/// What kind of thing a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, to whatever it may be.
    Link,
    /// A pipe, a socket or a device.
    Other,
}

impl Kind {
    fn of(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Folder,
            FileType::Symlink => Self::Link,
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Self::Other,
        }
    }
}

/// What a name leads to.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// What kind of thing.
    pub kind: Kind,
    /// Which, in which state.
    pub state: FileState,
    /// Permission bits.
    pub mode: u32,
    /// Its group.
    pub group: u32,
    /// How many names it has.
    pub names: u64,
}

impl Info {
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "widths differ from machine to machine")]
    fn of(stat: &Stat) -> Self {
        Self {
            kind: Kind::of(FileType::from_raw_mode(stat.st_mode)),
            state: FileState::of_stat(stat),
            mode: stat.st_mode as u32 & 0o7777,
            group: stat.st_gid,
            names: stat.st_nlink as u64,
        }
    }

    /// Of an open file.
    #[track_caller]
    pub fn of_file(file: &File) -> io::Result<Self> {
        Ok(Self::of(&effect::stat(file)?))
    }
}

/// A folder held open.
#[derive(Clone, Debug)]
pub struct Dir {
    folder: Arc<File>,
    path: PathBuf,
}

/// A name in a folder that is held open.
#[derive(Clone, Debug)]
pub struct Spot {
    folder: Dir,
    name: OsString,
}

impl Dir {
    /// Opens a folder by its path; links on the way to it are the administrator's.
    #[track_caller]
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { folder: Arc::new(effect::open_folder(path)?), path: path.to_path_buf() })
    }

    /// Where it was when it was opened: for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Itself.
    #[track_caller]
    pub fn info(&self) -> io::Result<Info> {
        Info::of_file(&self.folder)
    }

    /// What kind of share it is on; `None` on a filesystem of this machine.
    pub fn network_filesystem(&self) -> io::Result<Option<&'static str>> {
        filesystem::network_filesystem(&self.folder)
    }

    /// Makes renames into it durable.
    #[track_caller]
    pub fn sync(&self) -> io::Result<()> {
        match effect::sync(&self.folder) {
            // Some network filesystems cannot sync a folder; there the server decides.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            result => result,
        }
    }

    /// `None` when `openat2` is not to be had.
    #[track_caller]
    fn try_openat2(&self, path: &Path, flags: OFlags) -> io::Result<Option<File>> {
        if IS_STEPPING.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match effect::open_beneath(&self.folder, path, flags, BENEATH) {
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOSYS | Errno::PERM)) => {
                IS_STEPPING.store(true, Ordering::Relaxed);
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// A folder beneath. `NotADirectory` when a file or a link is in the way.
    #[track_caller]
    pub fn sub(&self, rel: &Path) -> io::Result<Dir> {
        let in_the_way = |error: io::Error| match Errno::from_io_error(&error) {
            Some(Errno::LOOP) => io::ErrorKind::NotADirectory.into(),
            _ => error,
        };
        let path = self.path.join(rel);
        match self.try_openat2(rel, FOLDER) {
            Ok(Some(folder)) => return Ok(Self { folder: Arc::new(folder), path }),
            Ok(None) => {}
            Err(error) => return Err(in_the_way(error)),
        }
        let mut folder = Arc::clone(&self.folder);
        for name in rel.iter() {
            match effect::open_at(&folder, name, FOLDER, Mode::empty()) {
                Ok(next) => folder = Arc::new(next),
                Err(error) => return Err(in_the_way(error)),
            }
        }
        Ok(Self { folder, path })
    }

    /// The folder that `rel` is in.
    #[track_caller]
    pub fn folder_of(&self, rel: &RelPath) -> io::Result<Dir> {
        match rel.parent() {
            Some(parent) => self.sub(parent.as_path()),
            None => Ok(self.clone()),
        }
    }

    /// A name beneath, whose folder must be there.
    #[track_caller]
    pub fn spot(&self, rel: &RelPath) -> io::Result<Spot> {
        Ok(Spot { folder: self.folder_of(rel)?, name: rel.file_name().to_owned() })
    }

    /// A name in this folder itself.
    pub fn name(&self, name: &OsStr) -> Spot {
        Spot { folder: self.clone(), name: name.to_owned() }
    }

    /// What is there; `None` for nothing, and for what only a link would lead to.
    #[track_caller]
    pub fn stat(&self, rel: &RelPath) -> io::Result<Option<Info>> {
        match absent(self.spot(rel))? {
            Some(spot) => spot.stat(),
            None => Ok(None),
        }
    }

    /// Opens a regular file for reading. `InvalidInput` when it is anything else, or reached through a link.
    #[track_caller]
    pub fn file(&self, rel: &RelPath) -> io::Result<File> {
        let opened = match self.try_openat2(rel.as_path(), READ) {
            Ok(Some(file)) => Ok(file),
            Ok(None) => match self.folder_of(rel) {
                Ok(folder) => effect::open_at(&folder.folder, rel.file_name(), READ, Mode::empty()),
                // A link in the way, or a file: either way there is no such file.
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                Err(error) => return Err(error),
            },
            Err(error) => Err(error),
        };
        regular(opened)
    }

    /// Every name in it with its kind, as the folder's own list says; a kind that the list does not say is looked up.
    #[track_caller]
    pub fn entries(&self) -> io::Result<Vec<(OsString, Kind)>> {
        let mut entries = Vec::new();
        for entry in effect::list(&self.folder)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match self.name(name).stat()? {
                    Some(found) => found.kind,
                    None => continue,
                },
                kind => Kind::of(kind),
            };
            entries.push((name.to_owned(), kind));
        }
        Ok(entries)
    }

    /// Makes a folder beneath, with all that are missing on the way; each is durable in the one above, also one that was
    /// there: it may have been made just before the power fails. `NotADirectory` when a file or a link is in the way.
    #[track_caller]
    pub fn make(&self, rel: &Path, access: &Access) -> io::Result<Dir> {
        let mut folder = self.clone();
        for name in rel.iter() {
            let next = match effect::make_folder_at(&folder.folder, name) {
                Ok(()) => {
                    let next = folder.sub(Path::new(name))?;
                    access.apply(&next.folder, access.folder_mode())?;
                    next
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => folder.sub(Path::new(name))?,
                Err(error) => return Err(error),
            };
            folder.sync()?;
            folder = next;
        }
        Ok(folder)
    }

    /// Whether `other` is this folder or a folder above it.
    #[track_caller]
    pub fn is_beneath(&self, other: &Dir) -> io::Result<bool> {
        let other = other.info()?.state;
        let mut at = Arc::clone(&self.folder);
        let mut here = Info::of_file(&at)?.state;
        loop {
            if here.is_same_file(&other) {
                return Ok(true);
            }
            at = match effect::open_at(&at, OsStr::new(".."), UP, Mode::empty()) {
                Ok(above) => Arc::new(above),
                // Hidden from this process, as units can ask for; no inbox of ours is up there.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
                Err(error) => return Err(error),
            };
            let above = Info::of_file(&at)?.state;
            if above.is_same_file(&here) {
                return Ok(false);
            }
            here = above;
        }
    }
}

fn regular(opened: io::Result<File>) -> io::Result<File> {
    match opened {
        Ok(file) => match Info::of_file(&file)?.kind {
            Kind::File => Ok(file),
            Kind::Folder | Kind::Link | Kind::Other => Err(io::ErrorKind::InvalidInput.into()),
        },
        Err(error) => Err(match Errno::from_io_error(&error) {
            Some(Errno::LOOP | Errno::XDEV | Errno::NXIO) => io::ErrorKind::InvalidInput.into(),
            _ => error,
        }),
    }
}

/// `None` for what is not there.
pub fn absent<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Spot {
    /// The folder that it is in.
    pub fn folder(&self) -> &Dir {
        &self.folder
    }

    /// Its name.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Another name in the same folder.
    pub fn beside(&self, name: &OsStr) -> Spot {
        Spot { folder: self.folder.clone(), name: name.to_owned() }
    }

    /// What is there, a link itself; `None` for nothing.
    #[track_caller]
    pub fn stat(&self) -> io::Result<Option<Info>> {
        Ok(absent(effect::stat_at(&self.folder.folder, &self.name))?.map(|stat| Info::of(&stat)))
    }

    /// Opens a regular file for reading; `InvalidInput` when it is anything else.
    #[track_caller]
    pub fn open(&self) -> io::Result<File> {
        regular(effect::open_at(&self.folder.folder, &self.name, READ, Mode::empty()))
    }

    /// Makes a new file for writing. `AlreadyExists` when the name is taken.
    #[track_caller]
    pub fn create(&self) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        effect::open_at(&self.folder.folder, &self.name, flags, Mode::RUSR | Mode::WUSR)
    }

    /// Renames without replacing: `AlreadyExists` when `to` is taken. Some filesystems cannot: see [`cannot_rename`].
    #[track_caller]
    pub fn rename_to(&self, to: &Spot) -> io::Result<()> {
        effect::rename_at(&self.folder.folder, &self.name, &to.folder.folder, &to.name)
    }

    /// Renames, and replaces what is at `to`.
    #[track_caller]
    pub fn rename_over(&self, to: &Spot) -> io::Result<()> {
        effect::rename_over_at(&self.folder.folder, &self.name, &to.folder.folder, &to.name)
    }

    /// A second name for the same file. `AlreadyExists` when `to` is taken.
    #[track_caller]
    pub fn link_to(&self, to: &Spot) -> io::Result<()> {
        effect::link_at(&self.folder.folder, &self.name, &to.folder.folder, &to.name)
    }

    /// Removes a file.
    #[track_caller]
    pub fn unlink(&self) -> io::Result<()> {
        effect::unlink_at(&self.folder.folder, &self.name)
    }

    /// Where a link leads.
    #[track_caller]
    pub fn read_link(&self) -> io::Result<CString> {
        effect::read_link_at(&self.folder.folder, &self.name)
    }

    /// Makes a link.
    #[track_caller]
    pub fn make_link(&self, target: &CStr) -> io::Result<()> {
        effect::symlink_at(target, &self.folder.folder, &self.name)
    }
}

/// Whether a rename failed because the filesystem knows no `RENAME_NOREPLACE`.
pub fn cannot_rename(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

/// Whether a rename failed because it leads to another filesystem.
pub fn is_another_filesystem(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::XDEV)
}

/// Who may read what is written: a group, and the permission bits of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// `None`: the one that the folder gives.
    pub group: Option<u32>,
    /// Of files.
    pub mode: u32,
}

impl Access {
    /// Of folders: whoever may read files may look into them, and what is put into them belongs to their group.
    pub fn folder_mode(&self) -> u32 {
        0o2000 | self.mode | ((self.mode & 0o444) >> 2)
    }

    /// Gives group and `mode` to an open file or folder. Where that is not permitted (another's file, a share without
    /// modes) things stay as they are, and that is said once.
    #[track_caller]
    pub fn apply(&self, file: &File, mode: u32) -> io::Result<()> {
        static IS_SAID: AtomicBool = AtomicBool::new(false);
        let found = Info::of_file(file)?;
        let mut refused = None;
        if let Some(group) = self.group.filter(|group| *group != found.group) {
            refused = effect::change_group(file, group).err();
        }
        if found.mode != mode || self.group.is_some_and(|group| group != found.group) {
            refused = effect::change_mode(file, mode).err().or(refused);
        }
        if let Some(error) = refused
            && !IS_SAID.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "a filed document, its note or its folder keeps the group or the permissions that it has ({}): chartdrop may not change them. Nothing is lost; add the service's user to the group, or set [[inbox]] group and mode to what the share gives",
                error.kind()
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(Path::new(path)).unwrap()
    }

    #[test]
    fn nothing_is_reached_through_a_link() {
        for is_stepping in [false, true] {
            IS_STEPPING.store(is_stepping, Ordering::Relaxed);
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("root/a/b")).unwrap();
            fs::write(dir.path().join("root/a/b/file"), "x").unwrap();
            fs::create_dir(dir.path().join("outside")).unwrap();
            fs::write(dir.path().join("outside/file"), "secret").unwrap();
            symlink("../outside", dir.path().join("root/link")).unwrap();
            symlink("../../outside/file", dir.path().join("root/a/file")).unwrap();
            let root = Dir::open(&dir.path().join("root")).unwrap();
            assert!(root.file(&rel("a/b/file")).is_ok());
            for (path, kind) in [
                ("link/file", io::ErrorKind::InvalidInput),
                ("a/file", io::ErrorKind::InvalidInput),
                ("a", io::ErrorKind::InvalidInput),
                ("a/none", io::ErrorKind::NotFound),
            ] {
                assert_eq!(root.file(&rel(path)).unwrap_err().kind(), kind, "{path} {is_stepping}");
            }
            assert_eq!(root.sub(Path::new("link")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
            assert!(root.stat(&rel("link/file")).unwrap().is_none());
            assert_eq!(root.stat(&rel("link")).unwrap().unwrap().kind, Kind::Link);
            let made = root.make(Path::new("link/new"), &Access { group: None, mode: 0o640 });
            assert_eq!(made.unwrap_err().kind(), io::ErrorKind::NotADirectory);
            assert!(!dir.path().join("outside/new").exists());
        }
        IS_STEPPING.store(false, Ordering::Relaxed);
    }

    #[test]
    fn a_folder_is_beneath_another_however_its_path_is_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        symlink(dir.path().join("a"), dir.path().join("link")).unwrap();
        let open = |path: &str| Dir::open(&dir.path().join(path)).unwrap();
        assert!(open("a/b").is_beneath(&open("a")).unwrap());
        assert!(open("link/b").is_beneath(&open("a")).unwrap());
        assert!(open("link").is_beneath(&open("a")).unwrap());
        assert!(!open("a").is_beneath(&open("a/b")).unwrap());
    }

    #[test]
    fn folders_are_for_whoever_may_read_their_files() {
        for (file, folder) in [(0o640, 0o2750), (0o660, 0o2770), (0o600, 0o2700), (0o644, 0o2755)] {
            assert_eq!(Access { group: None, mode: file }.folder_mode(), folder);
        }
    }
}
