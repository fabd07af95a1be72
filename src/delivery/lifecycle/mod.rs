//! What happens next to a delivery: pure functions over its row. No clock, no randomness, no I/O, no async.
//!
//! [`resume()`] says what a row means for a document that was just identified, [`next`] which effect comes next,
//! [`apply()`] what the effect's result makes of the row, [`decide()`] what a person's decision does. The worker loop
//! around them performs one effect at a time and commits each transition.

mod apply;
mod decide;
mod fits;
mod held;
mod next;
mod pause;
mod resume;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

pub use apply::apply;
pub use decide::{Decided, Decision, decide};
pub use fits::{fits, fits_with};
pub use held::held_problem;
pub use next::next;
pub use resume::{Fresh, Resume, begin, refused, resume};

use crate::{
    config::OnUnknown,
    ledger::Delivery,
    model::{
        message::{Answer, Upload},
        path::InboxPath,
    },
};

/// Searches that are answered with no before that counts: a destination may need a moment to show a document.
pub const SEARCHES: u32 = 3;

/// What the operator configured about retries.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What to do when an answer was lost.
    pub on_unknown: OnUnknown,
    /// The pauses before each resend of a message whose answer was lost; as many resends as pauses.
    pub resend_after: Vec<Duration>,
    /// The first pause of a retry; it doubles from there.
    pub retry_first: Duration,
    /// The longest pause of a retry.
    pub retry_max: Duration,
    /// After this time of tries a delivery is rejected.
    pub give_up_after: Duration,
    /// An upload older than this is not referenced any more but made again.
    pub upload_max_age: Duration,
    /// `MessageHeader.source.endpoint` of new messages.
    pub endpoint: String,
}

/// What the world says at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The wall clock.
    pub now: Timestamp,
    /// A random number from 0 to 1: which part of a pause is taken.
    pub jitter: f64,
}

/// The one effect that a row needs next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Nothing before this moment.
    Wait {
        /// When to look again.
        until: Timestamp,
    },
    /// Nothing before a person has decided.
    AwaitDecision,
    /// Upload the file unless it is embedded or `upload` can be used; then see that nothing has changed.
    Prepare {
        /// An upload that is young enough to be referenced.
        upload: Option<Upload>,
        /// The file may not be embedded.
        must_upload: bool,
    },
    /// Take the message that is there: it is sent again as it is.
    Repeat,
    /// Send the message, unless a last look says that something changed.
    Post,
    /// Ask the destination whether it has the document.
    Search,
    /// Stop trying to settle an unknown outcome: a person must decide.
    Hold,
    /// Find a free name in done or failed.
    PlanFiling,
    /// Move document, sidecar and note to `to`.
    File {
        /// Where to, relative to done or failed.
        to: InboxPath,
    },
    /// Nothing is left to do.
    Finished,
}

/// What an effect led to.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The file is uploaded or to be embedded, and nothing has changed: the message can be fixed with these ids.
    Prepared {
        /// `None` when the file is embedded.
        upload: Option<Upload>,
        /// `Bundle.id`.
        bundle: Uuid,
        /// `MessageHeader.id`.
        header: Uuid,
    },
    /// The message that is there is sent again as it is.
    Repeated,
    /// A person must settle the outcome.
    HoldUnknown,
    /// Something that counts for the document changed before anything was sent; `upload` was made before that.
    Changed {
        /// The upload, if one was made.
        upload: Option<Upload>,
    },
    /// Nothing was sent: the channel is closed for everybody.
    ChannelClosed {
        /// Why, in words without patient data; empty when another delivery found out.
        why: String,
        /// Redox asked everybody to wait this long.
        wait: Option<Duration>,
    },
    /// Not processed: tried again later.
    Later {
        /// Why, in words without patient data.
        why: String,
        /// When the server asks to be called again.
        retry_after: Option<Duration>,
        /// How long the try took.
        took: Duration,
    },
    /// The message was handed over, and no answer settles what became of it.
    Unknown {
        /// How the answer was lost, in words without patient data.
        why: String,
    },
    /// A 2xx that is neither a yes nor a no.
    Unclear {
        /// What was seen, in words without patient data.
        why: String,
    },
    /// Redox, or a firewall before it, refuses this document while it takes others.
    OnlyThisRefused {
        /// The HTTP status.
        status: u16,
    },
    /// Final: a person must act on this document.
    Rejected {
        /// A fixed word for programs.
        code: String,
        /// What happened, in whole sentences.
        summary: String,
        /// What to do next, in whole sentences.
        remedy: String,
    },
    /// The request is too large.
    TooLarge,
    /// Accepted.
    Accepted {
        /// The answer, less secrets.
        answer: Answer,
        /// A free place beneath done; looked for again when filing if there is none.
        to: Option<InboxPath>,
    },
    /// The destination has the document.
    Found {
        /// A free place beneath done.
        to: Option<InboxPath>,
    },
    /// The destination does not show the document.
    NotFound,
    /// The destination does not answer searches.
    SearchRefused,
    /// The search was not answered.
    SearchUnanswered {
        /// Why, in words without patient data.
        why: String,
        /// How long the try took.
        took: Duration,
    },
    /// A free place was found.
    FilingPlanned {
        /// Where to.
        to: InboxPath,
    },
    /// Somebody took the planned place.
    PlaceTaken,
    /// Document, sidecar and note are where they belong, as far as they are still there.
    Filed,
    /// The move did not work; it is tried again.
    NotFiled,
}

/// What an event makes of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The row as it is from now on.
    pub row: Delivery,
    /// Whether it must be durable before the next effect.
    pub write: bool,
    /// Whether the document must be identified again before anything else happens.
    pub look_again: bool,
}

impl Transition {
    /// Durable before the next effect, which follows at once.
    fn write(row: Delivery) -> Self {
        Self { row, write: true, look_again: false }
    }

    /// Nothing to record.
    fn unchanged(row: Delivery) -> Self {
        Self { row, write: false, look_again: true }
    }

    fn then_look_again(self) -> Self {
        Self { look_again: true, ..self }
    }
}

/// `moment + pause`, as far as timestamps go.
pub fn after(moment: Timestamp, pause: Duration) -> Timestamp {
    moment.checked_add(pause).unwrap_or(Timestamp::MAX)
}

/// How long ago, never negative.
pub fn age(moment: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(moment)).unwrap_or_default()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
