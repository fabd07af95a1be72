//! What a held delivery waits for, in words: which decision, and how to make it.

use crate::{
    ledger::{Held, HeldWhy, Then},
    model::problem::{Problem, catalogue as known},
};

/// What a held delivery waits for, and what a person can do.
pub fn held_problem(held: &Held) -> Problem {
    let release_sends = match held.then {
        Then::Queued(_) => "release it: then it is sent",
        Then::Unknown(_) => "release it: then the same message is sent once more",
    };
    let close = "If it must not be sent, close it: then it is filed in failed with your reason.";
    let look = "Look into the patient's chart.";
    let (kind, remedy) = match held.why {
        HeldWhy::Person => (&known::HELD_BY_PERSON, format!("When it may go on, {release_sends}. {close}")),
        HeldWhy::OutcomeUnknown => (
            &known::OUTCOME_UNKNOWN,
            format!(
                "{look} If the document is there, close this delivery. If it is not there, {release_sends} (the chart may then show it twice if the first one arrived late)."
            ),
        ),
        HeldWhy::PatientChanged => (&known::PATIENT_CHANGED, known::PATIENT_CHANGED.remedy.to_owned()),
        HeldWhy::LedgerLost => (
            &known::LEDGER_LOST,
            format!("{look} If the document is there, close this delivery. If it is not there, {release_sends}."),
        ),
        HeldWhy::UnclearAnswer => (
            &known::UNCLEAR_ANSWER,
            format!(
                "{look} Ask the person who looks after chartdrop whether a proxy or firewall answers in place of Redox. If the document is in the chart, close this delivery. If it is not there, {release_sends}."
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
