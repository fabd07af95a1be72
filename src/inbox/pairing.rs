//! The one rule of what is whose sidecar, what is litter, and what looks like a sidecar or a `patient.toml` and is not.
//! By names alone; nothing here looks at a disk.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use icu_normalizer::DecomposingNormalizerBorrowed;

use crate::{
    config::strict::distance,
    model::path::{RelPath, composed, folded},
    model::words::is_unsafe,
};

/// What a patient folder's own file is called.
pub const PATIENT_FILE: &str = "patient.toml";

/// What we write into an inbox while something waits.
pub const NOTICE_FILE: &str = "READ ME - documents are waiting.txt";

/// What a reason's name adds to its document's.
const REASON_ENDING: &str = ".reason.txt";
/// What a receipt's name adds to its document's.
const RECEIPT_ENDING: &str = ".receipt.json";

/// What a sidecar's name adds to its document's, as people mostly write it.
const SIDECAR_ENDINGS: [&str; 4] = [".toml", ".json", ".TOML", ".JSON"];

/// What copy programs, browsers and editors add to a name while they write, and leave when they are interrupted.
const TEMPORARY_ENDINGS: [&str; 10] =
    [".tmp", ".temp", ".part", ".partial", ".crdownload", ".filepart", ".download", ".swp", ".opdownload", "~"];

/// Names of copies that somebody keeps. They are looked at by a person, and count only where the real file is missing.
const BACKUP_ENDINGS: [&str; 5] = [".bak", ".old", ".orig", ".save", ".backup"];

/// Recycle bins, snapshots, and other folders and files of systems.
const LITTER: &[&str] = &[
    "#recycle",
    "@recycle",
    "$recycle.bin",
    "recycler",
    "recycled",
    ".recycle",
    "#snapshot",
    "@snapshot",
    "~snapshot",
    ".snapshot",
    ".snapshots",
    ".zfs",
    "@recently-snapshot",
    "__macosx",
    "system volume information",
    "@eadir",
    "#eadir",
    "@tmp",
    "@sharebin",
    "@__thumb",
    ".@__thumb",
    "lost+found",
    "found.000",
    ".stfolder",
    ".stversions",
    ".stignore",
    ".sync",
    ".spotlight-v100",
    ".fseventsd",
    ".temporaryitems",
    ".documentrevisions-v100",
    ".apdisk",
    ".appledouble",
    ".ds_store",
    ".directory",
    "network trash folder",
    "temporary items",
    "thumbs.db",
    "thumbs.db:encryptable",
    "ehthumbs.db",
    "desktop.ini",
    // The Finder's folder icon, as Samba writes its line end.
    "icon\u{f00d}",
];

/// How names of litter begin: trash folders, Apple's and Office's companions, what NFS, FUSE and SMB keep of deleted files.
const LITTER_BEGINNINGS: [&str; 9] =
    [".trash", "._", "~$", ".~lock.", ".chartdrop-", ".nfs0", ".fuse_hidden", ".smbdelete", "@eadir"];

/// What a file or folder is for, by its name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// To be sent.
    Document,
    /// Named like something that says more of a document.
    Sidecar,
    /// Says whose folder this is.
    PatientFile,
    /// Looks like a `patient.toml` and is not called so.
    PatientLike,
    /// Looks like a sidecar and is not called so.
    SidecarLike,
    /// A receipt or a reason: these belong in done and failed.
    Note,
    /// A copy program, a browser or an editor is writing it, or has left it.
    Temporary,
    /// Hidden: its name begins with a dot.
    Hidden,
    /// Left behind by a system, or ours: never sent, never moved, never reported.
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
    let lower = lowered(name);
    // Most files are these, and are told apart at once.
    let is_plain = lower.starts_with(|c: char| c.is_ascii_alphanumeric())
        && lower
            .rsplit_once('.')
            .is_some_and(|(_, ending)| ["pdf", "tif", "tiff", "jpg", "jpeg", "png"].contains(&ending));
    if is_plain {
        return Role::Document;
    }
    let ends = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
    let is_litter = LITTER.contains(&lower.as_str())
        || LITTER_BEGINNINGS.iter().any(|beginning| lower.starts_with(beginning))
        || lower == "icon\r"
        || lower.ends_with(":zone.identifier")
        || name == NOTICE_FILE;
    if is_litter {
        Role::Litter
    } else if name == PATIENT_FILE {
        Role::PatientFile
    } else if ends(&[RECEIPT_ENDING, REASON_ENDING]) {
        Role::Note
    } else if lower.starts_with('.') {
        Role::Hidden
    } else if ends(&TEMPORARY_ENDINGS) {
        Role::Temporary
    } else if is_patient_like(&lower) {
        Role::PatientLike
    } else if ends(&[".toml", ".json"]) {
        Role::Sidecar
    } else if metadata_base(&lower).is_some() {
        Role::SidecarLike
    } else {
        Role::Document
    }
}

/// The document that a reason is about: `scan.pdf` for `scan.pdf.reason.txt`.
pub fn document_of_reason(note: &OsStr) -> Option<&OsStr> {
    note.as_bytes().strip_suffix(REASON_ENDING.as_bytes()).map(OsStr::from_bytes)
}

/// Every name that a document's sidecar usually has.
pub fn sidecar_names(document: &RelPath) -> Vec<RelPath> {
    let name = document.file_name();
    let stem = stem(name);
    let bases = if stem == name { vec![stem] } else { vec![name, stem] };
    let with_ending = |base: &OsStr, ending: &str| {
        let mut name = base.to_os_string();
        name.push(ending);
        document.with_file_name(&name)
    };
    bases.into_iter().flat_map(|base| SIDECAR_ENDINGS.map(|ending| with_ending(base, ending))).collect()
}

/// What a sidecar is called beside its document after that was renamed from `old` to `new`.
pub fn renamed_sidecar(sidecar: &OsStr, old: &OsStr, new: &OsStr) -> OsString {
    if old == new {
        return sidecar.to_owned();
    }
    let base = stem(sidecar);
    let ending = OsStr::from_bytes(&sidecar.as_bytes()[base.len()..]);
    let is_shared = key(base) != key(old) && folded_key(base) == folded_key(stem(old));
    let mut name = if is_shared { stem(new).to_owned() } else { new.to_owned() };
    name.push(ending);
    name
}

/// A folder's files, sorted by what they are for.
#[derive(Debug, Default)]
pub struct Sorted<'a> {
    /// Each with its sidecar.
    pub documents: Vec<(&'a OsStr, Pairing)>,
    /// What is neither a document, nor of one, nor known litter, nor this folder's `patient.toml`.
    pub strays: Vec<Stray<'a>>,
}

/// A file that a person has to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray<'a> {
    /// Its name.
    pub name: &'a OsStr,
    /// Why it is one.
    pub kind: StrayKind,
    /// The documents that it may say something of.
    pub concerns: Concerns<'a>,
}

/// Why a file is neither sent nor read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrayKind {
    /// It looks like a `patient.toml`.
    PatientLike,
    /// It looks like a sidecar.
    SidecarLike,
    /// A sidecar whose document is not there.
    Orphan,
    /// A receipt or a reason.
    Note,
    /// Something that a program was writing.
    Temporary,
    /// A hidden file or folder that is not known.
    Hidden,
    /// A `patient.toml` outside every patient folder.
    Homeless,
}

/// The documents that a stray file may say something of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concerns<'a> {
    /// None that is there.
    Nothing,
    /// All of its folder, and of the folders inside.
    Folder,
    /// These.
    Documents(Vec<&'a OsStr>),
}

/// Sorts the files of one folder; `in_folder` makes a path of a name in it.
pub fn sort<'a>(names: impl IntoIterator<Item = &'a OsStr>, in_folder: impl Fn(&OsStr) -> RelPath) -> Sorted<'a> {
    let mut found = Found::default();
    let mut has_patient_file = false;
    for name in names {
        match role(name) {
            Role::Document => found.documents.push(name),
            Role::Sidecar => found.sidecars.push(name),
            Role::PatientFile => has_patient_file = true,
            Role::PatientLike => found.stray(name, StrayKind::PatientLike, Concerns::Folder),
            Role::SidecarLike => found.loose.push((name, StrayKind::SidecarLike)),
            Role::Temporary => found.loose.push((name, StrayKind::Temporary)),
            Role::Hidden => found.stray(name, StrayKind::Hidden, Concerns::Nothing),
            Role::Note => found.notes.push(name),
            Role::Litter => {}
        }
    }
    found.sort(has_patient_file, in_folder)
}

#[derive(Default)]
struct Found<'a> {
    documents: Vec<&'a OsStr>,
    sidecars: Vec<&'a OsStr>,
    loose: Vec<(&'a OsStr, StrayKind)>,
    notes: Vec<&'a OsStr>,
    strays: Vec<Stray<'a>>,
}

/// The sidecars that could be a document's.
#[derive(Clone, Default)]
struct Own<'a> {
    exact: Vec<&'a OsStr>,
    shared: Vec<&'a OsStr>,
    /// One is named as exactly after another document.
    exact_unclear: bool,
    /// One is named after the stem of several documents.
    shared_unclear: bool,
}

impl<'a> Found<'a> {
    fn stray(&mut self, name: &'a OsStr, kind: StrayKind, concerns: Concerns<'a>) {
        self.strays.push(Stray { name, kind, concerns });
    }

    fn sort(mut self, has_patient_file: bool, in_folder: impl Fn(&OsStr) -> RelPath) -> Sorted<'a> {
        let mut own = vec![Own::default(); if self.sidecars.is_empty() { 0 } else { self.documents.len() }];
        let orphans = self.pair(&mut own);
        let is_paired =
            |own: &[Own<'_>], at: usize| own.get(at).is_some_and(|own| !own.exact.is_empty() || !own.shared.is_empty());
        let loose = orphans.into_iter().map(|name| (name, StrayKind::Orphan)).chain(std::mem::take(&mut self.loose));
        let loose: Vec<_> = loose.collect();
        if !loose.is_empty() {
            let index = Index::of(&self.documents);
            for (name, kind) in loose {
                let lower = lowered(name);
                let is_copy =
                    kind == StrayKind::Temporary || BACKUP_ENDINGS.iter().any(|ending| lower.ends_with(ending));
                let mut near = metadata_base(strip_temporary(&lower)).map(|base| index.near(&base)).unwrap_or_default();
                if is_copy {
                    near.retain(|at| !is_paired(&own, *at));
                }
                let concerns = if !near.is_empty() {
                    Concerns::Documents(near.into_iter().map(|at| self.documents[at]).collect())
                } else if resembles_patient(strip_temporary(&lower)) && !(is_copy && has_patient_file) {
                    Concerns::Folder
                } else {
                    Concerns::Nothing
                };
                let kind = match (&concerns, kind) {
                    (Concerns::Folder, _) => StrayKind::PatientLike,
                    (Concerns::Documents(_), _) => StrayKind::SidecarLike,
                    (Concerns::Nothing, StrayKind::SidecarLike) => StrayKind::SidecarLike,
                    (Concerns::Nothing, kind) => kind,
                };
                self.stray(name, kind, concerns);
            }
        }
        for name in std::mem::take(&mut self.notes) {
            let of = document_of_reason(name).filter(|document| self.documents.contains(document));
            self.stray(
                name,
                StrayKind::Note,
                of.map_or(Concerns::Nothing, |document| Concerns::Documents(vec![document])),
            );
        }
        let pairing = |at: usize| match own.get(at) {
            None => Pairing::Alone,
            Some(own) => match (own.exact.as_slice(), own.exact_unclear, own.shared.as_slice(), own.shared_unclear) {
                ([], false, [], false) => Pairing::Alone,
                // One that is named after several is another's when this one has its own.
                ([one], false, [], _) | ([], false, [one], false) => Pairing::With(in_folder(one)),
                _ => Pairing::Ambiguous,
            },
        };
        let documents = self.documents.iter().enumerate().map(|(at, name)| (*name, pairing(at))).collect();
        Sorted { documents, strays: self.strays }
    }

    /// Gives every sidecar to the documents that it could belong to; returns those that belong to none.
    ///
    /// `scan.pdf.toml` belongs to `scan.pdf`; `scan.toml` as well, when no other document there is called `scan`.
    fn pair(&self, own: &mut [Own<'a>]) -> Vec<&'a OsStr> {
        if self.sidecars.is_empty() {
            return Vec::new();
        }
        let (mut by_name, mut by_stem) = (HashMap::<_, Vec<usize>>::new(), HashMap::<_, Vec<usize>>::new());
        for (at, name) in self.documents.iter().enumerate() {
            by_name.entry(folded_key(name)).or_default().push(at);
            if stem(name) != *name {
                by_stem.entry(folded_key(stem(name))).or_default().push(at);
            }
        }
        let mut orphans = Vec::new();
        for sidecar in &self.sidecars {
            let base = stem(sidecar);
            let folded = folded_key(base);
            let named = by_name.get(&folded).map(Vec::as_slice).unwrap_or_default();
            let stemmed = by_stem.get(&folded).map(Vec::as_slice).unwrap_or_default();
            match (named, stemmed) {
                ([], []) => orphans.push(*sidecar),
                ([], [one]) => own[*one].shared.push(sidecar),
                ([], many) => many.iter().for_each(|at| own[*at].shared_unclear = true),
                ([one], []) => {
                    let document = self.documents[*one];
                    // In other capitals it may be another document's, on a disk that tells them apart.
                    if key(base) == key(document) || stem(document) == document {
                        own[*one].exact.push(sidecar);
                    } else {
                        orphans.push(*sidecar);
                    }
                }
                (named, stemmed) => {
                    named.iter().chain(stemmed).for_each(|at| own[*at].exact_unclear = true);
                }
            }
        }
        orphans
    }
}

/// Finds documents by names that are nearly theirs.
struct Index {
    /// The words of a document's name, and of its stem; by the digits in them, which must agree: `scan 2` is not `scan 1`.
    by_digits: HashMap<String, Vec<(Vec<String>, usize)>>,
}

impl Index {
    fn of(documents: &[&OsStr]) -> Self {
        let mut by_digits = HashMap::<_, Vec<_>>::new();
        for (at, name) in documents.iter().enumerate() {
            let mut add = |name: &OsStr| {
                let words = words(&lowered(name));
                by_digits.entry(digits(&words)).or_default().push((words, at));
            };
            add(name);
            if stem(name) != *name {
                add(stem(name));
            }
        }
        Self { by_digits }
    }

    fn near(&self, base: &str) -> Vec<usize> {
        let base = words(base);
        let candidates = self.by_digits.get(&digits(&base)).map(Vec::as_slice).unwrap_or_default();
        let mut near: Vec<_> =
            candidates.iter().filter(|(words, _)| is_near(words, &base)).map(|(_, at)| *at).collect();
        near.dedup();
        near
    }
}

/// The same letters and digits, or one word of three letters or more with one letter wrong.
fn is_near(a: &[String], b: &[String]) -> bool {
    if a.concat() == b.concat() {
        return !a.is_empty();
    }
    if a.len() != b.len() {
        return false;
    }
    let mut differing = a.iter().zip(b).filter(|(a, b)| a != b);
    let (Some((a, b)), None) = (differing.next(), differing.next()) else { return false };
    let is_word = |word: &String| word.chars().count() > 2 && !word.chars().any(|c| c.is_ascii_digit());
    is_word(a) && is_word(b) && is_within(a, b, 1)
}

fn is_within(a: &str, b: &str, most: usize) -> bool {
    if a.chars().count().abs_diff(b.chars().count()) > most {
        return false;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    distance(&a, &b) <= most
}

/// Runs of letters and runs of digits, without accents and without what nobody sees.
fn words(lower: &str) -> Vec<String> {
    const PLAIN: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizerBorrowed::new_nfkd();
    let mut words: Vec<String> = Vec::new();
    let mut last = None;
    let plain = if lower.is_ascii() { lower.into() } else { PLAIN.normalize(lower) };
    for c in plain.chars() {
        // Combining accents are neither.
        let class = if c.is_alphabetic() {
            Some(false)
        } else if c.is_numeric() {
            Some(true)
        } else if is_unsafe(c) || ('\u{300}'..='\u{36f}').contains(&c) {
            continue;
        } else {
            None
        };
        match (class, words.last_mut()) {
            (Some(_), Some(word)) if class == last => word.push(c),
            (Some(_), _) => words.push(c.into()),
            (None, _) => {}
        }
        last = class;
    }
    words
}

fn digits(words: &[String]) -> String {
    let numbers = words.iter().filter(|word| word.starts_with(char::is_numeric));
    numbers.map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// `patient.toml` by another ending, with a mark of a copy, or misspelled.
fn is_patient_like(lower: &str) -> bool {
    // Most names are told apart by this much.
    if lower.chars().filter(|c| c.is_alphabetic()).count() < PATIENT_FILE.len() / 2 {
        return false;
    }
    let (base, endings) = bare(lower);
    let has_ending = base.contains('.');
    base.len() < 4 * PATIENT_FILE.len()
        && !has_ending
        && (endings > 0 || !lower.contains('.'))
        && is_within(&words(base).concat(), "patient", 1)
}

/// A sidecar that nobody has, and whose name makes one think of `patient.toml`.
fn resembles_patient(lower: &str) -> bool {
    let (base, endings) = bare(lower);
    let words = words(base);
    endings > 0 && (is_within(&words.concat(), "patient", 2) || words.iter().any(|word| is_within(word, "patient", 1)))
}

/// What a file would describe that has an ending like a sidecar's, in whatever disguise: `scan.pdf` for
/// `scan.pdf - Copy.toml.txt`. `None` when it has none.
fn metadata_base(lower: &str) -> Option<String> {
    // Plain text by its only ending.
    if lower.strip_suffix(".txt").is_some_and(|base| !base.contains('.')) {
        return None;
    }
    let mut rest = without_marks(lower);
    let mut is_metadata = false;
    while let Some((base, ending)) = rest.rsplit_once('.').filter(|(base, _)| !base.is_empty()) {
        let like = |real: &str| ending == real || (ending.len() >= 3 && is_within(ending, real, 1));
        if like("toml") || like("json") {
            is_metadata = true;
        } else if !["txt", "text"].contains(&ending) && !BACKUP_ENDINGS.iter().any(|backup| backup[1..] == *ending)
            || is_metadata
        {
            break;
        }
        rest = without_marks(base);
    }
    is_metadata.then(|| rest.to_owned())
}

/// A name without the endings that make a `patient.toml` of it or hide one, and how many there were.
fn bare(lower: &str) -> (&str, usize) {
    let (mut rest, mut count) = (without_marks(lower), 0);
    while let Some((base, ending)) = rest.rsplit_once('.').filter(|(base, _)| !base.is_empty()) {
        let like = |real: &str| ending == real || (ending.len() >= 3 && is_within(ending, real, 1));
        let other = ["txt", "text", "ini", "yaml", "yml", "cfg", "conf"].contains(&ending);
        if !like("toml") && !like("json") && !other && !BACKUP_ENDINGS.iter().any(|backup| backup[1..] == *ending) {
            break;
        }
        (rest, count) = (without_marks(base), count + 1);
    }
    (rest, count)
}

/// Without trailing blanks and dots, and without what desktops add to a copy's name: ` (1)`, ` - Copy`, ` - Kopie (2)`.
fn without_marks(name: &str) -> &str {
    let mut rest = name;
    loop {
        let plain =
            rest.trim_end_matches(|c: char| c == '.' || c == '_' || c == '-' || c.is_whitespace() || is_unsafe(c));
        let shorter = without_number(plain).or_else(|| without_copy(plain)).unwrap_or(plain);
        if shorter.len() == rest.len() || shorter.is_empty() {
            return rest;
        }
        rest = shorter;
    }
}

/// `scan (1)` → `scan `.
fn without_number(name: &str) -> Option<&str> {
    let (rest, inside) = name.strip_suffix([')', ']'])?.rsplit_once(['(', '['])?;
    let is_mark = inside.chars().all(|c| c.is_ascii_digit()) || without_copy(inside).is_some_and(str::is_empty);
    (is_mark && !inside.is_empty()).then_some(rest)
}

/// `scan - Copy 2` → `scan - `; in the languages that say so with a word like it.
fn without_copy(name: &str) -> Option<&str> {
    let numberless = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end();
    let numberless = if numberless.is_empty() { name } else { numberless };
    let start =
        numberless.char_indices().rev().find(|(_, c)| !c.is_alphabetic()).map_or(0, |(at, c)| at + c.len_utf8());
    let word: String = words(&numberless[start..]).concat();
    let is_copy = (word.starts_with("cop") || word.starts_with("kop")) && word.chars().count() <= 6;
    is_copy.then(|| &numberless[..start])
}

fn strip_temporary(lower: &str) -> &str {
    TEMPORARY_ENDINGS.iter().find_map(|ending| lower.strip_suffix(ending)).unwrap_or(lower)
}

/// `scan.pdf` → `scan`.
fn stem(name: &OsStr) -> &OsStr {
    Path::new(name).file_stem().unwrap_or(name)
}

/// A name as it is compared for pairing: in one Unicode form, without the blanks and dots at its end that Windows drops.
fn key(name: &OsStr) -> Vec<u8> {
    trimmed(composed(name))
}

fn folded_key(name: &OsStr) -> Vec<u8> {
    trimmed(folded(name))
}

fn trimmed(mut name: Vec<u8>) -> Vec<u8> {
    let kept = name.iter().rposition(|byte| !b" .".contains(byte)).map_or(0, |at| at + 1);
    name.truncate(if kept == 0 { name.len() } else { kept });
    name
}

fn lowered(name: &OsStr) -> String {
    let mut text = name.to_string_lossy().into_owned();
    if text.is_ascii() {
        text.make_ascii_lowercase()
    } else {
        text = text.to_lowercase()
    }
    text
}

#[cfg(test)]
mod tests;
