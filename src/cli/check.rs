//! `chartdrop check`: tries everything that deliveries need, one line each, with the remedy where it fails.

use std::{fs::File, io, path::Path};

use super::{COULD_NOT_WORK, DONE, owner::become_owner};
use crate::{
    config::{Config, Inbox},
    filing,
    inbox::{Roster, may_ask_for_others},
    platform::{
        dir::{self, Dir, Resolution},
        filesystem,
    },
    redox::{Client, Failure},
};

/// The clock may be off by so many seconds before Redox may refuse our tokens.
const SKEW: i64 = 10;

/// One line of the report.
enum Line {
    Good(String),
    /// Works, and somebody should know.
    Note(String),
    Bad {
        summary: String,
        remedy: String,
    },
}

/// What `check` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Send a test message over each way of [alarms] as well.
    #[arg(long)]
    alarm: bool,
}

/// Prints the report. Returns the exit code.
pub async fn run(path: &Path, args: Args) -> anyhow::Result<u8> {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => {
            return Ok(print(&[Line::Bad {
                summary: error.to_string(),
                remedy: "Correct that, then check again.".into(),
            }]));
        }
    };
    become_owner(&config.ledger)?;
    let mut lines = vec![Line::Good(format!("configuration: {}", path.display()))];
    lines.push(match config.check_folders() {
        Ok(()) => Line::Good("folders: inboxes, done, failed and the ledger are apart".into()),
        Err(clash) => {
            let remedy = "Change the paths in the configuration, then check again; nothing was moved.".into();
            Line::Bad { summary: format!("folders: {clash}"), remedy }
        }
    });
    lines.extend(resolution());
    for inbox in &config.inboxes {
        lines.extend(folders(inbox));
        lines.extend(writers(inbox));
        lines.extend(roster(inbox));
    }
    lines.push(ledger(&config.ledger));
    lines.extend(redox(&config).await);
    if args.alarm {
        lines.extend(alarms(&config).await);
    }
    Ok(print(&lines))
}

fn print(lines: &[Line]) -> u8 {
    let mut code = DONE;
    for line in lines {
        match line {
            Line::Good(summary) => say!("ok    {summary}"),
            Line::Note(summary) => say!("note  {summary}"),
            Line::Bad { summary, remedy } => {
                say!("FAIL  {summary}\n      {remedy}");
                code = COULD_NOT_WORK;
            }
        }
    }
    match code {
        DONE => say!("\nEverything that deliveries need is there."),
        _ => say!("\nNothing was sent. Fix what is marked FAIL, then check again."),
    }
    code
}

fn folders(inbox: &Inbox) -> Vec<Line> {
    let mut lines = Vec::new();
    for (role, folder) in [("inbox", &inbox.path), ("done", &inbox.done), ("failed", &inbox.failed)] {
        let summary = format!("{}: {role} folder {}", inbox.name, folder.display());
        // `run` makes done and failed; an inbox that is missing may be a share that is not mounted.
        if role != "inbox" && !folder.exists() {
            filing::create_root(folder, inbox).ok();
        }
        lines.push(match filing::probe(folder) {
            Ok(()) => Line::Good(format!("{summary}: a file can be written, renamed and removed")),
            Err(error) => Line::Bad { summary: format!("{summary}: {error}"), remedy: remedy(&error, role) },
        });
        lines.extend(readers(inbox, role, folder));
    }
    lines
}

/// How folders are opened, where it is not the usual way.
fn resolution() -> Option<Line> {
    match dir::resolution() {
        Ok(Resolution::Openat2) => None,
        Ok(Resolution::Steps) => Some(Line::Note(
            "openat2 is not available here (a kernel before 5.6, or RestrictSUIDSGID= or DynamicUser= in the unit): folders are opened one by one, which is as safe".into(),
        )),
        Err(error) => Some(Line::Bad {
            summary: format!("folders cannot be opened: {error}"),
            remedy: "Look at what confines this process (SystemCallFilter= in the unit, containers).".into(),
        }),
    }
}

/// Whether the kernel tells who still writes to a file.
fn writers(inbox: &Inbox) -> Option<Line> {
    let why = match File::open(&inbox.path).and_then(|folder| filesystem::network_filesystem(&folder)) {
        Ok(Some(share)) => format!("it is on a share ({share})"),
        Ok(None) if may_ask_for_others() => return None,
        Ok(None) => {
            "this user may not ask about files of others; AmbientCapabilities=CAP_LEASE in the unit allows it".into()
        }
        // Said by the line on the folder itself.
        Err(_) => return None,
    };
    Some(Line::Note(format!(
        "{}: who still writes to a file cannot be seen, since {why}. Text files, which have no end that shows, wait incomplete_after ({} s)",
        inbox.name,
        inbox.incomplete_after.as_secs()
    )))
}

/// Whether others on this machine may read what is filed.
fn readers(inbox: &Inbox, role: &str, folder: &Path) -> Option<Line> {
    let found = Dir::open(folder).and_then(|folder| folder.info()).ok()?;
    (role != "inbox" && inbox.mode & 0o004 == 0 && found.mode & 0o005 != 0).then(|| {
        Line::Note(format!(
            "{}: everybody on this machine may look into the {role} folder (mode {:04o}); to keep it to its group: chmod 2750 {}",
            inbox.name,
            found.mode,
            folder.display()
        ))
    })
}

fn remedy(error: &io::Error, role: &str) -> String {
    match error.kind() {
        io::ErrorKind::NotFound if role == "inbox" => "Make the folder, or mount the share that holds it.".into(),
        io::ErrorKind::NotFound => "Make the folder.".into(),
        io::ErrorKind::PermissionDenied => "Let the user that chartdrop runs as write there (chown, chmod).".into(),
        io::ErrorKind::ReadOnlyFilesystem => "The filesystem is mounted read-only; mount it for writing.".into(),
        io::ErrorKind::StorageFull => "The filesystem is full; make room.".into(),
        _ => "Look into the system's log for what is wrong with this filesystem.".into(),
    }
}

fn roster(inbox: &Inbox) -> Option<Line> {
    let path = inbox.roster.as_ref()?;
    let summary = format!("{}: roster {}", inbox.name, path.display());
    Some(match Roster::read(path) {
        Ok(roster) => Line::Good(format!("{summary}: {} patients", roster.size())),
        Err(error) => Line::Bad {
            summary: format!("{summary}: {error}"),
            remedy: "Have the list exported again as CSV in UTF-8 with commas or semicolons. Until then the documents of this inbox wait."
                .into(),
        },
    })
}

/// The ledger itself is not opened: a running daemon has it.
fn ledger(path: &Path) -> Line {
    let summary = format!("ledger: {}", path.display());
    let nearest = path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let examined = File::open(nearest).and_then(|folder| filesystem::network_filesystem(&folder));
    match (examined, if nearest == path { Ok(()) } else { filing::probe(nearest) }) {
        (Ok(None), Ok(())) => Line::Good(format!("{summary}: on a filesystem of this machine")),
        (Ok(Some(share)), _) => Line::Bad {
            summary: format!("{summary}: on a share ({share})"),
            remedy:
                "Put ledger.path on a disk of this machine: on a share a record can be lost after it was confirmed."
                    .into(),
        },
        (Err(error), _) | (_, Err(error)) => {
            Line::Bad { summary: format!("{summary}: {error}"), remedy: remedy(&error, "ledger") }
        }
    }
}

/// Whether messages about alarms go out; whether they arrive only their reader can tell.
async fn alarms(config: &Config) -> Vec<Line> {
    let tried = crate::status::test_alarms(config).await;
    if tried.is_empty() {
        return vec![Line::Note(
            "alarms: no mail, webhook or command is configured in [alarms]: nobody is told".into(),
        )];
    }
    let line = |(way, result): (_, Result<(), String>)| match result {
        Ok(()) => Line::Good(format!("alarms: a test message was handed over by {way}; see that it arrives")),
        Err(why) => Line::Bad { summary: format!("alarms: {way}: {why}"), remedy: format!("Correct [alarms] {way}.") },
    };
    tried.into_iter().map(|(way, result)| (way.as_str(), result)).map(line).collect()
}

async fn redox(config: &Config) -> Vec<Line> {
    let key = format!("key: {}", config.redox.private_key.display());
    let client = match Client::new(config.redox.clone()) {
        Ok(client) => client,
        Err(error) => {
            let remedy = "Correct that, or make a new key with: chartdrop keygen".into();
            return vec![Line::Bad { summary: format!("{key}: {error}"), remedy }];
        }
    };
    let mut lines = vec![Line::Good(format!("{key}: {}", config.redox.algorithm))];
    match client.token().await {
        Ok(token) => {
            let host = &config.redox.base_url;
            lines.push(Line::Good(format!("token: {host} gave one for {} seconds", token.expires_in.as_secs())));
            lines.push(match token.skew {
                Some(skew) if skew.abs() > SKEW => Line::Bad {
                    summary: format!("clock: {skew} seconds off Redox's"),
                    remedy: "Let the machine keep its time from the network: timedatectl set-ntp true".into(),
                },
                Some(skew) => Line::Good(format!("clock: {skew} seconds off Redox's")),
                None => Line::Good("clock: Redox did not tell its time".into()),
            });
        }
        Err(failure) => {
            let (summary, remedy) = match failure {
                Failure::Stop { summary, remedy, .. } | Failure::Rejected { summary, remedy, .. } => (summary, remedy),
                other => (
                    other.to_string(),
                    "Check the connection to the internet, base_url and proxy, and that no firewall is in between."
                        .into(),
                ),
            };
            lines.push(Line::Bad { summary: format!("token: {summary}"), remedy });
        }
    }
    lines
}
