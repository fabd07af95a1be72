//! Done and failed: where documents go when nothing is left to do, each with its receipt or its reason.
//!
//! Filing decides nothing: the ledger has said *accepted* or *rejected* before anything here is called.

// Effects only through `platform/effect.rs`.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod archive;
mod leftovers;
mod moves;
mod names;
pub mod reason;
pub mod receipt;

use std::{
    ffi::OsStr,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use tracing::warn;

pub use leftovers::tidy;
pub use moves::{Fate, is_temporary};
pub use names::note as note_of;
use receipt::{Receipt, Status};

use crate::{
    config::Inbox,
    inbox::pairing::{self, Pairing},
    model::{document::Sha256, file_state::FileState, path::RelPath},
    platform::{
        dir::{Access, Dir, Kind, Spot, absent},
        durable, effect, places,
    },
};

/// Staff may change and remove what is in an inbox again.
const STAFF: u32 = 0o660;

/// Where a delivery ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Accepted: the done folder.
    Done,
    /// Rejected: the failed folder.
    Failed,
}

impl End {
    /// Its folder.
    pub fn folder(self, inbox: &Inbox) -> &Path {
        match self {
            Self::Done => &inbox.done,
            Self::Failed => &inbox.failed,
        }
    }

    /// What its notes' names add to their documents'.
    fn note_ending(self) -> &'static str {
        match self {
            Self::Done => receipt::ENDING,
            Self::Failed => reason::ENDING,
        }
    }
}

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

impl FilingError {
    /// Whether only a person can change it; anything else may be over in a moment.
    pub fn needs_person(&self) -> bool {
        let (Self::Make { error, .. } | Self::Move { error, .. } | Self::Note { error, .. }) = self;
        matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied
                | io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::AlreadyExists
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::InvalidInput
        )
    }
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

/// What is in an inbox and is to be filed: exactly these files, in these states.
#[derive(Clone, Debug)]
pub struct Found {
    /// The document, beneath the inbox.
    pub document: RelPath,
    /// That very file; `None` when any file of that name is meant.
    pub state: Option<FileState>,
    /// The device of the folder that it was in, as this run saw it; `None` when nobody has looked.
    pub device: Option<u64>,
    /// Its sidecar, beneath the inbox, and that very file; `None` for the state when any file of that name is meant.
    pub sidecar: Option<(RelPath, Option<FileState>)>,
}

/// What was filed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filed {
    /// What became of the document.
    pub document: Fate,
    /// What became of its sidecar, if there was one. `Changed`: it stays in the inbox.
    pub sidecar: Option<Fate>,
}

impl Filed {
    /// Whether the document is where its note is.
    pub fn is_moved(&self) -> bool {
        self.document == Fate::Moved
    }
}

/// Makes done and failed where they are missing.
pub fn make(inbox: &Inbox) -> Result<(), FilingError> {
    for end in [End::Done, End::Failed] {
        let folder = end.folder(inbox);
        create_root(folder, inbox).map_err(|error| FilingError::Make { folder: folder.into(), error })?;
    }
    Ok(())
}

/// Makes a done or failed folder that is not there.
pub fn create_root(root: &Path, inbox: &Inbox) -> io::Result<()> {
    let group = Dir::open(&inbox.path).and_then(|inbox| inbox.info()).ok().map(|inbox| inbox.group);
    let access = Access { group: inbox.group.or(group), mode: inbox.mode };
    let root = places::resolve(root)?;
    for folder in root.ancestors() {
        if effect::lies_at(folder)? {
            let missing = root.strip_prefix(folder).unwrap_or(Path::new(""));
            return Dir::open(folder)?.make(missing, &access).map(drop);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// The place beneath done or failed, like `wanted`, that is free for a document, its sidecar and its note.
pub fn plan(inbox: &Inbox, end: End, wanted: &RelPath, found: &Found) -> Result<RelPath, FilingError> {
    let folder = end.folder(inbox);
    let sidecar = found.sidecar.as_ref().map(|(sidecar, _)| sidecar.file_name());
    Ways::open(inbox, folder)
        .and_then(|ways| names::free(&ways.folder, wanted, sidecar, end.note_ending()))
        .map_err(|error| FilingError::Move { folder: folder.into(), error })
}

/// The folders that a file is moved between, held open.
struct Ways {
    /// `None`: the inbox is not there.
    inbox: Option<Dir>,
    folder: Dir,
    access: Access,
}

impl Ways {
    fn open(inbox: &Inbox, folder: &Path) -> io::Result<Self> {
        let source = absent(Dir::open(&inbox.path))?;
        let folder = Dir::open(folder)?;
        let mut group = inbox.group;
        if let Some(source) = &source {
            // Looked at each time: whoever can write above these folders can swap them for links.
            if folder.is_beneath(source)? {
                return Err(io::Error::other("it leads into the inbox, where everything would be sent again"));
            }
            group = group.or(Some(source.info()?.group));
        }
        Ok(Self { inbox: source, folder, access: Access { group, mode: inbox.mode } })
    }

    /// The device of the nearest folder above `document` that is there; `None` when not even the inbox is.
    fn device(&self, document: &RelPath) -> io::Result<Option<u64>> {
        let Some(inbox) = &self.inbox else { return Ok(None) };
        let mut folder = document.parent();
        while let Some(next) = folder {
            if let Some(found) = inbox.stat(&next)? {
                return Ok(Some(found.state.dev));
            }
            folder = next.parent();
        }
        Ok(Some(inbox.info()?.state.dev))
    }

    /// Moves what is in the inbox, if it is there.
    fn take(&self, rel: &RelPath, to: &Spot, expected: Option<&FileState>) -> io::Result<Fate> {
        let from = match &self.inbox {
            Some(inbox) => absent(inbox.spot(rel))?,
            None => None,
        };
        match from {
            Some(from) => moves::take(&from, to, expected, &self.access),
            None => moves::arrived(to, expected, &self.access),
        }
    }

    /// Whether something has that name in the inbox.
    fn has(&self, rel: &RelPath) -> io::Result<bool> {
        Ok(match &self.inbox {
            Some(inbox) => inbox.stat(rel)?.is_some(),
            None => false,
        })
    }
}

/// Moves document and sidecar from the inbox to `to` beneath done or failed, then writes the note. Safe to repeat at any
/// point.
///
/// A document that is gone, or whose name has been taken by another file, is not an error: its note says what became of it.
/// The same goes for the sidecar; what is beside another document now is that one's, and speaks for or against its patient.
/// One that is gone together with its filesystem is an error: the share was unmounted, and the document comes back with it.
/// `AlreadyExists` inside the error means that somebody took the planned place: plan again.
///
/// A duplicate whose document stays gets no receipt: there would be another one at each try.
pub fn file(inbox: &Inbox, end: End, to: &RelPath, found: &Found, note: &Note) -> Result<Filed, FilingError> {
    let folder = end.folder(inbox);
    let moving = |error| FilingError::Move { folder: folder.into(), error };
    let ways = Ways::open(inbox, folder).map_err(moving)?;
    let shelf = moves::make_folder(&ways.folder, to.folder().as_ref(), &ways.access).map_err(moving)?;
    let filed = move_both(&ways, &shelf, to, found).map_err(moving)?;
    let is_duplicate = matches!(note, Note::Receipt(receipt) if receipt.status == Status::Duplicate);
    if !(is_duplicate && filed.document == Fate::Changed) {
        create_note(&shelf.name(names::note(to, note.ending()).file_name()), note, &ways.access)
            .map_err(|error| FilingError::Note { folder: folder.into(), error })?;
    }
    Ok(filed)
}

fn move_both(ways: &Ways, shelf: &Dir, to: &RelPath, found: &Found) -> io::Result<Filed> {
    let document = ways.take(&found.document, &shelf.name(to.file_name()), found.state.as_ref())?;
    if document != Fate::Moved && found.device.is_some() && ways.device(&found.document)? != found.device {
        return Err(io::Error::new(io::ErrorKind::NotConnected, "its share is not mounted at the moment"));
    }
    let mut filed = Filed { document, sidecar: None };
    // Another document may have come while ours was moved; what is beside it is that one's.
    if let Some((sidecar, state)) = &found.sidecar {
        filed.sidecar = Some(Fate::Changed);
        if !ways.has(&found.document)? {
            let name = names::beside(sidecar.file_name(), found.document.file_name(), to.file_name());
            let fate = take_to_free_name(ways, sidecar, &shelf.name(&name), state.as_ref())?;
            if fate == Fate::Changed {
                warn!(
                    "a sidecar was changed while its document was on its way; it stays in the inbox, and counts for the next document of that name"
                );
            }
            filed.sidecar = Some(fate);
        }
    }
    Ok(filed)
}

/// Its place was free when it was planned; if somebody has taken it since, it gets a number: its document is moved already.
fn take_to_free_name(ways: &Ways, rel: &RelPath, to: &Spot, expected: Option<&FileState>) -> io::Result<Fate> {
    const TRIES: u32 = 100;
    for n in 1..TRIES {
        match ways.take(rel, &to.beside(&names::numbered(to.name(), n)), expected) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => return result,
        }
    }
    ways.take(rel, &to.beside(&names::numbered(to.name(), TRIES)), expected)
}

/// Writes the note of a document that is in its final place; one that is there already stays.
pub fn write_note(inbox: &Inbox, end: End, to: &RelPath, note: &Note) -> Result<(), FilingError> {
    let folder = end.folder(inbox);
    let write = || {
        let ways = Ways::open(inbox, folder)?;
        let shelf = moves::make_folder(&ways.folder, to.folder().as_ref(), &ways.access)?;
        create_note(&shelf.name(names::note(to, note.ending()).file_name()), note, &ways.access)
    };
    write().map_err(|error| FilingError::Note { folder: folder.into(), error })
}

/// When it has returned, the note is durable, and so is every move into its folder that came before it.
fn create_note(spot: &Spot, note: &Note, access: &Access) -> io::Result<()> {
    let bytes = note.bytes()?;
    match durable::create(spot, access, |file| effect::write_all(file, &bytes)) {
        // Of a try that was ended, perhaps before it had synced anything.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => spot.folder().sync(),
        result => result,
    }
}

/// From failed back to `to` beneath the inbox, with its sidecar; the note is removed.
pub fn put_back(inbox: &Inbox, to: &RelPath, found: &Found) -> Result<(), FilingError> {
    let put = || {
        let ways = Ways::open(inbox, &inbox.failed)?;
        let access = Access { mode: ways.access.mode | STAFF, ..ways.access };
        let Some(root) = &ways.inbox else { return Err(io::ErrorKind::NotFound.into()) };
        let target = moves::make_folder(root, to.folder().as_ref(), &access)?;
        let take = |rel: &RelPath, name: &OsStr| match moves::take(
            &ways.folder.spot(rel)?,
            &target.name(name),
            None,
            &access,
        )? {
            Fate::Moved => Ok(()),
            Fate::Gone | Fate::Changed => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        // The sidecar first: a document that settles alone would be sent without it.
        if let Some((sidecar, _)) = &found.sidecar {
            let name = names::beside(sidecar.file_name(), found.document.file_name(), to.file_name());
            take(sidecar, &name)?;
        }
        take(&found.document, to.file_name())?;
        let reason = ways.folder.spot(&names::note(&found.document, reason::ENDING))?;
        absent(reason.unlink()).map(drop)
    };
    put().map_err(|error| FilingError::Move { folder: inbox.path.clone(), error })
}

/// A copy from done back to `to` beneath the inbox, with its sidecar; the originals stay.
pub fn copy_back(inbox: &Inbox, to: &RelPath, found: &Found) -> Result<(), FilingError> {
    let copy = || {
        let ways = Ways::open(inbox, &inbox.done)?;
        let access = Access { mode: ways.access.mode | STAFF, ..ways.access };
        let Some(root) = &ways.inbox else { return Err(io::ErrorKind::NotFound.into()) };
        let target = moves::make_folder(root, to.folder().as_ref(), &access)?;
        let copy = |rel: &RelPath, name: &OsStr| {
            let mut source = ways.folder.file(rel)?;
            durable::create(&target.name(name), &access, |file| effect::copy(&mut source, file).map(drop))
        };
        // The sidecar first: a document that settles alone would be sent without it.
        if let Some((sidecar, _)) = &found.sidecar {
            let name = names::beside(sidecar.file_name(), found.document.file_name(), to.file_name());
            copy(sidecar, &name)?;
        }
        copy(&found.document, to.file_name())
    };
    copy().map_err(|error| FilingError::Move { folder: inbox.path.clone(), error })
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
    let Some(parent) = absent(Dir::open(folder).and_then(|root| root.folder_of(document)))? else {
        return Ok(Beside::Nothing);
    };
    let mut names = vec![document.file_name().to_owned()];
    for (name, kind) in parent.entries()? {
        if name != document.file_name() && kind == Kind::File {
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

/// Whether a document is there, by its bytes. An error means that this cannot be told.
pub fn lies_at(folder: &Path, to: &RelPath, sha256: Sha256) -> io::Result<bool> {
    let Some(root) = absent(Dir::open(folder))? else { return Ok(false) };
    let mut file = match absent(root.file(to)) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(false),
        // What took its name may be anything, a pipe or a link included.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(false),
        Err(error) => return Err(error),
    };
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
    let access = Access { group: None, mode: 0o600 };
    let root = Dir::open(folder)?;
    let name = format!("{}probe-{}", durable::TEMPORARY, uuid::Uuid::new_v4().simple());
    let (a, b) = (root.name(format!("{name}.tmp").as_ref()), root.name(format!("{name}-2.tmp").as_ref()));
    let result = durable::create(&a, &access, |file| effect::write_all(file, b"probe"))
        .and_then(|()| moves::take(&a, &b, None, &access));
    let removed = [&b, &a].into_iter().map(Spot::unlink).find(Result::is_ok);
    result?;
    removed.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
}
