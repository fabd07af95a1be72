//! Whether a delivery fits a ledger row in every stage that it can reach: asked before anything of it is sent.

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    ledger::{Delivery, Held, HeldWhy, LedgerError, Stage, Then, Tried, Unknown},
    model::message::{Message, Upload},
};

/// Redox's references are about this long at most; a longer one is measured when it is known.
const USUAL_LOCATION: usize = 500;
/// `MessageHeader.source.endpoint` is at most this long.
const ENDPOINT: usize = 100;

/// Whether the row fits whatever happens to it.
pub fn fits(row: &Delivery) -> bool {
    fits_location(row, USUAL_LOCATION)
}

/// Whether it fits with the reference that Redox gave to its file.
pub fn fits_with(row: &Delivery, upload: Option<&Upload>) -> bool {
    fits_location(row, upload.map_or(0, |upload| upload.location.len().max(1)))
}

fn fits_location(row: &Delivery, location: usize) -> bool {
    let time = Timestamp::MIN;
    let upload = (location > 0).then(|| Upload { location: "x".repeat(location), at: time });
    let message = Message {
        bundle: Uuid::nil(),
        header: Uuid::nil(),
        timestamp: time,
        endpoint: "x".repeat(ENDPOINT),
        upload,
        sent: u32::MAX,
    };
    let unknown = Unknown { message: Some(message), why: String::new(), since: time, due: time, tries: u32::MAX };
    let then = Then::Unknown(unknown);
    let held = Held { why: HeldWhy::OnlyThisRefused, detail: "x".repeat(200), since: time, then };
    let mut widest = Delivery {
        revision: u64::MAX,
        sends: u32::MAX,
        uncertain: u32::MAX,
        tried: Tried { attempts: u32::MAX, ms: u64::MAX, pause_ms: u64::MAX },
        counted_after_loss: Some(time),
        stage: Stage::Held(held),
        ..row.clone()
    };
    widest.history.clear();
    // Filed, it names its place once more, and no message.
    let place = serde_json::to_string(&row.place).map_or(usize::MAX, |place| place.len());
    !matches!(widest.encode(), Err(LedgerError::RowTooLong(_))) && place < 2 * location.max(USUAL_LOCATION)
}
