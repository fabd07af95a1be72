//! The operating system, behind functions that tests can hit with faults.

pub mod dir;
pub mod durable;
pub mod effect;
pub mod filesystem;
pub mod group;
pub mod heartbeat;
pub mod places;
