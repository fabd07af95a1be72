//! Arguments in, exit code out.

use std::{process::ExitCode, time::Duration};

use chartdrop::cli::{self, Cli};
use clap::Parser;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("chartdrop cannot start: {error}");
            return ExitCode::from(cli::COULD_NOT_WORK);
        }
    };
    let code = runtime.block_on(cli::run(cli)).unwrap_or_else(|error| {
        eprintln!("{error:#}");
        cli::COULD_NOT_WORK
    });
    // A read that hangs on a dead share must not keep the program from ending.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ExitCode::from(code)
}

/// To the error output, which is the journal under systemd; that adds the time itself.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let builder = builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.without_time().init();
    } else {
        builder.init();
    }
}
