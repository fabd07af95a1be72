//! What a person may decide about one delivery, while the daemon runs or on the ledger of one that does not.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::info;

use super::{
    Engine, age,
    filing_recovery::{LONG_GONE, folder_stands},
};
use crate::{
    config::Config,
    filing::{self, Beside, Found},
    ledger::{Delivery, Filing, Ledger, LedgerError, Queued, Reason, Rejected, Stage, Unknown},
    model::document::{DeliveryId, Destination},
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
    /// A worker has it.
    #[error("It is being worked on just now.")]
    Busy,
    /// It was forgotten meanwhile.
    #[error("This delivery is not in the ledger any more.")]
    Gone,
}

/// What a person decides about a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is tried again now.
    Retry,
    /// It is kept back until it is released.
    Hold {
        /// Why, for whoever looks at it later.
        reason: Option<String>,
    },
    /// It goes on.
    Release,
    /// It is sent once more, as a new message.
    SendAgain,
    /// It is not to be sent.
    Close {
        /// Why, for the note.
        reason: String,
    },
}

impl Decision {
    fn name(&self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold { .. } => "hold",
            Self::Release => "release",
            Self::SendAgain => "send-again",
            Self::Close { .. } => "close",
        }
    }
}

/// The row as it is now, and what comes of it in words.
type Decided = Result<(Delivery, &'static str), OperatorError>;

/// How long a worker that has the delivery is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(50);

/// Carries out a decision on a ledger that nobody else works on, or with the delivery claimed.
pub async fn decide(config: &Config, ledger: &dyn Ledger, id: DeliveryId, decision: Decision, by: &str) -> Decided {
    let row = ledger.look_up(id).await?.ok_or(OperatorError::Gone)?;
    let name = decision.name();
    let decided = match decision {
        Decision::Retry => retry(config, ledger, row).await,
        Decision::Hold { reason } => hold(ledger, row, by, reason.as_deref()).await,
        Decision::Release => release(config, ledger, row).await,
        Decision::SendAgain => send_again(config, ledger, row).await,
        Decision::Close { reason } => close(config, ledger, row, by, &reason).await,
    };
    if decided.is_ok() {
        info!(delivery = %id, by, decision = name, "a person decided");
    }
    decided
}

impl Engine {
    /// Carries out a decision while deliveries go on, and has the document looked at again at once.
    pub async fn decide(&self, id: DeliveryId, decision: Decision, by: &str) -> Decided {
        let began = Instant::now();
        let _claim = loop {
            match self.claim(id) {
                Some(claim) => break claim,
                None if began.elapsed() > PATIENCE => return Err(OperatorError::Busy),
                None => tokio::time::sleep(AGAIN).await,
            }
        };
        let (row, words) = decide(&self.config, &*self.ledger, id, decision, by).await?;
        self.mind(&row);
        self.nudge(&row.place);
        Ok((row, words))
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

/// Tries what waits at once, and what was left without an answer as a new message; what was rejected and mended is put back.
async fn retry(config: &Config, ledger: &dyn Ledger, row: Delivery) -> Decided {
    let now = Timestamp::now();
    match &row.stage {
        Stage::Queued(waiting) => {
            let stage = Stage::Queued(Queued { due: now, since: now, why: String::new(), ..waiting.clone() });
            let row = ledger.advance(Delivery { stage, updated: now, ..row }).await?;
            Ok((row, "It is tried again."))
        }
        Stage::Sending(_) | Stage::Unknown(_) | Stage::Accepted(_) | Stage::Rejected(_) => {
            send_again(config, ledger, row).await
        }
    }
}

/// Sends again on purpose: with new ids for Bundle and message, and counted in the receipt.
async fn send_again(config: &Config, ledger: &dyn Ledger, row: Delivery) -> Decided {
    let now = Timestamp::now();
    let queued = Queued { attempts: 0, since: now, due: now, why: String::new(), upload: None, message: None };
    // Nobody waits for the answer of one that was being sent when chartdrop was ended.
    let uncertain = row.uncertain + u32::from(matches!(row.stage, Stage::Sending(_)));
    let words = match &row.stage {
        Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) => "It is sent again, as a new message.",
        Stage::Rejected(rejected) if rejected.filing.filed.is_some() => {
            put_back(config, &row, &rejected.filing)?;
            // Its row starts over when the file is seen: what was mended counts.
            return Ok((row, "It is in the inbox again, and is tried from the start."));
        }
        Stage::Accepted(accepted) if accepted.filing.filed.is_some() => {
            "It may be sent once more, as a new message: drop the document (and its sidecar) into the patient's folder again."
        }
        Stage::Accepted(_) | Stage::Rejected(_) => {
            return Err(OperatorError::Refused(
                "It is final and just being filed. Wait until it is in done or failed, then decide.",
            ));
        }
    };
    let stage = Stage::Queued(queued);
    let row = ledger.advance(Delivery { stage, first_seen: now, updated: now, uncertain, ..row }).await?;
    Ok((row, words))
}

/// Keeps an open delivery from being sent until it is released.
async fn hold(ledger: &dyn Ledger, row: Delivery, by: &str, reason: Option<&str>) -> Decided {
    let why = match reason {
        Some(reason) => format!("Held by {by}: {reason}"),
        None => format!("Held by {by}."),
    };
    let stage = match row.stage.clone() {
        Stage::Queued(queued) => Stage::Queued(Queued { due: Timestamp::MAX, why, ..queued }),
        Stage::Unknown(unknown) => Stage::Unknown(Unknown { due: None, why, ..unknown }),
        Stage::Sending(_) => {
            return Err(OperatorError::Refused(
                "It has been sent already, and its answer was lost. `chartdrop close` ends it, `chartdrop retry` sends it again.",
            ));
        }
        Stage::Accepted(_) | Stage::Rejected(_) => {
            return Err(OperatorError::Refused("It is final; there is nothing to hold."));
        }
    };
    let row = ledger.advance(Delivery { stage, updated: Timestamp::now(), ..row }).await?;
    Ok((row, "It is held until you release it."))
}

/// Lets a held delivery go on: what was never sent is sent, and what was sent without an answer is sent again as it was.
/// One whose document was taken away, or was sent for another patient since, ends.
async fn release(config: &Config, ledger: &dyn Ledger, row: Delivery) -> Decided {
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
        let row = ledger.advance(Delivery { stage, updated: now, ..row }).await?;
        return Ok((row, "Its document is not in the inbox any more: this delivery is ended."));
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
    let row = ledger.advance(Delivery { stage, updated: now, ..row }).await?;
    Ok((row, "It goes on."))
}

/// A person decides that it is not to be sent: it is filed in failed, with a note that names the person and the reason.
async fn close(config: &Config, ledger: &dyn Ledger, row: Delivery, by: &str, reason: &str) -> Decided {
    let now = Timestamp::now();
    let (maybe_sent, uncertain) = match &row.stage {
        Stage::Queued(_) => (row.uncertain > 0, row.uncertain),
        // Nobody waits for the answer of one that was being sent when chartdrop was ended.
        Stage::Sending(_) => (true, row.uncertain + 1),
        Stage::Unknown(_) => (true, row.uncertain),
        Stage::Accepted(_) | Stage::Rejected(_) => {
            return Err(OperatorError::Refused("It is final: nothing of it is sent any more."));
        }
    };
    let is_there = lies_in_its_inbox(config, &row)?;
    let reason = Reason {
        code: "closed".into(),
        summary: format!("{by} decided that this document is not to be sent: {reason}"),
        remedy: "Nothing, if that is right. To send it after all, move it back into the patient's folder in the inbox."
            .into(),
        maybe_sent,
    };
    let filing = if is_there { Filing::default() } else { Filing { to: None, filed: Some(now) } };
    let stage = Stage::Rejected(Rejected { at: now, reason, upload: None, filing });
    let mut row = Delivery { stage, updated: now, uncertain, ..row };
    row.slim();
    let row = ledger.advance(row).await?;
    Ok((
        row,
        match (is_there, maybe_sent) {
            (true, false) => "It is not sent. It goes to the failed folder, with a note.",
            (true, true) => "It is not sent again, but it may have arrived. It goes to the failed folder, with a note.",
            (false, _) => "Its document is not in the inbox any more: this delivery is ended.",
        },
    ))
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
    let found = Found { document: to.path.clone(), id: None, device: None, sidecar, sidecar_id: None };
    filing::put_back(&inbox.failed, &inbox.path, &row.place.path, &found)?;
    Ok(())
}

/// The pause that stands for "until a person says otherwise".
pub(super) fn is_held(due: Timestamp) -> bool {
    due == Timestamp::MAX
}
