//! What a document's sidecar says of it, and that it does not contradict the patient's folder.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};

use crate::model::problem::{
    Problem,
    catalogue::{self as known, Kind as ProblemKind},
};
use crate::{
    config::{
        strict::{self, nearest, shown},
        units::{Date, Instant},
    },
    model::document::{Author, Coding, DocStatus, Metadata, Patient},
    model::fhir::is_line,
    model::words::{display_name, title},
};

/// A sidecar is a few lines.
pub const FILE_LIMIT: u64 = 64 * 1024;

/// The one code of US Core's document reference categories.
const CATEGORY: &str = "clinical-note";

/// A sidecar, key by key; every key is optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sidecar {
    title: Option<String>,
    description: Option<String>,
    date: Option<Instant>,
    #[serde(rename = "type")]
    kind: Option<Kind>,
    category: Option<String>,
    status: Option<DocStatus>,
    author: Option<Author>,
    visit: Option<String>,
    patient: Option<Statement>,
}

/// The second statement of who the patient is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    identifier: Option<String>,
    birth_date: Option<Date>,
}

/// A name from `[document_types]`, or a coding of one's own.
#[derive(Debug)]
enum Kind {
    Name(String),
    Coding(Coding),
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Kind;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a document type, or { system, code, display }")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Kind, E> {
                Ok(Kind::Name(name.to_owned()))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Kind, A::Error> {
                Coding::deserialize(de::value::MapAccessDeserializer::new(map)).map(Kind::Coding)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Parses a sidecar by its ending.
pub fn parse(bytes: &[u8], is_json: bool) -> Result<Sidecar, Problem> {
    let parsed = if is_json { strict::json(bytes) } else { strict::toml(bytes) };
    parsed.map_err(|error| bad(&known::SIDECAR_UNREADABLE, &error.to_string()))
}

/// Whether this would be understood as a sidecar in TOML.
pub fn check(bytes: &[u8], default_type: &Coding, types: &BTreeMap<String, Coding>) -> Result<(), Problem> {
    parse(bytes, false)?.metadata(default_type, types).map(|_| ())
}

fn bad(kind: &ProblemKind, why: &str) -> Problem {
    let end = if why.ends_with('?') { "" } else { "." };
    kind.because(format!("The document's sidecar (the small text file that describes it) cannot be used: {why}{end}"))
}

impl Sidecar {
    /// Holds the sidecar's statement of the patient against the folder's, and adds what the folder did not say.
    pub fn confirm(&self, mut patient: Patient) -> Result<Patient, Problem> {
        let Some(statement) = &self.patient else { return Ok(patient) };
        let mismatch = |what: &str, folder: &str, sidecar: &str| {
            known::PATIENT_MISMATCH.with(
                format!(
                    "The folder and the document's sidecar disagree on {what}: it is \"{}\" by the folder and \"{}\" by the sidecar. So the document may be another patient's. It was not sent to anybody.",
                    display_name(folder),
                    display_name(sidecar)
                ),
                "Find out whose document it is. If it is this patient's, correct the sidecar and move both back into the patient's folder in the inbox. If not, move document and sidecar into the right patient's folder in the inbox.",
            )
        };
        if let Some(identifier) = &statement.identifier
            && !patient.identifier.iter().any(|known| known.value.trim() == identifier.trim())
        {
            let known: Vec<_> = patient.identifier.iter().map(|known| known.value.as_str()).collect();
            let stated: String = identifier.chars().take(64).collect();
            return Err(mismatch("the patient's number", &known.join(", "), &stated));
        }
        if let Some(Date(stated)) = statement.birth_date {
            if let Some(known) = patient.birth_date.filter(|known| *known != stated) {
                return Err(mismatch("the patient's birth date", &known.to_string(), &stated.to_string()));
            }
            patient.birth_date = Some(stated);
        }
        Ok(patient)
    }

    /// What is said of the document, the inbox's default type filled in.
    pub fn metadata(self, default_type: &Coding, types: &BTreeMap<String, Coding>) -> Result<Metadata, Problem> {
        let kind = match self.kind {
            None => default_type.clone(),
            Some(Kind::Coding(coding)) => coding,
            Some(Kind::Name(name)) => types.get(&name).cloned().ok_or_else(|| {
                let hint = match nearest(&name, types.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("known are: {}", types.keys().cloned().collect::<Vec<_>>().join(", ")),
                };
                bad(
                    &known::UNKNOWN_TYPE,
                    &format!("\"{}\" is not a document type that is known here; {hint}", shown(&name)),
                )
            })?,
        };
        let metadata = Metadata {
            title: self.title.as_deref().map(plain),
            description: self.description.as_deref().map(plain),
            date: self.date.map(|instant| instant.0),
            kind,
            category: self.category.unwrap_or_else(|| CATEGORY.into()),
            status: self.status.unwrap_or_default(),
            author: self.author,
            visit: self.visit,
        };
        checked(metadata).map_err(|why| bad(&known::SIDECAR_UNUSABLE, why))
    }
}

/// Direction marks and what cannot be seen are left out; a text that is not sendable stays as it is, and is refused.
fn plain(text: &str) -> String {
    let line = text.replace(['\n', '\r', '\t'], " ");
    if is_line(&line) { title(&line) } else { text.to_owned() }
}

fn checked(metadata: Metadata) -> Result<Metadata, &'static str> {
    let bad = |text: &str, most: usize| text.trim().is_empty() || text.len() > most;
    let too_long = |text: &Option<String>, most: usize| text.as_deref().is_some_and(|text| bad(text, most));
    if too_long(&metadata.title, 200) {
        return Err("the title is empty or longer than 200 letters");
    }
    if too_long(&metadata.description, 500) {
        return Err("the description is empty or longer than 500 letters");
    }
    if too_long(&metadata.visit, 64) {
        return Err("the visit is empty or longer than 64 letters");
    }
    if !metadata.kind.is_usable() {
        return Err("the type needs a system that is a URI such as \"http://loinc.org\", and a code, each short");
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if bad(&metadata.category, 64) || !metadata.category.chars().all(plain) {
        return Err("the category is not a code such as \"clinical-note\"");
    }
    if let Some(author) = &metadata.author {
        if !is_npi(&author.npi) {
            return Err("the author's npi is not a valid National Provider Identifier; check its ten digits");
        }
        if too_long(&author.family, 100) || author.given.len() > 8 || author.given.iter().any(|name| bad(name, 60)) {
            return Err("a part of the author's name is empty or very long");
        }
    }
    Ok(metadata)
}

/// Ten digits whose last is the Luhn check digit over the number with `80840` before it (45 CFR 162.406).
fn is_npi(npi: &str) -> bool {
    if npi.len() != 10 || !npi.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let digits = "80840".bytes().chain(npi.bytes()).map(|byte| u32::from(byte - b'0'));
    let sum: u32 = digits
        .rev()
        .enumerate()
        .map(|(i, digit)| if i % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { digit })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::document::Identifier;

    fn patient() -> Patient {
        let identifier = Identifier { system: "urn:x".into(), value: "0000000001".into(), kind: None };
        let birth_date = Some(jiff::civil::date(2008, 1, 6));
        Patient { identifier: vec![identifier], family: None, given: vec![], birth_date, gender: None }
    }

    fn types() -> BTreeMap<String, Coding> {
        let coding = |code: &str| Coding { system: "http://loinc.org".into(), code: code.into(), display: None };
        BTreeMap::from([("referral".into(), coding("57133-1")), ("unspecified".into(), coding("UNK"))])
    }

    fn metadata(toml: &str) -> Result<Metadata, Problem> {
        let types = types();
        parse(toml.as_bytes(), false)?.metadata(&types["unspecified"], &types)
    }

    #[test]
    fn every_key_of_both_forms_is_understood() {
        let toml = r#"
            title = "Referral letter"
            description = "From the cardiology group"
            date = 2026-11-20T09:30:00-06:00
            type = "referral"
            category = "clinical-note"
            status = "amended"
            author = { npi = "1234567893", family = "Adams", given = ["Grace"] }
            visit = "V-1001"
            [patient]
            identifier = "0000000001"
            birth_date = 2008-01-06
        "#;
        let json = r#"{"title": "Referral letter", "description": "From the cardiology group",
            "date": "2026-11-20T09:30:00-06:00", "type": {"system": "http://loinc.org", "code": "57133-1"},
            "category": "clinical-note", "status": "amended", "visit": "V-1001",
            "author": {"npi": "1234567893", "family": "Adams", "given": ["Grace"]},
            "patient": {"identifier": "0000000001", "birth_date": "2008-01-06"}}"#;
        let types = types();
        let both = [parse(toml.as_bytes(), false).unwrap(), parse(json.as_bytes(), true).unwrap()];
        let [a, b] = both.map(|sidecar| {
            assert_eq!(sidecar.confirm(patient()).unwrap(), patient());
            sidecar.metadata(&types["unspecified"], &types).unwrap()
        });
        assert_eq!(a, b);
        assert_eq!(a.kind.code, "57133-1");
        assert_eq!(a.date.unwrap().to_string(), "2026-11-20T09:30:00-06:00");
    }

    #[test]
    fn two_statements_must_not_disagree() {
        for statement in ["identifier = \"0000000002\"", "birth_date = 2008-01-07", "identifier = \"1\""] {
            let sidecar = parse(format!("[patient]\n{statement}").as_bytes(), false).unwrap();
            assert_eq!(sidecar.confirm(patient()).unwrap_err().code, "patient-mismatch", "{statement}");
        }
    }

    #[test]
    fn an_unknown_type_names_the_nearest() {
        let refusal = metadata("type = \"referal\"").unwrap_err();
        assert!(refusal.summary.contains("\"referral\""), "{}", refusal.summary);
    }

    #[test]
    fn a_type_that_no_message_can_hold_is_refused() {
        for coding in [
            r#"system = "LOINC", code = "1""#,
            r#"system = "urn:x", code = "\u0001""#,
            r#"system = "urn:x", code = "a  b""#,
            r#"system = "urn:x", code = "a\u00A0b""#,
            r#"system = "", code = "1""#,
        ] {
            assert_eq!(metadata(&format!("type = {{ {coding} }}")).unwrap_err().code, "sidecar-unusable", "{coding}");
        }
    }

    #[test]
    fn a_wrong_npi_is_noticed() {
        assert!(is_npi("1234567893"));
        for wrong in ["1234567890", "123456789", "12345678931", "123456789x"] {
            assert!(!is_npi(wrong), "{wrong}");
        }
    }
}
