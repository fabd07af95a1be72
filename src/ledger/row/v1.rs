//! Rows of version 1, in which a held delivery was one whose pause never ends.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    Accepted, Held, HeldWhy, Queued as NewQueued, Rejected, Stage as NewStage, Then, Tried, Unknown as NewUnknown,
};
use crate::model::{
    document::{Document, Key},
    message::{Message, Upload},
    path::InboxPath,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delivery {
    key: Key,
    revision: u64,
    place: InboxPath,
    first_seen: Timestamp,
    updated: Timestamp,
    document: Option<Document>,
    sends: u32,
    uncertain: u32,
    stage: Stage,
}

#[derive(Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
enum Stage {
    Queued(Queued),
    Sending(Message),
    Unknown(Unknown),
    Accepted(Accepted),
    Rejected(Rejected),
}

#[derive(Deserialize)]
struct Queued {
    attempts: u32,
    since: Timestamp,
    due: Timestamp,
    why: String,
    upload: Option<Upload>,
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Unknown {
    message: Message,
    why: String,
    since: Timestamp,
    due: Option<Timestamp>,
    tries: u32,
}

impl From<Delivery> for super::Delivery {
    fn from(old: Delivery) -> Self {
        let updated = old.updated;
        let attempts = if let Stage::Queued(queued) = &old.stage { queued.attempts } else { 0 };
        let stage = match old.stage {
            Stage::Queued(queued) if queued.due == Timestamp::MAX => {
                let why = match queued.why.as_str() {
                    "held by a person" => HeldWhy::Person,
                    _ => HeldWhy::LedgerLost,
                };
                let then = Then::Queued(NewQueued { due: updated, why: String::new(), ..queued.into() });
                NewStage::Held(Held { why, detail: String::new(), since: updated, then })
            }
            Stage::Queued(queued) => NewStage::Queued(queued.into()),
            Stage::Sending(message) => NewStage::Sending(message),
            Stage::Unknown(Unknown { message, why, since, due, tries }) => {
                let (message, is_held) = (Some(message), due.is_none());
                let contradicted = why.starts_with("what is said of the patient was changed");
                let due = due.unwrap_or(updated);
                let unknown = NewUnknown { message, why, since, due, tries };
                if is_held {
                    let why = if contradicted { HeldWhy::PatientChanged } else { HeldWhy::OutcomeUnknown };
                    let then = Then::Unknown(unknown);
                    NewStage::Held(Held { why, detail: String::new(), since: updated, then })
                } else {
                    NewStage::Unknown(unknown)
                }
            }
            Stage::Accepted(accepted) => NewStage::Accepted(accepted),
            Stage::Rejected(rejected) => NewStage::Rejected(rejected),
        };
        Self {
            key: old.key,
            revision: old.revision,
            place: old.place,
            first_seen: old.first_seen,
            updated,
            document: old.document,
            sends: old.sends,
            uncertain: old.uncertain,
            tried: Tried { attempts, ..Tried::default() },
            files: None,
            counted_after_loss: None,
            history: Vec::new(),
            stage,
        }
    }
}

impl From<Queued> for NewQueued {
    fn from(old: Queued) -> Self {
        let Queued { since, due, why, upload, message, .. } = old;
        Self { since, due, why, upload, must_upload: false, message }
    }
}
