//! Arguments in, exit code out.

use std::{io::Write, process::ExitCode, time::Duration};

use chartdrop::cli::{self, Cli};
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
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
