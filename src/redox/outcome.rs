//! What an answer's body says went wrong: OperationOutcomes wherever they hide, and other servers' forms of the same.

use serde_json::Value;

use super::answer::Reply;

/// The server's words kept, in bytes: they share one row of the ledger with the document they are about.
const WORDS_LIMIT: usize = 1000;

/// What can be done about an issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grade {
    /// It has this document already.
    Duplicate,
    /// Nothing gets through until a person has acted.
    Stop,
    /// The token is no good.
    Renew,
    /// This document will not do.
    Final,
    /// It passes.
    Later,
}

/// The grades of all issues of severity error or fatal. Information and warnings are not evidence of failure.
pub(super) struct Issues(Vec<Grade>);

impl Issues {
    /// What can be done about all of them together; `None` without any.
    pub(super) fn grade(&self) -> Option<Grade> {
        if !self.0.is_empty() && self.0.iter().all(|grade| *grade == Grade::Duplicate) {
            return Some(Grade::Duplicate);
        }
        // Later only if nothing else stands in the way: what is final stays final on every retry.
        [Grade::Stop, Grade::Renew, Grade::Final, Grade::Duplicate, Grade::Later]
            .into_iter()
            .find(|grade| self.0.contains(grade))
            .map(|grade| if grade == Grade::Duplicate { Grade::Final } else { grade })
    }
}

/// All issues that say that something failed.
pub(super) fn issues(reply: &Reply) -> Issues {
    let Some(body) = reply.json() else { return Issues(Vec::new()) };
    let mut grades = Vec::new();
    collect(&body, &mut grades);
    for entry in array(&body["entry"]) {
        collect(&entry["resource"], &mut grades);
        collect(&entry["response"]["outcome"], &mut grades);
        match entry["response"]["status"].as_str().and_then(|status| status.bytes().next()) {
            Some(b'4') => grades.push(Grade::Final),
            Some(b'5') => grades.push(Grade::Later),
            _ => {}
        }
    }
    Issues(grades)
}

/// The issues of one resource, and FHIR messaging's own way of saying it.
fn collect(resource: &Value, grades: &mut Vec<Grade>) {
    let list = array(&resource["issue"]).iter().chain(array(&resource["issues"]));
    grades.extend(list.filter(|issue| is_error(issue)).map(|issue| grade(issue["code"].as_str().unwrap_or_default())));
    match resource["response"]["code"].as_str() {
        Some("fatal-error") => grades.push(Grade::Final),
        Some("transient-error") => grades.push(Grade::Later),
        _ => {}
    }
}

/// An issue without a severity is not in any standard's form; that it is there at all counts against the message.
fn is_error(issue: &Value) -> bool {
    issue["severity"]
        .as_str()
        .is_none_or(|severity| ["error", "fatal"].contains(&severity.to_ascii_lowercase().as_str()))
}

fn grade(code: &str) -> Grade {
    match code {
        "transient" | "lock-error" | "no-store" | "exception" | "timeout" | "incomplete" | "throttled" => Grade::Later,
        "login" | "expired" => Grade::Renew,
        "forbidden" | "suppressed" | "security" => Grade::Stop,
        "duplicate" => Grade::Duplicate,
        _ => Grade::Final,
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The server's own words, cleaned and bounded. They may repeat what we sent: for the reason file, never for a log.
pub(super) fn words(reply: &Reply) -> Option<String> {
    if is_web_page(reply) {
        return None;
    }
    let raw = match reply.json() {
        Some(body) => json_words(&body)?,
        None => String::from_utf8_lossy(&reply.body).into_owned(),
    };
    let clean = raw.replace(|c: char| c.is_control() || c == '\u{fffd}', " ");
    let clean = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if clean.len() <= WORDS_LIMIT {
        return (!clean.is_empty()).then_some(clean);
    }
    let end = clean.floor_char_boundary(WORDS_LIMIT);
    Some(format!("{} …", &clean[..end]))
}

fn json_words(body: &Value) -> Option<String> {
    let mut found = Vec::new();
    let nested = array(&body["entry"]).iter().flat_map(|entry| [&entry["resource"], &entry["response"]["outcome"]]);
    for resource in [body].into_iter().chain(nested) {
        for issue in array(&resource["issue"]).iter().chain(array(&resource["issues"])) {
            let texts = [&issue["details"]["text"], &issue["diagnostics"], &issue["message"]];
            let mut texts: Vec<&str> = texts.into_iter().filter_map(Value::as_str).collect();
            if texts.is_empty() {
                texts.extend(issue["code"].as_str());
            }
            found.extend(texts);
        }
    }
    if found.is_empty() {
        let names = ["errorDetail", "error_description", "message", "error"];
        found.extend(names.into_iter().find_map(|name| body[name].as_str().filter(|text| !text.is_empty())));
    }
    (!found.is_empty()).then(|| found.join("; "))
}

/// HTML where FHIR was expected: something else answered.
pub(super) fn is_web_page(reply: &Reply) -> bool {
    let declared = reply.header(http::header::CONTENT_TYPE).is_some_and(|kind| kind.trim().starts_with("text/html"));
    let begin = reply.body.trim_ascii_start();
    let begin = begin[..begin.len().min(14)].to_ascii_lowercase();
    declared || begin.starts_with(b"<!doctype html") || begin.starts_with(b"<html")
}

/// For a body that was cut and cannot be parsed.
pub(super) fn speaks_of_errors(reply: &Reply) -> bool {
    let text = String::from_utf8_lossy(&reply.body);
    ["\"OperationOutcome\"", "\"issues\"", "-error\""].iter().any(|word| text.contains(word))
}
