//! Reading the configuration again while deliveries go on: checked first, then what can be applied is, and the rest named.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tracing::{error, info};

use super::{desk::Desk, problem::ApiProblem};
use crate::config::{Config, LogLevel};

/// Changes what is logged from now on.
pub type LevelSwitch = Box<dyn Fn(LogLevel) + Send + Sync>;

/// Where the configuration is, and what it can change.
pub struct Reloader {
    /// The file.
    pub path: PathBuf,
    /// `None` while something else, such as `RUST_LOG`, decides what is logged.
    pub level: Option<LevelSwitch>,
}

/// `POST /api/v1/reload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReloadView {
    /// In words.
    pub message: String,
    /// What has changed, and holds from now on.
    pub applied: Vec<String>,
    /// What has changed, and holds after the next start.
    pub needs_restart: Vec<String>,
}

/// Sections, and their content as text to compare.
fn sections(config: &Config) -> Vec<(&'static str, String)> {
    let status = &config.status;
    vec![
        ("log.level", format!("{:?}", config.log.level)),
        ("document_types", format!("{:?}", config.document_types)),
        ("delivery.alarm_after", format!("{:?}", config.delivery.alarm_after)),
        ("status.contact", format!("{:?}", status.contact)),
        ("alarms", format!("{:?}", config.alarms)),
        ("status.time_zone", format!("{:?}", status.time_zone)),
        ("inbox", format!("{:?}", config.inboxes)),
        ("redox", format!("{:?}", config.redox)),
        (
            "delivery",
            format!("{:?}", crate::config::Delivery { alarm_after: Default::default(), ..config.delivery.clone() }),
        ),
        ("ledger", format!("{:?} {:?}", config.ledger, config.history)),
        ("status", format!("{:?}", (&status.socket, &status.socket_group, status.listen, &status.tls, &status.users))),
        ("log.format", format!("{:?}", config.log.format)),
    ]
}

/// Those of [`sections`] that are applied while deliveries go on.
const LIVE: [&str; 6] =
    ["alarms", "log.level", "document_types", "delivery.alarm_after", "status.contact", "status.time_zone"];

/// Reads the configuration again. A bad one changes nothing.
pub async fn reload(desk: &Desk, by: &str) -> Result<ReloadView, ApiProblem> {
    let Some(live) = &desk.live else {
        return Err(ApiProblem::conflict("not-running", "chartdrop is not running."));
    };
    let path = live.reloader.path.clone();
    let loaded = tokio::task::spawn_blocking(move || Config::load(&path)).await;
    let new = match loaded {
        Ok(Ok(new)) => new,
        Ok(Err(why)) => {
            error!(by, "the configuration was read again and cannot be used; nothing was changed: {why}");
            return Err(ApiProblem::conflict("bad-configuration", why.to_string()).with_remedy(
                "Nothing was changed: chartdrop goes on as before. Correct the file, then reload again.",
            ));
        }
        Err(_) => return Err(ApiProblem::conflict("internal", "The configuration could not be read.")),
    };
    let old = desk.config();
    let changed: Vec<&str> = sections(&old)
        .into_iter()
        .zip(sections(&new))
        .filter(|((_, old), (_, new))| old != new)
        .map(|((name, _), _)| name)
        .collect();
    let (applied, later): (Vec<&str>, Vec<&str>) = changed.into_iter().partition(|name| LIVE.contains(name));
    if let Some(level) = &live.reloader.level {
        level(new.log.level);
    }
    live.engine.tune(&new);
    // What needs a restart stays as it is until then, also in what is shown of it.
    let mut shown = Config::clone(&old);
    shown.log.level = new.log.level;
    shown.document_types = new.document_types;
    shown.delivery.alarm_after = new.delivery.alarm_after;
    shown.status.contact = new.status.contact;
    shown.alarms = new.alarms;
    shown.status.time_zone = new.status.time_zone;
    desk.set_config(shown);
    let message = match (applied.is_empty(), later.is_empty()) {
        (true, true) => "Nothing has changed.".to_owned(),
        (false, true) => format!("Applied: {}.", applied.join(", ")),
        (true, false) => format!("These changes need a restart (systemctl restart chartdrop): {}.", later.join(", ")),
        (false, false) => format!(
            "Applied: {}. These changes need a restart (systemctl restart chartdrop): {}.",
            applied.join(", "),
            later.join(", ")
        ),
    };
    info!(by, "the configuration was read again. {message}");
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    Ok(ReloadView { message, applied: owned(applied), needs_restart: owned(later) })
}
