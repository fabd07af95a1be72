//! The fault plan: what is to go wrong, with which requests.
//!
//! A rule is `endpoint:which:what[,what…]`:
//!
//! - endpoint: `token`, `binary`, `create`, `search`, `any`
//! - which, counted from when the rule was added: `nth=3`, `first=5`, `every=10`, `always`
//! - what: see [`GRAMMAR`]
//!
//! For example `create:nth=2:cut=after` or `binary:first=3:status=429,retry_after=7`.

use std::time::Duration;

use http::{Response, StatusCode, header};

use super::answer::{Body, outcome, typed};

/// The rules, for `chartdrop sandbox --help`.
pub const GRAMMAR: &str = "\
Something that is to go wrong: ENDPOINT:WHICH:WHAT[,WHAT...], for example create:nth=2:cut=after or
binary:first=3:status=429,retry_after=7. The option may be repeated; of several rules for a request the first decides.
While the sandbox runs, rules are added with POST /sandbox/faults (one a line) and all removed with DELETE.

ENDPOINT  token, binary, create, search, any
WHICH     which requests, counted from when the rule was added:
          nth=3, first=5, every=10, always
WHAT      status=503       this answer instead of the right one, and nothing is carried out; with
            body=KIND        html, text, empty, xml, xml-error, array, bom, bom-error, utf16-error,
                             errors, parameters, repeated-key, gzip, no-match,
                             or outcome:CODE
            retry_after=7    a number of seconds or a date in quotes
          commit           the request is carried out all the same
          early            the answer comes before the request's body was read
          ok-with-outcome  200 that carries an error
          cut=before       the connection is cut before the body is read; also
          cut=mid            in the middle of the body
          cut=after          after the request was carried out, without an answer
          cut=answer         after it was carried out, in the middle of the answer
          hang, hang=after never answered; after: carried out
          delay=2s         answered late
          slow             answered a hundred bytes a second
          no_location      without the Location of an upload
          revoke           all tokens end
          redirect=URL     307 to there";

const JSON: &str = "application/fhir+json";
const JSON_ERROR: &str = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing"}]}"#;
const XML_ERROR: &str = r#"<OperationOutcome xmlns="http://hl7.org/fhir"><issue><severity value="error"/><code value="processing"/></issue></OperationOutcome>"#;
/// `{}`, compressed.
const GZIPPED: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff\xab\xae\x05\0\x43\xbf\xa6\xa3\x02\0\0\0";

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Token,
    Binary,
    Create,
    Search,
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Nth(u64),
    First(u64),
    Every(u64),
    Always,
}

/// When a connection is cut or begins to hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    Mid,
    After,
    /// In the middle of the answer.
    Answer,
}

/// What goes wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    status: Option<u16>,
    body: Option<String>,
    retry_after: Option<String>,
    ok_with_outcome: bool,
    redirect: Option<String>,
    pub commit: bool,
    pub early: bool,
    pub delay: Duration,
    pub hang: Option<Moment>,
    pub cut: Option<Moment>,
    pub slow: bool,
    pub no_location: bool,
    pub revoke: bool,
}

#[derive(Debug)]
struct Rule {
    endpoint: Endpoint,
    which: Which,
    seen: u64,
    fault: Fault,
}

/// All rules; the first that fits a request decides.
#[derive(Debug, Default)]
pub(super) struct FaultPlan {
    rules: Vec<Rule>,
}

/// A rule that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the fault {rule:?} cannot be understood: {why}; for example: create:nth=2:cut=after")]
pub struct FaultError {
    rule: String,
    why: String,
}

impl FaultPlan {
    /// Adds one rule.
    pub fn add(&mut self, rule: &str) -> Result<(), FaultError> {
        let parsed = parse(rule).map_err(|why| FaultError { rule: rule.to_owned(), why })?;
        self.rules.push(parsed);
        Ok(())
    }

    /// What goes wrong with the request that came now. Every rule for its endpoint counts it.
    pub fn take(&mut self, endpoint: Endpoint) -> Option<Fault> {
        let mut hit = None;
        for rule in &mut self.rules {
            if rule.endpoint != endpoint && rule.endpoint != Endpoint::Any {
                continue;
            }
            rule.seen += 1;
            let hits = match rule.which {
                Which::Nth(n) => rule.seen == n,
                Which::First(n) => rule.seen <= n,
                Which::Every(n) => rule.seen % n == 0,
                Which::Always => true,
            };
            if hits && hit.is_none() {
                hit = Some(rule.fault.clone());
            }
        }
        hit
    }
}

impl Fault {
    /// The answer in place of the right one, if there is one.
    pub fn answer(&self) -> Option<Response<Body>> {
        if self.ok_with_outcome {
            return Some(outcome(StatusCode::OK, "processing", "the document could not be processed"));
        }
        if let Some(url) = &self.redirect {
            let mut response = typed(StatusCode::TEMPORARY_REDIRECT, "text/plain", String::new());
            response.headers_mut().insert(header::LOCATION, url.parse().ok()?);
            return Some(response);
        }
        let status = StatusCode::from_u16(self.status?).ok()?;
        let mut response = match self.body.as_deref() {
            Some("html") => typed(status, "text/html", "<html><body><h1>Bad Gateway</h1></body></html>"),
            Some("text") => typed(status, "text/plain", "something went wrong"),
            Some("empty") => typed(status, "text/plain", ""),
            Some("xml") => typed(
                status,
                "application/fhir+xml",
                r#"<Bundle xmlns="http://hl7.org/fhir"><type value="message"/></Bundle>"#,
            ),
            Some("xml-error") => typed(status, "application/fhir+xml", XML_ERROR),
            Some("array") => typed(status, JSON, "[]"),
            Some("bom") => typed(status, JSON, "\u{feff}{}"),
            Some("bom-error") => typed(status, JSON, format!("\u{feff}{JSON_ERROR}")),
            Some("utf16-error") => {
                let wide: Vec<u8> = format!("\u{feff}{JSON_ERROR}").encode_utf16().flat_map(u16::to_le_bytes).collect();
                typed(status, JSON, wide)
            }
            Some("no-match") => typed(status, JSON, r#"{"resourceType":"Bundle","type":"searchset","total":0}"#),
            Some("errors") => typed(status, JSON, r#"{"errors":[{"message":"a planned fault"}]}"#),
            Some("parameters") => typed(
                status,
                JSON,
                format!(r#"{{"resourceType":"Parameters","parameter":[{{"name":"return","resource":{JSON_ERROR}}}]}}"#),
            ),
            Some("repeated-key") => {
                typed(status, JSON, r#"{"issue":[{"severity":"error","code":"processing"}],"issue":[]}"#)
            }
            Some("gzip") => {
                let mut response = typed(status, JSON, GZIPPED);
                response.headers_mut().insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
                response
            }
            Some(code) => outcome(status, code.strip_prefix("outcome:").unwrap_or(code), "a planned fault"),
            None => {
                outcome(status, if status.is_server_error() { "exception" } else { "processing" }, "a planned fault")
            }
        };
        if let Some(wait) = self.retry_after.as_ref().and_then(|wait| wait.parse().ok()) {
            response.headers_mut().insert(header::RETRY_AFTER, wait);
        }
        Some(response)
    }
}

fn parse(rule: &str) -> Result<Rule, String> {
    let mut parts = rule.splitn(3, ':');
    let (Some(endpoint), Some(which), Some(what)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("it needs three parts with ':' between them".into());
    };
    let endpoint = match endpoint {
        "token" => Endpoint::Token,
        "binary" => Endpoint::Binary,
        "create" => Endpoint::Create,
        "search" => Endpoint::Search,
        "any" => Endpoint::Any,
        other => return Err(format!("{other:?} is not token, binary, create, search or any")),
    };
    let which = match which.split_once('=') {
        None if which == "always" => Which::Always,
        Some(("nth", n)) => Which::Nth(number(n)?),
        Some(("first", n)) => Which::First(number(n)?),
        Some(("every", n)) => Which::Every(number(n)?),
        _ => return Err(format!("{which:?} is not always, nth=N, first=N or every=N")),
    };
    let mut fault = Fault::default();
    for what in what.split(',') {
        let (name, value) = what.split_once('=').unwrap_or((what, ""));
        let value = value.trim_matches('"');
        match name {
            "status" => fault.status = Some(value.parse().map_err(|_| format!("{value:?} is not a status"))?),
            "body" => fault.body = Some(value.into()),
            "retry_after" => fault.retry_after = Some(value.into()),
            "commit" => fault.commit = true,
            "early" => fault.early = true,
            "delay" => fault.delay = seconds(value)?,
            "hang" => fault.hang = Some(if value == "after" { Moment::After } else { Moment::Before }),
            "cut" => fault.cut = Some(moment(value)?),
            "slow" => fault.slow = true,
            "ok-with-outcome" => fault.ok_with_outcome = true,
            "no_location" => fault.no_location = true,
            "revoke" => fault.revoke = true,
            "redirect" => fault.redirect = Some(value.into()),
            other => return Err(format!("{other:?} is not a fault")),
        }
    }
    Ok(Rule { endpoint, which, seen: 0, fault })
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| format!("{text:?} is not a number from 1"))
}

fn moment(text: &str) -> Result<Moment, String> {
    match text {
        "before" => Ok(Moment::Before),
        "mid" => Ok(Moment::Mid),
        "after" => Ok(Moment::After),
        "answer" => Ok(Moment::Answer),
        _ => Err(format!("{text:?} is not before, mid, after or answer")),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let duration: crate::config::units::Duration = text.parse().map_err(|_| format!("{text:?} is not a duration"))?;
    Ok(duration.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(rule: &str) -> String {
        let mut plan = FaultPlan::default();
        plan.add(rule).unwrap();
        (0..6).map(|_| if plan.take(Endpoint::Create).is_some() { 'x' } else { '.' }).collect()
    }

    #[test]
    fn rules_hit_the_requests_they_name() {
        assert_eq!(hits("create:nth=2:hang"), ".x....");
        assert_eq!(hits("create:first=2:hang"), "xx....");
        assert_eq!(hits("any:every=3:hang"), "..x..x");
        assert_eq!(hits("create:always:hang"), "xxxxxx");
        assert_eq!(hits("binary:always:hang"), "......");
    }

    #[test]
    fn a_rule_that_makes_no_sense_says_what_does_not() {
        for (rule, word) in [
            ("create", "three parts"),
            ("crate:always:hang", "crate"),
            ("create:nth=0:hang", "number"),
            ("create:sometimes:hang", "sometimes"),
            ("create:always:explode", "explode"),
            ("create:always:cut=late", "late"),
        ] {
            let error = FaultPlan::default().add(rule).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
