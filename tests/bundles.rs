//! Every kind of message that chartdrop makes, judged by validators that others wrote.
//!
//! None of them notices a reference that leads to nothing; the sandbox's own judge does (`sandbox::bundle`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use support::{Clinic, pdf, sample};

/// What the validators said of one Bundle.
#[derive(Debug)]
struct Verdict {
    medplum: Vec<String>,
    fhir: Vec<String>,
    /// HL7's `fhir.schema.json`.
    schema: Vec<String>,
}

impl Verdict {
    fn is_valid(&self) -> bool {
        self.medplum.is_empty() && self.fhir.is_empty() && self.schema.is_empty()
    }
}

/// One process judges them all.
fn judge(bundles: &[Value]) -> Vec<Verdict> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/validators/judge.mjs");
    let mut node = Command::new("node").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = node.stdin.take().unwrap();
    let lines: String = bundles.iter().map(|bundle| format!("{bundle}\n")).collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let output = node.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "the validators could not be run; tests/run installs them");
    let words =
        |value: &Value| value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect();
    let verdicts: Vec<_> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|verdict| Verdict {
            medplum: words(&verdict["medplum"]),
            fhir: words(&verdict["fhir"]),
            schema: words(&verdict["schema"]),
        })
        .collect();
    assert_eq!(verdicts.len(), bundles.len());
    verdicts
}

/// Messages of every kind, as the sandbox received them: both methods, and every part present and absent.
fn made(method: &str) -> Vec<Value> {
    let mut clinic = Clinic::new(&[]);
    clinic.delivery.push_str(&format!("method = \"{method}\"\n"));
    clinic
        .inbox
        .push_str("[inbox.patient]\nidentifier_system = \"urn:x:MR\"\nfolder_pattern = '^(?<identifier>[0-9]+)'\n");
    let two = "identifier = [{ system = \"urn:x:MR\", value = \"01\", type = \"MR\" }, { system = \"http://hl7.org/fhir/sid/us-ssn\", value = \"000-00-0000\" }]\n";
    clinic.drop_file("inbox/two/patient.toml", format!("{two}given = [\"Mary\"]\ngender = \"unknown\"\n"));
    let author = "author = { npi = \"1234567893\" }\n";
    let whole = "author = { npi = \"1234567893\", family = \"Adams\", given = [\"Grace\", \"B.\"] }\n";
    for (i, folder) in ["bixby", "0042 by its name", "two"].iter().enumerate() {
        let mut kinds = vec![
            String::new(),
            "title = \"A title\"\ndescription = \"Words, with \\\"quotes\\\" and ümläuts\"\n".to_owned(),
            format!("visit = \"V-1\"\n{author}"),
            format!("{whole}type = \"referral\"\n"),
            "visit = \"V 2\"\ndate = 2026-11-20T09:30:00-06:00\ntype = { system = \"http://loinc.org\", code = \"34133-9\" }\n".to_owned(),
        ];
        kinds.extend(["preliminary", "amended", "entered-in-error"].map(|status| format!("status = \"{status}\"\n")));
        for (j, sidecar) in kinds.iter().enumerate() {
            clinic.drop_file(format!("inbox/{folder}/{j}.pdf"), pdf(&format!("{i} {j}")));
            if !sidecar.is_empty() {
                clinic.drop_file(format!("inbox/{folder}/{j}.toml"), sidecar);
            }
        }
        for name in ["wound-photo.jpg", "xray.tif", "insurance-card.png", "notes.txt", "summary.rtf"] {
            clinic.drop_file(format!("inbox/{folder}/{name}"), sample(name));
        }
    }
    assert_eq!(clinic.run_once(), 0);
    let accepted = clinic.accepted();
    assert_eq!(accepted.len(), 3 * 13);
    accepted.into_iter().map(|message| message["bundle"].clone()).collect()
}

#[test]
fn every_kind_of_message_is_valid() {
    let bundles: Vec<_> = ["upload", "embed"].into_iter().flat_map(made).collect();
    for (bundle, verdict) in bundles.iter().zip(judge(&bundles)) {
        assert!(verdict.is_valid(), "{verdict:#?} for {bundle:#}");
    }
}

/// Words of people that no message can hold: each document is refused with a note that says which, and nothing is sent.
#[test]
fn what_fhir_cannot_say_is_refused_before_it_is_sent() {
    let clinic = Clinic::new(&[]);
    let cases = [
        ("double-space", "type = { system = \"http://loinc.org\", code = \"a  b\" }", "code"),
        ("no-break", "type = { system = \"http://loinc.org\", code = \"a\\u00A0b\" }", "code"),
        ("year-zero", "date = 0000-06-20T09:30:00Z", "date"),
        ("far-east", "date = 2026-11-20T09:30:00+14:01", "date"),
        ("far-west", "date = 2026-11-20T09:30:00-14:01", "date"),
        ("separator", "title = \"a\\u2028b\"", "title"),
        ("paragraph", "description = \"a\\u2029b\"", "description"),
        ("control", "title = \"a\\u0007b\"", "title"),
        ("visit", "visit = \"V\\u00A01\"", "visit"),
    ];
    for (name, sidecar, _) in cases {
        clinic.drop_file(format!("inbox/bixby/{name}.pdf"), pdf(name));
        clinic.drop_file(format!("inbox/bixby/{name}.pdf.toml"), sidecar);
    }
    clinic.drop_file(
        "inbox/born/patient.toml",
        "identifier = [{ system = \"urn:x\", value = \"7\" }]\nbirth_date = 0000-01-06\n",
    );
    clinic.drop_file("inbox/born/a.pdf", pdf("born"));
    assert_eq!(clinic.run_once(), 1);
    assert!(clinic.accepted().is_empty(), "{:?}", clinic.files("done"));
    for (name, _, word) in cases {
        let reason = clinic.reason(&format!("failed/bixby/{name}.pdf.reason.txt"));
        assert!(reason.starts_with("THIS DOCUMENT WAS NOT SENT.") && reason.contains(word), "{name}: {reason}");
    }
    assert!(clinic.reason("failed/born/a.pdf.reason.txt").contains("birth date"));
}

/// A letter of a late evening bears the day on which it was written.
#[test]
fn a_date_is_sent_with_the_offset_of_the_sidecar() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("evening"));
    clinic.drop_file("inbox/bixby/a.pdf.toml", "date = 2026-11-20T23:30:00-06:00");
    clinic.fault("create:nth=1:status=503,retry_after=1\ncreate:nth=2:cut=after");
    assert_eq!(clinic.run_once(), 0);
    let accepted = clinic.accepted();
    assert_eq!(accepted.len(), 2);
    assert_eq!(accepted[0]["bundle_sha256"], accepted[1]["bundle_sha256"], "a resend is the same byte for byte");
    assert_eq!(accepted[0]["bundle"]["entry"][1]["resource"]["date"], "2026-11-20T23:30:00-06:00");
}

#[test]
fn planted_faults_are_found() {
    let good = made("upload").into_iter().find(|bundle| bundle.to_string().contains("Practitioner")).unwrap();
    let place = |kind: &str| {
        let entries = good["entry"].as_array().unwrap();
        let at = entries.iter().position(|entry| entry["resource"]["resourceType"] == kind).unwrap();
        format!("/entry/{at}/resource")
    };
    let (header, document, patient) = (place("MessageHeader"), place("DocumentReference"), place("Patient"));
    let planted = [
        ("/type".to_owned(), json!("messages")),
        ("/timestamp".to_owned(), json!("2026-11-24T10:00:00")),
        ("/colour".to_owned(), json!("red")),
        (format!("{header}/source"), Value::Null),
        (format!("{header}/eventUri"), Value::Null),
        (format!("{document}/status"), Value::Null),
        (format!("{document}/status"), json!("final")),
        (format!("{document}/docStatus"), json!("finished")),
        (format!("{document}/date"), json!("2026-11-24T10:00:00")),
        (format!("{document}/type"), json!("letter")),
        (format!("{document}/subject"), json!("Patient/1")),
        (format!("{document}/content"), Value::Null),
        (format!("{document}/content"), json!([])),
        (format!("{document}/content/0/attachment/size"), json!("12")),
        (format!("{document}/content/0/attachment/title"), json!(12)),
        (format!("{document}/category"), json!({})),
        // What no message says any more, since it is refused before.
        (format!("{document}/type/coding/0/code"), json!("a  b")),
        (format!("{document}/type/coding/0/code"), json!("a\u{a0}b")),
        (format!("{document}/date"), json!("0000-11-24T10:00:00Z")),
        (format!("{document}/date"), json!("2026-11-24T10:00:00+14:30")),
        (format!("{document}/content/0/attachment/title"), json!("a\u{2028}b")),
        (format!("{patient}/birthDate"), json!("0000-01-06")),
        (format!("{document}/colour"), json!("red")),
        (format!("{patient}/identifier/0/value"), json!(1)),
        (format!("{patient}/birthDate"), json!("06.01.2008")),
        (format!("{patient}/gender"), json!("m")),
        (format!("{patient}/name"), json!("Bixby")),
    ];
    let bundles: Vec<_> = planted.iter().map(|(pointer, value)| with(&good, pointer, value)).collect();
    let verdicts = judge(&bundles);
    let missed: Vec<_> =
        planted.iter().zip(&verdicts).filter(|(_, verdict)| verdict.is_valid()).map(|(fault, _)| fault).collect();
    assert!(missed.is_empty(), "{missed:#?}");
    // Each of them works, so that none can fall silent unnoticed.
    let found =
        |words: fn(&Verdict) -> &Vec<String>| verdicts.iter().filter(|verdict| !words(verdict).is_empty()).count();
    let by = [found(|it| &it.medplum), found(|it| &it.fhir), found(|it| &it.schema)];
    println!("medplum, fhir, fhir.schema.json found {by:?} of {}", planted.len());
    assert!(by.iter().all(|found| *found > planted.len() / 2), "{by:?}");
}

/// The Bundle with one value replaced; null takes it away.
fn with(good: &Value, pointer: &str, value: &Value) -> Value {
    let mut bundle = good.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let fields = bundle.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Value::Null => drop(fields.remove(name).unwrap()),
        _ => drop(fields.insert(name.to_owned(), value.clone())),
    }
    bundle
}
