//! A document whose bytes had been accepted for its patient before: filed beside the first, with a receipt that says so.
//!
//! The row of the first remembers the move until it is done, so that one that is cut short leaves neither a document
//! without its receipt in done nor a sidecar without its document in the inbox.

use std::io;

use jiff::Timestamp;
use tracing::info;

use super::{
    DeliveryError, Engine,
    steps::blocking,
    worker::{Item, Outcome, SOON, Waiting, wait},
};
use crate::{
    config::Inbox,
    filing::{
        self, End, Fate, FilingError, Found, Note,
        receipt::{Receipt, Status},
    },
    ledger::{Accepted, Delivery, Stage, Twin},
    model::path::InboxPath,
    platform::effect,
};

impl Engine {
    /// Files a document that had been accepted before.
    pub(super) async fn file_duplicate(&self, row: Delivery, item: Item<'_>) -> Result<Outcome, DeliveryError> {
        let Stage::Accepted(accepted) = &row.stage else { return Err(DeliveryError::Broken("a duplicate of nothing")) };
        let Some(note) = note(&row, accepted) else {
            return Err(DeliveryError::Broken("a duplicate without its document"));
        };
        let from = InboxPath { inbox: item.inbox.name.clone(), path: item.found.document.clone() };
        let to = match &accepted.twin {
            Some(twin) if twin.from == from => twin.to.clone(),
            // Another one's move is not over: `finish_filing` comes back to it.
            Some(_) => return Ok(wait(self.file_again(), Waiting::Filing)),
            None => match filing::plan(item.inbox, End::Done, &from.path, &item.found, &note) {
                Ok(to) => to,
                Err(error) => return Ok(self.not_filed(&item, &error)),
            },
        };
        info!(delivery = %row.id(), "a duplicate of an accepted document is filed and not sent");
        let row = self.remember(row, Some(Twin { from, to: to.clone() })).await?;
        let (inbox, found) = (item.inbox.clone(), item.found.clone());
        match blocking(move || filing::file(&inbox, End::Done, &to, &found, &note)).await? {
            // It would be looked at again at once, found to be a duplicate, and so on.
            Ok(filed) if filed.document == Fate::Changed => {
                self.remember(row, None).await?;
                let error = io::Error::other("a document that was accepted before does not stay as it is");
                Ok(self.not_filed(&item, &FilingError::Move { folder: item.inbox.done.clone(), error }))
            }
            Ok(_) => {
                self.filed(&item);
                self.remember(row, None).await?;
                Ok(Outcome::Accepted)
            }
            // Somebody took the place: another is looked for.
            Err(FilingError::Move { error, .. }) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.remember(row, None).await?;
                Ok(wait(SOON, Waiting::Filing))
            }
            Err(error) => Ok(self.not_filed(&item, &error)),
        }
    }

    /// Notes which duplicate is being moved. A row that has no room for that goes without.
    async fn remember(&self, row: Delivery, twin: Option<Twin>) -> Result<Delivery, DeliveryError> {
        let Stage::Accepted(accepted) = row.stage.clone() else { return Ok(row) };
        if accepted.twin == twin {
            return Ok(row);
        }
        let noted = Delivery {
            stage: Stage::Accepted(Accepted { twin, ..accepted }),
            updated: Timestamp::now(),
            ..row.clone()
        };
        match noted.encode() {
            Ok(_) => Ok(self.ledger.advance(noted).await?),
            Err(_) => Ok(row),
        }
    }
}

/// The duplicate that a row remembers as being moved.
pub(super) fn pending(row: &Delivery) -> Option<(&Accepted, &Twin)> {
    match &row.stage {
        Stage::Accepted(accepted) => accepted.twin.as_ref().map(|twin| (accepted, twin)),
        _ => None,
    }
}

/// Ends the move of a duplicate that was cut short; the same rules as for a first document. True when nothing is left.
pub(super) fn finish(inbox: &Inbox, row: &Delivery, accepted: &Accepted, twin: &Twin) -> Result<bool, FilingError> {
    let Some(note) = note(row, accepted) else { return Ok(true) };
    let (from, done) = (&twin.from.path, &inbox.done);
    let unreadable = |error| FilingError::Move { folder: done.clone(), error };
    if filing::lies_at(&inbox.path, from, row.key.sha256).map_err(unreadable)? {
        // Intake finds it, and files it.
        return Ok(false);
    }
    if !filing::lies_at(done, &twin.to, row.key.sha256).map_err(unreadable)? {
        // Taken away by somebody: the first has its receipt.
        return Ok(true);
    }
    if effect::lies_at(&inbox.path.join(from.as_path())).map_err(unreadable)? {
        // Another document of its name has come; that one's sidecar is not ours to move.
        filing::write_note(inbox, End::Done, &twin.to, &note)?;
    } else {
        let sidecar = filing::sidecar_of(&inbox.path, from).map_err(unreadable)?.only();
        let sidecar = sidecar.map(|sidecar| (sidecar, None));
        let found = Found { document: from.clone(), state: None, device: None, sidecar };
        filing::file(inbox, End::Done, &twin.to, &found, &note)?;
    }
    Ok(true)
}

fn note(row: &Delivery, accepted: &Accepted) -> Option<Note> {
    Receipt::of(row, accepted, Status::Duplicate).map(|receipt| Note::Receipt(Box::new(receipt)))
}
