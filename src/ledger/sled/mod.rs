//! The ledger on disk: one thread that owns sled, and lets no answer out before its step is durable.

use std::{
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc as blocking},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

pub(super) mod folder;
mod high_water_mark;
#[cfg(test)]
mod tests;
mod trees;

pub use folder::move_aside;

use super::{Begun, Delivery, Ledger, LedgerError, Query, Reply};
use crate::{model::document::DeliveryId, platform::effect};
use folder::{Folder, io_error};
use high_water_mark::{HighWaterMark, Stamped};
use trees::{Changes, Encoded, Trees};

/// Requests that may wait; whoever comes then waits for a place, within the same deadline.
const QUEUE: usize = 256;

/// Requests that share one sync.
const BATCH: usize = 64;

/// How long a step may take. A disk that needs longer is not to be relied on.
const DEADLINE: Duration = Duration::from_secs(10);

/// A lock may outlive its owner for a moment: in a process that is just ending, or just being forked.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_AGAIN: Duration = Duration::from_millis(20);

/// The ledger in a folder of this machine.
///
/// Dropping it waits until the thread has closed the database.
pub struct SledLedger {
    /// Dropped first: that ends the thread.
    requests: mpsc::Sender<Request>,
    /// Set once, by the first error: from then on nothing is read or written.
    dead: Arc<OnceLock<String>>,
    deadline: Duration,
    store: Uuid,
    _closing: Closing,
}

/// Makes a file's content durable: [`File::sync_all`], or a test's stand-in for a bad disk.
pub(super) type SyncFile = Box<dyn FnMut(&File) -> io::Result<()> + Send>;

type Answer<T> = oneshot::Sender<Result<T, LedgerError>>;

enum Request {
    Begin(Box<Encoded>, Answer<Begun>),
    Advance(u64, Box<Encoded>, Answer<Delivery>),
    Forget(Timestamp, Answer<(u64, bool)>),
    LookUp(DeliveryId, Answer<Option<Delivery>>),
    List(Query, Answer<Vec<Delivery>>),
}

impl SledLedger {
    /// Opens the ledger in the folder `path`, or creates it. Blocks until it has been read through once.
    ///
    /// # Errors
    /// [`LedgerError::InUse`], [`LedgerError::Unsuitable`], [`LedgerError::Newer`], [`LedgerError::Io`]; and
    /// [`LedgerError::Lost`] when it has to be [moved aside](super::move_aside) and built again.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let began = Instant::now();
        loop {
            match Self::open_with(path, DEADLINE, Box::new(|db| effect::sync_step(db))) {
                Err(LedgerError::InUse) if began.elapsed() < LOCK_PATIENCE => std::thread::sleep(LOCK_AGAIN),
                result => return result,
            }
        }
    }

    pub(super) fn open_with(path: &Path, deadline: Duration, sync: SyncFile) -> Result<Self, LedgerError> {
        let path = std::path::absolute(path).map_err(io_error("find", path))?;
        let dead = Arc::new(OnceLock::new());
        let (requests, waiting) = mpsc::channel(QUEUE);
        let (opened, opening) = blocking::channel();
        let (closed, closing) = blocking::channel();
        let why = Arc::clone(&dead);
        let thread = move || {
            // Lives as long as the thread, panics included.
            let _closed: blocking::Sender<()> = closed;
            let owner = caught(|| Owner::open(&path, sync)).unwrap_or_else(|text| Err(lost_or_io(text)));
            match owner {
                Ok(owner) => {
                    let _ = opened.send(Ok(owner.store));
                    owner.run(waiting, &why);
                }
                Err(error) => drop(opened.send(Err(error))),
            }
        };
        std::thread::Builder::new()
            .name("ledger".into())
            .spawn(thread)
            .map_err(|error| LedgerError::Io(format!("cannot start its thread: {error}")))?;
        let store = opening.recv().unwrap_or_else(|_| Err(LedgerError::Io("its thread ended".into())))?;
        Ok(Self { requests, dead, deadline, store, _closing: Closing(Mutex::new(closing)) })
    }

    /// Asks the owner and waits for its answer, which an error or the deadline makes the last.
    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, LedgerError> {
        if let Some(why) = self.dead.get() {
            return Err(LedgerError::Io(why.clone()));
        }
        let (answer, reply) = oneshot::channel();
        let asked = async {
            if self.requests.send(request(answer)).await.is_ok()
                && let Ok(result) = reply.await
            {
                return result;
            }
            // The owner says why before it closes the channel.
            self.requests.closed().await;
            Err(LedgerError::Io(self.dead.get_or_init(|| "its thread ended".into()).clone()))
        };
        tokio::time::timeout(self.deadline, asked).await.unwrap_or_else(|_| {
            let why = || format!("a step took longer than {} s", self.deadline.as_secs_f32());
            Err(LedgerError::Io(self.dead.get_or_init(why).clone()))
        })
    }
}

impl Ledger for SledLedger {
    fn id(&self) -> Uuid {
        self.store
    }

    fn begin(&self, row: Delivery) -> Reply<'_, Begun> {
        Box::pin(async move {
            let new = Box::new(Encoded::new(row, 1)?);
            self.ask(|answer| Request::Begin(new, answer)).await
        })
    }

    fn advance(&self, row: Delivery) -> Reply<'_, Delivery> {
        Box::pin(async move {
            let held = row.revision;
            let new = Box::new(Encoded::new(row, held.saturating_add(1))?);
            self.ask(|answer| Request::Advance(held, new, answer)).await
        })
    }

    fn look_up(&self, id: DeliveryId) -> Reply<'_, Option<Delivery>> {
        Box::pin(self.ask(move |answer| Request::LookUp(id, answer)))
    }

    fn list(&self, query: Query) -> Reply<'_, Vec<Delivery>> {
        Box::pin(self.ask(move |answer| Request::List(query, answer)))
    }

    fn forget(&self, before: Timestamp) -> Reply<'_, u64> {
        Box::pin(async move {
            let mut forgotten = 0;
            loop {
                let (gone, more) = self.ask(|answer| Request::Forget(before, answer)).await?;
                forgotten += gone;
                if !more {
                    return Ok(forgotten);
                }
            }
        })
    }
}

/// Waits, when dropped, until the owner has closed the database; not for ever, since a dead disk may hold it.
struct Closing(Mutex<blocking::Receiver<()>>);

impl Drop for Closing {
    fn drop(&mut self) {
        let closed = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = closed.recv_timeout(DEADLINE);
    }
}

/// The thread's side: all that touches the disk.
struct Owner {
    // The trees are closed before the folder's lock goes.
    trees: Trees,
    store: Uuid,
    stamp: HighWaterMark,
    /// A handle of our own: sled's flush hands bytes to the kernel and does not wait for the disk.
    db: File,
    sync: SyncFile,
    _folder: Folder,
}

impl Owner {
    fn open(path: &Path, sync: SyncFile) -> Result<Self, LedgerError> {
        let stamped = Stamped::read(path)?;
        let folder = Folder::take(path)?;
        folder.read_through()?;
        let trees = Trees::open(path)?;
        folder.expect_no_blobs()?;
        let store = trees.store()?;
        stamped.check(store, trees.sequence())?;
        let store = match store {
            Some(store) => store,
            None => {
                let store = Uuid::new_v4();
                trees.name(store)?;
                store
            }
        };
        trees.flush()?;
        folder.sync()?;
        let stamp = HighWaterMark::open(&stamped, store, trees.sequence())?;
        folder.finish()?;
        let db = effect::open(&folder.db()).map_err(io_error("open", &folder.db()))?;
        Ok(Self { trees, store, stamp, db, sync, _folder: folder })
    }

    /// Serves until the last handle is gone or the first error comes.
    fn run(mut self, mut waiting: mpsc::Receiver<Request>, dead: &OnceLock<String>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(request) = waiting.try_recv()
            {
                batch.push(request);
            }
            if dead.get().is_some() {
                break;
            }
            let served = caught(|| self.serve(batch)).unwrap_or_else(|text| Err(LedgerError::Io(text)));
            if let Err(error) = served {
                let _ = dead.set(match error {
                    LedgerError::Io(text) | LedgerError::Lost(text) => text,
                    error => error.to_string(),
                });
                break;
            }
        }
        // Whoever still waits learns that this is the end, however long closing takes.
        drop(waiting);
        let closed = caught(|| match dead.get() {
            None => self.close(),
            Some(_) => {
                drop(self);
                Ok(())
            }
        });
        if let Err(text) = closed.and_then(|closed| closed.map_err(|error| error.to_string())) {
            tracing::error!("closing the ledger failed, after all its steps were durable: {text}");
        }
    }

    /// Decides all requests, makes their steps durable together, and only then answers. An error is the end.
    fn serve(&mut self, batch: Vec<Request>) -> Result<(), LedgerError> {
        let mut changes = Changes::default();
        let mut answers: Vec<Box<dyn FnOnce()>> = Vec::new();
        let mut reads = Vec::new();
        for request in batch {
            match request {
                Request::Begin(new, answer) => {
                    answers.push(ready(answer, changes.begin(&self.trees, *new))?);
                }
                Request::Advance(held, new, answer) => {
                    answers.push(ready(answer, changes.advance(&self.trees, held, *new))?);
                }
                Request::Forget(before, answer) => {
                    answers.push(ready(answer, changes.forget(&self.trees, before))?);
                }
                Request::LookUp(..) | Request::List(..) => reads.push(request),
            }
        }
        if self.trees.apply(&changes)? {
            self.make_durable()?;
            self.stamp.follow(self.trees.sequence())?;
        }
        answers.into_iter().for_each(|answer| answer());
        for read in reads {
            match read {
                Request::LookUp(id, answer) => ready(answer, self.trees.row(id))?(),
                Request::List(query, answer) => ready(answer, self.trees.list(query))?(),
                Request::Begin(..) | Request::Advance(..) | Request::Forget(..) => {}
            }
        }
        Ok(())
    }

    fn make_durable(&mut self) -> Result<(), LedgerError> {
        self.trees.flush()?;
        (self.sync)(&self.db).map_err(|error| LedgerError::Io(format!("cannot sync: {error}")))
    }

    fn close(mut self) -> Result<(), LedgerError> {
        self.make_durable()?;
        self.stamp.catch_up(self.trees.sequence())
    }
}

/// Keeps a result until its answer may be given. What is wrong with the store, and not with one request, goes up.
fn ready<T: 'static>(answer: Answer<T>, result: Result<T, LedgerError>) -> Result<Box<dyn FnOnce()>, LedgerError> {
    match result {
        Err(error @ (LedgerError::Io(_) | LedgerError::Lost(_))) => Err(error),
        // Whoever asked may have gone away meanwhile.
        result => Ok(Box::new(move || drop(answer.send(result)))),
    }
}

/// Sled panics where it meets damage: that is an error of the ledger, and not the end of the program.
fn caught<T>(step: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("sled panicked").to_owned()
    })
}

/// What a panic while opening means: damage, unless it tells of the operating system's error, which may pass.
fn lost_or_io(panic: String) -> LedgerError {
    if panic.contains("Os {") { LedgerError::Io(panic) } else { LedgerError::Lost(panic) }
}
