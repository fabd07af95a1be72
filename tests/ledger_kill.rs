//! The ledger and other processes: one that is killed while it writes, and one that has it already.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test, though without the harness that tells clippy so")]

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use chartdrop::{
    ledger::{Delivery, Ledger, LedgerError, Query, Queued, SledLedger, Stage},
    model::document::{Destination, Key, Sha256},
    model::path::{InboxPath, RelPath},
};

/// Kills; each hits another moment of writing.
const ROUNDS: usize = 12;

/// Tasks that write at once in the killed process.
const WRITERS: u64 = 4;

/// This file is its own child: with a role and a folder as arguments it is the process that is killed.
fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, folder] = &arguments[..]
        && role == "child:write"
    {
        return write_for_ever(Path::new(folder));
    }
    a_killed_writer_loses_no_row_that_it_was_told_of();
    another_process_is_told_that_the_ledger_is_in_use();
    println!("ledger_kill: 2 tests passed");
}

fn a_killed_writer_loses_no_row_that_it_was_told_of() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("ledger");
    let mut acknowledged = HashMap::new();
    for round in 0..ROUNDS {
        let mut child = Writer::start(&folder);
        let enough = 40 + 37 * round;
        let mut heard = 0;
        for line in child.lines().take(enough) {
            heard += 1;
            note(&mut acknowledged, &line);
        }
        assert_eq!(heard, enough, "the child ended by itself");
        child.process.kill().unwrap();
        // What it was told of before the signal came, and had no time to be read yet.
        child.lines().for_each(|line| note(&mut acknowledged, &line));
        child.process.wait().unwrap();

        let ledger = SledLedger::open(&folder).unwrap();
        let rows = block_on(ledger.list(Query::Open { limit: usize::MAX })).unwrap();
        let revisions: HashMap<String, u64> = rows.iter().map(|row| (row.id().to_string(), row.revision)).collect();
        for (id, revision) in &acknowledged {
            let stored = revisions.get(id).copied().unwrap_or(0);
            assert!(stored >= *revision, "round {round}: {id} was at {revision}, and is at {stored}");
        }
    }
    assert!(acknowledged.len() > ROUNDS);
}

fn another_process_is_told_that_the_ledger_is_in_use() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("ledger");
    let mut child = Writer::start(&folder);
    child.lines().next().expect("the child has the ledger");
    assert!(matches!(SledLedger::open(&folder), Err(LedgerError::InUse)));
    child.process.kill().unwrap();
    child.process.wait().unwrap();
    SledLedger::open(&folder).unwrap();
}

struct Writer {
    process: Child,
    output: BufReader<Box<dyn Read>>,
}

impl Writer {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut process = command.arg("child:write").arg(folder).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(Box::new(process.stdout.take().unwrap()) as Box<dyn Read>);
        Self { process, output }
    }

    /// Whole lines until the pipe ends.
    fn lines(&mut self) -> impl Iterator<Item = String> {
        let output = &mut self.output;
        std::iter::from_fn(move || {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            line.ends_with('\n').then(|| line.trim_end().to_owned())
        })
    }
}

/// `<id> <revision>`
fn note(acknowledged: &mut HashMap<String, u64>, line: &str) {
    let (id, revision) = line.split_once(' ').unwrap();
    let newest = acknowledged.entry(id.to_owned()).or_default();
    *newest = revision.parse::<u64>().unwrap().max(*newest);
}

/// Begins rows and takes them through three steps, and says so of each step once the ledger has answered.
fn write_for_ever(folder: &Path) {
    let ledger: Arc<dyn Ledger> = Arc::new(SledLedger::open(folder).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let standing = ledger.list(Query::Open { limit: usize::MAX }).await.unwrap().len() as u64;
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let ledger = Arc::clone(&ledger);
            writers.spawn(async move {
                for n in (standing..).map(|n| n * WRITERS + writer) {
                    let mut held = ledger.begin(row(n)).await.unwrap().row();
                    for _ in 0..3 {
                        say(&held);
                        held = ledger.advance(held).await.unwrap();
                    }
                    say(&held);
                }
            });
        }
        while let Some(ended) = writers.join_next().await {
            ended.unwrap();
        }
    });
}

fn say(row: &Delivery) {
    let line = format!("{} {}\n", row.id(), row.revision);
    std::io::stdout().write_all(line.as_bytes()).expect("somebody who listens");
}

fn row(n: u64) -> Delivery {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&n.to_be_bytes());
    let path = RelPath::new(Path::new("1001/scan.pdf")).unwrap();
    let key = Key {
        destination: Destination("Staging/test-clinic".into()),
        patient: "urn:test|1001".into(),
        sha256: Sha256(digest),
    };
    let place = InboxPath { inbox: "front-desk".into(), path };
    Delivery::new(key, place, None, jiff::Timestamp::UNIX_EPOCH, Stage::Queued(Queued::default()))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}
