//! Every answer that Redox is known to give, and some that others give in its place.

use http::{HeaderMap, HeaderName, StatusCode};
use jiff::Timestamp;

use super::*;

const TOKEN: Call = Call::Token;
const UPLOAD: Call = Call::Upload { development: false };
const CREATE: Call = Call::Create { embedded: false, resend: false };
const EMBED: Call = Call::Create { embedded: true, resend: false };
const RESEND: Call = Call::Create { embedded: false, resend: true };
const SEARCH: Call = Call::Search;

fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers: map,
        body: body.as_bytes().to_vec(),
        longer: false,
        lost: false,
        early: false,
        at: "2026-11-20T09:30:00Z".parse::<Timestamp>().unwrap(),
    }
}

fn issue(severity: &str, code: &str) -> String {
    format!(r#"{{"resourceType":"OperationOutcome","issue":[{{"severity":"{severity}","code":"{code}"}}]}}"#)
}

fn brief(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Done => "done".into(),
        Verdict::Renew(failure) => format!("renew, else {}", brief(&Verdict::Failed(failure.clone()))),
        Verdict::Failed(failure) => match failure {
            Failure::Changed => "changed".into(),
            Failure::Later { .. } => "later".into(),
            Failure::Unreachable { kind, .. } => format!("unreachable {kind:?}"),
            Failure::Throttled { wait, .. } => format!("all wait {}", wait.as_secs()),
            Failure::Unknown { .. } => "unknown".into(),
            Failure::Unclear { status, .. } => format!("unclear {status}"),
            Failure::Rejected { code, .. } => format!("rejected {code}"),
            Failure::TooLarge => "upload instead".into(),
            Failure::Stop { status, code, .. } if *code == format!("redox-{status}") => format!("stop {code}"),
            Failure::Stop { status, code, .. } => format!("stop {code} {status}"),
        },
    }
}

fn check(call: Call, status: u16, body: &str, expected: &str) {
    let verdict = classify(call, &reply(status, &[], body));
    assert_eq!(brief(&verdict), expected, "{call:?} {status} {body}");
}

#[test]
fn statuses_mean_what_the_api_says() {
    for (status, upload, create) in [
        (200, "done", "done"),
        (201, "done", "done"),
        (202, "done", "done"),
        (204, "done", "done"),
        (301, "stop redox-301", "stop redox-301"),
        (307, "stop redox-307", "stop redox-307"),
        (400, "rejected redox-400", "rejected redox-400"),
        (401, "renew, else stop redox-401", "renew, else stop redox-401"),
        (403, "stop redox-403", "stop redox-403"),
        (404, "stop redox-404", "stop redox-404"),
        (405, "stop redox-405", "stop redox-405"),
        (407, "stop redox-407", "stop redox-407"),
        (408, "later", "later"),
        (409, "rejected redox-409", "rejected redox-409"),
        (413, "rejected redox-413", "rejected redox-413"),
        (415, "rejected redox-415", "rejected redox-415"),
        (422, "rejected redox-422", "rejected redox-422"),
        (429, "all wait 300", "all wait 300"),
        (500, "later", "unknown"),
        (502, "later", "unknown"),
        (503, "later", "unknown"),
        (504, "later", "unknown"),
        (524, "later", "unknown"),
        (999, "later", "unknown"),
    ] {
        check(UPLOAD, status, "", upload);
        check(CREATE, status, "", create);
    }
    check(EMBED, 413, "", "upload instead");
}

#[test]
fn a_token_that_is_not_given_stops_everything_and_an_outage_does_not() {
    for (status, expected) in [
        (200, "done"),
        (400, "stop token-400 0"),
        (401, "stop token-401 0"),
        (403, "stop token-403 0"),
        (404, "stop token-404 0"),
        (429, "all wait 300"),
        (500, "later"),
        (502, "later"),
        (302, "stop redox-302"),
    ] {
        check(TOKEN, status, "", expected);
    }
}

#[test]
fn a_destination_that_answers_no_searches_does_not_stop_the_channel() {
    for status in [400, 403, 404, 405, 422, 501] {
        check(SEARCH, status, "", "rejected search-refused");
    }
    for code in ["forbidden", "processing"] {
        check(SEARCH, 200, &issue("error", code), "rejected search-refused");
    }
    check(SEARCH, 200, &issue("error", "not-supported"), "rejected search-refused");
    check(SEARCH, 401, "", "renew, else stop redox-401");
    check(SEARCH, 503, "", "later");
}

#[test]
fn a_2xx_can_carry_errors() {
    for severity in ["error", "fatal", "Error", " error "] {
        check(CREATE, 200, &issue(severity, "processing"), "rejected redox-200");
        check(UPLOAD, 201, &issue(severity, "processing"), "rejected redox-201");
    }
    for body in [
        r#"{"issues":[{"severity":"error","code":"invalid","diagnostics":"x"}]}"#,
        r#"{"issues":[{"message":"no such patient"}]}"#,
        r#"{"issue":{"severity":"critical"}}"#,
        r#"{"resourceType":"Bundle","entry":[{"resource":{"issue":[{"severity":"error","code":"invalid"}]}}]}"#,
        r#"{"resourceType":"Bundle","entry":[{"response":{"status":"422 Unprocessable"}}]}"#,
        r#"{"resourceType":"Bundle","entry":[{"response":{"status":422}}]}"#,
        r#"{"entry":[{"response":{"status":"200","outcome":{"issue":[{"severity":"fatal"}]}}}]}"#,
        r#"{"entry":[{"resource":{"resourceType":"MessageHeader","response":{"code":"fatal-error"}}}]}"#,
        // Wrapped in whatever there is.
        r#"[{"resourceType":"OperationOutcome","issue":[{"severity":"error"}]}]"#,
        r#"{"data":{"result":[{"deep":{"issue":[{"severity":"fatal"}]}}]}}"#,
        r#"{"resourceType":"Parameters","parameter":[{"name":"return","resource":{"resourceType":"OperationOutcome","issue":[{"severity":"error"}]}}]}"#,
        r#"{"resourceType":"Parameters","parameter":[{"name":"result","valueBoolean":false}]}"#,
        r#"{"resourceType":"DocumentReference","contained":[{"resourceType":"OperationOutcome","issue":[{"severity":"error"}]}]}"#,
        r#"{"body":"{\"issue\":[{\"severity\":\"error\"}]}"}"#,
        r#"{"data":"eyJpc3N1ZSI6W3sic2V2ZXJpdHkiOiJlcnJvciJ9XX0="}"#,
        r#"{"resourceType":"Binary","data":"eyJpc3N1ZSI6W3sic2V2ZXJpdHkiOiJlcnJvciJ9XX0="}"#,
        // Other servers' forms.
        r#"{"errors":["x"]}"#,
        r#"{"errors":{"patient":"unknown"}}"#,
        r#"{"Errors":[{"Message":"x"}]}"#,
        r#"{"error":"bad"}"#,
        r#"{"error_description":"bad"}"#,
        r#"{"errorDetail":"bad"}"#,
        r#"{"meta":{"hasErrors":true}}"#,
        r#"{"success":false}"#,
        r#"{"status":"failed"}"#,
        r#"{"statusCode":422,"body":""}"#,
        r#"{"type":"about:blank","title":"x","status":400}"#,
        r#"{"acknowledgmentCode":"AE"}"#,
        // A repeated key hides nothing, whichever comes last.
        r#"{"issue":[{"severity":"error"}],"issue":[]}"#,
        r#"{"issue":[],"issue":[{"severity":"error"}]}"#,
        r#"{"issue":[{"severity":"information","severity":"error"}]}"#,
        r#"{"issue":[{"severity":"error","severity":"information"}]}"#,
        r#"{"error":null,"error":"x"}"#,
        // XML, in FHIR's form and in others.
        r#"<OperationOutcome xmlns="http://hl7.org/fhir"><issue><severity value="error"/><code value="invalid"/></issue></OperationOutcome>"#,
        r#"<?xml version="1.0"?><f:Bundle xmlns:f="http://hl7.org/fhir"><f:entry><f:response><f:status value="400 Bad Request"/></f:response></f:entry></f:Bundle>"#,
        r#"<Bundle><entry><resource><OperationOutcome><issue><severity value="&#102;atal"/></issue></OperationOutcome></resource></entry></Bundle>"#,
        "<response><error>x</error></response>",
        "<Error>x</Error>",
        "<soap:Envelope><soap:Body><soap:Fault><faultstring>x</faultstring></soap:Fault></soap:Body></soap:Envelope>",
    ] {
        check(CREATE, 200, body, "rejected redox-200");
        check(CREATE, 200, &format!("\u{feff}{body}"), "rejected redox-200");
        for wide in [u16::to_be_bytes, u16::to_le_bytes] {
            let bytes: Vec<u8> = format!("\u{feff}{body}").encode_utf16().flat_map(wide).collect();
            let reply = Reply { body: bytes, ..reply(200, &[], "") };
            assert_eq!(brief(&classify(CREATE, &reply)), "rejected redox-200", "{body}");
        }
    }
}

#[test]
fn a_clean_2xx_is_accepted_whatever_its_form() {
    for body in [
        "",
        " \r\n",
        "\u{feff}",
        "{}",
        "\u{feff}{}",
        r#"{"issue":[]}"#,
        r#"{"errors":[],"error":null,"errorCount":0,"hasErrors":false}"#,
        r#"{"resourceType":"Bundle","type":"message","entry":[{"response":{"status":"201 Created","location":"DocumentReference/1"}}]}"#,
        r#"{"entry":[{"resource":{"resourceType":"MessageHeader","response":{"code":"ok"}}}]}"#,
        r#"{"logId":"5f","meta":{"source":{"id":"x"},"code":"200","status":"queued"}}"#,
        r#"{"message":"Processed without errors","success":true,"status":200}"#,
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"information","code":"informational","diagnostics":"1 invalid code was ignored"}]}"#,
        // The document itself, sent back: its words are about the patient.
        r#"{"resourceType":"DocumentReference","status":"current","docStatus":"entered-in-error","description":"heart failure, error of refraction","type":{"coding":[{"code":"401"}]}}"#,
        r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"DocumentReference","content":[{"attachment":{"title":"failed test.pdf","data":"eyJpc3N1ZSI6W3sic2V2ZXJpdHkiOiJlcnJvciJ9XX0="}}]},"response":{"status":"201"}}]}"#,
        r#"<Bundle xmlns="http://hl7.org/fhir"><type value="message"/><entry><response><status value="201 Created"/></response></entry></Bundle>"#,
        r#"<Bundle><entry><resource><DocumentReference><description value="error of refraction"/></DocumentReference></resource></entry></Bundle>"#,
    ] {
        check(CREATE, 200, body, "done");
        check(UPLOAD, 201, body, "done");
    }
    for severity in ["information", "warning", "success"] {
        check(CREATE, 200, &issue(severity, "processing"), "done");
    }
    let page = [("content-type", "text/html")];
    assert_eq!(brief(&classify(CREATE, &reply(204, &page, ""))), "done");
}

#[test]
fn a_2xx_that_cannot_be_judged_is_held_for_a_person_and_an_upload_is_repeated() {
    for body in [
        "OK",
        "not processed",
        "[]",
        "\"OK\"",
        "null",
        "{} {}",
        "{",
        r#"{"issue":"none"}"#,
        r#"{"issues":["x"]}"#,
        r#"{"message":"Internal server error"}"#,
        r#"{"message":"The document was not processed"}"#,
        r#"{"resourceType":"OperationOutcome"}"#,
        "<response>could not be processed</response>",
        "<response>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        "  <!DOCTYPE html><title>Welcome</title>",
        "<html/>",
        "\u{feff}<html>",
    ] {
        check(CREATE, 200, body, "unclear 200");
        check(RESEND, 201, body, "unclear 201");
        check(UPLOAD, 201, body, "later");
        check(SEARCH, 200, body, "later");
    }
    let deep = (0..6).fold(r#"{"a":1}"#.to_owned(), |inner, _| serde_json::json!({ "body": inner }).to_string());
    check(CREATE, 200, &deep, "unclear 200");
    for (headers, body) in [
        (vec![("content-type", "text/html; charset=utf-8")], "Sign in"),
        (vec![("content-encoding", "gzip")], "{}"),
        (vec![("content-encoding", "identity"), ("content-encoding", "br")], "{}"),
    ] {
        let reply = reply(200, &headers, body);
        assert_eq!(brief(&classify(CREATE, &reply)), "unclear 200", "{headers:?}");
        assert_eq!(brief(&classify(UPLOAD, &reply)), "later", "{headers:?}");
    }
    assert_eq!(brief(&classify(CREATE, &reply(200, &[("content-encoding", "Identity")], "{}"))), "done");
    for status in [203, 206] {
        for body in ["", "{}"] {
            check(CREATE, status, body, &format!("unclear {status}"));
            check(UPLOAD, status, body, "later");
        }
        check(CREATE, status, &issue("error", "processing"), &format!("rejected redox-{status}"));
    }
    for bytes in [&b"\x1f\x8b\x08\0\0"[..], b"\xff\xfe{", b"{\"a\":\"\xff\"}"] {
        let reply = Reply { body: bytes.into(), ..reply(200, &[], "") };
        assert_eq!(brief(&classify(CREATE, &reply)), "unclear 200", "{bytes:?}");
    }
    for body in ["", "{}", "{\"resourceType\":", &issue("error", "processing")] {
        let cut = Reply { lost: true, ..reply(200, &[], body) };
        assert_eq!(brief(&classify(CREATE, &cut)), "unclear 200", "{body}");
        assert_eq!(brief(&classify(UPLOAD, &cut)), "later", "{body}");
        let long = Reply { longer: true, ..reply(200, &[], "{}") };
        assert_eq!(brief(&classify(CREATE, &long)), "unclear 200");
    }
}

/// The first row of each is the call, and what an answer means that came before the whole request had left.
#[test]
fn an_answer_before_the_whole_message_had_left_is_no_acceptance() {
    for (call, status, body, expected) in [
        (CREATE, 200, "", "unknown"),
        (EMBED, 200, "{}", "unknown"),
        (EMBED, 201, "<html>", "unknown"),
        (EMBED, 500, "", "later"),
        (EMBED, 502, "", "later"),
        (EMBED, 503, "", "later"),
        (EMBED, 413, "", "upload instead"),
        (EMBED, 400, "", "rejected redox-400"),
        (EMBED, 403, "", "stop redox-403"),
        (EMBED, 429, "", "all wait 300"),
        (UPLOAD, 201, "", "later"),
        (UPLOAD, 413, "", "rejected redox-413"),
        (SEARCH, 200, "{}", "later"),
    ] {
        let early = Reply { early: true, ..reply(status, &[], body) };
        assert_eq!(brief(&classify(call, &early)), expected, "{call:?} {status} {body}");
    }
}

#[test]
fn issue_codes_tell_what_can_be_done() {
    for code in ["transient", "lock-error", "no-store", "timeout", "incomplete", "throttled"] {
        for status in [200, 400, 503] {
            check(CREATE, status, &issue("error", code), "later");
            check(UPLOAD, status, &issue("error", code), "later");
        }
        for status in [500, 502, 504] {
            check(CREATE, status, &issue("error", code), "unknown");
        }
    }
    // Something broke inside: a 4xx was not processed all the same, of anything else that is not said.
    for (status, expected) in [(200, "unknown"), (400, "later"), (500, "unknown"), (503, "unknown")] {
        check(CREATE, status, &issue("error", "exception"), expected);
        check(UPLOAD, status, &issue("error", "exception"), "later");
    }
    for code in ["login", "expired"] {
        check(CREATE, 400, &issue("error", code), "renew, else stop redox-400");
    }
    for code in ["forbidden", "suppressed"] {
        check(CREATE, 400, &issue("error", code), "stop redox-400");
    }
    for code in ["processing", "invalid", "required", "not-found", "business-rule", "unknown", ""] {
        check(CREATE, 422, &issue("error", code), "rejected redox-422");
    }
    let both = |a: &str, b: &str| {
        format!(r#"{{"issue":[{{"severity":"error","code":"{a}"}},{{"severity":"error","code":"{b}"}}]}}"#)
    };
    check(CREATE, 400, &both("transient", "invalid"), "rejected redox-400");
    check(CREATE, 200, &both("transient", "exception"), "unknown");
    check(RESEND, 409, &both("duplicate", "invalid"), "rejected redox-409");
    check(RESEND, 409, &both("duplicate", "transient"), "rejected redox-409");
    check(CREATE, 400, &both("invalid", "forbidden"), "stop redox-400");
}

#[test]
fn a_duplicate_is_good_news_only_for_a_message_that_was_sent_before() {
    let duplicate = issue("error", "duplicate");
    for (call, status, body, expected) in [
        (CREATE, 409, &*duplicate, "rejected redox-409"),
        (EMBED, 409, &duplicate, "rejected redox-409"),
        (CREATE, 200, &duplicate, "rejected redox-200"),
        (RESEND, 409, &duplicate, "done"),
        (RESEND, 200, &duplicate, "done"),
        (RESEND, 422, &duplicate, "done"),
        // A conflict that does not say with what.
        (RESEND, 409, "", "rejected redox-409"),
        (RESEND, 409, r#"{"message":"duplicate"}"#, "rejected redox-409"),
        (CREATE, 409, "", "rejected redox-409"),
    ] {
        check(call, status, body, expected);
    }
}

#[test]
fn a_503_was_not_processed_only_when_it_says_so() {
    let date = ("date", "Fri, 20 Nov 2026 09:00:00 GMT");
    for (headers, expected) in [
        (vec![("retry-after", "120")], Some(120)),
        (vec![("retry-after", "0")], Some(1)),
        (vec![("retry-after", "86400")], Some(3600)),
        (vec![("retry-after", "Fri, 20 Nov 2026 09:00:40 GMT"), date], Some(40)),
        (vec![("retry-after", "Sat, 21 Nov 2026 09:00:40 GMT"), date], Some(3600)),
        (vec![("retry-after", "Fri, 20 Nov 2026 08:00:00 GMT"), date], Some(1)),
        (vec![("retry-after", "soon")], None),
        (vec![("retry-after", "-1")], None),
        (vec![], None),
    ] {
        for call in [CREATE, EMBED, RESEND, UPLOAD] {
            let failure = match classify(call, &reply(503, &headers, "")) {
                Verdict::Failed(failure) => failure,
                other => panic!("{other:?}"),
            };
            match (&failure, expected) {
                (Failure::Later { retry_after, .. }, Some(seconds)) => {
                    assert_eq!(*retry_after, Some(Duration::from_secs(seconds)), "{headers:?}");
                }
                (Failure::Later { retry_after: None, .. }, None) => assert_eq!(call, UPLOAD, "{headers:?}"),
                (Failure::Unknown { .. }, None) => assert_ne!(call, UPLOAD, "{headers:?}"),
                other => panic!("{call:?} {headers:?}: {other:?}"),
            }
        }
    }
    check(CREATE, 503, &issue("error", "transient"), "later");
    check(CREATE, 503, &issue("information", "transient"), "unknown");
    check(CREATE, 503, "<html>", "unknown");
}

#[test]
fn retry_after_in_both_forms() {
    let date = ("date", "Fri, 20 Nov 2026 09:00:00 GMT");
    for (headers, expected) in [
        (vec![("retry-after", "7")], 7),
        (vec![("retry-after", "0")], 1),
        (vec![("retry-after", "999999")], 3600),
        (vec![("retry-after", "Fri, 20 Nov 2026 09:30:40 GMT")], 40),
        (vec![("retry-after", "Fri, 20 Nov 2026 09:00:40 GMT"), date], 40),
        (vec![("retry-after", "Fri, 20 Nov 2026 08:00:00 GMT"), date], 1),
        (vec![("retry-after", "soon")], 300),
        (vec![("retry-after", "-5")], 300),
        (vec![], 300),
    ] {
        let verdict = classify(CREATE, &reply(429, &headers, ""));
        assert_eq!(brief(&verdict), format!("all wait {expected}"), "{headers:?}");
    }
}

/// All that a failure says to people.
fn words_for(call: Call, status: u16, body: &str) -> (String, String) {
    match classify(call, &reply(status, &[], body)) {
        Verdict::Failed(failure) | Verdict::Renew(failure) => match &failure {
            Failure::Rejected { summary, remedy, .. } | Failure::Stop { summary, remedy, .. } => {
                (format!("{summary}\n{remedy}"), failure.to_string())
            }
            other => (other.to_string(), other.to_string()),
        },
        Verdict::Done => panic!("not a failure"),
    }
}

#[test]
fn the_servers_words_reach_the_reason_and_never_the_log() {
    let outcome = r#"{"issue":[{"severity":"error","code":"transient","diagnostics":"Patient Bixby"}]}"#;
    let nested = r#"{"entry":[{"resource":{"issue":[{"severity":"error","details":{"text":"about Bixby"}}]}}]}"#;
    for status in [200, 400, 401, 403, 404, 413, 415, 422, 429, 500, 502, 503] {
        for call in [TOKEN, UPLOAD, CREATE, EMBED, SEARCH] {
            for body in [outcome, nested, "plain Bixby", r#"{"message":"Bixby"}"#] {
                if let Verdict::Failed(failure) | Verdict::Renew(failure) = classify(call, &reply(status, &[], body)) {
                    let log = failure.to_string();
                    assert!(!log.contains("Bixby") && !log.is_empty(), "{log}");
                }
            }
        }
    }
    for body in [
        r#"{"issue":[{"severity":"error","diagnostics":"birthDate is wrong"}]}"#,
        r#"{"issue":[{"severity":"error","details":{"text":"birthDate is wrong"}}]}"#,
        r#"{"issues":[{"message":"birthDate is wrong"}]}"#,
        r#"{"errorDetail":"birthDate is wrong"}"#,
        r#"{"error_description":"birthDate is wrong","error":"bad"}"#,
        r#"{"error_description":"","message":"birthDate is wrong"}"#,
        "\u{1b}[birthDate\r\n\tis\u{0} wrong",
    ] {
        let (words, _) = words_for(CREATE, 422, body);
        assert!(words.contains("birthDate is wrong"), "{words}");
        assert!(!words.replace('\n', "").contains(char::is_control), "{words:?}");
    }
}

#[test]
fn what_staff_read_is_bounded_and_plain() {
    let (words, _) = words_for(CREATE, 400, &"ä".repeat(40_000));
    assert!(words.len() < 1800, "{}", words.len());
    let (words, _) = words_for(CREATE, 400, "<html><body>Blocked by policy</body></html>");
    assert!(words.contains("web page") && !words.contains('<'), "{words}");
    let (words, log) = words_for(Call::Upload { development: true }, 403, "");
    assert!(words.contains("free development environment") && words.contains("Staging"), "{words}");
    assert_eq!(log, "the channel is stopped (redox-403)");
    let (words, _) = words_for(UPLOAD, 403, "");
    assert!(!words.contains("free development"), "{words}");
    let (words, _) = words_for(TOKEN, 401, r#"{"error":"invalid_client","error_description":"Public key not found"}"#);
    assert!(words.contains("Public key not found") && words.contains("key_id"), "{words}");
}
