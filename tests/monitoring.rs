//! Metrics, alert rules and dashboard, judged by Prometheus' own promtool.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use support::{Clinic, pdf};

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring").join(name)
}

fn promtool(arguments: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(docs(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("promtool comes with Debian's package prometheus, which tests/run installs: {error}")
        });
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}\n{input}");
    assert!(output.stderr.is_empty() || arguments[0] == "test", "{arguments:?}: {output:?}");
}

fn metrics(clinic: &Clinic) -> String {
    let mut socket = UnixStream::connect(clinic.path("control.sock")).unwrap();
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: chartdrop\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn promtool_finds_nothing_wrong_with_metrics_and_rules() {
    let clinic = Clinic::new(&[]);
    let _daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.drop_file("inbox/bixby/b.exe", "no document");
    clinic.wait_for_file("done/bixby/a.pdf.receipt.json");
    clinic.wait_for_file("failed/bixby/b.exe.reason.txt");
    promtool(&["check", "metrics"], &metrics(&clinic));
    promtool(&["check", "rules", "chartdrop.rules.yml"], "");
    promtool(&["test", "rules", "chartdrop.rules.test.yml"], "");
}

#[test]
fn rules_and_dashboard_ask_only_for_metrics_that_there_are() {
    let clinic = Clinic::new(&[]);
    let _daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.drop_file("inbox/bixby/b.exe", "no document");
    clinic.wait_for_file("done/bixby/a.pdf.receipt.json");
    clinic.wait_for_file("failed/bixby/b.exe.reason.txt");
    let there = metrics(&clinic);
    let dashboard = fs::read_to_string(docs("grafana-dashboard.json")).unwrap();
    serde_json::from_str::<Value>(&dashboard).unwrap();
    let texts = [
        dashboard,
        fs::read_to_string(docs("chartdrop.rules.yml")).unwrap(),
        fs::read_to_string(docs("README.md")).unwrap(),
    ];
    let mut seen = 0;
    for text in texts {
        for name in
            text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| word.starts_with("chartdrop_"))
        {
            let name = name.trim_end_matches("_bucket");
            assert!(there.contains(&format!("# TYPE {name} ")), "there is no metric {name}\n{there}");
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}
