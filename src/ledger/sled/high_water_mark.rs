//! A small file beside the ledger that remembers which ledger it was and how far it had come, so that a ledger that
//! opens empty, or behind, is told from a new one.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::folder::{io_error, stamp_path, sync_parent};
use crate::ledger::LedgerError;
use crate::platform::effect;

const VERSION: u32 = 1;

/// Steps that may pass before the stamp is synced again. It is written at every step; only what the kernel has not yet
/// carried to the disk when the power goes can be missing.
const STEPS: u64 = 1024;

/// What the stamp says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    version: u32,
    /// Which ledger.
    store: Uuid,
    /// The last durable step that it has certainly made; 0 before its first row.
    sequence: u64,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// What lies beside a ledger before it is opened.
#[derive(Debug)]
pub(super) struct Stamped {
    path: PathBuf,
    /// `None` without a stamp; an error for one that cannot be understood.
    content: Option<Result<Content, serde_json::Error>>,
}

impl Stamped {
    /// Reads the stamp, before anything is done to the ledger.
    ///
    /// # Errors
    /// [`LedgerError::Newer`] for the stamp of a later chartdrop.
    pub(super) fn read(ledger: &Path) -> Result<Self, LedgerError> {
        let path = stamp_path(ledger);
        let bytes = match effect::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self { path, content: None }),
            bytes => bytes.map_err(io_error("read", &path))?,
        };
        match serde_json::from_slice::<Version>(&bytes) {
            Ok(Version { version }) if version > VERSION => Err(LedgerError::Newer(version)),
            _ => Ok(Self { path, content: Some(serde_json::from_slice(&bytes)) }),
        }
    }

    /// Compares the stamp with what the ledger says of itself, before anything is written into either.
    ///
    /// # Errors
    /// [`LedgerError::Lost`] when the ledger is not the one that the stamp has seen, or lies behind it.
    pub(super) fn check(&self, store: Option<Uuid>, sequence: u64) -> Result<(), LedgerError> {
        let path = self.path.display();
        let lost = |text: String| Err(LedgerError::Lost(text));
        match &self.content {
            Some(Ok(stamp)) if stamp.sequence == 0 => Ok(()),
            Some(Ok(stamp)) if Some(stamp.store) != store => match store {
                None => lost(format!("it opened empty, and {path} says that it held rows")),
                Some(_) => lost(format!("{path} belongs to another ledger")),
            },
            Some(Ok(stamp)) if stamp.sequence > sequence => {
                lost(format!("it ends at step {sequence}, and {path} says that it was at step {}", stamp.sequence))
            }
            Some(Err(_)) if sequence == 0 => lost(format!("it opened empty beside {path}, which cannot be read")),
            Some(_) | None => Ok(()),
        }
    }
}

/// The stamp of an open ledger.
#[derive(Debug)]
pub(super) struct HighWaterMark {
    path: PathBuf,
    file: File,
    content: Content,
    /// The step that is on the disk for certain.
    synced: u64,
}

impl HighWaterMark {
    /// The stamp of a ledger that passed [`Stamped::check`].
    pub(super) fn open(stamped: &Stamped, store: Uuid, sequence: u64) -> Result<Self, LedgerError> {
        let path = stamped.path.clone();
        let content = Content { version: VERSION, store, sequence };
        let go_on = || effect::open_with(OpenOptions::new().write(true), &path);
        let make = || {
            let new = path.with_added_extension("new");
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = effect::open_with(&options, &new)?;
            effect::write_all(&mut file, &serde_json::to_vec(&content)?)?;
            effect::sync(&file)?;
            effect::rename_over(&new, &path)?;
            sync_parent(&path)?;
            Ok(file)
        };
        let is_ours = matches!(&stamped.content, Some(Ok(stamp)) if stamp.store == store);
        // The same file again: it stays the service's own when root has a look at the ledger.
        let file = if is_ours { go_on() } else { make() }.map_err(io_error("write", &path))?;
        let mut stamp = Self { path, file, content, synced: sequence };
        if is_ours {
            stamp.put(sequence)?;
            stamp.sync()?;
        }
        Ok(stamp)
    }

    /// Takes note of a step that is durable. The kernel has it at once, which outlives this process; the disk has it at
    /// once for the first step, then more and more rarely, for a sync costs as much as the step itself.
    pub(super) fn follow(&mut self, sequence: u64) -> Result<(), LedgerError> {
        self.put(sequence)?;
        if sequence >= self.synced.saturating_mul(2).min(self.synced.saturating_add(STEPS)) {
            self.sync()?;
        }
        Ok(())
    }

    /// Makes the last step durable here as well.
    pub(super) fn catch_up(&mut self, sequence: u64) -> Result<(), LedgerError> {
        if sequence == self.synced {
            return Ok(());
        }
        self.put(sequence)?;
        self.sync()
    }

    /// In place: numbers that grow never make the text shorter, and it is far smaller than what a disk writes as one.
    fn put(&mut self, sequence: u64) -> Result<(), LedgerError> {
        self.content.sequence = sequence;
        let put = || effect::write_all_at(&self.file, &serde_json::to_vec(&self.content)?, 0);
        put().map_err(io_error("write", &self.path))
    }

    fn sync(&mut self) -> Result<(), LedgerError> {
        effect::sync(&self.file).map_err(io_error("sync", &self.path))?;
        self.synced = self.content.sequence;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(ledger: &Path, store: Uuid, sequence: u64) -> HighWaterMark {
        HighWaterMark::open(&Stamped::read(ledger).unwrap(), store, sequence).unwrap()
    }

    fn check(ledger: &Path, store: Option<Uuid>, sequence: u64) -> &'static str {
        match Stamped::read(ledger).and_then(|stamped| stamped.check(store, sequence)) {
            Ok(()) => "ok",
            Err(LedgerError::Lost(_)) => "lost",
            Err(LedgerError::Newer(_)) => "newer",
            Err(_) => "other",
        }
    }

    #[test]
    fn a_ledger_is_judged_by_its_stamp() {
        let root = tempfile::tempdir().unwrap();
        let ledger = root.path().join("ledger");
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(check(&ledger, None, 0), "ok", "a new ledger");
        assert_eq!(check(&ledger, Some(one), 7), "ok", "a stamp that was removed");

        open(&ledger, one, 0);
        assert_eq!(check(&ledger, None, 0), "ok", "nothing was in it yet");

        open(&ledger, one, 5);
        assert_eq!(check(&ledger, Some(one), 5), "ok");
        assert_eq!(check(&ledger, Some(one), 9), "ok");
        assert_eq!(check(&ledger, Some(one), 4), "lost");
        assert_eq!(check(&ledger, Some(two), 9), "lost");
        assert_eq!(check(&ledger, None, 0), "lost");

        std::fs::write(stamp_path(&ledger), "not a stamp").unwrap();
        assert_eq!(check(&ledger, Some(one), 9), "ok");
        assert_eq!(check(&ledger, None, 0), "lost");

        std::fs::write(stamp_path(&ledger), r#"{"version":2}"#).unwrap();
        assert_eq!(check(&ledger, Some(one), 9), "newer");
    }

    #[test]
    fn a_stamp_stays_the_same_file_for_as_long_as_it_is_the_same_ledger_s() {
        use std::os::unix::fs::MetadataExt;
        let root = tempfile::tempdir().unwrap();
        let ledger = root.path().join("ledger");
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let file = |store, sequence| {
            drop(open(&ledger, store, sequence));
            std::fs::metadata(stamp_path(&ledger)).unwrap().ino()
        };
        let first = file(one, 0);
        assert_eq!((file(one, 9), file(one, 12)), (first, first));
        assert_eq!((check(&ledger, Some(one), 11), check(&ledger, Some(one), 12)), ("lost", "ok"));
        assert_ne!(file(two, 12), first);
    }

    #[test]
    fn every_step_is_on_the_stamp_and_the_first_one_is_synced_at_once() {
        let root = tempfile::tempdir().unwrap();
        let ledger = root.path().join("ledger");
        let mut stamp = open(&ledger, Uuid::from_u128(1), 0);
        let mut synced = Vec::new();
        for sequence in 1..=4000 {
            stamp.follow(sequence).unwrap();
            let content: Content = serde_json::from_slice(&std::fs::read(stamp_path(&ledger)).unwrap()).unwrap();
            assert_eq!(content.sequence, sequence);
            if stamp.synced == sequence {
                synced.push(sequence);
            }
        }
        assert_eq!(synced, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3072]);
    }
}
