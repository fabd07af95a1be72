//! One clinic for every test: the real binary, the strict sandbox in a process of its own, real folders, real HTTP.

#![allow(dead_code, reason = "each test target uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

pub mod dice;
pub mod oracle;
pub mod unsynced;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything takes on a busy machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(300);

pub const PATIENT: &str = r#"
identifier = [{ system = "urn:redox:health-one:MR", value = "0000000001", type = "MR" }]
family = "Bixby"
given = ["Timothy", "Paul"]
birth_date = 2008-01-06
gender = "male"
"#;

/// The sample document of that name.
pub fn sample(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/samples").join(name)).unwrap()
}

/// A PDF that no other test document equals.
pub fn pdf(words: &str) -> Vec<u8> {
    let mut bytes = sample("referral.pdf");
    let end = bytes.windows(9).rposition(|window| window == b"startxref").unwrap();
    bytes.splice(end..end, format!("% {words}\n").into_bytes());
    bytes
}

/// SHA-256 as the record spells it.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A clinic: folders, a key, a sandbox, and the settings that tests change.
pub struct Clinic {
    _dir: TempDir,
    /// Where its folders and files are: a folder of its own, unless a test moves it.
    pub home: PathBuf,
    sandbox: Child,
    _said: BufReader<ChildStdout>,
    pub base_url: String,
    /// Where the inbox is; done and failed are beside it.
    pub inbox_path: String,
    /// Lines for `[[inbox]]`.
    pub inbox: String,
    /// Lines for `[delivery]`.
    pub delivery: String,
    /// Lines for `[redox]`.
    pub redox: String,
}

impl Drop for Clinic {
    fn drop(&mut self) {
        self.sandbox.kill().ok();
        self.sandbox.wait().ok();
    }
}

impl Clinic {
    /// A clinic with one patient, and a sandbox started with `arguments` besides the usual ones.
    pub fn new(arguments: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let key = chartdrop()
            .args(["keygen", "--algorithm", "ES384", "--out"])
            .arg(dir.path().join("key.pem"))
            .output()
            .unwrap();
        assert!(key.status.success(), "{key:?}");
        fs::write(dir.path().join("jwk.json"), &key.stdout).unwrap();
        let mut sandbox = chartdrop()
            .args(["sandbox", "--listen", "127.0.0.1:0", "--client-id", "clinic", "--jwks"])
            .arg(dir.path().join("jwk.json"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        // Held open: a sandbox whose words nobody takes ends.
        let mut said = BufReader::new(sandbox.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let base_url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        let clinic = Self {
            home: dir.path().into(),
            _dir: dir,
            sandbox,
            _said: said,
            base_url,
            inbox_path: "inbox".into(),
            inbox: "settle = \"100ms\"\nincomplete_after = \"1s\"\n".into(),
            delivery: "retry_first = \"100ms\"\nretry_max = \"500ms\"\n".into(),
            redox: String::new(),
        };
        for folder in ["inbox", "done", "failed"] {
            fs::create_dir(clinic.path(folder)).unwrap();
        }
        clinic.drop_file("inbox/bixby/patient.toml", PATIENT);
        clinic
    }

    /// A path in the clinic's folder, e.g. `inbox/bixby/scan.pdf`.
    pub fn path(&self, rel: impl AsRef<Path>) -> PathBuf {
        self.home.join(rel)
    }

    /// Writes a file; its folders are made.
    pub fn drop_file(&self, rel: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(rel);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    pub fn kid(&self) -> String {
        let jwk: Value = serde_json::from_slice(&fs::read(self.path("jwk.json")).unwrap()).unwrap();
        jwk["kid"].as_str().unwrap().to_owned()
    }

    /// Writes the configuration as it is now, and gives back its path.
    pub fn config(&self) -> PathBuf {
        let (base_url, kid) = (&self.base_url, self.kid());
        // Days and hours of a clinic, in a test's time.
        let resend_after = match self.delivery.contains("resend_after") {
            true => "",
            false => "resend_after = [\"50ms\", \"100ms\", \"150ms\"]",
        };
        let environment = if self.redox.contains("environment") { "" } else { "environment = \"Staging\"" };
        self.drop_file(
            "config.toml",
            format!(
                r#"
[[inbox]]
name = "front-desk"
path = "{}"
destination = "redox-fhir-sandbox"
{}{}
[document_types]
referral = {{ system = "http://loinc.org", code = "57133-1", display = "Referral note", folders = ["Referrals"] }}
[redox]
base_url = "{base_url}"
{environment}
client_id = "clinic"
key_id = "{kid}"
private_key = "key.pem"
algorithm = "ES384"
{}
[delivery]
{resend_after}
{}
[ledger]
path = "ledger"
[status]
socket = "control.sock"
"#,
                self.inbox_path,
                // Nobody takes anything back, unless a test is about that.
                if self.inbox.split("[[").next().unwrap().contains("hold = ") { "" } else { "hold = \"0s\"\n" },
                self.inbox,
                self.redox,
                self.delivery
            ),
        )
    }

    /// `chartdrop ARGUMENTS --config …`, to its end.
    pub fn command(&self, arguments: &[&str]) -> Output {
        chartdrop().args(arguments).arg("--config").arg(self.config()).output().unwrap()
    }

    /// What `history` lists of deliveries in these states.
    pub fn deliveries(&self, states: &[&str]) -> Vec<Value> {
        let mut arguments = vec!["history", "--json", "--limit", "100000000"];
        arguments.extend(states.iter().flat_map(|state| ["--state", state]));
        let output = self.command(&arguments);
        assert!(output.status.success(), "{output:?}");
        let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(listed["next"].is_null(), "{listed}");
        listed["deliveries"].as_array().unwrap().clone()
    }

    /// Deliveries that are not filed yet.
    pub fn open_deliveries(&self) -> Vec<Value> {
        self.deliveries(&["queued", "sending", "unknown", "held", "filing"])
    }

    /// `chartdrop run --once`: gives back its exit code; what it printed is shown when the test fails.
    pub fn run_once(&self) -> i32 {
        let output = self.command(&["run", "--once", "--for", "50s"]);
        println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        output.status.code().unwrap()
    }

    /// Starts the daemon; its log goes to `daemon.log`.
    pub fn daemon(&self) -> Daemon {
        let log = fs::File::options().create(true).append(true).open(self.path("daemon.log")).unwrap();
        let child = chartdrop()
            .arg("run")
            .arg("--config")
            .arg(self.config())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Daemon { child }
    }

    /// The sandbox's record.
    pub fn record(&self) -> Value {
        serde_json::from_str(&self.http("GET", "/sandbox/record?bundles=1", "")).unwrap()
    }

    /// What the sandbox accepted.
    pub fn accepted(&self) -> Vec<Value> {
        self.record()["accepted"].as_array().unwrap().clone()
    }

    /// What the sandbox accepted, without the messages themselves.
    pub fn accepted_facts(&self) -> Vec<Value> {
        let record: Value = serde_json::from_str(&self.http("GET", "/sandbox/record", "")).unwrap();
        record["accepted"].as_array().unwrap().clone()
    }

    /// Adds to the sandbox's fault plan, e.g. `create:nth=1:status=503`.
    pub fn fault(&self, spec: &str) {
        self.http("POST", "/sandbox/faults", spec);
    }

    pub fn clear_faults(&self) {
        self.http("DELETE", "/sandbox/faults", "");
    }

    /// One HTTP request to the sandbox; gives back the body of a 2xx answer.
    pub fn http(&self, method: &str, path: &str, body: &str) -> String {
        let address = self.base_url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 2"), "{method} {path}: {head}\n{body}");
        body.to_owned()
    }

    /// Whether a file is there.
    pub fn has(&self, rel: impl AsRef<Path>) -> bool {
        self.path(rel).symlink_metadata().is_ok()
    }

    /// Waits for a condition, not for time.
    pub fn wait_for(&self, what: &str, condition: impl Fn() -> bool) {
        wait_for(what, condition, || fs::read_to_string(self.path("daemon.log")).unwrap_or_default());
    }

    pub fn wait_for_file(&self, rel: &str) {
        self.wait_for(rel, || self.has(rel));
    }

    /// A receipt, parsed.
    pub fn receipt(&self, rel: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(rel)).unwrap()).unwrap()
    }

    /// A reason's text.
    pub fn reason(&self, rel: &str) -> String {
        fs::read_to_string(self.path(rel)).unwrap()
    }

    /// Every file beneath a folder, relative to it, sorted.
    pub fn files(&self, folder: &str) -> Vec<String> {
        let root = self.path(folder);
        let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    found.push(entry.path().strip_prefix(&root).unwrap().to_string_lossy().into_owned());
                }
            }
        }
        found.sort();
        found
    }
}

/// A running daemon, killed at the end of its test.
pub struct Daemon {
    child: Child,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Daemon {
    /// One that was started in a way of its own.
    pub fn of(child: Child) -> Self {
        Self { child }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGKILL, and wait for the end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the daemon does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// The binary under test, in a group of its own, with nothing of this process's environment that it would read.
pub fn chartdrop() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chartdrop"));
    command.env_remove("CHARTDROP_CONFIG").env_remove("CREDENTIALS_DIRECTORY").env_remove("NOTIFY_SOCKET");
    command.env_remove("RUST_LOG").process_group(0);
    command
}

/// `COMMAND run --once` until `is_enough` has found what the test needs, in its words so far or elsewhere; then it is told to
/// end. Gives back its exit code and its words.
pub fn once_until(mut command: Command, config: &Path, is_enough: impl Fn(&str) -> bool) -> (i32, String) {
    let log = config.with_extension("log");
    let file = fs::File::create(&log).unwrap();
    command.args(["run", "--once", "--for", "10m", "--config"]).arg(config);
    let mut daemon = Daemon::of(command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap());
    let words = || fs::read_to_string(&log).unwrap();
    wait_for("enough of this run", || is_enough(&words()) || !daemon.is_running(), words);
    if daemon.is_running() {
        daemon.signal(rustix::process::Signal::TERM);
    }
    (daemon.wait().code().unwrap(), words())
}

/// Waits for a condition; `context` is shown when it does not come.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool, context: impl Fn() -> String) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for: {what}\n{}", context());
        std::thread::sleep(Duration::from_millis(20));
    }
}
