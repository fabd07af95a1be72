//! Filesystems that clinics have, and kernels that lack a call: every document leaves the inbox, once, with one note.
//!
//! Needs root (or sudo without a password) for what is mounted by the kernel, and Debian's packages openssh-server, sshfs,
//! mergerfs, bindfs, unionfs-fuse, fuse3, e2fsprogs, xfsprogs, btrfs-progs and strace.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use support::{Clinic, Daemon, PATIENT, chartdrop, pdf, sha256, wait_for};

/// A command of root's.
fn as_root(line: &str) {
    let sudo = if rustix::process::geteuid().is_root() { "" } else { "sudo -n " };
    let output =
        Command::new("sh").args(["-ec", &format!("PATH=$PATH:/usr/sbin:/sbin; {sudo}{line}")]).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// A filesystem that is mounted for this test.
struct Mounted {
    at: PathBuf,
    is_fuse: bool,
    server: Option<Child>,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let at = self.at.to_str().unwrap();
        if self.is_fuse {
            Command::new("fusermount3").args(["-u", "-z", at]).status().ok();
        } else {
            as_root(&format!("umount -l '{at}'"));
        }
        if let Some(server) = &mut self.server {
            server.kill().ok();
            server.wait().ok();
        }
    }
}

/// Mounts one of them at `share` of the clinic; what it needs besides is in `backing`.
fn mount(clinic: &Clinic, kind: &str) -> Mounted {
    let at = clinic.path("share");
    let backing = ["a", "b", "work"].map(|name| clinic.path(format!("backing/{name}")));
    for folder in backing.iter().chain([&at]) {
        fs::create_dir_all(folder).unwrap();
    }
    let [a, b, work] = backing.each_ref().map(|path| path.display().to_string());
    let to = at.display().to_string();
    let mut mounted = Mounted { at: at.clone(), is_fuse: true, server: None };
    match kind {
        "sshfs" => mounted.server = Some(mount_sshfs(clinic, &a, &to)),
        "mergerfs" => run("mergerfs", &["-o", "category.create=mfs", &format!("{a}:{b}"), &to]),
        "bindfs" => run("bindfs", &["--no-allow-other", &a, &to]),
        "unionfs-fuse" => run("unionfs", &["-o", "cow", &format!("{a}=RW:{b}=RO"), &to]),
        "overlay" => {
            mounted.is_fuse = false;
            as_root(&format!("mount -t overlay -o lowerdir='{b}',upperdir='{a}',workdir='{work}' overlay '{to}'"));
        }
        "tmpfs" => {
            mounted.is_fuse = false;
            as_root(&format!("mount -t tmpfs tmpfs '{to}'"));
        }
        disk => {
            mounted.is_fuse = false;
            let image = clinic.path("disk.img");
            // Sparse: xfs wants 300 MB.
            fs::File::create(&image).unwrap().set_len(400 << 20).unwrap();
            as_root(&format!("mkfs.{disk} -q '{}'", image.display()));
            as_root(&format!("mount -o loop '{}' '{to}'", image.display()));
        }
    }
    if !mounted.is_fuse {
        as_root(&format!("chown {} '{to}'", rustix::process::geteuid().as_raw()));
    }
    mounted
}

/// A real sshd of this user's, and the share that it serves.
fn mount_sshfs(clinic: &Clinic, folder: &str, at: &str) -> Child {
    let home = clinic.path("ssh");
    fs::create_dir(&home).unwrap();
    let file = |name: &str| home.join(name).display().to_string();
    for key in ["host", "user"] {
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &file(key)]);
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
         PermitRootLogin yes\nPidFile none\nSubsystem sftp internal-sftp\n",
        file("host"),
        file("user.pub")
    );
    fs::write(home.join("sshd_config"), config).unwrap();
    if rustix::process::geteuid().is_root() {
        fs::create_dir_all("/run/sshd").unwrap();
    }
    let log = fs::File::create(home.join("log")).unwrap();
    let server = Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f", &file("sshd_config")])
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("sshd (Debian package openssh-server): {error}"));
    let said = || fs::read_to_string(home.join("log")).unwrap();
    wait_for("sshd", || said().contains("listening"), said);
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let identity = format!("IdentityFile={}", file("user"));
    let target = format!("{}@127.0.0.1:{folder}", user.trim());
    let options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", &identity];
    let mut arguments = vec![target, at.into(), "-p".into(), port.to_string()];
    arguments.extend(options.iter().flat_map(|option| ["-o".into(), (*option).to_owned()]));
    run("sshfs", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    server
}

/// Puts inbox, done and failed onto the share.
fn on_the_share(clinic: &mut Clinic) {
    clinic.inbox_path = "share/inbox".into();
    for folder in ["inbox", "done", "failed"] {
        fs::create_dir(clinic.path(format!("share/{folder}"))).unwrap();
    }
    clinic.drop_file("share/inbox/bixby/patient.toml", PATIENT);
}

/// A document with its sidecar, a duplicate, one that is refused, and one that has another name elsewhere, twice.
fn deliver_all(clinic: &Clinic, folder: &str) {
    let _daemon = clinic.daemon();
    let at = |path: &str| format!("{folder}/{path}");
    for round in 1..=2 {
        clinic.drop_file(at("inbox/bixby/scan.pdf.toml"), "title = \"x\"\n");
        clinic.drop_file(at("inbox/bixby/scan.pdf"), pdf(&format!("scan {round}")));
        clinic.drop_file(at("inbox/bixby/setup.exe"), format!("MZ {round}"));
        clinic.drop_file(at("inbox/bixby/note.txt"), format!("A note, number {round}.\n"));
        let is_empty = || clinic.files(&at("inbox")) == ["bixby/patient.toml"];
        clinic.wait_for("the inbox is empty", is_empty);
        // Another title would make it another document.
        clinic.drop_file(at("inbox/bixby/again.pdf.toml"), "title = \"x\"\n");
        clinic.drop_file(at("inbox/bixby/again.pdf"), pdf(&format!("scan {round}")));
        clinic.wait_for("the duplicate is filed", is_empty);
        clinic.wait_for("every note", || clinic.files(&at("done")).len() == 8 * round);
    }
    let done = clinic.files(&at("done"));
    let expected = ["again (2).pdf", "again.pdf", "note (2).txt", "note.txt", "scan (2).pdf", "scan.pdf"];
    for name in expected {
        assert!(done.contains(&format!("bixby/{name}")), "{name}: {done:?}");
        let bytes = fs::read(clinic.path(at(&format!("done/bixby/{name}")))).unwrap();
        let receipt = clinic.receipt(&at(&format!("done/bixby/{name}.receipt.json")));
        assert_eq!(receipt["document"]["content"]["sha256"], sha256(&bytes).as_str(), "{name}");
    }
    assert_eq!(done.len(), 16, "{done:?}");
    let failed = clinic.files(&at("failed"));
    assert_eq!(failed.len(), 4, "{failed:?}");
    assert_eq!(clinic.accepted().len(), 4);
}

fn delivers_on(kind: &str) {
    let mut clinic = Clinic::new(&[]);
    let _mounted = mount(&clinic, kind);
    on_the_share(&mut clinic);
    deliver_all(&clinic, "share");
}

#[test]
fn on_sshfs() {
    delivers_on("sshfs");
}

#[test]
fn on_mergerfs() {
    delivers_on("mergerfs");
}

#[test]
fn on_bindfs() {
    delivers_on("bindfs");
}

#[test]
fn on_unionfs_fuse() {
    delivers_on("unionfs-fuse");
}

#[test]
fn on_overlay() {
    delivers_on("overlay");
}

#[test]
fn on_tmpfs() {
    delivers_on("tmpfs");
}

#[test]
fn on_ext4() {
    delivers_on("ext4");
}

#[test]
fn on_xfs() {
    delivers_on("xfs");
}

#[test]
fn on_btrfs() {
    delivers_on("btrfs");
}

#[test]
fn from_one_disk_to_another_with_time_and_permissions() {
    let mut clinic = Clinic::new(&[]);
    let _mounted = mount(&clinic, "tmpfs");
    for folder in ["done", "failed"] {
        fs::create_dir(clinic.path(format!("share/{folder}"))).unwrap();
        clinic.inbox.push_str(&format!("{folder} = \"share/{folder}\"\n"));
    }
    let scan = clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"));
    let time = std::time::SystemTime::now() - Duration::from_secs(100_000);
    fs::File::options().append(true).open(&scan).unwrap().set_modified(time).unwrap();
    assert_eq!(clinic.run_once(), 0);
    let filed = fs::metadata(clinic.path("share/done/bixby/scan.pdf")).unwrap();
    assert_eq!(filed.modified().unwrap(), time);
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&filed) & 0o7777, 0o640);
    assert_eq!(clinic.files("inbox"), ["bixby/patient.toml"], "and nothing hidden is left");
}

/// The daemon under strace, which takes system calls away or makes them slow.
fn daemon_without(clinic: &Clinic, options: &[&str]) -> Daemon {
    let log = fs::File::options().create(true).append(true).open(clinic.path("daemon.log")).unwrap();
    let mut command = Command::new("strace");
    // Started by its tracer's child: the daemon itself is the process that is killed at the end.
    command.args(["-D", "-f", "-qq", "-o"]).arg(clinic.path("strace.txt")).args(options);
    command.arg(chartdrop().get_program()).arg("run").arg("--config").arg(clinic.config());
    command.env_remove("NOTIFY_SOCKET").env_remove("RUST_LOG");
    command.stdout(Stdio::null()).stderr(log);
    Daemon::of(command.spawn().unwrap_or_else(|error| panic!("strace (Debian package strace): {error}")))
}

#[test]
fn without_the_calls_of_newer_kernels_and_better_filesystems() {
    for taken in [
        &["inject=openat2:error=ENOSYS"][..],
        &["inject=openat2:error=EPERM"],
        &["inject=renameat2:error=EINVAL"],
        &["inject=renameat2:error=EINVAL", "inject=linkat:error=EPERM"],
        &["inject=openat2:error=ENOSYS", "inject=renameat2:error=ENOSYS", "inject=linkat:error=EOPNOTSUPP"],
    ] {
        let clinic = Clinic::new(&[]);
        clinic.drop_file("inbox/bixby/scan.pdf.toml", "title = \"x\"\n");
        clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"));
        clinic.drop_file("inbox/bixby/setup.exe", "MZ");
        let options: Vec<_> = taken.iter().flat_map(|inject| ["-e", inject]).collect();
        let daemon = daemon_without(&clinic, &options);
        clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
        clinic.wait_for_file("failed/bixby/setup.exe.reason.txt");
        clinic.wait_for("the inbox is empty", || clinic.files("inbox") == ["bixby/patient.toml"]);
        drop(daemon);
        let expected = ["bixby/scan.pdf", "bixby/scan.pdf.receipt.json", "bixby/scan.pdf.toml"];
        assert_eq!(clinic.files("done"), expected, "{taken:?}");
        assert_eq!(clinic.files("failed").len(), 2, "{taken:?}");
        let says = fs::read_to_string(clinic.path("daemon.log")).unwrap().contains("openat2 is not available");
        assert_eq!(says, taken[0].contains("openat2"), "{taken:?}");
    }
}

#[test]
fn check_says_how_folders_are_opened() {
    let clinic = Clinic::new(&[]);
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=openat2:error=ENOSYS"])
        .arg(chartdrop().get_program())
        .args(["check", "--config"])
        .arg(clinic.config())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("openat2 is not available"), "{said}");
}

#[test]
fn a_document_that_is_replaced_while_it_is_moved_and_again_while_it_is_put_back_is_not_lost() {
    let clinic = Clinic::new(&[]);
    let (first, second, third) = (pdf("first"), pdf("second"), pdf("third"));
    clinic.drop_file("inbox/bixby/scan.pdf", &first);
    let put = |bytes: &[u8]| {
        clinic.drop_file("elsewhere.pdf", bytes);
        fs::rename(clinic.path("elsewhere.pdf"), clinic.path("inbox/bixby/scan.pdf")).unwrap();
    };
    let _daemon = daemon_without(&clinic, &["-e", "trace=renameat2", "-e", "inject=renameat2:delay_enter=1500000"]);
    let calls = |what: &str| {
        let trace = fs::read_to_string(clinic.path("strace.txt")).unwrap_or_default();
        trace.matches(what).count()
    };
    clinic.wait_for("it is accepted", || clinic.accepted().len() == 1);
    // Its move waits in the kernel's entry; what is moved is what has its name when it goes on.
    clinic.wait_for("the move", || calls("scan.pdf") > 0 || clinic.has("done/bixby/scan.pdf"));
    if !clinic.has("done/bixby/scan.pdf") {
        put(&second);
    }
    clinic.wait_for("the wrong one has arrived", || clinic.has("done/bixby/scan.pdf"));
    put(&third);
    clinic.wait_for("the inbox is empty", || clinic.files("inbox") == ["bixby/patient.toml"]);
    let is_sent = |bytes: &[u8]| clinic.accepted().iter().any(|message| message["sha256"] == sha256(bytes).as_str());
    clinic.wait_for("all are sent", || is_sent(&third));
    for name in clinic.files("done").into_iter().filter(|name| name.ends_with(".pdf")) {
        let bytes = fs::read(clinic.path(format!("done/{name}"))).unwrap();
        assert!(is_sent(&bytes), "{name} is in done and was never sent");
    }
}

#[test]
fn a_folder_that_has_an_error_for_a_moment_at_the_start_does_not_end_the_service_for_good() {
    for (error, folder) in [("ESTALE", "inbox"), ("EIO", "done"), ("ENOSPC", "failed")] {
        let clinic = Clinic::new(&[]);
        let path = clinic.path(folder).display().to_string();
        let inject = format!("inject=%file:error={error}:when=1..3");
        let mut daemon = daemon_without(&clinic, &["-P", &path, "-e", &inject]);
        clinic.drop_file("inbox/bixby/scan.pdf", pdf(error));
        let is_over = || !daemon.is_running() || clinic.has("done/bixby/scan.pdf.receipt.json");
        wait_for("it goes on, or ends", is_over, || fs::read_to_string(clinic.path("daemon.log")).unwrap());
        if !daemon.is_running() {
            // systemd starts it again after any code but 2.
            assert_eq!(daemon.wait().code(), Some(1), "{error} of {folder}");
        }
    }
}

#[test]
fn a_text_file_whose_writers_cannot_be_seen_waits_until_it_has_been_quiet() {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox = "settle = \"100ms\"\nincomplete_after = \"4s\"\n".into();
    let path = clinic.drop_file("inbox/bixby/note.txt", "The first half, and ");
    // Another user's file, and a service without CAP_LEASE.
    as_root(&format!("chown 4242 '{}'", path.display()));
    as_root(&format!("chmod 0666 '{}'", path.display()));
    let mut options = vec!["-e", "trace=fcntl"];
    if rustix::process::geteuid().is_root() {
        options.extend(["setpriv", "--bounding-set=-lease"]);
    }
    let _daemon = daemon_without(&clinic, &options);
    let asked = || fs::read_to_string(clinic.path("strace.txt")).unwrap_or_default().contains("F_SETLEASE");
    clinic.wait_for("the daemon asks who writes", asked);
    let written = Instant::now();
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, b"the second half.\n").unwrap();
    drop(file);
    clinic.wait_for_file("done/bixby/note.txt.receipt.json");
    assert!(written.elapsed() > Duration::from_secs(3), "sent too soon");
    let whole = sha256(b"The first half, and the second half.\n");
    assert_eq!(clinic.accepted().iter().map(|message| message["sha256"].clone()).collect::<Vec<_>>(), [whole.as_str()]);
}
