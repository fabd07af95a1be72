//! A ledger that tells what is written to it: the catalog is kept, and whoever listens hears of every change.

use std::{sync::Arc, time::Instant};

use jiff::Timestamp;
use tokio::sync::broadcast;
use uuid::Uuid;

use super::{
    catalog::{Catalog, Entry},
    metrics::Metrics,
    view::DeliveryView,
};
use crate::{
    ledger::{Begun, Delivery, Ledger, Query, Reply},
    model::document::DeliveryId,
};

/// Changes that a listener may be behind; one that is slower hears that it has missed some.
const BEHIND: usize = 256;

/// The ledger of a running daemon.
pub struct ObservedLedger {
    inner: Arc<dyn Ledger>,
    catalog: Arc<Catalog>,
    metrics: Arc<Metrics>,
    changes: broadcast::Sender<Arc<DeliveryView>>,
}

impl ObservedLedger {
    /// Around another one.
    pub fn new(inner: Arc<dyn Ledger>) -> Self {
        Self { inner, catalog: Arc::default(), metrics: Arc::default(), changes: broadcast::channel(BEHIND).0 }
    }

    /// What it keeps.
    pub(super) fn parts(&self) -> (Arc<Catalog>, Arc<Metrics>) {
        (Arc::clone(&self.catalog), Arc::clone(&self.metrics))
    }

    /// Every change from now on.
    pub(super) fn changes(&self) -> broadcast::Receiver<Arc<DeliveryView>> {
        self.changes.subscribe()
    }

    fn wrote(&self, row: &Delivery, began: Instant) {
        let before: Option<Entry> = self.catalog.put(row);
        self.metrics.wrote(row, before.map(|entry| entry.state), began.elapsed());
        if self.changes.receiver_count() > 0 {
            self.changes.send(Arc::new(DeliveryView::of(row))).ok();
        }
    }
}

impl Ledger for ObservedLedger {
    fn id(&self) -> Uuid {
        self.inner.id()
    }

    fn begin(&self, row: Delivery) -> Reply<'_, Begun> {
        Box::pin(async move {
            let began = Instant::now();
            let begun = self.inner.begin(row).await?;
            if let Begun::New(row) = &begun {
                self.wrote(row, began);
            }
            Ok(begun)
        })
    }

    fn advance(&self, row: Delivery) -> Reply<'_, Delivery> {
        Box::pin(async move {
            let began = Instant::now();
            let row = self.inner.advance(row).await?;
            self.wrote(&row, began);
            Ok(row)
        })
    }

    fn look_up(&self, id: DeliveryId) -> Reply<'_, Option<Delivery>> {
        self.inner.look_up(id)
    }

    fn list(&self, query: Query) -> Reply<'_, Vec<Delivery>> {
        self.inner.list(query)
    }

    fn forget(&self, before: Timestamp) -> Reply<'_, u64> {
        Box::pin(async move {
            let forgotten = self.inner.forget(before).await?;
            if forgotten > 0 {
                self.catalog.load(&*self.inner).await?;
            }
            Ok(forgotten)
        })
    }
}
