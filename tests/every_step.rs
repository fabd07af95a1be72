//! Every effect of a delivery is hit by a fault, one after the other until none is left: it fails once, it fails for good,
//! it is done and reported as failed, the process is killed before it and after it. Then the program is started again
//! without faults, and the document must be where it belongs: not lost, not sent twice without saying so, not another's.
//!
//! A run without faults tells which effects there are (`src/platform/effect.rs`): a new one is hit without anybody thinking of it,
//! and none that it tells of may be left out. SQLite is tested this way (<https://sqlite.org/testing.html>, anomaly
//! testing). With `EVERY_STEP=all` every way is gone with every fault; it takes half an hour.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};
use support::{Clinic, PATIENT, chartdrop, oracle::Dropped, pdf, wait_for};

/// A run mostly waits.
const WORKERS: usize = 3;

const FAULTS: [&str; 5] = ["fail-once", "fail-always", "done-and-fail", "kill-before", "kill-after"];

const SIDECAR: &str = "title = \"Referral letter\"\n[patient]\nidentifier = \"0000000001\"\n";

/// How often a line is tried that was not reached when it was to be hit.
const TRIES: usize = 20;

/// What is delivered, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Uploaded,
    Embedded,
    /// Of a kind that is not sent.
    Refused,
    /// Accepted before, under another name.
    Duplicate,
    /// Uploaded, by an older kernel and on a filesystem that knows no `RENAME_NOREPLACE`.
    OldKernel,
}

#[test]
fn every_step_of_an_upload() {
    every_step(Kind::Uploaded, true);
}

#[test]
fn every_step_of_an_upload_by_the_service() {
    every_step(Kind::Uploaded, false);
}

#[test]
fn every_step_of_an_embedded_document() {
    every_step(Kind::Embedded, true);
}

#[test]
fn every_step_of_an_embedded_document_by_the_service() {
    every_step(Kind::Embedded, false);
}

#[test]
fn every_step_of_a_refusal() {
    every_step(Kind::Refused, true);
}

#[test]
fn every_step_of_a_refusal_by_the_service() {
    every_step(Kind::Refused, false);
}

#[test]
fn every_step_of_a_duplicate() {
    every_step(Kind::Duplicate, true);
}

#[test]
fn every_step_of_an_upload_without_openat2_and_noreplace() {
    every_step(Kind::OldKernel, true);
}

#[test]
fn every_step_of_an_upload_without_openat2_and_noreplace_by_the_service() {
    every_step(Kind::OldKernel, false);
}

/// One effect: the line that asks for it, and which time it is that this line is reached, from 1.
struct Step {
    line: String,
    time: u32,
}

fn every_step(kind: Kind, once: bool) {
    let (began, all) = (Instant::now(), std::env::var_os("EVERY_STEP").is_some_and(|which| which == "all"));
    let steps = steps(kind, once);
    // In the gate every step of every way is hit by one fault, each way beginning with another.
    let faults_of = |number: usize| match all {
        true => FAULTS.to_vec(),
        false => vec![FAULTS[(number + 2 * kind as usize + usize::from(once)) % FAULTS.len()]],
    };
    let (next, runs, hit) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(BTreeMap::<&str, u32>::new()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(step) = steps.get(number) else { break };
                    let faults = faults_of(number);
                    let hits = hit_one(kind, once, step, &faults);
                    runs.fetch_add(faults.len(), Ordering::Relaxed);
                    *hit.lock().unwrap().entry(&step.line).or_default() += hits;
                }
            });
        }
    });
    let mut hit = hit.into_inner().unwrap();
    // What only one of two undisturbed runs reaches is a matter of chance; what both reach is tried until it is hit.
    let again = self::steps(kind, once);
    for (line, hits) in
        hit.iter_mut().filter(|(line, hits)| **hits == 0 && again.iter().any(|step| step.line == **line))
    {
        let step = Step { line: (*line).to_owned(), time: 1 };
        *hits = (0..TRIES).map(|try_| hit_one(kind, once, &step, &faults_of(try_))).find(|hits| *hits > 0).unwrap_or(0);
        assert!(*hits > 0, "never hit: {line}");
    }
    println!("{} steps, {runs:?} runs, {} s; hits by line:", steps.len(), began.elapsed().as_secs());
    for (line, hits) in &hit {
        println!("{hits:5}  {line}");
    }
    let is_sent = matches!(kind, Kind::Uploaded | Kind::Embedded | Kind::OldKernel);
    for (room, is_walked) in [("inbox/", true), ("ledger/", true), ("filing/", true), ("redox/client.rs", is_sent)] {
        let hits = hit.keys().filter(|line| line.starts_with(&format!("src/{room}"))).count();
        assert_eq!(hits > 0, is_walked, "{hits} lines were hit in {room}");
    }
}

/// The steps of a delivery to which nothing happens.
fn steps(kind: Kind, once: bool) -> Vec<Step> {
    let clinic = clinic(kind);
    let dropped = drop_document(&clinic, kind, "no fault");
    let log = run_with_fault(&clinic, kind, None, once, &dropped.name);
    assert!(has_note(&clinic, &dropped.name), "without a fault it is not delivered\n{}", daemon_log(&clinic));
    let step = |line: &str| {
        let (line, time) = line.split_once(' ').unwrap();
        Step { line: line.into(), time: time.parse().unwrap() }
    };
    log.lines().map(step).collect()
}

/// Hits one step with each of the faults, and says how often it was there to be hit: a folder is not looked at equally
/// often in every run.
fn hit_one(kind: Kind, once: bool, step: &Step, faults: &[&str]) -> u32 {
    let clinic = clinic(kind);
    let mut hits = 0;
    for fault in faults {
        let what = format!("{} {} {fault}", step.line, step.time);
        let dropped = drop_document(&clinic, kind, fault);
        let log = run_with_fault(&clinic, kind, Some(&what), once, &dropped.name);
        let is_hit = log.lines().any(|line| line.starts_with("hit "));
        if !is_hit {
            assert!(has_note(&clinic, &dropped.name), "{what}: not hit, and not delivered\n{}", daemon_log(&clinic));
        }
        finish(&clinic, kind)
            .and_then(|()| dropped.is_at_rest(&clinic, &clinic.accepted_facts()))
            .unwrap_or_else(|finding| panic!("{what} (hit: {is_hit}): {finding}\n{}", daemon_log(&clinic)));
        hits += u32::from(is_hit);
    }
    hits
}

/// Puts a document into the inbox that bears the fault's name.
fn drop_document(clinic: &Clinic, kind: Kind, fault: &str) -> Dropped {
    let name = format!("{fault}.{}", if kind == Kind::Refused { "exe" } else { "pdf" });
    let dropped = Dropped {
        folder: "bixby".into(),
        name: name.clone(),
        bytes: pdf(fault),
        patient: "0000000001".into(),
        refused: kind == Kind::Refused,
        twin: kind == Kind::Duplicate,
    };
    if kind == Kind::Duplicate {
        clinic.drop_file(format!("inbox/bixby/first-{name}.toml"), SIDECAR);
        clinic.drop_file(format!("inbox/bixby/first-{name}"), &dropped.bytes);
        assert_eq!(clinic.run_once(), 0);
    }
    clinic.drop_file(format!("inbox/bixby/{name}.toml"), SIDECAR);
    clinic.drop_file(format!("inbox/bixby/{name}"), &dropped.bytes);
    dropped
}

fn clinic(kind: Kind) -> Clinic {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox = "settle = \"20ms\"\nincomplete_after = \"1s\"\n".into();
    clinic.delivery = "retry_first = \"10ms\"\nretry_max = \"50ms\"\n".into();
    if kind == Kind::Embedded {
        clinic.delivery.push_str("method = \"embed\"\n");
    }
    clinic
}

/// Runs until the fault has done its work, or until the document is filed without it. Gives back the log of the effects.
fn run_with_fault(clinic: &Clinic, kind: Kind, fault: Option<&str>, once: bool, name: &str) -> String {
    let log = clinic.path("steps.log");
    fs::remove_file(&log).ok();
    let output = fs::File::options().create(true).append(true).open(clinic.path("daemon.log")).unwrap();
    let mut command = chartdrop();
    command.env("CHARTDROP_FAULT", fault.unwrap_or_default()).env("CHARTDROP_FAULT_LOG", &log);
    if kind == Kind::OldKernel {
        command.env("CHARTDROP_WITHOUT", "openat2 noreplace");
    }
    command.arg("run").arg("--config").arg(clinic.config()).stdout(Stdio::null()).stderr(output);
    if once {
        command.args(["--once", "--for", "30s"]);
    }
    let mut child = command.spawn().unwrap();
    let read = || fs::read_to_string(&log).unwrap_or_default();
    wait_for(
        "the fault, or the end of the delivery",
        || {
            let is_filed = !clinic.has(format!("inbox/bixby/{name}")) && has_note(clinic, name);
            let hits = || read().lines().filter(|line| line.starts_with("hit ")).count();
            // With --once it ends by itself when all is filed, and what it does until then is hit as well.
            has_ended(&mut child) || (!once && is_filed) || hits() > 2
        },
        || format!("{fault:?}"),
    );
    kill_process(Pid::from_child(&child), Signal::TERM).ok();
    wait_for("the end of the program", || has_ended(&mut child), || format!("{fault:?}"));
    read()
}

fn has_note(clinic: &Clinic, name: &str) -> bool {
    clinic.has(format!("done/bixby/{name}.receipt.json")) || clinic.has(format!("failed/bixby/{name}.reason.txt"))
}

fn has_ended(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_some()
}

/// Starts the program again, without faults, until the inbox is empty. Such a run ends in good order: it says that it has
/// nothing left to do, and neither it nor its log speaks of anything that went wrong with the program itself.
fn finish(clinic: &Clinic, kind: Kind) -> Result<(), String> {
    // Once more, since a sidecar may have come to rest only then.
    for number in 1..=2 {
        let output = clinic.command(&["run", "--once", "--for", "30s"]);
        let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        for words in ["panicked", "cannot go on", "ended unexpectedly", "closing the ledger failed", "lost its rows"] {
            if log.contains(words) || said.contains(words) {
                return Err(format!("recovery run {number} says {words:?}\n{said}\n{log}"));
            }
        }
        let is_empty = clinic.files("inbox") == ["bixby/patient.toml"];
        let left = said.contains("0 still in the inbox");
        // What is refused in this very run makes it end with 1, and so does what is left.
        let expected: &[i32] = match (is_empty, kind) {
            (true, Kind::Refused) => &[0, 1],
            (true, Kind::Uploaded | Kind::Embedded | Kind::Duplicate | Kind::OldKernel) => &[0],
            (false, _) => &[1],
        };
        let code = output.status.code();
        if !code.is_some_and(|code| expected.contains(&code)) || left != is_empty {
            return Err(format!("recovery run {number} ended with {code:?}, inbox empty: {is_empty}\n{said}\n{log}"));
        }
        if is_empty {
            return Ok(());
        }
    }
    Err(format!("{:?} stays in the inbox", clinic.files("inbox")))
}

fn daemon_log(clinic: &Clinic) -> String {
    let log = fs::read_to_string(clinic.path("daemon.log")).unwrap_or_default();
    assert!(PATIENT.contains("Bixby") && !log.contains("Bixby"), "the log names the patient");
    log
}
