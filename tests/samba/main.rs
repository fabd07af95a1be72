//! The inbox as a real share: a Samba server over it, and the ways in which Windows, staff and scanners drop files there.
//! Each time the sandbox must have accepted exactly what was dropped whole, for the right patient, once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod example;
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process_group};
use support::{Clinic, PATIENT, pdf, sample, sha256, wait_for};

/// A Samba server of this test's own: it runs as whoever runs the test, and keeps all its state in the clinic's folder.
struct Share<'a> {
    clinic: &'a Clinic,
    server: Child,
    port: u16,
    /// How smbclient logs in.
    login: Vec<String>,
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        // With the process that it started for each client.
        kill_process_group(Pid::from_child(&self.server), Signal::KILL).ok();
        self.server.wait().ok();
    }
}

/// Who runs this test.
fn user() -> String {
    String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned()
}

impl<'a> Share<'a> {
    /// Shares the clinic's folder with guests: the inbox, done and failed in it.
    fn new(clinic: &'a Clinic) -> Self {
        let user = user();
        let share = format!("[clinic]\npath = {}\nguest ok = yes\nread only = no\n", clinic.path("").display());
        let global = format!("[global]\nmap to guest = Bad User\nguest account = {user}\n");
        Self::start(clinic, &format!("{global}{share}"), vec!["--no-pass".into()], |_| {})
    }

    /// Starts a server with this configuration, which begins with its global part; where it keeps its state is added to that.
    fn start(clinic: &'a Clinic, config: &str, login: Vec<String>, prepare: impl FnOnce(&Path)) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let state = clinic.path("samba");
        fs::create_dir(&state).unwrap();
        let state = state.display();
        let own = format!(
            "[global]\nserver role = standalone server\nsmb ports = {port}\ninterfaces = 127.0.0.1\n\
             bind interfaces only = yes\ndisable netbios = yes\n\
             private dir = {state}\nlock directory = {state}\nstate directory = {state}\ncache directory = {state}\n\
             pid directory = {state}\nncalrpc dir = {state}/ncalrpc\nlog file = {state}/log\n\
             passdb backend = tdbsam:{state}/passdb.tdb\nload printers = no\nprintcap name = /dev/null\n\
             disable spoolss = yes\n"
        );
        let config = clinic.drop_file("samba/smb.conf", config.replacen("[global]\n", &own, 1));
        prepare(&config);
        let said = fs::File::create(clinic.path("samba/said")).unwrap();
        let server = Command::new("smbd")
            .args(["--foreground", "--no-process-group", "--debug-stdout", "--configfile"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .process_group(0)
            .spawn()
            .expect("smbd (Debian package: samba)");
        let share = Self { clinic, server, port, login };
        let said = || fs::read_to_string(clinic.path("samba/said")).unwrap_or_default();
        wait_for("the share", || share.try_commands("ls").is_ok(), said);
        share
    }

    fn try_commands(&self, commands: &str) -> Result<String, String> {
        let output = Command::new("smbclient")
            .args(["//127.0.0.1/clinic", "--port", &self.port.to_string(), "--command", commands])
            .args(&self.login)
            .current_dir(self.clinic.path(""))
            .output()
            .expect("smbclient (Debian package: smbclient)");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() && !text.contains("NT_STATUS_") { Ok(text) } else { Err(text) }
    }

    /// What a person does with smbclient; local files are relative to the clinic's folder.
    fn commands(&self, commands: &str) -> String {
        self.try_commands(commands).unwrap_or_else(|text| panic!("{commands}: {text}"))
    }

    /// Copies bytes to a place in the share.
    fn put(&self, to: &str, bytes: &[u8]) {
        self.clinic.drop_file("to-put", bytes);
        self.commands(&format!("put to-put \"{to}\""));
    }

    /// A client that goes step by step.
    fn windows(&self) -> Windows {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samba/windows.py");
        let mut client = Command::new("/usr/bin/python3")
            .arg(script)
            .arg(format!("smb://127.0.0.1:{}/clinic", self.port))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 (Debian package: python3)");
        let said = BufReader::new(client.stdout.take().unwrap());
        Windows { client, said }
    }
}

/// An SMB client that keeps a file open from step to step; killed at the end of its test.
struct Windows {
    client: Child,
    said: BufReader<ChildStdout>,
}

impl Drop for Windows {
    fn drop(&mut self) {
        self.client.kill().ok();
        self.client.wait().ok();
    }
}

impl Windows {
    fn step(&mut self, step: &str) {
        writeln!(self.client.stdin.as_mut().unwrap(), "{step}").unwrap();
        let mut answer = String::new();
        self.said.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n", "{step}");
    }
}

/// A clinic that waits long for what is incomplete, so that only a test that means it sees a refusal.
fn clinic() -> Clinic {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox = "settle = \"200ms\"\nincomplete_after = \"60s\"\n".into();
    clinic
}

/// Waits until a document that was dropped after everything else is through: what was ready before it was looked at too.
fn let_one_pass(clinic: &Clinic, share: &Share<'_>, name: &str) -> Vec<u8> {
    let bytes = pdf(name);
    share.put(&format!("inbox/bixby/{name}.pdf"), &bytes);
    clinic.wait_for_file(&format!("done/bixby/{name}.pdf.receipt.json"));
    bytes
}

/// The sandbox accepted exactly these documents, each once, for that patient.
fn accepted_exactly<'a>(clinic: &Clinic, expected: impl IntoIterator<Item = (&'a str, &'a [u8])>) {
    let mut left = BTreeMap::new();
    for (patient, bytes) in expected {
        *left.entry((patient.to_owned(), sha256(bytes))).or_insert(0) += 1;
    }
    for sent in clinic.accepted() {
        let of = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let key = (of(&sent["patient_identifiers"][0]["value"]), of(&sent["sha256"]));
        *left.entry(key).or_insert(0) -= 1;
    }
    assert!(left.values().all(|count| *count == 0), "missing (positive) or too many (negative): {left:#?}");
}

#[test]
fn a_folder_that_is_copied_to_the_share_with_everything_in_it() {
    let clinic = clinic();
    let share = Share::new(&clinic);
    let _daemon = clinic.daemon();
    let mut files: Vec<_> = (0..30).map(|i| (format!("scans/2026/{i}.pdf"), pdf(&format!("page {i}")))).collect();
    files.push(("SCAN.PDF".into(), pdf("in capitals")));
    files.push(("Überweisung – Müller 影像.pdf".into(), pdf("letters of the world")));
    files.push((format!("{}.pdf", "long name ".repeat(20)), pdf("long")));
    files.push(("X-RAY.TIF".into(), sample("xray.tif")));
    for (name, bytes) in &files {
        clinic.drop_file(format!("desktop/alvarez/{name}"), bytes);
    }
    for litter in ["Thumbs.db", "desktop.ini", "scans/Thumbs.db", "scans/2026/~$1.docx"] {
        clinic.drop_file(format!("desktop/alvarez/{litter}"), "litter");
    }
    // First: smbclient copies in the order of this machine's folder, in which it could come long after a scan.
    clinic.drop_file("desktop/patient.toml", PATIENT.replace("0000000001", "0000000002"));
    share.commands(
        "lcd desktop; cd inbox; mkdir alvarez; put patient.toml alvarez/patient.toml; recurse ON; prompt OFF; mput alvarez",
    );
    clinic.wait_for("all of them", || {
        files.iter().all(|(name, _)| clinic.has(format!("done/alvarez/{name}.receipt.json")))
    });
    accepted_exactly(&clinic, files.iter().map(|(_, bytes)| ("0000000002", bytes.as_slice())));
    assert_eq!(clinic.files("failed"), [] as [&str; 0]);
    let left = clinic.files("inbox/alvarez");
    assert_eq!(left.len(), 5, "patient.toml and the litter: {left:?}");
    let receipt = share.commands("get done/alvarez/SCAN.PDF.receipt.json -");
    assert!(receipt.contains("\"accepted\""), "staff can read it: {receipt}");
}

#[test]
fn a_patient_file_whose_name_somebody_wrote_in_capitals() {
    let clinic = clinic();
    let share = Share::new(&clinic);
    let _daemon = clinic.daemon();
    share.commands("mkdir inbox/alvarez");
    share.put("inbox/alvarez/Patient.TOML", PATIENT.replace("0000000001", "0000000002").as_bytes());
    let scan = pdf("a");
    share.put("inbox/alvarez/a.pdf", &scan);
    clinic.wait_for_file("failed/alvarez/a.pdf.reason.txt");
    let reason = clinic.reason("failed/alvarez/a.pdf.reason.txt");
    assert!(reason.split_whitespace().collect::<Vec<_>>().join(" ").contains("in small letters"), "{reason}");
    share.commands(
        "rename inbox/alvarez/Patient.TOML inbox/alvarez/p.tmp; rename inbox/alvarez/p.tmp inbox/alvarez/patient.toml",
    );
    share.commands("rename failed/alvarez/a.pdf inbox/alvarez/a.pdf");
    clinic.wait_for_file("done/alvarez/a.pdf.receipt.json");
    accepted_exactly(&clinic, [("0000000002", scan.as_slice())]);
}

#[test]
fn a_scan_that_a_client_still_has_open_waits_until_it_is_closed() {
    let clinic = clinic();
    let share = Share::new(&clinic);
    let _daemon = clinic.daemon();
    let scan = pdf("whole, and still open");
    clinic.drop_file("local", &scan);
    let mut windows = share.windows();
    windows.step("open inbox/bixby/scan.pdf");
    windows.step(&format!("write 0 {} {}", scan.len(), clinic.path("local").display()));
    let first = let_one_pass(&clinic, &share, "first");
    let second = let_one_pass(&clinic, &share, "second");
    assert!(clinic.has("inbox/bixby/scan.pdf"));
    accepted_exactly(&clinic, [("0000000001", first.as_slice()), ("0000000001", &second)]);
    windows.step("close");
    clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
    accepted_exactly(&clinic, [("0000000001", first.as_slice()), ("0000000001", &second), ("0000000001", &scan)]);
}

#[test]
fn half_a_scan_within_its_final_size_whose_client_died_is_never_sent() {
    let mut clinic = clinic();
    clinic.inbox = "settle = \"200ms\"\nincomplete_after = \"3s\"\n".into();
    let share = Share::new(&clinic);
    let _daemon = clinic.daemon();
    let names = ["referral.pdf", "wound-photo.jpg", "xray.tif", "insurance-card.png", "summary.rtf", "notes.txt"];
    for name in names {
        let scan = sample(name);
        clinic.drop_file("local", &scan);
        let mut windows = share.windows();
        windows.step(&format!("open inbox/bixby/{name}"));
        windows.step(&format!("size {}", scan.len()));
        windows.step(&format!("write 0 {} {}", scan.len() / 2, clinic.path("local").display()));
        // Dropped here: killed in the middle of its copy.
    }
    let other = let_one_pass(&clinic, &share, "other");
    for name in names {
        clinic.wait_for_file(&format!("failed/bixby/{name}.reason.txt"));
        let reason = share.commands(&format!("get failed/bixby/{name}.reason.txt -"));
        assert!(reason.contains("cut off") && reason.contains("NOT SENT"), "{name}: {reason}");
    }
    accepted_exactly(&clinic, [("0000000001", other.as_slice())]);
}

#[test]
fn a_copy_that_was_broken_off_and_is_made_again_is_sent_once() {
    let clinic = clinic();
    let share = Share::new(&clinic);
    let _daemon = clinic.daemon();
    let scan = pdf(&"a long scan ".repeat(20_000));
    clinic.drop_file("local", &scan);
    let mut windows = share.windows();
    windows.step("open inbox/bixby/scan.pdf");
    windows.step(&format!("size {}", scan.len()));
    windows.step(&format!("write 0 100000 {}", clinic.path("local").display()));
    drop(windows);
    let other = let_one_pass(&clinic, &share, "other");
    accepted_exactly(&clinic, [("0000000001", other.as_slice())]);
    share.put("inbox/bixby/scan.pdf", &scan);
    clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
    accepted_exactly(&clinic, [("0000000001", other.as_slice()), ("0000000001", &scan)]);
}

#[test]
fn a_scanner_that_opens_and_closes_the_file_for_every_page() {
    let clinic = clinic();
    let share = Share::new(&clinic);
    let _daemon = clinic.daemon();
    let scan = pdf(&"a scan of several pages ".repeat(500));
    clinic.drop_file("local", &scan);
    let mut windows = share.windows();
    let page = scan.len().div_ceil(4);
    let mut expected = Vec::new();
    for number in 0..4 {
        windows.step("open inbox/bixby/scan.pdf");
        windows.step(&format!("write {} {page} {}", number * page, clinic.path("local").display()));
        windows.step("close");
        if number < 3 {
            // So long a pause that the file has settled.
            expected.push(let_one_pass(&clinic, &share, &format!("meanwhile {number}")));
            assert!(clinic.has("inbox/bixby/scan.pdf"), "{:?}", clinic.files("failed"));
        }
    }
    clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
    expected.push(scan);
    accepted_exactly(&clinic, expected.iter().map(|bytes| ("0000000001", bytes.as_slice())));
}

#[test]
fn a_temporary_name_until_the_scan_is_whole() {
    let clinic = clinic();
    let share = Share::new(&clinic);
    let _daemon = clinic.daemon();
    let scan = pdf("renamed at the end");
    share.put("inbox/bixby/SCAN0001.TMP", &scan);
    let other = let_one_pass(&clinic, &share, "other");
    accepted_exactly(&clinic, [("0000000001", other.as_slice())]);
    share.commands("rename inbox/bixby/SCAN0001.TMP inbox/bixby/SCAN0001.PDF");
    clinic.wait_for_file("done/bixby/SCAN0001.PDF.receipt.json");
    accepted_exactly(&clinic, [("0000000001", other.as_slice()), ("0000000001", &scan)]);
}

#[test]
fn windows_dates_a_copy_back() {
    let mut clinic = clinic();
    // It is still there when its date is set.
    clinic.inbox = clinic.inbox.replace("200ms", "2s");
    let share = Share::new(&clinic);
    let _daemon = clinic.daemon();
    let scan = pdf("copied from a memory stick");
    clinic.drop_file("to-put", &scan);
    let old = "2001:02:03-04:05:06";
    share.commands(&format!("cd inbox/bixby; put to-put scan.pdf; utimes scan.pdf {old} {old} {old} {old}"));
    clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
    let filed = fs::metadata(clinic.path("done/bixby/scan.pdf")).unwrap().modified().unwrap();
    assert!(filed.elapsed().unwrap().as_secs() > 20 * 365 * 86_400, "it kept its date");
    accepted_exactly(&clinic, [("0000000001", scan.as_slice())]);
}

#[test]
fn a_later_scan_of_the_same_name_is_sent_as_well() {
    let clinic = clinic();
    let share = Share::new(&clinic);
    let _daemon = clinic.daemon();
    let scans = ["one", "two", "three"].map(pdf);
    for (scan, name) in scans.iter().zip(["scan.pdf", "scan (2).pdf", "scan (3).pdf"]) {
        share.put("inbox/bixby/scan.pdf", scan);
        clinic.wait_for_file(&format!("done/bixby/{name}.receipt.json"));
        assert_eq!(&fs::read(clinic.path(format!("done/bixby/{name}"))).unwrap(), scan);
    }
    accepted_exactly(&clinic, scans.iter().map(|scan| ("0000000001", scan.as_slice())));
}

#[test]
fn a_scan_that_is_deleted_or_replaced_while_it_is_being_sent() {
    let clinic = clinic();
    let share = Share::new(&clinic);
    // Longer than smbclient takes to start, twice.
    clinic.fault("create:first=2:delay=15s");
    let _daemon = clinic.daemon();
    let (deleted, replaced, replacement) = (pdf("deleted"), pdf("replaced"), pdf("replacement"));
    clinic.drop_file("deleted", &deleted);
    clinic.drop_file("replaced", &replaced);
    share.commands("cd inbox/bixby; put deleted deleted.pdf; put replaced replaced.pdf");
    clinic.wait_for("both are uploaded", || clinic.record()["uploads"] == 2);
    share.commands("del inbox/bixby/deleted.pdf; del inbox/bixby/replaced.pdf");
    share.put("inbox/bixby/replaced.pdf", &replacement);
    clinic.wait_for("all three", || clinic.accepted().len() == 3);
    clinic.wait_for("all three receipts", || {
        let receipts = clinic.files("done").into_iter().filter(|name| name.ends_with(".receipt.json"));
        receipts.count() == 3
    });
    accepted_exactly(&clinic, [deleted, replaced, replacement].iter().map(|scan| ("0000000001", scan.as_slice())));
    assert_eq!(clinic.files("inbox"), ["bixby/patient.toml"]);
}
