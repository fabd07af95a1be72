//! One chartdrop an inbox: two of them, each with a ledger of its own, would both send what is dropped.
//!
//! On a disk of this machine the folder is locked. Besides, an extended attribute of the folder names the ledger that
//! records what is sent from it: who finds another ledger's name there takes the inbox over, and what is in it at that
//! moment may have been sent already. Filesystems without such attributes do without.

use std::{fs::File, io, path::Path};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::scan::scan;
use crate::{
    model::file_state::FileState,
    platform::{effect, filesystem},
};

/// The attribute that names the ledger.
const ATTRIBUTE: &str = "user.chartdrop.ledger";

/// Our hold on an inbox; the lock goes with the process.
#[derive(Debug)]
pub struct Lock {
    ledger: Uuid,
    folder: Option<(u64, u64, File)>,
    /// What the attribute said when it was last ours.
    owner: Option<Owner>,
}

/// Which ledger records what is sent from an inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    ledger: Uuid,
    /// When it took the inbox over from another ledger: what was in it then may have been sent.
    taken_over: Option<Timestamp>,
}

impl Lock {
    /// Nothing held yet. `ledger`: the id of ours.
    pub fn new(ledger: Uuid) -> Self {
        Self { ledger, folder: None, owner: None }
    }

    /// Makes sure that the folder is ours, before each look into it. Returns when it was taken over from another ledger, if
    /// it ever was. `ErrorKind::ResourceBusy`: another chartdrop has it.
    pub fn hold(&mut self, root: &Path) -> io::Result<Option<Timestamp>> {
        let had_lock = self.folder.is_some();
        let is_locked = self.lock(root)?;
        if is_locked
            && had_lock
            && let Some(owner) = self.owner
        {
            // Nobody else can have written it meanwhile.
            return Ok(owner.taken_over);
        }
        let owner = match read(root)? {
            Some(owner) if owner.ledger == self.ledger => owner,
            // A share that another machine has taken over since we had it; there no lock tells.
            Some(_) if self.owner.is_some() && !is_locked => return Err(io::ErrorKind::ResourceBusy.into()),
            Some(_) => self.write(root, Some(after_all_in(root)?))?,
            None => self.write(root, self.owner.and_then(|owner| owner.taken_over))?,
        };
        self.owner = Some(owner);
        Ok(owner.taken_over)
    }

    /// Locks the folder; false where locks are a matter of luck: on shares, where an open folder would also keep it from
    /// being unmounted, and on filesystems that know none.
    fn lock(&mut self, root: &Path) -> io::Result<bool> {
        let stamp = FileState::of(&effect::metadata(root)?);
        if self.folder.as_ref().is_some_and(|(dev, ino, _)| (*dev, *ino) == (stamp.dev, stamp.ino)) {
            return Ok(true);
        }
        self.folder = None;
        let folder = effect::open(root)?;
        if filesystem::network_filesystem(&folder)?.is_some() {
            return Ok(false);
        }
        match effect::try_lock(&folder) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::ResourceBusy.into()),
            Err(_) => Ok(false),
            Ok(()) => {
                self.folder = Some((stamp.dev, stamp.ino, folder));
                Ok(true)
            }
        }
    }

    fn write(&self, root: &Path, taken_over: Option<Timestamp>) -> io::Result<Owner> {
        let owner = Owner { ledger: self.ledger, taken_over };
        match effect::set_attribute(root, ATTRIBUTE, &serde_json::to_vec(&owner)?) {
            Ok(()) => effect::sync(&effect::open(root)?).or_else(cannot_sync)?,
            Err(error) if has_no_attributes(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(owner)
    }
}

/// What the attribute says; what cannot be understood names no ledger of ours.
fn read(root: &Path) -> io::Result<Option<Owner>> {
    match effect::attribute(root, ATTRIBUTE) {
        Ok(Some(bytes)) => {
            Ok(Some(serde_json::from_slice(&bytes).unwrap_or(Owner { ledger: Uuid::nil(), taken_over: None })))
        }
        Ok(None) => Ok(None),
        Err(error) if has_no_attributes(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A filesystem without attributes, a full or read-only one, or a folder whose attributes are not ours to write: what is in
/// the inbox can still be delivered.
fn has_no_attributes(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull, Unsupported};
    matches!(error.kind(), Unsupported | StorageFull | QuotaExceeded | ReadOnlyFilesystem | PermissionDenied)
}

/// Some network filesystems cannot sync a folder; there the server decides.
fn cannot_sync(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::InvalidInput { Ok(()) } else { Err(error) }
}

/// A moment after which nothing that is in the inbox now was put there, whatever the clocks of shares say.
pub fn after_all_in(root: &Path) -> io::Result<Timestamp> {
    let newest = scan(root, || {})?.entries.values().map(|entry| entry.stamp.ctime + 1).max();
    let newest = newest.and_then(|newest| Timestamp::from_nanosecond(newest).ok());
    Ok(newest.map_or(Timestamp::now(), |newest| newest.max(Timestamp::now())))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn hold(lock: &mut Lock, root: &Path) -> Option<Timestamp> {
        lock.hold(root).unwrap()
    }

    #[test]
    fn an_inbox_that_another_ledger_had_is_taken_over_once() {
        let root = tempfile::tempdir().unwrap();
        let (ours, theirs) = (Uuid::from_u128(1), Uuid::from_u128(2));
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("a/scan.pdf"), "x").unwrap();
        let mut first = Lock::new(theirs);
        assert_eq!(hold(&mut first, root.path()), None, "a new inbox is in no doubt");
        assert_eq!(Lock::new(ours).hold(root.path()).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(first);
        assert_eq!(hold(&mut Lock::new(theirs), root.path()), None, "nor is our own after a restart");
        let mut second = Lock::new(ours);
        let taken_over = hold(&mut second, root.path()).expect("a takeover");
        let file = FileState::of(&fs::metadata(root.path().join("a/scan.pdf")).unwrap());
        assert!(file.ctime < taken_over.as_nanosecond());
        assert_eq!(hold(&mut second, root.path()), Some(taken_over));
        drop(second);
        assert_eq!(hold(&mut Lock::new(ours), root.path()), Some(taken_over), "a restart forgets nothing");
    }

    #[test]
    fn an_attribute_that_cannot_be_understood_is_somebody_elses() {
        let root = tempfile::tempdir().unwrap();
        effect::set_attribute(root.path(), ATTRIBUTE, b"{\"led").unwrap();
        assert!(hold(&mut Lock::new(Uuid::from_u128(1)), root.path()).is_some());
    }
}
