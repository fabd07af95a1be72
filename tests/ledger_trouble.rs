//! The ledger's disk is full, read-only, slow or broken; the ledger is damaged, old, another's, or gone. Then nothing more is
//! sent, or the ledger is built again from receipts and reasons; and once the trouble is over everything has arrived, and
//! nothing twice without saying so.
//!
//! `LEDGER_DAMAGE=all` damages it at many more places; it takes some minutes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "support/disk.rs"]
mod disk;
mod support;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Output,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use disk::{Mounts, copy_folder, ledger_in_state, remove, service, tampered, words};
use serde_json::Value;
use support::{Clinic, chartdrop, once_until, pdf};

const ONCE: [&str; 4] = ["run", "--once", "--for", "20s"];

fn quick(mut clinic: Clinic) -> Clinic {
    clinic.inbox = "settle = \"20ms\"\nincomplete_after = \"1s\"\n".into();
    clinic.delivery = "retry_first = \"10ms\"\nretry_max = \"50ms\"\n".into();
    clinic
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How often each content was accepted.
fn counts(clinic: &Clinic) -> BTreeMap<String, u64> {
    let record: Value = serde_json::from_str(&clinic.http("GET", "/sandbox/record", "")).unwrap();
    let mut counts = BTreeMap::new();
    for sent in record["accepted"].as_array().unwrap() {
        *counts.entry(sent["sha256"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

fn times(clinic: &Clinic, bytes: &[u8]) -> u64 {
    counts(clinic).get(&sha256(bytes)).copied().unwrap_or(0)
}

/// The document was accepted, lies in done unchanged, and its receipt owns up to every time that it was accepted.
fn assert_arrived(clinic: &Clinic, name: &str, bytes: &[u8]) {
    assert!(!clinic.has(format!("inbox/bixby/{name}")), "{name} is still in the inbox");
    assert_eq!(fs::read(clinic.path(format!("done/bixby/{name}"))).unwrap(), bytes, "{name}");
    let receipt = clinic.receipt(&format!("done/bixby/{name}.receipt.json"));
    assert_eq!(receipt["status"], "accepted", "{name}: {receipt}");
    let times = times(clinic, bytes);
    assert!(times >= 1, "{name} has a receipt, and was not accepted");
    let said = receipt["sends"].as_u64().unwrap().min(1 + receipt["uncertain"].as_u64().unwrap());
    assert!(times <= said, "{name} was accepted {times} times, and its receipt says {}", receipt["note"]);
}

/// It stopped, and said so for whoever has to mend it.
fn assert_stopped(output: &Output, code: i32, parts: &[&str]) {
    let said = words(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in ["ledger", "othing is lost"].iter().chain(parts) {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

#[test]
fn disk_full_forgets_nothing() {
    let clinic = quick(Clinic::new(&[]));
    let state = clinic.path("state");
    let mounts = Mounts::tmpfs("640k", &[&state]);
    let config = ledger_in_state(&clinic);
    let documents: Vec<_> = (0..160).map(|i| (format!("{i}.pdf"), pdf(&format!("full {i}")))).collect();
    for (name, bytes) in &documents {
        clinic.drop_file(format!("inbox/bixby/{name}"), bytes);
    }
    // The disk is full in the middle of the deliveries.
    assert_stopped(&mounts.chartdrop(&config, &["run"]), 1, &["No space left", "Make room"]);
    let before = counts(&clinic);
    assert!(before.len() > 10 && before.len() < documents.len(), "it was full after {} documents", before.len());
    let waiting = clinic.files("inbox").len();
    // It is full at the start.
    assert_stopped(&mounts.chartdrop(&config, &["run"]), 1, &["No space left", "Make room"]);
    assert_stopped(&mounts.chartdrop(&config, &ONCE), 2, &["No space left", "Make room"]);
    assert!(clinic.files("inbox").len() <= waiting && clinic.files("failed").is_empty());
    mounts.sh(&format!("mount -o remount,size=16m '{}'", state.display()));
    let output = mounts.chartdrop(&config, &ONCE);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    documents.iter().for_each(|(name, bytes)| assert_arrived(&clinic, name, bytes));
    assert!(
        counts(&clinic).values().sum::<u64>() <= documents.len() as u64 + 4,
        "only what was under way was sent twice"
    );
}

#[test]
fn a_ledger_without_room_for_a_step_takes_no_further_one() {
    let clinic = quick(Clinic::new(&[]));
    let state = clinic.path("state");
    let mounts = Mounts::tmpfs("4m", &[&state]);
    let (config, bytes) = (ledger_in_state(&clinic), pdf("no room"));
    clinic.drop_file("inbox/bixby/a.pdf", &bytes);
    for free in [0, 4, 8, 12, 16, 20, 24, 28, 32] {
        mounts.fill(&state, free << 10);
        assert_stopped(&mounts.chartdrop(&config, &["run"]), 1, &["No space left", "Make room"]);
        assert!(free > 4 || times(&clinic, &bytes) == 0, "{free} KB are not even enough for the first step");
        mounts.make_room(&state);
    }
    assert_eq!(mounts.chartdrop(&config, &ONCE).status.code(), Some(0));
    assert_arrived(&clinic, "a.pdf", &bytes);
}

#[test]
fn a_disk_that_became_read_only_sends_nothing() {
    let clinic = quick(Clinic::new(&[]));
    let state = clinic.path("state");
    let mounts = Mounts::tmpfs("4m", &[&state]);
    let config = ledger_in_state(&clinic);
    let (first, second) = (pdf("first"), pdf("second"));
    clinic.drop_file("inbox/bixby/first.pdf", &first);
    assert_eq!(mounts.chartdrop(&config, &ONCE).status.code(), Some(0));
    mounts.sh(&format!("mount -o remount,ro '{}'", state.display()));
    clinic.drop_file("inbox/bixby/second.pdf", &second);
    assert_stopped(&mounts.chartdrop(&config, &["run"]), 1, &["Read-only", "have the disk looked at"]);
    assert_eq!(times(&clinic, &second), 0);
    mounts.sh(&format!("mount -o remount,rw '{}'", state.display()));
    assert_eq!(mounts.chartdrop(&config, &ONCE).status.code(), Some(0));
    for (name, bytes) in [("first.pdf", &first), ("second.pdf", &second)] {
        assert_arrived(&clinic, name, bytes);
        assert_eq!(times(&clinic, bytes), 1);
    }
}

#[test]
fn a_failed_move_never_sends_again() {
    let mut clinic = quick(Clinic::new(&[]));
    clinic.delivery.push_str("concurrency = 1\n");
    let (done, failed) = (clinic.path("done"), clinic.path("failed"));
    let mounts = Mounts::tmpfs("1m", &[&done, &failed]);
    let config = clinic.config();
    let (good, bad) = (pdf(&"large ".repeat(3000)), pdf(&"refused ".repeat(3000)));
    clinic.fault("create:nth=2:status=400");
    clinic.drop_file("inbox/bixby/a.pdf", &good);
    for free in [0, 4, 8] {
        mounts.fill(&done, free << 10);
        mounts.fill(&failed, free << 10);
        if free == 4 {
            clinic.drop_file("inbox/bixby/b.pdf", &bad);
        }
        let creates = if free == 0 { 1 } else { 2 };
        let words = "it is tried again until it works, and nothing is sent again";
        let reached = OnceLock::new();
        // A second more is time for many further tries.
        let is_enough = |log: &str| {
            let is_reached = log.contains(words) && clinic.record()["creates"].as_u64() >= Some(creates);
            is_reached && reached.get_or_init(Instant::now).elapsed() > Duration::from_secs(1)
        };
        let program = mounts.command(chartdrop().get_program());
        let (code, log) = once_until(program, &config, is_enough);
        assert!(code == 1 && log.contains(words), "{code} {log}");
        assert_eq!(clinic.record()["creates"], creates);
        assert_eq!(fs::read(clinic.path("inbox/bixby/a.pdf")).unwrap(), good, "it stays where it was, whole");
        mounts.make_room(&done);
        mounts.make_room(&failed);
    }
    assert_eq!(mounts.chartdrop(&config, &ONCE).status.code(), Some(1), "one was refused");
    assert_eq!(clinic.record()["creates"], 2);
    let lies = |path: PathBuf| fs::read(mounts.inside(&path)).unwrap();
    assert_eq!((lies(done.join("bixby/a.pdf")), lies(failed.join("bixby/b.pdf"))), (good, bad));
    let receipt: Value = serde_json::from_slice(&lies(done.join("bixby/a.pdf.receipt.json"))).unwrap();
    assert_eq!((&receipt["sends"], &receipt["uncertain"]), (&1.into(), &0.into()));
    assert!(!lies(failed.join("bixby/b.pdf.reason.txt")).is_empty());
    assert_eq!(clinic.files("inbox"), ["bixby/patient.toml"]);
}

#[test]
fn what_is_put_in_while_its_predecessor_is_copied_to_another_disk_is_not_lost() {
    for in_place in [false, true] {
        let clinic = quick(Clinic::new(&[]));
        let (done, first, next) = (clinic.path("done"), pdf("first"), pdf("the next, under the same name"));
        let mounts = Mounts::tmpfs("1m", &[&done]);
        let path = clinic.drop_file("inbox/bixby/a.pdf", &first);
        clinic.drop_file("inbox/bixby/a.pdf.toml", "title = \"For both\"\n");
        // On filesystems that copy in the kernel, that takes a moment.
        let mut program = mounts
            .command("strace")
            .args(["-f", "-qq", "-o", "/dev/null"])
            .args(["-e", "inject=copy_file_range:delay_exit=3000000:when=1"])
            .args(["-e", "inject=sendfile:delay_exit=3000000:when=1"])
            .arg(support::chartdrop().get_program())
            .args(["run", "--once", "--for", "60s", "--config"])
            .arg(clinic.config())
            .spawn()
            .unwrap();
        let copies = || {
            let names = fs::read_dir(mounts.inside(&done.join("bixby"))).ok()?;
            let is_ours = |name: &OsStr| is_copy(name) || name == "a.pdf";
            Some(names.filter(|name| name.as_ref().is_ok_and(|name| is_ours(&name.file_name()))).count())
        };
        clinic.wait_for("the copy", || copies().is_some_and(|copies| copies > 0));
        if in_place {
            fs::write(&path, &next).unwrap();
        } else {
            clinic.drop_file("next.pdf", &next);
            fs::rename(clinic.path("next.pdf"), &path).unwrap();
        }
        let lies = |bytes: &[u8]| {
            let names = fs::read_dir(mounts.inside(&done.join("bixby"))).unwrap();
            names.filter(|name| fs::read(name.as_ref().unwrap().path()).is_ok_and(|found| found == bytes)).count()
        };
        assert_eq!(program.wait().unwrap().code(), Some(0));
        // What was written over while it was copied is gone; nothing is left of it but that it was sent.
        assert!((lies(&first) == 1 || in_place) && lies(&next) == 1);
        assert_eq!((times(&clinic, &first), times(&clinic, &next)), (1, 1));
    }
}

fn is_copy(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".chartdrop-") && name.as_bytes().ends_with(b".tmp")
}

#[test]
fn a_full_inbox_is_emptied() {
    let clinic = quick(Clinic::new(&[]));
    let (inbox, bytes) = (clinic.path("inbox"), pdf("full inbox"));
    let mounts = Mounts::tmpfs("1m", &[&inbox]);
    let inside = mounts.inside(&inbox).join("bixby");
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("patient.toml"), support::PATIENT).unwrap();
    fs::write(inside.join("a.pdf"), &bytes).unwrap();
    mounts.fill(&inbox, 0);
    mounts.sh(&format!("mv '{0}/filler' '{0}/Thumbs.db'", inbox.display()));
    let output = mounts.chartdrop(&clinic.config(), &ONCE);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    assert_eq!(fs::read(clinic.path("done/bixby/a.pdf")).unwrap(), bytes);
    assert!(!inside.join("a.pdf").exists());
    assert_eq!(times(&clinic, &bytes), 1);
}

#[test]
fn never_removes_a_file_it_could_not_read() {
    // From the first byte, from the end of the identification, and from within the upload.
    let check = |when| {
        let clinic = quick(Clinic::new(&[]));
        let (broken, sound) = (pdf(&"broken ".repeat(60_000)), pdf("sound"));
        let path = clinic.drop_file("inbox/bixby/broken.pdf", &broken);
        clinic.drop_file("inbox/bixby/sound.pdf", &sound);
        let inject = format!("read,pread64,preadv,sendfile:error=EIO:when={when}");
        let (output, hit) = tampered(&clinic, &inject, &[path], &["run", "--once", "--for", "15s"]);
        assert!(hit, "{when}: {}", words(&output));
        assert_arrived(&clinic, "sound.pdf", &sound);
        if clinic.has("inbox/bixby/broken.pdf") {
            assert_eq!(output.status.code(), Some(1), "{when}: {}", words(&output));
            assert_eq!(times(&clinic, &broken), 0, "{when}");
            assert!(!clinic.has("failed/bixby/broken.pdf.reason.txt"), "{when}");
            assert_eq!(clinic.run_once(), 0, "{when}: the disk can be read again");
        } else {
            assert!(when != "1+", "it could not be read, and was sent");
        }
        assert_arrived(&clinic, "broken.pdf", &broken);
    };
    // At once, since a run that cannot read goes on to the end of its time.
    thread::scope(|scope| {
        for when in ["1+", "2+", "3+", "4+"] {
            scope.spawn(move || check(when));
        }
    });
}

#[test]
fn a_call_that_fails_stops_intake_and_loses_nothing() {
    // strace counts for each thread: sled writes from many, the ledger syncs from one.
    let calls: [(&str, usize, &[&str]); 7] = [
        ("fsync", usize::MAX, &["EIO", "ENOSPC", "EROFS"]),
        ("pwrite64", 3, &["ENOSPC", "EIO", "EROFS"]),
        ("sync_file_range", 2, &["EIO", "ENOSPC"]),
        // Sled's own reads, of what could be read just before: it begins anew, which is noticed as a loss.
        ("pread64", 4, &["EIO"]),
        ("read", 4, &["EIO"]),
        ("openat", usize::MAX, &["EIO", "EROFS", "EMFILE"]),
        ("rename,renameat,renameat2", usize::MAX, &["ENOSPC", "EIO"]),
    ];
    thread::scope(|scope| {
        for (call, most, errors) in calls {
            scope.spawn(move || each_call_fails(call, most, errors));
        }
    });
}

fn each_call_fails(call: &str, most: usize, errors: &[&str]) {
    let clinic = quick(Clinic::new(&[]));
    let bytes = |n: usize| pdf(&format!("{call} {n}"));
    clinic.drop_file("inbox/bixby/0.pdf", bytes(0));
    assert_eq!(clinic.run_once(), 0);
    let files =
        ["ledger", "ledger/db", "ledger/conf", "ledger.stamp", "ledger.stamp.new"].map(|file| clinic.path(file));
    let mut stops = 0;
    for n in 1..=most {
        let (name, error) = (format!("{n}.pdf"), errors[n % errors.len()]);
        clinic.drop_file(format!("inbox/bixby/{name}"), bytes(n));
        if call.starts_with("rename") {
            // Only a new stamp is renamed.
            fs::remove_file(clinic.path("ledger.stamp")).unwrap();
        }
        let inject = format!("{call}:error={error}:when={n}");
        let (output, hit) = tampered(&clinic, &inject, &files, &ONCE);
        match output.status.code() {
            Some(0) => {}
            _ => {
                assert_stopped(&output, 2, &["start chartdrop again"]);
                stops += 1;
            }
        }
        let mended = clinic.command(&ONCE);
        assert_eq!(mended.status.code(), Some(0), "{inject}: {}\nthen: {}", words(&output), words(&mended));
        assert_arrived(&clinic, &name, &bytes(n));
        if !hit {
            assert!(n > 1, "{call} is never called");
            break;
        }
    }
    assert!(stops > 0 || call == "pread64", "{call}: nothing ever stopped");
    println!("{call}: {stops} stops, {} sent", counts(&clinic).values().sum::<u64>());
    (0..2).for_each(|n| assert_arrived(&clinic, &format!("{n}.pdf"), &bytes(n)));
}

#[test]
fn a_disk_that_takes_longer_than_its_deadline_stops_intake() {
    let clinic = quick(Clinic::new(&[]));
    let bytes = pdf("slow");
    clinic.drop_file("inbox/bixby/a.pdf", pdf("first"));
    assert_eq!(clinic.run_once(), 0);
    clinic.drop_file("inbox/bixby/slow.pdf", &bytes);
    let inject = "fsync:delay_enter=20000000:when=4";
    let (output, _) = tampered(&clinic, inject, &[clinic.path("ledger/db")], &["run"]);
    assert_stopped(&output, 1, &["longer than 10 s", "have the disk looked at"]);
    assert_eq!(clinic.run_once(), 0);
    assert_arrived(&clinic, "slow.pdf", &bytes);
}

/// A clinic in the middle of its work: documents in done, one in failed that may have arrived, and one that was being sent
/// when chartdrop was killed. It can be put back to that state again and again.
struct AtWork {
    clinic: Clinic,
    delivered: Vec<Vec<u8>>,
    failed: Vec<u8>,
    pending: Vec<u8>,
    rounds: usize,
}

const STATE: [&str; 5] = ["ledger", "ledger.stamp", "inbox", "done", "failed"];

impl AtWork {
    fn new() -> Self {
        let mut clinic = quick(Clinic::new(&[]));
        clinic.delivery.push_str("concurrency = 1\n");
        let delivered: Vec<_> = (0..6).map(|i| pdf(&format!("delivered {i}"))).collect();
        let (failed, pending) = (pdf("failed"), pdf("pending"));
        for (i, bytes) in delivered.iter().enumerate() {
            clinic.drop_file(format!("inbox/bixby/{i}.pdf"), bytes);
            assert_eq!(clinic.run_once(), 0);
            if i == 2 {
                for name in ["ledger", "ledger.stamp"] {
                    copy(&clinic.path(name), &clinic.path(format!("older/{name}")));
                }
            }
        }
        clinic.fault("create:nth=1:status=503,commit");
        clinic.fault("create:nth=2:status=400");
        clinic.drop_file("inbox/bixby/failed.pdf", &failed);
        assert_eq!(clinic.run_once(), 1);
        clinic.clear_faults();
        clinic.fault("create:nth=1:hang=after");
        let daemon = clinic.daemon();
        clinic.drop_file("inbox/bixby/pending.pdf", &pending);
        clinic.wait_for("the POST", || times(&clinic, &pending) == 1);
        daemon.kill();
        clinic.clear_faults();
        for name in STATE {
            copy(&clinic.path(name), &clinic.path(format!("state/{name}")));
        }
        Self { clinic, delivered, failed, pending, rounds: 0 }
    }

    fn turn_back(&self) {
        let clinic = &self.clinic;
        for entry in fs::read_dir(clinic.path("")).unwrap().map(Result::unwrap) {
            if entry.file_name().to_str().unwrap().starts_with("ledger") {
                remove(&entry.path());
            }
        }
        for name in STATE {
            remove(&clinic.path(name));
            copy(&clinic.path(format!("state/{name}")), &clinic.path(name));
        }
    }

    /// Puts the clinic back, does something to its ledger, drops a new document and two that were there before, and starts
    /// it. Gives back whether the ledger was built again.
    fn go_on_after(&mut self, what: &str, damage: impl FnOnce(&Clinic)) -> bool {
        self.turn_back();
        damage(&self.clinic);
        let clinic = &self.clinic;
        self.rounds += 1;
        let new = pdf(&format!("new {}", self.rounds));
        clinic.drop_file("inbox/bixby/new.pdf", &new);
        let (before, last) = (counts(clinic), self.delivered.len() - 1);
        clinic.drop_file("inbox/bixby/again-0.pdf", &self.delivered[0]);
        clinic.drop_file("inbox/bixby/again-last.pdf", &self.delivered[last]);
        let output = clinic.command(&ONCE);
        let said = words(&output);
        assert_eq!(output.status.code(), Some(0), "{what}: {said}");
        let sent = |bytes: &[u8]| times(clinic, bytes) - before.get(&sha256(bytes)).copied().unwrap_or(0);
        for bytes in self.delivered.iter().chain([&self.failed]) {
            assert_eq!(sent(bytes), 0, "{what}: sent again\n{said}");
        }
        for name in ["again-0", "again-last"] {
            let receipt = clinic.receipt(&format!("done/bixby/{name}.pdf.receipt.json"));
            assert_eq!(receipt["status"], "duplicate", "{what}: {said}");
        }
        assert_eq!(sent(&new), 1, "{what}: {said}");
        assert_arrived(clinic, "new.pdf", &new);
        // It was accepted once before the trouble.
        let receipt = clinic.receipt("done/bixby/pending.pdf.receipt.json");
        let uncertain = receipt["uncertain"].as_u64().unwrap();
        assert!(sent(&self.pending) <= uncertain && receipt["sends"].as_u64() >= Some(2), "{what}: {receipt}\n{said}");
        assert_eq!(clinic.files("inbox"), ["bixby/patient.toml"], "{what}: {said}");
        assert!(clinic.has("failed/bixby/failed.pdf") && clinic.files("failed").len() == 2, "{what}: {said}");
        said.contains("was built again")
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        copy_folder(from, to);
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

/// What happens to a file, at a place between its beginning (0) and the end of what was written into it (1).
#[derive(Clone, Copy, Debug)]
enum Damage {
    Cut(f64),
    Flip(f64),
    ZeroSector(f64),
    OlderSector(f64),
    Gone,
}

fn damages() -> Vec<(&'static str, Damage)> {
    let all = std::env::var_os("LEDGER_DAMAGE").is_some_and(|which| which == "all");
    let places = move |few: u32| {
        let n = if all { 20 * few } else { few };
        (0..n).map(move |i| (f64::from(i) + 0.5) / f64::from(n))
    };
    let mut damages = vec![("db", Damage::Gone), ("conf", Damage::Gone), ("snap.", Damage::Gone)];
    damages.extend([0.0, 0.999, 1.0].map(|place| ("db", Damage::Cut(place))));
    damages.extend(places(6).map(|place| ("db", Damage::Cut(place))));
    damages.extend(places(10).map(|place| ("db", Damage::Flip(place))));
    damages.extend(places(6).map(|place| ("db", Damage::ZeroSector(place))));
    damages.extend(places(6).map(|place| ("db", Damage::OlderSector(place))));
    for file in ["conf", "snap."] {
        damages.extend([Damage::Cut(0.0), Damage::Cut(0.5)].map(|damage| (file, damage)));
        damages.extend(places(3).map(|place| (file, Damage::Flip(place))));
    }
    damages.extend([("snap.", Damage::ZeroSector(0.0)), ("snap.", Damage::OlderSector(0.0))]);
    damages
}

/// Does it to the files whose names begin so.
fn damage(clinic: &Clinic, file: &str, damage: Damage) {
    for entry in fs::read_dir(clinic.path("ledger")).unwrap().map(Result::unwrap) {
        if !entry.file_name().to_str().unwrap().starts_with(file) {
            continue;
        }
        let mut bytes = fs::read(entry.path()).unwrap();
        let written = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        let at = |place: f64| ((written as f64 * place) as usize).min(written - 1);
        let length = bytes.len();
        let sector = |place: f64| at(place) / 512 * 512..(at(place) / 512 * 512 + 512).min(length);
        match damage {
            Damage::Gone => {
                fs::remove_file(entry.path()).unwrap();
                continue;
            }
            Damage::Cut(1.0) => bytes.truncate(written),
            Damage::Cut(place) => bytes.truncate(at(place)),
            Damage::Flip(place) => bytes[at(place)] ^= 0x10,
            Damage::ZeroSector(place) => bytes[sector(place)].fill(0),
            Damage::OlderSector(place) => {
                let range = sector(place);
                let older = fs::read(clinic.path("older/ledger").join(entry.file_name())).unwrap_or_default();
                let older = older.get(range.clone()).map_or(vec![0; range.len()], <[u8]>::to_vec);
                bytes[range].copy_from_slice(&older);
            }
        }
        fs::write(entry.path(), bytes).unwrap();
    }
}

#[test]
fn a_ledger_that_is_damaged_anywhere_is_right_or_built_again() {
    let damages = damages();
    let (next, rebuilt) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut at_work = AtWork::new();
                while let Some((file, done)) = damages.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
                    let again = at_work.go_on_after(&format!("{file} {done:?}"), |clinic| damage(clinic, file, done));
                    rebuilt.fetch_add(usize::from(again), Ordering::Relaxed);
                }
            });
        }
    });
    let rebuilt = rebuilt.into_inner();
    println!("{} damages, {rebuilt} ledgers built again", damages.len());
    assert!(rebuilt * 2 > damages.len() && rebuilt < damages.len(), "{rebuilt} of {}", damages.len());
}

#[test]
fn a_ledger_that_is_gone_old_or_another_s_is_built_again() {
    let mut at_work = AtWork::new();
    let other = AtWork::new();
    let take = |clinic: &Clinic, from: &Path, name: &str| {
        remove(&clinic.path(name));
        copy(&from.join(name), &clinic.path(name));
    };
    let empty = |clinic: &Clinic| {
        remove(&clinic.path("ledger"));
        fs::create_dir(clinic.path("ledger")).unwrap();
    };
    assert!(!at_work.go_on_after("nothing", |_| {}), "an untouched ledger is not built again");
    assert!(!at_work.go_on_after("no stamp", |clinic| remove(&clinic.path("ledger.stamp"))));
    for garbled in ["", "{}", "not a stamp", "\0\0\0\0\0\0\0\0"] {
        assert!(!at_work.go_on_after("a garbled stamp", |clinic| drop(clinic.drop_file("ledger.stamp", garbled))));
    }
    type Trouble<'a> = &'a dyn Fn(&Clinic);
    let troubles: [(&str, Trouble<'_>); 11] = [
        ("no folder", &|clinic| remove(&clinic.path("ledger"))),
        ("an empty folder", &empty),
        ("neither folder nor stamp", &|clinic| {
            remove(&clinic.path("ledger"));
            remove(&clinic.path("ledger.stamp"));
        }),
        ("an empty folder without a stamp", &|clinic| {
            empty(clinic);
            remove(&clinic.path("ledger.stamp"));
        }),
        ("an empty folder and a garbled stamp", &|clinic| {
            empty(clinic);
            clinic.drop_file("ledger.stamp", "not a stamp");
        }),
        ("an empty folder that somebody asked for its status", &|clinic| {
            empty(clinic);
            remove(&clinic.path("ledger.stamp"));
            assert_eq!(clinic.command(&["status"]).status.code(), Some(0));
        }),
        ("an older copy", &|clinic| take(clinic, &clinic.path("older"), "ledger")),
        ("an older copy and its stamp", &|clinic| {
            take(clinic, &clinic.path("older"), "ledger");
            take(clinic, &clinic.path("older"), "ledger.stamp");
        }),
        ("an older copy without a stamp", &|clinic| {
            take(clinic, &clinic.path("older"), "ledger");
            remove(&clinic.path("ledger.stamp"));
        }),
        ("another's", &|clinic| take(clinic, &other.clinic.path("state"), "ledger")),
        ("another's with its stamp", &|clinic| {
            take(clinic, &other.clinic.path("older"), "ledger");
            take(clinic, &other.clinic.path("older"), "ledger.stamp");
        }),
    ];
    for (what, trouble) in troubles {
        assert!(at_work.go_on_after(what, trouble), "{what}: it was believed");
    }
    // What it gave up is still there for whoever wants to look into it.
    let clinic = &at_work.clinic;
    at_work.turn_back();
    take(clinic, &clinic.path("older"), "ledger");
    let old = fs::read(clinic.path("ledger/db")).unwrap();
    assert_eq!(clinic.run_once(), 0);
    let aside: Vec<_> = fs::read_dir(clinic.path("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let aside: Vec<_> = aside.into_iter().filter(|path| path.to_str().unwrap().contains("/ledger.lost-")).collect();
    let kept = aside.iter().find(|path| path.is_dir()).unwrap();
    assert!(aside.len() == 2 && fs::read(kept.join("db")).unwrap().starts_with(&old[..512]), "{aside:?}");
}

#[test]
fn a_newer_ledger_is_refused_with_words_and_left_alone() {
    let clinic = quick(Clinic::new(&[]));
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    assert_eq!(clinic.run_once(), 0);
    clinic.drop_file("inbox/bixby/b.pdf", pdf("b"));
    let stamp = fs::read_to_string(clinic.path("ledger.stamp")).unwrap();
    copy(&clinic.path("ledger"), &clinic.path("sound"));
    let newer_stamp: &dyn Fn() = &|| {
        clinic.drop_file("ledger.stamp", stamp.replace("\"version\":1", "\"version\":99"));
    };
    let newer_row: &dyn Fn() = &|| {
        let db = sled::open(clinic.path("ledger")).unwrap();
        let rows = db.open_tree("rows").unwrap();
        let (id, row) = rows.iter().next().unwrap().unwrap();
        let row = String::from_utf8(row.to_vec()).unwrap().replacen("\"v\":2", "\"v\":99", 1);
        rows.insert(id, row.as_bytes()).unwrap();
        db.flush().unwrap();
    };
    for (what, make_newer) in [("stamp", newer_stamp), ("row", newer_row)] {
        make_newer();
        let before = [fs::read(clinic.path("ledger/db")).unwrap(), fs::read(clinic.path("ledger.stamp")).unwrap()];
        let parts = ["newer chartdrop", "version 99", "install that chartdrop again"];
        assert_stopped(&service(&clinic), 2, &parts);
        for arguments in [&ONCE[..], &["status"], &["history"]] {
            assert_stopped(&clinic.command(arguments), 2, &parts);
        }
        assert!(!clinic.files("").iter().any(|file| file.contains("lost-") || file.contains("rebuilt")), "{what}");
        assert!(clinic.has("inbox/bixby/b.pdf") && clinic.accepted().len() == 1, "{what}");
        let after = [fs::read(clinic.path("ledger/db")).unwrap(), fs::read(clinic.path("ledger.stamp")).unwrap()];
        assert_eq!(before[1], after[1], "{what}");
        if what == "stamp" {
            assert_eq!(before[0], after[0], "it was not even opened");
        }
        remove(&clinic.path("ledger"));
        copy(&clinic.path("sound"), &clinic.path("ledger"));
        clinic.drop_file("ledger.stamp", &stamp);
    }
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted().len(), 2);
}

fn lose(clinic: &Clinic) {
    remove(&clinic.path("ledger"));
}

/// What the ledger says of the only delivery with that file name.
fn row(clinic: &Clinic, list: &str, name: &str) -> Value {
    let rows = match list {
        "status" => clinic.open_deliveries(),
        _ => clinic.deliveries(&["accepted", "rejected"]),
    };
    rows.into_iter().find(|row| row["path"].as_str().unwrap().ends_with(name)).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn a_reason_gives_its_delivery_back_with_what_it_may_have_sent() {
    for by_command in [false, true] {
        let clinic = quick(Clinic::new(&[]));
        let bytes = pdf("refused after it was taken");
        clinic.fault("create:nth=1:status=503,commit");
        clinic.fault("create:nth=2:status=400");
        clinic.drop_file("inbox/bixby/a.pdf", &bytes);
        clinic.drop_file("inbox/bixby/b.exe", "no document");
        assert_eq!(clinic.run_once(), 1);
        let known = ["a.pdf", "b.exe"].map(|name| row(&clinic, "history", name));
        lose(&clinic);
        assert_eq!(clinic.run_once(), 0, "nothing waits");
        for before in known {
            let after = row(&clinic, "history", before["path"].as_str().unwrap());
            for part in ["id", "state", "sent", "unconfirmed", "path", "inbox"] {
                assert_eq!(after[part], before[part], "{part}");
            }
        }
        let known = row(&clinic, "history", "a.pdf");
        assert_eq!(
            (&known["state"], &known["sent"], &known["unconfirmed"]),
            (&"rejected".into(), &2.into(), &1.into())
        );
        let show = clinic.command(&["show", known["id"].as_str().unwrap()]);
        assert!(words(&show).contains("note beside the document"), "{}", words(&show));
        if by_command {
            let retry = clinic.command(&["retry", known["id"].as_str().unwrap()]);
            assert!(retry.status.success() && !clinic.has("failed/bixby/a.pdf.reason.txt"), "{}", words(&retry));
        } else {
            fs::rename(clinic.path("failed/bixby/a.pdf"), clinic.path("inbox/bixby/a.pdf")).unwrap();
        }
        assert_eq!(clinic.run_once(), 0);
        assert_arrived(&clinic, "a.pdf", &bytes);
        assert_eq!(times(&clinic, &bytes), 2);
        assert_eq!(clinic.receipt("done/bixby/a.pdf.receipt.json")["sends"], 3);
    }
}

#[test]
fn an_old_reason_and_one_that_somebody_wrote_in_do_not_stand_in_the_way() {
    let clinic = quick(Clinic::new(&[]));
    clinic.drop_file("inbox/bixby/a.exe", "no document");
    clinic.drop_file("inbox/bixby/b.exe", "no document either");
    assert_eq!(clinic.run_once(), 1);
    let old = clinic.reason("failed/bixby/a.exe.reason.txt");
    clinic.drop_file("failed/bixby/a.exe.reason.txt", old.rsplit_once("\r\nThe last line").unwrap().0);
    clinic.drop_file("failed/bixby/b.exe.reason.txt", "told Dr. Adams, 3 pm");
    lose(&clinic);
    clinic.drop_file("inbox/bixby/c.pdf", pdf("c"));
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.files("failed").len(), 4);
}

#[test]
fn the_latest_of_several_receipts_counts() {
    let clinic = quick(Clinic::new(&[]));
    let bytes = pdf("twice on purpose");
    clinic.drop_file("inbox/bixby/a.pdf", &bytes);
    assert_eq!(clinic.run_once(), 0);
    clinic.drop_file("inbox/bixby/0 duplicate.pdf", &bytes);
    assert_eq!(clinic.run_once(), 0);
    let id = row(&clinic, "history", "/a.pdf")["id"].as_str().unwrap().to_owned();
    assert!(clinic.command(&["send-again", &id]).status.success());
    clinic.fault("create:nth=1:status=503,commit");
    fs::rename(clinic.path("inbox/bixby/a.pdf"), clinic.path("inbox/bixby/b.pdf")).unwrap();
    assert_eq!(clinic.run_once(), 0);
    clinic.drop_file("inbox/bixby/z duplicate.pdf", &bytes);
    assert_eq!(clinic.run_once(), 0);
    let before = row(&clinic, "history", "/b.pdf");
    assert_eq!((&before["sent"], &before["unconfirmed"]), (&3.into(), &1.into()));
    lose(&clinic);
    clinic.drop_file("inbox/bixby/again.pdf", &bytes);
    assert_eq!(clinic.run_once(), 0);
    let after = row(&clinic, "history", "/b.pdf");
    for part in ["id", "state", "sent", "unconfirmed", "path"] {
        assert_eq!(after[part], before[part], "{part}");
    }
    let receipt = clinic.receipt("done/bixby/again.pdf.receipt.json");
    assert_eq!((&receipt["status"], &receipt["sends"]), (&"duplicate".into(), &3.into()));
    assert!(receipt["note"].as_str().unwrap().contains("b.pdf"), "{receipt}");
    assert_eq!(times(&clinic, &bytes), 3);
}

#[test]
fn a_receipt_that_cannot_be_read_stops_intake() {
    let clinic = quick(Clinic::new(&[]));
    let strange = OsStr::from_bytes(b"inbox/bixby/\xff\xfe.pdf");
    clinic.drop_file(Path::new(strange), pdf("strange"));
    assert_eq!(clinic.run_once(), 1, "such a name is refused");
    clinic.drop_file("inbox/bixby/b.pdf", pdf("b"));
    assert_eq!(clinic.run_once(), 0);
    let receipt = fs::read(clinic.path("done/bixby/b.pdf.receipt.json")).unwrap();
    clinic.drop_file("done/bixby/b.pdf.receipt.json", &receipt[..receipt.len() / 2]);
    lose(&clinic);
    clinic.drop_file("inbox/bixby/again.pdf", pdf("b"));
    for output in [service(&clinic), clinic.command(&ONCE)] {
        assert_stopped(&output, 2, &["1 of the receipts", "from a backup", "ledger.unreadable.txt"]);
        assert!(!words(&output).contains("b.pdf"), "a log holds no file names");
    }
    assert!(clinic.reason("ledger.unreadable.txt").trim().ends_with("done/bixby/b.pdf.receipt.json"));
    // As an editor saves it.
    clinic.drop_file("done/bixby/b.pdf.receipt.json", [&b"\xef\xbb\xbf"[..], &receipt].concat());
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(times(&clinic, &pdf("b")), 1);
    assert_eq!(clinic.receipt("done/bixby/again.pdf.receipt.json")["status"], "duplicate");
    assert_eq!(row(&clinic, "history", "%FF%FE.pdf")["state"], "rejected");
}

#[test]
fn a_rebuild_that_is_cut_short_is_begun_again() {
    let clinic = quick(Clinic::new(&[]));
    let (old, pending) = (pdf("old"), pdf("pending"));
    clinic.fault("create:nth=1:hang=after");
    let daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/pending.pdf", &pending);
    clinic.wait_for("the POST", || times(&clinic, &pending) == 1);
    daemon.kill();
    // Nothing was filed yet: only the stamp knows of it. Its share goes away at the wrong moment.
    lose(&clinic);
    fs::rename(clinic.path("inbox"), clinic.path("away")).unwrap();
    assert_stopped(&service(&clinic), 1, &["is its share mounted?"]);
    assert_stopped(&service(&clinic), 1, &["is its share mounted?"]);
    fs::rename(clinic.path("away"), clinic.path("inbox")).unwrap();
    clinic.drop_file("inbox/bixby/old.pdf", &old);
    assert_eq!(clinic.run_once(), 0);
    assert_arrived(&clinic, "pending.pdf", &pending);
    assert_arrived(&clinic, "old.pdf", &old);
}

#[test]
fn what_a_lost_ledger_may_have_sent_is_treated_as_unknown() {
    let cases = [
        ("resend", true, ""),
        ("resend", false, ""),
        ("search", true, ""),
        ("search", false, ""),
        ("search", true, "search:first=5:status=503"),
        ("search", true, "search:always:status=501"),
        ("search", true, "search:always:status=404"),
        ("hold", true, ""),
        ("hold", false, ""),
    ];
    thread::scope(|scope| {
        for some in cases.chunks(3) {
            scope.spawn(|| some.iter().for_each(|(policy, arrived, search)| lost_under_way(policy, *arrived, search)));
        }
    });
}

fn lost_under_way(policy: &str, arrived: bool, search: &str) {
    let what = format!("{policy}, arrived: {arrived}, {search}");
    let mut clinic = quick(Clinic::new(&[]));
    clinic.delivery.push_str(&format!("on_unknown = \"{policy}\"\n"));
    let bytes = pdf("under way");
    clinic.fault(if arrived { "create:nth=1:hang=after" } else { "create:nth=1:hang" });
    let daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/a.pdf", &bytes);
    clinic.wait_for("the POST", || clinic.record()["creates"] == 1 && times(&clinic, &bytes) == u64::from(arrived));
    daemon.kill();
    lose(&clinic);
    if !search.is_empty() {
        clinic.fault(search);
    }
    let held = policy == "hold" || search.contains("always");
    assert_eq!(clinic.run_once(), i32::from(held), "{what}");
    let sent = |n: u64| assert_eq!(times(&clinic, &bytes), n, "{what}");
    if held {
        sent(u64::from(arrived));
        let row = row(&clinic, "status", "a.pdf");
        assert_eq!(row["state"], "held", "{what}");
        assert!(row["problem"]["summary"].as_str().unwrap().contains("before the ledger was lost"), "{row}");
        assert_eq!(clinic.run_once(), 1, "{what}: and stays so");
        sent(u64::from(arrived));
        let decision = if arrived { "retry" } else { "release" };
        assert!(clinic.command(&[decision, row["id"].as_str().unwrap()]).status.success());
        assert_eq!(clinic.run_once(), 0, "{what}");
    }
    sent(u64::from(arrived) + u64::from(!(policy == "search" && arrived && !held)));
    assert_arrived(&clinic, "a.pdf", &bytes);
    let receipt = clinic.receipt("done/bixby/a.pdf.receipt.json");
    assert_eq!(receipt["uncertain"], 1, "{what}: {receipt}");
}

#[test]
fn what_is_dropped_after_a_rebuild_is_in_no_doubt() {
    let mut clinic = quick(Clinic::new(&[]));
    clinic.delivery.push_str("on_unknown = \"hold\"\n");
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    assert_eq!(clinic.run_once(), 0);
    lose(&clinic);
    assert_eq!(clinic.run_once(), 0);
    clinic.drop_file("inbox/bixby/b.pdf", pdf("b"));
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.receipt("done/bixby/b.pdf.receipt.json")["uncertain"], 0);
}
