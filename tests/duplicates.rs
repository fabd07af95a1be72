//! The same bytes for the same patient and destination are sent once: however the patient's identifiers are written, and
//! whatever is not the same patient or destination after all.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use serde_json::Value;
use support::{Clinic, chartdrop, once_until, pdf, sha256};

/// One person with these identifiers, as `(system, value)` in this order.
fn person(identifiers: &[(&str, &str)], family: &str) -> String {
    let identifiers: Vec<_> =
        identifiers.iter().map(|(system, value)| format!("{{ system = \"{system}\", value = \"{value}\" }}")).collect();
    format!(
        "identifier = [{}]\nfamily = \"{family}\"\ngiven = [\"Timothy\"]\nbirth_date = 2008-01-06\n",
        identifiers.join(", ")
    )
}

const MR: (&str, &str) = ("urn:redox:health-one:MR", "0000000001");
const EHR: (&str, &str) = ("urn:redox:health-one:EHR", "77");
/// Sorts before all others.
const ADDED: (&str, &str) = ("urn:a", "5");

fn clinic() -> Clinic {
    let mut clinic = Clinic::new(&["--destination", "redox-fhir-sandbox", "--destination", "another"]);
    clinic.inbox = "settle = \"20ms\"\nincomplete_after = \"1s\"\n".into();
    clinic
}

/// `second` was not sent, its receipt says so, and of whom the first was.
fn assert_duplicate(clinic: &Clinic, first: &str, second: &str, what: &str) {
    let (first, second) =
        (clinic.receipt(&format!("{first}.receipt.json")), clinic.receipt(&format!("{second}.receipt.json")));
    assert_eq!((&first["status"], &second["status"]), (&"accepted".into(), &"duplicate".into()), "{what}");
    assert_eq!(first["delivery"], second["delivery"], "{what}");
    assert_eq!((&second["sends"], &second["uncertain"]), (&1.into(), &0.into()), "{what}");
    assert!(second["note"].as_str().unwrap().contains("was not sent again"), "{what}: {second}");
    assert_eq!(clinic.accepted().len(), 1, "{what}");
}

#[test]
fn the_order_and_number_of_identifiers_do_not_make_another_patient() {
    for (what, before, after) in [
        ("reordered", vec![MR, EHR], vec![EHR, MR]),
        ("one added in front", vec![MR], vec![ADDED, MR]),
        ("one added behind", vec![MR], vec![MR, EHR]),
        ("one taken away", vec![ADDED, MR], vec![MR]),
    ] {
        let clinic = clinic();
        clinic.drop_file("inbox/bixby/patient.toml", person(&before, "Bixby"));
        clinic.drop_file("inbox/bixby/first.pdf", pdf("same"));
        assert_eq!(clinic.run_once(), 0, "{what}");
        clinic.drop_file("inbox/bixby/patient.toml", person(&after, "Bixby"));
        clinic.drop_file("inbox/bixby/second.pdf", pdf("same"));
        assert_eq!(clinic.run_once(), 0, "{what}");
        assert_duplicate(&clinic, "done/bixby/first.pdf", "done/bixby/second.pdf", what);
    }
}

#[test]
fn a_second_folder_of_the_same_person_gets_no_second_copy() {
    for (what, identifiers) in [("alike", vec![MR]), ("with one more", vec![EHR, MR]), ("and before", vec![ADDED, MR])]
    {
        let clinic = clinic();
        clinic.drop_file("inbox/bixby/patient.toml", person(&[MR], "Bixby"));
        clinic.drop_file("inbox/other/patient.toml", person(&identifiers, "Bixby"));
        clinic.drop_file("inbox/bixby/first.pdf", pdf("same"));
        assert_eq!(clinic.run_once(), 0, "{what}");
        clinic.drop_file("inbox/other/second.pdf", pdf("same"));
        assert_eq!(clinic.run_once(), 0, "{what}");
        assert_duplicate(&clinic, "done/bixby/first.pdf", "done/other/second.pdf", what);
    }
}

#[test]
fn two_folders_of_one_person_that_come_together_send_one_copy() {
    let mut clinic = clinic();
    clinic.delivery.push_str("concurrency = 8\n");
    clinic.fault("create:nth=1:delay=2s");
    for (folder, identifiers) in [("bixby", vec![MR, EHR]), ("two", vec![EHR, MR]), ("three", vec![ADDED, EHR])] {
        clinic.drop_file(format!("inbox/{folder}/patient.toml"), person(&identifiers, "Bixby"));
        clinic.drop_file(format!("inbox/{folder}/scan.pdf"), pdf("same"));
    }
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted().len(), 1);
    assert_eq!(clinic.files("done").len(), 6, "{:?}", clinic.files("done"));
}

#[test]
fn a_retry_with_other_identifiers_goes_on_with_the_same_delivery() {
    // Not yet sent: what is said now is sent, once, under the row that is there.
    let clinic = clinic();
    clinic.drop_file("inbox/bixby/patient.toml", person(&[MR], "Bixby"));
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("same"));
    clinic.fault("create:nth=1:status=503,retry_after=600");
    let (code, log) = once_until(chartdrop(), &clinic.config(), |log| log.contains("it will be tried again"));
    assert_eq!(code, 1, "{log}");
    let id = clinic.open_id();
    clinic.drop_file("inbox/bixby/patient.toml", person(&[ADDED, MR], "Bixby"));
    assert!(clinic.command(&["retry", &id]).status.success());
    assert_eq!(clinic.run_once(), 0);
    let accepted = clinic.accepted();
    assert_eq!(accepted.len(), 1);
    assert_eq!(accepted[0]["patient_identifiers"].as_array().unwrap().len(), 2, "{accepted:?}");
    assert_eq!(clinic.receipt("done/bixby/scan.pdf.receipt.json")["delivery"], id.as_str());
    assert_eq!(clinic.counters("done/bixby/scan.pdf.receipt.json"), (1, 0));
}

/// Both are sent, each for its own patient or destination, under deliveries of their own.
fn assert_both_are_sent(clinic: &Clinic, receipts: [&str; 2], what: &str) {
    let [first, second] = receipts.map(|name| clinic.receipt(&format!("{name}.receipt.json")));
    for receipt in [&first, &second] {
        assert_eq!((&receipt["status"], &receipt["sends"]), (&"accepted".into(), &1.into()), "{what}: {receipt}");
    }
    assert_ne!(first["delivery"], second["delivery"], "{what}");
    let accepted = clinic.accepted();
    assert_eq!(accepted.len(), 2, "{what}");
    let digest = Value::from(sha256(&pdf("same")));
    assert!(accepted.iter().all(|message| message["sha256"] == digest), "{what}");
    let of = |key: &str| accepted.iter().map(|message| message[key].to_string()).collect::<Vec<_>>();
    let (patients, destinations) = (of("patient_identifiers"), of("destination"));
    assert!(patients[0] != patients[1] || destinations[0] != destinations[1], "{what}: {accepted:?}");
}

#[test]
fn what_only_looks_like_the_same_number_is_another_patient() {
    for (what, one, other) in [
        ("a bar in the system or in the value", ("urn:a|b", "c"), ("urn:a", "b|c")),
        ("one number under two systems", ("urn:one", "1001"), ("urn:two", "1001")),
        ("leading zeros", ("urn:one", "1001"), ("urn:one", "01001")),
    ] {
        let clinic = clinic();
        clinic.drop_file("inbox/one/patient.toml", person(&[one], "Bixby"));
        clinic.drop_file("inbox/other/patient.toml", person(&[other], "Alvarez"));
        clinic.drop_file("inbox/one/scan.pdf", pdf("same"));
        clinic.drop_file("inbox/other/scan.pdf", pdf("same"));
        assert_eq!(clinic.run_once(), 0, "{what}");
        assert_both_are_sent(&clinic, ["done/one/scan.pdf", "done/other/scan.pdf"], what);
    }
}

#[test]
fn the_same_bytes_for_two_destinations_are_sent_to_both() {
    let mut clinic = clinic();
    clinic.inbox.push_str(
        "[[inbox]]\nname = \"second\"\npath = \"second/inbox\"\ndestination = \"another\"\nhold = \"0s\"\nsettle = \"20ms\"\n",
    );
    clinic.drop_file("second/inbox/bixby/patient.toml", support::PATIENT);
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("same"));
    clinic.drop_file("second/inbox/bixby/scan.pdf", pdf("same"));
    assert_eq!(clinic.run_once(), 0);
    assert_both_are_sent(&clinic, ["done/bixby/scan.pdf", "second/done/bixby/scan.pdf"], "destinations");
    // And to each of them once.
    clinic.drop_file("inbox/bixby/again.pdf", pdf("same"));
    clinic.drop_file("second/inbox/bixby/again.pdf", pdf("same"));
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted().len(), 2);
    for receipt in ["done/bixby/again.pdf.receipt.json", "second/done/bixby/again.pdf.receipt.json"] {
        assert_eq!(clinic.receipt(receipt)["status"], "duplicate");
    }
}

// What Redox says is a duplicate (409).

const DUPLICATE: &str = "status=409,body=outcome:duplicate";

#[test]
fn a_409_on_a_first_send_is_a_refusal_and_the_document_is_failed_and_unsent() {
    for first in [
        // Nothing came before it.
        None,
        // Not processed, so the next one is the first one still.
        Some("create:nth=1:status=503,retry_after=1"),
        Some("create:nth=1:status=429,retry_after=1"),
    ] {
        let clinic = clinic();
        first.iter().for_each(|fault| clinic.fault(fault));
        clinic.fault(&format!("create:always:{DUPLICATE}"));
        clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
        assert_eq!(clinic.run_once(), 1, "{first:?}");
        let reason = clinic.reason("failed/bixby/a.pdf.reason.txt");
        assert!(reason.contains("redox-409 / ") && reason.starts_with("THIS DOCUMENT WAS NOT SENT."), "{reason}");
        assert!(reason.contains("\"sends\":1,\"uncertain\":0"), "{first:?}: {reason}");
        assert_eq!((clinic.accepted().len(), clinic.files("done").len()), (0, 0), "{first:?}");
        assert_eq!(clinic.files("inbox"), ["bixby/patient.toml"], "{first:?}");
    }
}

#[test]
fn a_409_on_a_resend_says_that_the_first_one_arrived() {
    for (policy, lost, is_released) in [
        ("resend", "cut=after", false),
        ("resend", "status=504,commit", false),
        ("search", "status=500", false),
        ("hold", "cut=after", true),
    ] {
        let what = format!("{policy} {lost}");
        let mut clinic = clinic();
        clinic.delivery.push_str(&format!("on_unknown = \"{policy}\"\n"));
        clinic.fault(&format!("create:nth=1:{lost}"));
        clinic.fault(&format!("create:always:{DUPLICATE}"));
        clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
        if is_released {
            assert_eq!(clinic.run_once(), 1, "{what}");
            assert!(clinic.command(&["release", &clinic.open_id()]).status.success(), "{what}");
        }
        assert_eq!(clinic.run_once(), 0, "{what}");
        let receipt = clinic.receipt("done/bixby/a.pdf.receipt.json");
        assert_eq!(receipt["status"], "accepted", "{what}");
        assert_eq!(clinic.counters("done/bixby/a.pdf.receipt.json"), (2, 1), "{what}: {receipt}");
        assert_eq!(receipt["answer"]["status"], 409, "{what}: {receipt}");
        assert!(clinic.files("failed").is_empty(), "{what}");
        assert_eq!(clinic.record()["creates"], 2, "{what}");
    }
}
