//! Which effect a row needs next.

use super::{Action, Facts, Policy, SEARCHES, age};
use crate::{
    config::OnUnknown,
    ledger::{Delivery, Queued, Stage, Unknown},
    model::message::Upload,
};

/// The next effect; a pure function of the row, the policy and the clock.
pub fn next(row: &Delivery, policy: &Policy, facts: Facts) -> Action {
    if let Some(due) = row.due().filter(|due| *due > facts.now)
        && !matches!(row.stage, Stage::Sending(_))
    {
        return Action::Wait { until: due };
    }
    match &row.stage {
        Stage::Queued(queued) => send(row, queued, policy, facts),
        Stage::Sending(_) => Action::Post,
        Stage::Unknown(unknown) => settle(unknown, policy),
        Stage::Held(_) => Action::AwaitDecision,
        Stage::Accepted(_) | Stage::Rejected(_) => file(row),
    }
}

fn send(row: &Delivery, queued: &Queued, policy: &Policy, facts: Facts) -> Action {
    let is_young = |upload: &Upload| age(upload.at, facts.now) < policy.upload_max_age;
    let kept = queued.message.as_ref();
    // What may have arrived is sent again as it is, however old its upload: other bytes would be another document.
    if kept.is_some_and(|message| row.uncertain > 0 || message.upload.as_ref().is_none_or(is_young)) {
        return Action::Repeat;
    }
    Action::Prepare { upload: queued.upload.clone().filter(is_young), must_upload: queued.must_upload }
}

fn settle(unknown: &Unknown, policy: &Policy) -> Action {
    match policy.on_unknown {
        OnUnknown::Hold => Action::Hold,
        OnUnknown::Search if unknown.tries < SEARCHES => Action::Search,
        OnUnknown::Search | OnUnknown::Resend if may_resend(unknown, policy) => Action::Repeat,
        OnUnknown::Search | OnUnknown::Resend => Action::Hold,
    }
}

/// Whether a message whose answer was lost may be sent once more without a person's word.
fn may_resend(unknown: &Unknown, policy: &Policy) -> bool {
    let sent = unknown.message.as_ref().map_or(0, |message| message.sent);
    usize::try_from(sent).is_ok_and(|sent| sent <= policy.resend_after.len())
}

fn file(row: &Delivery) -> Action {
    match row.filing() {
        Some(filing) if filing.filed.is_some() => Action::Finished,
        Some(filing) => filing.to.clone().map_or(Action::PlanFiling, |to| Action::File { to }),
        None => Action::Finished,
    }
}
