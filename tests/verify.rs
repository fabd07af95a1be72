//! `chartdrop verify`: what it counts is what was done, and whatever somebody changes behind its back is found.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;

use serde_json::Value;
use support::{Clinic, chartdrop, once_until, pdf};

/// Two accepted documents, a duplicate, a refused one, and one that waits.
fn clinic() -> Clinic {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.drop_file("inbox/bixby/a.pdf.toml", "title = \"A\"\n");
    clinic.drop_file("inbox/bixby/letters/b.pdf", pdf("b"));
    clinic.drop_file("inbox/bixby/c.exe", "MZ");
    assert_eq!(clinic.run_once(), 1);
    clinic.drop_file("inbox/bixby/a again.pdf", pdf("b"));
    assert_eq!(clinic.run_once(), 0);
    clinic.drop_file("inbox/bixby/d.pdf", pdf("d"));
    clinic
}

fn verify(clinic: &Clinic, arguments: &[&str]) -> (i32, Value) {
    let output = clinic.command(&[&["verify", "--json"], arguments].concat());
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}")))
}

/// The files that something is said of, without their folders.
fn found(report: &Value) -> Vec<String> {
    let name = |finding: &Value| finding["file"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let mut found: Vec<_> = report["findings"].as_array().unwrap().iter().map(name).collect();
    found.sort();
    found
}

#[test]
fn what_was_put_in_is_accepted_or_waits_or_has_failed() {
    let clinic = clinic();
    let (code, report) = verify(&clinic, &[]);
    assert_eq!((code, found(&report).len()), (0, 0), "{report}");
    let days = report["days"].as_object().unwrap();
    let sum = |key: &str| days.values().map(|day| day["front-desk/bixby"][key].as_u64().unwrap()).sum::<u64>();
    let sums = ["put_in", "accepted", "duplicates", "waiting", "failed"].map(sum);
    assert_eq!(sums, [5, 2, 1, 1, 1], "{report}");
    let words = String::from_utf8(clinic.command(&["verify"]).stdout).unwrap();
    assert!(words.contains("Everything adds up.") && words.contains("front-desk/bixby"), "{words}");
}

#[test]
fn everything_that_is_changed_behind_its_back_is_found() {
    let clinic = clinic();
    let (done, failed) = ("done/bixby", "failed/bixby");
    let changes: &[(&str, &str, &dyn Fn())] = &[
        ("a.pdf", "no receipt", &|| fs::remove_file(clinic.path(format!("{done}/a.pdf.receipt.json"))).unwrap()),
        ("a.pdf.receipt.json", "taken it away", &|| fs::remove_file(clinic.path(format!("{done}/a.pdf"))).unwrap()),
        ("a.pdf.receipt.json", "cannot be read", &|| {
            clinic.drop_file(format!("{done}/a.pdf.receipt.json"), "{");
        }),
        ("a.pdf", "changed since", &|| {
            clinic.drop_file(format!("{done}/a.pdf"), "longer or shorter");
        }),
        ("c.exe", "no reason", &|| fs::remove_file(clinic.path(format!("{failed}/c.exe.reason.txt"))).unwrap()),
        ("c.exe.reason.txt", "taken it away", &|| fs::remove_file(clinic.path(format!("{failed}/c.exe"))).unwrap()),
        ("stray.pdf", "no receipt", &|| {
            clinic.drop_file(format!("{done}/stray.pdf"), "x");
        }),
        (".chartdrop-1.tmp", "left this behind", &|| {
            clinic.drop_file(format!("{done}/.chartdrop-1.tmp"), "half");
        }),
    ];
    for (name, words, change) in changes {
        let before: Vec<_> = ["done", "failed"].into_iter().flat_map(|folder| copy_of(&clinic, folder)).collect();
        change();
        let (code, report) = verify(&clinic, &[]);
        assert_eq!((code, found(&report)), (1, vec![(*name).to_owned()]), "{words}: {report}");
        assert!(report["findings"][0]["what"].as_str().unwrap().contains(words), "{words}: {report}");
        for folder in ["done", "failed"] {
            fs::remove_dir_all(clinic.path(folder)).unwrap();
        }
        for (path, bytes) in before {
            clinic.drop_file(path, bytes);
        }
        assert_eq!(verify(&clinic, &[]).0, 0, "put back as it was");
    }
}

fn copy_of(clinic: &Clinic, folder: &str) -> Vec<(String, Vec<u8>)> {
    let path = |file: String| format!("{folder}/{file}");
    clinic
        .files(folder)
        .into_iter()
        .map(path)
        .map(|path| (path.clone(), fs::read(clinic.path(path)).unwrap()))
        .collect()
}

#[test]
fn a_changed_byte_is_found_by_comparing_all_of_them() {
    let clinic = clinic();
    let path = clinic.path("done/bixby/letters/b.pdf");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(verify(&clinic, &[]).0, 0, "its size is right");
    let (code, report) = verify(&clinic, &["--rehash"]);
    assert_eq!((code, found(&report)), (1, vec!["b.pdf".to_owned()]), "{report}");
    assert_eq!(report["rehashed"], 3);
}

#[test]
fn what_was_archived_or_taken_out_in_time_is_counted_and_is_no_fault() {
    let clinic = clinic();
    for name in ["a.pdf", "a.pdf.toml", "a.pdf.receipt.json"] {
        fs::remove_file(clinic.path(format!("done/bixby/{name}"))).unwrap();
    }
    clinic.fault("binary:always:status=503");
    let (code, log) = once_until(chartdrop(), &clinic.config(), |log| log.contains("will be tried again"));
    assert_eq!(code, 1, "{log}");
    fs::remove_file(clinic.path("inbox/bixby/d.pdf")).unwrap();
    let (code, report) = verify(&clinic, &[]);
    assert_eq!((code, &report["moved_on"], &report["taken_out"]), (0, &1.into(), &1.into()), "{report}");
}

#[test]
fn a_document_that_may_have_arrived_and_was_taken_away_is_found() {
    let mut clinic = clinic();
    clinic.delivery.push_str("on_unknown = \"hold\"\n");
    clinic.fault("create:nth=1:cut=after");
    assert_eq!(clinic.run_once(), 1);
    assert_eq!(verify(&clinic, &[]).0, 0, "it is held and lies in the inbox");
    fs::remove_file(clinic.path("inbox/bixby/d.pdf")).unwrap();
    let (code, report) = verify(&clinic, &[]);
    assert_eq!((code, found(&report)), (1, vec!["d.pdf".to_owned()]), "{report}");
    let words = String::from_utf8(clinic.command(&["verify"]).stdout).unwrap();
    assert!(words.contains("does not add up (1)") && words.contains("patient's chart"), "{words}");
}

#[test]
fn an_accepted_document_of_which_the_ledger_does_not_know_is_found() {
    let clinic = clinic();
    let mut receipt = clinic.receipt("done/bixby/a.pdf.receipt.json");
    receipt["delivery"] = "00000000-0000-5000-8000-000000000000".into();
    clinic.drop_file("done/bixby/a.pdf.receipt.json", receipt.to_string());
    let (code, report) = verify(&clinic, &[]);
    assert_eq!((code, found(&report)), (1, vec!["a.pdf".to_owned()]), "{report}");
}

#[test]
fn an_inbox_that_cannot_be_read_is_not_an_empty_one() {
    let clinic = clinic();
    fs::rename(clinic.path("inbox"), clinic.path("unmounted")).unwrap();
    let (code, report) = verify(&clinic, &[]);
    assert_eq!((code, found(&report)), (1, vec!["inbox".to_owned()]), "{report}");
}
