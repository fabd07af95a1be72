//! Whose folder it is: `patient.toml`, the folder's name, and that the two agree.

use std::{ffi::OsStr, io, path::Path};

use serde::Deserialize;

use super::{
    names::{difference, names_agree, union, words},
    roster::RosterFile,
};
use crate::{
    config::{FolderPattern, strict, units::Date},
    model::document::{Gender, Identifier, Patient},
    model::path::RelPath,
    model::patient::same_system,
    model::words::{display_name, is_unsafe},
};
use crate::{
    inbox::{dir::InboxDir, pairing::PATIENT_FILE},
    model::problem::{Problem, catalogue as known},
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
    /// A person must correct something.
    Refused(Problem),
    /// The file could not be read just now.
    Busy(io::Error),
    /// It cannot be told at the moment.
    NotYet(Problem),
    /// There is a `patient.toml`, and nothing in it yet.
    Empty,
}

impl From<Problem> for Failure {
    fn from(refusal: Problem) -> Self {
        Self::Refused(refusal)
    }
}

/// What a patient folder says.
#[derive(Debug)]
pub struct FolderSays {
    /// Of the patient: its name and its `patient.toml` together.
    pub patient: Patient,
    /// The words of its name that the pattern leaves over: a statement as well, where the patient's name is known.
    pub left_over: String,
}

/// Whose document this is, by the folder it is in.
pub fn of_folder(
    root: &InboxDir,
    document: &RelPath,
    by_name: Option<&FolderPattern>,
    roster: Option<&RosterFile>,
) -> Result<FolderSays, Failure> {
    let Some(folder) = document.first_folder() else {
        return Err(known::NO_PATIENT_FOLDER.problem().into());
    };
    let named = by_name.map(|by_name| from_name(folder, by_name)).transpose()?.unwrap_or_default();
    let left_over = named.left_over.clone();
    let patient = match from_file(root, folder)? {
        Some(patient) => agree(patient, &named)?,
        None => of_name_alone(named, roster)?,
    };
    no_patient_inside_another(root, document, &patient, by_name, roster)?;
    Ok(FolderSays { patient, left_over })
}

/// What a folder's name says of the patient.
#[derive(Debug, Default)]
struct Named {
    number: Option<String>,
    /// Who gave the number, where the inbox says it.
    system: Option<String>,
    /// Name and birth date, without identifiers.
    person: Option<Patient>,
    left_over: String,
}

/// What the pattern reads in a folder's name. A number that only a part of a longer word fits, such as the 12 of `12O4`, or
/// one of two, would be somebody's guess.
fn from_name(folder: &OsStr, by_name: &FolderPattern) -> Result<Named, Problem> {
    let name = folder.to_string_lossy();
    let mut groups: [Option<&str>; 4] = [None; 4];
    let (mut rest, mut end) = (String::new(), 0);
    for captures in by_name.pattern.captures_iter(&name) {
        let Some(whole) = captures.get(0) else { continue };
        rest.push_str(&name[end..whole.start()]);
        rest.push(' ');
        rest.push_str(&unread_words(whole, &captures, by_name.pattern.as_str()));
        rest.push(' ');
        end = whole.end();
        let runs_on = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        for (group, known) in FolderPattern::GROUPS.into_iter().zip(&mut groups) {
            let Some(found) = captures.name(group).filter(|found| !found.as_str().trim().is_empty()) else { continue };
            let is_part = (found.start() == whole.start() && runs_on(name[..whole.start()].chars().next_back()))
                || (found.end() == whole.end() && runs_on(name[whole.end()..].chars().next()));
            if (group == "identifier" && is_part) || known.is_some_and(|known| known != found.as_str()) {
                return Err(known::PATIENT_NAME_UNCLEAR.problem());
            }
            *known = Some(found.as_str());
        }
    }
    if end == 0 {
        // The pattern does not read such names at all.
        return Ok(Named::default());
    }
    rest.push_str(&name[end..]);
    let [number, family, given, birth_date] = groups.map(|group| group.map(|text| text.trim().to_owned()));
    let birth_date = birth_date.as_deref().map(date_in_name).transpose()?;
    let person = (family.is_some() || given.is_some() || birth_date.is_some()).then(|| Patient {
        identifier: vec![],
        family,
        given: given.into_iter().collect(),
        birth_date,
        gender: None,
    });
    Ok(Named { number, system: by_name.identifier_system.clone(), person, left_over: rest })
}

/// What a match covers without a group reading it, less the words that the pattern itself spells: `.*` overlooks nothing.
fn unread_words(whole: regex::Match<'_>, captures: &regex::Captures<'_>, pattern: &str) -> String {
    let mut text = whole.as_str().as_bytes().to_vec();
    for group in FolderPattern::GROUPS.iter().filter_map(|group| captures.name(group)) {
        text[group.start() - whole.start()..group.end() - whole.start()].fill(b' ');
    }
    let spelled = pattern.replace("(?<", "(?P<").replace("(?P<", " <");
    let spelled: Vec<_> =
        spelled.split_whitespace().flat_map(|part| part.split('<')).map(words).map(|words| words.concat()).collect();
    let text = String::from_utf8_lossy(&text);
    let unread = text.split_whitespace().filter(|word| !spelled.contains(&words(word).concat()));
    unread.collect::<Vec<_>>().join(" ")
}

/// `2008-01-06`, `20080106` or `06.01.2008`.
fn date_in_name(text: &str) -> Result<jiff::civil::Date, Problem> {
    ["%Y-%m-%d", "%Y%m%d", "%d.%m.%Y"].iter().find_map(|form| jiff::civil::Date::strptime(form, text).ok()).ok_or_else(|| {
        known::PATIENT_NAME_UNCLEAR.with(
            format!("The birth date in the folder's name ({}) is not a date that can be read for certain.", display_name(text)),
            "Write it as year, month and day, for example 2008-01-06. Then move the document back into the folder in the inbox.",
        )
    })
}

/// A folder without `patient.toml`.
fn of_name_alone(named: Named, roster: Option<&RosterFile>) -> Result<Patient, Failure> {
    let nobody = || known::NO_PATIENT.problem();
    let Some(value) = named.number else { return Err(nobody().into()) };
    let system = match (named.system, roster) {
        (Some(system), _) => Some(system),
        (None, Some(roster)) => roster.system_of(&value).map_err(Failure::NotYet)?,
        (None, None) => None,
    };
    let Some(system) = system else { return Err(nobody().into()) };
    let number = Patient {
        identifier: vec![Identifier { system, value, kind: Some("MR".into()) }],
        family: None,
        given: vec![],
        birth_date: None,
        gender: None,
    };
    Ok(match named.person {
        Some(person) => union(number, &person),
        None => number,
    })
}

/// Not read, and not overlooked: it may say that the folder is another patient's.
pub fn misnamed(name: &OsStr) -> Problem {
    known::PATIENT_MISNAMED.because(format!(
        "The file that says whose folder this is must be called patient.toml, in small letters and with nothing after it. Here a file is called \"{}\". It may say that the folder is another patient's, and it was not read.",
        display_name(name)
    ))
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
    if is_blank(&bytes) {
        return Err(Failure::Empty);
    }
    Ok(parse(&bytes).map(Some)?)
}

/// Nothing but blanks and zeros: what a program leaves that empties a file before it writes it.
pub fn is_blank(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    bytes.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0)
}

/// Parses a `patient.toml`.
pub fn parse(bytes: &[u8]) -> Result<Patient, Problem> {
    let file: PatientFile = strict::toml(bytes).map_err(|error| unreadable(error.to_string()))?;
    checked(file).map_err(|why| unreadable(why.into()))
}

fn unreadable(why: String) -> Problem {
    let end = if why.ends_with('?') { "" } else { "." };
    known::PATIENT_UNREADABLE.because(format!(
        "The patient.toml of this folder cannot be understood, so nobody can tell for certain whose folder it is: {why}{end}"
    ))
}

fn checked(file: PatientFile) -> Result<Patient, &'static str> {
    if file.identifier.is_empty() {
        return Err("identifier is empty: it needs the patient's number");
    }
    if file.identifier.len() > 4 {
        return Err("there are more than four identifiers");
    }
    let bad = |text: &str, most: usize| {
        text.trim() != text || text.is_empty() || text.len() > most || text.chars().any(is_unsafe)
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

/// The folder's name and its `patient.toml` are two statements: they must not contradict each other.
fn agree(patient: Patient, named: &Named) -> Result<Patient, Problem> {
    let mismatch = |what: &str, by_name: &str, by_file: &str| {
        known::PATIENT_MISMATCH.because(format!(
            "The folder's name and the patient.toml in it name different patients: {what} is \"{}\" by the folder's name and \"{}\" by patient.toml. The document was not sent to either.",
            display_name(by_name),
            display_name(by_file)
        ))
    };
    if let Some(number) = &named.number {
        let is_named = |identifier: &Identifier| {
            identifier.value.trim() == number
                && named.system.as_deref().is_none_or(|system| same_system(system, &identifier.system))
        };
        if !patient.identifier.iter().any(is_named) {
            let of = |value: &str, system: &str| format!("{value} ({system})");
            let by_name = named.system.as_ref().map_or_else(|| number.clone(), |system| of(number, system));
            let by_file: Vec<_> =
                patient.identifier.iter().map(|identifier| of(&identifier.value, &identifier.system)).collect();
            return Err(mismatch("the patient's number", &by_name, &by_file.join(", ")));
        }
    }
    let Some(person) = &named.person else { return Ok(patient) };
    match difference(person, &patient) {
        Some(difference) => Err(mismatch(difference.what, &difference.one, &difference.other)),
        None => Ok(union(patient, person)),
    }
}

/// People read the folder's name, and a program its number: where they say different things, one of them is wrong.
pub fn name_disagrees(left_over: &str, patient: &Patient) -> Option<Problem> {
    if names_agree(left_over, patient) {
        return None;
    }
    let names: Vec<_> = patient.given.iter().chain(&patient.family).map(String::as_str).collect();
    let stated = left_over.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(known::FOLDER_NAME_MISMATCH.because(format!(
        "The folder's name says \"{}\", and the patient with this number is called \"{}\" (by patient.toml or by the clinic's list of patients). The two names have no word in common, so the document may be another patient's. It was not sent to anybody.",
        display_name(stated),
        display_name(names.join(" "))
    )))
}

/// A patient folder that was dropped into another patient's folder: its documents are not the outer patient's.
fn no_patient_inside_another(
    root: &InboxDir,
    document: &RelPath,
    patient: &Patient,
    by_name: Option<&FolderPattern>,
    roster: Option<&RosterFile>,
) -> Result<(), Failure> {
    let mut folder = document.parent();
    while let Some(inner) = folder.filter(|folder| folder.parent().is_some()) {
        let file = RelPath::new(&inner.as_path().join(PATIENT_FILE));
        let there = file.map(|file| root.file(&file)).transpose();
        match there {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => return Err(Failure::Busy(error)),
            _ => {
                return Err(known::PATIENT_INSIDE_PATIENT
                    .because(format!(
                        "The document is in the folder \"{}\", which has a patient.toml of its own and is inside another patient's folder, so it could belong to either patient.",
                        display_name(inner.file_name())
                    ))
                    .into());
            }
        }
        if let Some(number) =
            by_name.map(|by_name| another_number(&inner, by_name, patient, roster)).transpose()?.flatten()
        {
            return Err(known::PATIENT_INSIDE_PATIENT.with(
                format!(
                    "The document is in the folder \"{}\", whose name says another patient's number ({}), and which is inside another patient's folder. So it could belong to either patient.",
                    display_name(inner.file_name()),
                    display_name(&number)
                ),
                "If it is a patient's folder, move it up, so that it is directly in the inbox, and move the document back into it there. If it is not, rename it so that its name does not look like a patient's number (for example Labs 2026 for 2026), and move the document back into it.",
            )
            .into());
        }
        folder = inner.parent();
    }
    Ok(())
}

/// The number of another patient that an inner folder's name says, whole or as a part of a word; with a list of patients, one
/// that is on it.
fn another_number(
    inner: &RelPath,
    by_name: &FolderPattern,
    patient: &Patient,
    roster: Option<&RosterFile>,
) -> Result<Option<String>, Failure> {
    let name = inner.file_name().to_string_lossy();
    for captures in by_name.pattern.captures_iter(&name) {
        let Some(number) = captures.name("identifier").map(|number| number.as_str().trim()) else { continue };
        if number.is_empty() || patient.identifier.iter().any(|identifier| identifier.value.trim() == number) {
            continue;
        }
        if roster.map(|roster| roster.knows(number)).transpose().map_err(Failure::NotYet)?.unwrap_or(true) {
            return Ok(Some(number.to_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(pattern: &str, folder: &str) -> Result<Option<String>, &'static str> {
        let by_name =
            FolderPattern { identifier_system: Some("urn:x".into()), pattern: regex::Regex::new(pattern).unwrap() };
        let named = from_name(OsStr::new(folder), &by_name).map_err(|refusal| refusal.code)?;
        Ok(named.number)
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

    #[test]
    fn what_the_pattern_leaves_over_is_a_statement() {
        for (pattern, folder, left) in [
            ("^(?<identifier>[0-9]+)", "12 Bixby", "Bixby"),
            ("^(?<identifier>[0-9]+).*$", "12 Bixby", "Bixby"),
            ("^Patient (?<identifier>[0-9]+)", "Patient 12, Bixby", ", Bixby"),
            ("^(?<identifier>[0-9]+) (?<family>[^,]+), (?<given>.+)$", "12 Bixby, Tim", ""),
            ("^(?<identifier>[0-9]+)", "Bixby", ""),
        ] {
            let by_name = FolderPattern { identifier_system: None, pattern: regex::Regex::new(pattern).unwrap() };
            let named = from_name(OsStr::new(folder), &by_name).unwrap();
            assert_eq!(named.left_over.split_whitespace().collect::<Vec<_>>().join(" "), left, "{pattern} {folder}");
        }
        let pattern = "^(?<identifier>[0-9]+) (?<family>[^,]+), (?<given>.+) (?<birth_date>[0-9.-]+)$";
        let by_name = FolderPattern { identifier_system: None, pattern: regex::Regex::new(pattern).unwrap() };
        for date in ["2008-01-06", "06.01.2008"] {
            let person = from_name(OsStr::new(&format!("12 Bixby, Tim {date}")), &by_name).unwrap().person.unwrap();
            assert_eq!(
                (person.family.unwrap(), person.birth_date),
                ("Bixby".into(), Some(jiff::civil::date(2008, 1, 6)))
            );
        }
        assert_eq!(
            from_name(OsStr::new("12 Bixby, Tim 06.13.2008"), &by_name).unwrap_err().code,
            "patient-name-unclear"
        );
    }

    #[test]
    fn the_folder_s_number_must_be_among_the_patient_s() {
        let patient = |system: &str, value: &str| Patient {
            identifier: vec![Identifier { system: system.into(), value: value.into(), kind: None }],
            family: None,
            given: vec![],
            birth_date: None,
            gender: None,
        };
        for (named, system, value, agrees) in [
            (Some("urn:x"), "urn:x", "12", true),
            (Some("urn:x"), "URN:X", "12", true),
            (Some("urn:x"), "urn:x", "13", false),
            (Some("urn:x"), "URN:X", "13", false),
            (Some("urn:x"), "urn:y", "12", false),
            (Some("urn:x"), "urn:y", "13", false),
            (None, "urn:y", "12", true),
            (None, "urn:y", "13", false),
            (None, "urn:y", "012", false),
        ] {
            let named = Named { number: Some("12".into()), system: named.map(str::to_owned), ..Named::default() };
            assert_eq!(agree(patient(system, value), &named).is_ok(), agrees, "{named:?} {system} {value}");
        }
    }
}
