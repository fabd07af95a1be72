//! What we wrote ourselves and read again, perhaps years later, perhaps damaged.

use std::path::Component;

use chartdrop::{
    filing::{reason, receipt::Receipt},
    ledger::{Delivery, LedgerError},
    model::path::RelPath,
};

pub fn row(bytes: &[u8]) {
    let Ok(row) = Delivery::decode(bytes) else { return };
    let mut small = row.clone();
    small.truncate_to_limit();
    assert_eq!((&small.key, &small.document, small.is_filed()), (&row.key, &row.document, row.is_filed()));
    small.redact_final();
    assert_eq!((small.id(), small.is_filed(), small.due()), (row.id(), row.is_filed(), row.due()));
    for row in [row, small] {
        match row.encode() {
            Ok(bytes) => assert_eq!(Delivery::decode(&bytes).expect("it was just written"), row),
            Err(LedgerError::RowTooLong(_)) => {}
            Err(other) => panic!("{other}: {row:?}"),
        }
    }
}

/// The last line of a reason, and a receipt.
pub fn receipt(bytes: &[u8]) {
    if let Some(record) = reason::record(bytes) {
        let again = serde_json::to_vec(&record).expect("JSON");
        assert_eq!(reason::record(&again).expect("it was just written"), record);
    }
    let Ok(receipt) = serde_json::from_slice::<Receipt>(bytes) else { return };
    let again = serde_json::to_vec_pretty(&receipt).expect("JSON");
    assert_eq!(serde_json::from_slice::<Receipt>(&again).expect("it was just written"), receipt);
}

/// The bytes are a place as it is stored.
pub fn place(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let read = |text: &str| serde_json::from_value::<RelPath>(text.into());
    let Ok(place) = read(text) else { return };
    assert!(place.as_path().components().all(|part| matches!(part, Component::Normal(_))), "{place:?} leads out");
    assert_eq!(read(&place.to_string()).expect("it was just written"), place);
    assert!(place.parent().is_none_or(|folder| place.as_path().starts_with(folder.as_path())));
    assert_eq!(place.first_folder().is_some(), place.parent().is_some());
    assert!(!place.file_name().is_empty());
}
