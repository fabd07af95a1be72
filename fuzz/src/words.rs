//! The files that people write. What is accepted must make a message that the sandbox accepts, and a row that fits.

use std::{collections::BTreeMap, path::Path};

use chartdrop::{
    config::Config,
    delivery::fuzzing as fuzzing_delivery,
    inbox::{PATH_LIMIT, Roster, fuzzing},
    ledger::{Accepted, Delivery, Filing, Held, HeldWhy, Queued, Reason, Rejected, Stage, Then, Unknown},
    model::document::{Coding, Content, Destination, Document, Identifier, Key, Metadata, Patient, Sha1, Sha256},
    model::message::{Answer, Message, Upload},
    model::path::{InboxPath, RelPath},
    model::problem::Problem,
    redox, sandbox,
};
use jiff::Timestamp;
use uuid::Uuid;

use crate::is_readable;

/// The first byte says which form.
pub fn sidecar(bytes: &[u8]) {
    let Some((form, text)) = bytes.split_first() else { return };
    let unspecified = coding("unspecified");
    let types = BTreeMap::from([("unspecified".to_owned(), unspecified.clone()), ("referral".into(), coding("r"))]);
    let identifier = Identifier { system: "urn:x".into(), value: "0000000001".into(), kind: Some("MR".into()) };
    let patient = Patient { identifier: vec![identifier], family: None, given: vec![], birth_date: None, gender: None };
    let read = || {
        let sidecar = fuzzing::sidecar(text, form & 1 == 1)?;
        let confirmed = sidecar.confirm(patient.clone())?;
        assert_eq!(confirmed.identifier, patient.identifier, "a sidecar never changes whose chart it is");
        document(confirmed, sidecar.metadata(&unspecified, &types)?)
    };
    fits(read());
}

pub fn patient(bytes: &[u8]) {
    fits(fuzzing::patient(bytes).and_then(|patient| document(patient, plain_metadata())));
}

/// A list of patients holds no words of its own in what is said of it: those would stand in a log.
pub fn roster(bytes: &[u8]) {
    match Roster::parse(bytes) {
        Ok(roster) => assert!(roster.size() > 0 && roster.size() <= bytes.len()),
        Err(error) => is_readable(&error.to_string()),
    }
}

pub fn config(bytes: &[u8]) {
    match Config::parse(bytes, Path::new("/etc/chartdrop/config.toml")) {
        Ok(config) => {
            let apart = |a: &Path, b: &Path| !a.starts_with(b) && !b.starts_with(a);
            for inbox in &config.inboxes {
                let others = [&inbox.done, &inbox.failed, &config.ledger];
                assert!(others.into_iter().all(|other| apart(&inbox.path, other)), "{inbox:?}");
                assert!(inbox.path.is_absolute() && config.inbox(&inbox.name).is_some());
            }
            assert!((1..=64).contains(&config.delivery.concurrency));
            assert!(!config.delivery.retry_first.is_zero() && config.document_types.contains_key("unspecified"));
        }
        Err(error) => is_readable(&error.to_string()),
    }
}

fn coding(code: &str) -> Coding {
    Coding { system: "http://loinc.org".into(), code: code.into(), display: None }
}

fn plain_metadata() -> Metadata {
    Metadata {
        title: None,
        description: None,
        date: None,
        kind: coding("34133-9"),
        category: "clinical-note".into(),
        status: Default::default(),
        author: None,
        visit: None,
    }
}

fn document(patient: Patient, metadata: Metadata) -> Result<Document, Problem> {
    let content = Content {
        sha256: Sha256([7; 32]),
        sha1: Sha1([7; 20]),
        size: 30_000_000,
        mime: "application/pdf".into(),
        original_sha256: None,
    };
    fuzzing::fitting("scan.pdf".into(), patient, metadata, content)
}

fn fits(read: Result<Document, Problem>) {
    match read {
        Ok(document) => {
            let row = row(document);
            makes_a_good_message(&row);
            fits_a_row(row);
        }
        Err(refusal) => {
            is_readable(&refusal.summary);
            is_readable(&refusal.remedy);
        }
    }
}

/// With everything around the document as long as it may be.
fn row(document: Document) -> Delivery {
    let first = &document.patient.identifier[0];
    let key = Key {
        destination: Destination(format!("Development/{}", "s".repeat(128))),
        patient: format!("{}|{}", first.system, first.value),
        sha256: document.content.sha256,
    };
    let path = RelPath::new(Path::new(&"p".repeat(PATH_LIMIT))).expect("a plain name");
    let at = Timestamp::MAX;
    let place = InboxPath { inbox: "i".repeat(64), path };
    let mut row = Delivery::new(key, place, Some(document), at, Stage::Queued(Queued::new(at)));
    (row.revision, row.sends, row.uncertain) = (u64::MAX, u32::MAX, u32::MAX);
    row
}

fn unknown(message: Message, why: String) -> Unknown {
    let at = Timestamp::MAX;
    Unknown { message: Some(message), why, since: at, due: at, tries: 9 }
}

fn message(location: Option<String>) -> Message {
    let at = Timestamp::MAX;
    Message {
        bundle: Uuid::from_u128(1),
        header: Uuid::from_u128(2),
        timestamp: at,
        endpoint: "https://github.com/chartdrop".into(),
        upload: location.map(|location| Upload { location, at }),
        sent: u32::MAX,
    }
}

fn makes_a_good_message(row: &Delivery) {
    let Some(document) = &row.document else { return };
    let message =
        Message { timestamp: Timestamp::UNIX_EPOCH, ..message(Some("https://blob.redoxengine.com/1".into())) };
    let bundle = redox::build(document, row.id(), Timestamp::UNIX_EPOCH, &message);
    let bundle = serde_json::to_value(bundle).expect("JSON");
    let facts = sandbox::judge(&bundle).unwrap_or_else(|problems| panic!("{problems:?} in {bundle:#}"));
    let said: Vec<_> = document.patient.identifier.iter().map(|id| (&*id.system, &*id.value)).collect();
    let sent: Vec<_> = facts.patient_identifiers.iter().map(|id| (&*id.system, &*id.value)).collect();
    assert_eq!(said, sent, "exactly whose chart it is");
}

/// At every stage, after it gave up what can be spared.
fn fits_a_row(mut row: Delivery) {
    let (at, words, filing) = (Timestamp::MAX, "w".repeat(2000), Filing { to: Some(row.place.clone()), filed: None });
    let message = message(Some("l".repeat(500)));
    if !fuzzing_delivery::fits(&row) {
        // Such a document is refused before anything of it is sent.
        return;
    }
    let reason = Reason { code: "redox-400".into(), summary: words.clone(), remedy: "t".repeat(250), maybe_sent: true };
    let answer = Answer { status: 200, headers: vec![("h".into(), "v".repeat(600))], ids: vec!["i".repeat(200); 3] };
    let upload = message.upload.clone();
    for stage in [
        Stage::Queued(Queued { why: words.clone(), upload: upload.clone(), ..Queued::new(at) }),
        Stage::Sending(message.clone()),
        Stage::Unknown(unknown(message.clone(), words.clone())),
        Stage::Held(Held {
            why: HeldWhy::OutcomeUnknown,
            detail: words.clone(),
            since: at,
            then: Then::Unknown(unknown(message.clone(), words)),
        }),
        Stage::Accepted(Accepted { at, message: Some(message), answer, filing: filing.clone(), duplicate: None }),
        Stage::Rejected(Rejected { at, reason, upload, filing }),
    ] {
        row.stage = stage;
        let (key, document) = (row.key.clone(), row.document.clone());
        row.truncate_to_limit();
        let bytes = row.encode().unwrap_or_else(|error| panic!("{error}: {row:?}"));
        assert_eq!(Delivery::decode(&bytes).expect("it was just written"), row);
        assert_eq!((&row.key, &row.document), (&key, &document), "what decides the message is never given up");
    }
}
