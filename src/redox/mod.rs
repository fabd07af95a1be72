//! The Redox FHIR API: tokens, uploads, messages, and what an answer means for a delivery.
//!
//! This room knows nothing of folders or of the ledger: it takes an open file and a document, and says what became of it.

// Effects only through `platform/effect.rs`.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod answer;
mod body;
mod bundle;
mod classify;
mod client;
mod errors;
#[cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "the key is read once, before any delivery"))]
mod keys;
mod locations;
mod outcome;
mod route;
mod settings;
mod token;
mod tree;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(test)]
mod test_server;

#[cfg(test)]
pub(crate) use bundle::tests::{documents, whole};
pub use bundle::{Bundle, build};
pub use client::{Client, TokenReport};
pub use errors::{Failure, SetupError, Unreachable};
pub(crate) use keys::read_secret;
pub use settings::{Algorithm, Environment, Settings, UploadBody};
