//! Whose folder it is: `patient.toml`, the folder's name, and that the two agree.

use std::{ffi::OsStr, io, path::Path};

use serde::Deserialize;

use crate::{
    config::{FolderPattern, strict, units::Date},
    model::document::{Gender, Identifier, Patient},
    model::path::RelPath,
};
use crate::{
    inbox::{dir::InboxDir, scan::PATIENT_FILE},
    model::problem::Problem,
};

/// A `patient.toml` is a few lines.
const FILE_LIMIT: u64 = 64 * 1024;

/// `patient.toml`, key by key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatientFile {
    identifier: Vec<Identifier>,
    family: Option<String>,
    #[serde(default)]
    given: Vec<String>,
    birth_date: Option<Date>,
    gender: Option<Gender>,
}

/// Why the patient is not known.
#[derive(Debug)]
pub enum Failure {
    /// A person must mend something.
    Refused(Problem),
    /// The file could not be read just now.
    Busy(io::Error),
}

impl From<Problem> for Failure {
    fn from(refusal: Problem) -> Self {
        Self::Refused(refusal)
    }
}

/// Whose document this is, by the folder it lies in.
pub fn of_folder(root: &InboxDir, document: &RelPath, by_name: Option<&FolderPattern>) -> Result<Patient, Failure> {
    let Some(folder) = document.first_folder() else {
        return Err(Problem::new(
            "no-patient-folder",
            "The document was dropped beside the patient folders, not into one, so nobody can tell whose it is.",
            "Move the document into the folder of its patient.",
        )
        .into());
    };
    no_patient_inside_another(root, document)?;
    let named = by_name.map(|by_name| from_name(folder, by_name)).transpose()?.flatten();
    match (from_file(root, folder)?, named) {
        (Some(patient), Some(named)) => agree(patient, &named).map_err(Failure::Refused),
        (Some(patient), None) => Ok(patient),
        (None, Some(named)) => {
            let patient =
                Patient { identifier: vec![named], family: None, given: vec![], birth_date: None, gender: None };
            Ok(patient)
        }
        (None, None) => Err(Problem::new(
            "no-patient",
            "Nothing says whose folder this is: it holds no patient.toml, and its name is not one that says it.",
            "Put a patient.toml with the patient's number, name and birth date into the patient's folder in the inbox, then move the document back there.",
        )
        .into()),
    }
}

/// The number in a folder's name. One that only a part of a longer word fits, such as the 12 of `12O4`, or one of two, would
/// be somebody's guess.
fn from_name(folder: &OsStr, by_name: &FolderPattern) -> Result<Option<Identifier>, Problem> {
    let Some(name) = folder.to_str() else { return Ok(None) };
    let mut value = None;
    for captures in by_name.pattern.captures_iter(name) {
        let (Some(whole), Some(number)) = (captures.get(0), captures.name("identifier")) else { continue };
        let runs_on = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let is_part = (number.start() == whole.start() && runs_on(name[..whole.start()].chars().next_back()))
            || (number.end() == whole.end() && runs_on(name[whole.end()..].chars().next()));
        if is_part || value.is_some_and(|value| value != number.as_str()) {
            return Err(Problem::new(
                "patient-name-unclear",
                "It is not clear which part of the folder's name is the patient's number: letters or digits follow it directly, or there are two numbers.",
                "Write the number by itself, with a space before the patient's name (for example 0000000001 Bixby), then move the document back into the folder in the inbox.",
            ));
        }
        value = Some(number.as_str());
    }
    let system = by_name.identifier_system.clone();
    let value = value.filter(|value| !value.is_empty());
    Ok(value.map(|value| Identifier { system, value: value.to_owned(), kind: Some("MR".into()) }))
}

/// Not read, and not overlooked: it may say that the folder is another patient's.
pub fn misnamed(name: &OsStr) -> Problem {
    let name: String = name.to_string_lossy().chars().filter(|c| !c.is_control()).collect();
    Problem::new(
        "patient-misnamed",
        format!(
            "The file that says whose folder this is must be called patient.toml, in small letters and with nothing behind it. Here it is called {name}, and was not read."
        ),
        "Rename that file in the patient's folder in the inbox (Windows hides the end of a name unless you let it show file name extensions), then move the document back there.",
    )
}

/// What a folder's `patient.toml` says; `None` when there is none.
pub fn from_file(root: &InboxDir, folder: &OsStr) -> Result<Option<Patient>, Failure> {
    let Some(rel) = RelPath::new(&Path::new(folder).join(PATIENT_FILE)) else { return Ok(None) };
    let bytes = match root.read_small(&rel, FILE_LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::FileTooLarge) => {
            return Err(unreadable("it is not a plain, short text file".into()).into());
        }
        Err(error) => return Err(Failure::Busy(error)),
    };
    Ok(parse(&bytes).map(Some)?)
}

/// Parses a `patient.toml`.
pub fn parse(bytes: &[u8]) -> Result<Patient, Problem> {
    let file: PatientFile = strict::toml(bytes).map_err(|error| unreadable(error.to_string()))?;
    checked(file).map_err(|summary| unreadable(summary.into()))
}

fn unreadable(why: String) -> Problem {
    Problem::new(
        "patient-unreadable",
        format!(
            "The patient's patient.toml cannot be understood, so nobody can tell for certain whose folder this is: {why}."
        ),
        "Mend patient.toml in the patient's folder in the inbox, then move the document back there.",
    )
}

fn checked(file: PatientFile) -> Result<Patient, &'static str> {
    if file.identifier.is_empty() {
        return Err("identifier is empty: it needs the patient's number");
    }
    if file.identifier.len() > 4 {
        return Err("there are more than four identifiers");
    }
    let bad = |text: &str, most: usize| {
        text.trim() != text || text.is_empty() || text.len() > most || text.chars().any(is_unseen)
    };
    for identifier in &file.identifier {
        if bad(&identifier.system, 200)
            || !identifier.system.contains(':')
            || identifier.system.contains(char::is_whitespace)
        {
            return Err("an identifier's system is not a URI such as \"urn:redox:health-one:MR\"");
        }
        if bad(&identifier.value, 64) {
            return Err(
                "an identifier's value is empty, very long, or has spaces around it or characters in it that nobody sees",
            );
        }
        if identifier.kind.as_deref().is_some_and(|kind| bad(kind, 20)) {
            return Err("an identifier's type is not a short code such as \"MR\"");
        }
    }
    if file.family.as_deref().is_some_and(|name| bad(name, 100)) {
        return Err("family is empty, very long, or has spaces around it");
    }
    if file.given.len() > 8 || file.given.iter().any(|name| bad(name, 60)) {
        return Err("a name in given is empty, very long, or has spaces around it");
    }
    Ok(Patient {
        identifier: file.identifier,
        family: file.family,
        given: file.given,
        birth_date: file.birth_date.map(|date| date.0),
        gender: file.gender,
    })
}

/// What nobody sees makes another number of the same digits: it comes along when text is copied from a web page.
fn is_unseen(c: char) -> bool {
    let formats = ['\u{ad}'..='\u{ad}', '\u{200b}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2060}'..='\u{206f}'];
    c.is_control() || c == '\u{feff}' || formats.iter().any(|range| range.contains(&c))
}

/// The folder's name and its `patient.toml` are two statements: they must not contradict each other.
fn agree(patient: Patient, named: &Identifier) -> Result<Patient, Problem> {
    let mut same_system = patient.identifier.iter().filter(|identifier| identifier.system == named.system).peekable();
    if same_system.peek().is_some() && !same_system.any(|identifier| identifier.value == named.value) {
        return Err(Problem::new(
            "patient-mismatch",
            "The folder's name and the patient.toml in it name different patients, so the document was not sent to either.",
            "Find out whose folder it is, mend its name or its patient.toml in the inbox, then move the document back there.",
        ));
    }
    Ok(patient)
}

/// A patient folder that was dropped into another patient's folder: its documents are not the outer patient's.
fn no_patient_inside_another(root: &InboxDir, document: &RelPath) -> Result<(), Failure> {
    let mut folder = document.parent();
    while let Some(inner) = folder.filter(|folder| folder.parent().is_some()) {
        let file = RelPath::new(&inner.as_path().join(PATIENT_FILE));
        let there = file.map(|file| root.file(&file)).transpose();
        match there {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => return Err(Failure::Busy(error)),
            _ => {
                return Err(Problem::new(
                    "patient-inside-patient",
                    "The document lies in a folder with a patient.toml of its own, inside another patient's folder, so it could belong to either.",
                    "Move the inner patient's folder out, so that every patient's folder lies directly in the inbox, then move the document back into the right one.",
                )
                .into());
            }
        }
        folder = inner.parent();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(pattern: &str, folder: &str) -> Result<Option<String>, &'static str> {
        let by_name = FolderPattern { identifier_system: "urn:x".into(), pattern: regex::Regex::new(pattern).unwrap() };
        let named = from_name(OsStr::new(folder), &by_name).map_err(|refusal| refusal.code)?;
        Ok(named.map(|identifier| identifier.value))
    }

    #[test]
    fn a_folder_s_name_says_one_whole_number_or_none() {
        const USUAL: &str = "^(?<identifier>[0-9]+)";
        for (pattern, folder, value) in [
            (USUAL, "0000000001", "0000000001"),
            (USUAL, "0000000001 Bixby", "0000000001"),
            (USUAL, "1_Bixby", "1"),
            (USUAL, "12, Bixby 34", "12"),
            (r"\((?<identifier>[0-9]+)\)$", "Bixby (12)", "12"),
            ("^P(?<identifier>[0-9]+)X", "P12X Bixby", "12"),
            ("(?<identifier>[0-9]+)", "Bixby 12", "12"),
        ] {
            assert_eq!(number(pattern, folder), Ok(Some(value.into())), "{folder}");
        }
        assert_eq!(number(USUAL, "Bixby 12"), Ok(None));
        for (pattern, folder) in [
            (USUAL, "12O4 Bixby"),
            (USUAL, "12Bixby"),
            ("(?<identifier>[0-9]+)", "Room 5 Bixby 12"),
            ("(?<identifier>[0-9]+)", "B12"),
            ("^(?<identifier>[0-9]{4})", "00001 Bixby"),
        ] {
            assert_eq!(number(pattern, folder), Err("patient-name-unclear"), "{folder}");
        }
    }
}
