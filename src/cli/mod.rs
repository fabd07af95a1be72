//! The command line: one file a command or a few that belong together, and the exit codes.

/// A line to the standard output; whoever reads it may have had enough.
macro_rules! say {
    ($($words:tt)*) => {{ $crate::cli::output::print(&(format!($($words)*) + "\n")).ok(); }};
}

mod check;
mod decide;
mod demo;
pub mod keygen;
mod look;
mod output;
mod owner;
mod preview;
mod public_key;
mod run;
mod sandbox;
mod source;
mod user;
mod verify;

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use crate::{
    config::{DEFAULT_PATH, Log},
    status::log,
};

/// Everything was done.
pub const DONE: u8 = 0;
/// Something was rejected, or is still waiting.
pub const NOT_ALL: u8 = 1;
/// Nothing could be done: configuration, credentials or ledger. Also clap's code for wrong arguments.
pub const COULD_NOT_WORK: u8 = 2;

/// Drop a scan into a patient's folder; Redox accepts it for that patient's chart, once, and everybody can see that it did.
#[derive(Debug, Parser)]
#[command(name = "chartdrop", version, arg_required_else_help = true)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, global = true, env = "CHARTDROP_CONFIG", default_value = DEFAULT_PATH, value_name = "FILE")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Deliver what is dropped into the inboxes.
    Run(run::Args),
    /// Try everything that deliveries need: configuration, folders, key, token, clock.
    Check(check::Args),
    /// Say for every file what would happen, whose it would be and why; send and write nothing.
    Preview(preview::Args),
    /// Is everything going out? What waits and why, and what to do.
    Status(look::StatusArgs),
    /// List deliveries, newest first.
    History(look::HistoryArgs),
    /// The whole story of one delivery.
    Show(look::ShowArgs),
    /// Try again at once what waits; put back what was rejected.
    Retry(decide::RetryArgs),
    /// Keep a delivery back until it is released.
    Hold(decide::HoldArgs),
    /// Let a held delivery go on.
    Release(decide::IdArgs),
    /// Send a delivery once more, as a new message.
    SendAgain(decide::IdArgs),
    /// Decide that a document is not to be sent: it goes to the failed folder, with a note.
    Close(decide::CloseArgs),
    /// Send nothing to a destination until it is resumed.
    Pause(decide::PauseArgs),
    /// Let a destination go on, and try at once.
    Resume(decide::ResumeArgs),
    /// Have the running daemon read its configuration again.
    Reload,
    /// Count what was put in and what became of it, and tell what does not add up (chartdrop must be stopped).
    Verify(verify::Args),
    /// Who may log in to the page.
    #[command(subcommand)]
    User(user::Args),
    /// Make a key pair for Redox: the private key into a file, the public one to the terminal.
    Keygen(keygen::Args),
    /// Print the public half of the configured key, for the Redox dashboard.
    PublicKey(public_key::Args),
    /// Run a strict stand-in for Redox on this machine, to try things out.
    Sandbox(sandbox::Args),
    /// See it work on this machine, with made-up patients and the stand-in for Redox.
    Demo(demo::Args),
    /// Print a script that completes commands in your shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

/// Does what the arguments say. Returns the exit code.
pub async fn run(cli: Cli) -> anyhow::Result<u8> {
    let code = carry_out(cli).await?;
    Ok(if output::has_failed() { COULD_NOT_WORK } else { code })
}

async fn carry_out(cli: Cli) -> anyhow::Result<u8> {
    // `run` begins to log when it knows how.
    if !matches!(cli.command, Command::Run(_)) {
        log::start(Log::default());
    }
    match cli.command {
        Command::Run(args) => run::run(&cli.config, args).await,
        Command::Check(args) => check::run(&cli.config, args).await,
        Command::Preview(args) => preview::run(&cli.config, args).await,
        Command::Status(args) => look::status(&cli.config, args).await,
        Command::History(args) => look::history(&cli.config, args).await,
        Command::Show(args) => look::show(&cli.config, args).await,
        Command::Retry(args) => decide::retry(&cli.config, args).await,
        Command::Hold(args) => decide::hold(&cli.config, args).await,
        Command::Release(args) => decide::release(&cli.config, args).await,
        Command::SendAgain(args) => decide::send_again(&cli.config, args).await,
        Command::Close(args) => decide::close(&cli.config, args).await,
        Command::Pause(args) => decide::pause(&cli.config, args).await,
        Command::Resume(args) => decide::resume(&cli.config, args).await,
        Command::Reload => decide::reload(&cli.config).await,
        Command::Verify(args) => verify::run(&cli.config, args).await,
        Command::User(args) => user::run(&cli.config, args),
        Command::Keygen(args) => keygen::run(args).map(|()| DONE),
        Command::PublicKey(args) => public_key::run(&cli.config, args),
        Command::Sandbox(args) => sandbox::run(args, interrupted()).await.map(|()| DONE),
        Command::Demo(args) => demo::run(args).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "chartdrop", &mut script);
            output::print(&String::from_utf8(script)?)?;
            Ok(DONE)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            output::print(&String::from_utf8(page)?)?;
            Ok(DONE)
        }
    }
}

/// Ctrl-C or SIGTERM.
async fn interrupted() {
    use tokio::signal::{ctrl_c, unix};
    match unix::signal(unix::SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            // Without a handler SIGTERM ends the program by itself.
            ctrl_c().await.ok();
        }
    }
}
