//! A delivery and its stages: one row of the ledger, and the form in which it is stored.

mod limits;
mod v1;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::LedgerError;
use crate::model::{
    document::{DeliveryId, Document, Identifier, Key, Sha256},
    file_state::FileState,
    message::{Answer, Message, Upload},
    path::{InboxPath, RelPath},
    problem::Problem,
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
    /// For how long it was tried.
    #[serde(default, skip_serializing_if = "Tried::is_none")]
    pub tried: Tried,
    /// The files that filing moves: those that were identified, in the state they had then. `None` in rows of version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    /// The rebuild of a lost ledger after which this delivery was already counted as perhaps sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_after_loss: Option<Timestamp>,
    /// What happened, oldest first, for a person who asks. No patient data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
    /// How far it is.
    pub stage: Stage,
}

/// How often and for how long a delivery was tried, for `give_up_after`: tries, and the pauses that were planned between
/// them. The time for which the machine was off or the channel closed does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tried {
    /// Failed tries in a row.
    pub attempts: u32,
    /// Milliseconds so far.
    pub ms: u64,
    /// Milliseconds of the pause that was planned before the next try.
    pub pause_ms: u64,
}

impl Tried {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Exactly which files belong to a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The document, as it was when it was identified.
    pub document: FileState,
    /// Its sidecar; `None`: there was none, and one that comes later belongs to another document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<SidecarFile>,
}

/// A sidecar that was sent with its document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SidecarFile {
    /// Its name; it is in its document's folder.
    pub name: RelPath,
    /// As it was when it was read.
    pub state: FileState,
}

/// One line of a delivery's story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryEntry {
    /// When.
    pub at: Timestamp,
    /// What, as a fixed word: see `delivery/lifecycle`.
    pub event: String,
    /// Who, when it was a person's decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// More, in words; may be empty. No patient data.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
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
    /// Waits for a person's decision.
    Held(Held),
    /// Answered 2xx without negative evidence.
    Accepted(Accepted),
    /// Final: a person must act.
    Rejected(Rejected),
}

/// Waiting to be sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Queued {
    /// Since when it waits for its turn; a file that a person put back begins again.
    pub since: Timestamp,
    /// Not before this moment.
    pub due: Timestamp,
    /// Why the last try failed, in words; empty before the first.
    pub why: String,
    /// An upload that a later try may use.
    pub upload: Option<Upload>,
    /// Redox found the embedded document too large: it is uploaded, whatever the configuration says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_upload: bool,
    /// The message of a try that may or may not have been seen: sent again as it is.
    pub message: Option<Message>,
}

/// Sent, and never settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unknown {
    /// What was sent; `None` when it was recorded in a ledger that was lost.
    pub message: Option<Message>,
    /// How the answer was lost, in words.
    pub why: String,
    /// When it was first left without an answer.
    pub since: Timestamp,
    /// When to act on it.
    pub due: Timestamp,
    /// Searches that were answered with no.
    pub tries: u32,
}

/// Waits for a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// Which decision it waits for.
    pub why: HeldWhy,
    /// More, in words; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Since when.
    pub since: Timestamp,
    /// Where it goes on when it is released.
    pub then: Then,
}

/// Which decision a held delivery waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldWhy {
    /// A person held it.
    Person,
    /// It was sent, its answer was lost, and sending again did not settle that, or is not allowed.
    OutcomeUnknown,
    /// It may have been sent for a patient whose folder now says something else.
    PatientChanged,
    /// It may have been sent before the ledger was lost.
    LedgerLost,
    /// Redox answered something that is neither a yes nor a no.
    UnclearAnswer,
    /// Redox, or a firewall before it, refuses this document and takes others.
    OnlyThisRefused,
}

/// Where a held delivery goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub enum Then {
    /// It is sent when its turn comes.
    Queued(Queued),
    /// Its outcome is settled.
    Unknown(Unknown),
}

/// Accepted by Redox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// When.
    pub at: Timestamp,
    /// With which message; `None` in a row that was redacted or rebuilt from a receipt.
    pub message: Option<Message>,
    /// The answer.
    pub answer: Answer,
    /// The way into done.
    pub filing: Filing,
    /// A duplicate that is just being moved into done as well.
    #[serde(default, rename = "twin", skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<Box<PendingDuplicate>>,
}

/// Another file with the bytes of an accepted document, on its way into done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingDuplicate {
    /// Where it was dropped.
    pub from: InboxPath,
    /// Where it goes, beneath done.
    pub to: RelPath,
    /// Exactly which files; `None` in rows of version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
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
    /// Where the document goes, relative to done or failed; fixed before the move, so that a crash in between can be told from a file taken away.
    pub to: Option<InboxPath>,
    /// When document, sidecar and receipt or reason were there.
    pub filed: Option<Timestamp>,
}

/// The outer form of a stored row. A change of shape takes the next number and keeps the old variant readable.
#[derive(Serialize, Deserialize)]
struct Stored<T> {
    v: u32,
    row: T,
}

const VERSION: u32 = 2;

impl Queued {
    /// Due at once, nothing tried yet.
    pub fn new(now: Timestamp) -> Self {
        Self { since: now, due: now, ..Self::default() }
    }
}

impl Delivery {
    /// A delivery that nothing has happened to yet.
    pub fn new(key: Key, place: InboxPath, document: Option<Document>, now: Timestamp, stage: Stage) -> Self {
        Self {
            key,
            revision: 0,
            place,
            first_seen: now,
            updated: now,
            document,
            sends: 0,
            uncertain: 0,
            tried: Tried::default(),
            files: None,
            counted_after_loss: None,
            history: Vec::new(),
            stage,
        }
    }

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
            Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) | Stage::Held(_) => None,
        }
    }

    /// True once nothing is left to do.
    pub fn is_filed(&self) -> bool {
        self.filing().is_some_and(|filing| filing.filed.is_some())
    }

    /// True while a document of this delivery is on its way into done or failed, be it a duplicate.
    pub fn is_moving(&self) -> bool {
        let has_duplicate = matches!(&self.stage, Stage::Accepted(Accepted { duplicate: Some(_), .. }));
        self.filing().is_some_and(|filing| filing.filed.is_none() || has_duplicate)
    }

    /// The duplicate of an accepted document that is just being moved.
    pub fn pending_duplicate(&self) -> Option<&PendingDuplicate> {
        match &self.stage {
            Stage::Accepted(accepted) => accepted.duplicate.as_deref(),
            Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) | Stage::Held(_) | Stage::Rejected(_) => None,
        }
    }

    /// The patient's identifiers, as far as the row knows them.
    pub fn identifiers(&self) -> Vec<Identifier> {
        match &self.document {
            Some(document) => document.patient.identifier.clone(),
            None => Identifier::from_key(&self.key.patient).into_iter().collect(),
        }
    }

    /// Whether a message of this delivery may be at its destination, as far as the row knows.
    pub fn may_have_arrived(&self) -> bool {
        match &self.stage {
            Stage::Queued(_) => self.uncertain > 0,
            Stage::Sending(_) | Stage::Unknown(_) | Stage::Accepted(_) => true,
            Stage::Held(held) => self.uncertain > 0 || matches!(held.then, Then::Unknown(_)),
            Stage::Rejected(rejected) => rejected.reason.maybe_sent,
        }
    }

    /// When there is next something to do, for an open delivery; `None` while it waits for a person.
    pub fn due(&self) -> Option<Timestamp> {
        match &self.stage {
            Stage::Queued(queued) => Some(queued.due),
            Stage::Sending(_) => Some(self.updated),
            Stage::Unknown(unknown) => Some(unknown.due),
            Stage::Held(_) | Stage::Accepted(_) | Stage::Rejected(_) => None,
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
        match serde_json::from_slice::<Stored<serde::de::IgnoredAny>>(bytes).map_err(damaged)?.v {
            1 => Ok(serde_json::from_slice::<Stored<v1::Delivery>>(bytes).map_err(damaged)?.row.into()),
            VERSION => Ok(serde_json::from_slice::<Stored<Self>>(bytes).map_err(damaged)?.row),
            newer if newer > VERSION => Err(LedgerError::Newer(newer)),
            _ => Err(LedgerError::Damaged("a row of version 0".into())),
        }
    }
}

impl From<Problem> for Reason {
    fn from(problem: Problem) -> Self {
        Self { code: problem.code.into(), summary: problem.summary, remedy: problem.remedy, maybe_sent: false }
    }
}

#[cfg(test)]
mod tests;
