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
            Failure::Later { sent: true, .. } => "later, perhaps sent".into(),
            Failure::Later { sent: false, .. } => "later".into(),
            Failure::Throttled { wait, .. } => format!("all wait {}", wait.as_secs()),
            Failure::Unknown { .. } => "unknown".into(),
            Failure::Rejected { code, .. } => format!("rejected {code}"),
            Failure::TooLarge => "upload instead".into(),
            Failure::Stop { code, .. } => format!("stop {code}"),
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
        (500, "later", "later, perhaps sent"),
        (502, "later", "unknown"),
        (503, "later", "later, perhaps sent"),
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
        (400, "stop token-400"),
        (401, "stop token-401"),
        (403, "stop token-403"),
        (404, "stop token-404"),
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
    check(SEARCH, 200, &issue("error", "not-supported"), "rejected search-refused");
    check(SEARCH, 401, "", "renew, else stop redox-401");
    check(SEARCH, 503, "", "later");
}

#[test]
fn a_2xx_can_carry_errors() {
    for severity in ["error", "fatal", "Error"] {
        check(CREATE, 200, &issue(severity, "processing"), "rejected redox-200");
        check(UPLOAD, 201, &issue(severity, "processing"), "rejected redox-201");
    }
    for severity in ["information", "warning", "success"] {
        check(CREATE, 200, &issue(severity, "processing"), "done");
    }
    for body in [
        r#"{"issues":[{"severity":"error","code":"invalid","diagnostics":"x"}]}"#,
        r#"{"issues":[{"message":"no such patient"}]}"#,
        r#"{"resourceType":"Bundle","entry":[{"resource":{"issue":[{"severity":"error","code":"invalid"}]}}]}"#,
        r#"{"resourceType":"Bundle","entry":[{"response":{"status":"422 Unprocessable"}}]}"#,
        r#"{"entry":[{"response":{"status":"200","outcome":{"issue":[{"severity":"fatal"}]}}}]}"#,
        r#"{"entry":[{"resource":{"resourceType":"MessageHeader","response":{"code":"fatal-error"}}}]}"#,
    ] {
        check(CREATE, 200, body, "rejected redox-200");
    }
    for body in [
        "",
        "OK",
        "[]",
        "{}",
        r#"{"issue":[]}"#,
        r#"{"issue":"none"}"#,
        r#"{"resourceType":"Bundle","entry":[{"response":{"status":"201 Created","location":"DocumentReference/1"}}]}"#,
        r#"{"entry":[{"resource":{"resourceType":"MessageHeader","response":{"code":"ok"}}}]}"#,
    ] {
        check(CREATE, 200, body, "done");
    }
}

#[test]
fn issue_codes_tell_what_can_be_done() {
    for code in ["transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"] {
        check(CREATE, 200, &issue("error", code), "later, perhaps sent");
        check(CREATE, 400, &issue("error", code), "later, perhaps sent");
        check(UPLOAD, 400, &issue("error", code), "later");
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
    check(CREATE, 409, &issue("error", "duplicate"), "rejected redox-409");
    check(RESEND, 409, &issue("error", "duplicate"), "done");
    check(RESEND, 200, &issue("error", "duplicate"), "done");
    let both = |a: &str, b: &str| {
        format!(r#"{{"issue":[{{"severity":"error","code":"{a}"}},{{"severity":"error","code":"{b}"}}]}}"#)
    };
    check(CREATE, 400, &both("transient", "invalid"), "rejected redox-400");
    check(RESEND, 409, &both("duplicate", "invalid"), "rejected redox-409");
    check(RESEND, 409, &both("duplicate", "transient"), "rejected redox-409");
    check(CREATE, 400, &both("invalid", "forbidden"), "stop redox-400");
}

#[test]
fn an_answer_that_is_not_redoxs_settles_nothing() {
    check(CREATE, 200, "  <!DOCTYPE html><title>Welcome</title>", "unknown");
    let page = reply(200, &[("content-type", "text/html; charset=utf-8")], "Sign in");
    assert_eq!(brief(&classify(CREATE, &page)), "unknown");
    let cut = Reply { lost: true, ..reply(200, &[], "{\"resourceType\":") };
    assert_eq!(brief(&classify(CREATE, &cut)), "unknown");
    assert_eq!(brief(&classify(UPLOAD, &cut)), "done");
    let long = Reply { longer: true, ..reply(200, &[], r#"{"resourceType":"OperationOutcome","issue":[{"sever"#) };
    assert_eq!(brief(&classify(CREATE, &long)), "unknown");
    let long = Reply { longer: true, ..reply(200, &[], r#"{"resourceType":"Bundle","entry":[{"resou"#) };
    assert_eq!(brief(&classify(CREATE, &long)), "done");
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
    let Verdict::Failed(failure) = classify(UPLOAD, &reply(503, &[("retry-after", "120")], "")) else { panic!() };
    assert!(matches!(failure, Failure::Later { retry_after: Some(wait), .. } if wait == Duration::from_secs(120)));
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
