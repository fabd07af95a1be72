//! The lifecycle as tables and as generated histories: what must hold whatever order things happen in.

use std::fmt::Write as _;

use jiff::ToSpan;
use proptest::prelude::*;

use super::*;
use crate::{
    ledger::{Files, Held, HeldWhy, Queued, ROW_LIMIT, Reason, SidecarFile, Stage, Then},
    model::{
        document::{Destination, Document, Key, Sha256},
        file_state::FileState,
        path::RelPath,
    },
    redox::documents,
};

const RESENDS: usize = 3;

fn policy(on_unknown: OnUnknown) -> Policy {
    Policy {
        on_unknown,
        resend_after: [60, 600, 3600].map(Duration::from_secs).to_vec(),
        retry_first: Duration::from_secs(5),
        retry_max: Duration::from_secs(3600),
        give_up_after: Duration::from_secs(3 * 86_400),
        upload_max_age: Duration::from_secs(86_400),
        endpoint: "urn:uuid:0".into(),
    }
}

fn at(second: i64) -> Facts {
    Facts { now: Timestamp::UNIX_EPOCH + second.seconds(), jitter: 0.5 }
}

fn document() -> Document {
    let json = serde_json::json!({
        "file_name": "scan.pdf",
        "patient": { "identifier": [{ "system": "urn:x", "value": "1001" }], "family": "Bixby" },
        "metadata": { "type": { "system": "http://loinc.org", "code": "11502-2" }, "category": "clinical-note", "status": "final" },
        "content": { "sha256": "07".repeat(32), "sha1": "07".repeat(20), "size": 4, "mime": "application/pdf" },
    });
    serde_json::from_value(json).unwrap()
}

fn state(n: u64) -> FileState {
    FileState { dev: 1, ino: n, size: 4, mtime: 7, ctime: 7 }
}

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_ref()).unwrap()
}

fn place(path: &str) -> InboxPath {
    InboxPath { inbox: "front-desk".into(), path: rel(path) }
}

fn fresh() -> Fresh {
    let sidecar = Some(SidecarFile { name: rel("scan.pdf.toml"), state: state(2) });
    let files = Files { document: state(1), sidecar };
    Fresh { document: document(), place: place("1001/scan.pdf"), files, lost_at: None }
}

fn key() -> Key {
    Key { destination: Destination("Staging/x".into()), patient: "urn:x|1001".into(), sha256: Sha256([7; 32]) }
}

fn new_row() -> Delivery {
    begin(key(), &fresh(), at(0))
}

fn prepared() -> Event {
    let upload = Some(Upload { location: "https://api.redoxengine.com/x".into(), at: at(0).now });
    Event::Prepared { upload, bundle: Uuid::from_u128(1), header: Uuid::from_u128(2) }
}

fn step(row: Delivery, event: Event, second: i64) -> Delivery {
    apply(row, event, &policy(OnUnknown::Resend), at(second)).row
}

fn sending() -> Delivery {
    step(new_row(), prepared(), 1)
}

fn cut() -> Event {
    Event::Unknown { why: "cut".into() }
}

fn accept() -> Event {
    Event::Accepted { answer: Answer { status: 200, ..Answer::default() }, to: None }
}

fn refuse() -> Event {
    Event::Rejected { code: "redox-400".into(), summary: "It is wrong.".into(), remedy: "Correct it.".into() }
}

/// A row in every stage that matters.
fn rows() -> Vec<(&'static str, Delivery)> {
    let unknown = step(sending(), cut(), 2);
    let resending = step(step(unknown.clone(), Event::Repeated, 100), Event::Changed { upload: None }, 101);
    let accepted = step(sending(), accept(), 2);
    let rejected = step(sending(), refuse(), 2);
    let held = step(unknown.clone(), Event::HoldUnknown, 3);
    let closed = step(new_row(), Event::OnlyThisRefused { status: 403 }, 3);
    vec![
        ("queued", new_row()),
        ("queued, possibly sent", resending),
        ("sending", sending()),
        ("unknown", unknown),
        ("held, possibly sent", held),
        ("held, never sent", closed),
        ("accepted", accepted.clone()),
        ("accepted and filed", step(accepted, Event::Filed, 3)),
        ("rejected", rejected.clone()),
        ("rejected and filed", step(rejected, Event::Filed, 3)),
    ]
}

fn events() -> Vec<Event> {
    let (why, took) = ("w".to_owned(), Duration::from_secs(1));
    vec![
        prepared(),
        Event::Repeated,
        Event::HoldUnknown,
        Event::Changed { upload: None },
        Event::ChannelClosed { why: why.clone(), wait: None },
        Event::ChannelClosed { why: why.clone(), wait: Some(Duration::from_secs(300)) },
        Event::Later { why: why.clone(), retry_after: None, took },
        cut(),
        Event::Unclear { why: why.clone() },
        Event::OnlyThisRefused { status: 403 },
        refuse(),
        Event::TooLarge,
        accept(),
        Event::Found { to: None },
        Event::NotFound,
        Event::SearchRefused,
        Event::SearchUnanswered { why, took },
        Event::FilingPlanned { to: place("1001/scan.pdf") },
        Event::PlaceTaken,
        Event::Filed,
        Event::NotFiled,
    ]
}

fn name(stage: &Stage) -> &'static str {
    match stage {
        Stage::Queued(_) => "queued",
        Stage::Sending(_) => "sending",
        Stage::Unknown(_) => "unknown",
        Stage::Held(_) => "held",
        Stage::Accepted(_) => "accepted",
        Stage::Rejected(_) => "rejected",
    }
}

/// Every event in every stage, as a table that a person has read: `tests/transitions.txt` beside this file.
#[test]
fn every_event_in_every_stage_has_a_written_answer() {
    let mut table = String::new();
    for (title, row) in rows() {
        writeln!(table, "{title}").unwrap();
        for event in events() {
            let words = format!("{event:?}");
            let words: String = words.split([' ', '{']).next().unwrap().into();
            let next = apply(row.clone(), event, &policy(OnUnknown::Resend), at(10));
            let answer = match next.write {
                false => "-".to_owned(),
                true => format!(
                    "{} sends={} unconfirmed={}{}",
                    name(&next.row.stage),
                    next.row.sends,
                    next.row.uncertain,
                    if next.look_again { " (identify again)" } else { "" }
                ),
            };
            writeln!(table, "    {words:18} {answer}").unwrap();
        }
    }
    let expected = include_str!("tests/transitions.txt");
    assert!(table == expected, "the table of transitions differs; if that is meant, write this into it:\n{table}");
}

#[test]
fn an_endless_unknown_ends_held_after_at_most_four_posts() {
    for on_unknown in [OnUnknown::Resend, OnUnknown::Search, OnUnknown::Hold] {
        let policy = policy(on_unknown);
        let (mut row, mut second, mut posts) = (new_row(), 0, 0);
        while !matches!(row.stage, Stage::Held(_)) {
            second += 1;
            let event = match next(&row, &policy, at(second)) {
                Action::Wait { until } => {
                    second = until.as_second();
                    continue;
                }
                Action::Prepare { .. } => prepared(),
                Action::Post => {
                    posts += 1;
                    cut()
                }
                Action::Repeat => Event::Repeated,
                Action::Search => Event::NotFound,
                Action::Hold => Event::HoldUnknown,
                other => panic!("{other:?}"),
            };
            row = apply(row, event, &policy, at(second)).row;
        }
        let expected = if on_unknown == OnUnknown::Hold { 1 } else { RESENDS + 1 };
        assert_eq!(posts, expected, "{on_unknown:?}");
        assert_eq!(row.uncertain as usize, posts, "each is declared");
        if on_unknown == OnUnknown::Resend {
            assert!(second > 60 + 600 + 3600, "spaced by resend_after: {second}");
        }
    }
}

#[test]
fn giving_up_counts_the_time_in_which_it_was_tried() {
    let policy = policy(OnUnknown::Resend);
    let later = || Event::Later { why: "503".into(), retry_after: None, took: Duration::from_secs(1) };
    let row = apply(sending(), later(), &policy, at(10)).row;
    // The machine was off for a month.
    let month = 30 * 86_400;
    let row = apply(row, Event::Repeated, &policy, at(month)).row;
    let row = apply(row, later(), &policy, at(month)).row;
    assert!(matches!(row.stage, Stage::Queued(_)), "{row:?}");
    assert!(row.tried.ms < 60_000, "{:?}", row.tried);
    // Three days of tries are enough.
    let (mut row, mut second, mut tries) = (row, month, 0);
    while !matches!(row.stage, Stage::Rejected(_)) {
        tries += 1;
        assert!(tries < 1000);
        second = row.due().unwrap().as_second().max(second) + 1;
        row = apply(row, Event::Repeated, &policy, at(second)).row;
        row = apply(row, later(), &policy, at(second)).row;
    }
    assert!(second - month >= 3 * 86_400, "{}", second - month);
    let Stage::Rejected(rejected) = row.stage else { unreachable!() };
    assert_eq!((rejected.reason.code.as_str(), rejected.reason.maybe_sent), ("gave-up", false));
}

#[test]
fn a_rejection_after_an_uncertain_send_never_says_not_sent() {
    let resent = step(step(sending(), cut(), 2), Event::Repeated, 100);
    for event in [refuse(), Event::TooLarge] {
        let Stage::Rejected(rejected) = step(resent.clone(), event.clone(), 101).stage else { panic!("{event:?}") };
        assert!(rejected.reason.maybe_sent, "{event:?}");
    }
    let Stage::Rejected(rejected) = step(sending(), refuse(), 2).stage else { panic!() };
    assert!(!rejected.reason.maybe_sent);
}

#[test]
fn what_may_have_arrived_is_sent_again_as_it_was_or_not_at_all() {
    let unknown = step(sending(), cut(), 2);
    let mut other_words = fresh();
    other_words.document.metadata.title = Some("Corrected".into());
    other_words.files.sidecar = Some(SidecarFile { name: rel("scan.pdf.toml"), state: state(9) });
    let Resume::Continue(same) = resume(unknown.clone(), &other_words, at(5)) else { panic!() };
    assert_eq!(same.row.document, unknown.document, "the words that were sent");
    assert_eq!(same.row.files.unwrap().sidecar.unwrap().state, state(2), "the sidecar that was sent");
    let mut other_patient = fresh();
    other_patient.document.patient.family = Some("Alvarez".into());
    let Resume::Continue(held) = resume(unknown, &other_patient, at(5)) else { panic!() };
    assert!(matches!(held.row.stage, Stage::Held(Held { why: HeldWhy::PatientChanged, .. })), "{held:?}");
}

#[test]
fn what_was_not_sent_is_sent_as_it_is_described_now() {
    let mut corrected = fresh();
    corrected.document.metadata.title = Some("Corrected".into());
    corrected.files.sidecar = Some(SidecarFile { name: rel("scan.pdf.toml"), state: state(9) });
    let later = Event::Later { why: "503".into(), retry_after: None, took: Duration::ZERO };
    let held = held_by_person(new_row());
    for row in [new_row(), step(sending(), later, 2), held] {
        let Resume::Continue(next) = resume(row, &corrected, at(5)) else { panic!() };
        assert_eq!(next.row.document.as_ref(), Some(&corrected.document));
        assert_eq!(next.row.files.as_ref(), Some(&corrected.files));
        let message = match &next.row.stage {
            Stage::Queued(queued) | Stage::Held(Held { then: Then::Queued(queued), .. }) => &queued.message,
            other => panic!("{other:?}"),
        };
        assert_eq!(message, &None, "a new message");
    }
}

fn held_by_person(row: Delivery) -> Delivery {
    match decide(row, &Decision::Hold { reason: None }, "anna", true, at(3)) {
        Decided::Row(transition, _) => transition.row,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_ledger_that_was_lost_is_counted_once() {
    let lost_at = Some(at(100).now);
    let fresh = Fresh { lost_at, ..fresh() };
    let row = begin(key(), &fresh, at(50));
    assert_eq!((name(&row.stage), row.sends, row.uncertain), ("unknown", 1, 1));
    let Action::Repeat = next(&row, &policy(OnUnknown::Resend), at(50)) else { panic!() };
    let row = step(row, Event::Repeated, 51);
    let Resume::Continue(again) = resume(row, &fresh, at(52)) else { panic!() };
    assert_eq!((name(&again.row.stage), again.row.uncertain), ("queued", 1));
    // A row of an old copy of the ledger.
    let Resume::Continue(counted) = resume(new_row(), &fresh, at(120)) else { panic!() };
    assert_eq!((name(&counted.row.stage), counted.row.uncertain), ("unknown", 1));
}

#[test]
fn a_final_row_is_a_duplicate_a_refusal_or_starts_over() {
    let rows: std::collections::HashMap<_, _> = rows().into_iter().collect();
    assert!(matches!(resume(rows["accepted and filed"].clone(), &fresh(), at(9)), Resume::Duplicate(_)));
    let mut other_words = fresh();
    other_words.document.metadata.title = Some("Other".into());
    assert!(matches!(
        resume(rows["accepted and filed"].clone(), &other_words, at(9)),
        Resume::Refuse(Reason { code, .. }) if code == "other-metadata"
    ));
    let Resume::Continue(back) = resume(rows["rejected and filed"].clone(), &fresh(), at(9)) else { panic!() };
    assert_eq!(name(&back.row.stage), "queued");
    assert_eq!(back.row.document, Some(document()), "whole again");
}

#[test]
fn every_decision_says_what_it_does_and_who_decided() {
    let decisions = [
        Decision::Retry,
        Decision::Hold { reason: None },
        Decision::Release,
        Decision::SendAgain,
        Decision::Close { reason: "wrong scan".into() },
    ];
    for (title, row) in rows() {
        for decision in &decisions {
            for is_present in [true, false] {
                match decide(row.clone(), decision, "anna", is_present, at(9)) {
                    Decided::Row(transition, told) | Decided::CopyBack(transition, told) => {
                        let last = transition.row.history.last().unwrap();
                        assert_eq!(last.by.as_deref(), Some("anna"), "{title} {decision:?}");
                        assert!(transition.write && told.ends_with('.'), "{title} {decision:?}: {told}");
                    }
                    Decided::PutBack => assert_eq!(title, "rejected and filed"),
                    Decided::Refused(told) => assert!(told.contains('.'), "{told}"),
                }
            }
        }
    }
    let closed = decide(new_row(), &Decision::Close { reason: "wrong scan".into() }, "anna", true, at(9));
    let Decided::Row(closed, _) = closed else { panic!() };
    let Stage::Rejected(rejected) = closed.row.stage else { panic!() };
    assert!(rejected.reason.summary.contains("anna") && rejected.reason.summary.contains("wrong scan"));
    assert!(!rejected.reason.maybe_sent);
}

/// A random event, with random time before it.
fn any_event() -> impl Strategy<Value = (usize, i64)> {
    (0..events().len(), 0..100_000_i64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_happens_in_whatever_order(
        history in prop::collection::vec(any_event(), 1..60),
        on_unknown in prop::sample::select(vec![OnUnknown::Resend, OnUnknown::Search, OnUnknown::Hold]),
    ) {
        let policy = policy(on_unknown);
        let (mut row, mut second) = (new_row(), 0);
        for (event, pause) in history {
            second += pause;
            let facts = at(second);
            let before = row.clone();
            let is_post = next(&row, &policy, facts) == Action::Post;
            prop_assert_eq!(is_post, matches!(row.stage, Stage::Sending(_)), "a message is sent from Sending only");
            let transition = apply(row, events()[event].clone(), &policy, facts);
            row = transition.row;
            if before.filing().is_some() {
                prop_assert_eq!(name(&before.stage), name(&row.stage), "a final row never reopens by itself");
                prop_assert_eq!(before.is_filed() && !row.is_filed(), false);
            }
            prop_assert!(row.uncertain >= before.uncertain, "what may have arrived is never forgotten");
            prop_assert!(row.sends >= row.uncertain, "{:?}", row);
            if !transition.write {
                prop_assert!(transition.look_again && row.stage == before.stage);
            }
            row.truncate_to_limit();
            prop_assert!(row.encode().unwrap().len() <= ROW_LIMIT);
        }
    }

    #[test]
    fn every_reachable_row_of_a_document_that_fits_fits(
        document in documents(),
        history in prop::collection::vec(any_event(), 1..40),
        folder in "[\u{20}-~&&[^/%]]{1,120}",
        location in 1..500_usize,
    ) {
        let path = format!("{folder}/{}", document.file_name);
        let Some(path) = RelPath::new(path.as_ref()) else { return Ok(()) };
        let place = InboxPath { inbox: "front-desk".into(), path };
        let fresh = Fresh { document, place: place.clone(), ..fresh() };
        let mut row = begin(key(), &fresh, at(0));
        if !fits(&row) {
            return Ok(());
        }
        for (event, pause) in history {
            let event = match events()[event].clone() {
                Event::Prepared { bundle, header, .. } => {
                    let upload = Some(Upload { location: "l".repeat(location), at: at(0).now });
                    if !fits_with(&row, upload.as_ref()) { continue }
                    Event::Prepared { upload, bundle, header }
                }
                Event::Accepted { answer, .. } => Event::Accepted { answer, to: Some(place.clone()) },
                Event::FilingPlanned { .. } => Event::FilingPlanned { to: place.clone() },
                Event::Unknown { .. } => Event::Unknown { why: "\u{1}".repeat(500) },
                event => event,
            };
            row = apply(row, event, &policy(OnUnknown::Resend), at(pause)).row;
            row.truncate_to_limit();
            prop_assert!(row.encode().is_ok(), "{:?}", row.encode());
        }
    }

    #[test]
    fn a_crash_between_any_two_steps_resumes_to_the_same_end(crash_at in 0..8_usize, answers in prop::collection::vec(0..3_u8, 0..4)) {
        let policy = policy(OnUnknown::Resend);
        let (mut row, mut second, mut steps, mut posts) = (new_row(), 0, 0, 0_u32);
        let mut answers = answers.into_iter();
        while next(&row, &policy, at(second)) != Action::Finished {
            second += 1;
            steps += 1;
            prop_assert!(steps < 100);
            if steps == crash_at {
                // The durable row is all that is left; the document is identified again.
                match resume(Delivery::decode(&row.encode().unwrap()).unwrap(), &fresh(), at(second)) {
                    Resume::Continue(transition) => row = transition.row,
                    other => prop_assert!(false, "{:?}", other),
                }
                continue;
            }
            let event = match next(&row, &policy, at(second)) {
                Action::Wait { until } => { second = until.as_second(); continue }
                Action::Prepare { .. } => prepared(),
                Action::Repeat => Event::Repeated,
                Action::Post => {
                    posts += 1;
                    match answers.next() {
                        Some(0) => cut(),
                        Some(1) => Event::Later { why: "503".into(), retry_after: None, took: Duration::ZERO },
                        _ => accept(),
                    }
                }
                // The killed one and three lost answers: four messages, and a person decides.
                Action::Hold => {
                    prop_assert_eq!((row.sends, row.uncertain), (4, 4));
                    return Ok(());
                }
                Action::PlanFiling => Event::FilingPlanned { to: place("1001/scan.pdf") },
                Action::File { .. } => Event::Filed,
                other => { prop_assert!(false, "{:?}", other); continue }
            };
            row = apply(row, event, &policy, at(second)).row;
        }
        prop_assert_eq!(name(&row.stage), "accepted");
        prop_assert!(row.uncertain + 1 >= row.sends && posts <= row.sends + 3, "every second message is declared");
    }
}

#[test]
fn held_is_never_a_dead_end() {
    let then = [
        Then::Queued(Queued::new(at(0).now)),
        Then::Unknown(match step(sending(), cut(), 2).stage {
            Stage::Unknown(unknown) => unknown,
            other => panic!("{other:?}"),
        }),
    ];
    let whys = [
        HeldWhy::Person,
        HeldWhy::OutcomeUnknown,
        HeldWhy::PatientChanged,
        HeldWhy::LedgerLost,
        HeldWhy::UnclearAnswer,
        HeldWhy::OnlyThisRefused,
    ];
    for (why, then) in whys.into_iter().flat_map(|why| then.iter().map(move |then| (why, then.clone()))) {
        let held = Held { why, detail: String::new(), since: at(0).now, then };
        let problem = held_problem(&held);
        assert!(!problem.code.is_empty() && problem.summary.ends_with('.') && problem.remedy.ends_with('.'));
        let row = Delivery { stage: Stage::Held(held), ..new_row() };
        let Decided::Row(released, _) = decide(row, &Decision::Release, "anna", true, at(9)) else { panic!("{why:?}") };
        assert!(matches!(
            next(&released.row, &policy(OnUnknown::Hold), at(9)),
            Action::Repeat | Action::Prepare { .. }
        ));
    }
}
