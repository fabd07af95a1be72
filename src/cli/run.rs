//! `chartdrop run`: delivers what is dropped, until it is told to end.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{COULD_NOT_WORK, DONE, NOT_ALL, owner::become_owner};
use crate::{
    config::{Config, Status, units},
    delivery::{Engine, Mode, Summary, forget_old},
    filing,
    ledger::Ledger,
    platform::dir::{self, Resolution},
    redox::Client,
    status::{Desk, ObservedLedger, Reloader, keep_alarms, keep_notices, log, serve, systemd},
};

/// How long `--once` goes on when nobody says.
const ONCE: &str = "10m";

/// How long answers that are just being read are waited for at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

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
    become_owner(&config.ledger)?;
    let level = log::start(config.log);
    info!(config = %path.display(), inboxes = config.inboxes.len(), environment = %config.redox.environment, "chartdrop {} starts", env!("CARGO_PKG_VERSION"));
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
    let shutdown = CancellationToken::new();
    let why = end_on_signals(shutdown.clone())?;
    let hangup = signal(SignalKind::hangup())?;
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
    info!("the ledger is open; deliveries begin");
    let (history, ledger_path) = (config.history, config.ledger.clone());
    let observed = Arc::new(ObservedLedger::new(ledger));
    let ledger: Arc<dyn Ledger> = observed.clone();
    let engine = Arc::new(Engine::new(config.clone(), Arc::clone(&ledger), client, rebuilt_at));
    let reloader = Reloader { path: path.to_owned(), level };
    let (settings, ended) = (config.status.clone(), CancellationToken::new());
    let desk = Desk::live(config, observed, Arc::clone(&engine), reloader, ended.clone());
    let answering = tokio::spawn(answer(desk, settings, hangup, ended.clone()));
    let forgetting = tokio::spawn(forget_old(Arc::clone(&ledger), ledger_path, history, shutdown.clone()));
    let watchdog = tokio::spawn(systemd::feed_watchdog(ledger, Arc::clone(&engine), shutdown.clone()));
    let result = Arc::clone(&engine).run(mode, shutdown.clone(), systemd::ready).await;
    systemd::stopping();
    shutdown.cancel();
    forgetting.await?;
    watchdog.await?;
    ended.cancel();
    // A reader who does not read must not keep the program from ending.
    timeout(LAST_ANSWERS, answering).await.ok();
    match result {
        Ok(summary) if args.once => Ok(report(&summary, &engine)),
        Ok(summary) => {
            info!(
                accepted = summary.accepted,
                rejected = summary.rejected,
                waiting = summary.waiting,
                why = why.get().copied().unwrap_or("nothing was left to do"),
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

/// Answers commands and whoever asks over TCP, and reads the configuration again at SIGHUP.
async fn answer(desk: Arc<Desk>, settings: Status, mut hangup: Signal, ended: CancellationToken) {
    let reloads = async {
        while hangup.recv().await.is_some() {
            systemd::reloading();
            desk.reload_at_signal().await;
            systemd::ready();
        }
    };
    let reloads = async {
        tokio::select! {
            () = reloads => {}
            () = ended.cancelled() => {}
        }
    };
    tokio::join!(
        reloads,
        Arc::clone(&desk).keep(),
        keep_notices(Arc::clone(&desk)),
        keep_alarms(Arc::clone(&desk)),
        serve(Arc::clone(&desk), settings, ended.clone())
    );
}

/// SIGTERM and SIGINT end the program, and which of them did is told; SIGIO does nothing.
fn end_on_signals(shutdown: CancellationToken) -> std::io::Result<Arc<OnceLock<&'static str>>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Sent when somebody opens a file in the instant in which we ask the kernel for its writers; it would kill us.
    let mut lease = signal(SignalKind::io())?;
    let why = Arc::<OnceLock<_>>::default();
    let told = Arc::clone(&why);
    tokio::spawn(async move {
        let signal = loop {
            tokio::select! {
                _ = terminate.recv() => break "SIGTERM",
                _ = interrupt.recv() => break "SIGINT",
                _ = lease.recv() => {}
            }
        };
        told.get_or_init(|| signal);
        info!(signal, "told to end: no new deliveries are started");
        shutdown.cancel();
        std::future::pending::<()>().await;
    });
    Ok(why)
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
    say!("{} accepted, {} rejected, {} still in the inbox.", summary.accepted, summary.rejected, summary.waiting);
    if summary.rejected > 0 {
        say!("Beside each rejected document in the failed folder is a note that says why, and what to do.");
    }
    for inbox in &summary.unreadable {
        say!(
            "The inbox {inbox} cannot be read. Check that its folder is there and mounted, and that no other chartdrop runs."
        );
    }
    if summary.unread_folders > 0 {
        say!(
            "Patient folders that cannot be read, or not all of them: {}. Nothing in them is counted, lost or sent. Let chartdrop's user read them.",
            summary.unread_folders
        );
    }
    match engine.trouble() {
        Some(trouble) if trouble.is_stopped() => {
            say!("{}\nNothing is lost. {}", trouble.summary, trouble.remedy);
            COULD_NOT_WORK
        }
        _ if !summary.unreadable.is_empty() => COULD_NOT_WORK,
        _ if summary.rejected > 0 || summary.waiting > 0 || summary.unread_folders > 0 => NOT_ALL,
        _ => DONE,
    }
}
