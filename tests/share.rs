//! The share that staff drop into, in its bad moments: gone, hung, busy, too full, too large. Nothing is forgotten, nothing is
//! sent twice, and what is wrong is said once.
//!
//! Needs Debian's packages strace, bindfs and fuse3.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::{
        fs::MetadataExt,
        net::UnixDatagram,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use rustix::process::{Pid, Signal, kill_process_group};
use support::{Clinic, PATIENT, pdf};

/// A program and all that it started; killed together.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        kill_process_group(Pid::from_child(&self.0), Signal::KILL).ok();
        self.0.wait().ok();
    }
}

/// Starts `PROGRAM ARGUMENTS chartdrop run --config …`.
fn daemon_under(clinic: &Clinic, program: &str, arguments: &[&str], environment: &[(&str, String)]) -> Group {
    let log = fs::File::options().create(true).append(true).open(clinic.path("daemon.log")).unwrap();
    let mut command = Command::new(program);
    command.args(arguments).arg(env!("CARGO_BIN_EXE_chartdrop")).arg("run").arg("--config").arg(clinic.config());
    command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_PID").env_remove("RUST_LOG");
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.stdout(Stdio::null()).stderr(log).process_group(0);
    Group(command.spawn().unwrap_or_else(|error| panic!("{program} is needed: {error}")))
}

/// The same under strace, which makes system calls fail.
fn daemon_with_faults(clinic: &Clinic, faults: &[&str], environment: &[(&str, String)]) -> Group {
    daemon_under(clinic, "strace", &[&["-f", "-qq", "-o", "/dev/null"], faults].concat(), environment)
}

fn said(clinic: &Clinic, words: &str) -> usize {
    fs::read_to_string(clinic.path("daemon.log")).unwrap_or_default().matches(words).count()
}

fn lies_in_done(clinic: &Clinic, name: &str) -> bool {
    clinic.has(format!("done/bixby/{name}.receipt.json"))
}

/// A folder of another place shown at `at`, as a share is: no events come from it.
struct Share {
    at: PathBuf,
}

impl Share {
    fn mount(source: &Path, at: &Path) -> Self {
        let output = Command::new("bindfs").arg("--no-allow-other").args([source, at]).output();
        let output = output.unwrap_or_else(|error| panic!("bindfs is needed (Debian: bindfs, fuse3): {error}"));
        assert!(output.status.success(), "{output:?}");
        Self { at: at.into() }
    }

    /// Away from under whoever uses it.
    fn unmount(&self) {
        Command::new("fusermount3").args(["-u", "-z"]).arg(&self.at).stderr(Stdio::null()).status().unwrap();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.unmount();
    }
}

#[test]
fn local_tree_with_a_network_mount_inside() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("elsewhere/patient.toml", PATIENT);
    fs::create_dir(clinic.path("inbox/ward")).unwrap();
    let _share = Share::mount(&clinic.path("elsewhere"), &clinic.path("inbox/ward"));
    let _daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/first.pdf", pdf("first"));
    clinic.wait_for("the local document", || lies_in_done(&clinic, "first.pdf"));
    let dropped = Instant::now();
    clinic.drop_file("elsewhere/scan.pdf", pdf("on the mount"));
    clinic.wait_for_file("done/ward/scan.pdf.receipt.json");
    assert!(dropped.elapsed() < Duration::from_secs(30), "found by the full scan of every minute, not by polling");
    assert!(!clinic.path("elsewhere/scan.pdf").exists(), "moved over the border of two filesystems");
    assert_eq!(fs::read(clinic.path("done/ward/scan.pdf")).unwrap(), pdf("on the mount"));
}

#[test]
fn a_share_that_goes_while_its_document_is_sent_comes_back_with_it() {
    let clinic = Clinic::new(&[]);
    fs::rename(clinic.path("inbox"), clinic.path("elsewhere")).unwrap();
    fs::create_dir(clinic.path("inbox")).unwrap();
    let share = Share::mount(&clinic.path("elsewhere"), &clinic.path("inbox"));
    clinic.fault("create:nth=1:delay=3s");
    let _daemon = clinic.daemon();
    clinic.drop_file("elsewhere/bixby/scan.pdf", pdf("a"));
    clinic.wait_for("the message is on its way", || clinic.record()["creates"] == 1);
    share.unmount();
    clinic.wait_for("the alarm", || said(&clinic, "its share is not mounted") > 0);
    assert_eq!(clinic.files("done"), [] as [&str; 0], "a note without its document would be a lie");
    assert!(clinic.path("elsewhere/bixby/scan.pdf").exists());
    let _share = Share::mount(&clinic.path("elsewhere"), &clinic.path("inbox"));
    clinic.wait_for("the document is filed", || lies_in_done(&clinic, "scan.pdf"));
    assert_eq!(clinic.receipt("done/bixby/scan.pdf.receipt.json")["status"], "accepted");
    assert_eq!((clinic.accepted().len(), said(&clinic, "its share is not mounted")), (1, 1));
}

#[test]
fn done_is_never_made_beneath_a_share_that_is_not_mounted() {
    let mut clinic = Clinic::new(&[]);
    for folder in ["inbox", "done", "failed"] {
        fs::create_dir_all(clinic.path("share")).unwrap();
        fs::rename(clinic.path(folder), clinic.path(format!("share/{folder}"))).unwrap();
    }
    clinic.inbox_path = "share/inbox".into();
    fs::rename(clinic.path("share"), clinic.path("elsewhere")).unwrap();
    fs::create_dir(clinic.path("share")).unwrap();
    let mut daemon = clinic.daemon();
    clinic.wait_for("the alarm", || said(&clinic, "the inbox cannot be read") > 0);
    assert!(daemon.is_running());
    assert_eq!(clinic.files("share"), [] as [&str; 0]);
    assert_eq!(
        fs::read_dir(clinic.path("share")).unwrap().count(),
        0,
        "an empty folder made there would hide behind the share"
    );
    fs::remove_dir(clinic.path("share")).unwrap();
    fs::rename(clinic.path("elsewhere"), clinic.path("share")).unwrap();
    clinic.drop_file("share/inbox/bixby/scan.pdf", pdf("a"));
    clinic.wait_for_file("share/done/bixby/scan.pdf.receipt.json");
}

#[test]
fn busy_or_denied_is_tried_again() {
    for error in ["EBUSY", "ESTALE", "EACCES", "EIO"] {
        let clinic = Clinic::new(&[]);
        clinic.drop_file("inbox/bixby/scan.pdf", pdf(error));
        let inject = format!("inject=openat2:error={error}:when=1..6");
        let _daemon = daemon_with_faults(&clinic, &["-e", "trace=openat2", "-e", &inject], &[]);
        clinic.wait_for(error, || lies_in_done(&clinic, "scan.pdf"));
        assert_eq!((said(&clinic, "refused"), clinic.accepted().len()), (0, 1), "{error}");
    }
}

#[test]
fn a_folder_that_cannot_be_listed_is_not_an_empty_one() {
    for error in ["ESTALE", "EACCES", "EIO"] {
        let clinic = Clinic::new(&[]);
        clinic.drop_file("inbox/bixby/scan.pdf", pdf(error));
        clinic.drop_file("inbox/bixby/scan.pdf.toml", "title = \"The sidecar counts\"\n");
        let inject = format!("inject=getdents64:error={error}:when=1..9");
        let folder = clinic.path("inbox/bixby").display().to_string();
        let _daemon = daemon_with_faults(&clinic, &["-P", &folder, "-e", "trace=getdents64", "-e", &inject], &[]);
        clinic.wait_for(error, || lies_in_done(&clinic, "scan.pdf"));
        assert_eq!(clinic.accepted()[0]["title"], "The sidecar counts", "{error}");
        // Each of the program's threads has injections of its own.
        let (gone, back) = ("a patient folder cannot be read", "every patient folder can be read again");
        assert!(said(&clinic, gone) > 0, "{error}");
        clinic.wait_for("the word that it is over", || said(&clinic, gone) == said(&clinic, back));
    }
}

#[test]
fn a_run_that_could_not_read_a_folder_does_not_say_that_all_is_done() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("not seen"));
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=getdents64", "-e", "inject=getdents64:error=EACCES", "-P"])
        .arg(clinic.path("inbox/bixby"))
        .arg(env!("CARGO_BIN_EXE_chartdrop"))
        .args(["run", "--once", "--for", "20s", "--config"])
        .arg(clinic.config())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("cannot be read, or not all of them: 1."), "{words}");
}

#[test]
fn a_watch_limit_means_polling_and_says_so() {
    for (limit, words) in [("max_inotify_watches", "max_user_watches"), ("max_inotify_instances", "max_user_instances")]
    {
        let clinic = Clinic::new(&[]);
        for n in 0..5 {
            clinic.drop_file(format!("inbox/patient {n}/patient.toml"), PATIENT);
        }
        // A user namespace has limits of its own.
        let script = format!("echo 1 > /proc/sys/user/{limit}; exec \"$@\"");
        let script = script.replace("echo 1", if limit.ends_with("watches") { "echo 2" } else { "echo 0" });
        let _daemon = daemon_under(&clinic, "unshare", &["-U", "-r", "sh", "-c", &script, "sh"], &[]);
        clinic.wait_for(words, || said(&clinic, words) > 0);
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"));
        clinic.wait_for("the document is found all the same", || lies_in_done(&clinic, "scan.pdf"));
        assert_eq!(said(&clinic, words), 1, "said once");
    }
}

#[test]
fn overflow_means_rescan() {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox.push_str("watch = \"events\"\n");
    let daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/first.pdf", pdf("first"));
    clinic.wait_for("the watch stands", || lies_in_done(&clinic, "first.pdf"));
    daemon.signal(Signal::STOP);
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    for _ in 0..limit {
        clinic.drop_file("inbox/bixby/litter.tmp", "x");
        fs::remove_file(clinic.path("inbox/bixby/litter.tmp")).unwrap();
    }
    clinic.drop_file("inbox/late/patient.toml", PATIENT);
    clinic.drop_file("inbox/late/one.pdf", pdf("one"));
    daemon.signal(Signal::CONT);
    clinic.wait_for_file("done/late/one.pdf.receipt.json");
    wait_until_idle(daemon.pid());
    // The event of its folder was lost: only a new watch hears of what comes into it.
    let dropped = Instant::now();
    clinic.drop_file("inbox/late/two.pdf", pdf("two"));
    clinic.wait_for_file("done/late/two.pdf.receipt.json");
    assert!(dropped.elapsed() < Duration::from_secs(30), "found by the full scan of every minute");
}

/// Waits until a process has used no time of the processor for two seconds: it has looked at all there was.
fn wait_until_idle(pid: u32) {
    let used = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().map(str::to_owned).collect();
        (fields[11].clone(), fields[12].clone())
    };
    let (mut before, mut since) = (used(), Instant::now());
    let is_idle = || {
        let now = used();
        if std::mem::replace(&mut before, now.clone()) != now {
            since = Instant::now();
        }
        since.elapsed() > Duration::from_secs(2)
    };
    support::wait_for("it is idle", is_idle, String::new);
}

#[test]
fn a_look_that_hangs_is_noticed_by_the_watchdog() {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox.push_str("watch = \"poll\"\n");
    let socket = UnixDatagram::bind(clinic.path("notify.sock")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let folder = clinic.path("inbox").display().to_string();
    let environment =
        [("NOTIFY_SOCKET", clinic.path("notify.sock").display().to_string()), ("WATCHDOG_USEC", "1000000".into())];
    let hang = ["-P", &folder, "-e", "trace=getdents64", "-e", "inject=getdents64:delay_enter=600000000:when=5+"];
    let _daemon = daemon_with_faults(&clinic, &hang, &environment);
    let next = || {
        let mut buffer = [0; 1000];
        match socket.recv(&mut buffer) {
            Ok(length) => Some(String::from_utf8_lossy(&buffer[..length]).into_owned()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("{error}"),
        }
    };
    clinic.wait_for("it is ready", || next().is_some_and(|word| word.contains("READY=1")));
    let mut fed = 0;
    // It is told twenty times in the time for which this waits.
    while let Some(word) = next() {
        fed += usize::from(word.contains("WATCHDOG=1"));
    }
    assert!(fed > 3, "{fed}");
    assert_eq!(said(&clinic, "does not come to an end"), 1, "and it says why it is silent");
}

#[test]
fn long_outage_raises_one_alarm() {
    let mut clinic = Clinic::new(&[]);
    clinic.delivery.push_str("alarm_after = \"1s\"\n");
    let _daemon = clinic.daemon();
    for outage in 1..3 {
        clinic.fault("binary:always:status=503");
        for n in 0..3 {
            clinic.drop_file(format!("inbox/bixby/{outage} {n}.pdf"), pdf(&format!("{outage} {n}")));
        }
        clinic.wait_for("the alarm", || said(&clinic, "ALARM") == outage);
        let tries = || clinic.record()["requests"].as_u64().unwrap();
        let before = tries();
        clinic.wait_for("a long outage", || tries() > before + 20);
        assert_eq!(said(&clinic, "ALARM"), outage, "one an incident");
        clinic.clear_faults();
        clinic.wait_for("its end", || said(&clinic, "no document has waited too long any more") == outage);
        clinic.wait_for("all of them", || clinic.files("inbox") == ["bixby/patient.toml"]);
    }
    assert_eq!(clinic.accepted().len(), 6);
}

#[test]
fn inode_reuse_is_not_identity() {
    let clinic = Clinic::new(&[]);
    clinic.fault("binary:always:status=503");
    let _daemon = clinic.daemon();
    let path = clinic.drop_file("inbox/bixby/scan.pdf", pdf("one"));
    clinic.wait_for("it waits", || said(&clinic, "will be tried again") > 0);
    // Another document in the same inode, of the same size and with the same modification time.
    let before = path.metadata().unwrap();
    let time: SystemTime = before.modified().unwrap();
    let mut file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all(&pdf("two")).unwrap();
    file.set_modified(time).unwrap();
    drop(file);
    let after = path.metadata().unwrap();
    let identity = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime_nsec());
    assert_eq!(identity(&before), identity(&after));
    clinic.clear_faults();
    clinic.wait_for("it is filed", || lies_in_done(&clinic, "scan.pdf"));
    let accepted = clinic.accepted();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &pdf("two"));
    let sha256: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((accepted.len(), accepted[0]["sha256"].as_str()), (1, Some(sha256.as_str())));
    assert_eq!(fs::read(clinic.path("done/bixby/scan.pdf")).unwrap(), pdf("two"));
}

#[test]
fn a_hundred_thousand_files_in_one_folder() {
    const FILES: usize = 100_000;
    let clinic = Clinic::new(&[]);
    for n in 0..FILES {
        fs::write(clinic.path(format!("inbox/bixby/{n:06}.txt")), format!("Document number {n}.\n")).unwrap();
    }
    let began = Instant::now();
    let mut daemon = clinic.daemon();
    clinic.wait_for("the first of them", || clinic.path("done/bixby").exists());
    println!("the first was out after {:.1} s", began.elapsed().as_secs_f32());
    let done = || fs::read_dir(clinic.path("done/bixby")).unwrap().count();
    clinic.wait_for("some hundreds of them", || done() > 1000);
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
    let peak: usize = peak.parse().unwrap();
    println!("peak {peak} kB");
    assert!(peak < 46_000 + FILES * 2, "{peak} kB: more than two kilobytes a file that waits");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().into_raw(), 0);
    let names = |folder: &str| clinic.files(folder).into_iter().filter(|name| name.ends_with(".txt")).count();
    assert_eq!(names("inbox") + names("done"), FILES, "each lies in one place");
    let record: serde_json::Value = serde_json::from_str(&clinic.http("GET", "/sandbox/record", "")).unwrap();
    assert_eq!(record["accepted"].as_array().unwrap().len(), names("done"), "each was sent once");
}

#[test]
fn ten_thousand_patient_folders() {
    const FOLDERS: usize = 10_000;
    let clinic = Clinic::new(&[]);
    for n in 0..FOLDERS {
        let patient = PATIENT.replace("0000000001", &format!("{n:010}"));
        clinic.drop_file(format!("inbox/{n:05}/patient.toml"), patient);
    }
    fs::remove_dir_all(clinic.path("inbox/bixby")).unwrap();
    let _daemon = clinic.daemon();
    for n in [0, 4999, 9999] {
        clinic.drop_file(format!("inbox/{n:05}/scan.pdf"), pdf(&n.to_string()));
    }
    for n in [0, 4999, 9999] {
        clinic.wait_for_file(&format!("done/{n:05}/scan.pdf.receipt.json"));
    }
    let mut patients: Vec<_> = clinic
        .accepted()
        .iter()
        .map(|message| message["patient_identifiers"][0]["value"].as_str().unwrap().to_owned())
        .collect();
    patients.sort();
    assert_eq!(patients, ["0000000000", "0000004999", "0000009999"]);
}
