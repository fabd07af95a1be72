//! What is mended before intake begins: filing that a crash cut short, and a ledger that was lost.

use std::{
    collections::HashMap,
    fs::File,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::{
    DeliveryError, Engine, age,
    attend::{Item, Step},
    steps::{self, found_by_search},
};
use crate::{
    config::{Config, Inbox, OnUnknown},
    effect,
    filing::{self, FilingError, Found, receipt::Receipt},
    inbox::Candidate,
    ledger::{Accepted, Delivery, Filing, Ledger, LedgerError, Query, Reason, SledLedger, Stage, move_aside},
    place::{Place, RelPath},
    redox::Failure,
};

/// A folder that has been gone for so long was removed, and not just unmounted.
const LONG_GONE: Duration = Duration::from_secs(24 * 3600);

/// Rows read at once.
const BATCH: usize = 1000;

impl Engine {
    /// Ends the filing of every document that was moved and not yet marked. One that still lies in its inbox is left to
    /// intake; one that was taken away gets its note all the same.
    pub(super) async fn finish_filing(&self) -> Result<(), DeliveryError> {
        self.half_filed.store(false, Ordering::Relaxed);
        let rows = self.ledger.list(Query::Unfiled { limit: usize::MAX }).await?;
        for row in rows {
            let Some(inbox) = self.config.inbox(&row.place.inbox).cloned() else { continue };
            let Some(_claim) = self.claim(row.id()) else { continue };
            // A worker may have had it until just now.
            let Some(row) = self.ledger.look_up(row.id()).await?.filter(|row| !row.is_filed()) else { continue };
            let examined = row.clone();
            let filed = tokio::task::spawn_blocking(move || finish(&inbox, &examined))
                .await
                .map_err(|_| DeliveryError::Broken("filing a document"))?;
            match filed {
                Ok(false) => {}
                Ok(true) => {
                    info!(delivery = %row.id(), "its filing had been cut short and is finished now");
                    let mut row = self.filed_mark(row);
                    row.shrink();
                    self.ledger.advance(row).await?;
                }
                Err(error) => {
                    warn!(delivery = %row.id(), "{error}; it is tried again until it works");
                    self.half_filed.store(true, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }

    /// Comes back to what a failed move left half filed, for as long as the program runs. Ends only with an error.
    pub(super) async fn keep_filing(&self) -> DeliveryError {
        loop {
            tokio::time::sleep(self.file_again()).await;
            if self.half_filed.load(Ordering::Relaxed)
                && let Err(error) = self.finish_filing().await
            {
                return error;
            }
        }
    }

    /// Whether a file lay in its inbox when the ledger was lost: it may have been sent just before.
    pub(super) fn is_older_than_the_ledger(&self, candidate: &Candidate) -> bool {
        self.rebuilt_at.is_some_and(|at| candidate.stamp().ctime < at.as_nanosecond())
    }

    /// A document that may have been sent by a ledger that is lost: an unknown outcome whose message is lost too.
    pub(super) async fn doubt(&self, row: Delivery, item: &Item<'_>) -> Result<Step, DeliveryError> {
        let uncertain = row.uncertain + 1;
        let row = Delivery { uncertain, ..row };
        match self.config.delivery.on_unknown {
            OnUnknown::Resend => Ok(Step::Next(Box::new(self.ledger.advance(row).await?))),
            OnUnknown::Search => match self.client.search(&item.inbox.slug, row.id()).await {
                Ok(true) => self.accept(row, None, found_by_search(), item).await,
                Ok(false) => Ok(Step::Next(Box::new(self.ledger.advance(row).await?))),
                Err(failure) => self.give_back(row, &failure).await,
            },
            OnUnknown::Hold => self.give_back(row, &Failure::Unknown { why: String::new() }).await,
        }
    }

    async fn give_back(&self, row: Delivery, failure: &Failure) -> Result<Step, DeliveryError> {
        warn!(delivery = %row.id(), "it may have been sent before the ledger was lost ({failure})");
        let reason = Reason {
            code: "ledger-lost".into(),
            what: "chartdrop's own record of what it sent was lost while this document was in the inbox, so nobody can tell whether it was sent just before.".into(),
            todo: "Look into the patient's chart. If the document is there, delete this file. If it is not, move it (and its sidecar) back into the patient's folder in the inbox.".into(),
            maybe_sent: true,
        };
        self.reject(row, reason, None).await
    }
}

/// True when nothing is left to move and the note is written. An error leaves all to the next try.
fn finish(inbox: &Inbox, row: &Delivery) -> Result<bool, FilingError> {
    let (Some(note), Some(filing)) = (steps::note(row), row.filing()) else { return Ok(false) };
    let folder = match row.stage {
        Stage::Accepted(_) => &inbox.done,
        _ => &inbox.failed,
    };
    let place = &row.place.path;
    let unreadable = |error| FilingError::Move { folder: folder.clone(), error };
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
            filing::write_note(folder, to, &note)?;
        }
        // The document is gone from the inbox, so this moves its sidecar, if one was left behind, and writes the note.
        Some(to) => {
            let sidecar = filing::sidecar_of(&inbox.path, place).map_err(unreadable)?;
            filing::file(
                &inbox.path,
                folder,
                to,
                &Found { document: place.clone(), id: None, device: None, sidecar },
                &note,
            )?;
        }
        // Not while its whole folder is missing: a share that is not mounted looks like that.
        None if !folder_stands(inbox, place).map_err(unreadable)? && age(row.updated, Timestamp::now()) < LONG_GONE => {
            return Ok(false);
        }
        // Taken away by somebody. The note says what became of it, where the document would lie.
        None => {
            let nothing = Found { document: place.clone(), id: None, device: None, sidecar: None };
            filing::write_note(folder, &filing::plan(folder, place, &nothing, &note)?, &note)?;
        }
    }
    Ok(true)
}

/// Whether the patient's folder is there, or the inbox for a document that lies beside the folders.
fn folder_stands(inbox: &Inbox, place: &RelPath) -> std::io::Result<bool> {
    match place.first_folder() {
        Some(folder) => effect::lies_at(&inbox.path.join(folder)),
        None => effect::lies_at(&inbox.path),
    }
}

/// Fills a new ledger from the receipts in done, so that nothing that was accepted is sent again. Gives back how many.
///
/// # Errors
/// A done folder that cannot be read, or a receipt that cannot: what it says would be forgotten.
pub async fn rebuild(config: &Config, ledger: &dyn Ledger) -> Result<usize, DeliveryError> {
    let mut rows = HashMap::new();
    for inbox in &config.inboxes {
        for row in receipts(inbox)? {
            rows.entry(row.id()).or_insert(row);
        }
    }
    let count = rows.len();
    let mut rows = rows.into_values();
    loop {
        let batch: Vec<_> = rows.by_ref().take(BATCH).map(|row| ledger.begin(row)).collect();
        if batch.is_empty() {
            return Ok(count);
        }
        for begun in futures_util::future::join_all(batch).await {
            begun?;
        }
    }
}

fn receipts(inbox: &Inbox) -> Result<Vec<Delivery>, DeliveryError> {
    let cannot = |why: String| DeliveryError::Rebuild { folder: inbox.done.clone(), why };
    match filing::receipts(&inbox.done) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(cannot(error.to_string())),
        Ok((_, unreadable)) if unreadable > 0 => Err(cannot(format!("{unreadable} of them cannot be read"))),
        Ok((found, _)) => Ok(found.into_iter().map(|(path, receipt)| row(inbox, path, receipt)).collect()),
    }
}

fn row(inbox: &Inbox, path: RelPath, receipt: Receipt) -> Delivery {
    let place = Place { inbox: inbox.name.clone(), path };
    let at = receipt.accepted_at;
    let filing = Filing { to: Some(place.clone()), filed: Some(at) };
    let mut row = Delivery {
        key: receipt.key,
        revision: 0,
        place,
        first_seen: at,
        updated: at,
        document: Some(receipt.document),
        sends: receipt.sends,
        uncertain: receipt.uncertain,
        stage: Stage::Accepted(Accepted { at, message: None, answer: receipt.answer, filing }),
    };
    row.shrink();
    row
}

/// What is known of a rebuilt ledger; a file beside it, so that a rebuild that was cut short is begun again.
#[derive(Serialize, Deserialize)]
struct Rebuilt {
    at: Timestamp,
    done: bool,
}

/// Opens the ledger. One that is lost is moved aside, and built again from the receipts before anything is sent; then
/// comes back when that was, since what lay in the inboxes then may have been sent already.
pub async fn open_ledger(config: &Config) -> Result<(Arc<dyn Ledger>, Option<Timestamp>), DeliveryError> {
    let marker = config.ledger.with_extension("rebuilt.json");
    let (ledger, lost) = match SledLedger::open(&config.ledger) {
        Ok(ledger) => (ledger, false),
        Err(LedgerError::Lost(why)) => {
            let aside = move_aside(&config.ledger, Timestamp::now())?;
            error!(
                "the ledger has lost its rows ({why}); it was moved to {} and is built again from the receipts",
                aside.display()
            );
            (SledLedger::open(&config.ledger)?, true)
        }
        Err(error) => return Err(error.into()),
    };
    let earlier = read_marker(&marker)?;
    let receipts = || {
        config
            .inboxes
            .iter()
            .any(|inbox| filing::receipts(&inbox.done).is_ok_and(|(found, bad)| bad > 0 || !found.is_empty()))
    };
    let unfinished = earlier.as_ref().is_some_and(|rebuilt| !rebuilt.done);
    let ledger: Arc<dyn Ledger> = Arc::new(ledger);
    let is_empty = [Query::Open { limit: 1 }, Query::Unfiled { limit: 1 }, Query::History { limit: 1 }];
    let mut rows = 0;
    for query in is_empty {
        rows += ledger.list(query).await?.len();
    }
    if !(lost || unfinished || (rows == 0 && receipts())) {
        return Ok((ledger, earlier.map(|rebuilt| rebuilt.at)));
    }
    let at = Timestamp::now();
    write_marker(&marker, &Rebuilt { at, done: false })?;
    let count = rebuild(config, ledger.as_ref()).await?;
    write_marker(&marker, &Rebuilt { at, done: true })?;
    warn!(count, "the ledger was built again from the receipts in done");
    Ok((ledger, Some(at)))
}

fn read_marker(path: &Path) -> Result<Option<Rebuilt>, LedgerError> {
    match effect::read(path) {
        // Half-written or garbled: the rebuild was cut short.
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).unwrap_or(Rebuilt { at: Timestamp::now(), done: false }))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LedgerError::Io(error.to_string())),
    }
}

fn write_marker(path: &Path, rebuilt: &Rebuilt) -> Result<(), LedgerError> {
    let write = || -> std::io::Result<()> {
        let mut file = effect::open_with(File::options().write(true).create(true).truncate(true), path)?;
        effect::write_all(&mut file, &serde_json::to_vec(rebuilt)?)?;
        effect::sync(&file)
    };
    write().map_err(|error| LedgerError::Io(error.to_string()))
}
