//! What Prometheus reads at `/metrics`. No label holds patient data or anything without bounds.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use super::view::{State, StatusView, WaitingListView};
use crate::{
    delivery::board::Board,
    ledger::{Delivery, Stage},
};

/// Codes of problems are a fixed list; what an old note says besides counts as `other`.
const MOST_CODES: usize = 100;
/// Deliveries that are on their way to an answer; more than that are not timed.
const MOST_TIMED: usize = 1000;

/// Shown as 0 while they are off, so that a rule on them has something to look at.
const ALARMS: [&str; 5] =
    ["channel-stopped", "folder-unreadable", "inbox-taken", "inbox-unreachable", "waiting-too-long"];

/// Open deliveries by inbox and state.
type Open = BTreeMap<(String, State), u64>;

type Labels<const N: usize> = [(&'static str, String); N];
type Float = Gauge<f64, AtomicU64>;

/// Every figure.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    deliveries: Family<Labels<2>, Counter>,
    sent_bytes: Family<Labels<1>, Counter>,
    problems: Family<Labels<1>, Counter>,
    step: Family<Labels<1>, Histogram, fn() -> Histogram>,
    scan: Family<Labels<1>, Histogram, fn() -> Histogram>,
    overflows: Family<Labels<1>, Counter>,
    token_renewals: Counter,
    commit: Histogram,
    commit_rows: Histogram,
    gauges: Gauges,
    seen: Mutex<Seen>,
}

/// Set when they are read.
#[derive(Debug, Default)]
struct Gauges {
    waiting: Family<Labels<2>, Gauge>,
    oldest: Family<Labels<1>, Float>,
    channels: Family<Labels<2>, Gauge>,
    alarms: Family<Labels<1>, Gauge>,
    ledger_size: Gauge,
}

#[derive(Debug, Default)]
struct Seen {
    codes: HashSet<String>,
    timed: Vec<(uuid::Uuid, Instant)>,
}

fn seconds() -> Histogram {
    Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0])
}

fn short() -> Histogram {
    Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0])
}

fn rows() -> Histogram {
    Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("chartdrop");
        let mut metrics = Self {
            registry: Registry::default(),
            deliveries: Family::default(),
            sent_bytes: Family::default(),
            problems: Family::default(),
            step: Family::new_with_constructor(seconds),
            scan: Family::new_with_constructor(seconds),
            overflows: Family::default(),
            token_renewals: Counter::default(),
            commit: short(),
            commit_rows: rows(),
            gauges: Gauges::default(),
            seen: Mutex::default(),
        };
        metrics.register(&mut registry);
        metrics.registry = registry;
        metrics
    }
}

impl Metrics {
    fn register(&self, to: &mut Registry) {
        to.register("deliveries", "Documents that were accepted or rejected", self.deliveries.clone());
        to.register("waiting", "Documents and deliveries that wait, by what for", self.gauges.waiting.clone());
        to.register(
            "oldest_waiting_seconds",
            "How long the oldest document has been in an inbox",
            self.gauges.oldest.clone(),
        );
        to.register("channel_state", "1 for the state that a destination is in", self.gauges.channels.clone());
        to.register("step_duration_seconds", "How long a step of a delivery takes", self.step.clone());
        to.register("sent_bytes", "Bytes of documents in messages that were sent", self.sent_bytes.clone());
        to.register("problems", "Problems met by documents, by code", self.problems.clone());
        to.register("alarms", "Alarms that are on, by code", self.gauges.alarms.clone());
        to.register("scan_duration_seconds", "How long a look into an inbox takes", self.scan.clone());
        to.register(
            "watch_overflows",
            "Times that the kernel lost track of changes in an inbox",
            self.overflows.clone(),
        );
        to.register("token_renewals", "Tokens that were fetched from Redox", self.token_renewals.clone());
        to.register("ledger_commit_seconds", "How long a durable step of the ledger takes", self.commit.clone());
        to.register("ledger_commit_rows", "Rows that one durable step writes", self.commit_rows.clone());
        to.register("ledger_size_bytes", "What the ledger takes on its disk", self.gauges.ledger_size.clone());
        to.register("build", "Which chartdrop this is", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    }

    /// A row was written, which took so long.
    pub fn wrote(&self, row: &Delivery, before: Option<State>, took: Duration) {
        self.commit.observe(took.as_secs_f64());
        let state = State::of(row);
        let is_open = |state: State| matches!(state, State::Queued | State::Sending | State::Unknown | State::Held);
        if matches!(row.stage, Stage::Sending(_)) && before != Some(State::Sending) {
            let size = row.document.as_ref().map_or(0, |document| document.content.size);
            self.sent_bytes.get_or_create(&[("destination", row.key.destination.0.clone())]).inc_by(size);
        }
        let is_end = match state {
            State::Filing => before != Some(State::Filing),
            State::Accepted | State::Rejected => before.is_some_and(is_open),
            State::Queued | State::Sending | State::Unknown | State::Held => false,
        };
        self.time(row, state, before);
        if !is_end {
            return;
        }
        let result = match &row.stage {
            Stage::Rejected(rejected) => {
                self.problem(&rejected.reason.code);
                "rejected"
            }
            Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) | Stage::Held(_) | Stage::Accepted(_) => {
                "accepted"
            }
        };
        let labels = [("inbox", row.place.inbox.clone()), ("result", result.to_owned())];
        self.deliveries.get_or_create(&labels).inc();
    }

    /// Between two writes of a row lies the step that was taken.
    fn time(&self, row: &Delivery, state: State, before: Option<State>) {
        let step = match before {
            Some(State::Sending) => Some("send"),
            Some(State::Filing) => Some("file"),
            Some(State::Queued | State::Unknown | State::Held | State::Accepted | State::Rejected) | None => None,
        };
        let id = row.id().0;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if before != Some(state)
            && let Some(at) = seen.timed.iter().position(|(timed, _)| *timed == id)
        {
            let (_, began) = seen.timed.swap_remove(at);
            if let Some(step) = step {
                self.step(step, began.elapsed());
            }
        }
        if before != Some(state) && matches!(state, State::Sending | State::Filing) && seen.timed.len() < MOST_TIMED {
            seen.timed.push((id, Instant::now()));
        }
    }

    fn step(&self, step: &str, took: Duration) {
        self.step.get_or_create(&[("step", step.to_owned())]).observe(took.as_secs_f64());
    }

    fn problem(&self, code: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known =
            seen.codes.contains(code) || (seen.codes.len() < MOST_CODES && seen.codes.insert(code.to_owned()));
        let code = if is_known { code } else { "other" };
        self.problems.get_or_create(&[("code", code.to_owned())]).inc();
    }

    /// What the board says since it was last read.
    pub fn board(&self, board: &Board) {
        for (inbox, took) in board.take_looks() {
            self.scan.get_or_create(&[("inbox", inbox)]).observe(took.as_secs_f64());
        }
        for (name, state) in board.inboxes() {
            let overflows = self.overflows.get_or_create_owned(&[("inbox", name.clone())]);
            overflows.inc_by(state.overflows.saturating_sub(overflows.get()));
            for result in ["accepted", "rejected"] {
                self.deliveries.get_or_create_owned(&[("inbox", name.clone()), ("result", result.to_owned())]);
            }
        }
    }

    /// How many tokens were fetched in all.
    pub fn tokens(&self, renewals: u64) {
        self.token_renewals.inc_by(renewals.saturating_sub(self.token_renewals.get()));
    }

    /// The text that Prometheus reads.
    pub fn text(&self, status: &StatusView, waiting: &WaitingListView, open: &Open) -> String {
        self.set_gauges(status, waiting, open);
        let mut text = String::new();
        // Writing to a String never fails.
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        classic(&text)
    }

    fn set_gauges(&self, status: &StatusView, waiting: &WaitingListView, open: &Open) {
        let gauges = &self.gauges;
        gauges.waiting.clear();
        gauges.oldest.clear();
        gauges.channels.clear();
        gauges.alarms.clear();
        for document in &waiting.documents {
            let labels = [("inbox", document.inbox.clone()), ("state", document.state.clone())];
            gauges.waiting.get_or_create(&labels).inc();
        }
        for inbox in &status.inboxes {
            for state in State::ALL {
                if !matches!(state, State::Accepted | State::Rejected) {
                    let count = open.get(&(inbox.name.clone(), state)).copied().unwrap_or(0);
                    let labels = [("inbox", inbox.name.clone()), ("state", state.as_str().to_owned())];
                    gauges.waiting.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
                }
            }
        }
        for inbox in &status.inboxes {
            let age = inbox
                .oldest_waiting_since
                .map_or(0.0, |since| Timestamp::now().duration_since(since).as_secs_f64().max(0.0));
            gauges.oldest.get_or_create(&[("inbox", inbox.name.clone())]).set(age);
        }
        for channel in &status.channels {
            for state in ["open", "backing-off", "stopped", "paused"] {
                let labels = [("destination", channel.destination.clone()), ("state", state.to_owned())];
                gauges.channels.get_or_create(&labels).set(i64::from(channel.state.as_deref() == Some(state)));
            }
        }
        for code in ALARMS {
            gauges.alarms.get_or_create_owned(&[("code", code.to_owned())]);
        }
        for alarm in &status.alarms {
            gauges.alarms.get_or_create(&[("code", alarm.code.clone())]).inc();
        }
        gauges.ledger_size.set(status.ledger.size_bytes.and_then(|size| i64::try_from(size).ok()).unwrap_or(0));
    }
}

/// From OpenMetrics to the older text form, which every reader takes: there a counter's name is its sample's.
fn classic(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut help: Option<(&str, &str)> = None;
    for line in text.lines() {
        if let Some((name, words)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help = Some((name, words));
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let (ending, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            if let Some((_, words)) = help.take() {
                lines.push(format!("# HELP {name}{ending} {words}"));
            }
            lines.push(format!("# TYPE {name}{ending} {kind}"));
        } else if !line.starts_with('#') {
            lines.push(line.to_owned());
        }
    }
    lines.iter().fold(String::new(), |mut all, line| {
        // Writing to a String never fails.
        writeln!(all, "{line}").ok();
        all
    })
}
