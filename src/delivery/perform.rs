//! One function for each effect of a delivery. Nothing here decides what the result means for the row.

use std::{
    io,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::{
    DeliveryError, Engine,
    channel::{ChannelState, Pass, Refusal, Trouble},
    lifecycle::{self, Action, Event},
    worker::{Item, Outcome, Performed, SOON, Waiting, admitted, blocking, wait},
};
use crate::{
    filing::{
        self, End, FilingError, Found, Note, reason,
        receipt::{Receipt, Status},
    },
    ledger::{Delivery, Stage},
    model::{message::Upload, path::InboxPath, problem::catalogue as known},
    redox::{self, Failure, Unreachable},
};

/// How soon a move to done or failed that did not work is tried again.
const FILE_AGAIN: Duration = Duration::from_secs(15);

impl Engine {
    /// Performs one effect.
    pub(super) async fn perform(
        &self,
        action: Action,
        row: &Delivery,
        pass: Option<&Pass>,
        item: &Item<'_>,
    ) -> Result<Performed, DeliveryError> {
        match action {
            Action::Prepare { upload, must_upload } => self.prepare(row, upload, must_upload, item).await,
            Action::Repeat => Ok(at_once(Event::Repeated)),
            Action::Hold => Ok(at_once(Event::HoldUnknown)),
            Action::Post => self.post(row, admitted(pass)?, item).await,
            Action::Search => self.search(row, item).await,
            Action::PlanFiling => self.plan_filing(row, item).await,
            Action::File { to } => self.file(row, to, item).await,
            Action::Wait { .. } | Action::AwaitDecision | Action::Finished => Ok(at_once(Event::NotFiled)),
        }
    }

    /// Uploads the file if need be, then sees that nothing has changed meanwhile.
    async fn prepare(
        &self,
        row: &Delivery,
        upload: Option<Upload>,
        must_upload: bool,
        item: &Item<'_>,
    ) -> Result<Performed, DeliveryError> {
        let Some(ready) = item.ready else { return Err(DeliveryError::Broken("a queued delivery without its file")) };
        let document = &ready.document;
        let embeds = upload.is_none() && !must_upload && self.config.delivery.embeds(document.content.size);
        let upload = match upload {
            Some(upload) => Some(upload),
            None if embeds => None,
            None => {
                let began = Instant::now();
                match self.client.upload(&ready.file, &document.content).await {
                    Ok(location) => {
                        self.on_response(row, item);
                        Some(Upload { location, at: Timestamp::now() })
                    }
                    Err(failure) => return Ok(self.on_failure(failure, row, began, item)),
                }
            }
        };
        if !lifecycle::fits_with(row, upload.as_ref()) {
            let known::Kind { code, remedy, .. } = known::TOO_MANY_WORDS;
            let summary = "The document, what is said of it and Redox's reference to its file are too long together.";
            let event = Event::Rejected { code: code.into(), summary: summary.into(), remedy: remedy.into() };
            return Ok(at_once(event));
        }
        if !self.is_unchanged(item).await? {
            // While it was uploaded somebody renamed, moved or edited something: whose it is must be found out again.
            return Ok(changed(upload));
        }
        Ok(at_once(Event::Prepared { upload, bundle: Uuid::new_v4(), header: Uuid::new_v4() }))
    }

    /// Sends the message, after a last look when nothing is left between that look and the request.
    async fn post(&self, row: &Delivery, pass: &Pass, item: &Item<'_>) -> Result<Performed, DeliveryError> {
        let (Some(ready), Some(document), Stage::Sending(message)) = (item.ready, &row.document, &row.stage) else {
            return Err(DeliveryError::Broken("a message without its document"));
        };
        if !self.channel(item).still_admits(pass) {
            return Ok(self.channel_closed(String::new(), None, item));
        }
        let bundle = redox::build(document, row.id(), row.first_seen, message);
        let embedded = message.upload.is_none().then_some((&ready.file, &ready.document.content));
        let is_unchanged = || {
            let unchanged = self.is_unchanged(item);
            async { unchanged.await.unwrap_or(false) }
        };
        let (began, is_resend) = (Instant::now(), message.sent > 1);
        match self.client.create(&item.inbox.slug, bundle, embedded, is_resend, is_unchanged).await {
            Ok(answer) => {
                self.on_response(row, item);
                let to = self.free_place(row, item).await?;
                Ok(at_once(Event::Accepted { answer, to }))
            }
            Err(failure) => Ok(self.on_failure(failure, row, began, item)),
        }
    }

    async fn search(&self, row: &Delivery, item: &Item<'_>) -> Result<Performed, DeliveryError> {
        let began = Instant::now();
        let event = match self.client.search(&item.inbox.slug, row.id()).await {
            Ok(true) => Event::Found { to: self.free_place(row, item).await? },
            Ok(false) => Event::NotFound,
            Err(Failure::Rejected { .. } | Failure::TooLarge) => Event::SearchRefused,
            Err(failure @ (Failure::Throttled { .. } | Failure::Stop { .. } | Failure::Unreachable { .. })) => {
                return Ok(self.on_failure(failure, row, began, item));
            }
            Err(
                failure
                @ (Failure::Later { .. } | Failure::Unknown { .. } | Failure::Unclear { .. } | Failure::Changed),
            ) => Event::SearchUnanswered { why: failure.to_string(), took: began.elapsed() },
        };
        Ok(Performed { event, rest: wait(SOON, Waiting::Retry) })
    }

    /// What a failed call means for this delivery, and for all others.
    fn on_failure(&self, failure: Failure, row: &Delivery, began: Instant, item: &Item<'_>) -> Performed {
        let words = failure.to_string();
        let event = match failure {
            Failure::Changed => return changed(None),
            Failure::Later { why, retry_after } => Event::Later { why, retry_after, took: began.elapsed() },
            Failure::Unreachable { kind, why } => {
                let jitter = self.facts().jitter;
                let kind = unreachable(kind);
                let summary = format!("{}: {why}", kind.means.trim_end_matches('.'));
                let problem = kind.because(documents_wait(&summary));
                if self.channel(item).unreachable(Instant::now(), jitter, problem).1 {
                    error!(
                        code = kind.code,
                        why, "Redox cannot be reached; nothing is lost, and it is tried until it works"
                    );
                }
                return self.channel_closed(why, None, item);
            }
            Failure::Unknown { why } => Event::Unknown { why },
            Failure::Unclear { status, why } => Event::Unclear { why: format!("{why} (HTTP status {status})") },
            Failure::Rejected { code, summary, remedy } => {
                self.on_response(row, item);
                Event::Rejected { code, summary, remedy }
            }
            Failure::TooLarge => {
                self.on_response(row, item);
                Event::TooLarge
            }
            Failure::Throttled { why, wait } => {
                // Redox counts the requests of all destinations together.
                let summary = documents_wait(&why);
                let closed =
                    self.channels.values().map(|channel| channel.back_off(Instant::now(), wait, summary.clone()));
                if closed.fold(false, |news, (_, is_news)| news || is_news) {
                    warn!(
                        seconds = wait.as_secs(),
                        why, "Redox takes no more requests for a while; all deliveries wait"
                    );
                }
                return self.channel_closed(why, Some(wait), item);
            }
            Failure::Stop { status, code, summary, remedy } => {
                let state = ChannelState::Stopped;
                let trouble = Trouble {
                    code: code.clone(),
                    state,
                    is_confirmed: false,
                    summary: documents_wait(&summary),
                    remedy,
                };
                match self.channel(item).refuse(Instant::now(), row.id(), status, trouble) {
                    Refusal::Document => Event::OnlyThisRefused { status },
                    Refusal::Channel { news } => {
                        if news {
                            error!(delivery = %row.id(), code, "nothing is sent for now: {words}");
                        }
                        return self.channel_closed(summary, None, item);
                    }
                }
            }
        };
        Performed { event, rest: wait(SOON, Waiting::Retry) }
    }

    fn channel_closed(&self, why: String, pause: Option<Duration>, item: &Item<'_>) -> Performed {
        let until = self.channel(item).next_probe().unwrap_or_else(|| Instant::now() + SOON);
        let rest = Outcome::Waiting { until, why: Waiting::Channel };
        Performed { event: Event::ChannelClosed { why, wait: pause }, rest }
    }

    /// Whether document, sidecar and `patient.toml` are where and as they were when the document was identified, and still
    /// nothing speaks against its patient.
    fn is_unchanged(&self, item: &Item<'_>) -> impl Future<Output = Result<bool, DeliveryError>> + use<> {
        let (inbox, candidate, vetting) = (item.inbox.clone(), item.candidate.clone(), Arc::clone(&self.vetting));
        let patient = item.ready.map(|ready| ready.document.patient.clone());
        blocking(move || {
            candidate.still_stands(&inbox.path)
                && patient.is_some_and(|patient| vetting.check(&inbox, &candidate.path, &patient).is_ok())
        })
    }

    /// An answer came that is about one delivery: the channel works.
    fn on_response(&self, row: &Delivery, item: &Item<'_>) {
        if self.channel(item).works(row.id()) {
            info!(destination = %item.inbox.destination.0, "deliveries go on");
        }
    }

    /// A free place for an accepted document; `None` if that cannot be told now.
    async fn free_place(&self, row: &Delivery, item: &Item<'_>) -> Result<Option<InboxPath>, DeliveryError> {
        let (inbox, path, found) = (item.inbox.clone(), row.place.path.clone(), found_of(row, item));
        let planned = blocking(move || filing::plan(&inbox, End::Done, &path, &found)).await?;
        Ok(planned.ok().map(|path| InboxPath { inbox: item.inbox.name.clone(), path }))
    }

    async fn plan_filing(&self, row: &Delivery, item: &Item<'_>) -> Result<Performed, DeliveryError> {
        let (inbox, path, found, end) = (item.inbox.clone(), row.place.path.clone(), found_of(row, item), end(row));
        match blocking(move || filing::plan(&inbox, end, &path, &found)).await? {
            Ok(path) => {
                let to = InboxPath { inbox: item.inbox.name.clone(), path };
                Ok(at_once(Event::FilingPlanned { to }))
            }
            Err(error) => Ok(Performed { event: Event::NotFiled, rest: self.not_filed(item, &error) }),
        }
    }

    /// Moves document and sidecar, and writes the receipt or note. A move that fails is tried again and never sends anything.
    async fn file(&self, row: &Delivery, to: InboxPath, item: &Item<'_>) -> Result<Performed, DeliveryError> {
        let Some(note) = note(row, item.sidecar_stays(row), self.tuned().contact.as_deref()) else {
            return Err(DeliveryError::Broken("a final delivery without its note"));
        };
        let (inbox, found, end) = (item.inbox.clone(), found_of(row, item), end(row));
        match blocking(move || filing::file(&inbox, end, &to.path, &found, &note)).await? {
            Ok(_) => {
                self.filed(item);
                Ok(at_once(Event::Filed))
            }
            Err(FilingError::Move { error, .. }) if error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(at_once(Event::PlaceTaken))
            }
            Err(error) => Ok(Performed { event: Event::NotFiled, rest: self.not_filed(item, &error) }),
        }
    }

    /// A document stays where it is for now. One alarm an incident, however many documents wait for its end.
    pub(super) fn not_filed(&self, item: &Item<'_>, error: &FilingError) -> Outcome {
        if self.filing_blocked.lock().unwrap_or_else(PoisonError::into_inner).insert(item.inbox.name.clone()) {
            error!(inbox = %item.inbox.name, code = known::NOT_FILED.code, "{error}; it is tried again until it works, and nothing is sent again");
        }
        self.filing_pending.store(true, Ordering::Relaxed);
        wait(self.file_again(), Waiting::Filing)
    }

    pub(super) fn file_again(&self) -> Duration {
        FILE_AGAIN.min(self.config.delivery.retry_max)
    }

    pub(super) fn filed(&self, item: &Item<'_>) {
        if self.filing_blocked.lock().unwrap_or_else(PoisonError::into_inner).remove(&item.inbox.name) {
            info!(inbox = %item.inbox.name, "finished documents can be moved again");
        }
    }
}

impl Item<'_> {
    /// Whether a sidecar is beside the document now that is not the one that was sent with it: it stays in the inbox.
    fn sidecar_stays(&self, row: &Delivery) -> bool {
        let now = super::worker::files_of(self.candidate).sidecar;
        let sent = row.files.as_ref().and_then(|files| files.sidecar.as_ref());
        now.is_some() && now.as_ref() != sent
    }
}

/// Exactly what is filed with a row: the document at hand, and the sidecar that was recorded with it.
pub(super) fn found_of(row: &Delivery, item: &Item<'_>) -> Found {
    let document = item.candidate.path.clone();
    let recorded = row.files.as_ref().and_then(|files| files.sidecar.as_ref());
    let sidecar = recorded.map(|sidecar| (document.with_file_name(sidecar.name.file_name()), sidecar.state));
    Found {
        document,
        state: Some(item.candidate.stamp()),
        device: Some(item.candidate.device),
        sidecar: sidecar.map(|(path, state)| (path, Some(state))),
    }
}

fn end(row: &Delivery) -> End {
    match row.stage {
        Stage::Accepted(_) => End::Done,
        Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) | Stage::Held(_) | Stage::Rejected(_) => End::Failed,
    }
}

/// What is written beside a finished document.
pub(super) fn note(row: &Delivery, sidecar_stays: bool, contact: Option<&str>) -> Option<Note> {
    match &row.stage {
        Stage::Accepted(accepted) => {
            let mut receipt = Receipt::of(row, accepted, Status::Accepted)?;
            if sidecar_stays {
                receipt.note.push_str(" Its sidecar was changed or added after it was sent: that one stays in the inbox, and nothing of it was sent.");
            }
            Some(Note::Receipt(Box::new(receipt)))
        }
        Stage::Rejected(rejected) => Some(Note::Reason(reason::text(row, rejected, contact))),
        Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) | Stage::Held(_) => None,
    }
}

/// The problem of a server that cannot be reached.
fn unreachable(kind: Unreachable) -> &'static known::Kind {
    match kind {
        Unreachable::Refused => &known::UNREACHABLE_REFUSED,
        Unreachable::Dns => &known::UNREACHABLE_DNS,
        Unreachable::Tls => &known::UNREACHABLE_TLS,
        Unreachable::Timeout => &known::UNREACHABLE_TIMEOUT,
        Unreachable::Proxy => &known::UNREACHABLE_PROXY,
        Unreachable::Other => &known::UNREACHABLE,
    }
}

/// A sentence about a whole destination, and what becomes of its documents.
fn documents_wait(summary: &str) -> String {
    let end = if summary.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{summary}{end} Documents wait in the inbox.")
}

fn at_once(event: Event) -> Performed {
    Performed { event, rest: wait(SOON, Waiting::Retry) }
}

/// Identify it again soon.
fn changed(upload: Option<Upload>) -> Performed {
    Performed {
        event: Event::Changed { upload },
        rest: wait(SOON, Waiting::Inbox(known::CHANGED_WHILE_SENT.problem())),
    }
}
