//! Stored rows: old versions, the limit, and what a final row keeps.

use serde_json::Value;

use super::*;

fn stored_by_version_1() -> Vec<(Value, Delivery)> {
    let file = include_str!("../../../tests/fixtures/ledger/v1.json");
    let stored: Vec<Value> = serde_json::from_str(file).unwrap();
    stored.into_iter().map(|value| (value.clone(), Delivery::decode(value.to_string().as_bytes()).unwrap())).collect()
}

fn stage_name(row: &Delivery) -> &'static str {
    match row.stage {
        Stage::Queued(_) => "queued",
        Stage::Sending(_) => "sending",
        Stage::Unknown(_) => "unknown",
        Stage::Held(_) => "held",
        Stage::Accepted(_) => "accepted",
        Stage::Rejected(_) => "rejected",
    }
}

#[test]
fn rows_of_version_1_are_still_read_whole() {
    let mut stages = Vec::new();
    for (value, row) in stored_by_version_1() {
        let now: Value = serde_json::from_slice(&row.encode().unwrap()).unwrap();
        assert_eq!(now["v"], 2);
        for key in ["key", "revision", "place", "first_seen", "updated", "document", "sends", "uncertain"] {
            assert_eq!(now["row"][key], value["row"][key], "{key}");
        }
        for (key, old) in value["row"]["stage"].as_object().unwrap() {
            match key.as_str() {
                "attempts" => assert_eq!(&now["row"]["tried"]["attempts"], old),
                // Held rows have a stage of their own now.
                _ if stage_name(&row) == "held" => {}
                _ => assert_eq!(&now["row"]["stage"][key], old, "{key}"),
            }
        }
        stages.push(stage_name(&row));
    }
    // The unknown one waited for a person.
    assert_eq!(stages, ["queued", "sending", "held", "accepted", "rejected"]);
}

#[test]
fn held_rows_of_version_1_say_what_they_wait_for() {
    let mut stored = stored_by_version_1();
    let (mut unknown, mut queued) = (stored.remove(2), stored.remove(0));
    let stage = |value: &Value| match Delivery::decode(value.to_string().as_bytes()).unwrap().stage {
        Stage::Held(held) => (held.why, matches!(held.then, Then::Unknown(_))),
        other => panic!("{other:?}"),
    };
    let max = serde_json::to_value(Timestamp::MAX).unwrap();
    queued.0["row"]["stage"]["due"] = max;
    for (why, held) in [("held by a person", HeldWhy::Person), ("It may have been sent before", HeldWhy::LedgerLost)] {
        queued.0["row"]["stage"]["why"] = why.into();
        assert_eq!(stage(&queued.0), (held, false));
    }
    unknown.0["row"]["stage"]["due"] = Value::Null;
    for (why, held) in [
        ("the connection broke", HeldWhy::OutcomeUnknown),
        ("what is said of the patient was changed after it was sent; …", HeldWhy::PatientChanged),
    ] {
        unknown.0["row"]["stage"]["why"] = why.into();
        assert_eq!(stage(&unknown.0), (held, true));
    }
}

#[test]
fn a_row_of_a_newer_version_is_refused_whatever_it_holds() {
    let row = br#"{"v":999,"row":{"shape":"nobody knows"}}"#;
    assert!(matches!(Delivery::decode(row), Err(LedgerError::Newer(999))));
    for damaged in [&b""[..], b"{}", br#"{"v":1,"row":{}}"#, b"\0\0\0\0"] {
        assert!(matches!(Delivery::decode(damaged), Err(LedgerError::Damaged(_))));
    }
}

#[test]
fn a_row_that_is_too_long_gives_up_what_can_be_spared_and_nothing_else() {
    for (_, row) in stored_by_version_1() {
        let mut large = row.clone();
        match &mut large.stage {
            Stage::Accepted(accepted) => accepted.answer.headers = vec![("x".into(), "y".repeat(ROW_LIMIT)); 2],
            Stage::Rejected(rejected) => rejected.reason.summary = "ü".repeat(ROW_LIMIT),
            Stage::Queued(queued) => queued.why = "z".repeat(ROW_LIMIT),
            Stage::Sending(_) | Stage::Unknown(_) | Stage::Held(_) => continue,
        }
        assert!(matches!(large.encode(), Err(LedgerError::RowTooLong(_))));
        large.truncate_to_limit();
        large.encode().unwrap();
        assert_eq!((&large.key, &large.document, large.filing()), (&row.key, &row.document, row.filing()));
        let mut same = row.clone();
        same.truncate_to_limit();
        assert_eq!(same, row, "a row that fits stays as it is");
    }
}

#[test]
fn redaction_keeps_what_duplicates_and_history_ask_for() {
    for (_, row) in stored_by_version_1() {
        let mut small = row.clone();
        small.redact_final();
        if row.filing().is_none() {
            assert_eq!(small, row, "an open delivery needs everything");
            continue;
        }
        assert_eq!(
            (&small.key, &small.place, small.sends, small.filing()),
            (&row.key, &row.place, row.sends, row.filing())
        );
        match (&row.document, &small.document) {
            (Some(whole), Some(kept)) => {
                assert_eq!((&kept.metadata, &kept.content), (&whole.metadata, &whole.content));
                assert_eq!(kept.patient.identifier, whole.patient.identifier);
                assert!(small.encode().unwrap().len() < row.encode().unwrap().len());
                let text = String::from_utf8(small.encode().unwrap()).unwrap();
                assert!(!text.contains("2008-01-06") && !text.contains("x-request-id"), "{text}");
            }
            (None, None) => assert_eq!(small, row),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_story_keeps_its_beginning_and_its_end() {
    let (_, mut row) = stored_by_version_1().remove(0);
    for n in 0..100 {
        row.note("later", None, &format!("try {n}\u{7}"));
    }
    assert!(row.history.len() <= 24, "{}", row.history.len());
    assert_eq!((row.history[0].detail.as_str(), row.history.last().unwrap().detail.as_str()), ("try 0", "try 99"));
    row.note("held", Some(&"n".repeat(500)), &"w".repeat(500));
    assert!(row.history.last().unwrap().by.as_ref().unwrap().len() <= 120);
    row.truncate_to_limit();
    row.encode().unwrap();
}
