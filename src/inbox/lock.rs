//! One chartdrop an inbox: two of them, each with a ledger of its own, would both send what is dropped.

use std::{fs::File, io, path::Path};

use crate::model::file_state::FileState;
use crate::{platform::effect, platform::filesystem};

/// The lock of an inbox's folder; it goes with the process.
#[derive(Debug, Default)]
pub struct Lock(Option<(u64, u64, File)>);

impl Lock {
    /// Makes sure that the folder is ours, before each look into it. `ErrorKind::ResourceBusy`: another chartdrop has it.
    ///
    /// Not on a share: there locks are a matter of luck, and an open folder would keep it from being unmounted.
    pub fn hold(&mut self, root: &Path) -> io::Result<()> {
        let stamp = FileState::of(&effect::metadata(root)?);
        if self.0.as_ref().is_some_and(|(dev, ino, _)| (*dev, *ino) == (stamp.dev, stamp.ino)) {
            return Ok(());
        }
        self.0 = None;
        let folder = effect::open(root)?;
        if filesystem::network_filesystem(&folder)?.is_some() {
            return Ok(());
        }
        match effect::try_lock(&folder) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::ResourceBusy.into()),
            // A filesystem that knows no locks.
            Err(_) => Ok(()),
            Ok(()) => {
                self.0 = Some((stamp.dev, stamp.ino, folder));
                Ok(())
            }
        }
    }
}
