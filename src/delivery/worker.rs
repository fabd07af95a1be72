//! One document, from where it lies to where it belongs: identify it, find its row, and take step after step.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{DeliveryError, Engine, age, operator::is_held, steps::blocking};
use crate::{
    config::Inbox,
    filing::{self, FileId, Found},
    inbox::{Candidate, Identified, InboxDir, PATH_LIMIT, Pairing, Ready, Rules, identify},
    ledger::{Begun, Delivery, Filing, Queued, Reason, Rejected, Stage, Unknown},
    model::document::{Key, Sha256},
    model::file_state::FileState,
    model::path::{InboxPath, RelPath},
    model::problem::Problem,
};

/// How soon to look again at a document whose twin is just being sent, or that changed under our hands.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// How long a held delivery rests between two looks.
pub(super) const HELD: Duration = Duration::from_secs(60);

/// Why a delivery whose outcome is not known is held when its patient's data were changed.
const CONTRADICTED: &str = "summary is said of the patient was changed after it was sent; whether it arrived is not known. \
                            Look into the chart; to send it as it is now: chartdrop retry";

/// What became of a document for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It lies in done.
    Accepted,
    /// It lies in failed.
    Rejected,
    /// It stays in the inbox until then.
    Waiting { until: Instant, why: Waiting },
}

/// Why a document waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// It is not complete, or cannot be read just now.
    Inbox(&'static str),
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

/// The file at hand: what a step may read, and what filing moves.
pub(super) struct Item<'a> {
    pub inbox: &'a Inbox,
    /// As it was when it was identified.
    pub candidate: &'a Candidate,
    pub ready: Option<&'a Ready>,
    pub found: Found,
    pub shutdown: &'a CancellationToken,
}

/// What a step led to.
pub(super) enum Step {
    /// The row is further on.
    Next(Box<Delivery>),
    /// Nothing more can be done for now.
    Stop(Outcome),
}

impl Engine {
    /// Does whatever can be done now for a document in an inbox.
    pub(super) async fn attend(
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
                Identified::NotYet { why: "it could not be examined", pause: HELD }
            });
        let place = InboxPath { inbox: inbox.name.clone(), path: candidate.path.clone() };
        let sidecar = match candidate.pairing {
            Pairing::With(ref sidecar) => Some(sidecar.clone()),
            Pairing::Alone | Pairing::Ambiguous => None,
        };
        let found = Found {
            document: candidate.path.clone(),
            id: Some(file_id(candidate.stamp())),
            device: Some(candidate.device),
            sidecar_id: sidecar.as_ref().and_then(|sidecar| candidate.stamp_of(sidecar)).map(file_id),
            sidecar,
        };
        match identified {
            Identified::NotYet { why, pause } => Ok(wait(pause, Waiting::Inbox(why))),
            Identified::Refused(refusal) => {
                let item = Item { inbox, candidate: &candidate, ready: None, found, shutdown };
                let place = InboxPath { path: storable(&place.path), ..place };
                self.refuse(place, refusal.into(), item).await
            }
            Identified::Ready(ready) => {
                let item = Item { inbox, candidate: &candidate, ready: Some(&ready), found, shutdown };
                match self.claim(key(inbox, &ready).id()) {
                    Some(_claim) => self.deliver(place, &ready, item).await,
                    None => Ok(wait(SOON, Waiting::Retry)),
                }
            }
        }
    }

    fn identify(&self, inbox: &str, candidate: &Candidate) -> Identified {
        let root = self.config.inbox(inbox).map(|inbox| (inbox, InboxDir::open(&inbox.path)));
        let Some((inbox, Ok(root))) = root else {
            return Identified::NotYet { why: "the inbox cannot be read at the moment", pause: SOON };
        };
        let types = self.tuned().document_types;
        let rules = Rules { inbox, types: &types, size_limit: self.config.delivery.size_limit, vetting: &self.vetting };
        identify(&root, rules, candidate, Instant::now())
    }

    async fn deliver(&self, place: InboxPath, ready: &Ready, item: Item<'_>) -> Result<Outcome, DeliveryError> {
        let now = Timestamp::now();
        let mut fresh = Delivery {
            key: key(item.inbox, ready),
            revision: 0,
            place: place.clone(),
            first_seen: now,
            updated: now,
            document: Some(ready.document.clone()),
            sends: 0,
            uncertain: 0,
            stage: Stage::Queued(queued(now)),
        };
        if let Some(at) = self.rebuilt_at.filter(|_| self.is_older_than_the_ledger(item.candidate)) {
            fresh.updated = at;
        }
        self.supersede(&place, fresh.id());
        let begun = self.ledger.begin(fresh).await?;
        let (Begun::New(standing) | Begun::Existing(standing)) = &begun;
        let doubted = Some(standing.updated).filter(|_| self.is_in_doubt(standing, item.candidate));
        let row = match begun {
            Begun::New(row) => row,
            Begun::Existing(row) if self.waits_for_the_first(&row, &place).await? => {
                return Ok(wait(SOON, Waiting::Retry));
            }
            Begun::Existing(row) => match met_again(of_the_present(row, now), &place, ready, now) {
                Met::Go(row) => {
                    self.mind(&row);
                    *row
                }
                Met::Changed(row) => {
                    if matches!(&row.stage, Stage::Unknown(unknown) if unknown.why == CONTRADICTED) {
                        warn!(delivery = %row.id(), "held: summary is said of the patient was changed after it was sent");
                    }
                    let row = self.ledger.advance(Delivery { updated: doubted.unwrap_or(now), ..*row }).await?;
                    self.mind(&row);
                    row
                }
                Met::Duplicate(row) => return self.file_duplicate(*row, item).await,
                Met::Refused(reason) => return self.refuse(place, *reason, item).await,
            },
        };
        let row = match row.stage.clone() {
            Stage::Queued(queued) if doubted.is_some() && queued.due <= now => {
                match self.doubt(row, queued, &item).await? {
                    Step::Next(row) => *row,
                    Step::Stop(outcome) => return Ok(outcome),
                }
            }
            _ => row,
        };
        self.proceed(row, item).await
    }

    /// Whether this is a duplicate of a document that is ended and still lies in its inbox: the way into done or failed that
    /// its row holds, with the name there, is the first one's.
    async fn waits_for_the_first(&self, row: &Delivery, place: &InboxPath) -> Result<bool, DeliveryError> {
        if row.filing().is_none_or(|filing| filing.filed.is_some()) || row.place == *place {
            return Ok(false);
        }
        let Some(inbox) = self.config.inbox(&row.place.inbox).cloned() else { return Ok(false) };
        let (first, sha256) = (row.place.path.clone(), row.key.sha256);
        // One that cannot be read just now is still there.
        blocking(move || filing::lies_at(&inbox.path, &first, sha256).unwrap_or(true)).await
    }

    /// The life of a delivery: each stage has one step, and each step gives back the next stage.
    async fn proceed(&self, mut row: Delivery, item: Item<'_>) -> Result<Outcome, DeliveryError> {
        loop {
            let now = Timestamp::now();
            if let Some(due) = row.due().filter(|due| *due > now) {
                if is_held(due) {
                    return Ok(wait(HELD, Waiting::Held));
                }
                return Ok(wait(age(now, due), Waiting::Retry));
            }
            // Not between a message that is fixed and its POST: it would be taken for one that was sent.
            if item.shutdown.is_cancelled() && matches!(row.stage, Stage::Queued(_) | Stage::Unknown(_)) {
                return Ok(wait(Duration::ZERO, Waiting::Shutdown));
            }
            let step = match row.stage.clone() {
                Stage::Queued(queued) => self.prepare(row, queued, &item).await?,
                Stage::Sending(message) => self.send(row, message, &item).await?,
                Stage::Unknown(unknown) => self.settle_unknown(row, unknown, &item).await?,
                Stage::Accepted(_) | Stage::Rejected(_) => self.file(row, &item).await?,
            };
            match step {
                Step::Next(next) => row = *next,
                Step::Stop(outcome) => return Ok(outcome),
            }
        }
    }

    /// Records a document that will not be sent, and files it as failed.
    async fn refuse(&self, place: InboxPath, reason: Reason, item: Item<'_>) -> Result<Outcome, DeliveryError> {
        let now = Timestamp::now();
        let key = Key {
            destination: item.inbox.destination.clone(),
            patient: String::new(),
            sha256: fingerprint(&item.inbox.name, item.candidate),
        };
        let Some(_claim) = self.claim(key.id()) else { return Ok(wait(SOON, Waiting::Retry)) };
        let reason = Reason { maybe_sent: reason.maybe_sent || self.is_in_doubt_at(&place), ..reason };
        warn!(delivery = %key.id(), code = %reason.code, "refused; its reason lies beside it in failed");
        let rejected = Stage::Rejected(Rejected { at: now, reason, upload: None, filing: Filing::default() });
        let mut row = Delivery {
            key,
            revision: 0,
            place,
            first_seen: now,
            updated: now,
            document: None,
            sends: 0,
            uncertain: 0,
            stage: rejected,
        };
        row.slim();
        let rejected = row.stage.clone();
        row = match self.ledger.begin(row).await? {
            Begun::New(row) => row,
            Begun::Existing(row) if !row.is_filed() => row,
            Begun::Existing(row) => self.ledger.advance(Delivery { stage: rejected, updated: now, ..row }).await?,
        };
        self.proceed(row, item).await
    }
}

/// What a row that stands already means for the document at hand.
enum Met {
    /// Go on where it was left.
    Go(Box<Delivery>),
    /// Write this first, then go on.
    Changed(Box<Delivery>),
    /// It was accepted before.
    Duplicate(Box<Delivery>),
    /// It was accepted before with other words.
    Refused(Box<Reason>),
}

/// A row from the future: the clock has been set back since, perhaps by hours, and so far off is its pause. That pause is void.
fn of_the_present(mut row: Delivery, now: Timestamp) -> Delivery {
    if row.updated > now {
        match &mut row.stage {
            Stage::Queued(queued) if !is_held(queued.due) => queued.due = now,
            Stage::Unknown(Unknown { due: Some(due), .. }) => *due = now,
            _ => {}
        }
    }
    row
}

fn met_again(row: Delivery, place: &InboxPath, ready: &Ready, now: Timestamp) -> Met {
    let moved = Delivery { place: place.clone(), updated: now, ..row.clone() };
    match &row.stage {
        Stage::Queued(queued) if row.uncertain == 0 || queued.message.is_none() => {
            if row.document.as_ref() == Some(&ready.document) && row.place == *place {
                return Met::Go(Box::new(row));
            }
            // Nothing that counts was sent: what is said of the document now is what will be sent.
            let queued = Queued { message: None, ..queued.clone() };
            Met::Changed(Box::new(Delivery {
                document: Some(ready.document.clone()),
                stage: Stage::Queued(queued),
                ..moved
            }))
        }
        // What may have arrived is sent again as it was, or not at all: not when it says what the folder does not say any more.
        Stage::Queued(Queued { message: Some(message), .. }) if contradicts(&row, ready) => {
            let unknown =
                Unknown { message: message.clone(), why: CONTRADICTED.into(), since: now, due: None, tries: 0 };
            Met::Changed(Box::new(Delivery { stage: Stage::Unknown(unknown), ..moved }))
        }
        Stage::Unknown(unknown) if unknown.due.is_some() && contradicts(&row, ready) => {
            let unknown = Unknown { why: CONTRADICTED.into(), due: None, ..unknown.clone() };
            Met::Changed(Box::new(Delivery { stage: Stage::Unknown(unknown), ..moved }))
        }
        Stage::Queued(_) | Stage::Unknown(_) if row.place == *place => Met::Go(Box::new(row)),
        Stage::Queued(_) | Stage::Unknown(_) => Met::Changed(Box::new(moved)),
        Stage::Sending(message) => {
            let (why, due) = match contradicts(&row, ready) {
                true => (CONTRADICTED, None),
                false => ("chartdrop was ended while it waited for the answer", Some(now)),
            };
            let unknown = Unknown { message: message.clone(), why: why.into(), since: now, due, tries: 0 };
            Met::Changed(Box::new(Delivery { uncertain: row.uncertain + 1, stage: Stage::Unknown(unknown), ..moved }))
        }
        Stage::Accepted(_) | Stage::Rejected(_) if !row.is_filed() => Met::Go(Box::new(row)),
        Stage::Accepted(accepted) => {
            let said = row.document.as_ref().map(|document| &document.metadata);
            if said == Some(&ready.document.metadata) {
                return Met::Duplicate(Box::new(row));
            }
            let at = accepted.at.strftime("%Y-%m-%d %H:%M UTC");
            Met::Refused(Box::new(Reason {
                code: "other-metadata".into(),
                summary: format!(
                    "The same document was accepted by Redox for this patient on {at} (as {}, delivery {}), and this time it comes with another description.",
                    row.place.path,
                    row.id()
                ),
                remedy: "If the chart is right as it is, delete this file. If the description must be corrected in the chart, ask the person who looks after chartdrop to send it again on purpose.".into(),
                maybe_sent: false,
            }))
        }
        Stage::Rejected(rejected) => {
            let upload = rejected.upload.clone();
            Met::Changed(Box::new(Delivery {
                document: Some(ready.document.clone()),
                // A person's new try counts its time from here, and takes new ids.
                first_seen: now,
                stage: Stage::Queued(Queued { upload, ..queued(now) }),
                ..moved
            }))
        }
    }
}

/// Whether a message that may have arrived speaks of another patient, or says other things of him, than the folder does now.
fn contradicts(row: &Delivery, ready: &Ready) -> bool {
    row.document.as_ref().is_some_and(|sent| sent.patient != ready.document.patient)
}

fn queued(now: Timestamp) -> Queued {
    Queued { attempts: 0, since: now, due: now, why: String::new(), upload: None, message: None }
}

fn key(inbox: &Inbox, ready: &Ready) -> Key {
    let patient = ready.document.patient.identifier.first();
    Key {
        destination: inbox.destination.clone(),
        patient: patient.map(|first| format!("{}|{}", first.system, first.value)).unwrap_or_default(),
        sha256: ready.document.content.sha256,
    }
}

fn file_id(stamp: FileState) -> FileId {
    (stamp.dev, stamp.ino, stamp.size, stamp.mtime)
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

impl From<Problem> for Reason {
    fn from(refusal: Problem) -> Self {
        Self { code: refusal.code.into(), summary: refusal.summary, remedy: refusal.remedy, maybe_sent: false }
    }
}
