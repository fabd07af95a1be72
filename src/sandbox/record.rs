//! What the sandbox saw: everything it accepted, and how often it was asked for what.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{bundle::Facts, faults::Endpoint, lock};

/// So many refusals are kept.
const MOST_REFUSED: usize = 10_000;

/// Everything that was accepted and refused.
#[derive(Debug, Default)]
pub struct Record {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    accepted: Vec<Message>,
    bundles: HashSet<String>,
    uploads: HashMap<String, Upload>,
    refused: Vec<Refused>,
    requests: u64,
    creates: u64,
    tokens: u64,
}

/// A message that was accepted.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    /// When.
    pub at: Timestamp,
    /// The slug.
    pub destination: String,
    /// The word in the path.
    pub environment: String,
    /// The header, if it came.
    pub source_id: Option<String>,
    /// SHA-256 of the request's body, in hex.
    pub bundle_sha256: String,
    /// Whether a message with this `Bundle.id` had been accepted before.
    pub duplicate_of_bundle: bool,
    /// What the message says.
    #[serde(flatten)]
    pub facts: Facts,
    /// The message itself: most of it, and seldom asked for.
    #[serde(skip)]
    pub bundle: Value,
}

/// A file that was uploaded.
#[derive(Clone, Debug)]
pub(super) struct Upload {
    pub url: String,
    pub environment: String,
    pub source_id: Option<String>,
    pub mime: String,
    pub size: u64,
    pub sha1: Vec<u8>,
    pub sha256: String,
}

#[derive(Debug, Serialize)]
struct Refused {
    at: Timestamp,
    endpoint: String,
    status: u16,
    why: String,
}

impl Record {
    pub(super) fn count(&self, endpoint: Endpoint) {
        let mut inner = lock(&self.inner);
        inner.requests += 1;
        inner.creates += u64::from(endpoint == Endpoint::Create);
    }

    pub(super) fn token(&self) {
        lock(&self.inner).tokens += 1;
    }

    pub(super) fn uploaded(&self, upload: Upload) {
        lock(&self.inner).uploads.insert(upload.url.clone(), upload);
    }

    pub(super) fn upload(&self, url: &str) -> Option<Upload> {
        lock(&self.inner).uploads.get(url).cloned()
    }

    pub(super) fn accept(&self, mut message: Message) {
        let mut inner = lock(&self.inner);
        message.duplicate_of_bundle = !inner.bundles.insert(message.facts.bundle_id.clone());
        inner.accepted.push(message);
    }

    pub(super) fn refused(&self, endpoint: &str, status: u16, why: &str) {
        let mut inner = lock(&self.inner);
        if inner.refused.len() < MOST_REFUSED {
            let at = Timestamp::now();
            inner.refused.push(Refused { at, endpoint: endpoint.into(), status, why: why.into() });
        }
    }

    /// Every message that was accepted, in order.
    pub fn accepted(&self) -> Vec<Message> {
        lock(&self.inner).accepted.clone()
    }

    /// The messages about one document.
    pub(super) fn find(&self, master_identifier: &str) -> Vec<Message> {
        let inner = lock(&self.inner);
        inner.accepted.iter().filter(|message| message.facts.master_identifier == master_identifier).cloned().collect()
    }

    /// All of it as JSON; the Bundles only when asked for.
    pub(super) fn view(&self, bundles: bool) -> Value {
        let inner = lock(&self.inner);
        let view = |message: &Message| {
            let mut value = serde_json::to_value(message).unwrap_or_default();
            if bundles {
                value["bundle"] = message.bundle.clone();
            }
            value
        };
        let accepted: Vec<Value> = inner.accepted.iter().map(view).collect();
        json!({
            "accepted": accepted,
            "uploads": inner.uploads.len(),
            "creates": inner.creates,
            "tokens": inner.tokens,
            "requests": inner.requests,
            "refused": inner.refused,
        })
    }
}

/// A name that nobody can guess.
pub(super) fn fresh_id() -> String {
    Uuid::new_v4().to_string()
}
