//! What came back: an answer read within bounds, and the part of it that is kept.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use reqwest::Url;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::tree;
use crate::model::message::Answer;

/// An answer's body is read up to this length. One that is longer cannot be checked for errors, and is left unread; a search's
/// answer holds whole resources.
const BODY_LIMIT: usize = 1024 * 1024;
/// An answer that drips for longer than this counts as broken off.
const READ_LIMIT: Duration = Duration::from_secs(600);
/// Header names and values kept, in bytes: the answer shares one row of the ledger with the document.
const HEADERS_LIMIT: usize = 600;
/// Ids kept, and the longest one.
const IDS_LIMIT: usize = 3;
const ID_LIMIT: usize = 200;

/// An answer, as far as it was read.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// The body was longer than what is read of one.
    pub(super) longer: bool,
    /// The body broke off, or its rest did not come in time.
    pub(super) lost: bool,
    /// It came before the whole request had been handed over, and the request was broken off then.
    pub(super) early: bool,
    /// When it came.
    pub(super) at: Timestamp,
}

impl Reply {
    /// Reads status, headers, and as much of the body as there is and as is allowed. `silence`: the longest pause between
    /// two pieces of it.
    pub(super) async fn read(mut response: reqwest::Response, silence: Duration) -> Self {
        let mut reply = Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: Vec::new(),
            longer: false,
            lost: false,
            early: false,
            at: Timestamp::now(),
        };
        let end = Instant::now() + READ_LIMIT.max(silence);
        loop {
            match timeout_at(end.min(Instant::now() + silence), response.chunk()).await {
                Ok(Ok(None)) => return reply,
                Ok(Ok(Some(chunk))) => {
                    let room = BODY_LIMIT - reply.body.len();
                    reply.longer = chunk.len() > room;
                    reply.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if reply.longer {
                        return reply;
                    }
                }
                Ok(Err(_)) | Err(_) => {
                    reply.lost = true;
                    return reply;
                }
            }
        }
    }

    /// A header as text.
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON, if it is that.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_str(tree::text(&self.body)?.trim_start_matches('\u{feff}')).ok()
    }

    /// What a ledger row keeps of it.
    pub(super) fn kept(&self) -> Answer {
        Answer { status: self.status.as_u16(), headers: kept_headers(&self.headers), ids: ids(self.json().as_ref()) }
    }
}

/// Headers that may name the message in Redox's log come first, then the others, while there is room.
fn kept_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let telling = |name: &str| ["id", "location", "trace", "date"].iter().any(|word| name.contains(word));
    let (first, rest): (Vec<_>, Vec<_>) = headers
        .iter()
        .filter(|(name, value)| !is_secret(name.as_str()) && !value.is_sensitive())
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .partition(|(name, _)| telling(name));
    let mut room = HEADERS_LIMIT;
    let mut kept = Vec::new();
    for (name, value) in first.into_iter().chain(rest) {
        if let Some(left) = room.checked_sub(name.len() + value.len()) {
            room = left;
            kept.push((name.to_owned(), value.to_owned()));
        }
    }
    kept
}

fn is_secret(name: &str) -> bool {
    ["cookie", "authori", "authenticat", "token", "secret", "api-key"].iter().any(|word| name.contains(word))
}

/// `entry[].response.location` and the Bundle's own id.
fn ids(body: Option<&Value>) -> Vec<String> {
    let Some(body) = body else { return Vec::new() };
    let entries = body["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    let locations = entries.iter().map(|entry| &entry["response"]["location"]);
    locations
        .chain([&body["id"]])
        .filter_map(Value::as_str)
        .filter(|id| !id.is_empty() && id.len() <= ID_LIMIT && !id.contains(char::is_control))
        .take(IDS_LIMIT)
        .map(str::to_owned)
        .collect()
}

/// Fields as `application/x-www-form-urlencoded`.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    // The URL type has the only encoder at hand; of this URL nothing but its query is used.
    let Ok(mut url) = Url::parse("form:") else { return String::new() };
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(headers: &[(&'static str, &str)], body: &str) -> Reply {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let body = body.as_bytes().to_vec();
        Reply {
            status: StatusCode::OK,
            headers,
            body,
            longer: false,
            lost: false,
            early: false,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn secrets_are_not_kept_and_names_of_the_message_come_first() {
        let long = "x".repeat(580);
        let answer = reply(
            &[
                ("server", "nginx"),
                ("x-padding", &long),
                ("set-cookie", "session=1"),
                ("www-authenticate", "Bearer"),
                ("x-access-token", "t"),
                ("x-request-id", "abc-1"),
            ],
            "",
        )
        .kept();
        let names: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-request-id", "server"]);
        assert_eq!(answer.status, 200);
    }

    #[test]
    fn ids_are_few_and_short() {
        let long = "x".repeat(201);
        let body = format!(
            r#"{{"resourceType":"Bundle","id":"b-1","entry":[
                {{"response":{{"status":"201 Created","location":"DocumentReference/1"}}}},
                {{"response":{{"location":"{long}"}}}}, {{}},
                {{"response":{{"location":"Patient/2"}}}}]}}"#
        );
        assert_eq!(reply(&[], &body).kept().ids, ["DocumentReference/1", "Patient/2", "b-1"]);
        for other in ["", "<html>", "[1]", "\"a\"", r#"{"entry":{"response":1},"id":7}"#] {
            assert!(reply(&[], other).kept().ids.is_empty(), "{other}");
        }
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(
            form(&[("identifier", "urn:ietf:rfc:3986|urn:uuid:1"), ("b", "a b&c=ä")]),
            "identifier=urn%3Aietf%3Arfc%3A3986%7Curn%3Auuid%3A1&b=a+b%26c%3D%C3%A4"
        );
    }
}
