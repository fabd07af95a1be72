//! `chartdrop run`: delivers what is dropped, until it is told to end.

use std::{path::Path, sync::Arc, time::Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{COULD_NOT_WORK, DONE, NOT_ALL};
use crate::{
    config::{Config, units},
    delivery::{Engine, Mode, Summary, forget_old},
    filing,
    platform::dir::{self, Resolution},
    redox::Client,
    status::systemd,
};

/// How long `--once` goes on when nobody says.
const ONCE: &str = "10m";

/// What `run` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Deliver what is in the inboxes, then end (for cron).
    #[arg(long)]
    once: bool,
    /// With --once: retry for at most this time, for example 10m.
    #[arg(long = "for", value_name = "DURATION", default_value = ONCE, requires = "once")]
    for_: units::Duration,
}

/// Runs until SIGTERM, SIGINT or, with `--once`, until everything is final. Returns the exit code.
pub async fn run(path: &Path, args: Args) -> anyhow::Result<u8> {
    let config = Config::load(path)?;
    config.check_folders().map_err(|clash| anyhow::anyhow!("{}: {clash}", path.display()))?;
    if let Ok(Resolution::Steps) = dir::resolution() {
        info!(
            "openat2 is not available here (a kernel before 5.6, or RestrictSUIDSGID= or DynamicUser= in the unit): folders are opened one by one, which is as safe"
        );
    }
    match make_folders(&config) {
        Ok(()) => {}
        // A share with an error, a disk that is full: over in a moment, or seen by whoever reads the log.
        Err(failed) if !failed.needs_person() && !args.once => {
            error!("chartdrop cannot start: {failed}");
            return Ok(NOT_ALL);
        }
        Err(failed) => return Err(failed.into()),
    }
    let client = Client::new(config.redox.clone())?;
    if config.status.listen.is_some() {
        tracing::warn!("status.listen is set, and this version has no web page yet: nothing listens there");
    }
    let shutdown = CancellationToken::new();
    end_on_signals(shutdown.clone())?;
    let (ledger, rebuilt_at) = match crate::audit::open_ledger(&config).await {
        Ok(opened) => opened,
        // A full disk, a share that is not mounted yet: systemd is to try again, which it does not after COULD_NOT_WORK.
        Err(failed) if failed.may_pass() && !args.once => {
            error!("chartdrop cannot start: {failed}");
            return Ok(NOT_ALL);
        }
        Err(failed) => return Err(failed.into()),
    };
    let mode = match args.once {
        true => Mode::Once { until: Instant::now() + args.for_.get() },
        false => Mode::Forever,
    };
    info!(inboxes = config.inboxes.len(), environment = %config.redox.environment, "chartdrop {} starts", env!("CARGO_PKG_VERSION"));
    let (history, ledger_path) = (config.history, config.ledger.clone());
    let engine = Arc::new(Engine::new(config, Arc::clone(&ledger), client, rebuilt_at));
    let forgetting = tokio::spawn(forget_old(Arc::clone(&ledger), ledger_path, history, shutdown.clone()));
    let watchdog = tokio::spawn(systemd::feed_watchdog(ledger, Arc::clone(&engine), shutdown.clone()));
    let result = Arc::clone(&engine).run(mode, shutdown.clone(), systemd::ready).await;
    systemd::stopping();
    shutdown.cancel();
    forgetting.await?;
    watchdog.await?;
    match result {
        Ok(summary) if args.once => Ok(report(&summary, &engine)),
        Ok(summary) => {
            info!(
                accepted = summary.accepted,
                rejected = summary.rejected,
                waiting = summary.waiting,
                "chartdrop ends"
            );
            Ok(DONE)
        }
        Err(error) => {
            error!("chartdrop cannot go on: {error}");
            // Not COULD_NOT_WORK: it did work, and systemd is to start it again.
            Ok(if args.once { COULD_NOT_WORK } else { NOT_ALL })
        }
    }
}

/// SIGTERM and SIGINT end the program; SIGIO does nothing.
fn end_on_signals(shutdown: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Sent when somebody opens a file in the instant in which we ask the kernel for its writers; it would kill us.
    let mut lease = signal(SignalKind::io())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = lease.recv() => {}
            }
        }
        info!("told to end: no new deliveries are started");
        shutdown.cancel();
        std::future::pending::<()>().await;
    });
    Ok(())
}

/// What an earlier run left behind is tidied up, and done and failed are made: they are ours to make, unless the inbox beside them is missing too: then a share is not mounted.
fn make_folders(config: &Config) -> Result<(), filing::FilingError> {
    for inbox in config.inboxes.iter().filter(|inbox| inbox.path.is_dir()) {
        filing::tidy(inbox);
        filing::make(inbox)?;
    }
    Ok(())
}

fn report(summary: &Summary, engine: &Engine) -> u8 {
    println!("{} accepted, {} rejected, {} still in the inbox.", summary.accepted, summary.rejected, summary.waiting);
    if summary.rejected > 0 {
        println!("Beside each rejected document in the failed folder is a note that says why, and what to do.");
    }
    for inbox in &summary.unreadable {
        println!(
            "The inbox {inbox} cannot be read. Check that its folder is there and mounted, and that no other chartdrop runs."
        );
    }
    if summary.unread_folders > 0 {
        println!(
            "Patient folders that cannot be read, or not all of them: {}. Nothing in them is counted, lost or sent. Let chartdrop's user read them.",
            summary.unread_folders
        );
    }
    match engine.trouble() {
        Some(trouble) if trouble.is_stopped() => {
            println!("{}\nNothing is lost. {}", trouble.summary, trouble.remedy);
            COULD_NOT_WORK
        }
        _ if !summary.unreadable.is_empty() => COULD_NOT_WORK,
        _ if summary.rejected > 0 || summary.waiting > 0 || summary.unread_folders > 0 => NOT_ALL,
        _ => DONE,
    }
}
