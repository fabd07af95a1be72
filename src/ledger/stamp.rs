//! A small file beside the ledger that remembers which ledger it was and how far it had come, so that a ledger that
//! opens empty, or behind, is told from a new one.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    LedgerError,
    folder::{io_error, stamp_path, sync_parent},
};
use crate::effect;

const VERSION: u32 = 1;

/// Steps that may pass before the stamp is written again: what a ledger may lose at its end unnoticed.
const STEPS: u64 = 1024;

/// What the stamp says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    version: u32,
    /// Which ledger.
    store: Uuid,
    /// A durable step that it has certainly made; 0 before its first row.
    sequence: u64,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The stamp of an open ledger.
#[derive(Debug)]
pub(super) struct Stamp {
    path: PathBuf,
    content: Content,
}

impl Stamp {
    /// Compares the stamp with what the ledger says of itself, before anything is written into either.
    ///
    /// # Errors
    /// [`LedgerError::Lost`] when the ledger is not the one that the stamp has seen, or lies behind it.
    pub(super) fn check(ledger: &Path, store: Option<Uuid>, sequence: u64) -> Result<(), LedgerError> {
        let path = stamp_path(ledger);
        let bytes = match effect::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            bytes => bytes.map_err(io_error("read", &path))?,
        };
        let version = serde_json::from_slice::<Version>(&bytes).map(|stamp| stamp.version);
        if let Ok(version) = version
            && version > VERSION
        {
            return Err(LedgerError::Newer(version));
        }
        let lost = |text: String| Err(LedgerError::Lost(text));
        match serde_json::from_slice::<Content>(&bytes) {
            Ok(stamp) if stamp.sequence == 0 => Ok(()),
            Ok(stamp) if Some(stamp.store) != store => match store {
                None => lost(format!("it opened empty, and {} says that it held rows", path.display())),
                Some(_) => lost(format!("{} belongs to another ledger", path.display())),
            },
            Ok(stamp) if stamp.sequence > sequence => lost(format!(
                "it ends at step {sequence}, and {} says that it was at step {}",
                path.display(),
                stamp.sequence
            )),
            Err(_) if sequence == 0 => lost(format!("it opened empty beside {}, which cannot be read", path.display())),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Writes the stamp of a ledger that passed [`Stamp::check`].
    pub(super) fn write(ledger: &Path, store: Uuid, sequence: u64) -> Result<Self, LedgerError> {
        let stamp = Self { path: stamp_path(ledger), content: Content { version: VERSION, store, sequence } };
        stamp.save()?;
        Ok(stamp)
    }

    /// Takes note of a step that is durable: at once for the first, then more and more rarely.
    pub(super) fn follow(&mut self, sequence: u64) -> Result<(), LedgerError> {
        let stamped = self.content.sequence;
        if sequence >= stamped.saturating_mul(2).min(stamped.saturating_add(STEPS)) {
            self.catch_up(sequence)
        } else {
            Ok(())
        }
    }

    /// Writes the stamp unless it says so already.
    pub(super) fn catch_up(&mut self, sequence: u64) -> Result<(), LedgerError> {
        if sequence == self.content.sequence {
            return Ok(());
        }
        self.content.sequence = sequence;
        self.save()
    }

    fn save(&self) -> Result<(), LedgerError> {
        let new = self.path.with_added_extension("new");
        let save = || {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = effect::open_with(&options, &new)?;
            effect::write_all(&mut file, &serde_json::to_vec(&self.content)?)?;
            effect::sync(&file)?;
            effect::rename_over(&new, &self.path)?;
            sync_parent(&self.path)
        };
        save().map_err(io_error("write", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ledger: &Path, store: Option<Uuid>, sequence: u64) -> &'static str {
        match Stamp::check(ledger, store, sequence) {
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

        Stamp::write(&ledger, one, 0).unwrap();
        assert_eq!(check(&ledger, None, 0), "ok", "nothing was in it yet");

        Stamp::write(&ledger, one, 5).unwrap();
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
    fn the_stamp_is_written_ever_more_rarely_but_at_once_for_the_first_row() {
        let root = tempfile::tempdir().unwrap();
        let ledger = root.path().join("ledger");
        let mut stamp = Stamp::write(&ledger, Uuid::from_u128(1), 0).unwrap();
        let mut written = Vec::new();
        for sequence in 1..=4000 {
            stamp.follow(sequence).unwrap();
            let bytes = std::fs::read(stamp_path(&ledger)).unwrap();
            let content: Content = serde_json::from_slice(&bytes).unwrap();
            if content.sequence == sequence {
                written.push(sequence);
            }
        }
        assert_eq!(written, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3072]);
    }
}
