//! One world of paths: whatever links, names and races staff (or somebody else) put into the folders, nothing is filed or sent
//! where it does not belong, and nothing is lost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
};

use support::{Clinic, PATIENT, pdf, sha256};

/// Every document in done is the one that its receipt speaks of.
fn assert_receipts_are_true(clinic: &Clinic) {
    for name in clinic.files("done").into_iter().filter(|name| name.ends_with(".pdf")) {
        let receipt = clinic.receipt(&format!("done/{name}.receipt.json"));
        let bytes = fs::read(clinic.path(format!("done/{name}"))).unwrap();
        assert_eq!(receipt["document"]["content"]["sha256"], sha256(&bytes).as_str(), "{name}");
    }
}

#[test]
fn a_refused_link_never_leads_a_later_document_elsewhere() {
    let clinic = Clinic::new(&[]);
    symlink("bixby", clinic.path("inbox/ward")).unwrap();
    assert_eq!(clinic.run_once(), 1);
    assert!(clinic.reason("failed/ward.reason.txt").contains("link"));
    assert!(!clinic.has("inbox/ward"), "a refused link leaves the inbox");
    // Staff make the folder that the link stood for.
    clinic.drop_file("inbox/ward/patient.toml", PATIENT);
    clinic.drop_file("inbox/ward/setup.exe", "MZ");
    assert_eq!(clinic.run_once(), 1);
    assert!(clinic.has("failed/ward/setup.exe.reason.txt"), "{:?}", clinic.files("failed"));
    assert!(clinic.path("failed/ward").symlink_metadata().unwrap().is_dir());
    assert_eq!(clinic.files("inbox"), ["bixby/patient.toml", "ward/patient.toml"]);
}

#[test]
fn links_that_are_in_failed_already_are_not_followed_and_jam_nothing() {
    for target in ["ward", "../inbox/bixby", "/nowhere"] {
        let clinic = Clinic::new(&[]);
        symlink(target, clinic.path("failed/ward")).unwrap();
        symlink(target, clinic.path("done/ward")).unwrap();
        clinic.drop_file("inbox/ward/patient.toml", PATIENT);
        clinic.drop_file("inbox/ward/setup.exe", "MZ");
        clinic.drop_file("inbox/ward/scan.pdf", pdf(target));
        assert_eq!(clinic.run_once(), 1);
        assert!(clinic.has("failed/ward/setup.exe.reason.txt"), "{target}: {:?}", clinic.files("failed"));
        assert!(clinic.has("done/ward/scan.pdf.receipt.json"), "{target}: {:?}", clinic.files("done"));
        assert_eq!(clinic.files("inbox"), ["bixby/patient.toml", "ward/patient.toml"], "{target}");
    }
}

#[test]
fn a_link_is_not_read_as_a_receipt_when_a_ledger_is_built_again() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"));
    assert_eq!(clinic.run_once(), 0);
    clinic.drop_file("elsewhere/x.pdf.receipt.json", "{}");
    symlink("../elsewhere", clinic.path("done/linked")).unwrap();
    symlink("../elsewhere/x.pdf.receipt.json", clinic.path("done/x.pdf.receipt.json")).unwrap();
    fs::remove_dir_all(clinic.path("ledger")).unwrap();
    assert_eq!(clinic.run_once(), 0);
    clinic.drop_file("inbox/bixby/again.pdf", pdf("a"));
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted().len(), 1, "known from its receipt");
}

#[test]
fn a_document_with_another_name_elsewhere_is_copied_so_that_nobody_changes_the_archive() {
    let clinic = Clinic::new(&[]);
    let scan = clinic.drop_file("inbox/bixby/scan.pdf", pdf("sent"));
    fs::hard_link(scan, clinic.path("kept.pdf")).unwrap();
    assert_eq!(clinic.run_once(), 0);
    clinic.drop_file("kept.pdf", pdf("changed later"));
    assert_eq!(fs::read(clinic.path("done/bixby/scan.pdf")).unwrap(), pdf("sent"));
    assert!(!clinic.has("inbox/bixby/scan.pdf"));
    assert_receipts_are_true(&clinic);
}

#[test]
fn an_edit_that_keeps_size_and_time_while_the_message_is_under_way_is_not_archived_as_sent() {
    let clinic = Clinic::new(&[]);
    clinic.fault("create:nth=1:delay=2s");
    let _daemon = clinic.daemon();
    let scan = clinic.drop_file("inbox/bixby/scan.pdf", pdf("first words"));
    let time = fs::metadata(&scan).unwrap().modified().unwrap();
    clinic.wait_for("the message is under way", || clinic.record()["creates"] == 1);
    let file = fs::File::options().write(true).open(&scan).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &pdf("other words"), 0).unwrap();
    file.set_modified(time).unwrap();
    drop(file);
    clinic.wait_for("both are sent", || clinic.accepted().len() == 2);
    clinic.wait_for("the second is filed", || clinic.files("inbox") == ["bixby/patient.toml"]);
    clinic.wait_for("its receipt", || clinic.files("done").iter().filter(|name| name.ends_with(".json")).count() == 2);
    assert_receipts_are_true(&clinic);
}

#[test]
fn what_is_filed_is_for_the_group_of_the_share() {
    let mut clinic = Clinic::new(&[]);
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        chown(clinic.path("inbox"), None, Some(4242)).unwrap();
    }
    let group = fs::metadata(clinic.path("inbox")).unwrap().gid();
    for folder in ["done", "failed"] {
        fs::remove_dir(clinic.path(folder)).unwrap();
    }
    for (mode, file, folder) in [("", 0o640, 0o2750), ("mode = \"0660\"\n", 0o660, 0o2770)] {
        let patient = format!("patient {file:o}");
        clinic.inbox = format!("settle = \"100ms\"\nincomplete_after = \"1s\"\n{mode}");
        clinic.drop_file(format!("inbox/{patient}/patient.toml"), PATIENT);
        clinic.drop_file(format!("inbox/{patient}/sub/scan.pdf"), pdf(&patient));
        clinic.drop_file(format!("inbox/{patient}/sub/scan.toml"), "title = \"x\"\n");
        clinic.drop_file(format!("inbox/{patient}/setup.exe"), "MZ");
        assert_eq!(clinic.run_once(), 1);
        for (path, expected) in [
            (format!("done/{patient}/sub/scan.pdf"), file),
            (format!("done/{patient}/sub/scan.toml"), file),
            (format!("done/{patient}/sub/scan.pdf.receipt.json"), file),
            (format!("done/{patient}/sub"), folder),
            (format!("done/{patient}"), folder),
            (format!("failed/{patient}/setup.exe.reason.txt"), file),
        ] {
            let found = fs::metadata(clinic.path(&path)).unwrap();
            assert_eq!((found.mode() & 0o7777, found.gid()), (expected, group), "{path}");
        }
    }
    assert_eq!(fs::metadata(clinic.path("done")).unwrap().mode() & 0o7777, 0o2750, "made at the first start");
    if is_root {
        clinic.inbox.push_str("group = \"4343\"\n");
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("of another group"));
        assert_eq!(clinic.run_once(), 0);
        assert_eq!(fs::metadata(clinic.path("done/bixby/scan.pdf")).unwrap().gid(), 4343);
    }
}

#[test]
fn a_group_that_nobody_knows_and_odd_permissions_are_refused_with_words() {
    for (line, words) in [
        ("group = \"no such group here\"", "groupadd"),
        ("mode = \"0040\"", "0640"),
        ("mode = \"0755\"", "0640"),
        ("mode = \"rw\"", "0640"),
    ] {
        let mut clinic = Clinic::new(&[]);
        clinic.inbox.push_str(&format!("{line}\n"));
        let output = clinic.command(&["run", "--once"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        assert!(said.contains(words), "{line}: {said}");
    }
}

#[test]
fn folders_inside_each_other_are_refused_however_their_paths_are_written() {
    // Lines for the inbox, the ledger's path, and what is said.
    for (inbox, ledger, words) in [
        ("done = \"x/../inbox/done\"", "ledger", "done folder"),
        ("done = \"linked/done\"", "ledger", "done folder"),
        ("failed = \"linked/bixby\"", "ledger", "failed folder"),
        ("done = \"deep\"", "ledger", "done folder"),
        ("done = \"data/same\"\nfailed = \"data/x/../same\"", "ledger", "done and failed"),
        ("", "linked/ledger", "ledger"),
        ("done = \"state/done\"\nfailed = \"state/failed\"", "x/../state", "ledger"),
        ("done = \"state/done\"", "to-state", "ledger"),
    ] {
        let mut clinic = Clinic::new(&[]);
        clinic.inbox.push_str(&format!("{inbox}\n"));
        symlink("inbox", clinic.path("linked")).unwrap();
        symlink("inbox/bixby", clinic.path("deep")).unwrap();
        fs::create_dir(clinic.path("state")).unwrap();
        symlink("state", clinic.path("to-state")).unwrap();
        let path = clinic.config();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("path = \"ledger\"", &format!("path = \"{ledger}\""))).unwrap();
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"));
        for arguments in [&["run", "--once"][..], &["check"]] {
            let output = support::chartdrop().args(arguments).arg("--config").arg(&path).output().unwrap();
            let said = support_words(&output);
            assert_eq!(output.status.code(), Some(2), "{inbox} {ledger}: {said}");
            assert!(said.contains(words) && said.contains("folder of its own"), "{inbox} {ledger}: {said}");
        }
        assert!(clinic.has("inbox/bixby/scan.pdf"));
    }
}

fn support_words(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn two_inboxes_that_are_one_folder_are_refused() {
    let clinic = Clinic::new(&[]);
    symlink("inbox/bixby", clinic.path("second")).unwrap();
    let path = clinic.config();
    let text = fs::read_to_string(&path).unwrap();
    let second = "[[inbox]]\nname = \"second\"\npath = \"second\"\ndestination = \"other\"\n";
    fs::write(&path, format!("{second}{text}")).unwrap();
    let output = support::chartdrop().args(["run", "--once", "--config"]).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(support_words(&output).contains("inside each other"), "{}", support_words(&output));
}

#[test]
fn a_done_folder_that_is_swapped_for_a_link_into_the_inbox_gets_nothing() {
    let clinic = Clinic::new(&[]);
    let _daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/first.pdf", pdf("first"));
    clinic.wait_for_file("done/bixby/first.pdf.receipt.json");
    fs::rename(clinic.path("done"), clinic.path("moved")).unwrap();
    symlink("inbox", clinic.path("done")).unwrap();
    clinic.drop_file("inbox/bixby/second.pdf", pdf("second"));
    let log = || fs::read_to_string(clinic.path("daemon.log")).unwrap();
    clinic.wait_for("the alarm", || log().contains("leads into the inbox"));
    assert_eq!(clinic.files("inbox"), ["bixby/patient.toml", "bixby/second.pdf"]);
    fs::remove_file(clinic.path("done")).unwrap();
    fs::rename(clinic.path("moved"), clinic.path("done")).unwrap();
    clinic.wait_for_file("done/bixby/second.pdf.receipt.json");
    assert_eq!(clinic.accepted().len(), 2);
}

#[test]
fn what_a_killed_run_left_half_written_is_removed_at_the_next_start() {
    let clinic = Clinic::new(&[]);
    for folder in ["inbox/bixby", "done/bixby", "done", "failed/a/b"] {
        clinic.drop_file(format!("{folder}/.chartdrop-0123.tmp"), "half");
    }
    // An original whose copy is durable, one whose copy is not, and the same under a name that was taken since.
    clinic.drop_file("done/bixby/filed.pdf", pdf("filed"));
    let copied = clinic.drop_file("inbox/bixby/.chartdrop-leaving-01234567-filed.pdf", pdf("filed"));
    let time = fs::metadata(clinic.path("done/bixby/filed.pdf")).unwrap().modified().unwrap();
    fs::File::options().append(true).open(copied).unwrap().set_modified(time).unwrap();
    clinic.drop_file("inbox/bixby/.chartdrop-leaving-01234567-came.pdf", pdf("came meanwhile"));
    assert_eq!(clinic.run_once(), 0);
    let all = [clinic.files("inbox"), clinic.files("done"), clinic.files("failed")].concat();
    assert!(all.iter().all(|name| !name.contains(".chartdrop")), "{all:?}");
    assert_eq!(fs::read(clinic.path("done/bixby/came.pdf")).unwrap(), pdf("came meanwhile"));
    assert_eq!(clinic.accepted().len(), 1);
}

#[test]
fn a_file_that_has_the_name_of_a_patients_folder_in_failed_jams_nothing() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("failed/bixby", "in the way");
    clinic.drop_file("inbox/bixby/setup.exe", "MZ");
    assert_eq!(clinic.run_once(), 1);
    assert_eq!(clinic.files("failed"), ["bixby", "bixby (2)/setup.exe", "bixby (2)/setup.exe.reason.txt"]);
}

#[test]
fn a_sidecar_with_other_capitals_is_filed_twice_without_a_search_for_names() {
    let clinic = Clinic::new(&[]);
    for words in ["one", "two"] {
        clinic.drop_file("inbox/bixby/Scan.pdf", pdf(words));
        clinic.drop_file("inbox/bixby/scan.toml", "title = \"x\"\n");
        assert_eq!(clinic.run_once(), 0);
    }
    assert_eq!(clinic.files("inbox"), ["bixby/patient.toml"]);
    assert_receipts_are_true(&clinic);
}

#[test]
fn lost_and_found_of_a_filesystem_is_nobodys_document() {
    let clinic = Clinic::new(&[]);
    for folder in ["done", "failed"] {
        clinic.drop_file(format!("{folder}/lost+found/#12.pdf"), "x");
        fs::set_permissions(clinic.path(format!("{folder}/lost+found")), fs::Permissions::from_mode(0o000)).unwrap();
    }
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"));
    assert_eq!(clinic.run_once(), 0);
    let output = clinic.command(&["verify"]);
    assert_eq!(output.status.code(), Some(0), "{}", support_words(&output));
}
