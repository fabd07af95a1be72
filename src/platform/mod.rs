//! The operating system, behind functions that tests can hit with faults.

pub mod effect;
pub mod filesystem;
pub mod heartbeat;
