//! From Sending on, a message is a pure function of its stored row: what is sent again is sent byte for byte.

use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

use crate::{
    ledger::{Delivery, Stage},
    model::document::{Destination, Key, Sha256},
    model::message::{Message, Upload},
    model::path::{InboxPath, RelPath},
    redox::{build, documents, whole},
};

/// The bytes that a row in Sending stands for.
fn bytes(row: &Delivery) -> Vec<u8> {
    let (Stage::Sending(message), Some(document)) = (&row.stage, &row.document) else { panic!("{row:?}") };
    whole(&build(document, row.id(), row.first_seen, message))
}

proptest! {
    #[test]
    fn a_stored_row_gives_the_same_message_byte_for_byte(
        document in documents(),
        moments in prop::array::uniform2(0..4_000_000_000_000_000_000_i128),
        ids in prop::array::uniform2(any::<u128>()),
        location in prop::option::of("https://[a-z]{1,20}/[ -~]{0,40}"),
        sent in any::<u32>(),
    ) {
        let [first_seen, timestamp] = moments.map(|moment| Timestamp::from_nanosecond(moment).unwrap());
        let [bundle, header] = ids.map(Uuid::from_u128);
        let upload = location.map(|location| Upload { location, at: timestamp });
        let message = Message { bundle, header, timestamp, endpoint: "urn:uuid:x".into(), upload, sent };
        let path = RelPath::new(std::path::Path::new("a/b.pdf")).unwrap();
        let key = Key { destination: Destination("Staging/x".into()), patient: "a|b".into(), sha256: Sha256([3; 32]) };
        let place = InboxPath { inbox: "i".into(), path };
        let mut row = Delivery::new(key, place, Some(document), first_seen, Stage::Sending(message));
        (row.updated, row.sends) = (timestamp, sent);
        let read_back = Delivery::decode(&row.encode().unwrap()).unwrap();
        prop_assert_eq!(bytes(&read_back), bytes(&row));
        // Neither the counting nor a later sight of the file changes a byte.
        let mut later = read_back;
        later.sends = later.sends.wrapping_add(1);
        later.updated = Timestamp::MAX;
        later.place.inbox = "other".into();
        if let Stage::Sending(message) = &mut later.stage {
            message.sent = message.sent.wrapping_add(1);
        }
        prop_assert_eq!(bytes(&later), bytes(&row));
    }
}
