//! What a held delivery waits for, in words: which decision, and how to make it.

use crate::{
    ledger::{Held, HeldWhy, Then},
    model::problem::Problem,
};

/// What a held delivery waits for, and what a person can do.
pub fn held_problem(held: &Held) -> Problem {
    let release_sends = match held.then {
        Then::Queued(_) => "release it (chartdrop release): then it is sent",
        Then::Unknown(_) => {
            "release it (chartdrop release): then the same message is sent once more. With chartdrop send-again it is sent as a new message"
        }
    };
    let close = "If it must not be sent, close it (chartdrop close): then it is filed in failed with your reason.";
    let look = "Look into the patient's chart.";
    match held.why {
        HeldWhy::Person => Problem::new(
            "held-by-person",
            format!("This document is held by {}. Nothing more of it is sent until somebody releases it.", held.detail),
            format!("When it may go on, {release_sends}. {close}"),
        ),
        HeldWhy::OutcomeUnknown => Problem::new(
            "outcome-unknown",
            "The document was sent and no answer came, so that nobody can tell whether it arrived. It is not sent again by itself.",
            format!(
                "{look} If the document is there, close this delivery (chartdrop close). If it is not there, {release_sends}. The chart may then show it twice if the first one arrived late."
            ),
        ),
        HeldWhy::PatientChanged => Problem::new(
            "patient-changed",
            "The document may have been sent already, and what the folder says of the patient was changed after that.",
            "Look into the chart of the patient that it was sent for. If the document is wrong there, have it removed. Then release it (chartdrop release): a new message is sent for the patient whom the folder names now. If it must not be sent, close it (chartdrop close).",
        ),
        HeldWhy::LedgerLost => Problem::new(
            "ledger-lost",
            "This document may have been sent before the ledger was lost: it was in the inbox at that time. Nothing more is sent by itself.",
            format!(
                "{look} If the document is there, close this delivery (chartdrop close). If it is not there, {release_sends}."
            ),
        ),
        HeldWhy::UnclearAnswer => Problem::new(
            "unclear-answer",
            "Redox's answer was neither a yes nor a no, so that nobody can tell whether the document arrived. It is not sent again by itself.",
            format!(
                "{look} Ask the person who looks after chartdrop whether a proxy or firewall answers in place of Redox. If the document is in the chart, close this delivery (chartdrop close). If it is not there, {release_sends}."
            ),
        ),
        HeldWhy::OnlyThisRefused => Problem::new(
            "only-this-refused",
            "Redox, or a firewall before it, refuses this document and takes others. Nothing of it was accepted.",
            format!(
                "Ask the person who looks after chartdrop: a firewall may object to something in this file. When that is fixed, {release_sends}. {close}"
            ),
        ),
    }
}
