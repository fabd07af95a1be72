//! Whose document it is: what the folder, its `patient.toml`, other folders and the roster say of the patient.

pub mod checks;
pub mod folder;
pub mod identities;
pub mod names;
pub mod roster;
