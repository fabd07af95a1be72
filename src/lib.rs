//! chartdrop: drop a scan into a patient's folder; Redox accepts it for that patient's chart, once, and everybody can
//! see that it did. The rooms and the way of a file through them: `ARCHITECTURE.md`.

pub mod document;
pub mod ledger;
pub mod message;
pub mod place;
