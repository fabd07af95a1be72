//! The API's objects, and the one place where a row of the ledger becomes one of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    delivery::{
        board::{Alarm, WaitingState, Words},
        held_problem,
    },
    ledger::{Accepted, Delivery, HistoryEntry, Rejected, Stage, Then},
};

/// The state of a delivery.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for its turn, or for its next try.
    Queued,
    /// Its message is being sent.
    Sending,
    /// It was sent, and the answer was lost.
    Unknown,
    /// Waits for a person's decision.
    Held,
    /// Accepted by Redox, and filed.
    Accepted,
    /// Rejected, and filed.
    Rejected,
    /// Final, and not yet in done or failed.
    Filing,
}

impl State {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Sending, Self::Unknown, Self::Held, Self::Filing, Self::Accepted, Self::Rejected];

    /// The word that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Unknown => "unknown",
            Self::Held => "held",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Filing => "filing",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// The state of a row.
    pub fn of(row: &Delivery) -> Self {
        match &row.stage {
            Stage::Queued(_) => Self::Queued,
            Stage::Sending(_) => Self::Sending,
            Stage::Unknown(_) => Self::Unknown,
            Stage::Held(_) => Self::Held,
            Stage::Accepted(_) | Stage::Rejected(_) if !row.is_filed() => Self::Filing,
            Stage::Accepted(_) => Self::Accepted,
            Stage::Rejected(_) => Self::Rejected,
        }
    }
}

/// What is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemView {
    /// A fixed word for programs.
    pub code: String,
    /// What happened.
    pub summary: String,
    /// What to do.
    pub remedy: String,
}

impl From<&Words> for ProblemView {
    fn from(words: &Words) -> Self {
        Self { code: words.code.clone(), summary: words.summary.clone(), remedy: words.remedy.clone() }
    }
}

/// A delivery, as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryView {
    /// Its id; `urn:uuid:` of it is the document's `masterIdentifier`.
    pub id: String,
    /// The inbox's name.
    pub inbox: String,
    /// Where the file was last seen, beneath the inbox.
    pub path: String,
    /// Bytes; null for a file that was refused unread.
    pub size: Option<u64>,
    /// How far it is.
    pub state: State,
    /// Since when it has been in this state.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Why it waits, or why it was rejected.
    pub problem: Option<ProblemView>,
    /// Failed tries of the present step.
    pub attempts: u32,
    /// How often its message was sent.
    pub sent: u32,
    /// How many of those were left without an answer that settles anything.
    pub unconfirmed: u32,
    /// When the file was first identified.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When Redox accepted it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub accepted_at: Option<Timestamp>,
    /// Where it was filed, beneath done or failed.
    pub filed_as: Option<String>,
    /// What it is called at Redox.
    pub ids: IdsView,
    /// What happened, oldest first.
    pub history: Vec<EventView>,
    /// Where it goes.
    pub destination: String,
    /// The patient's first identifier, `system|value`.
    pub patient: Option<String>,
    /// When it is tried again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
}

/// What a delivery is called elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IdsView {
    /// `DocumentReference.masterIdentifier`.
    pub master_identifier: Option<String>,
    /// `Bundle.id` of its message.
    pub bundle: Option<Uuid>,
    /// `MessageHeader.id` of its message.
    pub message: Option<Uuid>,
    /// What Redox called it in its answer.
    pub answer: Vec<String>,
}

/// One thing that happened to a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What, a fixed word.
    pub event: String,
    /// Who, when a person did it.
    pub by: Option<String>,
    /// More of it, in words.
    pub detail: Option<String>,
}

/// `GET /api/v1/deliveries`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeliveriesView {
    /// Newest first.
    pub deliveries: Vec<DeliveryView>,
    /// Where to go on; null when these were the last.
    pub next: Option<String>,
}

/// A document without a delivery yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitingView {
    /// The inbox's name.
    pub inbox: String,
    /// Beneath the inbox.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// When the file last changed.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// `settling`, `on-hold`, `ready` or `incomplete`.
    pub state: String,
    /// What it waits for.
    pub problem: Option<ProblemView>,
    /// When it goes on by itself, if nothing changes.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// `GET /api/v1/waiting`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitingListView {
    /// By inbox and path.
    pub documents: Vec<WaitingView>,
    /// Where to go on; null when these were the last.
    pub next: Option<String>,
}

/// `GET /api/v1/status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// chartdrop's.
    pub version: String,
    /// The machine.
    pub node: String,
    /// When the daemon began; null when it does not run.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// Every inbox.
    pub inboxes: Vec<InboxView>,
    /// Every destination.
    pub channels: Vec<ChannelView>,
    /// Deliveries by state.
    pub counts: CountsView,
    /// What a person should look at.
    pub alarms: Vec<AlarmView>,
    /// The record of every delivery.
    pub ledger: LedgerView,
}

/// An inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InboxView {
    /// Its name.
    pub name: String,
    /// `ok`, `waiting` or `unreachable`; null when nobody looks.
    pub state: Option<String>,
    /// Why it is unreachable.
    pub problem: Option<ProblemView>,
    /// How many documents are in it.
    pub waiting: Option<u64>,
    /// Since when the oldest has been there.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest_waiting_since: Option<Timestamp>,
    /// Accepted since midnight.
    pub accepted_today: u64,
    /// Rejected since midnight.
    pub rejected_today: u64,
}

/// A destination with its credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelView {
    /// Environment and slug.
    pub destination: String,
    /// `open`, `backing-off`, `stopped` or `paused`; null when nobody sends.
    pub state: Option<String>,
    /// Why it is not open.
    pub problem: Option<ProblemView>,
    /// When it is tried again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
}

/// Deliveries by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub struct CountsView {
    pub queued: u64,
    pub sending: u64,
    pub unknown: u64,
    pub held: u64,
    pub filing: u64,
    pub accepted: u64,
    pub rejected: u64,
}

impl CountsView {
    /// The number of a state.
    pub fn of(&mut self, state: State) -> &mut u64 {
        match state {
            State::Queued => &mut self.queued,
            State::Sending => &mut self.sending,
            State::Unknown => &mut self.unknown,
            State::Held => &mut self.held,
            State::Accepted => &mut self.accepted,
            State::Rejected => &mut self.rejected,
            State::Filing => &mut self.filing,
        }
    }
}

/// Something that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlarmView {
    /// A fixed word for programs.
    pub code: String,
    /// What happened.
    pub summary: String,
    /// What to do.
    pub remedy: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// In which inbox; null when it concerns all.
    pub inbox: Option<String>,
}

impl From<Alarm> for AlarmView {
    fn from(alarm: Alarm) -> Self {
        let Words { code, summary, remedy } = alarm.words;
        Self { code, summary, remedy, since: alarm.since, inbox: alarm.inbox }
    }
}

/// The record of every delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerView {
    /// `sled` or `postgresql`.
    pub kind: String,
    /// What it takes on its disk; null when that is not ours to know.
    pub size_bytes: Option<u64>,
}

impl WaitingState {
    /// The word that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settling => "settling",
            Self::OnHold => "on-hold",
            Self::Ready => "ready",
            Self::Incomplete => "incomplete",
        }
    }
}

impl DeliveryView {
    /// What the API says of a row.
    pub fn of(row: &Delivery) -> Self {
        let state = State::of(row);
        let accepted_at = match &row.stage {
            Stage::Accepted(accepted) => Some(accepted.at),
            Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) | Stage::Held(_) | Stage::Rejected(_) => None,
        };
        let filing = row.filing().filter(|filing| filing.filed.is_some());
        Self {
            id: row.id().to_string(),
            inbox: row.place.inbox.clone(),
            path: row.place.path.to_string(),
            size: row.document.as_ref().map(|document| document.content.size),
            state,
            since: since(row),
            problem: problem(row),
            attempts: attempts(row),
            sent: row.sends,
            unconfirmed: row.uncertain,
            created_at: row.first_seen,
            accepted_at,
            filed_as: filing.and_then(|filing| filing.to.as_ref()).map(|to| to.path.to_string()),
            ids: ids(row),
            history: history(row),
            destination: row.key.destination.0.clone(),
            patient: Some(row.key.patient.clone()).filter(|patient| !patient.is_empty()),
            next_attempt_at: row.due().filter(|_| state != State::Sending),
        }
    }
}

/// When a row came into its state.
fn since(row: &Delivery) -> Timestamp {
    match &row.stage {
        Stage::Queued(queued) => queued.since,
        Stage::Unknown(unknown) => unknown.since,
        Stage::Held(held) => held.since,
        Stage::Sending(_) => row.updated,
        Stage::Accepted(Accepted { at, filing, .. }) | Stage::Rejected(Rejected { at, filing, .. }) => {
            filing.filed.unwrap_or(*at)
        }
    }
}

fn attempts(row: &Delivery) -> u32 {
    match &row.stage {
        Stage::Unknown(unknown) => unknown.tries.max(row.tried.attempts),
        Stage::Queued(_) => row.tried.attempts,
        Stage::Sending(_) | Stage::Held(_) | Stage::Accepted(_) | Stage::Rejected(_) => 0,
    }
}

fn problem(row: &Delivery) -> Option<ProblemView> {
    let words = |code: &str, summary: &str, remedy: &str| {
        Some(ProblemView { code: code.into(), summary: summary.into(), remedy: remedy.into() })
    };
    match &row.stage {
        Stage::Queued(queued) if queued.why.is_empty() => None,
        Stage::Queued(queued) => words("retrying", &queued.why, "Nothing: it is tried again by itself."),
        Stage::Unknown(unknown) => words(
            "answer-lost",
            &unknown.why,
            "Nothing: chartdrop finds out or sends the same message again by itself.",
        ),
        Stage::Held(held) => {
            let problem = held_problem(held);
            words(problem.code, &problem.summary, &problem.remedy)
        }
        Stage::Rejected(rejected) => words(&rejected.reason.code, &rejected.reason.summary, &rejected.reason.remedy),
        Stage::Sending(_) | Stage::Accepted(_) => None,
    }
}

fn ids(row: &Delivery) -> IdsView {
    let (message, answer) = match &row.stage {
        Stage::Queued(queued) => (queued.message.as_ref(), Vec::new()),
        Stage::Sending(message) => (Some(message), Vec::new()),
        Stage::Unknown(unknown) => (unknown.message.as_ref(), Vec::new()),
        Stage::Held(held) => match &held.then {
            Then::Queued(queued) => (queued.message.as_ref(), Vec::new()),
            Then::Unknown(unknown) => (unknown.message.as_ref(), Vec::new()),
        },
        Stage::Accepted(accepted) => (accepted.message.as_ref(), accepted.answer.ids.clone()),
        Stage::Rejected(_) => (None, Vec::new()),
    };
    IdsView {
        // A file that was refused unread was never to be called anything.
        master_identifier: row.document.as_ref().map(|_| format!("urn:uuid:{}", row.id())),
        bundle: message.map(|message| message.bundle),
        message: message.map(|message| message.header),
        answer,
    }
}

/// What happened, oldest first. A row of version 1 tells no more than how it is now.
fn history(row: &Delivery) -> Vec<EventView> {
    let view = |entry: &HistoryEntry| EventView {
        at: entry.at,
        event: entry.event.clone(),
        by: entry.by.clone(),
        detail: Some(entry.detail.clone()).filter(|detail| !detail.is_empty()),
    };
    if row.history.is_empty() {
        let event = |at, event: &str| EventView { at, event: event.into(), by: None, detail: None };
        return vec![event(row.first_seen, "queued"), event(row.updated, State::of(row).as_str())];
    }
    row.history.iter().map(view).collect()
}
