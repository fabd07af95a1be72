//! Documents that may have arrived: what the notes beside them must not say, and who is told when one was taken away.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tracing::error;

use super::{
    DeliveryError, Engine,
    filing_recovery::{LONG_GONE, has_patient_folder},
    lifecycle::age,
    worker::blocking,
};
use crate::{
    config::Inbox,
    ledger::{Delivery, Query},
    model::document::DeliveryId,
    model::path::{InboxPath, RelPath},
    model::problem::catalogue as known,
    platform::effect,
};

/// More open deliveries than any clinic has; reading them all takes a second or two.
const MOST_OPEN: usize = 100_000;

/// By delivery: where its document is.
#[derive(Default)]
pub(super) struct Unsettled(Mutex<HashMap<DeliveryId, Doubt>>);

struct Doubt {
    place: InboxPath,
    /// When its row was last written.
    since: Timestamp,
    /// Another delivery began at its place: its document was replaced, or is another patient's by now.
    is_superseded: bool,
    /// That other one was filed: what is at the place after it is a third one.
    is_past: bool,
    /// It was said that nobody will decide about it.
    is_said: bool,
}

impl Unsettled {
    fn open(&self) -> MutexGuard<'_, HashMap<DeliveryId, Doubt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Keeps in mind whether the document of a row may have arrived, for as long as it has no note that says so.
    pub(super) fn track(&self, row: &Delivery) {
        // A note that says so ends it.
        let maybe_sent = row.may_have_arrived() && !row.is_filed();
        let mut doubts = self.unsettled.open();
        if maybe_sent {
            let (place, since) = (row.place.clone(), row.updated);
            doubts.insert(row.id(), Doubt { place, since, is_superseded: false, is_past: false, is_said: false });
        } else {
            doubts.remove(&row.id());
        }
        if row.is_filed() {
            let others = doubts.values_mut().filter(|doubt| doubt.is_superseded && doubt.place == row.place);
            others.for_each(|doubt| doubt.is_past = true);
        }
    }

    /// Whatever becomes of the document that is there, its note must not say that it was not sent.
    pub(super) fn is_in_doubt_at(&self, place: &InboxPath) -> bool {
        self.unsettled.open().values().any(|doubt| doubt.place == *place && !doubt.is_past)
    }

    /// A delivery begins at a place: whichever else was there is there no more.
    pub(super) fn supersede(&self, place: &InboxPath, by: DeliveryId) {
        for (id, doubt) in self.unsettled.open().iter_mut() {
            doubt.is_superseded |= *id != by && doubt.place == *place;
        }
    }

    /// Learns which documents may have arrived before this start.
    pub(super) async fn load_unsettled(&self) -> Result<(), DeliveryError> {
        for query in [Query::Open { limit: MOST_OPEN }, Query::Unfiled { limit: MOST_OPEN }] {
            self.ledger.list(query).await?.iter().for_each(|row| self.track(row));
        }
        Ok(())
    }

    /// Says once of each document that may have arrived and was taken away, or given another patient, that somebody must
    /// look: its delivery never comes to an end by itself.
    pub(super) async fn alarm_about_taken_away(&self) -> Result<(), DeliveryError> {
        let now = Timestamp::now();
        let patience = self.config.delivery.alarm_after;
        let examined: Vec<_> = {
            let doubts = self.unsettled.open();
            let ripe = doubts.iter().filter(|(_, doubt)| !doubt.is_said && age(doubt.since, now) > patience);
            let inbox = |doubt: &Doubt| self.config.inbox(&doubt.place.inbox).cloned();
            let examined = ripe.filter_map(|(id, doubt)| {
                let may_be_unmounted = age(doubt.since, now) < LONG_GONE;
                Some((*id, inbox(doubt)?, doubt.place.path.clone(), doubt.is_superseded, may_be_unmounted))
            });
            examined.collect()
        };
        if examined.is_empty() {
            return Ok(());
        }
        let gone = blocking(move || {
            let is_gone = |(_, inbox, path, is_superseded, may_be_unmounted): &(_, Inbox, RelPath, bool, bool)| {
                // What cannot be told is still there.
                let exists = effect::lies_at(&inbox.path.join(path.as_path())).unwrap_or(true);
                *is_superseded || (!exists && (!may_be_unmounted || has_patient_folder(inbox, path).unwrap_or(false)))
            };
            examined.into_iter().filter(is_gone).map(|(id, ..)| id).collect::<Vec<DeliveryId>>()
        })
        .await?;
        for id in gone {
            let row = self.ledger.look_up(id).await?;
            if row.is_some_and(|row| row.filing().is_none()) {
                error!(delivery = %id, code = known::SENT_AND_GONE.code, "ALARM: a document that may have arrived was taken out of its inbox, or belongs to another patient by now. Look into the chart of the patient that `chartdrop show` names; then `chartdrop release` ends this delivery");
            }
            if let Some(doubt) = self.unsettled.open().get_mut(&id) {
                doubt.is_said = true;
            }
        }
        Ok(())
    }
}
