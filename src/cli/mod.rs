//! The command line: one file a command, and the exit codes.

/// The standard one panics when nobody reads any more.
macro_rules! println {
    () => { crate::cli::output::line(format_args!("")) };
    ($($words:tt)*) => { crate::cli::output::line(format_args!($($words)*)) };
}

mod check;
mod demo;
pub mod keygen;
mod ledger;
mod output;
mod run;
mod sandbox;
mod verify;

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::DEFAULT_PATH;

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
    Check,
    /// List what is under way (the daemon must be stopped).
    Status(ledger::ListArgs),
    /// List what was filed, newest first (the daemon must be stopped).
    History(ledger::ListArgs),
    /// Show all that is recorded of one delivery (the daemon must be stopped).
    Show(ledger::ShowArgs),
    /// Try again, as a new message (the daemon must be stopped).
    Retry(ledger::RetryArgs),
    /// Keep a delivery back until it is released (the daemon must be stopped).
    Hold(ledger::IdArgs),
    /// Let a held delivery go on (the daemon must be stopped).
    Release(ledger::IdArgs),
    /// Count what was put in and what became of it, and tell what does not add up (the daemon must be stopped).
    Verify(verify::Args),
    /// Make a key pair for Redox: the private key into a file, the public one to the terminal.
    Keygen(keygen::Args),
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
    match cli.command {
        Command::Run(args) => run::run(&cli.config, args).await,
        Command::Check => check::run(&cli.config).await,
        Command::Status(args) => ledger::status(&cli.config, args).await,
        Command::History(args) => ledger::history(&cli.config, args).await,
        Command::Show(args) => ledger::show(&cli.config, args).await,
        Command::Retry(args) => ledger::retry(&cli.config, args).await,
        Command::Hold(args) => ledger::hold(&cli.config, args).await,
        Command::Release(args) => ledger::release(&cli.config, args).await,
        Command::Verify(args) => verify::run(&cli.config, args).await,
        Command::Keygen(args) => keygen::run(args).map(|()| DONE),
        Command::Sandbox(args) => sandbox::run(args, interrupted()).await.map(|()| DONE),
        Command::Demo(args) => demo::run(args).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "chartdrop", &mut script);
            output::text(&script);
            Ok(DONE)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            output::text(&page);
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
