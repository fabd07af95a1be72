//! One document, from where it is to where it belongs: identify it, find its row, and take one effect after another.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{
    DeliveryError, Engine,
    channel::{Admission, Pass},
    lifecycle::{self, Action, Event, Facts, Fresh, Resume, Transition, age},
};
use crate::{
    config::Inbox,
    filing,
    inbox::{Candidate, Identified, InboxDir, PATH_LIMIT, Pairing, Ready, Rules, identify},
    ledger::{Begun, Delivery, Files, Query, Reason, SidecarFile, Stage},
    model::{
        document::{Destination, Key, Sha256},
        path::{InboxPath, RelPath},
        patient::same_patient,
        problem::{Problem, catalogue as known},
    },
};

/// How soon to look again at a document whose duplicate is just being sent, or that changed under our hands.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// How long a held delivery rests between two looks.
pub(super) const HELD: Duration = Duration::from_secs(60);

/// What became of a document for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in done.
    Accepted,
    /// It is in failed.
    Rejected,
    /// It stays in the inbox until then.
    Waiting { until: Instant, why: Waiting },
}

/// Why a document waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// It is not complete, or cannot be read just now.
    Inbox(Problem),
    /// Its delivery is to be tried again.
    Retry,
    /// The channel is closed for all.
    Channel,
    /// It is held for a person.
    Held,
    /// It could not be moved to done or failed.
    Filing,
    /// The program is about to end.
    Shutdown,
}

/// The file at hand: what an effect may read.
pub(super) struct Item<'a> {
    pub inbox: &'a Inbox,
    /// As it was when it was identified.
    pub candidate: &'a Candidate,
    pub ready: Option<&'a Ready>,
    pub shutdown: &'a CancellationToken,
}

/// An effect's result, and how long the document rests if it ends this try.
pub(super) struct Performed {
    pub event: Event,
    pub rest: Outcome,
}

impl Engine {
    /// Does whatever can be done now for a document in an inbox.
    pub(super) async fn process_document(
        self: &Arc<Self>,
        inbox: &Inbox,
        candidate: Candidate,
        shutdown: &CancellationToken,
    ) -> Result<Outcome, DeliveryError> {
        let engine = Arc::clone(self);
        let (name, examined) = (inbox.name.clone(), candidate.clone());
        let identified =
            tokio::task::spawn_blocking(move || engine.identify(&name, &examined)).await.unwrap_or_else(|_| {
                // One file that we cannot cope with must not end the deliveries of all others.
                error!("a document could not be examined: a fault in chartdrop; it stays in the inbox");
                Identified::NotYet { why: known::NOT_EXAMINED.problem(), pause: HELD }
            });
        let place = InboxPath { inbox: inbox.name.clone(), path: candidate.path.clone() };
        let item = |ready| Item { inbox, candidate: &candidate, ready, shutdown };
        match identified {
            Identified::NotYet { why, pause } => Ok(wait(pause, Waiting::Inbox(why))),
            Identified::Refused(problem) => self.refuse(place, problem.into(), &item(None)).await,
            Identified::Ready(ready) => {
                let destination = &inbox.destination;
                let (sha256, patient) = (ready.document.content.sha256, &ready.document.patient.identifier);
                match self.claim(destination, sha256, patient) {
                    Some(_claim) => self.deliver(place, &ready, &item(Some(&ready))).await,
                    None => Ok(wait(SOON, Waiting::Retry)),
                }
            }
        }
    }

    fn identify(&self, inbox: &str, candidate: &Candidate) -> Identified {
        let root = self.config.inbox(inbox).map(|inbox| (inbox, InboxDir::open(&inbox.path)));
        let Some((inbox, Ok(root))) = root else {
            return Identified::NotYet { why: known::INBOX_UNREACHABLE.problem(), pause: SOON };
        };
        let types = self.tuned().document_types;
        let rules = Rules {
            inbox,
            types: &types,
            file_types: &self.config.file_types,
            type_folders: &self.config.type_folders,
            size_limit: self.config.delivery.size_limit,
            vetting: &self.vetting,
        };
        identify(&root, rules, candidate, Instant::now())
    }

    /// A document that is safe to send meets its row, or gets one, and is taken as far as it goes.
    async fn deliver(&self, place: InboxPath, ready: &Ready, item: &Item<'_>) -> Result<Outcome, DeliveryError> {
        let facts = self.facts();
        let lost_at = self.lost_at(item);
        let files = files_of(item.candidate);
        let fresh = Fresh { document: ready.document.clone(), place: place.clone(), files, lost_at };
        let known = self.row_of(&item.inbox.destination, ready).await?;
        let key =
            known.as_ref().map_or_else(|| Key::of(&item.inbox.destination, &ready.document), |row| row.key.clone());
        self.supersede(&place, key.id());
        let row = match known {
            Some(row) if self.waits_for_the_first(&row, &place).await? => return Ok(wait(SOON, Waiting::Retry)),
            Some(row) => match lifecycle::resume(row, &fresh, facts) {
                Resume::Continue(transition) => {
                    let row = self.commit(transition).await?;
                    self.track(&row);
                    row
                }
                Resume::Duplicate(row) => return self.file_duplicate(row, item).await,
                Resume::Refuse(reason) => return self.refuse(place, reason, item).await,
            },
            None => {
                let row = lifecycle::begin(key, &fresh, facts);
                if !lifecycle::fits(&row) {
                    return self.refuse(place, known::TOO_MANY_WORDS.problem().into(), item).await;
                }
                let row = self.ledger.begin(row).await?.row();
                self.track(&row);
                row
            }
        };
        self.drive(row, item).await
    }

    /// The row of these bytes for this destination and the same patient, whatever the order of their identifiers.
    async fn row_of(&self, destination: &Destination, ready: &Ready) -> Result<Option<Delivery>, DeliveryError> {
        let rows = self.ledger.list(Query::ByContent { sha256: ready.document.content.sha256 }).await?;
        let is_ours = |row: &Delivery| {
            row.key.destination == *destination && same_patient(&row.identifiers(), &ready.document.patient.identifier)
        };
        // An open one first, then the latest.
        Ok(rows.into_iter().filter(is_ours).max_by_key(|row| (row.filing().is_none(), row.updated)))
    }

    /// Whether this is a duplicate of a document that is final and still in its inbox: the way into done or failed that
    /// its row holds, with the name there, is the first one's.
    async fn waits_for_the_first(&self, row: &Delivery, place: &InboxPath) -> Result<bool, DeliveryError> {
        if row.filing().is_none_or(|filing| filing.filed.is_some()) || row.place == *place {
            return Ok(false);
        }
        let Some(inbox) = self.config.inbox(&row.place.inbox).cloned() else { return Ok(false) };
        let (first, sha256) = (row.place.path.clone(), row.file_sha256());
        // One that cannot be read just now is still there.
        blocking(move || filing::lies_at(&inbox.path, &first, sha256).unwrap_or(true)).await
    }

    /// The life of a delivery: one effect after another, each recorded before the next one begins.
    async fn drive(&self, mut row: Delivery, item: &Item<'_>) -> Result<Outcome, DeliveryError> {
        let mut pass = None;
        loop {
            let action = lifecycle::next(&row, &self.policy, self.facts());
            if let Some(outcome) = self.resting(&row, &action, item) {
                return Ok(outcome);
            }
            if needs_channel(&action, &row) && pass.is_none() {
                match self.channel(item).admit(Instant::now(), row.id()) {
                    Admission::Pass(admitted) => pass = Some(admitted),
                    Admission::Closed(until) => return Ok(Outcome::Waiting { until, why: Waiting::Channel }),
                }
            }
            let Performed { event, rest } = self.perform(action, &row, pass.as_ref(), item).await?;
            let transition = lifecycle::apply(row, event, &self.policy, self.facts());
            let stops = transition.look_again;
            row = self.commit(transition).await?;
            if stops {
                return Ok(self.rest(&row, rest));
            }
            if row.filing().is_some() {
                // The requests are over: others may have the channel while this one is filed.
                pass = None;
            }
        }
    }

    /// The outcome of an action that is no effect.
    fn resting(&self, row: &Delivery, action: &Action, item: &Item<'_>) -> Option<Outcome> {
        match action {
            Action::Wait { until } => Some(wait(age(Timestamp::now(), *until), Waiting::Retry)),
            Action::AwaitDecision => Some(wait(HELD, Waiting::Held)),
            Action::Finished => Some(match row.stage {
                Stage::Accepted(_) => Outcome::Accepted,
                Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) | Stage::Held(_) | Stage::Rejected(_) => {
                    Outcome::Rejected
                }
            }),
            // Not between a message that is fixed and its POST: it would be taken for one that was sent.
            Action::Prepare { .. } | Action::Repeat | Action::Search | Action::Hold => {
                item.shutdown.is_cancelled().then(|| wait(Duration::ZERO, Waiting::Shutdown))
            }
            Action::Post | Action::PlanFiling | Action::File { .. } => None,
        }
    }

    /// How long a document rests after an effect that ended this try.
    fn rest(&self, row: &Delivery, rest: Outcome) -> Outcome {
        let now = Timestamp::now();
        match row.stage {
            Stage::Held(_) => wait(HELD, Waiting::Held),
            Stage::Queued(_) | Stage::Unknown(_) => match row.due().filter(|due| *due > now) {
                Some(due) if matches!(rest, Outcome::Waiting { why: Waiting::Retry, .. }) => {
                    wait(age(now, due), Waiting::Retry)
                }
                _ => rest,
            },
            Stage::Sending(_) | Stage::Accepted(_) | Stage::Rejected(_) => rest,
        }
    }

    /// Records a transition durably, unless it says that the next one can carry it, and says it in the log.
    pub(super) async fn commit(&self, transition: Transition) -> Result<Delivery, DeliveryError> {
        let Transition { mut row, write, .. } = transition;
        if !write {
            return Ok(row);
        }
        row.truncate_to_limit();
        let row = self.ledger.advance(row).await?;
        self.track(&row);
        super::log::announce(&row);
        Ok(row)
    }

    /// Records a document that will not be sent, and files it as failed.
    pub(super) async fn refuse(
        &self,
        place: InboxPath,
        reason: Reason,
        item: &Item<'_>,
    ) -> Result<Outcome, DeliveryError> {
        let key = Key {
            destination: item.inbox.destination.clone(),
            patient: String::new(),
            sha256: fingerprint(&item.inbox.name, item.candidate),
        };
        let Some(_claim) = self.claim(&key.destination, key.sha256, &[]) else {
            return Ok(wait(SOON, Waiting::Retry));
        };
        let reason = Reason { maybe_sent: reason.maybe_sent || self.is_in_doubt_at(&place), ..reason };
        let place = InboxPath { path: storable(&place.path), ..place };
        let mut row = lifecycle::refused(key, place, Some(files_of(item.candidate)), reason, self.facts());
        row.truncate_to_limit();
        let fresh = row.clone();
        let row = match self.ledger.begin(row).await? {
            // Said once, however often its filing is tried.
            Begun::Existing(row) if !row.is_filed() => return self.drive(row, item).await,
            Begun::Existing(row) => self.ledger.advance(Delivery { revision: row.revision, ..fresh }).await?,
            Begun::New(row) => row,
        };
        super::log::announce(&row);
        self.drive(row, item).await
    }

    /// The clock and a random number, for the pure functions.
    pub(super) fn facts(&self) -> Facts {
        let jitter = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
        Facts { now: Timestamp::now(), jitter }
    }

    /// When what was sent from an inbox was recorded in a ledger that we do not have (lost, or another's), for a file that
    /// was in it at that time: it may have been sent.
    fn lost_at(&self, item: &Item<'_>) -> Option<Timestamp> {
        let taken_over = self.taken_over.lock().unwrap_or_else(PoisonError::into_inner).get(&item.inbox.name).copied();
        let ctime = item.candidate.stamp().ctime;
        self.rebuilt_at.max(taken_over).filter(|at| ctime < at.as_nanosecond())
    }
}

/// Whether an effect sends something. Filing and asking for a free name do not.
fn needs_channel(action: &Action, row: &Delivery) -> bool {
    match action {
        Action::Post | Action::Prepare { .. } | Action::Search => true,
        // A message that is sent again leaves at once.
        Action::Repeat => match &row.stage {
            Stage::Unknown(unknown) => unknown.message.is_some(),
            Stage::Queued(_) => true,
            Stage::Sending(_) | Stage::Held(_) | Stage::Accepted(_) | Stage::Rejected(_) => false,
        },
        Action::Hold
        | Action::PlanFiling
        | Action::File { .. }
        | Action::Wait { .. }
        | Action::AwaitDecision
        | Action::Finished => false,
    }
}

/// The files of a candidate, as a row records them.
pub(super) fn files_of(candidate: &Candidate) -> Files {
    let sidecar = match &candidate.pairing {
        Pairing::With(sidecar) => candidate.stamp_of(sidecar).map(|state| SidecarFile { name: sidecar.last(), state }),
        Pairing::Alone | Pairing::Ambiguous => None,
    };
    Files { document: candidate.stamp(), sidecar }
}

/// A place that fits a row: a file that is refused for its long path is filed under its name alone.
fn storable(path: &RelPath) -> RelPath {
    if path.to_string().len() <= PATH_LIMIT { path.clone() } else { path.last() }
}

/// Stands for the bytes of a file that is refused unread: its place, size and time.
fn fingerprint(inbox: &str, candidate: &Candidate) -> Sha256 {
    let stamp = candidate.stamp();
    let text = format!("{inbox}\0{}\0{}\0{}", candidate.path, stamp.size, stamp.mtime);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    Sha256(bytes)
}

pub(super) fn wait(pause: Duration, why: Waiting) -> Outcome {
    Outcome::Waiting { until: Instant::now() + pause, why }
}

/// The pass of a worker that was admitted, for effects that send.
pub(super) fn admitted(pass: Option<&Pass>) -> Result<&Pass, DeliveryError> {
    pass.ok_or(DeliveryError::Broken("a request without leave to send"))
}

/// Work that blocks, away from the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, DeliveryError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| DeliveryError::Broken("work on files"))
}
