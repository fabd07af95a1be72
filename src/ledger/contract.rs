//! What every store must do: the same tests over sled and over the model.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{Timestamp, ToSpan};
use proptest::{collection::vec, prelude::*};

use super::{
    Accepted, Begun, Delivery, Filing, Held, HeldWhy, Ledger, LedgerError, MemoryLedger, PendingDuplicate, Query,
    Queued, Reason, Rejected, SledLedger, Stage, Then, Unknown,
};
use crate::{
    model::document::{DeliveryId, Destination, Key, Sha256},
    model::message::{Answer, Message},
    model::path::{InboxPath, RelPath},
};

type Store = Arc<dyn Ledger>;

/// A moment `second` seconds after (or before) 1970.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + second.seconds()
}

/// A new delivery, the `n`-th of its kind, waiting from the beginning of time.
pub(super) fn row(n: u64) -> Delivery {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&n.to_be_bytes());
    let destination = Destination("Staging/test-clinic".into());
    let path = RelPath::new(format!("1001/scan-{n}.pdf").as_ref()).unwrap();
    let key = Key { destination, patient: "urn:test|1001".into(), sha256: Sha256(digest) };
    let place = InboxPath { inbox: "front-desk".into(), path };
    Delivery::new(key, place, None, at(0), Stage::Queued(Queued::default()))
}

fn staged(n: u64, stage: Stage, updated: i64) -> Delivery {
    Delivery { stage, updated: at(updated), ..row(n) }
}

fn queued(due: i64) -> Stage {
    Stage::Queued(Queued { due: at(due), ..Queued::default() })
}

fn message() -> Message {
    let uuid = uuid::Uuid::nil();
    Message { bundle: uuid, header: uuid, timestamp: at(0), endpoint: "urn:test".into(), upload: None, sent: 1 }
}

/// `None`: held for a person.
fn unknown(due: Option<i64>) -> Stage {
    let unknown = |due| Unknown { message: Some(message()), why: "cut".into(), since: at(0), due, tries: 0 };
    match due {
        Some(due) => Stage::Unknown(unknown(at(due))),
        None => {
            let then = Then::Unknown(unknown(at(0)));
            Stage::Held(Held { why: HeldWhy::OutcomeUnknown, detail: String::new(), since: at(0), then })
        }
    }
}

fn accepted(filed: Option<i64>) -> Stage {
    let filing = Filing { to: None, filed: filed.map(at) };
    Stage::Accepted(Accepted { at: at(0), message: None, answer: Answer::default(), filing, duplicate: None })
}

/// Accepted and filed, and just now a duplicate is being moved.
fn with_duplicate() -> Stage {
    let Stage::Accepted(accepted) = accepted(Some(1)) else { return Stage::Queued(Queued::default()) };
    let duplicate = PendingDuplicate { from: row(1).place, to: row(1).place.path, files: None, file_sha256: None };
    Stage::Accepted(Accepted { duplicate: Some(Box::new(duplicate)), ..accepted })
}

fn rejected(filed: Option<i64>) -> Stage {
    let reason = Reason { code: "no-patient".into(), summary: "?".into(), remedy: "!".into(), maybe_sent: false };
    Stage::Rejected(Rejected { at: at(0), reason, upload: None, filing: Filing { to: None, filed: filed.map(at) } })
}

async fn begin_all(store: &Store, rows: impl IntoIterator<Item = Delivery>) {
    for row in rows {
        assert!(matches!(store.begin(row).await.unwrap(), Begun::New(_)));
    }
}

/// The listed rows' numbers.
async fn numbers(store: &Store, query: Query) -> Vec<u64> {
    let number = |row: Delivery| u64::from_be_bytes(row.key.sha256.0[..8].try_into().unwrap());
    store.list(query).await.unwrap().into_iter().map(number).collect()
}

async fn the_second_begin_gives_back_the_first(store: Store) {
    let first = store.begin(row(1)).await.unwrap();
    assert_eq!(first, Begun::New(Delivery { revision: 1, ..row(1) }));
    let second = store.begin(Delivery { sends: 9, ..row(1) }).await.unwrap();
    assert_eq!(second, Begun::Existing(first.row()));
    assert_eq!(store.look_up(row(1).id()).await.unwrap(), Some(second.row()));
    assert_eq!(store.look_up(row(2).id()).await.unwrap(), None);
}

async fn each_step_counts_one_revision(store: Store) {
    let mut held = store.begin(Delivery { revision: 77, ..row(1) }).await.unwrap().row();
    for revision in 1..5 {
        assert_eq!(held.revision, revision);
        let next = Delivery { sends: held.sends + 1, ..held.clone() };
        held = store.advance(next.clone()).await.unwrap();
        assert_eq!(held, Delivery { revision: revision + 1, ..next });
        assert_eq!(store.look_up(held.id()).await.unwrap().as_ref(), Some(&held));
    }
}

async fn a_step_from_an_old_revision_is_a_conflict(store: Store) {
    let first = store.begin(row(1)).await.unwrap().row();
    let second = store.advance(first.clone()).await.unwrap();
    for revision in [0, 1, 3, u64::MAX] {
        let stale = Delivery { revision, ..second.clone() };
        assert!(matches!(store.advance(stale).await, Err(LedgerError::Conflict(id)) if id == first.id()));
    }
    assert!(matches!(store.advance(row(2)).await, Err(LedgerError::Conflict(id)) if id == row(2).id()));
    assert_eq!(store.look_up(first.id()).await.unwrap(), Some(second));
}

async fn open_rows_come_by_their_due_time_and_held_ones_last(store: Store) {
    begin_all(
        &store,
        [
            staged(1, unknown(None), 0),
            staged(2, queued(30), 0),
            staged(3, unknown(Some(-10)), 0),
            staged(4, Stage::Sending(message()), 20),
            staged(5, queued(10), 0),
            staged(6, accepted(None), 0),
            staged(7, rejected(Some(0)), 0),
        ],
    )
    .await;
    assert_eq!(numbers(&store, Query::Open { limit: 100 }).await, [3, 5, 4, 2, 1]);
    assert_eq!(numbers(&store, Query::Open { limit: 3 }).await, [3, 5, 4]);
    assert_eq!(numbers(&store, Query::Open { limit: 0 }).await, [0; 0]);
    let row = store.look_up(row(2).id()).await.unwrap().unwrap();
    store.advance(Delivery { stage: queued(5), ..row }).await.unwrap();
    assert_eq!(numbers(&store, Query::Open { limit: 100 }).await, [3, 2, 5, 4, 1]);
}

async fn unfiled_rows_come_oldest_first(store: Store) {
    begin_all(
        &store,
        [
            staged(1, accepted(None), 30),
            staged(2, rejected(None), 10),
            staged(3, accepted(None), 20),
            staged(4, accepted(Some(1)), 5),
            staged(5, queued(1), 5),
            staged(6, with_duplicate(), 25),
        ],
    )
    .await;
    assert_eq!(numbers(&store, Query::Unfiled { limit: 100 }).await, [2, 3, 6, 1]);
    assert_eq!(numbers(&store, Query::Unfiled { limit: 2 }).await, [2, 3]);
    let row = store.look_up(row(2).id()).await.unwrap().unwrap();
    store.advance(Delivery { stage: rejected(Some(40)), updated: at(40), ..row }).await.unwrap();
    assert_eq!(numbers(&store, Query::Unfiled { limit: 100 }).await, [3, 6, 1]);
    assert_eq!(numbers(&store, Query::History { limit: 100 }).await, [2, 4]);
}

async fn history_comes_newest_first(store: Store) {
    begin_all(&store, [(1, 20), (2, -30), (3, 10)].map(|(n, time)| staged(n, accepted(Some(0)), time))).await;
    begin_all(&store, [staged(4, rejected(Some(0)), 15), staged(5, accepted(None), 40), staged(6, queued(0), 50)])
        .await;
    assert_eq!(numbers(&store, Query::History { limit: 100 }).await, [1, 4, 3, 2]);
    assert_eq!(numbers(&store, Query::History { limit: 2 }).await, [1, 4]);
}

async fn all_rows_come_by_id_a_page_at_a_time(store: Store) {
    let stages = [queued(1), accepted(None), rejected(Some(0)), unknown(None), accepted(Some(3))];
    let rows: Vec<_> = stages.into_iter().zip(1..).map(|(stage, n)| staged(n, stage, 0)).collect();
    let mut ids: Vec<_> = rows.iter().map(Delivery::id).collect();
    ids.sort();
    begin_all(&store, rows).await;
    let mut from = DeliveryId(uuid::Uuid::nil());
    let mut found = Vec::new();
    loop {
        let page = store.list(Query::ById { from, limit: 2 }).await.unwrap();
        let Some(last) = page.last().map(Delivery::id) else { break };
        found.extend(page.iter().map(Delivery::id));
        from = DeliveryId(uuid::Uuid::from_u128(last.0.as_u128() + 1));
    }
    assert_eq!(found, ids);
}

async fn rows_are_found_by_the_bytes_of_their_document(store: Store) {
    let other_patient = |n| Delivery { key: Key { patient: format!("urn:test|{n}"), ..row(1).key }, ..row(1) };
    begin_all(&store, [row(1), row(2), other_patient(7), other_patient(8)]).await;
    let patients = async || {
        let rows = store.list(Query::ByContent { sha256: row(1).key.sha256 }).await.unwrap();
        rows.into_iter().map(|row| row.key.patient).collect::<BTreeSet<_>>()
    };
    let all = ["urn:test|1001", "urn:test|7", "urn:test|8"].map(String::from);
    assert_eq!(patients().await, BTreeSet::from(all.clone()));
    let standing = store.look_up(other_patient(7).id()).await.unwrap().unwrap();
    store.advance(Delivery { stage: accepted(Some(1)), ..standing }).await.unwrap();
    assert_eq!(patients().await, BTreeSet::from(all));
    assert_eq!(store.forget(at(100)).await.unwrap(), 1);
    assert!(!patients().await.contains("urn:test|7"));
    assert_eq!(store.list(Query::ByContent { sha256: row(3).key.sha256 }).await.unwrap(), []);
}

async fn only_filed_and_old_rows_are_forgotten(store: Store) {
    begin_all(&store, [(1, 10), (2, 19), (3, 20), (4, 30)].map(|(n, time)| staged(n, accepted(Some(0)), time))).await;
    begin_all(&store, [staged(5, accepted(None), 1), staged(6, queued(1), 1), staged(7, rejected(Some(0)), 1)]).await;
    begin_all(&store, [staged(8, with_duplicate(), 1)]).await;
    assert_eq!(store.forget(at(20)).await.unwrap(), 3);
    assert_eq!(store.forget(at(20)).await.unwrap(), 0);
    assert_eq!(numbers(&store, Query::History { limit: 100 }).await, [4, 3]);
    assert_eq!(store.look_up(row(1).id()).await.unwrap(), None);
    assert!(store.look_up(row(5).id()).await.unwrap().is_some());
    assert!(store.look_up(row(6).id()).await.unwrap().is_some());
    assert!(store.look_up(row(8).id()).await.unwrap().is_some());
    assert!(matches!(store.begin(row(1)).await.unwrap(), Begun::New(row) if row.revision == 1));
}

async fn many_rows_are_forgotten_at_once(store: Store) {
    // More than one step of sled's, and once exactly a multiple of it.
    for count in [300, 256] {
        let tasks = (0..count).map(|n| store.begin(staged(n, accepted(Some(0)), n as i64)));
        futures_util::future::try_join_all(tasks).await.unwrap();
        assert_eq!(store.forget(at(1000)).await.unwrap(), count);
        assert_eq!(numbers(&store, Query::History { limit: 1 }).await, [0; 0]);
    }
}

async fn a_row_past_the_limit_changes_nothing(store: Store) {
    let standing = store.begin(row(1)).await.unwrap().row();
    let long = |row: Delivery| Delivery { key: row.key.clone(), stage: rejected_at_length(), ..row };
    assert!(matches!(store.advance(long(standing.clone())).await, Err(LedgerError::RowTooLong(4097..))));
    assert!(matches!(store.begin(long(row(2))).await, Err(LedgerError::RowTooLong(4097..))));
    assert_eq!(store.look_up(row(1).id()).await.unwrap(), Some(standing));
    assert_eq!(store.look_up(row(2).id()).await.unwrap(), None);
}

fn rejected_at_length() -> Stage {
    let reason = Reason { code: "x".into(), summary: "y".repeat(4000), remedy: "z".into(), maybe_sent: false };
    Stage::Rejected(Rejected { at: at(0), reason, upload: None, filing: Filing::default() })
}

async fn nothing_is_lost_when_many_write_at_once(store: Store) {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..64 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut held = store.begin(row(n)).await.unwrap().row();
            for sends in 1..=5 {
                held = store.advance(Delivery { sends, ..held }).await.unwrap();
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let rows = store.list(Query::Open { limit: 1000 }).await.unwrap();
    assert_eq!(rows.iter().map(Delivery::id).collect::<BTreeSet<_>>().len(), 64);
    assert!(rows.iter().all(|row| (row.revision, row.sends) == (6, 5)));
}

async fn of_two_steps_from_one_revision_exactly_one_wins(store: Store) {
    for n in 0..20 {
        let held = store.begin(row(n)).await.unwrap().row();
        let step = |sends| store.advance(Delivery { sends, ..held.clone() });
        let (a, b) = tokio::join!(step(1), step(2));
        let (won, lost) = if a.is_ok() { (a, b) } else { (b, a) };
        assert!(matches!(lost, Err(LedgerError::Conflict(_))));
        assert_eq!(store.look_up(held.id()).await.unwrap(), Some(won.unwrap()));
    }
}

async fn of_many_beginnings_exactly_one_is_new(store: Store) {
    let begun = futures_util::future::join_all((0..64).map(|sends| store.begin(Delivery { sends, ..row(1) }))).await;
    let (new, existing): (Vec<_>, Vec<_>) =
        begun.into_iter().map(Result::unwrap).partition(|begun| matches!(begun, Begun::New(_)));
    assert_eq!(new.len(), 1);
    let new = new[0].clone().row();
    assert!(existing.into_iter().all(|begun| begun.row() == new));
}

macro_rules! contract {
    ($($name:ident)*) => {
        mod on_sled {
            $(#[tokio::test]
            async fn $name() {
                let root = tempfile::tempdir().unwrap();
                let store = super::SledLedger::open(&root.path().join("ledger")).unwrap();
                super::$name(std::sync::Arc::new(store)).await;
            })*
        }
        mod on_memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(std::sync::Arc::new(super::MemoryLedger::default())).await;
            })*
        }
    };
}

contract! {
    the_second_begin_gives_back_the_first
    each_step_counts_one_revision
    a_step_from_an_old_revision_is_a_conflict
    open_rows_come_by_their_due_time_and_held_ones_last
    unfiled_rows_come_oldest_first
    history_comes_newest_first
    all_rows_come_by_id_a_page_at_a_time
    rows_are_found_by_the_bytes_of_their_document
    only_filed_and_old_rows_are_forgotten
    many_rows_are_forgotten_at_once
    a_row_past_the_limit_changes_nothing
    nothing_is_lost_when_many_write_at_once
    of_two_steps_from_one_revision_exactly_one_wins
    of_many_beginnings_exactly_one_is_new
}

/// One thing that can be asked of a store; `n` names the row.
#[derive(Clone, Debug)]
enum Ask {
    Begin(Delivery),
    /// From the revision that the row has, plus this (0 but for stale ones).
    Advance(Delivery, u64),
    LookUp(DeliveryId),
    List(Query),
    Forget(Timestamp),
    Reopen,
}

fn any_ask() -> impl Strategy<Value = Ask> {
    let time = || -4..12_i64;
    let stage = prop_oneof![
        time().prop_map(queued),
        proptest::option::of(time()).prop_map(unknown),
        Just(Stage::Sending(message())),
        proptest::option::of(time()).prop_map(accepted),
        proptest::option::of(time()).prop_map(rejected),
        Just(rejected_at_length()),
    ];
    let row = (0..6_u64, stage, time()).prop_map(|(n, stage, updated)| staged(n, stage, updated));
    let query = (0..8_usize, 0..5, 0..7_u64).prop_map(|(limit, kind, n)| match kind {
        0 => Query::Open { limit },
        1 => Query::Unfiled { limit },
        2 => Query::ById { from: self::row(n).id(), limit },
        3 => Query::ByContent { sha256: self::row(n).key.sha256 },
        _ => Query::History { limit },
    });
    prop_oneof![
        4 => row.clone().prop_map(Ask::Begin),
        8 => (row, prop_oneof![4 => Just(0), 1 => 1..3_u64]).prop_map(|(row, ahead)| Ask::Advance(row, ahead)),
        2 => (0..7_u64).prop_map(|n| Ask::LookUp(self::row(n).id())),
        4 => query.prop_map(Ask::List),
        1 => time().prop_map(|time| Ask::Forget(at(time))),
        1 => Just(Ask::Reopen),
    ]
}

/// The store's answer, as text: errors have no equality.
async fn answer(store: &dyn Ledger, ask: Ask) -> String {
    match ask {
        Ask::Begin(row) => format!("{:?}", store.begin(row).await),
        Ask::Advance(mut row, ahead) => {
            row.revision = store.look_up(row.id()).await.unwrap().map_or(0, |row| row.revision) + ahead;
            format!("{:?}", store.advance(row).await)
        }
        Ask::LookUp(id) => format!("{:?}", store.look_up(id).await),
        Ask::List(query) => format!("{:?}", store.list(query).await),
        Ask::Forget(before) => format!("{:?}", store.forget(before).await),
        Ask::Reopen => String::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sled_answers_as_the_model_does(asks in vec(any_ask(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("ledger");
        let (mut sled, model) = (SledLedger::open(&path).unwrap(), MemoryLedger::default());
        for ask in asks {
            if let Ask::Reopen = ask {
                drop(sled);
                sled = SledLedger::open(&path).unwrap();
            }
            let (of_sled, of_model) = runtime.block_on(async {
                (answer(&sled, ask.clone()).await, answer(&model, ask.clone()).await)
            });
            prop_assert_eq!(of_sled, of_model, "{:?}", ask);
        }
    }
}
