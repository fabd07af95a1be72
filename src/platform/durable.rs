//! The one way in which a new file comes to be: whole and durable under its name, or not at all.

use std::{fs::File, io};

use super::dir::{Access, Spot, cannot_rename};

/// How the names of files begin that are not whole yet; every reader takes them for litter.
pub const TEMPORARY: &str = ".chartdrop-";

/// The name of a file beside `spot` that is not whole yet; no other has it.
pub fn temporary(spot: &Spot) -> Spot {
    spot.beside(format!("{TEMPORARY}{}.tmp", uuid::Uuid::new_v4().simple()).as_ref())
}

/// Writes a new file that appears under its name only when it is whole and durable. `AlreadyExists` when that is taken.
#[track_caller]
pub fn create(spot: &Spot, access: &Access, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let temporary = temporary(spot);
    let result = create_from(&temporary, spot, access, write);
    if result.is_err() {
        // Best effort: a temporary name is litter to every reader, and removed at the next start.
        temporary.unlink().ok();
    }
    result?;
    spot.folder().sync()
}

/// Writes a file that replaces whatever has its name, a link included, only when it is whole and durable.
pub fn replace(spot: &Spot, access: &Access, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary(spot);
    let write = || {
        let mut file = temporary.create()?;
        super::effect::write_all(&mut file, bytes)?;
        access.apply(&file, access.mode)?;
        super::effect::sync(&file)?;
        temporary.rename_over(spot)
    };
    write().inspect_err(|_| {
        // Best effort, as above.
        temporary.unlink().ok();
    })
}

#[track_caller]
fn create_from(
    temporary: &Spot,
    spot: &Spot,
    access: &Access,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = temporary.create()?;
    write(&mut file)?;
    access.apply(&file, access.mode)?;
    super::effect::sync(&file)?;
    let Err(error) = temporary.rename_to(spot) else { return Ok(()) };
    if !cannot_rename(&error) {
        return Err(error);
    }
    match temporary.link_to(spot) {
        Ok(()) => temporary.unlink(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Neither flag nor links: the last way is a look before the move.
        Err(_) => match spot.stat()? {
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
            None => temporary.rename_over(spot),
        },
    }
}
