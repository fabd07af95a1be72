//! The power fails, again and again: ledger, inbox, done and failed lie on an ext4 of their own; the service is stopped at
//! a random moment, the device is copied as it is then, and the next round goes on with the copy, in which everything
//! that was not synced is missing. The sandbox lies elsewhere and lives through all of it: it is the witness.
//!
//! `POWER_CUTS=100` and more for a long run, `POWER_CUT_SEED` to have a run's dice again. It needs root, because it mounts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test, though without the harness that tells clippy so")]

mod support;

use std::{
    fs,
    fs::File,
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use support::{
    Clinic, chartdrop,
    dice::Dice,
    oracle::{Dropped, Lies},
    pdf, wait_for,
};

/// Cuts in the gate.
const CUTS: u64 = 60;

/// Cuts while a ledger is built again.
const REBUILDS: u64 = 12;

/// Within so many cuts a ledger that is not synced must have been found out.
const CUTS_WITHOUT_SYNC: u64 = 30;

const SIDECAR: &str = "title = \"Referral letter\"\ntype = \"referral\"\n";

/// Nothing reaches the device unasked: no commit by the clock, no flush at a rename. The second keeps less in order.
const MOUNTS: [&str; 2] = [
    "loop,noatime,commit=900,noauto_da_alloc,data=ordered",
    "loop,noatime,commit=900,noauto_da_alloc,data=writeback,nodelalloc",
];

fn main() {
    if std::env::args().nth(1).as_deref() != Some("inside") {
        assert!(rustix::process::getuid().is_root(), "this test mounts a filesystem: run it as root (tests/run does)");
        // Mounts and processes end with this test, whatever ends it: nothing is left to unmount.
        let error = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
            .arg(std::env::current_exe().unwrap())
            .arg("inside")
            .exec();
        panic!("unshare (of util-linux) is needed: {error}");
    }
    let cuts = std::env::var("POWER_CUTS").map_or(CUTS, |cuts| cuts.parse().unwrap());
    let mut dice = Dice::of_environment("POWER_CUT_SEED");
    a_ledger_that_is_flushed_and_not_synced_is_found_out(&mut dice);
    nothing_is_lost_and_nothing_sent_twice(cuts, Done::OnTheSameDisk, &mut dice);
    // A copy to another disk whose original was not removed yet may be there twice (docs/reliability.md): by hand only.
    if std::env::var_os("POWER_CUTS_ON_TWO_DISKS").is_some() {
        nothing_is_lost_and_nothing_sent_twice(cuts / 2, Done::OnAnotherDisk, &mut dice);
    }
    nothing_is_lost_and_nothing_sent_twice(cuts / 2, Done::WithoutNoreplace, &mut dice);
    a_rebuild_that_the_power_ends_is_made_again(&mut dice);
    println!("power_cut: 5 tests passed");
}

/// What moves a document out of the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// A rename that replaces nothing.
    OnTheSameDisk,
    /// A copy to a second device, whose power fails at the same moment.
    OnAnotherDisk,
    /// A hard link, on a filesystem that has no such rename.
    WithoutNoreplace,
}

/// The check is worth something: it finds the store that loses what it acknowledged.
fn a_ledger_that_is_flushed_and_not_synced_is_found_out(dice: &mut Dice) {
    for life in 1..=CUTS_WITHOUT_SYNC {
        let mut world = World::new(true, Done::OnTheSameDisk);
        let mut live = || {
            // Filing syncs the same device; until an answer comes, nothing but the ledger does.
            world.clinic.fault("create:always:hang=after");
            world.cut(Moment::Sending, dice)?;
            world.clinic.clear_faults();
            world.all_is_at_rest()
        };
        if let Err(finding) = live() {
            println!("a ledger that only flushes is found out in its life {life}: {finding}");
            return;
        }
    }
    panic!("{CUTS_WITHOUT_SYNC} lives of a ledger that is never synced, and nothing was noticed");
}

fn nothing_is_lost_and_nothing_sent_twice(cuts: u64, done: Done, dice: &mut Dice) {
    let began = Instant::now();
    let mut world = World::new(false, done);
    for fault in ["create:every=9:cut=after", "create:every=11:hang=after", "create:every=3:delay=200ms"] {
        world.clinic.fault(fault);
    }
    let mut under_way = 0;
    for cut in 1..=cuts {
        let moment = match cut % 6 {
            0 | 3 => Moment::Starting,
            1 => Moment::Sending,
            _ => Moment::Running,
        };
        let found = world.cut(moment, dice);
        under_way +=
            found.unwrap_or_else(|finding| panic!("{done:?}, cut {cut}, {moment:?}: {finding}\n{}", world.log()));
    }
    world.clinic.clear_faults();
    world.all_is_at_rest().unwrap_or_else(|finding| panic!("{done:?}, in the end: {finding}\n{}", world.log()));
    assert!(under_way > 0, "every cut came when nothing was under way");
    println!(
        "{done:?}, {cuts} cuts in a chain: {} documents, accepted {} times, {} held for a person; a cut fell {under_way} times \
         between acceptance and filing; {} s",
        world.dropped.len(),
        world.clinic.accepted_facts().len(),
        world.held(),
        began.elapsed().as_secs()
    );
}

/// The ledger is gone, and the power fails again while it is built from the receipts.
fn a_rebuild_that_the_power_ends_is_made_again(dice: &mut Dice) {
    let mut world = World::new(false, Done::OnTheSameDisk);
    (0..12).for_each(|_| world.drop_document(dice, true));
    world.all_is_at_rest().unwrap();
    let accepted = world.clinic.accepted_facts().len();
    for cut in 1..=REBUILDS {
        for entry in fs::read_dir(&world.clinic.home).unwrap().map(Result::unwrap) {
            let name = entry.file_name();
            let name = name.to_str().unwrap();
            if name == "ledger" {
                fs::remove_dir_all(entry.path()).unwrap();
            } else if name.starts_with("ledger.") && entry.path().is_file() {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        run("sync", &["--file-system", world.clinic.home.to_str().unwrap()]);
        world.cut(Moment::Starting, dice).ok();
        // The same documents once more, under other names.
        let mut service = world.start();
        let again = world.dropped[usize::try_from(dice.below(12)).unwrap()].clone();
        let name = format!("again-{cut}.pdf");
        let path = format!("inbox/{}/{name}", again.folder);
        write_durably(&world.clinic.path(format!("{path}.toml")), SIDECAR.as_bytes());
        write_durably(&world.clinic.path(path), &again.bytes);
        world.clinic.wait_for_file(&format!("done/{}/{name}.receipt.json", again.folder));
        service.kill().unwrap();
        service.wait().unwrap();
        let receipt = world.clinic.receipt(&format!("done/{}/{name}.receipt.json", again.folder));
        assert_eq!(receipt["status"], "duplicate", "cut {cut}: {}", world.log());
        assert_eq!(world.clinic.accepted_facts().len(), accepted, "cut {cut}: sent again\n{}", world.log());
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Starting,
    Running,
    /// Just when a message has been accepted.
    Sending,
}

/// A clinic on a device of its own.
struct World {
    clinic: Clinic,
    /// Outside the device.
    images: PathBuf,
    image: PathBuf,
    log: PathBuf,
    /// Holds done, if that is on another device.
    second: Option<PathBuf>,
    done: Done,
    flush_only: bool,
    dropped: Vec<Dropped>,
    cuts: u64,
}

impl Drop for World {
    fn drop(&mut self) {
        if self.second.is_some() {
            run("umount", &[self.clinic.path("done").to_str().unwrap()]);
        }
        run("umount", &[self.clinic.home.as_os_str().to_str().unwrap()]);
    }
}

impl World {
    fn new(flush_only: bool, done: Done) -> Self {
        let mut clinic = Clinic::new(&[]);
        clinic.inbox = "settle = \"20ms\"\nincomplete_after = \"1s\"\n".into();
        clinic.delivery = "retry_first = \"10ms\"\nretry_max = \"50ms\"\n".into();
        let outside = clinic.home.clone();
        let (images, home) = (outside.join("images"), outside.join("disk"));
        fs::create_dir(&images).unwrap();
        fs::create_dir(&home).unwrap();
        let image = images.join("0");
        make_disk(&image, &home);
        clinic.home = home;
        for name in ["key.pem", "jwk.json"] {
            fs::copy(outside.join(name), clinic.path(name)).unwrap();
        }
        for folder in ["inbox", "done", "failed"] {
            fs::create_dir(clinic.path(folder)).unwrap();
        }
        let second = (done == Done::OnAnotherDisk).then(|| images.join("0-done"));
        if let Some(second) = &second {
            make_disk(second, &clinic.path("done"));
        }
        clinic.config();
        run("sync", &["--file-system", clinic.home.to_str().unwrap()]);
        let log = outside.join("service.log");
        Self { clinic, image, images, second, done, log, flush_only, dropped: Vec::new(), cuts: 0 }
    }

    /// One life of the service, up to the cut. Gives back how many documents were neither untouched nor filed by then.
    fn cut(&mut self, moment: Moment, dice: &mut Dice) -> Result<usize, String> {
        self.cuts += 1;
        let accepted_before = self.clinic.accepted_facts();
        let mut service = self.start();
        match moment {
            Moment::Starting => sleep(Duration::from_millis(dice.below(160))),
            Moment::Running => {
                for _ in 0..1 + dice.below(4) {
                    sleep(Duration::from_millis(dice.below(80)));
                    self.drop_document(dice, false);
                }
                sleep(Duration::from_millis(dice.below(300)));
            }
            Moment::Sending => {
                // Two that are sent whatever the dice say: so many acceptances are waited for.
                (0..4).for_each(|number| self.drop_document(dice, number < 2));
                let sent = || self.clinic.accepted_facts().len() > accepted_before.len() + 1;
                wait_for("a message to be accepted", sent, || self.log());
            }
        }
        if let Some(status) = service.try_wait().unwrap() {
            return Err(format!("the service has ended ({status})"));
        }
        stop(&service);
        let copy = |image: &Path, name: String| {
            let copy = self.images.join(name);
            run("cp", &["--sparse=auto", image.to_str().unwrap(), copy.to_str().unwrap()]);
            copy
        };
        let first = copy(&self.image, self.cuts.to_string());
        let second = self.second.as_ref().map(|image| copy(image, format!("{}-done", self.cuts)));
        service.kill().unwrap();
        service.wait().unwrap();
        let (home, done) = (self.clinic.home.clone(), self.clinic.path("done"));
        if let Some(old) = std::mem::replace(&mut self.second, second) {
            run("umount", &[done.to_str().unwrap()]);
            fs::remove_file(old).unwrap();
        }
        run("umount", &[home.to_str().unwrap()]);
        fs::remove_file(std::mem::replace(&mut self.image, first)).unwrap();
        for (image, at) in [(Some(&self.image), &home), (self.second.as_ref(), &done)] {
            let options = MOUNTS[usize::try_from(dice.below(2)).unwrap()];
            if let Some(image) = image {
                run("mount", &["-o", options, image.to_str().unwrap(), at.to_str().unwrap()]);
            }
        }
        self.nothing_is_lost(accepted_before.len())
    }

    fn start(&self) -> Child {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = chartdrop();
        if self.flush_only {
            command.env("CHARTDROP_FLUSH_ONLY", "1");
        }
        if self.done == Done::WithoutNoreplace {
            command.env("CHARTDROP_WITHOUT", "noreplace");
        }
        command.arg("run").arg("--config").arg(self.clinic.path("config.toml"));
        command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    /// A document of one of three patients, durable before it counts; now and then one that is refused, unless it `is_sent`.
    fn drop_document(&mut self, dice: &mut Dice, is_sent: bool) {
        let patient = dice.below(3);
        let identifier = format!("000000000{}", patient + 1);
        let number = self.dropped.len();
        // Folders that are new now and then, so that they are new in done as well.
        let folder = format!("{identifier}-{}", number / 8);
        let ending = if dice.below(8) == 0 && !is_sent { "exe" } else { "pdf" };
        let dropped = Dropped {
            name: format!("scan-{number:04}.{ending}"),
            bytes: pdf(&format!("{number} of {}", dice.below(u64::MAX))),
            folder: folder.clone(),
            patient: identifier.clone(),
            refused: ending == "exe",
            twin: false,
        };
        let path = dropped.path("inbox");
        let words = format!("identifier = [{{ system = \"urn:redox:health-one:MR\", value = \"{identifier}\" }}]\n");
        for (name, bytes) in [
            (format!("inbox/{folder}/patient.toml"), words.as_bytes()),
            (format!("{path}.toml"), SIDECAR.as_bytes()),
            (path, &dropped.bytes),
        ] {
            if !self.clinic.has(&name) {
                write_durably(&self.clinic.path(name), bytes);
            }
        }
        self.dropped.push(dropped);
    }

    /// What must hold at once, before anything is mended. Gives back how many documents were under way.
    fn nothing_is_lost(&self, accepted_before: usize) -> Result<usize, String> {
        let accepted = self.clinic.accepted_facts();
        let mut unfinished = 0;
        for dropped in &self.dropped {
            let lies = dropped.lies(&self.clinic)?;
            let sent = dropped.among(&accepted);
            if lies == Lies::Done && sent.is_empty() {
                return Err(format!("{} lies in done, and was not accepted", dropped.name));
            }
            unfinished += usize::from(lies == Lies::Inbox && !dropped.among(&accepted[accepted_before..]).is_empty());
        }
        self.log_is_calm().map(|()| unfinished)
    }

    /// Starts the service without haste, until nothing is left to do, and asks everything.
    fn all_is_at_rest(&self) -> Result<(), String> {
        let mut service = self.start();
        let waiting = || self.dropped.iter().filter(|dropped| dropped.lies(&self.clinic) == Ok(Lies::Inbox)).count();
        let noted = || {
            let notes = |folder: &str, ending: &str| {
                let files = self.clinic.files(folder);
                files.into_iter().filter(|file| file.ends_with(ending)).count()
            };
            notes("done", ".receipt.json") + notes("failed", ".reason.txt")
        };
        wait_for(
            "the end of all deliveries",
            || {
                let held = self.held();
                let is_over = waiting() == held && noted() + held == self.dropped.len();
                is_over || service.try_wait().unwrap().is_some()
            },
            || self.log(),
        );
        kill_process(Pid::from_child(&service), Signal::TERM).ok();
        service.wait().unwrap();
        let accepted = self.clinic.accepted_facts();
        for dropped in &self.dropped {
            if dropped.lies(&self.clinic)? != Lies::Inbox || self.held() == 0 {
                dropped.is_at_rest(&self.clinic, &accepted)?;
            }
        }
        self.log_is_calm()
    }

    /// Documents that a person must decide about: after a message and three resends, each cut off from its answer.
    fn held(&self) -> usize {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains("held: a person must decide"));
        let deliveries = lines.filter_map(|line| line.split_once("delivery=").map(|(_, delivery)| delivery));
        deliveries.collect::<std::collections::BTreeSet<_>>().len()
    }

    /// A ledger that was synced is never lost: being built again from receipts is for other disasters.
    fn log_is_calm(&self) -> Result<(), String> {
        let words = ["lost its rows", "cannot go on", "panicked", "closing the ledger failed"];
        match self.log().lines().find(|line| words.iter().any(|word| line.contains(word))) {
            Some(line) => Err(format!("the log says: {line}")),
            None => Ok(()),
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// An empty filesystem in an image, mounted.
fn make_disk(image: &Path, at: &Path) {
    File::create(image).unwrap().set_len(64 << 20).unwrap();
    run("mkfs.ext4", &["-q", "-F", "-b", "4096", "-J", "size=8", image.to_str().unwrap()]);
    run("mount", &["-o", MOUNTS[0], image.to_str().unwrap(), at.to_str().unwrap()]);
}

/// Stops the service between two system calls of each of its threads: what it has handed over then is all there is.
fn stop(service: &Child) {
    kill_process(Pid::from_child(service), Signal::STOP).unwrap();
    let tasks = format!("/proc/{}/task", service.id());
    let is_stopped = |task: fs::DirEntry| {
        // A thread that has ended since it was listed does nothing more.
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { return true };
        stat.rsplit_once(") ").unwrap().1.starts_with('T')
    };
    wait_for(
        "all threads to stop",
        || fs::read_dir(&tasks).unwrap().all(|task| is_stopped(task.unwrap())),
        String::new,
    );
}

/// The file and every folder above it.
fn write_durably(path: &Path, bytes: &[u8]) {
    let folder = path.parent().unwrap();
    if !folder.exists() {
        fs::create_dir(folder).unwrap();
        File::open(folder.parent().unwrap()).unwrap().sync_all().unwrap();
    }
    let mut file = File::create_new(path).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
    File::open(folder).unwrap().sync_all().unwrap();
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
