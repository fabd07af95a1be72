//! Nouns that several rooms use. Nothing here reads, writes or decides.

pub mod document;
pub(crate) mod fhir;
pub mod file_kind;
pub mod file_state;
pub mod message;
pub mod path;
pub mod patient;
pub mod problem;
pub mod words;
pub mod written_time;
