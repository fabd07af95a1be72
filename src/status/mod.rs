//! What the outside may know of the running daemon, and how it is told.

pub mod systemd;
