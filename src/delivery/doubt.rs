//! Documents that may have arrived: what the notes beside them must not say, and who is told when one was taken away.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tracing::error;

use super::{DeliveryError, Engine, steps::blocking};
use crate::{
    document::DeliveryId,
    effect,
    ledger::{Delivery, Query, Stage},
    place::Place,
};

/// More open deliveries than any clinic has; reading them all takes a second or two.
const MOST_OPEN: usize = 100_000;

/// By delivery: where its document lies.
#[derive(Default)]
pub(super) struct Doubts(Mutex<HashMap<DeliveryId, Doubt>>);

struct Doubt {
    place: Place,
    /// When its row was last written.
    since: Instant,
    /// Another delivery began at its place: its document was replaced, or is another patient's by now.
    is_superseded: bool,
    /// It was said that nobody will decide about it.
    is_said: bool,
}

impl Doubts {
    fn open(&self) -> MutexGuard<'_, HashMap<DeliveryId, Doubt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Keeps in mind whether the document of a row may have arrived, for as long as it has no note that says so.
    pub(super) fn mind(&self, row: &Delivery) {
        let maybe_sent = match &row.stage {
            Stage::Queued(_) => row.uncertain > 0,
            Stage::Sending(_) | Stage::Unknown(_) => true,
            Stage::Accepted(accepted) => accepted.filing.filed.is_none(),
            Stage::Rejected(rejected) => rejected.reason.maybe_sent && rejected.filing.filed.is_none(),
        };
        let doubt = Doubt { place: row.place.clone(), since: Instant::now(), is_superseded: false, is_said: false };
        match maybe_sent {
            true => drop(self.doubts.open().insert(row.id(), doubt)),
            false => drop(self.doubts.open().remove(&row.id())),
        }
    }

    /// Whatever becomes of the document that lies there, its note must not say that it was not sent.
    pub(super) fn is_in_doubt_at(&self, place: &Place) -> bool {
        self.doubts.open().values().any(|doubt| doubt.place == *place)
    }

    /// A delivery begins at a place: whichever else was there is there no more.
    pub(super) fn supersede(&self, place: &Place, by: DeliveryId) {
        for (id, doubt) in self.doubts.open().iter_mut() {
            doubt.is_superseded |= *id != by && doubt.place == *place;
        }
    }

    /// Learns which documents may have arrived before this start.
    pub(super) async fn learn_doubts(&self) -> Result<(), DeliveryError> {
        for query in [Query::Open { limit: MOST_OPEN }, Query::Unfiled { limit: MOST_OPEN }] {
            self.ledger.list(query).await?.iter().for_each(|row| self.mind(row));
        }
        Ok(())
    }

    /// Says once of each document that may have arrived and was taken away, or given another patient, that somebody must
    /// look: its delivery never comes to an end by itself.
    pub(super) async fn say_what_was_taken_away(&self) -> Result<(), DeliveryError> {
        let patience = self.config.delivery.alarm_after;
        let examined: Vec<_> = {
            let doubts = self.doubts.open();
            let ripe = doubts.iter().filter(|(_, doubt)| !doubt.is_said && doubt.since.elapsed() > patience);
            let path = |place: &Place| Some(self.config.inbox(&place.inbox)?.path.join(place.path.as_path()));
            ripe.filter_map(|(id, doubt)| Some((*id, doubt.is_superseded, path(&doubt.place)?))).collect()
        };
        if examined.is_empty() {
            return Ok(());
        }
        let gone = blocking(move || {
            // What cannot be told is still there.
            let lies = |path: &std::path::Path| effect::lies_at(path).unwrap_or(true);
            let gone = examined.into_iter().filter(|(_, is_superseded, path)| *is_superseded || !lies(path));
            gone.map(|(id, _, _)| id).collect::<Vec<_>>()
        })
        .await?;
        for id in gone {
            let row = self.ledger.look_up(id).await?;
            if row.is_some_and(|row| row.filing().is_none()) {
                error!(delivery = %id, "ALARM: a document that may have arrived was taken out of its inbox, or belongs to another patient by now. Look into the chart of the patient that `chartdrop show` names");
            }
            if let Some(doubt) = self.doubts.open().get_mut(&id) {
                doubt.is_said = true;
            }
        }
        Ok(())
    }
}
