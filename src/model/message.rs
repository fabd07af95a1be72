//! The nouns of one message: what is fixed before it is sent, and what came back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A file that Redox holds, not yet referenced by anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upload {
    /// The Location header, an opaque string.
    pub location: String,
    /// When the upload ended.
    pub at: Timestamp,
}

/// What, together with the row's document, decides every byte of the Bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `Bundle.id`.
    pub bundle: Uuid,
    /// `MessageHeader.id`.
    pub header: Uuid,
    /// `Bundle.timestamp`.
    pub timestamp: Timestamp,
    /// `MessageHeader.source.endpoint`.
    pub endpoint: String,
    /// The uploaded file; `None` when the file is embedded.
    pub upload: Option<Upload>,
    /// How often it was sent, the time under way included. Not a part of the Bundle.
    pub sent: u32,
}

/// What Redox answered, less secrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The HTTP status; 0 when the ledger was rebuilt from a receipt that does not say.
    pub status: u16,
    /// Header names and values, cut to what a row holds.
    pub headers: Vec<(String, String)>,
    /// `response.location` and other ids found in the body.
    pub ids: Vec<String>,
}
