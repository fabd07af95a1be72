//! What the log says of a delivery: one line for each step that a person may ask about. No patient data.

use tracing::{debug, error, info, warn};

use crate::ledger::{Delivery, Stage};

/// Says the last line of a delivery's story. Every line has the delivery's id, and the reason where there is one.
pub(super) fn announce(row: &Delivery) {
    let id = row.id();
    // A step that only moved its filing on has no line of its own.
    let Some(last) = row.history.last().filter(|last| last.at == row.updated) else { return };
    let (event, why) = (last.event.as_str(), last.detail.as_str());
    match &row.stage {
        Stage::Queued(queued) if event == "later" => {
            let (attempts, due) = (row.tried.attempts, queued.due);
            let seconds = row.tried.pause_ms / 1000;
            info!(delivery = %id, attempts, seconds, %due, why, "not sent yet; it will be tried again");
        }
        Stage::Queued(_) => debug!(delivery = %id, event, why, "queued"),
        Stage::Sending(_) => debug!(delivery = %id, sends = row.sends, "sending"),
        Stage::Unknown(_) if event == "unknown" => {
            warn!(delivery = %id, why, "sent, and the answer never came: the outcome is unknown");
        }
        Stage::Unknown(_) => debug!(delivery = %id, event, why, "the outcome is still unknown"),
        Stage::Held(held) => {
            let code = super::lifecycle::held_problem(held).code;
            error!(delivery = %id, code, why, "held: a person must decide");
        }
        Stage::Accepted(accepted) if event == "accepted" => {
            info!(delivery = %id, status = accepted.answer.status, sends = row.sends, "accepted by Redox");
        }
        Stage::Rejected(rejected) if row.document.is_none() && event == "rejected" => {
            warn!(delivery = %id, code = %rejected.reason.code, "refused; its reason is beside it in failed");
        }
        Stage::Rejected(rejected) if event == "rejected" || event == "closed" => {
            warn!(delivery = %id, code = %rejected.reason.code, "rejected; its reason is beside it in failed");
        }
        Stage::Accepted(_) | Stage::Rejected(_) => debug!(delivery = %id, event, "final"),
    }
}
