//! A delivery and its stages: one row of the ledger, and the form in which it is stored.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::LedgerError;
use crate::{
    model::document::{DeliveryId, Document, Key, Patient, Sha256},
    model::message::{Answer, Message, Upload},
    model::path::{InboxPath, RelPath},
};

/// The longest row that may be stored, in bytes; sled moves values past about 9 KB to files that it never syncs.
pub const ROW_LIMIT: usize = 4096;

/// One document on its way to one destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// What makes it this delivery.
    pub key: Key,
    /// Counts the durable steps; 0 before the first. [`super::Ledger::advance`] takes only the revision it holds.
    pub revision: u64,
    /// Where the file was last seen.
    pub place: InboxPath,
    /// When the file was first identified: the document's date when nobody gave another.
    pub first_seen: Timestamp,
    /// When this row was last written.
    pub updated: Timestamp,
    /// What its message says. `None` for a file that was refused before it was identified.
    pub document: Option<Document>,
    /// How often its message was sent, resends included.
    pub sends: u32,
    /// How many of those were left without an answer that settles anything.
    pub uncertain: u32,
    /// How far it is.
    pub stage: Stage,
}

/// How far a delivery is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Stage {
    /// Identified; waiting for its turn, or for its next try.
    Queued(Queued),
    /// The message is fixed and its POST is about to leave, or has left.
    Sending(Message),
    /// The POST left and no answer settles what became of it.
    Unknown(Unknown),
    /// Answered 2xx without negative evidence.
    Accepted(Accepted),
    /// Final: a person must act.
    Rejected(Rejected),
}

/// Waiting to be sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Queued {
    /// Failed tries so far.
    pub attempts: u32,
    /// When these tries began (for `give_up_after`); a file that a person put back begins again.
    pub since: Timestamp,
    /// Not before this moment.
    pub due: Timestamp,
    /// Why the last try failed, in words; empty before the first.
    pub why: String,
    /// An upload that a later try may use.
    pub upload: Option<Upload>,
    /// The message of a try that may or may not have been seen: sent again as it is.
    pub message: Option<Message>,
}

/// Sent, and never settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unknown {
    /// What was sent.
    pub message: Message,
    /// How the answer was lost, in words.
    pub why: String,
    /// When it was first left without an answer.
    pub since: Timestamp,
    /// When to act on it; `None` while it is held for a person.
    pub due: Option<Timestamp>,
    /// Searches and resends so far.
    pub tries: u32,
}

/// Accepted by Redox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// When.
    pub at: Timestamp,
    /// With which message; `None` in a row that was shrunk or rebuilt from a receipt.
    pub message: Option<Message>,
    /// The answer.
    pub answer: Answer,
    /// The way into done.
    pub filing: Filing,
    /// A duplicate that is just being moved into done as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<Twin>,
}

/// Another file with the bytes of an accepted document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    /// Where it was dropped.
    pub from: InboxPath,
    /// Where it is to lie, beneath done.
    pub to: RelPath,
    /// The file's own digest, when it is not that of the first: the same text in another encoding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_sha256: Option<Sha256>,
}

/// Refused, by us or by Redox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// When.
    pub at: Timestamp,
    /// Why, and what staff can do.
    pub reason: Reason,
    /// The upload of the last try, for a file that is put back soon.
    pub upload: Option<Upload>,
    /// The way into failed.
    pub filing: Filing,
}

/// Why a document was not sent or not accepted, in words for staff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// A fixed word for programs, e.g. `no-patient`.
    pub code: String,
    /// What happened, in whole sentences.
    #[serde(rename = "what")]
    pub summary: String,
    /// What to do next, in whole sentences.
    #[serde(rename = "todo")]
    pub remedy: String,
    /// Whether the message may have arrived all the same.
    pub maybe_sent: bool,
}

/// Moving the document into done or failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filing {
    /// Where the document is to lie, relative to done or failed; fixed before the move, so that a crash in between can be told from a file taken away.
    pub to: Option<InboxPath>,
    /// When document, sidecar and receipt or reason lay there.
    pub filed: Option<Timestamp>,
}

/// The outer form of a stored row. A change of shape takes the next number and keeps the old variant readable.
#[derive(Serialize, Deserialize)]
struct Stored<T> {
    v: u32,
    row: T,
}

const VERSION: u32 = 1;

impl Delivery {
    /// The delivery's name.
    pub fn id(&self) -> DeliveryId {
        self.key.id()
    }

    /// The digest of the file in the inbox, in done or in failed: what is sent may have been converted from it.
    pub fn file_sha256(&self) -> Sha256 {
        self.document.as_ref().map_or(self.key.sha256, |document| document.content.file_sha256())
    }

    /// How the delivery ended, if it did and the file still has to be moved or marked as moved.
    pub fn filing(&self) -> Option<&Filing> {
        match &self.stage {
            Stage::Accepted(accepted) => Some(&accepted.filing),
            Stage::Rejected(rejected) => Some(&rejected.filing),
            Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) => None,
        }
    }

    /// True once nothing is left to do.
    pub fn is_filed(&self) -> bool {
        self.filing().is_some_and(|filing| filing.filed.is_some())
    }

    /// True while a document of this delivery is on its way into done or failed, be it a duplicate.
    pub fn is_moving(&self) -> bool {
        let has_twin = matches!(&self.stage, Stage::Accepted(Accepted { twin: Some(_), .. }));
        self.filing().is_some_and(|filing| filing.filed.is_none() || has_twin)
    }

    /// Drops from an ended delivery what neither a duplicate's comparison nor the history asks for: the message, the
    /// answer's headers, and of the patient all but the identifiers. What is said of the document stays whole.
    /// A rejected file's upload stays too, for the file may be put back. An open delivery needs everything.
    pub fn shrink(&mut self) {
        match &mut self.stage {
            Stage::Accepted(accepted) => {
                accepted.message = None;
                accepted.answer.headers = Vec::new();
            }
            Stage::Rejected(_) => {}
            Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) => return,
        }
        if let Some(document) = &mut self.document {
            let identifier = std::mem::take(&mut document.patient.identifier);
            document.patient = Patient { identifier, family: None, given: Vec::new(), birth_date: None, gender: None };
        }
    }

    /// Gives up, in this order, what can be spared until the row fits: the answer's headers and ids, the upload, the end of
    /// long words. What decides the message and the filing is never touched; its makers keep it short.
    pub fn slim(&mut self) {
        for spare in [Self::spare_answer, Self::spare_upload, Self::spare_words] {
            if !matches!(self.encode(), Err(LedgerError::RowTooLong(_))) {
                return;
            }
            spare(self);
        }
    }

    fn spare_answer(&mut self) {
        if let Stage::Accepted(accepted) = &mut self.stage {
            accepted.answer.headers = Vec::new();
            accepted.answer.ids = Vec::new();
        }
    }

    fn spare_upload(&mut self) {
        match &mut self.stage {
            Stage::Rejected(rejected) => rejected.upload = None,
            // The message is through: only its ids are still asked for.
            Stage::Accepted(Accepted { message: Some(message), .. }) => message.upload = None,
            _ => {}
        }
    }

    fn spare_words(&mut self) {
        let words = match &mut self.stage {
            Stage::Rejected(rejected) => &mut rejected.reason.summary,
            Stage::Queued(queued) => &mut queued.why,
            Stage::Unknown(unknown) => &mut unknown.why,
            Stage::Sending(_) | Stage::Accepted(_) => return,
        };
        *words = words.chars().take(200).collect();
    }

    /// When there is next something to do, for an open delivery.
    pub fn due(&self) -> Option<Timestamp> {
        match &self.stage {
            Stage::Queued(queued) => Some(queued.due),
            Stage::Sending(_) => Some(self.updated),
            Stage::Unknown(unknown) => unknown.due,
            Stage::Accepted(_) | Stage::Rejected(_) => None,
        }
    }

    /// The stored form: versioned JSON, read back and compared before it is let out.
    pub fn encode(&self) -> Result<Vec<u8>, LedgerError> {
        let bytes = serde_json::to_vec(&Stored { v: VERSION, row: self })
            .map_err(|error| LedgerError::Damaged(error.to_string()))?;
        if bytes.len() > ROW_LIMIT {
            return Err(LedgerError::RowTooLong(bytes.len()));
        }
        match Self::decode(&bytes) {
            Ok(row) if &row == self => Ok(bytes),
            _ => Err(LedgerError::Damaged("a row that does not read back as it was written".into())),
        }
    }

    /// Reads what [`Delivery::encode`] wrote, of this version or an earlier one.
    pub fn decode(bytes: &[u8]) -> Result<Self, LedgerError> {
        let damaged = |error: serde_json::Error| LedgerError::Damaged(error.to_string());
        let version = serde_json::from_slice::<Stored<serde::de::IgnoredAny>>(bytes).map_err(damaged)?.v;
        if version > VERSION {
            return Err(LedgerError::Newer(version));
        }
        Ok(serde_json::from_slice::<Stored<Self>>(bytes).map_err(damaged)?.row)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn stored_by_version_1() -> Vec<(Value, Delivery)> {
        let file = include_str!("../../tests/fixtures/ledger/v1.json");
        let stored: Vec<Value> = serde_json::from_str(file).unwrap();
        stored
            .into_iter()
            .map(|value| (value.clone(), Delivery::decode(value.to_string().as_bytes()).unwrap()))
            .collect()
    }

    #[test]
    fn rows_of_version_1_are_still_read_whole() {
        let mut stages = Vec::new();
        for (value, row) in stored_by_version_1() {
            assert_eq!(serde_json::from_slice::<Value>(&row.encode().unwrap()).unwrap(), value, "nothing is dropped");
            stages.push(match row.stage {
                Stage::Queued(_) => "queued",
                Stage::Sending(_) => "sending",
                Stage::Unknown(_) => "unknown",
                Stage::Accepted(_) => "accepted",
                Stage::Rejected(_) => "rejected",
            });
        }
        assert_eq!(stages, ["queued", "sending", "unknown", "accepted", "rejected"]);
    }

    #[test]
    fn a_row_of_a_newer_version_is_refused_whatever_it_holds() {
        let row = br#"{"v":999,"row":{"shape":"nobody knows"}}"#;
        assert!(matches!(Delivery::decode(row), Err(LedgerError::Newer(999))));
        for damaged in [&b""[..], b"{}", br#"{"v":1,"row":{}}"#, b"\0\0\0\0"] {
            assert!(matches!(Delivery::decode(damaged), Err(LedgerError::Damaged(_))));
        }
    }

    #[test]
    fn a_row_that_is_too_long_gives_up_what_can_be_spared_and_nothing_else() {
        for (_, row) in stored_by_version_1() {
            let mut large = row.clone();
            match &mut large.stage {
                Stage::Accepted(accepted) => accepted.answer.headers = vec![("x".into(), "y".repeat(ROW_LIMIT)); 2],
                Stage::Rejected(rejected) => rejected.reason.summary = "ü".repeat(ROW_LIMIT),
                Stage::Queued(queued) => queued.why = "z".repeat(ROW_LIMIT),
                Stage::Sending(_) | Stage::Unknown(_) => continue,
            }
            assert!(matches!(large.encode(), Err(LedgerError::RowTooLong(_))));
            large.slim();
            large.encode().unwrap();
            assert_eq!((&large.key, &large.document, large.filing()), (&row.key, &row.document, row.filing()));
            let mut same = row.clone();
            same.slim();
            assert_eq!(same, row, "a row that fits stays as it is");
        }
    }

    #[test]
    fn shrinking_keeps_what_duplicates_and_history_ask_for() {
        for (_, row) in stored_by_version_1() {
            let mut small = row.clone();
            small.shrink();
            if row.filing().is_none() {
                assert_eq!(small, row, "an open delivery needs everything");
                continue;
            }
            assert_eq!(
                (&small.key, &small.place, small.sends, small.filing()),
                (&row.key, &row.place, row.sends, row.filing())
            );
            match (&row.document, &small.document) {
                (Some(whole), Some(kept)) => {
                    assert_eq!((&kept.metadata, &kept.content), (&whole.metadata, &whole.content));
                    assert_eq!(kept.patient.identifier, whole.patient.identifier);
                    assert!(small.encode().unwrap().len() < row.encode().unwrap().len());
                    let text = String::from_utf8(small.encode().unwrap()).unwrap();
                    assert!(!text.contains("2008-01-06") && !text.contains("x-request-id"), "{text}");
                }
                (None, None) => assert_eq!(small, row),
                other => panic!("{other:?}"),
            }
        }
    }
}
