//! The calls over a real socket: what leaves, and what becomes of each way to fail.

use std::{os::unix::fs::FileExt, sync::OnceLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::{
    model::document::{Coding, DocStatus, Document, Identifier, Metadata, Patient},
    model::message::{Message, Upload},
    redox::{
        Unreachable, UploadBody,
        body::tests::{file_of, noise},
        build,
        keys::tests::{ec_key, write},
        settings,
        test_server::{Act, Seen, Server, answer},
    },
};

/// One key for all tests of this room: making one takes longer than using it.
pub(in crate::redox) fn key() -> &'static (tempfile::TempDir, std::path::PathBuf, Vec<u8>) {
    static KEY: OnceLock<(tempfile::TempDir, std::path::PathBuf, Vec<u8>)> = OnceLock::new();
    KEY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (pem, public) = ec_key();
        let path = write(folder.path(), "key.pem", &pem, 0o600);
        (folder, path, public)
    })
}

fn client_with(url: &str, change: impl FnOnce(&mut Settings)) -> Client {
    let mut settings = Settings { private_key: key().1.clone(), ..settings::for_tests(url) };
    change(&mut settings);
    Client::new(settings).unwrap()
}

fn client(server: &Server) -> Client {
    client_with(&server.url(), |_| {})
}

fn bundle(content: &Content, upload: Option<&str>) -> Bundle {
    let document = Document {
        file_name: "scan.pdf".into(),
        patient: Patient {
            identifier: vec![Identifier { system: "urn:x".into(), value: "0001".into(), kind: None }],
            family: Some("Bixby".into()),
            given: vec![],
            birth_date: None,
            gender: None,
        },
        metadata: Metadata {
            title: None,
            description: None,
            date: None,
            kind: Coding { system: "http://loinc.org".into(), code: "57133-1".into(), display: None },
            category: "clinical-note".into(),
            status: DocStatus::Final,
            author: None,
            visit: None,
        },
        content: content.clone(),
    };
    let message = Message {
        bundle: Uuid::from_u128(1),
        header: Uuid::from_u128(2),
        timestamp: Timestamp::UNIX_EPOCH,
        endpoint: "urn:uuid:00000000-0000-0000-0000-000000000003".into(),
        upload: upload.map(|location| Upload { location: location.into(), at: Timestamp::UNIX_EPOCH }),
        sent: 1,
    };
    build(&document, DeliveryId(Uuid::from_u128(5)), Timestamp::UNIX_EPOCH, &message)
}

/// Sends a message that refers to an upload.
async fn create(client: &Client) -> Result<Answer, Failure> {
    let (_, content) = file_of(b"abc");
    client.create("slug", bundle(&content, Some("https://example.org/1")), None, false, always).await
}

fn created() -> Option<Act> {
    Some(answer(201, "Location: https://blob.example.org/1?sig=a%2Fb\r\n", ""))
}

/// An answer to calls; tokens are given as usual.
fn to_calls(act: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> impl Fn(&Seen) -> Option<Act> + Send + Sync {
    move |seen| (!seen.is_token()).then(|| act(seen))
}

#[tokio::test]
async fn an_upload_carries_exactly_the_files_bytes() {
    let server = Server::start(|seen| if seen.is_token() { None } else { created() }).await;
    let bytes = noise(300_001);
    let (file, content) = file_of(&bytes);
    for form in [UploadBody::Raw, UploadBody::Multipart, UploadBody::FhirJson] {
        let client = client_with(&server.url(), |settings| {
            settings.upload_body = form;
            settings.source_id = Some("source-1".into());
        });
        let location = client.upload(&file, &content).await.unwrap();
        assert_eq!(location, "https://blob.example.org/1?sig=a%2Fb");
        let seen = server.calls().pop().unwrap();
        assert_eq!(seen.line, "POST /fhir/R4/redox/Staging/Binary HTTP/1.1");
        assert_eq!(seen.header("content-length").unwrap(), seen.body.len().to_string());
        assert_eq!(seen.header("redox-source-id"), Some("source-1"));
        assert_eq!(seen.header("user-agent"), Some(concat!("chartdrop/", env!("CARGO_PKG_VERSION"))));
        assert!(seen.header("authorization").unwrap().starts_with("Bearer token-"));
        let kind = seen.header("content-type").unwrap();
        match form {
            UploadBody::Raw => {
                assert_eq!(kind, "application/pdf");
                assert!(seen.body == bytes);
            }
            UploadBody::Multipart => {
                let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
                let end = format!("\r\n--{boundary}--\r\n");
                let part = seen.body.strip_suffix(end.as_bytes()).unwrap();
                assert!(part.starts_with(format!("--{boundary}\r\n").as_bytes()) && part.ends_with(&bytes));
            }
            UploadBody::FhirJson => {
                assert_eq!(kind, "application/fhir+json");
                let body: Value = serde_json::from_slice(&seen.body).unwrap();
                let data = STANDARD.encode(&bytes);
                assert!(body == json!({ "resourceType": "Binary", "contentType": "application/pdf", "data": data }));
            }
        }
    }
}

#[tokio::test]
async fn a_message_refers_to_the_upload_or_embeds_the_file() {
    let server = Server::start(to_calls(|_| {
        let body = r#"{"resourceType":"Bundle","id":"b","entry":[{"response":{"location":"DocumentReference/7"}}]}"#;
        answer(200, "X-Request-Id: r-1\r\nSet-Cookie: s=1\r\n", body)
    }))
    .await;
    let client = client(&server);
    let bytes = noise(150_000);
    let (file, content) = file_of(&bytes);
    let answer = create(&client).await.unwrap();
    assert_eq!((answer.status, answer.ids), (200, vec!["DocumentReference/7".into(), "b".into()]));
    assert!(answer.headers.contains(&("x-request-id".into(), "r-1".into())));
    assert!(answer.headers.iter().all(|(name, _)| name != "set-cookie"));
    client.create("slug", bundle(&content, None), Some((&file, &content)), false, always).await.unwrap();

    let calls = server.calls();
    for (seen, member) in calls.iter().zip(["url", "data"]) {
        assert_eq!(seen.line, "POST /fhir/R4/slug/Staging/DocumentReference/$documentreference-create HTTP/1.1");
        assert_eq!(seen.header("content-type"), Some("application/fhir+json"));
        assert_eq!(seen.header("content-length").unwrap(), seen.body.len().to_string());
        assert_eq!(seen.header("redox-source-id"), None);
        let body: Value = serde_json::from_slice(&seen.body).unwrap();
        let value = &body["entry"][1]["resource"]["content"][0]["attachment"][member];
        let expected = if member == "url" { "https://example.org/1".into() } else { STANDARD.encode(&bytes) };
        assert!(value == expected.as_str(), "{member}");
    }
}

#[tokio::test]
async fn the_assertion_is_what_redox_asks_for() {
    let server = Server::start(|_| None).await;
    let client = client_with(&server.url(), |settings| settings.scope = Some("system/*.c a".into()));
    let report = client.token().await.unwrap();
    assert!(report.expires_in > Duration::from_secs(290) && report.expires_in <= Duration::from_secs(300));
    assert_eq!(report.skew, None);
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.line, "POST /v2/auth/token HTTP/1.1");
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
    let form = Url::parse(&format!("form:?{}", std::str::from_utf8(&seen.body).unwrap())).unwrap();
    let fields: Vec<(String, String)> = form.query_pairs().into_owned().collect();
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["grant_type", "client_assertion_type", "client_assertion", "scope"]);
    assert_eq!(fields[0].1, "client_credentials");
    assert_eq!(fields[1].1, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert_eq!(fields[3].1, "system/*.c a");

    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES384);
    let token_url = format!("{}/v2/auth/token", server.url());
    validation.set_audience(&[&token_url]);
    validation.set_issuer(&["client-1"]);
    let public = jsonwebtoken::DecodingKey::from_ec_der(&key().2);
    let token = jsonwebtoken::decode::<Value>(&fields[2].1, &public, &validation).unwrap();
    assert_eq!(token.header.kid.as_deref(), Some("key-1"));
    assert_eq!(token.header.typ.as_deref(), Some("JWT"));
    let now = Timestamp::now().as_second();
    let (issued, expires) = (token.claims["iat"].as_i64().unwrap(), token.claims["exp"].as_i64().unwrap());
    assert!((now - 30..=now - 5).contains(&issued) && expires > now && expires <= issued + 300);
    assert_eq!(token.claims["sub"], "client-1");
    assert!(Uuid::try_parse(token.claims["jti"].as_str().unwrap()).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_calls_at_once_ask_for_one_token() {
    let server = Server::start(to_calls(|_| answer(200, "", "{}"))).await;
    let client = Arc::new(client(&server));
    let workers: Vec<_> = (0..16)
        .map(|_| {
            let client = Arc::clone(&client);
            tokio::spawn(async move { create(&client).await })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap().unwrap();
    }
    assert_eq!((server.tokens(), server.calls().len()), (1, 16));
}

#[tokio::test]
async fn those_who_wait_for_a_token_share_its_failure() {
    let server = Server::start(|_| Some(answer(503, "", ""))).await;
    let client = client(&server);
    let failures = futures_util::future::join_all((0..16).map(|_| create(&client))).await;
    assert!(failures.iter().all(|result| matches!(result, Err(Failure::Later { .. }))), "{failures:?}");
    assert_eq!((server.tokens(), server.calls().len()), (1, 0));
    assert!(create(&client).await.is_err());
    assert_eq!(server.tokens(), 2, "whoever comes later tries again");
}

#[tokio::test]
async fn a_token_is_renewed_before_it_runs_out() {
    let server = Server::start(to_calls(|_| answer(200, "", "{}"))).await;
    let client = client(&server);
    for (later_by, tokens) in [(0, 1), (235, 1), (10, 2), (200, 2), (100, 3)] {
        // Time stands only while it is moved: sockets know nothing of it.
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(later_by)).await;
        tokio::time::resume();
        create(&client).await.unwrap();
        assert_eq!(server.tokens(), tokens, "after {later_by} s more");
    }
    assert_eq!(server.calls().last().unwrap().header("authorization"), Some("Bearer token-3"));
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let refuse = |seen: &Seen| seen.header("authorization") == Some("Bearer token-1");
    let server = Server::start(to_calls(move |seen| answer(if refuse(seen) { 401 } else { 200 }, "", ""))).await;
    let (file, content) = file_of(&noise(100_000));
    let client = client(&server);
    client.create("slug", bundle(&content, None), Some((&file, &content)), false, always).await.unwrap();
    let calls = server.calls();
    assert_eq!((server.tokens(), calls.len()), (2, 2));
    assert!(calls[0].body == calls[1].body, "byte for byte");
    assert_eq!(calls[1].header("authorization"), Some("Bearer token-2"));

    let server = Server::start(to_calls(|_| answer(401, "", r#"{"message":"no"}"#))).await;
    let failure = create(&client_with(&server.url(), |_| {})).await.unwrap_err();
    assert!(matches!(failure, Failure::Stop { ref code, .. } if code == "redox-401"), "{failure:?}");
    assert_eq!((server.tokens(), server.calls().len()), (2, 2));
}

#[tokio::test]
async fn many_whose_token_is_refused_at_once_get_one_new_token() {
    let refuse = |seen: &Seen| seen.header("authorization") == Some("Bearer token-1");
    let server = Server::start(to_calls(move |seen| answer(if refuse(seen) { 401 } else { 200 }, "", ""))).await;
    let client = client(&server);
    client.token().await.unwrap();
    for result in futures_util::future::join_all((0..16).map(|_| create(&client))).await {
        result.unwrap();
    }
    assert_eq!(server.tokens(), 2);
}

#[tokio::test]
async fn clocks_that_differ_are_told() {
    let server = Server::start(|seen| {
        let date = "Date: Fri, 01 Jan 2021 00:00:00 GMT\r\n";
        seen.is_token().then(|| answer(200, date, r#"{"access_token":"t","expires_in":300}"#))
    })
    .await;
    let skew = client(&server).token().await.unwrap().skew.unwrap();
    assert!(skew > 100_000_000, "{skew}");

    let server = Server::start(|_| Some(answer(401, "Date: Fri, 01 Jan 2021 00:00:00 GMT\r\n", ""))).await;
    let Err(Failure::Stop { summary, .. }) = client(&server).token().await else { panic!("not stopped") };
    assert!(summary.contains("seconds ahead of Redox's"), "{summary}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_no_other_host_sees_the_token() {
    let other = Server::start(|_| Some(answer(200, "", "{}"))).await;
    let there = other.url();
    for status in [301, 302, 303, 307, 308] {
        let target = format!("Location: {there}/x\r\n");
        let away = target.clone();
        let server = Server::start(to_calls(move |_| answer(status, &away, ""))).await;
        let failure = create(&client(&server)).await.unwrap_err();
        assert!(matches!(&failure, Failure::Stop { code, .. } if *code == format!("redox-{status}")), "{failure:?}");
        let server = Server::start(move |_| Some(answer(status, &target, ""))).await;
        let failure = client(&server).token().await.unwrap_err();
        assert!(matches!(failure, Failure::Stop { .. }), "{failure:?}");
    }

    // An upload's Location leads elsewhere and is only ever quoted.
    let target = format!("Location: {there}/file\r\n");
    let server = Server::start(to_calls(move |_| answer(201, &target, ""))).await;
    let (file, content) = file_of(b"abc");
    assert_eq!(client(&server).upload(&file, &content).await.unwrap(), format!("{there}/file"));
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_file_that_changes_never_completes_a_request() {
    let server = Server::start(to_calls(|_| answer(201, "Location: /x\r\n", ""))).await;
    let client = client(&server);
    for size in [10, 400_000] {
        let (file, content) = file_of(&noise(size));
        file.write_all_at(b"~~~~", size as u64 - 5).unwrap();
        assert_eq!(client.upload(&file, &content).await, Err(Failure::Changed));
        let sent = client.create("slug", bundle(&content, None), Some((&file, &content)), false, always).await;
        assert_eq!(sent, Err(Failure::Changed));
    }
    assert!(server.calls().iter().all(|seen| !seen.complete));
}

#[tokio::test]
async fn what_is_never_answered_is_unknown_and_an_upload_is_only_late() {
    let silent: [fn() -> Act; 4] = [
        || Act::Cut,
        || Act::Stall(String::new()),
        || Act::Stall("HTTP/1.1 200 OK\r\nContent-Len".into()),
        || Act::Answer("SSH-2.0-nonsense\r\n\r\n".into()),
    ];
    let check = async |silence: fn() -> Act| {
        let server = Server::start(to_calls(move |_| silence())).await;
        let client = client_with(&server.url(), |settings| settings.request_timeout = Duration::from_secs(5));
        let (file, content) = file_of(b"abc");
        let (created, uploaded) = futures_util::future::join(create(&client), client.upload(&file, &content)).await;
        assert!(matches!(created, Err(Failure::Unknown { .. })), "{created:?}");
        assert!(matches!(uploaded, Err(Failure::Later { .. })), "{uploaded:?}");
        let calls = server.calls();
        assert!(calls.len() == 2 && calls.iter().all(|seen| seen.complete));
    };
    futures_util::future::join_all(silent.map(check)).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_after_a_2xx_is_held_and_after_a_5xx_unknown() {
    let broken = |status: u16| format!("HTTP/1.1 {status} X\r\nContent-Length: 99\r\n\r\n{{");
    for (status, stalls, expected) in [(200, true, "unclear"), (201, false, "unclear"), (502, true, "unknown")] {
        let server = Server::start(to_calls(move |_| match stalls {
            true => Act::Stall(broken(status)),
            false => Act::Answer(format!(
                "HTTP/1.1 {status} X\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{{"
            )),
        }))
        .await;
        let client = client_with(&server.url(), |settings| settings.request_timeout = Duration::from_secs(1));
        match create(&client).await {
            Err(Failure::Unclear { status: found, .. }) => assert_eq!((found, "unclear"), (status, expected)),
            Err(Failure::Unknown { .. }) => assert_eq!("unknown", expected),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = |failure: Failure, host: &str| match failure {
        Failure::Unreachable { kind: Unreachable::Refused, why } => {
            assert!(why.contains(host) && !why.contains("http"), "{why}");
        }
        other => panic!("{other:?}"),
    };
    let unreachable = client_with(&format!("http://{free}"), |_| {});
    refused(create(&unreachable).await.unwrap_err(), &free.to_string());

    // The same with a token at hand.
    let server =
        Server::start(|_| Some(answer(200, "Connection: close\r\n", r#"{"access_token":"t","expires_in":300}"#))).await;
    let client = client(&server);
    client.token().await.unwrap();
    let host = server.url().replace("http://", "");
    server.close().await;
    refused(create(&client).await.unwrap_err(), &host);
    let (file, content) = file_of(b"abc");
    refused(client.upload(&file, &content).await.unwrap_err(), &host);
    refused(client.search("slug", DeliveryId(Uuid::from_u128(5))).await.unwrap_err(), &host);
}

#[tokio::test]
async fn a_refusal_that_comes_before_the_file_is_through_counts() {
    let (file, content) = file_of(&noise(8_000_000));
    for (status, expected) in [(413, "redox-413"), (403, "redox-403"), (422, "redox-422")] {
        let words = r#"{"message":"named by the server"}"#;
        let server = Server::eager(move |seen| (!seen.is_token()).then(|| answer(status, "", words))).await;
        match client(&server).upload(&file, &content).await {
            Err(Failure::Rejected { code, summary, .. } | Failure::Stop { code, summary, .. }) => {
                assert_eq!(code, expected);
                assert!(summary.contains("named by the server"), "the answer is read to its end: {summary}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_success_that_comes_before_the_file_is_through_is_none() {
    let (file, content) = file_of(&noise(8_000_000));
    let embed = async |client: &Client| {
        client.create("slug", bundle(&content, None), Some((&file, &content)), false, always).await
    };
    for status in [200, 201, 204] {
        let server =
            Server::eager(move |seen| (!seen.is_token()).then(|| answer(status, "Location: /x\r\n", ""))).await;
        let client = client(&server);
        let failure = embed(&client).await.unwrap_err();
        assert!(matches!(failure, Failure::Unknown { .. }), "{failure:?}");
        let failure = client.upload(&file, &content).await.unwrap_err();
        assert!(matches!(failure, Failure::Later { .. }), "{failure:?}");
        // Neither was completed afterwards.
        let late = server.late.load(std::sync::atomic::Ordering::SeqCst);
        assert!(late < 8_000_000, "{late}");
    }
    for status in [500, 503, 504] {
        let server = Server::eager(move |seen| (!seen.is_token()).then(|| answer(status, "", ""))).await;
        let failure = embed(&client(&server)).await.unwrap_err();
        assert!(matches!(failure, Failure::Later { .. }), "nobody can have the whole message: {failure:?}");
    }
}

/// Takes a body bit by bit, in `time`: a line that is slow, and moves.
async fn slow_server(time: Duration) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(8).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap().to_lowercase();
                let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
                let (mut taken, length) = (0, length.parse::<usize>().unwrap());
                let is_token = head.contains("/v2/auth/token");
                let mut buffer = vec![0; 64 * 1024];
                let began = tokio::time::Instant::now();
                while taken < length {
                    taken += stream.read(&mut buffer).await.unwrap();
                    if !is_token {
                        tokio::time::sleep_until(began + time.mul_f64(taken as f64 / length as f64)).await;
                    }
                }
                let body = if is_token { r#"{"access_token":"t","expires_in":300}"# } else { "{}" };
                let head = "HTTP/1.1 201 X\r\nConnection: close\r\nLocation: /x\r\n";
                let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
                for byte in answer.bytes() {
                    stream.write_u8(byte).await.unwrap();
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn a_slow_line_that_still_moves_finishes_a_large_file() {
    let limit = Duration::from_secs(2);
    let client = client_with(&slow_server(3 * limit).await, |settings| settings.request_timeout = limit);
    let (file, content) = file_of(&noise(24_000_000));
    let began = std::time::Instant::now();
    client.upload(&file, &content).await.unwrap();
    assert!(began.elapsed() > limit, "{:?}: no longer than the time-out of silence proves nothing", began.elapsed());
}

#[tokio::test]
async fn an_answer_that_drips_is_read_to_its_end() {
    let server = Server::start(to_calls(|_| {
        Act::Drip("HTTP/1.1 200 X\r\nContent-Length: 16\r\n\r\n{\"a\":\"12345678\"}".into())
    }))
    .await;
    let client = client_with(&server.url(), |settings| settings.request_timeout = Duration::from_millis(700));
    assert_eq!(create(&client).await.unwrap().status, 200);
}

#[tokio::test]
async fn the_document_is_looked_at_again_between_a_refused_token_and_the_second_try() {
    let server = Server::start(to_calls(|_| answer(401, "", ""))).await;
    let client = client(&server);
    let looks = std::cell::Cell::new(0);
    let is_unchanged = || {
        looks.set(looks.get() + 1);
        ready(looks.get() == 1)
    };
    let (_, content) = file_of(b"abc");
    let sent = client.create("slug", bundle(&content, Some("https://example.org/1")), None, false, is_unchanged).await;
    assert_eq!(sent, Err(Failure::Changed));
    assert_eq!((looks.get(), server.calls().len(), server.tokens()), (2, 1, 2));
}

#[tokio::test]
async fn two_files_are_never_at_the_same_location() {
    let server = Server::start(to_calls(|_| answer(201, "Location: https://b.example.org/1\r\n", ""))).await;
    let client = client(&server);
    let (one, two) = (file_of(b"one"), file_of(b"two"));
    for _ in 0..2 {
        client.upload(&one.0, &one.1).await.unwrap();
        let failure = client.upload(&two.0, &two.1).await.unwrap_err();
        assert!(matches!(&failure, Failure::Later { why, .. } if why.contains("another")), "{failure:?}");
    }
}

#[tokio::test]
async fn a_life_of_a_token_that_makes_no_sense_is_short_and_asks_for_no_token_again_and_again() {
    for (expires_in, least, most) in [
        ("300", 295, 300),
        ("\"300\"", 295, 300),
        ("\" 300.0 \"", 295, 300),
        ("86400", 3595, 3600),
        ("1", 0, 1),
        ("0", 55, 60),
        ("-5", 55, 60),
        ("\"-5\"", 55, 60),
        ("null", 55, 60),
        ("1e300", 55, 60),
        ("18446744073709551615", 55, 60),
        ("99999999999", 55, 60),
        ("\"soon\"", 55, 60),
        ("\"NaN\"", 55, 60),
        ("\"inf\"", 55, 60),
        ("[300]", 55, 60),
        ("true", 55, 60),
    ] {
        let server = Server::start(move |seen| {
            let token = format!(r#"{{"access_token":"t","expires_in":{expires_in}}}"#);
            Some(if seen.is_token() { answer(200, "", &token) } else { answer(200, "", "{}") })
        })
        .await;
        let client = client(&server);
        let life = client.token().await.unwrap().expires_in;
        assert!((Duration::from_secs(least)..=Duration::from_secs(most)).contains(&life), "{expires_in}: {life:?}");
        for _ in 0..5 {
            create(&client).await.unwrap();
        }
        assert_eq!(server.tokens(), 1, "{expires_in}");
    }
    let server = Server::start(|seen| {
        Some(if seen.is_token() { answer(200, "", r#"{"access_token":"t"}"#) } else { answer(200, "", "{}") })
    })
    .await;
    let life = client(&server).token().await.unwrap().expires_in;
    assert!(life > Duration::from_secs(55) && life <= Duration::from_secs(60), "absent: {life:?}");
}

#[tokio::test]
async fn a_location_is_kept_as_it_came_unless_it_is_relative() {
    let base = "/fhir/R4/redox/Staging/";
    for (headers, body, expected) in [
        (
            "Location: https://b.example.org/%7Ea/../x?y#z\r\n",
            "",
            Some("https://b.example.org/%7Ea/../x?y#z".to_owned()),
        ),
        ("Location: urn:blob:7\r\n", "", Some("urn:blob:7".to_owned())),
        ("Location: Binary/7\r\n", "", Some(format!("{{}}{base}Binary/7"))),
        ("Location: /files/7\r\n", "", Some("{}/files/7".to_owned())),
        ("", r#"{"URI":"https://b.example.org/7"}"#, Some("https://b.example.org/7".to_owned())),
        ("", "", None),
        ("Location: \r\n", "", None),
        ("", r#"{"URI":7}"#, None),
    ] {
        let server = Server::start(to_calls(move |_| answer(201, headers, body))).await;
        let (file, content) = file_of(b"abc");
        let result = client(&server).upload(&file, &content).await;
        match expected {
            Some(expected) => assert_eq!(result.unwrap(), expected.replace("{}", &server.url())),
            None => assert!(matches!(result, Err(Failure::Later { .. })), "{result:?}"),
        }
    }
    let server =
        Server::start(to_calls(|_| answer(201, &format!("Location: https://x/{}\r\n", "a".repeat(1500)), ""))).await;
    let (file, content) = file_of(b"abc");
    let result = client(&server).upload(&file, &content).await;
    assert!(matches!(result, Err(Failure::Stop { ref code, .. }) if code == "location-too-long"), "{result:?}");
}

#[tokio::test]
async fn a_search_believes_only_the_documents_own_identifier() {
    let id = DeliveryId(Uuid::from_u128(5));
    let document = |member: &str, value: &str| {
        format!(
            r#"{{"resourceType":"Bundle","type":"searchset","total":1,"entry":[{{"resource":{{"resourceType":"DocumentReference","{member}":{value}}}}}]}}"#
        )
    };
    let name = format!(r#"{{"value":"urn:uuid:{id}"}}"#);
    for (body, expected) in [
        (document("masterIdentifier", &name), Some(true)),
        (document("identifier", &format!("[{{}},{name}]")), Some(true)),
        (r#"{"resourceType":"Bundle","type":"searchset","total":0}"#.to_owned(), Some(false)),
        (r#"{"resourceType":"Bundle","type":"searchset","total":0,"entry":[]}"#.to_owned(), Some(false)),
        (r#"{"resourceType":"Bundle","type":"searchset"}"#.to_owned(), Some(false)),
        // No answer: other documents, other forms, more to come, or contradictions.
        (document("identifier", r#"[{"value":"urn:uuid:another"}]"#), None),
        (document("description", &name), None),
        (r#"{"resourceType":"Bundle","type":"searchset","total":1}"#.to_owned(), None),
        (r#"{"resourceType":"Bundle","type":"searchset","total":0,"total":1}"#.to_owned(), None),
        (r#"{"resourceType":"Bundle","type":"searchset","total":"0"}"#.to_owned(), None),
        (
            r#"{"resourceType":"Bundle","type":"searchset","total":0,"link":[{"relation":"next","url":"x"}]}"#
                .to_owned(),
            None,
        ),
        (r#"{"resourceType":"Bundle","type":"message","total":0}"#.to_owned(), None),
        (r#"{"resourceType":"Bundle","total":0}"#.to_owned(), None),
        ("[]".to_owned(), None),
        ("{}".to_owned(), None),
        (String::new(), None),
        ("<html>".to_owned(), None),
    ] {
        let server = Server::start(to_calls(move |_| answer(200, "", &body))).await;
        let client = client_with(&server.url(), |settings| settings.source_id = Some("source-1".into()));
        assert_eq!(client.search("slug", id).await.ok(), expected);
        let seen = server.calls().pop().unwrap();
        assert_eq!(seen.line, "POST /fhir/R4/slug/Staging/DocumentReference/_search HTTP/1.1");
        assert_eq!(seen.header("redox-source-id"), Some("source-1"));
        let form = format!("identifier=urn%3Aietf%3Arfc%3A3986%7Curn%3Auuid%3A{id}");
        assert_eq!(String::from_utf8(seen.body).unwrap(), form);
    }
}

#[tokio::test]
async fn an_answers_body_is_read_only_so_far() {
    // Far more is announced than is ever sent: only a reader that stops by itself gets an answer from this.
    let head = "HTTP/1.1 201 X\r\nContent-Length: 100000000\r\n\r\n";
    let server = Server::start(to_calls(move |_| Act::Stall(format!("{head}{}", " ".repeat(1_100_000))))).await;
    let failure = create(&client(&server)).await.unwrap_err();
    assert!(matches!(&failure, Failure::Unclear { why, .. } if why.contains("too long")), "{failure:?}");
}
