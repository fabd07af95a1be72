//! The notice that staff find in the inbox while documents wait, and the contact in what chartdrop writes for people.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;

use support::{Clinic, Daemon, chartdrop, pdf};

const NOTICE: &str = "inbox/READ ME - documents are waiting.txt";

fn clinic(notice_after: &str) -> Clinic {
    let mut clinic = Clinic::new(&[]);
    // What misses its sidecar waits.
    clinic.inbox.push_str("sidecar = \"required\"\n");
    clinic.inbox.push_str(&format!("notice_after = \"{notice_after}\"\n"));
    clinic
}

/// A daemon whose configuration names somebody to ask.
fn daemon_with_contact(clinic: &Clinic) -> Daemon {
    let config = clinic.config();
    let text = fs::read_to_string(&config).unwrap();
    let status = "[status]\ncontact = \"IT help desk, extension 4411\"\n";
    fs::write(&config, text.replace("[status]\n", status)).unwrap();
    let log = fs::File::options().create(true).append(true).open(clinic.path("daemon.log")).unwrap();
    Daemon::of(chartdrop().arg("run").arg("--config").arg(config).stderr(log).spawn().unwrap())
}

fn notice(clinic: &Clinic) -> String {
    fs::read_to_string(clinic.path(NOTICE)).unwrap_or_default()
}

#[test]
fn a_notice_says_what_waits_and_why_until_nothing_does() {
    let clinic = clinic("300ms");
    clinic.drop_file("inbox/bixby/late.pdf", pdf("no sidecar"));
    clinic.drop_file("inbox/bixby/other.pdf", pdf("well"));
    clinic.drop_file("inbox/bixby/other.pdf.toml", "title = \"Well\"\n");
    let _daemon = daemon_with_contact(&clinic);
    clinic.wait_for("the notice", || {
        let text = notice(&clinic);
        // On a busy machine the one that is well may have waited for a moment as well.
        text.contains("bixby/late.pdf") && text.contains("1 document ")
    });
    let text = notice(&clinic);
    for part in ["\u{feff}DOCUMENTS ARE WAITING\r\n", "1 document", "Nothing is lost", "extension 4411"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    clinic.drop_file("inbox/bixby/late.pdf.toml", "title = \"Late\"\n");
    clinic.wait_for_file("done/bixby/late.pdf");
    clinic.wait_for("an end of the notice", || !clinic.has(NOTICE));
    // Neither it nor what it was written with has ever been taken for a document.
    assert_eq!(clinic.accepted().len(), 2);
    assert_eq!(clinic.files("inbox").iter().filter(|path| path.ends_with(".tmp")).count(), 0);
    assert!(clinic.files("failed").is_empty(), "{:?}", clinic.files("failed"));
}

#[test]
fn a_notice_tells_that_nothing_can_be_sent() {
    let clinic = clinic("300ms");
    clinic.fault("token:always:status=401");
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("refused"));
    clinic.drop_file("inbox/bixby/scan.pdf.toml", "title = \"Refused\"\n");
    let _daemon = clinic.daemon();
    clinic.wait_for("the notice", || notice(&clinic).contains("Nothing can be sent at the moment."));
    assert!(notice(&clinic).contains("bixby/scan.pdf"), "{}", notice(&clinic));
    clinic.clear_faults();
    let resumed = clinic.command(&["resume", "Staging/redox-fhir-sandbox"]);
    assert!(resumed.status.success(), "{resumed:?}");
    clinic.wait_for_file("done/bixby/scan.pdf");
    clinic.wait_for("an end of the notice", || !clinic.has(NOTICE));
}

#[test]
fn a_notice_of_an_earlier_run_is_removed_and_none_is_written_when_switched_off() {
    for notice_after in ["0s", "15m"] {
        let clinic = clinic(notice_after);
        clinic.drop_file(NOTICE, "\u{feff}DOCUMENTS ARE WAITING\r\n");
        clinic.drop_file("inbox/bixby/late.pdf", pdf("no sidecar"));
        let _daemon = clinic.daemon();
        clinic.wait_for("an end of the notice", || !clinic.has(NOTICE));
    }
}

#[test]
fn a_failure_note_names_whom_to_ask() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/nobody/scan.pdf", pdf("no patient"));
    let _daemon = daemon_with_contact(&clinic);
    clinic.wait_for_file("failed/nobody/scan.pdf.reason.txt");
    let note = clinic.reason("failed/nobody/scan.pdf.reason.txt");
    assert!(note.contains("    IT help desk, extension 4411. Show them this note"), "{note}");
}

#[test]
fn a_document_that_somebody_gave_the_notices_name_is_kept() {
    let clinic = clinic("300ms");
    clinic.drop_file(NOTICE, "somebody's only copy");
    clinic.drop_file("inbox/bixby/late.pdf", pdf("no sidecar"));
    let _daemon = clinic.daemon();
    let log = || fs::read_to_string(clinic.path("daemon.log")).unwrap_or_default();
    clinic.wait_for("a word in the log", || log().contains("the notice for staff in the inbox cannot be written"));
    assert_eq!(notice(&clinic), "somebody's only copy");
    assert!(clinic.has("inbox/bixby/late.pdf"));
}
