//! From a file appearing to a document that is safe to send. Knows nothing of HTTP, and sends nothing.

// Effects only through `platform/effect.rs`.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod content;
mod dir;
mod identify;
mod lock;
mod open_writers;
pub mod pairing;
mod patient;
mod scan;
mod settle;
mod sidecar;
mod stray;
mod watch;

pub use content::{Inspection, TextEncoding, inspect};
pub use dir::InboxDir;
pub use identify::{Identified, PATH_LIMIT, Ready, Rules, identify};
pub use lock::{Lock, after_all_in};
pub use open_writers::may_ask_for_others;
pub use pairing::{Pairing, Role, role};
pub use patient::{
    checks::{PatientChecks, PatientObjection},
    folder::{from_file as patient_of_folder, parse as parse_patient},
    roster::{Roster, RosterError},
};
pub use scan::{Contents, Listing, scan};
pub use settle::{Candidate, Observation, Settler, Timing};
pub use sidecar::check as check_sidecar;
pub use stray::Waiting;
pub use watch::Watcher;

/// The readers of what people write.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    pub use super::{identify::fitting, patient::folder::parse as patient, sidecar::parse as sidecar};
}
