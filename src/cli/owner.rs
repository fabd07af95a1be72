//! Who a command runs as: whatever root's commands write must stay readable for the service's user.

use std::{
    ffi::OsString,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::Command,
};

use anyhow::{Context, bail};

/// Set in the process that a command of root's has become.
const DROPPED: &str = "CHARTDROP_RUNS_AS_OWNER";

/// Goes on as the ledger's owner when root runs the command: the process is replaced by one of that user's.
pub fn become_owner(ledger: &Path) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = match ledger.metadata() {
        Ok(metadata) => metadata,
        // The folder that it will be made in says whose it is to be.
        Err(_) => match ledger.parent().and_then(|folder| folder.metadata().ok()) {
            Some(metadata) => metadata,
            None => return Ok(()),
        },
    };
    if owner.uid() == 0 {
        return Ok(());
    }
    if std::env::var_os(DROPPED).is_some() {
        bail!("This command should run as the owner of {}, and still runs as root.", ledger.display());
    }
    let program = std::env::current_exe().context("This program cannot be found")?;
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    // setgroups comes with it: nothing of root's is left.
    let error = Command::new(program).args(arguments).env(DROPPED, "1").gid(owner.gid()).uid(owner.uid()).exec();
    bail!(
        "This command must run as user {}, the owner of {}, and cannot be started as that user ({error}). Run it so: sudo -u '#{}' chartdrop …",
        owner.uid(),
        ledger.display(),
        owner.uid()
    )
}
