//! Arguments in, exit code out.

use std::{io::Write, process::ExitCode, time::Duration};

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
        // One that cannot be printed either changes nothing.
        writeln!(std::io::stderr(), "{error:#}").ok();
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
    // Colours need a feature of the crate; without it, asking for them prints a line that nobody understands.
    let builder = builder.with_ansi(false);
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.without_time().init();
    } else {
        builder.init();
    }
}
