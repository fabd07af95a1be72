//! Holds the ledger against what is in the folders: rebuilds a lost ledger, and verifies that everything adds up.

// Effects only through `platform/effect.rs`.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod rebuild;
pub mod verify;

pub use rebuild::open_ledger;
