//! The stand-in for Redox is strict: what the real one documents as wrong is refused, each thing by itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use support::{Clinic, chartdrop, sample};

/// One request as raw bytes; gives back status and body.
fn send(clinic: &Clinic, head: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(clinic.base_url.strip_prefix("http://").unwrap()).unwrap();
    // In one go: a sandbox that refuses the head answers and closes, and a body after that could not be written.
    stream.write_all(&[format!("{head}\n").replace('\n', "\r\n").as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn claims(clinic: &Clinic) -> Value {
    let aud = format!("{}/v2/auth/token", clinic.base_url);
    json!({ "iss": "clinic", "sub": "clinic", "aud": aud, "iat": now() - 5, "exp": now() + 200, "jti": "unique" })
}

fn assertion(clinic: &Clinic, kid: Option<String>, claims: &Value) -> String {
    let key = EncodingKey::from_ec_pem(&fs::read(clinic.path("key.pem")).unwrap()).unwrap();
    encode(&Header { kid, ..Header::new(Algorithm::ES384) }, claims, &key).unwrap()
}

fn ask_token(clinic: &Clinic, assertion: &str) -> (u16, String) {
    let body = format!(
        "grant_type=client_credentials&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={assertion}"
    );
    let host = clinic.base_url.strip_prefix("http://").unwrap();
    let length = body.len();
    let head = format!(
        "POST /v2/auth/token HTTP/1.1\nHost: {host}\nConnection: close\nContent-Type: application/x-www-form-urlencoded\nContent-Length: {length}\n"
    );
    send(clinic, &head, body.as_bytes())
}

fn token(clinic: &Clinic) -> String {
    let mut own = claims(clinic);
    own["jti"] = json!(format!("{:?}", std::time::Instant::now()));
    let (status, body) = ask_token(clinic, &assertion(clinic, Some(clinic.kid()), &own));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).unwrap()["access_token"].as_str().unwrap().to_owned()
}

#[test]
fn every_claim_of_an_assertion_is_checked() {
    let clinic = Clinic::new(&[]);
    let kid = Some(clinic.kid());
    let good = assertion(&clinic, kid.clone(), &claims(&clinic));
    assert_eq!(ask_token(&clinic, &good).0, 200);
    assert!(ask_token(&clinic, &good).1.contains("jti"), "used twice");
    for (claim, value, word) in [
        ("iss", json!("somebody"), "iss"),
        ("sub", json!("somebody"), "sub"),
        ("aud", json!("https://api.redoxengine.com/v2/auth/token"), "aud"),
        ("iat", json!(now() - 400), "iat"),
        ("iat", json!(now() + 60), "iat"),
        ("exp", json!(now() - 60), "exp"),
        ("exp", json!(now() + 900), "exp"),
    ] {
        let mut wrong = claims(&clinic);
        wrong["jti"] = json!(format!("{claim} {value}"));
        wrong[claim] = value;
        let (status, body) = ask_token(&clinic, &assertion(&clinic, kid.clone(), &wrong));
        assert!(status == 400 && body.contains(word), "{claim}: {status} {body}");
    }
    assert!(ask_token(&clinic, &assertion(&clinic, None, &claims(&clinic))).1.contains("kid"));
    assert!(
        ask_token(&clinic, &assertion(&clinic, Some("other".into()), &claims(&clinic)))
            .1
            .contains("Public key not found")
    );
    let other =
        chartdrop().args(["keygen", "--algorithm", "ES384", "--out"]).arg(clinic.path("other.pem")).output().unwrap();
    assert!(other.status.success());
    fs::rename(clinic.path("other.pem"), clinic.path("key.pem")).unwrap();
    assert!(ask_token(&clinic, &assertion(&clinic, kid, &claims(&clinic))).1.contains("signature"));
}

fn upload(clinic: &Clinic, environment: &str, headers: &str, body: &[u8]) -> u16 {
    let head = format!("POST /fhir/R4/redox/{environment}/Binary HTTP/1.1\nHost: x\nConnection: close\n{headers}");
    send(clinic, &head, body).0
}

#[test]
fn uploads_are_checked() {
    let clinic = Clinic::new(&["--token-life", "6s"]);
    let authorization = format!("Authorization: Bearer {}\n", token(&clinic));
    let pdf = sample("referral.pdf");
    let length = format!("Content-Length: {}\n", pdf.len());
    let good = format!("{authorization}{length}Content-Type: application/pdf\n");
    assert_eq!(upload(&clinic, "Staging", &good, &pdf), 201);
    assert_eq!(upload(&clinic, "staging", &good, &pdf), 404, "environments are capitalised");
    assert_eq!(upload(&clinic, "Staging", &format!("{length}Content-Type: application/pdf\n"), &pdf), 401);
    assert_eq!(upload(&clinic, "Staging", &good.replace("application/pdf", "image/png"), &pdf), 415);
    assert_eq!(upload(&clinic, "Staging", &good.replace("application/pdf", "application/zip"), &pdf), 415);
    let chunked = good.replace(&length, "Transfer-Encoding: chunked\n");
    assert_eq!(upload(&clinic, "Staging", &chunked, b"0\r\n\r\n"), 411);
    let large = good.replace(&length, "Content-Length: 30000001\n");
    assert_eq!(upload(&clinic, "Staging", &large, b""), 413);
    support::wait_for("the token's end", || upload(&clinic, "Staging", &good, &pdf) == 401, String::new);
}

#[test]
fn a_message_must_be_true_of_its_upload() {
    // A message that was accepted, sent once more with one lie each.
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/a.pdf", sample("referral.pdf"));
    assert_eq!(clinic.run_once(), 0);
    let good = clinic.accepted()[0]["bundle"].clone();
    let authorization = format!("Authorization: Bearer {}\n", token(&clinic));
    let create = |bundle: &Value, path: &str, mime: &str| {
        let body = bundle.to_string();
        let length = body.len();
        let head = format!(
            "POST /fhir/R4/{path}/DocumentReference/$documentreference-create HTTP/1.1\nHost: x\nConnection: close\n{authorization}Content-Type: {mime}\nAccept: application/fhir+json\nContent-Length: {length}\n"
        );
        send(&clinic, &head, body.as_bytes()).0
    };
    let here = "redox-fhir-sandbox/Staging";
    let fhir = "application/fhir+json";
    assert_eq!(create(&good, here, fhir), 200);
    assert_eq!(create(&good, here, "application/json"), 415);
    assert_eq!(create(&good, "somebody-else/Staging", fhir), 404);
    assert_eq!(create(&good, "redox-fhir-sandbox/Production", fhir), 422, "uploaded in another environment");
    for (key, value) in [
        ("size", json!(1)),
        ("hash", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
        ("contentType", json!("image/png")),
        ("url", json!("https://example.org/file")),
    ] {
        let mut lie = good.clone();
        lie["entry"][1]["resource"]["content"][0]["attachment"][key] = value;
        assert_eq!(create(&lie, here, fhir), 422, "{key}");
    }
    assert_eq!(create(&json!({}), here, fhir), 400);
    assert_eq!(clinic.accepted().len(), 2);
}

#[test]
fn it_listens_on_this_machine_only() {
    let output = chartdrop().args(["sandbox", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("this machine only"), "{output:?}");
}

#[test]
fn a_key_file_that_is_none_is_named_with_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwk.json");
    for (text, words) in [
        (None, "No such file"),
        (Some("-----BEGIN PRIVATE KEY-----"), "private key"),
        (Some("{}"), "neither a JWK"),
        (Some(r#"{"keys":[]}"#), "empty"),
    ] {
        text.iter().for_each(|text| fs::write(&path, text).unwrap());
        let output = chartdrop().args(["sandbox", "--listen", "127.0.0.1:0", "--jwks"]).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("jwk.json") && said.contains(words), "{said}");
    }
    // A good file that is spoiled while the sandbox runs.
    let clinic = Clinic::new(&[]);
    let good = assertion(&clinic, Some(clinic.kid()), &claims(&clinic));
    fs::write(clinic.path("jwk.json"), "{").unwrap();
    let (status, body) = ask_token(&clinic, &good);
    assert!(status == 400 && body.contains("--jwks") && body.contains("not JSON"), "{body}");
}

#[test]
fn help_explains_every_fault() {
    let output = chartdrop().args(["sandbox", "--help"]).output().unwrap();
    let help = String::from_utf8_lossy(&output.stdout);
    for word in [
        "token, binary, create, search, any",
        "nth=",
        "first=",
        "every=",
        "always",
        "status=",
        "body=",
        "retry_after=",
        "commit",
        "early",
        "ok-with-outcome",
        "cut=before",
        "cut=mid",
        "cut=after",
        "cut=answer",
        "hang",
        "delay=",
        "slow",
        "no_location",
        "revoke",
        "redirect=",
        "outcome:CODE",
        "/sandbox/faults",
    ] {
        assert!(help.contains(word), "{word}: {help}");
    }
}
