//! The log: priorities for the journal, levels and forms, and a first and a last line that say what was run and why it ended.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::{UnixDatagram, UnixStream},
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use support::{Clinic, Daemon, chartdrop, pdf};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A daemon with some of its environment, and lines for `[log]`.
fn daemon(clinic: &Clinic, log: &str, environment: &[(&str, &str)]) -> Daemon {
    let config = fs::read_to_string(clinic.config()).unwrap() + "[log]\n" + log;
    let path = clinic.drop_file("config.toml", config);
    let log = fs::File::create(clinic.path("daemon.log")).unwrap();
    let mut command = chartdrop();
    command.args(["run", "--config"]).arg(path).stdout(Stdio::null()).stderr(log);
    Daemon::of(command.envs(environment.iter().copied()).spawn().unwrap())
}

fn log(clinic: &Clinic) -> String {
    fs::read_to_string(clinic.path("daemon.log")).unwrap()
}

#[test]
fn every_line_of_the_journal_has_its_priority() {
    for (settings, environment) in [("", &[("JOURNAL_STREAM", "8:1")][..]), ("format = \"journal\"\n", &[])] {
        let clinic = Clinic::new(&[]);
        let mut daemon = daemon(&clinic, settings, environment);
        clinic.drop_file("inbox/bixby/a.exe", "no document");
        clinic.wait_for_file("failed/bixby/a.exe.reason.txt");
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.wait().code(), Some(0));
        let log = log(&clinic);
        let is_prefixed = |line: &str| ["<3>", "<4>", "<6>"].iter().any(|prefix| line.starts_with(prefix));
        assert!(log.lines().all(is_prefixed), "{log}");
        let first = log.lines().next().unwrap();
        assert!(first.contains(concat!("chartdrop ", env!("CARGO_PKG_VERSION"), " starts")), "{first}");
        assert!(first.contains("config.toml"), "{first}");
        let last = log.lines().last().unwrap();
        assert!(last.contains("chartdrop ends") && last.contains("SIGTERM"), "{last}");
        let refused = log.lines().find(|line| line.starts_with("<4>")).unwrap();
        assert!(refused.contains("delivery=") && refused.contains("code="), "{refused}");
    }
}

#[test]
fn the_log_is_as_the_configuration_says() {
    let clinic = Clinic::new(&[]);
    let running = daemon(&clinic, "format = \"json\"\n", &[]);
    clinic.drop_file("inbox/bixby/a.exe", "no document");
    clinic.wait_for_file("failed/bixby/a.exe.reason.txt");
    drop(running);
    for line in log(&clinic).lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    let clinic = Clinic::new(&[]);
    let running = daemon(&clinic, "level = \"error\"\n", &[]);
    clinic.drop_file("inbox/bixby/a.exe", "no document");
    clinic.wait_for_file("failed/bixby/a.exe.reason.txt");
    drop(running);
    assert_eq!(log(&clinic), "");
}

#[test]
fn a_signal_has_the_configuration_read_again_and_systemd_is_told() {
    let clinic = Clinic::new(&[]);
    let systemd = UnixDatagram::bind(clinic.path("notify.sock")).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    // In whatever order they come, watchdog messages in between.
    let heard = |words: &[&str]| {
        let (mut missing, mut all, end) = (words.to_vec(), String::new(), Instant::now() + PATIENCE);
        while !missing.is_empty() {
            assert!(Instant::now() < end, "systemd was not told {missing:?}, but {all}");
            let mut bytes = [0; 4096];
            let length = systemd.recv(&mut bytes).unwrap();
            let said = String::from_utf8_lossy(&bytes[..length]).into_owned();
            missing.retain(|word| !said.contains(word));
            all.push_str(&said);
        }
        all
    };
    let running =
        daemon(&clinic, "level = \"error\"\n", &[("NOTIFY_SOCKET", clinic.path("notify.sock").to_str().unwrap())]);
    assert!(heard(&["READY=1", "STATUS="]).contains("0 held"));
    let config = fs::read_to_string(clinic.path("config.toml")).unwrap();
    clinic.drop_file("config.toml", config.replace("level = \"error\"", "level = \"loud\""));
    running.signal(Signal::HUP);
    assert!(heard(&["RELOADING=1", "READY=1"]).contains("MONOTONIC_USEC="));
    assert!(
        log(&clinic).contains("cannot be used; nothing was changed") && log(&clinic).contains("line "),
        "{}",
        log(&clinic)
    );
    clinic.drop_file("config.toml", config.replace("level = \"error\"", "level = \"info\""));
    running.signal(Signal::HUP);
    heard(&["RELOADING=1", "READY=1"]);
    assert!(log(&clinic).contains("Applied: log.level"), "{}", log(&clinic));
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.wait_for("a line of the new level", || log(&clinic).contains("accepted by Redox"));
}

#[test]
fn a_connection_that_says_nothing_keeps_nobody_waiting() {
    let clinic = Clinic::new(&[]);
    let mut running = clinic.daemon();
    clinic.wait_for("the socket", || UnixStream::connect(clinic.path("control.sock")).is_ok());
    let mut silent = UnixStream::connect(clinic.path("control.sock")).unwrap();
    silent.write_all(b"GET /api/v1/status HT").unwrap();
    let mut watching = UnixStream::connect(clinic.path("control.sock")).unwrap();
    watching.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: chartdrop\r\n\r\n").unwrap();
    watching.read_exact(&mut [0; 16]).unwrap();
    running.signal(Signal::TERM);
    assert_eq!(running.wait().code(), Some(0));
}
