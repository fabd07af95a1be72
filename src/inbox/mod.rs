//! From a file appearing to a document that is safe to send. Knows nothing of HTTP, and sends nothing.

// Effects only through `effect.rs`.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod beneath;
mod claims;
mod content;
mod identify;
mod lease;
mod lock;
mod patient;
mod person;
mod refusal;
mod roster;
mod scan;
mod settle;
mod sidecar;
mod vetting;
mod watch;

pub use beneath::{Root, Stamp};
pub use content::{Inspection, inspect};
pub use identify::{Identified, PATH_LIMIT, Ready, Rules, identify};
pub use lock::Lock;
pub use refusal::Refusal;
pub use roster::{Roster, RosterError};
pub use scan::{Listing, Pairing, Role, role, scan};
pub use settle::{Candidate, Observation, Settler};
pub use vetting::{Doubt, Vetting};
pub use watch::Watcher;

/// The readers of what people write.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    pub use super::{identify::fitting, patient::parse as patient, sidecar::parse as sidecar};
}
