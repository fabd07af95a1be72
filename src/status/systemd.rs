//! Tells systemd that the service is ready, alive, or ending (sd_notify(3)). Without systemd nothing happens.

use std::{sync::Arc, time::Duration};

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use uuid::Uuid;

use super::view::CountsView;
use crate::{delivery::Engine, ledger::Ledger, model::document::DeliveryId};

/// The first scan of every inbox has been done.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// No new deliveries are started.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// How it goes, for `systemctl status`; told when it is not what was told `last`.
pub fn status(counts: &CountsView, last: &mut String) {
    let open = counts.queued + counts.sending + counts.unknown + counts.filing;
    let words = format!(
        "{open} on their way, {} held, {} accepted, {} rejected",
        counts.held, counts.accepted, counts.rejected
    );
    if *last != words {
        tell(&[NotifyState::Status(&words)]);
        *last = words;
    }
}

/// A new configuration is being taken in; then [`ready`] again.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("systemd cannot be told that the configuration is read again: {}", error.kind()),
    }
}

/// The period when systemd names none.
const PERIOD: Duration = Duration::from_secs(60);
/// An inbox may be silent for so many periods longer than it was to be.
const PATIENCE: u32 = 5;

/// Feeds the watchdog, twice in each of its periods, for as long as the ledger answers and no inbox hangs.
pub async fn feed_watchdog(ledger: Arc<dyn Ledger>, engine: Arc<Engine>, shutdown: CancellationToken) {
    let period = sd_notify::watchdog_enabled().filter(|period| *period > Duration::ZERO).unwrap_or(PERIOD);
    let mut ticks = tokio::time::interval(period / 2);
    let mut hung = false;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let hangs = engine.hangs(period * PATIENCE);
        match hangs {
            Some(inbox) if !hung => {
                error!(%inbox, "a look into this inbox does not come to an end: its share hangs; nothing is lost, the watchdog starts chartdrop again");
            }
            None if hung => info!("every inbox answers again"),
            _ => {}
        }
        hung = hangs.is_some();
        if !hung && ledger.look_up(DeliveryId(Uuid::nil())).await.is_ok() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd cannot be told how chartdrop is: {}", error.kind());
    }
}
