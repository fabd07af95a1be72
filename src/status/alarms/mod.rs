//! Tells people when something needs them: one message an incident and one when it is over, by mail, webhook and command.
//!
//! Deliveries never wait for any of it. A way out that fails is an alarm itself, which the other ways and the status tell.

mod incident;
mod message;
mod send;

use std::{sync::Arc, time::Duration};

use jiff::{Timestamp, ToSpan, civil::Time, tz::TimeZone};
use tokio::{sync::mpsc, time::sleep};
use tracing::{error, info, warn};

pub use self::send::Way;
use self::{
    incident::Incidents,
    message::{Kind, Message},
};
use super::{
    desk::{Desk, Live},
    snapshot,
};
use crate::{config::Config, delivery::board::Words};

/// How often the alarms are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Messages that wait for a way out that fails; what comes then is in the log and the status only.
const WAITING: usize = 64;
/// The pauses before a message is tried again: the first, and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// Tells of alarms until the end.
pub async fn keep_alarms(desk: Arc<Desk>) {
    let Some(live) = &desk.live else { return };
    let (senders, keepers): (Vec<_>, Vec<_>) = Way::ALL
        .into_iter()
        .map(|way| {
            let (sender, messages) = mpsc::channel(WAITING);
            ((way, sender), keep_way(way, &desk, messages))
        })
        .unzip();
    tokio::select! {
        () = look(&desk, &senders) => {}
        _ = futures_util::future::join_all(keepers) => {}
        () = live.shutdown.cancelled() => {}
    }
}

/// Sends one message over each configured way; returns each with how it went.
pub async fn test(config: &Config) -> Vec<(Way, Result<(), String>)> {
    let message = Message::test(&super::desk::node());
    let mut results = Vec::new();
    for way in Way::ALL.into_iter().filter(|way| way.is_on(&config.alarms)) {
        results.push((way, way.send(&config.alarms, &message).await));
    }
    results
}

/// Looks for alarms that begin or end, and for the time of the summary.
async fn look(desk: &Desk, senders: &[(Way, mpsc::Sender<Message>)]) {
    let mut incidents = Incidents::default();
    let mut looked = Timestamp::now();
    loop {
        let now = Timestamp::now();
        for (word, alarm) in incidents.observe(now, &snapshot::alarms(desk)) {
            let message = Message::of(word, alarm, &desk.node);
            // That a way fails cannot be told over that way.
            tell(desk, senders, &message, |way| way.alarm() != message.code);
        }
        let config = desk.config();
        if let Some(time) = config.alarms.mail.as_ref().and_then(|mail| mail.summary)
            && is_due(looked, now, time, &config.status.time_zone)
        {
            let mut status = snapshot::status(desk).await;
            let since = now.checked_sub(24.hours()).unwrap_or(now);
            for inbox in &mut status.inboxes {
                (inbox.accepted_today, inbox.rejected_today) = desk.catalog.ended_since(&inbox.name, since);
            }
            tell(desk, senders, &Message::summary(&status), |way| way == Way::Mail);
        }
        looked = now;
        sleep(LOOK).await;
    }
}

/// Puts a message before each configured way that is wanted.
fn tell(desk: &Desk, senders: &[(Way, mpsc::Sender<Message>)], message: &Message, wanted: impl Fn(Way) -> bool) {
    let config = desk.config();
    for (way, sender) in senders.iter().filter(|(way, _)| way.is_on(&config.alarms) && wanted(*way)) {
        if sender.try_send(message.clone()).is_err() {
            warn!(way = way.as_str(), "a message about an alarm is dropped: too many wait already");
        }
    }
}

/// Sends what comes, one after the other, each until it is sent or is no news any more.
async fn keep_way(way: Way, desk: &Desk, mut messages: mpsc::Receiver<Message>) {
    let Some(live) = &desk.live else { return };
    while let Some(message) = messages.recv().await {
        let mut pause = AGAIN.0;
        while let Err(why) = way.send(&desk.config().alarms, &message).await {
            complain(live, way, &why, pause == AGAIN.0);
            if message.event == Kind::Summary && pause == AGAIN.1 {
                break;
            }
            sleep(pause).await;
            pause = (2 * pause).min(AGAIN.1);
        }
        if live.engine.board().alarms().iter().any(|alarm| alarm.words.code == way.alarm()) {
            live.engine.board().clear(None, &way.alarm());
            info!(way = way.as_str(), "messages about alarms can be sent again");
        }
    }
}

fn complain(live: &Live, way: Way, why: &str, is_news: bool) {
    let name = way.as_str();
    if is_news {
        error!(
            way = name,
            "a message about an alarm could not be sent ({why}); deliveries go on, and it is tried again"
        );
    }
    let summary = format!("Messages about alarms cannot be sent by {name}: {why}.");
    let remedy = format!("Correct [alarms] {name}, then try it with `chartdrop check --alarm`. Deliveries go on.");
    live.engine.board().raise(None, Words::new(way.alarm(), summary, remedy));
}

/// Whether a time of day came between two looks.
fn is_due(looked: Timestamp, now: Timestamp, time: Time, zone: &TimeZone) -> bool {
    let date = now.to_zoned(zone.clone()).date();
    let moment = date.to_datetime(time).to_zoned(zone.clone());
    moment.is_ok_and(|moment| looked < moment.timestamp() && moment.timestamp() <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_comes_once_a_day_in_the_clinics_time() {
        let zone = TimeZone::get("America/Chicago").unwrap();
        let (at, seven) = (|text: &str| text.parse::<Timestamp>().unwrap(), jiff::civil::time(7, 0, 0, 0));
        for (looked, now, due) in [
            ("2026-01-05T12:59:59Z", "2026-01-05T13:00:00Z", true),
            ("2026-01-05T13:00:00Z", "2026-01-05T13:00:01Z", false),
            ("2026-01-05T06:59:59Z", "2026-01-05T07:00:00Z", false),
            ("2026-07-05T11:59:59Z", "2026-07-05T12:00:00Z", true),
        ] {
            assert_eq!(is_due(at(looked), at(now), seven, &zone), due, "{now}");
        }
    }
}
