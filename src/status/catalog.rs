//! A short entry for every row of the ledger, in memory: counts, filters and stable pages without decoding the rows.
//!
//! 40 bytes a row: a clinic's year is a few hundred KB, a million rows 40 MB.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use super::view::{CountsView, State};
use crate::{
    ledger::{Delivery, Ledger, LedgerError, Query, Stage},
    model::document::DeliveryId,
};

/// Rows that are read at a time: other steps of the ledger wait no longer than for that.
const PAGE: usize = 500;

/// Where an entry is in every listing: fixed once the delivery exists.
pub type Position = (i64, Uuid);

/// What is kept of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was created, microseconds since 1970.
    pub created: i64,
    /// Its id.
    pub id: Uuid,
    /// The row's; of two entries the one with the higher is newer.
    revision: u32,
    /// When it was accepted or rejected, seconds since 1970; 0 while it is open.
    ended: u32,
    /// How far it is.
    pub state: State,
    /// Accepted, as far as it has ended.
    is_accepted: bool,
    /// Which of the catalog's inboxes.
    inbox: u16,
}

impl Entry {
    /// Its place in every listing.
    pub fn position(&self) -> Position {
        (self.created, self.id)
    }
}

/// An entry for every row.
#[derive(Debug)]
pub struct Catalog {
    inner: Mutex<Inner>,
    /// True once every row has been read.
    loaded: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By position.
    entries: Vec<Entry>,
    /// Names of inboxes, those of an older configuration included.
    inboxes: Vec<String>,
    /// What was written while the rows were read.
    overlay: Option<HashMap<Uuid, Entry>>,
    counts: CountsView,
}

impl Default for Catalog {
    fn default() -> Self {
        let inner = Inner { overlay: Some(HashMap::new()), ..Inner::default() };
        Self { inner: Mutex::new(inner), loaded: watch::channel(false).0 }
    }
}

impl Catalog {
    fn open(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads every row, a page at a time. What is written meanwhile is not missed.
    pub async fn load(&self, ledger: &dyn Ledger) -> Result<(), LedgerError> {
        self.open().overlay = Some(HashMap::new());
        let mut read = Vec::new();
        let mut from = Some(Uuid::nil());
        while let Some(id) = from {
            let rows = ledger.list(Query::ById { from: DeliveryId(id), limit: PAGE }).await?;
            from = rows
                .last()
                .filter(|_| rows.len() == PAGE)
                .and_then(|row| row.id().0.as_u128().checked_add(1))
                .map(Uuid::from_u128);
            self.read_in(&rows, &mut read);
            tokio::task::yield_now().await;
        }
        self.open().take_in(read);
        self.loaded.send_replace(true);
        Ok(())
    }

    fn read_in(&self, rows: &[Delivery], read: &mut Vec<Entry>) {
        let mut inner = self.open();
        read.extend(rows.iter().map(|row| inner.entry(row)));
    }

    /// Waits until every row has been read.
    pub async fn loaded(&self) {
        let mut loaded = self.loaded.subscribe();
        // The sender lives as long as this value.
        loaded.wait_for(|loaded| *loaded).await.ok();
    }

    /// A row was written. Returns its entry from before.
    pub fn put(&self, row: &Delivery) -> Option<Entry> {
        self.open().put(row)
    }

    /// Deliveries by state.
    pub fn counts(&self) -> CountsView {
        self.open().counts
    }

    /// Deliveries that are not in done or failed yet, by inbox and state.
    pub fn open_by_inbox(&self) -> BTreeMap<(String, State), u64> {
        let inner = self.open();
        let mut counts = BTreeMap::new();
        let open = inner.entries.iter().filter(|entry| !matches!(entry.state, State::Accepted | State::Rejected));
        for entry in open {
            if let Some(inbox) = inner.inboxes.get(usize::from(entry.inbox)) {
                *counts.entry((inbox.clone(), entry.state)).or_default() += 1;
            }
        }
        counts
    }

    /// How many of an inbox were accepted and rejected since a moment.
    pub fn ended_since(&self, inbox: &str, moment: Timestamp) -> (u64, u64) {
        let inner = self.open();
        let Some(inbox) = inner.inbox(inbox) else { return (0, 0) };
        let moment = seconds(moment);
        let ended = inner.entries.iter().filter(|entry| entry.inbox == inbox && entry.ended >= moment.max(1));
        ended.fold((0, 0), |(accepted, rejected), entry| match entry.is_accepted {
            true => (accepted + 1, rejected),
            false => (accepted, rejected + 1),
        })
    }

    /// The newest entries that come after `before` in a listing and are wanted, at most `limit`.
    pub fn page(&self, before: Option<Position>, wanted: &Wanted, limit: usize) -> Vec<Entry> {
        let inner = self.open();
        let end = before
            .map_or(inner.entries.len(), |before| inner.entries.partition_point(|entry| entry.position() < before));
        let inbox = match &wanted.inbox {
            None => None,
            Some(name) => match inner.inbox(name) {
                Some(inbox) => Some(inbox),
                None => return Vec::new(),
            },
        };
        let fits = |entry: &&Entry| {
            (wanted.states.is_empty() || wanted.states.contains(&entry.state))
                && inbox.is_none_or(|inbox| inbox == entry.inbox)
                && wanted.until.is_none_or(|until| entry.created < until.as_microsecond())
        };
        let old = |entry: &&Entry| wanted.since.is_none_or(|since| entry.created >= since.as_microsecond());
        inner.entries[..end].iter().rev().take_while(old).filter(fits).take(limit).copied().collect()
    }
}

/// Which entries are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// In one of these states; empty: any.
    pub states: Vec<State>,
    /// Of this inbox.
    pub inbox: Option<String>,
    /// Created at or after.
    pub since: Option<Timestamp>,
    /// Created before.
    pub until: Option<Timestamp>,
}

impl Inner {
    fn inbox(&self, name: &str) -> Option<u16> {
        self.inboxes.iter().position(|inbox| inbox == name).and_then(|at| u16::try_from(at).ok())
    }

    fn entry(&mut self, row: &Delivery) -> Entry {
        let inbox = self.inbox(&row.place.inbox).unwrap_or_else(|| {
            self.inboxes.push(row.place.inbox.clone());
            u16::try_from(self.inboxes.len() - 1).unwrap_or(u16::MAX)
        });
        let (ended, is_accepted) = match &row.stage {
            Stage::Accepted(accepted) => (seconds(accepted.at), true),
            Stage::Rejected(rejected) => (seconds(rejected.at), false),
            Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) | Stage::Held(_) => (0, false),
        };
        Entry {
            created: row.first_seen.as_microsecond(),
            id: row.id().0,
            revision: u32::try_from(row.revision).unwrap_or(u32::MAX),
            ended,
            state: State::of(row),
            is_accepted,
            inbox,
        }
    }

    fn put(&mut self, row: &Delivery) -> Option<Entry> {
        let mut entry = self.entry(row);
        if let Some(overlay) = &mut self.overlay {
            return overlay.insert(entry.id, entry);
        }
        let at = self.find(&entry);
        match at {
            Ok(at) => {
                let before = self.entries[at];
                if before.revision >= entry.revision {
                    return Some(before);
                }
                // Its place in a listing never changes.
                entry.created = before.created;
                self.entries[at] = entry;
                *self.counts.of(before.state) -= 1;
                *self.counts.of(entry.state) += 1;
                Some(before)
            }
            Err(at) => {
                self.entries.insert(at, entry);
                *self.counts.of(entry.state) += 1;
                None
            }
        }
    }

    fn find(&self, entry: &Entry) -> Result<usize, usize> {
        let place = self.entries.binary_search_by_key(&entry.position(), Entry::position);
        match place {
            Err(_) if entry.revision > 1 => {
                self.entries.iter().position(|known| known.id == entry.id).ok_or(place.unwrap_or_else(|at| at))
            }
            found => found,
        }
    }

    fn take_in(&mut self, mut read: Vec<Entry>) {
        let mut overlay = self.overlay.take().unwrap_or_default();
        for entry in &mut read {
            if let Some(newer) = overlay.remove(&entry.id).filter(|newer| newer.revision > entry.revision) {
                *entry = Entry { created: entry.created, ..newer };
            }
        }
        read.extend(overlay.into_values());
        read.sort_unstable_by_key(Entry::position);
        self.counts = CountsView::default();
        for entry in &read {
            *self.counts.of(entry.state) += 1;
        }
        self.entries = read;
    }
}

fn seconds(moment: Timestamp) -> u32 {
    u32::try_from(moment.as_second().max(1)).unwrap_or(u32::MAX)
}
