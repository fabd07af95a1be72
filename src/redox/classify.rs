//! What an answer means for a delivery: a pure function from status, headers and body to what can be done.

use std::time::Duration;

use http::header;
use jiff::fmt::rfc2822;

use super::{
    Failure,
    answer::Reply,
    outcome::{self, Finding, Grade},
};
use crate::model::problem::catalogue as known;

/// How long everybody waits when a 429 does not say: Redox counts requests over five minutes.
const USUAL_WAIT: Duration = Duration::from_secs(300);
/// No server makes us wait longer than this before asking it again.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Which call was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// For an access token.
    Token,
    /// A file.
    Upload {
        /// To the environment in which free accounts cannot upload.
        development: bool,
    },
    /// The message.
    Create {
        /// With the file inside.
        embedded: bool,
        /// Not the first time.
        resend: bool,
    },
    /// For a document sent before.
    Search,
}

/// What an answer settles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The call did what it was to do.
    Done,
    /// Once more with a new token; the failure is for when that has been tried.
    Renew(Failure),
    /// It did not.
    Failed(Failure),
}

pub(super) fn classify(call: Call, reply: &Reply) -> Verdict {
    let status = reply.status.as_u16();
    let failure = match (status, call) {
        (200..=299, _) => return success(call, reply),
        (401, Call::Token) => token_refused(reply),
        (401, _) => return Verdict::Renew(login_refused(reply)),
        (408 | 421 | 423 | 425, _) => later(reply),
        (429, _) => Failure::Throttled {
            why: "Redox asks everybody to slow down (429)".into(),
            wait: retry_after(reply).unwrap_or(USUAL_WAIT),
        },
        (400..=499, Call::Token) => token_refused(reply),
        (400..=499 | 501, Call::Search) => no_search(reply),
        (403 | 404 | 405 | 407 | 410, _) => shut(call, reply),
        (413, Call::Create { embedded: true, .. }) => Failure::TooLarge,
        (400..=499, _) => return refused(call, reply),
        (503, _) if was_not_processed(reply) => later(reply),
        (500..=599, _) => unsettled(call, reply),
        (300..=399, _) => Failure::stop(
            status,
            code(status),
            format!("Redox's address answered with a redirect ({status}), which is never followed with patient data."),
            known::REDOX_REDIRECT.remedy,
        ),
        (_, _) => unsettled(call, reply),
    };
    Verdict::Failed(failure)
}

/// A 2xx, which can carry errors all the same.
fn success(call: Call, reply: &Reply) -> Verdict {
    let status = reply.status.as_u16();
    if reply.early && !matches!(call, Call::Token) {
        return Verdict::Failed(match call {
            Call::Create { .. } => {
                Failure::unknown(format!("Redox answered ({status}) before it had received the whole message"))
            }
            Call::Upload { .. } | Call::Token | Call::Search => {
                Failure::later(format!("Redox answered ({status}) before it had received the whole request"))
            }
        });
    }
    let finding = match (status, outcome::judge(reply)) {
        (203, Finding::Clean) => Finding::Unclear("something in between changed Redox's answer"),
        (206, Finding::Clean) => Finding::Unclear("it is a part of Redox's answer"),
        (_, finding) => finding,
    };
    match finding {
        Finding::Clean => Verdict::Done,
        Finding::Error(grade) => graded(grade, call, reply),
        Finding::Unclear(why) => match call {
            Call::Create { .. } => {
                Verdict::Failed(Failure::Unclear { status, why: format!("Redox's answer is unclear: {why}") })
            }
            Call::Upload { .. } | Call::Search => {
                Verdict::Failed(Failure::later(format!("Redox's answer is unclear: {why} ({status})")))
            }
            // Whoever asked reads the token from it, or finds none.
            Call::Token => Verdict::Done,
        },
    }
}

/// A 4xx about the document: an OperationOutcome may say that it was not the document's fault.
fn refused(call: Call, reply: &Reply) -> Verdict {
    graded(outcome::issues(reply).unwrap_or(Grade::Final), call, reply)
}

fn graded(grade: Grade, call: Call, reply: &Reply) -> Verdict {
    let resend = matches!(call, Call::Create { resend: true, .. });
    match (grade, call) {
        (Grade::Duplicate, _) if resend => Verdict::Done,
        (Grade::Later, _) => Verdict::Failed(later(reply)),
        // A 4xx itself says that the request was not processed.
        (Grade::Broken, _) if reply.status.is_client_error() => Verdict::Failed(later(reply)),
        (Grade::Broken, _) => Verdict::Failed(unsettled(call, reply)),
        (_, Call::Token) => Verdict::Failed(token_refused(reply)),
        (Grade::Renew, _) => Verdict::Renew(login_refused(reply)),
        (_, Call::Search) => Verdict::Failed(no_search(reply)),
        (Grade::Stop, _) => Verdict::Failed(shut(call, reply)),
        (Grade::Duplicate | Grade::Final, _) => Verdict::Failed(rejected(call, reply)),
    }
}

/// A 503 with a hint that the request was not processed, and can be sent again.
fn was_not_processed(reply: &Reply) -> bool {
    retry_after(reply).is_some() || outcome::issues(reply) == Some(Grade::Later)
}

fn later(reply: &Reply) -> Failure {
    let status = reply.status.as_u16();
    Failure::Later { why: format!("Redox cannot take it at the moment ({status})"), retry_after: retry_after(reply) }
}

/// An error that does not say whether the request was processed. Only a message matters, and only if all of it had been sent.
fn unsettled(call: Call, reply: &Reply) -> Failure {
    let status = reply.status.as_u16();
    match call {
        Call::Create { .. } if !reply.early => {
            Failure::unknown(format!("Redox's answer ({status}) does not say whether it took the message"))
        }
        Call::Create { .. } | Call::Upload { .. } | Call::Token | Call::Search => later(reply),
    }
}

fn rejected(call: Call, reply: &Reply) -> Failure {
    let status = reply.status.as_u16();
    let (summary, remedy) = match (status, call) {
        (413, _) => ("The document is too large for Redox.", known::SENT_TOO_LARGE.remedy),
        (415, Call::Upload { .. }) => ("Redox does not take this kind of file.", known::SENT_BAD_KIND.remedy),
        (_, Call::Upload { .. }) => (
            "Redox refused the file.",
            "Check that the file opens, or save it as PDF. If it opens, show this note to the person who looks after chartdrop. Then move the document back into the patient's folder in the inbox.",
        ),
        _ => ("Redox refused what was said of the document or of its patient.", known::SENT_REFUSED.remedy),
    };
    Failure::Rejected { code: code(status), summary: quoting(summary, reply), remedy: remedy.into() }
}

/// 403, 404 and the like: nothing about this document, but about where and as whom everything is sent.
fn shut(call: Call, reply: &Reply) -> Failure {
    let status = reply.status.as_u16();
    let (what, remedy) = match (status, call) {
        (403, Call::Upload { development: true }) => (
            "Redox does not allow this upload: uploads are not available in a free development environment.",
            "Use environment = \"Staging\" with its own key, or embed small files with method = \"embed\".",
        ),
        (404 | 405 | 410, _) => {
            ("Redox does not know the address that everything is sent to.", known::REDOX_404.remedy)
        }
        (407, _) => ("The proxy in between wants a login.", known::REDOX_407.remedy),
        _ => ("Redox does not allow this key to send to this destination.", known::REDOX_403.remedy),
    };
    Failure::stop(status, code(status), quoting(what, reply), remedy)
}

fn login_refused(reply: &Reply) -> Failure {
    let status = reply.status.as_u16();
    Failure::stop(
        status,
        code(status),
        quoting("Redox refuses our access token, and a new one as well.", reply),
        known::REDOX_401.remedy,
    )
}

fn token_refused(reply: &Reply) -> Failure {
    let status = reply.status.as_u16();
    let (what, todo) = match status {
        404 | 405 | 407 | 410 => {
            ("Redox's address for access tokens does not answer as it should.", "Check base_url in the configuration.")
        }
        _ => ("Redox gives us no access token.", known::TOKEN_REFUSED.remedy),
    };
    Failure::stop(0, format!("token-{status}"), quoting(what, reply), todo)
}

fn no_search(reply: &Reply) -> Failure {
    Failure::Rejected {
        code: known::SEARCH_REFUSED.code.into(),
        summary: quoting("This destination does not answer searches for documents.", reply),
        remedy: known::SEARCH_REFUSED.remedy.into(),
    }
}

/// The code of a status; those that mean something of their own have an entry in the catalogue.
fn code(status: u16) -> String {
    format!("redox-{status}")
}

/// Our sentence, then the server's words.
fn quoting(summary: &str, reply: &Reply) -> String {
    let status = reply.status.as_u16();
    match outcome::words(reply) {
        Some(words) => format!("{summary} Redox's answer ({status}): {words}"),
        None if outcome::is_web_page(reply) => {
            format!("{summary} The answer ({status}) was a web page, perhaps a firewall's or a proxy's.")
        }
        None => format!("{summary} The answer ({status}) gave no reason."),
    }
}

/// `Retry-After` in both of its forms, the date measured on the server's own clock.
fn retry_after(reply: &Reply) -> Option<Duration> {
    let value = reply.header(header::RETRY_AFTER)?.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let parse = |date: &str| rfc2822::DateTimeParser::new().parse_timestamp(date).ok();
            let now = reply.header(header::DATE).and_then(parse).unwrap_or(reply.at);
            let seconds = parse(value)?.as_second().saturating_sub(now.as_second());
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        }
    };
    Some(wait.clamp(Duration::from_secs(1), LONGEST_WAIT))
}

#[cfg(test)]
mod tests;
