//! What the notice says: what waits and why, that nothing is lost, and what to do, for the front desk.

use jiff::{Timestamp, tz::TimeZone};

use crate::filing::reason::wrapped;

/// How every notice begins, after the byte order mark; a file of that name that begins otherwise is somebody else's.
pub const HEADING: &str = "DOCUMENTS ARE WAITING";
/// Older versions of Notepad take a file without it for the local code page.
pub const BYTE_ORDER_MARK: &str = "\u{feff}";
/// At most so many documents are listed by name.
pub const MOST_LISTED: usize = 25;

/// A document that waits, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// Beneath the inbox, as it is shown to people.
    pub path: String,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub summary: String,
    /// What to do.
    pub remedy: String,
}

/// The whole text of a notice about `late`, oldest first; it changes only when what it tells does, never with the time.
pub fn text(late: &[Late], contact: Option<&str>, zone: &TimeZone) -> String {
    let documents = match late.len() {
        1 => "1 document in this folder has not been sent yet.".to_owned(),
        many => format!("{many} documents in this folder have not been sent yet."),
    };
    let lost = "Nothing is lost: they are where you put them. chartdrop goes on by itself as soon as it can, and removes this note when nothing waits any more.";
    let mut text = format!("{BYTE_ORDER_MARK}{HEADING}\n\n{}\n{}", wrapped(&documents), wrapped(lost));
    for (summary, remedy, group) in groups(late) {
        text.push_str(&format!("\nWhy\n{}\nWhat to do\n{}\nWhich\n", wrapped(summary), wrapped(remedy)));
        for document in group {
            let since = document.since.to_zoned(zone.clone()).strftime("%a %-d %b %Y, %H:%M").to_string();
            text.push_str(&format!("    {}\n        since {since}\n", document.path));
        }
    }
    if late.len() > MOST_LISTED {
        text.push_str(&format!("\n    ... and {} more.\n", late.len() - MOST_LISTED));
    }
    let help = match contact {
        Some(contact) => contact.to_owned(),
        None => "The person who looks after chartdrop.".to_owned(),
    };
    text.push_str(&format!("\nWho can help\n{}", wrapped(&help)));
    text.replace('\n', "\r\n")
}

/// The documents that are listed, those with the same reason together.
fn groups(late: &[Late]) -> Vec<(&str, &str, Vec<&Late>)> {
    let mut groups: Vec<(&str, &str, Vec<&Late>)> = Vec::new();
    for document in late.iter().take(MOST_LISTED) {
        let (summary, remedy) = (document.summary.as_str(), document.remedy.as_str());
        match groups.iter_mut().find(|group| (group.0, group.1) == (summary, remedy)) {
            Some(group) => group.2.push(document),
            None => groups.push((summary, remedy, vec![document])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late(n: usize, why: &str) -> Late {
        Late {
            path: format!("bixby/scan-{n}.pdf"),
            since: Timestamp::UNIX_EPOCH,
            summary: why.into(),
            remedy: "Wait.".into(),
        }
    }

    #[test]
    fn a_notice_names_each_reason_once_and_whom_to_ask() {
        let waiting =
            [late(1, "The roster cannot be read."), late(2, "It is held."), late(3, "The roster cannot be read.")];
        let text = text(&waiting, Some("IT help desk, extension 4411"), &TimeZone::UTC);
        assert!(text.starts_with("\u{feff}DOCUMENTS ARE WAITING\r\n"), "{text}");
        assert_eq!(text.matches("The roster cannot be read.").count(), 1, "{text}");
        for part in ["3 documents", "Nothing is lost", "bixby/scan-2.pdf", "Thu 1 Jan 1970, 00:00", "extension 4411"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "Notepad before Windows 10 needs CRLF");
        assert!(text.find("scan-3").unwrap() < text.find("It is held").unwrap(), "{text}");
    }

    #[test]
    fn a_notice_about_many_stays_short_and_says_how_many() {
        let waiting: Vec<_> = (0..1000).map(|n| late(n, "It is held.")).collect();
        let text = text(&waiting, None, &TimeZone::UTC);
        assert!(text.contains("1000 documents") && text.contains("and 975 more") && text.len() < 4000, "{text}");
        assert!(text.contains("The person who looks after chartdrop."), "{text}");
    }
}
