//! Feeds documents from the inboxes to a bounded number of workers, and ends when it is told to.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinSet},
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    DeliveryError, Engine, Nudge,
    alarm::{Alarm, Word},
    board::{InboxState, MOST_WAITING, WaitingDocument, WaitingState, Words},
    channel::Channel,
    worker::{Outcome, Waiting},
};
use crate::{
    config::Inbox,
    filing,
    inbox::{self, Candidate, Listing, Lock, Observation, Settler, Timing, Watcher, scan},
    model::{path::RelPath, problem::catalogue as known},
    platform::heartbeat::Heartbeat,
};

/// So many documents are taken from one scan; the next scan takes the next. Bounds what is held in memory.
const BATCH: usize = 1000;
/// Between two scans at least this long, however many events come.
const QUIET: Duration = Duration::from_millis(100);
/// How long a request under way may take after the program was told to end.
const GRACE: Duration = Duration::from_secs(8);
/// A look into a large or slow inbox may take longer than systemd waits for a service to start.
const START: Duration = Duration::from_secs(30);
/// How often the loop says that it is alive while its workers are busy.
const ALIVE: Duration = Duration::from_secs(10);
/// How soon an inbox that could not be read is tried again.
const INBOX_AGAIN: Duration = Duration::from_secs(2);

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// Until told to end.
    Forever,
    /// Until everything is final, or until then.
    Once {
        /// The latest end.
        until: Instant,
    },
}

/// What was done, in this run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Documents filed as done.
    pub accepted: u64,
    /// Documents filed as failed.
    pub rejected: u64,
    /// Documents that are still in the inboxes.
    pub waiting: usize,
    /// Inboxes that could not be read when it ended.
    pub unreadable: Vec<String>,
    /// Patient folders that could not be read whole then.
    pub unread_folders: usize,
}

impl Engine {
    /// Tends all inboxes. `started` is called when the first scan of each has been done, or takes long.
    pub async fn run(
        self: Arc<Self>,
        mode: Mode,
        shutdown: CancellationToken,
        started: impl FnOnce(),
    ) -> Result<Summary, DeliveryError> {
        self.finish_filing().await?;
        self.load_unsettled().await?;
        let slots = Arc::new(Semaphore::new(self.config.delivery.concurrency));
        let first_scans = Arc::new(Semaphore::new(0));
        let mut inboxes = JoinSet::new();
        // An error in one inbox ends all: what the ledger cannot record must not be sent.
        let stop = shutdown.child_token();
        for inbox in &self.config.inboxes {
            let tender = InboxLoop {
                engine: Arc::clone(&self),
                inbox: inbox.clone(),
                mode,
                stop: stop.child_token(),
                slots: Arc::clone(&slots),
                settler: Settler::new(Timing::of(inbox)),
                queue: VecDeque::new(),
                workers: JoinSet::new(),
                waits: HashMap::new(),
                strays: Vec::new(),
                unread: false,
                alarm: Alarm::default(),
                pulse: self.pulses.get(&inbox.name).cloned().unwrap_or_default(),
                summary: Summary::default(),
            };
            inboxes.spawn(tender.tend(Arc::clone(&first_scans)));
        }
        let all = u32::try_from(self.config.inboxes.len()).unwrap_or(u32::MAX);
        let scanned = async {
            if timeout(START, first_scans.acquire_many(all)).await.is_err() {
                warn!("not every inbox has been looked at yet; that goes on while the others are worked on");
            }
            started();
            std::future::pending::<()>().await;
        };
        let ended = async {
            let mut total = Summary::default();
            let mut failed = None;
            while let Some(ended) = inboxes.join_next().await {
                match ended.map_err(broken).and_then(|result| result) {
                    Ok(summary) => total.add(summary),
                    Err(error) => {
                        stop.cancel();
                        failed.get_or_insert(error);
                    }
                }
            }
            failed.map_or(Ok(total), Err)
        };
        tokio::select! {
            () = scanned => Err(DeliveryError::Broken("starting")),
            result = self.keep_filing() => result.map(|never| match never {}),
            result = ended => {
                if self.filing_pending.load(Ordering::Relaxed) {
                    self.finish_filing().await?;
                }
                self.alarm_about_taken_away().await?;
                result
            }
        }
    }
}

impl Engine {
    /// Says once that an inbox was taken over from another ledger, and remembers when that was.
    fn note_takeover(&self, inbox: &str, taken_over: Option<Timestamp>) {
        let Some(at) = taken_over else { return };
        let known = self.taken_over.lock().unwrap_or_else(PoisonError::into_inner).insert(inbox.to_owned(), at);
        if known != Some(at) {
            warn!(inbox, since = %at, "this inbox was worked on by a chartdrop with another ledger; what was in it when this one took it over may have been sent already, and its receipts say so");
        }
    }
}

impl Summary {
    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.waiting += other.waiting;
        self.unreadable.extend(other.unreadable);
        self.unread_folders += other.unread_folders;
    }
}

fn broken(_: JoinError) -> DeliveryError {
    DeliveryError::Broken("a worker")
}

/// One inbox and what is under way from it.
struct InboxLoop {
    engine: Arc<Engine>,
    inbox: Inbox,
    mode: Mode,
    stop: CancellationToken,
    /// Bounds the deliveries under way, over all inboxes.
    slots: Arc<Semaphore>,
    settler: Settler,
    queue: VecDeque<Candidate>,
    workers: JoinSet<(RelPath, Result<Outcome, DeliveryError>)>,
    /// Why the others wait that were looked at.
    waits: HashMap<RelPath, Waiting>,
    /// What is no document and waits for a person.
    strays: Vec<inbox::Waiting>,
    /// Some patient folder could not be read at the last look.
    unread: bool,
    alarm: Alarm,
    pulse: Heartbeat,
    summary: Summary,
}

impl InboxLoop {
    async fn tend(mut self, first_scan: Arc<Semaphore>) -> Result<Summary, DeliveryError> {
        let mut watcher = Watcher::new(&self.inbox);
        let mut lock = Lock::new(self.engine.ledger.id());
        let mut mounts = Vec::new();
        let mut readable = true;
        let mut scans = 0_u64;
        while !self.stop.is_cancelled() && !self.is_over() {
            let began = Instant::now();
            let wake = watcher.wake();
            let (inbox, engine) = (self.inbox.clone(), Arc::clone(&self.engine));
            let known = mounts.clone();
            let pulse = self.pulse.clone();
            pulse.expect_next_by(began);
            // The watch is set before the scan looks: what comes in between is seen by one or the other.
            let (kept, held, pause, listing) = tokio::task::spawn_blocking(move || {
                let pause = watcher.keep(&known);
                engine.vetting.look(&inbox);
                let held = lock.hold(&inbox.path);
                let listing = held.and_then(|taken_over| {
                    engine.note_takeover(&inbox.name, taken_over);
                    scan(&inbox.path, || pulse.expect_next_by(Instant::now()))
                });
                (watcher, lock, pause, listing)
            })
            .await
            .map_err(broken)?;
            (watcher, lock) = (kept, held);
            self.report(&listing, &mut readable);
            let now = Instant::now();
            let next = match &listing {
                Ok(listing) => {
                    mounts = listing.mounts.clone();
                    self.waits.retain(|path, _| listing.entries.contains_key(path));
                    let mut found = self.settler.observe(listing, now, BATCH);
                    self.show(listing, &found, now - began, watcher.overflows());
                    // Before the alarm, which says why they wait.
                    self.strays = std::mem::take(&mut found.strays);
                    self.sound(found.documents + self.strays.len(), found.oldest);
                    self.queue.extend(found.ready);
                    if matches!(self.mode, Mode::Once { .. }) && self.is_empty(found.documents) {
                        break;
                    }
                    found.next.unwrap_or(now + pause).min(now + pause)
                }
                Err(_) => now + INBOX_AGAIN,
            };
            if scans == 0 {
                first_scan.add_permits(1);
            }
            scans += 1;
            // The second look comes as soon as the first files can have settled, however long the first took.
            let quiet = now + if scans == 1 { QUIET } else { QUIET.max(2 * (now - began)) };
            self.work(next, quiet, &wake).await?;
        }
        self.wind_up(readable).await
    }

    /// Works on what is queued until it is time for the next scan.
    async fn work(
        &mut self,
        mut next: Instant,
        quiet: Instant,
        wake: &tokio::sync::Notify,
    ) -> Result<(), DeliveryError> {
        let until = match self.mode {
            Mode::Forever => None,
            Mode::Once { until } => Some(until),
        };
        let engine = Arc::clone(&self.engine);
        let nudge = engine.nudges.get(&self.inbox.name);
        let nudged = || async {
            match nudge {
                Some(nudge) => nudge.wake.notified().await,
                None => std::future::pending().await,
            }
        };
        loop {
            let idle = self.queue.is_empty();
            let due = until.map_or(next, |until| next.min(until)).max(quiet);
            // Workers may take as long as their uploads take: this loop is alive all the same, and says so.
            let alive = Instant::now() + ALIVE;
            self.pulse.expect_next_by(if idle { due } else { alive });
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                Some(ended) = self.workers.join_next() => {
                    let (path, outcome) = ended.map_err(broken)?;
                    next = next.min(self.note(path, outcome?));
                    let last = self.queue.is_empty() && self.workers.is_empty();
                    if self.is_over() || (last && until.is_some()) {
                        return Ok(());
                    }
                }
                permit = Arc::clone(&self.slots).acquire_owned(), if !idle => {
                    if let (Ok(permit), Some(candidate)) = (permit, self.queue.pop_front()) {
                        self.start(permit, candidate);
                    }
                }
                () = nudged() => {
                    if let Some(nudge) = nudge {
                        self.hurry(nudge);
                    }
                    next = Instant::now();
                }
                () = wake.notified(), if idle => next = next.min(quiet),
                () = sleep_until(due.into()), if idle => return Ok(()),
                () = sleep_until(alive.into()), if !idle => {}
            }
        }
    }

    fn start(&mut self, permit: OwnedSemaphorePermit, candidate: Candidate) {
        let (engine, inbox, stop) = (Arc::clone(&self.engine), self.inbox.clone(), self.stop.clone());
        self.workers.spawn(async move {
            let path = candidate.path.clone();
            let outcome = engine.process_document(&inbox, candidate, &stop).await;
            drop(permit);
            (path, outcome)
        });
    }

    /// Takes note of an outcome; returns when the document is to be looked at again.
    fn note(&mut self, path: RelPath, outcome: Outcome) -> Instant {
        self.waits.remove(&path);
        match outcome {
            Outcome::Accepted => self.summary.accepted += 1,
            Outcome::Rejected => self.summary.rejected += 1,
            Outcome::Waiting { until, why } => {
                self.settler.put_back(&path, until);
                self.waits.insert(path, why);
                return until;
            }
        }
        // Should something of that name still be there, it is another file: look at once.
        let now = Instant::now();
        self.settler.put_back(&path, now);
        now
    }

    fn is_empty(&self, documents: usize) -> bool {
        let held = || self.waits.values().filter(|why| **why == Waiting::Held).count();
        self.queue.is_empty() && self.workers.is_empty() && documents <= held()
    }

    /// A person decided something: the documents that it concerns are looked at again.
    fn hurry(&mut self, nudge: &Nudge) {
        let nudged = std::mem::take(&mut *nudge.paths.lock().unwrap_or_else(PoisonError::into_inner));
        let now = Instant::now();
        if nudged.all {
            self.settler.hurry(None, now);
        }
        nudged.some.iter().for_each(|path| self.settler.hurry(Some(path), now));
    }

    /// In [`Mode::Once`]: the time is up, or a person must fix the channel first.
    fn is_over(&self) -> bool {
        match self.mode {
            Mode::Forever => false,
            Mode::Once { until } => {
                let trouble = self.engine.channels.get(&self.inbox.destination).and_then(Channel::trouble);
                Instant::now() >= until
                    || trouble.is_some_and(|trouble| {
                        trouble.is_stopped()
                            && (trouble.is_confirmed || self.queue.is_empty() && self.workers.is_empty())
                    })
            }
        }
    }

    /// Lets what is under way come to an end, and counts what is left.
    async fn wind_up(mut self, readable: bool) -> Result<Summary, DeliveryError> {
        self.stop.cancel();
        let end = async {
            while let Some(ended) = self.workers.join_next().await {
                let (path, outcome) = ended.map_err(broken)?;
                self.note(path, outcome?);
            }
            Ok::<_, DeliveryError>(())
        };
        match timeout(GRACE, end).await {
            Ok(result) => result?,
            Err(_) => warn!("a request took too long to wait for; its delivery goes on at the next start"),
        }
        let root = self.inbox.path.clone();
        match tokio::task::spawn_blocking(move || scan(&root, || {})).await.map_err(broken)? {
            Ok(listing) if readable => {
                self.summary.waiting = listing.contents().waiting();
                self.summary.unread_folders = listing.unread.len();
            }
            _ => self.summary.unreadable.push(self.inbox.name.clone()),
        }
        Ok(self.summary)
    }

    /// Puts what this look found on the board.
    fn show(&self, listing: &Listing, found: &Observation, scan_took: Duration, overflows: u64) {
        let (now, clock) = (Instant::now(), Timestamp::now());
        let moment = |due: Instant| super::lifecycle::after(clock, due.saturating_duration_since(now));
        let ready = found.ready.iter().chain(&self.queue).map(|candidate| (&candidate.path, Some(now)));
        let others = found.waiting.iter().map(|(path, due)| (path, *due));
        let unread = || known::FOLDER_UNREADABLE.problem().into();
        let waiting = |(path, due): (&RelPath, Option<Instant>)| {
            let stamp = listing.entries.get(path)?.stamp;
            let (state, problem) = match (self.waits.get(path), due) {
                // These have a row, which says why.
                (Some(Waiting::Retry | Waiting::Channel | Waiting::Held | Waiting::Filing), _) => return None,
                (_, None) => (WaitingState::Incomplete, Some(unread())),
                (Some(Waiting::Inbox(why)), _) => (WaitingState::Incomplete, Some(why.clone().into())),
                (Some(Waiting::Shutdown) | None, Some(_)) => (WaitingState::Settling, None),
            };
            let until = due.filter(|due| *due > now).map(moment);
            let since = Timestamp::from_nanosecond(stamp.ctime).unwrap_or(clock);
            let hold_from = until
                .filter(|_| self.inbox.hold > Duration::ZERO)
                .and_then(|until| until.checked_sub(self.inbox.hold).ok());
            Some(WaitingDocument { path: path.clone(), size: stamp.size, since, state, problem, hold_from, until })
        };
        let stray = |stray: &inbox::Waiting| {
            let stamp = listing.entries.get(&stray.path).map(|entry| entry.stamp);
            let since = stamp.and_then(|stamp| Timestamp::from_nanosecond(stamp.ctime).ok()).unwrap_or(clock);
            WaitingDocument {
                path: stray.path.clone(),
                size: stamp.map_or(0, |stamp| stamp.size),
                since,
                state: WaitingState::Incomplete,
                problem: Some(stray.problem.clone().into()),
                hold_from: None,
                until: stray.until.filter(|until| *until > now).map(moment),
            }
        };
        let waiting = ready.chain(others).filter_map(waiting).chain(found.strays.iter().map(stray));
        self.engine.board.looked(
            &self.inbox.name,
            InboxState {
                problem: None,
                documents: found.documents + found.strays.len(),
                oldest: found.oldest.and_then(|since| Timestamp::from_nanosecond(since).ok()),
                waiting: waiting.take(MOST_WAITING).collect(),
                overflows,
            },
            scan_took,
        );
    }

    /// One alarm an incident when documents have waited too long, whatever the reason.
    fn sound(&mut self, waiting: usize, oldest: Option<i128>) {
        let now = Timestamp::now().as_nanosecond();
        let oldest = oldest.map_or(0, |since| (now - since).max(0) / 1_000_000_000);
        let oldest = Duration::from_secs(u64::try_from(oldest).unwrap_or(u64::MAX));
        let (inbox, minutes) = (&self.inbox.name, oldest.as_secs() / 60);
        match self.alarm.observe(waiting, oldest, self.engine.tuned().alarm_after) {
            Some(Word::Begins) => {
                let summary = format!("Documents have waited for {minutes} minutes or longer. Nothing is lost.");
                self.engine.board.raise(Some(inbox), known::WAITING_TOO_LONG.because(summary).into());
                error!(%inbox, code = known::WAITING_TOO_LONG.code, waiting, minutes, "ALARM: documents have waited too long; nothing is lost, `chartdrop status` says why they wait");
                // Of what is not identified yet the ledger knows nothing.
                let mut reasons = BTreeMap::<_, usize>::new();
                for why in self.waits.values() {
                    if let Waiting::Inbox(why) = why {
                        *reasons.entry((why.code, why.meaning())).or_default() += 1;
                    }
                }
                for stray in &self.strays {
                    *reasons.entry((stray.problem.code, stray.problem.meaning())).or_default() += 1;
                }
                for ((code, meaning), documents) in reasons {
                    warn!(%inbox, documents, code, "not sent yet: {meaning}");
                }
            }
            Some(Word::Grows) => warn!(%inbox, waiting, minutes, "twice as many documents wait as at the last alarm"),
            Some(Word::Ends) => {
                self.engine.board.clear(Some(inbox), known::WAITING_TOO_LONG.code);
                info!(%inbox, waiting, "no document has waited too long any more");
            }
            None => {}
        }
    }

    /// One alarm when an inbox or a folder in it goes, one word when it is back.
    fn report(&mut self, listing: &std::io::Result<Listing>, readable: &mut bool) {
        let was = std::mem::replace(readable, listing.is_ok());
        let inbox = &self.inbox.name;
        match listing {
            Err(error) => {
                let problem = unreachable(error);
                self.engine.board.raise(Some(inbox), problem.clone());
                self.engine.board.unreachable(inbox, problem);
            }
            Ok(_) => [&known::INBOX_UNREACHABLE, &known::INBOX_TAKEN]
                .iter()
                .for_each(|kind| self.engine.board.clear(Some(inbox), kind.code)),
        }
        match listing {
            Err(error) if was && error.kind() == std::io::ErrorKind::ResourceBusy => {
                error!(%inbox, code = known::INBOX_TAKEN.code, "another chartdrop delivers from this inbox, with another ledger; nothing is sent from it here. Stop one of the two");
            }
            Err(error) if was => {
                error!(%inbox, code = known::INBOX_UNREACHABLE.code, "the inbox cannot be read ({}); nothing is forgotten, it is tried again", error.kind());
            }
            Ok(_) if !was => {
                info!(%inbox, "the inbox can be read again");
                // They were not made at the start if the inbox was missing then.
                if let Err(error) = filing::make(&self.inbox) {
                    error!(%inbox, "{error}");
                }
            }
            _ => {}
        }
        if let Ok(listing) = listing {
            let folders = listing.unread.len();
            match (std::mem::replace(&mut self.unread, folders > 0), folders) {
                (false, 1..) => {
                    self.engine.board.raise(Some(inbox), known::FOLDER_UNREADABLE.problem().into());
                    error!(%inbox, code = known::FOLDER_UNREADABLE.code, folders, "a patient folder cannot be read, or not all of it; nothing is lost, nothing in it is sent, and it is tried again. Let chartdrop's user read it");
                }
                (true, 0) => {
                    self.engine.board.clear(Some(inbox), known::FOLDER_UNREADABLE.code);
                    info!(%inbox, "every patient folder can be read again");
                }
                _ => {}
            }
        }
    }
}

/// Why an inbox cannot be worked on.
fn unreachable(error: &std::io::Error) -> Words {
    if error.kind() == std::io::ErrorKind::ResourceBusy {
        return known::INBOX_TAKEN.problem().into();
    }
    let summary = format!("The inbox cannot be read ({}). Nothing is lost, and it is tried again.", error.kind());
    known::INBOX_UNREACHABLE.because(summary).into()
}
