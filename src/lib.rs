//! chartdrop: drop a scan into a patient's folder; Redox accepts it for that patient's chart, once, and everybody can
//! see that it did. The rooms and the way of a file through them: `ARCHITECTURE.md`.

pub mod audit;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod filing;
pub mod inbox;
pub mod ledger;
pub mod model;
pub mod platform;
pub mod redox;
pub mod sandbox;
pub mod status;
