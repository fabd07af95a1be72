//! The ledger as a model: the same answers from a map in memory, for tests of the rooms that need a ledger.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use uuid::Uuid;

use super::{Begun, Delivery, Ledger, LedgerError, Query, Reply};
use crate::model::document::DeliveryId;

/// Rows that live as long as this value.
#[derive(Debug, Default)]
pub struct MemoryLedger(Mutex<BTreeMap<DeliveryId, Delivery>>);

impl MemoryLedger {
    fn with<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut BTreeMap<DeliveryId, Delivery>) -> Result<T, LedgerError>,
    ) -> Reply<'_, T> {
        let answer = step(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        Box::pin(std::future::ready(answer))
    }
}

impl Ledger for MemoryLedger {
    fn id(&self) -> Uuid {
        Uuid::nil()
    }

    fn begin(&self, mut row: Delivery) -> Reply<'_, Begun> {
        self.with(|rows| {
            row.revision = 1;
            row.encode()?;
            if let Some(standing) = rows.get(&row.id()) {
                return Ok(Begun::Existing(standing.clone()));
            }
            rows.insert(row.id(), row.clone());
            Ok(Begun::New(row))
        })
    }

    fn advance(&self, mut row: Delivery) -> Reply<'_, Delivery> {
        self.with(|rows| {
            let held = row.revision;
            row.revision = held.saturating_add(1);
            row.encode()?;
            match rows.get_mut(&row.id()) {
                Some(standing) if standing.revision == held => *standing = row.clone(),
                _ => return Err(LedgerError::Conflict(row.id())),
            }
            Ok(row)
        })
    }

    fn look_up(&self, id: DeliveryId) -> Reply<'_, Option<Delivery>> {
        self.with(|rows| Ok(rows.get(&id).cloned()))
    }

    fn list(&self, query: Query) -> Reply<'_, Vec<Delivery>> {
        self.with(|rows| {
            let rows = rows.values();
            let (mut found, limit): (Vec<_>, _) = match query {
                Query::Open { limit } => (rows.filter(|row| row.filing().is_none()).collect(), limit),
                Query::Unfiled { limit } => (rows.filter(|row| row.is_moving()).collect(), limit),
                Query::History { limit } => (rows.filter(|row| row.is_filed() && !row.is_moving()).collect(), limit),
                Query::ByContent { sha256 } => (rows.filter(|row| row.key.sha256 == sha256).collect(), usize::MAX),
                Query::ById { from, limit } => (rows.filter(|row| row.id() >= from).collect(), limit),
            };
            let due = |row: &Delivery| row.due().map_or(i64::MAX, Timestamp::as_microsecond);
            let written = |row: &Delivery| row.updated.as_microsecond();
            match query {
                Query::Open { .. } => found.sort_by_key(|row| (due(row), row.id())),
                Query::Unfiled { .. } => found.sort_by_key(|row| (written(row), row.id())),
                Query::History { .. } => found.sort_by_key(|row| std::cmp::Reverse((written(row), row.id()))),
                Query::ByContent { .. } | Query::ById { .. } => {}
            }
            Ok(found.into_iter().take(limit).cloned().collect())
        })
    }

    fn forget(&self, before: Timestamp) -> Reply<'_, u64> {
        self.with(|rows| {
            let all = rows.len();
            rows.retain(|_, row| {
                !(row.is_filed() && !row.is_moving() && row.updated.as_microsecond() < before.as_microsecond())
            });
            Ok((all - rows.len()) as u64)
        })
    }
}
