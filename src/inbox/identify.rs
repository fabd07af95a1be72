//! From a settled file to a [`Document`] that is safe to send: whose it is, what is said of it, and which bytes it has.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::ffi::OsStrExt,
    time::{Duration, Instant},
};

use aws_lc_rs::digest;

use super::{
    content::{self, Inspection, TextEncoding},
    dir::InboxDir,
    open_writers::{Writers, writers},
    pairing::{Pairing, StrayKind},
    patient::{
        self,
        checks::{PatientChecks, PatientObjection},
        folder::{FolderSays, name_disagrees},
    },
    scan::Kind,
    settle::Candidate,
    sidecar::{self, Sidecar},
    stray,
};
use crate::{
    config::{FolderName, Inbox, SidecarRule, TextRule},
    model::document::{Coding, Content, Document, Metadata, Patient, Sha1, Sha256},
    model::fhir,
    model::file_kind::{FileKind, FileTypes},
    model::file_state::FileState,
    model::path::{RelPath, folded},
    model::problem::{Problem, catalogue as known, size_words},
    model::words,
    platform::effect,
};

/// Names up to here leave room for `.receipt.json` and ` (2)` within a filesystem's 255 bytes.
const NAME_LIMIT: usize = 230;

/// The longest path beneath an inbox, in bytes as it is stored, that fits a ledger row together with everything else.
pub const PATH_LIMIT: usize = 300;

/// The longest document, as JSON, that fits a ledger row together with everything else.
const DOCUMENT_LIMIT: usize = 1500;

/// What became of a candidate.
#[derive(Debug)]
pub enum Identified {
    /// Safe to send.
    Ready(Box<Ready>),
    /// Not now; look again after the pause.
    NotYet {
        /// Why.
        why: Problem,
        /// How long to wait.
        pause: Duration,
    },
    /// Never, as it is.
    Refused(Problem),
}

/// A document, and the very file it was read from.
#[derive(Debug)]
pub struct Ready {
    /// All that its message says.
    pub document: Document,
    /// Open for reading; whatever happens to the name, these are the bytes.
    pub file: File,
}

/// What identification needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The inbox that it is in.
    pub inbox: &'a Inbox,
    /// The names that a sidecar may use.
    pub types: &'a BTreeMap<String, Coding>,
    /// Kinds of file beyond the built-in ones.
    pub file_types: &'a FileTypes,
    /// The types of documents in folders of these names, folded.
    pub type_folders: &'a BTreeMap<Vec<u8>, Coding>,
    /// The largest file that is sent, in bytes.
    pub size_limit: u64,
    /// What else is known of patients.
    pub vetting: &'a PatientChecks,
}

/// Why identification stopped.
enum Stop {
    Refused(Problem),
    NotYet(Problem),
    /// Nobody can tell whether it is still being written: it must not have changed for as long as an incomplete one waits.
    Quiet,
    /// It waits for as long as the inbox says, then it is refused.
    Incomplete(Box<Incomplete>),
    /// It waits for as long as the inbox says, then it is sent.
    Doubtful(Problem),
}

/// Something that may still come.
struct Incomplete {
    /// What is said while it waits.
    waits: Problem,
    /// What is said when it did not come.
    refusal: Problem,
}

fn incomplete(waits: Problem, refusal: Problem) -> Stop {
    Stop::Incomplete(Box::new(Incomplete { waits, refusal }))
}

impl From<Problem> for Stop {
    fn from(refusal: Problem) -> Self {
        Self::Refused(refusal)
    }
}

impl From<PatientObjection> for Stop {
    fn from(doubt: PatientObjection) -> Self {
        match doubt {
            PatientObjection::NotYet(why) => Self::NotYet(why),
            PatientObjection::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

/// Identifies a candidate. Blocking: reads the whole file once.
pub fn identify(root: &InboxDir, rules: Rules<'_>, candidate: &Candidate, now: Instant) -> Identified {
    let identified = identified(root, rules, candidate, now);
    if !matches!(identified, Identified::NotYet { .. })
        && let Some(note) = &candidate.note
    {
        clear_note(root, note);
    }
    identified
}

/// Removes the reason of an earlier refusal that a person has moved back together with its document: what it says is over.
/// One that is not ours, or cannot be removed, stays; once its document is gone it is reported.
fn clear_note(root: &InboxDir, note: &RelPath) {
    let is_ours = |bytes: &[u8]| {
        let line = bytes.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let record = serde_json::from_slice::<serde_json::Value>(line).unwrap_or_default();
        record.get("key").is_some() && record.get("code").is_some()
    };
    if root.read_small(note, sidecar::FILE_LIMIT).is_ok_and(|bytes| is_ours(&bytes)) {
        root.remove(note).ok();
    }
}

fn identified(root: &InboxDir, rules: Rules<'_>, candidate: &Candidate, now: Instant) -> Identified {
    let pause = rules.inbox.settle.max(Duration::from_millis(500));
    let waited = now.saturating_duration_since(candidate.since);
    let left = rules.inbox.incomplete_after.saturating_sub(waited);
    match examine(root, rules, candidate, left.is_zero()) {
        Ok(ready) => Identified::Ready(Box::new(ready)),
        Err(Stop::Refused(refusal)) => Identified::Refused(refusal),
        Err(Stop::NotYet(why)) => Identified::NotYet { why, pause },
        Err(Stop::Quiet) => Identified::NotYet { why: known::NO_VISIBLE_END.problem(), pause: left },
        Err(Stop::Incomplete(stop)) if left.is_zero() => Identified::Refused(stop.refusal),
        Err(Stop::Incomplete(stop)) => Identified::NotYet { why: stop.waits, pause: left.min(pause) },
        Err(Stop::Doubtful(why)) => Identified::NotYet { why, pause: left.min(pause) },
    }
}

fn examine(root: &InboxDir, rules: Rules<'_>, candidate: &Candidate, waited: bool) -> Result<Ready, Stop> {
    let name = plain_name(candidate)?;
    plain_kind(candidate.kind)?;
    let size = candidate.stamp().size;
    if size > rules.size_limit {
        let (size, limit) = (size_words(size), size_words(rules.size_limit));
        return Err(known::TOO_LARGE
            .because(format!("The document has {size}, and at most {limit} may be sent."))
            .into());
    }
    stray_of(candidate)?;
    let says = patient_of(root, rules, candidate)?;
    let sidecar = sidecar_of(root, rules, candidate)?;
    let patient = rules.vetting.complete(rules.inbox, sidecar.confirm(says.patient)?)?;
    if rules.inbox.folder_name == FolderName::MustAgree
        && let Some(problem) = name_disagrees(&says.left_over, &patient)
    {
        return Err(problem.into());
    }
    rules.vetting.check(rules.inbox, &candidate.path, &patient)?;
    let metadata = sidecar.metadata(default_type(rules, candidate), rules.types)?;

    let file = root.file(&candidate.path).map_err(later)?;
    unchanged(&file, candidate)?;
    let writers = writers(&file);
    if writers == Writers::Somebody {
        return Err(Stop::NotYet(known::BEING_WRITTEN.problem()));
    }
    let found = inspect(&file, rules, candidate, waited)?;
    // Plain text has no end that could be looked for.
    if found.kind == FileKind::Text && writers != Writers::Nobody && !waited {
        return Err(Stop::Quiet);
    }
    let (sha256, sha1) = digests(&file, size).map_err(later)?;
    unchanged(&file, candidate)?;
    if !candidate.still_stands(root.path()) {
        return Err(Stop::NotYet(known::JUST_CHANGED.problem()));
    }
    let mime = found.kind.mime().to_owned();
    let (file, content) = match found.converted {
        None => (file, Content { sha256, sha1, size, mime, original_sha256: None }),
        Some((converted, size)) => {
            let (sent, sha1) = digests(&converted, size).map_err(later)?;
            (converted, Content { sha256: sent, sha1, size, mime, original_sha256: Some(sha256) })
        }
    };
    Ok(Ready { document: fitting(name, patient, metadata, content)?, file })
}

/// A name that can stand in a message and that leaves room for its receipt's.
fn plain_name(candidate: &Candidate) -> Result<String, Problem> {
    let name = candidate.path.file_name();
    match name.to_str() {
        None => Err(known::BAD_NAME.problem()),
        Some(_) if name.len() > NAME_LIMIT || candidate.path.to_string().len() > PATH_LIMIT => {
            Err(known::BAD_NAME
                .because("The document's name, or the names of the folders that it is in, are too long."))
        }
        // It becomes the document's title, where nothing may turn the text around or break the line.
        Some(text) => match words::title(text) {
            title if title.is_empty() => {
                Err(known::BAD_NAME.because("The document's name has no character that can be seen."))
            }
            title => Ok(title),
        },
    }
}

/// The type of a document whose sidecar names none: that of the nearest folder that has one, or the inbox's.
fn default_type<'a>(rules: Rules<'a>, candidate: &Candidate) -> &'a Coding {
    let folders = candidate.path.as_path().ancestors().skip(1).filter_map(|folder| folder.file_name());
    let inner = folders.collect::<Vec<_>>();
    // The last one is the patient's own.
    let inner = inner.iter().take(inner.len().saturating_sub(1));
    inner.filter_map(|name| rules.type_folders.get(&folded(name))).next().unwrap_or(&rules.inbox.document_type)
}

/// Beside a file that may say whose the document is, or what it is, and is not read for its name.
fn stray_of(candidate: &Candidate) -> Result<(), Stop> {
    match &candidate.stray {
        None => Ok(()),
        Some((stray, StrayKind::PatientLike)) => {
            let waits = known::PATIENT_NEAR_MISS.because(format!(
                "The document waits in the inbox: the file \"{}\" in its folder looks like a patient.toml and has another name.",
                words::display_name(stray.file_name())
            ));
            Err(incomplete(waits, patient::folder::misnamed(stray.file_name())))
        }
        Some((stray, _)) => {
            let waits = known::SIDECAR_NEAR_MISS.because(format!(
                "The document waits in the inbox: the file \"{}\" beside it looks like its sidecar and has another name.",
                words::display_name(stray.file_name())
            ));
            Err(incomplete(waits, stray::sidecar_misnamed(stray)))
        }
    }
}

fn plain_kind(kind: Kind) -> Result<(), Problem> {
    Err(match kind {
        Kind::Regular => return Ok(()),
        Kind::SymbolicLink => known::NOT_A_FILE.problem(),
        Kind::Special => known::NOT_A_FILE.with(
            "This is not a document but a special file (a pipe, a socket or a device).",
            "Remove it, and drop the document itself into the patient's folder in the inbox.",
        ),
        Kind::TooDeep | Kind::OddFolder => known::NOT_A_FILE.with(
            "This folder is too deep inside other folders, so chartdrop does not look into it.",
            "Move its documents up, into the patient's folder in the inbox.",
        ),
    })
}

fn patient_of(root: &InboxDir, rules: Rules<'_>, candidate: &Candidate) -> Result<FolderSays, Stop> {
    let roster = rules.vetting.roster(rules.inbox);
    let says = patient::folder::of_folder(root, &candidate.path, rules.inbox.patient.as_ref(), roster);
    says.map_err(|failure| match failure {
        patient::folder::Failure::Refused(refusal) => Stop::Refused(refusal),
        patient::folder::Failure::Busy(error) => later(error),
        patient::folder::Failure::NotYet(why) => Stop::NotYet(why),
        patient::folder::Failure::Empty => {
            incomplete(known::PATIENT_STILL_EMPTY.problem(), known::PATIENT_EMPTY.problem())
        }
    })
}

fn sidecar_of(root: &InboxDir, rules: Rules<'_>, candidate: &Candidate) -> Result<Sidecar, Stop> {
    match &candidate.pairing {
        Pairing::With(rel) => {
            let bytes = match root.read_small(rel, sidecar::FILE_LIMIT) {
                Ok(bytes) => bytes,
                Err(error) if matches!(error.kind(), io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput) => {
                    let summary = "The document's sidecar is not a plain, short text file.";
                    return Err(known::SIDECAR_UNREADABLE.because(summary).into());
                }
                Err(error) => return Err(later(error)),
            };
            if patient::folder::is_blank(&bytes) {
                let refusal = known::SIDECAR_EMPTY.because(format!(
                    "The document's sidecar (\"{}\") is empty: it says nothing about the document.",
                    words::display_name(rel.file_name())
                ));
                return Err(incomplete(known::SIDECAR_STILL_EMPTY.problem(), refusal));
            }
            if candidate.has_old_sidecar {
                return Err(stray::sidecar_too_old(rel).into());
            }
            let is_json = rel.file_name().as_bytes().to_ascii_lowercase().ends_with(b".json");
            Ok(sidecar::parse(&bytes, is_json)?)
        }
        Pairing::Alone if rules.inbox.sidecar == SidecarRule::Required => {
            Err(incomplete(known::SIDECAR_AWAITED.problem(), known::SIDECAR_MISSING.problem()))
        }
        Pairing::Alone => Ok(Sidecar::default()),
        Pairing::Ambiguous => Err(known::SIDECAR_AMBIGUOUS.problem().into()),
    }
}

/// A complete file.
struct Complete {
    kind: FileKind,
    /// What is sent instead of the file itself, and its size.
    converted: Option<(File, u64)>,
}

impl From<FileKind> for Complete {
    fn from(kind: FileKind) -> Self {
        Self { kind, converted: None }
    }
}

/// `waited`: the inbox's `incomplete_after` has passed.
fn inspect(file: &File, rules: Rules<'_>, candidate: &Candidate, waited: bool) -> Result<Complete, Stop> {
    let size = candidate.stamp().size;
    let found = content::inspect(file, size, candidate.path.file_name(), rules.file_types).map_err(later)?;
    Err(match found {
        Inspection::Whole(kind) => return Ok(kind.into()),
        Inspection::Doubtful { kind, .. } if waited => return Ok(kind.into()),
        Inspection::Doubtful { .. } => Stop::Doubtful(known::ENDS_IN_ZEROS.problem()),
        Inspection::OtherText(encoding) if rules.inbox.text == TextRule::Convert => {
            match content::to_utf8(file, size, encoding).map_err(later)? {
                Some(converted) => return Ok(Complete { kind: FileKind::Text, converted: Some(converted) }),
                None => Stop::Refused(other_text(encoding)),
            }
        }
        Inspection::OtherText(encoding) => Stop::Refused(other_text(encoding)),
        Inspection::Locked(detail) => Stop::Refused(known::PASSWORD.because(format!(
            "The PDF document cannot be opened by everybody: {detail}. Whoever receives it could not read it."
        ))),
        Inspection::Empty => incomplete(known::STILL_EMPTY.problem(), known::EMPTY.problem()),
        Inspection::CutOff { kind, detail } => incomplete(
            known::END_MISSING.problem(),
            known::CUT_OFF.because(format!(
                "The {} is cut off: {detail}. The scan or the copy was probably interrupted.",
                kind.words()
            )),
        ),
        Inspection::Foreign { expected, found } => Stop::Refused(
            known::WRONG_CONTENT
                .because(format!("By its name this is a {}, but the content is {found}.", expected.words())),
        ),
        Inspection::Forbidden { found } => {
            Stop::Refused(known::FORBIDDEN_CONTENT.because(format!("Files of this kind ({found}) are not sent.")))
        }
        Inspection::Unknown => Stop::Refused(known::UNKNOWN_CONTENT.problem()),
    })
}

fn other_text(encoding: TextEncoding) -> Problem {
    known::TEXT_ENCODING.because(format!(
        "The text is saved as {}, not as UTF-8. Sent like this, accented letters and names could be garbled in the chart.",
        encoding.words()
    ))
}

/// SHA-256 and SHA-1 of the whole file, read by position.
fn digests(file: &File, size: u64) -> io::Result<(Sha256, Sha1)> {
    let mut sha256 = digest::Context::new(&digest::SHA256);
    let mut sha1 = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    let mut buffer = vec![0; 128 * 1024];
    let mut at = 0;
    while at < size {
        let n = effect::read_at(file, &mut buffer, at)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        sha256.update(&buffer[..n]);
        sha1.update(&buffer[..n]);
        at += n as u64;
    }
    let (mut a, mut b) = ([0; 32], [0; 20]);
    a.copy_from_slice(sha256.finish().as_ref());
    b.copy_from_slice(sha1.finish().as_ref());
    Ok((Sha256(a), Sha1(b)))
}

fn unchanged(file: &File, candidate: &Candidate) -> Result<(), Stop> {
    let now = FileState::of(&effect::file_metadata(file).map_err(later)?);
    if now == candidate.stamp() { Ok(()) } else { Err(Stop::NotYet(known::JUST_CHANGED.problem())) }
}

/// The document, if a message can say it all and it fits a ledger row.
pub fn fitting(file_name: String, patient: Patient, metadata: Metadata, content: Content) -> Result<Document, Problem> {
    let document = Document { file_name, patient, metadata, content };
    fhir::check_document(&document).map_err(|why| {
        let summary = format!("Something that is said of the document or its patient cannot be sent: {why}.");
        known::NOT_SENDABLE.because(summary)
    })?;
    match serde_json::to_vec(&document) {
        Ok(json) if json.len() <= DOCUMENT_LIMIT => Ok(document),
        _ => Err(known::TOO_MANY_WORDS.problem()),
    }
}

/// Reading failed: that says nothing of the document, so it is tried again and stays where it is.
fn later(error: io::Error) -> Stop {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => &known::JUST_GONE,
        io::ErrorKind::PermissionDenied => &known::MAY_NOT_READ,
        io::ErrorKind::InvalidInput => &known::JUST_CHANGED,
        _ => &known::UNREADABLE,
    };
    Stop::NotYet(kind.problem())
}
