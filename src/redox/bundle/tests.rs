//! The message is what the API's pages ask for, whatever people type.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    model::document::{Coding, Content as Bytes20, Destination, Identifier, Key, Sha1, Sha256},
    model::message::Upload,
};

/// The bytes of a message; of an embedded file, three.
pub(crate) fn whole(bundle: &Bundle) -> Vec<u8> {
    match bundle.body().unwrap() {
        Body::Whole(bytes) => bytes.to_vec(),
        Body::Around { prefix, suffix } => [&prefix[..], b"QUJD", &suffix[..]].concat(),
    }
}

fn json_of(document: &Document, message: &Message) -> Value {
    serde_json::from_slice(&whole(&build(document, delivery(), Timestamp::UNIX_EPOCH, message))).unwrap()
}

fn delivery() -> DeliveryId {
    let destination = Destination("Staging/redox-fhir-sandbox".into());
    Key { destination, patient: "urn:redox:health-one:MR|0000000001".into(), sha256: Sha256([7; 32]) }.id()
}

fn message(upload: bool) -> Message {
    Message {
        bundle: Uuid::from_u128(1),
        header: Uuid::from_u128(2),
        timestamp: "2026-11-20T15:31:00.987654321Z".parse().unwrap(),
        endpoint: "urn:uuid:00000000-0000-0000-0000-000000000003".into(),
        upload: upload
            .then(|| Upload { location: "https://blob.example.org/a?b=c&d=%2F".into(), at: Timestamp::UNIX_EPOCH }),
        sent: 1,
    }
}

fn full() -> Document {
    Document {
        file_name: "scan 1.pdf".into(),
        patient: Patient {
            identifier: vec![Identifier {
                system: "urn:redox:health-one:MR".into(),
                value: "0000000001".into(),
                kind: Some("MR".into()),
            }],
            family: Some("Bixby".into()),
            given: vec!["Timothy".into(), "Paul".into()],
            birth_date: Some(jiff::civil::date(2008, 1, 6)),
            gender: Some(Gender::Male),
        },
        metadata: Metadata {
            title: Some("Referral letter".into()),
            description: Some("From the cardiology group".into()),
            date: Some("2026-11-20T15:30:00Z".parse().unwrap()),
            kind: Coding {
                system: "http://loinc.org".into(),
                code: "57133-1".into(),
                display: Some("Referral note".into()),
            },
            category: "clinical-note".into(),
            status: DocStatus::Final,
            author: Some(Author {
                npi: "1234567893".into(),
                family: Some("Adams".into()),
                given: vec!["Grace".into()],
            }),
            visit: Some("V-1001".into()),
        },
        content: Bytes20 {
            sha256: Sha256([7; 32]),
            sha1: Sha1([9; 20]),
            size: 3,
            mime: "application/pdf".into(),
            original_sha256: None,
        },
    }
}

/// A changed byte here means that a message in flight over an update would not be repeated as it was.
#[test]
fn the_bytes_of_a_message_stay_what_they_are() {
    let bytes = whole(&build(&full(), delivery(), Timestamp::UNIX_EPOCH, &message(true)));
    assert_eq!(String::from_utf8(bytes).unwrap(), include_str!("golden.json").trim_end());
}

#[test]
fn a_date_keeps_the_offset_that_it_was_given() {
    let mut document = full();
    for (date, expected) in [
        ("2026-11-20T23:30:00-06:00", "2026-11-20T23:30:00-06:00"),
        ("2026-11-20T23:30:00.75+05:30", "2026-11-20T23:30:00+05:30"),
        ("2026-11-20T23:30:00Z", "2026-11-20T23:30:00Z"),
    ] {
        document.metadata.date = Some(date.parse().unwrap());
        // As it is after it was stored and read again: a resend says the same.
        let stored = serde_json::to_vec(&document).unwrap();
        let again: Document = serde_json::from_slice(&stored).unwrap();
        for document in [&document, &again] {
            assert_eq!(json_of(document, &message(true))["entry"][1]["resource"]["date"], expected);
        }
    }
}

#[test]
fn a_document_of_which_little_is_known() {
    let mut document = full();
    document.metadata.title = None;
    document.metadata.date = None;
    document.metadata.author = None;
    document.metadata.visit = Some(" \u{0} ".into());
    document.metadata.description = Some("  ".into());
    let bundle = json_of(&document, &message(true));
    let kinds: Vec<_> =
        bundle["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]["resourceType"]).collect();
    assert_eq!(kinds, ["MessageHeader", "DocumentReference", "Patient"]);
    let reference = &bundle["entry"][1]["resource"];
    assert_eq!(reference["date"], "1970-01-01T00:00:00Z");
    assert_eq!(reference["content"][0]["attachment"]["title"], "scan 1.pdf");
    for absent in ["author", "context", "description"] {
        assert_eq!(reference[absent], Value::Null, "{absent}");
    }
}

#[test]
fn the_file_goes_where_data_stands_and_nowhere_else() {
    let mut document = full();
    document.metadata.title = Some(r#""data":"FILE""#.into());
    document.metadata.description = Some("FILE".into());
    let embedded = json_of(&document, &message(false));
    let attachment = &embedded["entry"][1]["resource"]["content"][0]["attachment"];
    assert_eq!(attachment["data"], "QUJD");
    assert_eq!(attachment["url"], Value::Null);
    assert_eq!(attachment["title"], r#""data":"FILE""#);
    let uploaded = json_of(&document, &message(true));
    let attachment = &uploaded["entry"][1]["resource"]["content"][0]["attachment"];
    assert_eq!(attachment["url"], "https://blob.example.org/a?b=c&d=%2F");
    assert_eq!(attachment["data"], Value::Null);
}

#[test]
fn sending_again_on_purpose_takes_other_ids_and_keeps_the_documents_own() {
    let first = json_of(&full(), &message(true));
    let again = json_of(&full(), &Message { bundle: Uuid::from_u128(8), header: Uuid::from_u128(9), ..message(true) });
    for (a, b) in first["entry"].as_array().unwrap().iter().zip(again["entry"].as_array().unwrap()) {
        assert_ne!(a["resource"]["id"], b["resource"]["id"]);
    }
    let master = |bundle: &Value| bundle["entry"][1]["resource"]["masterIdentifier"].clone();
    assert_eq!(master(&first), master(&again));
    assert_eq!(master(&first), json!({ "system": URI_SYSTEM, "value": format!("urn:uuid:{}", delivery()) }));
}

/// What FHIR forbids anywhere: null, and strings, lists and objects that are empty; strings with control characters
/// or blanks around them.
fn faults(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Null => found.push(format!("{path} is null")),
        Value::String(text) if text.trim() != text || text.is_empty() || text.contains(char::is_control) => {
            found.push(format!("{path} is {text:?}"));
        }
        Value::Array(items) if items.is_empty() => found.push(format!("{path} is an empty list")),
        Value::Array(items) => items.iter().for_each(|item| faults(item, &format!("{path}[]"), found)),
        Value::Object(members) if members.is_empty() => found.push(format!("{path} is an empty object")),
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| faults(member, &format!("{path}.{name}"), found));
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("reference").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// Whatever people type, control characters, quotes and blanks with some preference.
fn typed() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,12}", "[ \\x00-\\x1f\"\\\\\u{7f}\u{85}\u{a0}a]{0,6}", Just(String::new())]
}

prop_compose! {
    fn patients()(
        identifier in prop::collection::vec((typed(), typed(), prop::option::of(typed())), 0..3),
        family in prop::option::of(typed()),
        given in prop::collection::vec(typed(), 0..3),
        born in prop::option::of(0..30_000i32),
        gender in prop::option::of(Just(Gender::Unknown)),
    ) -> Patient {
        let identifier = identifier.into_iter().map(|(system, value, kind)| Identifier { system, value, kind }).collect();
        let day = |days: i32| jiff::civil::date(1930, 1, 1).saturating_add(jiff::Span::new().days(days));
        Patient { identifier, family, given, birth_date: born.map(day), gender }
    }
}

prop_compose! {
    /// Documents of which anything may be said.
    pub(crate) fn documents()(
        file_name in typed(),
        patient in patients(),
        (title, description, display, visit) in (prop::option::of(typed()), prop::option::of(typed()), prop::option::of(typed()), prop::option::of(typed())),
        (system, code, category, mime) in (typed(), typed(), typed(), typed()),
        author in prop::option::of((typed(), prop::option::of(typed()), prop::collection::vec(typed(), 0..2))),
        second in prop::option::of(0..4_000_000_000i64),
        size in any::<u64>(),
    ) -> Document {
        let metadata = Metadata {
            title, description, visit, category,
            date: second.map(|second| WrittenTime::utc(Timestamp::from_second(second).unwrap())),
            kind: Coding { system, code, display },
            status: DocStatus::Amended,
            author: author.map(|(npi, family, given)| Author { npi, family, given }),
        };
        let content = Bytes20 { sha256: Sha256([1; 32]), sha1: Sha1([2; 20]), size, mime, original_sha256: None };
        Document { file_name, patient, metadata, content }
    }
}

proptest! {
    #[test]
    fn every_message_is_pure_and_without_fault(document in documents(), upload in any::<bool>()) {
        let message = message(upload);
        let bundle = json_of(&document, &message);
        prop_assert_eq!(&bundle, &json_of(&document.clone(), &message.clone()));
        prop_assert_eq!(
            whole(&build(&document, delivery(), Timestamp::UNIX_EPOCH, &message)),
            whole(&build(&document, delivery(), Timestamp::UNIX_EPOCH, &message))
        );

        let mut found = Vec::new();
        faults(&bundle, "Bundle", &mut found);
        prop_assert!(found.is_empty(), "{:?}", found);

        let entries = bundle["entry"].as_array().unwrap();
        let urls: Vec<&str> = entries.iter().map(|entry| entry["fullUrl"].as_str().unwrap()).collect();
        for entry in entries {
            let id = entry["resource"]["id"].as_str().unwrap();
            prop_assert_eq!(entry["fullUrl"].as_str().unwrap(), format!("urn:uuid:{id}"));
            prop_assert_eq!(urls.iter().filter(|url| url.ends_with(id)).count(), 1);
        }
        let mut named = Vec::new();
        references(&bundle, &mut named);
        prop_assert!(named.len() >= 2);
        for reference in &named {
            prop_assert!(urls.contains(&reference.as_str()), "{} leads nowhere", reference);
        }
        for url in &urls[1..] {
            prop_assert!(named.iter().any(|reference| reference == url), "nothing refers to {}", url);
        }
    }
}
