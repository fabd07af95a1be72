//! Whose folder it is: `patient.toml`, the folder's name, and that the two agree.

use std::{ffi::OsStr, io, path::Path};

use serde::Deserialize;

use super::{beneath::Root, refusal::Refusal, scan::PATIENT_FILE};
use crate::{
    config::{FolderPattern, strict, units::Date},
    document::{Gender, Identifier, Patient},
    place::RelPath,
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
    Refused(Refusal),
    /// The file could not be read just now.
    Busy(io::Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Whose document this is, by the folder it lies in.
pub fn of_folder(root: &Root, document: &RelPath, by_name: Option<&FolderPattern>) -> Result<Patient, Failure> {
    let Some(folder) = document.first_folder() else {
        return Err(Refusal::new(
            "no-patient-folder",
            "The document was dropped beside the patient folders, not into one, so nobody can tell whose it is.",
            "Move the document into the folder of its patient.",
        )
        .into());
    };
    no_patient_inside_another(root, document)?;
    let named = by_name.and_then(|by_name| from_name(folder, by_name));
    match (from_file(root, folder)?, named) {
        (Some(patient), Some(named)) => agree(patient, &named).map_err(Failure::Refused),
        (Some(patient), None) => Ok(patient),
        (None, Some(named)) => {
            let patient =
                Patient { identifier: vec![named], family: None, given: vec![], birth_date: None, gender: None };
            Ok(patient)
        }
        (None, None) => Err(Refusal::new(
            "no-patient",
            "Nothing says whose folder this is: it holds no patient.toml, and its name is not one that says it.",
            "Put a patient.toml with the patient's number, name and birth date into the patient's folder in the inbox, then move the document back there.",
        )
        .into()),
    }
}

fn from_name(folder: &OsStr, by_name: &FolderPattern) -> Option<Identifier> {
    let value = by_name.pattern.captures(folder.to_str()?)?.name("identifier")?.as_str().to_owned();
    let system = by_name.identifier_system.clone();
    (!value.is_empty()).then_some(Identifier { system, value, kind: Some("MR".into()) })
}

/// What a folder's `patient.toml` says; `None` when there is none.
pub fn from_file(root: &Root, folder: &OsStr) -> Result<Option<Patient>, Failure> {
    let Some(rel) = RelPath::new(&Path::new(folder).join(PATIENT_FILE)) else { return Ok(None) };
    let bytes = match root.read_small(&rel, FILE_LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::FileTooLarge) => {
            return Err(unreadable("it is not a plain, short text file".into()).into());
        }
        Err(error) => return Err(Failure::Busy(error)),
    };
    let file: PatientFile = strict::toml(&bytes).map_err(|error| unreadable(error.to_string()))?;
    checked(file).map(Some).map_err(|what| unreadable(what.into()).into())
}

fn unreadable(why: String) -> Refusal {
    Refusal::new(
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
        text.trim() != text || text.is_empty() || text.len() > most || text.chars().any(char::is_control)
    };
    for identifier in &file.identifier {
        if bad(&identifier.system, 200)
            || !identifier.system.contains(':')
            || identifier.system.contains(char::is_whitespace)
        {
            return Err("an identifier's system is not a URI such as \"urn:redox:health-one:MR\"");
        }
        if bad(&identifier.value, 64) {
            return Err("an identifier's value is empty, very long, or has spaces around it");
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

/// The folder's name and its `patient.toml` are two statements: they must not contradict each other.
fn agree(patient: Patient, named: &Identifier) -> Result<Patient, Refusal> {
    let mut same_system = patient.identifier.iter().filter(|identifier| identifier.system == named.system).peekable();
    if same_system.peek().is_some() && !same_system.any(|identifier| identifier.value == named.value) {
        return Err(Refusal::new(
            "patient-mismatch",
            "The folder's name and the patient.toml in it name different patients, so the document was not sent to either.",
            "Find out whose folder it is, mend its name or its patient.toml in the inbox, then move the document back there.",
        ));
    }
    Ok(patient)
}

/// A patient folder that was dropped into another patient's folder: its documents are not the outer patient's.
fn no_patient_inside_another(root: &Root, document: &RelPath) -> Result<(), Failure> {
    let mut folder = document.parent();
    while let Some(inner) = folder.filter(|folder| folder.parent().is_some()) {
        let file = RelPath::new(&inner.as_path().join(PATIENT_FILE));
        let there = file.map(|file| root.file(&file)).transpose();
        match there {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => return Err(Failure::Busy(error)),
            _ => {
                return Err(Refusal::new(
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
