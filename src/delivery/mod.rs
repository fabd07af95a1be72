//! What happens next: takes documents from the inboxes through the ledger and Redox into done or failed.
//!
//! The only room that knows the inbox, Redox, the ledger and filing. One function decides (`attend.rs`), the steps are
//! in `steps.rs`; `dispatch.rs` feeds them from the inboxes.

// Effects only through `platform/effect.rs`.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod alarm;
pub mod board;
mod channel;
mod duplicate;
mod filing_recovery;
pub mod operator;
mod retry;
mod scheduler;
mod steps;
#[cfg(test)]
mod tests;
mod unsettled;
mod worker;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::AtomicBool},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use board::Board;
use channel::Channel;
pub use channel::Trouble;
pub use scheduler::{Mode, Summary};
use unsettled::Unsettled;
use worker::Item;

use crate::{
    config::Config,
    inbox::PatientChecks,
    ledger::{Ledger, LedgerError},
    model::document::{Coding, DeliveryId, Destination},
    model::path::{InboxPath, RelPath},
    platform::heartbeat::Heartbeat,
    redox::Client,
};

/// Why deliveries cannot go on at all. Whatever lies in the inboxes stays there.
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
    /// Deliveries that a worker is at: two files with the same bytes for the same patient must not be sent side by side.
    busy: Mutex<HashSet<DeliveryId>>,
    /// Inboxes whose finished documents cannot be moved at the moment.
    jammed: Mutex<HashSet<String>>,
    /// A move failed: its document may lie where no scan sees it, half filed, so that `recover.rs` must look.
    half_filed: AtomicBool,
    /// Documents that may have arrived.
    doubts: Unsettled,
    /// A sign of life of what looks into each inbox.
    pulses: BTreeMap<String, Heartbeat>,
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
}

impl Tuned {
    fn of(config: &Config) -> Self {
        Self { document_types: Arc::new(config.document_types.clone()), alarm_after: config.delivery.alarm_after }
    }
}

/// What is shown of a destination.
#[derive(Clone, Debug)]
pub struct ChannelState {
    /// Environment and slug.
    pub destination: Destination,
    /// Why it is closed, if it is.
    pub trouble: Option<Trouble>,
    /// Since when it has been closed, and when it is tried again.
    pub closed: Option<(Timestamp, Instant)>,
    /// Who keeps it from sending, and why.
    pub paused: Option<String>,
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

/// A delivery that one worker has for itself.
struct Claim<'a> {
    engine: &'a Engine,
    id: DeliveryId,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.engine.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Engine {
    /// Puts the parts together. `rebuilt_at`: when the ledger was built again, if it ever was.
    pub fn new(config: Config, ledger: Arc<dyn Ledger>, client: Client, rebuilt_at: Option<Timestamp>) -> Self {
        let pulses = config.inboxes.iter().map(|inbox| (inbox.name.clone(), Heartbeat::default())).collect();
        let channels = config.inboxes.iter().map(|inbox| (inbox.destination.clone(), Channel::default())).collect();
        let nudges = config.inboxes.iter().map(|inbox| (inbox.name.clone(), Nudge::default())).collect();
        Self {
            tuned: RwLock::new(Tuned::of(&config)),
            board: Board::new(&config),
            nudges,
            vetting: Arc::new(PatientChecks::new(&config.inboxes)),
            config,
            ledger,
            client,
            channels,
            busy: Mutex::default(),
            jammed: Mutex::default(),
            half_filed: AtomicBool::new(false),
            doubts: Unsettled::default(),
            pulses,
            rebuilt_at,
        }
    }

    /// Why nothing is being sent to some destination at the moment, if that is so.
    pub fn trouble(&self) -> Option<Trouble> {
        self.channels.values().find_map(Channel::trouble)
    }

    /// What may change without a restart is taken from a new configuration.
    pub fn tune(&self, config: &Config) {
        *self.tuned.write().unwrap_or_else(PoisonError::into_inner) = Tuned::of(config);
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
    pub fn channels(&self) -> Vec<ChannelState> {
        let state = |(destination, channel): (&Destination, &Channel)| ChannelState {
            destination: destination.clone(),
            trouble: channel.trouble(),
            closed: channel.closed(),
            paused: channel.paused(),
        };
        self.channels.iter().map(state).collect()
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

    fn claim(&self, id: DeliveryId) -> Option<Claim<'_>> {
        let new = self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        // Lazily: a claim that is dropped gives the delivery free, whoever has it.
        new.then(|| Claim { engine: self, id })
    }

    /// A random part (0 to 1) of the pause that comes after `attempt` failed tries.
    fn pause(&self, attempt: u32) -> Duration {
        let unit = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
        retry::pause(attempt, self.config.delivery.retry_first, self.config.delivery.retry_max, unit)
    }
}

/// `moment + pause`, as far as timestamps go.
fn after(moment: Timestamp, pause: Duration) -> Timestamp {
    moment.checked_add(pause).unwrap_or(Timestamp::MAX)
}

impl DeliveryError {
    /// Whether it may pass by itself, so that it is worth while to start again.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Ledger(LedgerError::Io(_) | LedgerError::InUse) | Self::Rebuild { .. })
    }
}

/// How long ago, never negative.
fn age(moment: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(moment)).unwrap_or_default()
}
