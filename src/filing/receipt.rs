//! The receipt beside every done file: what was accepted, for whom, when, and how often it was sent.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ledger::{Accepted, Delivery},
    model::document::{DeliveryId, Document, Key},
    model::message::Answer,
};

/// What a receipt's name adds to its document's.
pub const ENDING: &str = ".receipt.json";

/// Enough to know an accepted document again, even when the ledger is lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The form of this file.
    pub version: u32,
    /// `accepted`, or `duplicate` when the same document had been accepted before.
    pub status: Status,
    /// The words for a person.
    pub note: String,
    /// The delivery's id; `urn:uuid:` of it is the document's `masterIdentifier`.
    pub delivery: DeliveryId,
    /// What makes it this delivery.
    pub key: Key,
    /// When Redox accepted it.
    pub accepted_at: Timestamp,
    /// How often the message was sent.
    pub sends: u32,
    /// How many of these were left without an answer that settles anything: this many more copies may have arrived.
    pub uncertain: u32,
    /// `Bundle.id` of the message that was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<uuid::Uuid>,
    /// What the message said.
    pub document: Document,
    /// What Redox answered, less secrets.
    pub answer: Answer,
}

/// What a receipt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// This file was sent.
    Accepted,
    /// This file was not sent: its bytes had been accepted for this patient before.
    Duplicate,
}

impl Receipt {
    /// The receipt of an accepted delivery; `None` for a row that does not say what was sent.
    pub fn of(row: &Delivery, accepted: &Accepted, status: Status) -> Option<Self> {
        let document = row.document.clone()?;
        let at = accepted.at.strftime("%Y-%m-%d %H:%M UTC");
        let note = match (status, row.uncertain) {
            (Status::Duplicate, _) => format!(
                "This document was not sent again: the same one was accepted by Redox for this patient on {at} (as {}).",
                row.place.path
            ),
            (Status::Accepted, 0) => format!("Accepted by Redox on {at}."),
            (Status::Accepted, _) if row.sends == 1 => {
                format!(
                    "Accepted by Redox on {at}. It was sent once; its answer was lost, and asking showed that it had arrived."
                )
            }
            (Status::Accepted, uncertain) => format!(
                "Accepted by Redox on {at}. It was sent {} times, because {uncertain} of them got no certain answer; \
                 the chart may show the document more than once.",
                row.sends
            ),
        };
        Some(Self {
            version: 1,
            status,
            note,
            delivery: row.id(),
            key: row.key.clone(),
            accepted_at: accepted.at,
            sends: row.sends,
            uncertain: row.uncertain,
            bundle: accepted.message.as_ref().map(|message| message.bundle),
            document,
            answer: accepted.answer.clone(),
        })
    }
}
