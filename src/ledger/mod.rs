//! The record of every delivery: what has been done, durably, so that no step is forgotten or done twice.
//!
//! The ledger knows nothing of folders or HTTP: it keeps rows and gives them back.

// Effects only through `platform/effect.rs`.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

#[cfg(test)]
mod contract;
mod memory;
mod row;
mod sled;

use std::{future::Future, pin::Pin};

use jiff::Timestamp;
use uuid::Uuid;

pub use memory::MemoryLedger;
pub use row::{
    Accepted, Delivery, Files, Filing, Held, HeldWhy, HistoryEntry, PendingDuplicate, Queued, ROW_LIMIT, Reason,
    Rejected, SidecarFile, Stage, Then, Tried, Unknown,
};
pub use sled::{SledLedger, move_aside};

use crate::model::document::{DeliveryId, Sha256};

/// A ledger's answer: it comes when the step is durable.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, LedgerError>> + Send + 'a>>;

/// What a delivery needs of a store. Every write is durable when its reply comes.
pub trait Ledger: Send + Sync {
    /// Which ledger this is: a new one has another id, whatever its address.
    fn id(&self) -> Uuid;

    /// Writes a new row (its revision becomes 1), or gives back the one that stands under the same key, untouched.
    fn begin(&self, row: Delivery) -> Reply<'_, Begun>;

    /// Replaces the row that has the same key and the same revision; gives back what stands now (revision + 1).
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] when the row is gone or has another revision.
    fn advance(&self, row: Delivery) -> Reply<'_, Delivery>;

    /// The row of a key, if there is one.
    fn look_up<'a>(&'a self, id: DeliveryId) -> Reply<'a, Option<Delivery>>;

    /// Rows by how far they are.
    fn list(&self, query: Query) -> Reply<'_, Vec<Delivery>>;

    /// Removes filed rows last written before `before`; gives back how many.
    fn forget(&self, before: Timestamp) -> Reply<'_, u64>;
}

/// What [`Ledger::begin`] found.
#[derive(Clone, Debug, PartialEq)]
pub enum Begun {
    /// There was none: this is the new row.
    New(Delivery),
    /// There was one already.
    Existing(Delivery),
}

impl Begun {
    /// The row, new or not.
    pub fn row(self) -> Delivery {
        match self {
            Self::New(row) | Self::Existing(row) => row,
        }
    }
}

/// Which rows to list, at most `limit` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// Queued, Sending and Unknown, the first due first (held ones last).
    Open {
        /// At most so many.
        limit: usize,
    },
    /// Accepted or rejected, and not yet filed: what a crash left behind. Oldest first.
    Unfiled {
        /// At most so many.
        limit: usize,
    },
    /// Filed, newest first.
    History {
        /// At most so many.
        limit: usize,
    },
    /// Those whose document has these bytes, whatever their patient and destination; by id.
    ByContent {
        /// The document's digest.
        sha256: Sha256,
    },
    /// All of them, by id: for reading everything, a page at a time.
    ById {
        /// The first id that may come.
        from: DeliveryId,
        /// At most so many.
        limit: usize,
    },
}

/// What can go wrong with a ledger. All of it stops intake; none of it is a reason to send anything.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Somebody else wrote this row in between.
    #[error("delivery {0} was changed by somebody else in between")]
    Conflict(DeliveryId),
    /// A row past [`ROW_LIMIT`].
    #[error("a row of {0} bytes is longer than a ledger row may be ({ROW_LIMIT})")]
    RowTooLong(usize),
    /// A row that cannot be read.
    #[error("the ledger holds a row that cannot be read: {0}")]
    Damaged(String),
    /// Written by a later chartdrop.
    #[error(
        "the ledger was written by a newer chartdrop (version {0} of its form). Nothing was touched and nothing is lost; install that chartdrop again"
    )]
    Newer(u32),
    /// Another process has it.
    #[error("the ledger is in use by another chartdrop; stop that one first (systemctl stop chartdrop)")]
    InUse,
    /// Not a place where a durable step is durable.
    #[error("the ledger cannot be kept here: {0}")]
    Unsuitable(String),
    /// It opened empty although its stamp says that it held rows, or will not open at all.
    #[error(
        "the ledger has lost its rows: {0}. `chartdrop run` moves it aside and builds it again from receipts and reasons; nothing that has one is sent again"
    )]
    Lost(String),
    /// Reading or writing failed, or did not end in time. The handle is dead for good.
    #[error(
        "the ledger cannot be read or written: {0}. Nothing is lost, and nothing is sent that cannot be recorded: documents wait in the inboxes. Make room on its disk, or have the disk looked at, and start chartdrop again (systemd does that by itself)"
    )]
    Io(String),
}
