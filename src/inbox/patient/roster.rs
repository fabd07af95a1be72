//! The clinic's own list of patients, a CSV file that the practice system writes: who is not on it, or differs from it, is
//! not sent. A list that cannot be used stops its inbox; it is never taken for "no list".

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use csv::{ErrorKind, StringRecord, Trim};
use tracing::{error, info};

use super::names::{difference, union, words};
use crate::{
    config::{Inbox, strict::nearest, units::Date},
    model::document::{Gender, Identifier, Patient},
    model::patient::same_system,
    model::words::display_name,
    platform::effect,
};
use crate::{
    inbox::open_writers::has_writer,
    model::{
        file_state::FileState,
        problem::{Problem, catalogue as known},
    },
};

/// More than a million patients.
const FILE_LIMIT: u64 = 128 * 1024 * 1024;

/// Every list has these …
const COLUMNS: [&str; 4] = ["identifier", "family", "given", "birth_date"];
/// … and may have these.
const OPTIONAL: [&str; 2] = ["gender", "identifier_system"];

/// All patients by their number.
#[derive(Debug, Default)]
pub struct Roster {
    patients: HashMap<String, Vec<Listed>>,
}

/// One row.
#[derive(Debug, PartialEq)]
struct Listed {
    /// Who gave the number, where the list says so.
    system: Option<String>,
    /// Without identifiers.
    patient: Patient,
}

/// Why a list cannot be used; holds nothing of what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterError {
    /// Counted from 1, where it is about one.
    pub line: Option<u64>,
    /// What is wrong.
    pub summary: String,
}

impl fmt::Display for RosterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line.iter().try_for_each(|line| write!(f, "line {line}: "))?;
        f.write_str(&self.summary)
    }
}

impl RosterError {
    /// About what begins at a byte, or behind the blank lines there.
    fn at(bytes: &[u8], start: usize, summary: impl Into<String>) -> Self {
        let (before, rest) = bytes.split_at(start.min(bytes.len()));
        let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
        let line = before.iter().chain(blank).filter(|byte| **byte == b'\n').count() as u64 + 1;
        Self { line: Some(line), summary: summary.into() }
    }

    fn whole(summary: impl Into<String>) -> Self {
        Self { line: None, summary: summary.into() }
    }
}

impl Roster {
    /// Reads a list as it is now.
    pub fn read(path: &Path) -> Result<Self, RosterError> {
        let reading = |error: std::io::Error| RosterError::whole(reading_words(&error));
        let bytes = effect::open(path).and_then(|file| effect::read_up_to(file, FILE_LIMIT + 1)).map_err(reading)?;
        if bytes.len() as u64 > FILE_LIMIT {
            return Err(RosterError::whole("it is larger than a list of patients can be"));
        }
        Self::parse(&bytes)
    }

    /// RFC 4180 with a header, in UTF-8.
    pub fn parse(bytes: &[u8]) -> Result<Self, RosterError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if let Err(error) = str::from_utf8(bytes) {
            let summary = "a character that is not UTF-8: export it as UTF-8";
            return Err(RosterError::at(bytes, error.valid_up_to(), summary));
        }
        // The reader takes the end of the file for the missing quote; it may be the end of what was written so far.
        if !bytes.iter().filter(|byte| **byte == b'"').count().is_multiple_of(2) {
            return Err(RosterError::whole("a quotation mark (\") is opened and not closed, or is alone"));
        }
        // The header holds no values, so that it tells what separates them: Excel writes `;` in half of the world.
        let header = bytes.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
        let count = |separator| header.iter().filter(|byte| **byte == separator).count();
        let separator = if count(b';') > count(b',') { b';' } else { b',' };
        let mut reader = csv::ReaderBuilder::new().delimiter(separator).trim(Trim::All).from_reader(bytes);
        let header = reader.headers().map_err(|error| broken(bytes, &error))?;
        let places = columns(header).map_err(|summary| RosterError::at(bytes, 0, summary))?;
        let mut roster = Self::default();
        for record in reader.records() {
            let record = record.map_err(|error| broken(bytes, &error))?;
            roster
                .add(&record, &places)
                .map_err(|summary| RosterError::at(bytes, start(record.position()), summary))?;
        }
        if roster.patients.is_empty() {
            return Err(RosterError::whole("it holds no patient"));
        }
        Ok(roster)
    }

    fn add(&mut self, record: &StringRecord, places: &Places) -> Result<(), String> {
        let [identifier, family, given, birth_date] = places.always.map(|place| record.get(place).unwrap_or_default());
        let [gender, system] =
            places.sometimes.map(|place| place.and_then(|place| record.get(place)).unwrap_or_default());
        if identifier.is_empty() {
            return Err("identifier is empty".into());
        }
        let birth_date = match birth_date {
            "" => None,
            text => Some(text.parse::<Date>().map_err(|error| format!("birth_date {error}"))?.0),
        };
        let stated = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let given = stated(given).into_iter().collect();
        if !system.is_empty() && (!system.contains(':') || system.contains(char::is_whitespace)) {
            return Err("identifier_system is not a URI such as \"urn:redox:health-one:MR\"".into());
        }
        let gender = gender_of(gender)?;
        let patient = Patient { identifier: vec![], family: stated(family), given, birth_date, gender };
        let listed = Listed { system: stated(system), patient };
        let rows = self.patients.entry(identifier.to_owned()).or_default();
        let same = |row: &&Listed| match (&row.system, &listed.system) {
            (Some(one), Some(other)) => same_system(one, other),
            // A number without a system may be anybody's of that number.
            (None, _) | (_, None) => true,
        };
        match rows.iter().find(same) {
            Some(earlier) if earlier.patient != listed.patient || earlier.system != listed.system => {
                Err("this identifier is on an earlier line with other data".into())
            }
            Some(_) => Ok(()),
            None => {
                rows.push(listed);
                Ok(())
            }
        }
    }

    /// How many patients are on it.
    pub fn size(&self) -> usize {
        self.patients.values().map(Vec::len).sum()
    }

    /// Patients whom every word of a text fits: part of a name, the beginning of the number, or the birth date. At most
    /// `limit`, by name; a number's system is empty where the list does not say it.
    pub fn search(&self, text: &str, limit: usize) -> Vec<Patient> {
        let asked: Vec<_> = text.split_whitespace().map(|word| (word, words(word).concat())).collect();
        let fits = |number: &str, patient: &Patient| {
            let given = patient.given.iter().map(String::as_str);
            let names: Vec<_> = patient.family.as_deref().into_iter().chain(given).flat_map(words).collect();
            let born = |form: &str| patient.birth_date.map(|date| date.strftime(form).to_string());
            let born = [born("%Y-%m-%d"), born("%d.%m.%Y"), born("%m/%d/%Y")];
            asked.iter().all(|(raw, plain)| {
                number.starts_with(raw)
                    || born.iter().flatten().any(|date| date == raw)
                    || (!plain.is_empty() && names.iter().any(|name| name.starts_with(plain)))
            })
        };
        let mut found = Vec::new();
        for (number, rows) in &self.patients {
            found.extend(rows.iter().filter(|listed| fits(number, &listed.patient)).map(|listed| {
                let system = listed.system.clone().unwrap_or_default();
                let identifier = vec![Identifier { system, value: number.clone(), kind: None }];
                Patient { identifier, ..listed.patient.clone() }
            }));
        }
        let order = |patient: &Patient| {
            let number = patient.identifier.first().map(|number| number.value.clone());
            (patient.family.as_deref().map(str::to_lowercase), patient.given.clone(), number)
        };
        found.sort_by_cached_key(order);
        found.truncate(limit);
        found
    }

    /// Whether some patient has a number. `system`: whose numbers the list has where it does not say.
    fn knows(&self, value: &str, system: Option<&str>) -> bool {
        let of_system = |listed: &Listed| match (listed.system.as_deref(), system) {
            (Some(listed), Some(system)) => same_system(listed, system),
            (None, _) | (_, None) => true,
        };
        self.patients.get(value.trim()).is_some_and(|rows| rows.iter().any(of_system))
    }

    /// The number's system, where the list says it and knows only one.
    fn system_of(&self, value: &str) -> Option<&str> {
        match self.patients.get(value.trim())?.as_slice() {
            [one] => one.system.as_deref(),
            _ => None,
        }
    }

    /// What a patient's folder says and what the list says, together. `system`: whose numbers the list has where it does not
    /// say; any of the patient's without it.
    fn complete(&self, patient: &Patient, system: Option<&str>) -> Result<Patient, Problem> {
        let is_of = |listed: &Listed, identifier: &Identifier| {
            let system = listed.system.as_deref().or(system);
            system.is_none_or(|system| same_system(system, &identifier.system))
        };
        let mut whole = patient.clone();
        let mut is_listed = false;
        for identifier in &patient.identifier {
            let rows = self.patients.get(identifier.value.trim()).map(Vec::as_slice).unwrap_or_default();
            for listed in rows.iter().filter(|listed| is_of(listed, identifier)) {
                is_listed = true;
                if let Some(difference) = difference(&listed.patient, &whole) {
                    return Err(known::ROSTER_MISMATCH.because(format!(
                        "The patient's folder (or the document's sidecar) and the clinic's list of patients disagree on {}: the folder says \"{}\", the list says \"{}\". So the document may be another patient's. It was not sent to anybody.",
                        difference.what,
                        display_name(&difference.other),
                        display_name(&difference.one)
                    )));
                }
                whole = union(whole, &listed.patient);
            }
        }
        if !is_listed {
            let number = patient.identifier.first().map_or("none", |identifier| identifier.value.as_str());
            return Err(known::NOT_ON_ROSTER.because(format!(
                "The patient's number ({}) is not on the clinic's list of patients, so the document was not sent to anybody.",
                display_name(number)
            )));
        }
        Ok(whole)
    }
}

/// Where each column is.
struct Places {
    always: [usize; 4],
    sometimes: [Option<usize>; 2],
}

/// Where each of [`COLUMNS`] and [`OPTIONAL`] is.
fn columns(header: &StringRecord) -> Result<Places, String> {
    let expected = || {
        format!("the first line must name the columns: {} (and may name: {})", COLUMNS.join(","), OPTIONAL.join(","))
    };
    if let (1, Some(name)) = (header.len(), header.get(0))
        && let Some((_, words)) =
            [('\t', "tabs"), ('|', "the sign |")].into_iter().find(|(sign, _)| name.contains(*sign))
    {
        return Err(format!(
            "its columns are separated by {words}: export it with commas or semicolons; {}",
            expected()
        ));
    }
    let all = || COLUMNS.into_iter().chain(OPTIONAL);
    for (i, name) in header.iter().enumerate() {
        if !all().any(|column| column == name) {
            return Err(match nearest(name, all()) {
                Some(near) => format!("column {} is unknown; did you mean \"{near}\"?", i + 1),
                None => format!("column {} is unknown; {}", i + 1, expected()),
            });
        }
        if header.iter().take(i).any(|earlier| earlier == name) {
            return Err(format!("column {} has the same name as an earlier one; {}", i + 1, expected()));
        }
    }
    let place = |name| header.iter().position(|column| column == name);
    let mut always = [0; 4];
    for (at, name) in always.iter_mut().zip(COLUMNS) {
        *at = place(name).ok_or_else(expected)?;
    }
    Ok(Places { always, sometimes: OPTIONAL.map(place) })
}

/// FHIR's words, and HL7 v2's letters, which many systems export.
fn gender_of(text: &str) -> Result<Option<Gender>, String> {
    Ok(Some(match text.to_lowercase().as_str() {
        "" => return Ok(None),
        "male" | "m" => Gender::Male,
        "female" | "f" => Gender::Female,
        "other" | "o" => Gender::Other,
        "unknown" | "u" => Gender::Unknown,
        _ => return Err("gender must be male, female, other or unknown".into()),
    }))
}

fn reading_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".into(),
        std::io::ErrorKind::PermissionDenied => "chartdrop is not allowed to read it".into(),
        kind => format!("it cannot be read ({kind})"),
    }
}

/// The reader's error, less what it quotes.
fn broken(bytes: &[u8], error: &csv::Error) -> RosterError {
    let summary = match error.kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => format!("{len} columns instead of {expected_len}"),
        _ => "it is not CSV".into(),
    };
    RosterError::at(bytes, start(error.position()), summary)
}

fn start(position: Option<&csv::Position>) -> usize {
    position.map_or(0, |position| usize::try_from(position.byte()).unwrap_or(usize::MAX))
}

/// An inbox's list, read again whenever it changes.
#[derive(Debug)]
pub struct RosterFile {
    inbox: String,
    path: PathBuf,
    settle: Duration,
    /// How long an empty list may be the beginning of one that is being written.
    incomplete_after: Duration,
    system: Option<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Its present state, and since when it is so.
    seen: Option<(FileState, Instant)>,
    /// The state that was read, and what came of it.
    read: Option<(FileState, Result<Arc<Roster>, RosterError>)>,
    /// Since when it is not there or cannot be used.
    since: Option<Instant>,
    /// Said once an incident.
    complained: bool,
}

/// Why a patient cannot be compared with a list now.
pub type NotNow = Problem;

impl RosterFile {
    /// `None` for an inbox without one.
    pub fn new(inbox: &Inbox) -> Option<Self> {
        Some(Self {
            inbox: inbox.name.clone(),
            path: inbox.roster.clone()?,
            settle: inbox.settle,
            incomplete_after: inbox.incomplete_after,
            system: inbox.patient.as_ref().and_then(|pattern| pattern.identifier_system.clone()),
            state: Mutex::default(),
        })
    }

    /// What the folder and the list say together; the inner result is for good, the outer one for now.
    pub fn complete(&self, patient: &Patient) -> Result<Result<Patient, Problem>, NotNow> {
        let roster = self.current(Instant::now())?;
        Ok(roster.complete(patient, self.system.as_deref()))
    }

    /// Whether some patient has this number.
    pub fn knows(&self, value: &str) -> Result<bool, NotNow> {
        Ok(self.current(Instant::now())?.knows(value, self.system.as_deref()))
    }

    /// Who gave this number, as far as the list says.
    pub fn system_of(&self, value: &str) -> Result<Option<String>, NotNow> {
        Ok(self.current(Instant::now())?.system_of(value).map(str::to_owned))
    }

    /// The list as it is there, once it has settled: one that is just being written must refuse nobody.
    pub fn current(&self, now: Instant) -> Result<Arc<Roster>, NotNow> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = match effect::metadata(&self.path) {
            Ok(metadata) => FileState::of(&metadata),
            Err(error) => {
                state.seen = None;
                let error = RosterError::whole(reading_words(&error));
                return Err(self.unusable(&mut state, &error, now));
            }
        };
        let since = state.seen.filter(|(seen, _)| *seen == stamp).map_or(now, |(_, since)| since);
        state.seen = Some((stamp, since));
        if now.saturating_duration_since(since) < self.settle {
            return Err(known::ROSTER_CHANGED.problem());
        }
        if state.read.as_ref().is_none_or(|(read, _)| *read != stamp) {
            if effect::open(&self.path).is_ok_and(|file| has_writer(&file)) {
                return Err(known::ROSTER_CHANGED.problem());
            }
            let read = Roster::read(&self.path).map(Arc::new);
            if !effect::metadata(&self.path).is_ok_and(|metadata| FileState::of(&metadata) == stamp) {
                return Err(known::ROSTER_CHANGED.problem());
            }
            state.read = Some((stamp, read));
        }
        match &state.read {
            Some((_, Ok(roster))) => {
                let roster = Arc::clone(roster);
                state.since = None;
                if std::mem::take(&mut state.complained) {
                    info!(inbox = %self.inbox, patients = roster.size(), "the list of patients can be used again");
                }
                Ok(roster)
            }
            Some((_, Err(error))) => {
                let error = error.clone();
                Err(self.unusable(&mut state, &error, now))
            }
            None => Err(known::ROSTER_CHANGED.problem()),
        }
    }

    /// One alarm an incident, and none for the moment in which one list takes the place of another.
    fn unusable(&self, state: &mut State, error: &RosterError, now: Instant) -> NotNow {
        let since = *state.since.get_or_insert(now);
        // One that is empty may be the beginning of the next one: some programs empty a file before they write it.
        let is_empty = state.seen.is_some_and(|(seen, _)| seen.size == 0);
        let patience = if is_empty { self.settle.max(self.incomplete_after) } else { self.settle };
        if now.saturating_duration_since(since) >= patience && !std::mem::replace(&mut state.complained, true) {
            let path = self.path.display();
            error!(inbox = %self.inbox, code = known::ROSTER_UNUSABLE.code, "the list of patients (roster) cannot be used, and documents of this inbox wait until it can: {path}: {error}");
        }
        known::ROSTER_UNUSABLE
            .because(format!("The clinic's list of patients cannot be used: {error}. Nothing is lost: all documents of this inbox wait until it can be used."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::document::Identifier;

    const LIST: &str = "identifier,family,given,birth_date\n1,Bixby,Timothy Paul,2008-01-06\n2,\"O\"\"Hara, Jr.\",,\n";

    fn patient(system: &str, value: &str) -> Patient {
        let identifier = Identifier { system: system.into(), value: value.into(), kind: None };
        Patient {
            identifier: vec![identifier],
            family: Some("Bixby".into()),
            given: vec!["timothy".into(), "P.".into()],
            birth_date: Some(jiff::civil::date(2008, 1, 6)),
            gender: None,
        }
    }

    #[test]
    fn a_list_is_read_in_any_order_of_columns_with_windows_s_line_ends_and_byte_order_mark() {
        let windows = format!("\u{feff}{}", LIST.replace('\n', "\r\n"));
        let reordered = "birth_date,given,identifier,family\n2008-01-06,Timothy Paul,1,Bixby\n,,2,\"O\"\"Hara, Jr.\"\n";
        for text in [LIST, &windows, reordered, LIST.trim_end(), &format!("{LIST}\n1,Bixby,Timothy Paul,2008-01-06\n")]
        {
            let roster = Roster::parse(text.as_bytes()).unwrap();
            assert_eq!(roster.size(), 2, "{text}");
            assert_eq!(roster.patients["2"][0].patient.family.as_deref(), Some("O\"Hara, Jr."), "{text}");
            roster.complete(&patient("urn:x", "1"), Some("urn:x")).unwrap();
        }
        let semicolons =
            "identifier;family;given;birth_date;gender\n1;Bixby;Timothy Paul;2008-01-06;M\n2;\"O'Hara; Jr.\";;;\n";
        let roster = Roster::parse(semicolons.as_bytes()).unwrap();
        assert_eq!(roster.patients["2"][0].patient.family.as_deref(), Some("O'Hara; Jr."));
    }

    #[test]
    fn a_list_completes_what_a_folder_says() {
        let list = "gender,identifier_system,identifier,family,given,birth_date\nfemale,urn:x,7,Chen,Wei,1990-02-03\n,urn:y,7,Adams,,\n";
        let roster = Roster::parse(list.as_bytes()).unwrap();
        let number = |system| Patient { family: None, given: vec![], birth_date: None, ..patient(system, "7") };
        let whole = roster.complete(&number("URN:x"), None).unwrap();
        assert_eq!(
            (whole.family.as_deref(), whole.given.concat(), whole.gender),
            (Some("Chen"), "Wei".into(), Some(Gender::Female))
        );
        assert_eq!(roster.complete(&number("urn:y"), None).unwrap().family.as_deref(), Some("Adams"));
        assert_eq!(roster.complete(&number("urn:z"), Some("urn:z")).unwrap_err().code, "not-on-roster");
        assert_eq!((roster.system_of("7"), roster.size()), (None, 2), "two systems have this number");
        assert!(roster.knows("7", Some("urn:y")) && !roster.knows("7", Some("urn:z")) && !roster.knows("8", None));
        let other = Patient { gender: Some(Gender::Male), ..number("urn:x") };
        assert!(roster.complete(&other, None).unwrap_err().summary.contains("\"male\", the list says \"female\""));
    }

    #[test]
    fn who_is_not_on_it_or_differs_is_refused() {
        let roster = Roster::parse(LIST.as_bytes()).unwrap();
        let code =
            |patient: &Patient, system| roster.complete(patient, system).map(drop).map_err(|refusal| refusal.code);
        assert_eq!(code(&patient("urn:x", "1"), None), Ok(()));
        assert_eq!(code(&patient("urn:x", "3"), None), Err("not-on-roster"));
        assert_eq!(code(&patient("urn:x", "01"), None), Err("not-on-roster"), "leading zeros count");
        assert_eq!(code(&patient("urn:other", "1"), Some("urn:x")), Err("not-on-roster"), "another's number");
        assert_eq!(code(&patient("urn:x", "2"), None), Err("roster-mismatch"));
        let less = Patient { family: None, given: vec![], ..patient("urn:x", "2") };
        assert_eq!(code(&less, None), Ok(()), "it states less");
        let both = [patient("urn:x", "1"), patient("urn:x", "2")].map(|patient| patient.identifier).concat();
        let both = Patient { identifier: both, ..patient("urn:x", "1") };
        assert_eq!(code(&both, None), Err("roster-mismatch"), "two numbers, of two people");
    }

    #[test]
    fn a_list_that_is_not_right_says_where_and_nothing_of_its_patients() {
        for (text, line, words) in [
            ("", Some(1), "must name the columns"),
            ("identifier,family,given,birth_date\n", None, "no patient"),
            ("identifier,family,given\n1,Bixby,T\n", Some(1), "must name the columns"),
            ("identifier,family,given,birthdate\n1,Bixby,T,\n", Some(1), "\"birth_date\""),
            ("identifier\tfamily\tgiven\tbirth_date\n1\tBixby\tT\t\n", Some(1), "separated by tabs"),
            ("identifier|family|given|birth_date\n1|Bixby|T|\n", Some(1), "commas or semicolons"),
            ("identifier,family,given,birth_date,family\n1,Bixby,T,,B\n", Some(1), "the same name"),
            ("identifier,family,given,birth_date,gender\n1,Bixby,T,,girl\n", Some(2), "gender must be"),
            ("identifier,family,given,birth_date,identifier_system\n1,Bixby,T,,MR\n", Some(2), "URI"),
            ("identifier,family,given,birth_date\n1,Bixby,T,\n\n2,Bixby\n", Some(4), "2 columns instead of 4"),
            ("identifier,family,given,birth_date\n,Bixby,T,\n", Some(2), "identifier is empty"),
            ("identifier,family,given,birth_date\n1,Bixby,T,06.01.2008\n", Some(2), "birth_date must be a date"),
            ("identifier,family,given,birth_date\n1,Bixby,T,2008-01-0", Some(2), "birth_date must be a date"),
            ("birth_date,given,identifier,family\n,T,1,\"Bix", None, "quotation mark"),
            ("identifier,family,given,birth_date\n1,Bixby,T,\n1,Bixby,P,\n", Some(3), "earlier line"),
        ] {
            let error = Roster::parse(text.as_bytes()).unwrap_err();
            assert!(error.line == line && error.summary.contains(words), "{text:?}: {error}");
            assert!(!error.to_string().contains("Bix"), "{error}");
        }
        let latin = b"identifier,family,given,birth_date\n1,M\xfcller,T,\n";
        assert_eq!(Roster::parse(latin).unwrap_err().line, Some(2));
    }
}
