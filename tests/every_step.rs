//! Every effect of a delivery is hit by a fault, one after the other until none is left: it fails once, it fails for good,
//! it is done and reported as failed, the process is killed before it and after it. Then the program is started again
//! without faults, and the document must be where it belongs: not lost, not sent twice without saying so, not another's.
//!
//! The effects are numbered by the program itself (`src/effect.rs`), so that a new step is hit without anybody thinking
//! of it. SQLite is tested this way (<https://sqlite.org/testing.html>, anomaly testing). With `EVERY_STEP=all` every way is
//! gone with every fault; it takes half an hour.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
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

/// What is delivered, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Uploaded,
    Embedded,
    /// Of a kind that is not sent.
    Refused,
    /// Accepted before, under another name.
    Duplicate,
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

fn every_step(kind: Kind, once: bool) {
    let (began, all) = (Instant::now(), std::env::var_os("EVERY_STEP").is_some_and(|which| which == "all"));
    // In the gate every step of every way is hit by one fault, each way beginning with another.
    let faults_of = |number: usize| match all {
        true => FAULTS.to_vec(),
        false => vec![FAULTS[(number + 2 * kind as usize + usize::from(once)) % FAULTS.len()]],
    };
    let (next, none_left) = (AtomicUsize::new(1), AtomicBool::new(false));
    let (runs, hits) = (AtomicUsize::new(0), Mutex::new(BTreeMap::<String, u32>::new()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while !none_left.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    assert!(number < 2000, "the steps of one delivery do not come to an end");
                    let faults = faults_of(number);
                    let found = one_step(kind, once, number, &faults);
                    if found.is_empty() {
                        none_left.store(true, Ordering::Relaxed);
                    }
                    runs.fetch_add(faults.len(), Ordering::Relaxed);
                    let mut hits = hits.lock().unwrap();
                    found.into_iter().for_each(|place| *hits.entry(place).or_default() += 1);
                }
            });
        }
    });
    let hits = hits.into_inner().unwrap();
    println!("{} steps, {runs:?} runs, {} s; hits by line:", next.into_inner() - 1, began.elapsed().as_secs());
    for (place, hits) in &hits {
        println!("{hits:5}  {place}");
    }
    for room in ["src/inbox/", "src/ledger/", "src/filing/"] {
        assert!(hits.keys().any(|place| place.starts_with(room)), "no step was hit in {room}");
    }
    let is_sent = matches!(kind, Kind::Uploaded | Kind::Embedded);
    assert_eq!(hits.keys().any(|place| place.starts_with("src/redox/client.rs")), is_sent);
}

/// Hits one step with each of the faults. Gives back the lines that were hit: none when there is no such step.
fn one_step(kind: Kind, once: bool, number: usize, faults: &[&str]) -> Vec<String> {
    let clinic = clinic(kind);
    let mut found = Vec::new();
    for fault in faults {
        let name = document(kind, fault);
        let dropped = Dropped {
            folder: "bixby".into(),
            name: name.clone(),
            bytes: pdf(&format!("{number} {fault}")),
            patient: "0000000001".into(),
            refused: kind == Kind::Refused,
            twin: kind == Kind::Duplicate,
        };
        if kind == Kind::Duplicate {
            clinic.drop_file(format!("inbox/bixby/first-{fault}.pdf.toml"), SIDECAR);
            clinic.drop_file(format!("inbox/bixby/first-{fault}.pdf"), &dropped.bytes);
            assert_eq!(clinic.run_once(), 0);
        }
        clinic.drop_file(format!("inbox/bixby/{name}.toml"), SIDECAR);
        clinic.drop_file(format!("inbox/bixby/{name}"), &dropped.bytes);
        let place = run_with_fault(&clinic, number, fault, once, &name);
        if place.is_none() {
            assert!(has_note(&clinic, &name), "{fault} at step {number}: not hit, and not delivered\n{}", log(&clinic));
        }
        finish(&clinic)
            .and_then(|()| dropped.is_at_rest(&clinic, &clinic.accepted_facts()))
            .unwrap_or_else(|finding| panic!("{fault} at step {number} ({place:?}): {finding}\n{}", log(&clinic)));
        found.extend(place);
    }
    found
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

fn document(kind: Kind, fault: &str) -> String {
    let ending = if kind == Kind::Refused { "exe" } else { "pdf" };
    format!("{fault}.{ending}")
}

/// Runs until the fault has done its work, or until the document is filed without it. Gives back what was hit.
fn run_with_fault(clinic: &Clinic, number: usize, fault: &str, once: bool, name: &str) -> Option<String> {
    let log = clinic.path("steps.log");
    fs::remove_file(&log).ok();
    let output = fs::File::options().create(true).append(true).open(clinic.path("daemon.log")).unwrap();
    let mut command = chartdrop();
    command.env("CHARTDROP_FAULT", format!("{number} {fault}")).env("CHARTDROP_FAULT_LOG", &log);
    command.arg("run").arg("--config").arg(clinic.config()).stdout(Stdio::null()).stderr(output);
    if once {
        command.args(["--once", "--for", "1s"]);
    }
    let mut child = command.spawn().unwrap();
    let hits = || fs::read_to_string(&log).unwrap_or_default().lines().filter(|line| line.starts_with("hit ")).count();
    wait_for(
        "the fault, or the end of the delivery",
        || {
            let is_filed = !clinic.has(format!("inbox/bixby/{name}")) && has_note(clinic, name);
            has_ended(&mut child) || (!once && (hits() > 2 || is_filed))
        },
        || format!("{fault} at step {number}"),
    );
    kill_process(Pid::from_child(&child), Signal::TERM).ok();
    wait_for("the end of the program", || has_ended(&mut child), || format!("{fault} at step {number}"));
    let steps = fs::read_to_string(&log).unwrap_or_default();
    let hit = steps.lines().find_map(|line| line.strip_prefix("hit "))?;
    Some(hit.split_once(' ').unwrap().1.to_owned())
}

fn has_note(clinic: &Clinic, name: &str) -> bool {
    clinic.has(format!("done/bixby/{name}.receipt.json")) || clinic.has(format!("failed/bixby/{name}.reason.txt"))
}

fn has_ended(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_some()
}

/// Starts the program again, without faults, until the inbox is empty.
fn finish(clinic: &Clinic) -> Result<(), String> {
    // Once more, since a sidecar may have come to rest only then.
    for _ in 0..2 {
        clinic.command(&["run", "--once", "--for", "30s"]);
        if clinic.files("inbox") == ["bixby/patient.toml"] {
            return Ok(());
        }
    }
    Err(format!("{:?} stays in the inbox", clinic.files("inbox")))
}

fn log(clinic: &Clinic) -> String {
    let log = fs::read_to_string(clinic.path("daemon.log")).unwrap_or_default();
    assert!(PATIENT.contains("Bixby") && !log.contains("Bixby"), "the log names the patient");
    log
}
