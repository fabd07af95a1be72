//! Never the wrong chart: whatever speaks against the patient, and whenever it comes, nothing leaves before it is settled.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{Clinic, PATIENT, pdf};

const BY_NAME: &str =
    "[inbox.patient]\nidentifier_system = \"urn:redox:health-one:MR\"\nfolder_pattern = '^(?<identifier>[0-9]+)'\n";

/// Lines for `[delivery]` and a fault: an upload, or for an embedded document the token, is so slow that there is time
/// between identification and POST.
const SLOW: [(&str, &str); 2] =
    [("method = \"upload\"\n", "binary:nth=1:delay=6s"), ("method = \"embed\"\n", "token:nth=1:delay=6s")];

/// All cases at once, since each mostly waits.
fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, check: impl Fn(T) + Sync) {
    let check = &check;
    thread::scope(|scope| cases.into_iter().for_each(|case| drop(scope.spawn(move || check(case)))));
}

/// A clinic in which folders' names say whose they are, with one of [`SLOW`]'s ways.
fn slow_clinic((method, fault): (&str, &str)) -> Clinic {
    let mut clinic = Clinic::new(&[]);
    clinic.delivery.push_str(method);
    clinic.inbox.push_str(BY_NAME);
    clinic.fault(fault);
    clinic
}

/// Waits until the slow request is under way.
fn wait_for_the_window(clinic: &Clinic, (_, fault): (&str, &str)) {
    let requests = if fault.starts_with("token") { 1 } else { 2 };
    clinic.wait_for("the slow request", || clinic.record()["requests"].as_u64() >= Some(requests));
}

/// Waits until something is so old: here the passing of time is what the test is about.
fn wait_for_age(since: Instant, age: Duration) {
    support::wait_for("time to pass", || since.elapsed() >= age, String::new);
}

fn patients(clinic: &Clinic) -> Vec<String> {
    let value = |sent: &Value| sent["patient_identifiers"][0]["value"].as_str().unwrap().to_owned();
    clinic.accepted().iter().map(value).collect()
}

/// A reason's words, without its line breaks.
fn reason(clinic: &Clinic, name: &str) -> String {
    clinic.wait_for_file(&format!("failed/{name}.reason.txt"));
    clinic.reason(&format!("failed/{name}.reason.txt")).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn assert_refused(clinic: &Clinic, name: &str, words: &[&str]) {
    let reason = reason(clinic, name);
    for word in ["NOT SENT"].iter().chain(words) {
        assert!(reason.contains(word), "{word:?} is not in: {reason}");
    }
    assert!(clinic.has(format!("failed/{name}")));
}

// What changes between identification and POST.

#[test]
fn a_folder_that_is_renamed_before_the_post_is_noticed() {
    at_once(SLOW, |slow| {
        let clinic = slow_clinic(slow);
        let _daemon = clinic.daemon();
        clinic.drop_file("inbox/0001/scans/scan.pdf", pdf("whose?"));
        wait_for_the_window(&clinic, slow);
        fs::rename(clinic.path("inbox/0001"), clinic.path("inbox/0002")).unwrap();
        clinic.wait_for_file("done/0002/scans/scan.pdf.receipt.json");
        assert_eq!(patients(&clinic), ["0002"], "{slow:?}");
    });
}

#[test]
fn a_patient_file_that_is_edited_before_the_post_is_noticed() {
    at_once(SLOW, |slow| {
        let clinic = slow_clinic(slow);
        let _daemon = clinic.daemon();
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("whose?"));
        wait_for_the_window(&clinic, slow);
        clinic.drop_file("inbox/bixby/patient.toml", PATIENT.replace("0000000001", "0000000007"));
        clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
        assert_eq!(patients(&clinic), ["0000000007"], "{slow:?}");
    });
}

#[test]
fn a_patient_file_that_comes_before_the_post_to_a_folder_without_one_is_noticed() {
    at_once(SLOW, |slow| {
        at_once(["inbox/0001/patient.toml", "inbox/0001/scans/patient.toml"], |place| {
            let clinic = slow_clinic(slow);
            let _daemon = clinic.daemon();
            clinic.drop_file("inbox/0001/scans/scan.pdf", pdf("whose?"));
            wait_for_the_window(&clinic, slow);
            clinic.drop_file(place, PATIENT);
            assert_refused(&clinic, "0001/scans/scan.pdf", &["patient.toml"]);
            assert_eq!(clinic.accepted().len(), 0, "{slow:?} {place}");
        });
    });
}

#[test]
fn a_sidecar_that_comes_before_the_post_is_noticed() {
    at_once(SLOW, |slow| {
        at_once(["scan.pdf.toml", "scan.json"], |name| {
            let clinic = slow_clinic(slow);
            let _daemon = clinic.daemon();
            clinic.drop_file("inbox/bixby/scan.pdf", pdf("whose?"));
            wait_for_the_window(&clinic, slow);
            let sidecar = match name.ends_with("toml") {
                true => "[patient]\nidentifier = \"0000000002\"\n",
                false => "{\"patient\": {\"identifier\": \"0000000002\"}}",
            };
            clinic.drop_file(format!("inbox/bixby/{name}"), sidecar);
            assert_refused(&clinic, "bixby/scan.pdf", &["disagree"]);
            assert_eq!(clinic.accepted().len(), 0, "{slow:?} {name}");
        });
    });
}

#[test]
fn a_sidecar_that_is_moved_to_another_patient_before_the_post_is_noticed() {
    at_once(SLOW, |slow| {
        let clinic = slow_clinic(slow);
        clinic.drop_file("inbox/alvarez/patient.toml", PATIENT.replace("0000000001", "0000000002"));
        let _daemon = clinic.daemon();
        clinic.drop_file("inbox/bixby/scan.toml", "title = \"Whose?\"\n[patient]\nidentifier = \"0000000001\"\n");
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("whose?"));
        wait_for_the_window(&clinic, slow);
        fs::rename(clinic.path("inbox/bixby/scan.toml"), clinic.path("inbox/alvarez/scan.toml")).unwrap();
        clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
        assert_eq!(clinic.accepted()[0]["title"], "scan.pdf", "{slow:?}: not what the sidecar said of it");
        // There it belongs to the document of the same name, whose patient it does not name.
        clinic.drop_file("inbox/alvarez/scan.pdf", pdf("another"));
        assert_refused(&clinic, "alvarez/scan.pdf", &["disagree"]);
        assert_eq!(patients(&clinic), ["0000000001"], "{slow:?}");
    });
}

#[test]
fn a_document_that_is_moved_to_another_patient_before_the_post_is_sent_for_that_one_alone() {
    at_once(SLOW, |slow| {
        let clinic = slow_clinic(slow);
        clinic.drop_file("inbox/alvarez/patient.toml", PATIENT.replace("0000000001", "0000000002"));
        let _daemon = clinic.daemon();
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("whose?"));
        wait_for_the_window(&clinic, slow);
        fs::rename(clinic.path("inbox/bixby/scan.pdf"), clinic.path("inbox/alvarez/scan.pdf")).unwrap();
        clinic.wait_for_file("done/alvarez/scan.pdf.receipt.json");
        assert_eq!(patients(&clinic), ["0000000002"], "{slow:?}");
    });
}

#[test]
fn a_message_that_waited_for_another_try_is_not_sent_when_its_folder_says_something_else_by_then() {
    let mut clinic = Clinic::new(&[]);
    clinic.delivery = "retry_first = \"100ms\"\nretry_max = \"500ms\"\n".into();
    clinic.fault("create:always:status=503");
    let daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("whose?"));
    clinic.wait_for("a try", || clinic.record()["creates"].as_u64() >= Some(1));
    daemon.kill();
    let tries = clinic.record()["creates"].clone();
    clinic.drop_file("inbox/bixby/patient.toml", PATIENT.replace("2008-01-06", "1999-12-31"));
    clinic.clear_faults();
    let code = clinic.run_once();
    let sent = clinic.record();
    assert!(!sent.to_string().contains("2008-01-06"), "{sent}");
    // The first may have arrived whatever was answered: a person must decide.
    assert_eq!((code, &sent["creates"], clinic.accepted().len()), (1, &tries, 0), "{sent}");
    let listed = clinic.open_deliveries();
    assert_eq!(listed[0]["state"], "held", "{listed:?}");
}

#[test]
fn what_may_have_arrived_is_held_when_the_patient_s_data_are_changed() {
    let clinic = Clinic::new(&[]);
    clinic.fault("create:nth=1:hang=after");
    let daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("whose?"));
    clinic.wait_for("the POST", || clinic.accepted().len() == 1);
    daemon.kill();
    clinic.drop_file("inbox/bixby/patient.toml", PATIENT.replace("2008-01-06", "1999-12-31"));
    assert_eq!(clinic.run_once(), 1, "it waits for a person");
    assert_eq!(clinic.accepted().len(), 1, "not sent again with what the folder does not say any more");
    let listed = clinic.open_deliveries();
    assert_eq!(listed[0]["state"], "held", "{listed:?}");
    let id = listed[0]["id"].as_str().unwrap().to_owned();
    assert!(clinic.command(&["retry", &id]).status.success());
    assert_eq!(clinic.run_once(), 0);
    let sent = clinic.accepted();
    assert!(sent.len() == 2 && sent[1].to_string().contains("1999-12-31"), "{sent:?}");
}

// A hold window.

#[test]
fn a_document_that_is_taken_out_during_its_hold_was_never_anywhere() {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox.push_str("hold = \"6s\"\n");
    let daemon = clinic.daemon();
    let dropped = Instant::now();
    clinic.drop_file("inbox/bixby/wrong.pdf", pdf("not this patient's"));
    clinic.drop_file("inbox/bixby/right.pdf", pdf("this patient's"));
    wait_for_age(dropped, Duration::from_secs(1));
    fs::rename(clinic.path("inbox/bixby/wrong.pdf"), clinic.path("taken back.pdf")).unwrap();
    clinic.wait_for_file("done/bixby/right.pdf.receipt.json");
    assert!(dropped.elapsed() > Duration::from_secs(6), "{:?}", dropped.elapsed());
    daemon.kill();
    let record = clinic.record();
    assert_eq!((&record["uploads"], clinic.accepted().len()), (&1.into(), 1), "{record}");
    for command in ["status", "history"] {
        let output = clinic.command(&[command, "--json"]);
        assert!(!String::from_utf8_lossy(&output.stdout).contains("wrong.pdf"), "{output:?}");
    }
}

#[test]
fn whatever_is_changed_during_a_hold_starts_it_again() {
    let hold = Duration::from_secs(6);
    at_once(["scan.pdf", "scan.toml", "patient.toml", "a sidecar taken away", "a restart"], |change| {
        let mut clinic = Clinic::new(&[]);
        clinic.inbox.push_str("hold = \"6s\"\n");
        clinic.drop_file("inbox/bixby/scan.toml", "title = \"before\"\n");
        let mut daemon = Some(clinic.daemon());
        let mut began = Instant::now();
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("before"));
        wait_for_age(began, Duration::from_secs(2));
        began = Instant::now();
        match change {
            "scan.pdf" => clinic.drop_file("inbox/bixby/scan.pdf", pdf("after")),
            "scan.toml" => clinic.drop_file("inbox/bixby/scan.toml", "title = \"after\"\n"),
            "patient.toml" => clinic.drop_file("inbox/bixby/patient.toml", PATIENT.replace("Paul", "Peter")),
            "a restart" => {
                daemon.take().unwrap().kill();
                daemon = Some(clinic.daemon());
                clinic.path("")
            }
            _ => {
                fs::remove_file(clinic.path("inbox/bixby/scan.toml")).unwrap();
                clinic.path("")
            }
        };
        clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
        assert!(began.elapsed() > hold, "{change}: {:?}", began.elapsed());
        assert_eq!(clinic.record()["uploads"], 1, "{change}");
        drop(daemon);
    });
}

#[test]
fn a_run_that_ends_by_itself_waits_for_the_hold() {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox.push_str("hold = \"2s\"\n");
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("held"));
    let short = clinic.command(&["run", "--once", "--for", "1s"]);
    assert_eq!(short.status.code(), Some(1));
    assert_eq!(clinic.record()["requests"], 0, "nothing before its time");
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted().len(), 1);
}

// Two folders that say they are the same patient.

/// Drops a folder of its own whose `patient.toml` is [`PATIENT`] with something replaced.
fn second_folder(clinic: &Clinic, folder: &str, from: &str, to: &str) {
    assert!(PATIENT.contains(from));
    clinic.drop_file(format!("{folder}/patient.toml"), PATIENT.replace(from, to));
}

#[test]
fn two_folders_with_one_number_and_different_people_stop_both() {
    for (from, to, what) in [
        ("2008-01-06", "2008-01-07", "the birth date (\"2008-01-06\" here and \"2008-01-07\" there)"),
        ("Bixby", "Alvarez", "the family name (\"Bixby\" here and \"Alvarez\" there)"),
        ("\"Timothy\", \"Paul\"", "\"Tamara\"", "the given name"),
    ] {
        let clinic = Clinic::new(&[]);
        second_folder(&clinic, "inbox/other folder", from, to);
        clinic.drop_file("inbox/third/patient.toml", PATIENT.replace("0000000001", "0000000003"));
        clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
        clinic.drop_file("inbox/other folder/b.pdf", pdf("b"));
        clinic.drop_file("inbox/third/c.pdf", pdf("c"));
        assert_eq!(clinic.run_once(), 1);
        assert_refused(&clinic, "bixby/a.pdf", &[what, "\"other folder\"", "correct the patient.toml"]);
        assert_refused(&clinic, "other folder/b.pdf", &[what.split(" (").next().unwrap(), "\"bixby\""]);
        assert_eq!(patients(&clinic), ["0000000003"], "the others flow");
        assert_eq!(clinic.record()["uploads"], 1, "nothing of theirs was even uploaded");
        // Corrected and put back, both are sent.
        fs::remove_file(clinic.path("inbox/other folder/patient.toml")).unwrap();
        second_folder(&clinic, "inbox/other folder", "0000000001", "0000000002");
        fs::rename(clinic.path("failed/bixby/a.pdf"), clinic.path("inbox/bixby/a.pdf")).unwrap();
        fs::rename(clinic.path("failed/other folder/b.pdf"), clinic.path("inbox/other folder/b.pdf")).unwrap();
        assert_eq!(clinic.run_once(), 0);
        assert_eq!(clinic.accepted().len(), 3);
    }
}

#[test]
fn a_second_folder_for_the_same_person_is_no_contradiction() {
    let clinic = Clinic::new(&[]);
    second_folder(&clinic, "inbox/same", "Bixby", "BIXBY");
    second_folder(&clinic, "inbox/initial", "\"Timothy\", \"Paul\"", "\"Timothy P.\"");
    second_folder(&clinic, "inbox/less", "birth_date = 2008-01-06", "");
    clinic.drop_file("inbox/other system/patient.toml", PATIENT.replace(":MR", ":XX").replace("Bixby", "Alvarez"));
    clinic
        .drop_file("inbox/broken/patient.toml", "identifier = [{ system = \"urn:redox:health-one:MR\", value = \"000");
    for folder in ["bixby", "same", "initial", "less", "other system"] {
        clinic.drop_file(format!("inbox/{folder}/scan.pdf"), pdf(folder));
    }
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted().len(), 5);
}

#[test]
fn two_inboxes_of_one_destination_contradict_each_other_and_of_two_do_not() {
    for (destination, stops) in [("redox-fhir-sandbox", true), ("another", false)] {
        let mut clinic = Clinic::new(&["--destination", "redox-fhir-sandbox", "--destination", "another"]);
        clinic.inbox.push_str(&format!(
            "[[inbox]]\nname = \"back-office\"\npath = \"second/inbox\"\ndestination = \"{destination}\"\nhold = \"0s\"\nsettle = \"100ms\"\n",
        ));
        second_folder(&clinic, "second/inbox/elsewhere", "2008-01-06", "1999-12-31");
        clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
        clinic.drop_file("second/inbox/elsewhere/b.pdf", pdf("b"));
        assert_eq!(clinic.run_once(), i32::from(stops), "{destination}");
        assert_eq!(clinic.accepted().len(), if stops { 0 } else { 2 });
        if stops {
            assert_refused(&clinic, "bixby/a.pdf", &["\"elsewhere\" of the inbox back-office"]);
            let note = clinic.reason("second/failed/elsewhere/b.pdf.reason.txt");
            assert!(
                note.split_whitespace().collect::<Vec<_>>().join(" ").contains("\"bixby\" of the inbox front-desk")
            );
        }
    }
}

#[test]
fn a_sidecar_s_birth_date_is_held_against_other_folders_too() {
    let clinic = Clinic::new(&[]);
    second_folder(&clinic, "inbox/less", "birth_date = 2008-01-06", "");
    clinic.drop_file("inbox/less/scan.pdf", pdf("whose?"));
    clinic.drop_file("inbox/less/scan.toml", "[patient]\nbirth_date = 1999-12-31\n");
    assert_eq!(clinic.run_once(), 1);
    assert_refused(&clinic, "less/scan.pdf", &["the birth date", "\"bixby\""]);
}

#[test]
fn a_folder_that_contradicts_and_comes_before_the_post_is_noticed() {
    at_once(SLOW, |slow| {
        at_once([false, true], |edited| {
            let clinic = slow_clinic(slow);
            if edited {
                second_folder(&clinic, "inbox/other", "0000000001", "0000000002");
            }
            let _daemon = clinic.daemon();
            clinic.drop_file("inbox/bixby/scan.pdf", pdf("whose?"));
            wait_for_the_window(&clinic, slow);
            second_folder(&clinic, "inbox/other", "2008-01-06", "1999-12-31");
            assert_refused(&clinic, "bixby/scan.pdf", &["the birth date", "\"other\""]);
            assert_eq!(clinic.accepted().len(), 0, "{slow:?} {edited}");
        });
    });
}

// The clinic's own list of patients.

const HEADER: &str = "identifier,family,given,birth_date\n";
const BIXBY: &str = "0000000001,Bixby,Timothy,2008-01-06\n";

/// A clinic with a list of patients.
fn listed(list: &str) -> Clinic {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox.push_str("roster = \"patients.csv\"\n");
    clinic.drop_file("patients.csv", list);
    clinic
}

#[test]
fn a_patient_who_is_not_on_the_list_or_differs_from_it_is_not_sent() {
    for (list, words) in [
        ("0000000002,Alvarez,Maria,1990-02-03\n", &["not on the clinic's list", "0000000001"][..]),
        ("0000000001,Bixby,Timothy,2008-01-07\n", &["the birth date", "\"2008-01-06\"", "\"2008-01-07\""]),
        ("0000000001,Alvarez,Timothy,2008-01-06\n", &["the family name", "\"Bixby\"", "\"Alvarez\""]),
        ("0000000001,Bixby,Tamara,2008-01-06\n", &["the given name", "\"Timothy Paul\"", "\"Tamara\""]),
    ] {
        let clinic = listed(&format!("{HEADER}{list}"));
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("whose?"));
        assert_eq!(clinic.run_once(), 1);
        assert_refused(&clinic, "bixby/scan.pdf", &[words, &["list exported again"]].concat());
        assert_eq!(clinic.record()["requests"], 0, "nothing was sent");
    }
}

#[test]
fn a_patient_who_is_on_the_list_is_sent() {
    let mut clinic = listed(&format!("{HEADER}{BIXBY}0000000002,\"Alvarez\",,\n0000000003,Chen,Wei,\n"));
    clinic.inbox.push_str(BY_NAME);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.drop_file("inbox/0000000002 ALVAREZ/b.pdf", pdf("b"));
    clinic.drop_file("inbox/0000000009 Nobody/c.pdf", pdf("c"));
    assert_eq!(clinic.run_once(), 1);
    assert_refused(&clinic, "0000000009 Nobody/c.pdf", &["not on the clinic's list"]);
    let mut sent = patients(&clinic);
    sent.sort();
    assert_eq!(sent, ["0000000001", "0000000002"]);
}

#[test]
fn a_list_that_cannot_be_used_stops_its_inbox_and_no_other_until_it_can() {
    for list in
        ["", HEADER, "0000000001,Bixby\n", "identifier,family,given,birth_date\n0000000001,Bixby,Tim,6.1.2008\n"]
    {
        let mut clinic = listed(list);
        if list.is_empty() {
            fs::remove_file(clinic.path("patients.csv")).unwrap();
        }
        clinic.inbox.push_str(
            "[[inbox]]\nname = \"second\"\npath = \"second/inbox\"\ndestination = \"redox-fhir-sandbox\"\nhold = \"0s\"\nsettle = \"100ms\"\n",
        );
        clinic.drop_file("second/inbox/chen/patient.toml", PATIENT.replace("0000000001", "0000000003"));
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("waits"));
        let _daemon = clinic.daemon();
        let log = || fs::read_to_string(clinic.path("daemon.log")).unwrap();
        let alarm = "the list of patients (roster) cannot be used";
        clinic.wait_for("the alarm", || log().contains(alarm));
        clinic.drop_file("second/inbox/chen/scan.pdf", pdf("flows"));
        clinic.wait_for_file("second/done/chen/scan.pdf.receipt.json");
        assert!(clinic.has("inbox/bixby/scan.pdf") && clinic.accepted().len() == 1, "{list:?}");
        clinic.drop_file("patients.csv", format!("{HEADER}{BIXBY}"));
        clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
        assert_eq!(log().matches(alarm).count(), 1);
        assert!(!log().contains("Bixby") && !log().contains("0000000001"), "{}", log());
    }
}

#[test]
fn a_list_that_is_just_being_written_refuses_nobody() {
    let mut clinic = listed(&format!("{HEADER}{BIXBY}"));
    clinic.inbox = "settle = \"2s\"\nroster = \"patients.csv\"\n".into();
    let _daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/first.pdf", pdf("first"));
    clinic.wait_for_file("done/bixby/first.pdf.receipt.json");
    // Written again, line by line, and ours comes last; the file is closed in between, so that only time tells.
    clinic.drop_file("inbox/bixby/second.pdf", pdf("second"));
    clinic.drop_file("patients.csv", HEADER);
    let append = |line: &str| {
        let mut file = fs::File::options().append(true).open(clinic.path("patients.csv")).unwrap();
        std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
    };
    let began = Instant::now();
    for number in 2..20 {
        wait_for_age(began, Duration::from_millis(150 * (number - 1)));
        append(&format!("000000{number:04},Somebody,,\n"));
        assert!(clinic.has("inbox/bixby/second.pdf") && clinic.files("failed").is_empty());
    }
    append(BIXBY);
    clinic.wait_for_file("done/bixby/second.pdf.receipt.json");
    assert_eq!(clinic.files("failed"), [] as [&str; 0]);
    // A writer that pauses for longer still has it open.
    let mut open = fs::File::create(clinic.path("patients.csv")).unwrap();
    std::io::Write::write_all(&mut open, format!("{HEADER}0000000002,Alvarez,,\n").as_bytes()).unwrap();
    clinic.drop_file("inbox/bixby/third.pdf", pdf("third"));
    let began = Instant::now();
    wait_for_age(began, Duration::from_secs(5));
    assert!(clinic.has("inbox/bixby/third.pdf") && clinic.files("failed").is_empty());
    std::io::Write::write_all(&mut open, BIXBY.as_bytes()).unwrap();
    drop(open);
    clinic.wait_for_file("done/bixby/third.pdf.receipt.json");
}

#[test]
fn a_patient_who_leaves_the_list_before_the_post_is_not_sent() {
    at_once(SLOW, |(method, fault)| {
        let mut clinic = listed(&format!("{HEADER}{BIXBY}"));
        clinic.delivery.push_str(method);
        clinic.fault(fault);
        let _daemon = clinic.daemon();
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("whose?"));
        wait_for_the_window(&clinic, (method, fault));
        clinic.drop_file("new.csv", format!("{HEADER}0000000001,Bixby,Timothy,1999-12-31\n"));
        fs::rename(clinic.path("new.csv"), clinic.path("patients.csv")).unwrap();
        assert_refused(&clinic, "bixby/scan.pdf", &["the birth date"]);
        assert_eq!(clinic.accepted().len(), 0, "{method}");
    });
}

#[test]
fn check_reads_the_list_and_says_which_line_is_wrong() {
    let clinic = listed(&format!("{HEADER}{BIXBY}"));
    let said = |output: std::process::Output| String::from_utf8(output.stdout).unwrap();
    let output = said(clinic.command(&["check"]));
    assert!(output.contains("patients.csv: 1 patients") && !output.contains("FAIL"), "{output}");
    clinic.drop_file("patients.csv", format!("{HEADER}{BIXBY}\n0000000001,Bixby,Tamara,2008-01-06\n"));
    let output = clinic.command(&["check"]);
    assert_eq!(output.status.code(), Some(2));
    let output = said(output);
    let line = output.lines().find(|line| line.starts_with("FAIL")).unwrap();
    assert!(line.contains("patients.csv: line 4: ") && !line.contains("Tamara"), "{line}");
}

// What names say, nearly.

#[test]
fn a_patient_file_that_is_nearly_called_so_is_not_overlooked() {
    for name in ["Patient.toml", "PATIENT.TOML", "patient.toml.txt", "scans/Patient.toml"] {
        let mut clinic = Clinic::new(&[]);
        clinic.inbox.push_str(BY_NAME);
        clinic.drop_file(format!("inbox/0000000002 Alvarez/{name}"), PATIENT);
        clinic.drop_file("inbox/0000000002 Alvarez/scans/scan.pdf", pdf("whose?"));
        assert_eq!(clinic.run_once(), 1, "{name}");
        let called = name.rsplit('/').next().unwrap();
        assert_refused(&clinic, "0000000002 Alvarez/scans/scan.pdf", &["must be called patient.toml", called]);
        assert!(clinic.has(format!("inbox/0000000002 Alvarez/{name}")), "it is not sent and not moved");
        assert_eq!(clinic.accepted().len(), 0);
    }
}

#[test]
fn a_sidecar_with_other_capitals_is_not_overlooked() {
    for (document, sidecar) in [("Scan.pdf", "scan.toml"), ("scan.pdf", "scan.pdf.Toml"), ("SCAN.PDF", "scan.json")] {
        let clinic = Clinic::new(&[]);
        clinic.drop_file(format!("inbox/bixby/{document}"), pdf("whose?"));
        let statement = match sidecar.ends_with("json") {
            true => "{\"patient\": {\"identifier\": \"0000000002\"}}",
            false => "[patient]\nidentifier = \"0000000002\"\n",
        };
        clinic.drop_file(format!("inbox/bixby/{sidecar}"), statement);
        assert_eq!(clinic.run_once(), 1, "{sidecar}");
        assert_refused(&clinic, &format!("bixby/{document}"), &["disagree", "0000000001", "0000000002"]);
        assert!(!clinic.has(format!("inbox/bixby/{sidecar}")), "the sidecar follows");
    }
}

#[test]
fn a_folder_s_name_that_holds_a_number_only_in_part_is_nobody_s() {
    for name in ["12O4 Alvarez", "0000000002Alvarez"] {
        let mut clinic = Clinic::new(&[]);
        clinic.inbox.push_str(BY_NAME);
        clinic.drop_file(format!("inbox/{name}/scan.pdf"), pdf("whose?"));
        assert_eq!(clinic.run_once(), 1, "{name}");
        assert_refused(&clinic, &format!("{name}/scan.pdf"), &["number by itself"]);
        assert_eq!(clinic.record()["requests"], 0);
    }
}

#[test]
fn a_number_with_a_character_that_nobody_sees_is_not_sent() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/patient.toml", PATIENT.replace("0000000001", "0000000001\u{200b}"));
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("whose?"));
    assert_eq!(clinic.run_once(), 1);
    assert_refused(&clinic, "bixby/scan.pdf", &["nobody sees"]);
}

#[test]
fn a_retry_never_leaves_a_sidecar_behind() {
    // Each sidecar names another patient; what is tried again without it would be sent.
    for (sidecar, beside, unclear) in [
        ("scan.toml", None, false),
        ("SCAN.Toml", None, false),
        ("scan.pdf.JSON", Some("scan.jpg"), false),
        ("scan.toml", Some("scan.jpg"), true),
        ("scan.toml", Some("scan.json"), true),
    ] {
        let clinic = Clinic::new(&[]);
        if let Some(name) = beside {
            clinic.drop_file(format!("failed/bixby/{name}"), "from another day");
        }
        let text = match sidecar.ends_with("JSON") {
            true => "{\"patient\": {\"identifier\": \"0000000002\"}}",
            false => "[patient]\nidentifier = \"0000000002\"\n",
        };
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("whose?"));
        clinic.drop_file(format!("inbox/bixby/{sidecar}"), text);
        assert_eq!(clinic.run_once(), 1, "{sidecar}");
        let listed = clinic.deliveries(&["rejected"]);
        let retry = clinic.command(&["retry", listed[0]["id"].as_str().unwrap()]);
        assert_eq!(retry.status.success(), !unclear, "{sidecar} {beside:?}: {retry:?}");
        clinic.run_once();
        assert_eq!(clinic.accepted().len(), 0, "{sidecar} {beside:?}");
    }
}

#[test]
fn a_sidecar_that_came_with_the_next_document_stays_with_it() {
    // In which order they are put over the ones that are just being sent.
    for sidecar_first in [true, false] {
        let clinic = Clinic::new(&[]);
        clinic.fault("create:nth=1:delay=4s");
        clinic.drop_file("inbox/bixby/scan.pdf.toml", "[patient]\nidentifier = \"0000000001\"\n");
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("the first"));
        let _daemon = clinic.daemon();
        clinic.wait_for("the message", || clinic.record()["creates"] == 1);
        let mut next = [
            ("scan.pdf.toml", b"[patient]\nidentifier = \"0000000002\"\n".to_vec()),
            ("scan.pdf", pdf("the next one, of another patient")),
        ];
        if !sidecar_first {
            next.reverse();
        }
        for (name, bytes) in next {
            clinic.drop_file("next", bytes);
            fs::rename(clinic.path("next"), clinic.path(format!("inbox/bixby/{name}"))).unwrap();
        }
        clinic.wait_for_file("failed/bixby/scan.pdf.reason.txt");
        assert!(clinic.has("failed/bixby/scan.pdf.toml") && clinic.has("done/bixby/scan.pdf.receipt.json"));
        assert_eq!(clinic.accepted().len(), 1, "what its sidecar says of another patient was overlooked");
    }
}

// Names that are nearly right.

/// `name` must be refused with a note that holds all `words`, and nothing was sent.
fn is_not_sent(clinic: &Clinic, name: &str, words: &[&str]) {
    assert_eq!(clinic.run_once(), 1, "{name} {words:?}");
    assert_refused(clinic, name, words);
    assert_eq!(clinic.record()["uploads"], 0, "{name} {words:?}");
}

#[test]
fn a_sidecar_with_txt_appended_is_not_a_document() {
    let patient_files = [
        "patient.json",
        "patient.toml.txt",
        "patients.toml",
        "patient (1).toml",
        "patient - Copy.toml",
        "patient .toml",
        "Patient.tml",
        "patient.txt",
    ];
    at_once(patient_files, |name| {
        let mut clinic = Clinic::new(&[]);
        clinic.inbox.push_str(BY_NAME);
        clinic.drop_file(format!("inbox/0000000002/{name}"), PATIENT);
        clinic.drop_file("inbox/0000000002/scan.pdf", pdf("whose?"));
        clinic.drop_file("inbox/0000000002/scans/other.pdf", pdf("other"));
        is_not_sent(&clinic, "0000000002/scan.pdf", &["must be called patient.toml", name]);
        assert_refused(&clinic, "0000000002/scans/other.pdf", &["must be called patient.toml", name]);
        assert!(clinic.has(format!("inbox/0000000002/{name}")), "{name} is neither sent nor moved");
    });
    let sidecars = [
        "scan.pdf.toml.txt",
        "scan.pdf (1).toml",
        "scan.pdf - Copy.json",
        "scan.pdf.json.txt",
        "Scan.PDF.TOML",
        "scna.pdf.toml",
    ];
    at_once(sidecars, |name| {
        let clinic = Clinic::new(&[]);
        clinic.drop_file(format!("inbox/bixby/{name}"), "title = \"Whose?\"\n[patient]\nidentifier = \"0000000002\"\n");
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("whose?"));
        is_not_sent(&clinic, "bixby/scan.pdf", &["scan.pdf.toml", name]);
        assert!(clinic.has(format!("inbox/bixby/{name}")), "{name} is neither sent nor moved");
        // Following the note, it is taken.
        fs::remove_file(clinic.path("failed/bixby/scan.pdf.reason.txt")).unwrap();
        fs::remove_file(clinic.path(format!("inbox/bixby/{name}"))).unwrap();
        clinic.drop_file("inbox/bixby/scan.pdf.toml", "title = \"This one\"\n");
        fs::rename(clinic.path("failed/bixby/scan.pdf"), clinic.path("inbox/bixby/scan.pdf")).unwrap();
        assert_eq!(clinic.run_once(), 0, "{name}");
        assert_eq!(clinic.accepted()[0]["title"], "This one");
    });
}

#[test]
fn a_file_that_is_just_being_renamed_is_waited_for() {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox = format!("settle = \"100ms\"\nincomplete_after = \"60s\"\n{BY_NAME}");
    clinic.drop_file("inbox/0000000002/patient.toml.txt", PATIENT.replace("0000000001", "0000000002"));
    clinic.drop_file("inbox/0000000002/scan.pdf", pdf("waits"));
    let _daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/later.pdf", pdf("later"));
    clinic.wait_for_file("done/bixby/later.pdf.receipt.json");
    assert_eq!((clinic.accepted().len(), clinic.files("failed").len()), (1, 0));
    let folder = clinic.path("inbox/0000000002");
    fs::rename(folder.join("patient.toml.txt"), folder.join("patient.toml")).unwrap();
    clinic.wait_for_file("done/0000000002/scan.pdf.receipt.json");
    assert!(clinic.accepted()[1].to_string().contains("2008-01-06"), "what patient.toml says is in the message");
}

#[test]
fn a_document_that_is_called_patient_has_its_own_sidecar() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/patient.pdf", pdf("a"));
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("b"));
    clinic.drop_file("inbox/bixby/scan.tmp", "leftover");
    clinic.drop_file("inbox/bixby/scan.toml", "title = \"Stem\"\n");
    assert_eq!(clinic.run_once(), 1, "the leftover is said");
    assert_eq!(
        clinic.files("done"),
        ["patient.pdf", "patient.pdf.receipt.json", "scan.pdf", "scan.pdf.receipt.json", "scan.toml"]
            .map(|name| format!("bixby/{name}"))
    );
    assert!(clinic.has("inbox/bixby/patient.toml") && clinic.has("inbox/bixby/scan.tmp"));
    let mut titles: Vec<_> = clinic.accepted().iter().map(|sent| sent["title"].clone()).collect();
    titles.sort_by_key(Value::to_string);
    assert_eq!(titles, ["Stem", "patient.pdf"]);
}

#[test]
fn two_documents_one_after_the_other_with_sidecars_in_other_capitals_are_both_filed() {
    let clinic = Clinic::new(&[]);
    for title in ["first", "second"] {
        clinic.drop_file("inbox/bixby/Scan.pdf", pdf(title));
        clinic.drop_file("inbox/bixby/scan.toml", format!("title = \"{title}\"\n"));
        assert_eq!(clinic.run_once(), 0, "{title}");
    }
    let names = [
        "Scan (2).pdf",
        "Scan (2).pdf.receipt.json",
        "Scan (2).toml",
        "Scan.pdf",
        "Scan.pdf.receipt.json",
        "scan.toml",
    ];
    assert_eq!(clinic.files("done"), names.map(|name| format!("bixby/{name}")));
}

#[test]
fn a_sidecar_that_came_long_before_its_document_is_not_taken_without_a_person() {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox.push_str("orphan_after = \"2s\"\n");
    clinic.drop_file("inbox/bixby/scan.pdf.toml", "title = \"Last week's\"\n");
    let daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/first.pdf", pdf("first"));
    clinic.wait_for_file("done/bixby/first.pdf.receipt.json");
    wait_for_age(Instant::now(), Duration::from_secs(3));
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("this week's"));
    assert_refused(&clinic, "bixby/scan.pdf", &["long before the document came", "scan.pdf.toml", "save it again"]);
    assert_eq!(clinic.accepted().len(), 1);
    // Confirmed and put back, both are taken; by a daemon that was not running then as well.
    daemon.kill();
    fs::rename(clinic.path("failed/bixby/scan.pdf"), clinic.path("inbox/bixby/scan.pdf")).unwrap();
    fs::rename(clinic.path("failed/bixby/scan.pdf.toml"), clinic.path("inbox/bixby/scan.pdf.toml")).unwrap();
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted()[1]["title"], "Last week's");
    // One that lay there before a start.
    clinic.drop_file("inbox/bixby/next.pdf.toml", "title = \"Old\"\n");
    wait_for_age(Instant::now(), Duration::from_secs(3));
    clinic.drop_file("inbox/bixby/next.pdf", pdf("next"));
    assert_eq!(clinic.run_once(), 1);
    assert_refused(&clinic, "bixby/next.pdf", &["long before the document came"]);
}

// What the folder's name says.

#[test]
fn a_folder_s_number_must_be_the_patient_s() {
    at_once(
        [
            ("urn:redox:health-one:MR", "0000000009", false),
            ("URN:Redox:health-one:mr", "0000000009", false),
            ("urn:another:hospital", "0000000009", false),
            ("urn:another:hospital", "0000000001", false),
            ("URN:Redox:health-one:mr", "0000000001", true),
        ],
        |(system, value, agrees)| {
            let mut clinic = Clinic::new(&[]);
            clinic.inbox.push_str(BY_NAME);
            let text = PATIENT.replace("urn:redox:health-one:MR", system).replace("0000000001", value);
            clinic.drop_file("inbox/0000000001 Bixby/patient.toml", text);
            clinic.drop_file("inbox/0000000001 Bixby/scan.pdf", pdf("whose?"));
            if agrees {
                assert_eq!(clinic.run_once(), 0, "{system} {value}");
            } else {
                is_not_sent(&clinic, "0000000001 Bixby/scan.pdf", &["different patients", "0000000001", value, system]);
            }
        },
    );
    // An inbox that does not say whose the numbers are.
    for (value, code) in [("0000000001", 0), ("0000000002", 1)] {
        let mut clinic = Clinic::new(&[]);
        clinic.inbox.push_str("[inbox.patient]\nfolder_pattern = '^(?<identifier>[0-9]+)'\n");
        clinic.drop_file("inbox/0000000001/patient.toml", PATIENT.replace("0000000001", value));
        clinic.drop_file("inbox/0000000001/scan.pdf", pdf("whose?"));
        assert_eq!(clinic.run_once(), code, "{value}");
        assert_eq!(clinic.accepted().len(), usize::from(code == 0));
    }
}

#[test]
fn the_folder_name_is_a_statement_too() {
    at_once(
        [
            ("2410 Wrongname", "Fischer", "Paul", false),
            ("2410 Wrongname, P.", "Fischer", "Paul", false),
            ("2410 Labs", "Fischer", "Paul", false),
            ("2410 Fischer, P.", "Fischer", "Paul", true),
            ("2410 fischer-lopez", "Fischer L\u{f3}pez", "Ana", true),
            ("2410 2026", "Fischer", "Paul", true),
            ("2410", "Fischer", "Paul", true),
        ],
        |(folder, family, given, agrees)| {
            for way in ["patient.toml", "roster", "ignore"] {
                let mut clinic = Clinic::new(&[]);
                fs::remove_dir_all(clinic.path("inbox/bixby")).unwrap();
                if way == "ignore" {
                    clinic.inbox.push_str("folder_name = \"ignore\"\n");
                }
                match way {
                    "roster" => {
                        clinic.inbox.push_str("roster = \"patients.csv\"\n");
                        clinic.drop_file("patients.csv", format!("{HEADER}2410,{family},{given},\n"));
                    }
                    _ => {
                        let text = PATIENT.replace("0000000001", "2410").replace("Bixby", family);
                        let text = text.replace("\"Timothy\", \"Paul\"", &format!("\"{given}\""));
                        clinic.drop_file(format!("inbox/{folder}/patient.toml"), text);
                    }
                }
                clinic.inbox.push_str(BY_NAME);
                clinic.drop_file(format!("inbox/{folder}/scan.pdf"), pdf("whose?"));
                if agrees || way == "ignore" {
                    assert_eq!(clinic.run_once(), 0, "{folder} {way}");
                    assert_eq!(clinic.accepted().len(), 1);
                } else {
                    let words = folder.trim_start_matches("2410 ");
                    is_not_sent(&clinic, &format!("{folder}/scan.pdf"), &[words, "Paul Fischer", "another patient's"]);
                }
            }
        },
    );
}

#[test]
fn what_a_folder_s_name_says_of_name_and_birth_date_must_agree() {
    const PATTERN: &str = "[inbox.patient]\nidentifier_system = \"urn:redox:health-one:MR\"\nfolder_pattern = '^(?<identifier>[0-9]+) (?<family>[^,]+), (?<given>[^,]+), (?<birth_date>[0-9-]+)$'\n";
    for (folder, what) in [
        ("0000000001 BIXBY, P. T., 2008-01-06", ""),
        ("0000000001 Bixby, Tamara, 2008-01-06", "the given name"),
        ("0000000001 Alvarez, Timothy, 2008-01-06", "the family name"),
        ("0000000001 Bixby, Timothy, 2008-06-01", "the birth date"),
    ] {
        let mut clinic = Clinic::new(&[]);
        clinic.inbox.push_str(PATTERN);
        fs::rename(clinic.path("inbox/bixby"), clinic.path(format!("inbox/{folder}"))).unwrap();
        clinic.drop_file(format!("inbox/{folder}/scan.pdf"), pdf("whose?"));
        // Without a patient.toml the name alone says it.
        clinic.drop_file("inbox/0000000002 Alvarez, Maria, 1990-02-03/scan.pdf", pdf("hers"));
        assert_eq!(clinic.run_once(), i32::from(!what.is_empty()), "{folder}");
        let sent = clinic.accepted();
        let hers =
            sent.iter().find(|sent| sent["patient_identifiers"][0]["value"] == "0000000002").unwrap().to_string();
        assert!(hers.contains("1990-02-03") && hers.contains("Alvarez") && hers.contains("Maria"), "{hers}");
        if what.is_empty() {
            assert_eq!(sent.len(), 2);
        } else {
            assert_refused(&clinic, &format!("{folder}/scan.pdf"), &[what, "different patients"]);
            assert_eq!(sent.len(), 1, "{folder}");
        }
    }
}

#[test]
fn a_patient_folder_inside_another_is_refused() {
    let clinic = || {
        let mut clinic = Clinic::new(&[]);
        clinic.inbox.push_str(BY_NAME);
        clinic.drop_file("inbox/0000000001/patient.toml", PATIENT);
        clinic
    };
    for inner in ["0000000002 Otherpatient", "0000000002 Otherpatient/Labs", "2026"] {
        let clinic = clinic();
        clinic.drop_file(format!("inbox/0000000001/{inner}/lab.pdf"), pdf("whose?"));
        is_not_sent(&clinic, &format!("0000000001/{inner}/lab.pdf"), &["inside another patient", "move it up"]);
    }
    let inside = clinic();
    inside.drop_file("inbox/0000000001/inner/patient.toml", PATIENT.replace("0000000001", "0000000002"));
    inside.drop_file("inbox/0000000001/inner/deep/lab.pdf", pdf("whose?"));
    is_not_sent(&inside, "0000000001/inner/deep/lab.pdf", &["inside another patient", "up"]);
    let ordinary = clinic();
    for inner in ["Labs 2026", "0000000001 once more"] {
        ordinary.drop_file(format!("inbox/0000000001/{inner}/lab.pdf"), pdf(inner));
    }
    assert_eq!(ordinary.run_once(), 0);
    assert_eq!(ordinary.accepted().len(), 2);
    // With a list of patients, a year is nobody's number.
    let mut listed = listed(&format!("{HEADER}{BIXBY}0000000002,Alvarez,,\n"));
    listed.inbox.push_str(BY_NAME);
    listed.drop_file("inbox/0000000001/2026/lab.pdf", pdf("a year"));
    listed.drop_file("inbox/0000000001/0000000002 Alvarez/lab.pdf", pdf("whose?"));
    assert_eq!(listed.run_once(), 1);
    assert_refused(&listed, "0000000001/0000000002 Alvarez/lab.pdf", &["inside another patient"]);
    assert_eq!(patients(&listed), ["0000000001"]);
}

#[test]
fn the_list_and_the_folder_complete_each_other() {
    let mut clinic = listed(
        "identifier;family;given;birth_date;gender;identifier_system\n0000000001;Bixby;;2008-01-06;male;urn:redox:health-one:MR\n0000000002;Alvarez;Maria;1990-02-03;female;urn:other\n0000000002;Chen;Wei;1970-01-01;other;urn:redox:health-one:MR\n",
    );
    clinic.inbox.push_str(BY_NAME);
    clinic.drop_file("inbox/bixby/patient.toml", PATIENT.replace("birth_date = 2008-01-06", ""));
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.drop_file("inbox/0000000002/b.pdf", pdf("b"));
    assert_eq!(clinic.run_once(), 0);
    let sent = clinic.accepted().iter().map(Value::to_string).collect::<Vec<_>>();
    let of = |word: &str| sent.iter().find(|sent| sent.contains(word)).unwrap();
    assert!(of("Bixby").contains("2008-01-06") && of("Bixby").contains("Timothy"), "{sent:?}");
    let chen = of("Chen");
    assert!(["Wei", "1970-01-01", "\"other\""].iter().all(|word| chen.contains(word)), "{chen}");
    for (from, to, what) in
        [("gender = \"male\"", "gender = \"female\"", "the gender"), ("2008-01-06", "2008-01-07", "the birth date")]
    {
        clinic.drop_file("inbox/bixby/patient.toml", PATIENT.replace(from, to));
        clinic.drop_file(format!("inbox/bixby/{what}.pdf"), pdf(what));
        assert_eq!(clinic.run_once(), 1);
        assert_refused(&clinic, &format!("bixby/{what}.pdf"), &[what, "the list says"]);
    }
}

#[test]
fn an_empty_list_waits_and_is_then_said() {
    let mut clinic = listed("");
    clinic.inbox = "settle = \"100ms\"\nincomplete_after = \"2s\"\nroster = \"patients.csv\"\n".into();
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("waits"));
    let began = Instant::now();
    let _daemon = clinic.daemon();
    let log = || fs::read_to_string(clinic.path("daemon.log")).unwrap();
    clinic.wait_for("the alarm", || log().contains("the list of patients (roster) cannot be used"));
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(clinic.has("inbox/bixby/scan.pdf"));
    clinic.drop_file("patients.csv", format!("{HEADER}{BIXBY}"));
    clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
}

#[test]
fn folders_that_share_one_number_and_differ_in_another_stop_each_other() {
    let clinic = Clinic::new(&[]);
    let second = |value: &str| {
        PATIENT.replace(
            "type = \"MR\" }]",
            &format!("type = \"MR\" }}, {{ system = \"urn:insurer\", value = \"{value}\" }}]"),
        )
    };
    clinic.drop_file("inbox/bixby/patient.toml", second("5"));
    clinic.drop_file(
        "inbox/other/patient.toml",
        second("6").replace("urn:redox:health-one:MR", "URN:redox:health-one:MR"),
    );
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("whose?"));
    is_not_sent(&clinic, "bixby/scan.pdf", &["another number", "\"5\" here and \"6\" there"]);
}
