//! What is said of a file in an inbox that is neither a document, nor of one, nor known litter: it is never silently ignored.

use std::time::Instant;

use super::{
    pairing::StrayKind,
    patient::folder,
    scan::{Kind, Stray},
};
use crate::model::{path::RelPath, problem::Problem, words::display_name};

/// A file or folder that is not a document, and waits for a person.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Beneath the inbox.
    pub path: RelPath,
    /// When we first saw it as it is.
    pub since: Instant,
    /// What it is and what to do, for people; names it.
    pub problem: Problem,
    /// The same in fixed words that are safe for a log.
    pub why: &'static str,
    /// When what it spoils is refused; `None` when it only waits.
    pub until: Option<Instant>,
}

/// What a stray is, in fixed words that are safe for a log.
pub fn why(kind: StrayKind) -> &'static str {
    match kind {
        StrayKind::PatientLike => "a file looks like a patient.toml and is not called so",
        StrayKind::SidecarLike => "a file looks like a sidecar and is not called so",
        StrayKind::Orphan => "a sidecar's document is not there",
        StrayKind::Note => "a receipt or a note was put into the inbox",
        StrayKind::Temporary => "a copy program or an editor has left a file",
        StrayKind::Hidden => "a hidden file or folder is not looked into",
        StrayKind::Homeless => "a patient.toml is outside every patient folder",
    }
}

/// What a stray is and what to do about it, for people.
pub fn problem(stray: &Stray<'_>, kind: Kind) -> Problem {
    let name = display_name(stray.path.file_name());
    let (code, summary, remedy) = match (stray.kind, kind) {
        (StrayKind::PatientLike, _) => return folder::misnamed(stray.path.file_name()),
        (StrayKind::SidecarLike, _) => return sidecar_misnamed(stray.path),
        (StrayKind::Orphan, _) => (
            "sidecar-orphan",
            format!(
                "The file \"{name}\" describes a document, and no document of that name is beside it. It is not used."
            ),
            "Drop its document into the same folder. If the document is there under another name, name the file after the whole document, for example scan.pdf.toml for scan.pdf. If it is not needed any more, delete it.",
        ),
        (StrayKind::Note, _) => (
            "stray-note",
            format!(
                "The file \"{name}\" is a receipt or a note that chartdrop wrote, or is called like one. It is not a document, and is not sent."
            ),
            "Move it back to where its document is, or delete it if its document is gone. If it is a document of your own, give it another name.",
        ),
        (StrayKind::Temporary | StrayKind::Hidden, Kind::OddFolder) => (
            "odd-folder",
            format!(
                "The folder \"{name}\" is called like something temporary or hidden, so nothing in it is looked at or sent."
            ),
            "If it is a patient's folder, rename it: without a dot at the beginning, and without .tmp, .part or ~ at the end. If it is not, move it out of the inbox.",
        ),
        (StrayKind::Temporary, _) => (
            "left-over",
            format!(
                "The file \"{name}\" is one that a copy program or an editor left: a copy that was interrupted, or a backup. It is not sent."
            ),
            "If the copy was interrupted, copy the document again and delete this file. If it is a document, rename it: without .tmp, .part or ~ at the end.",
        ),
        (StrayKind::Hidden, _) => (
            "hidden-file",
            format!(
                "The name of the file \"{name}\" begins with a dot, so it is hidden on most computers. It is not sent."
            ),
            "If it is a document, rename it without the dot. If it is not, delete it or move it out of the inbox.",
        ),
        (StrayKind::Homeless, _) => (
            "patient-homeless",
            format!(
                "The file \"{name}\" says whose folder it is in, and it is not in a patient's folder. It is not used."
            ),
            "Move it into the folder of its patient, or delete it.",
        ),
    };
    Problem::new(code, summary, remedy)
}

/// Not read, and not overlooked: it may say that the document is another patient's.
pub fn sidecar_misnamed(stray: &RelPath) -> Problem {
    Problem::new(
        "sidecar-misnamed",
        format!(
            "The file \"{}\" looks like one that describes a document, and is not called as such a file must be. It may say that the document is another patient's, and was not read.",
            display_name(stray.file_name())
        ),
        "If it belongs to the document, name it after the whole document with .toml or .json behind it, in the same capitals: for example scan.pdf.toml for scan.pdf (Windows hides the end of a name unless you let it show file name extensions). If it is a copy, delete it. Then move the document back into the patient's folder in the inbox.",
    )
}

/// A sidecar that came long before its document may have been meant for an earlier one of the same name.
pub fn sidecar_too_old(sidecar: &RelPath) -> Problem {
    Problem::new(
        "sidecar-too-old",
        format!(
            "The file \"{}\" that describes this document was in the folder long before the document came. It may have been meant for an earlier document of the same name, perhaps of another patient. Nothing was sent.",
            display_name(sidecar.file_name())
        ),
        "Open the file, which is now beside this note, and read it. If it describes this document, save it again and move both back into the patient's folder in the inbox. If it does not, delete it and move the document back alone.",
    )
}
