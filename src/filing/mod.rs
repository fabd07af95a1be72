//! Done and failed: where documents go when nothing is left to do, each with its receipt or its reason.
//!
//! Filing decides nothing: the ledger has said *accepted* or *rejected* before anything here is called.

// Effects only through `platform/effect.rs`.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod moves;
mod names;
pub mod notes;
pub mod reason;
pub mod receipt;

use std::{
    ffi::OsString,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use tracing::warn;

pub use moves::{FileId, create_root, id_of, is_temporary};
pub use names::note as note_of;
use receipt::Receipt;

use crate::{
    inbox::pairing::{self, Pairing},
    model::document::Sha256,
    model::path::RelPath,
    platform::effect,
};

/// Why a file could not be filed. It stays where it is, and filing is tried again; nothing is sent again.
#[derive(Debug, thiserror::Error)]
pub enum FilingError {
    /// Done or failed is not there, and cannot be made.
    #[error("the folder {} cannot be made ({error}); make it, and let chartdrop write there", folder.display())]
    Make {
        /// The done or failed folder.
        folder: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The document could not be moved.
    #[error("a finished document cannot be moved to {}: {error}", folder.display())]
    Move {
        /// The done or failed folder.
        folder: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The receipt or reason could not be written.
    #[error("a note cannot be written in {}: {error}", folder.display())]
    Note {
        /// The done or failed folder.
        folder: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// What is written beside the document.
#[derive(Clone, Debug)]
pub enum Note {
    /// Beside a document in done.
    Receipt(Box<Receipt>),
    /// Beside a document in failed.
    Reason(String),
}

impl Note {
    fn ending(&self) -> &'static str {
        match self {
            Self::Receipt(_) => receipt::ENDING,
            Self::Reason(_) => reason::ENDING,
        }
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Receipt(receipt) => {
                let mut json = serde_json::to_vec_pretty(receipt)?;
                json.push(b'\n');
                Ok(json)
            }
            // For Notepad on a Windows share.
            Self::Reason(text) => Ok(text.replace('\n', "\r\n").into_bytes()),
        }
    }
}

/// What lies in an inbox and is to be filed.
#[derive(Clone, Debug)]
pub struct Found {
    /// The document, beneath the inbox.
    pub document: RelPath,
    /// Its very file; `None` when any file of that name is meant.
    pub id: Option<FileId>,
    /// The device of the folder that it lay in; `None` when nobody has looked.
    pub device: Option<u64>,
    /// Its sidecar, beneath the inbox.
    pub sidecar: Option<RelPath>,
    /// That very file; `None` when any file of that name is meant.
    pub sidecar_id: Option<FileId>,
}

/// Makes done and failed where they are missing.
pub fn make(done: &Path, failed: &Path) -> Result<(), FilingError> {
    for folder in [done, failed] {
        create_root(folder).map_err(|error| FilingError::Make { folder: folder.into(), error })?;
    }
    Ok(())
}

/// The place beneath `folder` (done or failed), like `wanted`, that is free for a document, its sidecar and its note.
pub fn plan(folder: &Path, wanted: &RelPath, found: &Found, note: &Note) -> Result<RelPath, FilingError> {
    let sidecar = found.sidecar.as_ref().map(RelPath::file_name);
    names::free(folder, wanted, sidecar, note.ending())
        .map_err(|error| FilingError::Move { folder: folder.into(), error })
}

/// Moves document and sidecar from `inbox` to `to` beneath `folder`, then writes the note. Safe to repeat at any point.
///
/// A document that is gone, or whose name has been taken by another file, is not an error: its note says what became of it.
/// The same goes for the sidecar; what lies beside another document now is that one's, and speaks for or against its patient.
/// One that is gone together with its filesystem is an error: the share was unmounted, and the document comes back with it.
/// `AlreadyExists` inside the error means that somebody took the planned place: plan again.
pub fn file(inbox: &Path, folder: &Path, to: &RelPath, found: &Found, note: &Note) -> Result<(), FilingError> {
    let moving = |error| FilingError::Move { folder: folder.into(), error };
    let (source, target) = (inbox.join(found.document.as_path()), folder.join(to.as_path()));
    moves::create_folder_of(folder, &target).map_err(moving)?;
    if absent(moves::rename(&source, &target, found.id)).map_err(moving)?.is_none()
        && let Some(device) = found.device
        && device_of(&source).map_err(moving)? != device
    {
        return Err(moving(io::Error::new(io::ErrorKind::NotConnected, "its share is not mounted at the moment")));
    }
    // Another document may have come while ours was copied to another disk.
    if let Some(sidecar) = &found.sidecar
        && !effect::lies_at(&source).map_err(moving)?
    {
        let name = names::beside(sidecar.file_name(), found.document.file_name(), to.file_name());
        let target = folder.join(to.with_file_name(&name).as_path());
        let source = inbox.join(sidecar.as_path());
        if absent(moves::rename(&source, &target, found.sidecar_id)).map_err(moving)?.is_none()
            && effect::lies_at(&source).map_err(moving)?
        {
            warn!(
                "a sidecar was changed while its document was on its way; it stays in the inbox, and counts for the next document of that name"
            );
        }
    }
    create_note(&folder.join(names::note(to, note.ending()).as_path()), note)
        .map_err(|error| FilingError::Note { folder: folder.into(), error })
}

/// Writes the note of a document that lies in its final place; one that is there already stays.
pub fn write_note(folder: &Path, to: &RelPath, note: &Note) -> Result<(), FilingError> {
    let path = folder.join(names::note(to, note.ending()).as_path());
    moves::create_folder_of(folder, &path)
        .and_then(|()| create_note(&path, note))
        .map_err(|error| FilingError::Note { folder: folder.into(), error })
}

/// When it has returned, the note is durable, and so is every move into its folder that came before it.
fn create_note(path: &Path, note: &Note) -> io::Result<()> {
    let bytes = note.bytes()?;
    match moves::create_whole(path, |file| effect::write_all(file, &bytes)) {
        // Of a try that was ended, perhaps before it had synced anything.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => moves::sync_folder_of(path),
        result => result,
    }
}

/// From `folder` (failed) back to `to` beneath an inbox, with its sidecar; the reason is removed.
pub fn put_back(folder: &Path, inbox: &Path, to: &RelPath, found: &Found) -> Result<(), FilingError> {
    let moving = |error| FilingError::Move { folder: inbox.into(), error };
    let target = inbox.join(to.as_path());
    moves::create_folder_of(inbox, &target).map_err(moving)?;
    // The sidecar first: a document that settles alone would be sent without it.
    if let Some(sidecar) = &found.sidecar {
        let name = names::beside(sidecar.file_name(), found.document.file_name(), to.file_name());
        let target = inbox.join(to.with_file_name(&name).as_path());
        moves::rename(&folder.join(sidecar.as_path()), &target, None).map_err(moving)?;
    }
    moves::rename(&folder.join(found.document.as_path()), &target, None).map_err(moving)?;
    let reason = folder.join(names::note(&found.document, reason::ENDING).as_path());
    absent(effect::remove_file(&reason)).map(drop).map_err(moving)
}

/// What lies beside a document that may be its sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// Its sidecar.
    One(RelPath),
    /// There are two, or it may be another document's.
    Unclear,
}

impl Beside {
    /// The sidecar, where there is no doubt.
    pub fn only(self) -> Option<RelPath> {
        match self {
            Self::One(sidecar) => Some(sidecar),
            Self::Nothing | Self::Unclear => None,
        }
    }
}

/// The sidecar that lies beside a document. An error means that this cannot be told.
pub fn sidecar_of(folder: &Path, document: &RelPath) -> io::Result<Beside> {
    let parent = document.parent().map_or_else(|| folder.to_path_buf(), |parent| folder.join(parent.as_path()));
    let Some(entries) = absent(effect::read_dir(&parent))? else { return Ok(Beside::Nothing) };
    let mut names = vec![document.file_name().to_owned()];
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name != document.file_name() && entry.file_type()?.is_file() {
            names.push(name);
        }
    }
    let sorted = pairing::sort(names.iter().map(OsString::as_os_str), |name| document.with_file_name(name));
    let own = sorted.documents.into_iter().find(|(name, _)| *name == document.file_name());
    Ok(match own.map_or(Pairing::Alone, |(_, pairing)| pairing) {
        Pairing::Alone => Beside::Nothing,
        Pairing::With(sidecar) => Beside::One(sidecar),
        Pairing::Ambiguous => Beside::Unclear,
    })
}

/// The device of the nearest folder above a path that is there.
fn device_of(path: &Path) -> io::Result<u64> {
    for folder in path.ancestors().skip(1) {
        if let Some(found) = absent(effect::metadata(folder))? {
            return Ok(found.dev());
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// `None` for what is not there.
fn absent<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a document lies there, by its bytes. An error means that this cannot be told.
pub fn lies_at(folder: &Path, to: &RelPath, sha256: Sha256) -> io::Result<bool> {
    let path = folder.join(to.as_path());
    // What took its name may be anything, a pipe included.
    if !absent(effect::symlink_metadata(&path))?.is_some_and(|found| found.is_file()) {
        return Ok(false);
    }
    let Some(mut file) = absent(effect::open(&path))? else { return Ok(false) };
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match effect::read_some(&mut file, &mut buffer)? {
            0 => return Ok(context.finish().as_ref() == sha256.0),
            n => context.update(&buffer[..n]),
        }
    }
}

/// Shows that a folder can be filed into: writes, renames and removes a file there.
pub fn probe(folder: &Path) -> io::Result<()> {
    let name = format!(".chartdrop-probe-{}.tmp", uuid::Uuid::new_v4().simple());
    let (a, b) = (folder.join(&name), folder.join(format!("{name}-2.tmp")));
    let result =
        moves::create_whole(&a, |file| effect::write_all(file, b"probe")).and_then(|()| moves::rename(&a, &b, None));
    let removed = [&b, &a].into_iter().map(|path| effect::remove_file(path)).find(Result::is_ok);
    result?;
    removed.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
}
