//! What an effect's result makes of a row.

use std::time::Duration;

use super::{Event, Facts, Policy, SEARCHES, Transition, after, milliseconds, pause::pause};
use crate::{
    config::OnUnknown,
    ledger::{Accepted, Delivery, Filing, Held, HeldWhy, Queued, Reason, Rejected, Stage, Then, Tried, Unknown},
    model::{
        message::{Answer, Message, Upload},
        path::InboxPath,
        problem::catalogue as known,
    },
};

/// The row after an event. An event that cannot happen in a row's stage changes nothing, and the document is looked at
/// again: so does a late answer to what somebody else has settled meanwhile.
pub fn apply(row: Delivery, event: Event, policy: &Policy, facts: Facts) -> Transition {
    let stage = row.stage.clone();
    let row = Delivery { updated: facts.now, ..row };
    match stage {
        Stage::Queued(queued) => in_queued(row, queued, event, policy, facts),
        Stage::Sending(message) => in_sending(row, message, event, policy, facts),
        Stage::Unknown(unknown) => in_unknown(row, unknown, event, policy, facts),
        Stage::Held(_) => Transition::unchanged(row),
        Stage::Accepted(_) | Stage::Rejected(_) => in_final(row, event),
    }
}

fn in_queued(row: Delivery, queued: Queued, event: Event, policy: &Policy, facts: Facts) -> Transition {
    match event {
        Event::Prepared { upload, bundle, header } => {
            let endpoint = policy.endpoint.clone();
            let message = Message { bundle, header, timestamp: facts.now, endpoint, upload, sent: 0 };
            sending(row, message)
        }
        Event::Repeated => match queued.message {
            Some(message) => sending(row, message),
            None => Transition::unchanged(row),
        },
        Event::Changed { upload } => {
            let queued = without_message(queued);
            let upload = upload.or(queued.upload);
            let stage = Stage::Queued(Queued { upload, ..queued });
            Transition::write(Delivery { stage, ..row }).then_look_again()
        }
        Event::ChannelClosed { why, wait } => channel_closed(row, queued, why, wait, facts),
        Event::Later { why, retry_after, took } => later(row, queued, why, retry_after, took, policy, facts),
        Event::OnlyThisRefused { status } => only_this_refused(row, queued, status, facts),
        Event::Rejected { code, summary, remedy } => {
            let upload = queued.upload;
            rejected(row, code, summary, remedy, upload, facts)
        }
        Event::TooLarge => too_large(row, facts),
        Event::HoldUnknown
        | Event::Unknown { .. }
        | Event::Unclear { .. }
        | Event::Accepted { .. }
        | Event::Found { .. }
        | Event::NotFound
        | Event::SearchRefused
        | Event::SearchUnanswered { .. }
        | Event::FilingPlanned { .. }
        | Event::PlaceTaken
        | Event::Filed
        | Event::NotFiled => Transition::unchanged(row),
    }
}

fn in_sending(row: Delivery, message: Message, event: Event, policy: &Policy, facts: Facts) -> Transition {
    match event {
        Event::Accepted { answer, to } => accepted(row, Some(message), answer, to, facts),
        Event::Unknown { why } => unknown(row, message, why, policy, facts),
        Event::Unclear { why } => {
            let uncertain = row.uncertain + 1;
            let then = Then::Unknown(unsettled(message, why.clone(), facts));
            held(Delivery { uncertain, ..row }, HeldWhy::UnclearAnswer, &why, then, facts)
        }
        // Nothing was taken: the same message goes back into the queue, and is not counted.
        Event::Changed { .. } => {
            let (row, queued) = unsent(row, message, facts);
            Transition::write(Delivery { stage: Stage::Queued(queued), ..row }).then_look_again()
        }
        Event::ChannelClosed { why, wait } => {
            let (row, queued) = unsent(row, message, facts);
            let due = wait.map_or(facts.now, |wait| after(facts.now, wait));
            let mut row = Delivery { stage: Stage::Queued(Queued { due, why: short(&why), ..queued }), ..row };
            row.note("waits-for-channel", None, &why);
            Transition::write(row).then_look_again()
        }
        Event::Later { why, retry_after, took } => {
            let (row, queued) = unsent(row, message, facts);
            later(row, queued, why, retry_after, took, policy, facts)
        }
        Event::OnlyThisRefused { status } => {
            let (row, queued) = unsent(row, message, facts);
            only_this_refused(row, queued, status, facts)
        }
        Event::Rejected { code, summary, remedy } => rejected(row, code, summary, remedy, message.upload, facts),
        // 413 for an embedded file: Redox took nothing; the same delivery goes the other way, as a message of its own.
        Event::TooLarge if message.upload.is_none() => {
            if row.uncertain > 0 {
                return too_large(row, facts);
            }
            let (mut row, queued) = unsent(row, message, facts);
            row.note("too-large-to-embed", None, "it is uploaded instead");
            let stage = Stage::Queued(Queued { must_upload: true, ..without_message(queued) });
            Transition::write(Delivery { stage, ..row })
        }
        Event::TooLarge => too_large(row, facts),
        Event::Prepared { .. }
        | Event::Repeated
        | Event::HoldUnknown
        | Event::Found { .. }
        | Event::NotFound
        | Event::SearchRefused
        | Event::SearchUnanswered { .. }
        | Event::FilingPlanned { .. }
        | Event::PlaceTaken
        | Event::Filed
        | Event::NotFiled => Transition::unchanged(row),
    }
}

fn in_unknown(row: Delivery, unknown: Unknown, event: Event, policy: &Policy, facts: Facts) -> Transition {
    match event {
        Event::Repeated => match unknown.message {
            Some(message) => sending(row, message),
            // Its message was lost with the ledger: a new one is made.
            None => Transition::write(Delivery { stage: Stage::Queued(Queued::new(facts.now)), ..row }),
        },
        Event::HoldUnknown | Event::SearchRefused => hold_unknown(row, unknown, facts),
        Event::Found { to } => {
            let answer = Answer { status: 200, headers: vec![], ids: vec!["found by search".into()] };
            accepted(row, unknown.message, answer, to, facts)
        }
        Event::NotFound => {
            let tries = unknown.tries + 1;
            let pause = pause(tries, policy.retry_first, policy.retry_max, facts.jitter);
            // The answer is known: whatever comes next comes at once.
            let due = if tries >= SEARCHES { facts.now } else { after(facts.now, pause) };
            let mut row = row;
            row.note("not-found", None, "the destination does not show the document");
            let stage = Stage::Unknown(Unknown { tries, due, ..unknown });
            Transition::write(Delivery { stage, ..row })
        }
        // A question without an answer is no *no*: it is asked again, ever more rarely.
        Event::SearchUnanswered { why, took } => {
            let Tried { attempts, ms, pause_ms } = row.tried;
            let ms = ms.saturating_add(pause_ms).saturating_add(milliseconds(took));
            let tried = Duration::from_millis(ms);
            if tried >= policy.give_up_after {
                return hold_unknown(row, unknown, facts);
            }
            let first = pause(0, policy.retry_first, policy.retry_max, facts.jitter);
            let pause = first.max((tried / 4).min(policy.retry_max));
            let tried = Tried { attempts: attempts.saturating_add(1), ms, pause_ms: milliseconds(pause) };
            let stage = Stage::Unknown(Unknown { due: after(facts.now, pause), why: short(&why), ..unknown });
            Transition::write(Delivery { stage, tried, ..row }).then_look_again()
        }
        Event::ChannelClosed { .. } => Transition::unchanged(row),
        Event::Prepared { .. }
        | Event::Changed { .. }
        | Event::Later { .. }
        | Event::Unknown { .. }
        | Event::Unclear { .. }
        | Event::OnlyThisRefused { .. }
        | Event::Rejected { .. }
        | Event::TooLarge
        | Event::Accepted { .. }
        | Event::FilingPlanned { .. }
        | Event::PlaceTaken
        | Event::Filed
        | Event::NotFiled => Transition::unchanged(row),
    }
}

/// A final row changes in one way only: its filing goes on.
fn in_final(row: Delivery, event: Event) -> Transition {
    let Some(filing) = row.filing().cloned() else { return Transition::unchanged(row) };
    match event {
        Event::FilingPlanned { to } if filing.filed.is_none() => {
            Transition::write(with_filing(row, Filing { to: Some(to), filed: None }))
        }
        Event::PlaceTaken if filing.filed.is_none() => Transition::write(with_filing(row, Filing::default())),
        Event::Filed if filing.filed.is_none() => {
            let at = row.updated;
            let mut row = with_filing(row, Filing { filed: Some(at), ..filing });
            row.note("filed", None, "");
            row.redact_final();
            Transition::write(row)
        }
        Event::FilingPlanned { .. }
        | Event::PlaceTaken
        | Event::Filed
        | Event::NotFiled
        | Event::Prepared { .. }
        | Event::Repeated
        | Event::HoldUnknown
        | Event::Changed { .. }
        | Event::ChannelClosed { .. }
        | Event::Later { .. }
        | Event::Unknown { .. }
        | Event::Unclear { .. }
        | Event::OnlyThisRefused { .. }
        | Event::Rejected { .. }
        | Event::TooLarge
        | Event::Accepted { .. }
        | Event::Found { .. }
        | Event::NotFound
        | Event::SearchRefused
        | Event::SearchUnanswered { .. } => Transition::unchanged(row),
    }
}

fn with_filing(mut row: Delivery, filing: Filing) -> Delivery {
    match &mut row.stage {
        Stage::Accepted(accepted) => accepted.filing = filing,
        Stage::Rejected(rejected) => rejected.filing = filing,
        Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) | Stage::Held(_) => {}
    }
    row
}

/// The message is fixed, and counted, durably before it is sent.
fn sending(row: Delivery, message: Message) -> Transition {
    let message = Message { sent: message.sent.saturating_add(1), ..message };
    let mut row = Delivery { sends: row.sends.saturating_add(1), ..row };
    row.note("sending", None, if message.sent > 1 { "the same message once more" } else { "" });
    Transition::write(Delivery { stage: Stage::Sending(message), ..row })
}

/// Undoes [`sending`]: nothing of the message was taken.
fn unsent(row: Delivery, message: Message, facts: Facts) -> (Delivery, Queued) {
    let message = Message { sent: message.sent.saturating_sub(1), ..message };
    let queued = Queued { since: row.first_seen, message: Some(message), ..Queued::new(facts.now) };
    (Delivery { sends: row.sends.saturating_sub(1), ..row }, queued)
}

/// Nothing of its message counts any more; the upload that it named can still be used.
pub(super) fn without_message(queued: Queued) -> Queued {
    let upload = queued.upload.or_else(|| queued.message.and_then(|message| message.upload));
    Queued {
        upload,
        message: None,
        since: queued.since,
        due: queued.due,
        why: queued.why,
        must_upload: queued.must_upload,
    }
}

fn channel_closed(row: Delivery, queued: Queued, why: String, wait: Option<Duration>, facts: Facts) -> Transition {
    let Some(wait) = wait else { return Transition::unchanged(row) };
    let stage = Stage::Queued(Queued { due: after(facts.now, wait), why: short(&why), ..queued });
    Transition::write(Delivery { stage, ..row }).then_look_again()
}

fn later(
    row: Delivery,
    queued: Queued,
    why: String,
    retry_after: Option<Duration>,
    took: Duration,
    policy: &Policy,
    facts: Facts,
) -> Transition {
    let Tried { attempts, ms, pause_ms } = row.tried;
    let ms = ms.saturating_add(pause_ms).saturating_add(milliseconds(took));
    if Duration::from_millis(ms) >= policy.give_up_after {
        let summary = format!(
            "Redox could not be reached, or did not take the document, for a long time. The last try: {}",
            short(&why)
        );
        let known::Kind { code, remedy, .. } = known::GAVE_UP;
        return rejected(row, code.into(), summary, remedy.into(), queued.upload, facts);
    }
    let jittered = pause(attempts, policy.retry_first, policy.retry_max, facts.jitter);
    let pause = retry_after.unwrap_or_default().max(jittered);
    let tried = Tried { attempts: attempts.saturating_add(1), ms, pause_ms: milliseconds(pause) };
    let mut row = Delivery { tried, ..row };
    row.note("later", None, &why);
    let stage = Stage::Queued(Queued { due: after(facts.now, pause), why: short(&why), ..queued });
    Transition::write(Delivery { stage, ..row }).then_look_again()
}

fn only_this_refused(row: Delivery, queued: Queued, status: u16, facts: Facts) -> Transition {
    held(row, HeldWhy::OnlyThisRefused, &format!("HTTP status {status}"), Then::Queued(queued), facts)
}

fn unsettled(message: Message, why: String, facts: Facts) -> Unknown {
    let why = short(&why);
    Unknown { message: Some(message), why, since: facts.now, due: facts.now, tries: 0 }
}

fn unknown(row: Delivery, message: Message, why: String, policy: &Policy, facts: Facts) -> Transition {
    let resends = usize::try_from(message.sent.saturating_sub(1)).unwrap_or(usize::MAX);
    let pause = match policy.on_unknown {
        OnUnknown::Hold => Duration::ZERO,
        OnUnknown::Search => pause(0, policy.retry_first, policy.retry_max, facts.jitter),
        OnUnknown::Resend => policy.resend_after.get(resends).copied().unwrap_or_default(),
    };
    let mut row = Delivery { uncertain: row.uncertain.saturating_add(1), ..row };
    row.note("unknown", None, &why);
    row.tried = Tried::default();
    let unknown = Unknown { due: after(facts.now, pause), ..unsettled(message, why, facts) };
    Transition::write(Delivery { stage: Stage::Unknown(unknown), ..row })
}

fn hold_unknown(row: Delivery, unknown: Unknown, facts: Facts) -> Transition {
    let why = if unknown.message.is_some() { HeldWhy::OutcomeUnknown } else { HeldWhy::LedgerLost };
    let detail = unknown.why.clone();
    held(row, why, &detail, Then::Unknown(unknown), facts)
}

/// Waits for a person from now on.
pub(super) fn held(row: Delivery, why: HeldWhy, detail: &str, then: Then, facts: Facts) -> Transition {
    let mut row = row;
    row.note("held", None, detail);
    let held = Held { why, detail: short(detail), since: facts.now, then };
    Transition::write(Delivery { stage: Stage::Held(held), ..row })
}

fn accepted(
    row: Delivery,
    message: Option<Message>,
    answer: Answer,
    to: Option<InboxPath>,
    facts: Facts,
) -> Transition {
    let mut row = row;
    row.note("accepted", None, &format!("HTTP status {}", answer.status));
    let filing = Filing { to, filed: None };
    let accepted = Accepted { at: facts.now, message, answer, filing, duplicate: None };
    Transition::write(Delivery { stage: Stage::Accepted(accepted), ..row })
}

fn too_large(row: Delivery, facts: Facts) -> Transition {
    let known::Kind { code, remedy, .. } = known::TOO_LARGE;
    let summary = "Redox does not take a document of this size.";
    rejected(row, code.into(), summary.into(), remedy.into(), None, facts)
}

fn rejected(
    row: Delivery,
    code: String,
    summary: String,
    remedy: String,
    upload: Option<Upload>,
    facts: Facts,
) -> Transition {
    let mut row = row;
    row.note("rejected", None, &code);
    let reason = Reason { code, summary, remedy, maybe_sent: row.uncertain > 0 };
    let rejected = Rejected { at: facts.now, reason, upload, filing: Filing::default() };
    Transition::write(Delivery { stage: Stage::Rejected(rejected), ..row })
}

/// Words that a row has room for.
fn short(words: &str) -> String {
    words.chars().take(200).collect()
}
