//! The page in a real browser: a person looks, searches, decides, logs in and goes on without a mouse.
//!
//! Each test makes a clinic, and `browse.mjs` does in headless Chromium what the test's name says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use support::{Clinic, Daemon, chartdrop, pdf};

const WRONG: &str = "title = \"Referral\"\n[patient]\nbirth_date = 2006-01-08\n";

/// A clinic whose daemon shows the page.
struct Desk {
    clinic: Clinic,
    daemon: Option<Daemon>,
    config: PathBuf,
    url: String,
}

impl Desk {
    fn new(clinic: Clinic, status: &str) -> Self {
        // Free a moment ago, and nobody else's: ports are given out in turn.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = fs::read_to_string(clinic.config()).unwrap();
        let lines = format!(
            "[status]\nlisten = \"127.0.0.1:{port}\"\ntime_zone = \"America/Chicago\"\ncontact = \"IT help desk, extension 4411\"\n{status}"
        );
        let path = clinic.drop_file("page.toml", config.replace("[status]\n", &lines));
        let scheme = if status.contains("tls_key") { "https" } else { "http" };
        let mut desk = Self { clinic, daemon: None, config: path, url: format!("{scheme}://127.0.0.1:{port}") };
        desk.start();
        desk
    }

    fn start(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.clinic.path("daemon.log")).unwrap();
        let child =
            chartdrop().args(["run", "--config"]).arg(&self.config).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.daemon = Some(Daemon::of(child));
        let address = self.url.split("//").nth(1).unwrap().to_owned();
        self.clinic.wait_for("the page", || std::net::TcpStream::connect(&address).is_ok());
    }

    /// Drops a document that nothing is wrong with.
    fn drop_good(&self, name: &str) {
        self.clinic.drop_file(format!("inbox/bixby/{name}"), pdf(name));
    }

    /// Has a document refused: its sidecar says another birth date.
    fn drop_wrong(&self, name: &str) {
        self.clinic.drop_file(format!("inbox/bixby/{name}.toml"), WRONG);
        self.clinic.drop_file(format!("inbox/bixby/{name}"), pdf(name));
        self.clinic.wait_for_file(&format!("failed/bixby/{name}.reason.txt"));
    }

    /// Does in the browser what `browse.mjs` calls so. Pictures are kept where `CHARTDROP_PICTURES` says.
    fn browse(&self, what: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page/browse.mjs");
        let output = Command::new("node")
            .arg(script)
            .args([what, &self.url])
            .arg(&self.clinic.home)
            .env("CHARTDROP_BROWSER_HOME", self.clinic.path("browser"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{what}: {}{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            fs::read_to_string(self.clinic.path("daemon.log")).unwrap()
        );
    }
}

#[test]
fn the_first_page_says_whether_everything_goes_out_and_what_needs_somebody() {
    let desk = Desk::new(Clinic::new(&[]), "");
    desk.browse("empty");
    desk.drop_good("letter.pdf");
    desk.clinic.wait_for_file("done/bixby/letter.pdf.receipt.json");
    desk.browse("all-well");
    desk.drop_wrong("referral cardiology.pdf");
    desk.drop_wrong("<img src=x onerror=alert(1)> & \"quotes\" 100% \u{202e}fdp.pdf");
    desk.browse("needs-somebody");
    // What somebody has taken out of the failed folder needs nobody any more.
    for name in desk.clinic.files("failed") {
        fs::remove_file(desk.clinic.path(format!("failed/{name}"))).unwrap();
    }
    desk.browse("all-well");
}

#[test]
fn a_person_tries_again_holds_releases_and_closes() {
    let desk = Desk::new(Clinic::new(&[]), "");
    desk.drop_wrong("referral.pdf");
    fs::write(desk.clinic.path("failed/bixby/referral.pdf.toml"), "title = \"Referral\"\n").unwrap();
    desk.browse("retry");
    desk.clinic.wait_for_file("done/bixby/referral.pdf.receipt.json");
    assert!(desk.clinic.command(&["pause", "Staging/redox-fhir-sandbox"]).status.success());
    desk.drop_good("held.pdf");
    desk.browse("hold-and-close");
    desk.clinic.wait_for_file("failed/bixby/held.pdf.reason.txt");
    let note = desk.clinic.reason("failed/bixby/held.pdf.reason.txt").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(note.contains("G. Adams decided that this document is not to be sent: wrong scan"), "{note}");
}

#[test]
fn what_changes_appears_by_itself_and_lost_contact_is_said() {
    let mut desk = Desk::new(Clinic::new(&[]), "");
    let seen = desk.clinic.path("seen");
    std::thread::scope(|scope| {
        let browsing = scope.spawn(|| desk.browse("live"));
        desk.clinic.wait_for_file("page-is-open");
        desk.drop_good("live.pdf");
        desk.clinic.wait_for("the browser to see it", || seen.exists() || browsing.is_finished());
        browsing.join().unwrap();
    });
    desk.daemon.take().unwrap().kill();
}

#[test]
fn a_page_is_found_on_by_keyboard_and_search_and_a_phone_shows_it_whole() {
    let desk = Desk::new(Clinic::new(&[]), "");
    for n in 0..3 {
        desk.drop_good(&format!("lab {n}.pdf"));
    }
    desk.clinic.wait_for("three", || desk.clinic.files("done").len() == 6);
    desk.drop_wrong(&format!("{}.pdf", "a-very-long-name-without-a-space-".repeat(6)));
    desk.browse("search-and-keyboard");
    desk.browse("other-pages");
}

const ROSTER: &str = "identifier,family,given,birth_date,gender\n\
    0000000001,Bixby,Timothy Paul,2008-01-06,male\n\
    0000000077,Okafor,Chidi,1985-03-01,\n\
    0000000078,O\u{e9}lafsd\u{f3}ttir <b>,J\u{f3}na,1990-12-31,female\n";

#[test]
fn nobody_has_to_write_toml() {
    let mut clinic = Clinic::new(&[]);
    clinic.drop_file("patients.csv", ROSTER);
    clinic.inbox = "settle = \"100ms\"\nincomplete_after = \"1h\"\nsidecar = \"required\"\nroster = \"patients.csv\"\n[inbox.patient]\nidentifier_system = \"urn:redox:health-one:MR\"\nfolder_pattern = '^(?<identifier>[0-9]{10})'\n".into();
    let desk = Desk::new(clinic, "");
    let clinic = &desk.clinic;
    std::thread::scope(|scope| {
        let browsing = scope.spawn(|| desk.browse("patients"));
        let is_made = || clinic.has("inbox/0000000077 Okafor/patient.toml") || browsing.is_finished();
        clinic.wait_for("the folder", is_made);
        clinic.drop_file("inbox/0000000077 Okafor/letter.pdf", pdf("letter"));
        browsing.join().unwrap();
    });
    clinic.wait_for_file("done/0000000077 Okafor/letter.pdf.receipt.json");
    let sidecar = fs::read_to_string(clinic.path("done/0000000077 Okafor/letter.pdf.toml")).unwrap();
    assert!(sidecar.contains("title = 'Letter \"from\" cardiology'"), "{sidecar}");
    let bundle = clinic.accepted()[0].to_string();
    for part in ["Okafor", "1985-03-01", "57133-1", "from\\\" cardiology", "1234567893"] {
        assert!(bundle.contains(part), "{part}: {bundle}");
    }
}

/// `chartdrop user …`, with a line on its standard input.
fn user(config: &Path, arguments: &[&str], line: &str) -> (bool, String) {
    let mut child = chartdrop()
        .arg("user")
        .args(arguments)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn over_tls_only_users_come_in_and_act_under_their_own_name() {
    let clinic = Clinic::new(&[]);
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(clinic.path("tls.key"))
        .arg("-out")
        .arg(clinic.path("tls.pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let desk = Desk::new(clinic, "tls_certificate = \"tls.pem\"\ntls_key = \"tls.key\"\nusers = \"users.toml\"\n");
    let (ok, said) = user(&desk.config, &["add", "Grace Adams"], "short\n");
    assert!(!ok && said.contains("at least 12 letters"), "{said}");
    let (ok, said) = user(&desk.config, &["add", "Grace Adams"], "correct horse battery\n");
    assert!(ok && said.contains("Grace Adams may log in"), "{said}");
    assert_eq!(user(&desk.config, &["list", "--json"], "").1, "[\n  \"Grace Adams\"\n]\n");
    let stored = fs::read_to_string(desk.clinic.path("users.toml")).unwrap();
    assert!(stored.contains("$argon2id$") && !stored.contains("battery"), "{stored}");
    desk.drop_wrong("referral.pdf");
    std::thread::scope(|scope| {
        let browsing = scope.spawn(|| desk.browse("login"));
        let is_seen = || desk.clinic.has("logged-in") || browsing.is_finished();
        desk.clinic.wait_for("the browser to be in", is_seen);
        let (ok, said) = user(&desk.config, &["remove", "Grace Adams"], "");
        assert!(ok && said.contains("Open sessions end"), "{said}");
        fs::write(desk.clinic.path("removed"), "").unwrap();
        browsing.join().unwrap();
    });
    let (_, said) = user(&desk.config, &["list"], "");
    assert_eq!(said, "Nobody may log in yet.\n");
    let shown = chartdrop().args(["history", "--json", "--config"]).arg(&desk.config).output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains("\"by\": \"Grace Adams\""), "{shown:?}");
}

#[test]
fn another_site_s_form_and_a_frame_get_nothing() {
    let desk = Desk::new(Clinic::new(&[]), "");
    desk.drop_wrong("referral.pdf");
    desk.browse("other-site");
    assert!(desk.clinic.has("failed/bixby/referral.pdf"));
}
