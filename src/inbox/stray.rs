//! What people are told about a file in an inbox that is no document, belongs to none, and is not known litter: it is never
//! silently ignored.

use std::time::Instant;

use super::{
    pairing::StrayKind,
    patient::folder,
    scan::{Kind, Stray},
};
use crate::model::{
    path::RelPath,
    problem::{Problem, catalogue as known},
    words::display_name,
};

/// A file or folder that is not a document, and waits for a person.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Beneath the inbox.
    pub path: RelPath,
    /// When we first saw it as it is.
    pub since: Instant,
    /// What it is and what to do, for people; names it, so it is not for logs.
    pub problem: Problem,
    /// When what it spoils is refused; `None` when it only waits.
    pub until: Option<Instant>,
}

/// What a stray is and what to do about it, for people.
pub fn problem(stray: &Stray<'_>, kind: Kind) -> Problem {
    let name = display_name(stray.path.file_name());
    match (stray.kind, kind) {
        (StrayKind::PatientLike, _) => folder::misnamed(stray.path.file_name()),
        (StrayKind::SidecarLike, _) => sidecar_misnamed(stray.path),
        (StrayKind::Orphan, _) => known::SIDECAR_ORPHAN.because(format!(
            "The file \"{name}\" describes a document, and there is no document of that name beside it. It stays where it is, and is not used."
        )),
        (StrayKind::Note, _) => known::STRAY_NOTE.because(format!(
            "The file \"{name}\" is a receipt or a note that chartdrop wrote, or is called like one. It is not a document, so it stays where it is and is not sent."
        )),
        (StrayKind::Temporary | StrayKind::Hidden, Kind::OddFolder) => known::ODD_FOLDER.because(format!(
            "The folder \"{name}\" is called like something temporary or hidden, so nothing in it is looked at or sent. It stays where it is."
        )),
        (StrayKind::Temporary, _) => known::LEFT_OVER.because(format!(
            "The file \"{name}\" is one that a copy program or an editor left: a copy that was interrupted, or a backup. It stays where it is, and is not sent."
        )),
        (StrayKind::Hidden, _) => known::HIDDEN_FILE.because(format!(
            "The name of the file \"{name}\" begins with a dot, so it is hidden on most computers. It stays where it is, and is not sent."
        )),
        (StrayKind::Homeless, _) => known::PATIENT_HOMELESS.because(format!(
            "The file \"{name}\" says whose folder it is in, and it is not in a patient's folder. It stays where it is, and is not used."
        )),
    }
}

/// Not read, and not overlooked: it may say that the document is another patient's.
pub fn sidecar_misnamed(stray: &RelPath) -> Problem {
    known::SIDECAR_MISNAMED.because(format!(
        "The file \"{}\" looks like one that describes a document, but such a file must be called otherwise. It may say that the document is another patient's, and it was not read.",
        display_name(stray.file_name())
    ))
}

/// A sidecar that came long before its document may have been meant for an earlier one of the same name.
pub fn sidecar_too_old(sidecar: &RelPath) -> Problem {
    known::SIDECAR_TOO_OLD.because(format!(
        "The file \"{}\" that describes this document was in the folder long before the document came. It may have been meant for an earlier document of the same name, perhaps of another patient. Nothing was sent.",
        display_name(sidecar.file_name())
    ))
}
