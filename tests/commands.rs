//! What an operator types, from the README and the manual: each command does what it says, and ends as it should.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt, process::Output};

use support::{Clinic, chartdrop, once_until, pdf};

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn check_finds_everything_in_order() {
    let clinic = Clinic::new(&[]);
    let output = clinic.command(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for line in ["configuration", "inbox folder", "done folder", "failed folder", "ledger", "key", "token", "clock"] {
        assert!(
            out(&output).lines().any(|said| said.starts_with("ok") && said.contains(line)),
            "{line}: {}",
            out(&output)
        );
    }
    assert_eq!(clinic.files("inbox"), ["bixby/patient.toml"], "no probe is left behind");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    assert_eq!(clinic.run_once(), 0);
    let listed: serde_json::Value = serde_json::from_str(&out(&clinic.command(&["history", "--json"]))).unwrap();
    let id = listed["deliveries"][0]["id"].as_str().unwrap();
    let config = clinic.config();
    for words in [
        &["status"][..],
        &["status", "--json"],
        &["history"],
        &["history", "--json"],
        &["show", id],
        &["show", id, "--json"],
        &["verify"],
        &["verify", "--json"],
        &["check"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
        &["run", "--once"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = chartdrop().args(words).arg("--config").arg(&config).stdout(writer).output().unwrap();
        let said = err(&output);
        assert!(!said.contains("panicked") && !said.contains("roken pipe"), "{words:?}: {said}");
        assert_eq!(output.status.code(), Some(0), "{words:?}: {said}");
    }
    // A disk that is full is another matter.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = chartdrop().args(["history", "--config"]).arg(&config).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(err(&output).contains("The output cannot be written"), "{output:?}");
}

#[test]
fn a_terminal_shows_nothing_but_what_chartdrop_says() {
    let clinic = Clinic::new(&[]);
    let command =
        format!("{} run --once --config '{}'", chartdrop().get_program().display(), clinic.config().display());
    // The program of that name gives it a terminal (Debian's bsdutils, which every system has).
    let output = std::process::Command::new("script").args(["-qec", &command, "/dev/null"]).output().unwrap();
    let said = out(&output);
    assert!(output.status.success() && said.contains("chartdrop 0.1.0 starts"), "{said}");
    assert!(!said.contains("feature") && !said.contains('\u{1b}'), "{said}");
}

#[test]
fn check_tries_every_folder() {
    for folder in ["inbox", "done", "failed"] {
        let clinic = Clinic::new(&[]);
        fs::remove_dir_all(clinic.path(folder)).unwrap();
        clinic.drop_file(folder, "a file where a folder should be");
        let output = clinic.command(&["check"]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let line = out(&output).lines().find(|line| line.starts_with("FAIL")).unwrap().to_owned();
        assert!(line.contains(&format!("{folder} folder")), "{line}");
    }
}

#[test]
fn check_says_what_is_wrong_with_the_key_and_the_token() {
    let clinic = Clinic::new(&[]);
    let open = |mode| fs::set_permissions(clinic.path("key.pem"), fs::Permissions::from_mode(mode)).unwrap();
    open(0o644);
    let output = clinic.command(&["check"]);
    assert!(output.status.code() == Some(2) && out(&output).contains("chmod 600"), "{output:?}");
    open(0o600);
    clinic.fault("token:always:status=401");
    let output = clinic.command(&["check"]);
    assert!(output.status.code() == Some(2) && out(&output).contains("FAIL  token"), "{output:?}");
    clinic.clear_faults();
    let mut config = fs::read_to_string(clinic.config()).unwrap();
    config = config.replace("ES384", "RS384");
    let output = chartdrop().args(["check", "--config"]).arg(clinic.drop_file("other.toml", config)).output().unwrap();
    assert!(output.status.code() == Some(2) && out(&output).contains("RSA"), "{output:?}");
}

#[test]
fn a_configuration_that_cannot_be_used_ends_with_2_and_words() {
    let clinic = Clinic::new(&[]);
    let missing = chartdrop().args(["run", "--config", "/no/such/file.toml"]).output().unwrap();
    assert!(missing.status.code() == Some(2) && err(&missing).contains("config.example.toml"), "{missing:?}");
    let config = fs::read_to_string(clinic.config()).unwrap().replace("destination", "destinaton");
    let path = clinic.drop_file("wrong.toml", config);
    for command in [["run", "--once"].as_slice(), &["check"], &["status"]] {
        let output = chartdrop().args(command).arg("--config").arg(&path).output().unwrap();
        let said = out(&output) + &err(&output);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        assert!(said.contains("line 5") && said.contains("\"destination\""), "{said}");
    }
    let by_variable = chartdrop().arg("check").env("CHARTDROP_CONFIG", clinic.config()).output().unwrap();
    assert_eq!(by_variable.status.code(), Some(0), "{by_variable:?}");
}

#[test]
fn a_key_is_never_written_over_an_existing_file() {
    let clinic = Clinic::new(&[]);
    let before = fs::read(clinic.path("key.pem")).unwrap();
    assert_eq!(fs::metadata(clinic.path("key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    let output = chartdrop().args(["keygen", "--out"]).arg(clinic.path("key.pem")).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(fs::read(clinic.path("key.pem")).unwrap(), before);
}

#[test]
fn both_kinds_of_keys_get_tokens() {
    for algorithm in ["RS384", "ES384"] {
        let clinic = Clinic::new(&[]);
        fs::remove_file(clinic.path("key.pem")).unwrap();
        let made = chartdrop()
            .args(["keygen", "--algorithm", algorithm, "--out"])
            .arg(clinic.path("key.pem"))
            .output()
            .unwrap();
        fs::write(clinic.path("jwk.json"), &made.stdout).unwrap();
        let config = fs::read_to_string(clinic.config()).unwrap().replace("ES384", algorithm);
        let output =
            chartdrop().args(["check", "--config"]).arg(clinic.drop_file("own.toml", config)).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{algorithm}: {output:?}");
    }
}

#[test]
fn the_demo_ends_by_itself_with_a_summary() {
    let dir = tempfile::tempdir().unwrap();
    let output = chartdrop().args(["demo", "--once", "--dir"]).arg(dir.path().join("demo")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = out(&output);
    assert!(said.contains("accepted 3 documents") && said.contains("disagree"), "{said}");
}

#[test]
fn the_demo_takes_a_file_of_one_s_own_and_ends_at_ctrl_c() {
    let dir = tempfile::tempdir().unwrap();
    let demo = dir.path().join("demo");
    let said = fs::File::create(dir.path().join("said")).unwrap();
    let mut child = chartdrop().args(["demo", "--dir"]).arg(&demo).stdout(said).spawn().unwrap();
    let said = || fs::read_to_string(dir.path().join("said")).unwrap();
    support::wait_for("the invitation", || said().contains("Now you"), said);
    fs::write(demo.join("inbox/Timothy Bixby/mine.pdf"), pdf("of one's own")).unwrap();
    support::wait_for("the receipt", || demo.join("done/Timothy Bixby/mine.pdf.receipt.json").exists(), said);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{}", said());
    assert!(said().contains("accepted 4 documents"), "{}", said());
}

#[test]
fn an_operator_sees_and_decides() {
    let mut clinic = Clinic::new(&[]);
    clinic.delivery.push_str("on_unknown = \"hold\"\n");
    clinic.fault("create:nth=1:cut=after");
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    assert_eq!(clinic.run_once(), 1);
    let status = clinic.open_deliveries();
    assert_eq!(status[0]["state"], "held");
    let id = status[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(clinic.command(&["retry", &id[..8]]).status.code(), Some(0));
    assert_eq!(clinic.run_once(), 0);
    let accepted = clinic.accepted();
    assert_eq!(accepted.len(), 2);
    assert_eq!(accepted[0]["bundle_sha256"], accepted[1]["bundle_sha256"], "the same message once more");
    assert_eq!(accepted[0]["master_identifier"], accepted[1]["master_identifier"]);
    assert_eq!(clinic.receipt("done/bixby/a.pdf.receipt.json")["sends"], 2);
    assert!(out(&clinic.command(&["history"])).contains(&id));
    assert!(out(&clinic.command(&["show", &id])).contains("sent 2 times"));
    assert!(out(&clinic.command(&["status"])).contains("Nothing is under way"));
}

#[test]
fn a_held_delivery_is_released_and_sends_the_same_message() {
    for (on_unknown, lost) in [("resend", 4), ("hold", 1)] {
        let mut clinic = Clinic::new(&[]);
        clinic.delivery.push_str(&format!("on_unknown = \"{on_unknown}\"\n"));
        clinic.fault(&format!("create:first={lost}:cut=after"));
        clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
        assert_eq!(clinic.run_once(), 1);
        let status = clinic.open_deliveries();
        let id = status[0]["id"].as_str().unwrap();
        assert_eq!(clinic.command(&["release", id]).status.code(), Some(0));
        assert_eq!(clinic.run_once(), 0, "{on_unknown}");
        let accepted = clinic.accepted();
        assert_eq!(accepted.len(), lost + 1);
        assert_eq!(accepted[lost]["bundle_sha256"], accepted[0]["bundle_sha256"]);
    }
}

#[test]
fn what_a_crash_left_without_an_answer_is_counted_when_a_person_sends_it_again() {
    let clinic = Clinic::new(&[]);
    clinic.fault("create:nth=1:hang=after");
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    let daemon = clinic.daemon();
    clinic.wait_for("the message's arrival", || clinic.accepted().len() == 1);
    daemon.kill();
    let status = clinic.open_deliveries();
    assert_eq!(status[0]["state"], "sending");
    assert_eq!(clinic.command(&["retry", "--all"]).status.code(), Some(0));
    assert_eq!(clinic.run_once(), 0);
    let receipt = clinic.receipt("done/bixby/a.pdf.receipt.json");
    assert_eq!(
        (clinic.accepted().len(), receipt["sends"].as_u64(), receipt["uncertain"].as_u64()),
        (2, Some(2), Some(1))
    );
}

#[test]
fn a_waiting_delivery_is_held_and_released() {
    let clinic = Clinic::new(&[]);
    clinic.fault("binary:nth=1:status=503,retry_after=600");
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    let (code, log) = once_until(chartdrop(), &clinic.config(), |log| log.contains("will be tried again"));
    assert_eq!(code, 1, "{log}");
    let status = clinic.open_deliveries();
    let id = status[0]["id"].as_str().unwrap();
    assert_eq!(clinic.command(&["hold", id]).status.code(), Some(0));
    assert_eq!(clinic.run_once(), 1);
    assert_eq!(clinic.accepted().len(), 0);
    assert_eq!(clinic.command(&["release", id]).status.code(), Some(0));
    assert_eq!((clinic.run_once(), clinic.accepted().len()), (0, 1));
}

#[test]
fn a_rejected_document_is_put_back_by_a_command() {
    let clinic = Clinic::new(&[]);
    clinic.fault("create:nth=1:status=400");
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.drop_file("inbox/bixby/a.toml", "title = \"A\"\n");
    assert_eq!(clinic.run_once(), 1);
    let history = clinic.deliveries(&["rejected"]);
    let output = clinic.command(&["retry", history[0]["id"].as_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(clinic.files("failed"), [] as [&str; 0]);
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted()[0]["title"], "A");
}

#[test]
fn completions_and_the_manual_page_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let output = chartdrop().args(["completions", shell]).output().unwrap();
        assert!(output.status.success() && out(&output).contains("chartdrop"), "{output:?}");
    }
    let page = chartdrop().arg("man").output().unwrap();
    assert!(page.status.success() && out(&page).contains(".TH chartdrop 1"), "{page:?}");
}

#[test]
fn the_readme_s_patient_file_and_sidecar_work() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let examples: Vec<String> = readme
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().lines().map(|line| format!("{}\n", line.trim_start())).collect())
        .collect();
    let [patient, sidecar] = examples.as_slice() else { panic!("{examples:?}") };
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/readme/patient.toml", patient);
    clinic.drop_file("inbox/readme/referral.pdf", pdf("readme"));
    clinic.drop_file("inbox/readme/referral.pdf.toml", sidecar);
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted()[0]["title"], "Referral letter");
}

/// Waits until the daemon answers its commands.
fn answers(clinic: &Clinic) {
    clinic.wait_for("the socket", || std::os::unix::net::UnixStream::connect(clinic.path("control.sock")).is_ok());
}

#[test]
fn commands_work_while_the_daemon_runs_and_when_it_does_not() {
    let mut clinic = Clinic::new(&[]);
    clinic.delivery.push_str("on_unknown = \"hold\"\n");
    clinic.fault("create:nth=1:cut=after");
    let daemon = clinic.daemon();
    answers(&clinic);
    clinic.drop_file("inbox/bixby/held.pdf", pdf("held"));
    clinic.wait_for("the hold", || clinic.deliveries(&["held"]).len() == 1);
    clinic.drop_file("inbox/bixby/good.pdf", pdf("good"));
    clinic.drop_file("inbox/bixby/bad.exe", "no document");
    clinic.wait_for("both", || clinic.deliveries(&["accepted", "rejected"]).len() == 2);
    let look = || {
        let status = clinic.command(&["status"]);
        assert_eq!(status.status.code(), Some(0), "{status:?}");
        let held = clinic.deliveries(&["held"]).remove(0);
        let show = clinic.command(&["show", &held["id"].as_str().unwrap()[..8]]);
        let history = clinic.command(&["history", "--limit", "2"]);
        assert!(out(&history).contains("newest 2; there are more"), "{history:?}");
        assert_eq!(clinic.command(&["history", "--text", "good.pdf", "--json"]).status.code(), Some(0));
        (status, show, held)
    };
    let (status, show, live) = look();
    for words in ["Something needs a person", "1 held for a decision", "front-desk", "held.pdf", "chartdrop release"] {
        assert!(out(&status).contains(words), "{words}: {}", out(&status));
    }
    assert!(err(&status).is_empty(), "{status:?}");
    for words in ["held since", "urn:uuid:", "HISTORY", "|0000000001", "send-again"] {
        assert!(out(&show).contains(words), "{words}: {}", out(&show));
    }
    drop(daemon);
    let (status, _, offline) = look();
    assert!(err(&status).contains("chartdrop is not running"), "{status:?}");
    assert!(out(&status).contains("Nothing is going out: chartdrop does not run"), "{}", out(&status));
    assert_eq!(live, offline, "the same object");
    for command in
        [&["pause", "Staging/redox-fhir-sandbox"][..], &["resume", "Staging/redox-fhir-sandbox"], &["reload"]]
    {
        let output = clinic.command(command);
        assert!(output.status.code() == Some(2) && err(&output).contains("systemctl start"), "{output:?}");
    }
    let id = live["id"].as_str().unwrap();
    let closed = clinic.command(&["close", id, "--reason", "the chart has it"]);
    assert!(out(&closed).contains("may have arrived"), "{closed:?}");
    assert_eq!(clinic.run_once(), 1);
    assert!(clinic.reason("failed/bixby/held.pdf.reason.txt").contains("the chart has it"));
}

#[test]
fn a_person_steers_the_running_daemon() {
    let clinic = Clinic::new(&[]);
    clinic.fault("binary:nth=1:status=503,retry_after=600");
    let _daemon = clinic.daemon();
    answers(&clinic);
    let works = |arguments: &[&str]| {
        let output = clinic.command(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        out(&output)
    };
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.wait_for("the pause", || {
        clinic
            .open_deliveries()
            .iter()
            .any(|row| row["next_attempt_at"].is_string() && row["attempts"] == 1 || !row["problem"].is_null())
    });
    let id = clinic.open_deliveries()[0]["id"].as_str().unwrap().to_owned();
    assert!(works(&["hold", &id, "--reason", "ask Dr. Adams"]).contains("until you release it"));
    assert!(works(&["status"]).contains("ask Dr. Adams"));
    works(&["release", &id]);
    works(&["resume", "Staging/redox-fhir-sandbox"]);
    clinic.wait_for_file("done/bixby/a.pdf.receipt.json");
    assert!(works(&["retry", "--all"]).contains("Nothing waits or is held"));
    works(&["pause", "Staging/redox-fhir-sandbox", "--reason", "maintenance"]);
    assert!(works(&["status"]).contains("maintenance"));
    works(&["resume", "Staging/redox-fhir-sandbox"]);
    assert!(works(&["reload"]).contains("Nothing has changed"));
    assert!(works(&["send-again", &id]).contains("is in the inbox again"));
}

#[test]
fn a_mistake_is_answered_with_words() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    assert_eq!(clinic.run_once(), 0);
    let id = clinic.deliveries(&[])[0]["id"].as_str().unwrap().to_owned();
    for running in [false, true] {
        let _daemon = running.then(|| clinic.daemon());
        if running {
            answers(&clinic);
        }
        for (arguments, words) in [
            (&["history", "--limit", "0"][..], "0"),
            (&["history", "--state", "sent"], "accepted"),
            (&["history", "--since", "yesterday"], "2026-11-20"),
            (&["show", "abc"], "at least four letters"),
            (&["show", "zzzz"], "no delivery zzzz"),
            (&["show", "../../status"], "no delivery"),
            (&["close", &id], "--reason"),
            (&["close", &id, "--reason", "late"], "It is final"),
            (&["hold", &id], "It is final"),
            (&["release", &id], "not held"),
        ] {
            let output = clinic.command(arguments);
            assert!(output.status.code() == Some(2) && err(&output).contains(words), "{arguments:?}: {output:?}");
            assert!(!err(&output).contains("panicked"), "{output:?}");
        }
    }
}

#[test]
fn a_closed_pipe_ends_a_listing_quietly() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    assert_eq!(clinic.run_once(), 0);
    for arguments in [
        &["history"][..],
        &["history", "--json"],
        &["status"],
        &["check"],
        &["verify"],
        &["preview"],
        &["completions", "bash"],
        &["man"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = chartdrop()
            .args(arguments)
            .arg("--config")
            .arg(clinic.config())
            .stdout(writer)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        assert!(!err(&output).contains("panicked") && !err(&output).contains("Broken pipe"), "{output:?}");
    }
}

#[test]
fn a_command_of_root_s_leaves_nothing_that_the_service_cannot_read() {
    use std::os::unix::fs::{MetadataExt, chown};
    if !rustix::process::geteuid().is_root() {
        // Only root can leave files of root's.
        return;
    }
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    let _config = clinic.config();
    const SERVICE: u32 = 4321;
    fs::set_permissions(&clinic.home, fs::Permissions::from_mode(0o755)).unwrap();
    let all = |folder: &std::path::Path| {
        let mut found = vec![folder.to_owned()];
        let mut at = 0;
        while at < found.len() {
            if found[at].is_dir() && !found[at].is_symlink() {
                found.extend(fs::read_dir(&found[at]).unwrap().map(|entry| entry.unwrap().path()));
            }
            at += 1;
        }
        found
    };
    all(&clinic.home).iter().for_each(|path| chown(path, Some(SERVICE), Some(SERVICE)).unwrap());
    // Root's own umask and name are of no account: the whole command runs as the owner.
    assert_eq!(clinic_command(&clinic, &["run", "--once"]), Some(0));
    for arguments in [&["status"][..], &["history"], &["verify"], &["check"], &["preview"], &["retry", "--all"]] {
        assert_eq!(clinic_command(&clinic, arguments), Some(0), "{arguments:?}");
    }
    for path in all(&clinic.path("ledger")).into_iter().chain(all(&clinic.path("done"))) {
        assert_eq!(path.symlink_metadata().unwrap().uid(), SERVICE, "{}", path.display());
    }
}

/// Runs a command on the configuration as it is: writing it anew would make it root's.
fn clinic_command(clinic: &Clinic, arguments: &[&str]) -> Option<i32> {
    let output = chartdrop().args(arguments).arg("--config").arg(clinic.path("config.toml")).output().unwrap();
    println!("{output:?}");
    output.status.code()
}

#[test]
fn a_preview_says_what_would_happen_and_changes_nothing() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/sent.pdf", pdf("sent"));
    assert_eq!(clinic.run_once(), 0);
    clinic.drop_file("inbox/bixby/again.pdf", pdf("sent"));
    clinic.drop_file("inbox/bixby/new.pdf", pdf("new"));
    clinic.drop_file("inbox/bixby/new.toml", "title = \"Letter\"\n");
    clinic.drop_file("inbox/bixby/lonely.toml", "title = \"Nothing\"\n");
    clinic.drop_file("inbox/bixby/cut.pdf", &pdf("cut")[..1500]);
    clinic.drop_file("inbox/nobody/scan.pdf", pdf("whose?"));
    let before = (clinic.files("inbox"), clinic.files("failed"), clinic.files("done"));
    let output = clinic.command(&["preview", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |name: &str| report["documents"].as_array().unwrap().iter().find(|line| line["path"] == name).unwrap();
    for (name, action) in [
        ("bixby/again.pdf", "duplicate"),
        ("bixby/new.pdf", "send"),
        ("bixby/lonely.toml", "wait"),
        ("bixby/cut.pdf", "wait"),
        ("nobody/scan.pdf", "refuse"),
    ] {
        assert_eq!(of(name)["action"], action, "{report:#}");
    }
    assert_eq!(
        (&of("bixby/new.pdf")["title"], &of("bixby/new.pdf")["patient"]["family"]),
        (&"Letter".into(), &"Bixby".into())
    );
    assert!(of("nobody/scan.pdf")["problem"]["remedy"].is_string(), "{report:#}");
    let words = out(&clinic.command(&["preview"]));
    assert!(words.contains("Timothy Paul Bixby, born 2008-01-06 (0000000001)"), "{words}");
    let one = clinic.path("inbox/bixby/new.pdf");
    let output = clinic.command(&["preview", one.to_str().unwrap()]);
    assert!(output.status.code() == Some(0) && out(&output).contains("1 would be sent"), "{output:?}");
    let outside = clinic.command(&["preview", clinic.path("key.pem").to_str().unwrap()]);
    assert!(outside.status.code() == Some(2) && err(&outside).contains("not in an inbox"), "{outside:?}");
    assert_eq!(before, (clinic.files("inbox"), clinic.files("failed"), clinic.files("done")));
    assert_eq!(clinic.accepted().len(), 1);
}

#[test]
fn the_public_key_is_the_one_that_keygen_printed() {
    let clinic = Clinic::new(&[]);
    let printed: serde_json::Value = serde_json::from_slice(&fs::read(clinic.path("jwk.json")).unwrap()).unwrap();
    let output = clinic.command(&["public-key"]);
    let key: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(key, printed);
    let set: serde_json::Value = serde_json::from_slice(&clinic.command(&["public-key", "--jwks"]).stdout).unwrap();
    assert_eq!(set["keys"][0], printed);
    assert!(!out(&output).contains("\"d\""), "nothing of the private half");
}

#[test]
fn a_file_s_name_does_not_steer_the_terminal() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/a\u{1b}[2Jb.exe", "no document");
    assert_eq!(clinic.run_once(), 1);
    for arguments in [&["history"][..], &["status"]] {
        assert!(!out(&clinic.command(arguments)).contains('\u{1b}'), "{arguments:?}");
    }
    assert!(out(&clinic.command(&["history"])).contains("\\u{1b}"));
}
