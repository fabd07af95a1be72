//! What is filed is what was sent: the document and the sidecar that the row recorded, and none that came or was changed
//! since. A kill, a correction, or a share that is away does not change that.
//!
//! Needs Debian's packages strace, bindfs and fuse3.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    fs,
    os::unix::fs::{FileExt, MetadataExt},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use support::{Clinic, chartdrop, once_until, pdf, sha256};

const FIRST_WORDS: &str = "title = \"First words\"\n";
const CORRECTED: &str = "title = \"Corrected\"\n";
/// Speaks against the folder's patient: with it beside, nothing may be sent.
const OF_ANOTHER: &str = "[patient]\nidentifier = \"0000000002\"\n";

const RECEIPT: &str = "done/bixby/scan.pdf.receipt.json";
const STAYS: &str = "Its sidecar was changed or added after it was sent";

fn clinic(delivery: &str) -> Clinic {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox = "settle = \"20ms\"\nincomplete_after = \"1s\"\n".into();
    clinic.delivery = format!("retry_first = \"20ms\"\nretry_max = \"100ms\"\n{delivery}");
    clinic
}

fn drop_both(clinic: &Clinic) {
    clinic.drop_file("inbox/bixby/scan.pdf.toml", FIRST_WORDS);
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("scan"));
}

/// Puts a whole file there at once, as an editor or a copy program does.
fn replace(clinic: &Clinic, name: &str, bytes: impl AsRef<[u8]>) {
    clinic.drop_file("next", bytes);
    fs::rename(clinic.path("next"), clinic.path(name)).unwrap();
}

fn read(clinic: &Clinic, name: &str) -> String {
    fs::read_to_string(clinic.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The titles of the messages that were accepted.
fn titles(clinic: &Clinic) -> Vec<String> {
    clinic.accepted().iter().map(|message| message["title"].as_str().unwrap().to_owned()).collect()
}

fn note(clinic: &Clinic) -> String {
    clinic.receipt(RECEIPT)["note"].as_str().unwrap().to_owned()
}

/// Every archived document holds the bytes that its receipt speaks of.
fn assert_receipts_are_true(clinic: &Clinic) {
    for name in clinic.files("done").iter().filter(|name| name.ends_with(".receipt.json")) {
        let receipt = clinic.receipt(&format!("done/{name}"));
        let document = format!("done/{}", name.strip_suffix(".receipt.json").unwrap());
        if clinic.has(&document) {
            let bytes = fs::read(clinic.path(&document)).unwrap();
            assert_eq!(receipt["document"]["content"]["sha256"], sha256(&bytes).as_str(), "{name}");
        }
    }
}

/// `run` that is killed when it is about to rename for that time.
fn run_killed_at_rename(clinic: &Clinic, time: u32) {
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2"])
        .arg(format!("--inject=renameat2:signal=KILL:when={time}"))
        .arg(chartdrop().get_program())
        .args(["run", "--once", "--for", "20s", "--config"])
        .arg(clinic.config())
        .env_remove("NOTIFY_SOCKET")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.unwrap_or_else(|error| panic!("strace is needed: {error}"));
}

#[test]
fn killed_between_document_and_sidecar_it_takes_no_sidecar_that_was_put_there_since() {
    for is_daemon in [false, true] {
        let mut found = 0;
        for time in 1..=4 {
            let clinic = clinic("");
            drop_both(&clinic);
            run_killed_at_rename(&clinic, time);
            if clinic.has("inbox/bixby/scan.pdf") || !clinic.has("inbox/bixby/scan.pdf.toml") {
                continue;
            }
            found += 1;
            assert!(clinic.has("done/bixby/scan.pdf") && !clinic.has(RECEIPT));
            replace(&clinic, "inbox/bixby/scan.pdf.toml", OF_ANOTHER);
            if is_daemon {
                let _daemon = clinic.daemon();
                clinic.wait_for_file(RECEIPT);
            } else {
                clinic.run_once();
            }
            assert_eq!(clinic.files("done"), ["bixby/scan.pdf", "bixby/scan.pdf.receipt.json"]);
            assert_eq!(read(&clinic, "inbox/bixby/scan.pdf.toml"), OF_ANOTHER);
            assert!(note(&clinic).contains(STAYS), "{}", note(&clinic));
            // It counts for the next document of that name.
            clinic.drop_file("inbox/bixby/scan.pdf", pdf("the next one, of another patient"));
            assert_eq!(clinic.run_once(), 1);
            assert!(clinic.has("failed/bixby/scan.pdf.reason.txt") && clinic.has("failed/bixby/scan.pdf.toml"));
            assert_eq!(clinic.accepted().len(), 1, "the next one was sent without its own sidecar");
        }
        assert!(found > 0, "no kill fell between the two moves");
    }
}

#[test]
fn killed_between_document_and_sidecar_it_files_the_sidecar_that_was_sent() {
    let mut found = 0;
    for time in 1..=4 {
        let clinic = clinic("");
        drop_both(&clinic);
        run_killed_at_rename(&clinic, time);
        found += u32::from(!clinic.has("inbox/bixby/scan.pdf") && clinic.has("inbox/bixby/scan.pdf.toml"));
        clinic.run_once();
        let expected = ["bixby/scan.pdf", "bixby/scan.pdf.receipt.json", "bixby/scan.pdf.toml"];
        assert_eq!(clinic.files("done"), expected, "{time}");
        assert_eq!(read(&clinic, "done/bixby/scan.pdf.toml"), FIRST_WORDS);
        assert!(!note(&clinic).contains(STAYS), "{}", note(&clinic));
    }
    assert!(found > 0, "no kill fell between the two moves");
}

// A sidecar that is corrected while the outcome is open.

#[test]
fn words_corrected_before_anything_counts_as_sent_are_the_words_that_are_sent() {
    for fault in ["create:nth=1:status=503,retry_after=600", "binary:nth=1:status=503,retry_after=600"] {
        for command in ["retry", "hold"] {
            let clinic = clinic("");
            clinic.fault(fault);
            drop_both(&clinic);
            let (code, log) = once_until(chartdrop(), &clinic.config(), |log| log.contains("it will be tried again"));
            assert_eq!(code, 1, "{log}");
            let id = clinic.open_id();
            assert!(clinic.command(&[command, &id]).status.success());
            replace(&clinic, "inbox/bixby/scan.pdf.toml", CORRECTED);
            if command == "hold" {
                assert_eq!(clinic.run_once(), 1, "it is held");
                assert!(clinic.command(&["release", &id]).status.success());
            }
            assert_eq!(clinic.run_once(), 0, "{fault} {command}");
            assert_eq!(titles(&clinic), ["Corrected"], "{fault} {command}");
            assert_eq!(read(&clinic, "done/bixby/scan.pdf.toml"), CORRECTED, "{fault} {command}");
            assert_eq!(clinic.counters(RECEIPT), (1, 0), "{fault} {command}");
            assert!(!note(&clinic).contains(STAYS));
            assert_eq!(clinic.files("inbox"), ["bixby/patient.toml"]);
        }
    }
}

#[test]
fn words_corrected_after_it_may_have_arrived_stay_in_the_inbox_and_the_receipt_says_so() {
    for policy in ["resend", "hold"] {
        for (what, change) in
            [("corrected", Some(CORRECTED)), ("of another patient", Some(OF_ANOTHER)), ("removed", None)]
        {
            let what = format!("{policy}, {what}");
            let clinic = clinic(&format!("on_unknown = \"{policy}\"\n"));
            clinic.fault("create:nth=1:hang=after");
            drop_both(&clinic);
            let daemon = clinic.daemon();
            clinic.wait_for("the message", || clinic.accepted().len() == 1);
            daemon.kill();
            match change {
                Some(words) => replace(&clinic, "inbox/bixby/scan.pdf.toml", words),
                None => fs::remove_file(clinic.path("inbox/bixby/scan.pdf.toml")).unwrap(),
            }
            if change == Some(OF_ANOTHER) {
                // The document is refused as it is described now, and not called unsent.
                assert_eq!(clinic.run_once(), 1, "{what}");
                let reason = clinic.reason("failed/bixby/scan.pdf.reason.txt");
                assert!(reason.starts_with("THIS DOCUMENT MAY OR MAY NOT HAVE ARRIVED."), "{what}: {reason}");
                assert_eq!(titles(&clinic), ["First words"], "{what}");
                continue;
            }
            if policy == "hold" {
                assert_eq!(clinic.run_once(), 1, "{what}");
                assert!(clinic.command(&["release", &clinic.open_id()]).status.success(), "{what}");
            }
            // A sidecar without its document still waits for it.
            assert_eq!(clinic.run_once(), i32::from(change.is_some()), "{what}");
            assert_eq!(titles(&clinic), ["First words", "First words"], "{what}: the same message");
            assert_eq!(clinic.counters(RECEIPT), (2, 1), "{what}");
            assert!(!clinic.has("done/bixby/scan.pdf.toml"), "{what}: archived as if it had been sent");
            assert_eq!(note(&clinic).contains(STAYS), change.is_some(), "{what}: {}", note(&clinic));
            if change.is_some() {
                assert_eq!(read(&clinic, "inbox/bixby/scan.pdf.toml"), CORRECTED, "{what}");
            }
        }
    }
}

#[test]
fn words_corrected_after_the_acceptance_and_before_the_filing_stay_in_the_inbox() {
    for is_restarted in [false, true] {
        for with_sidecar in [true, false] {
            let what = format!("restarted: {is_restarted}, sent with a sidecar: {with_sidecar}");
            let clinic = clinic("");
            drop_both(&clinic);
            if !with_sidecar {
                fs::remove_file(clinic.path("inbox/bixby/scan.pdf.toml")).unwrap();
            }
            let mut daemon = Some(clinic.accepted_and_not_filed());
            if is_restarted {
                daemon.take().unwrap().kill();
            }
            replace(&clinic, "inbox/bixby/scan.pdf.toml", CORRECTED);
            clinic.unblock_done();
            if is_restarted {
                daemon = Some(clinic.daemon());
            }
            clinic.wait_for_file(RECEIPT);
            assert_eq!(clinic.files("done"), ["bixby/scan.pdf", "bixby/scan.pdf.receipt.json"], "{what}");
            assert_eq!(read(&clinic, "inbox/bixby/scan.pdf.toml"), CORRECTED, "{what}");
            assert!(note(&clinic).contains(STAYS), "{what}: {}", note(&clinic));
            assert_eq!(clinic.accepted().len(), 1, "{what}");
            drop(daemon);
        }
    }
}

#[test]
fn a_sidecar_changed_while_the_message_is_under_way_is_not_archived_as_sent() {
    for keeps_size_and_time in [false, true] {
        let clinic = clinic("");
        clinic.fault("create:nth=1:delay=3s");
        drop_both(&clinic);
        let _daemon = clinic.daemon();
        clinic.wait_for("the message", || clinic.record()["creates"] == 1);
        let sidecar = clinic.path("inbox/bixby/scan.pdf.toml");
        let changed = FIRST_WORDS.replace("First", "Other");
        if keeps_size_and_time {
            let time = fs::metadata(&sidecar).unwrap().modified().unwrap();
            let file = fs::File::options().write(true).open(&sidecar).unwrap();
            file.write_all_at(changed.as_bytes(), 0).unwrap();
            file.set_modified(time).unwrap();
        } else {
            replace(&clinic, "inbox/bixby/scan.pdf.toml", &changed);
        }
        clinic.wait_for_file(RECEIPT);
        assert_eq!(titles(&clinic), ["First words"]);
        assert_eq!(clinic.files("done"), ["bixby/scan.pdf", "bixby/scan.pdf.receipt.json"]);
        assert_eq!(fs::read_to_string(&sidecar).unwrap(), changed);
    }
}

#[test]
fn a_duplicate_s_own_sidecar_is_filed_with_it_and_not_with_the_first() {
    let clinic = clinic("");
    drop_both(&clinic);
    let daemon = clinic.accepted_and_not_filed();
    clinic.drop_file("inbox/bixby/again.pdf.toml", FIRST_WORDS);
    clinic.drop_file("inbox/bixby/again.pdf", pdf("scan"));
    fs::remove_file(clinic.path("inbox/bixby/scan.pdf.toml")).unwrap();
    clinic.unblock_done();
    clinic.wait_for_file("done/bixby/again.pdf.receipt.json");
    clinic.wait_for_file(RECEIPT);
    drop(daemon);
    let names = ["again.pdf", "again.pdf.receipt.json", "again.pdf.toml", "scan.pdf", "scan.pdf.receipt.json"];
    assert_eq!(clinic.files("done"), names.map(|name| format!("bixby/{name}")));
    assert_eq!(clinic.accepted().len(), 1);
}

// A document that is changed.

#[test]
fn an_edit_that_keeps_size_and_time_after_the_acceptance_is_not_archived_under_its_receipt() {
    for is_restarted in [false, true] {
        let clinic = clinic("");
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("first words"));
        let mut daemon = Some(clinic.accepted_and_not_filed());
        if is_restarted {
            daemon.take().unwrap().kill();
        }
        let scan = clinic.path("inbox/bixby/scan.pdf");
        let time = fs::metadata(&scan).unwrap().modified().unwrap();
        let file = fs::File::options().write(true).open(&scan).unwrap();
        file.write_all_at(&pdf("other words"), 0).unwrap();
        file.set_modified(time).unwrap();
        drop(file);
        clinic.unblock_done();
        if is_restarted {
            daemon = Some(clinic.daemon());
        }
        clinic.wait_for("the other words are sent", || clinic.accepted().len() == 2);
        clinic.wait_for("the inbox is empty", || clinic.files("inbox") == ["bixby/patient.toml"]);
        clinic.wait_for("both receipts", || {
            clinic.files("done").iter().filter(|name| name.ends_with(".receipt.json")).count() == 2
        });
        assert_receipts_are_true(&clinic);
        drop(daemon);
    }
}

// A share that is away.

/// A folder of another place shown at an inbox, as a share is.
struct Share<'a>(&'a Clinic);

impl Share<'_> {
    fn mount(clinic: &Clinic) -> Share<'_> {
        let output = Command::new("bindfs")
            .arg("--no-allow-other")
            .args([clinic.path("elsewhere"), clinic.path("inbox")])
            .output()
            .unwrap_or_else(|error| panic!("bindfs is needed (Debian: bindfs, fuse3): {error}"));
        assert!(output.status.success(), "{output:?}");
        Share(clinic)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        Command::new("fusermount3")
            .args(["-u", "-z"])
            .arg(self.0.path("inbox"))
            .stderr(Stdio::null())
            .status()
            .unwrap();
    }
}

#[test]
fn a_share_that_is_away_for_many_filing_pauses_comes_back_with_its_document() {
    for is_restarted in [false, true] {
        let clinic = clinic("");
        fs::rename(clinic.path("inbox"), clinic.path("elsewhere")).unwrap();
        fs::create_dir(clinic.path("inbox")).unwrap();
        let share = Share::mount(&clinic);
        clinic.fault("create:nth=1:delay=3s");
        let mut daemon = clinic.daemon();
        clinic.drop_file("elsewhere/bixby/scan.pdf.toml", FIRST_WORDS);
        clinic.drop_file("elsewhere/bixby/scan.pdf", pdf("scan"));
        clinic.wait_for("the message is on its way", || clinic.record()["creates"] == 1);
        drop(share);
        clinic.wait_for("the alarm", || clinic.log().contains("its share is not mounted"));
        if is_restarted {
            daemon.kill();
            daemon = clinic.daemon();
        }
        // Twenty times the longest pause between two tries to file it.
        thread::sleep(Duration::from_secs(2));
        assert_eq!(clinic.files("done"), [] as [&str; 0], "a note without its document would be a lie");
        let _share = Share::mount(&clinic);
        clinic.wait_for_file(RECEIPT);
        let expected = ["bixby/scan.pdf", "bixby/scan.pdf.receipt.json", "bixby/scan.pdf.toml"];
        clinic.wait_for("the sidecar", || clinic.files("done") == expected);
        assert_eq!((clinic.accepted().len(), clinic.counters(RECEIPT)), (1, (1, 0)));
        drop(daemon);
    }
}

#[test]
fn without_rename_noreplace_nothing_is_replaced_and_everything_arrives() {
    for taken in [&["renameat2:error=EINVAL"][..], &["renameat2:error=EINVAL", "linkat:error=EPERM"]] {
        let clinic = clinic("");
        drop_both(&clinic);
        clinic.drop_file("inbox/bixby/setup.exe", "MZ");
        // Somebody's, of the same names.
        clinic.drop_file("done/bixby/scan.pdf", "an older one");
        clinic.drop_file("failed/bixby/setup.exe", "an older one");
        let ino = fs::metadata(clinic.path("done/bixby/scan.pdf")).unwrap().ino();
        let status = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null"])
            .args(taken.iter().map(|inject| format!("--inject={inject}")))
            .arg(chartdrop().get_program())
            .args(["run", "--once", "--for", "20s", "--config"])
            .arg(clinic.config())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(1), "{taken:?}: one was refused");
        assert_eq!(read(&clinic, "done/bixby/scan.pdf"), "an older one", "{taken:?}");
        assert_eq!(fs::metadata(clinic.path("done/bixby/scan.pdf")).unwrap().ino(), ino, "{taken:?}");
        assert_eq!(read(&clinic, "failed/bixby/setup.exe"), "an older one", "{taken:?}");
        let expected = ["scan (2).pdf", "scan (2).pdf.receipt.json", "scan (2).pdf.toml", "scan.pdf"];
        assert_eq!(clinic.files("done"), expected.map(|name| format!("bixby/{name}")), "{taken:?}");
        assert_eq!(clinic.files("failed").len(), 3, "{taken:?}");
        assert_eq!(clinic.files("inbox"), ["bixby/patient.toml"], "{taken:?}");
    }
}
