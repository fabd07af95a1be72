//! What a person may decide about one delivery: try again, hold, release. Works on the ledger of a stopped daemon.

use jiff::Timestamp;

use super::{
    age,
    filing_recovery::{LONG_GONE, folder_stands},
};
use crate::{
    config::Config,
    filing::{self, Beside, Found},
    ledger::{Delivery, Filing, Ledger, LedgerError, Queued, Reason, Rejected, Stage, Unknown},
    model::message::Message,
    platform::effect,
};

/// Why a decision could not be carried out. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The ledger could not be asked.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The file could not be put back.
    #[error(transparent)]
    Filing(#[from] filing::FilingError),
    /// It makes no sense for this delivery.
    #[error("{0}")]
    Refused(&'static str),
}

/// Sends again on purpose: with new ids for Bundle and message, and counted in the receipt. Gives back what comes of it.
pub async fn retry(config: &Config, ledger: &dyn Ledger, row: Delivery) -> Result<&'static str, OperatorError> {
    let now = Timestamp::now();
    let queued = Queued { attempts: 0, since: now, due: now, why: String::new(), upload: None, message: None };
    // Nobody waits for the answer of one that was being sent when chartdrop was ended.
    let uncertain = row.uncertain + u32::from(matches!(row.stage, Stage::Sending(_)));
    let words = match &row.stage {
        Stage::Queued(waiting) => {
            let stage = Stage::Queued(Queued { due: now, since: now, why: String::new(), ..waiting.clone() });
            ledger.advance(Delivery { stage, updated: now, ..row }).await?;
            return Ok("It will be tried as soon as chartdrop runs.");
        }
        Stage::Sending(_) | Stage::Unknown(_) => "It will be sent again, as a new message, as soon as chartdrop runs.",
        Stage::Rejected(rejected) if rejected.filing.filed.is_some() => {
            put_back(config, &row, &rejected.filing)?;
            // Its row starts over when the file is seen: what was mended counts.
            return Ok("It lies in the inbox again, and will be tried as soon as chartdrop runs.");
        }
        Stage::Accepted(accepted) if accepted.filing.filed.is_some() => {
            "It may be sent once more, as a new message: drop the document (and its sidecar) into the patient's folder again."
        }
        Stage::Accepted(_) | Stage::Rejected(_) => {
            return Err(OperatorError::Refused("It is just being filed; chartdrop ends that when it runs."));
        }
    };
    ledger.advance(Delivery { stage: Stage::Queued(queued), first_seen: now, updated: now, uncertain, ..row }).await?;
    Ok(words)
}

/// Keeps an open delivery from being sent until it is released.
pub async fn hold(ledger: &dyn Ledger, row: Delivery) -> Result<&'static str, OperatorError> {
    let why = "held by a person".to_owned();
    let stage = match row.stage.clone() {
        Stage::Queued(queued) => Stage::Queued(Queued { due: Timestamp::MAX, why, ..queued }),
        Stage::Unknown(unknown) => Stage::Unknown(Unknown { due: None, ..unknown }),
        Stage::Sending(_) => {
            return Err(OperatorError::Refused("It has just been sent; run chartdrop, and hold it then."));
        }
        Stage::Accepted(_) | Stage::Rejected(_) => {
            return Err(OperatorError::Refused("It is final; there is nothing to hold."));
        }
    };
    ledger.advance(Delivery { stage, updated: Timestamp::now(), ..row }).await?;
    Ok("It is held until you release it.")
}

/// Lets a held delivery go on: what was never sent is sent, and what was sent without an answer is sent again as it was.
/// One whose document was taken away, or was sent for another patient since, ends.
pub async fn release(config: &Config, ledger: &dyn Ledger, row: Delivery) -> Result<&'static str, OperatorError> {
    let now = Timestamp::now();
    if row.filing().is_none() && !lies_in_its_inbox(config, &row)? {
        let reason = Reason {
            code: "taken-away".into(),
            summary: "It was taken out of the inbox before it was known whether it had arrived.".into(),
            remedy: "Look into the patient's chart before you drop it again.".into(),
            maybe_sent: row.sends > 0,
        };
        let filing = Filing { to: None, filed: Some(now) };
        let stage = Stage::Rejected(Rejected { at: now, reason, upload: None, filing });
        ledger.advance(Delivery { stage, updated: now, ..row }).await?;
        return Ok("Its document is not in the inbox any more: this delivery is ended.");
    }
    let stage = match row.stage.clone() {
        Stage::Queued(queued) if queued.due == Timestamp::MAX => {
            Stage::Queued(Queued { due: now, why: String::new(), ..queued })
        }
        // The same message is sent again, whatever the policy: that would only hold it again. And if this answer is lost as
        // well, the message may be sent as often again as before it was held.
        Stage::Unknown(Unknown { message, due: None, .. }) => {
            let message = Some(Message { sent: 1, ..message });
            Stage::Queued(Queued { attempts: 0, since: now, due: now, why: String::new(), upload: None, message })
        }
        _ => return Err(OperatorError::Refused("It is not held.")),
    };
    ledger.advance(Delivery { stage, updated: now, ..row }).await?;
    Ok("It goes on as soon as chartdrop runs.")
}

fn lies_in_its_inbox(config: &Config, row: &Delivery) -> Result<bool, OperatorError> {
    let Some(inbox) = config.inbox(&row.place.inbox) else { return Ok(true) };
    let unreadable = |error| filing::FilingError::Move { folder: inbox.path.clone(), error };
    Ok(filing::lies_at(&inbox.path, &row.place.path, row.key.sha256).map_err(unreadable)?
        // A share that is not mounted looks like this.
        || (!folder_stands(inbox, &row.place.path).map_err(unreadable)? && age(row.updated, Timestamp::now()) < LONG_GONE))
}

/// From failed back into the inbox, with its sidecar; the note goes, since what it says is over.
fn put_back(config: &Config, row: &Delivery, filing: &Filing) -> Result<(), OperatorError> {
    let gone = OperatorError::Refused(
        "Its file is not in the failed folder any more. Drop it into the patient's folder in the inbox.",
    );
    let (Some(inbox), Some(to)) = (config.inbox(&row.place.inbox), &filing.to) else { return Err(gone) };
    let unreadable = |error| filing::FilingError::Move { folder: inbox.failed.clone(), error };
    if !effect::lies_at(&inbox.failed.join(to.path.as_path())).map_err(unreadable)? {
        return Err(gone);
    }
    if effect::lies_at(&inbox.path.join(row.place.path.as_path())).map_err(unreadable)? {
        return Err(OperatorError::Refused(
            "Another file of that name lies in the inbox; let chartdrop deliver that one first.",
        ));
    }
    let sidecar = match filing::sidecar_of(&inbox.failed, &to.path).map_err(unreadable)? {
        Beside::Nothing => None,
        Beside::One(sidecar) => Some(sidecar),
        // Sent without what its sidecar says of the patient, it may be sent for another.
        Beside::Unclear => {
            return Err(OperatorError::Refused(
                "It is not clear which sidecar in the failed folder belongs to it. Move the document and its sidecar back into the patient's folder in the inbox by hand.",
            ));
        }
    };
    let sidecar = sidecar.map(|sidecar| (sidecar, None));
    let found = Found { document: to.path.clone(), state: None, device: None, sidecar };
    filing::put_back(inbox, &row.place.path, &found)?;
    Ok(())
}

/// The pause that stands for "until a person says otherwise".
pub(super) fn is_held(due: Timestamp) -> bool {
    due == Timestamp::MAX
}
