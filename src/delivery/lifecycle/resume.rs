//! What a row means for a document that was just identified: go on, start over, or say why not.

use jiff::Timestamp;

use super::{
    Facts, Transition,
    apply::{held, without_message},
};
use crate::{
    ledger::{Delivery, Files, Filing, HeldWhy, Queued, Reason, Rejected, SidecarFile, Stage, Then, Tried, Unknown},
    model::{
        document::{DocStatus, Document, Key, Metadata},
        message::Message,
        path::InboxPath,
        problem::catalogue as known,
        words::display_name,
    },
};

/// A document as it was just identified.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// All that its message says.
    pub document: Document,
    /// Where it is.
    pub place: InboxPath,
    /// Its files.
    pub files: Files,
    /// When the ledger was lost, if this document was in its inbox at that time: it may have been sent.
    pub lost_at: Option<Timestamp>,
}

/// What becomes of a document whose delivery has a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Resume {
    /// The delivery goes on with this row; the transition must be committed first if it says so.
    Continue(Transition),
    /// It was accepted before: filed in done, and not sent.
    Duplicate(Delivery),
    /// It was accepted before with another description: filed in failed.
    Refuse(Reason),
}

/// The row of a document that has none.
pub fn begin(key: Key, fresh: &Fresh, facts: Facts) -> Delivery {
    let stage = Stage::Queued(Queued::new(facts.now));
    let mut row = Delivery::new(key, fresh.place.clone(), Some(fresh.document.clone()), facts.now, stage);
    row.files = Some(fresh.files.clone());
    match fresh.lost_at {
        Some(lost_at) => count_after_loss(row, lost_at, facts),
        None => {
            row.note("queued", None, "");
            row
        }
    }
}

/// The row of a document that is not sent, and the stage that an older row of it takes.
pub fn refused(key: Key, place: InboxPath, files: Option<Files>, reason: Reason, facts: Facts) -> Delivery {
    let code = reason.code.clone();
    let rejected = Rejected { at: facts.now, reason, upload: None, filing: Filing::default() };
    let mut row = Delivery::new(key, place, None, facts.now, Stage::Rejected(rejected));
    row.files = files;
    row.note("rejected", None, &code);
    row
}

/// What an existing row means for a document that has the same bytes, for the same patient and destination.
pub fn resume(row: Delivery, fresh: &Fresh, facts: Facts) -> Resume {
    match met(row.clone(), fresh, facts) {
        // Nothing but the time: that is not worth a durable step.
        Resume::Continue(transition) if (Delivery { updated: row.updated, ..transition.row.clone() }) == row => {
            Resume::Continue(Transition { row, write: false, look_again: false })
        }
        other => other,
    }
}

fn met(row: Delivery, fresh: &Fresh, facts: Facts) -> Resume {
    let row = void_future_due_time(row, facts.now);
    let uncounted = fresh.lost_at.filter(|lost_at| row.updated <= *lost_at && row.counted_after_loss != Some(*lost_at));
    match row.stage.clone() {
        Stage::Queued(queued) => in_queued(row, queued, fresh, uncounted, facts),
        // Nobody waits for its answer any more.
        Stage::Sending(message) => {
            let (row, unknown) = abandoned(row, message, facts);
            in_unknown(row, unknown, fresh, facts)
        }
        Stage::Unknown(unknown) => in_unknown(row, unknown, fresh, facts),
        Stage::Held(mut held) => {
            let mut next = relocated(row, fresh);
            if let Then::Queued(queued) = &mut held.then
                && next.uncertain == 0
            {
                // Nothing that counts was sent: what is said of the document now is what will be sent.
                if next.document.as_ref() != Some(&fresh.document) {
                    *queued = without_message(queued.clone());
                }
                next = corrected(next, fresh);
                next.stage = Stage::Held(held);
            }
            changed(next, facts)
        }
        Stage::Accepted(accepted) if accepted.filing.filed.is_some() => {
            let said = row.document.as_ref().map(|document| &document.metadata);
            if said == Some(&fresh.document.metadata) {
                return Resume::Duplicate(row);
            }
            Resume::Refuse(other_metadata(&row, &fresh.document.metadata, accepted.at))
        }
        Stage::Rejected(rejected) if rejected.filing.filed.is_some() => {
            // A person put it back: it starts over, counts its time from here, and takes new ids.
            let queued = Queued { upload: rejected.upload, ..Queued::new(facts.now) };
            let mut row = corrected(relocated(row, fresh), fresh);
            row.first_seen = facts.now;
            row.updated = facts.now;
            row.tried = Tried::default();
            row.note("put-back", None, "");
            Resume::Continue(Transition { row: with_stage(row, Stage::Queued(queued)), write: true, look_again: false })
        }
        Stage::Accepted(_) | Stage::Rejected(_) => unfiled(row, fresh, facts),
    }
}

/// A message for whose answer nobody waits any more: its outcome is unknown.
pub(super) fn abandoned(row: Delivery, message: Message, facts: Facts) -> (Delivery, Unknown) {
    let why = "chartdrop was ended while it waited for the answer".to_owned();
    let mut row = Delivery { uncertain: row.uncertain.saturating_add(1), updated: facts.now, ..row };
    row.note("unknown", None, &why);
    let unknown = Unknown { message: Some(message), why, since: facts.now, due: facts.now, tries: 0 };
    (with_stage(row, Stage::Unknown(unknown.clone())), unknown)
}

fn with_stage(row: Delivery, stage: Stage) -> Delivery {
    Delivery { stage, ..row }
}

fn in_queued(row: Delivery, queued: Queued, fresh: &Fresh, uncounted: Option<Timestamp>, facts: Facts) -> Resume {
    if let Some(lost_at) = uncounted {
        let keeps = row.uncertain > 0 && queued.message.is_some();
        let row = relocated(row, fresh);
        let row = if keeps { row } else { corrected(row, fresh) };
        let queued = if keeps { queued } else { without_message(queued) };
        let row = count_after_loss(with_stage(row, Stage::Queued(queued)), lost_at, facts);
        return changed_or_contradicted(row, fresh, facts);
    }
    if row.uncertain > 0 && queued.message.is_some() {
        // What may have arrived is sent again as it was, or not at all.
        if contradicts(&row, fresh) {
            let then = Unknown { message: queued.message, why: queued.why, since: facts.now, due: facts.now, tries: 0 };
            return contradicted(relocated(row, fresh), then, facts);
        }
        return changed(relocated(row, fresh), facts);
    }
    // Nothing that counts was sent: what is said of the document now is what will be sent.
    let is_same = row.document.as_ref() == Some(&fresh.document);
    let next = corrected(relocated(row, fresh), fresh);
    let stage = if is_same { Stage::Queued(queued) } else { Stage::Queued(without_message(queued)) };
    changed(with_stage(next, stage), facts)
}

fn in_unknown(row: Delivery, unknown: Unknown, fresh: &Fresh, facts: Facts) -> Resume {
    if contradicts(&row, fresh) {
        return contradicted(relocated(row, fresh), unknown, facts);
    }
    changed(relocated(row, fresh), facts)
}

/// A final row whose document is still in the inbox is filed. Its bytes were compared just now, so that these are the
/// files to move; a sidecar only if the document is described as it was when it was sent.
fn unfiled(row: Delivery, fresh: &Fresh, facts: Facts) -> Resume {
    if row.place != fresh.place {
        // A second file of the same bytes; see `worker.rs` for what waits for the first.
        return Resume::Continue(Transition { row, write: false, look_again: false });
    }
    let is_described_alike = row.document.as_ref().is_some_and(|document| document.metadata == fresh.document.metadata);
    let sidecar = match &row.files {
        Some(files) if !is_described_alike => files.sidecar.clone(),
        _ if is_described_alike => fresh.files.sidecar.clone(),
        _ => None,
    };
    let files = Some(Files { document: fresh.files.document, sidecar });
    changed(Delivery { files, ..row }, facts)
}

fn changed(next: Delivery, facts: Facts) -> Resume {
    Resume::Continue(Transition { row: Delivery { updated: facts.now, ..next }, write: true, look_again: false })
}

/// The same, after a ledger was lost: a message that may have been sent for another patient is not settled by itself.
fn changed_or_contradicted(row: Delivery, fresh: &Fresh, facts: Facts) -> Resume {
    match row.stage.clone() {
        Stage::Unknown(unknown) if contradicts(&row, fresh) => contradicted(row, unknown, facts),
        _ => changed(row, facts),
    }
}

/// The document is here now. What was sent stays what it was, and so does the sidecar that was sent with it.
fn relocated(row: Delivery, fresh: &Fresh) -> Delivery {
    let sidecar = match &row.files {
        Some(files) => files.sidecar.clone().map(|sidecar| moved_with(sidecar, &row.place, fresh)),
        None => fresh.files.sidecar.clone(),
    };
    let files = Some(Files { document: fresh.files.document, sidecar });
    Delivery { place: fresh.place.clone(), files, ..row }
}

/// A sidecar that was renamed together with its document is still the same file.
fn moved_with(sidecar: SidecarFile, place: &InboxPath, fresh: &Fresh) -> SidecarFile {
    match &fresh.files.sidecar {
        Some(now) if *place != fresh.place && now.state.same_after_rename(&sidecar.state) => now.clone(),
        _ => sidecar,
    }
}

/// What is said of the document now is what will be sent, and its present sidecar is the one that is filed with it.
fn corrected(row: Delivery, fresh: &Fresh) -> Delivery {
    Delivery { document: Some(fresh.document.clone()), files: Some(fresh.files.clone()), ..row }
}

/// Whether a message that may have arrived speaks of another patient, or says other things of them, than the folder does now.
fn contradicts(row: &Delivery, fresh: &Fresh) -> bool {
    row.document.as_ref().is_some_and(|sent| sent.patient != fresh.document.patient)
}

fn contradicted(row: Delivery, unknown: Unknown, facts: Facts) -> Resume {
    let row = Delivery { updated: facts.now, ..row };
    Resume::Continue(held(row, HeldWhy::PatientChanged, "", Then::Unknown(unknown), facts))
}

/// It was in the inbox when the ledger was lost: an unknown outcome, and its message is lost too unless the row has it.
fn count_after_loss(row: Delivery, lost_at: Timestamp, facts: Facts) -> Delivery {
    let message = match &row.stage {
        Stage::Queued(queued) => queued.message.clone(),
        Stage::Sending(_) | Stage::Unknown(_) | Stage::Held(_) | Stage::Accepted(_) | Stage::Rejected(_) => None,
    };
    let why = "it was in the inbox when the ledger was lost".to_owned();
    let mut row = Delivery {
        sends: row.sends.saturating_add(1),
        uncertain: row.uncertain.saturating_add(1),
        counted_after_loss: Some(lost_at),
        updated: facts.now,
        ..row
    };
    row.note("unknown", None, &why);
    let unknown = Unknown { message, why, since: facts.now, due: facts.now, tries: 0 };
    with_stage(row, Stage::Unknown(unknown))
}

/// A row from the future: the clock has been set back since, perhaps by hours, and so far off is its pause. That pause is void.
fn void_future_due_time(mut row: Delivery, now: Timestamp) -> Delivery {
    if row.updated > now {
        match &mut row.stage {
            Stage::Queued(queued) => queued.due = now,
            Stage::Unknown(unknown) => unknown.due = now,
            Stage::Sending(_) | Stage::Held(_) | Stage::Accepted(_) | Stage::Rejected(_) => {}
        }
    }
    row
}

fn other_metadata(row: &Delivery, now: &Metadata, accepted_at: Timestamp) -> Reason {
    let at = accepted_at.strftime("%Y-%m-%d %H:%M UTC");
    let difference = row.document.as_ref().and_then(|document| difference(&document.metadata, now));
    let difference = difference.unwrap_or_else(|| "it is described in another way".into());
    Reason {
        code: known::OTHER_METADATA.code.into(),
        summary: format!(
            "Redox accepted the same document for this patient on {at} (as {}, delivery {}), and this time its description differs: {difference}.",
            row.place.path,
            row.id()
        ),
        remedy: known::OTHER_METADATA.remedy.into(),
        maybe_sent: false,
    }
}

/// The first thing that two descriptions of a document do not agree on, with both values.
fn difference(was: &Metadata, is: &Metadata) -> Option<String> {
    let none = || "(none)".to_owned();
    let text = |text: &Option<String>| text.clone().unwrap_or_else(none);
    let date = |of: &Metadata| of.date.as_ref().map_or_else(none, ToString::to_string);
    let author = |of: &Metadata| of.author.as_ref().map_or_else(none, |author| author.npi.clone());
    let status = |of: &Metadata| {
        let words = match of.status {
            DocStatus::Preliminary => "preliminary",
            DocStatus::Final => "final",
            DocStatus::Amended => "amended",
            DocStatus::EnteredInError => "entered-in-error",
        };
        words.to_owned()
    };
    let kind = |of: &Metadata| of.kind.display.clone().unwrap_or_else(|| of.kind.code.clone());
    let parts = [
        ("title", text(&was.title), text(&is.title)),
        ("description", text(&was.description), text(&is.description)),
        ("date", date(was), date(is)),
        ("type", kind(was), kind(is)),
        ("type's code", was.kind.code.clone(), is.kind.code.clone()),
        ("category", was.category.clone(), is.category.clone()),
        ("status", status(was), status(is)),
        ("author", author(was), author(is)),
        ("visit", text(&was.visit), text(&is.visit)),
    ];
    let differing = parts.into_iter().find(|(_, was, is)| was != is);
    differing.map(|(what, was, is)| {
        // Both share one row of the ledger with everything else.
        let short = |words: &str| display_name(words.chars().take(60).collect::<String>());
        format!("the {what} was \"{}\" and is now \"{}\"", short(&was), short(&is))
    })
}
