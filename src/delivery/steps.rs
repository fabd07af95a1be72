//! The steps of one delivery: each does one effect, writes its outcome durably, and gives back the row as it then is.

use std::{
    io,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::{
    DeliveryError, Engine, after, age,
    channel::Pass,
    worker::{HELD, Item, Outcome, Step, Waiting, wait},
};
use crate::{
    config::OnUnknown,
    filing::{
        self, End, FilingError, Note, reason,
        receipt::{Receipt, Status},
    },
    inbox::Ready,
    ledger::{Accepted, Delivery, Filing, Queued, Reason, Rejected, Stage, Unknown},
    model::message::{Answer, Message, Upload},
    model::path::InboxPath,
    redox::{self, Failure},
};

/// A message without a settling answer is sent so often again, byte for byte; then a person decides.
const MOST_RESENDS: u32 = 3;
/// So often the destination is asked whether it has the document, before that counts as a no.
pub(super) const MOST_SEARCHES: u32 = 3;
/// How soon a document that changed under our hands is looked at again.
const AFRESH: Duration = Duration::from_secs(1);
/// How soon a move to done or failed that did not work is tried again.
const FILE_AGAIN: Duration = Duration::from_secs(15);

impl Engine {
    pub(super) async fn write(&self, row: Delivery, stage: Stage) -> Result<Delivery, DeliveryError> {
        let mut row = Delivery { updated: Timestamp::now(), stage, ..row };
        row.slim();
        let row = self.ledger.advance(row).await?;
        self.mind(&row);
        Ok(row)
    }

    /// Queued → Sending: uploads the file if need be, then fixes the message, durably, before it is sent.
    pub(super) async fn prepare(&self, row: Delivery, queued: Queued, item: &Item<'_>) -> Result<Step, DeliveryError> {
        let Some(ready) = item.ready else { return Err(DeliveryError::Broken("a queued delivery without its file")) };
        let pass = match self.channel(item).admit(Instant::now()) {
            Ok(pass) => pass,
            Err(until) => return Ok(Step::Stop(Outcome::Waiting { until, why: Waiting::Channel })),
        };
        let now = Timestamp::now();
        let young = |upload: &Upload| age(upload.at, now) < self.config.delivery.upload_max_age;
        let kept = queued.message.clone().filter(|kept| row.uncertain > 0 || kept.upload.as_ref().is_none_or(young));
        if let Some(message) = kept {
            return self.fix(row, message).await;
        }
        let document = &ready.document;
        let embeds = self.config.delivery.embeds(document.content.size) && queued.upload.is_none();
        let upload = if embeds {
            None
        } else if let Some(upload) = queued.upload.clone().filter(young) {
            Some(upload)
        } else {
            match self.client.upload(&ready.file, &document.content).await {
                Ok(location) => {
                    self.heard(item);
                    Some(Upload { location, at: Timestamp::now() })
                }
                Err(failure) => return self.failed(row, Queued { message: None, ..queued }, failure, item, pass).await,
            }
        };
        drop(pass);
        if !self.stands(item).await? {
            // While it was uploaded somebody renamed, moved or edited something: whose it is must be found out afresh.
            self.write(row, Stage::Queued(Queued { upload, message: None, ..queued })).await?;
            return Ok(Step::Stop(afresh()));
        }
        let message = Message {
            bundle: Uuid::new_v4(),
            header: Uuid::new_v4(),
            timestamp: Timestamp::now(),
            endpoint: self.config.redox.endpoint(),
            upload,
            sent: 0,
        };
        self.fix(row, message).await
    }

    /// Whether document, sidecar and `patient.toml` are where and as they were when the document was identified, and still
    /// nothing speaks against its patient.
    fn stands(&self, item: &Item<'_>) -> impl Future<Output = Result<bool, DeliveryError>> + use<> {
        let (inbox, candidate, vetting) = (item.inbox.clone(), item.candidate.clone(), Arc::clone(&self.vetting));
        let patient = item.ready.map(|ready| ready.document.patient.clone());
        blocking(move || {
            candidate.still_stands(&inbox.path)
                && patient.is_some_and(|patient| vetting.check(&inbox, &candidate.path, &patient).is_ok())
        })
    }

    async fn fix(&self, row: Delivery, message: Message) -> Result<Step, DeliveryError> {
        let message = Message { sent: message.sent + 1, ..message };
        let sends = row.sends + 1;
        Ok(Step::Next(Box::new(self.write(Delivery { sends, ..row }, Stage::Sending(message)).await?)))
    }

    /// Sending → whatever the answer says.
    pub(super) async fn send(&self, row: Delivery, message: Message, item: &Item<'_>) -> Result<Step, DeliveryError> {
        let (Some(ready), Some(document)) = (item.ready, row.document.clone()) else {
            return Err(DeliveryError::Broken("a delivery without its document"));
        };
        let pass = match self.channel(item).admit(Instant::now()) {
            Ok(pass) => pass,
            Err(until) => return self.unsent(row, message, Outcome::Waiting { until, why: Waiting::Channel }).await,
        };
        let bundle = redox::build(&document, row.id(), row.first_seen, &message);
        let embedded = message.upload.is_none().then_some((&ready.file, &document.content));
        // The last look, when nothing stands between it and the request any more, not even a token that is slow to come.
        let stands = || {
            let stands = self.stands(item);
            async { stands.await.unwrap_or(false) }
        };
        match self.client.create(&item.inbox.slug, bundle, embedded, message.sent > 1, stands).await {
            Ok(answer) => {
                self.heard(item);
                self.accept(row, Some(message), answer, item).await
            }
            Err(Failure::Unknown { why }) => self.unanswered(row, message, why).await,
            Err(Failure::Changed) => self.unsent(row, message, afresh()).await,
            Err(Failure::TooLarge) if message.upload.is_none() => {
                self.upload_instead(row, message, ready, item, pass).await
            }
            Err(failure) => {
                let queued = queued_again(&row, message);
                self.failed(row, queued, failure, item, pass).await
            }
        }
    }

    /// Sending → Queued: it was fixed and nothing of it was taken. Back to the queue with the very same message, which is sent
    /// only if the document is still found to be what it says.
    async fn unsent(&self, row: Delivery, message: Message, outcome: Outcome) -> Result<Step, DeliveryError> {
        let message = Message { sent: message.sent.saturating_sub(1), ..message };
        let queued = queued_again(&row, message);
        let sends = row.sends.saturating_sub(1);
        self.write(Delivery { sends, ..row }, Stage::Queued(queued)).await?;
        Ok(Step::Stop(outcome))
    }

    /// 413 for an embedded file: Redox took nothing; the same delivery goes the other way.
    async fn upload_instead(
        &self,
        row: Delivery,
        message: Message,
        ready: &Ready,
        item: &Item<'_>,
        pass: Pass,
    ) -> Result<Step, DeliveryError> {
        let queued = Queued { message: None, ..queued_again(&row, message) };
        match self.client.upload(&ready.file, &ready.document.content).await {
            Ok(location) => {
                let upload = Some(Upload { location, at: Timestamp::now() });
                let queued = Queued { upload, ..queued };
                Ok(Step::Next(Box::new(self.write(row, Stage::Queued(queued)).await?)))
            }
            Err(failure) => self.failed(row, queued, failure, item, pass).await,
        }
    }

    pub(super) async fn accept(
        &self,
        row: Delivery,
        message: Option<Message>,
        answer: Answer,
        item: &Item<'_>,
    ) -> Result<Step, DeliveryError> {
        let at = Timestamp::now();
        info!(delivery = %row.id(), status = answer.status, sends = row.sends, "accepted by Redox");
        let mut accepted = Accepted { at, message, answer, filing: Filing::default(), twin: None };
        let planned = Delivery { stage: Stage::Accepted(accepted.clone()), ..row.clone() };
        // A place that cannot be found now is looked for again when the document is filed.
        accepted.filing.to = self.planned(&planned, item).unwrap_or_default();
        Ok(Step::Next(Box::new(self.write(row, Stage::Accepted(accepted)).await?)))
    }

    pub(super) async fn reject(
        &self,
        row: Delivery,
        reason: Reason,
        upload: Option<Upload>,
    ) -> Result<Step, DeliveryError> {
        warn!(delivery = %row.id(), code = %reason.code, "rejected; its reason lies beside it in failed");
        let rejected = Rejected { at: Timestamp::now(), reason, upload, filing: Filing::default() };
        Ok(Step::Next(Box::new(self.write(row, Stage::Rejected(rejected)).await?)))
    }

    /// What a failed call means for this delivery, and for all others.
    async fn failed(
        &self,
        row: Delivery,
        queued: Queued,
        failure: Failure,
        item: &Item<'_>,
        _pass: Pass,
    ) -> Result<Step, DeliveryError> {
        let now = Timestamp::now();
        let words = failure.to_string();
        match failure {
            // The request was broken off before its end: nothing was taken.
            Failure::Changed => {
                self.write(row, Stage::Queued(Queued { message: None, ..queued })).await?;
                Ok(Step::Stop(afresh()))
            }
            Failure::Later { why, sent, retry_after } => self.later(row, queued, why, sent, retry_after).await,
            Failure::Unknown { why } => self.later(row, queued, why, false, None).await,
            Failure::Rejected { code, summary, remedy } => {
                self.heard(item);
                let maybe_sent = row.uncertain > 0;
                self.reject(row, Reason { code, summary, remedy, maybe_sent }, queued.upload).await
            }
            Failure::TooLarge => {
                self.heard(item);
                let reason = Reason {
                    code: "too-large".into(),
                    summary: "Redox does not take a document of this size.".into(),
                    remedy: "Scan it with a lower resolution, or split it into parts, and drop those into the patient's folder in the inbox.".into(),
                    maybe_sent: row.uncertain > 0,
                };
                self.reject(row, reason, None).await
            }
            Failure::Throttled { why, wait } => {
                // Redox counts the requests of all destinations together.
                let closed = self.channels.values().map(|channel| channel.back_off(Instant::now(), wait, why.clone()));
                let (until, news) = closed.fold((Instant::now(), false), |(a, b), (c, d)| (a.max(c), b || d));
                if news {
                    warn!(seconds = wait.as_secs(), "Redox takes no more requests for a while; all deliveries wait");
                }
                self.wait_for_channel(row, Queued { due: after(now, wait), why, ..queued }, until).await
            }
            Failure::Stop { summary, remedy, .. } => {
                let (until, news) = self.channel(item).stop(Instant::now(), summary.clone(), remedy);
                if news {
                    error!("nothing is sent for now: {words}");
                }
                // The channel's pause ends with the program: what was mended meanwhile is tried at once.
                self.wait_for_channel(row, Queued { due: now, why: summary, ..queued }, until).await
            }
        }
    }

    async fn wait_for_channel(&self, row: Delivery, queued: Queued, until: Instant) -> Result<Step, DeliveryError> {
        self.write(row, Stage::Queued(queued)).await?;
        Ok(Step::Stop(Outcome::Waiting { until, why: Waiting::Channel }))
    }

    async fn later(
        &self,
        row: Delivery,
        queued: Queued,
        why: String,
        sent: bool,
        retry_after: Option<Duration>,
    ) -> Result<Step, DeliveryError> {
        let now = Timestamp::now();
        let uncertain = row.uncertain + u32::from(sent);
        let row = Delivery { uncertain, ..row };
        if age(queued.since, now) >= self.config.delivery.give_up_after {
            let reason = Reason {
                code: "gave-up".into(),
                summary: format!("Redox could not be reached, or did not take the document, for a long time. The last try: {why}"),
                remedy: "Ask the person who looks after chartdrop whether the connection works again, then move the document (and its sidecar) back into the patient's folder in the inbox.".into(),
                maybe_sent: uncertain > 0,
            };
            return self.reject(row, reason, queued.upload).await;
        }
        let pause = retry_after.unwrap_or_default().max(self.pause(queued.attempts));
        let why = why.chars().take(200).collect();
        info!(delivery = %row.id(), attempts = queued.attempts + 1, seconds = pause.as_secs(), "will be tried again");
        let queued = Queued { attempts: queued.attempts + 1, due: after(now, pause), why, ..queued };
        self.write(row, Stage::Queued(queued)).await?;
        Ok(Step::Stop(wait(pause, Waiting::Retry)))
    }

    async fn unanswered(&self, row: Delivery, message: Message, why: String) -> Result<Step, DeliveryError> {
        let now = Timestamp::now();
        let pause = self.pause(message.sent.saturating_sub(1));
        warn!(delivery = %row.id(), "sent, and the answer never came: the outcome is unknown");
        let why = why.chars().take(200).collect();
        let unknown = Unknown { message, why, since: now, due: Some(after(now, pause)), tries: 0 };
        let row = Delivery { uncertain: row.uncertain + 1, ..row };
        Ok(Step::Next(Box::new(self.write(row, Stage::Unknown(unknown)).await?)))
    }

    /// Unknown → by the operator's policy.
    pub(super) async fn settle_unknown(
        &self,
        row: Delivery,
        unknown: Unknown,
        item: &Item<'_>,
    ) -> Result<Step, DeliveryError> {
        if unknown.due.is_none() {
            return Ok(Step::Stop(wait(HELD, Waiting::Held)));
        }
        let may_resend = unknown.message.sent <= MOST_RESENDS;
        match self.config.delivery.on_unknown {
            OnUnknown::Resend if may_resend => self.fix(row, unknown.message).await,
            OnUnknown::Search if unknown.tries < MOST_SEARCHES => self.search(row, unknown, item).await,
            OnUnknown::Search if may_resend => self.fix(row, unknown.message).await,
            OnUnknown::Resend | OnUnknown::Search | OnUnknown::Hold => self.hold(row, unknown).await,
        }
    }

    async fn hold(&self, row: Delivery, unknown: Unknown) -> Result<Step, DeliveryError> {
        warn!(delivery = %row.id(), "held: whether it arrived is not known, and a person must decide");
        self.write(row, Stage::Unknown(Unknown { due: None, ..unknown })).await?;
        Ok(Step::Stop(wait(HELD, Waiting::Held)))
    }

    async fn search(&self, row: Delivery, unknown: Unknown, item: &Item<'_>) -> Result<Step, DeliveryError> {
        let _pass = match self.channel(item).admit(Instant::now()) {
            Ok(pass) => pass,
            Err(until) => return Ok(Step::Stop(Outcome::Waiting { until, why: Waiting::Channel })),
        };
        let now = Timestamp::now();
        let (tries, pause) = match self.client.search(&item.inbox.slug, row.id()).await {
            Ok(true) => return self.accept(row, Some(unknown.message), found_by_search(), item).await,
            Ok(false) => (unknown.tries + 1, self.pause(unknown.tries + 1)),
            Err(Failure::Rejected { .. } | Failure::TooLarge) => return self.hold(row, unknown).await,
            Err(_) if age(unknown.since, now) >= self.config.delivery.give_up_after => {
                return self.hold(row, unknown).await;
            }
            Err(_) => (unknown.tries, self.until_asked_again(unknown.since, now)),
        };
        let due = Some(after(now, pause));
        Ok(Step::Next(Box::new(self.write(row, Stage::Unknown(Unknown { tries, due, ..unknown })).await?)))
    }

    /// A question that got no answer is no *no*: it is asked again, ever more rarely.
    pub(super) fn until_asked_again(&self, since: Timestamp, now: Timestamp) -> Duration {
        self.pause(0).max((age(since, now) / 4).min(self.config.delivery.retry_max))
    }

    /// An answer came that is about one delivery: the channel works.
    fn heard(&self, item: &Item<'_>) {
        if self.channel(item).works() {
            info!("deliveries go on");
        }
    }

    /// Accepted or Rejected → filed. A move that fails is tried again and never sends anything.
    pub(super) async fn file(&self, row: Delivery, item: &Item<'_>) -> Result<Step, DeliveryError> {
        let row = match row.filing() {
            Some(Filing { filed: None, to: None }) => {
                let to = match self.planned(&row, item) {
                    Ok(to) => to,
                    Err(error) => return Ok(Step::Stop(self.not_filed(item, &error))),
                };
                let filing = Filing { to, filed: None };
                self.refile(row, filing).await?
            }
            _ => row,
        };
        let (Some(to), Some(note)) = (row.filing().and_then(|filing| filing.to.clone()), note(&row)) else {
            return Err(DeliveryError::Broken("a finished delivery without a place"));
        };
        let end = end(&row);
        let (inbox, found, path) = (item.inbox.clone(), item.found.clone(), to.path.clone());
        let filed = blocking(move || filing::file(&inbox, end, &path, &found, &note)).await?;
        match filed {
            Ok(_) => {
                self.filed(item);
                let accepted = matches!(row.stage, Stage::Accepted(_));
                let mut row = self.filed_mark(row);
                row.shrink();
                self.mind(&self.ledger.advance(row).await?);
                Ok(Step::Stop(if accepted { Outcome::Accepted } else { Outcome::Rejected }))
            }
            Err(FilingError::Move { error, .. }) if error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(Step::Next(Box::new(self.refile(row, Filing::default()).await?)))
            }
            Err(error) => Ok(Step::Stop(self.not_filed(item, &error))),
        }
    }

    /// The free place for a finished document; `None` for one that is not finished.
    fn planned(&self, row: &Delivery, item: &Item<'_>) -> Result<Option<InboxPath>, FilingError> {
        let Some(note) = note(row) else { return Ok(None) };
        let path = filing::plan(item.inbox, end(row), &row.place.path, &item.found, &note)?;
        Ok(Some(InboxPath { inbox: item.inbox.name.clone(), path }))
    }

    /// A document stays where it is for now. One alarm an incident, however many documents wait for its end.
    pub(super) fn not_filed(&self, item: &Item<'_>, error: &FilingError) -> Outcome {
        if self.jammed.lock().unwrap_or_else(PoisonError::into_inner).insert(item.inbox.name.clone()) {
            error!(inbox = %item.inbox.name, "{error}; it is tried again until it works, and nothing is sent again");
        }
        self.half_filed.store(true, Ordering::Relaxed);
        wait(self.file_again(), Waiting::Filing)
    }

    pub(super) fn file_again(&self) -> Duration {
        FILE_AGAIN.min(self.config.delivery.retry_max)
    }

    pub(super) fn filed(&self, item: &Item<'_>) {
        if self.jammed.lock().unwrap_or_else(PoisonError::into_inner).remove(&item.inbox.name) {
            info!(inbox = %item.inbox.name, "finished documents can be moved again");
        }
    }

    async fn refile(&self, mut row: Delivery, filing: Filing) -> Result<Delivery, DeliveryError> {
        row.updated = Timestamp::now();
        match &mut row.stage {
            Stage::Accepted(accepted) => accepted.filing = filing,
            Stage::Rejected(rejected) => rejected.filing = filing,
            Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) => {}
        }
        row.slim();
        Ok(self.ledger.advance(row).await?)
    }

    pub(super) fn filed_mark(&self, mut row: Delivery) -> Delivery {
        let now = Timestamp::now();
        row.updated = now;
        match &mut row.stage {
            Stage::Accepted(accepted) => {
                accepted.filing.filed.get_or_insert(now);
                accepted.twin = None;
            }
            Stage::Rejected(rejected) => rejected.filing.filed = Some(now),
            Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) => {}
        }
        row
    }
}

/// Identify it again soon.
fn afresh() -> Outcome {
    wait(AFRESH, Waiting::Inbox("it changed while it was sent"))
}

/// The queue entry of a delivery whose message was not taken.
fn queued_again(row: &Delivery, message: Message) -> Queued {
    let attempts = message.sent.saturating_sub(1);
    let due = Timestamp::now();
    Queued { attempts, since: row.first_seen, due, why: String::new(), upload: None, message: Some(message) }
}

/// The answer of a delivery that the destination turned out to have.
pub(super) fn found_by_search() -> Answer {
    Answer { status: 200, headers: vec![], ids: vec!["found by search".into()] }
}

/// What is written beside a finished document.
pub(super) fn note(row: &Delivery) -> Option<Note> {
    match &row.stage {
        Stage::Accepted(accepted) => {
            Receipt::of(row, accepted, Status::Accepted).map(|receipt| Note::Receipt(Box::new(receipt)))
        }
        Stage::Rejected(rejected) => Some(Note::Reason(reason::text(row, rejected))),
        Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) => None,
    }
}

fn end(row: &Delivery) -> End {
    match row.stage {
        Stage::Accepted(_) => End::Done,
        Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) | Stage::Rejected(_) => End::Failed,
    }
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, DeliveryError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| DeliveryError::Broken("filing a document"))
}
