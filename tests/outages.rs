//! Outages of every kind: of Redox, of the machine, of its clock and its disk. Whatever it is, nobody is flooded, nothing is
//! given up that would have been delivered, and what may have arrived twice is said.
//!
//! Needs Debian's packages strace, bindfs and fuse3, and a C compiler.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "worlds/clock.rs"]
#[allow(dead_code, clippy::expect_used, reason = "each test target uses a part, and one that cannot go on has failed")]
mod clock;
mod support;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use clock::Clock;
use rustix::process::Signal;
use support::{Clinic, Daemon, PATIENT, chartdrop, once_until, pdf};

const RECEIPT: &str = "done/bixby/scan.pdf.receipt.json";
const YEAR: i64 = 365 * 86_400;

fn clinic(delivery: &str) -> Clinic {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox = "settle = \"20ms\"\nincomplete_after = \"1s\"\n".into();
    clinic.delivery = format!("retry_first = \"20ms\"\nretry_max = \"100ms\"\n{delivery}");
    clinic
}

fn daemon_at(clinic: &Clinic, clock: &Clock) -> Daemon {
    let log = fs::File::options().create(true).append(true).open(clinic.path("daemon.log")).unwrap();
    let mut command = chartdrop();
    clock.lend(&mut command);
    command.arg("run").arg("--config").arg(clinic.config()).stdout(Stdio::null()).stderr(log);
    Daemon::of(command.spawn().unwrap())
}

/// SIGTERM, and the end.
fn end(mut daemon: Daemon) {
    daemon.signal(Signal::TERM);
    // `None`: told to end before it could listen for that.
    assert!(matches!(daemon.wait().code(), Some(0) | None));
}

// Answers that are lost.

#[test]
fn a_503_that_commits_gives_as_many_copies_as_the_policy_allows() {
    for (policy, pauses, copies) in [
        ("hold", "\"50ms\", \"100ms\", \"150ms\"", 1),
        ("resend", "\"50ms\", \"100ms\", \"150ms\"", 4),
        ("resend", "\"50ms\"", 2),
        ("resend", "", 1),
    ] {
        let what = format!("{policy} [{pauses}]");
        let clinic = clinic(&format!("on_unknown = \"{policy}\"\ngive_up_after = \"8s\"\nresend_after = [{pauses}]\n"));
        clinic.fault("create:always:status=503,commit");
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("scan"));
        assert_eq!((clinic.run_once(), clinic.accepted().len()), (1, copies), "{what}");
        assert_eq!(clinic.run_once(), 1, "{what}");
        assert_eq!(clinic.accepted().len(), copies, "{what}: the next run sends no more");
        let rows = clinic.open_deliveries();
        assert!(rows.len() == 1 && rows[0]["state"] == "held", "{what}: {rows:?}");
        assert!(clinic.has("inbox/bixby/scan.pdf"), "{what}");
    }
}

#[test]
fn an_outage_within_the_pauses_needs_no_person_and_floods_nobody() {
    const DOCUMENTS: usize = 10;
    // An hour, in the time of a test: every answer is lost until the last pause begins.
    let mut clinic = clinic("concurrency = 8\nresend_after = [\"100ms\", \"1s\", \"8s\"]\n");
    clinic.delivery.push_str("on_unknown = \"resend\"\n");
    clinic.fault("create:always:status=504,commit");
    for i in 0..DOCUMENTS {
        clinic.drop_file(format!("inbox/bixby/{i}.pdf"), pdf(&i.to_string()));
    }
    let _daemon = clinic.daemon();
    clinic.wait_for("three of each", || clinic.accepted_facts().len() == 3 * DOCUMENTS);
    clinic.clear_faults();
    clinic.wait_for("all of them", || clinic.files("done").len() == 2 * DOCUMENTS);
    assert_eq!(clinic.accepted_facts().len(), 4 * DOCUMENTS);
    for i in 0..DOCUMENTS {
        assert_eq!(clinic.counters(&format!("done/bixby/{i}.pdf.receipt.json")), (4, 3));
    }
    assert!(!clinic.log().contains("held:"), "{}", clinic.log());
}

#[test]
fn a_search_that_says_no_once_and_then_yes_sends_nothing_again() {
    let clinic = clinic("on_unknown = \"search\"\n");
    clinic.fault("create:nth=1:hang=after");
    // An empty answer: the destination does not show it yet.
    clinic.fault("search:nth=1:status=200,body=no-match");
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("scan"));
    let daemon = clinic.daemon();
    clinic.wait_for("the message", || clinic.accepted().len() == 1);
    daemon.kill();
    assert_eq!(clinic.run_once(), 0);
    assert_eq!((clinic.accepted().len(), clinic.record()["creates"].as_u64()), (1, Some(1)));
    assert_eq!(clinic.counters(RECEIPT), (1, 1));
}

#[test]
fn a_retry_after_is_waited_for_and_an_old_upload_is_made_again() {
    for (age, uploads) in [("1s", 2), ("1h", 1)] {
        let clinic = clinic(&format!("upload_max_age = \"{age}\"\n"));
        clinic.fault("create:nth=1:status=503,retry_after=3");
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("scan"));
        let began = Instant::now();
        assert_eq!(clinic.run_once(), 0);
        assert!(began.elapsed() >= Duration::from_secs(3), "{:?}: it asked for three seconds", began.elapsed());
        assert_eq!(clinic.record()["uploads"], uploads, "{age}");
        assert_eq!((clinic.counters(RECEIPT), clinic.record()["creates"].as_u64()), ((1, 0), Some(2)), "{age}");
    }
}

// The patient changes in between.

#[test]
fn patient_data_that_change_while_the_outcome_is_open_are_never_sent_by_themselves() {
    let changed = PATIENT.replace("2008-01-06", "1999-12-31");
    // It waits in Unknown, inside a running daemon, for its next resend.
    let clinic = clinic("on_unknown = \"resend\"\nresend_after = [\"4s\"]\n");
    clinic.fault("create:nth=1:status=504,commit");
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("scan"));
    let daemon = clinic.daemon();
    clinic.wait_for("the loss", || clinic.log().contains("the outcome is unknown"));
    clinic.drop_file("inbox/bixby/patient.toml", &changed);
    clinic.wait_for("the hold", || clinic.log().contains("held: a person must decide"));
    end(daemon);
    assert!(clinic.log().contains("patient-changed"), "{}", clinic.log());
    assert_eq!(clinic.accepted().len(), 1);
    assert!(!clinic.record().to_string().contains("1999-12-31"));
}

#[test]
fn patient_data_that_change_between_a_401_and_the_second_post_are_looked_at_again() {
    let clinic = clinic("");
    clinic.fault("create:nth=1:status=401,delay=1s");
    // The new token takes its time.
    clinic.fault("token:nth=2:delay=3s");
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("scan"));
    let _daemon = clinic.daemon();
    clinic.wait_for("the first POST", || clinic.record()["creates"] == 1);
    clinic.drop_file("inbox/bixby/patient.toml", PATIENT.replace("2008-01-06", "1999-12-31"));
    clinic.wait_for_file(RECEIPT);
    let accepted = clinic.accepted();
    assert_eq!(accepted.len(), 1);
    assert!(accepted[0].to_string().contains("1999-12-31"), "the old words were sent: {accepted:?}");
    assert_eq!(clinic.counters(RECEIPT), (1, 0));
}

// The machine, its clock and its disk.

#[test]
fn a_machine_that_was_off_for_days_does_not_give_up() {
    let clinic = clinic("give_up_after = \"2m\"\n");
    let clock = Clock::new(clinic.path("clock"));
    clinic.fault("binary:always:status=503");
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("scan"));
    let daemon = daemon_at(&clinic, &clock);
    clinic.wait_for("a try", || clinic.log().contains("it will be tried again"));
    end(daemon);
    // Four days later the network comes back some tries after the machine.
    clock.set(4 * 86_400);
    let said = || clinic.log().matches("it will be tried again").count();
    let before = said();
    // Redox's clock stays where it is: no token is to be had, and that is no try of this document.
    let daemon = daemon_at(&clinic, &clock);
    clinic.wait_for("a word about the token", || clinic.log().contains("nothing is sent for now"));
    end(daemon);
    clock.set(0);
    let daemon = daemon_at(&clinic, &clock);
    clinic.wait_for("tries", || said() > before + 2);
    clinic.clear_faults();
    clinic.wait_for_file(RECEIPT);
    assert!(clinic.files("failed").is_empty());
    end(daemon);
}

#[test]
fn a_clock_that_ran_ahead_by_two_years_does_not_empty_the_history() {
    let clinic = clinic("");
    let clock = Clock::new(clinic.path("clock"));
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("scan"));
    let daemon = daemon_at(&clinic, &clock);
    clinic.wait_for_file(RECEIPT);
    // In the middle of a run, and between two.
    clock.set(2 * YEAR);
    end(daemon);
    let ahead = daemon_at(&clinic, &clock);
    // It writes down what its clock says when it looks for what is old.
    let ahead_of_us = |bytes: Vec<u8>| {
        let noted: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let wall = noted["wall"].as_str().and_then(|wall| wall.parse::<jiff::Timestamp>().ok());
        wall.is_some_and(|wall| wall.as_second() > jiff::Timestamp::now().as_second() + YEAR)
    };
    clinic.wait_for("its look at the clock", || fs::read(clinic.path("ledger.clock.json")).is_ok_and(ahead_of_us));
    clinic.wait_for("its start", || clinic.log().matches(" starts ").count() == 2);
    end(ahead);
    clock.set(0);
    clinic.drop_file("inbox/bixby/again.pdf", pdf("scan"));
    let daemon = daemon_at(&clinic, &clock);
    clinic.wait_for_file("done/bixby/again.pdf.receipt.json");
    assert_eq!(clinic.receipt("done/bixby/again.pdf.receipt.json")["status"], "duplicate");
    assert_eq!(clinic.accepted().len(), 1);
    end(daemon);
}

#[test]
fn sigterm_between_fixing_a_message_and_its_post_lets_it_go_out() {
    let clinic = clinic("");
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("scan"));
    // Whenever it comes, it ends in good order, and nothing is counted that was not sent.
    for pause in (0..400).step_by(25) {
        let name = format!("{pause}.pdf");
        clinic.drop_file(format!("inbox/bixby/{name}"), pdf(&name));
        let mut daemon = clinic.daemon();
        std::thread::sleep(Duration::from_millis(pause));
        // Before it listens to signals it dies of them, and has sent nothing yet.
        daemon.signal(Signal::TERM);
        daemon.wait();
    }
    assert_eq!(clinic.run_once(), 0);
    let receipts: Vec<_> = clinic.files("done").into_iter().filter(|name| name.ends_with(".receipt.json")).collect();
    assert_eq!(receipts.len(), 17);
    for receipt in receipts {
        assert_eq!(clinic.counters(&format!("done/{receipt}")), (1, 0), "{receipt}");
    }
    assert_eq!((clinic.accepted().len(), clinic.record()["creates"].as_u64()), (17, Some(17)));
}

fn copy_folder(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(status.success());
}

#[test]
fn an_old_copy_of_the_ledger_with_an_open_row_that_was_accepted_since_sends_nothing_undeclared() {
    let clinic = clinic("on_unknown = \"resend\"\n");
    clinic.fault("create:nth=1:status=503,retry_after=600");
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("scan"));
    let (code, log) = once_until(chartdrop(), &clinic.config(), |log| log.contains("it will be tried again"));
    assert_eq!(code, 1, "{log}");
    for name in ["ledger", "ledger.stamp"] {
        copy_folder(&clinic.path(name), &clinic.path(format!("older-{name}")));
    }
    assert!(clinic.command(&["retry", &clinic.open_id()]).status.success());
    assert_eq!((clinic.run_once(), clinic.accepted().len()), (0, 1));
    // A backup is put back, with the row that was open then.
    for name in ["ledger", "ledger.stamp"] {
        let status = Command::new("rm").arg("-rf").arg(clinic.path(name)).status().unwrap();
        assert!(status.success());
        copy_folder(&clinic.path(format!("older-{name}")), &clinic.path(name));
    }
    clinic.drop_file("inbox/bixby/again.pdf", pdf("scan"));
    assert_eq!(clinic.run_once(), 0);
    let receipt = clinic.receipt("done/bixby/again.pdf.receipt.json");
    assert_eq!(receipt["status"], "duplicate", "{receipt}");
    assert_eq!(clinic.accepted().len(), 1);
}

/// A folder on a filesystem of its own, by bindfs.
struct Fuse(std::path::PathBuf);

impl Drop for Fuse {
    fn drop(&mut self) {
        Command::new("fusermount3").args(["-u", "-z"]).arg(&self.0).stderr(Stdio::null()).status().unwrap();
    }
}

#[test]
fn a_ledger_on_a_network_or_fuse_filesystem_is_refused_with_words() {
    let clinic = clinic("");
    let at = clinic.path("ledger");
    fs::create_dir(clinic.path("elsewhere")).unwrap();
    fs::create_dir(&at).unwrap();
    let output = Command::new("bindfs").arg("--no-allow-other").arg(clinic.path("elsewhere")).arg(&at).output();
    assert!(output.unwrap_or_else(|error| panic!("bindfs is needed: {error}")).status.success());
    let _fuse = Fuse(at);
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("scan"));
    let output = clinic.command(&["run", "--once", "--for", "20s"]);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("a disk of this machine"), "{said}");
    assert!(clinic.has("inbox/bixby/scan.pdf") && clinic.accepted().is_empty());
    assert!(fs::read_dir(clinic.path("elsewhere")).unwrap().next().is_none(), "nothing was begun there");
}

// Names.

#[test]
fn names_that_are_long_or_full_of_odd_characters_end_no_daemon() {
    let clinic = clinic("");
    let mut names = Vec::new();
    for (i, odd) in
        ["\u{1}", "\u{7f}", "\"", "\\", "\u{202e}", "ü", "\u{1f9ea}", "\t", "'", "{", "%"].iter().enumerate()
    {
        for length in [1, 20, 240 / odd.len()] {
            names.push(format!("inbox/bixby/{i:02}{}.pdf", odd.repeat(length)));
        }
        let folder = odd.repeat(180 / odd.len());
        names.push(format!("inbox/bixby/{folder}/{folder}/{folder}/{i}.pdf"));
        names.push(format!("inbox/bixby/{}{i}.exe", odd.repeat(200 / odd.len())));
    }
    for (i, name) in names.iter().enumerate() {
        clinic.drop_file(name, pdf(&i.to_string()));
    }
    let title = "\\u0001\\\"".repeat(120);
    clinic.drop_file("inbox/bixby/words.pdf.toml", format!("title = \"{title}\"\ndescription = \"{title}\"\n"));
    clinic.drop_file("inbox/bixby/words.pdf", pdf("words"));
    clinic.drop_file("inbox/bixby/good.pdf", pdf("good"));
    for run in 1..=2 {
        let output = clinic.command(&["run", "--once", "--for", "60s"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 1)), "run {run}: {:?} {said}", output.status);
        assert!(!said.contains("cannot go on") && !said.contains("panicked"), "run {run}: {said}");
    }
    assert!(clinic.has("done/bixby/good.pdf.receipt.json"));
    let accepted = clinic.accepted_facts();
    let different: std::collections::BTreeSet<_> = accepted.iter().map(|sent| sent["sha256"].to_string()).collect();
    assert_eq!(accepted.len(), different.len(), "something was sent twice");
    assert_eq!(clinic.record()["creates"].as_u64(), Some(accepted.len() as u64), "or tried again");
}
