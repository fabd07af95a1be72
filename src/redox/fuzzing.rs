//! For `fuzz/`: what an answer is taken to mean, without a server that gives it.

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use reqwest::Url;

use super::{
    Failure,
    answer::Reply,
    classify::{Call, Verdict, classify},
    client::{Sent, location},
};
use crate::model::message::Answer;

/// What follows from an answer, and what of it a ledger row keeps.
#[derive(Debug)]
pub struct Meaning {
    /// `None` when the call did what it was to do.
    pub failure: Option<Failure>,
    /// For the row.
    pub kept: Answer,
    /// Where the file is, for an upload that went well.
    pub location: Option<String>,
}

/// `call` counts through the calls and their circumstances.
pub fn meaning(call: u8, status: StatusCode, headers: HeaderMap, body: Vec<u8>) -> Meaning {
    let call = match call % 8 {
        0 => Call::Token,
        1 => Call::Search,
        n @ 2..=3 => Call::Upload { development: n == 2 },
        n => Call::Create { embedded: n & 1 == 0, resend: n & 2 == 0 },
    };
    let reply = Reply { status, headers, body, longer: false, lost: false, early: false, at: Timestamp::UNIX_EPOCH };
    let kept = reply.kept();
    let failure = match classify(call, &reply) {
        Verdict::Done => None,
        Verdict::Renew(failure) | Verdict::Failed(failure) => Some(failure),
    };
    let url = Url::parse("https://api.redoxengine.com/fhir/R4/redox/Staging/Binary").ok();
    let uploaded = matches!(call, Call::Upload { .. }) && failure.is_none();
    match url.filter(|_| uploaded).map(|url| location(&Sent { reply, url })).transpose() {
        Ok(location) => Meaning { failure, kept, location },
        Err(failure) => Meaning { failure: Some(failure), kept, location: None },
    }
}
