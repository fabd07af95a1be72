//! The main job: what is dropped reaches Redox once, for the right patient, and is filed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;
use support::{Clinic, PATIENT, chartdrop, once_until, pdf, sample, sha256};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn every_kind_of_document_reaches_redox_unchanged_and_is_filed_with_a_receipt() {
    for method in ["upload", "embed", "auto"] {
        let mut clinic = Clinic::new(&[]);
        clinic.delivery.push_str(&format!("method = \"{method}\"\nembed_limit = \"1KB\"\n"));
        let names = ["referral.pdf", "wound-photo.jpg", "xray.tif", "insurance-card.png", "notes.txt", "summary.rtf"];
        for name in names {
            clinic.drop_file(format!("inbox/bixby/{name}"), sample(name));
        }
        assert_eq!(clinic.run_once(), 0, "{method}");
        let accepted = clinic.accepted();
        assert_eq!(accepted.len(), names.len());
        for name in names {
            let bytes = sample(name);
            let sent = accepted.iter().find(|sent| text(sent, "title") == name).unwrap();
            assert_eq!(text(sent, "sha256"), sha256(&bytes), "{name}");
            let embeds = method == "embed" || (method == "auto" && bytes.len() <= 1000);
            assert_eq!(text(sent, "method"), if embeds { "embed" } else { "upload" }, "{method} {name}");
            assert_eq!(fs::read(clinic.path(format!("done/bixby/{name}"))).unwrap(), bytes);
            let receipt = clinic.receipt(&format!("done/bixby/{name}.receipt.json"));
            assert_eq!(text(&receipt, "status"), "accepted");
            assert_eq!(receipt["sends"], 1);
            assert_eq!(text(sent, "master_identifier"), format!("urn:uuid:{}", text(&receipt, "delivery")));
        }
        assert_eq!(clinic.files("inbox"), ["bixby/patient.toml"]);
        assert_eq!(clinic.files("failed"), [] as [&str; 0]);
    }
}

#[test]
fn what_folder_and_sidecar_say_stands_in_the_message() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.drop_file(
        "inbox/bixby/a.toml",
        r#"
            title = "Referral letter"
            description = "From the cardiology group"
            date = 2026-11-20T09:30:00-06:00
            type = "referral"
            status = "preliminary"
            author = { npi = "1234567893", family = "Adams", given = ["Grace"] }
            visit = "V-1001"
            [patient]
            identifier = "0000000001"
            birth_date = 2008-01-06
        "#,
    );
    clinic.drop_file("inbox/bixby/deeper/still/b.pdf", pdf("b"));
    clinic.drop_file("inbox/bixby/deeper/still/b.pdf.json", r#"{"type": {"system": "urn:x", "code": "c"}}"#);
    assert_eq!(clinic.run_once(), 0);
    let bundles = clinic.record()["accepted"].as_array().unwrap().clone();
    let resources = |title: &str| -> Vec<Value> {
        let sent = bundles.iter().find(|sent| text(sent, "title") == title).unwrap();
        sent["bundle"]["entry"].as_array().unwrap().iter().map(|entry| entry["resource"].clone()).collect()
    };
    let of = |resources: &[Value], kind: &str| -> Value {
        resources.iter().find(|resource| resource["resourceType"] == kind).cloned().unwrap_or_default()
    };
    let a = resources("Referral letter");
    let document = of(&a, "DocumentReference");
    assert_eq!(document["description"], "From the cardiology group");
    assert_eq!(document["docStatus"], "preliminary");
    assert_eq!(document["type"]["coding"][0]["code"], "57133-1");
    let date: jiff::Timestamp = text(&document, "date").parse().unwrap();
    assert_eq!(date, "2026-11-20T15:30:00Z".parse().unwrap());
    let patient = of(&a, "Patient");
    assert_eq!(patient["identifier"][0]["value"], "0000000001");
    assert_eq!(patient["name"][0]["given"], serde_json::json!(["Timothy", "Paul"]));
    assert_eq!(patient["birthDate"], "2008-01-06");
    assert_eq!(patient["gender"], "male");
    assert_eq!(of(&a, "Practitioner")["identifier"][0]["value"], "1234567893");
    assert_eq!(of(&a, "Encounter")["identifier"][0]["value"], "V-1001");
    let b = resources("b.pdf");
    assert_eq!(of(&b, "DocumentReference")["type"]["coding"][0]["code"], "c");
    assert_eq!(of(&b, "Encounter"), Value::Null);
    assert!(clinic.has("done/bixby/a.toml") && clinic.has("done/bixby/deeper/still/b.pdf.json"));
}

#[test]
fn a_folder_s_name_says_whose_it_is() {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox.push_str(
        "[inbox.patient]\nidentifier_system = \"urn:redox:health-one:MR\"\nfolder_pattern = '^(?<identifier>[0-9]+)'\n",
    );
    clinic.drop_file("inbox/0000000042 Alvarez/scan.pdf", pdf("42"));
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted()[0]["patient_identifiers"][0]["value"], "0000000042");
}

#[test]
fn files_that_came_while_down() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/before.pdf", pdf("before"));
    let daemon = clinic.daemon();
    clinic.wait_for_file("done/bixby/before.pdf.receipt.json");
    daemon.kill();
    clinic.drop_file("inbox/bixby/meanwhile.pdf", pdf("meanwhile"));
    let _daemon = clinic.daemon();
    clinic.wait_for_file("done/bixby/meanwhile.pdf.receipt.json");
    assert_eq!(clinic.accepted().len(), 2);
}

#[test]
fn a_folder_dropped_with_files_in_it() {
    for watch in ["events", "poll"] {
        let mut clinic = Clinic::new(&[]);
        clinic.inbox.push_str(&format!("watch = \"{watch}\"\n"));
        let _daemon = clinic.daemon();
        clinic.drop_file("inbox/bixby/first.pdf", pdf("first"));
        clinic.wait_for_file("done/bixby/first.pdf.receipt.json");
        clinic.drop_file("elsewhere/patient.toml", PATIENT.replace("0000000001", "0000000002"));
        for i in 0..20 {
            clinic.drop_file(format!("elsewhere/{i}.pdf"), pdf(&format!("dropped {i}")));
        }
        fs::rename(clinic.path("elsewhere"), clinic.path("inbox/alvarez")).unwrap();
        clinic.wait_for("all 20", || (0..20).all(|i| clinic.has(format!("done/alvarez/{i}.pdf.receipt.json"))));
        assert_eq!(clinic.accepted().len(), 21);
    }
}

#[test]
fn five_events_one_delivery() {
    let mut clinic = Clinic::new(&[]);
    // Between two pieces it is no refused one, however long they take.
    clinic.inbox = clinic.inbox.replace("\"1s\"", "\"60s\"");
    let _daemon = clinic.daemon();
    let bytes = pdf("written in five pieces");
    let path = clinic.drop_file("inbox/bixby/scan.pdf", "");
    for piece in bytes.chunks(bytes.len() / 5 + 1) {
        let mut file = fs::File::options().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, piece).unwrap();
    }
    clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
    let accepted = clinic.accepted();
    assert_eq!((accepted.len(), text(&accepted[0], "sha256")), (1, sha256(&bytes).as_str()));
}

#[test]
fn third_file_of_a_burst() {
    let clinic = Clinic::new(&[]);
    let _daemon = clinic.daemon();
    for i in 0..60 {
        clinic.drop_file(format!("inbox/bixby/{}/{i}.pdf", i % 7), pdf(&format!("burst {i}")));
    }
    clinic.wait_for("an empty inbox", || clinic.files("inbox") == ["bixby/patient.toml"]);
    clinic.wait_for("60 receipts", || clinic.files("done").len() == 120);
    assert_eq!(clinic.accepted().len(), 60);
}

#[test]
fn windows_copy_keeps_an_old_mtime() {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox = "settle = \"1s\"\n".into();
    let daemon = clinic.daemon();
    let whole = pdf("preallocated and written late");
    let path = clinic.drop_file("inbox/bixby/scan.pdf", &whole[..whole.len() / 2]);
    // Changes again and again, always with a time of long ago.
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let began = std::time::Instant::now();
    while began.elapsed() < std::time::Duration::from_secs(3) {
        let file = fs::File::options().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut &file, b"%\n").unwrap();
        file.set_modified(old).unwrap();
        assert!(!clinic.has("done/bixby/scan.pdf") && !clinic.has("failed/bixby/scan.pdf"));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    fs::write(&path, &whole).unwrap();
    clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
    assert_eq!(text(&clinic.accepted()[0], "sha256"), sha256(&whole));
    drop(daemon);
}

#[test]
fn a_duplicate_leaves_the_inbox_with_a_note() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("once"));
    assert_eq!(clinic.run_once(), 0);
    clinic.drop_file("inbox/bixby/scan again.pdf", pdf("once"));
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted().len(), 1);
    let receipt = clinic.receipt("done/bixby/scan again.pdf.receipt.json");
    assert_eq!(text(&receipt, "status"), "duplicate");
    assert!(text(&receipt, "note").contains("scan.pdf"), "{receipt}");
    assert_eq!(receipt["delivery"], clinic.receipt("done/bixby/scan.pdf.receipt.json")["delivery"]);
}

#[test]
fn twins_dropped_together_are_sent_once() {
    let mut clinic = Clinic::new(&[]);
    clinic.delivery.push_str("concurrency = 8\n");
    for i in 0..8 {
        clinic.drop_file(format!("inbox/bixby/{i}.pdf"), pdf("the same"));
    }
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted().len(), 1);
    assert_eq!(clinic.files("done").len(), 16);
}

#[test]
fn the_same_bytes_with_another_description_are_not_sent_again() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("once"));
    assert_eq!(clinic.run_once(), 0);
    let id = text(&clinic.receipt("done/bixby/scan.pdf.receipt.json"), "delivery").to_owned();
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("once"));
    clinic.drop_file("inbox/bixby/scan.toml", "type = \"referral\"\n");
    assert_eq!(clinic.run_once(), 1);
    assert!(clinic.reason("failed/bixby/scan.pdf.reason.txt").replace("\r\n    ", " ").contains(&id));
    assert!(clinic.has("failed/bixby/scan.toml"));
    assert_eq!(clinic.accepted().len(), 1);
}

#[test]
fn blank_form_for_a_second_patient() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/alvarez/patient.toml", PATIENT.replace("0000000001", "0000000002"));
    clinic.drop_file("inbox/bixby/form.pdf", pdf("blank"));
    clinic.drop_file("inbox/alvarez/form.pdf", pdf("blank"));
    assert_eq!(clinic.run_once(), 0);
    let accepted = clinic.accepted();
    let mut patients: Vec<_> = accepted.iter().map(|sent| &sent["patient_identifiers"][0]["value"]).collect();
    patients.sort_by_key(|value| value.to_string());
    assert_eq!(patients, ["0000000001", "0000000002"]);
    assert_ne!(accepted[0]["master_identifier"], accepted[1]["master_identifier"]);
}

#[test]
fn a_later_file_of_the_same_name_is_sent() {
    let clinic = Clinic::new(&[]);
    let _daemon = clinic.daemon();
    for (i, filed) in ["scan.pdf", "scan (2).pdf", "scan (3).pdf"].iter().enumerate() {
        let bytes = pdf(&format!("page {i}"));
        clinic.drop_file("inbox/bixby/scan.pdf", &bytes);
        clinic.wait_for_file(&format!("done/bixby/{filed}.receipt.json"));
        assert_eq!(fs::read(clinic.path(format!("done/bixby/{filed}"))).unwrap(), bytes);
    }
    assert_eq!(clinic.accepted().len(), 3);
}

#[test]
fn same_name_never_overwrites() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("done/bixby/scan.pdf", "somebody's own file");
    clinic.drop_file("done/bixby/other.toml", "somebody's own file");
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("1"));
    clinic.drop_file("inbox/bixby/other.pdf", pdf("2"));
    clinic.drop_file("inbox/bixby/other.toml", "title = \"other\"\n");
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.reason("done/bixby/scan.pdf"), "somebody's own file");
    assert_eq!(clinic.reason("done/bixby/other.toml"), "somebody's own file");
    for name in ["scan (2).pdf", "scan (2).pdf.receipt.json", "other (2).pdf", "other (2).toml"] {
        assert!(clinic.has(format!("done/bixby/{name}")), "{name}: {:?}", clinic.files("done"));
    }
}

#[test]
fn a_file_that_was_mended_and_put_back_starts_over() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("mended"));
    clinic.drop_file("inbox/bixby/scan.toml", "typ = \"referral\"\n");
    assert_eq!(clinic.run_once(), 1);
    assert!(clinic.has("failed/bixby/scan.pdf") && clinic.has("failed/bixby/scan.toml"));
    fs::rename(clinic.path("failed/bixby/scan.pdf"), clinic.path("inbox/bixby/scan.pdf")).unwrap();
    fs::rename(clinic.path("failed/bixby/scan.pdf.reason.txt"), clinic.path("inbox/bixby/scan.pdf.reason.txt"))
        .unwrap();
    fs::remove_file(clinic.path("failed/bixby/scan.toml")).unwrap();
    clinic.drop_file("inbox/bixby/scan.toml", "type = \"referral\"\n");
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(text(&clinic.accepted()[0], "type_code"), "57133-1");
}

#[test]
fn sigterm_lets_the_request_under_way_end() {
    let clinic = Clinic::new(&[]);
    clinic.fault("create:always:delay=2s");
    let mut daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("slow"));
    clinic.wait_for("the POST", || clinic.record()["uploads"] == 1);
    let told = std::time::Instant::now();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(told.elapsed() < std::time::Duration::from_secs(10));
    clinic.clear_faults();
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted().len(), 1, "sent once, whichever run filed it");
}

#[test]
fn sigterm_leaves_a_request_that_hangs_to_the_next_start() {
    let clinic = Clinic::new(&[]);
    clinic.fault("create:nth=1:hang=after");
    let mut daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("hangs"));
    clinic.wait_for("the POST", || clinic.record()["accepted"].as_array().unwrap().len() == 1);
    let told = std::time::Instant::now();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(told.elapsed() < std::time::Duration::from_secs(10), "{:?}", told.elapsed());
    assert!(clinic.has("inbox/bixby/scan.pdf"));
    assert_eq!(clinic.run_once(), 0);
    same_message_twice(&clinic);
    let receipt = clinic.receipt("done/bixby/scan.pdf.receipt.json");
    assert_eq!((&receipt["sends"], &receipt["uncertain"]), (&2.into(), &1.into()));
}

#[test]
fn killed_while_waiting_for_the_answer_it_sends_the_same_bytes_again() {
    for method in ["upload", "embed"] {
        let mut clinic = Clinic::new(&[]);
        clinic.delivery.push_str(&format!("method = \"{method}\"\n"));
        clinic.fault("create:nth=1:hang=after");
        let daemon = clinic.daemon();
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("killed"));
        clinic.wait_for("the POST", || clinic.accepted().len() == 1);
        daemon.kill();
        assert_eq!(clinic.run_once(), 0);
        same_message_twice(&clinic);
    }
}

fn same_message_twice(clinic: &Clinic) {
    let accepted = clinic.accepted();
    assert_eq!(accepted.len(), 2);
    assert_eq!(accepted[0]["bundle_sha256"], accepted[1]["bundle_sha256"]);
    assert_eq!(accepted[0]["bundle_id"], accepted[1]["bundle_id"]);
}

#[test]
fn a_second_daemon_on_the_same_ledger_is_refused_with_words() {
    let clinic = Clinic::new(&[]);
    let mut first = clinic.daemon();
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("first"));
    clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
    let second = clinic.command(&["run", "--once"]);
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another chartdrop"), "{second:?}");
    assert!(first.is_running());
}

#[test]
fn a_second_daemon_with_another_ledger_sends_nothing() {
    let clinic = Clinic::new(&[]);
    clinic.fault("create:nth=1:delay=6s");
    let first = clinic.daemon();
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.wait_for("it is at work", || clinic.record()["creates"] == 1);
    let other = fs::read_to_string(clinic.config()).unwrap().replace("path = \"ledger\"", "path = \"other/ledger\"");
    let config = clinic.drop_file("other.toml", other);
    let words = "another chartdrop delivers from this inbox";
    let (code, log) = once_until(chartdrop(), &config, |log| log.contains(words));
    assert!(code == 2 && log.contains(words), "{code} {log}");
    clinic.wait_for_file("done/bixby/a.pdf.receipt.json");
    first.kill();
    clinic.drop_file("inbox/bixby/b.pdf", pdf("b"));
    let (code, log) = once_until(chartdrop(), &config, |_| false);
    assert_eq!(code, 0, "the inbox is free again: {log}");
    assert_eq!(clinic.accepted().len(), 2);
}

#[test]
fn a_lost_ledger_is_rebuilt_from_the_receipts_and_nothing_is_sent_twice() {
    let clinic = Clinic::new(&[]);
    for i in 0..5 {
        clinic.drop_file(format!("inbox/bixby/{i}.pdf"), pdf(&format!("number {i}")));
    }
    assert_eq!(clinic.run_once(), 0);
    fs::remove_dir_all(clinic.path("ledger")).unwrap();
    for i in 0..5 {
        clinic.drop_file(format!("inbox/bixby/again {i}.pdf"), pdf(&format!("number {i}")));
    }
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted().len(), 5);
    assert!((0..5).all(|i| clinic.receipt(&format!("done/bixby/again {i}.pdf.receipt.json"))["status"] == "duplicate"));
}

#[test]
fn unmounted_share_is_not_an_empty_inbox() {
    let clinic = Clinic::new(&[]);
    let mut daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/first.pdf", pdf("first"));
    clinic.wait_for_file("done/bixby/first.pdf.receipt.json");
    fs::rename(clinic.path("inbox"), clinic.path("unmounted")).unwrap();
    let log = || fs::read_to_string(clinic.path("daemon.log")).unwrap();
    clinic.drop_file("unmounted/bixby/second.pdf", pdf("second"));
    clinic.wait_for("the alarm", || log().contains("the inbox cannot be read"));
    assert!(daemon.is_running());
    fs::rename(clinic.path("unmounted"), clinic.path("inbox")).unwrap();
    clinic.wait_for_file("done/bixby/second.pdf.receipt.json");
    // Its watch stands again: the next file comes by an event, long before the next full scan.
    let dropped = Instant::now();
    clinic.drop_file("inbox/bixby/third.pdf", pdf("third"));
    clinic.wait_for_file("done/bixby/third.pdf.receipt.json");
    assert!(dropped.elapsed() < Duration::from_secs(30), "found by the full scan of every minute");
    assert_eq!(log().matches("the inbox cannot be read").count(), 1);
}

#[test]
fn memory_does_not_grow_with_the_file() {
    // A message may have 10 MB, an embedded file a quarter less.
    for (method, body, size) in
        [("upload", "raw", 29), ("upload", "multipart", 29), ("upload", "fhir-json", 29), ("embed", "raw", 7)]
    {
        let peak = |megabytes: usize| {
            let mut clinic = Clinic::new(&[]);
            clinic.delivery.push_str(&format!("method = \"{method}\"\n"));
            clinic.redox = format!("upload_body = \"{body}\"\n");
            // It stays under way until its memory has been read.
            clinic.fault("create:always:hang=after");
            let daemon = clinic.daemon();
            clinic.drop_file("inbox/bixby/scan.pdf", pdf(&"x".repeat(megabytes * 1_000_000)));
            clinic.wait_for("the POST", || clinic.http("GET", "/sandbox/record", "").contains("\"master_identifier\""));
            let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
            let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
        };
        let (small, large) = (peak(0), peak(size));
        println!("{method} {body}: {small} MB for a small file, {large} MB for one of {size} MB");
        assert!(large < small + 5, "{method} {body}: {small} MB grew to {large} MB");
    }
}

#[test]
fn a_patient_file_that_is_edited_while_the_upload_runs_is_noticed() {
    let clinic = Clinic::new(&[]);
    clinic.fault("binary:nth=1:delay=6s");
    let _daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("whose?"));
    clinic.wait_for("the upload", || clinic.record()["requests"].as_u64() >= Some(2));
    clinic.drop_file("inbox/bixby/patient.toml", PATIENT.replace("0000000001", "0000000007"));
    clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
    let accepted = clinic.accepted();
    assert_eq!(accepted.len(), 1);
    assert_eq!(accepted[0]["patient_identifiers"][0]["value"], "0000000007");
}

#[test]
fn a_folder_that_is_renamed_while_the_upload_runs_is_noticed() {
    let mut clinic = Clinic::new(&[]);
    clinic
        .inbox
        .push_str("[inbox.patient]\nidentifier_system = \"urn:x:MR\"\nfolder_pattern = '^(?<identifier>[0-9]+)'\n");
    clinic.fault("binary:nth=1:delay=6s");
    let _daemon = clinic.daemon();
    clinic.drop_file("inbox/0001/scan.pdf", pdf("whose?"));
    clinic.wait_for("the upload", || clinic.record()["requests"].as_u64() >= Some(2));
    fs::rename(clinic.path("inbox/0001"), clinic.path("inbox/0002")).unwrap();
    clinic.wait_for_file("done/0002/scan.pdf.receipt.json");
    let accepted = clinic.accepted();
    assert_eq!((accepted.len(), text(&accepted[0]["patient_identifiers"][0], "value")), (1, "0002"));
}

#[test]
fn one_destination_s_trouble_does_not_stop_another() {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox.push_str(
        "[[inbox]]\nname = \"second\"\npath = \"second/inbox\"\ndestination = \"nobody\"\nhold = \"0s\"\nsettle = \"100ms\"\n",
    );
    clinic.drop_file("second/inbox/bixby/patient.toml", PATIENT);
    clinic.drop_file("second/inbox/bixby/stuck.pdf", pdf("stuck"));
    let _daemon = clinic.daemon();
    let log = || fs::read_to_string(clinic.path("daemon.log")).unwrap();
    clinic.wait_for("the alarm", || log().contains("nothing is sent for now"));
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("flows"));
    clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
    assert!(clinic.has("second/inbox/bixby/stuck.pdf"));
}

#[test]
fn a_document_that_is_written_to_after_it_was_sent_stays_and_is_sent_as_what_it_is_now() {
    let clinic = Clinic::new(&[]);
    clinic.fault("create:nth=1:delay=6s");
    let _daemon = clinic.daemon();
    let (first, second) = (pdf("first"), pdf("second, longer"));
    let path = clinic.drop_file("inbox/bixby/scan.pdf", &first);
    clinic.wait_for("the POST", || clinic.record()["creates"] == 1);
    fs::write(&path, &second).unwrap();
    clinic.wait_for("both", || clinic.accepted().len() == 2 && clinic.files("inbox") == ["bixby/patient.toml"]);
    let sent: Vec<_> = clinic.accepted().iter().map(|sent| text(sent, "sha256").to_owned()).collect();
    assert_eq!(sent, [sha256(&first), sha256(&second)]);
    clinic.wait_for("both receipts", || {
        clinic.files("done").iter().filter(|name| name.ends_with(".receipt.json")).count() == 2
    });
}

#[test]
fn a_duplicate_of_a_document_that_waits_to_be_filed_keeps_its_own_name() {
    let mut clinic = Clinic::new(&[]);
    // How long the first rests between two tries to move it.
    clinic.delivery = "retry_first = \"100ms\"\nretry_max = \"4s\"\n".into();
    let document = pdf("twice");
    let _daemon = clinic.daemon();
    clinic
        .wait_for("the start", || fs::read_to_string(clinic.path("daemon.log")).unwrap().contains("deliveries begin"));
    // A file where done was.
    fs::remove_dir(clinic.path("done")).unwrap();
    clinic.drop_file("done", "in the way");
    clinic.drop_file("inbox/bixby/scan.pdf", &document);
    clinic.wait_for("a move that fails", || {
        fs::read_to_string(clinic.path("daemon.log")).unwrap().contains("cannot be moved")
    });
    fs::remove_file(clinic.path("done")).unwrap();
    fs::create_dir(clinic.path("done")).unwrap();
    clinic.drop_file("inbox/bixby/again.pdf", &document);
    clinic.wait_for_file("done/bixby/again.pdf.receipt.json");
    assert_eq!(clinic.receipt("done/bixby/scan.pdf.receipt.json")["status"], "accepted");
    assert_eq!(clinic.receipt("done/bixby/again.pdf.receipt.json")["status"], "duplicate");
    assert_eq!(clinic.accepted().len(), 1);
    assert_eq!(clinic.files("done").len(), 4);
}
