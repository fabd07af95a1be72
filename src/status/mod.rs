//! What the outside may know of the running daemon, and how it is told.

mod alarms;
pub mod api;
mod catalog;
mod desk;
mod events;
mod limited;
mod listing;
pub mod log;
mod login;
mod metrics;
mod notice;
mod observed;
pub mod openapi;
mod page;
mod problem;
mod reload;
mod server;
mod snapshot;
pub mod systemd;
mod tls;
mod users;
pub mod view;
mod who;

pub use alarms::{keep_alarms, test as test_alarms};
pub use desk::Desk;
pub use listing::{DEFAULT_LIMIT, MOST};
pub use notice::keep_notices;
pub use observed::ObservedLedger;
pub use problem::ApiProblem;
pub use reload::{LevelSwitch, ReloadView, Reloader};
pub use server::serve;
pub use users::Users;
pub use who::Caller;
