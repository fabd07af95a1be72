//! Random worlds: staff drop, rename, move, replace and delete; the server answers with every fault of its plan; the
//! daemon is killed, stopped, frozen, started twice and given a wrong clock. When all is over, three things are held
//! against each other: what the sandbox accepted, what lies on disk, and what the ledger says (`oracle.rs` says what is
//! asked, and what staff make ambiguous themselves).
//!
//! `WORLD_SEED=7 cargo test --test worlds` lives through one world again, so far as the scheduler repeats itself: the plan
//! is the same, and every one's choices are. `tests/soak` makes one long world.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod books;
mod clock;
mod oracle;
mod plan;
mod staff;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::{
    fs,
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::scope,
};

use clock::Clock;
use plan::Plan;
use support::{Clinic, Daemon, chartdrop, pdf};

/// New worlds that every run makes.
const NEW: usize = 8;
/// Worlds at once: they mostly wait.
const AT_ONCE: usize = 3;
/// Worlds that found something once: a release that was held again at once, and a clock that was set back.
const REMEMBERED: [u64; 3] = [2, 5, 3706248533];

#[test]
fn nothing_is_lost_or_sent_twice_or_for_another_patient_in_random_worlds() {
    let given = std::env::var("WORLD_SEED").ok().map(|seed| seed.parse().expect("WORLD_SEED is a number"));
    let new = || uuid::Uuid::new_v4().as_u64_pair().0 >> 32;
    let seeds: Vec<u64> = match given {
        Some(seed) => vec![seed],
        None => REMEMBERED.into_iter().chain((0..NEW).map(|_| new())).collect(),
    };
    println!("seeds: {seeds:?}");
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    scope(|threads| {
        for _ in 0..AT_ONCE.min(seeds.len()) {
            threads.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let plan = Plan::short(*seed);
                    match world::live(&plan) {
                        Ok(figures) => println!("{plan}\n    {figures:?}"),
                        Err(what) => failed.lock().unwrap().push(what),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "again with WORLD_SEED=<seed> cargo test --test worlds\n\n{}", failed.join("\n\n"));
}

#[test]
fn a_clock_that_is_set_back_by_hours_keeps_no_document_waiting() {
    for is_killed in [false, true] {
        let clinic = Clinic::new(&[]);
        let clock = Clock::new(clinic.path("clock"));
        let start = || start_by(&clock, &clinic);
        let tries = || fs::read_to_string(clinic.path("daemon.log")).unwrap().matches("will be tried again").count();
        clinic.fault("binary:always:status=503");
        clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
        let mut daemon = start();
        clinic.wait_for("a try", || tries() > 0);
        clock.set(7200);
        let before = tries();
        clinic.wait_for("two tries by the wrong clock", || tries() > before + 1);
        if is_killed {
            daemon.kill();
            clock.set(0);
            daemon = start();
        }
        clock.set(0);
        clinic.clear_faults();
        clinic.wait_for_file("done/bixby/a.pdf.receipt.json");
        drop(daemon);
    }
}

/// A daemon that goes by this clock; its log goes to `daemon.log`.
fn start_by(clock: &Clock, clinic: &Clinic) -> Daemon {
    let mut command = chartdrop();
    clock.lend(&mut command);
    let log = fs::File::options().create(true).append(true).open(clinic.path("daemon.log")).unwrap();
    command.arg("run").arg("--config").arg(clinic.config()).stderr(log).stdout(Stdio::null());
    Daemon::of(command.spawn().unwrap())
}

#[test]
fn a_clock_that_is_set_back_before_filing_is_no_loss_of_the_ledger() {
    let clinic = Clinic::new(&[]);
    let clock = Clock::new(clinic.path("clock"));
    let daemon = start_by(&clock, &clinic);
    clinic.drop_file("inbox/bixby/first.pdf", pdf("first"));
    clinic.wait_for_file("done/bixby/first.pdf.receipt.json");
    clock.set(7200);
    clinic.drop_file("inbox/other/patient.toml", support::PATIENT);
    // A file where done was.
    fs::rename(clinic.path("done"), clinic.path("done-before")).unwrap();
    clinic.drop_file("done", "in the way");
    clinic.drop_file("inbox/other/a.pdf", pdf("a"));
    clinic.wait_for("it is accepted and cannot be filed", || clinic.accepted().len() == 2);
    clock.set(0);
    clinic.unblock_done();
    clinic.wait_for_file("done/other/a.pdf.receipt.json");
    daemon.kill();
    let _daemon = start_by(&clock, &clinic);
    clinic.drop_file("inbox/bixby/last.pdf", pdf("last"));
    clinic.wait_for_file("done/bixby/last.pdf.receipt.json");
    let log = fs::read_to_string(clinic.path("daemon.log")).unwrap();
    assert!(!log.contains("built again") && !log.contains("does not know"), "{log}");
}

#[test]
fn a_reason_from_a_clock_that_was_ahead_does_not_undo_an_acceptance() {
    let clinic = Clinic::new(&[]);
    let clock = Clock::new(clinic.path("clock"));
    let daemon = start_by(&clock, &clinic);
    clinic.drop_file("inbox/bixby/first.pdf", pdf("first"));
    clinic.wait_for_file("done/bixby/first.pdf.receipt.json");
    clock.set(7200);
    clinic.fault("create:nth=1:status=400");
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.wait_for_file("failed/bixby/a.pdf.reason.txt");
    clock.set(0);
    // Its note stays behind, as when staff move the document alone.
    fs::rename(clinic.path("failed/bixby/a.pdf"), clinic.path("inbox/bixby/a.pdf")).unwrap();
    clinic.wait_for_file("done/bixby/a.pdf.receipt.json");
    daemon.kill();
    let daemon = start_by(&clock, &clinic);
    clinic.drop_file("inbox/bixby/a again.pdf", pdf("a"));
    clinic.wait_for_file("done/bixby/a again.pdf.receipt.json");
    drop(daemon);
    assert_eq!(clinic.accepted().len(), 2, "the ledger still knows that it was accepted");
}

#[test]
fn soak() {
    let number = |name: &str, usual: u64| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number")),
        Err(_) => usual,
    };
    let (files, kills) = (number("SOAK_FILES", 150), number("SOAK_KILLS", 5));
    let seed = number("WORLD_SEED", uuid::Uuid::new_v4().as_u64_pair().0 >> 32);
    let plan = Plan::long(seed, usize::try_from(files).unwrap(), usize::try_from(kills).unwrap());
    println!("{plan}");
    let figures = world::live(&plan).unwrap_or_else(|what| panic!("{what}"));
    println!(
        "files {}, kills {}, restarts {}, accepted {}, in done {}, in failed {}, duplicates declared {}, \
         decisions of a person {}, lost 0, wrong patient 0, truncated 0, duplicates not declared 0, seconds {:.0}",
        figures.files,
        figures.kills,
        figures.restarts,
        figures.accepted,
        figures.in_done,
        figures.in_failed,
        figures.declared,
        figures.operator,
        figures.seconds
    );
    assert_eq!(figures.kills, plan.kills, "it was not killed as often as planned");
}
