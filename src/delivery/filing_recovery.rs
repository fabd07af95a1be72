//! Filing that a crash or a failed move cut short: what was moved and not yet marked gets its note and its mark.

use std::{convert::Infallible, path::Path, sync::atomic::Ordering, time::Duration};

use jiff::Timestamp;
use tracing::{info, warn};

use super::{
    DeliveryError, Engine, duplicate,
    lifecycle::{self, Event, age},
    perform,
};
use crate::{
    config::Inbox,
    filing::{self, End, FilingError, Found},
    ledger::{Delivery, Files, Query, Stage},
    model::{file_state::FileState, path::RelPath},
    platform::effect,
};

/// A folder that has been gone for this time was removed, and not just unmounted.
pub(super) const LONG_GONE: Duration = Duration::from_secs(24 * 3600);

impl Engine {
    /// Finishes the filing of every document that was moved and not yet marked. One that is still in its inbox is left to
    /// intake; one that was taken away gets its note all the same, if it says anything.
    pub(super) async fn finish_filing(&self) -> Result<(), DeliveryError> {
        self.filing_pending.store(false, Ordering::Relaxed);
        let rows = self.ledger.list(Query::Unfiled { limit: usize::MAX }).await?;
        for row in rows {
            let Some(_claim) = self.claim(&row.key.destination, row.key.sha256, &row.identifiers()) else { continue };
            // A worker may have had it until just now.
            let Some(row) = self.ledger.look_up(row.id()).await?.filter(Delivery::is_moving) else { continue };
            let place = row.pending_duplicate().map_or(&row.place, |pending| &pending.from);
            let Some(inbox) = self.config.inbox(&place.inbox).cloned() else { continue };
            let examined = row.clone();
            let contact = self.tuned().contact;
            let filed = tokio::task::spawn_blocking(move || finish(&inbox, &examined, contact.as_deref()))
                .await
                .map_err(|_| DeliveryError::Broken("filing a document"))?;
            match filed {
                // Intake files it, unless somebody takes it away first, or it is refused by now.
                Ok(false) => self.filing_pending.store(true, Ordering::Relaxed),
                Ok(true) => {
                    info!(delivery = %row.id(), "its filing had been cut short and is finished now");
                    self.mark_filed(row).await?;
                }
                Err(error) => {
                    warn!(delivery = %row.id(), "{error}; it is tried again until it works");
                    self.filing_pending.store(true, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }

    async fn mark_filed(&self, mut row: Delivery) -> Result<(), DeliveryError> {
        if let Stage::Accepted(accepted) = &mut row.stage
            && accepted.duplicate.take().is_some()
            && accepted.filing.filed.is_some()
        {
            row.updated = Timestamp::now();
            self.ledger.advance(row).await?;
            return Ok(());
        }
        self.commit(lifecycle::apply(row, Event::Filed, &self.policy, self.facts())).await.map(drop)
    }

    /// Comes back to what a failed move left half filed, and to what was taken away, for as long as the program runs.
    pub(super) async fn keep_filing(&self) -> Result<Infallible, DeliveryError> {
        loop {
            tokio::time::sleep(self.file_again()).await;
            if self.filing_pending.load(Ordering::Relaxed) {
                self.finish_filing().await?;
            }
            self.alarm_about_taken_away().await?;
        }
    }
}

/// True when nothing is left to move and the note is written. An error leaves all to the next try.
fn finish(inbox: &Inbox, row: &Delivery, contact: Option<&str>) -> Result<bool, FilingError> {
    if let (Stage::Accepted(accepted), Some(pending)) = (&row.stage, row.pending_duplicate()) {
        return duplicate::finish(inbox, row, accepted, pending);
    }
    let (Some(note), Some(filing)) = (perform::note(row, false, contact), row.filing()) else { return Ok(false) };
    let end = match row.stage {
        Stage::Accepted(_) => End::Done,
        Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) | Stage::Held(_) | Stage::Rejected(_) => End::Failed,
    };
    let folder = end.folder(inbox);
    let place = &row.place.path;
    let unreadable = |error| FilingError::Move { folder: folder.into(), error };
    let lies_at = |folder: &Path, path: &RelPath| match row.document {
        Some(_) => filing::lies_at(folder, path, row.file_sha256()).map_err(unreadable),
        // A refused file was never hashed: its place is all there is to go by.
        None => effect::lies_at(&folder.join(path.as_path())).map_err(unreadable),
    };
    if lies_at(&inbox.path, place)? {
        // Intake finds it, and its row, and files it.
        return Ok(false);
    }
    let arrived = match &filing.to {
        Some(to) if lies_at(folder, &to.path)? => Some(&to.path),
        _ => None,
    };
    match arrived {
        // Another document of its name may have come meanwhile; that one's sidecar is not ours to move.
        Some(to) if effect::lies_at(&inbox.path.join(place.as_path())).map_err(unreadable)? => {
            filing::write_note(inbox, end, to, &note)?;
        }
        // The document is gone from the inbox, so this moves the very sidecar that was recorded with it, if it was left
        // behind, and writes the note.
        Some(to) => {
            let found = recorded(inbox, place, row.files.as_ref());
            let note =
                if sidecar_stays(inbox, &found) { perform::note(row, true, contact).unwrap_or(note) } else { note };
            filing::file(inbox, end, to, &found, &note)?;
        }
        // Not while its whole folder is missing: a share that is not mounted looks like that.
        None if !has_patient_folder(inbox, place).map_err(unreadable)?
            && age(row.updated, Timestamp::now()) < LONG_GONE =>
        {
            return Ok(false);
        }
        // Refused unread and taken away, or written again and refused on its own: there is nothing that a note would tell.
        None if matches!(&row.stage, Stage::Rejected(rejected) if row.document.is_none() && !rejected.reason.maybe_sent) =>
            {}
        // Taken away by somebody. The note says what became of it, where the document would be.
        None => {
            let nothing = Found { document: place.clone(), state: None, device: None, sidecar: None };
            filing::write_note(inbox, end, &filing::plan(inbox, end, place, &nothing)?, &note)?;
        }
    }
    Ok(true)
}

/// The files that a row recorded, less the document: its bytes were found where it was moved to. A row of version 1 names no
/// sidecar: then none is moved, since the one that is there now may be another document's.
pub(super) fn recorded(inbox: &Inbox, document: &RelPath, files: Option<&Files>) -> Found {
    let sidecar = files.and_then(|files| files.sidecar.as_ref()).map(|sidecar| {
        let path = document.with_file_name(sidecar.name.file_name());
        let now = effect::symlink_metadata(&inbox.path.join(path.as_path())).map(|found| FileState::of(&found)).ok();
        // After a restart of the machine the same disk may have another number.
        let is_same = |now: &FileState| now.ino == sidecar.state.ino && now.same_on_share(&sidecar.state);
        (path, Some(now.filter(is_same).unwrap_or(sidecar.state)))
    });
    Found { document: document.clone(), state: None, device: None, sidecar }
}

/// Whether another sidecar has taken the recorded one's name since it was sent.
fn sidecar_stays(inbox: &Inbox, found: &Found) -> bool {
    let Some((path, Some(state))) = &found.sidecar else { return false };
    let now = effect::symlink_metadata(&inbox.path.join(path.as_path()));
    now.is_ok_and(|now| !state.same_content_state(&FileState::of(&now)))
}

/// Whether the patient's folder is there, or the inbox for a document beside the folders.
pub(super) fn has_patient_folder(inbox: &Inbox, place: &RelPath) -> std::io::Result<bool> {
    match place.first_folder() {
        Some(folder) => effect::lies_at(&inbox.path.join(folder)),
        None => effect::lies_at(&inbox.path),
    }
}
