//! What happens next: takes documents from the inboxes through the ledger and Redox into done or failed.
//!
//! The only room that knows the inbox, Redox, the ledger and filing. `lifecycle/` decides and does nothing; `perform.rs` does
//! and decides nothing; `worker.rs` is the loop around both; `scheduler.rs` feeds it from the inboxes.

// Effects only through `platform/effect.rs`.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod alarm;
pub mod board;
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
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::AtomicBool},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use board::Board;
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
        document::{Coding, Destination, Identifier, Sha256},
        path::{InboxPath, RelPath},
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
    /// When each inbox was taken over from another ledger, if it ever was: what was in it then may have been sent.
    taken_over: Mutex<HashMap<String, Timestamp>>,
    /// What a new configuration may change meanwhile.
    tuned: RwLock<Tuned>,
    /// What others may see of all this.
    board: Board,
    /// Documents that are to be looked at again at once, and who waits for them: one a inbox.
    nudges: BTreeMap<String, Nudge>,
    /// Set when the ledger was built again: what was in the inboxes then may have been sent just before it was lost.
    rebuilt_at: Option<Timestamp>,
}

/// What a new configuration may change while deliveries go on.
#[derive(Clone)]
struct Tuned {
    document_types: Arc<BTreeMap<String, Coding>>,
    alarm_after: Duration,
    /// Whom staff can ask, for notes.
    contact: Option<String>,
}

impl Tuned {
    fn of(config: &Config) -> Self {
        Self {
            document_types: Arc::new(config.document_types.clone()),
            alarm_after: config.delivery.alarm_after,
            contact: config.status.contact.clone(),
        }
    }
}

/// What is shown of a destination.
#[derive(Clone, Debug)]
pub struct ChannelReport {
    /// Environment and slug.
    pub destination: Destination,
    /// How it is.
    pub state: ChannelState,
    /// Why it is not open.
    pub trouble: Option<Trouble>,
    /// Since when it has been closed.
    pub closed_since: Option<Timestamp>,
    /// When it is probed next.
    pub next_probe: Option<Instant>,
}

/// Documents that are to be looked at again at once.
#[derive(Debug, Default)]
struct Nudge {
    paths: Mutex<Nudged>,
    wake: tokio::sync::Notify,
}

/// Which documents.
#[derive(Debug, Default)]
struct Nudged {
    some: Vec<RelPath>,
    all: bool,
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
        let nudges = config.inboxes.iter().map(|inbox| (inbox.name.clone(), Nudge::default())).collect();
        Self {
            policy,
            tuned: RwLock::new(Tuned::of(&config)),
            board: Board::new(&config),
            nudges,
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
            taken_over: Mutex::default(),
            rebuilt_at,
        }
    }

    /// Why nothing is being sent to some destination at the moment, if that is so.
    pub fn trouble(&self) -> Option<Trouble> {
        self.channels.values().find_map(Channel::trouble)
    }

    /// What may change without a restart is taken from a new configuration, and whatever was wrong is tried at once.
    pub fn tune(&self, config: &Config) {
        *self.tuned.write().unwrap_or_else(PoisonError::into_inner) = Tuned::of(config);
        self.channels.values().for_each(Channel::probe_now);
        // What waits for a type that is known now is looked at again.
        self.nudge_all();
    }

    fn tuned(&self) -> Tuned {
        self.tuned.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is shown of the inboxes.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// How many tokens were got from Redox so far.
    pub fn token_renewals(&self) -> u64 {
        self.client.token_renewals()
    }

    /// What is shown of the destinations.
    pub fn channels(&self) -> Vec<ChannelReport> {
        let report = |(destination, channel): (&Destination, &Channel)| ChannelReport {
            destination: destination.clone(),
            state: channel.state(),
            trouble: channel.trouble(),
            closed_since: channel.closed_since(),
            next_probe: channel.next_probe(),
        };
        self.channels.iter().map(report).collect()
    }

    /// The first inbox that has not been looked into for `limit` longer than it was to be.
    pub fn hangs(&self, limit: Duration) -> Option<&str> {
        let now = Instant::now();
        self.pulses.iter().find(|(_, pulse)| pulse.overdue(now) > limit).map(|(inbox, _)| inbox.as_str())
    }

    /// A document is looked at again at once, whatever it was to wait for.
    fn nudge(&self, place: &InboxPath) {
        if let Some(nudge) = self.nudges.get(&place.inbox) {
            nudge.paths.lock().unwrap_or_else(PoisonError::into_inner).some.push(place.path.clone());
            nudge.wake.notify_one();
        }
    }

    /// Every document is.
    fn nudge_all(&self) {
        for nudge in self.nudges.values() {
            nudge.paths.lock().unwrap_or_else(PoisonError::into_inner).all = true;
            nudge.wake.notify_one();
        }
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
