//! The heading of a note is true. Whoever reads "NOT SENT" drops the document again: after a send whose outcome nobody
//! knows, that puts it into the chart twice.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;

use support::{Clinic, PATIENT, pdf};

const NOT_SENT: &str = "THIS DOCUMENT WAS NOT SENT.";
const MAYBE_SENT: &str = "THIS DOCUMENT MAY OR MAY NOT HAVE ARRIVED.";

/// The note in failed has exactly this heading, this code, and nothing that contradicts the heading.
fn assert_note(clinic: &Clinic, heading: &str, code: &str, what: &str) {
    let text = clinic.reason("failed/bixby/a.pdf.reason.txt");
    assert_eq!(text.lines().next(), Some(heading), "{what}: {text}");
    assert!(text.contains(&format!("{code} / ")), "{what}: {text}");
    let is_maybe = heading == MAYBE_SENT;
    assert_eq!(text.contains("\"maybe_sent\":true"), is_maybe, "{what}: {text}");
    assert_eq!(text.contains("Look into the patient's chart first."), is_maybe, "{what}: {text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words.contains("An earlier try of it may have arrived."), is_maybe, "{what}: {text}");
    assert!(!is_maybe || !words.contains("Nothing was sent"), "{what}: {text}");
}

fn clinic(delivery: &str, faults: &[&str]) -> Clinic {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox = "settle = \"20ms\"\nincomplete_after = \"1s\"\n".into();
    clinic.delivery = format!("retry_first = \"20ms\"\nretry_max = \"100ms\"\n{delivery}");
    faults.iter().for_each(|fault| clinic.fault(fault));
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic
}

#[test]
fn a_document_that_was_never_taken_is_called_not_sent() {
    for (delivery, fault, code) in [
        ("", "create:always:status=400", "redox-400"),
        ("", "create:always:status=422", "redox-422"),
        ("", "create:always:status=413", "redox-413"),
        ("", "binary:always:status=413", "redox-413"),
        ("", "create:always:status=409,body=outcome:duplicate", "redox-409"),
        ("method = \"embed\"\n", "create:always:status=400", "redox-400"),
        ("give_up_after = \"1s\"\n", "binary:always:status=503", "gave-up"),
        ("give_up_after = \"1s\"\n", "create:always:status=408", "gave-up"),
    ] {
        let clinic = clinic(delivery, &[fault]);
        assert_eq!(clinic.run_once(), 1, "{fault}");
        assert_note(&clinic, NOT_SENT, code, fault);
        assert_eq!(clinic.accepted().len(), 0, "{fault}");
    }
}

#[test]
fn after_a_send_without_an_answer_no_refusal_is_called_not_sent() {
    let embed = "method = \"embed\"\n";
    for (delivery, lost, refusal, code) in [
        ("", "cut=after", "status=400", "redox-400"),
        ("", "cut=after", "status=422", "redox-422"),
        ("", "cut=after", "status=413", "redox-413"),
        (embed, "cut=after", "status=413", "too-large"),
        (embed, "status=504,commit", "status=400", "redox-400"),
        ("", "status=503,commit", "status=400", "redox-400"),
        ("", "status=500,commit", "status=413", "redox-413"),
        ("give_up_after = \"1s\"\n", "cut=after", "status=503,retry_after=1", "gave-up"),
        ("give_up_after = \"1s\"\n", "cut=after", "status=408", "gave-up"),
        ("on_unknown = \"search\"\n", "cut=before", "status=400", "redox-400"),
    ] {
        let refusal = format!("create:always:{refusal}");
        let clinic = clinic(delivery, &[&format!("create:nth=1:{lost}"), &refusal]);
        assert_eq!(clinic.run_once(), 1, "{lost} {refusal}");
        assert_note(&clinic, MAYBE_SENT, code, &format!("{lost} {refusal}"));
    }
}

#[test]
fn a_person_s_release_or_retry_does_not_make_it_unsent() {
    for command in ["release", "retry"] {
        for refusal in ["status=400", "status=413"] {
            let what = format!("{command} {refusal}");
            let clinic = clinic("on_unknown = \"hold\"\n", &["create:nth=1:cut=after"]);
            assert_eq!(clinic.run_once(), 1, "{what}");
            assert!(clinic.command(&[command, &clinic.open_id()]).status.success(), "{what}");
            clinic.fault(&format!("create:always:{refusal}"));
            assert_eq!(clinic.run_once(), 1, "{what}");
            assert_note(&clinic, MAYBE_SENT, &refusal.replace("status=", "redox-"), &what);
            assert_eq!(clinic.accepted().len(), 1, "{what}: it had arrived");
        }
    }
}

#[test]
fn a_document_put_back_after_an_unclear_end_is_never_called_unsent() {
    let clinic = clinic("", &["create:nth=1:cut=after", "create:always:status=400"]);
    assert_eq!(clinic.run_once(), 1);
    // A person drops it again; it is refused once more, and what was sent before is still true.
    fs::rename(clinic.path("failed/bixby/a.pdf"), clinic.path("inbox/bixby/a.pdf")).unwrap();
    assert_eq!(clinic.run_once(), 1);
    assert_note(&clinic, MAYBE_SENT, "redox-400", "put back");
}

#[test]
fn what_speaks_against_its_patient_later_does_not_make_it_unsent() {
    for patient in [
        "identifier = nonsense".to_owned(),
        // The folder and its sidecar disagree: "was not sent to anybody", which is true of the last try alone.
        PATIENT.replace("2008-01-06", "1999-12-31"),
    ] {
        let clinic = clinic("on_unknown = \"hold\"\n", &["create:nth=1:cut=after"]);
        clinic.drop_file("inbox/bixby/a.pdf.toml", "[patient]\nbirth_date = \"2008-01-06\"\n");
        assert_eq!(clinic.run_once(), 1);
        clinic.drop_file("inbox/bixby/patient.toml", &patient);
        assert_eq!(clinic.run_once(), 1);
        let text = clinic.reason("failed/bixby/a.pdf.reason.txt");
        assert_eq!(text.lines().next(), Some(MAYBE_SENT), "{text}");
        assert!(text.contains("An earlier try of it may have arrived."), "{text}");
    }
}

#[test]
fn a_document_held_before_it_was_sent_and_taken_away_is_not_said_to_have_been_sent() {
    for is_sent in [false, true] {
        let fault = if is_sent { "create:nth=1:cut=after" } else { "binary:always:status=503,retry_after=600" };
        let clinic = clinic("on_unknown = \"hold\"\n", &[fault]);
        if is_sent {
            assert_eq!(clinic.run_once(), 1);
        } else {
            let (code, log) = support::once_until(support::chartdrop(), &clinic.config(), |log| {
                log.contains("it will be tried again")
            });
            assert_eq!(code, 1, "{log}");
            assert!(clinic.command(&["hold", &clinic.open_id()]).status.success());
        }
        let id = clinic.open_id();
        fs::remove_file(clinic.path("inbox/bixby/a.pdf")).unwrap();
        assert!(clinic.command(&["release", &id]).status.success());
        let output = clinic.command(&["show", &id]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.contains("Look into the patient's chart"), is_sent, "{said}");
        assert!(said.contains("taken-away") || said.contains("taken out of the inbox"), "{said}");
    }
}

#[test]
fn every_end_is_said_once_in_the_log() {
    let clinic = clinic("concurrency = 1\n", &["create:nth=2:status=400"]);
    clinic.drop_file("inbox/bixby/b.pdf", pdf("b"));
    clinic.drop_file("inbox/bixby/setup.exe", "MZ");
    let output = clinic.command(&["run", "--once", "--for", "50s"]);
    let log = String::from_utf8_lossy(&output.stderr);
    for words in ["accepted by Redox", "rejected; its reason", "refused; its reason"] {
        assert_eq!(log.matches(words).count(), 1, "{words}: {log}");
    }
}
