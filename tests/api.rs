//! The API of a running daemon, over its socket and over TCP: each endpoint says what is so, and does what it says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{Clinic, PATIENT, chartdrop, pdf};

/// An answer: status, head, body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}\n{}", self.head, self.body))
    }
}

fn exchange(mut stream: impl Read + Write, host: &str, method: &str, path: &str, body: &str) -> Answer {
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

fn ask(clinic: &Clinic, method: &str, path: &str, body: &str) -> Answer {
    let socket = UnixStream::connect(clinic.path("control.sock")).unwrap();
    exchange(socket, "chartdrop", method, path, body)
}

fn get(clinic: &Clinic, path: &str) -> Value {
    let answer = ask(clinic, "GET", path, "");
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

fn post(clinic: &Clinic, path: &str, body: &Value) -> Answer {
    ask(clinic, "POST", path, &body.to_string())
}

/// Waits until the daemon answers.
fn answers(clinic: &Clinic) {
    clinic.wait_for("the socket", || UnixStream::connect(clinic.path("control.sock")).is_ok());
}

fn deliveries(clinic: &Clinic, query: &str) -> Vec<Value> {
    get(clinic, &format!("/api/v1/deliveries{query}"))["deliveries"].as_array().unwrap().clone()
}

/// Waits for the only delivery in that state.
fn delivery(clinic: &Clinic, state: &str) -> Value {
    let found = || deliveries(clinic, &format!("?state={state}"));
    clinic.wait_for(state, || found().len() == 1);
    found().remove(0)
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn has_keys(value: &Value, names: &[&str]) {
    for name in names {
        assert!(value.get(name).is_some(), "{name} is missing: {value}");
    }
}

#[test]
fn the_objects_have_every_key_that_was_promised() {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox.push_str("incomplete_after = \"1h\"\n".replace("incomplete_after", "hold").as_str());
    let _daemon = clinic.daemon();
    answers(&clinic);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.wait_for("the waiting document", || get(&clinic, "/api/v1/waiting")["documents"][0]["state"] == "on-hold");
    let waiting = get(&clinic, "/api/v1/waiting");
    assert_eq!(keys(&waiting), ["documents", "next"]);
    let document = &waiting["documents"][0];
    has_keys(document, &["inbox", "path", "size", "since", "state", "problem", "until"]);
    assert_eq!((&document["inbox"], &document["path"]), (&"front-desk".into(), &"bixby/a.pdf".into()));
    assert!(document["until"].is_string() && document["problem"].is_null(), "{document}");

    let status = get(&clinic, "/api/v1/status");
    has_keys(&status, &["version", "node", "started_at", "inboxes", "channels", "counts", "alarms", "ledger"]);
    let inbox = &status["inboxes"][0];
    has_keys(
        inbox,
        &["name", "state", "problem", "waiting", "oldest_waiting_since", "accepted_today", "rejected_today"],
    );
    assert_eq!((&inbox["state"], &inbox["waiting"]), (&"waiting".into(), &1.into()));
    let channel = &status["channels"][0];
    has_keys(channel, &["destination", "state", "problem", "next_attempt_at"]);
    assert_eq!((&channel["destination"], &channel["state"]), (&"Staging/redox-fhir-sandbox".into(), &"open".into()));
    has_keys(&status["counts"], &["queued", "sending", "unknown", "held", "filing", "accepted", "rejected"]);
    has_keys(&status["ledger"], &["kind", "size_bytes"]);
    assert!(status["ledger"]["size_bytes"].as_u64() > Some(0), "{status}");
}

#[test]
fn an_accepted_delivery_tells_its_story() {
    let clinic = Clinic::new(&[]);
    let _daemon = clinic.daemon();
    answers(&clinic);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    let listed = delivery(&clinic, "accepted");
    let id = listed["id"].as_str().unwrap();
    for beginning in [id, &id[..4], &id[..13]] {
        let one = get(&clinic, &format!("/api/v1/deliveries/{beginning}"));
        assert_eq!(one, listed, "{beginning}");
    }
    has_keys(
        &listed,
        &[
            "id",
            "inbox",
            "path",
            "size",
            "state",
            "since",
            "problem",
            "attempts",
            "sent",
            "unconfirmed",
            "created_at",
            "accepted_at",
            "filed_as",
            "ids",
            "history",
        ],
    );
    assert_eq!(listed["ids"]["master_identifier"], clinic.accepted()[0]["master_identifier"]);
    assert_eq!(
        (&listed["sent"], &listed["unconfirmed"], &listed["filed_as"]),
        (&1.into(), &0.into(), &"bixby/a.pdf".into())
    );
    let events: Vec<_> =
        listed["history"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert!(events.contains(&"accepted"), "{events:?}");
    has_keys(&listed["history"][0], &["at", "event", "by", "detail"]);
    let status = get(&clinic, "/api/v1/status");
    assert_eq!((&status["counts"]["accepted"], &status["inboxes"][0]["accepted_today"]), (&1.into(), &1.into()));
}

#[test]
fn what_makes_no_sense_is_answered_with_a_problem() {
    let clinic = Clinic::new(&[]);
    let _daemon = clinic.daemon();
    answers(&clinic);
    for (method, path, status, code) in [
        ("GET", "/api/v1/deliveries/abc", 400, "short-id"),
        ("GET", "/api/v1/deliveries/abcd", 404, "unknown-delivery"),
        ("GET", "/api/v1/deliveries/zzzz", 404, "unknown-delivery"),
        ("GET", "/api/v1/deliveries?limit=0", 400, "bad-limit"),
        ("GET", "/api/v1/deliveries?limit=x", 400, "bad-query"),
        ("GET", "/api/v1/deliveries?state=sent", 400, "bad-state"),
        ("GET", "/api/v1/deliveries?since=yesterday", 400, "bad-time"),
        ("GET", "/api/v1/deliveries?cursor=1", 400, "bad-cursor"),
        ("GET", "/api/v1/deliveries?colour=red", 400, "bad-query"),
        ("GET", "/api/v2/status", 404, "not-found"),
        ("DELETE", "/api/v1/status", 405, "method-not-allowed"),
        ("POST", "/api/v1/deliveries/abcd/retry", 404, "unknown-delivery"),
        ("POST", "/api/v1/deliveries/abcd/close", 400, "no-reason"),
        ("POST", "/api/v1/channels/Staging%2Fnowhere/pause", 404, "unknown-destination"),
    ] {
        let answer = ask(&clinic, method, path, "");
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (status, Some(code)),
            "{method} {path}: {}",
            answer.body
        );
        assert!(answer.head.contains("application/problem+json"), "{}", answer.head);
        has_keys(&answer.json(), &["type", "title", "status", "detail"]);
    }
    assert_eq!(ask(&clinic, "POST", "/api/v1/reload", "{\"by\": 1}").json()["code"], "bad-body");
}

#[test]
fn over_the_socket_it_is_the_user_who_decides_and_not_the_name_in_the_request() {
    let mut clinic = Clinic::new(&[]);
    clinic.delivery.push_str("on_unknown = \"hold\"\n");
    clinic.fault("create:nth=1:cut=after");
    let _daemon = clinic.daemon();
    answers(&clinic);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    let held = delivery(&clinic, "held");
    assert!(held["problem"]["remedy"].as_str().unwrap().contains("chartdrop release"), "{held}");
    let id = held["id"].as_str().unwrap();
    let answer = post(
        &clinic,
        &format!("/api/v1/deliveries/{id}/close"),
        &json!({ "by": "somebody else", "reason": "wrong\npatient" }),
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
    clinic.wait_for_file("failed/bixby/a.pdf.reason.txt");
    let note = clinic.reason("failed/bixby/a.pdf.reason.txt");
    assert!(note.contains("wrong patient") && !note.contains("somebody else"), "{note}");
    assert!(note.starts_with("THIS DOCUMENT MAY OR MAY NOT HAVE ARRIVED."), "{note}");
    let me = String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    assert!(note.contains(me.trim()), "{note}");
    assert_eq!(clinic.accepted().len(), 1, "it had arrived, and is not sent again");
}

#[test]
fn a_waiting_delivery_is_held_and_released_and_sent_while_the_daemon_runs() {
    let clinic = Clinic::new(&[]);
    clinic.fault("binary:nth=1:status=503,retry_after=600");
    let _daemon = clinic.daemon();
    answers(&clinic);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic
        .wait_for("the first try", || deliveries(&clinic, "?state=queued").iter().any(|row| !row["problem"].is_null()));
    let id = delivery(&clinic, "queued")["id"].as_str().unwrap().to_owned();
    let decide = |decision: &str| {
        let answer = post(&clinic, &format!("/api/v1/deliveries/{id}/{decision}"), &json!({}));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    assert_eq!(decide("hold")["delivery"]["state"], "held");
    assert_eq!(post(&clinic, &format!("/api/v1/deliveries/{id}/hold"), &json!({})).status, 200);
    assert_eq!(decide("release")["delivery"]["state"], "queued");
    let answer = post(&clinic, &format!("/api/v1/deliveries/{id}/release"), &json!({}));
    assert!(answer.status == 409 || answer.status == 200, "{}", answer.body);
    clinic.wait_for_file("done/bixby/a.pdf.receipt.json");
    assert_eq!(clinic.accepted().len(), 1);
    let answer = post(&clinic, &format!("/api/v1/deliveries/{id}/close"), &json!({ "reason": "too late" }));
    assert_eq!((answer.status, answer.json()["code"].as_str()), (409, Some("refused")), "{}", answer.body);
}

#[test]
fn a_paused_destination_sends_nothing_until_it_is_resumed() {
    let clinic = Clinic::new(&[]);
    let _daemon = clinic.daemon();
    answers(&clinic);
    let path = |action: &str| format!("/api/v1/channels/Staging%2Fredox-fhir-sandbox/{action}");
    assert_eq!(post(&clinic, &path("pause"), &json!({ "reason": "the EHR is down" })).status, 200);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    delivery(&clinic, "queued");
    let channel = get(&clinic, "/api/v1/status")["channels"][0].clone();
    assert_eq!((&channel["state"], &channel["problem"]["code"]), (&"paused".into(), &"channel-paused".into()));
    assert!(channel["problem"]["summary"].as_str().unwrap().contains("the EHR is down"), "{channel}");
    let ready = ask(&clinic, "GET", "/readyz", "");
    assert!(ready.status == 503 && ready.body.contains("the EHR is down"), "{}", ready.body);
    assert_eq!(get(&clinic, "/healthz")["status"], "ok");
    assert_eq!(clinic.accepted().len(), 0);
    assert_eq!(post(&clinic, &path("resume"), &json!({})).status, 200);
    clinic.wait_for_file("done/bixby/a.pdf.receipt.json");
    assert_eq!(get(&clinic, "/readyz")["status"], "ok");
}

#[test]
fn pages_are_right_while_rows_change_and_deliveries_go_on() {
    let mut clinic = Clinic::new(&[]);
    clinic.delivery.push_str("concurrency = 16\n");
    let many = 2000;
    for n in 0..many {
        clinic.drop_file(format!("inbox/bixby/{n:04}.pdf"), pdf(&format!("document {n}")));
    }
    let _daemon = clinic.daemon();
    answers(&clinic);
    let all = |limit: usize| {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(&clinic, &format!("/api/v1/deliveries?limit={limit}{cursor}"));
            let rows = page["deliveries"].as_array().unwrap();
            assert!(rows.len() <= limit, "{}", rows.len());
            ids.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return ids,
            }
        }
    };
    let (mut before, mut looks) = (0, 0);
    while before < many {
        let mut ids = all(100);
        let listed = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), listed, "none is listed twice");
        assert!(listed >= before, "none is missing: {listed} after {before}");
        before = listed;
        looks += 1;
    }
    assert!(looks > 0);
    clinic.wait_for("the end", || get(&clinic, "/api/v1/status")["counts"]["accepted"] == many);
    assert_eq!(deliveries(&clinic, "?text=0007.pdf").len(), 1);
    assert_eq!(deliveries(&clinic, "?inbox=nowhere").len(), 0);
    assert_eq!(deliveries(&clinic, "?until=2020-01-01").len(), 0);
    assert_eq!(deliveries(&clinic, "?since=1h&limit=500").len(), 500);
    // A rate that no loaded machine is too slow for; the aim is 10,000 a second.
    let began = Instant::now();
    (0..5).for_each(|_| assert_eq!(all(500).len(), many));
    println!("{:.0} rows a second", 5.0 * many as f64 / began.elapsed().as_secs_f64());
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

/// Lines of the event stream, until one is found.
fn event(lines: &mut impl Iterator<Item = String>, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let mut current = String::new();
    for line in lines {
        if let Some(event) = line.strip_prefix("event: ") {
            current = event.to_owned();
        } else if let Some(data) = line.strip_prefix("data: ")
            && current == name
        {
            let data: Value = serde_json::from_str(data).unwrap();
            if fits(&data) {
                return data;
            }
        }
    }
    panic!("the stream ended without {name}")
}

#[test]
fn whoever_watches_hears_of_status_deliveries_and_alarms() {
    let clinic = Clinic::new(&[]);
    let _daemon = clinic.daemon();
    answers(&clinic);
    let mut socket = UnixStream::connect(clinic.path("control.sock")).unwrap();
    write!(socket, "GET /api/v1/events HTTP/1.1\r\nHost: chartdrop\r\n\r\n").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let mut lines = BufReader::new(socket).lines().map(Result::unwrap);
    event(&mut lines, "status", |status| status["counts"]["accepted"] == 0);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    let seen = event(&mut lines, "delivery", |delivery| delivery["state"] == "accepted");
    assert_eq!(seen["path"], "bixby/a.pdf");
    event(&mut lines, "status", |status| status["counts"]["accepted"] == 1);
    fs::rename(clinic.path("inbox"), clinic.path("away")).unwrap();
    let alarm = event(&mut lines, "alarm", |alarm| alarm["over"] == false);
    assert_eq!((&alarm["code"], &alarm["inbox"]), (&"inbox-unreachable".into(), &"front-desk".into()));
    fs::rename(clinic.path("away"), clinic.path("inbox")).unwrap();
    event(&mut lines, "alarm", |alarm| alarm["over"] == true && alarm["code"] == "inbox-unreachable");
}

#[test]
fn metrics_are_named_as_promised_and_name_nobody() {
    let clinic = Clinic::new(&[]);
    let _daemon = clinic.daemon();
    answers(&clinic);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.drop_file("inbox/bixby/b.exe", "no document");
    clinic.wait_for("both", || {
        let counts = get(&clinic, "/api/v1/status")["counts"].clone();
        counts["accepted"] == 1 && counts["rejected"] == 1
    });
    let text = ask(&clinic, "GET", "/metrics", "").body;
    for line in [
        "chartdrop_deliveries_total{inbox=\"front-desk\",result=\"accepted\"} 1",
        "chartdrop_deliveries_total{inbox=\"front-desk\",result=\"rejected\"} 1",
        "chartdrop_waiting{inbox=\"front-desk\",state=\"queued\"} 0",
        "chartdrop_oldest_waiting_seconds{inbox=\"front-desk\"} ",
        "chartdrop_channel_state{destination=\"Staging/redox-fhir-sandbox\",state=\"open\"} 1",
        "chartdrop_step_duration_seconds_count{step=\"send\"} 1",
        "chartdrop_sent_bytes_total{destination=\"Staging/redox-fhir-sandbox\"} ",
        "chartdrop_problems_total{code=",
        "chartdrop_alarms{code=\"channel-stopped\"} 0",
        "chartdrop_scan_duration_seconds_count{inbox=\"front-desk\"} ",
        "chartdrop_watch_overflows_total{inbox=\"front-desk\"} 0",
        "chartdrop_token_renewals_total 1",
        "chartdrop_ledger_commit_seconds_count ",
        "# TYPE chartdrop_ledger_commit_rows histogram",
        "chartdrop_ledger_size_bytes ",
        "chartdrop_build_info{version=",
    ] {
        assert!(text.contains(line), "{line} is missing from\n{text}");
    }
    for name in ["bixby", "Bixby", "0000000001", "a.pdf"] {
        assert!(!text.contains(name), "{name} in\n{text}");
    }
}

#[test]
fn a_new_configuration_is_checked_before_anything_changes() {
    let mut clinic = Clinic::new(&[]);
    let _daemon = clinic.daemon();
    answers(&clinic);
    let good = fs::read_to_string(clinic.path("config.toml")).unwrap();
    clinic.drop_file("config.toml", good.replace("destination =", "destinaton ="));
    let answer = post(&clinic, "/api/v1/reload", &json!({}));
    assert_eq!((answer.status, answer.json()["code"].as_str()), (409, Some("bad-configuration")), "{}", answer.body);
    assert!(answer.json()["detail"].as_str().unwrap().contains("line 5"), "{}", answer.body);
    clinic.drop_file("config.toml", &good);
    assert_eq!(post(&clinic, "/api/v1/reload", &json!({})).json()["message"], "Nothing has changed.");
    // A type that a sidecar already waits for, and something that needs a restart.
    clinic.delivery.push_str("concurrency = 2\n");
    let changed = fs::read_to_string(clinic.config()).unwrap();
    let changed = changed.replace("[redox]", "letter = { system = \"http://loinc.org\", code = \"51852-2\" }\n[redox]");
    clinic.drop_file("config.toml", changed);
    let answer = post(&clinic, "/api/v1/reload", &json!({})).json();
    assert_eq!(
        (&answer["applied"], &answer["needs_restart"]),
        (&json!(["document_types"]), &json!(["delivery"])),
        "{answer}"
    );
    clinic.drop_file("inbox/bixby/a.toml", "type = \"letter\"\n");
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.wait_for_file("done/bixby/a.pdf.receipt.json");
    assert!(clinic.accepted()[0].to_string().contains("51852-2"), "{}", clinic.accepted()[0]);
}

#[test]
fn a_socket_that_a_killed_daemon_left_behind_is_replaced() {
    let clinic = Clinic::new(&[]);
    let daemon = clinic.daemon();
    answers(&clinic);
    daemon.kill();
    assert!(clinic.has("control.sock"));
    let mut daemon = clinic.daemon();
    answers(&clinic);
    assert_eq!(get(&clinic, "/healthz")["status"], "ok");
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(!clinic.has("control.sock"), "and removed at the end");
}

#[test]
fn deliveries_go_on_when_the_socket_cannot_be_made() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("control.sock", "another file");
    let _daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.wait_for_file("done/bixby/a.pdf.receipt.json");
    let log = fs::read_to_string(clinic.path("daemon.log")).unwrap();
    assert_eq!(log.matches("its socket cannot be made").count(), 1, "{log}");
    assert_eq!(fs::read(clinic.path("control.sock")).unwrap(), b"another file");
}

#[test]
fn only_this_machine_is_answered_over_tcp() {
    let clinic = Clinic::new(&[]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = fs::read_to_string(clinic.config()).unwrap();
    let config = config.replace("[status]", &format!("[status]\nlisten = \"127.0.0.1:{port}\""));
    let path = clinic.drop_file("tcp.toml", config);
    let log = fs::File::create(clinic.path("daemon.log")).unwrap();
    let child = chartdrop().args(["run", "--config"]).arg(path).stderr(log).spawn().unwrap();
    let _daemon = support::Daemon::of(child);
    let connect = || std::net::TcpStream::connect(("127.0.0.1", port));
    clinic.wait_for("the address", || connect().is_ok());
    let host = format!("127.0.0.1:{port}");
    assert_eq!(exchange(connect().unwrap(), &host, "GET", "/healthz", "").status, 200);
    assert_eq!(exchange(connect().unwrap(), "evil.example", "GET", "/api/v1/status", "").status, 403);
    let path = "/api/v1/channels/Staging%2Fredox-fhir-sandbox/pause";
    let nobody = exchange(connect().unwrap(), &host, "POST", path, "{}");
    assert_eq!((nobody.status, nobody.json()["code"].as_str()), (400, Some("nobody")), "{}", nobody.body);
    assert_eq!(exchange(connect().unwrap(), &host, "POST", path, "{\"by\": \"M. Adams\"}").status, 200);
    assert!(get(&clinic, "/api/v1/status")["channels"][0]["problem"].to_string().contains("M. Adams"));
}

#[test]
fn documents_that_wait_say_what_for() {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox = "settle = \"100ms\"\nincomplete_after = \"1h\"\n".into();
    let _daemon = clinic.daemon();
    answers(&clinic);
    clinic.drop_file("inbox/adams/patient.toml", PATIENT.replace("0000000001", "0000000002"));
    clinic.drop_file("inbox/adams/cut.pdf", &pdf("cut off")[..1500]);
    let waiting = || get(&clinic, "/api/v1/waiting")["documents"].clone();
    clinic.wait_for("the reason", || waiting()[0]["state"] == "incomplete");
    let document = waiting()[0].clone();
    assert_eq!(document["path"], "adams/cut.pdf");
    assert_eq!(document["problem"]["code"], "end-missing", "{document}");
    let summary = document["problem"]["summary"].as_str().unwrap();
    assert!(summary.starts_with("The document waits in the inbox: "), "{document}");
    assert_eq!(get(&clinic, "/api/v1/waiting?inbox=nowhere")["documents"], json!([]));
}
