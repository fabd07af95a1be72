//! What a held delivery waits for, in words: which decision, and how to make it.

use crate::{
    ledger::{Held, HeldWhy, Then},
    model::problem::{Problem, catalogue as known},
};

/// What a held delivery waits for, and what a person can do.
pub fn held_problem(held: &Held) -> Problem {
    let release_sends = match held.then {
        Then::Queued(_) => "release it (`chartdrop release`): then it is sent",
        Then::Unknown(_) => {
            "release it (`chartdrop release`): then the same message is sent once more. With `chartdrop send-again` it is sent as a new message"
        }
    };
    let close = "If it must not be sent, close it (`chartdrop close`): then it is filed in failed with your reason.";
    let look = "Look into the patient's chart.";
    let (kind, remedy) = match held.why {
        HeldWhy::Person => {
            let summary = format!(
                "This document is held by {}. It stays in the inbox, and nothing more of it is sent until somebody releases it.",
                held.detail
            );
            return known::HELD_BY_PERSON.with(summary, format!("When it may go on, {release_sends}. {close}"));
        }
        HeldWhy::OutcomeUnknown => (
            &known::OUTCOME_UNKNOWN,
            format!(
                "{look} If the document is there, close this delivery (`chartdrop close`). If it is not there, {release_sends}. The chart may then show it twice if the first one arrived late."
            ),
        ),
        HeldWhy::PatientChanged => (&known::PATIENT_CHANGED, known::PATIENT_CHANGED.remedy.to_owned()),
        HeldWhy::LedgerLost => (
            &known::LEDGER_LOST,
            format!(
                "{look} If the document is there, close this delivery (`chartdrop close`). If it is not there, {release_sends}."
            ),
        ),
        HeldWhy::UnclearAnswer => (
            &known::UNCLEAR_ANSWER,
            format!(
                "{look} Ask the person who looks after chartdrop whether a proxy or firewall answers in place of Redox. If the document is in the chart, close this delivery (`chartdrop close`). If it is not there, {release_sends}."
            ),
        ),
        HeldWhy::OnlyThisRefused => (
            &known::ONLY_THIS_REFUSED,
            format!(
                "Ask the person who looks after chartdrop: a firewall may object to something in this file. When that is fixed, {release_sends}. {close}"
            ),
        ),
    };
    kind.with(kind.example, remedy)
}
