//! *Patients*: make a patient's folder from the roster, so that nobody has to write a `patient.toml`.

use std::{ffi::OsStr, io::Write, path::Path};

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{Shared, error_page, guard::Visitor, render, shell::Shell};
use crate::{
    config::{Config, FolderPattern, Inbox},
    inbox::{InboxDir, Roster, parse_patient, patient_of_folder},
    model::{
        document::{Identifier, Patient},
        path::RelPath,
        patient::same_patient,
        words::is_unsafe,
    },
    platform::{
        dir::{Access, Dir, Kind},
        durable,
    },
    status::problem::ApiProblem,
};

/// Patients of a search; whoever sees so many types more of the name.
const MOST_FOUND: usize = 20;
/// Folders whose `patient.toml` is read to find a patient's; beyond that only names are compared.
const MOST_READ: usize = 2000;
const LONGEST_NAME: usize = 100;
const PATIENT_FILE: &str = "patient.toml";

/// What is looked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    text: String,
    inbox: String,
    made: String,
}

struct Found {
    name: String,
    number: String,
    system: String,
    birth_date: String,
    /// The folder that there is.
    folder: Option<String>,
}

#[derive(Template)]
#[template(path = "patients.html")]
struct Patients {
    shell: Shell,
    text: String,
    inbox: String,
    inboxes: Vec<String>,
    found: Vec<Found>,
    has_more: bool,
    is_asked: bool,
    is_made: bool,
    path: String,
    problem: String,
}

/// The inbox of that name that has a roster; the first one when none is named.
fn inbox_of(config: &Config, name: &str) -> Option<Inbox> {
    let mut inboxes = config.inboxes.iter().filter(|inbox| inbox.roster.is_some());
    inboxes.find(|inbox| name.is_empty() || inbox.name == name).cloned()
}

/// `GET /patients`.
pub async fn page(
    State(state): Shared,
    Extension(visitor): Extension<Visitor>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let config = state.desk.config();
    let Some(inbox) = inbox_of(&config, &wanted.inbox) else {
        let problem = ApiProblem::new(StatusCode::NOT_FOUND, "no-roster", "No inbox has a list of patients.")
            .with_remedy("Set [[inbox]] roster in the configuration; then patients are found here.");
        return error_page(&state, &visitor, problem).await;
    };
    let (text, asked) = (wanted.text.trim().to_owned(), inbox.clone());
    let look = tokio::task::spawn_blocking(move || match text.is_empty() {
        true => Ok((Vec::new(), false)),
        false => search(&asked, &text),
    });
    let (found, problem) = match look.await {
        Ok(Ok(found)) => (found, String::new()),
        Ok(Err(why)) => ((Vec::new(), false), why),
        Err(_) => ((Vec::new(), false), "The list of patients could not be read.".into()),
    };
    let inboxes = config.inboxes.iter().filter(|inbox| inbox.roster.is_some()).map(|inbox| inbox.name.clone());
    let page = Patients {
        shell: Shell::of(&state, &visitor, "patients", "Patients").await,
        is_asked: !wanted.text.trim().is_empty(),
        text: wanted.text,
        path: inbox.path.to_string_lossy().into_owned(),
        inbox: inbox.name,
        inboxes: inboxes.collect(),
        found: found.0,
        has_more: found.1,
        is_made: !wanted.made.is_empty(),
        problem,
    };
    render(&page)
}

fn read(inbox: &Inbox) -> Result<Roster, String> {
    let path = inbox.roster.as_deref().unwrap_or(Path::new(""));
    Roster::read(path).map_err(|why| format!("The list of patients cannot be used: {why}. IT has to act."))
}

fn search(inbox: &Inbox, text: &str) -> Result<(Vec<Found>, bool), String> {
    let mut patients = read(inbox)?.search(text, MOST_FOUND + 1);
    let has_more = patients.len() > MOST_FOUND;
    patients.truncate(MOST_FOUND);
    let folders = Folders::read(inbox).map_err(|why| format!("The inbox cannot be read ({why})."))?;
    let found = patients.into_iter().map(|patient| {
        let patient = with_system(patient, inbox);
        let number = patient.identifier.first();
        Found {
            name: [patient.family.as_deref().unwrap_or_default(), &patient.given.join(" ")]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(", "),
            number: number.map(|number| number.value.clone()).unwrap_or_default(),
            system: number.map(|number| number.system.clone()).unwrap_or_default(),
            birth_date: patient.birth_date.map(|date| date.strftime("%-d %B %Y").to_string()).unwrap_or_default(),
            folder: folders.of(&patient),
        }
    });
    Ok((found.collect(), has_more))
}

/// A number whose system the list does not say has the inbox's.
fn with_system(mut patient: Patient, inbox: &Inbox) -> Patient {
    let system = inbox.patient.as_ref().and_then(|pattern| pattern.identifier_system.as_deref()).unwrap_or_default();
    for identifier in patient.identifier.iter_mut().filter(|identifier| identifier.system.is_empty()) {
        identifier.system = system.to_owned();
    }
    patient
}

/// The patient folders that there are.
struct Folders {
    root: InboxDir,
    names: Vec<std::ffi::OsString>,
    pattern: Option<FolderPattern>,
}

impl Folders {
    fn read(inbox: &Inbox) -> std::io::Result<Self> {
        let entries = Dir::open(&inbox.path)?.entries()?;
        let names = entries.into_iter().filter(|(_, kind)| *kind == Kind::Folder).map(|(name, _)| name);
        Ok(Self { root: InboxDir::open(&inbox.path)?, names: names.collect(), pattern: inbox.patient.clone() })
    }

    /// Whose name or `patient.toml` says that it is this patient's.
    fn of(&self, patient: &Patient) -> Option<String> {
        let value = patient.identifier.first()?.value.trim();
        let by_name = |name: &&std::ffi::OsString| {
            let name = name.to_string_lossy();
            let pattern = self.pattern.as_ref().map(|pattern| &pattern.pattern);
            pattern.and_then(|pattern| pattern.captures(&name)?.name("identifier").map(|m| m.as_str().trim() == value))
                == Some(true)
        };
        let by_file = |name: &&std::ffi::OsString| matches!(patient_of_folder(&self.root, name), Ok(Some(known)) if same_patient(&known.identifier, &patient.identifier));
        let found = self.names.iter().find(by_name);
        let found = found.or_else(|| self.names.iter().take(MOST_READ).find(by_file))?;
        Some(RelPath::of_name(found).to_string())
    }
}

/// A filled-in form.
#[derive(Deserialize)]
pub struct Answer {
    token: String,
    inbox: String,
    number: String,
    #[serde(default)]
    system: String,
}

/// `POST /patients`: the folder is made.
pub async fn make(
    State(state): Shared,
    Extension(visitor): Extension<Visitor>,
    Form(answer): Form<Answer>,
) -> Response {
    if let Err(problem) = visitor.check(&state.keys, &answer.token) {
        return error_page(&state, &visitor, problem).await;
    }
    let Some(inbox) = inbox_of(&state.desk.config(), &answer.inbox) else {
        return error_page(&state, &visitor, ApiProblem::bad("no-roster", "That inbox has no list of patients.")).await;
    };
    let query: String = [("text", &answer.number), ("inbox", &inbox.name)]
        .map(|(key, value)| format!("{key}={}", super::coded(value)))
        .join("&");
    let made = tokio::task::spawn_blocking(move || made(&inbox, &answer.number, &answer.system)).await;
    match made {
        Ok(Ok(())) => Redirect::to(&format!("/patients?{query}&made=yes")).into_response(),
        Ok(Err(problem)) => error_page(&state, &visitor, problem).await,
        Err(_) => error_page(&state, &visitor, ApiProblem::conflict("internal", "The folder could not be made.")).await,
    }
}

/// Makes the folder with its `patient.toml`. Nothing that is there is replaced.
fn made(inbox: &Inbox, number: &str, system: &str) -> Result<(), ApiProblem> {
    let refused = |code: &str, words: String| ApiProblem::conflict(code, words);
    let found = read(inbox).map_err(|why| refused("roster", why))?.search(number, usize::MAX);
    let mut found = found.into_iter().map(|patient| with_system(patient, inbox)).filter(|patient| {
        patient.identifier.iter().any(|known| known.value == number && (system.is_empty() || known.system == system))
    });
    let (Some(patient), None) = (found.next(), found.next()) else {
        return Err(refused("not-on-roster", "That patient is not on the list any more, or more than once.".into()));
    };
    if patient.identifier.iter().any(|identifier| identifier.system.is_empty()) {
        return Err(refused("no-system", "Neither the list nor the configuration says who gave the patient's number.".into())
            .with_remedy("Set [inbox.patient] identifier_system in the configuration, or add a column identifier_system to the list."));
    }
    let unreadable = |error: std::io::Error| {
        refused("inbox", format!("The folder could not be made in the inbox ({}).", error.kind())).with_remedy(
            "Nothing is lost. Ask the person who looks after chartdrop whether it may write into the inbox.",
        )
    };
    let folders = Folders::read(inbox).map_err(unreadable)?;
    if folders.of(&patient).is_some() {
        return Ok(());
    }
    let name = folder_name(&patient, inbox.patient.as_ref()).ok_or_else(|| {
        refused(
            "folder-pattern",
            "No folder name could be found that folder_pattern reads as this patient's number.".into(),
        )
        .with_remedy("Make the folder by hand, named as the others are.")
    })?;
    if folders.names.iter().any(|known| known.to_string_lossy().to_lowercase() == name.to_lowercase()) {
        return Err(refused(
            "name-taken",
            format!("There is a folder {name} already, and it does not say that it is this patient's."),
        )
        .with_remedy("Look into it: add a patient.toml there, or rename it, then try again."));
    }
    let text = patient_file(&patient);
    // What would not be understood, or as another one, is not written.
    if !parse_patient(text.as_bytes()).is_ok_and(|read| same_patient(&read.identifier, &patient.identifier)) {
        return Err(refused(
            "roster",
            "What the list says of this patient cannot be written as a patient.toml.".into(),
        ));
    }
    let root = Dir::open(&inbox.path).map_err(unreadable)?;
    let info = root.info().map_err(unreadable)?;
    // Whoever may put files into the inbox may put them into the folder.
    let access = Access { group: Some(info.group), mode: 0o600 | (info.mode & 0o066) };
    let folder = root.make(Path::new(&name), &access).map_err(unreadable)?;
    match durable::create(&folder.name(OsStr::new(PATIENT_FILE)), &access, |file| file.write_all(text.as_bytes())) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(unreadable(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn patient_file(patient: &Patient) -> String {
    let mut table = toml::Table::new();
    let identifiers = patient.identifier.iter().map(|Identifier { system, value, .. }| {
        let pairs = [("system", system.as_str()), ("value", value), ("type", "MR")];
        toml::Value::Table(pairs.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect())
    });
    table.insert("identifier".into(), toml::Value::Array(identifiers.collect()));
    if let Some(family) = &patient.family {
        table.insert("family".into(), family.as_str().into());
    }
    if !patient.given.is_empty() {
        table.insert("given".into(), patient.given.clone().into());
    }
    if let Some(date) = patient.birth_date {
        table.insert("birth_date".into(), date.to_string().into());
    }
    if let Some(gender) =
        patient.gender.and_then(|gender| serde_json::to_value(gender).ok()?.as_str().map(str::to_owned))
    {
        table.insert("gender".into(), gender.into());
    }
    format!("# Whose folder this is: written by chartdrop from the list of patients.\n{table}")
}

/// A name that people recognise and that says nothing but the truth to `folder_pattern`.
fn folder_name(patient: &Patient, pattern: Option<&FolderPattern>) -> Option<String> {
    let number = patient.identifier.first()?.value.as_str();
    let (family, given) = (patient.family.as_deref().unwrap_or_default(), patient.given.join(" "));
    let birth_date = patient.birth_date.map(|date| date.to_string()).unwrap_or_default();
    let candidates = [
        format!("{number} {family}"),
        format!("{number} {family} {given}"),
        format!("{family} {number}"),
        format!("{family}, {given} ({number})"),
        format!("{family}_{given}_{number}"),
        format!("{number}_{family}_{given}"),
        format!("{number} {family} {given} {birth_date}"),
        number.to_owned(),
    ];
    let is_true = |name: &String| {
        let Some(pattern) = pattern else { return true };
        let Some(captures) = pattern.pattern.captures(name) else { return false };
        let says = |group: &str, truth: &str| captures.name(group).is_none_or(|found| found.as_str().trim() == truth);
        captures.name("identifier").is_some()
            && says("identifier", number)
            && says("family", family)
            && says("given", &given)
            && says("birth_date", &birth_date)
    };
    candidates.map(|name| plain(&name)).into_iter().find(|name| !name.is_empty() && is_true(name))
}

/// A name that every system takes.
fn plain(name: &str) -> String {
    let bad = |c: char| c.is_control() || is_unsafe(c) || "/\\<>:\"|?*".contains(c);
    let plain: String = name.chars().map(|c| if bad(c) { '-' } else { c }).take(LONGEST_NAME).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ").trim_matches(['.', ' ', ',']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patient(number: &str, family: &str) -> Patient {
        let identifier = Identifier { system: "urn:x".into(), value: number.into(), kind: None };
        Patient {
            identifier: vec![identifier],
            family: Some(family.into()),
            given: vec!["Timothy \"Paul\"".into()],
            birth_date: Some(jiff::civil::date(2008, 1, 6)),
            gender: Some(crate::model::document::Gender::Male),
        }
    }

    #[test]
    fn a_folder_s_name_says_nothing_but_the_truth() {
        for (pattern, number, family, expected) in [
            (None, "0000000001", "Bixby", Some("0000000001 Bixby")),
            (None, "../1", "O'Brien/..", Some("-1 O'Brien-")),
            (Some("^(?<identifier>[0-9]+)"), "0000000001", "Bixby", Some("0000000001 Bixby")),
            (Some("\\((?<identifier>[0-9]+)\\)$"), "0000000001", "Bixby", Some("Bixby, Timothy -Paul- (0000000001)")),
            (Some("^(?<family>[A-Z][a-z]+) (?<identifier>[0-9]+)$"), "1", "Bixby", Some("Bixby 1")),
            (Some("^X(?<identifier>[0-9]+)$"), "1", "Bixby", None),
            (Some("(?<identifier>[0-9]{10})"), "12345678901", "Bixby", None),
        ] {
            let pattern = pattern
                .map(|pattern| FolderPattern { identifier_system: None, pattern: regex::Regex::new(pattern).unwrap() });
            assert_eq!(folder_name(&patient(number, family), pattern.as_ref()).as_deref(), expected, "{pattern:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same_patient() {
        let written = patient("01", "O'Brien \"x\" [evil]");
        let read = parse_patient(patient_file(&written).as_bytes()).unwrap();
        assert_eq!(
            (&read.family, &read.given, read.birth_date, read.gender),
            (&written.family, &written.given, written.birth_date, written.gender)
        );
        assert!(same_patient(&read.identifier, &written.identifier));
    }
}
