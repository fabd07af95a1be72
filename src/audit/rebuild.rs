//! A ledger that has lost rows: noticed before anything is sent, and built again from what receipts and reasons say.

use std::{
    collections::HashMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use crate::delivery::DeliveryError;
use crate::{
    config::{Config, Inbox},
    filing::{
        archive::{Archive, NoteFile},
        reason::{self, Record},
        receipt::{self, Receipt, Status},
    },
    inbox::after_all_in,
    ledger::{
        Accepted, Begun, Delivery, Filing, Ledger, LedgerError, Query, Reason, Rejected, SledLedger, Stage, move_aside,
    },
    model::document::DeliveryId,
    model::path::{InboxPath, RelPath},
    platform::effect,
};

/// Rows written at once.
const BATCH: usize = 1000;

/// Notes are looked at from so long before the ledger's last filed row: the clock of a share may be wrong.
const MARGIN: Duration = Duration::from_secs(24 * 3600);

/// At most so many of the newest notes in each folder are compared with the ledger at every start.
const NEWEST: usize = 500;

/// What is known of a rebuilt ledger; a file beside it, so that a rebuild that was cut short is begun again.
#[derive(Serialize, Deserialize)]
struct Rebuilt {
    at: Timestamp,
    done: bool,
}

/// Opens the ledger. One that is lost is moved aside, one that lies behind the notes in done and failed is kept; both get
/// from the notes what they lack before anything is sent. Then comes back when that was, since what lay in the inboxes at
/// that time may have been sent already.
pub async fn open_ledger(config: &Config) -> Result<(Arc<dyn Ledger>, Option<Timestamp>), DeliveryError> {
    let marker = config.ledger.with_extension("rebuilt.json");
    let ledger = match SledLedger::open(&config.ledger) {
        Err(LedgerError::Lost(why)) => {
            // First, so that the empty ledger that follows is never taken for a new one.
            write_marker(&marker, &Rebuilt { at: Timestamp::now(), done: false })?;
            let aside = move_aside(&config.ledger, Timestamp::now())?;
            error!(
                "the ledger has lost its rows ({why}); it was moved to {} and is built again from receipts and reasons",
                aside.display()
            );
            SledLedger::open(&config.ledger)?
        }
        opened => opened?,
    };
    let ledger: Arc<dyn Ledger> = Arc::new(ledger);
    let earlier = read_marker(&marker)?;
    match earlier {
        Some(Rebuilt { done: false, .. }) => {}
        _ if lies_behind(config, ledger.as_ref()).await? => {
            error!("receipts or reasons speak of deliveries that the ledger does not know: it gets them from there");
        }
        _ => return Ok((ledger, earlier.map(|rebuilt| rebuilt.at))),
    }
    let at = after_all_inboxes(config)?;
    write_marker(&marker, &Rebuilt { at, done: false })?;
    let count = rebuild(config, ledger.as_ref()).await?;
    write_marker(&marker, &Rebuilt { at, done: true })?;
    warn!(count, "the ledger was built again from receipts and reasons; what is in the inboxes may have been sent");
    Ok((ledger, Some(at)))
}

/// Whether one of the newest receipts and reasons tells what the ledger does not know: it was lost, or an older copy of it
/// was put back together with its stamp.
async fn lies_behind(config: &Config, ledger: &dyn Ledger) -> Result<bool, DeliveryError> {
    let newest = ledger.list(Query::History { limit: 1 }).await?.pop().map(|row| SystemTime::from(row.updated));
    // What is older has left the history.
    let horizon = Timestamp::now().checked_sub(config.history).unwrap_or(Timestamp::MIN);
    for inbox in &config.inboxes {
        for kind in [Kind::Receipt, Kind::Reason] {
            let Some(archive) = kind.open(inbox)? else { continue };
            let mut found = kind.list(&archive, inbox, newest.map(|newest| newest - MARGIN))?;
            found.sort_by_key(|note| std::cmp::Reverse(note.modified));
            for note in found.into_iter().take(NEWEST) {
                let Some(said) = kind.read(&archive, inbox, &note) else {
                    // Without a single row to compare it with, it may be of what was lost.
                    if newest.is_none() && kind == Kind::Receipt {
                        return Ok(true);
                    }
                    continue;
                };
                if said.row.updated < horizon {
                    continue;
                }
                let known = ledger.look_up(said.row.id()).await?;
                if known.is_none_or(|known| knows_less(&known, &said.row)) {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// A moment after which nothing that is in an inbox now was put there, whatever the clocks of shares say.
///
/// # Errors
/// An inbox that cannot be read: its share may not be mounted, and done and failed with it.
fn after_all_inboxes(config: &Config) -> Result<Timestamp, DeliveryError> {
    config.inboxes.iter().try_fold(Timestamp::now(), |at, inbox| {
        let all = after_all_in(&inbox.path)
            .map_err(|error| DeliveryError::Rebuild { folder: inbox.path.clone(), why: error.to_string() })?;
        Ok(at.max(all))
    })
}

/// Gives a ledger every row that receipts and reasons tell of and that it lacks, so that nothing that was accepted is sent
/// again. Returns how many they tell of.
///
/// # Errors
/// A done or failed folder that cannot be read, or a receipt that cannot: what it says would be forgotten.
async fn rebuild(config: &Config, ledger: &dyn Ledger) -> Result<usize, DeliveryError> {
    let mut rows = HashMap::<DeliveryId, Said>::new();
    let mut unreadable = Vec::new();
    for inbox in &config.inboxes {
        for kind in [Kind::Receipt, Kind::Reason] {
            let Some(archive) = kind.open(inbox)? else { continue };
            for note in kind.list(&archive, inbox, None)? {
                match kind.read(&archive, inbox, &note) {
                    Some(said) => {
                        let standing = rows.entry(said.row.id()).or_insert_with(|| said.clone());
                        if said.rank() > standing.rank() {
                            *standing = said;
                        }
                    }
                    // A reason that somebody wrote in, or an old one: its document starts over when it is put back.
                    None if kind == Kind::Reason => {}
                    None => unreadable.push(archive.path_of(&note.note)),
                }
            }
        }
    }
    if !unreadable.is_empty() {
        return Err(refuse(config, &unreadable)?);
    }
    let count = rows.len();
    let mut rows = rows.into_values();
    loop {
        let batch: Vec<_> = rows.by_ref().take(BATCH).map(|said| add(ledger, said.row)).collect();
        if batch.is_empty() {
            return Ok(count);
        }
        for added in futures_util::future::join_all(batch).await {
            added?;
        }
    }
}

/// Whether a row is from before what a note tells. Told by how often the message was sent, which only ever grows: clocks can
/// be set back.
fn knows_less(standing: &Delivery, told: &Delivery) -> bool {
    // Counted before the message leaves: an answer to this very one is not known yet.
    let waits = matches!(standing.stage, Stage::Sending(_) | Stage::Unknown(_) | Stage::Held(_));
    standing.sends < told.sends || (waits && standing.sends == told.sends && matches!(told.stage, Stage::Accepted(_)))
}

async fn add(ledger: &dyn Ledger, row: Delivery) -> Result<(), LedgerError> {
    match ledger.begin(row.clone()).await? {
        Begun::Existing(standing) if knows_less(&standing, &row) => {
            let first_seen = standing.first_seen;
            ledger.advance(Delivery { revision: standing.revision, first_seen, ..row }).await.map(drop)
        }
        _ => Ok(()),
    }
}

/// The unreadable receipts are listed beside the ledger: their names are those of patients' documents, not for a log.
fn refuse(config: &Config, unreadable: &[PathBuf]) -> Result<DeliveryError, LedgerError> {
    let list = config.ledger.with_extension("unreadable.txt");
    let names: String = unreadable.iter().map(|path| format!("{}\n", path.display())).collect();
    write_durably(&list, names.as_bytes())?;
    Ok(DeliveryError::Unreadable { count: unreadable.len(), list })
}

/// Which notes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Receipt,
    Reason,
}

impl Kind {
    fn folder(self, inbox: &Inbox) -> &Path {
        match self {
            Self::Receipt => &inbox.done,
            Self::Reason => &inbox.failed,
        }
    }

    /// `None` for a folder that is not there: no folder, no notes.
    fn open(self, inbox: &Inbox) -> Result<Option<Archive>, DeliveryError> {
        Archive::open(self.folder(inbox)).map_err(|error| self.unreadable(inbox, &error))
    }

    fn list(self, archive: &Archive, inbox: &Inbox, since: Option<SystemTime>) -> Result<Vec<NoteFile>, DeliveryError> {
        let ending = match self {
            Self::Receipt => receipt::ENDING,
            Self::Reason => reason::ENDING,
        };
        archive.notes(ending, since).map_err(|error| self.unreadable(inbox, &error))
    }

    fn unreadable(self, inbox: &Inbox, error: &io::Error) -> DeliveryError {
        DeliveryError::Rebuild { folder: self.folder(inbox).into(), why: error.to_string() }
    }

    fn read(self, archive: &Archive, inbox: &Inbox, note: &NoteFile) -> Option<Said> {
        match self {
            Self::Receipt => archive.receipt(&note.note).map(|receipt| accepted(inbox, &note.document, receipt)),
            Self::Reason => archive.record(&note.note).map(|record| rejected(inbox, &note.document, record)),
        }
    }
}

/// The row that one note tells of.
#[derive(Clone)]
struct Said {
    row: Delivery,
    /// Told by the note of the document itself, not of a duplicate.
    first_hand: bool,
}

impl Said {
    /// Of several notes on one delivery the one counts that knows of the most messages.
    fn rank(&self) -> (u32, Timestamp, bool) {
        (self.row.sends, self.row.updated, self.first_hand)
    }
}

fn accepted(inbox: &Inbox, path: &RelPath, receipt: Receipt) -> Said {
    let (place, at) = (InboxPath { inbox: inbox.name.clone(), path: path.clone() }, receipt.accepted_at);
    let filing = Filing { to: Some(place.clone()), filed: Some(at) };
    let accepted = Accepted { at, message: None, answer: receipt.answer, filing, duplicate: None };
    let mut row = Delivery::new(receipt.key, place, Some(receipt.document), at, Stage::Accepted(accepted));
    (row.sends, row.uncertain) = (receipt.sends, receipt.uncertain);
    row.redact_final();
    Said { row, first_hand: receipt.status == Status::Accepted }
}

fn rejected(inbox: &Inbox, path: &RelPath, record: Record) -> Said {
    let (place, at) = (InboxPath { inbox: inbox.name.clone(), path: path.clone() }, record.at);
    let reason = Reason {
        code: record.code,
        summary: "The note beside the document says why.".into(),
        remedy: "Do what the note beside the document says.".into(),
        maybe_sent: record.maybe_sent,
    };
    let filing = Filing { to: Some(place.clone()), filed: Some(at) };
    let rejected = Stage::Rejected(Rejected { at, reason, upload: None, filing });
    let mut row = Delivery::new(record.key, place, None, at, rejected);
    (row.sends, row.uncertain) = (record.sends, record.uncertain);
    Said { row, first_hand: true }
}

fn read_marker(path: &Path) -> Result<Option<Rebuilt>, LedgerError> {
    match effect::read(path) {
        // Half-written or garbled: the rebuild was cut short.
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).unwrap_or(Rebuilt { at: Timestamp::now(), done: false }))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LedgerError::Io(error.to_string())),
    }
}

fn write_marker(path: &Path, rebuilt: &Rebuilt) -> Result<(), LedgerError> {
    let bytes = serde_json::to_vec(rebuilt).map_err(|error| LedgerError::Io(error.to_string()))?;
    write_durably(path, &bytes)
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
    let write = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        effect::create_dir_all(folder)?;
        let mut file = effect::open_with(File::options().write(true).create(true).truncate(true), path)?;
        effect::write_all(&mut file, bytes)?;
        effect::sync(&file)?;
        effect::sync(&effect::open(folder)?)
    };
    write().map_err(|error| LedgerError::Io(format!("cannot write {}: {error}", path.display())))
}
