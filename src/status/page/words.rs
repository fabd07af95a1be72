//! The page's words for states and times: what a person at a desk would say.

use jiff::{Timestamp, tz::TimeZone};

use crate::status::view::{DeliveryView, State, WaitingView};

/// The time of day; with the day when that is not today.
pub fn clock(at: Timestamp, zone: &TimeZone, now: Timestamp) -> String {
    let (there, here) = (at.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    let form = match (there.date() == here.date(), there.year() == here.year()) {
        (true, _) => "%-H:%M",
        (false, true) => "%-d %B, %-H:%M",
        (false, false) => "%-d %B %Y, %-H:%M",
    };
    there.strftime(form).to_string()
}

/// Relative below an hour, else as a clock says it.
pub fn ago(at: Timestamp, zone: &TimeZone, now: Timestamp) -> String {
    let some = |n: i64, unit: &str| format!("{n} {unit}{} ago", if n == 1 { "" } else { "s" });
    match now.duration_since(at).as_secs() {
        ..5 => "just now".into(),
        seconds @ 5..60 => some(seconds, "second"),
        seconds @ 60..3600 => some(seconds / 60, "minute"),
        3600.. => clock(at, zone, now),
    }
}

/// `1 document`, `2 documents`.
pub fn documents(n: u64) -> String {
    format!("{n} document{}", if n == 1 { "" } else { "s" })
}

/// The last name of a path, and the folders it is in.
pub fn split(path: &str) -> (String, String) {
    // The API writes a plain % as %25, so that a path can be read back; here nobody reads it back.
    let plain = |text: &str| text.replace("%25", "%");
    match path.rsplit_once('/') {
        Some((folders, name)) => (plain(name), plain(folders).replace('/', " › ")),
        None => (plain(path), String::new()),
    }
}

/// A delivery's state on a label.
pub fn label(view: &DeliveryView, zone: &TimeZone, now: Timestamp) -> String {
    match view.state {
        State::Queued => match view.next_attempt_at.filter(|at| view.problem.is_some() && *at > now) {
            Some(at) => format!("next try {}", clock(at, zone, now)),
            None => "waits for its turn".into(),
        },
        State::Sending => "sending".into(),
        State::Unknown => "answer lost, being found out".into(),
        State::Held => "waits for a decision".into(),
        State::Accepted => clock(view.accepted_at.unwrap_or(view.since), zone, now),
        State::Rejected => "not sent".into(),
        State::Filing => "being filed".into(),
    }
}

/// A state's name in a filter.
pub fn state_name(state: State) -> &'static str {
    match state {
        State::Queued => "Waits for its turn",
        State::Sending => "Being sent",
        State::Unknown => "Answer lost",
        State::Held => "Waits for a decision",
        State::Accepted => "Accepted",
        State::Rejected => "Not sent",
        State::Filing => "Being filed",
    }
}

/// What a document without a delivery waits for, on a label.
pub fn waiting_label(document: &WaitingView, now: Timestamp) -> String {
    let left = document.until.map(|until| until.duration_since(now).as_secs().max(1));
    match (document.state.as_str(), left) {
        ("on-hold", Some(left)) => format!("{} to take it back", span(left)),
        ("on-hold", None) => "can be taken back".into(),
        ("settling", _) => "just arrived".into(),
        ("incomplete", _) => "not complete yet".into(),
        _ => "waits for its turn".into(),
    }
}

fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200.. => format!("{} h", seconds / 3600),
    }
}

/// What happened, in a story. An event that has no words yet is told by its own.
pub fn event(name: &str) -> String {
    let known = match name {
        "queued" => "Read, and ready to be sent",
        "waits-for-channel" => "Waits: nothing can be sent there for now",
        "later" => "To be tried again",
        "retried" => "Tried again",
        "sending" => "Being sent",
        "unknown" => "The answer was lost",
        "not-found" => "Not found in the chart",
        "held" => "Waits for a decision",
        "released" => "Released",
        "send-again" => "Sent again, as a new message",
        "put-back" => "Put back into the inbox",
        "taken-away" => "Ended: its document was taken out of the inbox",
        "accepted" => "Accepted by Redox",
        "rejected" => "Not sent",
        "closed" => "Closed",
        "filed" => "Filed",
        _ => {
            let mut words = name.replace('-', " ");
            if let Some(first) = words.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            return words;
        }
    };
    known.into()
}

/// How often a document was sent, where that is worth a word.
pub fn sends(view: &DeliveryView) -> Option<String> {
    let times = |n: u32| match n {
        1 => "once".to_owned(),
        2 => "twice".into(),
        n => format!("{n} times"),
    };
    match (view.sent, view.unconfirmed) {
        (0 | 1, 0) => None,
        (sent, 0) => Some(format!("sent {}", times(sent))),
        (sent, lost) => Some(format!("sent {}, answer lost {}", times(sent), times(lost))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        let zone = TimeZone::get("Europe/Zurich").unwrap();
        let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        for (at, clock_says, ago_says) in [
            ("2026-11-27T11:59:58Z", "12:59", "just now"),
            ("2026-11-27T11:59:20Z", "12:59", "40 seconds ago"),
            ("2026-11-27T11:59:00Z", "12:59", "1 minute ago"),
            ("2026-11-27T08:12:00Z", "9:12", "9:12"),
            ("2026-11-03T08:12:00Z", "3 November, 9:12", "3 November, 9:12"),
            ("2025-11-03T08:12:00Z", "3 November 2025, 9:12", "3 November 2025, 9:12"),
        ] {
            let at: Timestamp = at.parse().unwrap();
            assert_eq!((clock(at, &zone, now).as_str(), ago(at, &zone, now).as_str()), (clock_says, ago_says));
        }
    }

    #[test]
    fn an_event_without_words_is_told_by_its_own() {
        assert_eq!(event("accepted"), "Accepted by Redox");
        assert_eq!(event("moved-away"), "Moved away");
        assert_eq!(event(""), "");
        assert_eq!(event("über"), "über");
    }

    #[test]
    fn a_path_is_a_name_in_folders() {
        assert_eq!(split("a/b/c.pdf"), ("c.pdf".into(), "a › b".into()));
        assert_eq!(split("c.pdf"), ("c.pdf".into(), String::new()));
    }
}
