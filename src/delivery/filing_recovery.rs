//! What is taken up again: filing that a crash cut short, and what a ledger that was lost leaves in doubt.

use std::{
    convert::Infallible,
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tracing::{info, warn};

use super::{
    DeliveryError, Engine, after, age, duplicate,
    steps::{self, MOST_SEARCHES, found_by_search},
    worker::{HELD, Item, Outcome, Step, Waiting, wait},
};
use crate::{
    config::{Inbox, OnUnknown},
    filing::{self, End, FilingError, Found},
    inbox::Candidate,
    ledger::{Delivery, Query, Queued, Stage},
    model::path::RelPath,
    platform::effect,
    redox::Failure,
};

/// A folder that has been gone for so long was removed, and not just unmounted.
pub(super) const LONG_GONE: Duration = Duration::from_secs(24 * 3600);

impl Engine {
    /// Ends the filing of every document that was moved and not yet marked. One that still lies in its inbox is left to
    /// intake; one that was taken away gets its note all the same, if it says anything.
    pub(super) async fn finish_filing(&self) -> Result<(), DeliveryError> {
        self.half_filed.store(false, Ordering::Relaxed);
        let rows = self.ledger.list(Query::Unfiled { limit: usize::MAX }).await?;
        for row in rows {
            let Some(_claim) = self.claim(row.id()) else { continue };
            // A worker may have had it until just now.
            let Some(row) = self.ledger.look_up(row.id()).await?.filter(Delivery::is_moving) else { continue };
            let place = duplicate::pending(&row).map_or(&row.place, |(_, twin)| &twin.from);
            let Some(inbox) = self.config.inbox(&place.inbox).cloned() else { continue };
            let examined = row.clone();
            let filed = tokio::task::spawn_blocking(move || finish(&inbox, &examined))
                .await
                .map_err(|_| DeliveryError::Broken("filing a document"))?;
            match filed {
                // Intake files it, unless somebody takes it away first, or it is refused by now.
                Ok(false) => self.half_filed.store(true, Ordering::Relaxed),
                Ok(true) => {
                    info!(delivery = %row.id(), "its filing had been cut short and is finished now");
                    let mut row = self.filed_mark(row);
                    row.shrink();
                    self.mind(&self.ledger.advance(row).await?);
                }
                Err(error) => {
                    warn!(delivery = %row.id(), "{error}; it is tried again until it works");
                    self.half_filed.store(true, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }

    /// Comes back to what a failed move left half filed, and to what was taken away, for as long as the program runs.
    pub(super) async fn keep_filing(&self) -> Result<Infallible, DeliveryError> {
        loop {
            tokio::time::sleep(self.file_again()).await;
            if self.half_filed.load(Ordering::Relaxed) {
                self.finish_filing().await?;
            }
            self.say_what_was_taken_away().await?;
        }
    }

    /// Whether a file lay in its inbox when the ledger was lost.
    pub(super) fn is_older_than_the_ledger(&self, candidate: &Candidate) -> bool {
        self.rebuilt_at.is_some_and(|at| candidate.stamp().ctime < at.as_nanosecond())
    }

    /// Whether a document may have been sent by a ledger that was lost: it lay in its inbox then, and what the ledger says of
    /// its delivery is no newer.
    pub(super) fn is_in_doubt(&self, row: &Delivery, candidate: &Candidate) -> bool {
        self.is_older_than_the_ledger(candidate) && self.rebuilt_at.is_some_and(|at| row.updated <= at)
    }

    /// A queued document that may have been sent by a ledger that was lost: an unknown outcome whose message is lost too.
    /// Until that is settled, or counted, the row stays as old as it was.
    pub(super) async fn doubt(&self, row: Delivery, queued: Queued, item: &Item<'_>) -> Result<Step, DeliveryError> {
        let counted = Delivery { sends: row.sends + 1, uncertain: row.uncertain + 1, ..row.clone() };
        match self.config.delivery.on_unknown {
            OnUnknown::Resend => Ok(Step::Next(Box::new(self.write(counted, Stage::Queued(queued)).await?))),
            OnUnknown::Hold => self.hold_in_doubt(counted, queued).await,
            OnUnknown::Search => self.search_in_doubt(row, counted, queued, item).await,
        }
    }

    async fn search_in_doubt(
        &self,
        row: Delivery,
        counted: Delivery,
        queued: Queued,
        item: &Item<'_>,
    ) -> Result<Step, DeliveryError> {
        let _pass = match self.channel(item).admit(Instant::now()) {
            Ok(pass) => pass,
            Err(until) => return Ok(Step::Stop(Outcome::Waiting { until, why: Waiting::Channel })),
        };
        let now = Timestamp::now();
        let (attempts, pause) = match self.client.search(&item.inbox.slug, row.id()).await {
            Ok(true) => return self.accept(counted, None, found_by_search(), item).await,
            Ok(false) if queued.attempts + 1 >= MOST_SEARCHES => {
                let queued = Queued { attempts: 0, ..queued };
                return Ok(Step::Next(Box::new(self.write(counted, Stage::Queued(queued)).await?)));
            }
            Ok(false) => (queued.attempts + 1, self.pause(queued.attempts + 1)),
            Err(Failure::Rejected { .. } | Failure::TooLarge) => return self.hold_in_doubt(counted, queued).await,
            Err(_) if age(queued.since, now) >= self.config.delivery.give_up_after => {
                return self.hold_in_doubt(counted, queued).await;
            }
            Err(_) => (queued.attempts, self.until_asked_again(queued.since, now)),
        };
        let stage = Stage::Queued(Queued { attempts, due: after(now, pause), ..queued });
        self.ledger.advance(Delivery { stage, ..row }).await?;
        Ok(Step::Stop(wait(pause, Waiting::Retry)))
    }

    async fn hold_in_doubt(&self, row: Delivery, queued: Queued) -> Result<Step, DeliveryError> {
        warn!(delivery = %row.id(), "held: it may have been sent before the ledger was lost, and a person must decide");
        let why = "It may have been sent before the ledger was lost. If the chart has it, delete the file; if not, release it.";
        self.write(row, Stage::Queued(Queued { due: Timestamp::MAX, why: why.into(), ..queued })).await?;
        Ok(Step::Stop(wait(HELD, Waiting::Held)))
    }
}

/// True when nothing is left to move and the note is written. An error leaves all to the next try.
fn finish(inbox: &Inbox, row: &Delivery) -> Result<bool, FilingError> {
    if let Some((accepted, twin)) = duplicate::pending(row) {
        return duplicate::finish(inbox, row, accepted, twin);
    }
    let (Some(note), Some(filing)) = (steps::note(row), row.filing()) else { return Ok(false) };
    let end = match row.stage {
        Stage::Accepted(_) => End::Done,
        _ => End::Failed,
    };
    let folder = end.folder(inbox);
    let place = &row.place.path;
    let unreadable = |error| FilingError::Move { folder: folder.into(), error };
    let lies_at = |folder: &Path, path: &RelPath| match row.document {
        Some(_) => filing::lies_at(folder, path, row.key.sha256).map_err(unreadable),
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
        // The document is gone from the inbox, so this moves its sidecar, if one was left behind, and writes the note.
        Some(to) => {
            let sidecar = filing::sidecar_of(&inbox.path, place).map_err(unreadable)?.only();
            let sidecar = sidecar.map(|sidecar| (sidecar, None));
            let found = Found { document: place.clone(), state: None, device: None, sidecar };
            filing::file(inbox, end, to, &found, &note)?;
        }
        // Not while its whole folder is missing: a share that is not mounted looks like that.
        None if !folder_stands(inbox, place).map_err(unreadable)? && age(row.updated, Timestamp::now()) < LONG_GONE => {
            return Ok(false);
        }
        // Refused unread and taken away, or written anew and refused on its own: there is nothing that a note would tell.
        None if matches!(&row.stage, Stage::Rejected(rejected) if row.document.is_none() && !rejected.reason.maybe_sent) =>
            {}
        // Taken away by somebody. The note says what became of it, where the document would lie.
        None => {
            let nothing = Found { document: place.clone(), state: None, device: None, sidecar: None };
            filing::write_note(inbox, end, &filing::plan(inbox, end, place, &nothing, &note)?, &note)?;
        }
    }
    Ok(true)
}

/// Whether the patient's folder is there, or the inbox for a document that lies beside the folders.
pub(super) fn folder_stands(inbox: &Inbox, place: &RelPath) -> std::io::Result<bool> {
    match place.first_folder() {
        Some(folder) => effect::lies_at(&inbox.path.join(folder)),
        None => effect::lies_at(&inbox.path),
    }
}
