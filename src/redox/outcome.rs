//! What an answer's body says went wrong: OperationOutcomes wherever they hide, and other servers' forms of the same.
//!
//! A body is clean when it is empty, or a JSON object or XML in which nothing speaks of an error, however deep, wrapped or
//! encoded. Destinations answer in forms that nobody has described, so an unknown form by itself is no evidence.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    answer::Reply,
    tree::{self, Node, Written},
};

/// The server's words kept, in bytes: they share one row of the ledger with the document they are about.
const WORDS_LIMIT: usize = 1000;
/// JSON inside a string inside JSON is followed this far; what is wrapped deeper cannot be judged.
const WRAPPED_LIMIT: u8 = 4;

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
    /// Something broke inside; whether before or after the document was processed is not said.
    Broken,
    /// It passes.
    Later,
}

/// What a body says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing against the request.
    Clean,
    /// Something failed.
    Error(Grade),
    /// It cannot be told; the words say why.
    Unclear(&'static str),
}

/// Judges the body of a 2xx.
pub(super) fn judge(reply: &Reply) -> Finding {
    if reply.body.is_empty() && !reply.lost {
        return Finding::Clean;
    }
    if is_encoded(reply) {
        return Finding::Unclear("its body is compressed, which was not asked for");
    }
    if reply.lost {
        return Finding::Unclear("it broke off before its end");
    }
    if reply.longer {
        return Finding::Unclear("it is too long to be checked for errors");
    }
    if is_web_page(reply) {
        return Finding::Unclear("it is a web page, perhaps a firewall's or a proxy's");
    }
    let mut evidence = Evidence::default();
    let plain = match tree::read(&reply.body) {
        Written::Nothing => return Finding::Clean,
        Written::Json(node) => {
            evidence.walk(&node, Inside::Envelope, 0);
            (!matches!(node, Node::Object(_))).then_some("it is JSON, but not an object")
        }
        Written::Xml(node) => {
            evidence.walk(&node, Inside::Envelope, 0);
            None
        }
        Written::Page => Some("it is a web page, perhaps a firewall's or a proxy's"),
        Written::Other => Some("it is text that is neither FHIR nor empty"),
        Written::Binary => Some("it is not text"),
    };
    match (evidence.grade(), plain.or(evidence.odd)) {
        (Some(grade), _) => Finding::Error(grade),
        (None, Some(why)) => Finding::Unclear(why),
        (None, None) => Finding::Clean,
    }
}

/// What the issues in the body of an error answer say can be done; `None` without any.
pub(super) fn issues(reply: &Reply) -> Option<Grade> {
    let mut evidence = Evidence::default();
    if let (Written::Json(node) | Written::Xml(node), false) = (tree::read(&reply.body), is_encoded(reply)) {
        evidence.walk(&node, Inside::Envelope, 0);
    }
    evidence.others.clear();
    evidence.grade()
}

/// Where in an answer a value is, which decides what its words can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    /// The answer itself.
    Envelope,
    /// An OperationOutcome: its severities say what its words mean.
    Outcome,
    /// A resource, such as the document as it was sent: its words are about the patient, not about the request.
    Resource,
}

/// What speaks against a request. Information and warnings do not.
#[derive(Default)]
struct Evidence {
    /// From OperationOutcomes and lists of issues.
    issues: Vec<Grade>,
    /// From other servers' ways to say it.
    others: Vec<Grade>,
    /// Why it cannot be told.
    odd: Option<&'static str>,
}

impl Evidence {
    /// What can be done about everything together.
    fn grade(&self) -> Option<Grade> {
        let all = || self.issues.iter().chain(&self.others);
        if !self.issues.is_empty() && all().all(|grade| *grade == Grade::Duplicate) {
            return Some(Grade::Duplicate);
        }
        // Later only if nothing else is in the way: what is final stays final on every retry.
        [Grade::Stop, Grade::Renew, Grade::Final, Grade::Duplicate, Grade::Broken, Grade::Later]
            .into_iter()
            .find(|grade| all().any(|found| found == grade))
            .map(|grade| if grade == Grade::Duplicate { Grade::Final } else { grade })
    }

    fn walk(&mut self, node: &Node, inside: Inside, wrapped: u8) {
        match node {
            Node::Null | Node::Bool(_) | Node::Number(_) => {}
            Node::Text(text) => self.unwrap(text, inside, wrapped),
            Node::List(items) => items.iter().for_each(|item| self.walk(item, inside, wrapped)),
            Node::Object(members) => {
                let inside = node.all("resourceType").filter_map(Node::text).fold(inside, kind_of_resource);
                self.object(node);
                for (name, value) in members {
                    // In XML a resource is an element of its name.
                    let is_resource = name.starts_with(|c: char| c.is_ascii_uppercase());
                    let inside = if is_resource { kind_of_resource(inside, name) } else { inside };
                    self.member(name, value, inside);
                    self.walk(value, inside, wrapped);
                }
            }
        }
    }

    /// An object as a whole: an issue is one wherever it is.
    fn object(&mut self, node: &Node) {
        let severities: Vec<_> = node.all("severity").collect();
        let is_error = |severity: &&Node| severity.text().is_some_and(|text| is_one_of(text, &["error", "fatal"]));
        if severities.iter().any(is_error) {
            self.issues.push(code(node));
        }
        if node.all("resourceType").any(|kind| kind.text() == Some("OperationOutcome"))
            && node.all("issue").count() == 0
        {
            self.odd = Some("it is an OperationOutcome that does not say its outcome");
        }
        // A member of Parameters.
        let is_success = |name: &Node| name.text().is_some_and(|name| name == "result" || names_a_success(name));
        if node.all("name").any(is_success) && node.all("valueBoolean").any(|value| matches!(value, Node::Bool(false)))
        {
            self.others.push(Grade::Final);
        }
    }

    fn member(&mut self, name: &str, value: &Node, inside: Inside) {
        let key: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        if matches!(key.as_str(), "issue" | "issues") {
            value.items().iter().for_each(|issue| self.issue(issue));
        } else if names_an_error(&key) {
            if says_yes(value) {
                self.others.extend(value.items().iter().map(code));
            }
        } else if names_a_success(&key) && matches!(value, Node::Bool(false)) {
            self.others.push(Grade::Final);
        }
        self.others.extend(status(&key, value));
        if let (Some(text), Inside::Envelope) = (value.text(), inside)
            && !matches!(
                key.as_str(),
                "id" | "location" | "fullurl" | "url" | "reference" | "system" | "resourcetype" | "severity"
            )
        {
            self.word(&key, text);
        }
    }

    /// An issue is one of a list that servers send when something failed: without a severity that is harmless it counts.
    fn issue(&mut self, issue: &Node) {
        const HARMLESS: &[&str] =
            &["information", "informational", "info", "warning", "warn", "success", "error", "fatal"];
        match issue {
            Node::Null => {}
            // Those with the severity error are counted where they are met.
            Node::Object(_)
                if issue.all("severity").count() > 0
                    && issue.all("severity").all(|it| it.text().is_some_and(|text| is_one_of(text, HARMLESS))) => {}
            Node::Object(_) => self.issues.push(code(issue)),
            Node::List(items) => items.iter().for_each(|item| self.issue(item)),
            Node::Bool(_) | Node::Number(_) | Node::Text(_) => {
                self.odd = Some("it has issues in a form that is not known");
            }
        }
    }

    /// A word or a sentence that is no part of a resource.
    fn word(&mut self, key: &str, text: &str) {
        const FAILED: &[&str] =
            &["error", "fatal", "failed", "failure", "fail", "rejected", "refused", "denied", "invalid"];
        const KEYS: &[&str] = &["status", "result", "outcome", "state", "type", "level", "disposition"];
        const REFUSED: &[&str] = &["ae", "ar", "ce", "cr"];
        if (KEYS.contains(&key) && is_one_of(text, FAILED)) || (key.contains("ack") && is_one_of(text, REFUSED)) {
            self.others.push(Grade::Final);
        } else if speaks_of_failure(text) {
            self.odd = Some("it has words that may speak of an error");
        }
    }

    /// A string may hold another answer, as it is or in base64.
    fn unwrap(&mut self, text: &str, inside: Inside, wrapped: u8) {
        if inside == Inside::Resource {
            return;
        }
        let is_marked = |text: &str| text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[', '<']);
        let decoded;
        let text = if is_marked(text) {
            text
        } else if let Some(found) = base64(text).filter(|text| is_marked(text)) {
            decoded = found;
            &decoded
        } else {
            return;
        };
        match tree::of_text(text) {
            Written::Json(_) | Written::Xml(_) if wrapped >= WRAPPED_LIMIT => {
                self.odd = Some("it is wrapped too deeply to be checked for errors");
            }
            Written::Json(node) | Written::Xml(node) => self.walk(&node, inside, wrapped + 1),
            Written::Nothing | Written::Page | Written::Other | Written::Binary => {}
        }
    }
}

fn kind_of_resource(outer: Inside, name: &str) -> Inside {
    match name {
        "OperationOutcome" => Inside::Outcome,
        "Bundle" | "Parameters" | "MessageHeader" | "Binary" => outer,
        "DocumentReference" | "Patient" | "Practitioner" | "Encounter" | "DocumentManifest" | "Organization"
        | "List" | "Provenance" | "AuditEvent" => Inside::Resource,
        _ => outer,
    }
}

/// What an issue's code, or an error's, means.
fn code(node: &Node) -> Grade {
    let texts = node.all("code").filter_map(Node::text);
    texts.map(grade).reduce(|a, b| if a == b { a } else { Grade::Final }).unwrap_or(Grade::Final)
}

fn grade(code: &str) -> Grade {
    match code {
        "transient" | "lock-error" | "no-store" | "timeout" | "incomplete" | "throttled" => Grade::Later,
        "exception" => Grade::Broken,
        "login" | "expired" => Grade::Renew,
        "forbidden" | "suppressed" | "security" => Grade::Stop,
        "duplicate" => Grade::Duplicate,
        _ => Grade::Final,
    }
}

/// An HTTP status inside the body, as in a Bundle's entries, and FHIR messaging's way to say it.
fn status(key: &str, value: &Node) -> Option<Grade> {
    let number = match (key, value) {
        ("code", Node::Text(text)) => {
            return match text.as_str() {
                "fatal-error" => Some(Grade::Final),
                "transient-error" => Some(Grade::Later),
                _ => None,
            };
        }
        ("status" | "statuscode" | "httpstatus" | "httpstatuscode" | "code", Node::Number(number)) => *number,
        ("status" | "statuscode" | "httpstatus" | "httpstatuscode", Node::Text(text)) => {
            let digits = text.split(|c: char| !c.is_ascii_digit()).next().filter(|digits| digits.len() == 3)?;
            digits.parse().ok()?
        }
        _ => return None,
    };
    match number {
        400.0..500.0 => Some(Grade::Final),
        503.0 => Some(Grade::Later),
        500.0..600.0 => Some(Grade::Broken),
        _ => None,
    }
}

/// A key that is there when something failed: `errors`, `errorDetail`, `hasErrors`, `fault`, …
fn names_an_error(key: &str) -> bool {
    const ENDS: [&str; 10] = [
        "error",
        "errors",
        "errormessage",
        "errorcode",
        "fault",
        "faults",
        "exception",
        "exceptions",
        "failure",
        "failures",
    ];
    let is_denied = ["no", "without", "non"].iter().any(|word| key.starts_with(word));
    let flag = ["failed", "rejected", "refused", "isfailed", "isrejected"].contains(&key);
    !is_denied && (flag || key.starts_with("error") || ENDS.iter().any(|end| key.ends_with(end)))
}

fn names_a_success(key: &str) -> bool {
    ["success", "issuccess", "successful", "ok", "accepted", "processed", "received", "queued", "valid"].contains(&key)
}

/// Whether an error that is named is there.
fn says_yes(value: &Node) -> bool {
    match value {
        Node::Null => false,
        Node::Bool(yes) => *yes,
        Node::Number(number) => *number != 0.0,
        Node::Text(text) => !is_one_of(text, &["", "none", "no", "false", "0", "null", "ok"]),
        Node::List(items) => items.iter().any(says_yes),
        Node::Object(members) => !members.is_empty(),
    }
}

fn is_one_of(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.trim().eq_ignore_ascii_case(word))
}

fn speaks_of_failure(text: &str) -> bool {
    const BAD: [&str; 24] = [
        "error",
        "fail",
        "reject",
        "not processed",
        "not accepted",
        "not delivered",
        "not queued",
        "denied",
        "invalid",
        "unauthor",
        "not authorized",
        "forbidden",
        "refused",
        "unable",
        "cannot",
        "could not",
        "exception",
        "unavailable",
        "timed out",
        "timeout",
        "not found",
        "not allowed",
        "unprocess",
        "unsuccessful",
    ];
    let mut text = text.to_lowercase();
    for harmless in ["no errors", "no error", "without errors", "without error", "0 errors"] {
        text = text.replace(harmless, "");
    }
    BAD.iter().any(|bad| text.contains(bad))
}

fn base64(text: &str) -> Option<String> {
    let text: String = text.split_whitespace().collect();
    let bytes = (text.len() >= 8).then(|| STANDARD.decode(text).ok()).flatten()?;
    tree::text(&bytes)
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A compressed body, as no answer to us should have: which encodings are understood was said in the request.
fn is_encoded(reply: &Reply) -> bool {
    let mut encodings = reply.headers.get_all(http::header::CONTENT_ENCODING).iter();
    encodings.any(|encoding| !encoding.is_empty() && !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// The server's own words, cleaned and bounded. They may repeat what we sent: for the reason file, never for a log.
pub(super) fn words(reply: &Reply) -> Option<String> {
    if is_web_page(reply) || is_encoded(reply) {
        return None;
    }
    let raw = match reply.json() {
        Some(body) => json_words(&body)?,
        None => tree::text(&reply.body).unwrap_or_else(|| String::from_utf8_lossy(&reply.body).into_owned()),
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
