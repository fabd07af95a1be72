//! A person's decision about one delivery, carried out: on the ledger of a stopped daemon, or inside a running one.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::info;

use super::{
    Engine,
    filing_recovery::{LONG_GONE, has_patient_folder},
    lifecycle::{self, Decided, Decision, Facts, age},
};
use crate::{
    config::{Config, Inbox},
    filing::{self, Beside, Found},
    ledger::{Delivery, Filing, Ledger, LedgerError},
    model::{
        document::{DeliveryId, Destination},
        path::RelPath,
    },
    platform::effect,
};

/// How long a decision waits for a delivery that is just being worked on.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks.
const AGAIN: Duration = Duration::from_millis(100);

/// Why a decision could not be carried out. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The ledger could not be asked.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The file could not be moved.
    #[error(transparent)]
    Filing(#[from] filing::FilingError),
    /// It makes no sense for this delivery.
    #[error("{0}")]
    Refused(&'static str),
    /// A worker has it.
    #[error("It is just being worked on. Ask again in a moment.")]
    Busy,
    /// It was forgotten meanwhile.
    #[error("This delivery is not in the ledger any more.")]
    Gone,
}

/// The row as it is now, and what to tell the person.
type Told = Result<(Delivery, &'static str), OperatorError>;

impl Engine {
    /// Carries out a decision while deliveries go on, and has the document looked at again at once. Waits a moment for a
    /// delivery that is just being worked on.
    ///
    /// # Errors
    /// See [`OperatorError`]; nothing was changed then.
    pub async fn decide(&self, id: DeliveryId, decision: Decision, by: &str) -> Told {
        let until = Instant::now() + PATIENCE;
        loop {
            let row = self.ledger.look_up(id).await?.ok_or(OperatorError::Gone)?;
            if let Some(_claim) = self.claim(&row.key.destination, row.key.sha256, &row.identifiers()) {
                let (row, told) = decide(&self.config, self.ledger.as_ref(), id, decision, by).await?;
                self.track(&row);
                super::log::announce(&row);
                self.nudge(&row.place);
                return Ok((row, told));
            }
            if Instant::now() >= until {
                return Err(OperatorError::Busy);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Sends nothing to a destination until it is resumed. `None`: there is no such destination.
    pub fn pause_channel(&self, destination: &Destination, by: &str, reason: Option<&str>) -> Option<String> {
        let why = match reason {
            Some(reason) => format!("paused by {by}: {reason}"),
            None => format!("paused by {by}"),
        };
        self.channels.get(destination)?.pause(Some(why));
        info!(destination = %destination.0, by, "paused");
        Some(format!(
            "Nothing is sent to {} until it is resumed. What is being sent just now is still finished.",
            destination.0
        ))
    }

    /// Lets a destination go on, and tries at once whatever was wrong with it.
    pub fn resume_channel(&self, destination: &Destination, by: &str) -> Option<String> {
        self.channels.get(destination)?.pause(None);
        self.nudge_all();
        info!(destination = %destination.0, by, "resumed");
        Some(format!("{} goes on.", destination.0))
    }
}

/// Carries out a decision. The caller has the delivery for itself: a stopped daemon, or a claim.
///
/// # Errors
/// See [`OperatorError`]; nothing was changed then.
pub async fn decide(config: &Config, ledger: &dyn Ledger, id: DeliveryId, decision: Decision, by: &str) -> Told {
    let row = ledger.look_up(id).await?.ok_or(OperatorError::Gone)?;
    let facts = Facts { now: Timestamp::now(), jitter: 0.0 };
    let is_present = row.filing().is_some() || is_in_its_inbox(config, &row)?;
    let (row, told) = match lifecycle::decide(row.clone(), &decision, by, is_present, facts) {
        Decided::Row(transition, told) => (write(ledger, transition.row).await?, told),
        Decided::CopyBack(transition, told) => {
            // The row first: what comes into the inbox is then sent, and not filed as a duplicate. Killed in between, the
            // delivery waits for a document that a person can drop again.
            let written = write(ledger, transition.row).await?;
            copy_back(config, &row)?;
            (written, told)
        }
        Decided::PutBack => {
            put_back(config, &row)?;
            (row, "It is in the inbox again, and is tried from the start.")
        }
        Decided::Refused(why) => return Err(OperatorError::Refused(why)),
    };
    info!(delivery = %id, by, decision = decision.name(), "a person decided");
    Ok((row, told))
}

async fn write(ledger: &dyn Ledger, mut row: Delivery) -> Result<Delivery, LedgerError> {
    row.truncate_to_limit();
    ledger.advance(row).await
}

fn is_in_its_inbox(config: &Config, row: &Delivery) -> Result<bool, OperatorError> {
    let Some(inbox) = config.inbox(&row.place.inbox) else { return Ok(true) };
    let unreadable = |error| filing::FilingError::Move { folder: inbox.path.clone(), error };
    Ok(filing::lies_at(&inbox.path, &row.place.path, row.file_sha256()).map_err(unreadable)?
        // A share that is not mounted looks like this.
        || (!has_patient_folder(inbox, &row.place.path).map_err(unreadable)?
            && age(row.updated, Timestamp::now()) < LONG_GONE))
}

const IS_GONE: OperatorError = OperatorError::Refused(
    "Its file is not where it was filed any more. Drop it into the patient's folder in the inbox.",
);

/// The inbox, and the place in done or failed, of a filed row; its place in the inbox must be free.
fn filed<'a>(config: &'a Config, row: &'a Delivery) -> Result<(&'a Inbox, &'a RelPath), OperatorError> {
    let inbox = config.inbox(&row.place.inbox).ok_or(IS_GONE)?;
    let Some(Filing { to: Some(to), .. }) = row.filing() else { return Err(IS_GONE) };
    let unreadable = |error| filing::FilingError::Move { folder: inbox.path.clone(), error };
    if effect::lies_at(&inbox.path.join(row.place.path.as_path())).map_err(unreadable)? {
        return Err(OperatorError::Refused(
            "Another file of that name is in the inbox; let chartdrop deliver that one first.",
        ));
    }
    Ok((inbox, &to.path))
}

/// The document and its sidecar in done or failed.
fn found(folder: &std::path::Path, to: &RelPath) -> Result<Found, OperatorError> {
    let unreadable = |error| filing::FilingError::Move { folder: folder.to_path_buf(), error };
    if !effect::lies_at(&folder.join(to.as_path())).map_err(unreadable)? {
        return Err(IS_GONE);
    }
    let sidecar = match filing::sidecar_of(folder, to).map_err(unreadable)? {
        Beside::Nothing => None,
        Beside::One(sidecar) => Some(sidecar),
        // Sent without what its sidecar says of the patient, it may be sent for another.
        Beside::Unclear => {
            return Err(OperatorError::Refused(
                "It is not clear which sidecar belongs to it. Move the document and its sidecar back into the patient's folder in the inbox by hand.",
            ));
        }
    };
    let sidecar = sidecar.map(|sidecar| (sidecar, None));
    Ok(Found { document: to.clone(), state: None, device: None, sidecar })
}

/// From failed back into the inbox, with its sidecar; the note goes, since what it says is over.
fn put_back(config: &Config, row: &Delivery) -> Result<(), OperatorError> {
    let (inbox, to) = filed(config, row)?;
    let found = found(&inbox.failed, to)?;
    Ok(filing::put_back(inbox, &row.place.path, &found)?)
}

/// A copy from done back into the inbox, with its sidecar. The receipt and the filed document stay.
fn copy_back(config: &Config, row: &Delivery) -> Result<(), OperatorError> {
    let (inbox, to) = filed(config, row)?;
    let found = found(&inbox.done, to)?;
    Ok(filing::copy_back(inbox, &row.place.path, &found)?)
}
