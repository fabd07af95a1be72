//! What Redox may answer, or fail to answer, and what must follow.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::time::{Duration, Instant};

use support::{Clinic, pdf};

/// One document, one fault; gives back the clinic after a run, and its exit code.
fn with_fault(delivery: &str, fault: &str) -> (Clinic, i32) {
    let mut clinic = Clinic::new(&[]);
    clinic.delivery.push_str(delivery);
    clinic.fault(fault);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    let code = clinic.run_once();
    (clinic, code)
}

const EMBED: &str = "method = \"embed\"\n";

#[test]
fn a_400_is_rejected_once() {
    for fault in [
        "create:always:status=400",
        "create:always:status=422",
        "binary:always:status=415",
        "create:always:ok-with-outcome",
    ] {
        let (clinic, code) = with_fault("", fault);
        assert_eq!(code, 1, "{fault}");
        assert!(clinic.has("failed/bixby/a.pdf.reason.txt"), "{fault}");
        assert_eq!(clinic.accepted().len(), 0);
        let record = clinic.record();
        let creates = record["creates"].as_u64().unwrap();
        assert!(creates <= 1, "{fault}: {creates} tries");
    }
}

#[test]
fn what_passes_by_itself_is_tried_again() {
    for fault in [
        "token:first=2:status=503",
        "binary:first=2:status=503",
        "binary:nth=1:status=408",
        "binary:nth=1:cut=before",
        "binary:nth=1:cut=mid",
        "binary:nth=1:cut=after",
        "binary:nth=1:no_location",
        "binary:nth=1:status=502,body=html",
        "binary:nth=1:status=500,body=empty",
    ] {
        let (clinic, code) = with_fault("", fault);
        assert_eq!((code, clinic.accepted().len()), (0, 1), "{fault}");
        let receipt = clinic.receipt("done/bixby/a.pdf.receipt.json");
        assert_eq!((receipt["sends"].as_u64(), receipt["uncertain"].as_u64()), (Some(1), Some(0)), "{fault}");
    }
}

#[test]
fn an_error_in_a_200_is_found_however_it_is_written() {
    for body in ["errors", "parameters", "repeated-key", "xml-error", "bom-error", "utf16-error", "outcome:invalid"] {
        let (clinic, code) = with_fault("", &format!("create:always:status=200,body={body}"));
        assert_eq!((code, clinic.record()["creates"].as_u64()), (1, Some(1)), "{body}");
        assert!(clinic.reason("failed/bixby/a.pdf.reason.txt").contains("redox-200"), "{body}");
    }
}

#[test]
fn a_clean_200_in_another_form_is_an_acceptance() {
    for fault in [
        "status=200,body=empty,commit",
        "status=204,body=empty,commit",
        "status=200,body=xml,commit",
        "status=200,body=bom,commit",
    ] {
        let (clinic, code) = with_fault("", &format!("create:always:{fault}"));
        assert_eq!((code, clinic.accepted().len()), (0, 1), "{fault}");
        let receipt = clinic.receipt("done/bixby/a.pdf.receipt.json");
        assert_eq!((receipt["sends"].as_u64(), receipt["uncertain"].as_u64()), (Some(1), Some(0)), "{fault}");
    }
}

#[test]
fn a_200_that_is_neither_clean_nor_an_error_is_held_and_never_sent_again_by_itself() {
    for fault in [
        "status=200,body=text,commit",
        "status=200,body=html,commit",
        "status=200,body=array,commit",
        "status=200,body=gzip,commit",
        "status=203,body=empty,commit",
        "status=206,body=empty,commit",
        "cut=answer",
    ] {
        let (clinic, code) = with_fault("", &format!("create:always:{fault}"));
        assert_eq!((code, clinic.accepted().len()), (1, 1), "{fault}");
        assert!(clinic.has("inbox/bixby/a.pdf") && clinic.files("failed").is_empty(), "{fault}");
        assert_eq!(clinic.run_once(), 1, "{fault}");
        assert_eq!(clinic.record()["creates"], 1, "{fault}: nor by the next run");
    }
}

/// A PDF that no buffer of a connection holds.
fn large_pdf() -> Vec<u8> {
    let mut bytes = pdf(&"x".repeat(6_500_000));
    // No line of it is longer than a PDF's may be.
    for (i, byte) in bytes.iter_mut().enumerate() {
        if *byte == b'x' && i % 200 == 0 {
            *byte = b'\n';
        } else if *byte == b'x' && i % 200 == 1 {
            *byte = b'%';
        }
    }
    bytes
}

#[test]
fn a_success_before_the_whole_document_had_left_is_no_acceptance() {
    let mut clinic = Clinic::new(&[]);
    clinic.delivery.push_str(EMBED);
    clinic.delivery.push_str("on_unknown = \"hold\"\n");
    clinic.fault("create:nth=1:early");
    clinic.drop_file("inbox/bixby/a.pdf", large_pdf());
    assert_eq!((clinic.run_once(), clinic.accepted().len()), (1, 0));
    assert!(clinic.has("inbox/bixby/a.pdf") && clinic.files("done").is_empty());

    let clinic = Clinic::new(&[]);
    clinic.fault("binary:nth=1:early");
    clinic.drop_file("inbox/bixby/a.pdf", large_pdf());
    assert_eq!((clinic.run_once(), clinic.accepted().len()), (0, 1));
    assert_eq!(clinic.receipt("done/bixby/a.pdf.receipt.json")["sends"], 1);
}

#[test]
fn a_503_that_does_not_say_that_nothing_was_processed_follows_the_policy() {
    for fault in [
        "create:always:status=503,commit",
        "create:always:status=500,commit",
        "create:always:status=503,body=html,commit",
    ] {
        let (clinic, code) = with_fault("on_unknown = \"hold\"\ngive_up_after = \"2s\"\n", fault);
        assert_eq!((code, clinic.accepted().len()), (1, 1), "{fault}");
        assert!(clinic.has("inbox/bixby/a.pdf"), "{fault}");
    }
}

#[test]
fn what_was_not_processed_is_sent_once_more_and_counted_once() {
    for fault in [
        "create:first=2:status=503,retry_after=1",
        "create:first=2:status=503,body=outcome:transient",
        "create:nth=1:status=408",
        "create:nth=1:status=429,retry_after=1",
    ] {
        let (clinic, code) = with_fault("on_unknown = \"hold\"\n", fault);
        assert_eq!((code, clinic.accepted().len()), (0, 1), "{fault}");
        let receipt = clinic.receipt("done/bixby/a.pdf.receipt.json");
        assert_eq!((receipt["sends"].as_u64(), receipt["uncertain"].as_u64()), (Some(1), Some(0)), "{fault}");
    }
}

#[test]
fn a_duplicate_is_an_acceptance_only_of_what_was_sent_before() {
    let (clinic, code) = with_fault("", "create:nth=1:status=409,body=outcome:duplicate");
    assert_eq!((code, clinic.accepted().len()), (1, 0));
    assert!(clinic.reason("failed/bixby/a.pdf.reason.txt").contains("redox-409"));

    let mut clinic = Clinic::new(&[]);
    clinic.delivery.push_str("on_unknown = \"resend\"\n");
    clinic.fault("create:nth=1:cut=after\ncreate:nth=2:status=409,body=outcome:duplicate");
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    assert_eq!((clinic.run_once(), clinic.accepted().len()), (0, 1));
    let receipt = clinic.receipt("done/bixby/a.pdf.receipt.json");
    assert_eq!((receipt["sends"].as_u64(), receipt["uncertain"].as_u64()), (Some(2), Some(1)));
}

#[test]
fn an_upload_that_is_too_old_is_made_again_and_a_young_one_is_used() {
    for (age, uploads) in [("500ms", 2), ("1h", 1)] {
        let delivery = format!("upload_max_age = \"{age}\"\n");
        let (clinic, code) = with_fault(&delivery, "create:nth=1:status=503,retry_after=2");
        assert_eq!((code, clinic.accepted().len()), (0, 1), "{age}");
        assert_eq!(clinic.record()["uploads"], uploads, "{age}");
    }
}

#[test]
fn a_503_for_the_message_is_tried_again_byte_for_byte_and_said_in_the_receipt() {
    let (clinic, code) = with_fault("", "create:nth=1:status=503,commit");
    assert_eq!(code, 0);
    let accepted = clinic.accepted();
    assert_eq!(accepted.len(), 2, "the sandbox had taken the first one as well");
    assert_eq!(accepted[0]["bundle_sha256"], accepted[1]["bundle_sha256"]);
    let receipt = clinic.receipt("done/bixby/a.pdf.receipt.json");
    assert_eq!((receipt["sends"].as_u64(), receipt["uncertain"].as_u64()), (Some(2), Some(1)));
}

#[test]
fn a_refused_token_is_renewed_once() {
    let (clinic, code) = with_fault("", "create:nth=1:status=401");
    assert_eq!((code, clinic.accepted().len()), (0, 1));
    assert_eq!(clinic.record()["tokens"], 2);
}

#[test]
fn one_token_serves_all_workers() {
    let mut clinic = Clinic::new(&[]);
    clinic.delivery.push_str("concurrency = 16\n");
    for i in 0..40 {
        clinic.drop_file(format!("inbox/bixby/{i}.pdf"), pdf(&i.to_string()));
    }
    assert_eq!(clinic.run_once(), 0);
    assert_eq!((clinic.accepted().len(), clinic.record()["tokens"].as_u64()), (40, Some(1)));
}

#[test]
fn what_concerns_all_stops_all_and_moves_no_file() {
    for fault in
        ["binary:always:status=403", "create:always:status=404", "create:always:status=401", "token:always:status=401"]
    {
        let mut clinic = Clinic::new(&[]);
        clinic.delivery.push_str("concurrency = 1\n");
        clinic.fault(fault);
        for i in 0..10 {
            clinic.drop_file(format!("inbox/bixby/{i}.pdf"), pdf(&i.to_string()));
        }
        let began = Instant::now();
        let output = clinic.command(&["run", "--once", "--for", "50s"]);
        assert_eq!(output.status.code(), Some(2), "{fault}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("Nothing is lost."), "{fault}: {output:?}");
        assert!(began.elapsed() < Duration::from_secs(30), "{fault}: it ends as soon as it knows");
        assert_eq!(clinic.files("inbox").len(), 11, "{fault}");
        assert_eq!(clinic.accepted().len(), 0);
    }
}

#[test]
fn uploads_from_a_free_development_account_are_explained() {
    let mut clinic = Clinic::new(&["--free-account"]);
    clinic.redox = "environment = \"Development\"\n".into();
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    let output = clinic.command(&["run", "--once", "--for", "50s"]);
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(words.contains("free") && words.contains("Staging"), "{words}");
    clinic.delivery.push_str(EMBED);
    assert_eq!(clinic.run_once(), 0, "embedding is allowed there");
}

#[test]
fn lost_answer_does_not_flood_the_chart() {
    for (method, fault) in
        [("", "create:always:cut=after"), ("", "create:always:status=504,commit"), (EMBED, "create:always:cut=after")]
    {
        let mut clinic = Clinic::new(&[]);
        clinic.delivery.push_str(method);
        clinic.fault(fault);
        clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
        assert_eq!(clinic.run_once(), 1, "{fault}");
        let accepted = clinic.accepted();
        assert_eq!(accepted.len(), 4, "{fault}: once, and three times again");
        assert!(accepted.iter().all(|sent| sent["bundle_sha256"] == accepted[0]["bundle_sha256"]));
        assert!(clinic.has("inbox/bixby/a.pdf"), "held for a person");
        assert_eq!(clinic.run_once(), 1);
        assert_eq!(clinic.accepted().len(), 4, "a new run does not send it either");
    }
}

#[test]
fn a_lost_answer_is_settled_by_asking() {
    let (clinic, code) = with_fault("on_unknown = \"search\"\n", "create:nth=1:cut=after");
    assert_eq!((code, clinic.accepted().len()), (0, 1));
    let receipt = clinic.receipt("done/bixby/a.pdf.receipt.json");
    assert_eq!((receipt["sends"].as_u64(), receipt["uncertain"].as_u64()), (Some(1), Some(1)));

    let (clinic, code) = with_fault("on_unknown = \"search\"\n", "create:nth=1:cut=before");
    assert_eq!((code, clinic.accepted().len()), (0, 1), "it had not arrived, so it is sent");
}

#[test]
fn a_lost_answer_is_held_when_a_person_is_to_decide() {
    let (clinic, code) = with_fault("on_unknown = \"hold\"\n", "create:nth=1:cut=after");
    assert_eq!((code, clinic.accepted().len()), (1, 1));
    assert!(clinic.has("inbox/bixby/a.pdf"));
}

#[test]
fn a_request_that_is_never_answered_ends_by_itself() {
    let (clinic, code) = with_fault("request_timeout = \"4s\"\n", "create:nth=1:hang=after");
    assert_eq!((code, clinic.accepted().len()), (0, 2));
    assert_eq!(clinic.receipt("done/bixby/a.pdf.receipt.json")["uncertain"], 1);
}

#[test]
fn an_embedded_document_that_is_too_large_for_a_message_is_uploaded() {
    let (clinic, code) = with_fault(EMBED, "create:nth=1:status=413");
    assert_eq!((code, clinic.accepted().len()), (0, 1));
    assert_eq!(clinic.accepted()[0]["method"], "upload");
}

#[test]
fn after_give_up_after_the_document_is_filed_as_failed() {
    let (clinic, code) = with_fault("give_up_after = \"1s\"\n", "binary:always:status=503");
    assert_eq!(code, 1);
    assert!(clinic.reason("failed/bixby/a.pdf.reason.txt").contains("gave-up"));
    clinic.clear_faults();
    std::fs::rename(clinic.path("failed/bixby/a.pdf"), clinic.path("inbox/bixby/a.pdf")).unwrap();
    assert_eq!(clinic.run_once(), 0, "put back, it starts over");
}

#[test]
fn destination_failure_files_as_failed() {
    let mut clinic = Clinic::new(&[]);
    clinic.fault("create:nth=2:status=400");
    clinic.delivery.push_str("concurrency = 1\n");
    for i in 0..3 {
        clinic.drop_file(format!("inbox/bixby/{i}.pdf"), pdf(&i.to_string()));
    }
    assert_eq!(clinic.run_once(), 1);
    assert_eq!(clinic.files("done").len(), 4);
    assert_eq!(clinic.files("failed").len(), 2);
}

#[test]
fn a_redirect_is_not_followed() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (clinic, code) = with_fault("", &format!("create:always:redirect=http://{}/", other.local_addr().unwrap()));
    assert_eq!(code, 2);
    other.set_nonblocking(true).unwrap();
    assert!(other.accept().is_err(), "nobody came");
    assert!(clinic.has("inbox/bixby/a.pdf"));
}

#[test]
fn all_three_bodies_of_an_upload_arrive() {
    for body in ["raw", "multipart", "fhir-json"] {
        let mut clinic = Clinic::new(&[]);
        clinic.redox = format!("upload_body = \"{body}\"\n");
        clinic.drop_file("inbox/bixby/a.pdf", pdf(body));
        assert_eq!((clinic.run_once(), clinic.accepted().len()), (0, 1), "{body}");
    }
}

#[test]
fn the_source_is_named_when_there_are_several() {
    let one = "5f1a7a55-9d3c-4d0e-8a34-1f0e5a3c0001";
    let mut clinic = Clinic::new(&["--source-id", one, "--source-id", "5f1a7a55-9d3c-4d0e-8a34-1f0e5a3c0002"]);
    clinic.redox = format!("source_id = \"{one}\"\n");
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted()[0]["source_id"], one);
}

#[test]
fn logs_hold_no_patient_data() {
    let mut clinic = Clinic::new(&[]);
    for fault in [
        "create:nth=1:status=503",
        "create:nth=3:cut=after",
        "binary:nth=4:status=500,body=html",
        "create:nth=6:status=400",
        "token:nth=1:status=503",
    ] {
        clinic.fault(fault);
    }
    clinic.redox.push_str("upload_body = \"multipart\"\n");
    for i in 0..8 {
        clinic.drop_file(format!("inbox/bixby/secretname{i}.pdf"), pdf(&i.to_string()));
    }
    clinic.drop_file("inbox/bixby/secretname-bad.pdf", "no pdf");
    clinic.drop_file("inbox/bixby/secretname8.pdf", pdf("8"));
    clinic.drop_file("inbox/bixby/secretname8.toml", "titel = \"secretname\"");
    let output = chartdrop_trace(&clinic);
    let log = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(log.contains("accepted by redox") && log.contains("rejected"), "{log}");
    for secret in ["secretname", "bixby", "timothy", "0000000001", "2008-01-06", "titel"] {
        assert!(!log.contains(secret), "{secret} in:\n{log}");
    }
}

/// What `check` says of the token when Redox is to be found at another address, in this environment.
fn check_elsewhere(base_url: &str, redox: &str, environment: &[(&str, &str)]) -> String {
    let mut clinic = Clinic::new(&[]);
    clinic.base_url = base_url.to_owned();
    clinic.redox = redox.to_owned();
    let mut command = support::chartdrop();
    for name in
        ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy"]
    {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    let output = command.args(["check", "--config"]).arg(clinic.config()).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn why_redox_cannot_be_reached_is_said() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = format!("http://{free}");
    let by_proxy = format!("the proxy {free}");
    for (base_url, redox, environment, words) in [
        (format!("https://{free}"), String::new(), vec![], "connection refused: no server listens at"),
        ("https://redox.invalid".into(), String::new(), vec![], "DNS: "),
        ("https://redox.invalid".into(), String::new(), vec![("HTTPS_PROXY", &*proxy)], &*by_proxy),
        (
            "https://redox.invalid".into(),
            String::new(),
            vec![("HTTPS_PROXY", &proxy), ("NO_PROXY", "redox.invalid")],
            "DNS: ",
        ),
        ("https://redox.invalid".into(), format!("proxy = \"{proxy}\"\n"), vec![], &by_proxy),
        (
            format!("http://{free}"),
            "proxy = \"http://redox.invalid:3128\"\n".into(),
            vec![],
            "no server listens at 127.0.0.1",
        ),
        (
            "https://redox.invalid".into(),
            "proxy = \"proxy:3128\"\n".into(),
            vec![],
            "proxy = \"proxy:3128\" cannot be used",
        ),
    ] {
        let said = check_elsewhere(&base_url, &redox, &environment);
        assert!(said.contains(words), "{base_url} {redox} {environment:?}: {said}");
        assert!(!said.contains("/v2/auth"), "{said}");
    }
}

#[test]
fn this_computer_is_reached_without_the_proxy() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    let output = support::chartdrop()
        .envs([
            ("HTTPS_PROXY", "http://127.0.0.1:9"),
            ("HTTP_PROXY", "http://127.0.0.1:9"),
            ("ALL_PROXY", "http://127.0.0.1:9"),
        ])
        .args(["run", "--once", "--for", "50s", "--config"])
        .arg(clinic.config())
        .output()
        .unwrap();
    assert_eq!((output.status.code(), clinic.accepted().len()), (Some(0), 1), "{output:?}");
}

/// Everything that our own code logs, at the finest level.
fn chartdrop_trace(clinic: &Clinic) -> std::process::Output {
    let config = clinic.config();
    support::chartdrop()
        .env("RUST_LOG", "trace")
        .args(["run", "--once", "--for", "50s", "--config"])
        .arg(config)
        .output()
        .unwrap()
}
