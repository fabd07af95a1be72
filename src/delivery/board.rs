//! What the running daemon shows to others: every inbox, what waits in it and why, and the alarms that are on.
//!
//! Deliveries write it, and read nothing from it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    config::Config,
    model::{path::RelPath, problem::Problem},
};

/// At most so many waiting documents of an inbox are listed; the number of all of them is always exact.
pub const MOST_WAITING: usize = 10_000;
/// At most so many looks are remembered until somebody asks.
pub const MOST_LOOKS: usize = 1000;
/// At most so many alarms are on at a time; there are a handful of kinds for each inbox and destination.
const MOST_ALARMS: usize = 256;

/// Shared by whoever delivers and whoever asks.
#[derive(Debug)]
pub struct Board {
    started_at: Timestamp,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    inboxes: BTreeMap<String, InboxState>,
    alarms: BTreeMap<(String, Option<String>), Alarm>,
    /// How long each look took, since somebody asked.
    looks: Vec<(String, Duration)>,
}

/// How an inbox was found at the last look.
#[derive(Clone, Debug, Default)]
pub struct InboxState {
    /// Why it cannot be worked on.
    pub problem: Option<Words>,
    /// How many documents are in it.
    pub documents: usize,
    /// The change time of the one that has been there longest.
    pub oldest: Option<Timestamp>,
    /// Documents that have no row in the ledger yet, at most [`MOST_WAITING`].
    pub waiting: Vec<WaitingDocument>,
    /// How often the kernel has lost track of changes.
    pub overflows: u64,
}

/// A document without a delivery yet.
#[derive(Clone, Debug)]
pub struct WaitingDocument {
    /// Beneath its inbox.
    pub path: RelPath,
    /// Bytes.
    pub size: u64,
    /// When the file last changed.
    pub since: Timestamp,
    /// What it waits for.
    pub state: WaitingState,
    /// Why, when that is not plain.
    pub problem: Option<Words>,
    /// From when on it has settled, and only waits so that it can still be taken back.
    pub hold_from: Option<Timestamp>,
    /// When it goes on by itself, if nothing changes.
    pub until: Option<Timestamp>,
}

impl WaitingDocument {
    /// What it waits for by now: time goes on between two looks.
    pub fn state_at(&self, now: Timestamp) -> WaitingState {
        match self.state {
            WaitingState::Settling if self.until.is_none_or(|until| until <= now) => WaitingState::Ready,
            WaitingState::Settling if self.hold_from.is_some_and(|from| from <= now) => WaitingState::OnHold,
            state => state,
        }
    }
}

/// What a document waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitingState {
    /// It has not been the same for long enough.
    Settling,
    /// It can still be taken back.
    OnHold,
    /// Its turn.
    Ready,
    /// Its end, its sidecar, its patient file, or leave to read it.
    Incomplete,
}

/// What is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// A fixed word for programs.
    pub code: String,
    /// What happened.
    pub summary: String,
    /// What to do.
    pub remedy: String,
}

impl Words {
    /// All three parts.
    pub fn new(code: impl Into<String>, summary: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: code.into(), summary: summary.into(), remedy: remedy.into() }
    }
}

impl From<Problem> for Words {
    fn from(problem: Problem) -> Self {
        let Problem { code, summary, remedy } = problem;
        Self { code: code.into(), summary, remedy }
    }
}

/// Something that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What, and what to do.
    pub words: Words,
    /// Since when.
    pub since: Timestamp,
    /// In which inbox; `None` when it concerns all.
    pub inbox: Option<String>,
}

impl Board {
    /// Nothing has been looked at yet.
    pub fn new(config: &Config) -> Self {
        let unseen = || InboxState {
            problem: Some(Words::new(
                "not-looked-at",
                "It has not been looked into since the start.",
                "Wait a moment.",
            )),
            ..InboxState::default()
        };
        let inboxes = config.inboxes.iter().map(|inbox| (inbox.name.clone(), unseen())).collect();
        Self { started_at: Timestamp::now(), state: Mutex::new(State { inboxes, ..State::default() }) }
    }

    fn open(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When this daemon began.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// What the last look into an inbox found.
    pub(crate) fn looked(&self, inbox: &str, found: InboxState, took: Duration) {
        let mut state = self.open();
        if state.looks.len() < MOST_LOOKS {
            state.looks.push((inbox.to_owned(), took));
        }
        state.inboxes.insert(inbox.to_owned(), found);
    }

    /// Inbox and duration of each look since this was last asked, at most [`MOST_LOOKS`].
    pub fn take_looks(&self) -> Vec<(String, Duration)> {
        std::mem::take(&mut self.open().looks)
    }

    /// An inbox could not be looked into; what was known of it stays.
    pub(crate) fn unreachable(&self, inbox: &str, problem: Words) {
        if let Some(state) = self.open().inboxes.get_mut(inbox) {
            state.problem = Some(problem);
        }
    }

    /// An alarm begins, or says something else; it keeps the time at which it began.
    pub(crate) fn raise(&self, inbox: Option<&str>, words: Words) {
        let mut state = self.open();
        let key = (words.code.clone(), inbox.map(str::to_owned));
        let since = state.alarms.get(&key).map_or_else(Timestamp::now, |alarm| alarm.since);
        if state.alarms.len() < MOST_ALARMS || state.alarms.contains_key(&key) {
            state.alarms.insert(key, Alarm { words, since, inbox: inbox.map(str::to_owned) });
        }
    }

    /// An alarm is over.
    pub(crate) fn clear(&self, inbox: Option<&str>, code: &str) {
        self.open().alarms.remove(&(code.to_owned(), inbox.map(str::to_owned)));
    }

    /// Every inbox by name.
    pub fn inboxes(&self) -> BTreeMap<String, InboxState> {
        self.open().inboxes.clone()
    }

    /// Documents of an inbox without a delivery that have not changed since `before`, oldest first; `None` while the inbox
    /// cannot be worked on, since nobody knows then.
    pub fn waiting_since(&self, inbox: &str, before: Timestamp) -> Option<Vec<WaitingDocument>> {
        let state = self.open();
        let state = state.inboxes.get(inbox).filter(|state| state.problem.is_none())?;
        let mut late: Vec<_> = state.waiting.iter().filter(|document| document.since <= before).cloned().collect();
        late.sort_by_key(|document| document.since);
        Some(late)
    }

    /// What is on, by code.
    pub fn alarms(&self) -> Vec<Alarm> {
        self.open().alarms.values().cloned().collect()
    }
}
