//! What only the ledger on disk has to prove: that answers wait for the disk, and that nothing vanishes unsaid.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use super::folder::stamp_path;
use super::{super::contract::row, *};
use crate::ledger::{Queued, Reason, Rejected, Stage};

struct Disk {
    _root: tempfile::TempDir,
    ledger: PathBuf,
}

fn disk() -> Disk {
    let root = tempfile::tempdir().unwrap();
    let ledger = root.path().join("ledger");
    Disk { _root: root, ledger }
}

impl Disk {
    fn open(&self) -> Result<SledLedger, LedgerError> {
        SledLedger::open(&self.ledger)
    }

    /// A closed ledger with `count` rows.
    async fn filled(count: u64) -> Self {
        let disk = disk();
        let ledger = disk.open().unwrap();
        for n in 0..count {
            ledger.begin(row(n)).await.unwrap();
        }
        disk
    }

    async fn len(&self) -> Result<usize, LedgerError> {
        Ok(self.open()?.list(Query::Open { limit: 10_000 }).await?.len())
    }
}

fn error<T>(result: Result<T, LedgerError>) -> LedgerError {
    result.err().expect("an error")
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let disk = disk();
    let mut rows = Vec::new();
    for round in 0..5 {
        let ledger = disk.open().unwrap();
        for held in &mut rows {
            *held = ledger.advance(Delivery::clone(held)).await.unwrap();
        }
        rows.push(ledger.begin(row(round)).await.unwrap().row());
    }
    let ledger = disk.open().unwrap();
    for row in rows {
        assert_eq!(ledger.look_up(row.id()).await.unwrap(), Some(row));
    }
}

#[tokio::test]
async fn a_second_handle_is_told_that_the_ledger_is_in_use() {
    let disk = disk();
    let first = disk.open().unwrap();
    assert!(matches!(error(disk.open()), LedgerError::InUse));
    first.begin(row(1)).await.unwrap();
    drop(first);
    assert_eq!(disk.len().await.unwrap(), 1);
}

#[tokio::test]
async fn a_snapshot_that_was_never_finished_does_not_keep_it_from_opening() {
    let disk = Disk::filled(3).await;
    let leftover = disk.ledger.join("snap.FFFFFFFFFFFFFFFF.generating");
    fs::write(&leftover, "cut").unwrap();
    assert_eq!(disk.len().await.unwrap(), 3);
    assert!(!leftover.exists());
}

/// A ledger whose disk does as the test says: each sync reports that it began, and ends when it is told how.
struct SlowDisk {
    ledger: SledLedger,
    began: blocking::Receiver<()>,
    end: blocking::Sender<io::Result<()>>,
}

fn slow_disk(disk: &Disk, deadline: Duration) -> SlowDisk {
    let (begin, began) = blocking::channel();
    let (end, ending) = blocking::channel();
    let sync = move |file: &File| {
        let _ = begin.send(());
        ending.recv().unwrap_or(Ok(()))?;
        file.sync_all()
    };
    let ledger = SledLedger::open_with(&disk.ledger, deadline, Box::new(sync)).unwrap();
    SlowDisk { ledger, began, end }
}

#[tokio::test]
async fn no_answer_comes_before_the_sync_and_all_that_waited_share_the_next() {
    let disk = disk();
    let SlowDisk { ledger, began, end } = slow_disk(&disk, DEADLINE);
    let ledger = Arc::new(ledger);
    let begin = |n| {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move { ledger.begin(row(n)).await })
    };
    let first = begin(0);
    let began = tokio::task::spawn_blocking(move || began.recv().map(|()| began)).await.unwrap().unwrap();
    let others: Vec<_> = (1..=10).map(begin).collect();
    while ledger.requests.capacity() > QUEUE - 10 {
        tokio::task::yield_now().await;
    }
    assert!(!first.is_finished(), "the sync has begun and not ended");

    end.send(Ok(())).unwrap();
    first.await.unwrap().unwrap();
    tokio::task::spawn_blocking(move || began.recv()).await.unwrap().unwrap();
    assert!(others.iter().all(|other| !other.is_finished()));
    // Whatever would sync once more would now wait for ever.
    end.send(Ok(())).unwrap();
    for other in others {
        other.await.unwrap().unwrap();
    }
    drop(end);
}

#[tokio::test]
async fn reading_costs_no_sync() {
    let disk = disk();
    let SlowDisk { ledger, began, end } = slow_disk(&disk, Duration::from_secs(5));
    assert_eq!(ledger.look_up(row(1).id()).await.unwrap(), None);
    assert!(ledger.list(Query::Open { limit: 9 }).await.unwrap().is_empty());
    assert!(began.try_recv().is_err());
    drop(end);
}

#[tokio::test]
async fn after_a_failed_sync_the_handle_is_dead_for_good() {
    let disk = disk();
    let SlowDisk { ledger, end, .. } = slow_disk(&disk, DEADLINE);
    end.send(Ok(())).unwrap();
    ledger.begin(row(1)).await.unwrap();
    end.send(Err(io::Error::other("bad sector"))).unwrap();
    let failed = error(ledger.begin(row(2)).await).to_string();
    assert!(failed.contains("bad sector"), "{failed}");
    drop(end);
    for _ in 0..2 {
        assert_eq!(error(ledger.look_up(row(1).id()).await).to_string(), failed);
        assert_eq!(error(ledger.begin(row(3)).await).to_string(), failed);
    }
    drop(ledger);
    let ledger = disk.open().unwrap();
    assert!(ledger.look_up(row(1).id()).await.unwrap().is_some());
    assert_eq!(ledger.look_up(row(3).id()).await.unwrap(), None);
}

#[tokio::test]
async fn a_panic_below_is_an_error_and_the_end_of_the_handle() {
    let disk = disk();
    let sync = |_: &File| panic!("torn page");
    let ledger = SledLedger::open_with(&disk.ledger, DEADLINE, Box::new(sync)).unwrap();
    assert!(matches!(error(ledger.begin(row(1)).await), LedgerError::Io(text) if text.contains("torn page")));
    assert!(matches!(error(ledger.look_up(row(1).id()).await), LedgerError::Io(_)));
}

#[tokio::test]
async fn a_disk_that_takes_too_long_is_the_end_of_the_handle() {
    let disk = disk();
    let SlowDisk { ledger, end, .. } = slow_disk(&disk, Duration::from_millis(50));
    assert!(matches!(error(ledger.begin(row(1)).await), LedgerError::Io(text) if text.contains("longer than")));
    end.send(Ok(())).unwrap();
    assert!(matches!(error(ledger.look_up(row(1).id()).await), LedgerError::Io(_)), "also once the disk is back");
    drop(end);
    drop(ledger);
    assert_eq!(disk.len().await.unwrap(), 1);
}

#[tokio::test]
async fn a_ledger_that_opens_empty_against_its_stamp_is_lost() {
    for count in [1, 20] {
        let disk = Disk::filled(count).await;
        fs::remove_dir_all(&disk.ledger).unwrap();
        assert!(matches!(error(disk.open()), LedgerError::Lost(_)));
        assert!(matches!(error(disk.open()), LedgerError::Lost(_)), "and stays so");
        let aside = crate::ledger::move_aside(&disk.ledger, Timestamp::UNIX_EPOCH).unwrap();
        assert!(aside.is_dir() && stamp_path(&aside).is_file());
        assert_eq!(disk.len().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn the_first_row_is_on_the_stamp_before_anybody_hears_of_it() {
    let disk = disk();
    let ledger = disk.open().unwrap();
    let before = fs::read(stamp_path(&disk.ledger)).unwrap();
    ledger.begin(row(1)).await.unwrap();
    assert_ne!(fs::read(stamp_path(&disk.ledger)).unwrap(), before);
}

#[tokio::test]
async fn an_older_copy_put_back_is_lost() {
    let disk = Disk::filled(3).await;
    let copy = disk.ledger.with_extension("copy");
    copy_folder(&disk.ledger, &copy);
    disk.open().unwrap().begin(row(100)).await.unwrap();
    fs::remove_dir_all(&disk.ledger).unwrap();
    fs::rename(&copy, &disk.ledger).unwrap();
    assert!(matches!(error(disk.open()), LedgerError::Lost(_)));
}

#[tokio::test]
async fn a_removed_stamp_is_written_anew() {
    let disk = Disk::filled(3).await;
    fs::remove_file(stamp_path(&disk.ledger)).unwrap();
    assert_eq!(disk.len().await.unwrap(), 3);
    fs::remove_dir_all(&disk.ledger).unwrap();
    assert!(matches!(error(disk.open()), LedgerError::Lost(_)));
}

#[tokio::test]
async fn a_power_cut_while_the_ledger_is_made_is_no_loss() {
    let disk = Disk::filled(0).await;
    let mut made: Vec<_> = fs::read_dir(&disk.ledger).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    made.sort();
    assert_eq!(made, ["blobs", "conf", "db"], "nothing calls it unfinished any more");
    for torn in ["conf", "db"] {
        fs::write(disk.ledger.join("unfinished"), "").unwrap();
        fs::write(disk.ledger.join(torn), [0; 60]).unwrap();
        let ledger = disk.open().unwrap();
        ledger.begin(row(1)).await.unwrap();
        drop(ledger);
        assert_eq!(disk.len().await.unwrap(), 1);
        // From here on such damage is one.
        fs::write(disk.ledger.join("conf"), [0; 60]).unwrap();
        assert!(matches!(error(disk.open()), LedgerError::Lost(_)));
        fs::remove_file(stamp_path(&disk.ledger)).unwrap();
    }
}

#[tokio::test]
async fn damage_anywhere_is_a_loss_and_neither_a_panic_nor_silence() {
    const BLOCK: usize = 4096;
    let disk = Disk::filled(200).await;
    let whole = disk.ledger.with_extension("whole");
    copy_folder(&disk.ledger, &whole);
    let (mut lost, mut harmless) = (0, 0);
    for entry in fs::read_dir(&whole).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        let sound = fs::read(entry.path()).unwrap();
        for (number, block) in sound.chunks(BLOCK).enumerate() {
            if block.iter().all(|byte| *byte == block[0]) {
                continue; // never written
            }
            let (start, end) = (number * BLOCK, number * BLOCK + block.len());
            let mut zeroed = sound.clone();
            zeroed[start..end].fill(0);
            let mut flipped = sound.clone();
            flipped[start + block.len() / 2] ^= 0x10;
            for damaged in [zeroed, flipped, sound[..start].to_vec()] {
                fs::remove_dir_all(&disk.ledger).unwrap();
                copy_folder(&whole, &disk.ledger);
                fs::write(disk.ledger.join(entry.file_name()), damaged).unwrap();
                match disk.len().await {
                    Ok(200) => harmless += 1,
                    Err(LedgerError::Lost(_)) => lost += 1,
                    other => panic!("block {number} of {}: {other:?}", entry.path().display()),
                }
            }
        }
    }
    assert!(lost > harmless, "{lost} lost, {harmless} harmless");
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn rows_of_the_greatest_length_never_leave_the_one_file_that_is_synced() {
    let disk = disk();
    let ledger = disk.open().unwrap();
    let steps = AtomicU64::new(0);
    let long = |n: u64, revision| {
        let reason =
            |length| Reason { code: "x".into(), summary: "y".repeat(length), remedy: "z".into(), maybe_sent: false };
        let stage = |length| {
            Stage::Rejected(Rejected {
                at: Timestamp::UNIX_EPOCH,
                reason: reason(length),
                upload: None,
                filing: Default::default(),
            })
        };
        let row = Delivery { revision, ..row(n) };
        let spare = crate::ledger::ROW_LIMIT - Delivery { stage: stage(0), ..row.clone() }.encode().unwrap().len();
        Delivery { stage: stage(spare), ..row }
    };
    let many = |n: u64| {
        let (ledger, steps, long) = (&ledger, &steps, &long);
        async move {
            let mut held = ledger.begin(long(n, 1)).await.unwrap().row();
            assert_eq!(held.encode().unwrap().len(), crate::ledger::ROW_LIMIT);
            for _ in 0..4 {
                held = ledger.advance(held).await.unwrap();
                steps.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    futures_util::future::join_all((0..400).map(many)).await;
    assert_eq!(steps.into_inner(), 1600);
    assert_eq!(fs::read_dir(disk.ledger.join("blobs")).unwrap().count(), 0);
    drop(ledger);
    disk.open().unwrap();

    fs::write(disk.ledger.join("blobs/1"), "long").unwrap();
    assert!(matches!(error(disk.open()), LedgerError::Unsuitable(_)));
}

#[tokio::test]
async fn a_row_that_is_not_what_it_should_be_is_never_believed() {
    type Damage = fn(&sled::Tree);
    fn id(n: u64) -> [u8; 16] {
        row(n).id().0.into_bytes()
    }
    let damages: [(&str, Damage); 3] = [
        ("another's row", |rows| drop(rows.insert(id(0), rows.get(id(1)).unwrap().unwrap()).unwrap())),
        ("no row", |rows| drop(rows.insert(id(0), b"{}").unwrap())),
        ("a row that has gone on, and its place has not", |rows| {
            let later =
                Delivery { stage: Stage::Queued(Queued { due: Timestamp::MAX, ..Queued::default() }), ..row(0) };
            drop(rows.insert(id(0), later.encode().unwrap()).unwrap());
        }),
    ];
    for (summary, damage) in damages {
        let disk = Disk::filled(3).await;
        let change = |change: Damage| {
            let began = Instant::now();
            // Whoever had it last may not have let go of its lock yet.
            let db = loop {
                match sled::open(&disk.ledger) {
                    Err(_) if began.elapsed() < LOCK_PATIENCE => std::thread::sleep(LOCK_AGAIN),
                    opened => break opened.unwrap(),
                }
            };
            change(&db.open_tree("rows").unwrap());
            db.flush().unwrap();
        };
        change(damage);
        assert!(matches!(error(disk.open()), LedgerError::Lost(_)), "{summary}");
        // Whatever else is wrong: a ledger that a newer version has written to is that one's to mend.
        change(|rows| drop(rows.insert(id(2), br#"{"v":999,"row":{"anything":1}}"#).unwrap()));
        assert!(matches!(error(disk.open()), LedgerError::Newer(999)), "{summary}");
    }
}
