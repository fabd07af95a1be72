//! What every event, decision and look at a document changes in a row, to the last field, as tables that a person has read.
//! After a change that is meant, `WRITE_TABLES=1 cargo test --lib lifecycle` writes them anew; read the difference.

use std::{fmt::Write as _, path::Path};

use serde_json::Value;

use super::*;
use crate::{
    ledger::{Accepted, PendingDuplicate, Unknown},
    model::message::Message,
};

/// The paths beneath which two values differ, each with the old and the new value.
fn differences(before: &Value, after: &Value, path: &str, into: &mut Vec<String>) {
    match (before, after) {
        // Another stage is shown whole.
        (old, new) if path == "/stage" && old["name"] != new["name"] => into.push(format!("{path}: {new}")),
        (Value::Object(old), Value::Object(new)) => {
            let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                differences(&of(old), &of(new), &format!("{path}/{key}"), into);
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for i in 0..old.len().max(new.len()) {
                let of = |list: &[Value]| list.get(i).cloned().unwrap_or_default();
                differences(&of(old), &of(new), &format!("{path}/{i}"), into);
            }
        }
        (old, new) if old != new => into.push(format!("{path}: {old} -> {new}")),
        _ => {}
    }
}

fn changes(before: &Delivery, after: &Delivery) -> String {
    let json = |row: &Delivery| serde_json::to_value(row).unwrap();
    let mut lines = Vec::new();
    differences(&json(before), &json(after), "", &mut lines);
    // Written in second 1000, like everything here.
    lines.retain(|line| !(line.starts_with("/updated: ") && after.updated == at(1000).now));
    lines.into_iter().map(|line| format!("        {}\n", in_seconds(&line))).collect()
}

/// The same with short times.
fn in_seconds(text: &str) -> String {
    let times = regex::Regex::new(r"1970-01-0\dT[\d:.]+Z").unwrap();
    let seconds = |found: &regex::Captures<'_>| format!("@{}", found[0].parse::<Timestamp>().unwrap().as_second());
    times.replace_all(text, seconds).into_owned()
}

fn flags(transition: &Transition) -> String {
    format!("write={} look_again={}", transition.write, transition.look_again)
}

/// Compares a table with its file beside this one.
fn assert_table(name: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/delivery/lifecycle/tests").join(name);
    if std::env::var_os("WRITE_TABLES").is_some() {
        std::fs::write(&path, in_seconds(table)).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    let table = in_seconds(table);
    for (line, (found, written)) in table.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, written, "{name}, line {}", line + 1);
    }
    assert_eq!(table.len(), expected.len(), "{name}");
}

fn with_stage(row: Delivery, stage: Stage) -> Delivery {
    Delivery { stage, ..row }
}

/// More rows, with every field set that some step looks at.
fn all_rows() -> Vec<(&'static str, Delivery)> {
    let later = Event::Later { why: "503".into(), retry_after: None, took: Duration::from_secs(2) };
    let embedded = Event::Prepared { upload: None, bundle: Uuid::from_u128(1), header: Uuid::from_u128(2) };
    let upload = Upload { location: "https://api.redoxengine.com/y".into(), at: at(0).now };
    let embedding = step(new_row(), embedded, 1);
    let embedding_again = step(step(embedding.clone(), cut(), 2), Event::Repeated, 100);
    let unknown = step(sending(), cut(), 2);
    let asked = step(unknown.clone(), Event::NotFound, 20);
    let unanswered = Event::SearchUnanswered { why: "cut".into(), took: Duration::from_secs(100) };
    let lost = begin(key(), &Fresh { lost_at: Some(at(0).now), ..fresh() }, at(0));
    let queued = |queued: Queued| with_stage(new_row(), Stage::Queued(queued));
    let filing = step(step(sending(), accept(), 2), Event::FilingPlanned { to: place("1001/scan.pdf") }, 3);
    let filed = step(filing.clone(), Event::Filed, 4);
    let doubled = match filed.stage.clone() {
        Stage::Accepted(accepted) => {
            let pending =
                PendingDuplicate { from: place("1001/b.pdf"), to: rel("1001/b.pdf"), files: None, file_sha256: None };
            with_stage(filed.clone(), Stage::Accepted(Accepted { duplicate: Some(Box::new(pending)), ..accepted }))
        }
        other => panic!("{other:?}"),
    };
    let refused = refused(key(), place("1001/scan.exe"), Some(fresh().files), too_odd(), at(1));
    let mut rows = rows();
    rows.extend([
        ("queued, to be uploaded", queued(Queued { must_upload: true, ..Queued::new(at(0).now) })),
        ("queued, uploaded", queued(Queued { upload: Some(upload), why: "earlier".into(), ..Queued::new(at(0).now) })),
        ("queued, tried twice", step(step(step(sending(), later.clone(), 2), Event::Repeated, 100), later, 101)),
        ("queued, the channel is closed", {
            let wait = Some(Duration::from_secs(300));
            step(sending(), Event::ChannelClosed { why: "429".into(), wait }, 2)
        }),
        ("sending, embedded", embedding),
        ("sending, embedded, possibly sent", embedding_again),
        ("sending, possibly sent", step(unknown.clone(), Event::Repeated, 100)),
        ("unknown, asked once", asked.clone()),
        ("unknown, asked twice", step(asked, Event::NotFound, 30)),
        ("unknown, not answered", step(step(unknown, unanswered.clone(), 20), unanswered, 100)),
        ("unknown, its message is lost", lost.clone()),
        ("held, its message is lost", step(lost, Event::HoldUnknown, 3)),
        ("held by a person", held_by_person(new_row())),
        ("accepted, planned", filing),
        ("accepted, with a duplicate on its way", doubled),
        ("refused unread", refused.clone()),
        ("refused unread and filed", step(refused, Event::Filed, 3)),
    ]);
    rows
}

fn too_odd() -> Reason {
    Reason { code: "odd".into(), summary: "It is odd.".into(), remedy: "Look.".into(), maybe_sent: false }
}

#[test]
fn what_every_event_changes() {
    let mut table = String::new();
    for on_unknown in [OnUnknown::Resend, OnUnknown::Search, OnUnknown::Hold] {
        let mut events = events();
        events.push(Event::Later {
            why: "w".into(),
            retry_after: Some(Duration::from_secs(700)),
            took: Duration::from_secs(3),
        });
        // More than the three days of `give_up_after`.
        let took = Duration::from_secs(3 * 86_400);
        events.push(Event::Later { why: "w".into(), retry_after: None, took });
        events.push(Event::SearchUnanswered { why: "w".into(), took });
        events.push(Event::Changed { upload: Some(Upload { location: "new".into(), at: at(5).now }) });
        for (title, row) in all_rows() {
            // The other policies change what becomes of an unknown outcome, and nothing else.
            let concerns_policy = matches!(row.stage, Stage::Sending(_));
            if on_unknown != OnUnknown::Resend && !concerns_policy {
                continue;
            }
            writeln!(table, "{on_unknown:?}: {title}").unwrap();
            for event in &events {
                let next = apply(row.clone(), event.clone(), &policy(on_unknown), at(1000));
                if next == Transition::unchanged(Delivery { updated: at(1000).now, ..row.clone() }) {
                    continue;
                }
                write!(table, "    {event:?} {}\n{}", flags(&next), changes(&row, &next.row)).unwrap();
            }
        }
    }
    assert_table("events.txt", &table);
}

#[test]
fn what_every_decision_changes() {
    let decisions = [
        Decision::Retry,
        Decision::Hold { reason: None },
        Decision::Release,
        Decision::SendAgain,
        Decision::Close { reason: "wrong scan".into() },
    ];
    let mut table = String::new();
    for (title, row) in all_rows() {
        writeln!(table, "{title}").unwrap();
        for decision in &decisions {
            for is_present in [true, false] {
                let here = if is_present { "" } else { ", its document is gone" };
                write!(table, "    {decision:?}{here}: ").unwrap();
                match decide(row.clone(), decision, "anna", is_present, at(1000)) {
                    Decided::Row(next, told) => {
                        write!(table, "{} {told}\n{}", flags(&next), changes(&row, &next.row)).unwrap();
                    }
                    Decided::CopyBack(next, told) => {
                        write!(table, "copied back, {} {told}\n{}", flags(&next), changes(&row, &next.row)).unwrap();
                    }
                    Decided::PutBack => writeln!(table, "put back").unwrap(),
                    Decided::Refused(told) => writeln!(table, "{told}").unwrap(),
                }
            }
        }
    }
    assert_table("decisions.txt", &table);
}

#[test]
fn what_every_look_at_a_document_changes() {
    let sidecar = |n| Some(SidecarFile { name: rel("scan.pdf.toml"), state: state(n) });
    let same = fresh();
    let mut other_words = fresh();
    other_words.document.metadata.title = Some("Corrected".into());
    other_words.files.sidecar = sidecar(9);
    let mut other_sidecar = fresh();
    other_sidecar.files.sidecar = sidecar(9);
    let mut no_sidecar = fresh();
    no_sidecar.files.sidecar = None;
    let mut other_patient = fresh();
    other_patient.document.patient.family = Some("Alvarez".into());
    let mut moved = Fresh { place: place("1001/renamed.pdf"), ..fresh() };
    moved.files.sidecar =
        Some(SidecarFile { name: rel("renamed.pdf.toml"), state: FileState { ctime: 8, ..state(2) } });
    let mut moved_with_another = Fresh { place: place("1001/renamed.pdf"), ..fresh() };
    moved_with_another.files.sidecar = Some(SidecarFile { name: rel("renamed.pdf.toml"), state: state(9) });
    let looks = [
        ("as it was", same.clone()),
        ("other words", other_words),
        ("another sidecar of the same words", other_sidecar),
        ("without its sidecar", no_sidecar),
        ("another patient", other_patient.clone()),
        ("renamed with its sidecar", moved),
        ("renamed, and another sidecar", moved_with_another),
        ("the ledger was lost before it", Fresh { lost_at: Some(at(500).now), ..same.clone() }),
        ("the ledger was lost long before", Fresh { lost_at: Some(at(0).now), ..same }),
        ("the ledger was lost, and another patient", Fresh { lost_at: Some(at(500).now), ..other_patient }),
    ];
    let mut table = String::new();
    let mut rows = all_rows();
    let counted = |row: Delivery| Delivery { counted_after_loss: Some(at(500).now), ..row };
    rows.push(("queued, counted after the loss", counted(new_row())));
    // The clock was set back since.
    let ahead = |row: Delivery| Delivery { updated: at(9000).now, ..row };
    let pause = |due| Stage::Queued(Queued { due, ..Queued::new(at(0).now) });
    rows.push(("queued, from the future", ahead(with_stage(new_row(), pause(at(9100).now)))));
    rows.push(("queued, of this moment", {
        Delivery { updated: at(1000).now, ..with_stage(new_row(), pause(at(9100).now)) }
    }));
    let unknown = match step(sending(), cut(), 2).stage {
        Stage::Unknown(unknown) => Unknown { due: at(9100).now, ..unknown },
        other => panic!("{other:?}"),
    };
    rows.push(("unknown, from the future", ahead(with_stage(sending(), Stage::Unknown(unknown)))));
    for (title, row) in rows {
        writeln!(table, "{title}").unwrap();
        for (what, fresh) in &looks {
            write!(table, "    {what}: ").unwrap();
            match resume(row.clone(), fresh, at(1000)) {
                Resume::Continue(next) => {
                    write!(table, "{}\n{}", flags(&next), changes(&row, &next.row)).unwrap();
                }
                Resume::Duplicate(found) => write!(table, "duplicate\n{}", changes(&row, &found)).unwrap(),
                Resume::Refuse(reason) => writeln!(table, "refused: {reason:?}").unwrap(),
            }
        }
    }
    assert_table("looks.txt", &table);
}

#[test]
fn what_comes_next() {
    let mut table = String::new();
    for on_unknown in [OnUnknown::Resend, OnUnknown::Search, OnUnknown::Hold] {
        for (title, row) in all_rows() {
            for second in [1, 150, 100_000] {
                let action = next(&row, &policy(on_unknown), at(second));
                writeln!(table, "{on_unknown:?}: {title}, second {second}: {action:?}").unwrap();
            }
        }
    }
    // To the second: a pause is over, an upload is too old.
    let due = |second| with_stage(new_row(), Stage::Queued(Queued { due: at(second).now, ..Queued::new(at(0).now) }));
    for (row, second) in [(due(100), 99), (due(100), 100), (due(100), 101)] {
        writeln!(table, "due in second 100, second {second}: {:?}", next(&row, &policy(OnUnknown::Hold), at(second)))
            .unwrap();
    }
    let day = 86_400;
    for (title, row) in all_rows().into_iter().filter(|(title, _)| title.starts_with("queued")) {
        for second in [day - 1, day, day + 1] {
            let action = next(&row, &policy(OnUnknown::Hold), at(second));
            writeln!(table, "{title}, a day old, second {second}: {action:?}").unwrap();
        }
    }
    // A message that has been sent as often as it may be.
    for sent in 0..=5 {
        let unknown = match step(sending(), cut(), 2).stage {
            Stage::Unknown(unknown) => unknown,
            other => panic!("{other:?}"),
        };
        let message = unknown.message.clone().map(|message| Message { sent, ..message });
        for tries in 0..=4 {
            let stage = Stage::Unknown(Unknown { message: message.clone(), tries, ..unknown.clone() });
            for on_unknown in [OnUnknown::Resend, OnUnknown::Search, OnUnknown::Hold] {
                let action = next(&with_stage(sending(), stage.clone()), &policy(on_unknown), at(day));
                writeln!(table, "{on_unknown:?}: unknown, sent {sent} times, asked {tries} times: {action:?}").unwrap();
            }
        }
    }
    assert_table("next.txt", &table);
}
