//! What a run that was killed has left behind: half-written files are removed, an original that was about to be removed is
//! removed if its copy is there, and has its name again if not.

use std::{ffi::OsStr, io, os::unix::ffi::OsStrExt};

use tracing::{info, warn};

use super::{End, archive::walk, moves};
use crate::{
    config::Inbox,
    model::path::RelPath,
    platform::dir::{Dir, Kind, Spot, absent},
};

/// Tidies an inbox, its done and its failed folder; only while nothing is filed. What cannot be done now is done at the
/// next start.
pub fn tidy(inbox: &Inbox) {
    let mut removed = 0;
    for (folder, is_inbox) in [(&inbox.done, false), (&inbox.failed, false), (&inbox.path, true)] {
        let Ok(root) = Dir::open(folder) else { continue };
        let tidied = walk(&root, &mut |folder, rel, kind| {
            let name = rel.file_name();
            if kind != Kind::File {
                return Ok(());
            }
            let spot = folder.dir.name(name);
            if is_half_written(name) {
                removed += u64::from(absent(spot.unlink())?.is_some());
            } else if is_inbox && let Some(own) = moves::name_of_leaving(name) {
                settle_leaving(inbox, &spot, &rel, &own)?;
            }
            Ok(())
        });
        if let Err(error) = tidied {
            warn!(inbox = %inbox.name, "what an earlier run left behind cannot be tidied up ({}); nothing is lost, and it is tried again at the next start", error.kind());
        }
    }
    if removed > 0 {
        info!(inbox = %inbox.name, removed, "half-written files of an earlier run are removed");
    }
}

fn is_half_written(name: &OsStr) -> bool {
    moves::is_temporary(name) && name.as_bytes().ends_with(b".tmp") && moves::name_of_leaving(name).is_none()
}

/// An original whose copy is durable was about to be removed, unless another file had taken its name just then.
fn settle_leaving(inbox: &Inbox, spot: &Spot, rel: &RelPath, own: &OsStr) -> io::Result<()> {
    if has_copy(inbox, spot, rel)? {
        absent(spot.unlink())?;
        return Ok(());
    }
    moves::put_back(spot, &spot.beside(own))?;
    spot.folder().sync()
}

fn has_copy(inbox: &Inbox, spot: &Spot, rel: &RelPath) -> io::Result<bool> {
    let Some(original) = spot.stat()? else { return Ok(false) };
    for end in [End::Done, End::Failed] {
        let Some(root) = absent(Dir::open(end.folder(inbox)))? else { continue };
        let Some(folder) = absent(root.folder_of(rel))? else { continue };
        for (name, kind) in folder.entries()? {
            let copy = folder.name(&name);
            let is_like =
                kind == Kind::File && copy.stat()?.is_some_and(|copy| copy.state.same_size_and_mtime(&original.state));
            if is_like && moves::same_bytes(&spot.open()?, &copy.open()?)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
