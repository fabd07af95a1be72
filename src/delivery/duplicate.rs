//! A document whose bytes had been accepted for its patient before: filed beside the first, with a receipt that says so.
//!
//! The row of the first remembers the move until it is done, so that one that is cut short leaves neither a document
//! without its receipt in done nor a sidecar without its document in the inbox.

use std::io;

use jiff::Timestamp;
use tracing::info;

use super::{
    DeliveryError, Engine,
    filing_recovery::recorded,
    perform::found_of,
    worker::{Item, Outcome, SOON, Waiting, blocking, files_of, wait},
};
use crate::{
    config::Inbox,
    filing::{
        self, End, Fate, FilingError, Note,
        receipt::{Receipt, Status},
    },
    ledger::{Accepted, Delivery, PendingDuplicate, Stage},
    model::{document::Sha256, path::InboxPath},
    platform::effect,
};

impl Engine {
    /// Files a document that had been accepted before.
    pub(super) async fn file_duplicate(&self, row: Delivery, item: &Item<'_>) -> Result<Outcome, DeliveryError> {
        let Stage::Accepted(accepted) = &row.stage else { return Err(DeliveryError::Broken("a duplicate of nothing")) };
        let file = item.ready.map(|ready| ready.document.content.file_sha256());
        let file = file.filter(|file| *file != row.file_sha256());
        let Some(note) = note(&row, accepted, file) else {
            return Err(DeliveryError::Broken("a duplicate without its document"));
        };
        let from = InboxPath { inbox: item.inbox.name.clone(), path: item.candidate.path.clone() };
        let files = files_of(item.candidate);
        // The files at hand, and not those of the first document.
        let found = found_of(&Delivery { files: Some(files.clone()), ..row.clone() }, item);
        let to = match &accepted.duplicate {
            Some(pending) if pending.from == from => pending.to.clone(),
            // Another one's move is not over: `finish_filing` comes back to it.
            Some(_) => return Ok(wait(self.file_again(), Waiting::Filing)),
            None => {
                let (inbox, path, found) = (item.inbox.clone(), from.path.clone(), found.clone());
                match blocking(move || filing::plan(&inbox, End::Done, &path, &found)).await? {
                    Ok(to) => to,
                    Err(error) => return Ok(self.not_filed(item, &error)),
                }
            }
        };
        info!(delivery = %row.id(), "a duplicate of an accepted document is filed and not sent");
        let pending = PendingDuplicate { from, to: to.clone(), files: Some(files), file_sha256: file };
        let row = self.remember(row, Some(pending)).await?;
        let inbox = item.inbox.clone();
        match blocking(move || filing::file(&inbox, End::Done, &to, &found, &note)).await? {
            // It would be looked at again at once, found to be a duplicate, and so on.
            Ok(filed) if filed.document == Fate::Changed => {
                self.remember(row, None).await?;
                let error = io::Error::other("a document that was accepted before does not stay as it is");
                Ok(self.not_filed(item, &FilingError::Move { folder: item.inbox.done.clone(), error }))
            }
            Ok(_) => {
                self.filed(item);
                self.remember(row, None).await?;
                Ok(Outcome::Accepted)
            }
            // Somebody took the place: another is looked for.
            Err(FilingError::Move { error, .. }) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.remember(row, None).await?;
                Ok(wait(SOON, Waiting::Filing))
            }
            Err(error) => Ok(self.not_filed(item, &error)),
        }
    }

    /// Notes which duplicate is being moved. A row that has no room for that goes without.
    async fn remember(&self, row: Delivery, duplicate: Option<PendingDuplicate>) -> Result<Delivery, DeliveryError> {
        let Stage::Accepted(accepted) = row.stage.clone() else { return Ok(row) };
        let duplicate = duplicate.map(Box::new);
        if accepted.duplicate == duplicate {
            return Ok(row);
        }
        let noted = Delivery {
            stage: Stage::Accepted(Accepted { duplicate, ..accepted }),
            updated: Timestamp::now(),
            ..row.clone()
        };
        match noted.encode() {
            Ok(_) => Ok(self.ledger.advance(noted).await?),
            Err(_) => Ok(row),
        }
    }
}

/// Finishes the move of a duplicate that was cut short; the same rules as for a first document. True when nothing is left.
pub(super) fn finish(
    inbox: &Inbox,
    row: &Delivery,
    accepted: &Accepted,
    pending: &PendingDuplicate,
) -> Result<bool, FilingError> {
    let Some(note) = note(row, accepted, pending.file_sha256) else { return Ok(true) };
    let sha256 = pending.file_sha256.unwrap_or_else(|| row.file_sha256());
    let (from, done) = (&pending.from.path, &inbox.done);
    let unreadable = |error| FilingError::Move { folder: done.clone(), error };
    if filing::lies_at(&inbox.path, from, sha256).map_err(unreadable)? {
        // Intake finds it, and files it.
        return Ok(false);
    }
    if !filing::lies_at(done, &pending.to, sha256).map_err(unreadable)? {
        // Taken away by somebody: the first has its receipt.
        return Ok(true);
    }
    if effect::lies_at(&inbox.path.join(from.as_path())).map_err(unreadable)? {
        // Another document of its name has come; that one's sidecar is not ours to move.
        filing::write_note(inbox, End::Done, &pending.to, &note)?;
    } else {
        filing::file(inbox, End::Done, &pending.to, &recorded(inbox, from, pending.files.as_ref()), &note)?;
    }
    Ok(true)
}

/// `file`: the digest of a file that is not the same as the first one, and says the same.
fn note(row: &Delivery, accepted: &Accepted, file: Option<Sha256>) -> Option<Note> {
    let mut receipt = Receipt::of(row, accepted, Status::Duplicate)?;
    if let Some(file) = file {
        receipt.document.content.original_sha256 = Some(file).filter(|file| *file != row.key.sha256);
    }
    Some(Note::Receipt(Box::new(receipt)))
}
