//! `chartdrop user add`, `remove` and `list`: who may log in to the page.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use anyhow::{Context, bail};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::{DONE, NOT_ALL, output};
use crate::{config::Config, status::Users};

/// What to do with the users.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// Let somebody log in, or give somebody a new password; it is asked for, or read from the standard input.
    Add {
        /// As it will be written into stories and notes.
        name: String,
    },
    /// Let somebody log in no more; open sessions end.
    Remove {
        /// As it was added.
        name: String,
    },
    /// Names of all who may log in.
    List {
        /// One JSON document in place of words.
        #[arg(long)]
        json: bool,
    },
}

/// Changes or lists the users. Gives back the exit code.
pub fn run(config: &Path, args: Args) -> anyhow::Result<u8> {
    let config = Config::load(config)?;
    let Some(path) = config.status.users.clone() else {
        bail!("The configuration names no file of users. Add to [status]: users = \"/etc/chartdrop/users.toml\"");
    };
    let is_new = !path.exists();
    let mut users = if is_new { Users::default() } else { Users::read(&path).map_err(anyhow::Error::msg)? };
    match args {
        Args::List { json: true } => output::json(&users.names())?,
        Args::List { json: false } if users.names().is_empty() => say!("Nobody may log in yet."),
        Args::List { json: false } => users.names().iter().for_each(|name| say!("{}", output::escape(name))),
        Args::Add { name } => {
            let password = password()?;
            let was_there = users.set(&name, &password).map_err(anyhow::Error::msg)?;
            write(&users, &path, &config.ledger)?;
            match was_there {
                true => say!("{} has a new password. Open sessions end.", output::escape(&name)),
                false => say!("{} may log in.", output::escape(&name)),
            }
        }
        Args::Remove { name } => {
            if !users.remove(&name) {
                say!("There is no user {}. `chartdrop user list` names them.", output::escape(&name));
                return Ok(NOT_ALL);
            }
            write(&users, &path, &config.ledger)?;
            say!("{} may not log in any more. Open sessions end.", output::escape(&name));
        }
    }
    Ok(DONE)
}

/// The service's group may read what root writes.
fn write(users: &Users, path: &Path, ledger: &Path) -> anyhow::Result<()> {
    let service = ledger.metadata().or_else(|_| ledger.parent().unwrap_or(ledger).metadata()).ok();
    let group = service.filter(|_| rustix::process::geteuid().is_root()).map(|metadata| metadata.gid());
    users.write(path, group).with_context(|| format!("{} cannot be written", path.display()))
}

/// Asked for twice at a terminal, without showing it; else the first line of the standard input.
fn password() -> anyhow::Result<Zeroizing<String>> {
    let input = io::stdin();
    if !input.is_terminal() {
        return line();
    }
    let seen = tcgetattr(&input)?;
    let mut hidden = seen.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&input, OptionalActions::Flush, &hidden)?;
    let typed = asked("Password: ").and_then(|first| Ok((first, asked("Once more: ")?)));
    tcsetattr(&input, OptionalActions::Flush, &seen)?;
    let (first, second) = typed?;
    if *first != *second {
        bail!("The two are not the same. Nothing was changed.");
    }
    Ok(first)
}

fn asked(words: &str) -> anyhow::Result<Zeroizing<String>> {
    let mut terminal = io::stderr();
    write!(terminal, "{words}")?;
    terminal.flush()?;
    let line = line();
    writeln!(terminal)?;
    line
}

fn line() -> anyhow::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    io::stdin().lock().read_line(&mut line)?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
