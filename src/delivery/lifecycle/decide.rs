//! What a person's decision makes of a row.

use super::{Facts, Transition, apply::held, resume::abandoned};
use crate::{
    ledger::{Delivery, Filing, Held, HeldWhy, Queued, Reason, Rejected, Stage, Then, Tried, Unknown},
    model::{message::Message, problem::catalogue as known},
};

/// What a person decided about one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try now instead of when it is due.
    Retry,
    /// Do not go on before it is released.
    Hold {
        /// Why, for whoever looks at it later.
        reason: Option<String>,
    },
    /// Go on.
    Release,
    /// Send it once more as a new message.
    SendAgain,
    /// It is not to be sent.
    Close {
        /// The person's reason, for the note.
        reason: String,
    },
}

impl Decision {
    /// The command's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold { .. } => "hold",
            Self::Release => "release",
            Self::SendAgain => "send-again",
            Self::Close { .. } => "close",
        }
    }
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Decided {
    /// The row as it is from now on, and what to tell the person.
    Row(Box<Transition>, &'static str),
    /// The document must first be moved from failed back into its inbox; its row starts over when it is seen there.
    PutBack,
    /// The document must first be copied from done back into its inbox, then this row written.
    CopyBack(Box<Transition>, &'static str),
    /// It makes no sense for this delivery; in whole sentences.
    Refused(&'static str),
}

const GOES_ON: &str = "It goes on.";
const IS_BEING_FILED: &str = "It is just being filed; chartdrop finishes that by itself. Ask again in a moment.";
/// Not reached: such a row is an unknown outcome by now.
const IS_BEING_SENT: &str = "It is just being sent. Ask again in a moment.";

/// What a decision makes of a row that nobody else is working on. `by`: who decided; `is_present`: whether its document is
/// still in the inbox.
pub fn decide(row: Delivery, decision: &Decision, by: &str, is_present: bool, facts: Facts) -> Decided {
    let row = Delivery { updated: facts.now, ..row };
    let row = match row.stage.clone() {
        Stage::Sending(message) => abandoned(row, message, facts).0,
        Stage::Queued(_) | Stage::Unknown(_) | Stage::Held(_) | Stage::Accepted(_) | Stage::Rejected(_) => row,
    };
    let is_open = row.filing().is_none();
    match decision {
        Decision::Hold { reason } => hold(row, by, reason.as_deref(), facts),
        Decision::Close { reason } if is_open => close(row, by, reason, is_present, facts),
        Decision::Close { .. } => Decided::Refused("It is final; there is nothing to close."),
        Decision::Release | Decision::Retry if is_open && !is_present => taken_away(row, by, facts),
        Decision::Release => match row.stage.clone() {
            Stage::Held(held) => go_on(row, as_decided(held), "released", by, facts),
            Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) | Stage::Accepted(_) | Stage::Rejected(_) => {
                Decided::Refused("It is not held.")
            }
        },
        Decision::Retry => retry(row, by, facts),
        Decision::SendAgain => send_again(row, by, facts),
    }
}

fn hold(row: Delivery, by: &str, reason: Option<&str>, facts: Facts) -> Decided {
    let then = match row.stage.clone() {
        Stage::Queued(queued) => Then::Queued(queued),
        Stage::Unknown(unknown) => Then::Unknown(unknown),
        Stage::Held(held) => held.then,
        Stage::Sending(_) => return Decided::Refused(IS_BEING_SENT),
        Stage::Accepted(_) | Stage::Rejected(_) => return Decided::Refused("It is final; there is nothing to hold."),
    };
    let detail = match reason {
        Some(reason) => format!("{by}: {reason}"),
        None => by.to_owned(),
    };
    let mut transition = held(row, HeldWhy::Person, &detail, then, facts);
    if let Some(entry) = transition.row.history.last_mut() {
        entry.by = Some(by.to_owned());
    }
    Decided::Row(Box::new(transition), "It is held until you release it.")
}

fn retry(row: Delivery, by: &str, facts: Facts) -> Decided {
    match row.stage.clone() {
        Stage::Queued(queued) => {
            let stage = Stage::Queued(Queued { due: facts.now, why: String::new(), ..queued });
            decided(Delivery { tried: Tried::default(), ..row }, stage, "retried", by, GOES_ON)
        }
        Stage::Unknown(unknown) => go_on(row, Then::Unknown(unknown), "retried", by, facts),
        Stage::Held(held) => go_on(row, as_decided(held), "retried", by, facts),
        Stage::Sending(_) => Decided::Refused(IS_BEING_SENT),
        Stage::Rejected(rejected) if rejected.filing.filed.is_some() => Decided::PutBack,
        Stage::Accepted(accepted) if accepted.filing.filed.is_some() => {
            Decided::Refused("It was accepted. To send the same document once more, as a new message, use send-again.")
        }
        Stage::Accepted(_) | Stage::Rejected(_) => Decided::Refused(IS_BEING_FILED),
    }
}

/// Where a held delivery goes on. A message for a patient whom the folder does not name any more is not sent again: a new
/// one is made.
fn as_decided(held: Held) -> Then {
    match held.then {
        Then::Unknown(unknown) if held.why == HeldWhy::PatientChanged => {
            Then::Unknown(Unknown { message: None, ..unknown })
        }
        then => then,
    }
}

/// A held delivery, or one whose outcome is unknown, goes on. What was never sent is sent; what was sent without an answer is sent again as it was,
/// whatever the policy, which would only hold it again. If that answer is lost as well, it may be sent as often again.
fn go_on(row: Delivery, then: Then, event: &str, by: &str, facts: Facts) -> Decided {
    let queued = match then {
        Then::Queued(queued) => Queued { due: facts.now, since: facts.now, why: String::new(), ..queued },
        Then::Unknown(Unknown { message, .. }) => {
            let message = message.map(|message| Message { sent: 1, ..message });
            Queued { message, ..Queued::new(facts.now) }
        }
    };
    let row = Delivery { tried: Tried::default(), ..row };
    decided(row, Stage::Queued(queued), event, by, GOES_ON)
}

fn send_again(row: Delivery, by: &str, facts: Facts) -> Decided {
    let queued = Stage::Queued(Queued::new(facts.now));
    let row = Delivery { tried: Tried::default(), ..row };
    match &row.stage {
        Stage::Sending(_) => Decided::Refused(IS_BEING_SENT),
        Stage::Queued(_) | Stage::Unknown(_) | Stage::Held(_) => {
            let words = "It is sent again, as a new message.";
            decided(Delivery { first_seen: facts.now, ..row }, queued, "send-again", by, words)
        }
        Stage::Accepted(accepted) if accepted.filing.filed.is_some() && accepted.duplicate.is_none() => {
            let words = "A copy of the document is in the inbox again, and is sent as a new message.";
            match decided(Delivery { first_seen: facts.now, ..row }, queued, "send-again", by, words) {
                Decided::Row(transition, words) => Decided::CopyBack(transition, words),
                other => other,
            }
        }
        Stage::Rejected(rejected) if rejected.filing.filed.is_some() => Decided::PutBack,
        Stage::Accepted(_) | Stage::Rejected(_) => Decided::Refused(IS_BEING_FILED),
    }
}

fn close(row: Delivery, by: &str, reason: &str, is_present: bool, facts: Facts) -> Decided {
    let maybe_sent = row.may_have_arrived();
    let filed = (!is_present).then_some(facts.now);
    let words = Reason {
        code: known::CLOSED.code.into(),
        summary: format!("{by} decided that this document is not to be sent: {reason}"),
        remedy: known::CLOSED.remedy.into(),
        maybe_sent,
    };
    let filing = Filing { to: None, filed };
    let stage = Stage::Rejected(Rejected { at: facts.now, reason: words, upload: None, filing });
    let mut row = row;
    row.note("closed", Some(by), reason);
    let told = match (is_present, maybe_sent) {
        (true, false) => "It is not sent. It goes to the failed folder, with a note.",
        (true, true) => "It is not sent again, but it may have arrived. It goes to the failed folder, with a note.",
        (false, _) => "Its document is not in the inbox any more: this delivery is ended.",
    };
    Decided::Row(Box::new(Transition::write(Delivery { stage, ..row })), told)
}

fn taken_away(row: Delivery, by: &str, facts: Facts) -> Decided {
    let maybe_sent = row.sends > 0;
    let (summary, remedy) = if maybe_sent {
        (known::TAKEN_AWAY.example, known::TAKEN_AWAY.remedy)
    } else {
        ("It was taken out of the inbox before it was sent.", "Nothing. If it should be sent, drop it again.")
    };
    let reason =
        Reason { code: known::TAKEN_AWAY.code.into(), summary: summary.into(), remedy: remedy.into(), maybe_sent };
    let filing = Filing { to: None, filed: Some(facts.now) };
    let stage = Stage::Rejected(Rejected { at: facts.now, reason, upload: None, filing });
    decided(row, stage, "taken-away", by, "Its document is not in the inbox any more: this delivery is ended.")
}

fn decided(row: Delivery, stage: Stage, event: &str, by: &str, words: &'static str) -> Decided {
    let mut row = row;
    row.note(event, Some(by), "");
    Decided::Row(Box::new(Transition::write(Delivery { stage, ..row })), words)
}
