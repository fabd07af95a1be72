//! What happens next: takes documents from the inboxes through the ledger and Redox into done or failed.
//!
//! The only room that knows the inbox, Redox, the ledger and filing. `lifecycle/` decides and does nothing; `perform.rs` does
//! and decides nothing; `worker.rs` is the loop around both; `scheduler.rs` feeds it from the inboxes.

// Effects only through `platform/effect.rs`.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod alarm;
mod channel;
mod duplicate;
mod filing_recovery;
mod forgetting;
mod lifecycle;
mod log;
pub mod operator;
mod perform;
mod scheduler;
#[cfg(test)]
mod tests;
mod unsettled;
mod worker;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use channel::Channel;
pub use channel::{ChannelState, Trouble};
pub use forgetting::forget_old;
use lifecycle::Policy;
pub use lifecycle::{Decision, held_problem};
pub use scheduler::{Mode, Summary};
use unsettled::Unsettled;
use worker::Item;

use crate::{
    config::Config,
    inbox::PatientChecks,
    ledger::{Ledger, LedgerError},
    model::{
        document::{Destination, Identifier, Sha256},
        patient::same_patient,
    },
    platform::heartbeat::Heartbeat,
    redox::Client,
};

/// What fuzz/ asks of rows.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    pub use super::lifecycle::fits;
}

/// Why deliveries cannot go on at all. What is in the inboxes stays there.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The record of what was sent is not to be relied on.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The ledger was lost, and a folder that says what was sent cannot be read.
    #[error("the ledger has lost rows, and cannot be built again while {} cannot be read: {why}. Nothing is lost, and nothing is sent until then; is its share mounted?", folder.display())]
    Rebuild {
        /// An inbox, done or failed.
        folder: std::path::PathBuf,
        /// Why not.
        why: String,
    },
    /// The ledger was lost, and some receipts do not say any more what was sent.
    #[error("the ledger has lost rows, and {count} of the receipts that it is built again from cannot be read. Nothing is lost, and nothing is sent until then. {} lists them: put each back from a backup, or move it out of the done folder together with its document (which would then be sent again if somebody dropped it again), and start chartdrop", list.display())]
    Unreadable {
        /// How many.
        count: usize,
        /// A file with their names.
        list: std::path::PathBuf,
    },
    /// A part of the program ended without saying why.
    #[error("a part of chartdrop ended unexpectedly ({0}); nothing is lost, start it again")]
    Broken(&'static str),
}

/// Everything that a delivery needs, shared by all workers.
pub struct Engine {
    config: Config,
    ledger: Arc<dyn Ledger>,
    client: Client,
    /// What speaks for or against a patient, over all inboxes.
    vetting: Arc<PatientChecks>,
    /// One for each destination: what is wrong with one must not stop the others.
    channels: BTreeMap<Destination, Channel>,
    /// How retries go.
    policy: Policy,
    /// Documents that a worker is at: two files with the same bytes for the same patient must not be sent side by side.
    busy: Mutex<Vec<Busy>>,
    /// Inboxes whose finished documents cannot be moved at the moment.
    filing_blocked: Mutex<HashSet<String>>,
    /// A move failed: its document may be where no scan sees it, so that `filing_recovery.rs` must look.
    filing_pending: AtomicBool,
    /// Documents that may have arrived.
    unsettled: Unsettled,
    /// A sign of life of what looks into each inbox.
    pulses: BTreeMap<String, Heartbeat>,
    /// Set when the ledger was built again: what was in the inboxes then may have been sent just before it was lost.
    rebuilt_at: Option<Timestamp>,
}

/// A document that one worker has for itself.
#[derive(Debug)]
struct Busy {
    number: u64,
    destination: Destination,
    sha256: Sha256,
    patient: Vec<Identifier>,
}

/// While it lives, no other worker has a document with the same bytes for the same patient and destination.
struct Claim<'a> {
    engine: &'a Engine,
    number: u64,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut busy = self.engine.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.retain(|busy| busy.number != self.number);
    }
}

impl Engine {
    /// Puts the parts together. `rebuilt_at`: when the ledger was built again, if it ever was.
    pub fn new(config: Config, ledger: Arc<dyn Ledger>, client: Client, rebuilt_at: Option<Timestamp>) -> Self {
        let pulses = config.inboxes.iter().map(|inbox| (inbox.name.clone(), Heartbeat::default())).collect();
        let channels = config.inboxes.iter().map(|inbox| (inbox.destination.clone(), Channel::default())).collect();
        let policy = Policy {
            on_unknown: config.delivery.on_unknown,
            resend_after: config.delivery.resend_after.clone(),
            retry_first: config.delivery.retry_first,
            retry_max: config.delivery.retry_max,
            give_up_after: config.delivery.give_up_after,
            upload_max_age: config.delivery.upload_max_age,
            endpoint: config.redox.endpoint(),
        };
        Self {
            policy,
            vetting: Arc::new(PatientChecks::new(&config.inboxes)),
            config,
            ledger,
            client,
            channels,
            busy: Mutex::default(),
            filing_blocked: Mutex::default(),
            filing_pending: AtomicBool::new(false),
            unsettled: Unsettled::default(),
            pulses,
            rebuilt_at,
        }
    }

    /// Why nothing is being sent to some destination at the moment, if that is so.
    pub fn trouble(&self) -> Option<Trouble> {
        self.channels.values().find_map(Channel::trouble)
    }

    /// Every channel: its destination, why it is closed, and when it is probed next.
    pub fn channels(&self) -> impl Iterator<Item = (&Destination, Option<Trouble>, Option<Instant>)> {
        self.channels.iter().map(|(destination, channel)| (destination, channel.trouble(), channel.next_probe()))
    }

    /// Pauses a channel, or lets it go on. False when there is no such destination.
    pub fn pause(&self, destination: &Destination, paused: bool) -> bool {
        self.channels.get(destination).map(|channel| channel.pause(paused)).is_some()
    }

    /// Something was fixed: every closed channel is probed at once.
    pub fn probe_now(&self) {
        self.channels.values().for_each(Channel::probe_now);
    }

    /// The first inbox that has not been looked into for `limit` longer than it was to be.
    pub fn hangs(&self, limit: Duration) -> Option<&str> {
        let now = Instant::now();
        self.pulses.iter().find(|(_, pulse)| pulse.overdue(now) > limit).map(|(inbox, _)| inbox.as_str())
    }

    fn channel(&self, item: &Item<'_>) -> &Channel {
        // Every inbox has put its own in.
        &self.channels[&item.inbox.destination]
    }

    /// A claim on a document; `None` while another worker has the same one. An empty patient stands for a document that was
    /// not identified.
    fn claim(&self, destination: &Destination, sha256: Sha256, patient: &[Identifier]) -> Option<Claim<'_>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |other: &Busy| {
            other.destination == *destination
                && other.sha256 == sha256
                && (patient == other.patient || same_patient(patient, &other.patient))
        };
        if busy.iter().any(is_same) {
            return None;
        }
        let number = busy.last().map_or(0, |last| last.number + 1);
        busy.push(Busy { number, destination: destination.clone(), sha256, patient: patient.to_vec() });
        Some(Claim { engine: self, number })
    }
}

impl DeliveryError {
    /// Whether it may pass by itself, so that it is worth while to start again.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Ledger(LedgerError::Io(_) | LedgerError::InUse) | Self::Rebuild { .. })
    }
}
