//! Beyond one filesystem's habits: a run is recorded with strace, and of what it had not synced at any of its points, every
//! part may be missing, torn or there alone. The program is started on what is left, and the sandbox is asked.
//!
//! There are some 6,000 states; the gate tries as many as its time allows, in an order of chance (`UNSYNCED_SEED`). With
//! `UNSYNCED=3600` it spends that many seconds, which is enough for all.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    collections::HashSet,
    fs,
    os::unix::process::ExitStatusExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{
    Clinic, chartdrop,
    dice::Dice,
    oracle::{Dropped, Lies},
    pdf,
    unsynced::{CALLS, Cut, Recording, Tree},
};

/// Each with a sandbox and recordings of its own.
const WORKERS: usize = 4;

/// What the gate spends on it at least.
const GATE: Duration = Duration::from_secs(40);

/// So many states are tried however long it takes, unless `UNSYNCED_STATES` says otherwise.
const ENOUGH: usize = 600;

fn enough() -> usize {
    std::env::var("UNSYNCED_STATES").map_or(ENOUGH, |states| states.parse().unwrap())
}

/// How often a run is killed until it was in the middle of a delivery and the recording is whole.
const TRIES: usize = 20;

/// States by chance at each point of a run.
const CHANCES: usize = 6;

const SIDECAR: &str = "title = \"Referral letter\"\n[patient]\nidentifier = \"0000000001\"\n";

/// What the tries came to.
#[derive(Default)]
struct Tally {
    states: AtomicUsize,
    tried: AtomicUsize,
    rebuilt: AtomicUsize,
    sent_again: AtomicUsize,
}

#[test]
fn whatever_a_power_cut_leaves_of_what_was_not_synced() {
    let spend = std::env::var("UNSYNCED").map_or(GATE, |seconds| Duration::from_secs(seconds.parse().unwrap()));
    let mut dice = Dice::of_environment("UNSYNCED_SEED");
    let seeds: Vec<u64> = (0..WORKERS).map(|_| dice.below(u64::MAX)).collect();
    let (tally, began) = (Tally::default(), Instant::now());
    thread::scope(|scope| {
        for (worker, seed) in seeds.into_iter().enumerate() {
            let tally = &tally;
            scope.spawn(move || explore(worker, Dice::new(seed), spend, tally));
        }
    });
    let [states, tried, rebuilt, sent_again] =
        [&tally.states, &tally.tried, &tally.rebuilt, &tally.sent_again].map(|count| count.load(Ordering::Relaxed));
    println!(
        "{} s: {tried} of {states} different states: the ledger was built again in {rebuilt}, something was sent again (and \
         says so) in {sent_again}",
        began.elapsed().as_secs()
    );
    assert!(tried >= enough(), "only {tried} states were tried");
}

/// One run and what belongs to it.
struct Recorded {
    recording: Recording,
    dropped: Vec<Dropped>,
    /// What the sandbox had accepted when it was over, and when.
    accepted: Vec<(f64, Value)>,
    /// It was killed when something had been sent, and not all was filed.
    killed_at_work: bool,
}

fn explore(worker: usize, mut dice: Dice, spend: Duration, tally: &Tally) {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox = "settle = \"20ms\"\nincomplete_after = \"1s\"\n".into();
    clinic.delivery = "retry_first = \"10ms\"\nretry_max = \"50ms\"\n".into();
    let outside = clinic.home.clone();
    clinic.home = outside.join("first");
    fs::create_dir_all(clinic.path("inbox/bixby")).unwrap();
    fs::write(clinic.path("inbox/bixby/patient.toml"), support::PATIENT).unwrap();
    for name in ["key.pem", "jwk.json"] {
        fs::copy(outside.join(name), clinic.path(name)).unwrap();
    }
    for folder in ["done", "failed"] {
        fs::create_dir(clinic.path(folder)).unwrap();
    }
    // The first run makes ledger and folders, the second finds them; the third goes on where another was killed, and what
    // that one had not synced is still open.
    let first = record(&clinic, &outside, &format!("{worker}-first"), &[], None);
    let second = record(&clinic, &outside, &format!("{worker}-second"), &first.dropped, None);
    let third = record_killed(&clinic, &outside, worker, &second.dropped, &mut dice);
    let mut seen = HashSet::new();
    let mut cuts = Vec::new();
    for recorded in [&first, &second, &third] {
        for point in 0..=recorded.recording.len() {
            for cut in recorded.recording.cuts(point, CHANCES, |limit| dice.below(limit)) {
                let (certain, possible) = recorded.accepted_before(&cut);
                let tree = recorded.recording.tree(&cut);
                if seen.insert((tree.fingerprint(), certain.len(), possible.len())) {
                    cuts.push((recorded, cut));
                }
            }
        }
    }
    tally.states.fetch_add(cuts.len(), Ordering::Relaxed);
    let began = Instant::now();
    while !cuts.is_empty() && (began.elapsed() < spend || tally.tried.load(Ordering::Relaxed) < enough()) {
        let (recorded, cut) = cuts.swap_remove(usize::try_from(dice.below(cuts.len() as u64)).unwrap());
        clinic.home = outside.join("state");
        fs::create_dir(&clinic.home).unwrap();
        recorded.recording.tree(&cut).write(&clinic.home);
        // A key that others can read is refused.
        fs::copy(outside.join("key.pem"), clinic.path("key.pem")).unwrap();
        let mut log = String::new();
        let finding = live_on(&clinic, recorded, &cut, &mut log, tally);
        finding.unwrap_or_else(|finding| {
            let (lost, run) = (recorded.recording.lost(&cut), recorded.recording.words());
            panic!("{finding}\ncut at {}, lost:\n{lost}\nThe run:\n{run}\n{log}", cut.point)
        });
        tally.tried.fetch_add(1, Ordering::Relaxed);
        fs::remove_dir_all(&clinic.home).unwrap();
    }
}

/// A run that was killed in the middle of its deliveries, and how the next one goes on.
fn record_killed(clinic: &Clinic, outside: &Path, worker: usize, earlier: &[Dropped], dice: &mut Dice) -> Recorded {
    for number in 0..TRIES {
        // The thread that has the ledger syncs some thirteen times to open it, which leaves nothing of a delivery open, and
        // then some ten times for these documents.
        let kill = 13 + dice.below(9);
        let record = || record(clinic, outside, &format!("{worker}-third-{number}"), earlier, Some(kill));
        // A call that the kill cut off may be done and not traced; then the recording does not add up.
        match catch_unwind(AssertUnwindSafe(record)) {
            Ok(recorded) if recorded.killed_at_work => return recorded,
            _ => println!("killed at sync {kill}: not in a delivery, or not recorded; once more"),
        }
    }
    panic!("{TRIES} runs, and none could be recorded that was killed in the middle of a delivery");
}

/// Drops five documents, and records how `run --once` delivers them; with `kill`, how it is killed when one of its threads
/// is about to sync for that time, and how the next `run --once` goes on.
fn record(clinic: &Clinic, outside: &Path, run: &str, earlier: &[Dropped], kill: Option<u64>) -> Recorded {
    let document = |name: &str, ending: &str, words: &str| Dropped {
        folder: "bixby".into(),
        name: format!("{run}-{name}.{ending}"),
        bytes: pdf(&format!("{run} {words}")),
        patient: "0000000001".into(),
        refused: ending == "exe",
        twin: words == "twin",
    };
    let dropped = [
        document("sent", "pdf", "sent"),
        document("also", "pdf", "also"),
        document("one", "pdf", "twin"),
        document("other", "pdf", "twin"),
        document("refused", "exe", "refused"),
    ];
    for dropped in &dropped {
        clinic.drop_file(format!("{}.toml", dropped.path("inbox")), SIDECAR);
        clinic.drop_file(dropped.path("inbox"), &dropped.bytes);
    }
    let config = clinic.config();
    // One of the answers is lost.
    clinic.fault("create:nth=2:cut=after");
    let before = Tree::read(&clinic.home);
    let traces = ["trace-1", "trace-2"].map(|name| outside.join(name));
    let traced = |trace: &Path, kill: Option<u64>| {
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-ttt", "-T", "-xx", "-s", "1000000", "-e"]).arg(format!("trace={CALLS}"));
        command.args(kill.map(|when| format!("--inject=fsync:signal=KILL:when={when}"))).arg("-o").arg(trace);
        command.arg(chartdrop().get_program()).args(["run", "--once", "--for", "30s", "--config"]).arg(&config);
        let output = command.stdin(Stdio::null()).output();
        output.unwrap_or_else(|error| panic!("strace is needed: {error}"))
    };
    let requests = || clinic.record()["requests"].as_u64().unwrap();
    let (requests_before, mut killed_at_work) = (requests(), false);
    let output = match kill {
        Some(_) => {
            let killed = traced(&traces[0], kill).status.signal() == Some(9);
            let waits = dropped.iter().any(|dropped| dropped.lies(clinic) == Ok(Lies::Inbox));
            killed_at_work = killed && waits && requests() > requests_before;
            traced(&traces[1], None)
        }
        None => {
            fs::write(&traces[1], "").unwrap();
            traced(&traces[0], None)
        }
    };
    clinic.clear_faults();
    let recording = Recording::read(&traces, &clinic.home, before);
    let (recorded, lies) = (recording.after().fingerprint(), Tree::read(&clinic.home).fingerprint());
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(recorded, lies, "the recording missed something\n{}\n{log}", recording.words());
    let accepted = clinic.accepted_facts().into_iter().map(|message| {
        let at: jiff::Timestamp = message["at"].as_str().unwrap().parse().unwrap();
        (at.as_nanosecond() as f64 / 1e9, message)
    });
    Recorded { recording, dropped: [earlier, &dropped].concat(), accepted: accepted.collect(), killed_at_work }
}

impl Recorded {
    /// What had been accepted before the cut for certain, and what may have been.
    fn accepted_before(&self, cut: &Cut) -> (Vec<Value>, Vec<Value>) {
        let (before, after) = self.recording.moments(cut);
        let until = |end: f64| {
            let accepted = self.accepted.iter().filter(|(at, _)| *at <= end);
            accepted.map(|(_, message)| message.clone()).collect()
        };
        (until(before), until(after))
    }
}

/// A state is written into new files, with other inode numbers than the row recorded. A sidecar whose document had been moved
/// when the power failed is then not known for certain, and stays in the inbox: safe, and not what a real disk does
/// (`power_cut.rs` has one). It is put beside its document as a person would.
fn put_beside(clinic: &Clinic, dropped: &Dropped) {
    let (left, document) = (format!("{}.toml", dropped.path("inbox")), !dropped.refused);
    let folder = if document { "done" } else { "failed" };
    let beside = format!("{}.toml", dropped.path(folder));
    let is_alone = !clinic.has(dropped.path("inbox")) && clinic.has(dropped.path(folder)) && !clinic.has(&beside);
    if is_alone && fs::read(clinic.path(&left)).is_ok_and(|bytes| bytes == SIDECAR.as_bytes()) {
        fs::rename(clinic.path(left), clinic.path(beside)).unwrap();
    }
}

/// Starts the program on what a cut left, lets it end its work, and judges.
fn live_on(clinic: &Clinic, recorded: &Recorded, cut: &Cut, log: &mut String, tally: &Tally) -> Result<(), String> {
    let earlier = clinic.accepted_facts().len();
    // Once more, since a sidecar may have come to rest only then.
    for _ in 0..2 {
        let output = clinic.command(&["run", "--once", "--for", "20s"]);
        log.push_str(&String::from_utf8_lossy(&output.stderr));
        if clinic.files("inbox") == ["bixby/patient.toml"] {
            break;
        }
    }
    recorded.dropped.iter().for_each(|dropped| put_beside(clinic, dropped));
    let later = clinic.accepted_facts().split_off(earlier);
    let (certain, possible) = recorded.accepted_before(cut);
    let with = |before: &[Value]| [before, &later].concat();
    for dropped in &recorded.dropped {
        dropped.is_at_rest(clinic, &with(&certain))?;
        dropped.is_at_rest(clinic, &with(&possible))?;
    }
    let is_rebuilt = log.contains("lost its rows");
    tally.rebuilt.fetch_add(usize::from(is_rebuilt), Ordering::Relaxed);
    for dropped in recorded.dropped.iter().filter(|dropped| !dropped.among(&later).is_empty()) {
        // It is filed only after the ledger has durably said that it was accepted.
        if recorded.recording.has_arrived(cut.point, &dropped.name, "done") && !is_rebuilt {
            return Err(format!("{} had been accepted and filed, and was sent again", dropped.name));
        }
        let again = !dropped.among(&certain).is_empty();
        tally.sent_again.fetch_add(usize::from(again), Ordering::Relaxed);
    }
    Ok(())
}
