//! The rows as sled holds them: by id, by how far they are and when, and one transaction for whatever is to change.

use std::{collections::BTreeMap, convert::Infallible, io, path::Path};

use ::sled::{
    Db, IVec, Transactional, Tree,
    transaction::{ConflictableTransactionError, TransactionError, TransactionalTree},
};
use jiff::Timestamp;
use uuid::Uuid;

use crate::ledger::{Begun, Delivery, LedgerError, Query};
use crate::{model::document::DeliveryId, platform::effect};

/// Sled's own default is 1 GiB.
const CACHE: u64 = 32 << 20;

/// Rows that one step of forgetting removes: the others' commits wait no longer than for that.
const FORGET_STEP: usize = 128;

const STORE: &[u8] = b"store";
const SEQUENCE: &[u8] = b"sequence";
const CONTENTS_INDEXED: &[u8] = b"contents indexed";

/// Where a row stands among the others: bucket, time (big-endian microseconds), id.
type Position = [u8; 25];

/// How far a row is, as the index sorts it.
#[derive(Clone, Copy)]
enum Bucket {
    Open = 0,
    Unfiled = 1,
    Filed = 2,
}

/// The open database.
pub(super) struct Trees {
    db: Db,
    /// Id (16 bytes) → encoded row.
    rows: Tree,
    /// [`Position`] → nothing.
    index: Tree,
    /// SHA-256 of the document (32 bytes), then id → nothing: the same bytes, whoever's they are.
    contents: Tree,
    /// Which ledger this is, and how many transactions it has seen.
    meta: Tree,
    sequence: u64,
}

impl Trees {
    /// Opens the database and reads all of it once, so that damage shows now and not in the middle of a delivery.
    pub(super) fn open(path: &Path) -> Result<Self, LedgerError> {
        let db = step(|| sled::Config::new().path(path).cache_capacity(CACHE).open())?;
        let tree = |name: &str| step(|| db.open_tree(name));
        let (rows, index, contents, meta) = (tree("rows")?, tree("index")?, tree("contents")?, tree("meta")?);
        let sequence = step(|| meta.get(SEQUENCE))?.map_or(Ok(0), |bytes| {
            let bytes = <[u8; 8]>::try_from(&*bytes).map_err(|_| LedgerError::Lost("its counter is damaged".into()))?;
            Ok(u64::from_be_bytes(bytes))
        })?;
        let trees = Self { db, rows, index, contents, meta, sequence };
        trees.index_contents()?;
        trees.check()?;
        Ok(trees)
    }

    /// A ledger from before there was this index gets it; an interrupted try starts over.
    fn index_contents(&self) -> Result<(), LedgerError> {
        if step(|| self.meta.contains_key(CONTENTS_INDEXED))? {
            return Ok(());
        }
        for pair in self.rows.iter() {
            let (_, bytes) = pair.map_err(sled_error)?;
            // What cannot be read is found, and said, by `check`.
            if let Ok(row) = Delivery::decode(&bytes) {
                step(|| self.contents.insert(content_key(&row), &[]))?;
            }
        }
        step(|| self.meta.insert(CONTENTS_INDEXED, &[1])).map(drop)
    }

    /// Every row is read, is what its key says, and stands where the index says; and the index holds nothing else. A row
    /// of a newer chartdrop is said before any damage: that ledger is to be left alone.
    fn check(&self) -> Result<(), LedgerError> {
        let (mut rows, mut damage) = (0, None);
        for pair in self.rows.iter() {
            let (id, bytes) = pair.map_err(sled_error)?;
            rows += 1;
            let sound = Delivery::decode(&bytes).and_then(|row| {
                let stands = step(|| self.index.contains_key(position(&row)))?
                    && step(|| self.contents.contains_key(content_key(&row)))?;
                if row.id().0.as_bytes()[..] == *id && stands {
                    Ok(())
                } else {
                    Err(damaged("is out of place", row.id()))
                }
            });
            match sound {
                Ok(()) => {}
                Err(LedgerError::Damaged(summary)) => drop(damage.get_or_insert(summary)),
                Err(error) => return Err(error),
            }
        }
        let (places, contents) = (count(&self.index)?, count(&self.contents)?);
        match damage {
            Some(summary) => Err(LedgerError::Lost(summary)),
            None if rows != places || rows != contents => {
                Err(LedgerError::Lost(format!("it has {rows} rows, and places for {places} and {contents}")))
            }
            None => Ok(()),
        }
    }

    /// How many transactions this ledger has seen.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Which ledger this is; `None` while it is new.
    pub(super) fn store(&self) -> Result<Option<Uuid>, LedgerError> {
        let bytes = step(|| self.meta.get(STORE))?;
        bytes
            .map(|bytes| Uuid::from_slice(&bytes).map_err(|_| LedgerError::Lost("its id is damaged".into())))
            .transpose()
    }

    /// Gives a new ledger its id.
    pub(super) fn name(&self, store: Uuid) -> Result<(), LedgerError> {
        step(|| self.meta.insert(STORE, store.as_bytes()))?;
        self.flush()
    }

    /// Hands everything to the kernel; it is durable only once the file is synced as well.
    pub(super) fn flush(&self) -> Result<(), LedgerError> {
        step(|| self.db.flush()).map(drop)
    }

    /// The row stored under an id, checked to be that one.
    pub(super) fn row(&self, id: DeliveryId) -> Result<Option<Delivery>, LedgerError> {
        let Some(bytes) = step(|| self.rows.get(id.0.as_bytes()))? else { return Ok(None) };
        let row = Delivery::decode(&bytes)?;
        if row.id() == id { Ok(Some(row)) } else { Err(damaged("under another's id", id)) }
    }

    /// Rows in the index's order.
    pub(super) fn list(&self, query: Query) -> Result<Vec<Delivery>, LedgerError> {
        let prefix = |bucket: Bucket| self.index.scan_prefix([bucket as u8]).keys();
        match query {
            Query::Open { limit } => self.fetch(prefix(Bucket::Open).take(limit)),
            Query::Unfiled { limit } => self.fetch(prefix(Bucket::Unfiled).take(limit)),
            Query::History { limit } => self.fetch(prefix(Bucket::Filed).rev().take(limit)),
            Query::ByContent { sha256 } => {
                let ids = self.contents.scan_prefix(sha256.0).keys();
                ids.map(|key| self.fetch_by_id(key.map_err(sled_error)?.get(32..).unwrap_or_default())).collect()
            }
            Query::ById { from, limit } => {
                let ids = self.rows.range(from.0.into_bytes()..).keys().take(limit);
                ids.map(|id| self.fetch_by_id(&id.map_err(sled_error)?)).collect()
            }
        }
    }

    fn fetch(&self, places: impl Iterator<Item = sled::Result<IVec>>) -> Result<Vec<Delivery>, LedgerError> {
        let fetch = |place: sled::Result<IVec>| {
            let place = place.map_err(sled_error)?;
            let id = id_at(&place)?;
            match self.row(id)? {
                Some(row) if position(&row)[..] == *place => Ok(row),
                Some(_) | None => Err(damaged("is not where its index says", id)),
            }
        };
        places.map(fetch).collect()
    }

    fn fetch_by_id(&self, id: &[u8]) -> Result<Delivery, LedgerError> {
        let id = Uuid::from_slice(id).map_err(|_| LedgerError::Damaged("an id of the wrong length".into()))?;
        self.row(DeliveryId(id))?.ok_or_else(|| damaged("is gone while it is read", DeliveryId(id)))
    }

    /// Filed rows last written before a moment, as many as one step may remove; whether there may be more.
    fn forgettable(&self, before: Timestamp) -> Result<(Vec<DeliveryId>, bool), LedgerError> {
        let from = place(Bucket::Filed, 0, Uuid::nil());
        let to = place(Bucket::Filed, sortable(before), Uuid::nil());
        let ids = self.index.range(from..to).keys().take(FORGET_STEP).map(|place| id_at(&place.map_err(sled_error)?));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        let more = ids.len() == FORGET_STEP;
        Ok((ids, more))
    }

    /// Applies what a batch decided, all of it or nothing. Says whether there was anything to apply.
    pub(super) fn apply(&mut self, changes: &Changes) -> Result<bool, LedgerError> {
        let changed: Vec<_> = changes.0.iter().filter(|(_, slot)| slot.change.is_some()).collect();
        if changed.is_empty() {
            return Ok(false);
        }
        let next = self.sequence + 1;
        let put = |rows: &TransactionalTree,
                   index: &TransactionalTree,
                   contents: &TransactionalTree,
                   meta: &TransactionalTree| {
            for (id, slot) in &changed {
                if let Some(old) = &slot.stored_at {
                    index.remove(old.as_slice())?;
                }
                match (&slot.row, &slot.change) {
                    (Some(row), Some(Change::Put(bytes))) => {
                        rows.insert(id.0.as_bytes(), bytes)?;
                        index.insert(position(row).as_slice(), &[])?;
                        contents.insert(content_key(row).as_slice(), &[])?;
                    }
                    _ => {
                        rows.remove(id.0.as_bytes())?;
                        if let Some(content) = &slot.content {
                            contents.remove(content.as_slice())?;
                        }
                    }
                }
            }
            meta.insert(SEQUENCE, &next.to_be_bytes())?;
            Ok::<(), ConflictableTransactionError<Infallible>>(())
        };
        step(|| {
            let done = (&self.rows, &self.index, &self.contents, &self.meta)
                .transaction(|(rows, index, contents, meta)| put(rows, index, contents, meta));
            done.map_err(|error| match error {
                TransactionError::Storage(error) => error,
                TransactionError::Abort(never) => match never {},
            })
        })?;
        self.sequence = next;
        Ok(true)
    }
}

/// What a batch of requests is going to change, decided one after the other, each seeing those before it.
#[derive(Default)]
pub(super) struct Changes(BTreeMap<DeliveryId, Slot>);

/// One row in the eyes of a batch.
struct Slot {
    /// Where the stored row stands in the index.
    stored_at: Option<Position>,
    /// Where the contents' index has it.
    content: Option<[u8; 48]>,
    /// The row as it is now.
    row: Option<Delivery>,
    /// What has to be done to the stored one; `None` for a row that was only looked at.
    change: Option<Change>,
}

enum Change {
    Put(IVec),
    Remove,
}

/// A row to write, with its revision set and its stored form made.
pub(super) struct Encoded {
    row: Delivery,
    bytes: IVec,
}

impl Encoded {
    /// Gives the row its next revision.
    pub(super) fn new(mut row: Delivery, revision: u64) -> Result<Self, LedgerError> {
        row.revision = revision;
        let bytes = row.encode()?.into();
        Ok(Self { row, bytes })
    }
}

impl Changes {
    fn slot(&mut self, trees: &Trees, id: DeliveryId) -> Result<&mut Slot, LedgerError> {
        use std::collections::btree_map::Entry::{Occupied, Vacant};
        Ok(match self.0.entry(id) {
            Occupied(slot) => slot.into_mut(),
            Vacant(vacant) => {
                let row = trees.row(id)?;
                let (stored_at, content) = (row.as_ref().map(position), row.as_ref().map(content_key));
                vacant.insert(Slot { stored_at, content, row, change: None })
            }
        })
    }

    /// See [`super::Ledger::begin`].
    pub(super) fn begin(&mut self, trees: &Trees, new: Encoded) -> Result<Begun, LedgerError> {
        let slot = self.slot(trees, new.row.id())?;
        if let Some(standing) = &slot.row {
            return Ok(Begun::Existing(standing.clone()));
        }
        Ok(Begun::New(slot.put(new)))
    }

    /// See [`super::Ledger::advance`].
    pub(super) fn advance(&mut self, trees: &Trees, held: u64, new: Encoded) -> Result<Delivery, LedgerError> {
        let slot = self.slot(trees, new.row.id())?;
        match &slot.row {
            Some(standing) if standing.revision == held => Ok(slot.put(new)),
            Some(_) | None => Err(LedgerError::Conflict(new.row.id())),
        }
    }

    /// One step of [`super::Ledger::forget`]: how many rows go, and whether there may be more.
    pub(super) fn forget(&mut self, trees: &Trees, before: Timestamp) -> Result<(u64, bool), LedgerError> {
        let (ids, more) = trees.forgettable(before)?;
        let mut gone = 0;
        for id in ids {
            let slot = self.slot(trees, id)?;
            // An earlier request of this batch may have written it anew, or removed it.
            if slot.change.is_none() {
                slot.row = None;
                slot.change = Some(Change::Remove);
                gone += 1;
            }
        }
        Ok((gone, more))
    }
}

impl Slot {
    fn put(&mut self, new: Encoded) -> Delivery {
        self.row = Some(new.row.clone());
        self.change = Some(Change::Put(new.bytes));
        new.row
    }
}

fn position(row: &Delivery) -> Position {
    let (bucket, time) = match row.filing() {
        None => (Bucket::Open, row.due().map_or(u64::MAX, sortable)),
        Some(_) if row.is_moving() => (Bucket::Unfiled, sortable(row.updated)),
        Some(_) => (Bucket::Filed, sortable(row.updated)),
    };
    place(bucket, time, row.id().0)
}

fn content_key(row: &Delivery) -> [u8; 48] {
    let mut key = [0; 48];
    key[..32].copy_from_slice(&row.key.sha256.0);
    key[32..].copy_from_slice(row.id().0.as_bytes());
    key
}

fn place(bucket: Bucket, time: u64, id: Uuid) -> Position {
    let mut place = [0; 25];
    place[0] = bucket as u8;
    place[1..9].copy_from_slice(&time.to_be_bytes());
    place[9..].copy_from_slice(id.as_bytes());
    place
}

/// Microseconds in the order of time also before 1970; never `u64::MAX`.
fn sortable(time: Timestamp) -> u64 {
    time.as_microsecond().cast_unsigned() ^ (1 << 63)
}

fn id_at(place: &[u8]) -> Result<DeliveryId, LedgerError> {
    let id = place.get(9..).and_then(|id| Uuid::from_slice(id).ok());
    id.map(DeliveryId).ok_or_else(|| LedgerError::Damaged("an index entry of the wrong length".into()))
}

fn count(tree: &Tree) -> Result<u64, LedgerError> {
    step(|| tree.iter().try_fold(0, |sum, pair| pair.map(|_| sum + 1)))
}

/// One effect of sled's.
#[track_caller]
fn step<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, LedgerError> {
    effect::of(|| Ok(call())).map_err(|error| LedgerError::Io(error.to_string()))?.map_err(sled_error)
}

fn damaged(how: &str, id: DeliveryId) -> LedgerError {
    LedgerError::Damaged(format!("delivery {id} {how}"))
}

/// What sled's error means: an I/O error may pass, while a file that does not make sense will not.
fn sled_error(error: sled::Error) -> LedgerError {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error {
        sled::Error::Io(error) if !matches!(error.kind(), UnexpectedEof | InvalidData | InvalidInput) => {
            LedgerError::Io(error.to_string())
        }
        error => LedgerError::Lost(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_times_sort_as_time_does() {
        let times = ["-009999-01-02T01:59:59Z", "1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z"];
        let mut sorted: Vec<u64> = times.iter().map(|time| sortable(time.parse().unwrap())).collect();
        sorted.push(sortable(Timestamp::MAX));
        sorted.push(u64::MAX);
        assert!(sorted.is_sorted_by(|a, b| a < b), "{sorted:?}");
    }

    #[test]
    fn a_full_disk_is_not_a_loss() {
        let full = sled::Error::Io(io::Error::from(io::ErrorKind::StorageFull));
        assert!(matches!(sled_error(full), LedgerError::Io(_)));
        let cut = sled::Error::Io(io::Error::from(io::ErrorKind::UnexpectedEof));
        assert!(matches!(sled_error(cut), LedgerError::Lost(_)));
    }
}
