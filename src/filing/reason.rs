//! The note beside every failed file: what happened, that nothing is lost, and what to do, for the person who dropped it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ledger::{Delivery, Rejected},
    model::document::Key,
};

/// What a reason's name adds to its document's.
pub const ENDING: &str = ".reason.txt";

/// Width at which lines are broken.
const WIDTH: usize = 78;

/// The last line of a note, for chartdrop itself: enough to know a rejected document again, even when the ledger is lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The form of this line.
    pub version: u32,
    /// What makes it this delivery.
    pub key: Key,
    /// Why, as a fixed word.
    pub code: String,
    /// Whether the message may have arrived all the same.
    pub maybe_sent: bool,
    /// How often the message was sent.
    pub sends: u32,
    /// How many of these were left without an answer that settles anything.
    pub uncertain: u32,
    /// When it was rejected.
    pub at: Timestamp,
}

/// The record in a note's text; `None` for an older note, and for one that somebody wrote in.
pub fn record(text: &[u8]) -> Option<Record> {
    let last = text.trim_ascii_end().rsplit(|byte| *byte == b'\n').next()?;
    serde_json::from_slice(last).ok()
}

/// The whole text; `contact`: whom staff can ask.
pub fn text(row: &Delivery, rejected: &Rejected, contact: Option<&str>) -> String {
    let (reason, id, at) = (&rejected.reason, row.id(), rejected.at);
    let (heading, again) = if reason.maybe_sent {
        (
            "THIS DOCUMENT MAY OR MAY NOT HAVE ARRIVED.",
            "Look into the patient's chart first. Trying again may put it there a second time.",
        )
    } else if row.document.is_none() {
        // Refused unread, so that nobody knows whether it was here before.
        (
            "THIS DOCUMENT WAS NOT SENT.",
            "Yes. Nothing was sent this time. If an earlier note about it says more, that is still true.",
        )
    } else {
        ("THIS DOCUMENT WAS NOT SENT.", "Yes. Nothing was sent that could arrive twice.")
    };
    // The words are about the last try; of what an earlier one sent they may say the opposite.
    let happened = match reason.maybe_sent {
        true => format!("An earlier try of it may have arrived. The last one ended like this: {}", reason.summary),
        false => reason.summary.clone(),
    };
    let help = format!(
        "{}. Show them this note, or tell them these two lines:",
        contact.map_or("The person who looks after chartdrop", |contact| contact.trim().trim_end_matches('.'))
    );
    let mut text = format!("{heading}\n");
    for (title, words) in [
        ("What happened", happened.as_str()),
        ("Is anything lost?", "No. The document is next to this note, unchanged."),
        ("What to do", reason.remedy.as_str()),
        ("Is it safe to try again?", again),
        ("Who can help", help.as_str()),
    ] {
        text.push_str(&format!("\n{title}\n{}", wrapped(words)));
    }
    text.push_str(&format!("\n{} / {id}\n{}\n", reason.code, at.strftime("%Y-%m-%d %H:%M:%S UTC")));
    let record = Record {
        version: 1,
        key: row.key.clone(),
        code: reason.code.clone(),
        maybe_sent: reason.maybe_sent,
        sends: row.sends,
        uncertain: row.uncertain,
        at,
    };
    // Strings and numbers: this cannot fail, and a note without the line is still a note.
    if let Ok(line) = serde_json::to_string(&record) {
        text.push_str(&format!("\nThe last line is for chartdrop itself. Please leave it as it is.\n{line}\n"));
    }
    text
}

/// Indented, broken between words.
pub fn wrapped(words: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in words.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH - 4 {
            lines.push_str(&format!("    {line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push_str(&format!("    {line}\n"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{Filing, Reason, Stage},
        model::document::{Destination, Sha256},
        model::path::{InboxPath, RelPath},
    };

    fn rejected(maybe_sent: bool) -> (Delivery, Rejected) {
        let reason =
            Reason { code: "cut-off".into(), summary: "word ".repeat(40), remedy: "Scan it again.".into(), maybe_sent };
        let rejected = Rejected { at: Timestamp::UNIX_EPOCH, reason, upload: None, filing: Filing::default() };
        let path = RelPath::new("1001/scan.pdf".as_ref()).unwrap();
        let key =
            Key { destination: Destination("Staging/x".into()), patient: "urn:x|1".into(), sha256: Sha256([7; 32]) };
        let place = InboxPath { inbox: "front-desk".into(), path };
        let mut row = Delivery::new(key, place, None, Timestamp::UNIX_EPOCH, Stage::Rejected(rejected.clone()));
        (row.sends, row.uncertain) = (3, 2);
        (row, rejected)
    }

    #[test]
    fn every_note_says_what_happened_what_is_lost_and_what_to_do() {
        let (row, rejected) = rejected(false);
        let text = text(&row, &rejected, None);
        for part in
            ["NOT SENT", "What happened", "Is anything lost?", "Scan it again.", "safe to try again", "cut-off / "]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        let words = text.lines().filter(|line| !line.starts_with('{'));
        assert!(words.clone().count() + 1 == text.lines().count() && words.into_iter().all(|line| line.len() <= WIDTH));
    }

    #[test]
    fn a_document_that_may_have_arrived_is_not_called_unsent() {
        let (row, rejected) = rejected(true);
        let text = text(&row, &rejected, None);
        assert!(!text.contains("NOT SENT") && text.contains("chart first"), "{text}");
    }

    #[test]
    fn the_last_line_is_found_again_whatever_an_editor_did_around_it() {
        let (row, rejected) = rejected(true);
        let text = text(&row, &rejected, None);
        let windows = text.replace('\n', "\r\n");
        for text in [text.as_str(), &windows, text.trim_end(), &format!("\u{feff}Called the lab.\r\n{windows}\r\n\r\n")]
        {
            let record = record(text.as_bytes()).unwrap();
            assert_eq!((record.key, record.sends, record.uncertain), (row.key.clone(), 3, 2));
            assert!(record.maybe_sent && record.code == "cut-off");
        }
        let old = text.rsplit_once("\nThe last line").unwrap().0;
        for text in [old, "", "{}", &format!("{text}Called the lab.\n")] {
            assert_eq!(record(text.as_bytes()), None, "{text}");
        }
    }
}
