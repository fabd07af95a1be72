//! A message was sent and its answer never came: every way to lose it, with every policy. The right number of messages has
//! arrived, all for the same document; what is sent again is the same byte for byte; and the receipt says how often it was.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use rustix::process::Signal;
use serde_json::Value;
use support::{Clinic, PATIENT, chartdrop, once_until, pdf};

/// How the answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// As the fault says.
    Fault(&'static str),
    /// The request is given up after some seconds.
    Timeout,
    /// SIGKILL while it waits.
    Killed,
    /// SIGTERM while it waits, for longer than it is let wait then.
    Ended,
}

const LOSSES: [(Loss, bool); 11] = [
    (Loss::Fault("status=504,commit"), true),
    (Loss::Fault("status=504"), false),
    (Loss::Fault("cut=after"), true),
    (Loss::Fault("cut=mid"), false),
    (Loss::Fault("cut=before"), false),
    (Loss::Timeout, true),
    (Loss::Timeout, false),
    (Loss::Killed, true),
    (Loss::Killed, false),
    (Loss::Ended, true),
    (Loss::Ended, false),
];

const POLICIES: [&str; 3] = ["resend", "search", "hold"];

/// A clinic whose first message was sent, and `arrived` or not; and what it said of it is lost. The program has gone on as
/// far as it can without being told.
fn clinic_that_lost(loss: Loss, arrived: bool, policy: &str, method: &str) -> Clinic {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox = "settle = \"20ms\"\n".into();
    clinic.delivery = format!(
        "retry_first = \"10ms\"\nretry_max = \"50ms\"\non_unknown = \"{policy}\"\nmethod = \"{method}\"\n{}",
        if loss == Loss::Timeout { "request_timeout = \"4s\"\n" } else { "" }
    );
    let fault = match loss {
        Loss::Fault(fault) => fault,
        _ if arrived => "hang=after",
        _ => "hang",
    };
    clinic.fault(&format!("create:nth=1:{fault}"));
    clinic.drop_file("inbox/bixby/a.pdf", pdf("lost"));
    if let Loss::Killed | Loss::Ended = loss {
        let mut daemon = clinic.daemon();
        clinic.wait_for("the POST", || {
            let record = clinic.record();
            record["creates"] == 1 && record["accepted"].as_array().unwrap().len() == usize::from(arrived)
        });
        if loss == Loss::Killed {
            daemon.kill();
        } else {
            daemon.signal(Signal::TERM);
            assert_eq!(daemon.wait().code(), Some(0));
        }
    }
    clinic
}

/// What the ledger says of the one document that is under way.
fn status(clinic: &Clinic) -> Value {
    let rows = clinic.open_deliveries();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0].clone()
}

/// The messages that were accepted: all for one document, and the same byte for byte unless a person wanted a new one.
fn messages(clinic: &Clinic, what: &str, same: bool) -> usize {
    let accepted = clinic.accepted();
    for message in &accepted {
        assert_eq!(message["master_identifier"], accepted[0]["master_identifier"], "{what}");
        assert_eq!(message["bundle_sha256"] == accepted[0]["bundle_sha256"], same || message == &accepted[0], "{what}");
    }
    accepted.len()
}

fn assert_receipt(clinic: &Clinic, what: &str, sends: u64, words: &str) {
    assert_eq!(clinic.files("inbox"), ["bixby/patient.toml"], "{what}");
    let receipt = clinic.receipt("done/bixby/a.pdf.receipt.json");
    let said = (receipt["sends"].as_u64().unwrap(), receipt["uncertain"].as_u64().unwrap());
    assert_eq!((said, &receipt["status"]), ((sends, 1), &"accepted".into()), "{what}: {receipt}");
    assert!(receipt["note"].as_str().unwrap().contains(words), "{what}: {receipt}");
    assert_eq!(
        format!("urn:uuid:{}", receipt["delivery"].as_str().unwrap()),
        clinic.accepted()[0]["master_identifier"]
    );
    assert_eq!(fs::read(clinic.path("done/bixby/a.pdf")).unwrap(), pdf("lost"), "{what}");
}

#[test]
fn every_lost_answer_is_settled_as_the_policy_says() {
    let mut cases = Vec::new();
    for (i, (loss, arrived)) in LOSSES.into_iter().enumerate() {
        for (j, policy) in POLICIES.into_iter().enumerate() {
            // An embedded file is read while the request is under way. A cut that comes before its last piece was handed over
            // is known to have lost nothing, so whether the outcome is unknown would depend on who was faster.
            let is_cut_early = matches!(loss, Loss::Fault("cut=before" | "cut=mid"));
            let method = if is_cut_early { "upload" } else { ["upload", "embed"][(i + j) % 2] };
            cases.push((loss, arrived, policy, method));
        }
    }
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(&(loss, arrived, policy, method)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let what = format!("{loss:?}, arrived: {arrived}, {policy}, {method}");
                    let clinic = clinic_that_lost(loss, arrived, policy, method);
                    match policy {
                        "hold" => is_held(&clinic, &what, arrived),
                        _ => is_settled(&clinic, &what, arrived, policy),
                    }
                }
            });
        }
    });
}

#[test]
fn an_embedded_message_that_is_cut_early_is_counted_only_if_all_of_it_had_left() {
    for cut in ["cut=before", "cut=mid"] {
        let clinic = clinic_that_lost(Loss::Fault(cut), false, "resend", "embed");
        assert_eq!((clinic.run_once(), clinic.accepted().len()), (0, 1), "{cut}");
        let receipt = clinic.receipt("done/bixby/a.pdf.receipt.json");
        let said = (receipt["sends"].as_u64().unwrap(), receipt["uncertain"].as_u64().unwrap());
        assert!(said == (1, 0) || said == (2, 1), "{cut}: {said:?}");
    }
}

fn is_settled(clinic: &Clinic, what: &str, arrived: bool, policy: &str) {
    assert_eq!(clinic.run_once(), 0, "{what}");
    if policy == "search" && arrived {
        assert_eq!(messages(clinic, what, true), 1, "{what}: it was found");
        assert_eq!(clinic.record()["creates"], 1, "{what}");
        return assert_receipt(clinic, what, 1, "sent once");
    }
    assert_eq!(messages(clinic, what, true), 1 + usize::from(arrived), "{what}");
    assert_eq!(clinic.record()["creates"], 2, "{what}");
    assert_receipt(clinic, what, 2, "sent 2 times");
}

fn is_held(clinic: &Clinic, what: &str, arrived: bool) {
    for _ in 0..2 {
        assert_eq!(clinic.run_once(), 1, "{what}");
        assert!(clinic.has("inbox/bixby/a.pdf") && clinic.files("done").is_empty(), "{what}");
        assert_eq!(clinic.record()["creates"], 1, "{what}");
        let row = status(clinic);
        assert_eq!(
            (&row["state"], &row["sent"], &row["unconfirmed"]),
            (&"held".into(), &1.into(), &1.into()),
            "{what}"
        );
        assert!(!row["problem"]["summary"].as_str().unwrap().is_empty(), "{what}");
    }
    // The same message once more: a person decides.
    let id = status(clinic)["id"].as_str().unwrap().to_owned();
    let decision = if what.contains("embed") { "retry" } else { "release" };
    assert!(clinic.command(&[decision, &id]).status.success(), "{what}");
    assert_eq!(clinic.run_once(), 0, "{what}");
    assert_eq!(messages(clinic, what, true), 1 + usize::from(arrived), "{what}");
    assert_receipt(clinic, what, 2, "sent 2 times");
}

#[test]
fn a_search_that_is_not_answered_is_no_answer() {
    for (search, answered) in [
        ("search:first=6:status=503", true),
        ("search:first=6:cut=after", true),
        ("search:first=2:hang", true),
        ("search:first=4:status=429,retry_after=0", true),
        ("search:always:status=503", false),
        ("search:always:hang", false),
        ("search:always:status=500,body=html", false),
    ] {
        let mut clinic = clinic_that_lost(Loss::Fault("cut=after"), true, "search", "upload");
        clinic.delivery.push_str("request_timeout = \"2s\"\n");
        clinic.fault(search);
        if answered {
            assert_eq!(clinic.run_once(), 0, "{search}");
        } else {
            // It goes on asking, and sends nothing; after `give_up_after` a person must decide.
            // Token, upload, message, and three questions.
            let has_asked = |_: &str| clinic.record()["requests"].as_u64() >= Some(6);
            let (code, log) = once_until(chartdrop(), &clinic.config(), has_asked);
            assert_eq!(code, 1, "{search}: {log}");
            assert_eq!((status(&clinic)["state"].as_str(), clinic.accepted().len()), (Some("unknown"), 1), "{search}");
            clinic.delivery.push_str("give_up_after = \"1s\"\n");
            assert_eq!(clinic.run_once(), 1, "{search}");
            assert_eq!((status(&clinic)["state"].as_str(), clinic.accepted().len()), (Some("held"), 1), "{search}");
            continue;
        }
        assert_eq!((messages(&clinic, search, true), clinic.record()["creates"].as_u64()), (1, Some(1)), "{search}");
        assert_receipt(&clinic, search, 1, "sent once");
    }
}

#[test]
fn where_nobody_can_search_a_person_decides() {
    for search in ["search:always:status=501", "search:always:status=404", "search:always:status=400"] {
        let clinic = clinic_that_lost(Loss::Fault("cut=after"), true, "search", "upload");
        clinic.fault(search);
        is_held(&clinic, search, true);
    }
}

#[test]
fn what_is_held_is_still_held_after_the_program_was_killed() {
    let clinic = clinic_that_lost(Loss::Fault("cut=after"), true, "hold", "upload");
    for _ in 0..2 {
        let daemon = clinic.daemon();
        clinic.wait_for("the hold", || {
            fs::read_to_string(clinic.path("daemon.log")).unwrap().contains("a person must decide")
        });
        daemon.kill();
    }
    is_held(&clinic, "killed", true);
}

#[test]
fn a_document_that_may_have_arrived_and_is_refused_then_is_not_called_unsent() {
    let mut clinic = Clinic::new(&[]);
    clinic.delivery.push_str("on_unknown = \"hold\"\n");
    clinic.fault("create:nth=1:cut=after");
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    assert_eq!(clinic.run_once(), 1);
    assert_eq!(clinic.accepted().len(), 1, "it did arrive, and nobody knows");
    clinic.drop_file("inbox/bixby/patient.toml", "identifier = nonsense");
    assert_eq!(clinic.run_once(), 1);
    let reason = clinic.reason("failed/bixby/a.pdf.reason.txt");
    assert!(reason.contains("MAY OR MAY NOT HAVE ARRIVED") && reason.contains("patient.toml"), "{reason}");
}

#[test]
fn a_document_that_was_accepted_and_is_refused_before_it_is_filed_is_not_called_unsent() {
    for is_restarted in [false, true] {
        let mut clinic = Clinic::new(&[]);
        clinic.delivery = "retry_first = \"100ms\"\nretry_max = \"300ms\"\n".into();
        let mut daemon = clinic.daemon();
        clinic.wait_for("the start", || {
            fs::read_to_string(clinic.path("daemon.log")).unwrap().contains("deliveries begin")
        });
        // A file where done was.
        fs::remove_dir(clinic.path("done")).unwrap();
        clinic.drop_file("done", "in the way");
        clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
        clinic.wait_for("a move that fails", || {
            fs::read_to_string(clinic.path("daemon.log")).unwrap().contains("cannot be moved")
        });
        if is_restarted {
            daemon.kill();
            clinic.drop_file("inbox/bixby/patient.toml", "identifier = nonsense");
            // It would not start without done.
            fs::remove_file(clinic.path("done")).unwrap();
            fs::create_dir(clinic.path("done")).unwrap();
            daemon = clinic.daemon();
        }
        clinic.drop_file("inbox/bixby/patient.toml", "identifier = nonsense");
        clinic.wait_for_file("failed/bixby/a.pdf.reason.txt");
        let reason = clinic.reason("failed/bixby/a.pdf.reason.txt");
        assert!(reason.contains("MAY OR MAY NOT HAVE ARRIVED") && reason.contains("patient.toml"), "{reason}");
        if !is_restarted {
            fs::remove_file(clinic.path("done")).unwrap();
            fs::create_dir(clinic.path("done")).unwrap();
        }
        clinic.wait_for_file("done/bixby/a.pdf.receipt.json");
        drop(daemon);
    }
}

#[test]
fn what_may_have_arrived_and_is_taken_away_or_given_another_patient_is_said() {
    for is_taken_away in [true, false] {
        let mut clinic = Clinic::new(&[]);
        clinic.delivery =
            "retry_first = \"100ms\"\nretry_max = \"300ms\"\non_unknown = \"hold\"\nalarm_after = \"1s\"\n".into();
        clinic.fault("create:first=2:cut=after");
        clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
        clinic.drop_file("inbox/stays/patient.toml", PATIENT.replace("0000000001", "0000000003"));
        clinic.drop_file("inbox/stays/b.pdf", pdf("b"));
        let daemon = clinic.daemon();
        let log = || fs::read_to_string(clinic.path("daemon.log")).unwrap();
        let said = || log().matches("ALARM: a document that may have arrived").count();
        clinic.wait_for("the holds", || log().matches("a person must decide").count() == 2);
        if is_taken_away {
            fs::remove_file(clinic.path("inbox/bixby/a.pdf")).unwrap();
        } else {
            clinic.drop_file("inbox/bixby/patient.toml", PATIENT.replace("0000000001", "0000000002"));
            clinic.wait_for_file("done/bixby/a.pdf.receipt.json");
        }
        clinic.wait_for("the alarm", || said() == 1);
        drop(daemon);
        let rows = clinic.open_deliveries();
        let row = rows.iter().find(|row| row["path"] == "bixby/a.pdf").unwrap();
        assert_eq!(row["state"], "held", "{rows:?}");
        let id = row["id"].as_str().unwrap();
        assert!(log().contains(&format!("ends this delivery delivery={id}")), "{}", log());
        let shown = clinic.command(&["show", id]);
        assert!(String::from_utf8_lossy(&shown.stdout).contains("|0000000001"), "{shown:?}");
        let released = clinic.command(&["release", id]);
        assert!(String::from_utf8_lossy(&released.stdout).contains("this delivery is ended"), "{released:?}");
        let rows = clinic.open_deliveries();
        assert_eq!((rows.len(), &rows[0]["path"]), (1, &"stays/b.pdf".into()), "{rows:?}");
        // What comes under its name now is another document.
        clinic.drop_file("inbox/bixby/a.pdf", "no PDF at all");
        let _daemon = clinic.daemon();
        clinic.wait_for_file("failed/bixby/a.pdf.reason.txt");
        assert!(clinic.reason("failed/bixby/a.pdf.reason.txt").starts_with("THIS DOCUMENT WAS NOT SENT."));
    }
}

#[test]
fn a_share_that_is_not_mounted_has_not_lost_what_may_have_arrived() {
    let mut clinic = Clinic::new(&[]);
    clinic.delivery =
        "retry_first = \"100ms\"\nretry_max = \"300ms\"\non_unknown = \"hold\"\nalarm_after = \"1s\"\n".into();
    clinic.fault("create:nth=1:cut=after");
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.drop_file("inbox/stays/patient.toml", PATIENT.replace("0000000001", "0000000003"));
    let daemon = clinic.daemon();
    let said = |words: &str| fs::read_to_string(clinic.path("daemon.log")).unwrap().matches(words).count();
    clinic.wait_for("the hold", || said("a person must decide") == 1);
    fs::rename(clinic.path("inbox/bixby"), clinic.path("unmounted")).unwrap();
    // Another one that may have arrived, and is taken away after the first.
    clinic.fault("create:nth=1:cut=after");
    clinic.drop_file("inbox/stays/b.pdf", pdf("b"));
    clinic.wait_for("the hold", || said("a person must decide") == 2);
    fs::remove_file(clinic.path("inbox/stays/b.pdf")).unwrap();
    clinic.wait_for("the alarm", || said("ALARM: a document that may have arrived") > 0);
    assert_eq!(said("ALARM: a document that may have arrived"), 1);
    drop(daemon);
}
