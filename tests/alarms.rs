//! Alarms on their way out of a running daemon: a real SMTP dialogue, a signed webhook and a command, once an incident.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;
use support::{Clinic, Daemon, chartdrop, pdf};

type Heard = Arc<Mutex<Vec<String>>>;

/// Listens on this machine, and keeps what each connection brought.
fn listen(talk: fn(TcpStream) -> String) -> (String, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, heard) = (listener.local_addr().unwrap().to_string(), Heard::default());
    let kept = Arc::clone(&heard);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let said = talk(stream.unwrap());
            kept.lock().unwrap().push(said);
        }
    });
    (address, heard)
}

/// A mail server that takes everything.
fn smtp(stream: TcpStream) -> String {
    let (mut answer, mut lines) = (stream.try_clone().unwrap(), BufReader::new(stream).lines());
    let (mut mail, mut is_data) = (String::new(), false);
    answer.write_all(b"220 test\r\n").unwrap();
    while let Some(Ok(line)) = lines.next() {
        let reply = match line.as_str() {
            "." if is_data => {
                is_data = false;
                "250 taken"
            }
            _ if is_data => {
                mail.push_str(&format!("{line}\n"));
                continue;
            }
            "DATA" => {
                is_data = true;
                "354 go on"
            }
            "QUIT" => break,
            _ => "250 ok",
        };
        answer.write_all(format!("{reply}\r\n").as_bytes()).unwrap();
        if reply == "250 taken" {
            break;
        }
    }
    mail
}

/// Takes one POST.
fn http(stream: TcpStream) -> String {
    let (mut answer, mut reader) = (stream.try_clone().unwrap(), BufReader::new(stream));
    let (mut said, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(number) = line.to_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().unwrap();
        }
        said.push_str(&line);
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    answer.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
    said + &String::from_utf8(body).unwrap()
}

/// The clinic's configuration with these lines in `[alarms]`.
fn config(clinic: &Clinic, alarms: &str) -> std::path::PathBuf {
    let path = clinic.config();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\n[alarms]\n{alarms}\n")).unwrap();
    path
}

fn daemon(clinic: &Clinic, alarms: &str) -> Daemon {
    let log = fs::File::options().create(true).append(true).open(clinic.path("daemon.log")).unwrap();
    let config = config(clinic, alarms);
    let child = chartdrop().arg("run").arg("--config").arg(config).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    Daemon::of(child)
}

fn script(clinic: &Clinic, text: &str) -> String {
    let path = clinic.drop_file("page-me", text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path.display().to_string()
}

/// Every way out, and what each of them heard.
fn ways(clinic: &Clinic) -> (String, Heard, Heard) {
    let ((mail, mails), (hook, posts)) = (listen(smtp), listen(http));
    let secret = clinic.drop_file("secret", "squirrel\n");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let program = script(clinic, "#!/bin/sh\ncat >> \"$0.heard\"\necho >> \"$0.heard\"\n");
    let lines = format!(
        "mail = {{ to = [\"it@clinic.example\"], from = \"chartdrop@clinic.example\", server = \"smtp://{mail}\" }}\n\
         webhook = {{ url = \"http://{hook}/chartdrop\", secret = \"secret\" }}\n\
         command = [\"{program}\"]"
    );
    (lines, mails, posts)
}

#[test]
fn a_channel_that_stops_is_told_once_by_mail_webhook_and_command() {
    let clinic = Clinic::new(&[]);
    let (lines, mails, posts) = ways(&clinic);
    clinic.fault("token:always:status=401");
    clinic.drop_file("inbox/bixby/secret-name.pdf", pdf("refused"));
    let _daemon = daemon(&clinic, &lines);
    let paged = || fs::read_to_string(clinic.path("page-me.heard")).unwrap_or_default();
    clinic.wait_for("a mail", || !mails.lock().unwrap().is_empty());
    clinic.wait_for("a post", || !posts.lock().unwrap().is_empty());
    clinic.wait_for("a page", || paged().ends_with("}\n"));
    let mail = mails.lock().unwrap().join("\n");
    assert!(mail.contains("Subject: chartdrop ALARM: ") && mail.contains("To: it@clinic.example"), "{mail}");

    let post = posts.lock().unwrap()[0].clone();
    let (head, body) = post.split_once("\r\n\r\n").unwrap();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"squirrel");
    let tag = aws_lc_rs::hmac::sign(&key, body.as_bytes());
    let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(head.to_lowercase().contains(&format!("x-chartdrop-signature: sha256={tag}")), "{head}");
    let message: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&message["event"], &message["inbox"]), (&"begins".into(), &Value::Null), "{message}");
    assert!(message["remedy"].as_str().unwrap().len() > 5, "{message}");

    let page: Value = serde_json::from_str(paged().lines().next().unwrap()).unwrap();
    assert_eq!(page["code"], message["code"]);
    for told in [&mail, &post, &paged()] {
        assert!(!told.contains("secret-name") && !told.contains("bixby"), "no patient data: {told}");
    }
    assert_eq!((mails.lock().unwrap().len(), posts.lock().unwrap().len()), (1, 1));
}

#[test]
fn a_way_out_that_fails_is_an_alarm_and_stops_no_delivery() {
    let clinic = Clinic::new(&[]);
    let program = script(&clinic, "#!/bin/sh\nexit 3\n");
    clinic.drop_file("inbox/bixby/good.pdf", pdf("good"));
    clinic.fault("token:always:status=401");
    let _daemon = daemon(&clinic, &format!("command = [\"{program}\"]"));
    let status = || {
        let output =
            chartdrop().args(["status", "--json", "--config"]).arg(clinic.path("config.toml")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    clinic.wait_for("the alarm", || status().contains("alarm-command-failed"));
    clinic.clear_faults();
    let resume = ["resume", "Staging/redox-fhir-sandbox", "--config"];
    assert!(chartdrop().args(resume).arg(clinic.path("config.toml")).status().unwrap().success());
    clinic.wait_for_file("done/bixby/good.pdf");
}

#[test]
fn check_sends_a_test_message_over_each_way() {
    let clinic = Clinic::new(&[]);
    let (lines, mails, posts) = ways(&clinic);
    let output = chartdrop().args(["check", "--alarm", "--config"]).arg(config(&clinic, &lines)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for way in ["mail", "webhook", "command"] {
        assert!(said.contains(&format!("ok    alarms: a test message was handed over by {way}")), "{said}");
    }
    clinic.wait_for("both", || mails.lock().unwrap().len() + posts.lock().unwrap().len() == 2);
    assert!(mails.lock().unwrap()[0].contains("Subject: chartdrop: test message"), "{:?}", mails.lock().unwrap());
    assert!(fs::read_to_string(clinic.path("page-me.heard")).unwrap().contains("\"event\":\"test\""));

    fs::set_permissions(clinic.path("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    let output = chartdrop().args(["check", "--alarm", "--config"]).arg(clinic.path("config.toml")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("FAIL  alarms: webhook") && said.contains("others may read it"), "{said}");
}
