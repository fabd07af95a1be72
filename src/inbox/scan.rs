//! Looks at an inbox as it is now: every file in it, and what each is for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::{OsStr, OsString},
    fs::Metadata,
    io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use super::pairing::{self, Concerns, PATIENT_FILE, Pairing, Role, StrayKind, role};
use crate::model::file_state::FileState;
use crate::{model::path::RelPath, platform::effect};

/// How deeply folders may be nested.
const DEPTH: usize = 32;

/// All that is in an inbox, less what scanners and desktops leave behind.
#[derive(Debug, Default)]
pub struct Listing {
    /// Every file by its place.
    pub entries: BTreeMap<RelPath, Entry>,
    /// Patient folders of which something could not be read this time (`None`: the inbox itself). What is said of their
    /// documents may be among it: nothing of them may be sent.
    pub unread: BTreeSet<Option<OsString>>,
    /// Folders on another filesystem than the one that they are in.
    pub mounts: Vec<PathBuf>,
}

/// One directory entry that is not a folder.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What kind of file.
    pub kind: Kind,
    /// Its state.
    pub stamp: FileState,
    /// The device of the folder that it is in.
    pub device: u64,
}

/// What the filesystem says an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    Regular,
    /// A symbolic link, to whatever it may be.
    SymbolicLink,
    /// A FIFO, a socket or a device.
    Special,
    /// A folder that is too deep to be looked into.
    TooDeep,
    /// A folder that is called like a temporary or hidden file, and is not looked into.
    OddFolder,
}

/// What an inbox holds, sorted by what it is for.
#[derive(Debug, Default)]
pub struct Contents<'a> {
    /// Every document with its sidecar.
    pub documents: Vec<(&'a RelPath, Pairing)>,
    /// Everything that a person has to look at: neither a document, nor of one, nor known litter.
    pub strays: Vec<Stray<'a>>,
}

/// A file or folder that a person has to look at.
#[derive(Clone, Debug)]
pub struct Stray<'a> {
    /// Where it is.
    pub path: &'a RelPath,
    /// Why it is one.
    pub kind: StrayKind,
    /// The documents that it may say something of.
    pub documents: Vec<&'a RelPath>,
    /// It may say something of every document beneath its folder.
    pub concerns_folder: bool,
}

impl Stray<'_> {
    /// A reason that came back from failed with its document is dealt with together with that.
    pub fn is_reported(&self) -> bool {
        self.kind != StrayKind::Note || self.documents.is_empty()
    }
}

/// Lists an inbox. An error means that the inbox itself could not be read: that is not an empty inbox.
/// Calls `alive` at every entry: a share may hang, and a large one take long.
pub fn scan(root: &Path, alive: impl Fn()) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let device = effect::metadata(root)?.dev();
    let mut folders = vec![(root.to_path_buf(), 0, device)];
    while let Some((folder, depth, device)) = folders.pop() {
        let rel = folder.strip_prefix(root).unwrap_or(&folder);
        let patient_folder = rel.iter().next().map(OsStr::to_os_string);
        let children = match effect::read_dir(&folder) {
            Ok(children) => children,
            Err(error) if depth == 0 => return Err(error),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => {
                listing.unread.insert(patient_folder);
                continue;
            }
        };
        for child in children {
            alive();
            let examined = child.and_then(|child| Ok((effect::entry_metadata(&child)?, child)));
            let (metadata, child) = match examined {
                Ok(examined) => examined,
                // A folder or a file that goes away while we look is not a fault; the next scan sees what is left.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(_) => {
                    listing.unread.insert(patient_folder.clone());
                    continue;
                }
            };
            let path = child.path();
            let role = role(&child.file_name());
            let is_odd = matches!(role, Role::Temporary | Role::Hidden);
            if role == Role::Litter {
                continue;
            }
            if metadata.is_dir() && depth < DEPTH && !is_odd {
                if metadata.dev() != device {
                    listing.mounts.push(path.clone());
                }
                folders.push((path, depth + 1, metadata.dev()));
            } else if let Some(rel) = path.strip_prefix(root).ok().and_then(RelPath::new) {
                let kind = if metadata.is_dir() && is_odd { Kind::OddFolder } else { kind(&metadata) };
                listing.entries.insert(rel, Entry { kind, stamp: FileState::of(&metadata), device });
            }
        }
    }
    Ok(listing)
}

fn kind(metadata: &Metadata) -> Kind {
    let file_type = metadata.file_type();
    if file_type.is_symlink() {
        Kind::SymbolicLink
    } else if file_type.is_dir() {
        Kind::TooDeep
    } else if file_type.is_fifo() || file_type.is_socket() || file_type.is_block_device() || file_type.is_char_device()
    {
        Kind::Special
    } else {
        Kind::Regular
    }
}

impl Listing {
    /// Everything in it, sorted by what it is for.
    pub fn contents(&self) -> Contents<'_> {
        let mut contents = Contents::default();
        let mut folders = HashMap::<&OsStr, (bool, Vec<&RelPath>)>::new();
        for rel in self.entries.keys() {
            let (is_plain, files) = folders.entry(rel.folder()).or_default();
            if files.is_empty() {
                *is_plain = true;
            }
            // A folder with very many scans has seldom anything else.
            *is_plain &=
                matches!(role(rel.file_name()), Role::Document | Role::PatientFile) && !rel.folder().is_empty();
            files.push(rel);
        }
        for (folder, (is_plain, files)) in folders {
            if is_plain {
                let documents = files.into_iter().filter(|rel| rel.file_name() != PATIENT_FILE);
                contents.documents.extend(documents.map(|rel| (rel, Pairing::Alone)));
            } else {
                contents.add(folder, &files);
            }
        }
        contents
    }
}

impl<'a> Contents<'a> {
    /// How many files are neither sent nor litter: a reason that came back with its document is a part of that.
    pub fn waiting(&self) -> usize {
        self.documents.len() + self.strays.iter().filter(|stray| stray.is_reported()).count()
    }

    fn add(&mut self, folder: &OsStr, files: &[&'a RelPath]) {
        let by_name: HashMap<&OsStr, &'a RelPath> = files.iter().map(|rel| (rel.file_name(), *rel)).collect();
        let sorted = pairing::sort(by_name.keys().copied(), |name| {
            by_name.get(name).map_or_else(|| files[0].with_file_name(name), |rel| (*rel).clone())
        });
        self.documents.extend(sorted.documents.into_iter().map(|(name, pairing)| (by_name[name], pairing)));
        for stray in sorted.strays {
            let documents = match &stray.concerns {
                Concerns::Documents(names) => names.iter().map(|name| by_name[name]).collect(),
                Concerns::Nothing | Concerns::Folder => Vec::new(),
            };
            let concerns_folder = stray.concerns == Concerns::Folder && !folder.is_empty();
            self.strays.push(Stray { path: by_name[stray.name], kind: stray.kind, documents, concerns_folder });
        }
        if folder.is_empty()
            && let Some(path) = by_name.get(OsStr::new(PATIENT_FILE))
        {
            self.strays.push(Stray { path, kind: StrayKind::Homeless, documents: Vec::new(), concerns_folder: false });
        }
    }
}
