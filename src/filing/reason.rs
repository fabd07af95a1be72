//! The note beside every failed file: what happened, that nothing is lost, and what to do, for whoever dropped it.

use jiff::Timestamp;

use crate::{document::DeliveryId, ledger::Reason};

/// What a reason's name adds to its document's.
pub const ENDING: &str = ".reason.txt";

/// Width at which lines are broken.
const WIDTH: usize = 78;

/// The whole text.
pub fn text(reason: &Reason, id: DeliveryId, at: Timestamp) -> String {
    let (heading, again) = if reason.maybe_sent {
        (
            "THIS DOCUMENT MAY OR MAY NOT HAVE ARRIVED.",
            "Look into the patient's chart first. Trying again may put it there a second time.",
        )
    } else {
        ("THIS DOCUMENT WAS NOT SENT.", "Yes. Nothing was sent that could arrive twice.")
    };
    let mut text = format!("{heading}\n");
    for (title, words) in [
        ("What happened", reason.what.as_str()),
        ("Is anything lost?", "No. The document lies next to this note, unchanged."),
        ("What to do", reason.todo.as_str()),
        ("Is it safe to try again?", again),
        ("Who can help", "The person who looks after chartdrop. Show them this note, or tell them its last lines."),
    ] {
        text.push_str(&format!("\n{title}\n{}", wrapped(words)));
    }
    text.push_str(&format!("\n{} / {id}\n{}\n", reason.code, at.strftime("%Y-%m-%d %H:%M:%S UTC")));
    text
}

/// Indented, broken between words.
fn wrapped(words: &str) -> String {
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

    fn reason(maybe_sent: bool) -> Reason {
        Reason { code: "cut-off".into(), what: "word ".repeat(40), todo: "Scan it again.".into(), maybe_sent }
    }

    #[test]
    fn every_note_says_what_happened_what_is_lost_and_what_to_do() {
        let text = text(&reason(false), DeliveryId(uuid::Uuid::nil()), Timestamp::UNIX_EPOCH);
        for part in
            ["NOT SENT", "What happened", "Is anything lost?", "Scan it again.", "safe to try again", "cut-off / "]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
    }

    #[test]
    fn a_document_that_may_have_arrived_is_not_called_unsent() {
        let text = text(&reason(true), DeliveryId(uuid::Uuid::nil()), Timestamp::UNIX_EPOCH);
        assert!(!text.contains("NOT SENT") && text.contains("chart first"), "{text}");
    }
}
