//! Looks at an inbox as it is now: every file in it, what each is for, and which sidecar belongs to which document.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ffi::{OsStr, OsString},
    fs::Metadata,
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use crate::model::file_state::FileState;
use crate::{
    model::path::{Folded, RelPath},
    platform::effect,
};

/// What a patient folder's own file is called.
pub const PATIENT_FILE: &str = "patient.toml";

/// What Notepad makes of it, and Windows shows as `patient.toml`.
const PATIENT_TEXT_FILE: &[u8] = b"patient.toml.txt";

/// What a sidecar's name adds to its document's.
const SIDECAR_ENDINGS: [&str; 4] = [".toml", ".json", ".TOML", ".JSON"];

/// How deep folders may lie in each other.
const DEPTH: usize = 32;

/// All that lies in an inbox, less what scanners and desktops leave behind.
#[derive(Debug, Default)]
pub struct Listing {
    /// Every file by its place.
    pub entries: BTreeMap<RelPath, Entry>,
    /// Patient folders of which something could not be read this time (`None`: the inbox itself). What is said of their
    /// documents may be among it: nothing of them may be sent.
    pub unread: BTreeSet<Option<OsString>>,
    /// Folders on another filesystem than the one they lie in.
    pub mounts: Vec<PathBuf>,
}

/// One directory entry that is not a folder.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What kind of file.
    pub kind: Kind,
    /// Its state.
    pub stamp: FileState,
    /// The device of the folder it lies in.
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
    /// A folder that lies too deep to be looked into.
    TooDeep,
}

/// What a file is for, by its name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// To be sent.
    Document,
    /// Says something of a document.
    Sidecar,
    /// Says whose folder this is.
    PatientFile,
    /// Left behind by a scanner, a desktop, or by us: never sent, never moved.
    Litter,
}

/// The sidecar of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// There is none.
    Alone,
    /// There is one.
    With(RelPath),
    /// More than one could be meant, or one could be meant for more than one document.
    Ambiguous,
}

/// What a name says of its file's role.
pub fn role(name: &OsStr) -> Role {
    let lower = name.as_bytes().to_ascii_lowercase();
    let ends = |ending: &str| lower.ends_with(ending.as_bytes());
    let starts = |start: &str| lower.starts_with(start.as_bytes());
    let litter = starts(".")
        || starts("~$")
        || starts("@eadir")
        || lower == b"thumbs.db"
        || lower == b"desktop.ini"
        || [
            ".tmp",
            ".part",
            ".partial",
            ".crdownload",
            ".filepart",
            "~",
            ".receipt.json",
            ".reason.txt",
            ":zone.identifier",
        ]
        .into_iter()
        .any(ends);
    if litter {
        Role::Litter
    } else if lower == PATIENT_FILE.as_bytes() || lower == PATIENT_TEXT_FILE {
        Role::PatientFile
    } else if ends(".toml") || ends(".json") {
        Role::Sidecar
    } else {
        Role::Document
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
            let is_litter = role(&child.file_name()) == Role::Litter;
            if metadata.is_dir() && depth < DEPTH {
                if !is_litter {
                    if metadata.dev() != device {
                        listing.mounts.push(path.clone());
                    }
                    folders.push((path, depth + 1, metadata.dev()));
                }
            } else if !is_litter && let Some(rel) = path.strip_prefix(root).ok().and_then(RelPath::new) {
                listing.entries.insert(rel, Entry { kind: kind(&metadata), stamp: FileState::of(&metadata), device });
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
    /// Every document with its sidecar, by place.
    ///
    /// `scan.pdf.toml` belongs to `scan.pdf`; `scan.toml` as well, when no other document there is called `scan`. Names are
    /// compared as Windows and Macs do, without case: a sidecar that is overlooked contradicts nothing.
    pub fn documents(&self) -> Vec<(&RelPath, Pairing)> {
        let (mut documents, mut sidecars) = (Vec::new(), HashMap::<Folded, Vec<&RelPath>>::new());
        let mut folders = HashSet::new();
        for rel in self.entries.keys() {
            match role(rel.file_name()) {
                Role::Document => documents.push(rel),
                // `scan.toml` says something of all that is called `scan`.
                Role::Sidecar => {
                    sidecars.entry(stem(rel).folded()).or_default().push(rel);
                    folders.insert(rel.folder());
                }
                Role::PatientFile | Role::Litter => {}
            }
        }
        let mut bearers: HashMap<Folded, usize> = HashMap::new();
        for rel in documents.iter().filter(|rel| folders.contains(rel.folder())) {
            // Without an ending the name is its own stem.
            let names = BTreeSet::from([rel.folded(), stem(rel).folded()]);
            names.into_iter().for_each(|name| *bearers.entry(name).or_default() += 1);
        }
        let pair = |rel: &RelPath| {
            // A folder with very many scans has seldom a sidecar.
            if !folders.contains(rel.folder()) {
                return Pairing::Alone;
            }
            let found = |base: &RelPath| {
                let name = base.folded();
                let alone = bearers.get(&name) == Some(&1);
                (sidecars.get(&name).map(Vec::as_slice).unwrap_or_default(), alone)
            };
            let (exact, shared) = (found(rel), if &stem(rel) == rel { (&[][..], true) } else { found(&stem(rel)) });
            match (exact, shared) {
                (([], _), ([], _)) => Pairing::Alone,
                (([one], true), ([], _)) => Pairing::With((*one).clone()),
                // `scan.toml` is another document's when that one is the only other `scan` without a sidecar of its own;
                // we do not guess.
                (([one], true), (_, false)) => Pairing::With((*one).clone()),
                (([], _), ([one], true)) => Pairing::With((*one).clone()),
                _ => Pairing::Ambiguous,
            }
        };
        documents.into_iter().map(|rel| (rel, pair(rel))).collect()
    }

    /// Files that are meant to say whose a folder is, and are not read, for their names are not quite right.
    pub fn misnamed(&self) -> Vec<&RelPath> {
        let is_misnamed = |name: &OsStr| name != PATIENT_FILE && role(name) == Role::PatientFile;
        self.entries.keys().filter(|rel| is_misnamed(rel.file_name())).collect()
    }
}

/// Every name that a document's sidecar may have.
pub fn sidecar_names(document: &RelPath) -> Vec<RelPath> {
    let stem = stem(document);
    let bases = if &stem == document { vec![stem] } else { vec![document.clone(), stem] };
    bases.iter().flat_map(|base| SIDECAR_ENDINGS.map(|ending| with_ending(base, ending))).collect()
}

/// `folder/scan.pdf` → `folder/scan`.
fn stem(rel: &RelPath) -> RelPath {
    rel.with_file_name(Path::new(rel.file_name()).file_stem().unwrap_or(rel.file_name()))
}

fn with_ending(rel: &RelPath, ending: &str) -> RelPath {
    let mut name = OsString::from(rel.file_name());
    name.push(ending);
    rel.with_file_name(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Listing {
        let stamp = FileState { dev: 0, ino: 0, size: 1, mtime: 0, ctime: 0 };
        let entry = Entry { kind: Kind::Regular, stamp, device: 0 };
        let entries = names.iter().map(|name| (RelPath::new(Path::new(name)).unwrap(), entry)).collect();
        Listing { entries, ..Listing::default() }
    }

    fn pairs(names: &[&str]) -> Vec<(String, Pairing)> {
        listing(names).documents().into_iter().map(|(rel, pairing)| (rel.to_string(), pairing)).collect()
    }

    fn with(name: &str) -> Pairing {
        Pairing::With(RelPath::new(Path::new(name)).unwrap())
    }

    #[test]
    fn a_sidecar_belongs_to_the_document_it_names() {
        assert_eq!(pairs(&["a/s.pdf", "a/s.pdf.toml"]), [("a/s.pdf".into(), with("a/s.pdf.toml"))]);
        assert_eq!(pairs(&["a/s.pdf", "a/s.json"]), [("a/s.pdf".into(), with("a/s.json"))]);
        assert_eq!(pairs(&["a/s.pdf", "b/s.json"]), [("a/s.pdf".into(), Pairing::Alone)]);
    }

    #[test]
    fn a_sidecar_for_two_is_for_nobody() {
        let found = pairs(&["a/s.jpg", "a/s.pdf", "a/s.toml"]);
        assert_eq!(found, [("a/s.jpg".into(), Pairing::Ambiguous), ("a/s.pdf".into(), Pairing::Ambiguous)]);
        assert_eq!(pairs(&["a/s.pdf", "a/s.toml", "a/s.pdf.json"]), [("a/s.pdf".into(), Pairing::Ambiguous)]);
        assert_eq!(pairs(&["a/s.pdf", "a/s.pdf.toml", "a/s.pdf.json"]), [("a/s.pdf".into(), Pairing::Ambiguous)]);
    }

    #[test]
    fn a_sidecar_s_name_is_compared_without_case() {
        assert_eq!(pairs(&["a/Scan.PDF", "a/scan.Toml"]), [("a/Scan.PDF".into(), with("a/scan.Toml"))]);
        assert_eq!(pairs(&["a/scan.pdf", "a/SCAN.PDF.JSON"]), [("a/scan.pdf".into(), with("a/SCAN.PDF.JSON"))]);
        let (one, two) = ("a/M\u{fc}ller.pdf", "a/mu\u{308}ller.toml");
        assert_eq!(pairs(&[one, two]), [(one.into(), with(two))]);
        let twins = pairs(&["a/Scan.pdf", "a/scan.pdf", "a/scan.pdf.toml"]);
        assert!(twins.iter().all(|(_, pairing)| *pairing == Pairing::Ambiguous), "{twins:?}");
        assert_eq!(pairs(&["a/scan", "a/Scan.toml"]), [("a/scan".into(), with("a/Scan.toml"))]);
    }

    #[test]
    fn what_scanners_and_desktops_leave_behind_is_not_a_document() {
        for name in
            ["Thumbs.db", "desktop.ini", ".DS_Store", "._s.pdf", "~$s.docx", "s.tmp", "s.pdf.part", "s.crdownload"]
        {
            assert_eq!(role(OsStr::new(name)), Role::Litter, "{name}");
        }
        for name in ["s.pdf.reason.txt", "s.pdf.receipt.json", "@eaDir"] {
            assert_eq!(role(OsStr::new(name)), Role::Litter, "{name}");
        }
        for name in ["patient.toml", "Patient.TOML", "patient.toml.txt"] {
            assert_eq!(role(OsStr::new(name)), Role::PatientFile, "{name}");
        }
        assert_eq!(role(OsStr::new("reason.txt")), Role::Document);
    }
}
