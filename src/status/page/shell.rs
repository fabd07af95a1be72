//! What is on every page: the bar, the search and the foot.

use jiff::{Timestamp, tz::TimeZone};

use super::{PageState, guard::Visitor};
use crate::{config::Config, status::desk::Desk};

/// For `base.html`.
pub struct Shell {
    /// In the browser's tab.
    pub title: String,
    /// The current entry of the bar.
    pub current: &'static str,
    /// What was searched for.
    pub text: String,
    /// What forms carry.
    pub token: String,
    /// Who has logged in.
    pub user: Option<String>,
    /// Who decides here, as far as that is known.
    pub name: Option<String>,
    /// Whom to ask.
    pub contact: Option<String>,
    /// Destinations, each with its state in words.
    pub channels: Vec<String>,
    /// chartdrop's.
    pub version: &'static str,
    /// Whether there are lists of patients.
    pub has_rosters: bool,
}

impl Shell {
    /// `current`: the entry of the bar.
    pub async fn of(state: &PageState, visitor: &Visitor, current: &'static str, title: &str) -> Self {
        let config = state.desk.config();
        Self {
            title: title.to_owned(),
            current,
            text: String::new(),
            token: visitor.token.clone(),
            user: visitor.user.clone(),
            name: visitor.name.clone(),
            contact: config.status.contact.clone(),
            channels: channels(&state.desk),
            version: env!("CARGO_PKG_VERSION"),
            has_rosters: has_rosters(&config),
        }
    }
}

fn has_rosters(config: &Config) -> bool {
    config.inboxes.iter().any(|inbox| inbox.roster.is_some())
}

fn channels(desk: &Desk) -> Vec<String> {
    let Some(live) = &desk.live else { return Vec::new() };
    let words = |state: &str| match state {
        "backing-off" => "cannot be reached".to_owned(),
        state => state.to_owned(),
    };
    let channels = live.engine.channels().into_iter();
    channels.map(|channel| format!("{}: {}", channel.destination.0, words(channel.state.as_str()))).collect()
}

/// Now, and where.
pub fn moment(desk: &Desk) -> (Timestamp, TimeZone) {
    (Timestamp::now(), desk.config().status.time_zone.clone())
}
